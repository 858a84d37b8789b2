//! What of the accesses found comes onto a page, what is held back, and where the next page begins. Pure.
//!
//! What is held back leaves no trace in the answer: the page is filled up from what follows, and a next
//! page is announced only where something can be told on it. Only where very much is held back at one
//! place does a page end before it is full.

use std::collections::BTreeMap;

use ura_evidence::store::Cursor;
use ura_proto::v1::{Disclosure, Opening, Withheld};

/// Rows looked at for one page.
pub(super) const ROWS_MAX: usize = 2000;

/// Questions about accesses are not accesses themselves.
const OWN_METHODS: &str = "ura.v1.SubjectAccessService/";

/// What is done with an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is told.
    Told,
    /// Held back until then, microseconds since 1970-01-01 UTC; the largest value: when the grant says so.
    HeldBack(i64),
    /// It is none that anybody would be told.
    NotListed,
}

/// Decides on one access. `granted_from_us` is from when on its grant, as it is now, lets it be told; where
/// the grant is gone, what it said at the time counts. Times in microseconds since 1970-01-01 UTC; the
/// largest value: not while the grant says so.
pub(super) fn decide(opening: &Opening, granted_from_us: Option<i64>, now_us: i64) -> Verdict {
    if opening.method.starts_with(OWN_METHODS) {
        return Verdict::NotListed;
    }
    let from_us = granted_from_us.unwrap_or(opening.disclose_from_unix_us);
    if from_us == i64::MAX || from_us > now_us { Verdict::HeldBack(from_us) } else { Verdict::Told }
}

/// A page while it is filled, from the newest access on.
#[derive(Debug)]
pub(super) struct Page<T> {
    size: usize,
    told: Vec<T>,
    looked_at: usize,
    /// Accesses held back, by grant: how many, and the latest time until when.
    held_back: BTreeMap<String, (u32, i64)>,
    /// Those behind the last access that was told: they belong to this page only if it goes on behind them.
    behind: Vec<(String, i64)>,
    /// The last access that was told.
    last_told: Option<Cursor>,
    next: Option<Cursor>,
}

/// A page that is done.
#[derive(Debug)]
pub(super) struct Filled<T> {
    /// What is told, newest first.
    pub(super) told: Vec<T>,
    /// Where the next page goes on; `None` on the last one.
    pub(super) next: Option<Cursor>,
    /// What goes on record.
    pub(super) disclosure: Disclosure,
}

impl<T> Page<T> {
    /// An empty page for so many accesses.
    pub(super) fn new(size: usize) -> Self {
        let told = Vec::with_capacity(size);
        let (held_back, behind) = (BTreeMap::new(), Vec::new());
        Self { size, told, looked_at: 0, held_back, behind, last_told: None, next: None }
    }

    /// Takes the next older access in; returns whether the page can take more.
    pub(super) fn take(&mut self, place: Cursor, grant: &str, verdict: Verdict, access: T) -> bool {
        self.looked_at += 1;
        match verdict {
            Verdict::Told if self.told.len() == self.size => {
                // There is a next page, and it begins behind the last access told here.
                self.next = self.last_told;
                self.behind.clear();
                return false;
            }
            Verdict::Told => {
                self.told.push(access);
                self.last_told = Some(place);
                self.count();
            }
            Verdict::HeldBack(until_us) => self.behind.push((grant.to_owned(), until_us)),
            Verdict::NotListed => {}
        }
        if self.looked_at == ROWS_MAX {
            self.next = Some(place);
            return false;
        }
        true
    }

    /// Counts what was held back so far to this page.
    fn count(&mut self) {
        for (grant, until_us) in self.behind.drain(..) {
            let (accesses, latest_us) = self.held_back.entry(grant).or_insert((0, i64::MIN));
            *accesses += 1;
            *latest_us = until_us.max(*latest_us);
        }
    }

