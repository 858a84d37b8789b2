//! Finding entries: by exchange, by what their openings say, by subject. What is handed out was checked
//! against its leaf, so that nobody takes an altered body for evidence; that the leaf stands in the log is
//! shown by [`crate::prove`]. Who may search is not known here.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use ura_log::{Hash, checkpoint::CheckpointError, proof::ProofError, tree};
use ura_proto::{
    ExchangeId,
    v1::{Entry, Subject, SubjectOpening, entry::Kind},
};

use crate::{
    entry::{Columns, EntryError, decode, leaf},
    keys::{self, EpochKey},
    store::{Cursor, Filter, Reader, StoreError, StoredRow},
};

/// Most entries on one page of what was found.
pub const PAGE_ENTRIES_MAX: u32 = 1000;

/// Why entries cannot be read or proved. A place in the log is its name and an index.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A body is not an entry.
    #[error("log {log}: entry {index}: {source}")]
    Entry {
        /// Name of the log.
        log: String,
        /// The entry.
        index: u64,
        /// Why not.
        source: EntryError,
    },
    /// Somebody altered the store, or it is damaged.
    #[error("log {log}: entry {index}: {what}; run `ura evidence verify`")]
    Altered {
        /// Name of the log.
        log: String,
        /// The entry.
        index: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// The body is gone, so there is nothing to prove or show.
    #[error("log {log}: the body of entry {index} was removed by entry {by}, because its time was over")]
    Removed {
        /// Name of the log.
        log: String,
        /// The entry.
        index: u64,
        /// The entry that tells of the removal.
        by: u64,
    },
    /// No log of the store has this name or number.
    #[error("the store has no log {0}")]
    NoLog(String),
    /// The store knows nothing of the exchange.
    #[error(
        "the store has no opening of exchange {0}: it was never recorded here, or its bodies were removed"
    )]
    NoExchange(ExchangeId),
    /// More than one entry opens the exchange: an id is given once.
    #[error("exchange {0} is opened in more than one place; run `ura evidence verify`")]
    SeveralOpenings(ExchangeId),
    /// More entries than a receipt can hold.
    #[error("exchange {exchange} has more than {entries_max} entries, too many for one receipt")]
    TooManyEntries {
        /// The exchange.
        exchange: ExchangeId,
        /// The limit.
        entries_max: usize,
    },
    /// No checkpoint covers it yet.
    #[error("log {log}: no checkpoint covers {size} entries yet; try again in a second")]
    NotCovered {
        /// Name of the log.
        log: String,
        /// Entries that it would have to cover.
        size: u64,
    },
    /// A stored checkpoint cannot be read.
    #[error("log {log}: checkpoint of {size} entries: {source}")]
    Checkpoint {
        /// Name of the log.
        log: String,
        /// Its size, by its row.
        size: u64,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The hashes of the store do not prove what they should.
    #[error("log {log}: {source}; run `ura evidence verify`")]
    Proof {
        /// Name of the log.
        log: String,
        /// What does not hold.
        source: ProofError,
    },
}

/// An entry as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Name of its log.
    pub log: Arc<str>,
    /// Its index there, from 0.
    pub index: u64,
    /// Hash of its leaf, RFC 9162 section 2.1.1.
    pub leaf_hash: Hash,
    /// Its number among the kinds, see [`crate::entry::kind`]. Of a removed entry only the store says so.
    pub kind: i64,
    /// When it was recorded, microseconds since 1970-01-01 UTC. Of a removed entry only the store says so.
    pub recorded_us: i64,
    /// What it says.
    pub content: Content,
}

/// What an entry says, where that is still there.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// The entry; its body has the leaf.
    There {
        /// The entry.
        entry: Box<Entry>,
        /// What opens its subjects, in their order; checked against their commitments.
        subjects: Vec<SubjectOpening>,
    },
    /// The body was removed.
    Removed {
        /// Index of the entry that tells of it.
        by: u64,
    },
}

