//! Keys and what they signed: the ones that the caller trusts, the ones that the log itself announces, and
//! which of the latter may be believed. Pure; knows neither tree nor place of storage.

#[cfg(test)]
mod tests;

use ura_log::{
    Hash,
    note::{Key, Kind, Note, NoteSignature},
    tree::empty_root,
};

use super::succession::{Changes, Late};

/// Most keys of a log that are told apart. A key a day is one for 2.8 years.
pub(crate) const KEYS_MAX: usize = 1024;

/// A key of the log, and what it signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUsed {
    /// The key.
    pub key: Key,
    /// Whether the caller gave it; else the log announces it under a checkpoint that a trusted key signed.
    pub given: bool,
    /// Checkpoints that it signed and that agree with the entries.
    pub checkpoints: u64,
    /// Size of the largest of them.
    pub newest_size: u64,
}

struct Known {
    key: Key,
    given: bool,
    /// The first entry that announces it.
    announced: Option<u64>,
    /// Whether the caller gave it, or it is announced where a trusted key vouches.
    trusted: bool,
    checkpoints: u64,
    /// The largest checkpoint that it signed and that agrees with the entries.
    newest: Option<(u64, Hash)>,
}

impl Known {
    /// A key that signed nothing yet.
    fn of(key: &Key, announced: Option<u64>) -> Self {
        Self { key: key.clone(), given: false, announced, trusted: false, checkpoints: 0, newest: None }
    }
}

/// The signatures of a checkpoint, sorted.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Known keys of the log that signed: their numbers in the ring.
    pub(crate) by: Vec<usize>,
    /// Witnesses that cosigned: their numbers in the ring, and when, in seconds since 1970.
    pub(crate) cosigned: Vec<(usize, u64)>,
    /// Names of known log keys whose signature does not verify.
    pub(crate) bad: Vec<String>,
    /// Names of known witnesses whose signature does not verify.
    pub(crate) bad_cosigned: Vec<String>,
    /// Names of signatures by no known key.
    pub(crate) unknown: Vec<String>,
}

/// All keys known so far.
pub(crate) struct Keyring {
    origin: String,
    known: Vec<Known>,
    witnesses: Vec<(Key, bool)>,
    /// Size and root of the largest checkpoint that a trusted key of the log's own signed and that agrees.
    own: Option<(u64, Hash)>,
    /// What has to follow from changes of the key.
    changes: Changes,
    /// The largest checkpoint that no known key signed.
    unsigned: u64,
    /// How many of them.
    unverifiable: u64,
}

/// A checkpoint by a key that another one had replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superseded {
    /// The key that signed, and the one that should have.
    pub(crate) old: Key,
    pub(crate) new: Key,
    /// The entry that announced the new one.
    pub(crate) index: u64,
    /// Size of the checkpoint.
    pub(crate) size: u64,
}

/// What the keys prove in the end.
pub(crate) struct Proven {
    /// Entries that a trusted key vouches for.
    pub(crate) size: u64,
    /// Their root.
    pub(crate) root: Hash,
    /// Entries that a trusted key of the log's own vouches for; the others have the word of the gateway that ended it.
    pub(crate) own_size: u64,
    /// A checkpoint by a key that had been replaced.
    pub(crate) superseded: Option<Superseded>,
    /// Trusted keys that signed.
    pub(crate) keys: Vec<KeyUsed>,
    /// The largest checkpoint beyond `size`, which nobody who is trusted vouches for.
    pub(crate) not_vouched: Option<u64>,
    /// Checkpoints whose signature could not be verified, but whose root agrees.
    pub(crate) unverifiable: u64,
}

