//! Entries of the log: their one encoding, the leaf that commits to it, and the columns by which the
//! store finds them. Pure; knows no store and no key.

use aws_lc_rs::digest;
use prost::Message as _;
use ura_log::{Hash, tree};
use ura_proto::{
    ExchangeId,
    v1::{Entry, SubjectOpening, entry::Kind},
};

/// Version of the entry format (`proto/ura/v1/evidence.proto`).
pub const FORMAT: u32 = 1;

/// Kinds of entry by their field number in `Entry`.
pub mod kind {
    /// An exchange was asked.
    pub const OPENING: i64 = 10;
    /// More of it became known.
    pub const PROGRESS: i64 = 11;
    /// It ended.
    pub const CLOSING: i64 = 12;
    /// The log could not be written for a while. Kinds from here on belong to no exchange, but for
    /// [`DISCLOSURE`].
    pub const GAP: i64 = 13;
    /// A gateway began to write.
    pub const STARTED: i64 = 14;
    /// The directory changed.
    pub const DIRECTORY_CHANGE: i64 = 15;
    /// A key was replaced.
    pub const KEY_CHANGE: i64 = 16;
    /// Bodies were removed.
    pub const REMOVAL: i64 = 17;
    /// A new version of the registry of logs.
    pub const REGISTRY_CHANGE: i64 = 18;
    /// What a citizen's question was answered with.
    pub const DISCLOSURE: i64 = 19;
    /// The log ended.
    pub const SEAL: i64 = 20;
}

/// Why bytes are not an entry.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EntryError {
    /// Not protobuf.
    #[error("it is not an entry: {0}")]
    Malformed(String),
    /// Not the one encoding that an entry has.
    #[error("it is not encoded as entries are: fields in order, no unknown fields, no default values")]
    NotCanonical,
    /// A format that this program does not know.
    #[error("it has version {0}; this program reads version {FORMAT}")]
    Version(u32),
}

/// What the store can search an entry by. All of it stands in the entry too, and verification
/// recomputes it from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// Field number of the entry's kind, see [`kind`]; 0 where it has none.
    pub kind: i64,
    /// Exchange id, 16 bytes; empty for entries of the log itself.
    pub exchange: Vec<u8>,
    /// When it was recorded, microseconds since 1970-01-01 UTC.
    pub recorded_us: i64,
    /// Consumer, of an opening.
    pub consumer: String,
    /// Provider, of an opening.
    pub provider: String,
    /// `package.Service/Method`, of an opening.
    pub method: String,
    /// Reason code of a refusal.
    pub reason: String,
    /// Trace id, 16 bytes, of an opening.
    pub trace_id: Vec<u8>,
}

impl Columns {
    /// The columns of an entry.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        Self::taken(entry.clone())
    }

    /// The columns, moved out of an entry that is encoded by now.
    fn taken(entry: Entry) -> Self {
        let base = Self {
            kind: entry.kind.as_ref().map_or(0, number),
            exchange: entry.exchange_id,
            recorded_us: entry.recorded_unix_us,
            ..Self::default()
        };
        match entry.kind {
            Some(Kind::Opening(opening)) => Self {
                consumer: opening.consumer,
                provider: opening.provider,
                method: opening.method,
                reason: opening.refusal,
                trace_id: opening.trace_id,
                ..base
            },
            Some(Kind::Closing(closing)) => Self { reason: closing.refusal, ..base },
            _ => base,
        }
    }

    /// What stays of them when the body is removed: nothing, for nothing would commit to it.
    #[must_use]
    pub fn removed() -> Self {
        Self::default()
    }
}

/// The number of a kind.
const fn number(kind: &Kind) -> i64 {
    match kind {
        Kind::Opening(_) => kind::OPENING,
        Kind::Progress(_) => kind::PROGRESS,
        Kind::Closing(_) => kind::CLOSING,
        Kind::Gap(_) => kind::GAP,
        Kind::Started(_) => kind::STARTED,
        Kind::DirectoryChange(_) => kind::DIRECTORY_CHANGE,
        Kind::KeyChange(_) => kind::KEY_CHANGE,
        Kind::Removal(_) => kind::REMOVAL,
        Kind::RegistryChange(_) => kind::REGISTRY_CHANGE,
        Kind::Disclosure(_) => kind::DISCLOSURE,
        Kind::Seal(_) => kind::SEAL,
    }
}

