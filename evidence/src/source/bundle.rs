//! Bundles of bodies in an export: `StoredEntry` messages, each after its length, one bundle for 256
//! entries. Read one entry at a time, so that no file can fill the memory.

use std::io::{self, BufRead, Read as _};

use prost::Message as _;
use ura_proto::v1::StoredEntry;

/// Largest `StoredEntry` that is read or written, in bytes.
pub(crate) const ENTRY_BYTES_MAX: usize = 16 << 20;

/// Why a bundle ends before it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("it ends within an entry")]
    CutShort,
    #[error("an entry would have more than {ENTRY_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is not a StoredEntry in its one encoding: {0}")]
    Malformed(String),
    #[error("it cannot be read: {0}")]
    Io(io::Error),
}

/// Appends an entry to the bytes of a bundle.
pub(crate) fn write(entry: &StoredEntry, bytes: &mut Vec<u8>) -> Result<(), BundleError> {
    if entry.encoded_len() > ENTRY_BYTES_MAX {
        return Err(BundleError::TooLong);
    }
    entry.encode_length_delimited(bytes).map_err(|error| BundleError::Malformed(error.to_string()))
}

/// Reads the next entry and tells how many bytes it took; `None` at the end of the file.
pub(crate) fn next(file: &mut impl BufRead) -> Result<Option<(StoredEntry, u64)>, BundleError> {
    let Some((length, prefix)) = length(file)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let wanted = u64::try_from(length).map_err(|_| BundleError::TooLong)?;
    file.take(wanted).read_to_end(&mut bytes).map_err(BundleError::Io)?;
    if bytes.len() != length {
        return Err(BundleError::CutShort);
    }
    let entry =
        StoredEntry::decode(bytes.as_slice()).map_err(|error| BundleError::Malformed(error.to_string()))?;
    if entry.encode_to_vec() != bytes {
        return Err(BundleError::Malformed("unknown or default fields, or another order".to_owned()));
    }
    Ok(Some((entry, prefix + wanted)))
}

/// The length before an entry, and how many bytes it stands in.
fn length(file: &mut impl BufRead) -> Result<Option<(usize, u64)>, BundleError> {
    let mut prefix = Vec::with_capacity(4);
    loop {
        let byte = match file.fill_buf().map_err(BundleError::Io)?.first() {
            Some(byte) => *byte,
            None if prefix.is_empty() => return Ok(None),
            None => return Err(BundleError::CutShort),
        };
        file.consume(1);
        prefix.push(byte);
        if byte < 0x80 {
            break;
        }
        // 16 MiB have 25 bits, which are four bytes.
        if prefix.len() == 4 {
            return Err(BundleError::TooLong);
        }
    }
    let length = prost::decode_length_delimiter(prefix.as_slice())
        .map_err(|error| BundleError::Malformed(error.to_string()))?;
    if length > ENTRY_BYTES_MAX {
        return Err(BundleError::TooLong);
    }
    if prost::length_delimiter_len(length) != prefix.len() {
        return Err(BundleError::Malformed("its length is not written as shortly as it can be".to_owned()));
    }
    Ok(Some((length, u64::try_from(prefix.len()).expect("at most four"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back_one_by_one() {
        let entries = [
            StoredEntry { log_index: 0, body: vec![1; 300], ..StoredEntry::default() },
            StoredEntry { log_index: 1, removed_by: 9, ..StoredEntry::default() },
            StoredEntry::default(),
        ];
        let mut bytes = Vec::new();
        for entry in &entries {
            write(entry, &mut bytes).expect("short");
        }
        let mut file = bytes.as_slice();
        let mut read = Vec::new();
        let mut length = 0;
        while let Some((entry, bytes)) = next(&mut file).expect("as written") {
            read.push(entry);
            length += bytes;
        }
        assert_eq!(read, entries);
        assert_eq!(usize::try_from(length), Ok(bytes.len()));
        assert!(matches!(next(&mut &bytes[..200]), Err(BundleError::CutShort)));
    }

    #[test]
    fn other_encodings_are_refused() {
        for (bytes, long) in [
            (&[0x80, 0x00][..], false),
            (&[0xff, 0xff, 0xff, 0xff, 0x01], true),
            (&[0xff, 0xff, 0xff, 0x7f], true),
            (&[2, 0x78, 1], false),
            (&[2, 8, 0], false),
            (&[1, 0xff], false),
        ] {
            let error = next(&mut &bytes[..]).expect_err("not the one encoding");
            assert_eq!(matches!(error, BundleError::TooLong), long, "{bytes:?}: {error}");
        }
    }
}
