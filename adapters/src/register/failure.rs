//! Why a register's call did not give an answer: what the caller may read, and what the log keeps.

use tonic::Code;

/// The register cannot be reached.
pub(crate) const REGISTER_UNAVAILABLE: &str = "REGISTER_UNAVAILABLE";
/// The register took too long.
pub(crate) const REGISTER_TIMEOUT: &str = "REGISTER_TIMEOUT";
/// The register was reached and refused.
pub(crate) const REGISTER_REFUSED: &str = "REGISTER_REFUSED";
/// The register's answer does not fit the contract.
pub(crate) const CONTRACT_MISMATCH: &str = "CONTRACT_MISMATCH";
/// The register has no such row.
pub(crate) const NOT_FOUND: &str = "NOT_FOUND";
/// The request cannot be put to the register.
pub(crate) const REQUEST_INVALID: &str = "REQUEST_INVALID";
/// Too many calls at once.
pub(crate) const OVERLOADED: &str = "OVERLOADED";

/// A call without an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}: {message} ({detail})")]
pub struct Failure {
    /// gRPC status code.
    pub code: Code,
    /// One of the reasons of this module.
    pub reason: &'static str,
    /// Safe for the caller: names methods and fields, never values of the register.
    pub message: String,
    /// For the adapter's own log.
    pub detail: String,
}

impl Failure {
    /// A call that failed: the status code, a reason in capitals with underscores, a message that is
    /// safe for the caller, and a detail for the adapter's own log.
    pub fn new(
        code: Code,
        reason: &'static str,
        message: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { code, reason, message: message.into(), detail: detail.into() }
    }

    /// The register cannot be reached, nothing was sent.
    pub(crate) fn unreachable(detail: impl Into<String>) -> Self {
        Self::new(
            Code::Unavailable,
            REGISTER_UNAVAILABLE,
            "The register cannot be reached; nothing was sent to it.",
            detail,
        )
    }

    /// The register says itself that it cannot work at the moment.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            Code::Unavailable,
            REGISTER_UNAVAILABLE,
            "The register says that it is not available at the moment.",
            detail,
        )
    }

    /// The connection broke after the request may have arrived.
    pub(crate) fn broken(detail: impl Into<String>) -> Self {
        Self::new(
            Code::Unavailable,
            REGISTER_UNAVAILABLE,
            "The connection to the register broke; the call may have been executed.",
            detail,
        )
    }

    /// The register took longer than the adapter file allows.
    pub(crate) fn timeout(detail: impl Into<String>) -> Self {
        Self::new(
            Code::Unavailable,
            REGISTER_TIMEOUT,
            "The register took too long; the call may have been executed.",
            detail,
        )
    }

    /// The caller's deadline passed.
    pub(crate) fn deadline() -> Self {
        Self::new(
            Code::DeadlineExceeded,
            REGISTER_TIMEOUT,
            "The caller's deadline passed while the register worked.",
            "deadline of the caller",
        )
    }

    /// The caller does not read its stream any more: nothing is wrong with the register.
    pub(crate) fn left() -> Self {
        Self::new(Code::Cancelled, REGISTER_REFUSED, "The caller went away.", "the stream was dropped")
    }

    /// The caller reads its stream too slowly: nothing is wrong with the register.
    pub(crate) fn slow_reader(detail: impl Into<String>) -> Self {
        Self::new(Code::Cancelled, REGISTER_REFUSED, "The caller reads too slowly.", detail)
    }

    /// All places at the register are taken.
    pub(crate) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(
            Code::ResourceExhausted,
            OVERLOADED,
            "The register has too many calls at the moment.",
            detail,
        )
    }

    /// The answer does not fit the contract at this field (or place) of the method.
    pub(crate) fn mismatch(method: &str, place: &str, problem: &str) -> Self {
        Self::new(
            Code::DataLoss,
            CONTRACT_MISMATCH,
            format!("The register's answer does not fit the contract: method {method}, {place}: {problem}."),
            format!("{method} {place}: {problem}"),
        )
    }

    /// No row.
    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(Code::NotFound, NOT_FOUND, message, "no row")
    }

    /// The request cannot be put to the register.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(Code::InvalidArgument, REQUEST_INVALID, message.clone(), message)
    }

    /// The register refused.
    pub(crate) fn refused(code: Code, message: &str, detail: impl Into<String>) -> Self {
        let reason = if code == Code::NotFound { NOT_FOUND } else { REGISTER_REFUSED };
        Self::new(code, reason, message, detail)
    }

    /// Whether this says that the register cannot be reached.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.reason == REGISTER_UNAVAILABLE
    }
}
