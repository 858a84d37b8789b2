//! Inclusion and consistency proofs of RFC 9162 sections 2.1.3 and 2.1.4: what a proof consists of, how it
//! is put together from tiles, and how it is verified. Where tiles are stored is not known here.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use thiserror::Error;

use crate::tile::{TileError, TileId, Tiles};
use crate::tree::{Hash, Node, empty_root, fold, node_hash, subtrees};

/// Why a proof could not be made, or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofError {
    /// There is no such leaf.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    IndexOutside {
        /// The leaf asked for, from 0.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The older tree is the larger one.
    #[error("a tree of {first} leaves cannot be the past of a tree of {second} leaves")]
    SizesReversed {
        /// Leaves of the older tree.
        first: u64,
        /// Leaves of the newer tree.
        second: u64,
    },
    /// The proof has too few or too many hashes for its sizes.
    #[error("the proof has {found} hashes where {expected} are needed")]
    WrongLength {
        /// Hashes that the sizes demand.
        expected: usize,
        /// Hashes in the proof.
        found: usize,
    },
    /// The leaf and the proof give another root: the leaf is not in this tree at this place.
    #[error("the leaf and its inclusion proof give another root")]
    RootMismatch,
    /// The proof does not lead to the older root: the tree's past was changed.
    #[error("the consistency proof gives another root for the older tree")]
    FirstRootMismatch,
    /// The proof does not lead to the newer root.
    #[error("the consistency proof gives another root for the newer tree")]
    SecondRootMismatch,
    /// Two trees of the same size have different roots.
    #[error("two trees of {size} leaves have different roots")]
    RootsDiffer {
        /// Leaves of both trees.
        size: u64,
    },
    /// A tile that the proof needs is missing.
    #[error(transparent)]
    Tile(#[from] TileError),
}

/// The recipe of a proof: which subtrees it is made of, independent of how they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    size: u64,
    /// Each hash of the proof is folded from these perfect subtrees, largest first.
    parts: Vec<Vec<Node>>,
}

impl Plan {
    /// Proof that leaf `index` is in the tree of `size` leaves (PATH in RFC 9162 section 2.1.3.1).
    ///
    /// # Errors
    /// [`ProofError::IndexOutside`].
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofError> {
        if index >= size {
            return Err(ProofError::IndexOutside { index, size });
        }
        let mut parts = Vec::new();
        let (mut start, mut end) = (0, size);
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                parts.push(range(middle, end));
                end = middle;
            } else {
                parts.push(range(start, middle));
                start = middle;
            }
        }
        parts.reverse();
        Ok(Self { size, parts })
    }

    /// Proof that the tree of `second` leaves begins with the tree of `first` leaves (PROOF in RFC 9162
    /// section 2.1.4.1). Empty for `first == second` and, as <https://c2sp.org/tlog-witness> demands, for
    /// `first == 0`.
    ///
    /// # Errors
    /// [`ProofError::SizesReversed`].
    pub fn consistency(first: u64, second: u64) -> Result<Self, ProofError> {
        if first > second {
            return Err(ProofError::SizesReversed { first, second });
        }
        let mut parts = Vec::new();
        let (mut start, mut end) = (0, second);
        if first > 0 {
            while end != first {
                let middle = start + split(end - start);
                if first <= middle {
                    parts.push(range(middle, end));
                    end = middle;
                } else {
                    parts.push(range(start, middle));
                    start = middle;
                }
            }
            // The older tree itself is known to whoever verifies; a part of it is not.
            if start > 0 {
                parts.push(range(start, end));
            }
        }
        parts.reverse();
        Ok(Self { size: second, parts })
    }

    /// The root of the tree of `size` leaves: a "proof" of one hash.
    pub fn root(size: u64) -> Self {
        Self { size, parts: vec![subtrees(size)] }
    }

    /// Number of hashes that the proof has.
    pub fn hashes(&self) -> usize {
        self.parts.len()
    }

    /// The tiles to read: sorted, each once, with the width that it has in a tree of the plan's size.
    pub fn tiles(&self) -> Vec<TileId> {
        let nodes = self.parts.iter().flatten();
        let tiles: BTreeSet<TileId> = nodes.map(|node| TileId::holding(*node, self.size)).collect();
        tiles.into_iter().collect()
    }

    /// Puts the proof together from the tiles that [`Plan::tiles`] names.
    ///
    /// # Errors
    /// [`ProofError::Tile`] when a tile is missing or too narrow.
    pub fn prove(&self, tiles: &Tiles) -> Result<Vec<Hash>, ProofError> {
        self.parts.iter().map(|part| Self::part(part, tiles)).collect()
    }

    fn part(nodes: &[Node], tiles: &Tiles) -> Result<Hash, ProofError> {
        let hashes = nodes.iter().map(|node| tiles.hash(*node)).collect::<Result<Vec<_>, _>>()?;
        Ok(fold(&hashes))
    }
}

