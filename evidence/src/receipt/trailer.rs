//! The `ura-receipt` trailer: what a caller is told of the opening of its exchange. Pure; knows neither
//! connections nor stores.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ura_log::Hash;

use super::{ReceiptError, Salt};
use crate::find::Found;

/// Longest trailer that is read, in bytes: the name of a log has at most 255.
const TRAILER_BYTES_MAX: usize = 512;

/// Why a text is not such a trailer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "it is not an `ura-receipt` trailer: {0}; write log=NAME;index=NUMBER;leaf=HASH;salt=SALT, as it was received"
)]
pub struct TrailerError(&'static str);

/// What the trailer says: where the opening stands, and the salt of the exchange's digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Name of the log.
    pub log: String,
    /// Index of the opening, from 0.
    pub index: u64,
    /// Hash of the opening's leaf, RFC 9162 section 2.1.1.
    pub leaf_hash: Hash,
    /// Salt of the digests.
    pub salt: Salt,
}

impl Trailer {
    /// Holds the trailer against an opening as it was found: name of the log, index and leaf hash.
    ///
    /// # Errors
    /// [`ReceiptError::OtherTrailer`] names the part that differs.
    pub fn check(&self, opening: &Found) -> Result<(), ReceiptError> {
        self.agrees(&opening.log, opening.index, &opening.leaf_hash)
    }

    pub(super) fn agrees(&self, log: &str, index: u64, leaf_hash: &Hash) -> Result<(), ReceiptError> {
        let other = |field| Err(ReceiptError::OtherTrailer { field });
        if self.log != log {
            return other("log");
        }
        if self.index != index {
            return other("index");
        }
        if self.leaf_hash == *leaf_hash { Ok(()) } else { other("leaf") }
    }
}

impl fmt::Display for Trailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (leaf, salt) = (URL_SAFE_NO_PAD.encode(self.leaf_hash), URL_SAFE_NO_PAD.encode(self.salt.0));
        write!(f, "log={};index={};leaf={leaf};salt={salt}", self.log, self.index)
    }
}

impl FromStr for Trailer {
    type Err = TrailerError;

    fn from_str(text: &str) -> Result<Self, TrailerError> {
        if text.len() > TRAILER_BYTES_MAX {
            return Err(TrailerError("it is longer than 512 bytes"));
        }
        // From the right: of the four only the name of the log may hold a semicolon.
        let mut parts = text.rsplitn(4, ';');
        let mut part = |key: &str, wrong| {
            let value = parts.next().and_then(|part| part.strip_prefix(key)?.strip_prefix('='));
            value.ok_or(TrailerError(wrong))
        };
        let salt = part("salt", "its fourth part is not salt=")?;
        let leaf = part("leaf", "its third part is not leaf=")?;
        let index = part("index", "its second part is not index=")?;
        let log = part("log", "its first part is not log=")?;
        let parsed: u64 = index.parse().map_err(|_| TrailerError("the index is not a number"))?;
        if parsed.to_string() != index || log.is_empty() {
            return Err(TrailerError("the index or the name of the log is not written as the bus writes it"));
        }
        Ok(Self {
            log: log.to_owned(),
            index: parsed,
            leaf_hash: hash(leaf).ok_or(TrailerError("the leaf is not 32 bytes in base64url"))?,
            salt: Salt(hash(salt).ok_or(TrailerError("the salt is not 32 bytes in base64url"))?),
        })
    }
}

fn hash(text: &str) -> Option<Hash> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_reads_back_and_has_one_spelling() {
        let trailer =
            Trailer { log: "ura.test/a;b=c".into(), index: 70, leaf_hash: [1; 32], salt: Salt([0xfe; 32]) };
        let text = trailer.to_string();
        assert_eq!(text.parse(), Ok(trailer));
        let wrong = [
            String::new(),
            text.replace("index=70", "index=070"),
            text.replace("index=70", "index=+70"),
            text.replace("index=70", "index=-1"),
            text.replace("index=70", "index=18446744073709551616"),
            text.replace("log=", "lag="),
            text.replace("leaf=", "salt="),
            text.replace("leaf=A", "leaf="),
            text.replace("salt=", "salt=AAAA"),
            text.replace("log=ura.test/a;b=c", "log="),
            format!("{text};"),
            format!("{text}="),
            format!("log={};{text}", "x".repeat(512)),
        ];
        for text in wrong {
            assert!(text.parse::<Trailer>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_salt_is_not_shown() {
        let trailer = Trailer { log: "l".into(), index: 0, leaf_hash: [0; 32], salt: Salt([0xab; 32]) };
        assert!(!format!("{trailer:?}").contains("171"));
    }
}
