//! One log as its writer knows it: the right edge of its tree and how far it is signed. Appends rows with
//! all that must stand beside them in one transaction, and takes nothing for done that was not committed.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use ura_log::{Hash, checkpoint::Checkpoint, note::Signer, tree::Frontier};

use crate::{
    entry::Row,
    extend::extend,
    keys::EpochKeys,
    mark::Marks,
    store::{Appender, Store, StoreError},
};

/// Longest time that one transaction may take, in milliseconds: longer than the store's own limits for
/// locks, so that a connection that leads nowhere is given up too.
const TRANSACTION_MS_MAX: u64 = 15_000;

const HOUR_US: i64 = 3_600_000_000;

/// Why rows were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// They are not in the log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They are not in the log: the store did not answer.
    #[error("the store did not answer for {TRANSACTION_MS_MAX} ms")]
    TimedOut,
    /// They are in the log from `first` on, or not at all: the commit was not answered.
    #[error("the store did not say whether it committed: {why}")]
    Unknown {
        /// Where they would begin.
        first: u64,
        /// What the store said.
        why: String,
    },
    /// Entries that were committed are gone.
    #[error(
        "log `{origin}` was rolled back: it has {found} entries and had {known}. Nothing is written to it; put the newer store back, or let the loss be examined with `ura evidence verify`"
    )]
    RolledBack {
        /// Name of the log.
        origin: Arc<str>,
        /// Entries that this writer knows to have been committed.
        known: u64,
        /// Entries that are there.
        found: u64,
    },
    /// A checkpoint could not be made.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] ura_log::checkpoint::CheckpointError),
}

impl AppendError {
    /// Whether the log is not ours to write any more.
    pub(crate) const fn is_fenced(&self) -> bool {
        matches!(self, Self::Store(StoreError::Fenced { .. }))
    }
}

/// How a transaction signs.
#[derive(Clone, Debug)]
pub(crate) struct Signing {
    /// The log's newest key.
    pub(crate) signer: Arc<Signer>,
    /// Time between two checkpoints while entries come.
    pub(crate) interval: Duration,
    /// Sign whatever was not signed yet, however short the time since the last checkpoint.
    pub(crate) now: bool,
    /// The checkpoint is one that stays: it ends what a key of the log signed.
    pub(crate) keep: bool,
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Index of the first row.
    pub(crate) first: u64,
    /// The checkpoint that was signed in it.
    pub(crate) note: Option<String>,
}

/// A log that is being written.
#[derive(Clone, Debug)]
pub(crate) struct LogState {
    /// Its number in the store.
    pub(crate) log: i64,
    /// Its name.
    pub(crate) origin: Arc<str>,
    /// Who appends.
    pub(crate) by: Appender,
    epochs: EpochKeys,
    tree: Frontier,
    /// The mark that belongs to this tree, where one is known: the last that was written or was found right.
    mark: Option<Vec<u8>>,
    signed_size: u64,
    signed_at: Option<Instant>,
    /// Hour of the newest checkpoint that stays, since 1970.
    kept_hour: i64,
}

/// What a transaction changes in memory, once it is committed.
struct Change {
    tree: Frontier,
    mark: Hash,
    first: u64,
    note: Option<String>,
    kept_hour: Option<i64>,
}

impl LogState {
    /// A log with this edge and this mark, of which `signed_size` entries are under a checkpoint.
    pub(crate) fn new(
        log: i64,
        origin: Arc<str>,
        by: Appender,
        epochs: EpochKeys,
        (tree, mark): (Frontier, Option<Vec<u8>>),
        signed_size: u64,
    ) -> Self {
        Self { log, origin, by, epochs, tree, mark, signed_size, signed_at: None, kept_hour: 0 }
    }

    /// Entries that this writer knows to be committed.
    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Root of the tree over them.
    pub(crate) fn root(&self) -> Hash {
        self.tree.root()
    }

    /// Entries under the newest checkpoint of this writer.
    pub(crate) const fn signed_size(&self) -> u64 {
        self.signed_size
    }

