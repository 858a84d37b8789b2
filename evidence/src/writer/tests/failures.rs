//! A store that cannot be written: openings fail at once, closings wait, what was missed is counted, and
//! work goes on by itself.

use std::{path::Path, sync::Arc};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use ura_proto::{
    ExchangeId,
    v1::{Gap, Outcome, entry::Kind},
};

use super::{
    openings::tamper,
    rig::{NOW_US, Rig, Running, Whole, closing, opening, patient, some, until},
};
use crate::{entry::Row, sample::postgres::Postgres, writer::Fate};

const HINDER: &str =
    "create trigger hindrance before insert on entry begin select raise(fail, 'disk full'); end";
const MEND: &str = "drop trigger hindrance";

fn gaps(whole: &Whole) -> Vec<Gap> {
    whole.all(|kind| match kind {
        Kind::Gap(gap) => Some(*gap),
        _ => None,
    })
}

/// What a call meets while the log cannot be written.
async fn fails(running: &Running, at: i64) {
    let fate: Arc<Fate> = Arc::default();
    if let Some(ticket) = running.evidence.submit(opening(ExchangeId::at(at)), &fate) {
        assert!(patient(ticket).await.is_none(), "it was recorded");
    }
    assert!(fate.unopened() && fate.missed_any());
}

/// The store cannot be written while `hindered` runs; `mend` ends that.
async fn outage(rig: Rig, mut hinder: impl AsyncFnMut(), mut mend: impl AsyncFnMut()) {
    let running = rig.start().await;
    let exchange = running.open_exchange(1).await;
    hinder().await;
    for at in 10..19 {
        fails(&running, at).await;
    }
    assert!(!running.evidence.status().available);
    // Nothing is queued that fails at once, and a closing is told that it is not on disk.
    assert!(running.evidence.submit(some(19), &Arc::default()).is_none());
    assert!(patient(running.close_exchange(&exchange)).await.is_none());
    let act = Row::new(None, NOW_US, Kind::Gap(Gap { closings_lost: 77, ..Gap::default() }));
    running.evidence.submit_kept(act.clone());
    until(async || running.evidence.status().waiting == 2).await;
    mend().await;
    until(async || running.evidence.status().available).await;
    assert!(running.record(some(20)).await.is_some(), "service is back by itself");
    running.end().await;
    let whole = rig.whole().await;
    assert!(whole.is_signed());
    let gaps: Vec<_> = gaps(&whole).into_iter().filter(|gap| gap.closings_lost != 77).collect();
    assert_eq!((gaps.len(), gaps[0].refused, gaps[0].closings_lost), (1, 10, 0), "{gaps:?}");
    assert_eq!(whole.closings(exchange.0), [Outcome::Answered]);
    assert!(whole.rows.iter().any(|row| row.leaf == act.leaf), "acts are never given up");
    assert_eq!(whole.all(|kind| matches!(kind, Kind::Opening(_)).then_some(())).len(), 2);
}

#[tokio::test]
async fn a_store_that_is_full_refuses_and_comes_back() {
    let rig = Rig::sqlite();
    let path = rig.dir.path().to_owned();
    outage(rig, async || run(&path, HINDER).await, async || run(&path, MEND).await).await;
}

