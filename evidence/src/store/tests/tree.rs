//! The tree from the store's rows, against the tree from the leaves.

use ura_log::{
    proof::{Plan, verify_inclusion},
    tile::{TileId, tiles_of},
    tree::{Frontier, leaf_hash},
};

use super::*;

/// The leaf of an entry.
fn leaf(index: u64) -> Hash {
    let mut leaf = [0x5a; 32];
    leaf[..8].copy_from_slice(&index.to_be_bytes());
    leaf
}

/// Appends entries that are nothing but leaves up to a size, with the subtrees that they complete.
async fn grow(store: &mut Store, log: i64, frontier: &mut Frontier, size: u64) {
    while frontier.size() < size {
        let first = frontier.size();
        let rows: Vec<Row> =
            (first..size.min(first + 4096)).map(|index| Row { leaf: leaf(index), ..gap(1) }).collect();
        let mut batch = store.begin(log, Appender::Holder(1), rows.len(), 9).await.expect("begins");
        assert_eq!(batch.first(), first);
        batch.insert(&rows).await.expect("inserts");
        batch.mark(&[8; 32]).await.expect("marks");
        let mut complete = Vec::new();
        for row in &rows {
            frontier.append_telling(row.leaf_hash(), |height, index, hash| {
                if height > 0 && height % 8 == 0 {
                    complete.push((height / 8, index, *hash));
                }
            });
        }
        batch.subtrees(&complete).await.expect("inserts");
        // The same once more changes nothing.
        batch.subtrees(&complete).await.expect("stays");
        batch.commit().await.expect("commits");
    }
}

pub(super) async fn the_tree_is_that_of_the_leaves(address: Address) {
    let (mut store, log) = held(&address).await;
    let mut frontier = Frontier::new();
    for size in [0, 1, 255, 256, 257, 512, 65_535, 65_536, 65_537] {
        grow(&mut store, log.log, &mut frontier, size).await;
        // Each time anew: nothing that it knows comes from before.
        let reader = Reader::open(&address).await.expect("opens");
        assert_eq!(reader.frontier(log.log, size).await.expect("reads"), frontier, "size {size}");
        let (newest, rest) = (size / 256, size % 256);
        if size > 0 {
            let tiles: Vec<TileId> =
                tiles_of(size).filter(|tile| tile.level > 0 || tile.index >= newest).collect();
            let held = reader.tiles(log.log, &tiles).await.expect("reads");
            for index in newest * 256..newest * 256 + rest {
                let node = ura_log::tree::Node { height: 0, index };
                assert_eq!(held.hash(node), Ok(leaf_hash(&leaf(index))));
            }
        }
        for index in [0, size / 3, size.saturating_sub(1)] {
            let Ok(plan) = Plan::inclusion(index, size) else { continue };
            let tiles = reader.tiles(log.log, &plan.tiles()).await.expect("reads");
            let proof = plan.prove(&tiles).expect("all at hand");
            verify_inclusion(&leaf_hash(&leaf(index)), index, size, &proof, &frontier.root()).expect("holds");
        }
        reader.close().await;
    }
    let reader = Reader::open(&address).await.expect("opens");
    assert_eq!(reader.subtrees(log.log, 1, 0, 4096).await.expect("reads").len(), 256);
    let page = reader.subtrees(log.log, 1, 254, 9).await.expect("reads");
    assert_eq!(page.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [254, 255]);
    assert_eq!(reader.subtrees(log.log, 2, 0, 9).await.expect("reads").len(), 1);
    assert_eq!(
        reader.leaves(log.log, 1, 65_537).await.expect("reads"),
        (1..65_537).map(leaf).collect::<Vec<_>>()
    );
    assert!(matches!(reader.leaves(log.log, 0, 65_537).await, Err(StoreError::Misuse(_))));
    // Any earlier size too, though the log has grown since.
    let mut earlier = Frontier::new();
    (0..300).for_each(|index| earlier.append(leaf_hash(&leaf(index))));
    assert_eq!(reader.frontier(log.log, 300).await.expect("reads"), earlier);
}

pub(super) async fn what_is_missing_of_the_tree_is_named(address: Address) {
    let (mut store, log) = held(&address).await;
    let mut frontier = Frontier::new();
    grow(&mut store, log.log, &mut frontier, 600).await;
    let reader = Reader::open(&address).await.expect("opens");
    let missing = |result: Result<(), StoreError>, part: &str| match result {
        Err(StoreError::Altered { what }) => assert!(what.contains(part), "{what}"),
        other => panic!("{part}: {other:?}"),
    };
    missing(reader.frontier(log.log, 601).await.map(drop), "entry 600");
    tamper(&address, "delete from entry where log_index = 550").await;
    missing(reader.frontier(log.log, 600).await.map(drop), "entry 550");
    missing(reader.leaves(log.log, 540, 560).await.map(drop), "entry 550");
    tamper(&address, "delete from subtree where idx = 1").await;
    missing(reader.frontier(log.log, 512).await.map(drop), "subtree 1 of level 1");
    assert_eq!(reader.frontier(log.log, 256).await.expect("reads").size(), 256);
    let many = vec![TileId { level: 0, index: 0, width: 1 }; 1025];
    assert!(matches!(reader.tiles(log.log, &many).await, Err(StoreError::Misuse(_))));
}
