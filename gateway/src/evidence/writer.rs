//! The one writer of the log: takes rows from a bounded queue, commits what has gathered, and tells
//! each waiter. Where the log cannot be written, openings fail at once, closings wait, and what was
//! refused is counted and recorded afterwards in one entry.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use ura_proto::v1::Gap;
use ura_runtime::clock::Clock;

use super::{
    KeysError, StoreError,
    entry::{LeafHash, Row},
    keys::EpochKey,
    store::Store,
};
use crate::config::EvidenceConfig;

/// Closings that wait for a store to come back; older ones are given up and counted.
const BACKLOG_ROWS_MAX: usize = 65_536;

/// Closings of the backlog that are tried in one commit.
const BACKLOG_BATCH_ROWS: usize = 4096;

/// How often a store that failed is tried again when nobody asks.
const RETRY_MS: u64 = 500;

/// Why evidence cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys.
    #[error("evidence keys: {0}")]
    Keys(#[from] KeysError),
    /// The writer's thread.
    #[error("evidence writer: {0}")]
    Thread(#[from] std::io::Error),
}

/// A record that is on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    /// Its place in the log.
    pub(crate) index: u64,
    /// Its hash as a leaf.
    pub(crate) leaf_hash: LeafHash,
}

/// Says when a record is on disk. `None`: it never will be.
#[derive(Debug)]
pub(crate) struct Ticket(oneshot::Receiver<Recorded>);

impl Future for Ticket {
    type Output = Option<Recorded>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

/// What became of one exchange's records, as its ledger and the writer both see it.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Counted among those that were refused because a record could not be made.
    refused: AtomicBool,
    /// Its opening is not in the log and never will be.
    unopened: AtomicBool,
}

impl Fate {
    /// Whether no closing may be written, because it would stand alone.
    pub(super) fn unopened(&self) -> bool {
        self.unopened.load(Ordering::Relaxed)
    }

    /// Whether some record of the exchange was not made. Set before any later ticket is answered.
    pub(super) fn missed_any(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Notes that a record was not made; 1 for the first one of the exchange, else 0.
    fn missed(&self, row: &Row) -> usize {
        if row.opens() {
            self.unopened.store(true, Ordering::Relaxed);
        }
        usize::from(!self.refused.swap(true, Ordering::Relaxed))
    }
}

/// One row on its way.
struct Job {
    row: Row,
    fate: Arc<Fate>,
    /// Waits for it; a row without a waiter is kept until it can be written.
    waiter: Option<oneshot::Sender<Recorded>>,
    keep: bool,
}

/// Handle of the log; cheap to clone.
#[derive(Clone)]
pub(crate) struct Evidence {
    queue: mpsc::UnboundedSender<Job>,
    shared: Arc<Shared>,
}

/// What the handle and the writer both see.
struct Shared {
    epoch: EpochKey,
    origin: Arc<str>,
    clock: Clock,
    queued: AtomicUsize,
    queue_entries_max: usize,
    /// Calls refused because the queue was full.
    refused: AtomicUsize,
}

/// The writer's thread, to be joined at the end.
pub(crate) struct WriterThread(std::thread::JoinHandle<()>);

impl WriterThread {
    /// Waits until everything queued is written; every handle must be gone by then.
    pub(crate) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the evidence writer ended by a panic");
        }
    }
}

impl Evidence {
    /// Opens the log and starts its writer.
    pub(crate) async fn open(
        config: &EvidenceConfig,
        clock: Clock,
    ) -> Result<(Self, WriterThread), EvidenceError> {
        let epoch = EpochKey::open(&config.keys)?;
        let (queue, jobs) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            epoch,
            origin: config.origin.as_str().into(),
            clock,
            queued: AtomicUsize::new(0),
            queue_entries_max: config.queue_entries_max,
            refused: AtomicUsize::new(0),
        });
        let (opened, open) = oneshot::channel();
        let writer_shared = shared.clone();
        let address = config.store.clone();
        let batch_max = config.batch_entries_max.max(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // A thread of its own: no commit waits for a call, and no call for a commit's processor time.
        let thread = std::thread::Builder::new().name("evidence".to_owned()).spawn(move || {
            runtime.block_on(async move {
                match Store::open(&address).await {
                    Err(error) => drop(opened.send(Err(error))),
                    Ok(store) => {
                        drop(opened.send(Ok(())));
                        Writer {
                            store,
                            address,
                            shared: writer_shared,
                            batch_max,
                            backlog: VecDeque::new(),
                            gap: None,
                        }
                        .run(jobs)
                        .await;
                    }
                }
            });
        })?;
        open.await.unwrap_or_else(|_| Err(StoreError::Sqlite(sqlx::Error::WorkerCrashed)))?;
        Ok((Self { queue, shared }, WriterThread(thread)))
    }

    /// Name of the log.
    pub(crate) fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// Key of the present epoch.
    pub(super) fn epoch(&self) -> &EpochKey {
        &self.shared.epoch
    }

    /// The gateway's clock.
    pub(super) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Queues a record that an answer waits for; `None` where the queue is full.
    pub(super) fn submit(&self, row: Row, fate: &Arc<Fate>) -> Option<Ticket> {
        if self.shared.queued.load(Ordering::Relaxed) >= self.shared.queue_entries_max {
            self.shared.refused.fetch_add(fate.missed(&row), Ordering::Relaxed);
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.push(Job { row, fate: fate.clone(), waiter: Some(sender), keep: false });
        Some(Ticket(receiver))
    }

    /// Queues a closing, which always has a place: there are never more than calls in hand.
    pub(super) fn submit_closing(&self, row: Row, fate: &Arc<Fate>) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        self.push(Job { row, fate: fate.clone(), waiter: Some(sender), keep: true });
        Ticket(receiver)
    }

    fn push(&self, job: Job) {
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        // A closed queue drops the job, and its ticket says that the record was not made.
        drop(self.queue.send(job));
    }
}

