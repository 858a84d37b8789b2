//! Checkpoints (<https://c2sp.org/tlog-checkpoint>): a log's size and root as a signed note; and their
//! cosignatures (<https://c2sp.org/tlog-cosignature>): a witness's word that it saw this root at a time.

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::note::{Key, Kind, Note, NoteError, NoteSignature, Signer, check_text, time_of};
use crate::tree::Hash;
use crate::{MAX_TREE_LEAVES, syntax};

/// What was wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The note or one of its signatures.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// There are too few lines, or an empty one.
    #[error("a checkpoint is three or more lines, none empty: origin, size, root hash, then extensions")]
    BadLines,
    /// The second line is not a size.
    #[error(
        "the second line of a checkpoint is its size: a decimal number without leading zeroes, at most {MAX_TREE_LEAVES}"
    )]
    BadSize,
    /// The third line is not a hash.
    #[error("the third line of a checkpoint is its root hash: 32 bytes in base64")]
    BadRoot,
    /// The origin or an extension cannot stand on one line.
    #[error("the origin and each extension of a checkpoint must be one line that is not empty")]
    Unwritable,
    /// The key did not cosign.
    #[error("the checkpoint carries no cosignature of {name:?}")]
    NotCosigned {
        /// Name of the key.
        name: String,
    },
}

/// What a log says of itself at a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: one line, not empty; by custom the name of its key.
    pub origin: String,
    /// Leaves of the tree, at most [`MAX_TREE_LEAVES`].
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
    /// Further lines, none empty. Rarely used: nobody can audit them.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, syntax::to_base64(&self.root));
        for extension in &self.extensions {
            text.push_str(extension);
            text.push('\n');
        }
        text
    }

    /// Reads the text of a checkpoint.
    ///
    /// # Errors
    /// Says which line is wrong.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        check_text(text)?;
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::BadLines);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = syntax::decimal(size).filter(|size| *size <= MAX_TREE_LEAVES);
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::BadLines);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: size.ok_or(CheckpointError::BadSize)?,
            root: syntax::hash(root).ok_or(CheckpointError::BadRoot)?,
            extensions,
        })
    }

    /// Signs it as the log, with a key of [`Kind::Ed25519`].
    ///
    /// # Errors
    /// [`CheckpointError::Unwritable`], [`CheckpointError::BadSize`] or those of [`Signer::sign`].
    pub fn sign(&self, signer: &Signer) -> Result<Note, CheckpointError> {
        if self.size > MAX_TREE_LEAVES {
            return Err(CheckpointError::BadSize);
        }
        let text = self.text();
        // Reading it back finds an origin or extension that would shift the lines.
        match Self::parse(&text) {
            Ok(same) if same == *self => Ok(Note::sign(text, signer)?),
            _ => Err(CheckpointError::Unwritable),
        }
    }
}

/// Reads a checkpoint and verifies its signatures and cosignatures by `keys`. Which of the keys must have
/// signed, and whether the origin is the expected one, is for the caller to compare.
///
/// # Errors
/// The note or the checkpoint is not well-formed, a signature of a known key does not verify, or none of the
/// keys signed.
pub fn open(note: &str, keys: &[Key]) -> Result<(Checkpoint, Vec<Key>), CheckpointError> {
    open_note(&Note::parse(note)?, keys)
}

/// The same as [`open`] for a note that was read before.
///
/// # Errors
/// Those of [`open`].
pub fn open_note(note: &Note, keys: &[Key]) -> Result<(Checkpoint, Vec<Key>), CheckpointError> {
    let signed = note.verify(keys)?;
    Ok((Checkpoint::parse(&note.text)?, signed))
}

/// Cosigns a checkpoint as a witness at a time in seconds since 1970, with a key of
/// [`Kind::CosignatureV1`]. The caller must have verified that it is consistent with all it cosigned before.
///
/// # Errors
/// The note is no checkpoint, the key is of the other kind, or the time is above
/// [`crate::note::MAX_UNIX_S`].
pub fn cosign(note: &Note, signer: &Signer, unix_s: u64) -> Result<NoteSignature, CheckpointError> {
    Checkpoint::parse(&note.text)?;
    Ok(signer.sign_at(&note.text, unix_s)?)
}

/// Verifies the cosignatures of `key` on a checkpoint and gives the latest time they carry, in seconds since
/// 1970.
///
/// # Errors
/// [`CheckpointError::NotCosigned`]; or the key is not of [`Kind::CosignatureV1`], the note is no checkpoint,
/// or a cosignature of this key does not verify.
pub fn cosigned_at(note: &Note, key: &Key) -> Result<u64, CheckpointError> {
    if key.kind() != Kind::CosignatureV1 {
        let (name, actual) = (key.name().to_owned(), key.kind());
        return Err(NoteError::WrongKind { name, actual, needed: Kind::CosignatureV1 }.into());
    }
    Checkpoint::parse(&note.text)?;
    let not_cosigned = || CheckpointError::NotCosigned { name: key.name().to_owned() };
    note.verify(std::slice::from_ref(key)).map_err(|error| match error {
        NoteError::NoKnownSignature { .. } => not_cosigned(),
        other => other.into(),
    })?;
    let mine = note.signatures.iter().filter(|signature| key.made(signature));
    mine.filter_map(|signature| time_of(&signature.bytes)).max().ok_or_else(not_cosigned)
}
