//! Refusals: what the caller is told, and the one place where they become a gRPC status.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use prost::Message as _;
use tonic_types::{ErrorDetails, StatusExt as _};
use ura_proto::{
    ExchangeId, SystemId, metadata,
    refusal::{DOMAIN, Language, Mender, Reason, Term},
    v1::Outcome,
};

/// Longest detail that is put into a refusal, in characters.
const DETAIL_CHARS_MAX: usize = 256;

/// The pause that `RetryInfo` names where nothing better is known.
const RETRY: Duration = Duration::from_secs(1);

/// Why the bus refuses an exchange or ends it: a reason, the details its text names, and what is
/// known of the register's side.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// Which condition failed.
    pub(crate) reason: Reason,
    /// What became of the call towards the register.
    pub(crate) outcome: Outcome,
    details: Vec<(&'static str, Detail)>,
    /// When it may be tried again, where the bus knows.
    retry: Option<Duration>,
    /// For the log only.
    cause: Option<String>,
}

/// What stands in a refusal under one key.
#[derive(Clone, Debug)]
enum Detail {
    /// A name, a number, or what a program says: the same in all languages.
    Text(String),
    /// Words that are translated.
    Term(Term),
}

impl Detail {
    /// For programs.
    fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Term(term) => term.as_str(),
        }
    }

    /// For people.
    fn words(&self, language: Language) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Term(term) => term.words(language),
        }
    }
}

impl Refusal {
    /// A refusal before anything reached an adapter.
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason, outcome: Outcome::NeverSent, details: Vec::new(), retry: None, cause: None }
    }

    /// Adds a detail, cut to a length that fits in a header.
    pub(crate) fn with(mut self, key: &'static str, value: impl AsRef<str>) -> Self {
        let text = value.as_ref().chars().take(DETAIL_CHARS_MAX).collect();
        self.details.push((key, Detail::Text(text)));
        self
    }

    /// Adds a detail that is words.
    pub(crate) fn term(mut self, key: &'static str, term: Term) -> Self {
        self.details.push((key, Detail::Term(term)));
        self
    }

    /// Who can mend it.
    fn mender(&self) -> Mender {
        let of_term = self.details.iter().find_map(|(_, detail)| match detail {
            Detail::Term(term) => term.mender(),
            Detail::Text(_) => None,
        });
        of_term.unwrap_or(self.reason.mender())
    }

    /// Names the provider, and says that it was waited for.
    pub(crate) fn waiting_for(self, provider: &SystemId) -> Self {
        self.with("provider", provider.as_str()).with("side", provider.as_str())
    }

    /// Says that the call had been sent.
    pub(crate) fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Says when it may be tried again: in `RetryInfo`, and in two trailers for clients that look there.
    pub(crate) fn retry_after(mut self, pause: Duration) -> Self {
        self.retry = Some(pause);
        self
    }

    /// Adds what only the operator may read.
    pub(crate) fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The gRPC status code.
    pub(crate) fn status(&self) -> u32 {
        u32::try_from(i32::from(self.reason.status())).expect("status codes are 0 to 16")
    }

    /// The detail `problem`, where there is one.
    pub(crate) fn problem(&self) -> &str {
        self.details.iter().find(|(key, _)| *key == "problem").map_or("", |(_, value)| value.as_str())
    }

    /// The text for the log, cause included.
    pub(crate) fn log_text(&self) -> String {
        let text = self.text(Language::English);
        self.cause.as_ref().map_or_else(|| text.clone(), |cause| format!("{text}: {cause}"))
    }

    /// The reason's sentence with its details filled in.
    fn text(&self, language: Language) -> String {
        let mut text = self.reason.template(language).to_owned();
        for (key, value) in &self.details {
            text = text.replace(&format!("{{{key}}}"), value.words(language));
        }
        text.replace("{outcome}", outcome_text(self.outcome, language))
    }

    /// Status, message and details as gRPC trailers.
    pub(crate) fn trailers(&self, language: Language, exchange: ExchangeId) -> HeaderMap {
        let mut info: std::collections::HashMap<String, String> =
            self.details.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().to_owned())).collect();
        info.insert("exchange_id".to_owned(), exchange.to_string());
        info.insert("mender".to_owned(), self.mender().as_str().to_owned());
        info.insert("outcome".to_owned(), outcome_text(self.outcome, Language::English).replace(' ', "_"));
        let mut details = ErrorDetails::new();
        details
            .set_error_info(self.reason.as_str(), DOMAIN, info)
            .set_localized_message(language.tag(), self.text(language) + &language.exchange(exchange));
        if self.reason.status() == tonic::Code::Unavailable {
            details.set_retry_info(Some(self.retry.unwrap_or(RETRY)));
        }
        let status = tonic::Status::with_error_details(
            self.reason.status(),
            format!(
                "{}: {}{}",
                self.reason,
                self.text(Language::English),
                Language::English.exchange(exchange)
            ),
            details,
        );
        let mut trailers = HeaderMap::with_capacity(4);
        trailers.insert(metadata::GRPC_STATUS, code_value(i32::from(status.code())));
        if status.add_header(&mut trailers).is_err() {
            // A detail that no header can carry: code and reason remain.
            trailers.insert(metadata::GRPC_MESSAGE, HeaderValue::from_static(self.reason.as_str()));
        }
        if let Some(pause) = self.retry {
            trailers.insert(metadata::RETRY_PUSHBACK, value_of(pause.as_millis()));
            trailers.insert(http::header::RETRY_AFTER, value_of(pause.as_millis().div_ceil(1000)));
        }
        trailers
    }

    /// A response without a body: status in the headers, as gRPC's "Trailers-Only".
    pub(crate) fn response<B: Default>(&self, language: Language, exchange: ExchangeId) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        *headers = self.trailers(language, exchange);
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(metadata::EXCHANGE_ID, exchange_value(exchange));
        response
    }
}

