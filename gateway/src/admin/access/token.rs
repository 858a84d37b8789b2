//! Page tokens: a place in the list of accesses, sealed, so that nobody can read from it where an access
//! that is held back stands, and bound to the question it was made for. Pure but for its randomness.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ura_evidence::store::Cursor;

/// Bytes of a place.
const PLACE_BYTES: usize = 24;

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 128;

/// Seals a place. A key must not seal more than 2^32 tokens (NIST SP 800-38D section 8.3, random nonces).
pub(super) fn seal(key: &[u8; 32], binding: &[u8], place: Cursor) -> Option<String> {
    let mut sealed = Vec::with_capacity(PLACE_BYTES + AES_256_GCM.tag_len());
    sealed.extend(place.recorded_us.to_be_bytes());
    sealed.extend(place.log.to_be_bytes());
    sealed.extend(place.index.to_be_bytes());
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = key.seal_in_place_append_tag(Aad::from(binding), &mut sealed).ok()?;
    Some(URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &sealed].concat()))
}

/// Opens a token that one of the keys sealed for this question; `None` where it is of another question, or
/// no token.
pub(super) fn open(keys: impl IntoIterator<Item = [u8; 32]>, binding: &[u8], token: &str) -> Option<Cursor> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
    keys.into_iter().find_map(|key| {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).ok()?;
        let mut sealed = sealed.to_vec();
        let place = key.open_in_place(Nonce::from(nonce), Aad::from(binding), &mut sealed).ok()?;
        let (recorded_us, rest) = place.split_first_chunk()?;
        let (log, rest) = rest.split_first_chunk()?;
        let index: [u8; 8] = rest.try_into().ok()?;
        Some(Cursor {
            recorded_us: i64::from_be_bytes(*recorded_us),
            log: i64::from_be_bytes(*log),
            index: u64::from_be_bytes(index),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Cursor = Cursor { recorded_us: -5, log: 3, index: u64::MAX };

    #[test]
    fn a_token_opens_for_its_question_under_any_key_of_the_ring() {
        let (old, new) = ([1; 32], [2; 32]);
        let token = seal(&old, b"mine", PLACE).expect("sealed");
        assert_eq!(open([new, old], b"mine", &token), Some(PLACE));
        assert_eq!(open([new], b"mine", &token), None, "its key is gone");
        assert_eq!(open([new, old], b"other", &token), None);
        assert_ne!(seal(&old, b"mine", PLACE), Some(token), "the same place does not look the same");
    }

    #[test]
    fn what_is_no_token_is_not_opened() {
        let token = seal(&[1; 32], b"mine", PLACE).expect("sealed");
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(open([[1; 32]], b"mine", &changed), None, "{changed}");
        }
        for bad in ["", "x", "AAAA", "ë", &"A".repeat(10_000)] {
            assert_eq!(open([[1; 32]], b"mine", bad), None, "{bad}");
        }
    }
}
