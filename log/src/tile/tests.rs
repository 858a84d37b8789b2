//! Tiles against the examples of the specification, and against a log that was appended to.

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{
    MAX_ENTRY_BYTES, TileError, TileId, Tiles, decode, decode_entries, encode, encode_entries, tiles_between,
    tiles_of,
};
use crate::tree::reference::{Log, leaves, mth};
use crate::tree::{Node, subtrees};

fn id(level: u8, index: u64, width: u16) -> TileId {
    TileId { level, index, width }
}

#[test]
fn a_tree_has_the_tiles_of_the_specification() {
    // The example of the specification: 273 full and one partial, one full and one partial, one partial.
    let tiles: Vec<TileId> = tiles_of(70_000).collect();
    assert_eq!(tiles.len(), 277);
    assert!(tiles[..273].iter().zip(0..).all(|(tile, index)| *tile == id(0, index, 256)));
    assert_eq!(tiles[273..], [id(0, 273, 112), id(1, 0, 256), id(1, 1, 17), id(2, 0, 1)]);
    assert_eq!(tiles_of(256).collect::<Vec<_>>(), [id(0, 0, 256), id(1, 0, 1)]);
    assert_eq!(tiles_of(0).count(), 0);
    assert!(tiles[0].is_full() && !tiles[273].is_full());
}

#[test]
fn tiles_come_one_at_a_time() {
    // A tree this large has more tiles than any memory holds.
    let mut tiles = tiles_between(0, u64::MAX);
    assert_eq!(tiles.next(), Some(id(0, 0, 256)));
    assert_eq!(tiles.nth(999_999), Some(id(0, 1_000_000, 256)));
    let last = u64::MAX / 256;
    let new: Vec<TileId> = tiles_between(u64::MAX - 1, u64::MAX).collect();
    assert_eq!(new, [id(0, last, 255)]);
    assert_eq!(TileId::in_tree(7, 0, u64::MAX), Some(id(7, 0, 255)));
    assert_eq!(TileId::in_tree(8, 0, u64::MAX), None);
    assert_eq!(TileId::in_tree(255, 0, u64::MAX), None);
    assert_eq!(TileId::in_tree(0, u64::MAX, u64::MAX), None);
}

#[test]
fn a_tile_is_as_wide_as_it_says() {
    let mut tiles = Tiles::new();
    let hashes = leaves(256);
    for (width, count) in [(5, 4), (5, 6), (0, 0), (256, 255)] {
        let tile = id(0, 0, width);
        let error = tiles.insert(tile, hashes[..count].to_vec());
        assert_eq!(error, Err(TileError::WrongWidth { tile, found: count }));
    }
    assert!(tiles.insert(id(0, 0, 300), leaves(300)).is_err());
    let leaf = |index| Node { height: 0, index };
    tiles.insert(id(0, 0, 5), hashes[..5].to_vec()).expect("fits");
    assert_eq!(tiles.hash(leaf(5)), Err(TileError::Missing(id(0, 0, 256))));
    tiles.insert(id(0, 0, 256), hashes.clone()).expect("fits");
    tiles.insert(id(0, 0, 5), hashes[..5].to_vec()).expect("fits");
    assert_eq!(tiles.hash(leaf(255)), Ok(hashes[255]), "the wider tile is kept");
}

#[test]
fn high_subtrees_are_found_in_low_tiles() {
    let leaves = leaves(600);
    let log = Log::of(&leaves);
    let tiles = log.tiles([id(0, 0, 256), id(0, 1, 256)]);
    assert_eq!(tiles.hash(Node { height: 9, index: 0 }), Ok(mth(&leaves[..512])));
    assert_eq!(tiles.hash(Node { height: 8, index: 1 }), Ok(mth(&leaves[256..512])));
    let missing = tiles.hash(Node { height: 10, index: 0 });
    assert_eq!(missing, Err(TileError::Missing(id(1, 0, 256))));
    assert!(tiles.hash(Node { height: 63, index: 1 }).is_err());
    assert!(tiles.hash(Node { height: 0, index: u64::MAX }).is_err());
}

