//! What a call says about itself: its head, read once and valid. Knows no directory and no policy.

pub(crate) mod body;
pub(crate) mod frame;
pub(crate) mod gzip;
pub(crate) mod peers;
pub(crate) mod pump;
pub(crate) mod span;
pub(crate) mod streams;
pub(crate) mod watched;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, request::Parts};
use tokio::time::Instant;
use ura_proto::{
    ExchangeId, SystemId, metadata,
    refusal::{Language, Reason},
    timeout,
};
use ura_runtime::trace::TraceContext;

use crate::error::Refusal;

/// Longest metadata value of the bus's own keys, in bytes.
const VALUE_BYTES_MAX: usize = 128;

/// Longest path that evidence repeats, in bytes; contracts have shorter ones.
const PATH_BYTES_MAX: usize = 256;

/// Compression of the request's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// No message may be compressed.
    Identity,
    /// Messages may be compressed with gzip.
    Gzip,
}

/// The head of one call.
#[derive(Debug)]
pub(crate) struct Call {
    /// Made by the gateway for this exchange.
    pub(crate) exchange: ExchangeId,
    /// Who asks, by its certificate.
    pub(crate) consumer: SystemId,
    /// SHA-256 of that certificate in DER.
    pub(crate) certificate: [u8; 32],
    /// `/package.Service/Method` as asked, cut at 256 bytes.
    pub(crate) path: Box<str>,
    /// `ura-provider`.
    pub(crate) provider: Option<SystemId>,
    /// `ura-purpose`.
    pub(crate) purpose: Option<Box<str>>,
    /// `ura-case`.
    pub(crate) case_number: Option<HeaderValue>,
    /// `idempotency-key`.
    pub(crate) idempotency_key: Option<HeaderValue>,
    /// Time the caller allows.
    pub(crate) timeout: Option<Duration>,
    /// Compression of the request.
    pub(crate) encoding: Encoding,
    /// Language of refusals.
    pub(crate) language: Language,
    /// Trace that the caller began, or one begun here.
    pub(crate) trace: TraceContext,
    /// Whether `trace` came with the call.
    pub(crate) trace_continued: bool,
    /// When the head arrived.
    pub(crate) arrived: Instant,
    /// The same, microseconds since 1970-01-01 UTC.
    pub(crate) arrived_unix_us: i64,
}

impl Call {
    /// Reads a head. A call that cannot be read is still a call that can be recorded: the second
    /// part is the first thing found wrong.
    pub(crate) fn read(
        head: &Parts,
        consumer: SystemId,
        certificate: [u8; 32],
        unix_us: i64,
    ) -> (Self, Result<(), Refusal>) {
        let trace = head.headers.get(metadata::TRACEPARENT).and_then(|v| TraceContext::parse(v.as_bytes()));
        let mut call = Self {
            exchange: ExchangeId::at(unix_us),
            consumer,
            certificate,
            path: cut(head.uri.path()),
            provider: None,
            purpose: None,
            case_number: None,
            idempotency_key: None,
            timeout: None,
            encoding: Encoding::Identity,
            language: head
                .headers
                .get(metadata::ACCEPT_LANGUAGE)
                .and_then(|v| v.to_str().ok())
                .map_or_else(Language::default, Language::negotiate),
            trace: trace.unwrap_or_else(|| TraceContext::root(false)),
            trace_continued: trace.is_some(),
            arrived: Instant::now(),
            arrived_unix_us: unix_us,
        };
        let checked = call.read_metadata(head);
        (call, checked)
    }

    /// Fills in what the metadata says.
    fn read_metadata(&mut self, head: &Parts) -> Result<(), Refusal> {
        let headers = &head.headers;
        // The purpose and the case first: a refusal for anything else still records them.
        self.purpose = visible(headers, metadata::PURPOSE)?
            .map(|value| value.to_str().expect("visible ASCII was checked").into());
        self.case_number = visible(headers, metadata::CASE)?.cloned();
        self.idempotency_key = visible(headers, metadata::IDEMPOTENCY_KEY)?.cloned();
        if let Some(value) = visible(headers, metadata::PROVIDER)? {
            let text = value.to_str().expect("visible ASCII was checked");
            self.provider = Some(text.parse().map_err(|error| invalid(metadata::PROVIDER, error))?);
        }
        if let Some(value) = single(headers, metadata::GRPC_TIMEOUT)? {
            self.timeout = Some(timeout::parse(value.as_bytes()).ok_or_else(|| {
                invalid(metadata::GRPC_TIMEOUT, "write 1 to 8 digits and H, M, S, m, u or n")
            })?);
        }
        self.encoding = match single(headers, metadata::GRPC_ENCODING)?.map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Encoding::Identity,
            Some(b"gzip") => Encoding::Gzip,
            Some(other) => {
                return Err(Refusal::new(Reason::EncodingUnsupported)
                    .with("encoding", String::from_utf8_lossy(other)));
            }
        };
        is_grpc(head)
    }
}

