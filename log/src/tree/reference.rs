//! The definitions of RFC 9162 section 2.1 word for word, recursive and slow, to hold the rest against; and a
//! log kept as tiles, for tests.

use crate::tile::{Tiles, tiles_of};
use crate::tree::{Frontier, Hash, Node, empty_root, leaf_hash, node_hash};

/// The eight leaves that Certificate Transparency's implementations test with.
pub(crate) const CT_LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// Roots of the trees of the first 1 to 8 of [`CT_LEAVES`].
pub(crate) const CT_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit =
        |byte: &u8| u8::try_from(char::from(*byte).to_digit(16).expect("hex digit")).expect("below 16");
    text.as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}

pub(crate) fn hex_hash(text: &str) -> Hash {
    hex(text).try_into().expect("32 bytes")
}

pub(crate) fn ct_leaves() -> Vec<Hash> {
    CT_LEAVES.iter().map(|leaf| leaf_hash(&hex(leaf))).collect()
}

/// `count` different leaves.
pub(crate) fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(format!("leaf {number}").as_bytes())).collect()
}

fn split(leaves: usize) -> usize {
    leaves.next_power_of_two() / 2
}

/// MTH(D_n).
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(split(more.len()));
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// PATH(m, D_n).
pub(crate) fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, other) =
        if index < left.len() { (path(index, left), right) } else { (path(index - left.len(), right), left) };
    proof.push(mth(other));
    proof
}

/// PROOF(m, D_n) for m > 0.
pub(crate) fn proof(first: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(first, leaves, true)
}

fn subproof(first: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if first == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, other) = if first <= left.len() {
        (subproof(first, left, whole), right)
    } else {
        (subproof(first - left.len(), right, false), left)
    };
    proof.push(mth(other));
    proof
}

/// A log kept as tiles, as a program that only ever appends would keep it.
pub(crate) struct Log {
    pub(crate) frontier: Frontier,
    /// For each level of tiles, its hashes.
    pub(crate) levels: Vec<Vec<Hash>>,
    /// For each size, the root.
    pub(crate) roots: Vec<Hash>,
    /// Each perfect subtree that was told, in that order.
    pub(crate) told: Vec<(Node, Hash)>,
}

impl Log {
    pub(crate) fn of(leaves: &[Hash]) -> Self {
        let mut log = Self {
            frontier: Frontier::new(),
            levels: vec![Vec::new(); 8],
            roots: vec![empty_root()],
            told: Vec::new(),
        };
        for leaf in leaves {
            log.frontier.append_telling(*leaf, |height, index, hash| {
                log.told.push((Node { height, index }, *hash));
                if height % 8 == 0 {
                    log.levels[usize::from(height / 8)].push(*hash);
                }
            });
            log.roots.push(log.frontier.root());
        }
        log
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn tile(&self, tile: crate::tile::TileId) -> Vec<Hash> {
        let first = usize::try_from(tile.index * 256).expect("fits");
        self.levels[usize::from(tile.level)][first..first + usize::from(tile.width)].to_vec()
    }

    /// Only the given tiles.
    pub(crate) fn tiles(&self, wanted: impl IntoIterator<Item = crate::tile::TileId>) -> Tiles {
        let mut tiles = Tiles::new();
        for tile in wanted {
            tiles.insert(tile, self.tile(tile)).expect("as wide as it says");
        }
        tiles
    }

    pub(crate) fn all_tiles(&self) -> Tiles {
        self.tiles(tiles_of(self.size()))
    }
}
