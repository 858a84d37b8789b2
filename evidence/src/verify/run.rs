//! One verification under way: a block after the other, then what remains to be told.

use ura_log::{Hash, note::Key};

use super::{
    Cosigned, Report, SealedBy, Trust, VerifyError,
    keyring::{KEYS_MAX, Keyring, Proven, Superseded},
    marks::Marks,
    problem::{Fault, FilePlace, Place, Problems},
    removal::Removals,
    tail::Tail,
    tree::{BLOCK, Edge, Leaves, Said, block_hash, choose, leaf_hash},
};
use crate::{
    entry,
    source::{Block, Body, Found, Source, Subtree, layout::KEYS},
};
use std::collections::BTreeMap;
use ura_proto::v1::entry::Kind;

/// Blocks without any entry that are looked for one by one before the rest is given up.
const MISSING_BLOCKS_MAX: u64 = 1024;

/// A verification under way.
pub(super) struct Run {
    pub(super) source: Source,
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) problems: Problems,
    pub(super) ring: Keyring,
    pub(super) removals: Removals,
    pub(super) marks: Marks,
    pub(super) tail: Tail,
    /// What time it is, microseconds since 1970-01-01 UTC.
    now_us: Option<i64>,
    /// Whether the entries were read at all.
    was_read: bool,
    /// The tree that the entries give.
    pub(super) main: Edge,
    /// The tree that the stored hashes of blocks give, where it is another one.
    pub(super) other: Option<Edge>,
    pub(super) kinds: BTreeMap<i64, u64>,
    pub(super) removed: u64,
    pub(super) cosigned: BTreeMap<usize, Cosigned>,
    pub(super) unknown_cosignatures: u64,
    /// The newest entry by which a gateway ended the log, and the log of that gateway.
    pub(super) seal: Option<(u64, String)>,
    pub(super) sealed: Option<SealedBy>,
    /// The key that signed the end, where it is known.
    pub(super) sealer: Option<Key>,
    found: Vec<Found>,
}

impl Run {
    pub(super) fn new(source: Source, trust: &Trust) -> Self {
        let (origin, size) = (source.origin().to_owned(), source.size());
        let mut ring = Keyring::new(&origin, &trust.keys, &trust.witnesses);
        let mut problems = Problems::default();
        if !trust.keys.iter().any(|key| ring.is_of_log(key)) {
            let what = "no key of this name was given, so nothing it signed can be believed";
            problems.add(Place::Log, &Fault::Key(origin.clone(), what));
        }
        for key in source.own_keys() {
            if key.kind() == ura_log::note::Kind::CosignatureV1 {
                ring.list_witness(key.clone());
            } else if ring.is_of_log(key) {
                ring.learn(key, None);
            } else if !ring.list_other(key) {
                problems.add(Place::Log, &Fault::TooManyKeys(KEYS_MAX));
            }
        }
        let marks = Marks::new(&origin, size, &trust.held, &mut problems);
        Self {
            source,
            origin,
            size,
            problems,
            ring,
            removals: Removals::default(),
            marks,
            tail: Tail::default(),
            now_us: trust.now_us,
            was_read: false,
            main: Edge::default(),
            other: None,
            kinds: BTreeMap::new(),
            removed: 0,
            cosigned: BTreeMap::new(),
            unknown_cosignatures: 0,
            seal: None,
            sealed: None,
            sealer: None,
            found: Vec::new(),
        }
    }

    /// Reads all entries.
    pub(super) async fn entries(&mut self, progress: &mut impl FnMut(u64, u64)) -> Result<(), VerifyError> {
        let mut missing = 0;
        self.was_read = true;
        // An empty log still may have a checkpoint.
        for number in 0..self.size.div_ceil(BLOCK).max(1) {
            let from = number * BLOCK;
            let until = from.saturating_add(BLOCK).min(self.size);
            let block = self.source.block(number, &mut self.found).await?;
            self.drain();
            missing += u64::from(block.entries.is_empty());
            if missing > MISSING_BLOCKS_MAX {
                self.problems.add(Place::Entries { from, until: self.size }, &Fault::Missing);
                break;
            }
            self.block(number, from, until, &block).await?;
            progress(until, self.size);
        }
        Ok(())
    }

