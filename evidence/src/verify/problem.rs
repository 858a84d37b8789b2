//! What verification found, and where: the vocabulary of faults, and the list that keeps one fault from
//! filling a thousand lines. Knows nothing of where a log is read from.

use std::{collections::HashMap, fmt, mem::Discriminant};

use crate::entry::EntryError;

/// Most problems that a report lists; what follows is only counted.
pub const PROBLEMS_MAX: usize = 100;

/// Where a problem is, as closely as the evidence tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The log as a whole.
    Log,
    /// Entries, from 0.
    Entries {
        /// First of them.
        from: u64,
        /// The one behind the last of them.
        until: u64,
    },
    /// The checkpoint of this size.
    Checkpoint {
        /// Entries that it covers.
        size: u64,
    },
    /// Hashes of full subtrees of 256^level leaves.
    Subtrees {
        /// Level of the tiles that hold them, from 1.
        level: u8,
        /// First of them, from 0.
        from: u64,
        /// The one behind the last of them.
        until: u64,
    },
    /// What the caller holds, not the log.
    Held {
        /// Size of the checkpoint, or index of the receipt.
        number: u64,
    },
    /// Only a file can be named.
    File,
}

impl Place {
    /// One entry.
    #[must_use]
    pub const fn entry(index: u64) -> Self {
        Self::Entries { from: index, until: index.saturating_add(1) }
    }

    /// One hash.
    #[must_use]
    pub const fn subtree(level: u8, index: u64) -> Self {
        Self::Subtrees { level, from: index, until: index.saturating_add(1) }
    }

    /// Whether it is, or contains, the entry with this index.
    #[must_use]
    pub fn covers(&self, index: u64) -> bool {
        match *self {
            Self::Log => true,
            Self::Entries { from, until } => (from..until).contains(&index),
            Self::Subtrees { level, from, until } => {
                let leaves = index.checked_shr(u32::from(level) * 8).unwrap_or(0);
                (from..until).contains(&leaves)
            }
            Self::Checkpoint { .. } | Self::Held { .. } | Self::File => false,
        }
    }

    /// The place that is this and the one right behind it; `None` where it is not right behind.
    fn and(self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Entries { from, until }, Self::Entries { from: then, until: end }) if until == then => {
                Some(Self::Entries { from, until: end })
            }
            (
                Self::Subtrees { level, from, until },
                Self::Subtrees { level: same, from: then, until: end },
            ) if until == then && level == same => Some(Self::Subtrees { level, from, until: end }),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Log => f.write_str("the log"),
            Self::Entries { from, until } if until == from.saturating_add(1) => write!(f, "entry {from}"),
            Self::Entries { from, until } => write!(f, "entries {from} to {}", until.saturating_sub(1)),
            Self::Checkpoint { size } => write!(f, "checkpoint of {size} entries"),
            Self::Subtrees { level, from, until } if until == from.saturating_add(1) => {
                write!(f, "the stored hash over {}", below(level, from, until))
            }
            Self::Subtrees { level, from, until } => {
                write!(f, "the stored hashes over {}", below(level, from, until))
            }
            Self::Held { number } => write!(f, "the checkpoint or receipt {number} that you hold"),
            Self::File => f.write_str("the export"),
        }
    }
}

/// The entries below hashes of a level.
fn below(level: u8, from: u64, until: u64) -> Place {
    let first =
        |index: u64| index.saturating_mul(1_u64.checked_shl(u32::from(level) * 8).unwrap_or(u64::MAX));
    Place::Entries { from: first(from), until: first(until) }
}

/// A place in an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// Path below the export's folder.
    pub path: String,
    /// Byte at which it begins, from 0; `None`: the whole file.
    pub offset: Option<u64>,
}

impl FilePlace {
    /// A byte of a file.
    pub(crate) fn at(path: &str, offset: u64) -> Self {
        Self { path: path.to_owned(), offset: Some(offset) }
    }

