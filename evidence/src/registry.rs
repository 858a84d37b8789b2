//! The registry: the signed list of all logs of a store, so that a log that vanishes is missed. Each version is a
//! C2SP signed note by the log key of the gateway that wrote it, names the version before by its hash, and is told of
//! by an entry in that gateway's own log. Knows no gateway's configuration, and no log's entries but those about keys.
//!
//! | module | its job |
//! |---|---|
//! | `text` | the text of a version, read and written |
//! | `signers` | keys that a log announces |
//! | `write` | the next version, and how it is written |
//! | `check` | what verification finds |

mod check;
mod signers;
#[cfg(test)]
mod tests;
mod text;
mod write;

use ura_log::{
    Hash,
    note::{Key, NoteError},
};

use crate::store::StoreError;

pub use check::{RegistryProblem, RegistryReport, verify_registry};
pub(crate) use signers::{first_key, keys_from};
pub(crate) use write::newest;
pub use write::{Own, announce};

/// Most logs that a version lists. With origins of the longest kind its text stays below the limit of a note.
pub const LOGS_MAX: usize = 1000;

/// A version of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// From 1, without gaps.
    pub version: u64,
    /// SHA-256 of the text of the version before; `None` in the first.
    pub before: Option<Hash>,
    /// The logs, by their origins in the order of bytes; at most [`LOGS_MAX`].
    pub logs: Vec<Listed>,
}

/// A log as a version lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub origin: String,
    /// The system that writes it, `<member>/<system>`.
    pub gateway: String,
    /// Whether it was ended.
    pub sealed: bool,
    /// Size of the newest checkpoint that was known when the version was written.
    pub size: u64,
    /// Root of that checkpoint.
    pub root: Hash,
    /// The key that signs the log.
    pub key: Key,
}

impl Registry {
    /// The log of a name.
    #[must_use]
    pub fn log(&self, origin: &str) -> Option<&Listed> {
        self.logs.iter().find(|listed| listed.origin == origin)
    }

    /// The keys of all logs.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.logs.iter().map(|listed| listed.key.clone()).collect()
    }
}

/// Why a registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The note or its signature.
    #[error("registry: {0}")]
    Note(#[from] NoteError),
    /// A line of the text is not what it must be.
    #[error("registry, line {line}: {expected}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What would be right.
        expected: &'static str,
    },
    /// There are too many logs.
    #[error("registry: more than {LOGS_MAX} logs")]
    TooManyLogs,
    /// The newest version does not hold, so nothing is built on it.
    #[error(
        "registry version {version}: {what}. No further version is written; `ura evidence verify` tells more"
    )]
    Unsound {
        /// The version.
        version: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The store has no log of this name.
    #[error("registry: the store has no log `{0}`")]
    NoLog(String),
    /// The key that was to sign is not the one of its log any more.
    #[error(
        "registry: the key of log `{0}` was replaced since it was read here, and signs no version any more; the new key \
         is read from the folder `log_keys` when it is tried again"
    )]
    Replaced(String),
    /// Others wrote a version each time.
    #[error("registry: others wrote a new version again and again; it is tried again later")]
    Contended,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
