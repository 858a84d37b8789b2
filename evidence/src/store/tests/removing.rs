//! Removal: bodies go, leaves stay.

use super::*;
use crate::{
    entry::Columns,
    store::{Filter, Removed},
};

const OLD: i64 = 100;

/// Two exchanges of the contract that ended, one refused, one still open, one too young, one of another contract.
fn sample() -> Vec<Row> {
    let ids: Vec<_> = (0..6).map(ExchangeId::at).collect();
    let asks = |method: &str| asked("a/b", "c/d", method);
    let refused = Opening { refusal: "NO".into(), ..asks("p.S/One") };
    vec![
        opening(ids[0], 1, asks("p.S/One"), &[[1; 32]]),
        opening(ids[1], 2, asks("p.S/Two"), &[[1; 32]]),
        progress(ids[0], 3, &[[1; 32]]),
        closing(ids[1], 4),
        opening(ids[2], 5, refused, &[[1; 32]]),
        opening(ids[3], 6, asks("p.S/One"), &[[1; 32]]),
        opening(ids[4], OLD, asks("p.S/One"), &[[1; 32]]),
        closing(ids[4], OLD),
        opening(ids[5], 7, asks("p.Sx/One"), &[[1; 32]]),
        closing(ids[5], 8),
        closing(ids[0], OLD + 1),
    ]
}

pub(super) async fn a_removal_leaves_the_leaves(address: Address) {
    let (mut store, log) = held(&address).await;
    let rows = sample();
    append(&mut store, log.log, Appender::Holder(1), &rows).await.expect("appends");
    let reader = Reader::open(&address).await.expect("opens");
    // Two that are closed and the one that was refused.
    let indexes = [0, 1, 2, 3, 4, 10];
    let mut batch = store.begin(log.log, Appender::Guest, 1, 9).await.expect("begins");
    let removal_index = batch.first();
    batch.insert(&[gap(1)]).await.expect("inserts");
    batch.mark(&[8; 32]).await.expect("marks");
    batch.remove(&Removed { indexes: &indexes, removal_index }).await.expect("removes");
    batch.commit().await.expect("commits");

    for row in reader.entries(log.log, 0, 99).await.expect("reads") {
        let Some(original) = rows.get(usize::try_from(row.index).expect("small")) else { continue };
        assert_eq!(row.leaf, original.leaf);
        if indexes.contains(&row.index) {
            assert_eq!((row.body, row.subjects.len(), row.removed_by), (None, 0, removal_index + 1));
            assert_eq!(row.columns, Columns::removed());
        } else {
            assert_eq!((row.body.as_ref(), row.removed_by), (Some(&original.body), 0));
            assert_eq!((&row.columns, &row.subjects), (&original.columns, &original.subjects));
        }
    }
    // Nothing finds what is gone, and nothing is removed twice.
    let about = reader.accesses(&[[1; 32]], 0, 1000, None, 99).await.expect("finds");
    assert_eq!(about.iter().map(|(_, row)| row.index).collect::<Vec<_>>(), [6, 8, 5]);
    let unclosed = reader.unclosed(log.log, 0, 99, 99).await.expect("finds");
    assert_eq!(unclosed.iter().map(|row| row.index).collect::<Vec<_>>(), [5]);
    let by_method = Filter { method: Some("p.S/".into()), ..Filter::default() };
    assert_eq!(reader.find(&by_method, None, 99).await.expect("finds").len(), 2);
    for again in [&[0u64][..], &[999], &[5, 5]] {
        let mut batch = store.begin(log.log, Appender::Guest, 0, 9).await.expect("begins");
        let removed = batch.remove(&Removed { indexes: again, removal_index }).await;
        assert!(matches!(removed, Err(StoreError::Misuse(_))), "{again:?}: {removed:?}");
    }
}

pub(super) async fn thousands_go_at_once(address: Address) {
    let (mut store, log) = held(&address).await;
    // More than one statement takes.
    let many: Vec<Row> = (0..2100i64)
        .map(|n| opening(ExchangeId::at(n), n, asked("a/b", "c/d", "q.T/U"), &[[2; 32]]))
        .collect();
    append(&mut store, log.log, Appender::Holder(1), &many).await.expect("appends");
    let indexes: Vec<u64> = (0..2100).filter(|index| index % 50 != 7).collect();
    let mut batch = store.begin(log.log, Appender::Guest, 0, 9).await.expect("begins");
    batch.remove(&Removed { indexes: &indexes, removal_index: 7 }).await.expect("removes");
    batch.commit().await.expect("commits");
    let reader = Reader::open(&address).await.expect("opens");
    let rows = reader.entries(log.log, 0, 4096).await.expect("reads");
    let left: Vec<u64> = rows.iter().filter(|row| row.body.is_some()).map(|row| row.index).collect();
    assert_eq!(left, Vec::from_iter((0..42u64).map(|n| n * 50 + 7)));
}
