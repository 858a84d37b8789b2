//! One access as it is told: names and titles in the reader's language, as the directory has them now.
//! Pure.

use prost_types::Timestamp;
use ura_proto::{
    ExchangeId,
    refusal::Language,
    v1::{Access, AccessPurpose, AccessedMethod, Closing, Institution, Opening, Outcome},
};

use crate::directory::Snapshot;

/// What was recorded of an access.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// Its exchange.
    pub(super) exchange: ExchangeId,
    /// When the question arrived, microseconds since 1970-01-01 UTC.
    pub(super) recorded_us: i64,
    /// Who asked whom for what.
    pub(super) opening: Opening,
}

/// Words an access. `closing` is how it ended, where it has.
pub(super) fn access(
    recorded: Recorded,
    closing: Option<&Closing>,
    directory: &Snapshot,
    language: Language,
) -> Access {
    let Recorded { exchange, recorded_us, opening } = recorded;
    let method = method(&opening.method, directory, language);
    let purpose = purpose(&opening, directory, language);
    Access {
        time: Some(timestamp(recorded_us)),
        exchange_id: exchange.to_string(),
        consumer: Some(institution(opening.consumer, directory, language)),
        provider: Some(institution(opening.provider, directory, language)),
        method: Some(method),
        purpose: Some(purpose),
        case_number: opening.case_number,
        answered: closing.is_some_and(answered),
    }
}

/// Whether the register answered. Where it began to and the end was not learnt, data left all the same.
fn answered(closing: &Closing) -> bool {
    closing.outcome() == Outcome::Answered || closing.reply_bytes > 0
}

/// A time of the records.
fn timestamp(unix_us: i64) -> Timestamp {
    let nanos = i32::try_from(unix_us.rem_euclid(1_000_000) * 1000).expect("below 1,000,000,000");
    Timestamp { seconds: unix_us.div_euclid(1_000_000), nanos }
}

/// A system, and its member's name.
fn institution(system: String, directory: &Snapshot, language: Language) -> Institution {
    let member = system.split_once('/').map_or("", |(member, _)| member);
    let name = directory.member(member).map(|titles| titles.get(language).to_owned());
    Institution { system, name: name.unwrap_or_default() }
}

/// A method, and what it is called, or else its contract.
fn method(name: &str, directory: &Snapshot, language: Language) -> AccessedMethod {
    let own = directory.methods.get(&*format!("/{name}")).and_then(|method| method.title.as_ref());
    let contract = || {
        let (contract, _) = name.split_once('/')?;
        directory.contracts.get(contract)?.title.as_ref()
    };
    let title = own.or_else(contract).map(|titles| titles.get(language).to_owned());
    AccessedMethod { name: name.to_owned(), title: title.unwrap_or_default() }
}

/// The purpose, and the law: of the purpose, or where the grant asked for none, of the method.
fn purpose(opening: &Opening, directory: &Snapshot, language: Language) -> AccessPurpose {
    let code = opening.purpose.clone();
    match directory.purpose(&code) {
        Some(purpose) => {
            let title = purpose.title.get(language).to_owned();
            AccessPurpose { code, title, legal_basis: purpose.legal_basis.to_string() }
        }
        None => {
            let method = directory.methods.get(&*format!("/{}", opening.method));
            let law = method.and_then(|method| method.legal_basis.as_deref()).unwrap_or_default();
            AccessPurpose { code, title: String::new(), legal_basis: law.to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::question::tests::contract, *};
    use crate::directory::{Purpose, Titles};

    fn directory() -> Snapshot {
        let contract = contract();
        let methods = contract.methods.iter().map(|method| (method.path.clone(), method.clone())).collect();
        let titles = |text| Titles::of(text, &format!("{text} sq"), "").expect("a text");
        let purpose = Purpose {
            code: "birth".into(),
            title: titles("Birth certificate"),
            legal_basis: "Law No. 04/L-003, Art. 14".into(),
        };
        Snapshot {
            version: "1".into(),
            digest: [0; 32],
            gateways: Vec::new(),
            systems: [].into(),
            methods,
            contracts: [(contract.name.clone(), contract)].into(),
            services: [].into(),
            members: [("ais".into(), titles("Agency"))].into(),
            purposes: [("birth".into(), purpose.into())].into(),
            grants: [].into(),
        }
    }

    fn told(method: &str, purpose: &str, language: Language) -> Access {
        let opening = Opening {
            consumer: "ais/portal".into(),
            provider: "gone/register".into(),
            method: method.into(),
            purpose: purpose.into(),
            case_number: "C 1".into(),
            ..Opening::default()
        };
        let recorded = Recorded { exchange: ExchangeId::at(7), recorded_us: -1, opening };
        access(recorded, None, &directory(), language)
    }

    #[test]
    fn names_are_those_of_the_directory_in_the_readers_language() {
        let own = "ura.v1.SubjectAccessService/ListAccesses";
        let access = told(own, "birth", Language::Albanian);
        assert_eq!(access.time, Some(Timestamp { seconds: -1, nanos: 999_999_000 }));
        let institution = |system: &str, name: &str| Institution { system: system.into(), name: name.into() };
        assert_eq!(access.consumer, Some(institution("ais/portal", "Agency sq")));
        assert_eq!(access.provider, Some(institution("gone/register", "")), "the directory has it no more");
        assert_eq!(access.method.expect("set").title, "Lista e qasjeve në të dhënat e mia");
        let purpose = access.purpose.expect("set");
        assert_eq!((&*purpose.code, &*purpose.title), ("birth", "Birth certificate sq"));
        assert_eq!(purpose.legal_basis, "Law No. 04/L-003, Art. 14");
        assert_eq!((&*access.case_number, access.answered), ("C 1", false));
        assert_eq!(access.exchange_id.len(), 36);
    }

    #[test]
    fn what_is_not_known_falls_back() {
        let law = "Law No. 06/L-082 on Protection of Personal Data";
        for (method, purpose, title, legal_basis) in [
            ("ura.v1.SubjectAccessService/ListAccesses", "", "List of accesses to my data", law),
            ("ura.v1.SubjectAccessService/Gone", "", "Who looked at my data?", ""),
            ("gone.v1.S/M", "old", "", ""),
            ("", "", "", ""),
        ] {
            let access = told(method, purpose, Language::English);
            let (told, why) = (access.method.expect("set"), access.purpose.expect("set"));
            assert_eq!((&*told.name, &*told.title), (method, title));
            assert_eq!((&*why.code, &*why.title, &*why.legal_basis), (purpose, "", legal_basis), "{method}");
        }
    }

    #[test]
    fn whether_the_register_answered() {
        for (outcome, reply_bytes, expected) in [
            (Outcome::Answered, 0, true),
            (Outcome::Answered, 9, true),
            (Outcome::NeverSent, 0, false),
            (Outcome::MaybeExecuted, 0, false),
            (Outcome::MaybeExecuted, 9, true),
            (Outcome::Unknown, 0, false),
        ] {
            let closing = Closing { outcome: outcome.into(), reply_bytes, ..Closing::default() };
            assert_eq!(answered(&closing), expected, "{outcome:?}");
        }
    }
}
