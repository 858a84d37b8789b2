//! Details of refusals that are words and not names: one term for programs, and the same for people in each language.
//! Pure words.

use super::{Language, Mender};

/// Defines [`Term`] and its words from one table, so that none can lack a language.
macro_rules! terms {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $mender:expr, en: $en:literal, sq: $sq:literal, sr: $sr:literal;)*) => {
        /// What a detail of a refusal says, where that is no name or number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Term { $($(#[$doc])* $name,)* }

        impl Term {
            /// Every term there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What stands in `ErrorInfo.metadata`; the same in all languages.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Who can mend it, where that is not always whom the reason names.
            #[must_use]
            pub const fn mender(self) -> Option<Mender> {
                match self { $(Self::$name => $mender,)* }
            }

            /// The words in the reason's sentence.
            #[must_use]
            pub const fn words(self, language: Language) -> &'static str {
                match (self, language) {
                    $((Self::$name, Language::English) => $en,
                      (Self::$name, Language::Albanian) => $sq,
                      (Self::$name, Language::Serbian) => $sr,)*
                }
            }
        }
    };
}

terms! {
    /// `limit`: calls that the gateway has in hand.
    CallsOfBus = "calls in hand", Some(Mender::Operator),
    en: "calls in hand at the bus",
    sq: "thirrjet në punë në platformë",
    sr: "pozivi u radu na platformi";
    /// `limit`: calls at one register that one connection of the caller has in hand.
    CallsOfConnection = "calls in hand at this register on one connection", Some(Mender::Caller),
    en: "your calls in hand at this register on one connection",
    sq: "thirrjet tuaja në punë te ky regjistër në një lidhje",
    sr: "vaši pozivi u radu kod ovog registra na jednoj vezi";
    /// `limit`: calls at one register.
    CallsOfRegister = "calls in hand at this register", Some(Mender::Provider),
    en: "calls in hand at this register",
    sq: "thirrjet në punë te ky regjistër",
    sr: "pozivi u radu kod ovog registra";
    /// `limit`: calls at the adapters of one register.
    CallsOfAdapters = "calls in hand on this register's adapters", Some(Mender::Provider),
    en: "calls in hand on this register's adapters",
    sq: "thirrjet në punë te adapterët e këtij regjistri",
    sr: "pozivi u radu na adapterima ovog registra";
    /// `limit`: bytes of requests that wait for their last byte.
    HeldBytes = "request bytes held", Some(Mender::Operator),
    en: "request bytes held at the bus",
    sq: "bajtët e kërkesave të mbajtura në platformë",
    sr: "bajtovi zahteva zadržani na platformi";
    /// `limit`: questions about evidence.
    Questions = "questions about evidence in hand", Some(Mender::Operator),
    en: "questions about evidence in hand",
    sq: "pyetjet për dëshmi në punë",
    sr: "upiti o dokazima u radu";
    /// `limit`: streams of entries of the log.
    EntryStreams = "streams of entries", Some(Mender::Operator),
    en: "streams of entries",
    sq: "rrjedhat e regjistrimeve",
    sr: "tokovi zapisa";
    /// `limit`: requests that bring spans.
    Spans = "spans brought at once", Some(Mender::Caller),
    en: "spans brought at once",
    sq: "span-et e dërguara njëkohësisht",
    sr: "span-ovi poslati istovremeno";
    /// `side`: the caller was waited for.
    Caller = "the caller", None,
    en: "the caller",
    sq: "thirrësit",
    sr: "pozivaoca";
    /// `direction`: on the way to the register.
    Request = "request", None,
    en: "request",
    sq: "kërkesa",
    sr: "zahtev";
    /// `direction`: on the way back.
    Reply = "reply", None,
    en: "reply",
    sq: "përgjigjja",
    sr: "odgovor";
    /// `problem`: nobody is connected.
    NoAdapter = "no adapter is plugged in", None,
    en: "no adapter is plugged in",
    sq: "asnjë adapter nuk është i lidhur",
    sr: "nijedan adapter nije povezan";
    /// `problem`: the adapter says so itself.
    NotServing = "its adapter says that the register does not answer", None,
    en: "its adapter says that the register does not answer",
    sq: "adapteri i tij njofton se regjistri nuk përgjigjet",
    sr: "njegov adapter javlja da registar ne odgovara";
    /// `problem`: calls failed one after another.
    Failing = "its calls failed: none is sent for a while", None,
    en: "its calls failed: none is sent for a while",
    sq: "thirrjet e tij dështuan: për pak kohë nuk dërgohet asnjë",
    sr: "pozivi su mu bili neuspešni: neko vreme se ne šalje nijedan";
    /// `problem`: the connection broke.
    AdapterLost = "its adapter was lost during the call", None,
    en: "its adapter was lost during the call",
    sq: "adapteri i tij u shkëput gjatë thirrjes",
    sr: "njegov adapter je izgubljen tokom poziva";
    /// `problem`: the adapter leaves.
    NoMoreCalls = "its adapter took no more calls", None,
    en: "its adapter took no more calls",
    sq: "adapteri i tij nuk pranoi më thirrje",
    sr: "njegov adapter više nije primao pozive";
    /// `providers`: there is none.
    NoProvider = "nobody", None,
    en: "nobody does yet",
    sq: "ende nuk e ofron askush",
    sr: "još ga ne nudi niko";
    /// `provider`: no institution offers the contract.
    Nobody = "nobody", Some(Mender::Operator),
    en: "the operator of the bus, for no institution offers it yet",
    sq: "operatori i platformës, sepse ende nuk e ofron asnjë institucion",
    sr: "operatera platforme, jer ga još ne nudi nijedna institucija";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_term_has_words_of_its_own_in_each_language() {
        let languages = [Language::English, Language::Albanian, Language::Serbian];
        for term in Term::ALL {
            let mut words = languages.map(|language| term.words(language)).to_vec();
            assert!(words.iter().all(|words| !words.is_empty() && !words.contains(['{', '}'])), "{term:?}");
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), 3, "{term:?}: {words:?}");
        }
    }
}
