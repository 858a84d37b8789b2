//! What is read from a store and given to it, as plain values. Entries themselves are [`crate::entry`]'s.

use ura_log::Hash;
use ura_proto::{ExchangeId, v1::SubjectOpening};

use crate::entry::Columns;

/// A log of the store, with its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its number in the store, from 1. In SQLite always 1.
    pub log: i64,
    /// Its name.
    pub origin: String,
    /// The system that writes it, `<member>/<system>`, as it registered.
    pub gateway: String,
    /// Token of the holder; 0: nobody.
    pub token: i64,
    /// The process that holds it.
    pub holder: String,
    /// Token of a process that was relieved and still writes to its end; 0: nobody.
    pub previous_token: i64,
    /// That process.
    pub previous_holder: String,
    /// The largest token ever given, so that none is given twice.
    pub last_token: i64,
    /// Counts commits and signs of life of those who hold a token.
    pub beat: i64,
    /// When `beat` changed last, microseconds since 1970-01-01 UTC by the clock of who changed it.
    pub renewed_us: i64,
    /// Number of entries.
    pub size: u64,
    /// Openings below this index have been looked through for ones that never closed.
    pub swept: u64,
    /// Nothing is ever written to it again.
    pub sealed: bool,
    /// The mark of who appended last, see [`crate::keys::EpochKey::mark`]; empty where nobody did.
    pub mark: Vec<u8>,
}

/// A lease to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLease {
    /// Larger than [`LogRow::last_token`].
    pub token: i64,
    /// The process that takes it.
    pub holder: String,
    /// Token that may go on writing to its end; 0: nobody.
    pub previous_token: i64,
    /// The process that has it.
    pub previous_holder: String,
}

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appender {
    /// The process with this token, as holder or as the one before it.
    Holder(i64),
    /// A command of an operator: without a token, only to a log that is not sealed. Is no sign of life.
    Guest,
}

/// Entries whose bodies go.
#[derive(Clone, Copy, Debug)]
pub struct Removed<'r> {
    /// Indexes, each once.
    pub indexes: &'r [u64],
    /// Index of the entry that tells of it.
    pub removal_index: u64,
}

/// An entry with all that stands beside it, as found. Nothing of it was checked but that its values can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Place in the log, from 0.
    pub index: u64,
    /// SHA-256 of the body, as stored.
    pub leaf: Hash,
    /// The columns it is searched by, as stored.
    pub columns: Columns,
    /// Index of the Removal entry by which the body went, plus 1; 0: it was not removed.
    pub removed_by: u64,
    /// The entry, encoded; `None` where no row holds it.
    pub body: Option<Vec<u8>>,
    /// What opens its subjects, in their order.
    pub subjects: Vec<SubjectOpening>,
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Number of its log in the store.
    pub log: i64,
    /// Leaves of the tree that it covers.
    pub size: u64,
    /// The signed note, with the log's own signature only.
    pub note: String,
    /// When it was signed, microseconds since 1970-01-01 UTC.
    pub signed_us: i64,
    /// Whether it stays when old ones are thinned out.
    pub kept: bool,
}

/// What somebody else signed of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// Who signed: the name of the key.
    pub name: String,
    /// The line of the note, "— name base64", without its newline.
    pub line: String,
    /// When, seconds since 1970-01-01 UTC, as the signature says.
    pub time_s: u64,
}

/// A place in what was found, newest first: the next page goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// [`Columns::recorded_us`] of the row.
    pub recorded_us: i64,
    /// Number of its log.
    pub log: i64,
    /// Its index.
    pub index: u64,
}

impl Cursor {
    /// The place of a row.
    #[must_use]
    pub const fn of(log: i64, row: &StoredRow) -> Self {
        Self { recorded_us: row.columns.recorded_us, log, index: row.index }
    }
}

/// What is searched for; all that is set must fit.
///
/// Without `kind` and `reason`: openings. With `reason`: openings and closings. With `kind`: entries of that kind.
/// Consumer, provider, method and trace stand in openings only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Number of one log; `None`: all of the store.
    pub log: Option<i64>,
    /// The exchange.
    pub exchange: Option<ExchangeId>,
    /// Recorded at this time or later, microseconds since 1970-01-01 UTC.
    pub from_us: Option<i64>,
    /// Recorded before this time, microseconds since 1970-01-01 UTC.
    pub until_us: Option<i64>,
    /// `<member>/<system>`.
    pub consumer: Option<String>,
    /// `<member>/<system>`.
    pub provider: Option<String>,
    /// `package.Service/Method`; `package.Service/` for all methods of a contract.
    pub method: Option<String>,
    /// Reason code of a refusal.
    pub reason: Option<String>,
    /// Trace id, 16 bytes.
    pub trace_id: Option<[u8; 16]>,
    /// Kind of entry, see [`crate::entry::kind`].
    pub kind: Option<i64>,
}

/// A row where no log has one: an index below 0 or at and above the log's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// `entry`, `body` or `subject`.
    pub table: &'static str,
    /// Its index.
    pub index: i64,
}
