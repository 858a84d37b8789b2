//! Tiles and entry bundles (<https://c2sp.org/tlog-tiles>): how the hashes and entries of a log are grouped
//! into files of up to 256, how these are named and encoded, and how the hash of a subtree is found in them.
//! Reading and writing files is not done here.

mod path;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use thiserror::Error;

pub use path::{Parsed, entries_path, parse_path, path};

use crate::tree::{Hash, Node, node_hash};

/// Hashes or entries in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// Longest entry that a bundle can hold: its length is a `u16`.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Levels that a tree counted in 64 bits can fill: 8 heights each.
const LEVELS: u8 = 8;

/// What was wrong with a tile or a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TileError {
    /// The tiles at hand do not hold a subtree.
    #[error("the tile at {} is needed and not at hand, or too narrow", path(*.0))]
    Missing(TileId),
    /// The hashes given for a tile do not fill it.
    #[error("the tile at {} was given {found} hashes", path(*.tile))]
    WrongWidth {
        /// The tile.
        tile: TileId,
        /// Hashes given.
        found: usize,
    },
    /// The name of a tile or bundle is not the one of the specification.
    #[error(
        "{path:?} is no tile: expected tile/LEVEL/INDEX or tile/entries/INDEX, with INDEX as x001/x234/067 and \
             .p/WIDTH where it is not full"
    )]
    BadPath {
        /// What was read, cut to a bounded length.
        path: String,
    },
    /// The bytes of a tile are not 1 to 256 whole hashes.
    #[error("a tile holds 1 to 256 hashes of 32 bytes, not {bytes} bytes")]
    BadLength {
        /// Length that was read.
        bytes: usize,
    },
    /// An entry is too long for a bundle.
    #[error("entry {position} of the bundle has {bytes} bytes, at most {MAX_ENTRY_BYTES} fit")]
    EntryTooLong {
        /// Place in the bundle, from 0.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// A bundle has more entries than a tile.
    #[error("a bundle holds at most {TILE_WIDTH} entries")]
    TooManyEntries,
    /// The bytes of a bundle end within an entry.
    #[error("the bundle ends within entry {position}")]
    CutShort {
        /// Place in the bundle, from 0.
        position: usize,
    },
}

/// Names a tile: the `index`-th, from the left, of its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 holds leaf hashes; each hash one level up is the root of a full tile.
    pub level: u8,
    /// Position within the level, from 0.
    pub index: u64,
    /// Hashes in it, 1 to 256; 256 is a full tile.
    pub width: u16,
}

impl TileId {
    /// The tile as it is in a tree of `size` leaves; `None` where that tree has no such tile.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = hashes_at(level, size);
        let start = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = hashes.checked_sub(start)?.min(u64::from(TILE_WIDTH));
        let width = u16::try_from(width).expect("at most 256");
        (width > 0).then_some(Self { level, index, width })
    }

    /// Whether it holds 256 hashes, and so will never change.
    pub fn is_full(self) -> bool {
        self.width >= TILE_WIDTH
    }

    /// The tile that holds `node`, as it is in a tree of `size` leaves. `node` must be in that tree.
    pub(crate) fn holding(node: Node, size: u64) -> Self {
        let place = Place::of(node);
        Self::in_tree(place.level, place.index, size).expect("a node of a tree is in a tile of that tree")
    }
}

/// Hashes that a tree of `size` leaves has at a level of tiles.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * 8).unwrap_or(0)
}

/// All tiles of a tree of `size` leaves, level by level from the leaves, from the left; made one at a time.
pub fn tiles_of(size: u64) -> impl Iterator<Item = TileId> {
    tiles_between(0, size)
}

/// The tiles of a tree of `new` leaves that a tree of `old` leaves did not have, or had narrower. Level by
/// level from the leaves, from the left; made one at a time. None where the tree did not grow.
pub fn tiles_between(old: u64, new: u64) -> impl Iterator<Item = TileId> {
    (0..LEVELS).flat_map(move |level| {
        let (had, has) = (hashes_at(level, old), hashes_at(level, new));
        let width = u64::from(TILE_WIDTH);
        let changed = if had < has { had / width..has.div_ceil(width) } else { 0..0 };
        changed.filter_map(move |index| TileId::in_tree(level, index, new))
    })
}

