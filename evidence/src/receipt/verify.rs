//! Verification of a receipt, offline: its entries against their leaves, proofs and checkpoint, the
//! checkpoint against keys that the caller trusts, and the bytes that a party kept against the digests.

use ura_log::{
    checkpoint::{self, Checkpoint},
    note::{Key, Kind as KeyKind, Note, NoteError},
    proof::verify_inclusion,
    tree,
};
use ura_proto::{
    ExchangeId,
    v1::{Closing, Entry, Opening, entry::Kind},
};

use super::{Kept, Piece, Receipt, ReceiptError, kept};
use crate::entry::{decode, leaf};

/// Whom the verifier believes.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Keys of the log that were got from elsewhere than the receipt.
    pub keys: Vec<Key>,
    /// Keys of witnesses.
    pub witnesses: Vec<Key>,
    /// Also believe the keys that stand in the receipt. This only shows that the receipt agrees with
    /// itself: whoever forged it could have put in a key of their own.
    pub keys_of_receipt: bool,
}

/// Where the key that signed the checkpoint came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFrom {
    /// The caller gave it.
    Outside,
    /// The caller gave it, and it is not the log's own: the gateway of that name signed it, as one does that ends the
    /// log of another. So the receipt has that gateway's word, not the log's own.
    OtherGateway,
    /// It stood in the receipt itself, so nothing but the receipt vouches for it.
    Receipt,
}

/// A witness that cosigned the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Name of the witness's key.
    pub name: String,
    /// When it says that it saw the checkpoint, seconds since 1970-01-01 UTC.
    pub unix_s: u64,
}

/// An entry that is proved to stand in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Proved {
    /// Its index.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
}

/// Bytes that a party kept and that the log commits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Index of the entry with the digest.
    pub index: u64,
    /// How many of the kept bytes, from the first, the digest covers.
    pub bytes: u64,
    /// Whether the entry says that these were all.
    pub whole: bool,
}

/// What a receipt was found to prove.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Name of the log.
    pub log: String,
    /// The exchange.
    pub exchange: ExchangeId,
    /// Its entries, in the order of the log; the first is the opening.
    pub entries: Vec<Proved>,
    /// The checkpoint that covers them.
    pub checkpoint: Checkpoint,
    /// The key that signed it.
    pub key: Key,
    /// Where that key came from.
    pub key_from: KeyFrom,
    /// The witnesses among the trusted ones that cosigned it.
    pub cosigned: Vec<Cosigned>,
    /// The kept request, where one was given.
    pub request: Option<Matched>,
    /// The kept reply, where one was given.
    pub reply: Option<Matched>,
}

impl Verified {
    /// The opening.
    #[must_use]
    pub fn opening(&self) -> Option<&Opening> {
        self.entries.iter().find_map(|proved| match &proved.entry.kind {
            Some(Kind::Opening(opening)) => Some(opening),
            _ => None,
        })
    }

    /// The closing; `None` where the exchange was refused, still went on when the receipt was made, or whoever made the
    /// receipt left the closing out: a receipt proves what stands in it, never that nothing else is there.
    #[must_use]
    pub fn closing(&self) -> Option<&Closing> {
        self.entries.iter().find_map(|proved| match &proved.entry.kind {
            Some(Kind::Closing(closing)) => Some(closing),
            _ => None,
        })
    }
}

/// Verifies a receipt, and that the kept bytes are those of the exchange.
///
/// # Errors
/// [`ReceiptError`]: the first thing that does not hold, and where.
pub fn verify(receipt: &Receipt, trust: &Trust, kept: &Kept<'_>) -> Result<Verified, ReceiptError> {
    let note = Note::parse(&receipt.checkpoint).map_err(checkpoint::CheckpointError::from)?;
    let (checkpoint, key, key_from) = signed(receipt, trust, &note)?;
    if checkpoint.origin != receipt.log {
        let (receipt, checkpoint) = (receipt.log.clone(), checkpoint.origin);
        return Err(ReceiptError::OtherLog { receipt, checkpoint });
    }
    let cosigned = cosigned(&note, &trust.witnesses)?;
    let entries = receipt.entries.iter().map(|piece| proved(piece, receipt.exchange, &checkpoint));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    check_order(&entries)?;
    let salt = kept::salt(receipt, kept)?;
    Ok(Verified {
        log: receipt.log.clone(),
        exchange: receipt.exchange,
        request: kept.request.map(|bytes| kept::request(&entries, salt, bytes)).transpose()?,
        reply: kept.reply.map(|bytes| kept::reply(&entries, salt, bytes)).transpose()?,
        entries,
        checkpoint,
        key,
        key_from,
        cosigned,
    })
}

