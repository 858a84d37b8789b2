//! Roots that are known from elsewhere than the entries: checkpoints of the log and what the caller holds.

use ura_log::{Hash, checkpoint::Checkpoint, note::Note};

use super::{
    Cosigned, Held, SealedBy,
    keyring::Judged,
    problem::{Fault, FilePlace, Place, Problems},
    run::Run,
    tree::{Leaves, Root},
};
use crate::source::{Noted, layout::CHECKPOINT};

/// A checkpoint of the log that waits for its root.
#[derive(Debug)]
struct Mark {
    size: u64,
    root: Hash,
    note: Note,
    file: Option<FilePlace>,
    /// Keys that signed it; none: it could not be verified.
    by: Vec<usize>,
    cosigned: Vec<(usize, u64)>,
}

/// A checkpoint that the caller holds.
#[derive(Debug)]
struct HeldMark {
    root: Root,
    note: Note,
}

/// Roots and leaves to be compared.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Of the block that is being read, ascending by size.
    waiting: Vec<Mark>,
    /// All that the caller holds, ascending by size.
    held: Vec<HeldMark>,
    /// Entry and leaf hash, ascending.
    receipts: Vec<(u64, Hash)>,
    /// Held ones and receipts before these were compared.
    next_held: usize,
    next_receipt: usize,
    /// The largest checkpoint of a trusted key, and of the caller, that agreed.
    agreed: u64,
    agreed_held: u64,
    /// Whether a checkpoint since then did not: what follows from it is not told again.
    differs: bool,
    differs_untrusted: bool,
    differs_held: bool,
    told_unsigned: bool,
    told_other_log: bool,
    read: u64,
}

impl Marks {
    /// Takes what the caller holds.
    pub(super) fn new(origin: &str, size: u64, held: &[Held], problems: &mut Problems) -> Self {
        let mut marks = Self::default();
        for one in held {
            match marks.hold(origin, one) {
                Ok(()) => {}
                Err((number, problem)) => {
                    problems.add(Place::Held { number }, &Fault::BadHeld(problem));
                }
            }
        }
        marks.held.sort_by_key(|held| held.root.size);
        marks.receipts.sort_unstable();
        let largest = marks.held.last().map(|held| held.root.size).filter(|held| *held > size);
        if let Some(held) = largest {
            problems.add(Place::Entries { from: size, until: held }, &Fault::CutOff { size: held });
        } else if let Some((index, _)) = marks.receipts.last().filter(|(index, _)| *index >= size) {
            let place = Place::Entries { from: size, until: index.saturating_add(1) };
            problems.add(place, &Fault::CutOffReceipt { index: *index });
        }
        marks
    }

    fn hold(&mut self, origin: &str, held: &Held) -> Result<(), (u64, String)> {
        let other = |name: &str| format!("it is of the log {name:?}, and this is {origin:?}");
        match held {
            Held::Checkpoint(text) => {
                let note = Note::parse(text).map_err(|error| (0, error.to_string()))?;
                let read = Checkpoint::parse(&note.text).map_err(|error| (0, error.to_string()))?;
                if read.origin != origin {
                    return Err((read.size, other(&read.origin)));
                }
                self.held.push(HeldMark { root: Root { size: read.size, hash: read.root }, note });
            }
            Held::Receipt { origin: name, index, leaf_hash } => {
                if name != origin {
                    return Err((*index, other(name)));
                }
                self.receipts.push((*index, *leaf_hash));
            }
        }
        Ok(())
    }

    /// Roots up to a size that checkpoints name or the caller holds. They are hints: nothing is verified yet.
    pub(super) fn roots(&self, until: u64) -> Vec<Root> {
        let signed = self.waiting.iter().map(|mark| Root { size: mark.size, hash: mark.root });
        let held = self.held[self.next_held..].iter().map(|held| held.root);
        let mut roots: Vec<Root> = signed.chain(held.take_while(|root| root.size <= until)).collect();
        roots.sort_by_key(|root| root.size);
        roots
    }

    /// Whether the newest checkpoint of a trusted key does not agree with the entries, as was told.
    pub(super) const fn differs(&self) -> bool {
        self.differs
    }

    /// How many checkpoints of the log were read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Compares the receipts of an entry. Entries that are missing are told of otherwise.
    pub(super) fn compare_receipts(&mut self, index: u64, leaf: Option<Hash>, problems: &mut Problems) {
        while let Some((at, hash)) = self.receipts.get(self.next_receipt).filter(|(at, _)| *at <= index) {
            if *at == index && leaf.is_some_and(|leaf| leaf != *hash) {
                problems.add(Place::entry(index), &Fault::NotReceipt);
            }
            self.next_receipt += 1;
        }
    }
}

