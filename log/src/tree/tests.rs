//! Trees against the published roots, and against the recursive definition.

use proptest::prelude::{prop_assert_eq, proptest};

use super::reference::{CT_ROOTS, Log, ct_leaves, hex_hash, leaves, mth};
use super::{Frontier, Node, TreeError, empty_root, leaf_hash, subtrees};
use crate::MAX_TREE_LEAVES;

#[test]
fn roots_are_the_published_ones() {
    let leaves = ct_leaves();
    let mut frontier = Frontier::new();
    let empty = hex_hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!((empty_root(), frontier.root(), mth(&[])), (empty, empty, empty));
    for (leaf, (size, root)) in leaves.iter().zip((1..).zip(CT_ROOTS)) {
        frontier.append(*leaf);
        assert_eq!(frontier.root(), hex_hash(root), "size {size}");
        assert_eq!(mth(&leaves[..size]), hex_hash(root), "size {size}, recursive");
    }
}

#[test]
fn a_leaf_is_not_a_node() {
    let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
    assert_ne!(leaf_hash(&[left, right].concat()), super::node_hash(&left, &right));
}

#[test]
fn subtrees_are_the_bits_of_the_size() {
    let of = |size| subtrees(size).iter().map(|node| (node.height, node.index)).collect::<Vec<_>>();
    assert_eq!(of(0), []);
    assert_eq!(of(1), [(0, 0)]);
    assert_eq!(of(7), [(2, 0), (1, 2), (0, 6)]);
    assert_eq!(of(1 << 63), [(63, 0)]);
    assert_eq!(of(MAX_TREE_LEAVES).len(), 63);
    assert_eq!(of(u64::MAX).len(), 64);
    assert_eq!(of(u64::MAX)[63], (0, u64::MAX - 1));
}

#[test]
fn an_edge_of_the_wrong_length_is_refused() {
    let hashes = leaves(3);
    let wrong = TreeError::WrongCount { size: 6, expected: 2, found: 3 };
    assert_eq!(Frontier::from_subtrees(6, &hashes), Err(wrong));
    assert!(Frontier::from_subtrees(7, &hashes).is_ok());
    assert!(Frontier::from_subtrees(0, &hashes).is_err());
    assert_eq!(Frontier::from_subtrees(0, &[]), Ok(Frontier::new()));
    let size = MAX_TREE_LEAVES + 1;
    assert_eq!(Frontier::from_subtrees(size, &hashes[..1]), Err(TreeError::TooLarge { size }));
    let most = Frontier::from_subtrees(MAX_TREE_LEAVES, &leaves(63)).expect("63 hashes");
    assert_eq!(most.size(), MAX_TREE_LEAVES);
}

#[test]
fn appending_to_the_largest_tree_does_not_overflow() {
    let mut frontier = Frontier::from_subtrees(MAX_TREE_LEAVES, &leaves(63)).expect("63 hashes");
    let mut told = Vec::new();
    frontier.append_telling(leaf_hash(b"last"), |height, index, _| told.push((height, index)));
    assert_eq!((frontier.size(), frontier.hashes().len(), told.len()), (1 << 63, 1, 64));
    assert_eq!(told.last(), Some(&(63, 0)));
}

proptest! {
    #[test]
    fn the_edge_gives_the_recursive_root(size in 0usize..600) {
        let leaves = leaves(size);
        let log = Log::of(&leaves);
        prop_assert_eq!(log.frontier.root(), mth(&leaves));
        prop_assert_eq!(usize::try_from(log.size()).expect("small"), size);
    }

    #[test]
    fn what_is_told_is_every_perfect_subtree_once(size in 0usize..300) {
        let leaves = leaves(size);
        let mut told = Log::of(&leaves).told;
        let mut expected = Vec::new();
        for height in 0u8..9 {
            for (index, part) in (0u64..).zip(leaves.chunks_exact(1 << height)) {
                expected.push((Node { height, index }, mth(part)));
            }
        }
        told.sort();
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn an_edge_rebuilt_from_its_subtrees_goes_on_the_same(size in 0usize..300, more in 0usize..80) {
        let leaves = leaves(size + more);
        let log = Log::of(&leaves[..size]);
        // Found among what was told, as a program finds them in what it stored.
        let find = |node: Node| log.told.iter().find(|told| told.0 == node).expect("told before").1;
        let hashes: Vec<_> = subtrees(log.size()).into_iter().map(find).collect();
        let mut rebuilt = Frontier::from_subtrees(log.size(), &hashes).expect("as many as needed");
        prop_assert_eq!(&rebuilt, &log.frontier);
        leaves[size..].iter().for_each(|leaf| rebuilt.append(*leaf));
        prop_assert_eq!(rebuilt.root(), mth(&leaves));
    }
}