/// Largest power of two below `leaves`, which is at least 2.
fn split(leaves: u64) -> u64 {
    1 << (63 - (leaves - 1).leading_zeros())
}

/// The perfect subtrees of the leaves from `start` up to `end`. `start` must be a multiple of the largest
/// power of two in the length, as it is for each half that [`split`] makes.
fn range(start: u64, end: u64) -> Vec<Node> {
    let local = subtrees(end - start).into_iter();
    local.map(|node| Node { height: node.height, index: node.index + (start >> node.height) }).collect()
}

/// Verifies that `leaf` is leaf `index` of the tree of `size` leaves with this `root` (RFC 9162 section
/// 2.1.3.2).
///
/// # Errors
/// [`ProofError::IndexOutside`], [`ProofError::WrongLength`] or [`ProofError::RootMismatch`].
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    let expected = Plan::inclusion(index, size)?.hashes();
    if proof.len() != expected {
        return Err(ProofError::WrongLength { expected, found: proof.len() });
    }
    let mut climb = Climb { node: index, last: size - 1 };
    let mut hash = *leaf;
    for sibling in proof {
        hash = if climb.is_right() { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
        climb.up();
    }
    if hash == *root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

/// Verifies that the tree of `second` leaves begins with the tree of `first` leaves (RFC 9162 section
/// 2.1.4.2). Two trees of the same size are consistent if their roots are equal; the empty tree is
/// consistent with every tree; in both cases the proof must be empty.
///
/// # Errors
/// [`ProofError::SizesReversed`], [`ProofError::WrongLength`], [`ProofError::RootsDiffer`],
/// [`ProofError::FirstRootMismatch`] or [`ProofError::SecondRootMismatch`].
pub fn verify_consistency(
    first: u64,
    first_root: &Hash,
    second: u64,
    second_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    let expected = Plan::consistency(first, second)?.hashes();
    if proof.len() != expected {
        return Err(ProofError::WrongLength { expected, found: proof.len() });
    }
    if first == 0 && *first_root != empty_root() {
        return Err(ProofError::FirstRootMismatch);
    }
    if first == second {
        return if first_root == second_root { Ok(()) } else { Err(ProofError::RootsDiffer { size: first }) };
    }
    if first == 0 {
        return Ok(());
    }
    let (start, siblings) = match proof.split_first() {
        Some((start, siblings)) if !first.is_power_of_two() => (start, siblings),
        // The older tree is itself a subtree of the newer one: its root is the start.
        _ => (first_root, proof),
    };
    let mut climb = Climb { node: first - 1, last: second - 1 };
    climb.rise_while_right();
    let (mut older, mut newer) = (*start, *start);
    for sibling in siblings {
        if climb.is_right() {
            older = node_hash(sibling, &older);
            newer = node_hash(sibling, &newer);
        } else {
            newer = node_hash(&newer, sibling);
        }
        climb.up();
    }
    if older != *first_root {
        return Err(ProofError::FirstRootMismatch);
    }
    if newer == *second_root { Ok(()) } else { Err(ProofError::SecondRootMismatch) }
}

/// The way from a node up to the root: `fn` and `sn` of RFC 9162. Its steps past levels where the last node has
/// no sibling are not needed here: they only find proofs of the wrong length, and the length is checked first.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    /// Whether the next sibling stands to the left.
    fn is_right(&self) -> bool {
        // The last node stays the last all the way up, and has siblings only to its left.
        self.node & 1 == 1 || self.node == self.last
    }

    /// Goes up past nodes that are right children: the older tree holds all that is below them.
    fn rise_while_right(&mut self) {
        while self.node & 1 == 1 {
            self.up();
        }
    }

    fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }
}
