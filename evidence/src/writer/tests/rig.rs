//! A log of its own for one test, and what stands in it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use ura_log::{
    checkpoint::{self, Checkpoint},
    tree::{Frontier, leaf_hash},
};
use ura_proto::{
    ExchangeId,
    v1::{Closing, Entry, Opening, Outcome, entry::Kind},
};
use ura_runtime::clock::{Clock, ManualClock};

use crate::{
    config::EvidenceConfig,
    entry::{self, Row},
    keys::{LogKeys, log_keys_of_file},
    lease::Watch,
    sample::postgres::Postgres,
    store::{Address, CheckpointRow, LogRow, Reader, Store, StoredRow},
    writer::{
        Evidence, EvidenceError, Fate, OpenAs, Shared, Ticket,
        setup::{Pace, Setup},
        work::Worker,
    },
};

/// 2026-11-22T12:00:00Z.
pub(super) const NOW_US: i64 = 1_795_348_800_000_000;

pub(super) struct Rig {
    pub(super) config: EvidenceConfig,
    pub(super) pace: Pace,
    pub(super) clock: Clock,
    pub(super) hand: ManualClock,
    pub(super) dir: TempDir,
}

/// A writer that runs in the test's own runtime.
pub(super) struct Running {
    pub(super) evidence: Evidence,
    pub(super) writer: JoinHandle<()>,
}

impl Running {
    /// Drops the handle and waits until everything is written.
    pub(super) async fn end(self) {
        let reader = self.evidence.reader();
        drop(self.evidence);
        // The last connection tidies the store up, so it must be one that may write.
        reader.close().await;
        patient(self.writer).await.expect("it ends");
    }

    /// Ends it as a crash would.
    pub(super) async fn die(self) {
        self.writer.abort();
        self.writer.await.expect_err("it was aborted");
    }

    /// Records a row; `None` where it could not be.
    pub(super) async fn record(&self, row: Row) -> Option<u64> {
        let ticket = self.evidence.submit(row, &Arc::default())?;
        patient(ticket).await.map(|recorded| recorded.index)
    }

    /// Opens an exchange and waits until that is on disk.
    pub(super) async fn open_exchange(&self, at: i64) -> (ExchangeId, Arc<Fate>) {
        let (id, fate) = (ExchangeId::at(at), Arc::default());
        let ticket = self.evidence.submit(opening(id), &fate).expect("a place in the queue");
        patient(ticket).await.expect("on disk");
        (id, fate)
    }

    pub(super) fn close_exchange(&self, (id, fate): &(ExchangeId, Arc<Fate>)) -> Ticket {
        self.evidence.submit_closing(closing(*id), fate)
    }
}

impl Rig {
    pub(super) fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = format!("sqlite:{}", dir.path().join("e.db").display());
        Self::new(dir, store, "ura.test/log")
    }

    pub(super) fn postgres(server: &Postgres, name: &str) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        Self::new(dir, server.url(), &format!("ura.test/{name}"))
    }

    fn new(dir: TempDir, store: String, origin: &str) -> Self {
        let config = EvidenceConfig {
            store,
            keys: dir.path().join("keys"),
            log_keys: dir.path().join("log-keys"),
            origin: origin.to_owned(),
            queue_entries_max: 16_384,
            batch_entries_max: 64,
            checkpoint_interval_ms: 1000,
            seal_after_ms: 60_000,
        };
        let (clock, hand) = Clock::manual(NOW_US);
        let ms = Duration::from_millis;
        let watch = Watch { still: ms(60), poll: ms(3) };
        Self { config, pace: Pace { watch, retry: ms(5), upkeep: ms(20) }, clock, hand, dir }
    }

    pub(super) async fn start(&self) -> Running {
        self.try_start(false).await.expect("it starts")
    }

    pub(super) async fn take_over(&self) -> Running {
        self.try_start(true).await.expect("it starts")
    }

    pub(super) async fn try_start(&self, take_over: bool) -> Result<Running, EvidenceError> {
        let (shared, worker) = Box::pin(self.worker(take_over)).await?;
        let (queue, jobs) = mpsc::unbounded_channel();
        let reader = Reader::open(&self.address()).await?;
        let writer = tokio::spawn(worker.run(jobs));
        Ok(Running { evidence: Evidence { queue, shared, reader }, writer })
    }

    pub(super) fn who(take_over: bool) -> OpenAs {
        OpenAs {
            gateway: "ais/gateway".parse().expect("a system"),
            program: "0.0.0-test".into(),
            directory_version: "7".into(),
            directory_digest: [7; 32],
            take_over,
        }
    }

    /// A writer that does not run by itself.
    pub(super) async fn worker(&self, take_over: bool) -> Result<(Arc<Shared>, Worker), EvidenceError> {
        let setup = Setup::new(&self.config, Self::who(take_over), self.pace)?;
        let shared = Shared::new(&self.config, self.clock.clone())?;
        let worker = patient(Box::pin(Worker::open(setup, shared.clone()))).await?;
        Ok((shared, worker))
    }

    pub(super) fn address(&self) -> Address {
        Address::parse(&self.config.store).expect("an address")
    }

    pub(super) async fn store(&self) -> Store {
        Store::open(&self.address()).await.expect("the store opens")
    }

    pub(super) async fn reader(&self) -> Reader {
        Reader::open(&self.address()).await.expect("the store can be read")
    }

    pub(super) fn log_keys(&self) -> LogKeys {
        LogKeys::open(&self.config.log_keys, &self.config.origin).expect("keys")
    }

    pub(super) async fn row(&self) -> LogRow {
        let mut store = self.store().await;
        let row = store.log(&self.config.origin, "ais/gateway").await.expect("a log");
        store.close().await.expect("closes");
        row
    }

    /// Everything that stands in the log, after a check that it is whole: indexes, leaves, subtrees, every
    /// checkpoint, and the checkpoint that is held.
    pub(super) async fn whole(&self) -> Whole {
        Box::pin(Whole::read(self, &self.config.origin)).await
    }
}

