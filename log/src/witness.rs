//! What a log and a witness say to each other (<https://c2sp.org/tlog-witness>, `add-checkpoint`): the body
//! of the request, and both kinds of answer. Sending it, and what the witness remembers, is not known here.

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::note::{MAX_NOTE_BYTES, Note, NoteError, NoteSignature, parse_signatures};
use crate::tree::Hash;
use crate::{MAX_PROOF_HASHES, MAX_TREE_LEAVES, syntax};

/// Longest body of a request that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 4_096;

/// Content type of the answer to a wrong old size.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// What was wrong with a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WitnessError {
    /// The body is above the limit.
    #[error("a request of {bytes} bytes is too long: at most {MAX_REQUEST_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The first line is another.
    #[error(
        "the first line must be `old ` and a decimal number without leading zeroes, at most {MAX_TREE_LEAVES}"
    )]
    BadOldSize,
    /// A line of the proof is no hash.
    #[error("hash {position} of the consistency proof is not 32 bytes in base64")]
    BadHash {
        /// Which one, from 0.
        position: usize,
    },
    /// The proof has too many hashes.
    #[error("a consistency proof has at most {MAX_PROOF_HASHES} hashes")]
    TooManyHashes,
    /// There is no blank line.
    #[error("after its hashes a request has a blank line and the checkpoint")]
    NoCheckpoint,
    /// The answer is not a size.
    #[error("the size that the witness has must be a decimal number without leading zeroes and a newline")]
    BadSize,
    /// The checkpoint or a signature line.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// A request to cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size that the witness cosigned last, 0 if none.
    pub old: u64,
    /// Consistency proof from there to the checkpoint; empty from 0.
    pub proof: Vec<Hash>,
    /// The checkpoint with the log's signature.
    pub checkpoint: Note,
}

impl AddCheckpoint {
    /// The body of the request.
    pub fn encode(&self) -> String {
        let mut body = format!("old {}\n", self.old);
        for hash in &self.proof {
            body.push_str(&syntax::to_base64(hash));
            body.push('\n');
        }
        body.push_str(&format!("\n{}", self.checkpoint));
        body
    }

    /// Reads the body of a request, without verifying anything.
    ///
    /// # Errors
    /// Says which line is wrong, or which limit was passed. The witness answers 400.
    pub fn parse(body: &str) -> Result<Self, WitnessError> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(WitnessError::TooLong { bytes: body.len() });
        }
        let (head, checkpoint) = body.split_once("\n\n").ok_or(WitnessError::NoCheckpoint)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| syntax::decimal(line.strip_prefix("old ")?));
        let old = old.filter(|old| *old <= MAX_TREE_LEAVES).ok_or(WitnessError::BadOldSize)?;
        let mut proof = Vec::new();
        for (position, line) in lines.enumerate() {
            if position >= MAX_PROOF_HASHES {
                return Err(WitnessError::TooManyHashes);
            }
            proof.push(syntax::hash(line).ok_or(WitnessError::BadHash { position })?);
        }
        Ok(Self { old, proof, checkpoint: Note::parse(checkpoint)? })
    }
}

/// The answer 200: cosignature lines, each ended by a newline.
pub fn encode_cosignatures(signatures: &[NoteSignature]) -> String {
    signatures.iter().map(|signature| format!("{signature}\n")).collect()
}

/// Reads the answer 200.
///
/// # Errors
/// There is no signature line, there are too many, or one is not well-formed.
pub fn parse_cosignatures(body: &str) -> Result<Vec<NoteSignature>, WitnessError> {
    Ok(parse_signatures(body)?)
}

/// The answer 409 to a wrong old size, of type [`SIZE_CONTENT_TYPE`]: the size that the witness cosigned last.
pub fn encode_size(size: u64) -> String {
    format!("{size}\n")
}

/// Reads the answer 409.
///
/// # Errors
/// [`WitnessError::BadSize`].
pub fn parse_size(body: &str) -> Result<u64, WitnessError> {
    let size = body.strip_suffix('\n').and_then(syntax::decimal);
    size.filter(|size| *size <= MAX_TREE_LEAVES).ok_or(WitnessError::BadSize)
}
