//! Proofs against published ones and the recursive definition; whatever is changed in one must be found.

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::{Plan, ProofError, verify_consistency, verify_inclusion};
use crate::tile::{TileError, TileId, Tiles};
use crate::tree::reference::{CT_ROOTS, Log, ct_leaves, hex_hash, leaves, mth, path, proof};
use crate::tree::{Frontier, Hash, empty_root, leaf_hash, node_hash, subtrees};

const A: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const B: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const C: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const D: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const E: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const F: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

#[test]
fn inclusion_proofs_are_the_published_ones() {
    let leaves = ct_leaves();
    let table: [(u64, usize, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[A, B, C]),
        (5, 8, &[D, E, CT_ROOTS[3]]),
        (2, 3, &[CT_ROOTS[1]]),
        (1, 5, &[CT_ROOTS[0], B, D]),
    ];
    for (index, size, hashes) in table {
        let log = Log::of(&leaves[..size]);
        let expected: Vec<Hash> = hashes.iter().map(|hash| hex_hash(hash)).collect();
        let plan = Plan::inclusion(index, log.size()).expect("in the tree");
        assert_eq!(plan.prove(&log.all_tiles()), Ok(expected.clone()), "{index} of {size}");
        let leaf = leaves[usize::try_from(index).expect("small")];
        assert_eq!(
            verify_inclusion(&leaf, index, log.size(), &expected, &hex_hash(CT_ROOTS[size - 1])),
            Ok(())
        );
    }
}

#[test]
fn consistency_proofs_are_the_published_ones() {
    let leaves = ct_leaves();
    let table: [(usize, usize, &[&str]); 4] =
        [(1, 1, &[]), (1, 8, &[A, B, C]), (6, 8, &[F, E, CT_ROOTS[3]]), (2, 5, &[B, D])];
    for (first, second, hashes) in table {
        let log = Log::of(&leaves[..second]);
        let expected: Vec<Hash> = hashes.iter().map(|hash| hex_hash(hash)).collect();
        let first_size = u64::try_from(first).expect("small");
        let plan = Plan::consistency(first_size, log.size()).expect("in order");
        assert_eq!(plan.prove(&log.all_tiles()), Ok(expected.clone()), "{first} to {second}");
        let (old, new) = (hex_hash(CT_ROOTS[first - 1]), hex_hash(CT_ROOTS[second - 1]));
        assert_eq!(verify_consistency(first_size, &old, log.size(), &new, &expected), Ok(()));
    }
}

#[test]
fn edges_of_inclusion() {
    let leaf = leaf_hash(b"only");
    assert_eq!(verify_inclusion(&leaf, 0, 1, &[], &leaf), Ok(()));
    assert_eq!(verify_inclusion(&leaf, 0, 1, &[], &empty_root()), Err(ProofError::RootMismatch));
    assert_eq!(
        verify_inclusion(&leaf, 0, 0, &[], &leaf),
        Err(ProofError::IndexOutside { index: 0, size: 0 })
    );
    assert_eq!(Plan::inclusion(7, 7), Err(ProofError::IndexOutside { index: 7, size: 7 }));
    let wrong = Err(ProofError::WrongLength { expected: 0, found: 1 });
    assert_eq!(verify_inclusion(&leaf, 0, 1, &[leaf], &leaf), wrong);
}

