//! Which key of a log took the place of which, and whether the replaced ones kept silent since. Keys are numbers here.
//! Pure; knows no signature.

use std::collections::BTreeMap;

/// A checkpoint by a key whose successor had been announced, or had signed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late {
    /// The key that signed, and the one that should have.
    pub(super) old: usize,
    pub(super) new: usize,
    /// The entry that announced the new one.
    pub(super) index: u64,
    /// Size of the checkpoint.
    pub(super) size: u64,
}

/// The key of a checkpoint, and the place of the entry by which it came into force, plus 1; 0 for the first key.
type Reign = (u64, usize);

/// Changes of a log's key, and who signed since.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// By key: the entry by which it took the place of another.
    announced: BTreeMap<usize, u64>,
    /// The latest reign in which a checkpoint was signed, and that of the newest checkpoint.
    in_force: Reign,
    last: Reign,
    late: Option<Late>,
}

impl Changes {
    /// Entry `index` says that a key takes the place of the one before. Indexes ascend.
    pub(super) fn announced(&mut self, index: u64, key: usize) {
        // A writer may repeat the entry: what counts is from when on the key was known.
        self.announced.entry(key).or_insert(index);
    }

    /// These keys of the log signed a checkpoint that fits the entries. Sizes ascend.
    pub(super) fn signed(&mut self, by: &[usize], size: u64) {
        let reign = |key: &usize| {
            let announced = self.announced.get(key).filter(|index| **index < size);
            (announced.map_or(0, |index| index.saturating_add(1)), *key)
        };
        let Some(reign) = by.iter().map(reign).max() else { return };
        if reign.0 >= self.in_force.0 {
            self.in_force = reign;
        } else if self.late.is_none() {
            let (rank, new) = self.in_force;
            self.late = Some(Late { old: reign.1, new, index: rank.saturating_sub(1), size });
        }
        self.last = reign;
    }

    /// All was read, and the log's own key vouches for `own_size` entries.
    pub(super) fn finish(&self, own_size: u64) -> Option<Late> {
        // One behind that is nobody's word, and hides none before it.
        let announced = self.announced.iter().map(|(key, index)| (*index, *key));
        let covered = announced.filter(|(index, _)| *index < own_size).max();
        let missing = covered.filter(|(index, _)| self.last.0 != index.saturating_add(1));
        let missing = missing.map(|(index, new)| Late { old: self.last.1, new, index, size: own_size });
        self.late.or(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_key_signs_nothing_behind_its_successor() {
        let late = |old, new, index, size| Some(Late { old, new, index, size });
        // Keys 1 and 2 are announced by entries 4 and 9.
        type Signed = &'static [(usize, u64)];
        let table: [(Signed, Option<Late>); 9] = [
            (&[(0, 3)], None),
            (&[(0, 4)], None),
            (&[(0, 5)], late(0, 1, 4, 5)),
            (&[(0, 10)], late(0, 2, 9, 10)),
            (&[(0, 5), (1, 6), (2, 12)], None),
            (&[(0, 5), (2, 12)], None),
            (&[(0, 5), (1, 6), (0, 7), (2, 12)], late(0, 1, 4, 7)),
            (&[(0, 5), (1, 6), (1, 12)], late(1, 2, 9, 12)),
            (&[(0, 5), (2, 10), (1, 12), (2, 13)], late(1, 2, 9, 12)),
        ];
        for (signed, expected) in table {
            let mut changes = Changes::default();
            let end = signed.last().expect("some").1;
            for (index, key) in [(4, 1), (9, 2)] {
                changes.announced(index, key);
            }
            for (key, size) in signed {
                changes.signed(&[*key], *size);
            }
            assert_eq!(changes.finish(end), expected, "{signed:?}");
        }
    }
}
