//! One exchange, from top to bottom: identify, locate, decide, open evidence, forward, close
//! evidence. The branches stand here; what each step does stands in its own module.

mod own;

use std::{sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::{sync::Semaphore, time::Instant};
use ura_proto::{SystemId, refusal::Reason};
use ura_runtime::{clock::Clock, process::Shutdown};

use crate::{
    call::{Call, span},
    config::Limits,
    directory::{Directory, contract::Method},
    error::Refusal,
    evidence::{Decided, Ended, Evidence, Ledger},
    forward::{self, Forwarded, Forwarding, HeldBytes, Reading, Reply, Sending},
    plug::Plugs,
    policy::{self, Located},
};

pub(crate) use own::Own;

/// Everything that exchanges share.
pub(crate) struct Bus {
    pub(crate) directory: Directory,
    pub(crate) evidence: Evidence,
    pub(crate) plugs: Arc<Plugs>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) clock: Clock,
    pub(crate) shutdown: Shutdown,
    /// Calls in hand.
    pub(crate) calls: Arc<Semaphore>,
    /// Request bytes held.
    pub(crate) held: HeldBytes,
    /// Share of traces that are recorded.
    pub(crate) sample_ratio: f64,
    /// When the gateway began to listen.
    pub(crate) started: Instant,
    /// The gateway's own services.
    pub(crate) own: Own,
}

/// Answers one request of a consumer. The connection has identified the caller.
pub(crate) async fn exchange(
    bus: Arc<Bus>,
    consumer: SystemId,
    request: Request<Incoming>,
) -> Response<Reply> {
    if Own::serves(request.uri().path()) {
        return bus.own.answer(&bus.directory, &bus.plugs, request).await;
    }
    // 1 identify
    let (head, body) = request.into_parts();
    let (mut call, readable) = Call::read(&head, consumer, bus.clock.unix_us());
    let directory = bus.directory.load();
    let known = directory.methods.get(&*call.path);
    let mut span =
        span::begin(&mut call, known.map_or("_OTHER", |m| m.path.trim_start_matches('/')), bus.sample_ratio);
    let ledger = Arc::new(Ledger::new(&bus.evidence, &call));

    // 2 locate, 3 decide
    let mut located = Located::default();
    let slot = readable.and_then(|()| {
        bus.calls
            .clone()
            .try_acquire_owned()
            .map_err(|_| Refusal::new(Reason::Overloaded).with("limit", "calls in hand"))
    });
    let permit = slot.and_then(|slot| {
        let permit = policy::decide(&directory, &call, bus.clock.unix_us(), &mut located)?;
        Ok((permit, slot))
    });
    let (permit, slot) = match permit {
        Ok(permit) => permit,
        Err(refusal) => {
            let decided = Decided { provider: located.provider.as_ref(), ..Decided::default() };
            let refusal = ledger.refuse(&call, &directory, decided, refusal).await;
            return refused(&call, &mut span, &refusal, head.method == http::Method::POST);
        }
    };
    span.provider(permit.provider().as_str());
    let until = deadline(&bus.limits, &call, permit.method());

    // 4 open evidence
    let reading = Reading {
        method: permit.method(),
        encoding: call.encoding,
        limits: &bus.limits,
        held: &bus.held,
        ledger: &ledger,
        until,
    };
    let decided = Decided {
        provider: Some(permit.provider()),
        purpose: permit.purpose(),
        grant: permit.grant(),
        refusal: "",
    };
    let asked = match forward::receive(&reading, body).await {
        Ok(asked) => asked,
        Err(refusal) => {
            let decided = Decided { grant: "", ..decided };
            let refusal = ledger.refuse(&call, &directory, decided, refusal).await;
            return refused(&call, &mut span, &refusal, true);
        }
    };
    if let Err(refusal) = ledger.open(&call, &directory, &decided, &asked.subjects, asked.complete) {
        return refused(&call, &mut span, &refusal, true);
    }
    if permit.method().writes()
        && let Err(refusal) = ledger.recorded().await
    {
        return refused(&call, &mut span, &refusal, true);
    }

    // 5 forward
    let service = &permit.service().key;
    bus.plugs
        .wait_for(service, until.min(bus.started + Duration::from_millis(bus.limits.plug_wait_ms)))
        .await;
    let sending =
        Sending { call: &call, headers: head.headers, salt: ledger.salt(), traceparent: call.trace.header() };
    let answer = forward::send(&permit, &sending, &ledger, &bus.plugs, asked.body, until).await;
    let recorded = ledger.recorded().await;

    // 6 close evidence: of a refusal here, of an answer when its last byte leaves
    let refusal = match (answer, recorded) {
        (Ok((answer, place)), Ok(())) => {
            let limits = bus.limits.clone();
            let language = call.language;
            let with = Forwarding { permit, ledger, limits, language, until, _slot: slot, span };
            return Forwarded::respond(with, answer, place);
        }
        (Err(refusal), Ok(())) => refusal,
        (_, Err(unrecorded)) => unrecorded.outcome(ledger.outcome()),
    };
    let status = u32::try_from(i32::from(refusal.reason.status())).unwrap_or(2);
    let ended = Ended { status, outcome: refusal.outcome, refusal: Some(refusal.reason) };
    if let Some(closed) = ledger.close(ended)
        && permit.method().writes()
    {
        // The caller is told that it failed either way; what the log cannot take now, it takes later.
        closed.await;
    }
    refused(&call, &mut span, &refusal, true)
}

/// When a call must have ended: the caller's limit, within the gateway's own.
fn deadline(limits: &Limits, call: &Call, method: &Method) -> Instant {
    let stream = method.streams_request || method.streams_reply;
    let own = Duration::from_millis(if stream { limits.stream_timeout_ms } else { limits.unary_timeout_ms });
    call.arrived + call.timeout.map_or(own, |asked| asked.min(own))
}

/// The response to a refused call.
fn refused(call: &Call, span: &mut span::Span, refusal: &Refusal, post: bool) -> Response<Reply> {
    tracing::info!(
        exchange = %call.exchange,
        consumer = %call.consumer,
        path = &*call.path,
        reason = %refusal.reason,
        why = refusal.log_text(),
        "refused"
    );
    span.end(u32::try_from(i32::from(refusal.reason.status())).unwrap_or(2), Some(refusal.reason));
    let mut response = refusal.response(call.language, call.exchange);
    if !post {
        // Whoever does not speak gRPC reads the HTTP status.
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    response
}
