//! Answers in the name of others, and in gzip.

use std::io::Write as _;

use base64::Engine as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost_types::Any;
use tonic::body::Body;
use tonic_types::pb::{ErrorInfo, LocalizedMessage};

use super::{Answer, Guard};

/// A status whose details speak in the bus's name too: `ErrorInfo` of domain `ura` twice, around
/// those that are the adapter's own.
pub(super) fn status(mut guard: Guard, code: &str) -> http::Response<Body> {
    guard.finished = true;
    let message = "the register says no: ë ç š".to_owned();
    let status = tonic_types::Status { code: code.parse().unwrap(), message, details: details() };
    let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(status.encode_to_vec());
    http::Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", code)
        .header("grpc-message", "the register says no: %C3%AB %C3%A7 %C5%A1")
        .header("grpc-status-details-bin", details)
        .body(Body::empty())
        .unwrap()
}

/// Forged, own, own of another type, forged.
pub fn details() -> Vec<Any> {
    let info = |domain: &str| ErrorInfo {
        reason: "GRANT_MISSING".to_owned(),
        domain: domain.to_owned(),
        metadata: [("k".to_owned(), "v".to_owned())].into(),
    };
    let any = |name: &str, value: Vec<u8>| Any {
        type_url: format!("type.googleapis.com/google.rpc.{name}"),
        value,
    };
    let localized = LocalizedMessage { locale: "sq".to_owned(), message: "jo".to_owned() };
    vec![
        any("ErrorInfo", info("ura").encode_to_vec()),
        any("ErrorInfo", info("arc/probe").encode_to_vec()),
        any("LocalizedMessage", localized.encode_to_vec()),
        any("ErrorInfo", info("ura").encode_to_vec()),
    ]
}

/// A compressed message with its prefix.
pub(super) fn gzipped(answer: &Answer) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&answer.encode_to_vec()).unwrap();
    let body = encoder.finish().unwrap();
    let mut out = BytesMut::new();
    out.put_u8(1);
    out.put_u32(u32::try_from(body.len()).unwrap());
    out.put_slice(&body);
    out.freeze()
}