impl Keyring {
    /// A ring with the keys that the caller trusts.
    pub(crate) fn new(origin: &str, given: &[Key], witnesses: &[Key]) -> Self {
        let mut ring = Self {
            origin: origin.to_owned(),
            known: Vec::new(),
            witnesses: witnesses.iter().map(|key| (key.clone(), true)).collect(),
            own: None,
            changes: Changes::default(),
            unsigned: 0,
            unverifiable: 0,
        };
        for key in given {
            // Keys of other logs too: another gateway may have ended this one.
            if key.kind() == Kind::Ed25519 && ring.number(key).is_none() {
                ring.known.push(Known { given: true, trusted: true, ..Known::of(key, None) });
            }
        }
        ring
    }

    /// Whether a key is of the kind and name that sign this log.
    pub(crate) fn is_of_log(&self, key: &Key) -> bool {
        key.kind() == Kind::Ed25519 && key.name() == self.origin
    }

    /// The log to which a key belongs, where that is another one.
    pub(crate) fn other_log(&self, number: usize) -> Option<&str> {
        let name = self.known[number].key.name();
        (name != self.origin).then_some(name)
    }

    /// Learns of a witness from the export itself.
    pub(crate) fn list_witness(&mut self, key: Key) {
        if !self.witnesses.iter().any(|(known, _)| *known == key) {
            self.witnesses.push((key, false));
        }
    }

    /// Learns of a key of the log that is not trusted yet: entry `index` announces it, or the export lists
    /// it. `false`: there are too many.
    pub(crate) fn learn(&mut self, key: &Key, index: Option<u64>) -> bool {
        if !self.is_of_log(key) {
            return true;
        }
        let Some(number) = self.number(key) else {
            if self.known.len() >= KEYS_MAX {
                return false;
            }
            self.known.push(Known::of(key, index));
            return true;
        };
        let known = &mut self.known[number];
        // Entries pass in order, so the first announcement is the smallest.
        known.announced = known.announced.or(index);
        true
    }

    /// Entry `index` says that this key takes the place of the one before. It was learned already.
    pub(crate) fn changed(&mut self, key: &Key, index: u64) {
        if let Some(number) = self.number(key).filter(|_| self.is_of_log(key)) {
            self.changes.announced(index, number);
        }
    }

    /// Learns of a key of another log that the export lists: perhaps of the gateway that ended this one. It is not
    /// trusted. `false`: there are too many.
    pub(crate) fn list_other(&mut self, key: &Key) -> bool {
        if self.number(key).is_none() {
            if self.known.len() >= KEYS_MAX {
                return false;
            }
            self.known.push(Known::of(key, None));
        }
        true
    }

    /// A key, by its number.
    pub(crate) fn key(&self, number: usize) -> &Key {
        &self.known[number].key
    }

    /// Whether a key is a trusted one, by its number.
    pub(crate) fn trusts_number(&self, number: usize) -> bool {
        self.known[number].trusted
    }

    /// Whether the log has announced any key so far.
    pub(crate) fn has_announced(&self) -> bool {
        self.known.iter().any(|known| known.announced.is_some())
    }

    /// Whether a key may be believed, as far as is known now.
    pub(crate) fn trusts(&self, key: &Key) -> bool {
        self.number(key).is_some_and(|number| self.known[number].trusted)
    }

    /// Whether one of these may be believed, as far as is known now.
    pub(crate) fn trusts_one_of(&self, by: &[usize]) -> bool {
        by.iter().any(|number| self.known[*number].trusted)
    }

    /// Verifies every signature of a note.
    pub(crate) fn judge(&self, note: &Note) -> Judged {
        let mut judged = Judged::default();
        for signature in &note.signatures {
            self.judge_one(note, signature, &mut judged);
        }
        judged
    }

