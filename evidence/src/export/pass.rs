//! One way through the log: tiles and bundles of every block, from the first to the last.

use std::collections::BTreeMap;

use ura_log::{
    Hash,
    note::Key,
    tile::{self, TILE_WIDTH, TileId, entries_path},
    tree::{Frontier, leaf_hash},
};

use super::{
    ExportError, Options,
    bodies::{Announced, Expected},
    folder::Target,
};
use crate::{
    source::layout::bodies_path,
    store::{LogRow, Reader},
    verify::{KEYS_MAX, tree::BLOCK},
};

/// Entries of a block.
const ROWS: u32 = 256;

/// What was found on the way.
#[derive(Default)]
pub(super) struct Passed {
    /// Root of the tree.
    pub(super) root: Hash,
    /// Keys that the log announces.
    pub(super) keys: Vec<Key>,
    /// Entries by which the log's key changed.
    pub(super) key_changes: Vec<u64>,
    /// The largest number of entries that a Removal needs to be covered.
    pub(super) removed_until: u64,
}

/// Tiles above the leaves that are being filled, by level.
type Filling = BTreeMap<u8, Vec<Hash>>;

/// Exports the first `size` entries.
pub(super) async fn run(
    reader: &Reader,
    log: &LogRow,
    target: &mut Target,
    options: &Options,
    size: u64,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Passed, ExportError> {
    let mut passed = Passed::default();
    let mut tree = Frontier::new();
    let mut filling = Filling::new();
    for number in 0..size.div_ceil(BLOCK) {
        let from = number * BLOCK;
        let until = from.saturating_add(BLOCK).min(size);
        let leaves = reader.leaves(log.log, from, until).await?;
        let removed = reader.removed(log.log, from, until).await?;
        let expected = Expected { from, leaves: &leaves, removed: &removed, subjects: options.subjects };
        block(reader, log, target, number, &expected, &mut passed).await?;
        grow(target, &mut tree, &mut filling, &leaves)?;
        progress(until, size);
    }
    for (level, hashes) in filling.iter().filter(|(_, hashes)| !hashes.is_empty()) {
        let width = u64::from(TILE_WIDTH);
        let index = (size >> (8 * u32::from(*level))) / width;
        put_tile(target, *level, index, hashes)?;
    }
    passed.root = tree.root();
    Ok(passed)
}

/// The leaves and bodies of a block.
async fn block(
    reader: &Reader,
    log: &LogRow,
    target: &mut Target,
    number: u64,
    expected: &Expected<'_>,
    passed: &mut Passed,
) -> Result<(), ExportError> {
    let width = u16::try_from(expected.leaves.len()).expect("a block has at most 256 entries");
    let hashes: Vec<Hash> = expected.leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    put_tile(target, 0, number, &hashes)?;
    let leaves = tile::encode_entries(expected.leaves.iter().map(<[u8; 32]>::as_slice))
        .expect("256 leaves of 32 bytes fit");
    target.put(&entries_path(number, width), &leaves)?;
    let path = bodies_path(number, width);
    let announced = if let Some(announced) = expected.there(target, &path) {
        target.kept += 1;
        for (_, removal) in expected.removed {
            passed.removed_until = passed.removed_until.max(removal.saturating_add(1));
        }
        announced
    } else {
        let mut rows = reader.entries(log.log, expected.from, ROWS).await?;
        rows.truncate(usize::from(width));
        for row in &rows {
            passed.removed_until = passed.removed_until.max(row.removed_by);
        }
        expected.write(target, &path, rows)?
    };
    passed.take(announced);
    Ok(())
}

impl Passed {
    fn take(&mut self, announced: Announced) {
        for key in announced.keys {
            if !self.keys.contains(&key) && self.keys.len() < KEYS_MAX {
                self.keys.push(key);
            }
        }
        let room = KEYS_MAX.saturating_sub(self.key_changes.len());
        self.key_changes.extend(announced.key_changes.into_iter().take(room));
    }
}

/// Appends leaves to the tree, and writes the tiles above them that this fills.
fn grow(
    target: &mut Target,
    tree: &mut Frontier,
    filling: &mut Filling,
    leaves: &[Hash],
) -> Result<(), ExportError> {
    let mut completed = Vec::new();
    for leaf in leaves {
        tree.append_telling(leaf_hash(leaf), |height, index, hash| {
            if height > 0 && height % 8 == 0 {
                completed.push((height / 8, index, *hash));
            }
        });
    }
    for (level, index, hash) in completed {
        let hashes = filling.entry(level).or_default();
        hashes.push(hash);
        if hashes.len() == usize::from(TILE_WIDTH) {
            let hashes = std::mem::take(hashes);
            put_tile(target, level, index / u64::from(TILE_WIDTH), &hashes)?;
        }
    }
    Ok(())
}

fn put_tile(target: &mut Target, level: u8, index: u64, hashes: &[Hash]) -> Result<(), ExportError> {
    let width = u16::try_from(hashes.len()).expect("a tile has at most 256 hashes");
    target.put(&tile::path(TileId { level, index, width }), &tile::encode(hashes))
}
