//! What the gateway says about a call, read from its metadata. Pure.
//!
//! Only a verified gateway reaches this code, and it writes these keys anew for each exchange; they
//! are read, not judged.

use http::HeaderMap;
use tokio::time::Instant;
use ura_proto::{metadata, timeout};
use ura_runtime::trace::TraceContext;

use crate::register::{CallContext, Failure};

/// Reads a call's context.
///
/// # Errors
/// `REQUEST_INVALID` where the consumer or the exchange is not named, or a key is malformed.
pub(super) fn read(headers: &HeaderMap, trace: TraceContext, now: Instant) -> Result<CallContext, Failure> {
    let deadline = match text(headers, metadata::GRPC_TIMEOUT)? {
        None => None,
        Some(value) => {
            let left = timeout::parse(value.as_bytes()).ok_or_else(|| malformed(metadata::GRPC_TIMEOUT))?;
            now.checked_add(left)
        }
    };
    Ok(CallContext {
        consumer: required(headers, metadata::CONSUMER)?,
        purpose: text(headers, metadata::PURPOSE)?,
        case_number: text(headers, metadata::CASE)?,
        user: text(headers, metadata::USER)?,
        exchange_id: required(headers, metadata::EXCHANGE_ID)?,
        idempotency_key: text(headers, metadata::IDEMPOTENCY_KEY)?,
        trace,
        deadline,
    })
}

fn text(headers: &HeaderMap, key: &'static str) -> Result<Option<String>, Failure> {
    match headers.get(key).map(http::HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok("")) => Ok(None),
        Some(Ok(text)) => Ok(Some(text.to_owned())),
        Some(Err(_)) => Err(malformed(key)),
    }
}

fn required(headers: &HeaderMap, key: &'static str) -> Result<String, Failure> {
    text(headers, key)?.ok_or_else(|| Failure::invalid(format!("The metadata key {key} is missing.")))
}

fn malformed(key: &'static str) -> Failure {
    Failure::invalid(format!("The metadata key {key} is malformed."))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use tonic::Code;

    use super::*;

    fn read_all(pairs: &[(&'static str, &'static [u8])]) -> Result<CallContext, Failure> {
        let headers = pairs
            .iter()
            .map(|(key, value)| {
                let value = HeaderValue::from_bytes(value).expect("a header's value");
                (HeaderName::from_static(key), value)
            })
            .collect();
        read(&headers, TraceContext::root(false), Instant::now())
    }

    #[test]
    fn consumer_and_exchange_must_be_named() {
        let consumer: (&str, &[u8]) = ("ura-consumer", b"ais/portal");
        let exchange: (&str, &[u8]) = ("ura-exchange-id", b"0190163d");
        let user = read_all(&[consumer, exchange, ("ura-user", b"1234567892")]).expect("complete").user;
        assert_eq!(user.as_deref(), Some("1234567892"));
        let context = read_all(&[consumer, exchange]).expect("complete");
        assert_eq!(context.user, None);
        assert_eq!(context.consumer, "ais/portal");
        assert_eq!(context.deadline, None);
        for bad in [
            &[consumer][..],
            &[exchange],
            &[consumer, exchange, ("grpc-timeout", b"soon")],
            &[consumer, exchange, ("ura-case", b"\xff")],
        ] {
            let failure = read_all(bad).expect_err("incomplete");
            assert_eq!(failure.code, Code::InvalidArgument);
            assert_eq!(failure.reason, "REQUEST_INVALID");
        }
    }
}
