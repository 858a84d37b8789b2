//! What is checked before a log is written: that nothing is missing that was signed. A log that goes on
//! behind its newest checkpoint is what a stopped process leaves; a checkpoint that goes on behind the log
//! is a log that was rolled back. Reads only.

use std::sync::Arc;

use ura_log::{checkpoint, tree::Frontier};

use super::error::{EvidenceError, Place};
use crate::{
    extend::take_in,
    keys::{EpochKeys, LogKeys},
    mark::Marks,
    store::{LogRow, Reader, StoreError},
};

/// A log in which nothing is missing.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) keys: LogKeys,
    pub(super) tree: Frontier,
    /// The mark that stood with it.
    pub(super) mark: Vec<u8>,
    /// Entries under the newest checkpoint.
    pub(super) signed_size: u64,
}

/// Checks a log by the keys of its gateway. Of one that was sealed, only by the checkpoint that is held:
/// its last one may be signed by whoever sealed it. What no checkpoint covers must carry a right mark.
pub(super) async fn check(
    reader: &Reader,
    keys: LogKeys,
    epochs: &EpochKeys,
    row: &LogRow,
) -> Result<Checked, EvidenceError> {
    let origin: Arc<str> = row.origin.as_str().into();
    // Checkpoints first: a process that still writes makes the log longer meanwhile, never shorter.
    let newest = if row.sealed { None } else { reader.newest_checkpoint(row.log).await? };
    let newest = newest.map(|checkpoint| checkpoint.note);
    let held = keys.read_held()?;
    let now = row_now(reader, row).await?;
    let (size, mark) = (now.size, now.mark);
    let (mut tree, mut signed_size) = (Frontier::new(), 0);
    for (note, place) in [(newest, Place::NewestCheckpoint), (held, Place::HeldCheckpoint)] {
        let Some(note) = note else { continue };
        let not_signed = |why: String| EvidenceError::NotSigned { origin: origin.clone(), place, why };
        let (signed, _) =
            checkpoint::open(&note, &keys.keys()).map_err(|error| not_signed(error.to_string()))?;
        if *signed.origin != *origin {
            return Err(not_signed(format!("it is one of log `{}`", signed.origin)));
        }
        if signed.size > size {
            return Err(EvidenceError::RolledBack { origin, place, signed: signed.size, found: size });
        }
        let edge = reader.frontier(row.log, signed.size).await?;
        if edge.root() != signed.root {
            return Err(EvidenceError::OtherRoot { origin, place, size: signed.size });
        }
        if edge.size() > tree.size() {
            tree = edge;
        }
        if place == Place::NewestCheckpoint {
            signed_size = signed.size;
        }
    }
    check_end(reader, row, &origin).await?;
    let covered = tree.size();
    take_in(reader, row.log, &mut tree, size).await?;
    // Nobody signs behind the end of a log that was sealed; and what is all signed needs no mark.
    if !row.sealed && covered < size && !Marks::new(&row.origin, epochs).are_right(&tree, &mark) {
        let origin = row.origin.clone();
        return Err(StoreError::Foreign { origin, from: Some(covered), size }.into());
    }
    Ok(Checked { keys, tree, mark, signed_size })
}

/// The log, read again: its size and its mark together.
async fn row_now(reader: &Reader, row: &LogRow) -> Result<LogRow, StoreError> {
    let now = reader.log_by_origin(&row.origin).await?;
    Ok(now.unwrap_or_else(|| row.clone()))
}

/// Nothing may stand behind the end: what was appended there would be taken for new entries.
async fn check_end(reader: &Reader, row: &LogRow, origin: &Arc<str>) -> Result<(), EvidenceError> {
    let before = row_now(reader, row).await?.size;
    let Some(stray) = reader.strays(row.log, before, 1).await?.into_iter().next() else { return Ok(()) };
    // Another process may have appended it since the size was read.
    let size = row_now(reader, row).await?.size;
    if u64::try_from(stray.index).is_ok_and(|index| index < size) {
        return Ok(());
    }
    let (table, index) = (stray.table, stray.index);
    Err(EvidenceError::Stray { origin: origin.clone(), size, table, index })
}
