//! What an entry says, as names and values: one list for both people and programs. Pure.

use serde_json::{Map, Value as Json, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use ura_evidence::entry::kind;
use ura_proto::v1::{
    Closing, DirectoryChange, Disclosure, Entry, Gap, KeyChange, Opening, Outcome, Progress, RegistryChange,
    Removal, Seal, Started, Subject, SubjectOpening, entry::Kind,
};

/// Names of the kinds of entry, as `--kind` takes them.
pub(super) const KINDS: [(&str, i64); 11] = [
    ("opening", kind::OPENING),
    ("progress", kind::PROGRESS),
    ("closing", kind::CLOSING),
    ("gap", kind::GAP),
    ("started", kind::STARTED),
    ("directory-change", kind::DIRECTORY_CHANGE),
    ("key-change", kind::KEY_CHANGE),
    ("removal", kind::REMOVAL),
    ("registry-change", kind::REGISTRY_CHANGE),
    ("disclosure", kind::DISCLOSURE),
    ("seal", kind::SEAL),
];

/// The name of a kind.
pub(super) fn kind_name(number: i64) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == number).map_or("unknown", |(name, _)| name)
}

/// A value, as it is printed and as JSON has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Left out where it is empty.
    Text(String),
    /// Left out where it is empty.
    Hex(Vec<u8>),
    Number(u64),
    /// A duration in microseconds.
    Us(u64),
    /// Microseconds since 1970-01-01 UTC; left out where it is 0.
    Time(i64),
    /// A gRPC status code.
    Status(u32),
    /// A version and its digest; left out where both are empty.
    Version(String, Vec<u8>),
    /// A kind of subject, and its pseudonym or the commitment to it.
    Subject {
        kind: String,
        pseudonym: Option<Vec<u8>>,
        commitment: Vec<u8>,
    },
    /// Accesses under one grant that were held back.
    Withheld {
        grant: String,
        accesses: u32,
        until_us: i64,
    },
}

/// A fact's name and value.
pub(super) type Fact = (&'static str, Value);

impl Value {
    /// One line; empty where there is nothing to say.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Hex(bytes) => hex(bytes),
            Self::Number(number) => number.to_string(),
            Self::Us(us) => format!("{us} us"),
            Self::Time(0) => String::new(),
            Self::Time(us) => time(*us),
            Self::Status(code) => format!("{code} {:?}", status(*code)),
            Self::Version(version, digest) if version.is_empty() && digest.is_empty() => String::new(),
            Self::Version(version, digest) => format!("{version} ({})", hex(digest)),
            Self::Subject { kind, pseudonym: Some(pseudonym), .. } => format!("{kind} {}", hex(pseudonym)),
            Self::Subject { kind, commitment, .. } => format!("{kind} (commitment {})", hex(commitment)),
            Self::Withheld { grant, accesses, until_us } => {
                format!("{accesses} under grant {grant}, until {}", until(*until_us))
            }
        }
    }

    fn json(&self) -> Json {
        match self {
            Self::Text(_) | Self::Hex(_) | Self::Time(_) => json!(self.text()),
            Self::Number(number) | Self::Us(number) => json!(number),
            Self::Status(code) => json!(code),
            Self::Version(version, digest) => json!({"version": version, "digest": hex(digest)}),
            Self::Subject { kind, pseudonym, commitment } => json!({
                "kind": kind, "commitment": hex(commitment), "pseudonym": pseudonym.as_deref().map(hex),
            }),
            Self::Withheld { grant, accesses, until_us } => {
                json!({"grant": grant, "accesses": accesses, "until": until(*until_us)})
            }
        }
    }

    /// Name in JSON; several values of these kinds may stand under one name.
    fn key(&self, name: &str) -> (String, bool) {
        let key = name.replace(' ', "_");
        match self {
            Self::Us(_) => (format!("{key}_us"), false),
            Self::Subject { .. } => ("subjects".to_owned(), true),
            Self::Withheld { .. } => (key, true),
            _ => (key, false),
        }
    }
}

