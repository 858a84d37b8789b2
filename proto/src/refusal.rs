//! Refusal reasons: one catalogue of codes, gRPC status codes and texts in three languages.
//!
//! To add a reason: add a row to `reasons!` below and its words to `words.rs`, refuse with it in the gateway, and
//! write the test that provokes it (`tests/e2e/refusals.rs` does not compile while a reason has none). A reason's code never
//! changes its meaning; callers branch on it.

mod terms;
mod words;

use std::fmt;

use tonic::Code;

pub use terms::Term;
pub use words::Repeat;

use crate::ExchangeId;

/// `google.rpc.ErrorInfo.domain` of every refusal by the bus.
pub const DOMAIN: &str = "ura";

/// Who can mend the cause of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mender {
    /// The portal's developer: the call itself is wrong.
    Caller,
    /// The institution that owns the register: a permission or its register.
    Provider,
    /// Whoever runs the bus.
    Operator,
}

impl Mender {
    /// The word used in `ErrorInfo.metadata["mender"]`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Provider => "provider",
            Self::Operator => "operator",
        }
    }
}

/// Language of a refusal's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English, where the caller asks for none of the three.
    #[default]
    English,
    /// Albanian.
    Albanian,
    /// Serbian, Latin script.
    Serbian,
}

impl Language {
    /// The best of the three by an `accept-language` value (RFC 9110 section 12.5.4); English where
    /// none is asked for. Bosnian, Croatian and Montenegrin readers are given Serbian.
    #[must_use]
    pub fn negotiate(accept_language: &str) -> Self {
        let mut best = (0u16, Self::default());
        for range in accept_language.split(',').take(16) {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or("").trim();
            let quality = parts
                .find_map(|p| p.trim().strip_prefix("q="))
                .map_or(1000, |q| q.parse::<f32>().map_or(0, per_mille));
            let language = match tag.split('-').next().unwrap_or("").to_ascii_lowercase().as_str() {
                "sq" => Self::Albanian,
                "sr" | "bs" | "hr" | "cnr" => Self::Serbian,
                "en" | "*" => Self::English,
                _ => continue,
            };
            if quality > best.0 {
                best = (quality, language);
            }
        }
        best.1
    }

    /// What stands behind the sentence of every refusal, so that whoever sees only the text finds the exchange.
    #[must_use]
    pub fn exchange(self, exchange: ExchangeId) -> String {
        let word = match self {
            Self::English => "exchange",
            Self::Albanian => "shkëmbimi",
            Self::Serbian => "razmena",
        };
        format!(" [{word} {exchange}]")
    }

    /// BCP 47 tag, as `google.rpc.LocalizedMessage.locale`.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Albanian => "sq",
            Self::Serbian => "sr-Latn",
        }
    }
}

/// A quality value in thousandths, 0 where it is not one.
fn per_mille(quality: f32) -> u16 {
    const STEPS: f32 = 1000.0;
    if !(0.0..=1.0).contains(&quality) {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0.0..=1.0 was checked")]
    let thousandths = (quality * STEPS) as u16;
    thousandths
}

/// Defines [`Reason`] and its catalogue from one table, so that neither can lack a row.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $mender:ident,
       en: $en:literal, sq: $sq:literal, sr: $sr:literal;)*) => {
        /// Why the bus refused an exchange, or ended it itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code in `ErrorInfo.reason`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The gRPC status code that goes with it.
            #[must_use]
            pub const fn status(self) -> Code {
                match self { $(Self::$name => Code::$status,)* }
            }

            /// Who can mend it.
            #[must_use]
            pub const fn mender(self) -> Mender {
                match self { $(Self::$name => Mender::$mender,)* }
            }

            /// The sentence in one language; `{key}` stands for the refusal's detail of that name.
            #[must_use]
            pub const fn template(self, language: Language) -> &'static str {
                match (self, language) {
                    $((Self::$name, Language::English) => $en,
                      (Self::$name, Language::Albanian) => $sq,
                      (Self::$name, Language::Serbian) => $sr,)*
                }
            }
        }
    };
}