/// The writer's own state.
struct Writer {
    store: Store,
    address: String,
    shared: Arc<Shared>,
    batch_max: usize,
    /// Closings that could not be written yet.
    backlog: VecDeque<Row>,
    /// What happened since the log could not be written.
    gap: Option<Gap>,
}

impl Writer {
    /// Writes until every handle is gone and nothing is left.
    async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let mut batch = Vec::with_capacity(self.batch_max);
        loop {
            let troubled = self.gap.is_some() || !self.backlog.is_empty();
            let received = if troubled {
                let wait = Duration::from_millis(RETRY_MS);
                let received = tokio::time::timeout(wait, jobs.recv_many(&mut batch, self.batch_max)).await;
                received.unwrap_or(1)
            } else {
                jobs.recv_many(&mut batch, self.batch_max).await
            };
            self.shared.queued.fetch_sub(batch.len(), Ordering::Relaxed);
            self.count_full_queue();
            self.write(&mut batch).await;
            if received == 0 {
                // Nobody is left: what waits is written batch by batch, as long as that goes on.
                loop {
                    let waiting = self.backlog.len();
                    if waiting == 0 {
                        break;
                    }
                    self.write(&mut batch).await;
                    if self.backlog.len() >= waiting {
                        break;
                    }
                }
                if self.gap.is_some() || !self.backlog.is_empty() {
                    tracing::error!(closings = self.backlog.len(), "the log could not be written to the end");
                }
                return;
            }
        }
    }

    /// Calls that found the queue full were refused and not recorded: they belong into the gap.
    fn count_full_queue(&mut self) {
        let refused = self.shared.refused.swap(0, Ordering::Relaxed);
        if refused > 0 {
            self.gap().refused += refused as u64;
        }
    }

    /// The present gap, begun now where there is none.
    fn gap(&mut self) -> &mut Gap {
        let now = self.shared.clock.unix_us();
        let gap = self.gap.get_or_insert_with(|| Gap { first_unix_us: now, ..Gap::default() });
        gap.last_unix_us = now;
        gap
    }

    /// Commits one group and tells its waiters.
    async fn write(&mut self, batch: &mut Vec<Job>) {
        let mut rows: Vec<Row> = Vec::with_capacity(batch.len() + 1);
        rows.extend(self.gap.as_ref().map(|gap| Row::gap(self.shared.clock.unix_us(), *gap)));
        let old = self.backlog.len().min(BACKLOG_BATCH_ROWS);
        rows.extend(self.backlog.iter().take(old).cloned());
        let before = rows.len();
        let (mut written, mut waiters) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        // What follows an opening that is not in the log would stand alone.
        for job in batch.drain(..).filter(|job| job.row.opens() || !job.fate.unopened()) {
            written.push((job.row.leaf_hash, job.fate, job.keep));
            rows.push(job.row);
            waiters.push(job.waiter);
        }
        if rows.is_empty() {
            return;
        }
        match self.store.append(&rows).await {
            Ok(first) => {
                if let Some(gap) = self.gap.take() {
                    tracing::warn!(refused = gap.refused, "the log can be written again");
                }
                self.backlog.drain(..old);
                let first = u64::try_from(first).unwrap_or(0) + before as u64;
                for ((index, waiter), (leaf_hash, ..)) in (first..).zip(waiters).zip(written) {
                    if let Some(waiter) = waiter {
                        // A waiter that is gone needs no answer.
                        waiter.send(Recorded { index, leaf_hash }).ok();
                    }
                }
            }
            Err(error) => {
                let fresh: Vec<_> = rows.drain(before..).zip(written).collect();
                let records = fresh.iter().filter(|(_, (.., keep))| !keep);
                let missed = records.map(|(row, (_, fate, _))| fate.missed(row)).sum();
                let closings = fresh.into_iter().filter(|(_, (_, fate, keep))| *keep && !fate.unopened());
                let closings = closings.map(|(row, _)| row);
                self.failed(&error, closings, missed);
                // Dropped waiters: their records will not be made.
                drop(waiters);
                self.reopen().await;
            }
        }
    }

    /// Keeps the closings and counts the rest.
    fn failed(&mut self, error: &sqlx::Error, closings: impl Iterator<Item = Row>, refused: usize) {
        if self.gap.is_none() {
            tracing::error!(%error, "the log cannot be written: calls are refused");
        }
        self.backlog.extend(closings);
        let lost = self.backlog.len().saturating_sub(BACKLOG_ROWS_MAX);
        self.backlog.drain(..lost);
        let gap = self.gap();
        gap.refused += refused as u64;
        gap.closings_lost += lost as u64;
    }

    /// A connection that failed is not trusted again; a new one is made where that is possible.
    async fn reopen(&mut self) {
        match Store::open(&self.address).await {
            Ok(store) => self.store = store,
            Err(error) => tracing::debug!(%error, "the log cannot be opened"),
        }
    }
}
