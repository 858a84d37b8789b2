//! Reading pages, checkpoints and the registry, and values that cannot be.

use super::*;
use crate::store::{Cosignature, Stray};

pub(super) async fn entries_come_in_pages(address: Address) {
    let (mut store, log) = held(&address).await;
    let rows: Vec<Row> = (0..10)
        .map(|n| opening(ExchangeId::at(n), n, asked("a/b", "c/d", "e.F/G"), &[[7; 32], [8; 32]]))
        .collect();
    append(&mut store, log.log, Appender::Holder(1), &rows).await.expect("appends");
    let reader = Reader::open(&address).await.expect("opens");
    let pages =
        [(0, 4, 0..4), (4, 4, 4..8), (8, 4, 8..10), (10, 4, 10..10), (9, u32::MAX, 9..10), (0, 0, 0..0)];
    for (from, limit, expected) in pages {
        let page = reader.entries(log.log, from, limit).await.expect("reads");
        assert_eq!(
            page.iter().map(|row| row.index).collect::<Vec<_>>(),
            expected.clone().collect::<Vec<u64>>()
        );
        for row in page {
            let original = &rows[usize::try_from(row.index).expect("small")];
            assert_eq!(row.body.as_ref(), Some(&original.body));
            assert_eq!(
                (row.leaf, &row.columns, &row.subjects),
                (original.leaf, &original.columns, &original.subjects)
            );
        }
    }
    assert_eq!(reader.entries(log.log + 1, 0, 9).await.expect("reads"), []);
    assert!(matches!(reader.entries(log.log, u64::MAX, 9).await, Err(StoreError::Misuse(_))));
    // A gap is the caller's to judge.
    tamper(&address, "delete from entry where log_index = 5").await;
    let page = reader.entries(log.log, 4, 2).await.expect("reads");
    assert_eq!(page.iter().map(|row| row.index).collect::<Vec<_>>(), [4, 6]);
    tamper(&address, "delete from body where log_index = 4").await;
    assert_eq!(reader.entries(log.log, 4, 1).await.expect("reads")[0].body, None);
    reader.close().await;
}

/// Leaves checkpoints of these sizes, signed at that many microseconds; those at 0 mod 10 are kept.
async fn sign(store: &mut Store, log: i64, sizes: &[i64]) {
    let mut batch = store.begin(log, Appender::Guest, 0, 9).await.expect("begins");
    for size in sizes {
        let note = format!("origin\n{size}\nroot\n\n— log {size}\n");
        batch.checkpoint(size.unsigned_abs(), &note, *size, size % 10 == 0).await.expect("inserts");
    }
    batch.commit().await.expect("commits");
}

fn signed_by(name: &str, time_s: u64) -> Cosignature {
    Cosignature { name: name.into(), line: format!("— {name} {time_s}"), time_s }
}

pub(super) async fn checkpoints_come_with_their_cosignatures(address: Address) {
    let (mut store, log) = held(&address).await;
    sign(&mut store, log.log, &[3, 10, 12]).await;
    let reader = Reader::open(&address).await.expect("opens");
    let sizes = |rows: Vec<crate::store::CheckpointRow>| rows.iter().map(|row| row.size).collect::<Vec<_>>();
    assert_eq!(sizes(reader.checkpoints(log.log, 0, 9).await.expect("reads")), [3, 10, 12]);
    assert_eq!(sizes(reader.checkpoints(log.log, 4, 1).await.expect("reads")), [10]);
    assert_eq!(sizes(reader.checkpoints(log.log, 13, 9).await.expect("reads")), [0u64; 0]);
    let at_least =
        async |size| reader.checkpoint_at_least(log.log, size).await.expect("reads").map(|row| row.size);
    assert_eq!(
        (at_least(0).await, at_least(10).await, at_least(11).await, at_least(13).await),
        (Some(3), Some(10), Some(12), None)
    );
    let newest = reader.newest_checkpoint(log.log).await.expect("reads").expect("there");
    assert_eq!(newest.size, 12);
    assert_eq!(reader.checkpoint_note(&newest).await.expect("reads"), newest.note);

    assert!(store.add_cosignature(log.log, 12, &signed_by("b", 1)).await.expect("adds"));
    assert!(store.add_cosignature(log.log, 12, &signed_by("a", 1)).await.expect("adds"));
    assert!(store.add_cosignature(log.log, 12, &signed_by("b", 2)).await.expect("replaces"));
    assert!(
        !store.add_cosignature(log.log, 11, &signed_by("a", 1)).await.expect("asks"),
        "no such checkpoint"
    );
    assert_eq!(reader.cosignatures(log.log, 12).await.expect("reads"), ["— a 1", "— b 2"]);
    let note = reader.checkpoint_note(&newest).await.expect("reads");
    assert_eq!(note, "origin\n12\nroot\n\n— log 12\n— a 1\n— b 2\n");
    // Signed again, under another key: the first note stays, for an older key may vouch by it for the newer.
    let mut batch = store.begin(log.log, Appender::Guest, 0, 9).await.expect("begins");
    batch.checkpoint(12, "again\n", 99, true).await.expect("keeps");
    batch.checkpoint(12, "and again\n", 100, false).await.expect("stays kept");
    batch.commit().await.expect("commits");
    let newest = reader.newest_checkpoint(log.log).await.expect("reads").expect("there");
    assert_eq!((newest.kept, newest.signed_us), (true, 12));
    assert_eq!(reader.checkpoint_note(&newest).await.expect("reads"), note);
}