/// What the caller is told of the register's side.
pub(crate) const fn outcome_text(outcome: Outcome, language: Language) -> &'static str {
    match (outcome, language) {
        (Outcome::MaybeExecuted, Language::English) => "maybe executed",
        (Outcome::MaybeExecuted, Language::Albanian) => "ndoshta e kryer",
        (Outcome::MaybeExecuted, Language::Serbian) => "možda izvršeno",
        (Outcome::Answered, Language::English) => "executed",
        (Outcome::Answered, Language::Albanian) => "e kryer",
        (Outcome::Answered, Language::Serbian) => "izvršeno",
        (_, Language::English) => "never sent",
        (_, Language::Albanian) => "nuk u dërgua",
        (_, Language::Serbian) => "nije poslato",
    }
}

/// A number as a header value.
fn value_of(number: u128) -> HeaderValue {
    HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX))
}

/// A status code as a header value.
pub(crate) fn code_value(code: i32) -> HeaderValue {
    HeaderValue::from(code)
}

/// An exchange id as a header value.
pub(crate) fn exchange_value(exchange: ExchangeId) -> HeaderValue {
    HeaderValue::from_str(&exchange.to_string()).expect("a UUID is visible ASCII")
}

/// Takes `ErrorInfo` of the bus's own domain out of an adapter's status details, so that only the
/// bus can speak in its name. Details that cannot be read are dropped whole.
pub(crate) fn without_own_error_info(trailers: &mut HeaderMap) {
    let mut values = trailers.get_all(metadata::GRPC_STATUS_DETAILS).iter();
    let Some(value) = values.next() else { return };
    if values.next().is_some() {
        // Some clients read the first and some the last: neither may be told two things.
        trailers.remove(metadata::GRPC_STATUS_DETAILS);
        return;
    }
    let cleaned = decode_details(value.as_bytes()).map(|mut status| {
        let before = status.details.len();
        status.details.retain(|any| !is_own_error_info(any));
        (status.details.len() != before).then_some(status)
    });
    match cleaned {
        Some(None) => {}
        Some(Some(status)) => {
            let text = STANDARD_NO_PAD.encode(status.encode_to_vec());
            let value = HeaderValue::from_str(&text).expect("base64 is visible ASCII");
            trailers.insert(metadata::GRPC_STATUS_DETAILS, value);
        }
        None => {
            trailers.remove(metadata::GRPC_STATUS_DETAILS);
        }
    }
}

/// A `google.rpc.Status` from its header, with or without base64 padding.
fn decode_details(value: &[u8]) -> Option<tonic_types::pb::Status> {
    let unpadded = value.strip_suffix(b"==").or_else(|| value.strip_suffix(b"=")).unwrap_or(value);
    let bytes = STANDARD_NO_PAD.decode(unpadded).ok()?;
    tonic_types::pb::Status::decode(bytes.as_slice()).ok()
}

