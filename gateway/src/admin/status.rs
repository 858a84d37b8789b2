//! Errors of the bus's own services: what was wrong, where, and who can mend it, as a gRPC status with
//! `google.rpc` details.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use ura_proto::{
    SystemId,
    refusal::{DOMAIN, Language, Mender, Reason, Term},
    v1::Outcome,
};

use crate::error::outcome_text;

/// Longest text that is repeated from a request, in characters.
const QUOTE_CHARS_MAX: usize = 128;

/// The caller is no system of the directory.
pub(super) fn not_a_system(caller: &SystemId, language: Language) -> Status {
    let reason = (Reason::CallerUnknown, Reason::CallerUnknown.mender());
    refused(reason, language, (("consumer", caller.as_str()), &|_| caller.as_str()))
}

/// Too much is asked at once; `limit` says of what.
pub(super) fn overloaded(limit: Term, language: Language) -> Status {
    let words = |language| limit.words(language);
    let mender = limit.mender().unwrap_or(Reason::Overloaded.mender());
    refused((Reason::Overloaded, mender), language, (("limit", limit.as_str()), &words))
}

/// Evidence cannot be read or written. The cause is for the operator's log only.
pub(super) fn unavailable(cause: impl std::fmt::Display, language: Language) -> Status {
    tracing::error!(%cause, "a question about evidence was not answered");
    // A question about evidence goes to no register.
    let reason = (Reason::EvidenceUnavailable, Reason::EvidenceUnavailable.mender());
    let words = |language| outcome_text(Outcome::NeverSent, language);
    refused(reason, language, (("outcome", "never_sent"), &words))
}

/// No checkpoint covers what is asked for yet; the next one will.
pub(super) fn not_covered() -> Status {
    let retry = ErrorDetails::with_retry_info(Some(std::time::Duration::from_secs(1)));
    let text = "no checkpoint covers it yet; ask again in a second";
    Status::with_error_details(Code::Unavailable, text, retry)
}

/// A field of the request is wrong: says which, and what would be right.
pub(super) fn wrong(field: &str, problem: impl std::fmt::Display) -> Status {
    let problem = problem.to_string();
    let details = ErrorDetails::with_bad_request_violation(field, problem.as_str());
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {problem}"), details)
}

/// A part of a request as an error may repeat it.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(QUOTE_CHARS_MAX).collect::<String>())
}

/// A refusal of the catalogue, as a status: with its one detail for programs, and the words for people.
fn refused<'w>(
    (reason, mender): (Reason, Mender),
    language: Language,
    ((key, value), words): ((&str, &str), &dyn Fn(Language) -> &'w str),
) -> Status {
    let text = |language| reason.template(language).replace(&format!("{{{key}}}"), words(language));
    let known = [(key.to_owned(), value.to_owned())].into_iter();
    let mender = ("mender".to_owned(), mender.as_str().to_owned());
    let mut told = ErrorDetails::new();
    told.set_error_info(
        reason.as_str(),
        DOMAIN,
        known.chain([mender]).collect::<std::collections::HashMap<_, _>>(),
    );
    told.set_localized_message(language.tag(), text(language));
    if reason.status() == Code::Unavailable {
        told.set_retry_info(Some(std::time::Duration::from_secs(1)));
    }
    Status::with_error_details(reason.status(), format!("{reason}: {}", text(Language::English)), told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_who_can_mend_it() {
        let caller = "x/y".parse().expect("valid");
        let status = not_a_system(&caller, Language::Albanian);
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("x/y is not a system"), "{status:?}");
        let details = status.get_error_details();
        let info = details.error_info().expect("an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("CALLER_UNKNOWN", "ura"));
        assert_eq!(info.metadata["mender"], "operator");
        assert_eq!(details.localized_message().expect("a text").locale, "sq");
        assert!(details.retry_info().is_none());
        assert!(overloaded(Term::EntryStreams, Language::English).get_error_details().retry_info().is_some());
    }

    #[test]
    fn a_cause_stays_here() {
        let status = unavailable("password=secret", Language::English);
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!format!("{status:?}").contains("secret"), "{status:?}");
        assert!(status.message().ends_with("(never sent)"), "{status:?}");
        let albanian = unavailable("", Language::Albanian);
        let text = albanian.get_details_localized_message().expect("a text").message;
        assert!(text.ends_with("(nuk u dërgua)"), "{text}");
    }

    #[test]
    fn a_wrong_field_is_named() {
        let status = wrong("page_size", format!("{} is above 200", quoted("9\u{7}")));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), r#"page_size: "9\u{7}" is above 200"#);
        let details = status.get_error_details();
        assert_eq!(details.bad_request().expect("a BadRequest").field_violations[0].field, "page_size");
    }
}