    /// The page as it is, when it can take no more or there is nothing left.
    pub(super) fn done(mut self) -> Filled<T> {
        self.count();
        let withheld = self.held_back.into_iter().map(|(grant, (accesses, until_unix_us))| Withheld {
            grant,
            accesses,
            until_unix_us,
        });
        let told = u32::try_from(self.told.len()).unwrap_or(u32::MAX);
        let disclosure = Disclosure { told, withheld: withheld.collect() };
        Filled { told: self.told, next: self.next, disclosure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000_000;
    const DAY: i64 = 86_400_000_000;

    #[test]
    fn the_grant_of_today_decides_and_else_the_record() {
        use crate::directory::Disclosure::{Delayed, Immediate, Withheld, WithheldUntil};
        let opening = |method: &str, disclose_from_unix_us| Opening {
            method: method.to_owned(),
            disclose_from_unix_us,
            ..Opening::default()
        };
        let read = |from| opening("a.B/C", from);
        for (opening, rule, verdict) in [
            (read(0), None, Verdict::Told),
            (read(NOW), None, Verdict::Told),
            (read(NOW + 1), None, Verdict::HeldBack(NOW + 1)),
            (read(i64::MAX), None, Verdict::HeldBack(i64::MAX)),
            (read(i64::MAX), Some(Immediate), Verdict::Told),
            (read(0), Some(Withheld), Verdict::HeldBack(i64::MAX)),
            (read(0), Some(Delayed { days: 2 }), Verdict::HeldBack(NOW + DAY)),
            (read(i64::MAX), Some(Delayed { days: 1 }), Verdict::Told),
            (read(0), Some(WithheldUntil { unix_us: NOW + 1 }), Verdict::HeldBack(NOW + 1)),
            (read(0), Some(WithheldUntil { unix_us: NOW }), Verdict::Told),
            (opening("ura.v1.SubjectAccessService/ListAccesses", 0), None, Verdict::NotListed),
            (opening("ura.v1.SubjectAccessService/ListAccesses", 0), Some(Withheld), Verdict::NotListed),
        ] {
            let granted_from_us = rule.map(|rule| rule.from_us(NOW - DAY));
            assert_eq!(decide(&opening, granted_from_us, NOW), verdict, "{opening:?} {rule:?}");
        }
        // "When the grant says so" does not come, not even at the end of time.
        assert_eq!(decide(&read(i64::MAX), None, i64::MAX), Verdict::HeldBack(i64::MAX));
    }

    /// Newest first; `t` is told, `h` and `i` are held back under grants of that name, `-` is not listed.
    /// Returns what is told, and where the next page begins, as positions; and what is on record.
    fn page(size: usize, accesses: &str) -> (Vec<u64>, Option<u64>, Vec<(String, u32)>) {
        let mut page = Page::new(size);
        for (index, access) in (0..).zip(accesses.chars()) {
            let verdict = match access {
                't' => Verdict::Told,
                '-' => Verdict::NotListed,
                _ => Verdict::HeldBack(1),
            };
            let place = Cursor { recorded_us: 0, log: 1, index };
            if !page.take(place, &access.to_string(), verdict, index) {
                break;
            }
        }
        let filled = page.done();
        assert_eq!(filled.told.len(), usize::try_from(filled.disclosure.told).expect("small"));
        let withheld = filled.disclosure.withheld.into_iter().map(|w| (w.grant, w.accesses));
        (filled.told, filled.next.map(|next| next.index), withheld.collect())
    }

    #[test]
    fn what_is_held_back_leaves_no_trace() {
        let held = |counts: &[(&str, u32)]| -> Vec<(String, u32)> {
            counts.iter().map(|(grant, count)| ((*grant).to_owned(), *count)).collect()
        };
        for (size, accesses, told, next, withheld) in [
            (2, "", vec![], None, held(&[])),
            (2, "tt", vec![0, 1], None, held(&[])),
            (2, "ttt", vec![0, 1], Some(1), held(&[])),
            // Filled up from behind.
            (2, "thht", vec![0, 3], None, held(&[("h", 2)])),
            // What stands behind the page is counted on the next one.
            (2, "thtiht", vec![0, 2], Some(2), held(&[("h", 1)])),
            // Nothing more can be told: the same as if there were nothing more.
            (2, "tthi", vec![0, 1], None, held(&[("h", 1), ("i", 1)])),
            (2, "hhh", vec![], None, held(&[("h", 3)])),
            (2, "-t-", vec![1], None, held(&[])),
            (1, "-t-t", vec![1], Some(1), held(&[])),
        ] {
            assert_eq!(page(size, accesses), (told, next, withheld), "{size} of {accesses:?}");
        }
    }

    #[test]
    fn each_access_is_counted_on_one_page() {
        let accesses = "hthtithhtttiihthh";
        for size in 1..6 {
            let (mut rest, mut told, mut held) = (accesses, 0, 0);
            loop {
                let (page, next, withheld) = page(size, rest);
                told += page.len();
                held += withheld.iter().map(|(_, count)| count).sum::<u32>();
                let Some(next) = next else { break };
                let behind = usize::try_from(next).expect("small") + 1;
                rest = rest.get(behind..).expect("ASCII");
            }
            assert_eq!((told, held), (7, 10), "pages of {size}");
        }
    }

    #[test]
    fn a_page_ends_after_so_many_rows() {
        let many = "h".repeat(ROWS_MAX) + "t";
        let end = u64::try_from(ROWS_MAX).expect("small") - 1;
        assert_eq!(page(2, &many), (vec![], Some(end), vec![("h".to_owned(), 2000)]));
        let one = format!("t{}", "h".repeat(ROWS_MAX));
        assert_eq!(page(1, &one), (vec![0], Some(end), vec![("h".to_owned(), 1999)]));
    }
}
