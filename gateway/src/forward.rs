//! Forwarding: opaque bytes, both ways. It takes a permit, and a permit is made only by the decision.
//! Stands above policy, evidence and plugs, because every frame it lets out waits for its record.

mod flow;
mod headers;
mod reply;
mod request;
mod stream;

use http::Response;
use hyper::body::Incoming;
use ura_proto::{refusal::Reason, v1::Outcome};

use crate::{
    call::body::Outbound,
    directory::ServiceKey,
    error::Refusal,
    evidence::{Adapter, Ledger},
    plug::{InFlight, Missing, Plugs},
    policy::Permit,
};

pub(crate) use flow::Flow;
pub(crate) use headers::Sending;
pub(crate) use reply::{Forwarded, Forwarding, Reply};
pub(crate) use request::{Reading, receive};

/// Plugs that one call is offered to; it goes on only from those that never took it.
const ATTEMPTS_MAX: usize = 3;

/// Sends a permitted call to an adapter and returns the head of its answer.
///
/// A call is sent once. Only where a plug hands it back untouched, or the adapter's HTTP/2 stack
/// says that its application never saw it (RFC 9113 section 8.7), another plug is tried.
pub(crate) async fn send(
    permit: &Permit,
    sending: &Sending<'_>,
    ledger: &Ledger,
    plugs: &Plugs,
    body: Outbound,
    flow: &Flow,
) -> Result<(Response<Incoming>, InFlight), Refusal> {
    let service = &permit.service().key;
    if let Some(late) = flow.late() {
        return Err(late.with("provider", service.provider.as_str()));
    }
    let mut request = sending.request(permit, body, flow.until());
    let mut last = None;
    for _ in 0..ATTEMPTS_MAX {
        let place = plugs.pick(service).map_err(|missing| nobody(service, missing, last.take()))?;
        let spare = match request.body() {
            Outbound::Held(held) => Some(held.clone()),
            _ => None,
        };
        ledger.sent(Adapter { certificate: place.certificate(), address: place.address() });
        let sent = flow.within(place.sender().try_send_request(request)).await;
        let mut error = match sent {
            Err(late) => {
                let late = late.with("provider", service.provider.as_str());
                return Err(late.outcome(Outcome::MaybeExecuted));
            }
            Ok(Ok(answer)) => {
                ledger.answered();
                return Ok((answer, place));
            }
            Ok(Err(error)) => error,
        };
        request = match (error.take_message(), spare) {
            (Some(untouched), _) => untouched,
            (None, _) if !was_not_taken(error.error()) => {
                return Err(ledger.fault_or(lost(service, error.error())));
            }
            (None, Some(held)) => sending.request(permit, Outbound::Held(held), flow.until()),
            (None, None) => {
                // The beginning of a streamed request is gone: only the caller can send it again.
                ledger.not_sent();
                let refusal = unavailable(service, "its adapter took no more calls");
                return Err(ledger.fault_or(refusal.cause(error.error())));
            }
        };
        ledger.not_sent();
        last = Some(error.into_error().to_string());
    }
    Err(nobody(service, Missing::NoPlug, last))
}

/// Whether the peer says that it did nothing with the request: it refused the stream, or announced
/// that it goes away without this stream (RFC 9113 section 6.8; h2 fails no other stream by it).
fn was_not_taken(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|error| {
        error.reason() == Some(h2::Reason::REFUSED_STREAM) || (error.is_go_away() && error.is_remote())
    })
}

/// The HTTP/2 error behind an error, where there is one.
fn h2_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e h2::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return Some(h2);
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
        .cause(format!("{error} ({:?})", h2_error(error).and_then(h2::Error::reason)))
}

/// The register cannot be reached.
fn unavailable(service: &ServiceKey, problem: &str) -> Refusal {
    Refusal::new(Reason::RegisterUnavailable)
        .with("provider", service.provider.as_str())
        .with("problem", problem)
}
