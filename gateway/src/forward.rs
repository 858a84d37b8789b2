//! Forwarding: opaque bytes, both ways. It takes a permit, and a permit is made only by the decision.
//! Stands above policy, evidence and plugs, because every frame it lets out waits for its record.

mod headers;
mod reply;
mod request;
mod stream;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;
use ura_proto::{refusal::Reason, v1::Outcome};

use crate::{
    call::body::Outbound,
    directory::ServiceKey,
    error::Refusal,
    evidence::Ledger,
    plug::{InFlight, Missing, Plugs},
    policy::Permit,
};

pub(crate) use headers::Sending;
pub(crate) use reply::{Forwarded, Forwarding, Reply};
pub(crate) use request::{HeldBytes, Reading, receive};

/// Plugs that one call is offered to; it goes on only from those that never took it.
const ATTEMPTS_MAX: usize = 3;

/// Sends a permitted call to an adapter and returns the head of its answer.
///
/// A call is sent once. Only where a plug hands it back untouched, or the adapter's HTTP/2 stack
/// refuses the stream before its application saw it (RFC 9113 section 8.7), another plug is tried.
pub(crate) async fn send(
    permit: &Permit,
    sending: &Sending<'_>,
    ledger: &Ledger,
    plugs: &Plugs,
    body: Outbound,
    until: Instant,
) -> Result<(Response<Incoming>, InFlight), Refusal> {
    let service = &permit.service().key;
    let mut request = sending.request(permit, body, until);
    let mut last = None;
    for _ in 0..ATTEMPTS_MAX {
        let place = plugs.pick(service).map_err(|missing| nobody(service, missing, last.take()))?;
        let spare = match request.body() {
            Outbound::Held(held) => Some(held.clone()),
            _ => None,
        };
        let head = spare.is_some().then(|| headers::copy(&request));
        ledger.sent();
        let sent = tokio::time::timeout_at(until, place.sender().try_send_request(request)).await;
        let mut error = match sent {
            Err(_) => return Err(late(service, Outcome::MaybeExecuted)),
            Ok(Ok(answer)) => return Ok((answer, place)),
            Ok(Err(error)) => error,
        };
        request = match (error.take_message(), head, spare) {
            (Some(untouched), ..) => untouched,
            (None, Some(head), Some(held)) if is_refused_stream(error.error()) => {
                Request::from_parts(head, Outbound::Held(held))
            }
            _ => return Err(ledger.fault_or(lost(service, error.error()))),
        };
        ledger.not_sent();
        last = Some(error.into_error().to_string());
    }
    Err(nobody(service, Missing::NoPlug, last))
}

/// Whether the peer says that it did nothing with the request.
fn is_refused_stream(error: &hyper::Error) -> bool {
    h2_reason(error) == Some(h2::Reason::REFUSED_STREAM)
}

/// The HTTP/2 code of an error, where it has one.
fn h2_reason(error: &(dyn std::error::Error + 'static)) -> Option<h2::Reason> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return h2.reason();
        }
        next = error.source();
    }
    None
}

/// No plug can take the call: nothing was sent.
fn nobody(service: &ServiceKey, missing: Missing, last: Option<String>) -> Refusal {
    let refusal = match missing {
        Missing::Full => {
            Refusal::new(Reason::Overloaded).with("limit", "calls in hand on this register's adapters")
        }
        Missing::NoPlug => unavailable(service, "no adapter is plugged in"),
        Missing::NotServing => unavailable(service, "its adapter says that the register does not answer"),
    };
    match last {
        Some(error) => refusal.cause(error),
        None => refusal,
    }
}

/// The adapter vanished with the call.
fn lost(service: &ServiceKey, error: &hyper::Error) -> Refusal {
    unavailable(service, "its adapter was lost during the call")
        .outcome(Outcome::MaybeExecuted)
        .cause(format!("{error} ({:?})", h2_reason(error)))
}

/// The register cannot be reached.
fn unavailable(service: &ServiceKey, problem: &str) -> Refusal {
    Refusal::new(Reason::RegisterUnavailable)
        .with("provider", service.provider.as_str())
        .with("problem", problem)
}

/// Time ran out.
fn late(service: &ServiceKey, outcome: Outcome) -> Refusal {
    Refusal::new(Reason::DeadlineExceeded).with("provider", service.provider.as_str()).outcome(outcome)
}