/// As [`tamper`], where the rig is given away.
async fn run(folder: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(folder.join("e.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the file opens");
    sqlx::query(statement).execute(&mut connection).await.expect(statement);
    connection.close().await.expect("closes");
}

#[tokio::test]
async fn a_database_that_is_gone_refuses_and_comes_back() {
    let server = std::cell::RefCell::new(Postgres::start(&[]));
    let rig = Rig::postgres(&server.borrow(), "gone");
    let stop = async || server.borrow_mut().stop_immediately();
    outage(rig, stop, async || server.borrow_mut().start_again()).await;
}

#[tokio::test]
async fn rows_of_one_exchange_stand_and_fall_together() {
    let rig = Rig::sqlite();
    let running = rig.start().await;
    tamper(&rig, &[HINDER]).await;
    let (id, fate) = (ExchangeId::at(1), Arc::default());
    // Opening and closing in one batch that fails, and a closing that comes later.
    let opened = running.evidence.submit(opening(id), &fate).expect("a place");
    let closed = running.evidence.submit_closing(closing(id), &fate);
    assert!(patient(opened).await.is_none() && patient(closed).await.is_none());
    assert!(patient(running.evidence.submit_closing(closing(id), &fate)).await.is_none());
    tamper(&rig, &[MEND]).await;
    until(async || running.evidence.status().available).await;
    running.end().await;
    let whole = rig.whole().await;
    assert_eq!(whole.closings(id), [], "no closing stands alone");
    assert_eq!(gaps(&whole).iter().map(|gap| gap.refused).sum::<u64>(), 1, "counted once");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_is_counted() {
    let mut rig = Rig::sqlite();
    (rig.config.queue_entries_max, rig.config.batch_entries_max) = (2, 1);
    let running = rig.start().await;
    let mut lock = rig.store().await;
    let held = lock.begin(1, crate::store::Appender::Guest, 0, 1).await.expect("the lock");
    let tickets: Vec<_> = (0..20).map(|at| running.evidence.submit(some(at), &Arc::default())).collect();
    let turned_away = tickets.iter().filter(|ticket| ticket.is_none()).count();
    assert!(turned_away >= 16, "{turned_away}");
    // A closing has a place all the same.
    let last = running.evidence.submit_closing(closing(ExchangeId::at(1)), &Arc::default());
    drop(held);
    for ticket in tickets.into_iter().flatten() {
        assert!(patient(ticket).await.is_some());
    }
    assert!(patient(last).await.is_some());
    running.end().await;
    let refused: u64 = gaps(&rig.whole().await).iter().map(|gap| gap.refused).sum();
    assert_eq!(refused, turned_away as u64);
}

#[tokio::test]
async fn what_waits_is_written_even_when_nobody_is_left() {
    let rig = Rig::sqlite();
    let running = rig.start().await;
    let mut exchanges = Vec::new();
    for at in 0..5 {
        exchanges.push(running.open_exchange(at).await);
    }
    tamper(&rig, &[HINDER]).await;
    for exchange in &exchanges {
        assert!(patient(running.close_exchange(exchange)).await.is_none());
    }
    let ended = running.end();
    let mended = tamper(&rig, &[MEND]);
    tokio::join!(mended, ended);
    let whole = rig.whole().await;
    assert!(exchanges.iter().all(|(id, _)| whole.closings(*id).len() == 1));
    assert!(whole.is_signed());
}

#[tokio::test]
async fn who_is_refused_while_the_gap_waits_for_its_lock_is_counted_in_it() {
    let rig = Rig::sqlite();
    let running = rig.start().await;
    let reader = rig.reader().await;
    tamper(&rig, &[HINDER]).await;
    fails(&running, 1).await;
    let options = SqliteConnectOptions::new().filename(rig.dir.path().join("e.db"));
    let mut lock = SqliteConnection::connect_with(&options).await.expect("the file opens");
    for statement in ["begin immediate", MEND] {
        sqlx::query(statement).execute(&mut lock).await.expect(statement);
    }
    // Meanwhile the writer begins its next attempt, and waits for the lock.
    for _ in 0..200 {
        reader.log_by_origin(&rig.config.origin).await.expect("readable");
    }
    for at in 2..7 {
        fails(&running, at).await;
    }
    sqlx::query("commit").execute(&mut lock).await.expect("committed");
    lock.close().await.expect("closes");
    reader.close().await;
    until(async || running.evidence.status().available).await;
    running.end().await;
    let refused: Vec<_> = gaps(&rig.whole().await).iter().map(|gap| gap.refused).collect();
    assert_eq!(refused, [6], "one gap, exact");
}
