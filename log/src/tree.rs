//! The Merkle tree of RFC 9162 section 2.1.1: how leaves, nodes and trees hash, and the right edge that a
//! tree needs to grow. Knows nothing of proofs, files or signatures.

#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use aws_lc_rs::digest::{Context, SHA256, digest};
use thiserror::Error;

use crate::MAX_TREE_LEAVES;

/// A SHA-256 hash: 32 bytes.
pub type Hash = [u8; 32];

/// What was wrong with the parts of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TreeError {
    /// The number of hashes does not fit the size.
    #[error(
        "a tree of {size} leaves has {expected} perfect subtrees on its edge, but {found} hashes were given"
    )]
    WrongCount {
        /// Leaves of the tree.
        size: u64,
        /// Hashes that such a tree has.
        expected: usize,
        /// Hashes that were given.
        found: usize,
    },
    /// The tree has more leaves than any implementation can count.
    #[error("a tree of {size} leaves is too large: at most {MAX_TREE_LEAVES}")]
    TooLarge {
        /// Leaves of the tree.
        size: u64,
    },
}

/// Hash of a leaf: SHA-256(0x00 ‖ data).
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(data);
    sized(context.finish().as_ref())
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut data = [1; 65];
    data[1..33].copy_from_slice(left);
    data[33..].copy_from_slice(right);
    sized(digest(&SHA256, &data).as_ref())
}

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    sized(digest(&SHA256, &[]).as_ref())
}

fn sized(digest: &[u8]) -> Hash {
    digest.try_into().expect("SHA-256 gives 32 bytes")
}

/// A perfect subtree: the `index`-th, from the left, of those with 2^`height` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Levels above the leaves: 0 is a leaf, at most 63.
    pub height: u8,
    /// Position among the subtrees of this height, from 0.
    pub index: u64,
}

/// The maximal perfect subtrees of a tree of `size` leaves, largest first: one for each bit of `size`.
/// Works for every `u64`.
pub fn subtrees(size: u64) -> Vec<Node> {
    let heights = (0..64u8).rev().filter(|height| size >> height & 1 == 1);
    // All but the lowest bit of `size >> height` are the larger subtrees to the left.
    heights.map(|height| Node { height, index: (size >> height) - 1 }).collect()
}

/// Folds the maximal perfect subtrees of a tree, largest first, into its root.
pub(crate) fn fold(hashes: &[Hash]) -> Hash {
    let Some((last, left)) = hashes.split_last() else { return empty_root() };
    left.iter().rfold(*last, |right, left| node_hash(left, &right))
}

/// The right edge of a tree: the hashes of its maximal perfect subtrees, largest first. It is all that
/// appending and the root need; at most 63 hashes, so cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

impl Frontier {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` leaves from the hashes of its [`subtrees`], in that order.
    ///
    /// # Errors
    /// The number of hashes does not fit the size, or the size is above [`MAX_TREE_LEAVES`].
    pub fn from_subtrees(size: u64, hashes: &[Hash]) -> Result<Self, TreeError> {
        if size > MAX_TREE_LEAVES {
            return Err(TreeError::TooLarge { size });
        }
        let expected = subtrees(size).len();
        if hashes.len() != expected {
            return Err(TreeError::WrongCount { size, expected, found: hashes.len() });
        }
        Ok(Self { size, hashes: hashes.to_vec() })
    }

    /// Leaves of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Hashes of the [`subtrees`] of the tree, in that order.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends the hash of a leaf.
    pub fn append(&mut self, leaf: Hash) {
        self.append_telling(leaf, |_, _, _| {});
    }

    /// Appends the hash of a leaf and tells each perfect subtree that it completed, the leaf itself first:
    /// height, index at that height, hash.
    pub fn append_telling(&mut self, leaf: Hash, mut told: impl FnMut(u8, u64, &Hash)) {
        let (mut height, mut index, mut hash) = (0u8, self.size, leaf);
        told(height, index, &hash);
        // Each one bit at the low end of the size is a subtree that the new one makes whole.
        while index & 1 == 1 {
            let left = self.hashes.pop().expect("the edge has a subtree for each bit of the size");
            hash = node_hash(&left, &hash);
            height += 1;
            index >>= 1;
            told(height, index, &hash);
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// Root of the tree.
    pub fn root(&self) -> Hash {
        fold(&self.hashes)
    }
}
