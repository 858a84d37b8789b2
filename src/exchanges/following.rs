//! Which exchanges end, as the logs of a store grow: each log is read by its own indexes, whatever its clock says. Knows
//! neither the store nor who is told. Pure.

use std::collections::{HashMap, HashSet, VecDeque};

use ura_evidence::{find::Found, store::LogRow};
use ura_proto::{ExchangeId, v1::entry::Kind};

use crate::evidence::print::exchange;

/// Exchanges whose end is waited for; the oldest are forgotten.
const WAITING_MAX: usize = 100_000;

/// How far each log was read, and what has not ended.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// By the number of a log in its store: the next index.
    next: HashMap<i64, u64>,
    /// Shown before following began.
    known: HashSet<ExchangeId>,
    waiting: HashSet<ExchangeId>,
    /// The same, the oldest first; some have ended.
    order: VecDeque<ExchangeId>,
}

impl Following {
    /// From the ends of these logs on; others from their beginning.
    pub(super) fn from(logs: &[LogRow]) -> Self {
        Self { next: logs.iter().map(|log| (log.log, log.size)).collect(), ..Self::default() }
    }

    /// An exchange was shown already; where it had not ended, its end will be.
    pub(super) fn known(&mut self, id: ExchangeId, has_ended: bool) {
        self.known.insert(id);
        if !has_ended {
            self.wait(id);
        }
    }

    /// The index that is read next.
    pub(super) fn next(&self, log: &LogRow) -> u64 {
        self.next.get(&log.log).copied().unwrap_or_default()
    }

    /// Entries of a log that were not read.
    pub(super) fn left(&self, log: &LogRow) -> u64 {
        log.size.saturating_sub(self.next(log))
    }

    /// Takes an entry; the exchange that ended with it. `is_wanted` is asked of openings.
    pub(super) fn take(
        &mut self,
        log: &LogRow,
        entry: &Found,
        is_wanted: impl Fn(&Found) -> bool,
    ) -> Option<ExchangeId> {
        self.next.insert(log.log, entry.index + 1);
        let read = entry.entry()?;
        let id = exchange(read)?;
        match &read.kind {
            Some(Kind::Opening(opening)) if !self.known.contains(&id) && is_wanted(entry) => {
                if !opening.refusal.is_empty() {
                    return Some(id);
                }
                self.wait(id);
                None
            }
            Some(Kind::Closing(_)) => self.waiting.remove(&id).then_some(id),
            _ => None,
        }
    }

    fn wait(&mut self, id: ExchangeId) {
        self.waiting.insert(id);
        self.order.push_back(id);
        while self.order.len() > WAITING_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.waiting.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use ura_evidence::{entry::Row, store::StoredRow};
    use ura_proto::v1::{Closing, Opening};

    use super::*;

    fn found(id: ExchangeId, index: u64, kind: Kind) -> Found {
        let row = Row::new(Some(id), 1, kind);
        let (leaf, columns, body) = (row.leaf, row.columns, Some(row.body));
        let stored = StoredRow { index, leaf, columns, removed_by: 0, body, subjects: Vec::new() };
        Found::of(&"l.example".into(), stored).expect("an entry")
    }

    fn log(number: i64, size: u64) -> LogRow {
        LogRow {
            log: number,
            origin: "l.example".to_owned(),
            gateway: "a/gateway".to_owned(),
            token: 1,
            holder: String::new(),
            previous_token: 0,
            previous_holder: String::new(),
            last_token: 1,
            beat: 0,
            renewed_us: 0,
            size,
            swept: 0,
            sealed: false,
            mark: Vec::new(),
        }
    }

    #[test]
    fn each_end_is_told_once_however_late_it_comes() {
        let id = |at: i64| ExchangeId::at(1_790_000_000_000_000 + at);
        let [open, ended, new, refused, other] = [1, 2, 3, 4, 5].map(id);
        let mut following = Following::from(&[log(1, 7)]);
        following.known(open, false);
        following.known(ended, true);
        let opening = || Kind::Opening(Opening { consumer: "a/b".to_owned(), ..Opening::default() });
        let refusal = || Kind::Opening(Opening { refusal: "GRANT_MISSING".to_owned(), ..Opening::default() });
        let closing = || Kind::Closing(Closing::default());
        let grown = log(1, 20);
        assert_eq!((following.next(&grown), following.left(&grown)), (7, 13));
        let mut told = Vec::new();
        for (index, (id, kind, wanted)) in [
            (new, opening(), true),
            (ended, opening(), true),
            (ended, closing(), true),
            (refused, refusal(), true),
            (other, opening(), false),
            (other, closing(), true),
            (open, closing(), true),
            (new, closing(), true),
        ]
        .into_iter()
        .enumerate()
        {
            let index = 7 + u64::try_from(index).expect("few");
            told.extend(following.take(&grown, &found(id, index, kind), |_| wanted));
        }
        assert_eq!(told, [refused, open, new]);
        assert_eq!(following.left(&grown), 5);
        assert_eq!(following.left(&log(2, 3)), 3, "a log that is new is read from its beginning");
    }
}
