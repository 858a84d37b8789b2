//! Keys of notes (<https://c2sp.org/signed-note>, "Signatures"): verifier keys and their text form, and the
//! private keys that sign. Both kinds use Ed25519 (RFC 8032); a kind says what is signed.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::pkcs8::Document;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{NoteError, NoteSignature, check_text, cosignature};
use crate::syntax;

/// Longest name of a key, in bytes.
pub const MAX_KEY_NAME_BYTES: usize = 255;

/// Longest text of a verifier key: name, plus, 8 digits of id, plus, base64 of 33 bytes.
const MAX_KEY_TEXT_BYTES: usize = MAX_KEY_NAME_BYTES + 54;

const PUBLIC_BYTES: usize = 32;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The text of a note, as its author (signature type 0x01).
    Ed25519,
    /// The text of a checkpoint with a time, as a witness (signature type 0x04).
    CosignatureV1,
}

impl Kind {
    /// The signature type that stands before the public key.
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ed25519, Self::CosignatureV1].into_iter().find(|kind| kind.byte() == byte)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "signing notes (0x01)",
            Self::CosignatureV1 => "cosigning checkpoints (0x04)",
        })
    }
}

/// Whether a name may stand in a signature line: not empty, no spaces, no control characters, no plus.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c < ' ' || c == '+')
}

/// A verifier key: who signs, and how that is verified. Its text form is `name+id+base64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    name: String,
    kind: Kind,
    pub(super) public: [u8; PUBLIC_BYTES],
    id: [u8; 4],
}

impl Key {
    /// A key from its parts.
    ///
    /// # Errors
    /// [`NoteError::BadKey`] when the name is empty, longer than [`MAX_KEY_NAME_BYTES`], or has a space, a
    /// control character or a plus.
    pub fn new(name: &str, kind: Kind, public: [u8; PUBLIC_BYTES]) -> Result<Self, NoteError> {
        if name.len() > MAX_KEY_NAME_BYTES || !is_name(name) {
            let wrong = "the name must be 1 to 255 bytes, without spaces, control characters or plus";
            return Err(bad_key(name, wrong));
        }
        let hashed = [name.as_bytes(), b"\n", &[kind.byte()], &public].concat();
        let hash = digest(&SHA256, &hashed);
        let id = *hash.as_ref().first_chunk().expect("SHA-256 gives 32 bytes");
        Ok(Self { name: name.to_owned(), kind, public, id })
    }

    /// Reads a verifier key.
    ///
    /// # Errors
    /// [`NoteError::BadKey`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let bad = |wrong| bad_key(text, wrong);
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("expected name+id+base64"));
        };
        if text.len() > MAX_KEY_TEXT_BYTES {
            return Err(bad("too long"));
        }
        let bytes =
            syntax::base64(encoded).ok_or_else(|| bad("the part after the second plus is no base64"))?;
        let (kind, public) = bytes.split_first().ok_or_else(|| bad("the key is empty"))?;
        let wrong = "only Ed25519 keys of signature types 0x01 and 0x04 are supported";
        let kind = Kind::from_byte(*kind).ok_or_else(|| bad(wrong))?;
        let public = public.try_into().map_err(|_| bad("an Ed25519 key has 32 bytes"))?;
        let key = Self::new(name, kind, public)?;
        if key.id_digits() != id {
            return Err(bad("the id is not that of this name and key: one of them was changed"));
        }
        Ok(key)
    }

    /// Name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key: the beginning of a hash of its name, kind and public key. It tells keys apart and
    /// proves nothing.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// What the key signs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The Ed25519 public key (RFC 8032).
    pub fn public(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }

    /// Whether a signature claims to be of this key.
    pub fn made(&self, signature: &NoteSignature) -> bool {
        self.id == signature.id && self.name == signature.name
    }

    /// Whether `signature` (without the id) is one of this key for `text`.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> bool {
        let holds = |message: &str, signature: &[u8]| {
            UnparsedPublicKey::new(&ED25519, &self.public).verify(message.as_bytes(), signature).is_ok()
        };
        match self.kind {
            Kind::Ed25519 => holds(text, signature),
            Kind::CosignatureV1 => cosignature::split(signature)
                .is_some_and(|(unix_s, signature)| holds(&cosignature::message(unix_s, text), signature)),
        }
    }

    fn id_digits(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.id))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()][..], &self.public].concat();
        write!(f, "{}+{}+{}", self.name, self.id_digits(), syntax::to_base64(&key))
    }
}

