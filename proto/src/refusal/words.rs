//! What a developer has to know of each reason beyond its sentence: what happened, and whether the same call may end
//! otherwise when it is made again. Printed in the table of docs/portal-developers.md. Pure words.
//!
//! No match below has a wildcard: a reason without its words does not compile.

use super::Reason;

/// Whether to make the same call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It is refused each time, until somebody mends the cause.
    WhenMended,
    /// At a time that the refusal names.
    AtTheTime,
    /// After the pause that `google.rpc.RetryInfo` names.
    AfterPause,
    /// Where the caller gives it more time, or moves its stream.
    WithMoreTime,
    /// Not as it is: with less in a message.
    Smaller,
}

impl Repeat {
    /// In words, for the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WhenMended => "no, only once it is mended",
            Self::AtTheTime => "at the time that it names",
            Self::AfterPause => "yes, after the pause in `RetryInfo`",
            Self::WithMoreTime => "yes, with more time",
            Self::Smaller => "no, only with smaller messages",
        }
    }
}

impl Reason {
    /// Whether to repeat the call. Writes are always repeated with the same `idempotency-key`.
    #[must_use]
    pub const fn repeat(self) -> Repeat {
        match self {
            Self::CallerUnknown
            | Self::CallerNotConsumer
            | Self::ServiceUnknown
            | Self::MethodUnknown
            | Self::ProviderUnknown
            | Self::ProviderAmbiguous
            | Self::GrantMissing
            | Self::GrantExpired
            | Self::MethodNotGranted
            | Self::PurposeMissing
            | Self::PurposeNotGranted
            | Self::IdempotencyKeyMissing
            | Self::MetadataInvalid
            | Self::EncodingUnsupported
            | Self::RequestMalformed
            | Self::ContractMismatch => Repeat::WhenMended,
            Self::GrantNotYetValid => Repeat::AtTheTime,
            Self::RegisterUnavailable | Self::EvidenceUnavailable | Self::Overloaded => Repeat::AfterPause,
            Self::DeadlineExceeded | Self::StreamIdle => Repeat::WithMoreTime,
            Self::MessageTooLarge => Repeat::Smaller,
        }
    }

    /// What happened, in a sentence or two of English without a full stop at the end.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::CallerUnknown => {
                "Your certificate is good, but its system is not, or no longer, in the directory"
            }
            Self::CallerNotConsumer => "Your system is on the bus only to answer, or for another role",
            Self::ServiceUnknown => {
                "The path names a contract that this bus does not have: a typing mistake, or one that has ended"
            }
            Self::MethodUnknown => {
                "The contract is there without this method: a typing mistake, or your version is newer than the approved one"
            }
            Self::ProviderUnknown => "The institution in `ura-provider` does not answer this contract",
            Self::ProviderAmbiguous => {
                "Several institutions answer this contract and you may ask more than one: say which"
            }
            Self::GrantMissing => {
                "The institution that you ask has not permitted it; where you name none, no institution that answers this contract has"
            }
            Self::GrantExpired => "You were permitted until the time that it names",
            Self::GrantNotYetValid => "You will be permitted from the time that it names",
            Self::MethodNotGranted => "You are permitted to call other methods of this contract",
            Self::PurposeMissing => "The permission is bound to purposes, and the call names none",
            Self::PurposeNotGranted => {
                "The permission is bound to other purposes. `mender` is the provider; where the code was mistyped it is you"
            }
            Self::IdempotencyKeyMissing => {
                "The method may change the register, so a repeat must be known as one: it needs a key of yours"
            }
            Self::MetadataInvalid => {
                "A metadata key, the HTTP method or the content type is not what gRPC and this bus take"
            }
            Self::EncodingUnsupported => "The request is compressed in a way that the bus cannot look into",
            Self::RequestMalformed => {
                "The bytes are no gRPC message, or no message of the contract; where the service is validated, the field is named"
            }
            Self::MessageTooLarge => {
                "A message is above the bus's limit, on its way to the register (`direction` is `request`) or back (`reply`)"
            }
            Self::RegisterUnavailable => {
                "No adapter of the institution is connected, its register is down or fails, or it was lost during the call"
            }
            Self::EvidenceUnavailable => {
                "The bus cannot keep the record of who asked what, and answers nothing without it; all callers see this until it is mended"
            }
            Self::Overloaded => {
                "A limit is reached, of the bus, of your connection or of this register; `limit` says which, and `mender` who can raise it"
            }
            Self::DeadlineExceeded => {
                "The time was over: your deadline, or the bus's limit where that is shorter; `side` says who was waited for"
            }
            Self::StreamIdle => {
                "No message and no byte went either way for too long; `side` says who was waited for"
            }
            Self::ContractMismatch => {
                "The institution's adapter answered, but with something that is no answer of its contract"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn what_is_told_to_people_is_what_is_told_to_programs() {
        for reason in Reason::ALL {
            // Refusals with this status carry RetryInfo, and no others do.
            let pause = reason.status() == Code::Unavailable;
            assert_eq!(reason.repeat() == Repeat::AfterPause, pause, "{reason}");
            let late = reason.status() == Code::DeadlineExceeded;
            assert_eq!(reason.repeat() == Repeat::WithMoreTime, late, "{reason}");
            assert!(!reason.meaning().ends_with('.') && !reason.meaning().contains('|'), "{reason}");
        }
    }
}
