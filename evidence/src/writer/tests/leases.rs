//! Who writes a log: one process, two while one hands over, and what follows when the log is lost.

use std::{sync::Arc, time::Duration};

use ura_proto::v1::{Outcome, entry::Kind};

use super::rig::{Rig, Running, Whole, patient, some, until};
use crate::{
    lease::{Holder, LeaseError},
    sample::postgres::Postgres,
    store::{Appender, NewLease, StoreError},
    writer::{EvidenceError, Ticket},
};

/// Where records stand, each on disk.
async fn indexes(tickets: Vec<Ticket>) -> Vec<u64> {
    let mut indexes = Vec::new();
    for ticket in tickets {
        indexes.push(patient(ticket).await.expect("on disk").index);
    }
    indexes
}

/// Gives the log to some other process, as whoever starts does.
pub(super) async fn steal(rig: &Rig, holder: &str) -> i64 {
    patient(Box::pin(async {
        loop {
            let row = rig.row().await;
            let token = row.last_token + 1;
            let new = NewLease {
                token,
                holder: holder.to_owned(),
                previous_token: 0,
                previous_holder: String::new(),
            };
            // Whoever writes the log gives signs of life meanwhile.
            if rig.store().await.take(row.log, &row, &new).await.expect("the store answers") {
                return token;
            }
        }
    }))
    .await
}

/// A process of this machine that has ended.
pub(super) fn dead() -> String {
    let own = Holder::own().to_string();
    let (rest, start) = own.rsplit_once('/').expect("parts");
    format!("{rest}/{}", start.parse::<u64>().expect("a number") + 1)
}

const ELSEWHERE: &str = "other-boot/pid:[1]/1/1";

fn submit(running: &Running, from: i64) -> Vec<Ticket> {
    (from..from + 100)
        .map(|at| running.evidence.submit(some(at), &Arc::default()).expect("a place"))
        .collect()
}

#[tokio::test]
async fn two_processes_write_while_one_hands_over_on_sqlite() {
    two_processes_write_while_one_hands_over(Rig::sqlite()).await;
}

pub(super) async fn two_processes_write_while_one_hands_over(rig: Rig) {
    let old = rig.start().await;
    let new = rig.take_over().await;
    let mut all = Vec::new();
    for round in 0..4 {
        let (one, two) = (submit(&old, round * 1000), submit(&new, round * 1000 + 500));
        all.extend(indexes(one).await);
        all.extend(indexes(two).await);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 800, "every record has a place of its own");
    // A third one has to wait.
    let third = rig.try_start(true).await.err().expect("refused");
    assert!(matches!(third, EvidenceError::Lease(LeaseError::HandingOver { .. })), "{third}");
    let held = rig.row().await;
    assert!(held.previous_token > 0 && held.token > held.previous_token);
    old.end().await;
    let row = rig.row().await;
    assert_eq!((row.previous_token, row.token), (0, held.token), "given back by the old one only");
    assert!(new.record(some(9999)).await.is_some());
    new.end().await;
    let whole = rig.whole().await;
    assert_eq!(whole.all(|kind| matches!(kind, Kind::Opening(_)).then_some(())).len(), 801);
    assert!(whole.is_signed());
    assert_eq!(whole.all(|kind| matches!(kind, Kind::Started(_)).then_some(())).len(), 2);
}

