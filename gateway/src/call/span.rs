//! The gateway's span of a call, and the `traceparent` that the adapter is given. Attributes are
//! made only where the span is recorded. Names after OpenTelemetry's RPC conventions.

use opentelemetry::{
    Context, KeyValue,
    global::{self, BoxedSpan},
    trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use ura_proto::refusal::Reason;
use ura_runtime::{telemetry, trace::TraceContext};

use super::Call;

/// Name of the instrumentation.
const SCOPE: &str = "ura.gateway";

/// Status codes that are errors of a server (RPC conventions, "Server" of gRPC): unknown, deadline
/// exceeded, unimplemented, internal, unavailable, data loss.
const SERVER_ERRORS: [u32; 6] = [2, 4, 12, 13, 14, 15];

/// A call's span, where it is recorded; ended when dropped at the latest.
#[derive(Default)]
pub(crate) struct Span(Option<BoxedSpan>);

/// Begins the span of a call to `method` (`package.Service/Method`, or `_OTHER` where no contract
/// has it). Sets the call's trace to the span, so that the adapter continues from here. A caller's
/// wish to be sampled is not a right: `sample_ratio` decides.
pub(crate) fn begin(call: &mut Call, method: &str, sample_ratio: f64) -> Span {
    if !telemetry::tracing_enabled() {
        return Span(None);
    }
    if call.trace_continued {
        call.trace.sampled = within(&call.trace, sample_ratio);
        if !call.trace.sampled {
            return Span(None);
        }
    }
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
    if !span.is_recording() {
        return Span(None);
    }
    span.set_attribute(KeyValue::new("rpc.system.name", "grpc"));
    span.set_attribute(KeyValue::new("rpc.method", method.to_owned()));
    span.set_attribute(KeyValue::new("ura.exchange_id", call.exchange.to_string()));
    span.set_attribute(KeyValue::new("ura.consumer", call.consumer.as_str().to_owned()));
    Span(Some(span))
}

/// Whether a trace is among those recorded: by its id, so that every gateway decides alike.
fn within(trace: &TraceContext, ratio: f64) -> bool {
    let [.., a, b, c, d] = trace.trace_id;
    let place = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
    place < ratio || ratio >= 1.0
}

impl Span {
    /// Names who is to answer.
    pub(crate) fn provider(&mut self, provider: &str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("ura.provider", provider.to_owned()));
        }
    }

    /// Ends the span with the status that the caller is given.
    pub(crate) fn end(&mut self, status: u32, refusal: Option<Reason>) {
        let Some(mut span) = self.0.take() else { return };
        span.set_attribute(KeyValue::new("rpc.response.status_code", code_name(status)));
        if let Some(reason) = refusal {
            span.set_attribute(KeyValue::new("error.type", reason.as_str()));
        }
        if SERVER_ERRORS.contains(&status) {
            span.set_status(Status::error(refusal.map_or("", Reason::as_str)));
        }
        span.end();
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