impl FromStr for Key {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        Self::parse(text)
    }
}

fn bad_key(text: &str, wrong: &'static str) -> NoteError {
    NoteError::BadKey { text: text.chars().take(MAX_KEY_TEXT_BYTES).collect(), wrong }
}

/// A private key with its name and kind. Its `Debug` shows the verifier key only.
pub struct Signer {
    key: Key,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`NoteError::BadKey`] for a wrong name, [`NoteError::Crypto`] when there is no randomness.
    pub fn generate(name: &str, kind: Kind) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| NoteError::Crypto("make an Ed25519 key"))?;
        Self::new(name, kind, pair)
    }

    /// Reads a private key: PKCS#8 DER (RFC 8410), with or without the public key.
    ///
    /// # Errors
    /// [`NoteError::BadPrivateKey`], or [`NoteError::BadKey`] for a wrong name.
    pub fn from_pkcs8(name: &str, kind: Kind, der: &[u8]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map_err(|_| NoteError::BadPrivateKey { name: name.to_owned() })?;
        Self::new(name, kind, pair)
    }

    fn new(name: &str, kind: Kind, pair: Ed25519KeyPair) -> Result<Self, NoteError> {
        let public = pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        Ok(Self { key: Key::new(name, kind, public)?, pair })
    }

    /// The private key as PKCS#8 DER (RFC 5208 version 1, which other tools read too). The document is
    /// overwritten when it is dropped.
    ///
    /// # Errors
    /// [`NoteError::Crypto`].
    pub fn pkcs8(&self) -> Result<Document, NoteError> {
        self.pair.to_pkcs8v1().map_err(|_| NoteError::Crypto("encode an Ed25519 key"))
    }

    /// The verifier key that belongs to it.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Signs the text of a note.
    ///
    /// # Errors
    /// The text is not well-formed (see [`super::Note`]), or the key is not of [`Kind::Ed25519`].
    pub fn sign(&self, text: &str) -> Result<NoteSignature, NoteError> {
        self.demand(Kind::Ed25519)?;
        check_text(text)?;
        Ok(self.signature(self.raw(text)?))
    }

    /// Signs a text with a time, as a witness. Only [`crate::checkpoint`] knows that the text is one of a
    /// checkpoint, so it alone may call this.
    pub(crate) fn sign_at(&self, text: &str, unix_s: u64) -> Result<NoteSignature, NoteError> {
        self.demand(Kind::CosignatureV1)?;
        if unix_s > cosignature::MAX_UNIX_S {
            return Err(NoteError::BadTime { unix_s });
        }
        check_text(text)?;
        let signature = self.raw(&cosignature::message(unix_s, text))?;
        Ok(self.signature(cosignature::join(unix_s, &signature)))
    }

    fn demand(&self, needed: Kind) -> Result<(), NoteError> {
        let actual = self.key.kind;
        if actual == needed {
            return Ok(());
        }
        Err(NoteError::WrongKind { name: self.key.name.clone(), actual, needed })
    }

    fn raw(&self, message: &str) -> Result<Vec<u8>, NoteError> {
        let signature = self.pair.try_sign(message.as_bytes());
        Ok(signature.map_err(|_| NoteError::Crypto("sign"))?.as_ref().to_vec())
    }

    fn signature(&self, bytes: Vec<u8>) -> NoteSignature {
        NoteSignature { name: self.key.name.clone(), id: self.key.id, bytes }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key", &self.key.to_string()).finish_non_exhaustive()
    }
}