/// Whether this detail claims to be the bus's own.
fn is_own_error_info(any: &prost_types::Any) -> bool {
    any.type_url.rsplit('/').next() == Some("google.rpc.ErrorInfo")
        && tonic_types::pb::ErrorInfo::decode(any.value.as_slice())
            .map_or(true, |info| info.domain.trim().eq_ignore_ascii_case(DOMAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(domains: &[&str]) -> HeaderMap {
        let details = domains
            .iter()
            .map(|domain| prost_types::Any {
                type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
                value: tonic_types::pb::ErrorInfo {
                    reason: "R".to_owned(),
                    domain: (*domain).to_owned(),
                    ..Default::default()
                }
                .encode_to_vec(),
            })
            .collect();
        let status = tonic_types::pb::Status { code: 5, message: "m".to_owned(), details };
        let mut map = HeaderMap::new();
        let text = base64::engine::general_purpose::STANDARD.encode(status.encode_to_vec());
        map.insert(metadata::GRPC_STATUS_DETAILS, text.parse().expect("ascii"));
        map
    }

    #[test]
    fn only_the_bus_speaks_in_the_bus_s_domain() {
        let mut mixed = details(&["arc/civil-status", "ura", " URA "]);
        without_own_error_info(&mut mixed);
        let status = decode_details(mixed[metadata::GRPC_STATUS_DETAILS].as_bytes()).expect("readable");
        assert_eq!(status.details.len(), 1);
        let untouched = details(&["arc/civil-status"]);
        let mut passed = untouched.clone();
        without_own_error_info(&mut passed);
        assert_eq!(passed, untouched, "byte for byte");
        let mut broken = HeaderMap::new();
        broken.insert(metadata::GRPC_STATUS_DETAILS, HeaderValue::from_static("!!"));
        without_own_error_info(&mut broken);
        assert!(broken.is_empty());
    }

    #[test]
    fn a_refusal_carries_reason_text_and_exchange() {
        let exchange = ExchangeId::at(1_790_000_000_000_000);
        let refusal = Refusal::new(Reason::RegisterUnavailable)
            .with("provider", "arc/civil-status")
            .with("problem", "no adapter is plugged in");
        let trailers = refusal.trailers(Language::Albanian, exchange);
        assert_eq!(trailers[metadata::GRPC_STATUS], "14");
        let status = decode_details(trailers[metadata::GRPC_STATUS_DETAILS].as_bytes()).expect("readable");
        assert!(status.message.contains("never sent"), "{}", status.message);
        assert!(status.message.ends_with(&format!(" [exchange {exchange}]")), "{}", status.message);
        let told = tonic::Status::from_header_map(&trailers).expect("a status");
        let localized = told.get_details_localized_message().expect("a text");
        assert!(localized.message.ends_with(&format!(" [shkëmbimi {exchange}]")), "{localized:?}");
        assert_eq!(status.details.len(), 3, "retry, info and localized message");
        assert!(!trailers.contains_key("retry-after") && !trailers.contains_key("grpc-retry-pushback-ms"));
    }

    #[test]
    fn words_are_in_the_reader_s_language_and_name_who_can_mend_it() {
        let exchange = ExchangeId::at(1_790_000_000_000_000);
        for (limit, mender, words) in [
            (Term::CallsOfBus, "operator", "thirrjet në punë në platformë"),
            (Term::CallsOfRegister, "provider", "te ky regjistër"),
            (Term::CallsOfConnection, "caller", "në një lidhje"),
        ] {
            let refusal = Refusal::new(Reason::Overloaded).term("limit", limit);
            let told = tonic::Status::from_header_map(&refusal.trailers(Language::Albanian, exchange));
            let told = told.expect("a status");
            let info = told.get_details_error_info().expect("there");
            assert_eq!(
                (info.metadata["mender"].as_str(), info.metadata["limit"].as_str()),
                (mender, limit.as_str())
            );
            let localized = told.get_details_localized_message().expect("a text");
            assert!(localized.message.contains(words), "{localized:?}");
            assert!(told.message().contains(limit.words(Language::English)), "{told:?}");
        }
    }

    #[test]
    fn a_known_pause_stands_where_clients_look() {
        let exchange = ExchangeId::at(1_790_000_000_000_000);
        for (pause_ms, seconds) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
            let refusal = Refusal::new(Reason::Overloaded).retry_after(Duration::from_millis(pause_ms));
            let trailers = refusal.trailers(Language::English, exchange);
            assert_eq!(trailers["retry-after"], seconds, "{pause_ms}");
            assert_eq!(trailers["grpc-retry-pushback-ms"], pause_ms.to_string().as_str());
            let status = tonic::Status::from_header_map(&trailers).expect("a status");
            let retry = status.get_details_retry_info().expect("there");
            assert_eq!(retry.retry_delay, Some(Duration::from_millis(pause_ms)));
        }
    }
}
