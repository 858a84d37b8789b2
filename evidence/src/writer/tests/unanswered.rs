//! A commit whose answer is lost: its rows are there or not, and everybody is told which, once.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::Instant,
};
use ura_proto::{ExchangeId, v1::entry::Kind};

use super::rig::{Rig, closing, opening, patient, some, until};
use crate::{
    sample::postgres::Postgres,
    writer::{
        EvidenceError, Fate,
        batch::{Batch, Job, Unanswered},
        ticket::Ticket,
    },
};

/// For both databases by hand: the rows are committed by one way and looked up by the other.
#[tokio::test]
async fn a_commit_without_an_answer_is_looked_up_on_sqlite() {
    a_commit_without_an_answer_is_looked_up(Rig::sqlite()).await;
}

pub(super) async fn a_commit_without_an_answer_is_looked_up(rig: Rig) {
    let (shared, mut worker) = rig.worker(false).await.expect("opens");
    let mut size = rig.row().await.size;
    for (case, is_in) in [("it is in", true), ("it is not", false), ("another's rows are there", false)] {
        let (id, fate): (_, Arc<Fate>) = (ExchangeId::at(1), Arc::default());
        let (sender, mut ticket) = Ticket::new();
        let (late, mut closed) = Ticket::new();
        let job = |row, waiter, keep| Job { row, fate: Some(fate.clone()), waiter: Some(waiter), keep };
        let mut batch = Batch::default();
        batch.fresh([job(opening(id), sender, false), job(closing(id), late, true)].into_iter());
        let mut rows = match case {
            "it is in" => batch.rows.clone(),
            "it is not" => Vec::new(),
            _ => vec![some(7), some(8), some(9)],
        };
        let signing = crate::writer::log_state::Signing {
            signer: worker.keys.newest(),
            interval: std::time::Duration::ZERO,
            now: true,
            keep: false,
        };
        // As another process would, so that this one learns of it only by looking.
        let mut other = worker.log.clone();
        other.append(&mut rig.store().await, &mut rows, &signing, 1, |_| ()).await.expect("appended");
        let until = Instant::now() + std::time::Duration::from_secs(3600);
        worker.unanswered =
            Some(Unanswered::new(worker.log.log, worker.log.origin.clone(), size, batch, until));
        worker.down(&EvidenceError::Silent(1));
        worker.recover().await;
        assert!(worker.store.is_some() && worker.unanswered.is_none(), "{case}");
        assert!(shared.gauges.is_available());
        let answer = patient(&mut ticket).await;
        assert_eq!(answer.as_ref().map(|recorded| recorded.index), is_in.then_some(size), "{case}");
        assert_eq!(patient(&mut closed).await.is_some(), is_in, "{case}");
        assert_eq!(fate.unopened(), !is_in, "{case}");
        let whole = rig.whole().await;
        let there = whole.entries.iter().filter(|entry| entry.exchange_id == id.as_bytes()).count();
        assert_eq!(there, if is_in { 2 } else { 0 }, "{case}: once or not at all");
        size = rig.row().await.size;
    }
    let gaps = rig.whole().await.all(|kind| match kind {
        Kind::Gap(gap) => Some(gap.refused),
        _ => None,
    });
    assert_eq!(gaps, [1, 1], "each refused call was counted");
}

#[tokio::test]
async fn who_waited_long_enough_is_told_that_nobody_knows() {
    let rig = Rig::sqlite();
    for is_in in [true, false] {
        let (_shared, mut worker) = rig.worker(false).await.expect("opens");
        let size = rig.row().await.size;
        let (id, fate): (_, Arc<Fate>) = (ExchangeId::at(1), Arc::default());
        let (sender, ticket) = Ticket::new();
        let mut batch = Batch::default();
        let job = Job { row: opening(id), fate: Some(fate.clone()), waiter: Some(sender), keep: false };
        batch.fresh(std::iter::once(job));
        let mut rows = if is_in { batch.rows.clone() } else { Vec::new() };
        let (log, origin) = (worker.log.log, worker.log.origin.clone());
        worker.unanswered = Some(Unanswered::new(log, origin, size, batch, Instant::now()));
        worker.down(&EvidenceError::Silent(1));
        worker.turn_away(std::iter::empty());
        assert!(patient(ticket).await.is_none(), "told in time");
        assert!(fate.missed_any() && !fate.unopened(), "the opening may be there, so its closing is wanted");
        let late = Job { row: closing(id), fate: Some(fate.clone()), waiter: None, keep: true };
        worker.turn_away(std::iter::once(late));
        let signing = crate::writer::log_state::Signing {
            signer: worker.keys.newest(),
            interval: std::time::Duration::ZERO,
            now: true,
            keep: false,
        };
        let mut other = worker.log.clone();
        other.append(&mut rig.store().await, &mut rows, &signing, 1, |_| ()).await.expect("appended");
        worker.recover().await;
        assert_eq!(fate.unopened(), !is_in);
        let (_queue, jobs) = tokio::sync::mpsc::unbounded_channel();
        drop(_queue);
        worker.run(jobs).await;
        let whole = rig.whole().await;
        assert!(whole.is_signed());
        assert_eq!(whole.closings(id).len(), usize::from(is_in));
    }
}

/// What the relay does with the next COMMIT of a client.
const PASS: u8 = 0;
/// Breaks the connections before the server sees it.
const SWALLOW: u8 = 1;
/// Lets the server commit, and breaks the connections before it answers.
const CUT: u8 = 2;