    fn judge_one(&self, note: &Note, signature: &NoteSignature, judged: &mut Judged) {
        let alone = Note { text: note.text.clone(), signatures: vec![signature.clone()] };
        let holds = |key: &Key| alone.verify(std::slice::from_ref(key)).is_ok();
        // Ids have four bytes, so two keys may share one: any of them will do.
        let mut claimed = false;
        for (number, known) in self.known.iter().enumerate().filter(|(_, known)| known.key.made(signature)) {
            claimed = true;
            if holds(&known.key) {
                judged.by.push(number);
                return;
            }
        }
        if claimed {
            judged.bad.push(signature.name.clone());
            return;
        }
        for (number, (key, _)) in
            self.witnesses.iter().enumerate().filter(|(_, (key, _))| key.made(signature))
        {
            claimed = true;
            let at = ura_log::checkpoint::cosigned_at(&alone, key);
            if let Ok(at) = at {
                judged.cosigned.push((number, at));
                return;
            }
        }
        let other = if claimed { &mut judged.bad_cosigned } else { &mut judged.unknown };
        other.push(signature.name.clone());
    }

    /// A witness of the ring, and whether the caller gave it.
    pub(crate) fn witness(&self, number: usize) -> (&Key, bool) {
        let (key, given) = &self.witnesses[number];
        (key, *given)
    }

    /// A checkpoint by these keys agrees with the entries. Says whether one of them is trusted now.
    pub(crate) fn agrees(&mut self, by: &[usize], size: u64, root: Hash) -> bool {
        for number in by {
            let known = &mut self.known[*number];
            known.checkpoints += 1;
            if known.newest.is_none_or(|(newest, _)| newest <= size) {
                known.newest = Some((size, root));
            }
        }
        if by.is_empty() {
            self.unverifiable += 1;
            self.unsigned = self.unsigned.max(size);
        }
        let own = by.iter().copied().filter(|number| self.is_of_log(&self.known[*number].key));
        let own: Vec<usize> = own.collect();
        self.changes.signed(&own, size);
        self.settle();
        by.iter().any(|number| self.vouches(*number))
    }

    /// Whether what a key signed counts: the word of another gateway does only behind what the log's own key signed.
    fn vouches(&self, number: usize) -> bool {
        let is_own = self.is_of_log(&self.known[number].key);
        self.known[number].trusted && (is_own || self.own.is_some_and(|(size, _)| size > 0))
    }

    /// Believes what follows from what is believed, until nothing more follows.
    fn settle(&mut self) {
        loop {
            // What another gateway signed says nothing of the keys of this log.
            let own = self.known.iter().filter(|known| known.trusted && known.key.name() == self.origin);
            self.own = own.filter_map(|known| known.newest).max_by_key(|(size, _)| *size);
            let vouched = self.own.map_or(0, |(size, _)| size);
            let mut grown = false;
            for known in self.known.iter_mut().filter(|known| !known.trusted) {
                known.trusted = known.announced.is_some_and(|index| index < vouched);
                grown |= known.trusted;
            }
            if !grown {
                return;
            }
        }
    }

    /// What is proven when all has been read.
    pub(crate) fn finish(&mut self) -> Proven {
        let late = self.changes.finish(self.own.map_or(0, |(size, _)| size));
        let key = |number: usize| self.known[number].key.clone();
        let superseded = late.map(|Late { old, new, index, size }| Superseded {
            old: key(old),
            new: key(new),
            index,
            size,
        });
        let (mut size, mut root, mut largest) = (0, empty_root(), self.unsigned);
        for (number, known) in self.known.iter().enumerate() {
            match known.newest {
                Some(newest) if self.vouches(number) && newest.0 >= size => (size, root) = newest,
                Some((newest, _)) if !self.vouches(number) => largest = largest.max(newest),
                _ => {}
            }
        }
        let own_size = self.own.map_or(0, |(size, _)| size);
        let used = self.known.iter().filter(|known| known.trusted && known.checkpoints > 0);
        let keys = used.map(|known| KeyUsed {
            key: known.key.clone(),
            given: known.given,
            checkpoints: known.checkpoints,
            newest_size: known.newest.map_or(0, |(size, _)| size),
        });
        Proven {
            size,
            root,
            own_size,
            superseded,
            keys: keys.collect(),
            not_vouched: (largest > size).then_some(largest),
            unverifiable: self.unverifiable,
        }
    }

    fn number(&self, key: &Key) -> Option<usize> {
        self.known.iter().position(|known| known.key == *key)
    }
}
