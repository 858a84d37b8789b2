//! A call that ended with an error, for people: what, why, who can mend it, what became of it and what
//! to try. Pure.

use std::{collections::HashMap, fmt::Write as _};

use prost::Message;
use tonic::Status;
use tonic_types::pb::{ErrorInfo, LocalizedMessage};
use ura_proto::refusal::{DOMAIN, Reason};

use super::metadata::{details, name, printable};

/// What is known of the call besides its status.
#[derive(Clone, Debug, Default)]
pub(super) struct Circumstances {
    /// The exchange id, where a header told it.
    pub(super) exchange: Option<String>,
    /// The idempotency key of a write.
    pub(super) key: Option<String>,
}

/// The status as lines, without a line end after the last.
pub(super) fn describe(status: &Status, known: &Circumstances) -> String {
    let details = details(status);
    match detail::<ErrorInfo>(&details) {
        Some(info) if info.domain == DOMAIN => refusal(status, &info, detail(&details), known),
        info => error(status, info.as_ref(), detail(&details), known),
    }
}

/// The first detail of a type, as `google.rpc.Status` names types.
fn detail<T: Message + Default + Named>(details: &[prost_types::Any]) -> Option<T> {
    let found = details.iter().find(|any| any.type_url.rsplit('/').next() == Some(T::NAME))?;
    T::decode(found.value.as_slice()).ok()
}

/// A message with its full name.
trait Named {
    const NAME: &'static str;
}

impl Named for ErrorInfo {
    const NAME: &'static str = "google.rpc.ErrorInfo";
}

impl Named for LocalizedMessage {
    const NAME: &'static str = "google.rpc.LocalizedMessage";
}

/// What the bus itself said.
fn refusal(
    status: &Status,
    info: &ErrorInfo,
    localized: Option<LocalizedMessage>,
    known: &Circumstances,
) -> String {
    let of = |key: &str| info.metadata.get(key).map(String::as_str);
    let mut lines = Lines::new(format!("refused by the bus: {}, {}", name(status.code()), info.reason));
    lines.text(&localized.map_or_else(|| status.message().to_owned(), |localized| localized.message));
    let mender = match of("mender") {
        Some("caller") => "the caller: something in this call is wrong".to_owned(),
        Some("provider") => match of("provider") {
            Some(provider) => format!("the institution that owns the register: {provider}"),
            None => "the institution that owns the register".to_owned(),
        },
        Some("operator") => "the operator of the bus".to_owned(),
        other => other.unwrap_or("not said").to_owned(),
    };
    lines.entry("mended by", &mender);
    let outcome = match of("outcome") {
        Some("never_sent") => "never sent: nothing reached the register",
        Some("maybe_executed") => "maybe executed: it was sent, and its end was not learnt",
        Some("executed") => "executed: the register acted, but the answer did not arrive whole",
        other => other.unwrap_or("not said"),
    };
    lines.entry("outcome", outcome);
    lines.entry("exchange", of("exchange_id").or(known.exchange.as_deref()).unwrap_or("not said"));
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == info.reason);
    if let Some(reason) = reason {
        lines.entry("try", &advice(*reason, &info.metadata));
    }
    if of("outcome") != Some("never_sent") {
        lines.repeat(known);
    }
    lines.0
}

/// What somebody else said: the adapter, or gRPC itself.
fn error(
    status: &Status,
    info: Option<&ErrorInfo>,
    localized: Option<LocalizedMessage>,
    known: &Circumstances,
) -> String {
    let mut lines = Lines::new(match info {
        Some(info) => {
            format!("answered with an error: {}, {} of {}", name(status.code()), info.reason, info.domain)
        }
        None => format!("ended with an error: {}", name(status.code())),
    });
    lines.text(status.message());
    if let Some(localized) = localized {
        lines.text(&localized.message);
    }
    let mut entries: Vec<_> = info.iter().flat_map(|info| &info.metadata).collect();
    entries.sort_unstable();
    for (key, value) in entries {
        lines.entry(key, value);
    }
    if let Some(exchange) = &known.exchange {
        lines.entry("exchange", exchange);
    }
    let unclear = [tonic::Code::Unavailable, tonic::Code::DeadlineExceeded, tonic::Code::Unknown];
    if unclear.contains(&status.code()) {
        lines.repeat(known);
    }
    lines.0
}

/// What to try, by reason. Details are named as the refusal names them.
fn advice(reason: Reason, details: &HashMap<String, String>) -> String {
    let of = |key: &str| details.get(key).map_or("…", String::as_str);
    match reason {
        Reason::CallerUnknown => format!("ask the operator to enter {} in the directory", of("consumer")),
        Reason::CallerNotConsumer => format!("ask the operator to give {} the role consumer", of("consumer")),
        Reason::ServiceUnknown => "check the name of the contract".to_owned(),
        Reason::MethodUnknown => "check the name of the method".to_owned(),
        Reason::ProviderUnknown => format!("--provider with one of: {}", of("providers")),
        Reason::ProviderAmbiguous => format!("--provider with one of: {}", of("providers")),
        Reason::GrantMissing => format!("ask {} for a grant", of("provider")),
        Reason::GrantExpired => format!("ask {} to renew grant {}", of("provider"), of("grant")),
        Reason::GrantNotYetValid => format!("again after {}", of("from")),
        Reason::MethodNotGranted => format!("ask {} to add {} to the grant", of("provider"), of("method")),
        Reason::PurposeMissing => format!("--purpose with one of: {}", of("purposes")),
        Reason::PurposeNotGranted => {
            format!("--purpose with one of: {}; or ask {} for yours", of("purposes"), of("provider"))
        }
        Reason::IdempotencyKeyMissing => "--idempotency-key with a key of your own".to_owned(),
        Reason::MetadataInvalid => format!("mend {}", option_of(of("key"))),
        Reason::EncodingUnsupported => "leave grpc-encoding out".to_owned(),
        Reason::RequestMalformed => "check the request against the contract".to_owned(),
        Reason::MessageTooLarge => format!("smaller messages, at most {} bytes each", of("bytes_max")),
        Reason::RegisterUnavailable => "again in a while; its institution sees to it".to_owned(),
        Reason::EvidenceUnavailable | Reason::Overloaded => "again shortly".to_owned(),
        Reason::DeadlineExceeded => "a longer --timeout; the gateway has a limit of its own".to_owned(),
        Reason::StreamIdle => "keep the stream moving".to_owned(),
        Reason::ContractMismatch => {
            format!("tell {}: its adapter does not keep to its contract", of("provider"))
        }
    }
}

