//! A proof as one file (<https://c2sp.org/tlog-proof>): where an entry stands, its inclusion proof and the
//! signed checkpoint, verified offline with nothing but public keys. What the entry is, is not known here.

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, open_note};
use crate::note::{Key, MAX_NOTE_BYTES, Note, NoteError};
use crate::proof::{ProofError, verify_inclusion};
use crate::tree::Hash;
use crate::{MAX_PROOF_HASHES, MAX_TREE_LEAVES, syntax};

/// First line of the file.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Longest extra data, in bytes before base64.
pub const MAX_EXTRA_BYTES: usize = 65_536;

/// Longest file that is read, in bytes: the longest note, the longest extra data and the proof.
pub const MAX_PROOF_FILE_BYTES: usize = MAX_NOTE_BYTES + MAX_EXTRA_BYTES * 2;

/// What was wrong with a proof file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofFileError {
    /// The file is above the limit.
    #[error("a proof of {bytes} bytes is too long: at most {MAX_PROOF_FILE_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The first line is another.
    #[error("the first line of a proof must be {HEADER:?}")]
    BadHeader,
    /// The extra data cannot be read.
    #[error("the extra line of a proof must be `extra ` and base64 of at most {MAX_EXTRA_BYTES} bytes")]
    BadExtra,
    /// The index cannot be read.
    #[error("a proof must say `index ` and a decimal number without leading zeroes, below {MAX_TREE_LEAVES}")]
    BadIndex,
    /// A line of the proof is no hash.
    #[error("hash {position} of the proof is not 32 bytes in base64")]
    BadHash {
        /// Which one, from 0.
        position: usize,
    },
    /// The proof has more hashes than any tree needs.
    #[error("a proof has at most {MAX_PROOF_HASHES} hashes")]
    TooManyHashes,
    /// There is no blank line.
    #[error("after its hashes a proof has a blank line and the checkpoint")]
    NoCheckpoint,
    /// The checkpoint is of another log.
    #[error("the checkpoint is of the log {found:?}, not of {expected:?}")]
    OtherLog {
        /// Origin that was expected.
        expected: String,
        /// Origin of the checkpoint.
        found: String,
    },
    /// None of the log's own keys signed.
    #[error("the checkpoint is not signed by the log")]
    NotSignedByLog,
    /// The checkpoint or a signature.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl From<NoteError> for ProofFileError {
    fn from(error: NoteError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// A proof that an entry is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Opaque data of the application. Nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// Index of the entry in the log, from 0.
    pub index: u64,
    /// Inclusion proof, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The checkpoint with its signatures.
    pub checkpoint: Note,
}

impl ProofFile {
    /// The file.
    pub fn encode(&self) -> String {
        let mut file = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            file.push_str(&format!("extra {}\n", syntax::to_base64(extra)));
        }
        file.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            file.push_str(&syntax::to_base64(hash));
            file.push('\n');
        }
        file.push_str(&format!("\n{}", self.checkpoint));
        file
    }

    /// Reads a file, without verifying anything.
    ///
    /// # Errors
    /// Says which line is wrong, or which limit was passed.
    pub fn parse(file: &str) -> Result<Self, ProofFileError> {
        if file.len() > MAX_PROOF_FILE_BYTES {
            return Err(ProofFileError::TooLong { bytes: file.len() });
        }
        let (head, checkpoint) = file.split_once("\n\n").ok_or(ProofFileError::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(ProofFileError::BadHeader);
        }
        let extra = match lines.next_if(|line| line.starts_with("extra")) {
            Some(line) => Some(parse_extra(line).ok_or(ProofFileError::BadExtra)?),
            None => None,
        };
        let index = lines.next().and_then(|line| syntax::decimal(line.strip_prefix("index ")?));
        let index = index.filter(|index| *index < MAX_TREE_LEAVES).ok_or(ProofFileError::BadIndex)?;
        let mut hashes = Vec::new();
        for (position, line) in lines.enumerate() {
            if position >= MAX_PROOF_HASHES {
                return Err(ProofFileError::TooManyHashes);
            }
            hashes.push(syntax::hash(line).ok_or(ProofFileError::BadHash { position })?);
        }
        Ok(Self { extra, index, hashes, checkpoint: Note::parse(checkpoint)? })
    }

    /// Verifies that the entry with hash `leaf` is in the log `origin`, whose checkpoint one of the `log` keys
    /// signed. Gives the checkpoint, and the keys of `log` and `cosigners` that signed it; how many cosigners
    /// are enough is for the caller to say.
    ///
    /// # Errors
    /// [`ProofFileError::OtherLog`], [`ProofFileError::NotSignedByLog`], a signature of a known key that does
    /// not verify, or an inclusion proof that does not hold.
    pub fn verify(
        &self,
        leaf: &Hash,
        origin: &str,
        log: &[Key],
        cosigners: &[Key],
    ) -> Result<(Checkpoint, Vec<Key>), ProofFileError> {
        let keys = [log, cosigners].concat();
        let (checkpoint, signed) = open_note(&self.checkpoint, &keys)?;
        if checkpoint.origin != origin {
            let (expected, found) = (origin.to_owned(), checkpoint.origin);
            return Err(ProofFileError::OtherLog { expected, found });
        }
        if !signed.iter().any(|key| log.contains(key)) {
            return Err(ProofFileError::NotSignedByLog);
        }
        verify_inclusion(leaf, self.index, checkpoint.size, &self.hashes, &checkpoint.root)?;
        Ok((checkpoint, signed))
    }
}

fn parse_extra(line: &str) -> Option<Vec<u8>> {
    let encoded = line.strip_prefix("extra ")?;
    syntax::base64(encoded).filter(|extra| extra.len() <= MAX_EXTRA_BYTES)
}