/// One entry, ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The entry, encoded.
    pub body: Vec<u8>,
    /// SHA-256 of the body: what the tree holds of it.
    pub leaf: Hash,
    /// What it is found by.
    pub columns: Columns,
    /// What opens the commitments of its subjects, in their order.
    pub subjects: Vec<SubjectOpening>,
}

impl Row {
    /// Encodes an entry; entries of the log itself have no exchange.
    #[must_use]
    pub fn new(exchange: Option<ExchangeId>, recorded_unix_us: i64, kind: Kind) -> Self {
        Self::with_subjects(exchange, recorded_unix_us, kind, Vec::new())
    }

    /// Encodes an entry whose subjects are opened by `subjects`.
    #[must_use]
    pub fn with_subjects(
        exchange: Option<ExchangeId>,
        recorded_unix_us: i64,
        kind: Kind,
        subjects: Vec<SubjectOpening>,
    ) -> Self {
        let entry = Entry {
            version: FORMAT,
            exchange_id: exchange.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            recorded_unix_us,
            kind: Some(kind),
        };
        let body = entry.encode_to_vec();
        Self { leaf: leaf(&body), body, columns: Columns::taken(entry), subjects }
    }

    /// Whether it is the opening of an exchange.
    #[must_use]
    pub fn opens(&self) -> bool {
        self.columns.kind == kind::OPENING
    }

    /// Whether it is the closing of an exchange.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.columns.kind == kind::CLOSING
    }

    /// Hash of its leaf in the tree.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        tree::leaf_hash(&self.leaf)
    }
}

/// The leaf of a body: its SHA-256.
#[must_use]
pub fn leaf(body: &[u8]) -> Hash {
    digest::digest(&digest::SHA256, body).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Reads a body.
///
/// # Errors
/// [`EntryError`]: an entry has one encoding, and a body that is encoded otherwise is none.
pub fn decode(body: &[u8]) -> Result<Entry, EntryError> {
    let entry = Entry::decode(body).map_err(|error| EntryError::Malformed(error.to_string()))?;
    if entry.version != FORMAT {
        return Err(EntryError::Version(entry.version));
    }
    if entry.encode_to_vec() != body || entry.kind.is_none() {
        return Err(EntryError::NotCanonical);
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use ura_proto::v1::{Gap, Opening};

    use super::*;

    #[test]
    fn an_entry_has_one_encoding() {
        let gap = Gap { refused: 3, ..Gap::default() };
        let row = Row::new(None, 5, Kind::Gap(gap));
        let entry = decode(&row.body).expect("own encoding");
        assert_eq!(entry.kind, Some(Kind::Gap(gap)));
        assert_eq!(Columns::of(&entry), row.columns);
        assert_eq!(row.columns.kind, kind::GAP);
        // An unknown field 100, and the same fields in another order.
        let mut unknown = row.body.clone();
        unknown.extend([0xa0, 0x06, 1]);
        assert_eq!(decode(&unknown), Err(EntryError::NotCanonical));
        let (version, rest) = row.body.split_at(2);
        assert_eq!(decode(&[rest, version].concat()), Err(EntryError::NotCanonical));
        assert_eq!(decode(&[8, 2]), Err(EntryError::Version(2)));
        assert!(matches!(decode(&[0xff]), Err(EntryError::Malformed(_))));
    }

    #[test]
    fn columns_repeat_the_opening() {
        let exchange = ExchangeId::at(7);
        let opening = Opening {
            consumer: "ais/portal".into(),
            provider: "arc/civil-status".into(),
            method: "a.B/C".into(),
            refusal: "GRANT_MISSING".into(),
            trace_id: vec![1; 16],
            ..Opening::default()
        };
        let row = Row::new(Some(exchange), 9, Kind::Opening(opening.clone()));
        assert!(row.opens());
        let expected = Columns {
            kind: kind::OPENING,
            exchange: exchange.as_bytes().to_vec(),
            recorded_us: 9,
            consumer: opening.consumer,
            provider: opening.provider,
            method: opening.method,
            reason: opening.refusal,
            trace_id: opening.trace_id,
        };
        assert_eq!(row.columns, expected);
    }
}