/// The checkpoint, and the key of the log that signed it.
fn signed(receipt: &Receipt, trust: &Trust, note: &Note) -> Result<(Checkpoint, Key, KeyFrom), ReceiptError> {
    let inside: &[Key] = if trust.keys_of_receipt { &receipt.keys } else { &[] };
    // A witness's key says that a checkpoint was seen, never that it is the log's; and the key of one log
    // says nothing of another.
    let of_log = |key: &&Key| key.kind() == KeyKind::Ed25519 && key.name() == receipt.log;
    let outside: Vec<Key> = trust.keys.iter().filter(of_log).cloned().collect();
    let inside = inside.iter().filter(of_log).filter(|key| !outside.contains(key));
    let own: Vec<Key> = outside.iter().chain(inside).cloned().collect();
    if own.is_empty() {
        return Err(ReceiptError::NoKey { log: receipt.log.clone() });
    }
    // The last checkpoint of a log is by the gateway that ended it: believed by who gave the keys of both.
    let is_other = |key: &&Key| key.kind() == KeyKind::Ed25519 && key.name() != receipt.log;
    let others = trust.keys.iter().filter(is_other).filter(|_| !outside.is_empty());
    let keys: Vec<Key> = own.iter().chain(others).cloned().collect();
    let (checkpoint, signers) = match checkpoint::open_note(note, &keys) {
        Err(checkpoint::CheckpointError::Note(NoteError::NoKnownSignature { .. })) => {
            let signers = note.signatures.iter().map(|signature| signature.name.clone()).collect();
            let given: Vec<String> = trust.keys.iter().map(|key| key.name().to_owned()).collect();
            return Err(ReceiptError::OtherSigners { signers, given });
        }
        opened => opened?,
    };
    let from = |key: &Key| match (outside.contains(key), own.contains(key)) {
        (true, _) => KeyFrom::Outside,
        (false, true) => KeyFrom::Receipt,
        (false, false) => KeyFrom::OtherGateway,
    };
    let best = signers.into_iter().map(|key| (from(&key), key)).min_by_key(|(from, _)| match from {
        KeyFrom::Outside => 0,
        KeyFrom::OtherGateway => 1,
        KeyFrom::Receipt => 2,
    });
    let (from, key) = best.expect("a note that verifies was signed by one of the keys");
    Ok((checkpoint, key, from))
}

/// The trusted witnesses that cosigned; what a trusted one did not sign must not stand under its name.
fn cosigned(note: &Note, witnesses: &[Key]) -> Result<Vec<Cosigned>, ReceiptError> {
    let mut cosigned = Vec::new();
    for key in witnesses {
        match checkpoint::cosigned_at(note, key) {
            Ok(unix_s) => cosigned.push(Cosigned { name: key.name().to_owned(), unix_s }),
            Err(checkpoint::CheckpointError::NotCosigned { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(cosigned)
}

/// One entry, read and proved.
fn proved(piece: &Piece, exchange: ExchangeId, checkpoint: &Checkpoint) -> Result<Proved, ReceiptError> {
    let index = piece.index;
    let leaf_hash = tree::leaf_hash(&leaf(&piece.body));
    if leaf_hash != piece.leaf_hash {
        return Err(ReceiptError::LeafHash { index });
    }
    let entry = decode(&piece.body).map_err(|source| ReceiptError::Entry { index, source })?;
    if entry.exchange_id != exchange.as_bytes() {
        return Err(ReceiptError::OtherExchange { index });
    }
    verify_inclusion(&leaf_hash, index, checkpoint.size, &piece.proof, &checkpoint.root)
        .map_err(|source| ReceiptError::Proof { index, source })?;
    Ok(Proved { index, entry })
}

/// An exchange has one opening, which comes first, and at most one closing. What a stream told meanwhile
/// may stand after the closing: both directions are recorded on their own.
fn check_order(entries: &[Proved]) -> Result<(), ReceiptError> {
    let Some(first) = entries.first() else { return Err(ReceiptError::NoOpening) };
    if !matches!(first.entry.kind, Some(Kind::Opening(_))) {
        return Err(ReceiptError::NoOpening);
    }
    let mut closed = false;
    for pair in entries.windows(2) {
        let [before, proved] = pair else { continue };
        let index = proved.index;
        if index <= before.index {
            return Err(ReceiptError::NotInOrder { index, before: before.index });
        }
        match proved.entry.kind {
            Some(Kind::Opening(_)) => return Err(ReceiptError::SecondOpening { index }),
            Some(Kind::Closing(_)) if closed => return Err(ReceiptError::SecondClosing { index }),
            Some(Kind::Closing(_)) => closed = true,
            Some(Kind::Progress(_)) => {}
            _ => return Err(ReceiptError::OtherKind { index }),
        }
    }
    Ok(())
}
