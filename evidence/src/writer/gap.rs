//! What happened while the log could not be written: calls refused are counted, closings wait. Pure.

use std::{collections::VecDeque, sync::Arc};

use ura_proto::v1::{Gap, entry::Kind};

use super::ticket::Fate;
use crate::entry::Row;

/// Closings that wait for a store to come back; older ones are given up and counted.
const CLOSINGS_WAITING_MAX: usize = 65_536;

/// Rows that waited and are tried in one commit.
const WAITED_AT_ONCE: usize = 1024;

/// A row that waits until it can be written.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) row: Row,
    /// The exchange's; `None` for administrative rows, which are never given up.
    pub(super) fate: Option<Arc<Fate>>,
}

/// What the log does not tell yet.
#[derive(Debug, Default)]
pub(super) struct Outage {
    gap: Option<Gap>,
    /// In the order in which they came. Administrative rows have no limit of their own: they come from
    /// the hands of operators.
    waiting: VecDeque<Waiting>,
    /// Calls refused, and closings given up, since the process began.
    totals: (u64, u64),
}

impl Outage {
    /// Counts calls that were refused.
    pub(super) fn refused(&mut self, calls: u64, now_us: i64) {
        if calls > 0 {
            self.totals.0 += calls;
            self.begun(now_us).refused += calls;
        }
    }

    /// Begins a gap where there is none, and says that it lasts until now.
    pub(super) fn begun(&mut self, now_us: i64) -> &mut Gap {
        let gap = self.gap.get_or_insert_with(|| Gap { first_unix_us: now_us, ..Gap::default() });
        gap.last_unix_us = now_us;
        gap
    }

    /// The entry that tells of the gap, as far as it is known now.
    pub(super) fn entry(&self, now_us: i64) -> Option<(Row, Gap)> {
        self.gap.map(|gap| (Row::new(None, now_us, Kind::Gap(gap)), gap))
    }

    /// Takes off what an entry told. What came after it stays for the next one.
    pub(super) fn told(&mut self, told: &Gap) {
        let Some(gap) = &mut self.gap else { return };
        gap.refused = gap.refused.saturating_sub(told.refused);
        gap.closings_lost = gap.closings_lost.saturating_sub(told.closings_lost);
        gap.first_unix_us = gap.last_unix_us;
        if (gap.refused, gap.closings_lost) == (0, 0) {
            self.gap = None;
        }
    }

    /// Lets a row wait behind all others.
    pub(super) fn wait(&mut self, row: Waiting, now_us: i64) {
        self.waiting.push_back(row);
        self.give_up(now_us);
    }

    /// Puts rows that could not be written back before all others.
    pub(super) fn put_back(&mut self, rows: impl DoubleEndedIterator<Item = Waiting>, now_us: i64) {
        rows.rev().for_each(|row| self.waiting.push_front(row));
        self.give_up(now_us);
    }

    /// Gives up the oldest closings beyond the limit.
    fn give_up(&mut self, now_us: i64) {
        while self.waiting.len() > CLOSINGS_WAITING_MAX {
            let Some(oldest) = self.waiting.iter().position(|row| row.fate.is_some()) else { return };
            self.waiting.remove(oldest);
            self.begun(now_us).closings_lost += 1;
            self.totals.1 += 1;
        }
    }

    /// The next rows that waited, without closings whose opening turned out not to be in the log: they
    /// would stand alone.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waiting> + use<'_> {
        let next = self.waiting.len().min(WAITED_AT_ONCE);
        self.waiting.drain(..next).filter(|row| row.fate.as_ref().is_none_or(|fate| !fate.unopened()))
    }

    /// Rows that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Calls refused, and closings given up, since the process began.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.totals
    }

    /// Whether everything is told.
    pub(super) fn is_over(&self) -> bool {
        self.gap.is_none() && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use ura_proto::{ExchangeId, v1::Closing};

    use super::*;

    fn closing(at: i64, fate: &Arc<Fate>) -> Waiting {
        let row = Row::new(Some(ExchangeId::at(at)), at, Kind::Closing(Closing::default()));
        Waiting { row, fate: Some(fate.clone()) }
    }

    #[test]
    fn what_comes_while_a_gap_is_told_stays_for_the_next() {
        let mut outage = Outage::default();
        assert!(outage.entry(1).is_none());
        outage.refused(0, 5);
        assert!(outage.is_over(), "nothing happened");
        outage.refused(3, 10);
        let (row, told) = outage.entry(20).expect("a gap");
        assert_eq!((told.refused, told.first_unix_us, told.last_unix_us), (3, 10, 10));
        assert_eq!(row.columns.recorded_us, 20);
        outage.refused(2, 30);
        outage.told(&told);
        let (_, rest) = outage.entry(40).expect("the rest");
        assert_eq!((rest.refused, rest.first_unix_us), (2, 30));
        outage.told(&rest);
        assert!(outage.is_over());
        assert_eq!(outage.totals(), (5, 0), "what was told still counts");
    }

    #[test]
    fn the_oldest_closings_are_given_up_and_counted_and_acts_never() {
        let mut outage = Outage::default();
        let fate = Arc::default();
        let act = Row::new(None, 0, Kind::Gap(Gap::default()));
        outage.wait(Waiting { row: act.clone(), fate: None }, 1);
        for at in 1..=70_000 {
            outage.wait(closing(at, &fate), at);
        }
        assert_eq!(outage.waiting(), CLOSINGS_WAITING_MAX);
        let (_, gap) = outage.entry(1).expect("a gap");
        assert_eq!(gap.closings_lost, 70_000 + 1 - 65_536);
        assert_eq!(outage.totals(), (0, gap.closings_lost));
        let first: Vec<_> = outage.take().take(2).collect();
        assert_eq!(first[0].row, act);
        assert_eq!(first[1].row.columns.recorded_us, 70_000 - 65_535 + 1, "the oldest that is left");
    }

    #[test]
    fn rows_keep_their_order_and_closings_of_nothing_are_dropped() {
        let mut outage = Outage::default();
        let (fate, unopened) = (Arc::default(), Arc::new(Fate::default()));
        outage.wait(closing(1, &fate), 1);
        outage.wait(closing(2, &unopened), 1);
        outage.wait(closing(3, &fate), 1);
        let taken: Vec<_> = outage.take().collect();
        assert_eq!(outage.waiting(), 0);
        outage.wait(closing(4, &fate), 1);
        outage.put_back(taken.into_iter(), 1);
        let opening = Row::new(None, 0, Kind::Opening(ura_proto::v1::Opening::default()));
        assert_eq!(unopened.missed(&opening), 1);
        let order: Vec<_> = outage.take().map(|row| row.row.columns.recorded_us).collect();
        assert_eq!(order, [1, 3, 4]);
        assert!(outage.is_over());
    }
}
