//! Export of a log into a folder: C2SP tiles that any log tool reads, the bodies of entries beside them, and
//! the checkpoints and keys that prove them (docs/evidence.md). What is there already and right is kept, so an
//! export that was broken off goes on, and one of a log that grew adds to what is there.

mod bodies;
mod checkpoints;
mod folder;
mod pass;
mod sealer;

use std::path::Path;

use ura_log::{Hash, checkpoint::Checkpoint, note::Key, note::Note};

use crate::{
    source::{
        bundle::BundleError,
        layout::{CHECKPOINT, KEYS},
    },
    store::{CheckpointRow, LogRow, Reader, StoreError},
};
use folder::Target;

/// How often an export is gone through again because bodies were removed from the store meanwhile.
const ROUNDS_MAX: usize = 3;

/// What an export contains.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether the pseudonyms of subjects are in it: only for readers with the right to them.
    pub subjects: bool,
    /// Keys of the log, to be named beside those that it announces. The key of a gateway that ended the log is found by
    /// the export itself.
    pub keys: Vec<Key>,
    /// Keys of witnesses. Cosignatures of others are left out, since nobody could verify them.
    pub witnesses: Vec<Key>,
}

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Entries.
    pub size: u64,
    /// Root of their tree.
    pub root: Hash,
    /// Files that were written.
    pub written: u64,
    /// Files that were there and right.
    pub kept: u64,
}

/// Why a log cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or folder.
    #[error("{path}: {source}")]
    Io {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder holds something else.
    #[error("{path}: {problem}; nothing was changed: export into an empty folder")]
    Occupied {
        /// The folder or file.
        path: String,
        /// What it holds.
        problem: String,
    },
    /// Somebody else exports into the folder.
    #[error("{path}: another export into this folder is under way")]
    Busy {
        /// The folder.
        path: String,
    },
    /// There is nothing that could be proved.
    #[error(
        "the log {origin:?} has no checkpoint yet: its gateway signs one within a second of the first entry"
    )]
    NothingSigned {
        /// The log.
        origin: String,
    },
    /// The store's own evidence does not hold.
    #[error("{what}; the export was not finished: `ura evidence verify` names all that is wrong")]
    Flawed {
        /// Where, and what is wrong.
        what: String,
    },
    /// An entry does not fit.
    #[error("entry {index}: {source}")]
    Entry {
        /// The entry.
        index: u64,
        /// Why not.
        source: BundleProblem,
    },
    /// Bodies go faster than they are exported.
    #[error("bodies were removed while the log was exported; run the export again when that is done")]
    RemovedMeanwhile,
}

/// Why an entry does not fit into a bundle.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BundleProblem(#[from] BundleError);

/// Exports a log, as far as its newest checkpoint covers it. `progress` is told how many entries are done, of
/// how many.
///
/// # Errors
/// [`ExportError`]. After any of them the folder holds no finished export, and the same call may be made
/// again.
pub async fn export(
    reader: &Reader,
    log: &LogRow,
    to: &Path,
    options: &Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    let (mut row, mut newest) = newest(reader, log).await?;
    let mut target = Target::open(to)?;
    goes_on(reader, log, &target, &newest).await?;
    target.begin()?;
    for _ in 0..ROUNDS_MAX {
        let passed = pass::run(reader, log, &mut target, options, newest.size, &mut progress).await?;
        if passed.removed_until <= newest.size {
            return finish(reader, log, target, options, (&row, &newest), passed).await;
        }
        // An entry was removed by one that this checkpoint does not cover: a newer one does.
        let again = self::newest(reader, log).await?;
        if again.1.size < passed.removed_until {
            break;
        }
        (row, newest) = again;
    }
    Err(ExportError::RemovedMeanwhile)
}

/// The newest checkpoint, as it stands and as it reads.
async fn newest(reader: &Reader, log: &LogRow) -> Result<(CheckpointRow, Checkpoint), ExportError> {
    let origin = || log.origin.clone();
    let row = reader.newest_checkpoint(log.log).await?;
    let row = row.ok_or_else(|| ExportError::NothingSigned { origin: origin() })?;
    let flawed =
        |what: String| ExportError::Flawed { what: format!("checkpoint of {} entries: {what}", row.size) };
    let note = Note::parse(&row.note).map_err(|error| flawed(error.to_string()))?;
    let read = Checkpoint::parse(&note.text).map_err(|error| flawed(error.to_string()))?;
    if read.origin != log.origin || read.size != row.size {
        return Err(flawed("it is of another log or size".to_owned()));
    }
    Ok((row, read))
}

/// Refuses a folder with an export of another log, of more entries, or of another history.
async fn goes_on(
    reader: &Reader,
    log: &LogRow,
    target: &Target,
    newest: &Checkpoint,
) -> Result<(), ExportError> {
    // The first is the log's own; one of a gateway that ended it may follow.
    let keys = target.keys()?;
    let own = keys.iter().find(|key| key.kind() == ura_log::note::Kind::Ed25519);
    if let Some(key) = own.filter(|key| key.name() != log.origin) {
        return Err(target.occupied(KEYS, format!("it holds an export of the log {:?}", key.name())));
    }
    let Some(there) = target.checkpoint()? else { return Ok(()) };
    let occupied = |problem: String| target.occupied(CHECKPOINT, problem);
    if there.origin != log.origin {
        return Err(occupied(format!("it holds an export of the log {:?}", there.origin)));
    }
    if there.size > newest.size {
        let (has, signed) = (there.size, newest.size);
        return Err(occupied(format!(
            "the export there has {has} entries, and the store's newest checkpoint covers {signed}: the store was set back"
        )));
    }
    if reader.frontier(log.log, there.size).await?.root() != there.root {
        return Err(occupied(format!(
            "the first {} entries there are not those of the store: one of both was rewritten",
            there.size
        )));
    }
    Ok(())
}

/// All entries are there: adds checkpoints and keys, takes away what is left of smaller sizes, and writes the
/// checkpoint that says how far the export goes.
async fn finish(
    reader: &Reader,
    log: &LogRow,
    mut target: Target,
    options: &Options,
    (row, newest): (&CheckpointRow, &Checkpoint),
    passed: pass::Passed,
) -> Result<Exported, ExportError> {
    if passed.root != newest.root {
        let what = format!("the entries do not give the root of the checkpoint of {} entries", newest.size);
        return Err(ExportError::Flawed { what });
    }
    let own = checkpoints::own_keys(&log.origin, options, passed.keys);
    let sealer = sealer::key(reader, log, row, &own).await?;
    let (size, is_ended) = (newest.size, sealer.is_some());
    let older = checkpoints::Older { size, key_changes: &passed.key_changes, is_ended };
    let keys = checkpoints::with_witnesses(own.clone(), options);
    checkpoints::write(reader, log, &mut target, &keys, &older).await?;
    let keys = checkpoints::with_witnesses(own.into_iter().chain(sealer).collect(), options);
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    target.put(KEYS, lines.as_bytes())?;
    target.clean(newest.size)?;
    let note = checkpoints::known(&reader.checkpoint_note(row).await?, &keys);
    let note = note.ok_or_else(|| ExportError::Flawed {
        what: format!(
            "neither a known key of the log nor one of the gateway that ended it signed the checkpoint of {} entries",
            newest.size
        ),
    })?;
    target.seal(CHECKPOINT, note.as_bytes())?;
    Ok(Exported { size: newest.size, root: newest.root, written: target.written, kept: target.kept })
}