impl Run {
    /// Whether the checkpoint of an export is signed by any key that is known, so that the size it names is
    /// worth reading. A store names its size itself.
    pub(super) fn begins_soundly(&mut self) -> bool {
        let Some(note) = self.source.newest_note().and_then(|note| Note::parse(note).ok()) else {
            return true;
        };
        let judged = self.ring.judge(&note);
        if !judged.by.is_empty() {
            return true;
        }
        let place = Place::Checkpoint { size: self.size };
        let file = Some(FilePlace::whole(CHECKPOINT));
        for name in judged.bad {
            self.problems.add_in(place, file.clone(), &Fault::BadSignature(name));
        }
        for name in judged.unknown {
            self.problems.add_in(place, file.clone(), &Fault::UnknownSignature(name));
        }
        let what = "nothing else was verified: no known key of the log signed it".to_owned();
        self.problems.add_in(place, file, &Fault::Checkpoint(what));
        self.marks.read = 1;
        false
    }

    /// Reads the checkpoints of a block.
    pub(super) fn read_notes(&mut self, noted: Vec<Noted>) {
        for one in noted {
            self.marks.read += 1;
            match mark(&self.origin, &one) {
                Ok(mark) => self.marks.waiting.push(mark),
                Err(fault @ Fault::OtherLog(_)) => {
                    if !std::mem::replace(&mut self.marks.told_other_log, true) {
                        self.problems.add_in(Place::Log, one.file, &fault);
                    }
                }
                Err(fault) => {
                    let place = Place::Checkpoint { size: one.size };
                    self.problems.add_in(place, one.file, &fault);
                }
            }
        }
    }

    /// Verifies the signatures of the checkpoints of a block, whose entries may announce their keys.
    pub(super) fn judge_notes(&mut self) {
        for mut mark in std::mem::take(&mut self.marks.waiting) {
            let mut judged = self.ring.judge(&mark.note);
            let is_end = self.judge_end(mark.size, &mut judged);
            self.tell_judged(&mark, &judged, is_end);
            // One with a signature that is wrong was changed: its root is nobody's word.
            if !judged.by.is_empty() || judged.bad.is_empty() {
                (mark.by, mark.cosigned) = (judged.by, judged.cosigned);
                self.marks.waiting.push(mark);
            }
        }
    }

    /// Sorts out what other gateways signed: nothing but the checkpoint behind the entry by which they ended the
    /// log. Says whether it is that checkpoint.
    fn judge_end(&mut self, size: u64, judged: &mut Judged) -> bool {
        let seal = self.seal.as_ref().filter(|(index, _)| index.saturating_add(1) == size);
        let by = seal.map(|(_, by)| by.clone()).filter(|by| *by != self.origin);
        judged.by.retain(|number| match self.ring.other_log(*number) {
            Some(name) if by.as_deref() != Some(name) => {
                judged.unknown.push(name.to_owned());
                false
            }
            _ => true,
        });
        let Some(by) = by else { return false };
        let others = || judged.by.iter().filter(|number| self.ring.other_log(**number) == Some(&by));
        // One that only the export lists shows that it agrees with itself.
        let verified = others().any(|number| self.ring.trusts_number(*number));
        let signer = others().max_by_key(|number| self.ring.trusts_number(**number));
        self.sealer = signer.map(|number| self.ring.key(*number).clone());
        let named = judged.unknown.len();
        judged.unknown.retain(|name| *name != by);
        let is_end = self.sealer.is_some() || judged.unknown.len() < named;
        if is_end {
            self.sealed = Some(SealedBy { by, size, verified });
        }
        is_end
    }

    fn tell_judged(&mut self, mark: &Mark, judged: &Judged, is_end: bool) {
        let place = Place::Checkpoint { size: mark.size };
        let mut tell = |fault: Fault| self.problems.add_in(place, mark.file.clone(), &fault);
        for name in &judged.bad {
            tell(Fault::BadSignature(name.clone()));
        }
        for name in &judged.bad_cosigned {
            tell(Fault::BadCosignature(name.clone()));
        }
        if self.source.is_export() {
            for name in &judged.unknown {
                tell(Fault::UnknownSignature(name.clone()));
            }
        } else {
            let witnesses = judged.unknown.iter().filter(|name| **name != self.origin);
            self.unknown_cosignatures += u64::try_from(witnesses.count()).unwrap_or(u64::MAX);
        }
        let nobody = judged.by.is_empty() && judged.bad.is_empty();
        if nobody && !is_end && self.ring.has_announced() && !self.marks.told_unsigned {
            tell(Fault::NotSigned);
            self.marks.told_unsigned = true;
        }
    }

