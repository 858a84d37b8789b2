//! The gateway's span of a call, and the `traceparent` that the adapter is given. A span is made only where it is
//! recorded, when its call has ended: of a share of the traces, and of every call that was refused, failed or took
//! long. Names after OpenTelemetry's RPC conventions.

mod share;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use opentelemetry_proto::tonic::trace::v1 as proto;
use tokio::time::Instant;
use ura_proto::{ExchangeId, SystemId, refusal::Reason};
use ura_runtime::{
    telemetry::{self, relay},
    trace::TraceContext,
};
use ura_traces::admit::attribute;

use super::Call;
pub(crate) use share::{Share, Shares};

/// Name of a method that no contract has: else callers would choose how many names there are.
static OTHER: LazyLock<Arc<str>> = LazyLock::new(|| "_OTHER".into());

/// Status codes that are errors of a server (RPC conventions, "Server" of gRPC): unknown, deadline
/// exceeded, unimplemented, internal, unavailable, data loss.
pub(crate) const SERVER_ERRORS: [u32; 6] = [2, 4, 12, 13, 14, 15];

/// gRPC status of a call whose caller went away.
const CANCELLED: u32 = 1;

/// What decides whether a call's span is recorded.
#[derive(Debug)]
pub(crate) struct Sampling {
    /// Share of traces that are recorded from their beginning.
    pub(crate) ratio: f64,
    /// A call that takes this long is recorded in any case.
    pub(crate) slow_ms: u64,
    /// What each consumer may have recorded.
    pub(crate) shares: Shares,
}

impl Sampling {
    /// This share of traces, and what takes so many milliseconds; no consumer has had anything yet.
    pub(crate) fn new(ratio: f64, slow_ms: u64) -> Self {
        Self { ratio, slow_ms, shares: Shares::default() }
    }
}

/// A call's span, which ends when it is dropped: by then the last word to the caller is known.
pub(crate) struct Span {
    /// `None` where nobody looks.
    begun: Option<Begun>,
    /// What the caller is told: a status, and the reason where it comes from the bus.
    ended: (u32, Option<Reason>),
}

/// What a span is made of.
struct Begun {
    method: Arc<str>,
    consumer: SystemId,
    provider: Option<SystemId>,
    exchange: ExchangeId,
    /// Its place in the trace, and whether it is recorded however the call ends.
    trace: TraceContext,
    /// Id of the caller's span, where the trace is the caller's.
    parent: Option<[u8; 8]>,
    arrived: Instant,
    arrived_unix_us: i64,
    slow: Duration,
    share: Arc<Share>,
}

/// Begins the span of a call to `method` (`/package.Service/Method`; `None` where no contract has it). Sets
/// the call's trace to the span, so that the adapter continues from here. A caller's wish to be sampled is
/// not a right: the ratio decides, and the consumer's share.
pub(crate) fn begin(
    call: &mut Call,
    method: Option<&Arc<str>>,
    sampling: &Sampling,
    share: &Arc<Share>,
) -> Span {
    let begun = telemetry::tracing_enabled().then(|| begun(call, method, sampling, share));
    Span { begun, ended: (CANCELLED, None) }
}

fn begun(call: &mut Call, method: Option<&Arc<str>>, sampling: &Sampling, share: &Arc<Share>) -> Begun {
    let sampled = within(&call.trace, sampling.ratio) && share.sampled(call.arrived_unix_us);
    let parent = call.trace_continued.then_some(call.trace.span_id);
    if call.trace_continued {
        // The adapter's parent is this hop.
        call.trace = call.trace.child();
    }
    call.trace.sampled = sampled;
    Begun {
        method: method.cloned().unwrap_or_else(|| OTHER.clone()),
        consumer: call.consumer.clone(),
        provider: None,
        exchange: call.exchange,
        trace: call.trace,
        parent,
        arrived: call.arrived,
        arrived_unix_us: call.arrived_unix_us,
        slow: Duration::from_millis(sampling.slow_ms),
        share: share.clone(),
    }
}

/// Whether a trace is among those recorded: by its id, so that every gateway decides alike.
fn within(trace: &TraceContext, ratio: f64) -> bool {
    let [.., a, b, c, d] = trace.trace_id;
    let place = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
    place < ratio || ratio >= 1.0
}

impl Span {
    /// Names who is to answer.
    pub(crate) fn provider(&mut self, provider: &SystemId) {
        if let Some(begun) = &mut self.begun {
            begun.provider = Some(provider.clone());
        }
    }

    /// Notes the status that the caller is given. The last word counts; without one, the caller went away.
    pub(crate) fn end(&mut self, status: u32, refusal: Option<Reason>) {
        self.ended = (status, refusal);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(begun) = &self.begun else { return };
        let (status, refusal) = self.ended;
        let took = begun.arrived.elapsed();
        match begun.fate(took, status, refusal) {
            Fate::Recorded => relay::submit(begun.span(took, status, refusal)),
            Fate::Dropped => relay::drop_one(),
            Fate::Unwanted => {}
        }
    }
}

/// What becomes of a span.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Recorded,
    /// It would have been, but its consumer has had its share.
    Dropped,
    Unwanted,
}

