//! How a failure looks to the caller and in the log: the one place where the two part.

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};
use ura_proto::SystemId;

use super::span::is_error;
use crate::register::Failure;

/// The status a caller sees: the safe message and `google.rpc.ErrorInfo`, whose domain is this
/// system. The detail goes to the log, with the exchange's id.
pub(crate) fn status(failure: &Failure, system: &SystemId, exchange_id: &str, method: &str) -> Status {
    let (reason, detail) = (failure.reason, failure.detail.as_str());
    if is_error(failure.code) {
        tracing::warn!(%system, exchange_id, method, reason, detail, "call failed");
    } else {
        tracing::debug!(%system, exchange_id, method, reason, detail, "call refused");
    }
    to_status(failure, system)
}

/// The same without a line in the log.
pub(crate) fn to_status(failure: &Failure, system: &SystemId) -> Status {
    let details = ErrorDetails::with_error_info(
        failure.reason,
        system.as_str(),
        std::collections::HashMap::<String, String>::new(),
    );
    Status::with_error_details(failure.code, failure.message.as_str(), details)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn the_detail_stays_at_home() {
        let failure = Failure::unreachable("connect to 10.0.0.7: refused");
        let system: SystemId = "arc/civil-status".parse().expect("valid");
        let status = status(&failure, &system, "x", "a.B/C");
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), failure.message);
        let info = status.get_details_error_info().expect("details");
        assert_eq!(info.reason, "REGISTER_UNAVAILABLE");
        assert_eq!(info.domain, "arc/civil-status");
        assert!(info.metadata.is_empty());
        assert!(!format!("{status:?}").contains("10.0.0.7"));
    }
}
