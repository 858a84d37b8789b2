//! Calls that no adapter answers: why, when they may be made again, and how the service is doing.

use std::time::Duration;

use rand::Rng as _;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::Instant;
use ura_proto::{
    refusal::{Reason, Term},
    v1::Outcome,
};
use ura_runtime::clock::Clock;

use super::flow::Flow;
use crate::{
    config::Limits,
    directory::{Service, ServiceKey},
    error::Refusal,
    meter::Waiting,
    plug::{Crowded, Health, Inside, Missing, Plugs, Room},
};

/// When to try again where nothing better is known, in milliseconds.
const PAUSE_MS: u64 = 1_000;

/// Waits for a place in the service; one without plugs has none.
pub(super) async fn place(
    service: &Service,
    plugs: &Plugs,
    limits: &Limits,
    flow: &Flow,
) -> Result<Option<Inside>, Refusal> {
    let own = &service.limits;
    let room = Room {
        calls_in_flight_max: own.calls_in_flight_max.unwrap_or(limits.service_calls_in_flight_max),
        queue_max: own.queue_max.unwrap_or(limits.service_queue_max),
        wait: own.wait.unwrap_or(Duration::from_millis(limits.service_wait_ms)),
    };
    let place = plugs.place(&service.key, room, flow.ends());
    let crowded = match flow.times.of(Waiting::Place, place).await {
        None => return Ok(None),
        Some(Ok(inside)) => return Ok(Some(inside)),
        Some(Err(crowded)) => crowded,
    };
    if let Some(late) = flow.late() {
        return Err(late.waiting_for(&service.key.provider));
    }
    let queue = match crowded {
        Crowded::QueueFull => "full",
        Crowded::Waited => "too slow",
    };
    let refusal = overloaded(&service.key, Term::CallsOfRegister).with("queue", queue);
    Err(with_health(refusal, &service.key, plugs).retry_after(jittered(PAUSE_MS)))
}

/// No plug can take the call: nothing was sent.
pub(super) fn nobody(service: &ServiceKey, missing: Missing, plugs: &Plugs) -> Refusal {
    let mut pause_ms = PAUSE_MS;
    let refusal = match missing {
        Missing::Full => overloaded(service, Term::CallsOfAdapters),
        Missing::NoPlug => unavailable(service, Term::NoAdapter),
        Missing::NotServing => unavailable(service, Term::NotServing),
        Missing::Failing { until } => {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            pause_ms = left.map_or(PAUSE_MS, |left| u64::try_from(left.as_millis()).unwrap_or(PAUSE_MS));
            unavailable(service, Term::Failing)
        }
    };
    with_health(refusal, service, plugs).retry_after(jittered(pause_ms))
}

/// The adapter vanished with the call.
pub(super) fn lost(service: &ServiceKey, error: &hyper::Error) -> Refusal {
    unavailable(service, Term::AdapterLost)
        .outcome(Outcome::MaybeExecuted)
        .cause(format!("{error} ({:?})", h2_error(error).and_then(h2::Error::reason)))
}

/// The register cannot be reached.
pub(super) fn unavailable(service: &ServiceKey, problem: Term) -> Refusal {
    Refusal::new(Reason::RegisterUnavailable)
        .with("provider", service.provider.as_str())
        .term("problem", problem)
}

/// The HTTP/2 error behind an error, where there is one.
pub(super) fn h2_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e h2::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return Some(h2);
        }
        next = error.source();
    }
    None
}

fn overloaded(service: &ServiceKey, limit: Term) -> Refusal {
    Refusal::new(Reason::Overloaded).term("limit", limit).with("provider", service.provider.as_str())
}

/// Tells how the service is doing, and since when.
fn with_health(refusal: Refusal, service: &ServiceKey, plugs: &Plugs) -> Refusal {
    let Some(found) = plugs.health_of(service) else {
        return refusal.with("health", Health::NoAdapter.as_str());
    };
    let ago_us = i64::try_from(found.since.elapsed().as_micros()).unwrap_or(i64::MAX);
    let since_s = Clock::system().unix_us().saturating_sub(ago_us).div_euclid(1_000_000);
    let since = OffsetDateTime::from_unix_timestamp(since_s).ok().and_then(|at| at.format(&Rfc3339).ok());
    let refusal = refusal.with("health", found.health.as_str());
    match since {
        Some(since) => refusal.with("since", since),
        None => refusal,
    }
}

/// A pause, longer by up to a half, so that those who were refused together do not return together.
fn jittered(pause_ms: u64) -> Duration {
    Duration::from_millis(pause_ms + rand::rng().random_range(0..=pause_ms / 2))
}
