//! Keys that are replaced while the log is written.

use std::time::Duration;

use ura_proto::v1::{KeyChange, entry::Kind};

use super::rig::{NOW_US, Rig, patient, some, until};
use crate::{
    entry::Row,
    keys::EpochKeys,
    store::Appender,
    writer::log_state::{LogState, Signing},
};

fn changes(whole: &super::rig::Whole) -> Vec<KeyChange> {
    whole.all(|kind| match kind {
        Kind::KeyChange(change) => Some(change.clone()),
        _ => None,
    })
}

/// Appends as a command does, without a lease; the size that the log has then.
async fn as_guest(rig: &Rig, row: Row) -> u64 {
    let log = rig.row().await;
    let tree = rig.reader().await.frontier(log.log, log.size).await.expect("an edge");
    let edge = (tree, None);
    let epochs = EpochKeys::open(&rig.config.keys).expect("keys");
    let mut state =
        LogState::new(log.log, log.origin.as_str().into(), Appender::Guest, epochs, edge, u64::MAX);
    let signer = rig.log_keys().newest();
    let signing = Signing { signer, interval: Duration::MAX, now: false, keep: false };
    let appended = state.append(&mut rig.store().await, &mut [row], &signing, 1, |_| ()).await;
    appended.expect("appended").first + 1
}

#[tokio::test]
async fn a_new_epoch_is_taken_up_and_announced_once_on_sqlite() {
    a_new_epoch_is_taken_up_and_announced_once(Rig::sqlite()).await;
}

pub(super) async fn a_new_epoch_is_taken_up_and_announced_once(rig: Rig) {
    let running = rig.start().await;
    let others = EpochKeys::open(&rig.config.keys).expect("keys");
    let (first, second) = (others.newest(), others.rotate().expect("a new key"));
    until(async || running.evidence.epoch().id() == second.id()).await;
    // What is recorded under the new key stands behind its announcement.
    let index = running.record(some(1)).await.expect("on disk");
    let whole = rig.whole().await;
    let change = KeyChange { epoch: second.id().into(), before: first.id().into(), ..KeyChange::default() };
    assert_eq!(changes(&whole), std::slice::from_ref(&change));
    let announced = whole.entries.iter().position(|entry| matches!(entry.kind, Some(Kind::KeyChange(_))));
    assert!(announced.is_some_and(|at| (at as u64) < index));
    // One that a command announces is not announced again.
    let third = others.rotate();
    let third = third.expect("a new key");
    let other = KeyChange { epoch: third.id().into(), before: second.id().into(), ..KeyChange::default() };
    as_guest(&rig, Row::new(None, NOW_US, Kind::KeyChange(other.clone()))).await;
    until(async || running.evidence.epoch().id() == third.id()).await;
    running.record(some(2)).await.expect("on disk");
    running.end().await;
    let changes = changes(&rig.whole().await);
    // The command may have been slower than the writer; then both tell of it.
    assert!(changes.len() <= 3 && changes[0] == change && changes.contains(&other), "{changes:?}");
    // The next process knows it by its start.
    let running = rig.start().await;
    let beat = rig.row().await.beat;
    until(async || rig.row().await.beat > beat + 2).await;
    running.end().await;
    assert_eq!(self::changes(&rig.whole().await), changes);
}

#[tokio::test]
async fn an_epoch_that_was_announced_before_is_not_announced_again() {
    let mut rig = Rig::sqlite();
    rig.pace.upkeep = Duration::from_secs(1000);
    let running = rig.start().await;
    running.record(some(1)).await.expect("on disk");
    let others = EpochKeys::open(&rig.config.keys).expect("keys");
    let (first, second) = (others.newest(), others.rotate().expect("a new key"));
    let change = KeyChange { epoch: second.id().into(), before: first.id().into(), ..KeyChange::default() };
    as_guest(&rig, Row::new(None, NOW_US, Kind::KeyChange(change.clone()))).await;
    tokio::time::pause();
    patient(async {
        tokio::time::advance(Duration::from_secs(1001)).await;
        until(async || running.evidence.epoch().id() == second.id()).await;
    })
    .await;
    tokio::time::resume();
    running.end().await;
    assert_eq!(changes(&rig.whole().await), [change]);
}

#[tokio::test]
async fn a_new_log_key_signs_once_it_is_announced_on_sqlite() {
    Box::pin(a_new_log_key_signs_once_it_is_announced(Rig::sqlite())).await;
}

pub(super) async fn a_new_log_key_signs_once_it_is_announced(rig: Rig) {
    let running = rig.start().await;
    let (old, new) = rig.log_keys().rotate().expect("a new key");
    let beat = rig.row().await.beat;
    until(async || rig.row().await.beat > beat + 2).await;
    assert_eq!(*rig.log_keys().newest().key(), old, "nobody announced it");
    let change = KeyChange { log_key: new.to_string(), before: old.to_string(), ..KeyChange::default() };
    let announced = as_guest(&rig, Row::new(None, NOW_US, Kind::KeyChange(change))).await;
    until(async || *rig.log_keys().newest().key() == new).await;
    // Also where nothing is recorded, a checkpoint by it follows.
    let by_new = |note: &str| ura_log::checkpoint::open(note, std::slice::from_ref(&new)).is_ok();
    let reader = rig.reader().await;
    Box::pin(until(async || {
        let newest = reader.newest_checkpoint(rig.row().await.log).await.expect("readable");
        newest.is_some_and(|newest| newest.size == announced + 1 && by_new(&newest.note))
    }))
    .await;
    reader.close().await;
    running.record(some(1)).await.expect("on disk");
    running.end().await;
    let whole = rig.whole().await;
    assert!(whole.is_signed());
    let by = |note: &str, key| ura_log::checkpoint::open(note, std::slice::from_ref(key)).is_ok();
    let last_old =
        whole.checkpoints.iter().rfind(|(row, _)| by(&row.note, &old)).expect("one by the old key");
    assert!(last_old.0.size >= announced, "who knows the old key only learns the new one");
    assert!(last_old.0.kept, "it stays when others are thinned out");
    let last = whole.checkpoints.last().expect("one");
    assert!(by(&last.0.note, &new) && !by(&last.0.note, &old));
    // A key that was announced while no gateway ran is taken up at the start.
    let (old, new) = rig.log_keys().rotate().expect("a new key");
    let change = KeyChange { log_key: new.to_string(), before: old.to_string(), ..KeyChange::default() };
    as_guest(&rig, Row::new(None, NOW_US, Kind::KeyChange(change))).await;
    let running = rig.start().await;
    until(async || *rig.log_keys().newest().key() == new).await;
    running.end().await;
    let whole = rig.whole().await;
    let last_old =
        whole.checkpoints.iter().rfind(|(row, _)| by(&row.note, &old)).expect("one by the old key");
    assert!(last_old.0.size > announced, "the start was signed by the old key, the change under it");
}
