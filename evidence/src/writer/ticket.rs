//! What an exchange's ledger and the writer share: when a record is on disk, and what became of the
//! exchange's records.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::oneshot;
use ura_log::Hash;

use crate::entry::Row;

/// A record that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The log it stands in. A gateway whose log was sealed goes on in another.
    pub origin: Arc<str>,
    /// Its place in the log, from 0.
    pub index: u64,
    /// Its hash as a leaf of the tree (RFC 9162 section 2.1.1).
    pub leaf_hash: Hash,
}

/// Says when a record is on disk. `None`: it never will be, or that cannot be told in time.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Recorded>);

impl Ticket {
    /// A ticket, and what answers it. Dropping that says that the record is not made.
    pub(super) fn new() -> (oneshot::Sender<Recorded>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl Future for Ticket {
    type Output = Option<Recorded>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

/// What became of one exchange's records, as its ledger and the writer both see it.
#[derive(Debug, Default)]
pub struct Fate {
    /// Counted among those that were refused because a record could not be made.
    refused: AtomicBool,
    /// Its opening is not in the log and never will be.
    unopened: AtomicBool,
}

impl Fate {
    /// Whether no closing may be written, because it would stand alone.
    #[must_use]
    pub fn unopened(&self) -> bool {
        self.unopened.load(Ordering::Relaxed)
    }

    /// Whether some record of the exchange was not made. Set before any later ticket is answered.
    #[must_use]
    pub fn missed_any(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Notes that a record was not made; 1 for the first one of the exchange, else 0.
    pub(super) fn missed(&self, row: &Row) -> u64 {
        if row.opens() {
            self.unopened.store(true, Ordering::Relaxed);
        }
        self.untold()
    }

    /// Notes that nobody could say in time whether a record was made; 1 for the first such one of the
    /// exchange, else 0.
    pub(super) fn untold(&self) -> u64 {
        u64::from(!self.refused.swap(true, Ordering::Relaxed))
    }
}