    /// When a checkpoint is due; `None` where everything is signed.
    pub(crate) fn due(&self, interval: Duration) -> Option<Instant> {
        let unsigned = self.signed_size < self.size();
        unsigned.then(|| self.signed_at.map_or_else(Instant::now, |at| at + interval))
    }

    /// Appends rows in one transaction; on return they are on disk. No rows: only what others appended is
    /// taken in, and signed where that is due. `late` may still change rows, but not their number: it is
    /// called when nobody else can append any more.
    ///
    /// # Errors
    /// [`AppendError`]; nothing in memory changes.
    pub(crate) async fn append(
        &mut self,
        store: &mut Store,
        rows: &mut [Row],
        signing: &Signing,
        now_us: i64,
        late: impl FnOnce(&mut [Row]),
    ) -> Result<Appended, AppendError> {
        let mut committing = None;
        let transaction = self.transact(store, rows, signing, now_us, late, &mut committing);
        let outcome = tokio::time::timeout(Duration::from_millis(TRANSACTION_MS_MAX), transaction).await;
        let change = match (outcome, committing) {
            (Ok(Ok(change)), _) => change,
            (Ok(Err(AppendError::Store(error))), Some(first)) => {
                return Err(AppendError::Unknown { first, why: error.to_string() });
            }
            (Err(_), Some(first)) => {
                return Err(AppendError::Unknown { first, why: AppendError::TimedOut.to_string() });
            }
            (Ok(Err(error)), _) => return Err(error),
            (Err(_), None) => return Err(AppendError::TimedOut),
        };
        Ok(self.committed(change))
    }

    async fn transact(
        &self,
        store: &mut Store,
        rows: &mut [Row],
        signing: &Signing,
        now_us: i64,
        late: impl FnOnce(&mut [Row]),
        committing: &mut Option<u64>,
    ) -> Result<Change, AppendError> {
        let mut append = store.begin(self.log, self.by, rows.len(), now_us).await?;
        let first = append.first();
        if first < self.size() {
            let (origin, known) = (self.origin.clone(), self.size());
            return Err(AppendError::RolledBack { origin, known, found: first });
        }
        late(rows);
        let mut tree = self.tree.clone();
        let marks = Marks { origin: &self.origin, epochs: &self.epochs, known: self.mark.as_deref() };
        let extended = extend(&mut append, &mut tree, rows, marks).await;
        let mark = extended.map_err(|error| self.foreign_from(error))?;
        let (mut note, mut kept_hour) = (None, None);
        if self.must_sign(tree.size(), signing) {
            let (origin, size, root) = (self.origin.as_ref().to_owned(), tree.size(), tree.root());
            let checkpoint = Checkpoint { origin, size, root, extensions: Vec::new() };
            let signed = checkpoint.sign(&signing.signer)?.to_string();
            let hour = now_us.div_euclid(HOUR_US);
            // One an hour stays when the others are thinned out.
            let keep = signing.keep || hour != self.kept_hour;
            append.checkpoint(size, &signed, now_us, keep).await?;
            (note, kept_hour) = (Some(signed), keep.then_some(hour));
        }
        *committing = Some(first);
        append.commit().await?;
        Ok(Change { tree, mark, first, note, kept_hour })
    }

    /// What is foreign begins where the memory of this writer ends.
    fn foreign_from(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Foreign { origin, size, .. } => {
                StoreError::Foreign { origin, from: Some(self.size()), size }
            }
            error => error,
        }
    }

    /// Whether a transaction that makes the tree so large signs it. Only the size that the transaction
    /// itself makes is ever signed: no other process can sign another tree of this size.
    fn must_sign(&self, size: u64, signing: &Signing) -> bool {
        let is_due = || self.signed_at.is_none_or(|at| at.elapsed() >= signing.interval);
        size > self.signed_size && (signing.now || is_due())
    }

    fn committed(&mut self, change: Change) -> Appended {
        self.tree = change.tree;
        self.mark = Some(change.mark.to_vec());
        if change.note.is_some() {
            self.signed_size = self.tree.size();
            self.signed_at = Some(Instant::now());
        }
        self.kept_hour = change.kept_hour.unwrap_or(self.kept_hour);
        Appended { first: change.first, note: change.note }
    }
}