#[test]
fn bundles_have_limits() {
    let long = vec![7; MAX_ENTRY_BYTES];
    let bytes = encode_entries([&long[..], b"", b"ab"]).expect("fits");
    assert_eq!(bytes.len(), MAX_ENTRY_BYTES + 2 + 2 + 4);
    assert_eq!(bytes[MAX_ENTRY_BYTES + 2..], [0, 0, 0, 2, b'a', b'b']);
    assert_eq!(decode_entries(&bytes), Ok(vec![&long[..], b"", b"ab"]));
    let too_long = [long, vec![7]].concat();
    let error = TileError::EntryTooLong { position: 1, bytes: MAX_ENTRY_BYTES + 1 };
    assert_eq!(encode_entries([b"", &too_long[..]]), Err(error));
    assert!(encode_entries((0..256).map(|_| &b"x"[..])).is_ok());
    assert_eq!(encode_entries((0..257).map(|_| &b"x"[..])), Err(TileError::TooManyEntries));
    assert_eq!(decode_entries(&[0; 512]).map(|entries| entries.len()), Ok(256));
    assert_eq!(decode_entries(&[0; 514]), Err(TileError::TooManyEntries));
    for cut in [&[0][..], &[0, 1], &[0, 0, 0], &[0, 2, 1], &[255, 255]] {
        assert!(matches!(decode_entries(cut), Err(TileError::CutShort { .. })), "{cut:?}");
    }
    assert_eq!(decode_entries(&[]), Ok(Vec::new()));
}

#[test]
fn a_tile_is_whole_hashes() {
    for bytes in [0, 1, 31, 33, 8_191, 8_193, 8_224] {
        assert_eq!(decode(&vec![0; bytes]), Err(TileError::BadLength { bytes }), "{bytes}");
    }
    let hashes = leaves(256);
    assert_eq!(decode(&encode(&hashes)), Ok(hashes.clone()));
    assert_eq!(encode(&hashes).len(), 8_192);
}

proptest! {
    #[test]
    fn tiles_hold_every_subtree(size in 1usize..1_500) {
        let log = Log::of(&leaves(size));
        let tiles = log.all_tiles();
        for (node, hash) in &log.told {
            prop_assert_eq!(tiles.hash(*node), Ok(*hash), "{:?}", node);
        }
        let outside = Node { height: 0, index: log.size() };
        prop_assert!(tiles.hash(outside).is_err());
        for node in subtrees(log.size()) {
            prop_assert!(tiles.hash(node).is_ok());
        }
    }

    #[test]
    fn new_tiles_are_those_that_differ(old in 0u64..200_000, more in 0u64..2_000) {
        let new = old + more;
        let had: std::collections::BTreeSet<TileId> = tiles_of(old).collect();
        let expected: Vec<TileId> = tiles_of(new).filter(|tile| !had.contains(tile)).collect();
        prop_assert_eq!(tiles_between(old, new).collect::<Vec<_>>(), expected);
        prop_assert_eq!(tiles_between(new, old).count(), 0);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        if let Ok(entries) = decode_entries(&bytes) {
            prop_assert_eq!(encode_entries(entries), Ok(bytes.clone()));
        }
        if let Ok(hashes) = decode(&bytes) {
            prop_assert_eq!(encode(&hashes), bytes);
        }
    }

    #[test]
    fn any_text_is_read_as_a_path_or_refused(text in "(tile/)?(entries|[0-9]{1,3})/(x?[0-9]{1,3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
        match super::parse_path(&text) {
            Ok(super::Parsed::Tile(tile)) => prop_assert_eq!(super::path(tile), text),
            Ok(super::Parsed::Entries { index, width }) => prop_assert_eq!(super::entries_path(index, width), text),
            Err(error) => prop_assert_eq!(error, TileError::BadPath { path: text }),
        }
    }
}
