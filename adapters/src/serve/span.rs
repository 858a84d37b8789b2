//! The OpenTelemetry server span of one call. The attributes' names stand only here; they follow the
//! RPC conventions (release candidate of 2026).

use std::sync::Arc;

use opentelemetry::{
    Context, KeyValue,
    global::{self, BoxedSpan},
    trace::{Span, SpanKind, Status, TraceContextExt, Tracer},
};
use tonic::Code;
use ura_runtime::{telemetry, trace::TraceContext};

const TRACER: &str = "ura.adapters";
const SYSTEM: &str = "rpc.system.name";
const METHOD: &str = "rpc.method";
const STATUS: &str = "rpc.response.status_code";

/// A call's span, or nothing where nobody looks. Dropped without an end, it says CANCELLED.
pub(super) struct CallSpan(Option<BoxedSpan>);

impl CallSpan {
    /// No span.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Begins the span of a call of `method`, `package.Service/Method`, under the caller's context.
    /// The context for whatever the call does itself comes along: the span's own, or the caller's
    /// where nothing is recorded.
    pub(super) fn start(parent: TraceContext, method: &Arc<str>) -> (Self, TraceContext) {
        if !parent.sampled || !telemetry::tracing_enabled() {
            return (Self::none(), parent);
        }
        let tracer = global::tracer(TRACER);
        let builder = tracer
            .span_builder(method.to_string())
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new(SYSTEM, "grpc"), KeyValue::new(METHOD, Arc::clone(method))]);
        let remote = Context::new().with_remote_span_context(parent.otel());
        let span = tracer.build_with_context(builder, &remote);
        let own = span.span_context();
        let trace = TraceContext {
            trace_id: own.trace_id().to_bytes(),
            span_id: own.span_id().to_bytes(),
            sampled: own.is_sampled(),
        };
        (Self(Some(span)), trace)
    }

    /// Whether an end would be noted.
    pub(super) fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Ends the span with the call's status.
    pub(super) fn end(mut self, code: Code) {
        self.close(code);
    }

    fn close(&mut self, code: Code) {
        let Some(mut span) = self.0.take() else {
            return;
        };
        span.set_attribute(KeyValue::new(STATUS, name(code)));
        if is_error(code) {
            span.set_status(Status::error(name(code)));
        }
        span.end();
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        self.close(Code::Cancelled);
    }
}

/// Whether a server counts `code` as its own error, by the RPC conventions.
pub(super) fn is_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The code's name in the gRPC specification.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
