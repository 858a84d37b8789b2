//! One epoch key: what is made from it, and how the commitments to subjects are opened. Pure; knows no file.

use std::{fmt, sync::Arc};

use aws_lc_rs::{digest, hmac};
use ura_log::Hash;
use ura_proto::{
    ExchangeId,
    v1::{Subject, SubjectOpening},
};

use super::folder;

/// Length of an epoch key, in bytes.
pub(super) const KEY_BYTES: usize = 32;

/// The key of an epoch. Salts of digests and pseudonyms of subjects are made from it; whoever destroys it
/// ends the guessing of both. Cheap to clone; `Debug` shows its id only.
#[derive(Clone)]
pub struct EpochKey {
    id: Arc<str>,
    key: hmac::Key,
}

impl EpochKey {
    pub(super) fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"id of epoch key\0");
        context.update(bytes);
        let id = context.finish();
        let short: [u8; 4] = *id.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Self { id: folder::hex(&short).into(), key: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }

    /// Id of the key: 8 hexadecimal digits, from which nothing can be learnt about it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Salt of an exchange's digests: HMAC-SHA-256(key, "salt of exchange" ‖ 0x00 ‖ exchange id).
    #[must_use]
    pub fn salt(&self, exchange: ExchangeId) -> [u8; 32] {
        // A kind of subject has no space, so no salt and no blind is ever a pseudonym.
        self.tag(&[b"salt of exchange\0", exchange.as_bytes()])
    }

    /// Blind of an exchange's subjects: HMAC-SHA-256(key, "blind of subject" ‖ 0x00 ‖ exchange id).
    #[must_use]
    pub fn blind(&self, exchange: ExchangeId) -> [u8; 32] {
        self.tag(&[b"blind of subject\0", exchange.as_bytes()])
    }

    /// Pseudonym of a subject: HMAC-SHA-256(key, kind ‖ 0x00 ‖ canonical form). The same in every exchange
    /// of the epoch, so that a subject can be found. A kind has no NUL.
    #[must_use]
    pub fn pseudonym(&self, kind: &str, canonical: &[u8]) -> [u8; 32] {
        self.tag(&[kind.as_bytes(), &[0], canonical])
    }

    /// What opens the commitment to a subject of an exchange.
    #[must_use]
    pub fn subject(&self, kind: &str, canonical: &[u8], exchange: ExchangeId) -> SubjectOpening {
        SubjectOpening {
            kind: kind.to_owned(),
            pseudonym: self.pseudonym(kind, canonical).to_vec(),
            blind: self.blind(exchange).to_vec(),
        }
    }

    /// Mark of a log with so many entries and this root: HMAC-SHA-256(key, "mark of log" ‖ 0x00 ‖ origin ‖ 0x00 ‖
    /// size, 8 bytes big endian ‖ root). Who has no epoch key cannot make it, whatever he may write to the database.
    #[must_use]
    pub fn mark(&self, origin: &str, size: u64, root: &Hash) -> [u8; 32] {
        self.tag(&[b"mark of log\0", origin.as_bytes(), &[0], &size.to_be_bytes(), root])
    }

    fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Commitment to a subject: SHA-256(blind ‖ kind ‖ 0x00 ‖ pseudonym). Says nothing without its opening.
/// Binds only where the opening has the lengths of one; see [`opens`] for one that others gave.
#[must_use]
pub fn commitment(opening: &SubjectOpening) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [&opening.blind[..], opening.kind.as_bytes(), &[0], &opening.pseudonym] {
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Whether an opening, from whomever, is the one that a subject's commitment was made of. An opening with
/// other lengths, which could move the bounds between its parts, opens nothing.
#[must_use]
pub fn opens(subject: &Subject, opening: &SubjectOpening) -> bool {
    opening.blind.len() == 32
        && opening.pseudonym.len() == 32
        && !opening.kind.contains('\0')
        && opening.kind == subject.kind
        && subject.commitment == commitment(opening)
}