    /// A whole file.
    pub(crate) fn whole(path: &str) -> Self {
        Self { path: path.to_owned(), offset: None }
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.offset.map_or(Ok(()), |offset| write!(f, " at byte {offset}"))
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Where in the export, if it is one.
    pub file: Option<FilePlace>,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.place) {
            (Some(file), Place::File) => write!(f, "{file}: {}", self.what),
            (Some(file), place) => write!(f, "{place} ({file}): {}", self.what),
            (None, place) => write!(f, "{place}: {}", self.what),
        }
    }
}

/// Kinds of fault. Those of one kind at places that follow each other are one problem.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("missing")]
    Missing,
    #[error("the log's own row says that it has {size} entries: this is beyond")]
    BeyondSize { size: u64 },
    #[error("a row of table `{table}` with index {index}, where the log has no entry")]
    Stray { table: &'static str, index: i64 },
    #[error("the body does not have the leaf that stands beside it: the body was changed")]
    Body,
    #[error("the leaf that stands beside the body is not the body's: the leaf was changed")]
    Leaf,
    #[error("the hash of the leaf is not the leaf's: the hash was changed")]
    LeafHash,
    #[error("{0}")]
    NotAnEntry(EntryError),
    #[error("column {0} does not repeat what the entry says")]
    Columns(&'static str),
    #[error("column {0} still tells of an entry that was removed")]
    ColumnsOfRemoved(&'static str),
    #[error("{0}")]
    Subjects(&'static str),
    #[error("the body is gone, and no removal is named that took it")]
    NoBody,
    #[error("the body is still there, though it is said to have been removed by entry {0}")]
    BodyOfRemoved(u64),
    #[error("the bodies are gone, and entry {removal}, which is named as their removal, {wrong}")]
    Removal { removal: u64, wrong: &'static str },
    #[error("more than {0} removals are open at once; what they removed is not checked")]
    TooManyRemovals(usize),
    #[error("the stored hash is not the one of the {0} below it")]
    Subtree(&'static str),
    #[error("the stored hash is missing")]
    SubtreeMissing,
    #[error("a stored hash of a subtree that the log does not fill")]
    SubtreeStray,
    #[error("{0}")]
    Checkpoint(String),
    #[error("there are checkpoints of another log, {0:?}")]
    OtherLog(String),
    #[error("signature of `{0}`: it does not verify: the checkpoint was changed, or another key signed it")]
    BadSignature(String),
    #[error("cosignature of `{0}`: it does not verify")]
    BadCosignature(String),
    #[error("signature of `{0}`: of no key that is known here, so it could be anything")]
    UnknownSignature(String),
    #[error("signed by no key that is trusted, or that the log announces before it")]
    NotSigned,
    #[error(
        "they stand only under a checkpoint of {size} entries that no trusted key signed: whoever wrote it did not have the log's key"
    )]
    NotVouched { size: u64 },
    #[error("its root is not that of the entries")]
    Root,
    #[error("the entries are not those that the checkpoint of {size} entries, signed by the log, stands for")]
    Rewritten { size: u64 },
    #[error("the entries are not those of the checkpoint of {size} entries that you hold{0}", unsure(*.verified))]
    NotHeld { size: u64, verified: bool },
    #[error("you hold a checkpoint of {size} entries: the log was cut off")]
    CutOff { size: u64 },
    #[error("you hold a receipt of entry {index}: the log was cut off")]
    CutOffReceipt { index: u64 },
    #[error("it is not the entry of the receipt that you hold")]
    NotReceipt,
    #[error("a checkpoint of {size} entries is there: entries are missing")]
    CutOffSigned { size: u64 },
    #[error("nothing of it is signed by a trusted key")]
    NothingSigned,
    #[error(
        "they stand behind the newest checkpoint of a trusted key, of {size} entries, and nobody vouches for them: a gateway signs new entries within a minute"
    )]
    Unsigned { size: u64 },
    #[error(
        "they stand under nothing but the checkpoint by which {by:?} says that it ended the log, and no key of {by:?} is trusted here: give that one, too, with --key"
    )]
    EndNotVouched { by: String },
    #[error(
        "they stand under nothing but the checkpoint by which {by:?} ended the log: no checkpoint by the log's own key is there, and another gateway's key vouches for no log from its beginning"
    )]
    EndAlone { by: String },
    #[error(
        "it announces that key {new} takes the place of key {old}, and yet the old key signed a checkpoint of {size} entries behind it: whoever wrote that had the old key only"
    )]
    Superseded { old: String, new: String, size: u64 },
    #[error("what you hold cannot be compared: {0}")]
    BadHeld(String),
    #[error("{0}")]
    File(String),
    #[error("key {0}: {1}")]
    Key(String, &'static str),
    #[error("more than {0} keys; further ones are not known here")]
    TooManyKeys(usize),
    #[error("entries are missing, so the tree cannot be checked from here on")]
    TreeLost,
}

