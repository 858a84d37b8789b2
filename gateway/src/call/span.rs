//! The gateway's span of a call, and the `traceparent` that the adapter is given. Attributes are
//! made only where the span is recorded: at its beginning for a share of the traces, at its end for every call that was
//! refused, failed or took long. Names after OpenTelemetry's RPC conventions.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue,
    global::{self, BoxedSpan},
    trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _},
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

/// Name of the instrumentation.
const SCOPE: &str = "ura.gateway";

/// Name of a method that no contract has: else callers would choose how many names there are.
static OTHER: LazyLock<Arc<str>> = LazyLock::new(|| "_OTHER".into());

/// Status codes that are errors of a server (RPC conventions, "Server" of gRPC): unknown, deadline
/// exceeded, unimplemented, internal, unavailable, data loss.
pub(crate) const SERVER_ERRORS: [u32; 6] = [2, 4, 12, 13, 14, 15];

/// gRPC status of a call whose caller went away.
const CANCELLED: u32 = 1;

/// Calls of one second whose spans are recorded because of their traces' ids: those are the callers' to choose.
const SAMPLED_PER_S_MAX: u64 = 500;

/// The second, since the gateway began to count, and the calls sampled in it, in the lower 32 bits.
static SAMPLED: AtomicU64 = AtomicU64::new(0);

/// What decides whether a call's span is recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    /// Share of traces that are recorded from their beginning.
    pub(crate) ratio: f64,
    /// A call that takes this long is recorded in any case.
    pub(crate) slow_ms: u64,
}

/// A call's span, which ends when it is dropped: by then the last word to the caller is known.
pub(crate) struct Span {
    recorded: Recorded,
    /// What the caller is told: a status, and the reason where it comes from the bus.
    ended: (u32, Option<Reason>),
}

/// How a span is recorded.
enum Recorded {
    /// Not at all: nobody looks.
    Off,
    /// From its beginning.
    Live(BoxedSpan),
    /// If the call ends badly or late.
    Late(Late),
}

/// What a span is made of that nobody wanted when its call began.
pub(crate) struct Late {
    method: Arc<str>,
    consumer: SystemId,
    provider: Option<SystemId>,
    exchange: ExchangeId,
    trace: TraceContext,
    /// Id of the caller's span, where the trace is the caller's.
    parent: Option<[u8; 8]>,
    arrived: Instant,
    arrived_unix_us: i64,
    slow: Duration,
}

/// Begins the span of a call to `method` (`/package.Service/Method`; `None` where no contract has it). Sets
/// the call's trace to the span, so that the adapter continues from here. A caller's wish to be sampled is
/// not a right: the ratio decides.
pub(crate) fn begin(call: &mut Call, method: Option<&Arc<str>>, sampling: Sampling) -> Span {
    let recorded =
        if telemetry::tracing_enabled() { recorded(call, method, sampling) } else { Recorded::Off };
    Span { recorded, ended: (CANCELLED, None) }
}

fn recorded(call: &mut Call, method: Option<&Arc<str>>, sampling: Sampling) -> Recorded {
    call.trace.sampled = within(&call.trace, sampling.ratio) && has_place(call.arrived_unix_us);
    if !call.trace.sampled {
        let parent = call.trace_continued.then_some(call.trace.span_id);
        if call.trace_continued {
            // The same as of a span that is recorded: the adapter's parent is this hop.
            call.trace = call.trace.child();
        }
        return Recorded::Late(Late {
            method: method.cloned().unwrap_or_else(|| OTHER.clone()),
            consumer: call.consumer.clone(),
            provider: None,
            exchange: call.exchange,
            trace: call.trace,
            parent,
            arrived: call.arrived,
            arrived_unix_us: call.arrived_unix_us,
            slow: Duration::from_millis(sampling.slow_ms),
        });
    }
    let method = method.map_or("_OTHER", |method| method.trim_start_matches('/'));
    let tracer = global::tracer(SCOPE);
    let builder = tracer.span_builder(method.to_owned()).with_kind(SpanKind::Server);
    let parent = if call.trace_continued {
        Context::new().with_remote_span_context(call.trace.otel())
    } else {
        Context::new()
    };
    let mut span = tracer.build_with_context(builder, &parent);
    let context = span.span_context();
    call.trace = TraceContext {
        trace_id: context.trace_id().to_bytes(),
        span_id: context.span_id().to_bytes(),
        sampled: context.is_sampled(),
    };
    span.set_attribute(KeyValue::new("rpc.system.name", "grpc"));
    span.set_attribute(KeyValue::new("rpc.method", method.to_owned()));
    span.set_attribute(KeyValue::new("ura.exchange_id", call.exchange.to_string()));
    span.set_attribute(KeyValue::new("ura.consumer", call.consumer.as_str().to_owned()));
    Recorded::Live(span)
}

/// Whether a trace is among those recorded: by its id, so that every gateway decides alike.
fn within(trace: &TraceContext, ratio: f64) -> bool {
    let [.., a, b, c, d] = trace.trace_id;
    let place = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
    place < ratio || ratio >= 1.0
}

/// Whether fewer calls than may be were sampled in this second.
fn has_place(unix_us: i64) -> bool {
    let second = u64::try_from(unix_us / 1_000_000).unwrap_or_default() << 32;
    let next = |counted: u64| if counted & !0xffff_ffff == second { counted + 1 } else { second + 1 };
    let before = SAMPLED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |counted| Some(next(counted)));
    next(before.unwrap_or_default()) & 0xffff_ffff <= SAMPLED_PER_S_MAX
}

impl Span {
    /// Names who is to answer.
    pub(crate) fn provider(&mut self, provider: &SystemId) {
        match &mut self.recorded {
            Recorded::Off => {}
            Recorded::Live(span) => {
                span.set_attribute(KeyValue::new("ura.provider", provider.as_str().to_owned()));
            }
            Recorded::Late(late) => late.provider = Some(provider.clone()),
        }
    }

    /// Notes the status that the caller is given. The last word counts; without one, the caller went away.
    pub(crate) fn end(&mut self, status: u32, refusal: Option<Reason>) {
        self.ended = (status, refusal);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let (status, refusal) = self.ended;
        match &mut self.recorded {
            Recorded::Off => {}
            Recorded::Live(span) => {
                span.set_attribute(KeyValue::new("rpc.response.status_code", code_name(status)));
                if let Some(reason) = refusal {
                    span.set_attribute(KeyValue::new("error.type", reason.as_str()));
                }
                if SERVER_ERRORS.contains(&status) {
                    span.set_status(Status::error(refusal.map_or("", Reason::as_str)));
                }
                span.end();
            }
            Recorded::Late(late) => {
                let took = late.arrived.elapsed();
                if refusal.is_some() || SERVER_ERRORS.contains(&status) || took >= late.slow {
                    relay::submit(late.span(took, status, refusal));
                }
            }
        }
    }
}

impl Late {
    /// The span, with the same attributes as if it had been recorded from its beginning. Made by hand: its ids
    /// went out with the call, and the SDK gives no span ids that are there already.
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