/// Facts as members of a JSON object; empty ones are left out.
pub(super) fn add(facts: &[Fact], object: &mut Map<String, Json>) {
    for (name, value) in facts.iter().filter(|(_, value)| !value.text().is_empty()) {
        let (key, is_list) = value.key(name);
        if !is_list {
            object.insert(key, value.json());
        } else if let Json::Array(list) = object.entry(key).or_insert_with(|| json!([])) {
            list.push(value.json());
        }
    }
}

/// What an entry says; `openings` are what opens its subjects, where it is known.
pub(super) fn facts(entry: &Entry, openings: &[SubjectOpening]) -> Vec<Fact> {
    match &entry.kind {
        Some(Kind::Opening(opening)) => self::opening(opening, openings),
        Some(Kind::Progress(progress)) => self::progress(progress, openings),
        Some(Kind::Closing(closing)) => self::closing(closing),
        Some(Kind::Gap(gap)) => self::gap(*gap),
        Some(Kind::Started(started)) => self::started(started),
        Some(Kind::DirectoryChange(change)) => directory_change(change),
        Some(Kind::KeyChange(change)) => key_change(change),
        Some(Kind::Removal(removal)) => self::removal(removal),
        Some(Kind::RegistryChange(RegistryChange { version, digest })) => {
            vec![("version", Value::Number(*version)), ("digest", Value::Hex(digest.clone()))]
        }
        Some(Kind::Disclosure(disclosure)) => self::disclosure(disclosure),
        Some(Kind::Seal(Seal { by, reason })) => vec![("by", text(by)), ("reason", text(reason))],
        None => Vec::new(),
    }
}

fn opening(opening: &Opening, openings: &[SubjectOpening]) -> Vec<Fact> {
    let decision = if opening.refusal.is_empty() && opening.grant.is_empty() {
        "permitted; no grant is needed for it".to_owned()
    } else if opening.refusal.is_empty() {
        format!("permitted by grant {}", opening.grant)
    } else {
        format!("refused: {}", opening.refusal)
    };
    let mut facts = vec![
        ("consumer", text(&opening.consumer)),
        ("provider", text(&opening.provider)),
        ("method", text(&opening.method)),
        ("purpose", text(&opening.purpose)),
        ("case", text(&opening.case_number)),
        ("decision", Value::Text(decision)),
        ("grant digest", Value::Hex(opening.grant_digest.clone())),
        ("directory", Value::Version(opening.directory_version.clone(), opening.directory_digest.clone())),
        ("request digest", Value::Hex(opening.request_digest.clone())),
        ("request bytes", Value::Number(opening.request_bytes)),
        ("key digest", Value::Hex(opening.idempotency_key_digest.clone())),
        ("trace", Value::Hex(opening.trace_id.clone())),
        ("epoch", text(&opening.epoch)),
        ("certificate", Value::Hex(opening.consumer_certificate.clone())),
    ];
    if opening.disclose_from_unix_us != 0 {
        facts.push(("disclosed", Value::Text(until(opening.disclose_from_unix_us))));
    }
    facts.extend(subjects(&opening.subjects, openings));
    facts
}

fn progress(progress: &Progress, openings: &[SubjectOpening]) -> Vec<Fact> {
    let told = if progress.from_reply { "the reply" } else { "" };
    let mut facts = vec![
        ("subjects from", Value::Text(told.to_owned())),
        ("request digest", Value::Hex(progress.request_digest.clone())),
        ("request bytes", Value::Number(progress.request_bytes)),
    ];
    facts.extend(subjects(&progress.subjects, openings));
    facts
}

