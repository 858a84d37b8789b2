//! Verification of a whole log, from a store or an export, with nothing but the log's public key: every
//! entry, hash, checkpoint and removal, in one pass whose memory does not grow with the log. Reads only, and
//! judges only what it reads; where keys and held checkpoints come from is the caller's matter.

mod entries;
mod keyring;
mod marks;
pub(crate) mod problem;
pub(crate) mod reading;
mod removal;
mod run;
mod succession;
mod tail;
pub(crate) mod tree;

use std::{collections::BTreeMap, fmt};

use ura_log::{Hash, note::Key};

use crate::source::{Source, SourceError};
pub(crate) use keyring::KEYS_MAX;
pub use keyring::KeyUsed;
pub use problem::{FilePlace, PROBLEMS_MAX, Place, Problem};

/// Why a log could not be read to be verified.
pub type VerifyError = SourceError;

/// Whom the verifier believes.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Keys of the log, got from elsewhere than the log. One is enough: the others are announced in it. And, where
    /// another gateway ended it, the key of that one, given or listed in the registry
    /// ([`crate::registry::verify_registry`]): it counts for nothing but that end, behind the last checkpoint of the
    /// log's own key.
    pub keys: Vec<Key>,
    /// Keys of witnesses.
    pub witnesses: Vec<Key>,
    /// What was kept elsewhere. Only this finds what somebody with the log's key has rewritten.
    pub held: Vec<Held>,
    /// What time it is, microseconds since 1970-01-01 UTC: entries of a log that goes on, recorded less than a minute
    /// before, need not be signed yet. `None`: all must be.
    pub now_us: Option<i64>,
}

/// Something of the log that was kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A checkpoint: a signed note.
    Checkpoint(String),
    /// A receipt, or its trailer.
    Receipt {
        /// Name of the log.
        origin: String,
        /// The entry.
        index: u64,
        /// Hash of its leaf (RFC 9162 section 2.1.1).
        leaf_hash: Hash,
    },
}

/// The newest cosignature of a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Name of its key.
    pub name: String,
    /// When it cosigned, seconds since 1970-01-01 UTC, as it says.
    pub unix_s: u64,
    /// Size of the checkpoint.
    pub size: u64,
    /// Whether the caller gave the key; else only the export itself names it.
    pub given: bool,
    /// Checkpoints that it cosigned.
    pub checkpoints: u64,
}

/// How the log was ended by another gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBy {
    /// The log of that gateway, and the name of the key that signed the end.
    pub by: String,
    /// Entries that the log has for ever.
    pub size: u64,
    /// Whether the key was given and its signature holds; else what follows the last checkpoint of the log's own key
    /// is vouched for by nobody who is known here, which is a problem.
    pub verified: bool,
}

impl fmt::Display for SealedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, size, verified } = self;
        let unknown = if *verified { "" } else { ", whose key was not given" };
        write!(f, "sealed with {size} entries by {by}{unknown}")
    }
}

/// What was verified and what was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the log.
    pub origin: String,
    /// Entries that it has.
    pub size: u64,
    /// Entries that a checkpoint of a trusted key covers. What is behind them is not signed yet.
    pub signed_size: u64,
    /// Entries that a checkpoint of the log's own key covers. Those from here to `signed_size` stand under the word of
    /// the gateway that ended the log.
    pub own_size: u64,
    /// Root of the tree of `signed_size` entries.
    pub root: Hash,
    /// Entries with bodies, by kind ([`crate::entry::kind`]).
    pub kinds: BTreeMap<i64, u64>,
    /// Openings among them.
    pub exchanges: u64,
    /// Entries whose bodies were removed, as Removal entries account for.
    pub removed: u64,
    /// Entries that no checkpoint of a trusted key covers yet.
    pub unsigned: u64,
    /// Checkpoints that were read.
    pub checkpoints: u64,
    /// Checkpoints by keys that are not known any more; their roots agree.
    pub unverifiable: u64,
    /// The end of the log, where another gateway ended it.
    pub sealed: Option<SealedBy>,
    /// The newest cosignature of each witness.
    pub cosignatures: Vec<Cosigned>,
    /// Signatures on the store's checkpoints by witnesses whose keys are not known here.
    pub unknown_cosignatures: u64,
    /// Keys of the log that signed.
    pub keys: Vec<KeyUsed>,
    /// What is wrong: at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many further problems there are.
    pub more_problems: u64,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Verifies a log. `progress` is told how many entries are done, of how many.
///
/// # Errors
/// [`VerifyError`] where it cannot be read at all; what is wrong with it stands in the report.
pub async fn verify(
    source: Source,
    trust: &Trust,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let mut run = run::Run::new(source, trust);
    if run.begins_soundly() {
        run.entries(&mut progress).await?;
        run.rest().await?;
    }
    Ok(run.finish())
}
