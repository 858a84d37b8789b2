//! Accounts of removed bodies: each Removal entry says how many entries it took and commits to their
//! indexes. The indexes are summed up as they pass, so that memory grows with removals, not with entries.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use ura_proto::v1::Removal;

use super::problem::{Fault, Place};

/// Most Removal entries that may be open at once: named by entries that passed, not reached themselves.
/// One holds about 200 bytes; a bus that prunes 100 contracts a day needs seven years to make so many.
const OPEN_MAX: usize = 1 << 18;

/// Entries that name one removal, so far.
struct Account {
    first: u64,
    last: u64,
    entries: u64,
    indexes: Context,
}

/// A removal whose entry is not signed yet: its index, and the first and the last entry that it took.
#[derive(Clone, Copy)]
struct Unsigned {
    removal: u64,
    first: u64,
    last: u64,
}

/// All removals that were named and not reached yet.
#[derive(Default)]
pub(crate) struct Removals {
    open: BTreeMap<u64, Account>,
    full: bool,
    /// Removals that account for what was taken in their name, and that no checkpoint covers so far.
    unsigned: Vec<Unsigned>,
    /// The first and the last entry of which nothing could be read: an account over them cannot be checked, and
    /// that they could not be read was told.
    unread: Option<(u64, u64)>,
    found: Vec<(Place, Fault)>,
}

impl Removals {
    /// Notes that the body of `index` was taken by entry `removal`. Indexes must ascend.
    pub(crate) fn took(&mut self, index: u64, removal: u64) {
        if removal <= index {
            let wrong = "was written before them";
            self.found.push((Place::entry(index), Fault::Removal { removal, wrong }));
            return;
        }
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(&removal) {
            if !self.full {
                self.found.push((Place::entry(index), Fault::TooManyRemovals(OPEN_MAX)));
            }
            self.full = true;
            return;
        }
        let account = self.open.entry(removal).or_insert_with(|| Account {
            first: index,
            last: index,
            entries: 0,
            indexes: Context::new(&SHA256),
        });
        account.last = index;
        account.entries += 1;
        account.indexes.update(&index.to_be_bytes());
    }

    /// Entry `index` is a Removal: compares what it says with what was taken in its name.
    pub(crate) fn reached(&mut self, index: u64, removal: &Removal) {
        let account = self.open.remove(&index);
        let sound = match &account {
            Some(account) => {
                account.entries == removal.entries
                    && (account.first, account.last) == (removal.first_index, removal.last_index)
                    && account.indexes.clone().finish().as_ref() == removal.indexes_digest
            }
            None => removal.entries == 0,
        };
        let doubtful = self
            .unread
            .is_some_and(|(first, last)| first <= removal.last_index && removal.first_index <= last);
        if let Some(Account { first, last, .. }) = account.as_ref().filter(|_| sound) {
            self.wait(Unsigned { removal: index, first: *first, last: *last });
        }
        if sound || self.full || doubtful {
            return;
        }
        // A body that came back or went too much lies between the ends that either side names.
        let (mut from, mut last) = (removal.first_index, removal.last_index);
        if let Some(account) = account {
            (from, last) = (from.min(account.first), last.max(account.last));
        }
        let wrong = "lists other entries than those whose bodies are gone";
        let until = last.saturating_add(1).min(index);
        let from = from.min(until);
        self.found.push((Place::Entries { from, until }, Fault::Removal { removal: index, wrong }));
    }

    /// Keeps a removal until it is signed. Very many of them become one.
    fn wait(&mut self, one: Unsigned) {
        if self.unsigned.len() >= OPEN_MAX
            && let Some(newest) = self.unsigned.last_mut()
        {
            let (first, last) = (newest.first.min(one.first), newest.last.max(one.last));
            *newest = Unsigned { removal: one.removal, first, last };
        } else {
            self.unsigned.push(one);
        }
    }

    /// A trusted key signed the first `size` entries, removals among them.
    pub(crate) fn signed(&mut self, size: u64) {
        self.unsigned.retain(|one| one.removal >= size);
    }

    /// Entry `index` is no Removal, or could not be read; in the second case nothing more is said of it.
    pub(crate) fn passed(&mut self, index: u64, readable: bool) {
        if self.open.is_empty() {
            return;
        }
        if let Some(account) = self.open.remove(&index)
            && readable
        {
            let place = Place::Entries { from: account.first, until: account.last.saturating_add(1) };
            self.found.push((place, Fault::Removal { removal: index, wrong: "is no removal" }));
        }
    }

    /// Nothing of entry `index` could be read.
    pub(crate) fn unread(&mut self, index: u64) {
        self.unread = Some((self.unread.map_or(index, |(first, _)| first), index));
        self.passed(index, false);
    }

    /// Removals that are named and would stand at `size` or behind it.
    pub(crate) fn named_from(&self, size: u64) -> Vec<u64> {
        self.open.range(size..).map(|(removal, _)| *removal).collect()
    }

    /// Entry `index` stands behind what is verified, and is a Removal: where it fits what was taken in its name, it may
    /// have been written while the log was read. It is not signed as far as is known here, so it excuses nothing.
    pub(crate) fn later(&mut self, index: u64, removal: &Removal) {
        let fits = self.open.get(&index).is_some_and(|account| {
            account.entries <= removal.entries
                && removal.first_index <= account.first
                && account.last <= removal.last_index
        });
        if fits && let Some(account) = self.open.remove(&index) {
            let place = Place::Entries { from: account.first, until: account.last.saturating_add(1) };
            let wrong = "was written while the log was read: verify it again";
            self.found.push((place, Fault::Removal { removal: index, wrong }));
        }
    }