/// A relay to PostgreSQL that can lose an answer.
async fn relay(to: u16, mode: Arc<AtomicU8>) -> (u16, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (over, mut is_over) = oneshot::channel();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = &mut is_over => return,
                client = listener.accept() => {
                    let client = client.expect("a client").0;
                    let server = TcpStream::connect(("127.0.0.1", to)).await.expect("the server");
                    tokio::spawn(pass(client, server, mode.clone()));
                }
            }
        }
    });
    (port, over)
}

async fn pass(mut client: TcpStream, mut server: TcpStream, mode: Arc<AtomicU8>) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    // Whether the transaction under way inserts openings.
    let mut inserts = false;
    loop {
        tokio::select! {
            bytes = client.read(&mut asked) => {
                let asked = &asked[..bytes?];
                let holds = |text: &[u8]| asked.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text));
                inserts |= holds(b"ais/portal");
                let commits = inserts && holds(b"COMMIT");
                inserts &= !commits;
                let mode = if commits { mode.swap(PASS, Ordering::SeqCst) } else { PASS };
                if asked.is_empty() || mode == SWALLOW {
                    return Ok(());
                }
                server.write_all(asked).await?;
                if mode == CUT {
                    // The answer tells that it is committed; nobody else hears it.
                    let bytes = server.read(&mut answered).await?;
                    assert!(bytes > 0);
                    return Ok(());
                }
            }
            bytes = server.read(&mut answered) => {
                let bytes = bytes?;
                if bytes == 0 {
                    return Ok(());
                }
                client.write_all(&answered[..bytes]).await?;
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_a_commit_loses_and_doubles_nothing() {
    let server = Postgres::start(&[]);
    let mode = Arc::new(AtomicU8::new(PASS));
    let direct = Rig::postgres(&server, "cut");
    let port = server.url().rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
    let port: u16 = port.expect("a port");
    let (through, _over) = relay(port, mode.clone()).await;
    let mut rig = Rig::postgres(&server, "cut");
    rig.config.store = rig.config.store.replace(&format!(":{port}/"), &format!(":{through}/"));
    (rig.config.keys, rig.config.log_keys) = (direct.config.keys.clone(), direct.config.log_keys.clone());
    rig.pace.upkeep = std::time::Duration::from_secs(1000);
    let running = rig.start().await;
    running.record(some(0)).await.expect("on disk");
    let mut ids = Vec::new();
    for round in 0..6i64 {
        let way = if round % 2 == 0 { CUT } else { SWALLOW };
        let fate: Arc<Fate> = Arc::default();
        let id = ExchangeId::at(round + 1);
        mode.store(way, Ordering::SeqCst);
        let ticket = running.evidence.submit(opening(id), &fate).expect("a place");
        let recorded = patient(ticket).await;
        assert_eq!(recorded.is_some(), way == CUT, "round {round}");
        ids.push((id, recorded.map(|recorded| recorded.index)));
        until(async || running.evidence.status().available).await;
    }
    running.end().await;
    let whole = direct.whole().await;
    assert!(whole.is_signed());
    for (id, index) in ids {
        let at: Vec<_> =
            whole.rows.iter().filter(|row| row.columns.exchange == id.as_bytes()).map(|r| r.index).collect();
        assert_eq!(at, index.into_iter().collect::<Vec<_>>(), "once where it was told, else not at all");
    }
    let refused = whole.all(|kind| match kind {
        Kind::Gap(gap) => Some(gap.refused),
        _ => None,
    });
    assert_eq!(refused, [1, 1, 1]);
}

#[tokio::test]
async fn a_server_that_crashes_again_and_again_loses_nothing_that_was_told() {
    let mut server = Postgres::start(&[]);
    let rig = Rig::postgres(&server, "crashes");
    let running = rig.start().await;
    let mut told = Vec::new();
    let mut at = 0;
    for _ in 0..4 {
        let mut tickets = Vec::new();
        for _ in 0..300 {
            at += 1;
            let id = ExchangeId::at(at);
            let fate: Arc<Fate> = Arc::default();
            tickets.extend(running.evidence.submit(opening(id), &fate).map(|ticket| (id, ticket)));
            tokio::task::yield_now().await;
        }
        // In the middle of them.
        let (id, first) = tickets.remove(0);
        told.push((id, patient(first).await));
        server.stop_immediately();
        server.start_again();
        for (id, ticket) in tickets {
            told.push((id, patient(ticket).await));
        }
        until(async || running.evidence.status().available).await;
    }
    running.end().await;
    let whole = rig.whole().await;
    assert!(whole.is_signed());
    let recorded = told.iter().filter_map(|(id, recorded)| Some((id, recorded.as_ref()?)));
    let mut count = 0;
    for (id, recorded) in recorded {
        let row = &whole.rows[usize::try_from(recorded.index).expect("small")];
        assert_eq!(row.columns.exchange, id.as_bytes());
        assert_eq!(ura_log::tree::leaf_hash(&row.leaf), recorded.leaf_hash);
        count += 1;
    }
    assert!(count >= 4);
    let mut exchanges: Vec<_> =
        whole.rows.iter().map(|row| &row.columns.exchange).filter(|e| !e.is_empty()).collect();
    let all = exchanges.len();
    exchanges.sort_unstable();
    exchanges.dedup();
    assert_eq!(exchanges.len(), all, "nothing stands twice");
}