/// Where the hashes that make up a node stand: `count` of them from `first` within one tile.
struct Place {
    level: u8,
    index: u64,
    first: usize,
    count: usize,
}

impl Place {
    fn of(node: Node) -> Self {
        let rest = node.height % 8;
        let first = (node.index & (0xff >> rest)) << rest;
        Self {
            level: node.height / 8,
            index: node.index >> (8 - rest),
            first: usize::try_from(first).expect("below 256"),
            count: 1 << rest,
        }
    }
}

/// Tiles at hand: what [`crate::proof::Plan::prove`] reads.
#[derive(Debug, Clone, Default)]
pub struct Tiles {
    held: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl Tiles {
    /// None at hand.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a tile. Of two widths of the same tile the wider is kept, since it holds all of the other.
    ///
    /// # Errors
    /// [`TileError::WrongWidth`] when the number of hashes is not the width of the tile.
    pub fn insert(&mut self, tile: TileId, hashes: Vec<Hash>) -> Result<(), TileError> {
        if hashes.len() != usize::from(tile.width) || tile.width == 0 || tile.width > TILE_WIDTH {
            return Err(TileError::WrongWidth { tile, found: hashes.len() });
        }
        let held = self.held.entry((tile.level, tile.index)).or_default();
        if held.len() < hashes.len() {
            *held = hashes;
        }
        Ok(())
    }

    /// Hash of a subtree: from its own tile, or else from the tiles of the levels below.
    ///
    /// # Errors
    /// [`TileError::Missing`] names the full tile that would hold it.
    pub fn hash(&self, node: Node) -> Result<Hash, TileError> {
        self.find(node).ok_or_else(|| {
            let place = Place::of(node);
            TileError::Missing(TileId { level: place.level, index: place.index, width: TILE_WIDTH })
        })
    }

    fn find(&self, node: Node) -> Option<Hash> {
        let place = Place::of(node);
        let held = self.held.get(&(place.level, place.index));
        if let Some(hashes) = held.and_then(|held| held.get(place.first..place.first + place.count)) {
            return Some(perfect_root(hashes));
        }
        let height = node.height.checked_sub(1)?;
        let left = node.index.checked_mul(2)?;
        let left_hash = self.find(Node { height, index: left })?;
        Some(node_hash(&left_hash, &self.find(Node { height, index: left + 1 })?))
    }
}

/// Root of a perfect tree over `hashes`, whose number is a power of two.
fn perfect_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            node_hash(&perfect_root(left), &perfect_root(right))
        }
    }
}

/// Bytes of a tile: its hashes one after the other.
pub fn encode(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// Hashes of a tile.
///
/// # Errors
/// [`TileError::BadLength`] unless the bytes are 1 to 256 whole hashes.
pub fn decode(bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.is_empty() || hashes.len() > usize::from(TILE_WIDTH) {
        return Err(TileError::BadLength { bytes: bytes.len() });
    }
    Ok(hashes.to_vec())
}

/// Bytes of an entry bundle: each entry after its length, a big-endian `u16`.
///
/// # Errors
/// [`TileError::EntryTooLong`] above [`MAX_ENTRY_BYTES`], [`TileError::TooManyEntries`] above 256.
pub fn encode_entries<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TileError> {
    let mut bytes = Vec::new();
    for (position, entry) in entries.into_iter().enumerate() {
        if position >= usize::from(TILE_WIDTH) {
            return Err(TileError::TooManyEntries);
        }
        let length = u16::try_from(entry.len())
            .map_err(|_| TileError::EntryTooLong { position, bytes: entry.len() })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// Entries of a bundle, as parts of its bytes.
///
/// # Errors
/// [`TileError::CutShort`] when the bytes end within an entry, [`TileError::TooManyEntries`] above 256.
pub fn decode_entries(bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if entries.len() >= usize::from(TILE_WIDTH) {
            return Err(TileError::TooManyEntries);
        }
        let short = TileError::CutShort { position: entries.len() };
        let Some((length, after)) = rest.split_first_chunk::<2>() else { return Err(short) };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((entry, after)) = after.split_at_checked(length) else { return Err(short) };
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}
