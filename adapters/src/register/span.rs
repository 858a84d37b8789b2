//! The client span of one call to a register. Made only where spans are exported and this trace is
//! sampled; holds names, never values.

use opentelemetry::{
    Context, KeyValue, global,
    trace::{SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use ura_runtime::{telemetry, trace::TraceContext};

use super::{context::CallContext, failure::Failure};
use crate::plan::RegisterKind;

/// Ends with the call.
pub(crate) struct ClientSpan(Context);

impl ClientSpan {
    /// `None` where nobody would see it.
    pub(crate) fn start(
        kind: RegisterKind,
        address: &str,
        method: &str,
        context: &CallContext,
    ) -> Option<Self> {
        if !context.trace.sampled || !telemetry::tracing_enabled() {
            return None;
        }
        let name = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
        let mut attributes = vec![name("server.address", address)];
        match kind {
            RegisterKind::Postgres | RegisterKind::Sqlite => {
                let system = if kind == RegisterKind::Postgres { "postgresql" } else { "sqlite" };
                attributes.push(name("db.system.name", system));
                attributes.push(name("db.operation.name", method));
            }
            RegisterKind::Rest => attributes.push(name("ura.register.kind", "rest")),
            RegisterKind::Soap => {
                attributes.push(name("ura.register.kind", "soap"));
                attributes.push(name("rpc.method", method));
            }
        }
        let tracer = global::tracer("ura-adapters");
        let parent = Context::new().with_remote_span_context(context.trace.otel());
        let span = tracer
            .span_builder(format!("register {method}"))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes)
            .start_with_context(&tracer, &parent);
        Some(Self(Context::new().with_span(span)))
    }

    /// The span as a trace context, to be sent on.
    pub(crate) fn trace(&self) -> TraceContext {
        let span = self.0.span();
        let context = span.span_context();
        TraceContext {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
            sampled: context.is_sampled(),
        }
    }

    pub(crate) fn failed(&self, failure: &Failure) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("error.type", failure.reason));
        span.set_status(Status::error(failure.reason));
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        self.0.span().end();
    }
}