reasons! {
    /// The certificate's system is not in the directory.
    CallerUnknown = "CALLER_UNKNOWN", PermissionDenied, Operator,
    en: "{consumer} is not a system of the directory; the operator of the bus can enter it",
    sq: "{consumer} nuk është sistem i regjistruar në katalog; operatori i platformës mund ta regjistrojë",
    sr: "{consumer} nije sistem upisan u imenik; operater platforme može da ga upiše";
    /// The system is known but may not ask.
    CallerNotConsumer = "CALLER_NOT_CONSUMER", PermissionDenied, Operator,
    en: "{consumer} does not have the role consumer in the directory; the operator of the bus can give it",
    sq: "{consumer} nuk e ka rolin e konsumatorit në katalog; operatori i platformës mund t'ia japë",
    sr: "{consumer} nema ulogu potrošača u imeniku; operater platforme može da je dodeli";
    /// No approved contract has this name.
    ServiceUnknown = "SERVICE_UNKNOWN", Unimplemented, Caller,
    en: "no contract {contract} is approved on this bus; check the name, or list them by reflection",
    sq: "asnjë kontratë {contract} nuk është miratuar në këtë platformë; kontrolloni emrin ose merrni listën me reflection",
    sr: "ugovor {contract} nije odobren na ovoj platformi; proverite naziv ili ih izlistajte preko reflection";
    /// The contract has no such method.
    MethodUnknown = "METHOD_UNKNOWN", Unimplemented, Caller,
    en: "{contract} has no method {method}; check the name, or list them by reflection",
    sq: "{contract} nuk ka metodë {method}; kontrolloni emrin ose merrni listën me reflection",
    sr: "{contract} nema metodu {method}; proverite naziv ili ih izlistajte preko reflection";
    /// The named provider does not offer the contract.
    ProviderUnknown = "PROVIDER_UNKNOWN", InvalidArgument, Caller,
    en: "{provider} does not offer {contract}; set ura-provider to one that does: {providers}",
    sq: "{provider} nuk e ofron {contract}; vendosni në ura-provider një që e ofron: {providers}",
    sr: "{provider} ne nudi {contract}; u ura-provider navedite nekog ko nudi: {providers}";
    /// Several providers come into question.
    ProviderAmbiguous = "PROVIDER_AMBIGUOUS", InvalidArgument, Caller,
    en: "several providers of {contract} granted access to {consumer}; name one in ura-provider: {providers}",
    sq: "disa ofrues të {contract} i kanë dhënë qasje {consumer}; tregoni njërin në ura-provider: {providers}",
    sr: "više pružalaca ugovora {contract} dalo je pristup sistemu {consumer}; navedite jednog u ura-provider: {providers}";
    /// The provider has granted this consumer nothing.
    GrantMissing = "GRANT_MISSING", PermissionDenied, Provider,
    en: "{consumer} lacks the grant that it needs for {contract}; ask {provider}",
    sq: "sistemit {consumer} i mungon leja e nevojshme për {contract}; lejen mund ta japë {provider}",
    sr: "sistemu {consumer} nedostaje potrebna dozvola za {contract}; zatražite je od {provider}";
    /// The grant's validity has ended.
    GrantExpired = "GRANT_EXPIRED", PermissionDenied, Provider,
    en: "grant {grant} ended at {until}; ask {provider} to renew it",
    sq: "leja {grant} ka skaduar më {until}; kërkoni vazhdimin nga {provider}",
    sr: "dozvola {grant} istekla je {until}; zatražite produženje od {provider}";
    /// The grant's validity has not begun.
    GrantNotYetValid = "GRANT_NOT_YET_VALID", PermissionDenied, Provider,
    en: "grant {grant} begins at {from}; call again then, or ask {provider} for an earlier begin",
    sq: "leja {grant} fillon më {from}; thirrni pas kësaj kohe, ose kërkoni nga {provider} fillim më të hershëm",
    sr: "dozvola {grant} počinje {from}; pozovite tada, ili od {provider} zatražite raniji početak";
    /// The grant names other methods.
    MethodNotGranted = "METHOD_NOT_GRANTED", PermissionDenied, Provider,
    en: "the grants of {consumer} for {contract} do not name {method}; ask {provider} to add it",
    sq: "lejet e {consumer} për {contract} nuk e përfshijnë {method}; kërkojeni nga {provider}",
    sr: "dozvole sistema {consumer} za {contract} ne obuhvataju {method}; zatražite od {provider}";
    /// The grant names purposes and the call names none.
    PurposeMissing = "PURPOSE_MISSING", InvalidArgument, Caller,
    en: "say why you ask: set ura-purpose to one of {purposes}",
    sq: "tregoni pse kërkoni: vendosni ura-purpose në një nga {purposes}",
    sr: "navedite svrhu upita: postavite ura-purpose na jednu od {purposes}";
    /// The grant names other purposes.
    PurposeNotGranted = "PURPOSE_NOT_GRANTED", PermissionDenied, Provider,
    en: "{provider} has not granted {method} for the purpose {purpose}; set ura-purpose to one that is granted ({purposes}), or ask {provider} to add yours",
    sq: "{provider} nuk e ka lejuar {method} për qëllimin {purpose}; vendosni në ura-purpose një të lejuar ({purposes}), ose kërkoni nga {provider} ta shtojë",
    sr: "{provider} nije dozvolio {method} za svrhu {purpose}; u ura-purpose navedite dozvoljenu ({purposes}), ili od {provider} zatražite da je doda";
    /// A write without its key.
    IdempotencyKeyMissing = "IDEMPOTENCY_KEY_MISSING", InvalidArgument, Caller,
    en: "{method} changes the register: send an idempotency-key, the same one when you repeat the call",
    sq: "{method} e ndryshon regjistrin: dërgoni idempotency-key, të njëjtin kur e përsëritni thirrjen",
    sr: "{method} menja registar: pošaljite idempotency-key, isti kada ponavljate poziv";
    /// A metadata value cannot be read.
    MetadataInvalid = "METADATA_INVALID", InvalidArgument, Caller,
    en: "metadata {key} is not valid: {problem}",
    sq: "vlera e metadatës {key} nuk është e vlefshme: {problem}",
    sr: "vrednost metapodatka {key} nije ispravna: {problem}";
    /// Compression that the bus cannot look into.
    EncodingUnsupported = "ENCODING_UNSUPPORTED", Unimplemented, Caller,
    en: "grpc-encoding {encoding} is not supported; use identity or gzip",
    sq: "grpc-encoding {encoding} nuk mbështetet; përdorni identity ose gzip",
    sr: "grpc-encoding {encoding} nije podržan; koristite identity ili gzip";
    /// The request is not the gRPC message that the contract says.
    RequestMalformed = "REQUEST_MALFORMED", InvalidArgument, Caller,
    en: "the request cannot be read: {problem}; check it against the contract",
    sq: "kërkesa nuk mund të lexohet: {problem}; krahasojeni me kontratën",
    sr: "zahtev ne može da se pročita: {problem}; uporedite ga sa ugovorom";
    /// A message above the limit.
    MessageTooLarge = "MESSAGE_TOO_LARGE", ResourceExhausted, Caller,
    en: "a message of the {direction} is larger than {bytes_max} bytes; send or ask for less at once, or as a stream ({outcome})",
    sq: "një mesazh ({direction}) është më i madh se {bytes_max} bajtë; dërgoni ose kërkoni më pak përnjëherë, ose si rrjedhë ({outcome})",
    sr: "poruka ({direction}) je veća od {bytes_max} bajtova; šaljite ili tražite manje odjednom, ili kao tok ({outcome})";
    /// No adapter of the register is connected and healthy, or it was lost during the call.
    RegisterUnavailable = "REGISTER_UNAVAILABLE", Unavailable, Provider,
    en: "the register of {provider} cannot be reached: {problem}; try again later ({outcome})",
    sq: "regjistri i {provider} nuk është i qasshëm: {problem}; provoni më vonë ({outcome})",
    sr: "registar {provider} nije dostupan: {problem}; pokušajte kasnije ({outcome})";
    /// The record of the exchange cannot be made durable.
    EvidenceUnavailable = "EVIDENCE_UNAVAILABLE", Unavailable, Operator,
    en: "the evidence of the exchange cannot be kept, so it is not answered; try again later ({outcome})",
    sq: "dëshmia e shkëmbimit nuk mund të ruhet, prandaj nuk jepet përgjigje; provoni më vonë ({outcome})",
    sr: "dokaz o razmeni ne može da se sačuva, zato nema odgovora; pokušajte kasnije ({outcome})";
    /// A limit is reached: of the gateway, of the register or of the caller. The term of the limit says who can mend it.
    Overloaded = "OVERLOADED", Unavailable, Operator,
    en: "a limit is reached: {limit}; try again shortly",
    sq: "është arritur një kufi: {limit}; provoni përsëri pas pak",
    sr: "dostignuta je granica: {limit}; pokušajte ponovo uskoro";
    /// Time ran out.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, Caller,
    en: "the call did not end within {timeout_ms} ms, waiting for {side}; allow more time where you set less than the bus does ({outcome})",
    sq: "thirrja nuk përfundoi brenda {timeout_ms} ms, në pritje të {side}; jepni më shumë kohë, nëse keni caktuar më pak se platforma ({outcome})",
    sr: "poziv nije završen za {timeout_ms} ms, čekajući na {side}; dajte više vremena, ako ste zadali manje nego platforma ({outcome})";
    /// A stream on which nothing moved.
    StreamIdle = "STREAM_IDLE", DeadlineExceeded, Caller,
    en: "nothing moved on the stream for {idle_ms} ms, waiting for {side}; keep it moving, or begin anew ({outcome})",
    sq: "në rrjedhë nuk lëvizi asgjë për {idle_ms} ms, në pritje të {side}; mbajeni në lëvizje ose filloni rishtas ({outcome})",
    sr: "na toku se ništa nije pomerilo {idle_ms} ms, čekajući na {side}; održavajte ga u pokretu ili počnite iznova ({outcome})";
    /// The adapter's answer is not what its contract says.
    ContractMismatch = "CONTRACT_MISMATCH", Internal, Provider,
    en: "the answer of {provider} is not what its contract says: {problem}; tell {provider} ({outcome})",
    sq: "përgjigjja e {provider} nuk përputhet me kontratën: {problem}; njoftoni {provider} ({outcome})",
    sr: "odgovor {provider} nije u skladu sa ugovorom: {problem}; obavestite {provider} ({outcome})";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_code_and_the_same_details_in_every_language() {
        let mut codes = std::collections::HashSet::new();
        for reason in Reason::ALL {
            assert!(codes.insert(reason.as_str()), "{reason} twice");
            assert!(
                reason.as_str().len() <= 63
                    && reason.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
            );
            for language in [Language::English, Language::Albanian, Language::Serbian] {
                assert!(reason.template(language).len() > 12, "{reason} in {language:?}");
            }
        }
    }

    #[test]
    fn language_is_negotiated_by_quality_and_falls_back_to_english() {
        for (header, expected) in [
            ("", Language::English),
            ("sq", Language::Albanian),
            ("sq-XK,en;q=0.5", Language::Albanian),
            ("de, fr", Language::English),
            ("en;q=0.3, sr-Latn;q=0.8, sq;q=0.1", Language::Serbian),
            ("hr", Language::Serbian),
            ("sq;q=0, en", Language::English),
            ("sq;q=nonsense, sr;q=0.2", Language::Serbian),
            ("*", Language::English),
        ] {
            assert_eq!(Language::negotiate(header), expected, "{header}");
        }
    }
}
