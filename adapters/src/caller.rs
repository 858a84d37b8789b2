//! What a service that is written in Rust knows of a call beside its request: who asks, why, and under which
//! exchange; and how it says no.
//!
//! All of it was verified by the gateway; nothing a consumer writes into its metadata gets here.

use std::sync::Arc;

use tokio::time::Instant;
use tonic::{Code, Request, Status};
use ura_proto::SystemId;
use ura_runtime::trace::TraceContext;

use crate::{
    register::{CallContext, Failure},
    serve,
};

/// Who asks. Cheap to clone; stands in the extensions of every request of a typed service.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: CallContext,
    system: SystemId,
    method: Arc<str>,
}

impl Caller {
    pub(crate) fn new(context: CallContext, system: SystemId, method: Arc<str>) -> Self {
        Self(Arc::new(Inner { context, system, method }))
    }

    /// The caller of a request.
    ///
    /// # Errors
    /// INTERNAL where the request did not come through [`ServiceBuilder`](crate::serve::ServiceBuilder).
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let found = request.extensions().get::<Self>().cloned();
        found.ok_or_else(|| Status::internal("this service is not served by the adapter library"))
    }

    /// The system that asks, `<member>/<system>`, as its certificate names it.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.0.context.consumer
    }

    /// Code of the purpose that the grant allows; none where the grant names no purposes.
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.0.context.purpose.as_deref()
    }

    /// The person on whose behalf the consumer asks, where the gateway has verified one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.0.context.user.as_deref()
    }

    /// Case or file number of the consumer, at most 128 visible ASCII characters.
    #[must_use]
    pub fn case_number(&self) -> Option<&str> {
        self.0.context.case_number.as_deref()
    }

    /// Id of the exchange, under which evidence keeps it: write it to your own log.
    #[must_use]
    pub fn exchange_id(&self) -> &str {
        &self.0.context.exchange_id
    }

    /// Key of a write: two calls of one consumer with the same key are one write.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.0.context.idempotency_key.as_deref()
    }

    /// When the consumer stops waiting; the call is dropped then.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.context.deadline
    }

    /// The trace that the call belongs to, at this process's own span.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        self.0.context.trace
    }

    /// The same as a `traceparent` header (W3C Trace Context), for whatever the service asks in turn.
    #[must_use]
    pub fn traceparent(&self) -> String {
        String::from_utf8_lossy(&self.0.context.trace.header()).into_owned()
    }

    /// A status with a reason: `message` is for people and names no value that the consumer may not see,
    /// `reason`, in capitals with underscores, is for programs. It travels in `google.rpc.ErrorInfo`, whose
    /// domain is this adapter's system.
    #[must_use]
    pub fn refuse(&self, code: Code, reason: &'static str, message: impl Into<String>) -> Status {
        self.fail(&Failure::new(code, reason, message, ""))
    }

    /// A status of a failure, whose detail goes to this process's log and nowhere else.
    #[must_use]
    pub fn fail(&self, failure: &Failure) -> Status {
        let Inner { context, system, method } = &*self.0;
        serve::status(failure, system, &context.exchange_id, method)
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn a_request_from_elsewhere_has_no_caller() {
        let status = Caller::of(&Request::new(())).expect_err("no caller");
        assert_eq!(status.code(), Code::Internal);
    }

    #[test]
    fn a_refusal_has_its_reason_and_keeps_its_detail() {
        let context = CallContext {
            consumer: "ais/portal".to_owned(),
            purpose: None,
            case_number: None,
            user: None,
            exchange_id: "0190163d".to_owned(),
            idempotency_key: None,
            trace: TraceContext::root(false),
            deadline: None,
        };
        let caller = Caller::new(context, "arc/archive".parse().expect("valid"), "a.B/C".into());
        let status = caller.refuse(Code::NotFound, "DOCUMENT_UNKNOWN", "No document has this number.");
        let info = status.get_details_error_info().expect("details");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("DOCUMENT_UNKNOWN", "arc/archive"));
        let failure = Failure::new(Code::Internal, "DISK", "The archive is closed.", "/dev/sda1 is full");
        assert!(!format!("{:?}", caller.fail(&failure)).contains("sda1"));
        assert_eq!(caller.traceparent().len(), 55);
    }
}