/// A log that was read and checked.
pub(super) struct Whole {
    pub(super) rows: Vec<StoredRow>,
    pub(super) entries: Vec<Entry>,
    pub(super) checkpoints: Vec<(CheckpointRow, Checkpoint)>,
}

impl Whole {
    pub(super) async fn read(rig: &Rig, origin: &str) -> Self {
        let reader = rig.reader().await;
        let (rows, stored, checkpoints) = loop {
            let log = reader.log_by_origin(origin).await.expect("readable").expect("a log");
            let mut rows = Vec::new();
            while (rows.len() as u64) < log.size {
                let page = reader.entries(log.log, rows.len() as u64, 4096).await.expect("readable");
                assert!(!page.is_empty(), "the log has {} entries and {} are there", log.size, rows.len());
                rows.extend(page);
            }
            let stored = reader.subtrees(log.log, 1, 0, 4096).await.expect("readable");
            let checkpoints = reader.checkpoints(log.log, 0, 4096).await.expect("readable");
            let after = reader.log_by_origin(origin).await.expect("readable").expect("a log");
            // A writer may add rows meanwhile.
            if after.size == log.size {
                break (rows, stored, checkpoints);
            }
        };
        reader.close().await;
        let (mut tree, mut roots, mut subtrees) = (Frontier::new(), HashMap::new(), HashMap::new());
        roots.insert(0, tree.root());
        for (expected, row) in (0..).zip(&rows) {
            assert_eq!(row.index, expected, "indexes have no gaps");
            let body = row.body.as_ref().expect("a body");
            assert_eq!(entry::leaf(body), row.leaf, "leaf of entry {expected}");
            tree.append_telling(leaf_hash(&row.leaf), |height, index, hash| {
                if height == 8 {
                    subtrees.insert(index, *hash);
                }
            });
            roots.insert(tree.size(), tree.root());
        }
        assert_eq!(stored.into_iter().collect::<HashMap<_, _>>(), subtrees, "subtrees");
        let keys: Vec<_> = log_keys_of_file(&rig.config.log_keys).expect("keys");
        let open = |note: &str| checkpoint::open(note, &keys).expect("a signed checkpoint").0;
        let checkpoints: Vec<_> = checkpoints.into_iter().map(|row| (open(&row.note), row)).collect();
        for (checkpoint, row) in &checkpoints {
            assert_eq!((&*checkpoint.origin, checkpoint.size), (origin, row.size));
            assert_eq!(checkpoint.root, roots[&checkpoint.size], "root at {}", checkpoint.size);
        }
        let keys = LogKeys::open(&rig.config.log_keys, origin).expect("keys");
        let held = open(&keys.read_held().expect("readable").expect("a checkpoint is held"));
        assert!(roots.get(&held.size).is_none_or(|root| *root == held.root), "what is held");
        let entries = rows.iter().map(|row| entry::decode(row.body.as_ref().expect("a body")));
        let entries = entries.map(|entry| entry.expect("an entry")).collect();
        let checkpoints = checkpoints.into_iter().map(|(checkpoint, row)| (row, checkpoint)).collect();
        Self { rows, entries, checkpoints }
    }

    /// Whether the newest checkpoint covers every entry.
    pub(super) fn is_signed(&self) -> bool {
        self.checkpoints.last().is_some_and(|(row, _)| row.size == self.rows.len() as u64)
    }

    /// What some kind of entry says.
    pub(super) fn all<T>(&self, mut such: impl FnMut(&Kind) -> Option<T>) -> Vec<T> {
        self.entries.iter().filter_map(|entry| such(entry.kind.as_ref()?)).collect()
    }

    /// Outcomes of the closings of an exchange.
    pub(super) fn closings(&self, id: ExchangeId) -> Vec<Outcome> {
        let of = self.entries.iter().filter(|entry| entry.exchange_id == id.as_bytes());
        of.filter_map(|entry| match &entry.kind {
            Some(Kind::Closing(closing)) => Some(closing.outcome()),
            _ => None,
        })
        .collect()
    }
}

pub(super) fn opening(id: ExchangeId) -> Row {
    let opening = Opening { consumer: "ais/portal".into(), method: "a.B/C".into(), ..Opening::default() };
    Row::new(Some(id), NOW_US, Kind::Opening(opening))
}

pub(super) fn refused(id: ExchangeId) -> Row {
    let opening = Opening { refusal: "GRANT_MISSING".into(), ..Opening::default() };
    Row::new(Some(id), NOW_US, Kind::Opening(opening))
}

pub(super) fn closing(id: ExchangeId) -> Row {
    let closing = Closing { outcome: Outcome::Answered.into(), ..Closing::default() };
    Row::new(Some(id), NOW_US, Kind::Closing(closing))
}

/// An opening of an exchange of its own.
pub(super) fn some(at: i64) -> Row {
    opening(ExchangeId::at(at))
}

/// What a future gives, unless that takes longer than anything here can. While it is waited for, paused
/// time stands still: only `advance` moves it.
pub(super) async fn patient<T>(future: impl Future<Output = T>) -> T {
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let watch = tokio::task::spawn_blocking(move || is_over.recv_timeout(Duration::from_secs(60)));
    tokio::select! {
        biased;
        value = future => { drop(over); value }
        _ = watch => panic!("it never came"),
    }
}

/// Waits until something is so.
pub(super) async fn until(mut such: impl AsyncFnMut() -> bool) {
    patient(async {
        while !such().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