    async fn block(&mut self, number: u64, from: u64, until: u64, block: &Block) -> Result<(), VerifyError> {
        let first_size = if number == 0 { 0 } else { from + 1 };
        let noted = self.source.notes(first_size, until, &mut self.found).await?;
        let full = until - from == BLOCK;
        let stored =
            if full { self.source.subtree(1, number, &mut self.found).await? } else { Subtree::Unread };
        self.drain();
        self.tail.next_block();
        let width = usize::try_from(until - from).expect("at most 256");
        let mut said = vec![Said::default(); width];
        for seen in &block.entries {
            let Some(slot) = usize::try_from(seen.index - from).ok().and_then(|at| said.get_mut(at)) else {
                continue;
            };
            let body = match &seen.body {
                Body::Here { reading, .. } => Some(leaf_hash(&reading.leaf)),
                _ => None,
            };
            *slot = Said { body, leaf: seen.leaf.as_ref().map(leaf_hash), tile: seen.tile };
        }
        self.read_notes(noted);
        let other = self.other.as_ref().unwrap_or(&self.main);
        let known = match stored {
            Subtree::Hash(hash) => Some(hash),
            _ => None,
        };
        let leaves = choose(&said, known, [&self.main, other], &self.marks.roots(until));
        self.told_by(from, block, &said, &leaves);
        self.drain_removals();
        self.judge_notes();
        self.compare_roots(until, &leaves);
        if full {
            self.close(number, &leaves, stored).await?;
        }
        Ok(())
    }

    /// A full block is read: compares its hash, and those of the subtrees that it completes.
    async fn close(&mut self, number: u64, leaves: &Leaves, stored: Subtree) -> Result<(), VerifyError> {
        let (here, there) = match (block_hash(leaves), stored) {
            (Some(hash), Subtree::Hash(stored)) if hash != stored => {
                let file = self.source.subtree_file(1, number);
                self.problems.add_in(Place::subtree(1, number), file, &Fault::Subtree("entries"));
                (hash, stored)
            }
            (Some(hash), Subtree::Missing) => {
                self.problems.add(Place::subtree(1, number), &Fault::SubtreeMissing);
                (hash, hash)
            }
            (Some(hash), _) => (hash, hash),
            // Entries are missing: the stored hash stands for them, and signed roots will tell whether rightly.
            (None, Subtree::Hash(stored)) => (stored, stored),
            (None, _) => {
                if self.main.is_known() && (number + 1) * BLOCK < self.size {
                    self.problems.add(Place::Log, &Fault::TreeLost);
                }
                self.main.lose();
                self.other = None;
                return Ok(());
            }
        };
        if here != there && self.other.is_none() {
            self.other = Some(self.main.clone());
        }
        let above = self.main.push(here);
        let other = self.other.as_mut().map(|edge| edge.push(there)).unwrap_or_default();
        for (place, (level, index, hash)) in above.into_iter().enumerate() {
            let other = other.get(place).map(|(_, _, hash)| *hash);
            self.above(level, index, hash, other).await?;
        }
        Ok(())
    }

    /// Compares a stored hash of level 2 and up.
    async fn above(
        &mut self,
        level: u8,
        index: u64,
        hash: Hash,
        other: Option<Hash>,
    ) -> Result<(), VerifyError> {
        let stored = self.source.subtree(level, index, &mut self.found).await?;
        self.drain();
        let fault = match stored {
            Subtree::Missing => Fault::SubtreeMissing,
            Subtree::Hash(stored) if stored != hash && Some(stored) != other => Fault::Subtree("hashes"),
            _ => return Ok(()),
        };
        let file = self.source.subtree_file(level, index);
        self.problems.add_in(Place::subtree(level, index), file, &fault);
        Ok(())
    }

    /// Tells of what the source found by itself.
    fn drain(&mut self) {
        for found in self.found.drain(..) {
            self.problems.add_in(found.place, found.file, &found.fault);
        }
    }