fn unsure(verified: bool) -> &'static str {
    if verified { "" } else { " (whose own signature could not be verified)" }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    more: u64,
    /// The newest problem of each kind, which a further one right behind it joins.
    newest: HashMap<(Discriminant<Fault>, u8), Newest>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    place: Place,
    /// Its place in the list; `None` where it is only counted.
    listed: Option<usize>,
}

impl Problems {
    /// Adds what was found.
    pub(crate) fn add(&mut self, place: Place, fault: &Fault) {
        self.add_in(place, None, fault);
    }

    /// Adds what was found in a file.
    pub(crate) fn add_in(&mut self, place: Place, file: Option<FilePlace>, fault: &Fault) {
        let level = if let Place::Subtrees { level, .. } = place { level } else { 0 };
        let kind = (std::mem::discriminant(fault), level);
        if let Some(newest) = self.newest.get_mut(&kind)
            && let Some(both) = newest.place.and(place)
        {
            newest.place = both;
            if let Some(problem) = newest.listed.and_then(|at| self.list.get_mut(at)) {
                problem.place = both;
            }
            return;
        }
        let listed = (self.list.len() < PROBLEMS_MAX).then_some(self.list.len());
        if listed.is_some() {
            self.list.push(Problem { place, file, what: fault.to_string() });
        } else {
            self.more = self.more.saturating_add(1);
        }
        self.newest.insert(kind, Newest { place, listed });
    }

    /// The problems, and how many more there are.
    pub(crate) fn finish(self) -> (Vec<Problem>, u64) {
        (self.list, self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_that_follow_each_other_are_one_problem() {
        let mut problems = Problems::default();
        for index in 5..900 {
            problems.add(Place::entry(index), &Fault::NoBody);
            problems.add(Place::subtree(1, index), &Fault::Subtree("entries"));
            problems.add(Place::subtree(2, index), &Fault::Subtree("hashes"));
        }
        problems.add(Place::entry(950), &Fault::NoBody);
        let (list, more) = problems.finish();
        let shown: Vec<String> = list.iter().map(|problem| problem.place.to_string()).collect();
        assert_eq!(
            shown,
            [
                "entries 5 to 899",
                "the stored hashes over entries 1280 to 230399",
                "the stored hashes over entries 327680 to 58982399",
                "entry 950"
            ]
        );
        assert_eq!(more, 0);
    }

    #[test]
    fn only_the_first_hundred_are_listed() {
        let mut problems = Problems::default();
        for index in 0..250 {
            problems.add(Place::entry(index * 2), &Fault::Body);
        }
        let (list, more) = problems.finish();
        assert_eq!((list.len(), more), (PROBLEMS_MAX, 150));
    }

    #[test]
    fn a_place_covers_its_entries() {
        assert!(Place::entry(7).covers(7) && !Place::entry(7).covers(8));
        assert!(Place::subtree(1, 1).covers(256) && !Place::subtree(1, 1).covers(255));
        assert!(Place::subtree(2, 0).covers(65_535) && !Place::subtree(2, 0).covers(65_536));
        assert!(!Place::subtree(255, 1).covers(u64::MAX));
        assert!(Place::Log.covers(3) && !Place::Checkpoint { size: 3 }.covers(3));
    }
}