fn closing(closing: &Closing) -> Vec<Fact> {
    let outcome = match closing.outcome() {
        Outcome::Answered => "answered",
        Outcome::NeverSent => "never sent",
        Outcome::MaybeExecuted => "maybe executed",
        Outcome::Unknown => "unknown: the gateway ended before it knew",
        Outcome::Unspecified => "",
    };
    let mut facts = vec![
        ("status", Value::Status(closing.status)),
        ("outcome", Value::Text(outcome.to_owned())),
        ("ended by the bus", text(&closing.refusal)),
    ];
    // Of an exchange that the sweeper closed nothing else is known.
    if closing.outcome() != Outcome::Unknown {
        facts.extend([
            ("reply digest", Value::Hex(closing.reply_digest.clone())),
            ("reply bytes", Value::Number(closing.reply_bytes)),
            ("request bytes", Value::Number(closing.request_bytes)),
            ("request digest", Value::Hex(closing.request_digest.clone())),
            ("duration", Value::Us(closing.duration_us)),
        ]);
    }
    if closing.answered_us != 0 {
        facts.push(("answered after", Value::Us(closing.answered_us)));
    }
    facts.push(("adapter", text(&closing.adapter_address)));
    facts.push(("certificate", Value::Hex(closing.adapter_certificate.clone())));
    facts
}

fn gap(gap: Gap) -> Vec<Fact> {
    vec![
        ("from", Value::Time(gap.first_unix_us)),
        ("until", Value::Time(gap.last_unix_us)),
        ("refused", Value::Number(gap.refused)),
        ("closings lost", Value::Number(gap.closings_lost)),
    ]
}

fn started(started: &Started) -> Vec<Fact> {
    vec![
        ("origin", text(&started.origin)),
        ("gateway", text(&started.gateway)),
        ("program", text(&started.program)),
        ("process", text(&started.holder)),
        ("log key", text(&started.log_key)),
        ("epoch", text(&started.epoch)),
        ("directory", Value::Version(started.directory_version.clone(), started.directory_digest.clone())),
    ]
}

fn directory_change(change: &DirectoryChange) -> Vec<Fact> {
    vec![
        ("directory", Value::Version(change.version.clone(), change.digest.clone())),
        ("before", Value::Version(change.version_before.clone(), change.digest_before.clone())),
        ("refused", text(&change.refused)),
    ]
}

fn key_change(change: &KeyChange) -> Vec<Fact> {
    vec![
        ("log key", text(&change.log_key)),
        ("epoch", text(&change.epoch)),
        ("replaces", text(&change.before)),
    ]
}

fn removal(removal: &Removal) -> Vec<Fact> {
    vec![
        ("contract", text(&removal.contract)),
        ("opened before", Value::Time(removal.before_unix_us)),
        ("entries", Value::Number(removal.entries)),
        ("first", Value::Number(removal.first_index)),
        ("last", Value::Number(removal.last_index)),
        ("indexes digest", Value::Hex(removal.indexes_digest.clone())),
    ]
}

fn disclosure(disclosure: &Disclosure) -> Vec<Fact> {
    let mut facts = vec![("told", Value::Number(disclosure.told.into()))];
    facts.extend(disclosure.withheld.iter().map(|withheld| {
        let (grant, accesses, until_us) = (withheld.grant.clone(), withheld.accesses, withheld.until_unix_us);
        ("withheld", Value::Withheld { grant, accesses, until_us })
    }));
    facts
}

/// Subjects with what opens them, which stands in the same order.
fn subjects(named: &[Subject], openings: &[SubjectOpening]) -> Vec<Fact> {
    let fact = |(at, subject): (usize, &Subject)| {
        let pseudonym = openings.get(at).map(|opening| opening.pseudonym.clone());
        let (kind, commitment) = (subject.kind.clone(), subject.commitment.clone());
        ("subject", Value::Subject { kind, pseudonym, commitment })
    };
    named.iter().enumerate().map(fact).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// When something may be told.
fn until(us: i64) -> String {
    if us == i64::MAX { "the grant says so".to_owned() } else { time(us) }
}

/// Microseconds since 1970-01-01 UTC, as RFC 3339 writes them; the number itself where it has no such form.
pub(crate) fn time(us: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{us} us"))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn status(code: u32) -> tonic::Code {
    i32::try_from(code).map_or(tonic::Code::Unknown, tonic::Code::from_i32)
}
