//! Entries that somebody inserts who can write the database and has no key: nobody takes them for a guest's or a
//! predecessor's, and nobody signs them.

use std::time::Duration;

use ura_log::Hash;
use ura_proto::{
    ExchangeId,
    v1::{Gap, KeyChange, Removal, entry::Kind},
};

use super::rig::{NOW_US, Rig, Running, opening, patient, refused, some, until};
use crate::{
    entry::Row,
    extend,
    keys::EpochKeys,
    store::{Appender, StoreError},
    writer::{AppendError, EvidenceError, batch::Batch},
};

/// What somebody with the database does: rows, the size, and a mark that he has seen or made up. The store itself
/// asks for no key, so it does for him.
async fn intrude(rig: &Rig, rows: &[Row], mark: &Hash) {
    let (mut store, log) = (rig.store().await, rig.row().await.log);
    let mut append = store.begin(log, Appender::Guest, rows.len(), NOW_US).await.expect("begun");
    append.insert(rows).await.expect("inserted");
    append.mark(mark).await.expect("marked");
    append.commit().await.expect("committed");
    store.close().await.expect("closes");
}

/// The mark that stands.
async fn standing(rig: &Rig) -> Hash {
    rig.row().await.mark.try_into().expect("a mark has 32 bytes")
}

/// The writer, whose pace is to try again at once, does so many times and fails each time. It says that rows wait only
/// after the attempt that it makes when they come.
pub(super) async fn stays_unavailable(running: &Running) {
    let before = running.evidence.status().waiting;
    for more in 1..=20 {
        running.evidence.submit_kept(Row::new(None, NOW_US, Kind::Gap(Gap::default())));
        until(async || running.evidence.status().waiting == before + more).await;
        assert!(!running.evidence.status().available, "attempt {more}");
    }
}

fn forged() -> Vec<[Row; 1]> {
    let row = |kind| [Row::new(None, NOW_US, kind)];
    vec![
        [opening(ExchangeId::at(77))],
        row(Kind::Removal(Removal::default())),
        row(Kind::KeyChange(KeyChange::default())),
    ]
}

fn keys(rig: &Rig) -> EpochKeys {
    EpochKeys::read(&rig.config.keys).expect("keys")
}

/// Size of the newest checkpoint.
async fn signed(rig: &Rig) -> u64 {
    let reader = rig.reader().await;
    let newest = reader.newest_checkpoint(rig.row().await.log).await.expect("readable");
    reader.close().await;
    newest.map_or(0, |newest| newest.size)
}

/// An entry that a command appends.
async fn as_guest(rig: &Rig, at: i64) -> Result<u64, StoreError> {
    let (reader, mut store, log) = (rig.reader().await, rig.store().await, rig.row().await);
    let row = refused(ExchangeId::at(at));
    let appended = extend::append(&reader, &mut store, &log, &keys(rig), row, NOW_US).await;
    reader.close().await;
    store.close().await.expect("closes");
    appended
}

#[tokio::test]
async fn what_others_insert_into_a_live_store_is_not_signed_on_sqlite() {
    for (number, rows) in forged().into_iter().enumerate() {
        what_others_insert_into_a_live_store_is_not_signed(Rig::sqlite(), &rows, number).await;
    }
}

pub(super) async fn on_postgres(rig: Rig) {
    let rows = forged().remove(1);
    what_others_insert_into_a_live_store_is_not_signed(rig, &rows, 0).await;
}

/// The mark is the one that stood, one from before, or made up.
async fn what_others_insert_into_a_live_store_is_not_signed(mut rig: Rig, rows: &[Row], mark: usize) {
    rig.pace.retry = Duration::ZERO;
    let running = rig.start().await;
    let before = standing(&rig).await;
    for at in 0..5 {
        running.record(some(at)).await.expect("on disk");
    }
    let guest = as_guest(&rig, 50).await.expect("a guest with the keys");
    assert_eq!(running.record(some(51)).await, Some(guest + 1), "its entry is taken in");
    let size = rig.row().await.size;
    let marks = [standing(&rig).await, before, [7; 32]];
    intrude(&rig, rows, &marks[mark]).await;
    // Neither the next record nor the upkeep takes it in.
    assert_eq!(running.record(some(99)).await, None);
    until(async || !running.evidence.status().available).await;
    stays_unavailable(&running).await;
    assert_eq!(rig.row().await.size, size + 1, "nothing was written");
    assert!(signed(&rig).await <= size, "nothing of it was signed");
    assert!(matches!(as_guest(&rig, 60).await, Err(StoreError::Foreign { .. })), "nor does a command go on");
    running.die().await;
    let error = rig.try_start(true).await.err().expect("refused");
    let is_foreign =
        matches!(&error, EvidenceError::Store(StoreError::Foreign { from: Some(from), .. }) if *from <= size);
    assert!(is_foreign, "{error}");
    assert!(error.to_string().contains("were not written by this bus"), "{error}");
    assert_eq!(rig.row().await.size, size + 1, "nothing was written");
}