#[test]
fn edges_of_consistency() {
    let (one, other) = (leaf_hash(b"one"), leaf_hash(b"other"));
    let empty = empty_root();
    let check = verify_consistency;
    assert_eq!(check(5, &one, 5, &one, &[]), Ok(()));
    assert_eq!(check(5, &one, 5, &other, &[]), Err(ProofError::RootsDiffer { size: 5 }));
    assert_eq!(check(5, &one, 5, &one, &[one]), Err(ProofError::WrongLength { expected: 0, found: 1 }));
    assert_eq!(check(0, &empty, 5, &one, &[]), Ok(()));
    assert_eq!(check(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(check(0, &one, 5, &one, &[]), Err(ProofError::FirstRootMismatch));
    assert_eq!(check(0, &empty, 0, &one, &[]), Err(ProofError::RootsDiffer { size: 0 }));
    assert_eq!(check(0, &empty, 5, &one, &[one]), Err(ProofError::WrongLength { expected: 0, found: 1 }));
    assert_eq!(check(6, &one, 5, &one, &[]), Err(ProofError::SizesReversed { first: 6, second: 5 }));
    assert_eq!(check(4, &one, 5, &one, &[]), Err(ProofError::WrongLength { expected: 1, found: 0 }));
    assert_eq!(Plan::consistency(6, 5), Err(ProofError::SizesReversed { first: 6, second: 5 }));
}

#[test]
fn a_plan_names_exactly_the_tiles_it_needs() {
    let log = Log::of(&leaves(70_000));
    let id = |level, index, width| TileId { level, index, width };
    let plan = Plan::inclusion(300, log.size()).expect("in the tree");
    let expected = [id(0, 1, 256), id(0, 273, 112), id(1, 0, 256), id(1, 1, 17)];
    assert_eq!(plan.tiles(), expected, "the leaf's tile, the edge, and the way between");
    let tiles = log.tiles(plan.tiles());
    let hashes = plan.prove(&tiles).expect("all tiles at hand");
    assert_eq!(verify_inclusion(&log.levels[0][300], 300, log.size(), &hashes, &log.frontier.root()), Ok(()));
    for missing in expected {
        let others = expected.into_iter().filter(|tile| *tile != missing);
        let error = plan.prove(&log.tiles(others)).expect_err("a tile is missing");
        assert!(matches!(error, ProofError::Tile(TileError::Missing(_))), "{missing:?}: {error}");
    }
    assert_eq!(Plan::root(log.size()).prove(&log.all_tiles()), Ok(vec![log.frontier.root()]));
    assert_eq!(Plan::root(0).tiles(), []);
    assert_eq!(Plan::root(0).prove(&Tiles::new()), Ok(vec![empty_root()]));
}

/// Whether leaf `index` and its ancestors stand left or right of their siblings, from the leaf up.
fn sides(index: usize, size: usize) -> Vec<bool> {
    if size == 1 {
        return Vec::new();
    }
    let left = size.next_power_of_two() / 2;
    let right_side = index >= left;
    let mut sides = if right_side { sides(index - left, size - left) } else { sides(index, left) };
    sides.push(right_side);
    sides
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).expect("fits")
}

/// Every way to spoil a proof in one place.
fn spoiled(proof: &[Hash], bit: usize) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    let edit = |all: &mut Vec<Vec<Hash>>, change: &dyn Fn(&mut Vec<Hash>)| {
        let mut copy = proof.to_vec();
        change(&mut copy);
        all.push(copy);
    };
    for at in 0..proof.len() {
        edit(&mut all, &|copy| copy[at][bit / 8] ^= 1 << (bit % 8));
        edit(&mut all, &|copy| _ = copy.remove(at));
        edit(&mut all, &|copy| copy.insert(at, copy[at]));
        for other in 0..at {
            edit(&mut all, &|copy| copy.swap(at, other));
        }
    }
    edit(&mut all, &|copy| copy.push([0; 32]));
    edit(&mut all, &|copy| copy.insert(0, [0; 32]));
    all
}

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut hash = *hash;
    hash[bit / 8] ^= 1 << (bit % 8);
    hash
}

fn index_and_size() -> impl Strategy<Value = (usize, usize)> {
    (1usize..700).prop_flat_map(|size| (0..size, size..size + 1))
}

