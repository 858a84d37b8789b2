//! A log in a store, read a block at a time.

use std::collections::BTreeMap;

use super::{Block, Body, Found, Noted, Seen, SourceError, Subtree};
use crate::{
    store::{LogRow, Reader, StoreError, StoredRow},
    verify::{
        problem::{Fault, Place},
        reading::{Beside, read, read_removed},
        tree::BLOCK,
    },
};

/// Rows of a block, and as many hashes at once.
const PAGE: u32 = 256;

/// Levels of tiles above the leaves.
const LEVELS: u8 = 7;

/// Rows beyond the end that are told one by one.
const STRAYS_MAX: u32 = 20;

/// A log in a store.
#[derive(Debug)]
pub(crate) struct Stored {
    reader: Reader,
    log: LogRow,
    /// One page of hashes for each level, and where it begins.
    pages: BTreeMap<u8, (u64, BTreeMap<u64, ura_log::Hash>)>,
}

impl Stored {
    pub(crate) fn new(reader: Reader, log: LogRow) -> Self {
        Self { reader, log, pages: BTreeMap::new() }
    }

    pub(crate) fn log(&self) -> &LogRow {
        &self.log
    }

    pub(crate) async fn block(&self, number: u64, found: &mut Vec<Found>) -> Result<Block, SourceError> {
        let from = number.saturating_mul(BLOCK);
        let until = from.saturating_add(BLOCK).min(self.log.size);
        let rows = match self.reader.entries(self.log.log, from, PAGE).await {
            Ok(rows) => rows,
            Err(StoreError::Altered { .. }) => self.one_by_one(from, until, found).await?,
            Err(error) => return Err(error.into()),
        };
        let rows = rows.into_iter().filter(|row| row.index < until);
        Ok(Block { entries: rows.map(seen).collect(), files: None })
    }

    /// The rows of a block where one has values that no entry can have.
    async fn one_by_one(
        &self,
        from: u64,
        until: u64,
        found: &mut Vec<Found>,
    ) -> Result<Vec<StoredRow>, SourceError> {
        let mut rows = Vec::new();
        for index in from..until {
            match self.reader.entries(self.log.log, index, 1).await {
                Ok(more) => rows.extend(more.into_iter().filter(|row| row.index == index)),
                Err(StoreError::Altered { what }) => {
                    found.push(Found { place: Place::entry(index), file: None, fault: Fault::File(what) });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(rows)
    }

    pub(crate) async fn notes(&self, from: u64, last: u64) -> Result<Vec<Noted>, SourceError> {
        let mut noted = Vec::new();
        // Sizes are unique, so a block has at most 257.
        for row in self.reader.checkpoints(self.log.log, from, PAGE + 1).await? {
            if row.size > last {
                break;
            }
            let note = self.reader.checkpoint_note(&row).await?;
            noted.push(Noted { size: row.size, note, file: None });
        }
        Ok(noted)
    }

    pub(crate) async fn subtree(&mut self, level: u8, index: u64) -> Result<Subtree, SourceError> {
        let start = index - index % u64::from(PAGE);
        if self.pages.get(&level).is_none_or(|(first, _)| *first != start) {
            let hashes = self.reader.subtrees(self.log.log, level, start, PAGE).await?;
            self.pages.insert(level, (start, hashes.into_iter().collect()));
        }
        let held = self.pages.get(&level).and_then(|(_, hashes)| hashes.get(&index));
        Ok(held.map_or(Subtree::Missing, |hash| Subtree::Hash(*hash)))
    }

    /// Rows behind the end. The log may go on meanwhile, so its size is asked for last.
    pub(crate) async fn beyond(&mut self, found: &mut Vec<Found>) -> Result<(), SourceError> {
        let id = self.log.log;
        let strays = self.reader.strays(id, self.log.size, STRAYS_MAX).await?;
        let mut hashes = Vec::new();
        for level in 0..=LEVELS + 1 {
            let filled = if level == 0 { 0 } else { self.log.size >> (8 * u32::from(level)).min(63) };
            let more = self.reader.subtrees(id, level, filled, PAGE).await?;
            hashes.extend(more.into_iter().map(|(index, _)| (level, index)));
        }
        let newest = self.reader.newest_checkpoint(id).await?;
        let now = self.reader.log_by_origin(&self.log.origin).await?.map_or(self.log.size, |log| log.size);
        let mut tell = |place, fault| found.push(Found { place, file: None, fault });
        for stray in strays {
            match u64::try_from(stray.index) {
                Ok(index) if index < now => {}
                Ok(index) if stray.table == "entry" => {
                    tell(Place::entry(index), Fault::BeyondSize { size: now });
                }
                _ => tell(Place::Log, Fault::Stray { table: stray.table, index: stray.index }),
            }
        }
        for (level, index) in hashes {
            let filled = if (1..=LEVELS).contains(&level) { now >> (8 * u32::from(level)) } else { 0 };
            if index >= filled {
                tell(Place::subtree(level, index), Fault::SubtreeStray);
            }
        }
        if let Some(newest) = newest.filter(|newest| newest.size > now) {
            let place = Place::Entries { from: now, until: newest.size };
            tell(place, Fault::CutOffSigned { size: newest.size });
        }
        Ok(())
    }

    pub(crate) async fn later(&self, index: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let rows = self.reader.entries(self.log.log, index, 1).await?;
        let row = rows.into_iter().find(|row| row.index == index && index >= self.log.size);
        Ok(row.and_then(|row| row.body.filter(|body| crate::entry::leaf(body) == row.leaf)))
    }
}

fn seen(row: StoredRow) -> Seen {
    let removed_by = row.removed_by.checked_sub(1);
    let body = match &row.body {
        Some(body) => {
            let reading = read(body, Some(&row.columns), &row.subjects, Beside::Always);
            Body::Here { reading, removed_by }
        }
        None => Body::Gone { removed_by, faults: read_removed(Some(&row.columns), &row.subjects) },
    };
    Seen { index: row.index, leaf: Some(row.leaf), tile: None, body, offset: 0 }
}
