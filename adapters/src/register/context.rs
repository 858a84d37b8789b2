//! What the bus says about a call, beside the request.

use tokio::time::Instant;
use ura_runtime::trace::TraceContext;

/// Who asks, why, and until when. Written by the serving half from what the gateway verified.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// System that asks, `<member>/<system>`.
    pub consumer: String,
    /// Purpose that the grant allows.
    pub purpose: Option<String>,
    /// Case or file number of the consumer.
    pub case_number: Option<String>,
    /// Person on whose behalf the consumer asks.
    pub user: Option<String>,
    /// Id of the exchange.
    pub exchange_id: String,
    /// Key under which a write is executed at most once.
    pub idempotency_key: Option<String>,
    /// Trace that the call belongs to.
    pub trace: TraceContext,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// A value of the context, by the name that adapter files use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContextName {
    Consumer,
    Purpose,
    Case,
    User,
    ExchangeId,
    IdempotencyKey,
}

impl ContextName {
    /// All names, for messages.
    pub(crate) const ALL: &'static str = "consumer, purpose, case, user, exchange_id, idempotency_key";

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "consumer" => Self::Consumer,
            "purpose" => Self::Purpose,
            "case" => Self::Case,
            "user" => Self::User,
            "exchange_id" => Self::ExchangeId,
            "idempotency_key" => Self::IdempotencyKey,
            _ => return None,
        })
    }
}

impl CallContext {
    pub(crate) fn value(&self, name: ContextName) -> Option<&str> {
        match name {
            ContextName::Consumer => Some(&self.consumer),
            ContextName::Purpose => self.purpose.as_deref(),
            ContextName::Case => self.case_number.as_deref(),
            ContextName::User => self.user.as_deref(),
            ContextName::ExchangeId => Some(&self.exchange_id),
            ContextName::IdempotencyKey => self.idempotency_key.as_deref(),
        }
    }
}
