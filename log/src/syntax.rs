//! The two kinds of value that the text formats share: decimal numbers and base64. Both have exactly one
//! spelling, so that a text that was read is written again byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Hash;

/// Reads a decimal number without sign, spaces or leading zeroes.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// Reads standard base64 with padding (RFC 4648 section 4); any other spelling of the same bytes is refused.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Writes standard base64 with padding (RFC 4648 section 4).
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads a hash: base64 of 32 bytes.
pub(crate) fn hash(text: &str) -> Option<Hash> {
    base64(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{base64, decimal, hash};

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "18446744073709551616", "٣"] {
            assert_eq!(decimal(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(base64("AAE="), Some(vec![0, 1]));
        for wrong in ["AAE", "AAF=", "AA E=", "AAE=\n", "AAE==", "_-E="] {
            assert_eq!(base64(wrong), None, "{wrong:?}");
        }
        assert_eq!(hash("AAE="), None, "too short for a hash");
        assert_eq!(hash(&super::to_base64(&[7; 32])), Some([7; 32]));
        assert_eq!(hash(&super::to_base64(&[7; 33])), None);
    }
}
