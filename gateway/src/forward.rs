//! Forwarding: opaque bytes, both ways. It takes a permit, and a permit is made only by the decision.
//! Stands above policy, evidence and plugs, because every frame it lets out waits for its record.

mod answer;
mod attempt;
mod flow;
mod forwarding;
mod headers;
mod look;
mod outgoing;
mod reply;
mod request;
mod stream;
mod unserved;

use http::Response;
use hyper::body::Incoming;

use crate::{
    call::body::Outbound,
    config::Limits,
    error::Refusal,
    evidence::Ledger,
    plug::{InFlight, Plugs},
    policy::Permit,
};

use attempt::Attempts;
pub(crate) use flow::Flow;
pub(crate) use forwarding::Forwarding;
pub(crate) use headers::Sending;
pub(crate) use outgoing::Reply;
pub(crate) use reply::Forwarded;
pub(crate) use request::{Reading, receive};

/// Sends a permitted call to an adapter, once its service has a place for it, and returns the head of its
/// answer.
///
/// Where a plug hands the call back untouched, or the adapter's HTTP/2 stack says that its application
/// never saw it (RFC 9113 section 8.7), another plug is tried. What may have been executed is sent again
/// only where the contract says that this does no harm, to another plug, before anything of an answer
/// came, and as far as the service's budget goes; a call of any other method never is.
pub(crate) async fn send(
    permit: &Permit,
    sending: &Sending<'_>,
    ledger: &Ledger,
    plugs: &Plugs,
    body: Outbound,
    flow: &Flow,
    limits: &Limits,
) -> Result<(Response<Incoming>, InFlight), Refusal> {
    let service = permit.service();
    if let Some(late) = flow.late() {
        return Err(late.waiting_for(&service.key.provider));
    }
    let inside = unserved::place(service, plugs, limits, flow).await?;
    let patience = (!permit.method().streams()).then(|| service.unary_timeout(limits));
    let attempts = Attempts::new(permit, sending, ledger, plugs, flow, patience);
    let (answer, mut place) = attempts.send(body).await?;
    if let Some(inside) = inside {
        place.keep(inside);
    }
    Ok((answer, place))
}
