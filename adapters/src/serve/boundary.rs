//! Where messages begin and end in the bytes of a reply. Pure.

/// How far a stream of length-prefixed messages has come (gRPC over HTTP/2, "Length-Prefixed-Message": a
/// flag and four bytes of length before each).
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// Bytes of a prefix that were seen, 0 to 4.
    prefix: u8,
    /// The length, as far as it was seen.
    length: u32,
    /// Bytes of the message that are to come.
    left: u32,
}

impl Boundary {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut data: &[u8]) {
        while let Some((first, rest)) = data.split_first() {
            if self.left > 0 {
                let inside = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                self.left -= u32::try_from(inside).unwrap_or(self.left);
                data = data.get(inside..).unwrap_or_default();
                continue;
            }
            if self.prefix > 0 {
                self.length = self.length << 8 | u32::from(*first);
            }
            self.prefix += 1;
            if self.prefix == 5 {
                *self = Self { left: self.length, ..Self::default() };
            }
            data = rest;
        }
    }

    /// Whether a message has ended and none has begun.
    pub(super) fn is_between(&self) -> bool {
        self.prefix == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_their_prefix_says_however_they_are_cut() {
        let mut bytes = vec![0, 0, 0, 0, 3, 1, 2, 3, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        bytes.extend(std::iter::repeat_n(7, 256));
        let ends = [0, 8, 13, 18 + 256];
        for size in [1, 2, 3, 5, 7, 1000] {
            let mut boundary = Boundary::default();
            let mut at = 0;
            for part in bytes.chunks(size) {
                assert_eq!(boundary.is_between(), ends.contains(&at), "{at} in parts of {size}");
                boundary.push(part);
                at += part.len();
            }
            assert!(boundary.is_between(), "the end in parts of {size}");
        }
    }
}
