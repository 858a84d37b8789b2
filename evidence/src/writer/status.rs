//! What the writer's state looks like from outside: a few numbers that anybody may read at any time.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use ura_runtime::metrics::Histogram;

/// Lengths by which commits are counted, in microseconds: from a fast disk to the limit of a transaction.
const COMMIT_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
    15_000_000,
];

/// The log as its writer sees it now. Numbers of one moment need not fit each other exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Name of the log.
    pub origin: Arc<str>,
    /// Entries that this writer knows to be on disk, others' included.
    pub size: u64,
    /// Entries under the newest checkpoint of this writer.
    pub signed_size: u64,
    /// Records that wait to be taken by the writer.
    pub queued: usize,
    /// Closings and administrative records that wait for the log to be writable again.
    pub waiting: usize,
    /// Whether records can be made; where not, calls are refused.
    pub available: bool,
    /// Another process took the log over.
    pub fenced: bool,
    /// Generation of the log, from 1: each time another gateway seals it, a new one is begun.
    pub generation: u32,
}

/// What the writer has done since the process began.
#[derive(Debug)]
pub struct Tally {
    /// Transactions with records in them, from their beginning until they were on disk.
    pub commits: Histogram,
    /// Times that the log could not be written, each attempt to go on included.
    pub failures: AtomicU64,
    /// Calls refused because the queue was full or the log could not be written.
    pub refused: AtomicU64,
    /// Closings that were given up.
    pub closings_lost: AtomicU64,
    /// When this process signed the log last, microseconds since 1970 by the gateway's clock; 0 before the
    /// first time.
    pub signed_unix_us: AtomicI64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            commits: Histogram::new(&COMMIT_US),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            closings_lost: AtomicU64::new(0),
            signed_unix_us: AtomicI64::new(0),
        }
    }
}

/// [`Status`], as the writer and the handles share it.
#[derive(Debug)]
pub(super) struct Gauges {
    origin: RwLock<Arc<str>>,
    pub(super) size: AtomicU64,
    pub(super) signed_size: AtomicU64,
    pub(super) queued: AtomicUsize,
    pub(super) waiting: AtomicUsize,
    pub(super) available: AtomicBool,
    pub(super) fenced: AtomicBool,
    pub(super) generation: AtomicU32,
    pub(super) tally: Tally,
}

impl Gauges {
    pub(super) fn new(origin: Arc<str>) -> Self {
        Self {
            origin: RwLock::new(origin),
            size: AtomicU64::new(0),
            signed_size: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            available: AtomicBool::new(true),
            fenced: AtomicBool::new(false),
            generation: AtomicU32::new(1),
            tally: Tally::default(),
        }
    }

    pub(super) fn origin(&self) -> Arc<str> {
        // A name is swapped whole: there is no half-written one.
        Arc::clone(&self.origin.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_origin(&self, origin: Arc<str>) {
        *self.origin.write().unwrap_or_else(PoisonError::into_inner) = origin;
    }

    /// Whether records can be made.
    pub(super) fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    pub(super) fn status(&self) -> Status {
        Status {
            origin: self.origin(),
            size: self.size.load(Ordering::Relaxed),
            signed_size: self.signed_size.load(Ordering::Relaxed),
            queued: self.queued.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            available: self.is_available(),
            fenced: self.fenced.load(Ordering::Relaxed),
            generation: self.generation.load(Ordering::Relaxed),
        }
    }
}
