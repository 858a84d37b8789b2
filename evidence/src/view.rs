//! A member's own view of a log: the entries of exchanges in which its system was consumer or provider, in
//! the order of the log, each with its proof. Nobody else's entries pass here, and no pseudonyms. Who
//! asks is the caller's to know.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ura_proto::{
    SystemId,
    v1::{ProvedEntry, ReadEntriesResponse, StoredEntry},
};

use crate::{
    find::{Found, ReadError},
    prove::{self, Covering},
    store::{Reader, StoredRow},
};

/// Most entries on one page.
pub const PAGE_ENTRIES_MAX: u32 = 256;

/// Bodies on one page end with the one that passes this, in bytes: with the proofs, a page stays
/// below the 4 MiB that gRPC clients read by default.
pub const PAGE_BODY_BYTES_MAX: usize = 1 << 20;

/// Entries of the log that are looked at for one page, whomever they name.
pub const PAGE_SPAN_ENTRIES: u64 = 65_536;

/// A reading of one log for one system, page by page.
#[derive(Debug)]
pub struct View {
    reader: Reader,
    log: i64,
    origin: Arc<str>,
    system: SystemId,
    /// Everything below has been told.
    next_index: u64,
    /// The checkpoint that was told last.
    told: String,
}

impl View {
    /// A view of the log of this name, from an index on.
    ///
    /// # Errors
    /// [`ReadError::NoLog`].
    pub async fn open(
        reader: &Reader,
        origin: &str,
        system: SystemId,
        from_index: u64,
    ) -> Result<Self, ReadError> {
        let row = reader.log_by_origin(origin).await?.ok_or_else(|| ReadError::NoLog(origin.to_owned()))?;
        Ok(Self {
            reader: reader.clone(),
            log: row.log,
            origin: origin.into(),
            system,
            next_index: from_index,
            told: String::new(),
        })
    }

    /// The next page, under the newest checkpoint. It has no entries where the next [`PAGE_SPAN_ENTRIES`] of
    /// the log are all others'. `None`: everything below the newest checkpoint has been told; to be asked again
    /// when the log grew.
    ///
    /// # Errors
    /// [`ReadError`] where the store cannot be read, or was altered.
    pub async fn page(&mut self) -> Result<Option<ReadEntriesResponse>, ReadError> {
        let under = match prove::newest(&self.reader, self.log).await {
            Ok(under) if under.checkpoint.size > self.next_index => under,
            Ok(_) | Err(ReadError::NotCovered { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let from = self.next_index;
        let below = under.checkpoint.size.min(from.saturating_add(PAGE_SPAN_ENTRIES));
        let rows = self.reader.named(self.log, self.system.as_str(), from, below, PAGE_ENTRIES_MAX).await?;
        let (rows, next_index) = cut(rows, below);
        let entries = self.prove(&under, rows).await?;
        let note = under.note.to_string();
        let checkpoint = if note == self.told { String::new() } else { note.clone() };
        self.told = note;
        self.next_index = next_index;
        Ok(Some(ReadEntriesResponse { entries, checkpoint, next_index }))
    }

    /// The rows with their proofs.
    async fn prove(&self, under: &Covering, rows: Vec<StoredRow>) -> Result<Vec<ProvedEntry>, ReadError> {
        let mut entries = Vec::with_capacity(rows.len());
        let mut places = Vec::with_capacity(rows.len());
        for row in rows {
            let body = row.body.clone().unwrap_or_default();
            let found = Found::of(&self.origin, row)?;
            places.push((found.index, found.leaf_hash));
            let removed_by = found.removed_by().map_or(0, |by| by.saturating_add(1));
            entries.push(StoredEntry { log_index: found.index, body, removed_by, subjects: Vec::new() });
        }
        let proofs = prove::inclusions(&self.reader, under, &places).await?;
        let proved = entries.into_iter().zip(proofs).map(|(entry, proof)| ProvedEntry {
            entry: Some(entry),
            proof: proof.iter().map(|hash| hash.to_vec()).collect(),
        });
        Ok(proved.collect())
    }
}

/// The rows of a page, and the index from which on nothing has been told. `rows` are the first ones found
/// below `below`.
fn cut(mut rows: Vec<StoredRow>, below: u64) -> (Vec<StoredRow>, u64) {
    let full = u32::try_from(rows.len()).is_ok_and(|rows| rows >= PAGE_ENTRIES_MAX);
    let mut bytes = 0;
    let past = rows.iter().position(|row| {
        bytes += row.body.as_ref().map_or(0, Vec::len);
        bytes >= PAGE_BODY_BYTES_MAX
    });
    let told = past.map_or(rows.len(), |last| last + 1);
    let all = told == rows.len() && !full;
    rows.truncate(told);
    let next = rows.last().filter(|_| !all).map_or(below, |row| row.index.saturating_add(1));
    (rows, next)
}
