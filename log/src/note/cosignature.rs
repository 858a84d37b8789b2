//! Cosignatures with a time (<https://c2sp.org/tlog-cosignature>, Ed25519): what is signed, and how the time
//! stands before the signature.

/// Latest time that a cosignature may carry, in seconds since 1970.
pub const MAX_UNIX_S: u64 = (1 << 63) - 1;

/// What a cosigner signs: a header, the time in seconds since 1970, and the whole text of the note.
pub(super) fn message(unix_s: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {unix_s}\n{text}")
}

/// The signature as it stands in a note: the time as a big-endian `u64`, then the Ed25519 signature.
pub(super) fn join(unix_s: u64, signature: &[u8]) -> Vec<u8> {
    [&unix_s.to_be_bytes()[..], signature].concat()
}

/// Undoes [`join`]; `None` when it is too short or the time above [`MAX_UNIX_S`].
pub(super) fn split(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = bytes.split_first_chunk::<8>()?;
    let unix_s = u64::from_be_bytes(*time);
    (unix_s <= MAX_UNIX_S).then_some((unix_s, signature))
}

/// The time that a cosignature claims, in seconds since 1970.
pub(crate) fn time_of(bytes: &[u8]) -> Option<u64> {
    split(bytes).map(|(unix_s, _)| unix_s)
}
