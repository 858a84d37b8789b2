//! Proofs from the store: that an entry is in the log, and that the log only grew. Nothing is proved to
//! whoever does not have the checkpoint, so each is checked against it before it is handed out.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ura_log::{
    Hash,
    checkpoint::{Checkpoint, CheckpointError},
    note::{MAX_NOTE_SIGNATURES, Note},
    proof::{Plan, ProofError, verify_inclusion},
    proof_file::ProofFile,
    tile::TileId,
    tree,
};

use crate::{
    find::{Origins, ReadError},
    store::{CheckpointRow, Reader, StoreError},
};

/// Tiles after which what was planned is carried out before more is taken up: a proof adds fewer than 20, and a
/// store gives 1024 at once.
const TILES_ENOUGH: usize = 1000;

/// Checkpoints after an entry of which one that others cosigned is sought: a minute of them under load.
const COSIGNED_SOUGHT_MAX: u32 = 64;

/// A stored checkpoint, read. Its signature is not verified: whoever made the store could sign it too.
#[derive(Clone, Debug)]
pub struct Covering {
    /// Number of the log in the store.
    pub log: i64,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note with the cosignatures it has so far.
    pub note: Note,
}

/// Which checkpoint a proof is to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// The newest.
    Newest,
    /// The first that covers the entry.
    Smallest,
}

/// The newest checkpoint of a log.
///
/// # Errors
/// [`ReadError::NotCovered`] where there is none.
pub async fn newest(reader: &Reader, log: i64) -> Result<Covering, ReadError> {
    let row = reader.newest_checkpoint(log).await?;
    covering(reader, log, row, 0).await
}

/// The checkpoint under which to prove entries below `size`.
///
/// # Errors
/// [`ReadError::NotCovered`] where none is that large yet.
pub async fn under(reader: &Reader, log: i64, size: u64, which: Under) -> Result<Covering, ReadError> {
    let row = match which {
        Under::Newest => reader.newest_checkpoint(log).await?.filter(|row| row.size >= size),
        Under::Smallest => reader.checkpoint_at_least(log, size).await?,
    };
    covering(reader, log, row, size).await
}

/// The checkpoint that says most of entries below `size`, of those that the log's own key signed: the newest where
/// others cosigned it, else the first of the next [`COSIGNED_SOUGHT_MAX`] that others cosigned, else the newest. The
/// last one of a log that was sealed is by another gateway, so that whoever verifies it needs that one's key, too: it
/// is taken where no other covers the entries.
///
/// # Errors
/// [`ReadError::NotCovered`] where none is that large yet.
pub async fn cosigned(reader: &Reader, log: i64, size: u64) -> Result<Covering, ReadError> {
    let newest = reader.newest_checkpoint(log).await?.filter(|row| row.size >= size);
    let Some(mut newest) = newest else { return covering(reader, log, None, size).await };
    if is_by_another(&newest) {
        let own = reader.checkpoint_below(log, newest.size).await?.filter(|row| row.size >= size);
        newest = own.unwrap_or(newest);
    }
    let next = reader.checkpoints(log, size, COSIGNED_SOUGHT_MAX).await?;
    let next = next.into_iter().filter(|row| row.size < newest.size);
    for row in std::iter::once(newest.clone()).chain(next) {
        if !reader.cosignatures(log, row.size).await?.is_empty() {
            return covering(reader, log, Some(row), size).await;
        }
    }
    covering(reader, log, Some(newest), size).await
}

/// Whether a checkpoint was signed by another gateway than the log's own, as the names of its signatures say. One that
/// cannot be read is nobody's: whoever takes it finds that out.
fn is_by_another(row: &CheckpointRow) -> bool {
    let Ok(note) = Note::parse(&row.note) else { return false };
    let Ok(Checkpoint { origin, .. }) = Checkpoint::parse(&note.text) else { return false };
    note.signatures.iter().all(|signature| signature.name != origin)
}

async fn covering(
    reader: &Reader,
    log: i64,
    row: Option<CheckpointRow>,
    size: u64,
) -> Result<Covering, ReadError> {
    let origins = Origins::read(reader).await?;
    let name = || origins.name(log).map(ToString::to_string);
    let Some(row) = row else { return Err(ReadError::NotCovered { log: name()?, size }) };
    let cosignatures = reader.cosignatures(log, row.size).await?;
    let parsed = Note::parse(&row.note).map_err(CheckpointError::from).and_then(|mut note| {
        // More than a note can have are left out, so that it can still be read.
        let room = MAX_NOTE_SIGNATURES.saturating_sub(note.signatures.len());
        for line in cosignatures.iter().take(room) {
            note.signatures.push(line.parse().map_err(CheckpointError::from)?);
        }
        Ok((Checkpoint::parse(&note.text)?, note))
    });
    match parsed {
        Ok((checkpoint, note)) => Ok(Covering { log, checkpoint, note }),
        Err(source) => Err(ReadError::Checkpoint { log: name()?, size: row.size, source }),
    }
}

