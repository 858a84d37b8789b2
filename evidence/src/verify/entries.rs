//! What the entries of a block say once it is known which of their sources is right.

use super::{
    problem::{Fault, FilePlace, Place},
    reading::{Facts, Reading, Told},
    run::Run,
    tree::{Leaves, Said},
};
use crate::source::{Block, Body, Seen};

/// A leaf in its bundle of an export: two bytes of length before it.
const LEAF_BYTES: u64 = 34;
/// A hash in a tile.
const HASH_BYTES: u64 = 32;

impl Run {
    /// Takes up what the entries of a block say, and tells what is wrong with each.
    pub(super) fn told_by(&mut self, from: u64, block: &Block, said: &[Said], leaves: &Leaves) {
        let mut next = from;
        let until = from.saturating_add(u64::try_from(leaves.len()).unwrap_or(u64::MAX));
        for seen in &block.entries {
            self.missing(next, seen.index);
            next = seen.index.saturating_add(1);
            let at = usize::try_from(seen.index - from).unwrap_or(usize::MAX);
            if let (Some(said), Some(leaf)) = (said.get(at), leaves.get(at)) {
                let right = self.sources_agree(seen, block, said, *leaf);
                self.take_up(seen, block, right);
            }
        }
        self.missing(next, until);
    }

    fn missing(&mut self, from: u64, until: u64) {
        if from < until {
            self.problems.add(Place::Entries { from, until }, &Fault::Missing);
            for index in from..until {
                self.tail.unreadable(index);
                self.removals.unread(index);
            }
        }
    }

    /// Tells which of the sources of an entry is wrong; `true`: its body is not.
    fn sources_agree(
        &mut self,
        seen: &Seen,
        block: &Block,
        said: &Said,
        leaf: Option<ura_log::Hash>,
    ) -> bool {
        let place = Place::entry(seen.index);
        let at = seen.index % super::tree::BLOCK;
        let wrong = |hash: Option<ura_log::Hash>| hash.is_some() && hash != leaf;
        let files = block.files.as_ref();
        if wrong(said.leaf) {
            let file = files.map(|files| FilePlace::at(&files.leaves, at * LEAF_BYTES));
            self.problems.add_in(place, file, &Fault::Leaf);
        }
        if wrong(said.tile) {
            let file = files.map(|files| FilePlace::at(&files.tile, at * HASH_BYTES));
            self.problems.add_in(place, file, &Fault::LeafHash);
        }
        if wrong(said.body) {
            self.problems.add_in(place, body_file(seen, block), &Fault::Body);
        }
        self.marks.compare_receipts(seen.index, leaf, &mut self.problems);
        !wrong(said.body)
    }

    fn take_up(&mut self, seen: &Seen, block: &Block, right: bool) {
        let (index, place, file) = (seen.index, Place::entry(seen.index), body_file(seen, block));
        match &seen.body {
            Body::Here { reading: Reading { facts: Ok(facts), .. }, .. } if right => {
                self.tail.recorded(index, facts.recorded_us);
            }
            _ => self.tail.unreadable(index),
        }
        match &seen.body {
            Body::Here { reading, removed_by } => {
                if let Some(removal) = removed_by {
                    self.problems.add_in(place, file.clone(), &Fault::BodyOfRemoved(*removal));
                }
                match (right, reading) {
                    (true, Reading { facts: Ok(facts), .. }) => self.facts(index, facts, file),
                    (true, Reading { facts: Err(fault), .. }) => {
                        self.problems.add_in(place, file, fault);
                        self.removals.passed(index, false);
                    }
                    // What a changed body says is nobody's word.
                    (false, _) => self.removals.passed(index, false),
                }
            }
            Body::Gone { removed_by, faults } => {
                self.removals.passed(index, true);
                match removed_by {
                    Some(removal) => {
                        self.removed += 1;
                        for fault in faults {
                            self.problems.add_in(place, file.clone(), fault);
                        }
                        self.removals.took(index, *removal);
                    }
                    None => self.problems.add_in(place, file, &Fault::NoBody),
                }
            }
            Body::Unread => self.removals.unread(index),
        }
    }

    fn facts(&mut self, index: u64, facts: &Facts, file: Option<FilePlace>) {
        *self.kinds.entry(facts.kind).or_default() += 1;
        for fault in &facts.faults {
            self.problems.add_in(Place::entry(index), file.clone(), fault);
        }
        match &facts.told {
            Told::Removal(removal) => return self.removals.reached(index, removal),
            Told::Keys(keys) => self.announced(index, keys),
            Told::KeyChange(keys) => {
                self.announced(index, keys);
                if let [_, new] = &keys[..] {
                    self.ring.changed(new, index);
                }
            }
            Told::Seal(by) => self.seal = Some((index, by.clone())),
            Told::Nothing => {}
        }
        self.removals.passed(index, true);
    }
}

/// Where the body of an entry stands in an export.
fn body_file(seen: &Seen, block: &Block) -> Option<FilePlace> {
    block.files.as_ref().map(|files| FilePlace::at(&files.bodies, seen.offset))
}
