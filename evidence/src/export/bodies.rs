//! The bodies of a block: is the bundle that is there still right, and else a new one.

use std::io::{BufRead as _, BufReader, Write as _};

use ura_log::Hash;
use ura_proto::v1::StoredEntry;

use super::{BundleProblem, ExportError, folder::Target};
use crate::{
    entry::leaf,
    source::bundle,
    store::StoredRow,
    verify::reading::{Beside, Facts, Told, read},
};
use ura_log::note::Key;

/// What is known of a block from the store, without its bodies.
pub(super) struct Expected<'e> {
    pub(super) from: u64,
    pub(super) leaves: &'e [Hash],
    /// Removed entries and the Removal of each.
    pub(super) removed: &'e [(u64, u64)],
    /// Whether pseudonyms belong into it.
    pub(super) subjects: bool,
}

/// What the entries of a block announce.
#[derive(Default)]
pub(super) struct Announced {
    pub(super) keys: Vec<Key>,
    /// Entries by which the log's key changed.
    pub(super) key_changes: Vec<u64>,
}

impl Announced {
    fn take(&mut self, index: u64, facts: Facts) {
        let keys = match facts.told {
            Told::KeyChange(keys) if keys.is_empty() => return,
            Told::KeyChange(keys) => {
                self.key_changes.push(index);
                keys
            }
            Told::Keys(keys) => keys,
            _ => return,
        };
        for key in keys {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
    }
}

impl Expected<'_> {
    fn removal(&self, index: u64) -> Option<u64> {
        let found = self.removed.binary_search_by_key(&index, |(removed, _)| *removed).ok()?;
        self.removed.get(found).map(|(_, removal)| *removal)
    }

    /// Reads the bundle that is there; `None`: there is none, or it must be written anew.
    pub(super) fn there(&self, target: &Target, path: &str) -> Option<Announced> {
        let mut file = BufReader::new(target.read(path)?);
        let mut announced = Announced::default();
        for (index, leaf) in (self.from..).zip(self.leaves) {
            let (entry, _) = bundle::next(&mut file).ok()??;
            if !self.fits(index, leaf, &entry, &mut announced) {
                return None;
            }
        }
        file.fill_buf().is_ok_and(<[u8]>::is_empty).then_some(announced)
    }

    fn fits(&self, index: u64, leaf: &Hash, entry: &StoredEntry, announced: &mut Announced) -> bool {
        let removal = self.removal(index);
        if entry.log_index != index || entry.removed_by.checked_sub(1) != removal {
            return false;
        }
        if removal.is_some() {
            return entry.body.is_empty() && entry.subjects.is_empty();
        }
        // With the right to pseudonyms all must be there, without it none.
        let beside = if self.subjects { Beside::Always } else { Beside::OrNone };
        let reading = read(&entry.body, None, &entry.subjects, beside);
        match reading.facts {
            Ok(facts) if facts.faults.is_empty() && reading.leaf == *leaf => {
                announced.take(index, facts);
                self.subjects || entry.subjects.is_empty()
            }
            _ => false,
        }
    }

    /// Writes the bundle from the rows of the store.
    pub(super) fn write(
        &self,
        target: &mut Target,
        path: &str,
        rows: Vec<StoredRow>,
    ) -> Result<Announced, ExportError> {
        let mut announced = Announced::default();
        let mut file = std::io::BufWriter::new(target.create()?);
        let mut bytes = Vec::new();
        let mut rows = rows.into_iter();
        for (index, right) in (self.from..).zip(self.leaves) {
            let flawed = |what: &str| ExportError::Flawed { what: format!("entry {index}: {what}") };
            let row = rows.next().filter(|row| row.index == index).ok_or_else(|| flawed("it is missing"))?;
            match &row.body {
                Some(body) if leaf(body) == *right && row.removed_by == 0 => {
                    if let Ok(facts) = read(body, None, &[], Beside::OrNone).facts {
                        announced.take(index, facts);
                    }
                }
                Some(_) => return Err(flawed("its body is not the one that was recorded")),
                None if row.removed_by == 0 => return Err(flawed("its body is missing")),
                None => {}
            }
            let subjects = if self.subjects { row.subjects } else { Vec::new() };
            let body = row.body.unwrap_or_default();
            let entry = StoredEntry { log_index: index, body, removed_by: row.removed_by, subjects };
            bytes.clear();
            bundle::write(&entry, &mut bytes)
                .map_err(|source| ExportError::Entry { index, source: BundleProblem(source) })?;
            file.write_all(&bytes).map_err(target.failed(path))?;
        }
        file.flush().map_err(target.failed(path))?;
        drop(file);
        target.finish(path)?;
        Ok(announced)
    }
}