/// Proof that entry `index` is in the log at `size` entries, from the leaf's sibling up.
///
/// # Errors
/// [`ReadError::Proof`] where the index is outside, or the store lacks hashes.
pub async fn inclusion(reader: &Reader, log: i64, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
    let plan = Plan::inclusion(index, size);
    Ok(prove(reader, log, vec![plan]).await?.pop().unwrap_or_default())
}

/// Proof that the log at `second` entries goes on from the log at `first`; empty where one of them is empty
/// or both are the same.
///
/// # Errors
/// [`ReadError::Proof`] where the sizes are reversed, or the store lacks hashes.
pub async fn consistency(reader: &Reader, log: i64, first: u64, second: u64) -> Result<Vec<Hash>, ReadError> {
    let plan = Plan::consistency(first, second);
    Ok(prove(reader, log, vec![plan]).await?.pop().unwrap_or_default())
}

/// Proofs of several entries, given as index and leaf hash, under one checkpoint. Each tile is read once;
/// each proof holds.
///
/// # Errors
/// [`ReadError::Proof`]: an entry is not covered, or the hashes of the store do not lead to the
/// checkpoint's root.
pub async fn inclusions(
    reader: &Reader,
    under: &Covering,
    entries: &[(u64, Hash)],
) -> Result<Vec<Vec<Hash>>, ReadError> {
    let Checkpoint { origin, size, root, .. } = &under.checkpoint;
    let plans = entries.iter().map(|(index, _)| Plan::inclusion(*index, *size)).collect();
    let proofs = prove(reader, under.log, plans).await?;
    for ((index, leaf_hash), proof) in entries.iter().zip(&proofs) {
        verify_inclusion(leaf_hash, *index, *size, proof, root)
            .map_err(|source| ReadError::Proof { log: origin.clone(), source })?;
    }
    Ok(proofs)
}

/// The proof of an entry as a file that other tools verify (<https://c2sp.org/tlog-proof>).
///
/// # Errors
/// [`ReadError::NotCovered`] or [`ReadError::Proof`].
pub async fn proof_file(reader: &Reader, log: i64, index: u64, which: Under) -> Result<String, ReadError> {
    let under = under(reader, log, index.saturating_add(1), which).await?;
    let leaves = reader.leaves(log, index, index.saturating_add(1)).await?;
    let entries: Vec<_> = leaves.iter().map(|leaf| (index, tree::leaf_hash(leaf))).collect();
    let hashes = inclusions(reader, &under, &entries).await?.pop();
    let hashes = hashes.ok_or_else(|| ReadError::Altered {
        log: under.checkpoint.origin.clone(),
        index,
        what: "a checkpoint covers it, and it is not there",
    })?;
    Ok(ProofFile { extra: None, index, hashes, checkpoint: under.note }.encode())
}

/// Carries out plans: tiles that several of them need are read once.
async fn prove(
    reader: &Reader,
    log: i64,
    plans: Vec<Result<Plan, ProofError>>,
) -> Result<Vec<Vec<Hash>>, ReadError> {
    match carry_out(reader, log, plans).await? {
        Ok(proofs) => Ok(proofs),
        Err(source) => {
            Err(ReadError::Proof { log: Origins::read(reader).await?.name(log)?.to_string(), source })
        }
    }
}

async fn carry_out(
    reader: &Reader,
    log: i64,
    plans: Vec<Result<Plan, ProofError>>,
) -> Result<Result<Vec<Vec<Hash>>, ProofError>, StoreError> {
    let mut proofs = Vec::with_capacity(plans.len());
    let mut waiting: Vec<Plan> = Vec::new();
    let mut needed: BTreeSet<TileId> = BTreeSet::new();
    let mut plans = plans.into_iter().peekable();
    while let Some(plan) = plans.next() {
        match plan {
            Ok(plan) => {
                needed.extend(plan.tiles());
                waiting.push(plan);
            }
            Err(error) => return Ok(Err(error)),
        }
        if plans.peek().is_some() && needed.len() < TILES_ENOUGH {
            continue;
        }
        let tiles = reader.tiles(log, &Vec::from_iter(std::mem::take(&mut needed))).await?;
        for plan in waiting.drain(..) {
            match plan.prove(&tiles) {
                Ok(proof) => proofs.push(proof),
                Err(error) => return Ok(Err(error)),
            }
        }
    }
    Ok(Ok(proofs))
}