#[tokio::test]
async fn the_first_foreign_entry_is_named_and_nothing_is_written() {
    let rig = Rig::sqlite();
    let (_shared, mut worker) = rig.worker(false).await.expect("it starts");
    let size = rig.row().await.size;
    intrude(&rig, &forged().concat(), &standing(&rig).await).await;
    for _ in 0..2 {
        let mut batch = Batch::default();
        batch.own(some(1));
        let error = worker.commit(batch, true, false).await.expect_err("refused");
        let EvidenceError::Append(AppendError::Store(StoreError::Foreign { from, size: found, .. })) = &error
        else {
            unreachable!("{error}");
        };
        assert_eq!((*from, *found), (Some(size), size + 3));
        assert!(error.to_string().contains(&format!("entries from {size} on (of {})", size + 3)), "{error}");
    }
    assert_eq!(rig.row().await.size, size + 3);
    assert_eq!(signed(&rig).await, size);
}

#[tokio::test]
async fn a_mark_that_somebody_altered_stops_the_writer() {
    let rig = Rig::sqlite();
    let (_shared, mut worker) = rig.worker(false).await.expect("it starts");
    intrude(&rig, &[], &[9; 32]).await;
    let error = worker.commit(Batch::default(), false, false).await.expect_err("refused");
    assert!(error.to_string().contains("the mark of its 1 entries"), "{error}");
}

#[tokio::test]
async fn what_others_insert_into_a_stopped_store_is_refused_at_the_start() {
    for rows in forged() {
        let rig = Rig::sqlite();
        let running = rig.start().await;
        for at in 0..3 {
            running.record(refused(ExchangeId::at(at))).await.expect("on disk");
        }
        running.end().await;
        let (size, mark) = (rig.row().await.size, standing(&rig).await);
        intrude(&rig, &rows, &mark).await;
        let error = rig.try_start(false).await.err().expect("refused");
        let named =
            matches!(&error, EvidenceError::Store(StoreError::Foreign { from, .. }) if *from == Some(size));
        assert!(named, "{error}");
        assert_eq!(rig.row().await.token, 0, "no lease was taken");
        // Mended by hand: all that is left is signed.
        super::openings::tamper(
            &rig,
            &[
                "delete from entry where log_index = (select size - 1 from log)",
                "delete from body where log_index = (select size - 1 from log)",
                "update log set size = size - 1, mark = x''",
            ],
        )
        .await;
        let running = rig.start().await;
        running.record(some(9)).await.expect("on disk");
        running.end().await;
        assert!(rig.whole().await.is_signed());
    }
}

#[tokio::test]
async fn a_log_that_somebody_made_up_is_not_signed() {
    let rig = Rig::sqlite();
    let mut store = rig.store().await;
    store.log(&rig.config.origin, "ais/gateway").await.expect("registered");
    intrude(&rig, &forged().concat(), &[0; 32]).await;
    let error = rig.try_start(false).await.err().expect("refused");
    assert!(
        matches!(error, EvidenceError::Store(StoreError::Foreign { from: Some(0), size: 3, .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_new_epoch_marks_anew_so_that_the_old_key_can_go() {
    let mut rig = Rig::sqlite();
    rig.config.checkpoint_interval_ms = 60_000;
    let running = rig.start().await;
    running.record(some(1)).await.expect("on disk");
    let keys = keys(&rig);
    let first = keys.newest();
    let second = keys.rotate().expect("a new key");
    until(async || running.evidence.epoch().id() == second.id()).await;
    let reader = rig.reader().await;
    Box::pin(until(async || {
        let row = rig.row().await;
        let root = reader.frontier(row.log, row.size).await.expect("an edge").root();
        row.mark == second.mark(&row.origin, row.size, &root)
    }))
    .await;
    keys.destroy(first.id()).expect("destroyed");
    as_guest(&rig, 5).await.expect("a guest with the new key");
    running.record(some(2)).await.expect("it goes on");
    patient(running.die()).await;
    assert!(signed(&rig).await < rig.row().await.size, "the mark is what vouches for the rest");
    let running = rig.take_over().await;
    running.record(some(3)).await.expect("on disk");
    reader.close().await;
    running.end().await;
    assert!(rig.whole().await.is_signed());
}