    /// Compares all roots that end in the block that was read.
    pub(super) fn compare_roots(&mut self, until: u64, leaves: &Leaves) {
        let waiting = std::mem::take(&mut self.marks.waiting);
        let sizes: Vec<u64> = waiting.iter().map(|mark| mark.size).collect();
        let main = self.main.roots(leaves, &sizes);
        let other = self.other.as_ref().map(|edge| edge.roots(leaves, &sizes));
        for (at, mark) in waiting.into_iter().enumerate() {
            let Some(root) = main[at] else { continue };
            let by_other = other.as_ref().is_some_and(|other| other[at] == Some(mark.root));
            self.compare(mark, root, by_other);
        }
        self.compare_held(until, leaves);
    }

    fn compare(&mut self, mark: Mark, root: Hash, by_other: bool) {
        if mark.root != root && !by_other {
            return self.differs(mark);
        }
        // Where the stored hashes of blocks gave the root, the entries below them were changed, as was told.
        if mark.root != root
            && let Some(other) = self.other.clone()
        {
            self.main = other;
        }
        if !mark.by.is_empty() {
            self.other = None;
        }
        if self.ring.agrees(&mark.by, mark.size, mark.root) {
            self.marks.agreed = mark.size;
            self.marks.differs = false;
            self.tail.signed(mark.size);
            self.removals.signed(mark.size);
        }
        self.marks.differs_untrusted = false;
        for (number, unix_s) in mark.cosigned {
            let (key, given) = self.ring.witness(number);
            let name = key.name().to_owned();
            let seen = self.cosigned.get(&number).map_or(0, |cosigned| cosigned.checkpoints);
            let cosigned = Cosigned { name, unix_s, size: mark.size, given, checkpoints: seen + 1 };
            self.cosigned.insert(number, cosigned);
        }
    }

    fn differs(&mut self, mark: Mark) {
        if mark.by.is_empty() {
            let place = Place::Checkpoint { size: mark.size };
            self.problems.add_in(place, mark.file, &Fault::Root);
            return;
        }
        let trusted = self.ring.trusts_one_of(&mark.by);
        let told = if trusted { &mut self.marks.differs } else { &mut self.marks.differs_untrusted };
        if !std::mem::replace(told, true) {
            let place = Place::Entries { from: self.marks.agreed, until: mark.size };
            self.problems.add_in(place, mark.file, &Fault::Rewritten { size: mark.size });
        }
    }

    fn compare_held(&mut self, until: u64, leaves: &Leaves) {
        let from = self.marks.next_held;
        let due = self.marks.held[from..].iter().take_while(|held| held.root.size <= until).count();
        self.marks.next_held += due;
        let sizes: Vec<u64> = self.marks.held[from..from + due].iter().map(|held| held.root.size).collect();
        let main = self.main.roots(leaves, &sizes);
        let other = self.other.as_ref().map(|edge| edge.roots(leaves, &sizes));
        for at in 0..due {
            let HeldMark { root, note } = &self.marks.held[from + at];
            let judged = self.ring.judge(note);
            let place = Place::Held { number: root.size };
            if let Some(name) = judged.bad.first() {
                let what = format!("the signature of {name:?} on it does not verify");
                self.problems.add(place, &Fault::BadHeld(what));
                continue;
            }
            let Some(found) = main[at] else { continue };
            let by_other = other.as_ref().is_some_and(|other| other[at] == Some(root.hash));
            let size = root.size;
            if found == root.hash || by_other {
                self.marks.agreed_held = size;
                self.marks.differs_held = false;
            } else if !std::mem::replace(&mut self.marks.differs_held, true) {
                let place = Place::Entries { from: self.marks.agreed_held, until: size };
                self.problems.add(place, &Fault::NotHeld { size, verified: !judged.by.is_empty() });
            }
        }
    }
}

/// Reads a checkpoint, which must be what it is kept as.
fn mark(origin: &str, noted: &Noted) -> Result<Mark, Fault> {
    let wrong = |what: String| Fault::Checkpoint(what);
    let note = Note::parse(&noted.note).map_err(|error| wrong(error.to_string()))?;
    let read = Checkpoint::parse(&note.text).map_err(|error| wrong(error.to_string()))?;
    if note.to_string() != noted.note {
        return Err(wrong("it is not spelled as notes are".to_owned()));
    }
    if read.origin != origin {
        return Err(Fault::OtherLog(read.origin));
    }
    if read.size != noted.size {
        return Err(wrong(format!("it stands for {} entries", read.size)));
    }
    let (by, cosigned) = (Vec::new(), Vec::new());
    Ok(Mark { size: read.size, root: read.root, note, file: noted.file.clone(), by, cosigned })
}
