//! The tree that the entries give, block by block of 256. A block's leaves may be told by up to three
//! sources that differ (body, leaf, hash tile); the one that fits the hashes above and the signed roots is taken
//! for right, so that one changed byte is one problem. Pure.

use ura_log::{
    Hash,
    tree::{self, Frontier},
};

/// Entries of a full block: those below one hash of level 1.
pub(crate) const BLOCK: u64 = 256;

/// What is said of the hash of one leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// By the body.
    pub(crate) body: Option<Hash>,
    /// By the leaf that stands beside it.
    pub(crate) leaf: Option<Hash>,
    /// By the tile of level 0.
    pub(crate) tile: Option<Hash>,
}

impl Said {
    /// What two say, or else the one that is the most likely to be right: a leaf is copied more often.
    fn most(&self) -> Option<Hash> {
        match (self.body, self.leaf, self.tile) {
            (Some(body), leaf, tile) if leaf == Some(body) || tile == Some(body) => Some(body),
            (body, leaf, tile) => leaf.or(tile).or(body),
        }
    }

    fn agree(&self) -> bool {
        let most = self.most();
        [self.body, self.leaf, self.tile].into_iter().flatten().all(|hash| Some(hash) == most)
    }
}

/// Leaf hashes of a block; `None` where an entry is missing.
pub(crate) type Leaves = Vec<Option<Hash>>;

/// A root that is known from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) size: u64,
    pub(crate) hash: Hash,
}

/// The right edge of the tree of full blocks. `None`: entries are missing, and nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge(Option<Frontier>);

impl Default for Edge {
    fn default() -> Self {
        Self(Some(Frontier::new()))
    }
}

impl Edge {
    /// Whether roots can be computed.
    pub(crate) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Gives up.
    pub(crate) fn lose(&mut self) {
        self.0 = None;
    }

    /// Appends the hash of a full block; gives the larger subtrees that it completes: level of the tile
    /// that holds their hash, index at that level, hash.
    pub(crate) fn push(&mut self, block: Hash) -> Vec<(u8, u64, Hash)> {
        let mut completed = Vec::new();
        if let Some(blocks) = &mut self.0 {
            blocks.append_telling(block, |height, index, hash| {
                if height > 0 && height % 8 == 0 {
                    completed.push((1 + height / 8, index, *hash));
                }
            });
        }
        completed
    }

    /// Roots of the trees that end in the block behind this edge, at each of `sizes`, ascending. None for
    /// sizes that the leaves do not reach.
    pub(crate) fn roots(&self, leaves: &[Option<Hash>], sizes: &[u64]) -> Vec<Option<Hash>> {
        let Some(blocks) = &self.0 else { return vec![None; sizes.len()] };
        let first = blocks.size() * BLOCK;
        let mut local = Frontier::new();
        let mut rest = leaves.iter();
        let mut root = |size: u64| {
            while first + local.size() < size {
                local.append((*rest.next()?)?);
            }
            if local.size() == BLOCK {
                let mut blocks = blocks.clone();
                blocks.append(local.root());
                return Some(blocks.root());
            }
            let edge = [blocks.hashes(), local.hashes()].concat();
            let whole = Frontier::from_subtrees(size, &edge);
            Some(whole.expect("subtrees of full blocks, and smaller ones behind them").root())
        };
        let mut lost = false;
        sizes
            .iter()
            .map(|size| {
                let found = if lost { None } else { root(*size) };
                lost |= found.is_none();
                found
            })
            .collect()
    }
}

/// Root of a full block; `None` where it is not full.
pub(crate) fn block_hash(leaves: &[Option<Hash>]) -> Option<Hash> {
    let mut block = Frontier::new();
    for leaf in leaves {
        block.append((*leaf)?);
    }
    (block.size() == BLOCK).then(|| block.root())
}