impl Found {
    /// Reads and checks a row: that its body has its leaf, is encoded as entries are, agrees with the columns
    /// by which it was found, and that its subjects open their commitments.
    ///
    /// # Errors
    /// [`ReadError::Altered`] or [`ReadError::Entry`].
    pub fn of(log: &Arc<str>, row: StoredRow) -> Result<Self, ReadError> {
        let StoredRow { index, leaf: stored, columns, removed_by, body, subjects } = row;
        let altered = |what| ReadError::Altered { log: log.to_string(), index, what };
        let (kind, recorded_us) = (columns.kind, columns.recorded_us);
        let content = match (body, removed_by.checked_sub(1)) {
            (None, Some(by)) => Content::Removed { by },
            (None, None) => return Err(altered("its body is missing, and no entry removed it")),
            (Some(_), Some(_)) => return Err(altered("it has a body, and is marked as removed")),
            (Some(body), None) => {
                if leaf(&body) != stored {
                    return Err(altered("its body is not the one that its leaf commits to"));
                }
                let entry = decode(&body).map_err(|source| ReadError::Entry {
                    log: log.to_string(),
                    index,
                    source,
                })?;
                if Columns::of(&entry) != columns {
                    return Err(altered("the columns that it is searched by say something else than it"));
                }
                let named = subjects_of(&entry);
                let opened =
                    named.iter().zip(&subjects).all(|(subject, opening)| keys::opens(subject, opening));
                if named.len() != subjects.len() || !opened {
                    return Err(altered("the pseudonyms beside it are not those that it commits to"));
                }
                Content::There { entry: Box::new(entry), subjects }
            }
        };
        let leaf_hash = tree::leaf_hash(&stored);
        Ok(Self { log: Arc::clone(log), index, leaf_hash, kind, recorded_us, content })
    }

    /// The entry; `None` where its body was removed.
    #[must_use]
    pub fn entry(&self) -> Option<&Entry> {
        match &self.content {
            Content::There { entry, .. } => Some(entry),
            Content::Removed { .. } => None,
        }
    }

    /// Index of the entry by which its body was removed; `None` where it is there.
    #[must_use]
    pub fn removed_by(&self) -> Option<u64> {
        match self.content {
            Content::There { .. } => None,
            Content::Removed { by } => Some(by),
        }
    }

    /// What opens its subjects; none where its body was removed.
    #[must_use]
    pub fn subjects(&self) -> &[SubjectOpening] {
        match &self.content {
            Content::There { subjects, .. } => subjects,
            Content::Removed { .. } => &[],
        }
    }

    /// The entry.
    ///
    /// # Errors
    /// [`ReadError::Removed`].
    pub fn into_entry(self) -> Result<Entry, ReadError> {
        match self.content {
            Content::There { entry, .. } => Ok(*entry),
            Content::Removed { by } => {
                Err(ReadError::Removed { log: self.log.to_string(), index: self.index, by })
            }
        }
    }
}

/// The exchange id of 16 bytes; `None` where they are none.
pub(crate) fn exchange_of(bytes: &[u8]) -> Option<ExchangeId> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    // The text form, without its dashes.
    format!("{:032x}", u128::from_be_bytes(*bytes)).parse().ok()
}

/// Whom an entry names.
pub(crate) fn subjects_of(entry: &Entry) -> &[Subject] {
    match &entry.kind {
        Some(Kind::Opening(opening)) => &opening.subjects,
        Some(Kind::Progress(progress)) => &progress.subjects,
        _ => &[],
    }
}

/// One page of what was found, newest first.
#[derive(Clone, Debug)]
pub struct FoundPage {
    /// The entries.
    pub entries: Vec<Found>,
    /// Where the next page goes on; `None`: this is the last one.
    pub next: Option<Cursor>,
}

