//! What an adapter's answer must be before anything of it goes on. Knows no records.

use http::HeaderMap;
use ura_proto::{metadata, refusal::Reason, v1::Outcome};

use crate::{call::Encoding, error::Refusal};

/// What an answer's head says that no gRPC answer says (gRPC over HTTP/2, "Responses").
pub(super) fn not_grpc(head: &http::response::Parts) -> Option<String> {
    if head.status != http::StatusCode::OK {
        return Some(format!("HTTP status {}", head.status.as_u16()));
    }
    let content_type =
        head.headers.get(http::header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    (!content_type.starts_with(b"application/grpc"))
        .then(|| "its content-type is not application/grpc".to_owned())
}

/// Compression of an answer's messages; `None` where nobody was told that it can be read.
pub(super) fn encoding(head: &http::response::Parts) -> Option<Encoding> {
    match head.headers.get(metadata::GRPC_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Some(Encoding::Identity),
        Some(b"gzip") => Some(Encoding::Gzip),
        Some(_) => None,
    }
}

/// The status that trailers tell; `None` where it is not one code of gRPC.
pub(super) fn status(trailers: &HeaderMap) -> Option<u32> {
    let mut values = trailers.get_all(metadata::GRPC_STATUS).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    only.to_str().ok()?.parse().ok().filter(|code| *code <= 16)
}

/// An answer that is not what its contract says. The register had answered.
pub(super) fn mismatch(problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::ContractMismatch)
        .with("problem", problem.to_string())
        .outcome(Outcome::MaybeExecuted)
}