#[tokio::test]
async fn two_of_the_same_are_refused_and_told_how() {
    let rig = Rig::sqlite();
    let first = rig.start().await;
    let error = rig.try_start(false).await.err().expect("refused");
    assert!(matches!(error, EvidenceError::Lease(LeaseError::InUse { .. })), "{error}");
    let told = error.to_string();
    for part in [&rig.config.origin, &Holder::own().to_string(), "--take-over"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(first.record(some(1)).await.is_some(), "the first one is not disturbed");
    first.end().await;
    rig.start().await.end().await;
}

#[tokio::test]
async fn a_dead_holder_of_this_boot_is_relieved_at_once() {
    let mut rig = Rig::sqlite();
    // Whoever watched it would watch for ever.
    rig.pace.watch.still = Duration::from_secs(1_000_000);
    rig.start().await.end().await;
    steal(&rig, &dead()).await;
    let running = rig.start().await;
    assert!(running.record(some(1)).await.is_some());
    assert_eq!(rig.row().await.previous_token, 0);
    running.end().await;
}

#[tokio::test]
async fn a_silent_holder_elsewhere_is_relieved_on_sqlite() {
    a_silent_holder_elsewhere_is_relieved(Rig::sqlite()).await;
}

pub(super) async fn a_silent_holder_elsewhere_is_relieved(mut rig: Rig) {
    rig.start().await.end().await;
    let token = steal(&rig, ELSEWHERE).await;
    let row = rig.row().await;
    // While it beats it is alive, whatever the clocks say. Each look at it is followed by a beat.
    rig.pace.watch.still = Duration::from_secs(1_000_000);
    rig.hand.advance_us(3_600_000_000);
    let mut store = rig.store().await;
    let mut starting = Box::pin(rig.try_start(false));
    let error = loop {
        assert!(store.beat(row.log, token, 1).await.expect("the store answers"), "it holds the log");
        tokio::select! {
            biased;
            outcome = &mut starting => break outcome.err().expect("refused"),
            () = tokio::task::yield_now() => {}
        }
    };
    drop(starting);
    assert!(matches!(error, EvidenceError::Lease(LeaseError::InUse { .. })), "{error}");
    rig.hand.advance_us(-2 * 3_600_000_000);
    rig.pace.watch.still = Duration::from_millis(30);
    let running = rig.start().await;
    assert!(running.record(some(1)).await.is_some());
    assert!(!store.beat(row.log, token, 1).await.expect("the store answers"), "it is fenced");
    assert!(matches!(
        store.begin(row.log, Appender::Holder(token), 1, 1).await.err(),
        Some(StoreError::Fenced { .. })
    ));
    running.end().await;
    assert!(rig.whole().await.is_signed());
}

#[tokio::test]
async fn a_fenced_writer_comes_back_when_the_other_ends_on_sqlite() {
    a_fenced_writer_comes_back_when_the_other_ends(Rig::sqlite()).await;
}

pub(super) async fn a_fenced_writer_comes_back_when_the_other_ends(rig: Rig) {
    let running = rig.start().await;
    let (exchange, long) = (running.open_exchange(1).await, running.open_exchange(2).await);
    // Held by a process that lives: this one.
    let token = steal(&rig, &Holder::own().to_string()).await;
    until(async || running.evidence.status().fenced).await;
    assert!(running.evidence.submit(some(2), &Arc::default()).is_none(), "refused at once");
    assert!(patient(running.close_exchange(&exchange)).await.is_none(), "and the closing waits");
    let size = rig.row().await.size;
    assert!(!running.evidence.status().available);
    rig.store().await.release(rig.row().await.log, token).await.expect("released");
    until(async || running.evidence.status().available).await;
    assert!(running.record(some(3)).await.is_some());
    assert!(!running.evidence.status().fenced);
    let beat = rig.row().await.beat;
    until(async || rig.row().await.beat > beat + 4).await;
    assert!(patient(running.close_exchange(&long)).await.is_some());
    running.end().await;
    let whole = rig.whole().await;
    assert!(whole.is_signed());
    assert!(matches!(whole.entries[usize::try_from(size).expect("small")].kind, Some(Kind::Started(_))));
    let refused = whole.all(|kind| match kind {
        Kind::Gap(gap) => Some(gap.refused),
        _ => None,
    });
    assert_eq!(refused, [1]);
    for (id, _) in [exchange, long] {
        assert_eq!(whole.closings(id), [Outcome::Answered], "its own, not the sweeper's");
    }
}

#[tokio::test]
async fn a_sealed_log_is_followed_by_the_next_generation() {
    let server = Postgres::start(&[]);
    let rig = Rig::postgres(&server, "sealed");
    let running = rig.start().await;
    let exchange = running.open_exchange(1).await;
    let log = rig.row().await.log;
    let mut store = rig.store().await;
    let seal = async |store: &mut crate::store::Store, log| {
        let mut append = store.begin(log, Appender::Guest, 0, 1).await.expect("begun");
        append.seal().await.expect("sealed");
        append.commit().await.expect("committed");
    };
    seal(&mut store, log).await;
    until(async || running.evidence.status().generation == 2 && running.evidence.status().available).await;
    let second = format!("{}/2", rig.config.origin);
    assert_eq!(*running.evidence.origin(), *second);
    let recorded = patient(running.close_exchange(&exchange)).await.expect("on disk");
    assert_eq!(*recorded.origin, *second);
    running.end().await;
    let whole = Whole::read(&rig, &second).await;
    assert!(whole.is_signed());
    assert_eq!(whole.closings(exchange.0).len(), 1);
    assert!(Whole::read(&rig, &rig.config.origin).await.checkpoints.last().is_some());
    // And so at a start.
    let log = store.log(&second, "ais/gateway").await.expect("there").log;
    seal(&mut store, log).await;
    let running = rig.start().await;
    assert_eq!(*running.evidence.origin(), *format!("{}/3", rig.config.origin));
    running.end().await;
}

#[tokio::test]
async fn a_sealed_store_in_sqlite_says_that_another_is_needed() {
    let rig = Rig::sqlite();
    let running = rig.start().await;
    let mut store = rig.store().await;
    let mut append = store.begin(1, Appender::Guest, 0, 1).await.expect("begun");
    append.seal().await.expect("sealed");
    append.commit().await.expect("committed");
    until(async || !running.evidence.status().available).await;
    running.die().await;
    let error = rig.try_start(false).await.err().expect("refused");
    assert!(matches!(error, EvidenceError::Lease(LeaseError::Store(StoreError::WrongLog { .. }))), "{error}");
}