    /// The end of the log: what is named beyond it does not exist. `disagrees`: the entries are not those that were
    /// signed, which was told; that no agreeing checkpoint covers a removal follows from it.
    pub(crate) fn finish(&mut self, disagrees: bool) {
        if disagrees {
            self.unsigned.clear();
        }
        // However many there are, it is one problem: the newest checkpoint does not reach that far.
        let all = std::mem::take(&mut self.unsigned).into_iter().reduce(|one, next| Unsigned {
            removal: one.removal.min(next.removal),
            first: one.first.min(next.first),
            last: one.last.max(next.last),
        });
        if let Some(Unsigned { removal, first, last }) = all {
            let place = Place::Entries { from: first, until: last.saturating_add(1) };
            let wrong = "is under no checkpoint of a trusted key, so that anybody may have written it: where the \
                         gateway has just removed them, verify again when it has signed that";
            self.found.push((place, Fault::Removal { removal, wrong }));
        }
        let Some((removal, _)) = self.open.first_key_value() else { return };
        // Where the log was cut off there may be many: they are one problem.
        let from = self.open.values().map(|account| account.first).min().unwrap_or(0);
        let last = self.open.values().map(|account| account.last).max().unwrap_or(0);
        let place = Place::Entries { from, until: last.saturating_add(1) };
        let wrong = "is not in the log";
        self.found.push((place, Fault::Removal { removal: *removal, wrong }));
    }

    /// What was found since this was asked last.
    pub(crate) fn drain(&mut self) -> Vec<(Place, Fault)> {
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal(indexes: &[u64]) -> Removal {
        let mut context = Context::new(&SHA256);
        for index in indexes {
            context.update(&index.to_be_bytes());
        }
        Removal {
            entries: u64::try_from(indexes.len()).expect("few"),
            first_index: *indexes.first().expect("some"),
            last_index: *indexes.last().expect("some"),
            indexes_digest: context.finish().as_ref().to_vec(),
            ..Removal::default()
        }
    }

    /// What is found when these were taken by entry 20, which says `told`.
    fn found(taken: &[u64], told: Option<&Removal>) -> Vec<Place> {
        let mut removals = Removals::default();
        for index in taken {
            removals.took(*index, 20);
        }
        match told {
            Some(told) => removals.reached(20, told),
            None => removals.passed(20, true),
        }
        removals.signed(100);
        removals.finish(false);
        removals.drain().into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn a_removal_that_nobody_signed_takes_nothing() {
        for (signed, sound) in [(0, false), (20, false), (21, true)] {
            let mut removals = Removals::default();
            removals.took(3, 20);
            removals.reached(20, &removal(&[3]));
            removals.signed(signed);
            removals.finish(false);
            let found: Vec<Place> = removals.drain().into_iter().map(|(place, _)| place).collect();
            assert_eq!(found, if sound { vec![] } else { vec![Place::entry(3)] }, "signed {signed}");
        }
    }

    #[test]
    fn a_removal_accounts_for_exactly_its_entries() {
        let told = removal(&[3, 5, 9]);
        assert_eq!(found(&[3, 5, 9], Some(&told)), []);
        let all = Place::Entries { from: 3, until: 10 };
        assert_eq!(found(&[3, 5], Some(&told)), [all]);
        assert_eq!(found(&[3, 6, 9], Some(&told)), [all]);
        assert_eq!(found(&[], Some(&told)), [all]);
        assert_eq!(found(&[1, 3, 5, 9], Some(&told)), [Place::Entries { from: 1, until: 10 }]);
        assert_eq!(found(&[3, 5, 9], None), [all]);
        assert_eq!(found(&[20], Some(&removal(&[20]))).first(), Some(&Place::entry(20)));
    }

    #[test]
    fn a_removal_that_is_not_there_takes_nothing() {
        let mut removals = Removals::default();
        removals.took(3, 50);
        removals.finish(false);
        let found = removals.drain();
        assert_eq!(found.len(), 1);
        let (place, fault) = &found[0];
        assert!(place.covers(3) && fault.to_string().contains("entry 50"), "{place}: {fault}");
    }

    #[test]
    fn a_removal_behind_the_end_is_told_apart_where_it_fits() {
        for (told, fits) in [(removal(&[2, 3, 5]), true), (removal(&[4, 5]), false), (removal(&[3]), false)] {
            let mut removals = Removals::default();
            removals.took(3, 50);
            removals.took(5, 50);
            assert_eq!(removals.named_from(20), [50]);
            removals.later(50, &told);
            removals.finish(false);
            let found = removals.drain();
            let told = found.iter().map(|(_, fault)| fault.to_string()).collect::<String>();
            assert_eq!((found.len(), told.contains("verify it again")), (1, fits), "{told}");
        }
    }

    #[test]
    fn an_account_over_what_could_not_be_read_is_not_told_again() {
        let mut removals = Removals::default();
        removals.took(3, 20);
        removals.unread(5);
        removals.reached(20, &removal(&[3, 5]));
        assert!(removals.drain().is_empty());
    }
}
