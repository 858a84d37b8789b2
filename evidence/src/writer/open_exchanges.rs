//! Exchanges that this process opened and has not closed: nobody else may close them, and as long as one
//! is open the log behind it is not swept. Pure.

use std::collections::{HashMap, HashSet};

use crate::entry::{Row, kind};

/// Open exchanges by id, each with the index of its opening.
#[derive(Debug, Default)]
pub(super) struct OpenExchanges {
    open: HashMap<[u8; 16], u64>,
    /// Those that were closed since somebody began to look for unclosed ones: that look may not have seen it.
    closed: Option<HashSet<[u8; 16]>>,
}

impl OpenExchanges {
    /// Notes a row that is on disk.
    pub(super) fn written(&mut self, row: &Row, index: u64) {
        let columns = &row.columns;
        // Entries of the log itself have no exchange.
        let Ok(exchange) = <[u8; 16]>::try_from(columns.exchange.as_slice()) else { return };
        if columns.kind == kind::OPENING && columns.reason.is_empty() {
            self.open.insert(exchange, index);
        } else if columns.kind == kind::CLOSING {
            self.open.remove(&exchange);
            if let Some(closed) = &mut self.closed {
                closed.insert(exchange);
            }
        }
    }

    /// Somebody begins to look for unclosed ones.
    pub(super) fn look_begins(&mut self) {
        self.closed = Some(HashSet::new());
    }

    /// What that look found is dealt with.
    pub(super) fn look_ends(&mut self) {
        self.closed = None;
    }

    /// Whether an exchange is open here, or was when the present look began.
    pub(super) fn contains(&self, exchange: &[u8]) -> bool {
        <[u8; 16]>::try_from(exchange).is_ok_and(|exchange| {
            self.open.contains_key(&exchange)
                || self.closed.as_ref().is_some_and(|closed| closed.contains(&exchange))
        })
    }

    /// Index of the first opening that is not closed.
    pub(super) fn first(&self) -> Option<u64> {
        self.open.values().min().copied()
    }

    /// Forgets where the openings stand: the log goes on under another name.
    pub(super) fn moved(&mut self) {
        self.open.values_mut().for_each(|index| *index = 0);
    }
}

#[cfg(test)]
mod tests {
    use ura_proto::{
        ExchangeId,
        v1::{Closing, Opening, entry::Kind},
    };

    use super::*;

    #[test]
    fn an_exchange_is_open_between_its_opening_and_its_closing() {
        let mut open = OpenExchanges::default();
        let ids = [1, 2, 3].map(ExchangeId::at);
        let opening = |id, refusal: &str| {
            let opening = Opening { refusal: refusal.into(), ..Opening::default() };
            Row::new(Some(id), 1, Kind::Opening(opening))
        };
        open.written(&opening(ids[0], ""), 4);
        open.written(&opening(ids[1], "GRANT_MISSING"), 5);
        open.written(&opening(ids[2], ""), 6);
        assert_eq!(ids.map(|id| open.contains(id.as_bytes())), [true, false, true]);
        assert_eq!(open.first(), Some(4));
        open.written(&Row::new(Some(ids[0]), 2, Kind::Closing(Closing::default())), 7);
        assert_eq!((open.contains(ids[0].as_bytes()), open.first()), (false, Some(6)));
        // A look that began before the closing does not see it.
        open.look_begins();
        open.written(&Row::new(Some(ids[2]), 3, Kind::Closing(Closing::default())), 8);
        assert_eq!((open.contains(ids[2].as_bytes()), open.first()), (true, None));
        open.look_ends();
        assert!(!open.contains(ids[2].as_bytes()));
    }
}