/// Whether the head is that of a gRPC call (gRPC over HTTP/2, "Requests").
fn is_grpc(head: &Parts) -> Result<(), Refusal> {
    if head.method != Method::POST {
        return Err(invalid(":method", "gRPC calls are POST"));
    }
    let content_type = single(&head.headers, "content-type")?.map_or(&b""[..], HeaderValue::as_bytes);
    // Another subtype would be parsed otherwise than it is scanned.
    match content_type {
        b"application/grpc" | b"application/grpc+proto" => Ok(()),
        _ => Err(invalid("content-type", "write application/grpc or application/grpc+proto")),
    }
}

/// The value of a key that may stand once.
fn single<'h>(headers: &'h HeaderMap, key: &'static str) -> Result<Option<&'h HeaderValue>, Refusal> {
    let mut values = headers.get_all(key).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(invalid(key, "it stands more than once"));
    }
    Ok(first)
}

/// The value of one of the bus's keys: once, 1 to 128 visible ASCII characters.
fn visible<'h>(headers: &'h HeaderMap, key: &'static str) -> Result<Option<&'h HeaderValue>, Refusal> {
    match single(headers, key)? {
        None => Ok(None),
        Some(value) => {
            let bytes = value.as_bytes();
            let fits = (1..=VALUE_BYTES_MAX).contains(&bytes.len())
                && bytes.iter().all(|b| (0x20..0x7f).contains(b))
                && bytes.first() != Some(&b' ')
                && bytes.last() != Some(&b' ');
            fits.then_some(Some(value)).ok_or_else(|| invalid(key, "write 1 to 128 visible ASCII characters"))
        }
    }
}

/// A refusal for one key.
fn invalid(key: &str, problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::MetadataInvalid).with("key", key).with("problem", problem.to_string())
}

/// A path as evidence keeps it.
fn cut(path: &str) -> Box<str> {
    let mut end = path.len().min(PATH_BYTES_MAX);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or("").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> (Call, Result<(), Refusal>) {
        let mut request = http::Request::post("/p.S/M").header("content-type", "application/grpc");
        for (key, value) in pairs {
            request = request.header(*key, *value);
        }
        let (head, ()) = request.body(()).expect("valid head").into_parts();
        Call::read(&head, "ais/portal".parse().expect("valid"), [7; 32], 1_790_000_000_000_000)
    }

    #[test]
    fn a_plain_head_is_read() {
        let (call, checked) = read(&[
            ("ura-provider", "arc/civil-status"),
            ("ura-purpose", "birth-certificate"),
            ("ura-case", "C. nr. 1136/19"),
            ("grpc-timeout", "250m"),
            ("grpc-encoding", "gzip"),
            ("accept-language", "sq"),
        ]);
        checked.expect("nothing wrong");
        assert_eq!((call.consumer.as_str(), call.certificate), ("ais/portal", [7; 32]));
        assert_eq!(call.provider.expect("given").as_str(), "arc/civil-status");
        assert_eq!(call.timeout, Some(Duration::from_millis(250)));
        assert_eq!((call.encoding, call.language), (Encoding::Gzip, Language::Albanian));
    }

    #[test]
    fn only_protobuf_messages_are_taken() {
        for (content_type, good) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc+json", false),
            ("application/grpc-web", false),
            ("application/grpc;x=1", false),
            ("text/plain", false),
        ] {
            let request = http::Request::post("/p.S/M").header("content-type", content_type);
            let (head, ()) = request.body(()).expect("valid head").into_parts();
            assert_eq!(is_grpc(&head).is_ok(), good, "{content_type}");
        }
    }

    #[test]
    fn each_bad_value_is_named_and_the_rest_still_recorded() {
        let long = "x".repeat(129);
        for (key, value, reason) in [
            ("ura-provider", "arc", Reason::MetadataInvalid),
            ("ura-case", long.as_str(), Reason::MetadataInvalid),
            ("ura-case", "", Reason::MetadataInvalid),
            ("idempotency-key", "a\tb", Reason::MetadataInvalid),
            ("grpc-timeout", "1x", Reason::MetadataInvalid),
            ("grpc-encoding", "br", Reason::EncodingUnsupported),
            ("content-type", "application/grpc", Reason::MetadataInvalid),
        ] {
            let (call, checked) = read(&[("ura-purpose", "p"), (key, value)]);
            assert_eq!(checked.expect_err(key).reason, reason, "{key}: {value}");
            assert_eq!(call.purpose.as_deref(), Some("p"));
        }
    }
}
