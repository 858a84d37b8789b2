//! Appending: numbers, guests, and what a rollback leaves.

use super::*;

pub(super) async fn entries_are_numbered_without_gaps(address: Address) {
    let (mut store, log) = held(&address).await;
    // Sizes on both sides of those that one statement takes.
    let mut expected = Vec::new();
    for (batch, size) in [1usize, 7, 8, 9, 63, 64, 65, 512].into_iter().enumerate() {
        let at = i64::try_from(batch).expect("small");
        let rows: Vec<Row> = (0..size)
            .map(|row| {
                let subjects = vec![[u8::try_from(row % 251).expect("a byte"); 32]; row % 4];
                opening(ExchangeId::at(at), at, asked("ais/portal", "arc/civil-status", "a.B/C"), &subjects)
            })
            .collect();
        let first = append(&mut store, log.log, Appender::Holder(1), &rows).await.expect("appends");
        assert_eq!(usize::try_from(first), Ok(expected.len()));
        expected.extend(rows);
    }
    let reader = Reader::open(&address).await.expect("opens");
    assert_eq!(all(&reader, log.log).await, expected);
    let log = reader.log_by_origin(ORIGIN).await.expect("reads").expect("registered");
    assert_eq!(usize::try_from(log.size), Ok(expected.len()));
    assert_eq!((log.gateway.as_str(), log.renewed_us, log.sealed), (GATEWAY, 7, false));
    assert_eq!(reader.logs().await.expect("reads"), [log]);
    assert_eq!(reader.log_by_origin("another").await.expect("reads"), None);
}

pub(super) async fn a_guest_writes_between_two_batches_of_the_holder(address: Address) {
    let (mut store, log) = held(&address).await;
    let mut guest = Store::open(&address).await.expect("opens");
    let beat = store.log(ORIGIN, GATEWAY).await.expect("finds").beat;
    assert_eq!(append(&mut guest, log.log, Appender::Guest, &[gap(1), gap(2)]).await.expect("appends"), 0);
    let found = store.log(ORIGIN, GATEWAY).await.expect("finds");
    assert_eq!(found.beat, beat, "a guest is no sign of the holder's life");
    assert_eq!(append(&mut store, log.log, Appender::Holder(1), &[gap(3)]).await.expect("appends"), 2);
    assert_eq!(append(&mut guest, log.log, Appender::Guest, &[gap(4)]).await.expect("appends"), 3);
    // The holder learns the leaves of what others appended, within its own transaction.
    let mut batch = store.begin(log.log, Appender::Holder(1), 1, 9).await.expect("begins");
    assert_eq!(batch.first(), 4);
    let leaves = batch.leaves(0, 4).await.expect("reads");
    assert_eq!(leaves, [gap(1), gap(2), gap(3), gap(4)].map(|row| row.leaf));
    assert_eq!(batch.leaves(3, 3).await.expect("reads"), Vec::<Hash>::new());
    assert!(
        matches!(batch.leaves(0, 5).await, Err(StoreError::Altered { what }) if what.contains("entry 4"))
    );
    assert!(matches!(batch.leaves(0, 70_000).await, Err(StoreError::Misuse(_))));
    batch.insert(&[gap(5)]).await.expect("inserts");
    batch.mark(&[8; 32]).await.expect("marks");
    batch.commit().await.expect("commits");
    let reader = Reader::open(&address).await.expect("opens");
    assert_eq!(all(&reader, log.log).await, [1, 2, 3, 4, 5].map(gap));
}

pub(super) async fn what_is_dropped_leaves_nothing(address: Address) {
    let (mut store, log) = held(&address).await;
    append(&mut store, log.log, Appender::Holder(1), &[gap(1)]).await.expect("appends");
    let before = store.log(ORIGIN, GATEWAY).await.expect("finds");
    let row = opening(ExchangeId::at(5), 5, asked("a/b", "c/d", "e.F/G"), &[[3; 32]]);
    let mut batch = store.begin(log.log, Appender::Holder(1), 1, 9).await.expect("begins");
    batch.insert(&[row]).await.expect("inserts");
    batch.subtrees(&[(1, 0, [1; 32])]).await.expect("inserts");
    batch.checkpoint(2, "note", 9, true).await.expect("inserts");
    assert!(batch.registry(1, "registry").await.expect("inserts"));
    batch.seal().await.expect("seals");
    drop(batch);
    assert_eq!(store.log(ORIGIN, GATEWAY).await.expect("finds"), before);
    let reader = Reader::open(&address).await.expect("opens");
    assert_eq!(all(&reader, log.log).await, [gap(1)]);
    assert_eq!(reader.newest_checkpoint(log.log).await.expect("reads"), None);
    assert_eq!(reader.newest_registry().await.expect("reads"), None);
    assert_eq!(reader.subtrees(log.log, 1, 0, 9).await.expect("reads"), []);
    // And the same connection goes on.
    assert_eq!(append(&mut store, log.log, Appender::Holder(1), &[gap(2)]).await.expect("appends"), 1);
}

pub(super) async fn an_append_keeps_to_what_it_announced(address: Address) {
    let (mut store, log) = held(&address).await;
    let mut batch = store.begin(log.log, Appender::Holder(1), 2, 9).await.expect("begins");
    batch.insert(&[gap(1)]).await.expect("inserts");
    let more = batch.insert(&[gap(2), gap(3)]).await;
    assert!(matches!(more, Err(StoreError::Misuse(_))), "{more:?}");
    let fewer = batch.commit().await;
    assert!(matches!(fewer, Err(StoreError::Misuse(_))), "{fewer:?}");
    let mut batch = store.begin(log.log, Appender::Holder(1), 1, 9).await.expect("begins");
    batch.insert(&[gap(1)]).await.expect("inserts");
    let unmarked = batch.commit().await;
    assert!(matches!(unmarked, Err(StoreError::Misuse(_))), "{unmarked:?}");
    assert_eq!(store.log(ORIGIN, GATEWAY).await.expect("finds").size, 0);
    let large = store.begin(log.log, Appender::Guest, super::super::APPEND_ROWS_MAX + 1, 9).await;
    assert!(matches!(large.err(), Some(StoreError::Misuse(_))));
    let nowhere = store.begin(log.log + 1, Appender::Guest, 1, 9).await;
    assert!(matches!(nowhere.err(), Some(StoreError::Misuse(_))));
}

pub(super) async fn an_append_of_no_entries_may_leave_a_checkpoint(address: Address) {
    let (mut store, log) = held(&address).await;
    append(&mut store, log.log, Appender::Holder(1), &[gap(1)]).await.expect("appends");
    let mut batch = store.begin(log.log, Appender::Holder(1), 0, 9).await.expect("begins");
    assert_eq!(batch.first(), 1);
    batch.checkpoint(1, "note", 9, false).await.expect("inserts");
    batch.commit().await.expect("commits");
    let reader = Reader::open(&address).await.expect("opens");
    let newest = reader.newest_checkpoint(log.log).await.expect("reads").expect("there");
    assert_eq!((newest.size, newest.note.as_str(), newest.signed_us, newest.kept), (1, "note", 9, false));
}