/// The option that sets a metadata key.
fn option_of(key: &str) -> String {
    match key {
        "ura-provider" => "--provider".to_owned(),
        "ura-purpose" => "--purpose".to_owned(),
        "ura-case" => "--case".to_owned(),
        "idempotency-key" => "--idempotency-key".to_owned(),
        "grpc-timeout" => "--timeout".to_owned(),
        other => format!("-H {other}:…"),
    }
}

/// Lines with labels in one column.
struct Lines(String);

impl Lines {
    fn new(head: String) -> Self {
        Self(printable(&head))
    }

    fn text(&mut self, text: &str) {
        for line in printable(text).lines() {
            let _ = write!(self.0, "\n  {line}");
        }
    }

    fn entry(&mut self, label: &str, text: &str) {
        let _ = write!(self.0, "\n  {:<9} {}", printable(label), printable(text));
    }

    /// How to repeat a write whose end is not known.
    fn repeat(&mut self, known: &Circumstances) {
        if let Some(key) = &known.key {
            self.entry(
                "repeat",
                &format!("with the same key, so that it counts once: --idempotency-key {key}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn status(
        code: Code,
        domain: &str,
        reason: &str,
        details: &[(&str, &str)],
        text: Option<&str>,
    ) -> Status {
        let metadata: HashMap<String, String> =
            details.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut all = ErrorDetails::new();
        all.set_error_info(reason, domain, metadata);
        if let Some(text) = text {
            all.set_localized_message("sq", text);
        }
        Status::with_error_details(code, "message", all)
    }

    fn write() -> Circumstances {
        Circumstances { exchange: Some("0199".to_owned()), key: Some("k-1".to_owned()) }
    }

    #[test]
    fn a_refusal_says_what_who_and_what_to_try() {
        let details = [
            ("mender", "provider"),
            ("provider", "atk/tax"),
            ("outcome", "never_sent"),
            ("exchange_id", "0190"),
        ];
        let refused = status(Code::PermissionDenied, "ura", "GRANT_MISSING", &details, Some("nuk ka leje"));
        assert_eq!(
            describe(&refused, &write()),
            "refused by the bus: PERMISSION_DENIED, GRANT_MISSING\n  nuk ka leje\n  \
             mended by the institution that owns the register: atk/tax\n  \
             outcome   never sent: nothing reached the register\n  exchange  0190\n  \
             try       ask atk/tax for a grant"
        );
    }

    #[test]
    fn outcomes_and_repetition() {
        for (outcome, said, repeats) in [
            ("never_sent", "never sent", false),
            ("maybe_executed", "maybe executed", true),
            ("executed", "executed: the register acted", true),
        ] {
            let details = [("mender", "provider"), ("outcome", outcome)];
            let refused = status(Code::Unavailable, "ura", "REGISTER_UNAVAILABLE", &details, None);
            let text = describe(&refused, &write());
            assert!(text.contains(said) && text.contains("\n  message"), "{text}");
            assert_eq!(text.contains("--idempotency-key k-1"), repeats, "{text}");
            assert!(!describe(&refused, &Circumstances::default()).contains("--idempotency-key"));
        }
    }

    #[test]
    fn every_reason_has_its_advice() {
        for reason in Reason::ALL {
            let keys = [
                "consumer",
                "provider",
                "providers",
                "purposes",
                "grant",
                "from",
                "method",
                "key",
                "bytes_max",
            ];
            let details = keys.map(|key| (key.to_owned(), "X".to_owned())).into();
            let text = advice(*reason, &details);
            assert!(text.len() > 9 && !text.contains("…") | text.contains("-H X:…"), "{reason}: {text}");
        }
        assert_eq!(option_of("ura-purpose"), "--purpose");
    }

    #[test]
    fn others_speak_for_themselves() {
        let adapter =
            status(Code::NotFound, "arc/civil-status", "NOT_FOUND", &[("b", "2"), ("a", "1")], None);
        assert_eq!(
            describe(&adapter, &write()),
            "answered with an error: NOT_FOUND, NOT_FOUND of arc/civil-status\n  message\n  \
             a         1\n  b         2\n  exchange  0199"
        );
        let unclear = describe(&Status::unavailable("gone"), &write());
        assert!(unclear.starts_with("ended with an error: UNAVAILABLE\n  gone\n"), "{unclear}");
        assert!(unclear.contains("--idempotency-key k-1"), "{unclear}");
        let hostile =
            describe(&Status::internal("a\u{1b}]0;b\u{7}\nrefused by the bus: c"), &Circumstances::default());
        assert_eq!(hostile, "ended with an error: INTERNAL\n  a\\u{1b}]0;b\\u{7}\n  refused by the bus: c");
    }
}