impl Begun {
    fn fate(&self, took: Duration, status: u32, refusal: Option<Reason>) -> Fate {
        if self.trace.sampled {
            return Fate::Recorded;
        }
        if refusal.is_none() && !SERVER_ERRORS.contains(&status) && took < self.slow {
            return Fate::Unwanted;
        }
        let took_us = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        if self.share.late(self.arrived_unix_us.saturating_add(took_us)) {
            Fate::Recorded
        } else {
            Fate::Dropped
        }
    }

    /// The span. Made by hand: its ids went out with the call, and the SDK gives no span ids that are there already.
    fn span(&self, took: Duration, status: u32, refusal: Option<Reason>) -> proto::Span {
        let begun = Duration::from_micros(u64::try_from(self.arrived_unix_us).unwrap_or_default());
        let nanos = |since: Duration| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let method = self.method.trim_start_matches('/');
        let exchange = self.exchange.to_string();
        let texts = [
            ("rpc.system.name", Some("grpc")),
            ("rpc.method", Some(method)),
            ("ura.exchange_id", Some(exchange.as_str())),
            ("ura.consumer", Some(self.consumer.as_str())),
            ("ura.provider", self.provider.as_ref().map(SystemId::as_str)),
            ("rpc.response.status_code", Some(code_name(status))),
            ("error.type", refusal.map(Reason::as_str)),
        ];
        let texts = texts.iter().filter_map(|(key, value)| value.map(|value| attribute(key, value)));
        let is_error = SERVER_ERRORS.contains(&status);
        proto::Span {
            trace_id: self.trace.trace_id.to_vec(),
            span_id: self.trace.span_id.to_vec(),
            parent_span_id: self.parent.map(Vec::from).unwrap_or_default(),
            name: method.to_owned(),
            kind: proto::span::SpanKind::Server.into(),
            start_time_unix_nano: nanos(begun),
            end_time_unix_nano: nanos(begun.saturating_add(took)),
            attributes: texts.collect(),
            status: is_error.then(|| proto::Status {
                code: proto::status::StatusCode::Error.into(),
                message: refusal.map_or("", Reason::as_str).to_owned(),
            }),
            ..proto::Span::default()
        }
    }
}

/// Name of a status code, as the conventions write it.
pub(crate) fn code_name(status: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(status).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("UNKNOWN")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(traceparent: Option<&'static str>) -> Call {
        let mut request = http::Request::post("/t.v1.S/Read");
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        Call::read(&head, "a/portal".parse().expect("valid"), [0; 32], 1_795_348_800_000_000).0
    }

    #[test]
    fn a_span_has_the_trace_that_was_decided_on() {
        let sampling = |ratio| Sampling::new(ratio, 1_000);
        let method: Arc<str> = "/t.v1.S/Read".into();
        let mut new = call(None);
        let decided = new.trace;
        let share = Arc::new(Share::default());
        let span = begun(&mut new, Some(&method), &sampling(1.0), &share).span(Duration::ZERO, 0, None);
        assert_eq!(
            (span.trace_id.as_slice(), span.span_id.as_slice()),
            (&decided.trace_id[..], &decided.span_id[..])
        );
        assert!(span.parent_span_id.is_empty() && new.trace.sampled);
        assert_eq!((new.trace.trace_id, new.trace.span_id), (decided.trace_id, decided.span_id));

        let mut continued = call(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        let callers = continued.trace;
        let begun = begun(&mut continued, None, &sampling(0.0), &share);
        assert!(!continued.trace.sampled, "the caller's flag decides nothing");
        let span = begun.span(Duration::ZERO, 0, None);
        assert_eq!(span.trace_id, callers.trace_id);
        assert_eq!(span.parent_span_id, callers.span_id);
        assert_eq!(span.span_id, continued.trace.span_id, "the adapter continues from this span");
        assert_ne!(span.span_id, callers.span_id);
        assert_eq!(span.name, "_OTHER");
    }

    #[test]
    fn what_is_recorded_in_the_end() {
        let sampling = Sampling::new(0.0, 1_000);
        let share = Arc::new(Share::default());
        let mut begun = begun(&mut call(None), None, &sampling, &share);
        let (fast, slow) = (Duration::from_millis(999), Duration::from_secs(1));
        assert_eq!(begun.fate(fast, 0, None), Fate::Unwanted);
        assert_eq!(begun.fate(fast, 5, None), Fate::Unwanted, "the register's own answer");
        assert_eq!(begun.fate(slow, 0, None), Fate::Recorded);
        assert_eq!(begun.fate(fast, 13, None), Fate::Recorded);
        let refused =
            (0..200).filter(|_| begun.fate(fast, 7, Some(Reason::GrantMissing)) == Fate::Recorded).count();
        assert_eq!(refused, 49, "one of this second was recorded before");
        assert_eq!(begun.fate(fast, 7, Some(Reason::GrantMissing)), Fate::Dropped);
        begun.trace.sampled = true;
        assert_eq!(begun.fate(fast, 7, Some(Reason::GrantMissing)), Fate::Recorded, "not of that share");
    }
}