/// Chooses the leaves that fit best: signed roots first, then the stored hash of the block, then what most
/// of the sources say.
pub(crate) fn choose(said: &[Said], stored: Option<Hash>, edges: [&Edge; 2], roots: &[Root]) -> Leaves {
    let most: Leaves = said.iter().map(Said::most).collect();
    if said.iter().all(Said::agree) {
        return most;
    }
    let by = |pick: fn(&Said) -> Option<Hash>| -> Leaves {
        said.iter().zip(&most).map(|(said, most)| pick(said).or(*most)).collect()
    };
    let candidates = [most.clone(), by(|said| said.leaf), by(|said| said.tile), by(|said| said.body)];
    let sizes: Vec<u64> = roots.iter().map(|root| root.size).collect();
    let score = |leaves: &Leaves| {
        let fits = |edge: &Edge| {
            let found = edge.roots(leaves, &sizes);
            found.iter().zip(roots).filter(|(found, root)| **found == Some(root.hash)).count()
        };
        let above = usize::from(stored.is_some() && block_hash(leaves) == stored);
        2 * edges.into_iter().map(fits).max().unwrap_or(0) + above
    };
    let mut best = (0, most);
    for leaves in candidates {
        let found = score(&leaves);
        if found > best.0 {
            best = (found, leaves);
        }
    }
    best.1
}

/// Hash of the leaf that stands for a body with this SHA-256.
pub(crate) fn leaf_hash(leaf: &Hash) -> Hash {
    tree::leaf_hash(leaf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(first: u64, count: u64) -> Leaves {
        (first..first + count).map(|index| Some(tree::leaf_hash(&index.to_be_bytes()))).collect()
    }

    fn root(size: u64) -> Hash {
        let mut whole = Frontier::new();
        for leaf in leaves(0, size).into_iter().flatten() {
            whole.append(leaf);
        }
        whole.root()
    }

    #[test]
    fn roots_by_blocks_are_those_of_the_whole_tree() {
        let mut edge = Edge::default();
        let mut completed = Vec::new();
        for block in 0..257 {
            let these = leaves(block * BLOCK, BLOCK);
            let sizes: Vec<u64> = [0, 1, 2, 3, 7, 100, 255, 256].map(|size| block * BLOCK + size).to_vec();
            if block % 17 == 0 {
                let found = edge.roots(&these, &sizes);
                let expected: Vec<_> = sizes.iter().map(|size| Some(root(*size))).collect();
                assert_eq!(found, expected);
            }
            let hash = block_hash(&these).expect("full");
            completed.extend(edge.push(hash));
        }
        assert_eq!(completed, [(2, 0, root(65_536))]);
        assert_eq!(edge.roots(&leaves(257 * BLOCK, 5), &[257 * BLOCK + 6]), [None]);
        edge.lose();
        assert_eq!(edge.roots(&leaves(0, 5), &[3]), [None]);
    }

    #[test]
    fn a_hole_ends_what_can_be_said() {
        let mut these = leaves(0, 10);
        these[5] = None;
        let found = Edge::default().roots(&these, &[4, 5, 6, 7]);
        assert_eq!(found, [Some(root(4)), Some(root(5)), None, None]);
        assert_eq!(block_hash(&these), None);
    }

    #[test]
    fn the_source_that_fits_is_chosen() {
        let right = leaves(0, 10);
        let wrong = Some([9; 32]);
        let edge = Edge::default();
        let signed = [Root { size: 10, hash: root(10) }];
        let all = |change: fn(&mut Said, Option<Hash>)| -> Vec<Said> {
            let mut said: Vec<Said> =
                right.iter().map(|hash| Said { body: *hash, leaf: *hash, tile: None }).collect();
            change(&mut said[4], wrong);
            said
        };
        for said in [all(|said, wrong| said.body = wrong), all(|said, wrong| said.leaf = wrong)] {
            assert_eq!(choose(&said, None, [&edge, &edge], &signed), right);
        }
        // Two that agree are believed where nothing else is known.
        let said = all(|said, wrong| (said.tile, said.leaf) = (said.body, wrong));
        assert_eq!(choose(&said, None, [&edge, &edge], &[]), right);
    }
}