/// Names of logs by their numbers in the store.
pub(crate) struct Origins(HashMap<i64, Arc<str>>);

impl Origins {
    /// Reads them.
    pub(crate) async fn read(reader: &Reader) -> Result<Self, ReadError> {
        let logs = reader.logs().await?;
        Ok(Self(logs.into_iter().map(|row| (row.log, row.origin.into())).collect()))
    }

    /// The name of one.
    pub(crate) fn name(&self, log: i64) -> Result<&Arc<str>, ReadError> {
        self.0.get(&log).ok_or_else(|| ReadError::NoLog(log.to_string()))
    }

    fn found(&self, rows: Vec<(i64, StoredRow)>) -> Result<Vec<Found>, ReadError> {
        rows.into_iter().map(|(log, row)| Found::of(self.name(log)?, row)).collect()
    }
}

/// The entries of one exchange, in the order of the log; empty where there is none.
///
/// # Errors
/// [`ReadError`] where an entry is not what its leaf commits to.
pub async fn exchange(reader: &Reader, exchange: ExchangeId) -> Result<Vec<Found>, ReadError> {
    let rows = reader.exchange(exchange).await?;
    Origins::read(reader).await?.found(rows)
}

/// The entry at an index; `None` above the end of the log.
///
/// # Errors
/// [`ReadError::NoLog`], or the entry is not what its leaf commits to.
pub async fn at(reader: &Reader, origin: &str, index: u64) -> Result<Option<Found>, ReadError> {
    let log = reader.log_by_origin(origin).await?.ok_or_else(|| ReadError::NoLog(origin.to_owned()))?;
    let row = reader.entries(log.log, index, 1).await?.into_iter().find(|row| row.index == index);
    row.map(|row| Found::of(&origin.into(), row)).transpose()
}

/// Entries that a filter lets through, newest first, after `after`; at most `limit` and
/// [`PAGE_ENTRIES_MAX`].
///
/// # Errors
/// [`ReadError`] where an entry is not what its leaf commits to.
pub async fn find(
    reader: &Reader,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<FoundPage, ReadError> {
    let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
    let rows = reader.find(filter, after, limit).await?;
    page(reader, rows, limit).await
}

/// Whom to search for.
#[derive(Clone, Copy)]
pub struct Whom<'w> {
    /// Kind of subject, as the annotation names it.
    pub kind: &'w str,
    /// Canonical form of the subject, as the annotation makes it.
    pub canonical: &'w [u8],
}

impl Whom<'_> {
    /// Its pseudonyms, one for each key.
    #[must_use]
    pub fn pseudonyms(&self, keys: &[Arc<EpochKey>]) -> Vec<Hash> {
        keys.iter().map(|key| key.pseudonym(self.kind, self.canonical)).collect()
    }
}

/// Openings of the exchanges that name a subject, at any time of them, newest first; `keys` are all epoch
/// keys that are left. `from_us` and `until_us` (excluded) are microseconds since 1970-01-01 UTC.
///
/// # Errors
/// [`ReadError`] where an entry is not what its leaf commits to.
pub async fn find_subject(
    reader: &Reader,
    keys: &[Arc<EpochKey>],
    whom: Whom<'_>,
    (from_us, until_us): (i64, i64),
    after: Option<Cursor>,
    limit: u32,
) -> Result<FoundPage, ReadError> {
    let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
    let rows = reader.accesses(&whom.pseudonyms(keys), from_us, until_us, after, limit).await?;
    page(reader, rows, limit).await
}

async fn page(reader: &Reader, rows: Vec<(i64, StoredRow)>, limit: u32) -> Result<FoundPage, ReadError> {
    let full = usize::try_from(limit).is_ok_and(|limit| rows.len() >= limit);
    let next = rows.last().filter(|_| full).map(|(log, row)| Cursor::of(*log, row));
    Ok(FoundPage { entries: Origins::read(reader).await?.found(rows)?, next })
}
