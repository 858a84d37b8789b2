//! Closes exchanges that no process will close any more: their gateway ended before it could. What became
//! of them is unknown, and the closing says so. Knows which openings lack a closing; whether somebody
//! still has the exchange in hand is for the caller to know.

use ura_proto::v1::{Closing, Outcome, entry::Kind};

use crate::{
    entry::Row,
    find::exchange_of,
    store::{Reader, StoreError, StoredRow},
};

/// Closings written in one commit.
const CLOSINGS_AT_ONCE: u32 = 512;

/// Entries that are looked through at once.
const ENTRIES_AT_ONCE: u64 = 65_536;

/// gRPC status UNKNOWN.
const STATUS_UNKNOWN: u32 = 2;

/// A part of a log that is to be looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Number of the log in the store.
    pub(crate) log: i64,
    /// Index to go on at.
    pub(crate) next: u64,
    /// Index to end at: from here on everything was opened by processes that live.
    pub(crate) below: u64,
}

/// What one look found.
#[derive(Debug)]
pub(crate) struct Looked {
    /// Openings without a closing.
    pub(crate) unclosed: Vec<StoredRow>,
    /// Where the next look begins.
    pub(crate) upto: u64,
}

impl Sweep {
    /// Whether everything was looked through.
    pub(crate) const fn is_done(&self) -> bool {
        self.next >= self.below
    }

    /// Looks through the next entries.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn look(self, reader: Reader) -> Result<Looked, StoreError> {
        let below = self.below.min(self.next.saturating_add(ENTRIES_AT_ONCE));
        let unclosed = reader.unclosed(self.log, self.next, below, CLOSINGS_AT_ONCE).await?;
        let is_full = u32::try_from(unclosed.len()).is_ok_and(|found| found >= CLOSINGS_AT_ONCE);
        let upto = unclosed.last().filter(|_| is_full).map_or(below, |row| row.index + 1);
        Ok(Looked { unclosed, upto })
    }
}

/// The closing of an exchange of which nothing more is known; `None` where the opening carries no
/// exchange id, which no gateway writes.
pub(crate) fn closing(opening: &StoredRow, now_us: i64) -> Option<Row> {
    let exchange = exchange_of(&opening.columns.exchange)?;
    let closing = Closing { status: STATUS_UNKNOWN, outcome: Outcome::Unknown.into(), ..Closing::default() };
    Some(Row::new(Some(exchange), now_us, Kind::Closing(closing)))
}

#[cfg(test)]
mod tests {
    use ura_proto::ExchangeId;

    use super::*;
    use crate::entry::{self, Columns};

    #[test]
    fn a_closing_of_the_sweeper_says_that_nothing_is_known() {
        let id = ExchangeId::at(1_790_000_000_000_000);
        let opening = |exchange: Vec<u8>| StoredRow {
            index: 4,
            leaf: [0; 32],
            columns: Columns { kind: 10, exchange, ..Columns::default() },
            removed_by: 0,
            body: None,
            subjects: Vec::new(),
        };
        let row = closing(&opening(id.as_bytes().to_vec()), 77).expect("an exchange");
        let entry = entry::decode(&row.body).expect("an entry");
        assert_eq!((entry.exchange_id.as_slice(), entry.recorded_unix_us), (&id.as_bytes()[..], 77));
        let expected = Closing { status: 2, outcome: Outcome::Unknown.into(), ..Closing::default() };
        assert_eq!(entry.kind, Some(Kind::Closing(expected)));
        assert_eq!(super::closing(&opening(vec![1; 5]), 77), None);
    }
}
