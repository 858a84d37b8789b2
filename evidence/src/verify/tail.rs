//! Entries behind the newest checkpoint that counts: when they say that they were recorded. A gateway signs within a
//! moment, so old ones without a signature are nobody's word. Pure.

/// How long an entry may wait for a checkpoint, in microseconds. A gateway signs at least once a minute.
const WAIT_US_MAX: u64 = 60_000_000;

/// The earliest and the latest time of some entries, in microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    earliest: i64,
    latest: i64,
}

impl Span {
    fn with(this: Option<Self>, recorded_us: i64) -> Self {
        let Self { earliest, latest } = this.unwrap_or(Self { earliest: recorded_us, latest: recorded_us });
        Self { earliest: earliest.min(recorded_us), latest: latest.max(recorded_us) }
    }
}

/// Entries that no checkpoint of a trusted key covers so far.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Those of blocks that are done.
    before: Option<Span>,
    /// Those of the block that is being read: at most 256.
    block: Vec<(u64, i64)>,
}

impl Tail {
    /// A new block begins.
    pub(super) fn next_block(&mut self) {
        for (_, recorded_us) in self.block.drain(..) {
            self.before = Some(Span::with(self.before, recorded_us));
        }
    }

    /// Entry `index` says when it was recorded. Indexes must ascend.
    pub(super) fn recorded(&mut self, index: u64, recorded_us: i64) {
        self.block.push((index, recorded_us));
    }

    /// Entry `index` says nothing of it.
    pub(super) fn unreadable(&mut self, index: u64) {
        self.recorded(index, i64::MIN);
    }

    /// A checkpoint that counts covers the first `size` entries, which end in the block that is being read.
    pub(super) fn signed(&mut self, size: u64) {
        self.before = None;
        self.block.retain(|(index, _)| *index >= size);
    }

    /// Whether all of them are so new that the gateway need not have signed them yet. Also one from the future is not:
    /// it would wait for ever.
    pub(super) fn is_new(&self, now_us: Option<i64>) -> bool {
        let Some(now_us) = now_us else { return false };
        let all = self.block.iter().fold(self.before, |all, (_, us)| Some(Span::with(all, *us)));
        all.is_some_and(|Span { earliest, latest }| {
            [earliest, latest].into_iter().all(|us| us.abs_diff(now_us) < WAIT_US_MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_without_a_signature_counts() {
        const NOW: i64 = 1_000_000_000;
        let new = |recorded: &[(u64, i64)], signed: u64| {
            let mut tail = Tail::default();
            for (index, us) in recorded {
                if index % 2 == 0 {
                    tail.next_block();
                }
                tail.recorded(*index, *us);
                if *index < signed {
                    tail.signed(index + 1);
                }
            }
            tail.is_new(Some(NOW))
        };
        assert!(new(&[(0, 5), (1, NOW - 59_999_999), (2, NOW)], 1));
        assert!(!new(&[(0, 5), (1, NOW - 60_000_000), (2, NOW)], 1));
        assert!(!new(&[(0, 5), (1, NOW), (2, NOW)], 0), "an older one is not signed either");
        assert!(!new(&[(0, 5), (1, NOW + 60_000_000)], 1));
        let mut tail = Tail::default();
        tail.recorded(0, NOW);
        assert!(tail.is_new(Some(NOW)) && !tail.is_new(None), "without a time nothing is new");
        tail.unreadable(1);
        assert!(!tail.is_new(Some(NOW)));
    }
}
