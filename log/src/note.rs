//! Signed notes (<https://c2sp.org/signed-note>): a text, a blank line, and signature lines. What the text
//! means is not known here.

mod cosignature;
mod key;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use cosignature::MAX_UNIX_S;
pub(crate) use cosignature::time_of;
pub use key::{Key, Kind, MAX_KEY_NAME_BYTES, Signer};

use crate::syntax;

/// Longest note that is read, in bytes, signatures included.
pub const MAX_NOTE_BYTES: usize = 1_000_000;

/// Most signatures that a note may have.
pub const MAX_NOTE_SIGNATURES: usize = 100;

/// Em dash and space: how a signature line begins.
const SIGNATURE_START: &str = "\u{2014} ";

/// Bytes of the key's id before the signature proper.
const ID_BYTES: usize = 4;

/// What was wrong with a note, a key or a signature.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// The note is above the limit.
    #[error("a note of {bytes} bytes is too long: at most {MAX_NOTE_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A control character other than newline.
    #[error("line {line} of the note has a control character: only newline is allowed")]
    ControlCharacter {
        /// Line, from 1.
        line: usize,
    },
    /// Text without a newline at its end.
    #[error("the text of a note must end in a newline")]
    Unended,
    /// There are no signatures.
    #[error("a note must end in a blank line and signature lines, each ended by a newline")]
    NoSignatures,
    /// A signature line is not well-formed.
    #[error(
        "signature line {line} must be an em dash, a space, the key's name, a space and base64 of its id and signature"
    )]
    BadSignatureLine {
        /// Line, from 1, counted from the first signature.
        line: usize,
    },
    /// The note has more signatures than the limit.
    #[error("a note may have at most {MAX_NOTE_SIGNATURES} signatures")]
    TooManySignatures,
    /// The text of a verifier key is not well-formed.
    #[error("verifier key {text:?}: {wrong}")]
    BadKey {
        /// The key as it was written, cut to a bounded length.
        text: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// The private key cannot be read.
    #[error("the private key of {name:?} is not an Ed25519 key in PKCS#8 DER")]
    BadPrivateKey {
        /// Name of the key.
        name: String,
    },
    /// The key cannot make this kind of signature.
    #[error("{name:?} is a key for {actual}, not for {needed}")]
    WrongKind {
        /// Name of the key.
        name: String,
        /// Its kind.
        actual: Kind,
        /// The kind that is needed.
        needed: Kind,
    },
    /// The time of a cosignature is above [`MAX_UNIX_S`].
    #[error("a cosignature cannot carry the time {unix_s}: at most {MAX_UNIX_S}")]
    BadTime {
        /// The time, in seconds since 1970.
        unix_s: u64,
    },
    /// Two different known keys share name and id.
    #[error("two different known keys are called {name:?} and have the same id")]
    AmbiguousKey {
        /// Their name.
        name: String,
    },
    /// A signature by a known key does not verify.
    #[error("the signature of {name:?} does not verify: the text was changed, or not signed by this key")]
    BadSignature {
        /// Name of the key.
        name: String,
    },
    /// No known key signed.
    #[error("the note is not signed by any of the {known} known keys")]
    NoKnownSignature {
        /// Keys that were tried.
        known: usize,
    },
    /// The cryptographic library refused to work.
    #[error("the cryptographic library could not {0}")]
    Crypto(&'static str),
}

/// A signature as it stands in a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub id: [u8; ID_BYTES],
    /// The signature proper, without the id.
    pub bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    /// Writes the signature line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id[..], &self.bytes].concat();
        write!(f, "{SIGNATURE_START}{} {}", self.name, syntax::to_base64(&bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    /// Reads one signature line without its newline.
    fn from_str(line: &str) -> Result<Self, NoteError> {
        Self::read(line).ok_or(NoteError::BadSignatureLine { line: 1 })
    }
}

impl NoteSignature {
    fn read(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_START)?.split_once(' ')?;
        let bytes = syntax::base64(encoded)?;
        let (id, signature) = bytes.split_first_chunk::<ID_BYTES>()?;
        let well_formed = key::is_name(name) && !signature.is_empty();
        well_formed.then(|| Self { name: name.to_owned(), id: *id, bytes: signature.to_vec() })
    }
}

/// A text and its signatures. Nothing in the text may be believed before [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, ending in a newline.
    pub text: String,
    /// Signatures in the order they stand.
    pub signatures: Vec<NoteSignature>,
}

impl Note {
    /// Reads a note, without verifying anything.
    ///
    /// # Errors
    /// The note is longer than [`MAX_NOTE_BYTES`], has more than [`MAX_NOTE_SIGNATURES`], or is not
    /// well-formed.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        check_characters(note)?;
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        Ok(Self { text: format!("{text}\n"), signatures: parse_signatures(signatures)? })
    }

    /// A text signed by one key.
    ///
    /// # Errors
    /// Those of [`Signer::sign`].
    pub fn sign(text: String, signer: &Signer) -> Result<Self, NoteError> {
        let signature = signer.sign(&text)?;
        Ok(Self { text, signatures: vec![signature] })
    }

    /// The known keys that signed, each once, in the order of their signatures. Signatures of other keys are
    /// ignored.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] when a signature under the name and id of a known key does not verify,
    /// [`NoteError::NoKnownSignature`] when none of the keys signed, [`NoteError::AmbiguousKey`].
    pub fn verify(&self, keys: &[Key]) -> Result<Vec<Key>, NoteError> {
        let mut signed: Vec<Key> = Vec::new();
        for signature in &self.signatures {
            let mut known = keys.iter().filter(|key| key.made(signature));
            let Some(key) = known.next() else { continue };
            if known.any(|other| other != key) {
                return Err(NoteError::AmbiguousKey { name: key.name().to_owned() });
            }
            if !key.verify(&self.text, &signature.bytes) {
                return Err(NoteError::BadSignature { name: key.name().to_owned() });
            }
            if !signed.contains(key) {
                signed.push(key.clone());
            }
        }
        if signed.is_empty() { Err(NoteError::NoKnownSignature { known: keys.len() }) } else { Ok(signed) }
    }
}

impl fmt::Display for Note {
    /// Writes the note as it is stored and sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        Self::parse(note)
    }
}

/// Reads signature lines that stand alone, as a witness answers them: one or more, each ended by a newline.
///
/// # Errors
/// They are longer than [`MAX_NOTE_BYTES`], there is none, there are more than [`MAX_NOTE_SIGNATURES`], or a
/// line is not well-formed.
pub fn parse_signatures(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    check_characters(lines)?;
    let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
    let mut signatures = Vec::new();
    for (position, line) in lines.split('\n').enumerate() {
        if position >= MAX_NOTE_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let signature = NoteSignature::read(line);
        signatures.push(signature.ok_or(NoteError::BadSignatureLine { line: position + 1 })?);
    }
    Ok(signatures)
}

/// Checks that a text can be signed: bounded, without control characters, ended by a newline.
pub(crate) fn check_text(text: &str) -> Result<(), NoteError> {
    check_characters(text)?;
    if text.ends_with('\n') { Ok(()) } else { Err(NoteError::Unended) }
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    if text.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLong { bytes: text.len() });
    }
    let has_control = |line: &str| line.bytes().any(|byte| byte < b' ');
    match text.split('\n').position(has_control) {
        Some(position) => Err(NoteError::ControlCharacter { line: position + 1 }),
        None => Ok(()),
    }
}