pub(super) async fn checkpoints_are_thinned_out(address: Address) {
    let (mut store, log) = held(&address).await;
    sign(&mut store, log.log, &[1, 2, 3, 10, 11, 12]).await;
    assert!(store.add_cosignature(log.log, 2, &signed_by("a", 1)).await.expect("adds"));
    let mut batch = store.begin(log.log, Appender::Holder(1), 0, 9).await.expect("begins");
    assert_eq!(batch.thin_checkpoints(11).await.expect("thins"), 2);
    batch.commit().await.expect("commits");
    let reader = Reader::open(&address).await.expect("opens");
    let left = async || {
        let rows = reader.checkpoints(log.log, 0, 9).await.expect("reads");
        rows.iter().map(|row| row.size).collect::<Vec<_>>()
    };
    // 2 is cosigned, 10 is kept, 11 and 12 are younger.
    assert_eq!(left().await, [2, 10, 11, 12]);
    let mut batch = store.begin(log.log, Appender::Holder(1), 0, 9).await.expect("begins");
    assert_eq!(batch.thin_checkpoints(1000).await.expect("thins"), 1);
    batch.commit().await.expect("commits");
    // 12 is the newest, however old.
    assert_eq!(left().await, [2, 10, 12]);
}

pub(super) async fn versions_of_the_registry_stay(address: Address) {
    let (mut store, log) = held(&address).await;
    for (version, note, inserted) in [(1, "one", true), (2, "two", true), (2, "other", false)] {
        let mut batch = store.begin(log.log, Appender::Guest, 0, 9).await.expect("begins");
        assert_eq!(batch.registry(version, note).await.expect("inserts"), inserted);
        batch.commit().await.expect("commits");
    }
    let reader = Reader::open(&address).await.expect("opens");
    assert_eq!(reader.newest_registry().await.expect("reads"), Some((2, "two".into())));
    assert_eq!(reader.registry(1).await.expect("reads").as_deref(), Some("one"));
    assert_eq!(reader.registry(3).await.expect("reads"), None);
}

pub(super) async fn values_that_cannot_be_are_named(address: Address) {
    let (mut store, log) = held(&address).await;
    append(&mut store, log.log, Appender::Holder(1), &[gap(1), gap(2), gap(3)]).await.expect("appends");
    sign(&mut store, log.log, &[3]).await;
    let reader = Reader::open(&address).await.expect("opens");
    let named = |result: Result<(), StoreError>, parts: [&str; 2]| match result {
        Err(StoreError::Altered { what }) => assert!(parts.iter().all(|part| what.contains(part)), "{what}"),
        other => panic!("{parts:?}: {other:?}"),
    };
    tamper(&address, "update entry set removed_by = -5 where log_index = 1").await;
    named(reader.entries(log.log, 0, 9).await.map(drop), ["entry 1", "removed_by"]);
    tamper(&address, "update entry set removed_by = 0 where log_index = 1").await;
    tamper(&address, "update checkpoint set size = -3").await;
    named(reader.newest_checkpoint(log.log).await.map(drop), ["checkpoint", "negative"]);
    tamper(&address, "update log set swept = -1").await;
    named(reader.logs().await.map(drop), ["swept", ORIGIN]);
    tamper(&address, "update log set swept = 0, size = -3").await;
    named(store.begin(log.log, Appender::Guest, 1, 9).await.map(drop), ["size", "negative"]);
    // A leaf of another length: whoever can do this can drop the check as well.
    if address.is_shared() {
        tamper(&address, "alter table entry drop constraint entry_leaf_check").await;
        tamper(&address, "update entry set leaf = '\\x0102' where log_index = 2").await;
    } else {
        let mut attacker = Store::open(&address).await.expect("opens");
        execute!(attacker.link(), "pragma ignore_check_constraints = on").expect("no checks");
        execute!(attacker.link(), "update entry set leaf = x'0102' where log_index = 2").expect("alters");
    }
    named(reader.entries(log.log, 0, 9).await.map(drop), ["entry 2", "2 bytes"]);
    named(reader.leaves(log.log, 0, 3).await.map(drop), ["entry 2", "2 bytes"]);
}

pub(super) async fn rows_beyond_the_end_are_found(address: Address) {
    let (mut store, log) = held(&address).await;
    let row = opening(ExchangeId::at(1), 1, asked("a/b", "c/d", "e.F/G"), &[[1; 32]]);
    append(&mut store, log.log, Appender::Holder(1), &[row.clone(), row.clone(), row])
        .await
        .expect("appends");
    let reader = Reader::open(&address).await.expect("opens");
    assert_eq!(reader.strays(log.log, 3, 9).await.expect("reads"), []);
    tamper(&address, "update entry set log_index = -7 where log_index = 0").await;
    let strays = reader.strays(log.log, 2, 9).await.expect("reads");
    let expected = [("entry", -7), ("entry", 2), ("body", 2), ("subject", 2)];
    assert_eq!(strays, expected.map(|(table, index)| Stray { table, index }));
    assert_eq!(reader.strays(log.log, 2, 1).await.expect("reads").len(), 3, "one of each table");
}
