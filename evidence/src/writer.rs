//! The one writer of the log: takes rows from a bounded queue, commits what has gathered, and tells each
//! waiter. Where the log cannot be written, openings fail at once, closings wait, and what was refused is
//! counted and recorded afterwards in one entry.
//!
//! | module | its job |
//! |---|---|
//! | `ticket` | what an exchange's ledger holds of its records |
//! | `batch`, `gap`, `open_exchanges` | rows on their way, what is told when they are in or not |
//! | `log_state` | one transaction: rows, tree, checkpoint |
//! | `opening` | what is checked before a log is written |
//! | `work`, `upkeep`, `recovery` | the writer's loop, what it does each second, and after a failure |
//! | `sign` | one checkpoint by an operator's command, where nobody writes the log |

mod batch;
mod error;
mod gap;
mod log_state;
mod open_exchanges;
mod opening;
mod recovery;
mod setup;
mod sign;
mod status;
#[cfg(test)]
mod tests;
mod ticket;
mod upkeep;
mod work;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{mpsc, oneshot};
use ura_proto::SystemId;
use ura_runtime::clock::Clock;

pub use error::{EvidenceError, Place};
pub use log_state::AppendError;
pub use sign::{Signed, sign};
pub use status::{Status, Tally};
pub use ticket::{Fate, Recorded, Ticket};

pub use crate::lease::LeaseError;

use crate::{
    config::EvidenceConfig,
    entry::Row,
    keys::{EpochKey, EpochKeys},
    store::Reader,
};
use batch::Job;
use setup::{Pace, Setup};
use status::Gauges;
use work::Worker;

/// As what a gateway begins to write.
#[derive(Clone, Debug)]
pub struct OpenAs {
    /// Its system.
    pub gateway: SystemId,
    /// Version of the program.
    pub program: String,
    /// Version of the directory it decides by.
    pub directory_version: String,
    /// SHA-256 of the directory file and of every contract file it names.
    pub directory_digest: [u8; 32],
    /// Relieve the process that writes the log now: it goes on until it has drained.
    pub take_over: bool,
}

/// Handle of the log; cheap to clone. The writer ends when the last one is dropped.
#[derive(Clone)]
pub struct Evidence {
    queue: mpsc::UnboundedSender<Job>,
    shared: Arc<Shared>,
    reader: Reader,
}

/// What the handles and the writer both see.
struct Shared {
    epochs: EpochKeys,
    clock: Clock,
    gauges: Gauges,
    queue_entries_max: usize,
    /// Calls refused, because the queue was full or the log could not be written, and not yet counted by
    /// the writer.
    refused: AtomicU64,
}

/// The writer's thread, to be joined at the end.
pub struct WriterThread(std::thread::JoinHandle<()>);

impl WriterThread {
    /// Waits until everything queued is written, signed, and the lease given back; every handle must be
    /// gone by then. Blocks.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the evidence writer ended by a panic");
        }
    }
}

impl Evidence {
    /// Opens the log and starts its writer: checks that nothing is missing, takes the lease, and records
    /// the start.
    ///
    /// # Errors
    /// [`EvidenceError`]: keys that others may read, a store that does not sync, a log that another
    /// process writes, or one that was rolled back or altered.
    pub async fn open(
        config: &EvidenceConfig,
        who: OpenAs,
        clock: Clock,
    ) -> Result<(Self, WriterThread), EvidenceError> {
        let setup = Setup::new(config, who, Pace::default())?;
        let address = setup.address.clone();
        let shared = Shared::new(config, clock)?;
        let (queue, jobs) = mpsc::unbounded_channel();
        let (opened, open) = oneshot::channel();
        let writer_shared = shared.clone();
        // A thread of its own: no commit waits for a call, and no call for a commit's processor time.
        let thread = std::thread::Builder::new().name("evidence".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(opened.send(Err(error.into()))),
            };
            runtime.block_on(async move {
                match Box::pin(Worker::open(setup, writer_shared)).await {
                    Err(error) => drop(opened.send(Err(error))),
                    Ok(worker) => {
                        drop(opened.send(Ok(())));
                        worker.run(jobs).await;
                    }
                }
            });
        })?;
        open.await.unwrap_or_else(|_| Err(std::io::Error::other("it ended at its start").into()))?;
        // Its connections belong to the caller's runtime, which outlives the writer's.
        let reader = Reader::open(&address).await?;
        Ok((Self { queue, shared, reader }, WriterThread(thread)))
    }

    /// Name of the log. Another one from when the log was sealed by somebody else: what was recorded
    /// before stands under the name in its [`Recorded`].
    #[must_use]
    pub fn origin(&self) -> Arc<str> {
        self.shared.gauges.origin()
    }

    /// Key of the present epoch. Touches memory only.
    #[must_use]
    pub fn epoch(&self) -> Arc<EpochKey> {
        self.shared.epochs.newest()
    }

    /// The epoch keys.
    #[must_use]
    pub fn keys(&self) -> &EpochKeys {
        &self.shared.epochs
    }

    /// The gateway's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Reads the store.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// How the log is. Touches memory only.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.gauges.status()
    }

    /// What its writer has done since the process began. Touches memory only.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.shared.gauges.tally
    }

    /// Records that may wait to be taken by the writer.
    #[must_use]
    pub fn queue_entries_max(&self) -> usize {
        self.shared.queue_entries_max
    }

    /// Queues a record that an answer waits for; `None` where the queue is full or the log cannot be
    /// written.
    #[must_use]
    pub fn submit(&self, row: Row, fate: &Arc<Fate>) -> Option<Ticket> {
        let gauges = &self.shared.gauges;
        let is_full = gauges.queued.load(Ordering::Relaxed) >= self.shared.queue_entries_max;
        if is_full || !gauges.is_available() {
            self.shared.refused.fetch_add(fate.missed(&row), Ordering::Relaxed);
            return None;
        }
        let (waiter, ticket) = Ticket::new();
        self.push(Job { row, fate: Some(fate.clone()), waiter: Some(waiter), keep: false });
        Some(ticket)
    }

    /// Queues a closing, which always has a place: there are never more than calls in hand. Where the log
    /// cannot be written the ticket says so at once, and the closing waits all the same.
    #[must_use]
    pub fn submit_closing(&self, row: Row, fate: &Arc<Fate>) -> Ticket {
        let (waiter, ticket) = Ticket::new();
        let waiter = self.shared.gauges.is_available().then_some(waiter);
        self.push(Job { row, fate: Some(fate.clone()), waiter, keep: true });
        ticket
    }

    /// Queues an administrative record, which is kept until it can be written: never given up while the
    /// process lives.
    pub fn submit_kept(&self, row: Row) {
        self.push(Job { row, fate: None, waiter: None, keep: true });
    }

    fn push(&self, job: Job) {
        self.shared.gauges.queued.fetch_add(1, Ordering::Relaxed);
        // A closed queue drops the job, and its ticket says that the record was not made.
        drop(self.queue.send(job));
    }
}

impl Shared {
    fn new(config: &EvidenceConfig, clock: Clock) -> Result<Arc<Self>, EvidenceError> {
        Ok(Arc::new(Self {
            epochs: EpochKeys::open(&config.keys)?,
            clock,
            gauges: Gauges::new(config.origin.as_str().into()),
            queue_entries_max: config.queue_entries_max,
            refused: AtomicU64::new(0),
        }))
    }
}
