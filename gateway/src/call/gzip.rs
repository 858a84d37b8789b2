//! Looking into gzip messages, with a bound: a small message must not grow without one.

use std::{borrow::Cow, io::Read};

use super::{Encoding, frame::Message};

/// Why a message cannot be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InflateError {
    /// The message says it is compressed, the call says it is not.
    #[error("a message is compressed, but grpc-encoding names no compression")]
    NotDeclared,
    /// Not gzip.
    #[error("a message is not valid gzip")]
    NotGzip,
    /// Something follows the first member (RFC 1952 section 2.2). Some servers read one member and some
    /// all of them: what is scanned here must be what the adapter reads.
    #[error("a message has more than one gzip member")]
    Trailing,
    /// More than the bound.
    #[error("a message inflates to more than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
}

/// The plain bytes of a message.
pub(crate) fn plain(
    message: &Message,
    encoding: Encoding,
    bytes_max: usize,
) -> Result<Cow<'_, [u8]>, InflateError> {
    match (message.compressed, encoding) {
        (false, _) => Ok(Cow::Borrowed(&message.bytes)),
        (true, Encoding::Identity) => Err(InflateError::NotDeclared),
        (true, Encoding::Gzip) => {
            let mut out = Vec::new();
            let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
            let mut member = flate2::bufread::GzDecoder::new(&message.bytes[..]);
            Read::by_ref(&mut member).take(bound).read_to_end(&mut out).map_err(|_| InflateError::NotGzip)?;
            if out.len() > bytes_max {
                return Err(InflateError::TooLarge { bytes_max });
            }
            if !member.into_inner().is_empty() {
                return Err(InflateError::Trailing);
            }
            Ok(Cow::Owned(out))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(data: &[u8]) -> Message {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).expect("memory");
        Message { compressed: true, bytes: encoder.finish().expect("memory").into() }
    }

    #[test]
    fn inflates_within_the_bound_only() {
        let message = gzip(&[b'a'; 1000]);
        assert_eq!(plain(&message, Encoding::Gzip, 1000).expect("fits").len(), 1000);
        assert_eq!(plain(&message, Encoding::Gzip, 999), Err(InflateError::TooLarge { bytes_max: 999 }));
        assert_eq!(plain(&message, Encoding::Identity, 1000), Err(InflateError::NotDeclared));
        let two = [&gzip(b"a").bytes[..], &gzip(b"b").bytes].concat();
        let two = Message { compressed: true, bytes: two.into() };
        assert_eq!(plain(&two, Encoding::Gzip, 1000), Err(InflateError::Trailing));
        let broken = Message { compressed: true, bytes: bytes::Bytes::from_static(b"no gzip") };
        assert_eq!(plain(&broken, Encoding::Gzip, 1000), Err(InflateError::NotGzip));
    }
}
