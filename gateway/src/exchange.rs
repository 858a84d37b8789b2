//! One exchange, from top to bottom: identify, locate, decide, open evidence, forward, close
//! evidence. The branches stand here; what each step does stands in its own module.

mod own;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use ura_evidence::writer::Evidence;
use ura_proto::{
    SystemId,
    refusal::{Reason, Term},
};
use ura_runtime::{clock::Clock, process::Shutdown};

use crate::{
    call::{
        Call,
        body::{HeldBytes, Outbound},
        span,
        streams::{Stream, Streams},
    },
    config::Limits,
    directory::{Directory, ServiceKey, Snapshot},
    error::Refusal,
    evidence::{Decided, Ended, Ledger},
    forward::{self, Flow, Forwarded, Forwarding, Reading, Reply, Sending},
    meter::{Meter, Meters, Waiting},
    plug::{InFlight, Plugs},
    policy::{self, Located, Permit},
};

pub(crate) use own::{Own, OwnService};

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
    /// Which spans are recorded.
    pub(crate) sampling: span::Sampling,
    /// When the gateway began to listen.
    pub(crate) started: Instant,
    /// The gateway's own services.
    pub(crate) own: Own,
    /// What is counted of exchanges.
    pub(crate) meters: Arc<Meters>,
}

impl Bus {
    /// A place among the calls in hand.
    fn slot(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let full = |_| Refusal::new(Reason::Overloaded).term("limit", Term::CallsOfBus);
        self.calls.clone().try_acquire_owned().map_err(full)
    }
}

/// A consumer's connection.
#[derive(Clone)]
pub(crate) struct Asker {
    /// Who asks, by its certificate.
    pub(crate) consumer: SystemId,
    /// SHA-256 of that certificate in DER.
    pub(crate) certificate: [u8; 32],
    /// The calls in hand on the connection.
    pub(crate) streams: Arc<Streams<ServiceKey>>,
    /// How many spans of its calls are recorded.
    pub(crate) spans: Arc<span::Share>,
}

impl Asker {
    /// A place among the calls in hand on the connection.
    fn stream(&self, permit: &Permit) -> Result<Stream<ServiceKey>, Refusal> {
        let service = &permit.service().key;
        self.streams.take(service).ok_or_else(|| {
            Refusal::new(Reason::Overloaded)
                .term("limit", Term::CallsOfConnection)
                .with("provider", service.provider.as_str())
        })
    }
}

/// Answers one request of a consumer.
pub(crate) async fn exchange(bus: Arc<Bus>, asker: Asker, request: Request<Incoming>) -> Response<Reply> {
    let (consumer, certificate) = (asker.consumer.clone(), asker.certificate);
    if bus.own.serves(request.uri().path()) {
        return bus.own.answer(&bus.directory, &bus.plugs, consumer, request).await;
    }
    // 1 identify
    let (head, body) = request.into_parts();
    let (mut call, readable) = Call::read(&head, consumer, certificate, bus.clock.unix_us());
    let directory = bus.directory.load();
    let method = directory.methods.get(&*call.path).map(|method| &method.path);
    let mut span = span::begin(&mut call, method, &bus.sampling, &asker.spans);
    let mut meter = Meter::new(&bus.meters, &directory, &call.consumer, &call.path, call.arrived);
    let ledger = Arc::new(Ledger::new(&bus.evidence, &call));

    // 2 locate, 3 decide
    let mut located = Located::default();
    let permitted = readable.and_then(|()| bus.slot()).and_then(|slot| {
        let permit = policy::decide(&directory, &call, bus.clock.unix_us(), &mut located)?;
        let stream = asker.stream(&permit)?;
        Ok((permit, (slot, stream)))
    });
    let (permit, slot) = match permitted {
        Ok(permitted) => permitted,
        Err(refusal) => {
            if let Some(provider) = &located.provider {
                meter.provider(provider);
            }
            let decided = Decided { provider: located.provider.as_ref(), ..Decided::default() };
            // Before anything is waited for: a caller that leaves then was refused all the same.
            told(&mut span, &mut meter, &refusal);
            let refusal = ledger.refuse(&call, &directory, decided, refusal).await;
            told(&mut span, &mut meter, &refusal);
            return refused(&call, &refusal, head.method == http::Method::POST);
        }
    };
    span.provider(permit.provider());
    meter.provider(permit.provider());
    let until = deadline(&bus.limits, &call, &permit);
    let flow = Flow::new(permit.method(), &bus.limits, until);
    let permitted = Permitted {
        bus: &bus,
        call: &call,
        directory: &directory,
        ledger: &ledger,
        permit: &permit,
        flow: &flow,
    };
    let mut seen = Seen { by: Some((span, meter)), flow: &flow, ledger: &ledger };

    // 4 open evidence
    let body = match permitted.open(body, &mut seen).await {
        Ok(body) => body,
        Err(refusal) => return seen.refused(&call, &refusal),
    };
    // 5 forward, 6 close evidence: of a refusal here, of an answer when its last byte leaves
    match permitted.forward(head.headers, body, &mut seen).await {
        Ok((answer, place)) => {
            let limits = bus.limits.clone();
            let language = call.language;
            let (span, meter) = seen.hand_over();
            let with = Forwarding { permit, ledger, limits, language, flow, _slot: slot, span, meter };
            Forwarded::respond(with, answer, place)
        }
        Err(refusal) => {
            seen.told(&refusal);
            permitted.close(&refusal).await;
            seen.refused(&call, &refusal)
        }
    }
}