proptest! {
    #[test]
    fn inclusion_proofs_are_the_recursive_ones_and_any_change_is_found(
        (index, size) in index_and_size(), bit in 0usize..256, other in any::<proptest::sample::Index>(),
    ) {
        let leaves = leaves(size + 40);
        let log = Log::of(&leaves[..size]);
        let (at, count) = (wide(index), wide(size));
        let plan = Plan::inclusion(at, count).expect("in the tree");
        let hashes = plan.prove(&log.tiles(plan.tiles())).expect("the tiles it named");
        prop_assert_eq!(&hashes, &path(index, &leaves[..size]));
        prop_assert_eq!(hashes.len(), plan.hashes());
        let (leaf, root) = (&leaves[index], &log.frontier.root());
        prop_assert_eq!(verify_inclusion(leaf, at, count, &hashes, root), Ok(()));

        for wrong in spoiled(&hashes, bit) {
            prop_assert!(verify_inclusion(leaf, at, count, &wrong, root).is_err());
        }
        prop_assert!(verify_inclusion(&flipped(leaf, bit), at, count, &hashes, root).is_err());
        prop_assert!(verify_inclusion(leaf, at, count, &hashes, &flipped(root, bit)).is_err());
        let other_index = other.index(size);
        if other_index != index {
            prop_assert!(verify_inclusion(leaf, wide(other_index), count, &hashes, root).is_err());
            prop_assert!(verify_inclusion(&leaves[other_index], at, count, &hashes, root).is_err());
        }
        for other_size in index.max(1)..size + 40 {
            if other_size == size {
                continue;
            }
            let other_root = mth(&leaves[..other_size]);
            prop_assert!(verify_inclusion(leaf, at, wide(other_size), &hashes, &other_root).is_err());
            // The root alone does not fix the size: where the way up is the same, the proof is too. It is the
            // checkpoint that binds a size to a root.
            let same_way = index < other_size && sides(index, other_size) == sides(index, size);
            let verified = verify_inclusion(leaf, at, wide(other_size), &hashes, root).is_ok();
            prop_assert_eq!(verified, same_way, "size {}", other_size);
        }
    }

    #[test]
    fn consistency_proofs_are_the_recursive_ones_and_any_change_is_found(
        (first, second) in index_and_size(), bit in 0usize..256, other in any::<proptest::sample::Index>(),
    ) {
        let leaves = leaves(second);
        let log = Log::of(&leaves);
        let (old, new) = (wide(first), wide(second));
        let plan = Plan::consistency(old, new).expect("in order");
        let hashes = plan.prove(&log.tiles(plan.tiles())).expect("the tiles it named");
        prop_assert_eq!(hashes.len(), plan.hashes());
        let (old_root, new_root) = (&log.roots[first], &log.roots[second]);
        prop_assert_eq!(verify_consistency(old, old_root, new, new_root, &hashes), Ok(()));
        prop_assert!(verify_consistency(old, &flipped(old_root, bit), new, new_root, &hashes).is_err());
        for wrong in spoiled(&hashes, bit) {
            prop_assert!(verify_consistency(old, old_root, new, new_root, &wrong).is_err());
        }
        if first == 0 {
            prop_assert_eq!(hashes, Vec::<Hash>::new());
            return Ok(());
        }
        prop_assert_eq!(&hashes, &proof(first, &leaves));
        prop_assert!(verify_consistency(old, old_root, new, &flipped(new_root, bit), &hashes).is_err());
        let other_first = other.index(second);
        if other_first != first {
            let other_root = &log.roots[other_first];
            let other_first = wide(other_first);
            prop_assert!(other_first == 0 || verify_consistency(other_first, other_root, new, new_root, &hashes).is_err());
            prop_assert!(verify_consistency(old, other_root, new, new_root, &hashes).is_err());
        }
        // A past that was rewritten, in any one leaf, has another root.
        let mut rewritten = leaves[..first].to_vec();
        rewritten[other.index(first)] = leaf_hash(b"rewritten");
        prop_assert!(verify_consistency(old, &mth(&rewritten), new, new_root, &hashes).is_err());
    }

    #[test]
    fn trees_of_any_size_can_be_proved(first in any::<u64>(), second in any::<u64>(), shift in 0u32..64) {
        check_huge(first >> shift, second);
        check_huge(first, second >> shift);
        check_huge(first >> shift, second >> shift);
    }
}

#[test]
fn the_largest_trees_can_be_proved() {
    let most = crate::MAX_TREE_LEAVES;
    let interesting = [0, 1, 2, 255, 256, 1 << 32, (1 << 62) - 1, 1 << 62, (1 << 62) + 1, most - 1, most];
    for first in interesting {
        for second in [most - 1, most, 1 << 63, u64::MAX - 1, u64::MAX] {
            check_huge(first, second);
        }
    }
}

/// A tree whose leaves are all the same has the same hash in every perfect subtree of a height, so that its
/// tiles can be had at any size.
fn check_huge(one: u64, two: u64) {
    let (first, second) = (one.min(two), one.max(two));
    let leaf = leaf_hash(b"the same");
    let perfect: Vec<Hash> =
        std::iter::successors(Some(leaf), |hash| Some(node_hash(hash, hash))).take(64).collect();
    let root = |size: u64| {
        let hashes: Vec<Hash> = subtrees(size).iter().map(|node| perfect[usize::from(node.height)]).collect();
        if size <= crate::MAX_TREE_LEAVES {
            let frontier = Frontier::from_subtrees(size, &hashes).expect("as many as needed");
            assert_eq!(frontier.root(), crate::tree::fold(&hashes));
        }
        crate::tree::fold(&hashes)
    };
    let prove = |plan: &Plan| {
        let mut tiles = Tiles::new();
        for tile in plan.tiles() {
            let hashes = vec![perfect[usize::from(tile.level) * 8]; usize::from(tile.width)];
            tiles.insert(tile, hashes).expect("as wide as it says");
        }
        plan.prove(&tiles).expect("the tiles it named")
    };
    assert_eq!(prove(&Plan::root(second)), [root(second)]);
    let hashes = prove(&Plan::consistency(first, second).expect("in order"));
    assert_eq!(verify_consistency(first, &root(first), second, &root(second), &hashes), Ok(()));
    if first < second {
        let hashes = prove(&Plan::inclusion(first, second).expect("in the tree"));
        assert!(second > 1 << 63 || hashes.len() <= crate::MAX_PROOF_HASHES);
        assert_eq!(verify_inclusion(&leaf, first, second, &hashes, &root(second)), Ok(()));
    }
}
