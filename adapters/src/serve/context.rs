//! What the gateway says about a call, read from its metadata. Pure.
//!
//! Only a verified gateway reaches this code, and it writes these keys anew for each exchange; they
//! are read, not judged.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use ura_proto::metadata;
use ura_runtime::trace::TraceContext;

use crate::register::{CallContext, Failure};

/// Most digits of a `grpc-timeout` (gRPC over HTTP/2, "TimeoutValue").
const TIMEOUT_DIGITS_MAX: usize = 8;

/// Reads a call's context.
///
/// # Errors
/// `REQUEST_INVALID` where the consumer or the exchange is not named, or a key is malformed.
pub(super) fn read(headers: &HeaderMap, trace: TraceContext, now: Instant) -> Result<CallContext, Failure> {
    let deadline = match text(headers, metadata::GRPC_TIMEOUT)? {
        None => None,
        Some(value) => {
            let left = timeout(&value).ok_or_else(|| malformed(metadata::GRPC_TIMEOUT))?;
            now.checked_add(left)
        }
    };
    Ok(CallContext {
        consumer: required(headers, metadata::CONSUMER)?,
        purpose: text(headers, metadata::PURPOSE)?,
        case_number: text(headers, metadata::CASE)?,
        user: None,
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

/// A `grpc-timeout`: at most 8 digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = text.strip_suffix(unit)?;
    if digits.len() > TIMEOUT_DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(value * 3600)),
        'M' => Some(Duration::from_secs(value * 60)),
        'S' => Some(Duration::from_secs(value)),
        'm' => Some(Duration::from_millis(value)),
        'u' => Some(Duration::from_micros(value)),
        'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use tonic::Code;

    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (text, want) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("0u", Some(Duration::ZERO)),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("S", None),
            ("12", None),
            ("-1S", None),
            ("1.5S", None),
            ("123456789S", None),
            ("1s", None),
            ("1ë", None),
        ] {
            assert_eq!(timeout(text), want, "{text}");
        }
    }

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
        let context = read_all(&[consumer, exchange]).expect("complete");
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
