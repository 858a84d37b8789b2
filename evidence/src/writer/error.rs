//! Why evidence cannot be kept.

use std::{fmt, sync::Arc};

use super::AppendError;
use crate::{keys::KeysError, lease::LeaseError, store::StoreError};

/// Why evidence cannot be kept. No text holds a key or a password.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys.
    #[error("evidence keys: {0}")]
    Keys(#[from] KeysError),
    /// The lease: another process writes the log.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// An append.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The writer's thread.
    #[error("evidence writer: {0}")]
    Thread(#[from] std::io::Error),
    /// The store does not answer.
    #[error("evidence store: no answer within {0} ms")]
    Silent(u64),
    /// Entries that a checkpoint covers are gone.
    #[error(
        "log `{origin}` was rolled back: {place} covers {signed} entries and the store has {found}, so {} are missing. Nothing is written to it. Put back the newer store; if it is lost, keep this one and its held checkpoint for an examination (`ura evidence verify`) and begin a log under another origin",
        .signed.saturating_sub(*.found)
    )]
    RolledBack {
        /// Name of the log.
        origin: Arc<str>,
        /// Which checkpoint.
        place: Place,
        /// Entries that it covers.
        signed: u64,
        /// Entries that are there.
        found: u64,
    },
    /// The entries are not those that were signed.
    #[error(
        "log `{origin}` was altered: its first {size} entries do not have the root of {place}. Nothing is written to it; `ura evidence verify` names the place"
    )]
    OtherRoot {
        /// Name of the log.
        origin: Arc<str>,
        /// Which checkpoint.
        place: Place,
        /// Entries that it covers.
        size: u64,
    },
    /// A checkpoint that is not one of this log by its keys.
    #[error(
        "log `{origin}`: {place} is not signed by a key of the folder of log keys: {why}. Put the keys of this log back into the folder, or begin a log under another origin"
    )]
    NotSigned {
        /// Name of the log.
        origin: Arc<str>,
        /// Which checkpoint.
        place: Place,
        /// What is wrong with it.
        why: String,
    },
    /// Entries stand behind the log's end.
    #[error(
        "log `{origin}` was altered: it has {size} entries, and an {table} stands at {index}; `ura evidence verify` tells more"
    )]
    Stray {
        /// Name of the log.
        origin: Arc<str>,
        /// Entries by the log's own row.
        size: u64,
        /// What stands there.
        table: &'static str,
        /// Where.
        index: i64,
    },
}

/// Where what is compared with the entries was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the store.
    NewestCheckpoint,
    /// In the folder of log keys, apart from the store.
    HeldCheckpoint,
    /// In the memory of this process.
    Memory,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewestCheckpoint => "the newest checkpoint of the store",
            Self::HeldCheckpoint => "the checkpoint held in the folder of log keys",
            Self::Memory => "what this process wrote",
        })
    }
}