/// What counts and traces a permitted call until its reply takes over: given up at any point, it was called, and took
/// its time.
struct Seen<'x> {
    by: Option<(span::Span, Meter)>,
    flow: &'x Flow,
    ledger: &'x Ledger,
}

impl Seen<'_> {
    fn told(&mut self, refusal: &Refusal) {
        if let Some((span, meter)) = &mut self.by {
            told(span, meter, refusal);
        }
    }

    fn refused(&mut self, call: &Call, refusal: &Refusal) -> Response<Reply> {
        self.told(refusal);
        refused(call, refusal, true)
    }

    fn hand_over(mut self) -> (span::Span, Meter) {
        self.by.take().expect("nobody else takes it")
    }
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        if let Some((_, meter)) = &mut self.by {
            meter.forwarded(&self.flow.times, self.ledger.bytes());
        }
    }
}

/// A permitted call on its way.
struct Permitted<'x> {
    bus: &'x Bus,
    call: &'x Call,
    directory: &'x Snapshot,
    ledger: &'x Arc<Ledger>,
    permit: &'x Permit,
    flow: &'x Arc<Flow>,
}

/// Breaks the request off, unless the reply took over.
struct Unanswered<'x>(Option<&'x Flow>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(flow) = self.0 {
            flow.over();
        }
    }
}

impl Permitted<'_> {
    /// Reads what must be known of the request and queues its opening. That of a write is on disk
    /// when this returns; that of a read is waited for before its answer leaves.
    async fn open(&self, body: Incoming, seen: &mut Seen<'_>) -> Result<Outbound, Refusal> {
        let reading = Reading {
            method: self.permit.method(),
            validate: self.permit.service().validate,
            encoding: self.call.encoding,
            limits: &self.bus.limits,
            held: &self.bus.held,
            ledger: self.ledger,
            flow: self.flow,
        };
        let decided = Decided {
            provider: Some(self.permit.provider()),
            purpose: self.permit.purpose(),
            grant: Some(self.permit.grant()),
            refusal: "",
        };
        let asked = match forward::receive(&reading, body).await {
            Ok(asked) => asked,
            Err(refusal) => {
                let decided = Decided { grant: None, ..decided };
                seen.told(&refusal);
                return Err(self.ledger.refuse(self.call, self.directory, decided, refusal).await);
            }
        };
        self.ledger.open(self.call, self.directory, &decided, &asked.subjects, asked.complete)?;
        if self.permit.method().writes() {
            self.ledger.recorded().await?;
        }
        Ok(asked.body)
    }

    /// Sends the call and waits for the head of its answer and for every record so far.
    async fn forward(
        &self,
        headers: HeaderMap,
        body: Outbound,
        seen: &mut Seen<'_>,
    ) -> Result<(Response<Incoming>, InFlight), Refusal> {
        let Self { bus, call, ledger, permit, flow, .. } = self;
        let first_plugs = bus.started + Duration::from_millis(bus.limits.plug_wait_ms);
        let plugged = bus.plugs.wait_for(&permit.service().key, first_plugs.min(flow.until()));
        flow.times.of(Waiting::Place, plugged).await;
        let sending = Sending { call, headers, salt: ledger.salt(), traceparent: call.trace.header() };
        // Until the reply takes over, giving up must also end what still goes up to the adapter.
        let mut unanswered = Unanswered(Some(flow));
        let answer = forward::send(permit, &sending, ledger, &bus.plugs, body, flow, &bus.limits).await;
        if let Err(refusal) = &answer {
            seen.told(refusal);
        }
        ledger.recorded().await.map_err(|unrecorded| unrecorded.outcome(ledger.outcome()))?;
        if answer.is_ok() {
            unanswered.0 = None;
        }
        answer
    }

    /// Records that the bus ended the call. Of a write this is on disk when it returns; what the log
    /// cannot take now, it takes later: the caller is told that the call failed either way.
    async fn close(&self, refusal: &Refusal) {
        let status = refusal.status();
        let ended = Ended { status, outcome: refusal.outcome, refusal: Some(refusal.reason) };
        if let Some(closed) = self.ledger.close(ended)
            && self.permit.method().writes()
        {
            closed.await;
        }
    }
}

/// When a call must have ended: the caller's limit, within the gateway's own.
fn deadline(limits: &Limits, call: &Call, permit: &Permit) -> Instant {
    let own = if permit.method().streams() {
        Duration::from_millis(limits.stream_timeout_ms)
    } else {
        permit.service().unary_timeout(limits)
    };
    call.arrived + call.timeout.map_or(own, |asked| asked.min(own))
}

/// Notes what the caller is told.
fn told(span: &mut span::Span, meter: &mut Meter, refusal: &Refusal) {
    span.end(refusal.status(), Some(refusal.reason));
    meter.end(refusal.status(), Some(refusal.reason));
}

/// The response to a refused call.
fn refused(call: &Call, refusal: &Refusal, post: bool) -> Response<Reply> {
    tracing::info!(
        exchange = %call.exchange,
        consumer = %call.consumer,
        path = &*call.path,
        reason = %refusal.reason,
        why = refusal.log_text(),
        "refused"
    );
    let mut response = refusal.response(call.language, call.exchange);
    if !post {
        // Whoever does not speak gRPC reads the HTTP status.
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    response
}
