//! Headers, trailers and status details as readable lines. Pure.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use tonic::{
    Status,
    metadata::{KeyAndValueRef, MetadataMap},
};

/// Bytes of a binary value that are shown.
const SHOWN_BYTES_MAX: usize = 96;

/// One line for each entry, each after `mark`; values of `-bin` keys are decoded.
pub(super) fn lines(mark: char, metadata: &MetadataMap) -> String {
    let mut text = String::new();
    for entry in metadata.iter() {
        let (key, value) = match entry {
            KeyAndValueRef::Ascii(key, value) => {
                (key.as_str(), printable(&String::from_utf8_lossy(value.as_bytes())))
            }
            KeyAndValueRef::Binary(key, value) => (
                key.as_str(),
                value.to_bytes().map_or_else(|_| "not base64".to_owned(), |bytes| binary(&bytes)),
            ),
        };
        let _ = writeln!(text, "{mark} {key}: {value}");
    }
    text
}

/// The status that ended a call and what came with it.
pub(super) fn status_lines(mark: char, status: &Status) -> String {
    let mut text = lines(mark, status.metadata());
    let _ = writeln!(text, "{mark} grpc-status: {} ({})", i32::from(status.code()), name(status.code()));
    let _ = writeln!(text, "{mark} grpc-message: {}", printable(status.message()));
    for detail in details(status) {
        let _ = writeln!(text, "{mark} grpc-status-details-bin: {}", json(&detail));
    }
    text
}

/// The details of a status; none where they cannot be read.
pub(super) fn details(status: &Status) -> Vec<prost_types::Any> {
    tonic_types::pb::Status::decode(status.details()).map(|status| status.details).unwrap_or_default()
}

/// One detail as JSON, where its type is one of `google.rpc`.
fn json(detail: &prost_types::Any) -> String {
    let type_name = detail.type_url.rsplit('/').next().unwrap_or_default();
    let known = DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok();
    let message = known
        .and_then(|pool| pool.get_message_by_name(type_name))
        .and_then(|of| DynamicMessage::decode(of, detail.value.as_slice()).ok());
    let mut text = Vec::new();
    let written = message.and_then(|message| {
        let mut json = serde_json::Serializer::new(&mut text);
        message.serialize_with_options(&mut json, &SerializeOptions::new()).ok()
    });
    match written {
        Some(()) => format!("{} {}", printable(type_name), printable(&String::from_utf8_lossy(&text))),
        None => format!("{} {}", printable(type_name), STANDARD.encode(&detail.value)),
    }
}

/// Bytes as text where they are text, else in hexadecimal.
fn binary(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => format!("\"{text}\""),
        _ => {
            let mut hex = String::new();
            for byte in bytes.iter().take(SHOWN_BYTES_MAX) {
                let _ = write!(hex, "{byte:02x}");
            }
            let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
            format!("{} bytes {hex}{more}", bytes.len())
        }
    }
}

/// Text that does nothing to a terminal: control characters are written out.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The code as gRPC writes it, such as `PERMISSION_DENIED`.
pub(crate) const fn name(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Ok => "OK",
        tonic::Code::Cancelled => "CANCELLED",
        tonic::Code::Unknown => "UNKNOWN",
        tonic::Code::InvalidArgument => "INVALID_ARGUMENT",
        tonic::Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        tonic::Code::NotFound => "NOT_FOUND",
        tonic::Code::AlreadyExists => "ALREADY_EXISTS",
        tonic::Code::PermissionDenied => "PERMISSION_DENIED",
        tonic::Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        tonic::Code::FailedPrecondition => "FAILED_PRECONDITION",
        tonic::Code::Aborted => "ABORTED",
        tonic::Code::OutOfRange => "OUT_OF_RANGE",
        tonic::Code::Unimplemented => "UNIMPLEMENTED",
        tonic::Code::Internal => "INTERNAL",
        tonic::Code::Unavailable => "UNAVAILABLE",
        tonic::Code::DataLoss => "DATA_LOSS",
        tonic::Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataValue;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn entries_are_lines_and_binary_ones_are_decoded() {
        let mut metadata = MetadataMap::new();
        metadata.insert("x-office", "Peja".parse().expect("ASCII"));
        metadata.insert_bin("x-name-bin", MetadataValue::from_bytes("Pejë".as_bytes()));
        metadata.insert_bin("x-raw-bin", MetadataValue::from_bytes(&[0, 255]));
        metadata.insert_bin("x-none-bin", MetadataValue::from_bytes(&[]));
        let mut lines: Vec<_> = lines('<', &metadata).lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "< x-name-bin: \"Pejë\"",
                "< x-none-bin: 0 bytes ",
                "< x-office: Peja",
                "< x-raw-bin: 2 bytes 00ff"
            ]
        );
    }

    #[test]
    fn details_are_json_and_nothing_reaches_the_terminal_as_it_came() {
        let mut details = ErrorDetails::new();
        details.set_error_info("NO_SUCH", "arc/civil-status", [("plate".to_owned(), "01-101-AA".to_owned())]);
        let status = Status::with_error_details(tonic::Code::NotFound, "gone\u{1b}[2J", details);
        let text = status_lines('<', &status);
        assert!(text.contains("grpc-status: 5 (NOT_FOUND)"), "{text}");
        assert!(text.contains("google.rpc.ErrorInfo {\"reason\":\"NO_SUCH\""), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let own = prost_types::Any { type_url: "t/own.Detail".to_owned(), value: vec![0, 1] };
        assert_eq!(json(&own), "own.Detail AAE=");
    }
}
