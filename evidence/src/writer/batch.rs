//! Rows that are committed together, each with what must be told when they are, or when they are not.

use std::sync::Arc;

use tokio::{sync::oneshot, time::Instant};
use ura_log::Hash;
use ura_proto::v1::Gap;

use super::{
    gap::{Outage, Waiting},
    open_exchanges::OpenExchanges,
    ticket::{Fate, Recorded},
};
use crate::entry::Row;

/// One row on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) row: Row,
    /// The exchange's; `None` for administrative rows.
    pub(super) fate: Option<Arc<Fate>>,
    pub(super) waiter: Option<oneshot::Sender<Recorded>>,
    /// It is kept until it can be written.
    pub(super) keep: bool,
}

impl Job {
    /// Whether it would stand alone: what follows an opening that is not in the log.
    fn is_alone(&self) -> bool {
        !self.row.opens() && self.fate.as_ref().is_some_and(|fate| fate.unopened())
    }
}

/// Where a row of a batch comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// The writer itself; made anew where it is not written.
    Own,
    /// The entry of the present gap.
    Gap(Gap),
    /// It waited already.
    Waited(Option<Arc<Fate>>),
    /// A handle.
    Fresh { fate: Option<Arc<Fate>>, waiter: Option<oneshot::Sender<Recorded>>, keep: bool },
}

/// Rows that are committed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    pub(super) sources: Vec<Source>,
}

impl Batch {
    /// Room for so many jobs.
    pub(super) fn with_capacity(jobs: usize) -> Self {
        Self { rows: Vec::with_capacity(jobs + 1), sources: Vec::with_capacity(jobs + 1) }
    }

    /// Takes a row of the writer itself.
    pub(super) fn own(&mut self, row: Row) {
        self.push(row, Source::Own);
    }

    /// Takes the entry of the present gap, and rows that waited.
    pub(super) fn outage(&mut self, outage: &mut Outage, now_us: i64) {
        if let Some((row, gap)) = outage.entry(now_us) {
            self.push(row, Source::Gap(gap));
        }
        outage.take().for_each(|waited| self.push(waited.row, Source::Waited(waited.fate)));
    }

    /// Takes jobs.
    pub(super) fn fresh(&mut self, jobs: impl Iterator<Item = Job>) {
        for job in jobs.filter(|job| !job.is_alone()) {
            let Job { row, fate, waiter, keep } = job;
            self.push(row, Source::Fresh { fate, waiter, keep });
        }
    }

    fn push(&mut self, row: Row, source: Source) {
        self.rows.push(row);
        self.sources.push(source);
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Makes the entry of the gap again, now that it counts all who were refused.
    pub(super) fn recount(rows: &mut [Row], sources: &mut [Source], outage: &Outage, now_us: i64) {
        let gap = sources.iter_mut().zip(rows).find_map(|(source, row)| match source {
            Source::Gap(gap) => Some((gap, row)),
            _ => None,
        });
        if let (Some((gap, row)), Some((newer, counted))) = (gap, outage.entry(now_us)) {
            (*row, *gap) = (newer, counted);
        }
    }

    /// They are on disk, from `first` on: tells everybody.
    pub(super) fn written(
        self,
        origin: &Arc<str>,
        first: u64,
        outage: &mut Outage,
        exchanges: &mut OpenExchanges,
    ) {
        for ((index, row), source) in (first..).zip(&self.rows).zip(self.sources) {
            exchanges.written(row, index);
            match source {
                Source::Gap(gap) => {
                    outage.told(&gap);
                    tracing::warn!(refused = gap.refused, "the log can be written again");
                }
                Source::Fresh { waiter: Some(waiter), .. } => {
                    let recorded = Recorded { origin: origin.clone(), index, leaf_hash: row.leaf_hash() };
                    // A waiter that is gone needs no answer.
                    drop(waiter.send(recorded));
                }
                Source::Own | Source::Waited(_) | Source::Fresh { waiter: None, .. } => {}
            }
        }
    }

    /// There is no log to write them to now: as [`Batch::failed`], but behind all that waits.
    pub(super) fn waiting_last(self, outage: &mut Outage, now_us: i64) {
        let mut refused = 0;
        for (row, source) in self.rows.into_iter().zip(self.sources) {
            match source {
                Source::Fresh { fate, keep: true, .. } => outage.wait(Waiting { row, fate }, now_us),
                Source::Fresh { fate, keep: false, .. } => {
                    refused += fate.map_or(0, |fate| fate.missed(&row));
                }
                Source::Own | Source::Gap(_) | Source::Waited(_) => {}
            }
        }
        outage.refused(refused, now_us);
    }

    /// They are not in the log: closings and acts wait, the rest is counted, and waiters are told.
    pub(super) fn failed(self, outage: &mut Outage, now_us: i64) {
        let (mut waited, mut closings) = (Vec::new(), Vec::new());
        let mut refused = 0;
        if self.sources.iter().any(|source| matches!(source, Source::Fresh { .. })) {
            outage.begun(now_us);
        }
        for (row, source) in self.rows.into_iter().zip(self.sources) {
            match source {
                Source::Own | Source::Gap(_) => {}
                Source::Waited(fate) => waited.push(Waiting { row, fate }),
                Source::Fresh { fate, keep: true, .. } => closings.push(Waiting { row, fate }),
                Source::Fresh { fate, keep: false, .. } => {
                    refused += fate.map_or(0, |fate| fate.missed(&row));
                }
            }
        }
        outage.refused(refused, now_us);
        // A closing of this batch may follow an opening of this batch.
        closings.retain(|waiting| waiting.fate.as_ref().is_none_or(|fate| !fate.unopened()));
        // What waits in the queue came later than all of these.
        waited.append(&mut closings);
        outage.put_back(waited.into_iter(), now_us);
    }
}

/// A batch whose commit was not answered.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// Number of the log in the store.
    pub(super) log: i64,
    /// Name of the log.
    pub(super) origin: Arc<str>,
    /// Where its rows begin, if they are there.
    pub(super) first: u64,
    batch: Batch,
    /// Until when its waiters are kept waiting.
    pub(super) until: Instant,
}

impl Unanswered {
    pub(super) const fn new(log: i64, origin: Arc<str>, first: u64, batch: Batch, until: Instant) -> Self {
        Self { log, origin, first, batch, until }
    }

    /// Number of its rows.
    pub(super) fn len(&self) -> u64 {
        self.batch.rows.len() as u64
    }

    /// Whether its rows are those that stand in the log from `first` on. Rows of another process cannot
    /// have the same leaves: entries hold exchange ids, counts and times.
    pub(super) fn is_in(&self, leaves: &[Hash]) -> bool {
        let own = self.batch.rows.iter().map(|row| &row.leaf);
        leaves.len() >= self.batch.rows.len() && own.zip(leaves).all(|(own, there)| own == there)
    }

    /// What became of it is known now.
    pub(super) fn into_batch(self) -> Batch {
        self.batch
    }

    /// Stops keeping waiters waiting: they are told that their records may not be made. Closings may
    /// still follow, for the opening may be there.
    pub(super) fn tell_nobody_knows(&mut self, outage: &mut Outage, now_us: i64) {
        let mut refused = 0;
        for source in &mut self.batch.sources {
            if let Source::Fresh { fate, waiter, keep } = source
                && waiter.take().is_some()
                && !*keep
            {
                refused += fate.as_ref().map_or(0, |fate| fate.untold());
            }
        }
        outage.refused(refused, now_us);
    }
}
