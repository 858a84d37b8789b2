//! Receipts: one exchange's entries with their proofs, a checkpoint that covers them and the salt of its
//! digests, in one file that verifies offline (docs/evidence.md). Making one reads the store; everything
//! else here is pure. Who may have a receipt is not known here.

mod json;
mod kept;
mod make;
#[cfg(test)]
mod tests;
mod trailer;
mod verify;

use std::fmt;

use ura_log::{Hash, checkpoint::CheckpointError, note::Key, proof::ProofError};
use ura_proto::ExchangeId;

pub use kept::{Kept, framed};
pub use make::make;
pub use trailer::{Trailer, TrailerError};
pub use verify::{Cosigned, KeyFrom, Matched, Proved, Trust, Verified, verify};

use crate::entry::EntryError;

/// Largest receipt that is read, in bytes.
pub const RECEIPT_BYTES_MAX: usize = 16 << 20;

/// Most entries that a receipt may have: an exchange has an opening, a closing and, where its subjects
/// come in a stream, one more for each message that names new ones.
pub const RECEIPT_ENTRIES_MAX: usize = 4096;

/// The salt of an exchange's digests. Whoever has it can test guesses at small messages, so it is not
/// shown by `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

/// A receipt as it was made or read. Nothing in it may be believed before [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Name of the log.
    pub log: String,
    /// The exchange.
    pub exchange: ExchangeId,
    /// Salt of its digests; `None` where its key is gone, or the reader has no right to it.
    pub salt: Option<Salt>,
    /// Its entries, in the order of the log.
    pub entries: Vec<Piece>,
    /// A signed note with the checkpoint that covers the entries, and its cosignatures.
    pub checkpoint: String,
    /// Keys of the log, as a hint which ones to get from elsewhere.
    pub keys: Vec<Key>,
}

/// One entry of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its index in the log, from 0.
    pub index: u64,
    /// The entry, encoded.
    pub body: Vec<u8>,
    /// Hash of its leaf, RFC 9162 section 2.1.1.
    pub leaf_hash: Hash,
    /// Inclusion proof, RFC 9162 section 2.1.3, from the leaf's sibling up.
    pub proof: Vec<Hash>,
}

/// Which of the two messages of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the consumer.
    Request,
    /// To the consumer.
    Reply,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Reply => "reply",
        })
    }
}

/// Names, each once.
fn names(names: &[String]) -> String {
    let once: std::collections::BTreeSet<String> = names.iter().map(|name| format!("{name:?}")).collect();
    once.into_iter().collect::<Vec<_>>().join(", ")
}

/// Why a receipt cannot be read, or what of it does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Above the limit.
    #[error("a receipt of {bytes} bytes is not read: at most {RECEIPT_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not a receipt.
    #[error("it is not a receipt: {place}: {problem}")]
    Malformed {
        /// The field.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is nobody to believe.
    #[error(
        "no key of the log {log:?} was given: get it from the bus's operator, not from the receipt, whose own keys prove nothing"
    )]
    NoKey {
        /// Log that the receipt names.
        log: String,
    },
    /// The checkpoint, its signature, or the cosignature of a trusted witness.
    #[error("checkpoint of the receipt: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Keys were given, and others signed.
    #[error(
        "the checkpoint of the receipt is signed by {}, and by none of the keys that are believed here{}: give the key that the log had then; where another gateway ended the log, that one's, too",
        names(.signers), if .given.is_empty() { String::new() } else { format!(", which are of {}", names(.given)) }
    )]
    OtherSigners {
        /// Names that stand at the signatures.
        signers: Vec<String>,
        /// Names of the keys that were given.
        given: Vec<String>,
    },
    /// The checkpoint is of another log.
    #[error("the receipt is of the log {receipt:?}, but its checkpoint is of {checkpoint:?}")]
    OtherLog {
        /// Log that the receipt names.
        receipt: String,
        /// Log that the checkpoint names.
        checkpoint: String,
    },
    /// A body does not belong to the leaf hash beside it.
    #[error("entry {index}: its body does not have the leaf hash that stands beside it")]
    LeafHash {
        /// The entry.
        index: u64,
    },
    /// A body is not an entry.
    #[error("entry {index}: {source}")]
    Entry {
        /// The entry.
        index: u64,
        /// Why not.
        source: EntryError,
    },
    /// An entry is not in the log at its place.
    #[error("entry {index} is not in the log that the checkpoint describes: {source}")]
    Proof {
        /// The entry.
        index: u64,
        /// What does not hold.
        source: ProofError,
    },
    /// An entry of another exchange, or of none.
    #[error("entry {index} does not belong to the exchange that the receipt names")]
    OtherExchange {
        /// The entry.
        index: u64,
    },
    /// Entries must ascend.
    #[error("entry {index} comes after entry {before}: entries stand once, in the order of the log")]
    NotInOrder {
        /// The entry.
        index: u64,
        /// The one before it in the receipt.
        before: u64,
    },
    /// The first entry must be the opening.
    #[error("the receipt does not begin with the opening of the exchange")]
    NoOpening,
    /// Two openings.
    #[error("entry {index} opens the exchange a second time")]
    SecondOpening {
        /// The second one.
        index: u64,
    },
    /// Two closings.
    #[error("entry {index} closes the exchange a second time")]
    SecondClosing {
        /// The second one.
        index: u64,
    },
    /// An entry that is neither opening, progress nor closing.
    #[error("entry {index} is of a kind that receipts do not have: only openings, progress and closings")]
    OtherKind {
        /// The entry.
        index: u64,
    },
    /// The trailer that the party kept says otherwise.
    #[error("the ura-receipt trailer and the receipt differ in `{field}`")]
    OtherTrailer {
        /// Part of the trailer.
        field: &'static str,
    },
    /// Kept bytes cannot be checked.
    #[error(
        "the kept bytes cannot be checked: the receipt has no salt; give the ura-receipt trailer, which has it"
    )]
    NoSalt,
    /// No entry commits to them.
    #[error(
        "the receipt shows no digest of the {what}: the exchange was refused, went on when the receipt was made, or was ended by a crash, or the entry with the digest was left out of the receipt"
    )]
    NotRecorded {
        /// Which bytes.
        what: Direction,
    },
    /// Not as many bytes.
    #[error(
        "the kept {what} has {kept} bytes; by entry {index} it has {recorded} {}", if *.whole { "in all" } else { "or more" }
    )]
    Length {
        /// Which bytes.
        what: Direction,
        /// The entry with the digest.
        index: u64,
        /// Bytes that were kept.
        kept: u64,
        /// Bytes that the digest covers.
        recorded: u64,
        /// Whether the digest covers all there were.
        whole: bool,
    },
    /// Other bytes.
    #[error(
        "the first {bytes} bytes of the kept {what} do not have the digest in entry {index}: they are other bytes, or the salt is of another exchange"
    )]
    Digest {
        /// Which bytes.
        what: Direction,
        /// The entry with the digest.
        index: u64,
        /// Bytes that the digest covers.
        bytes: u64,
    },
}