    /// Tells of removals that do not account for what was taken in their name.
    fn drain_removals(&mut self) {
        for (place, fault) in self.removals.drain() {
            let file = self.source.bodies_file(place);
            self.problems.add_in(place, file, &fault);
        }
    }

    /// Learns the keys that entry `index` announces.
    pub(super) fn announced(&mut self, index: u64, keys: &[Key]) {
        for key in keys {
            if !self.ring.learn(key, Some(index)) {
                self.problems.add(Place::Log, &Fault::TooManyKeys(KEYS_MAX));
            }
        }
    }

    /// What remains to be told when all is read.
    pub(super) async fn rest(&mut self) -> Result<(), VerifyError> {
        self.source.beyond(&mut self.found).await?;
        self.drain();
        self.later_removals().await?;
        self.removals.finish(self.marks.differs());
        self.drain_removals();
        for key in self.source.own_keys().iter().filter(|key| key.kind() == ura_log::note::Kind::Ed25519) {
            // The key of the gateway that ended the log is announced in that one's own log.
            if !self.ring.trusts(key) && self.sealer.as_ref() != Some(key) {
                let fault = Fault::Key(key.to_string(), "it was not given, and no signed entry announces it");
                self.problems.add_in(Place::File, Some(FilePlace::whole(KEYS)), &fault);
            }
        }
        Ok(())
    }

    /// The report.
    pub(super) fn finish(mut self) -> Report {
        self.source.own_faults(&mut self.found);
        self.drain();
        let proven = self.ring.finish();
        self.tell_unsigned(&proven);
        if let Some(Superseded { old, new, index, size }) = &proven.superseded {
            let (old, new) = (old.to_string(), new.to_string());
            self.problems.add(Place::entry(*index), &Fault::Superseded { old, new, size: *size });
        }
        let (problems, more_problems) = self.problems.finish();
        Report {
            origin: self.origin,
            size: self.size,
            signed_size: proven.size,
            own_size: proven.own_size,
            root: proven.root,
            exchanges: self.kinds.get(&entry::kind::OPENING).copied().unwrap_or(0),
            kinds: self.kinds,
            removed: self.removed,
            unsigned: self.size.saturating_sub(proven.size),
            checkpoints: self.marks.read(),
            unverifiable: proven.unverifiable,
            sealed: self.sealed,
            cosignatures: self.cosigned.into_values().collect(),
            unknown_cosignatures: self.unknown_cosignatures,
            keys: proven.keys,
            problems,
            more_problems,
        }
    }

    /// Tells of entries for which nobody who is trusted vouches.
    fn tell_unsigned(&mut self, proven: &Proven) {
        if !self.was_read {
            // Why not was told.
            return;
        }
        if let Some(size) = proven.not_vouched {
            let place = Place::Entries { from: proven.size, until: size };
            let fault = match &self.sealed {
                Some(sealed) if sealed.size == size && sealed.verified => {
                    Fault::EndAlone { by: sealed.by.clone() }
                }
                Some(sealed) if sealed.size == size => Fault::EndNotVouched { by: sealed.by.clone() },
                _ => Fault::NotVouched { size },
            };
            return self.problems.add(place, &fault);
        }
        if proven.size == 0 {
            return self.problems.add(Place::Log, &Fault::NothingSigned);
        }
        if proven.size >= self.size || self.marks.differs() {
            return;
        }
        // Nothing comes after the end of a log, or after the checkpoint at which an export ends.
        let goes_on = self.sealed.is_none() && self.source.goes_on();
        if !goes_on || !self.tail.is_new(self.now_us) {
            let place = Place::Entries { from: proven.size, until: self.size };
            self.problems.add(place, &Fault::Unsigned { size: proven.size });
        }
    }

    /// Bodies may be removed while the log is read, by an entry that stands behind the size it had when
    /// reading began. That entry is not verified: only told apart.
    async fn later_removals(&mut self) -> Result<(), VerifyError> {
        for index in self.removals.named_from(self.size) {
            let Some(body) = self.source.later(index).await? else { continue };
            if let Ok(entry) = entry::decode(&body)
                && let Some(Kind::Removal(removal)) = entry.kind
            {
                self.removals.later(index, &removal);
            }
        }
        Ok(())
    }
}
