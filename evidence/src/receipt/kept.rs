//! What a party kept of an exchange, held against the digests in its entries. Pure.

use aws_lc_rs::digest::{Context, SHA256};
use ura_log::tree;
use ura_proto::v1::{Closing, Opening, Progress, entry::Kind};

use super::{
    Direction, Receipt, ReceiptError, Salt,
    trailer::Trailer,
    verify::{Matched, Proved},
};
use crate::entry::leaf;

/// What a party kept of the exchange. Bytes are gRPC messages with their five-byte prefixes, as they
/// went over the wire; [`framed`] makes that of a message that was sent without compression.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept<'a> {
    /// The whole request.
    pub request: Option<&'a [u8]>,
    /// The whole reply.
    pub reply: Option<&'a [u8]>,
    /// The `ura-receipt` trailer; its salt serves where the receipt has none.
    pub trailer: Option<&'a Trailer>,
}

/// A message with its prefix, as gRPC sends it without compression: a zero byte and the length, 4 bytes,
/// big endian. `None` above the 4 GiB that the length can say.
#[must_use]
pub fn framed(message: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(message.len()).ok()?;
    Some([&[0][..], &length.to_be_bytes(), message].concat())
}

/// The salt by which kept bytes are checked, after the trailer was held against the receipt.
pub(super) fn salt(receipt: &Receipt, kept: &Kept<'_>) -> Result<Option<Salt>, ReceiptError> {
    let Some(trailer) = kept.trailer else { return Ok(receipt.salt) };
    let opening = receipt.entries.first().ok_or(ReceiptError::NoOpening)?;
    // Computed from the body, whatever the receipt says that it is.
    trailer.agrees(&receipt.log, opening.index, &tree::leaf_hash(&leaf(&opening.body)))?;
    if receipt.salt.is_some_and(|salt| salt != trailer.salt) {
        return Err(ReceiptError::OtherTrailer { field: "salt" });
    }
    Ok(Some(trailer.salt))
}

/// Holds the kept request against the entry that commits to all of it, or else to its beginning.
pub(super) fn request(entries: &[Proved], salt: Option<Salt>, bytes: &[u8]) -> Result<Matched, ReceiptError> {
    let told = request_digest(entries).ok_or(ReceiptError::NotRecorded { what: Direction::Request })?;
    told.check(Direction::Request, salt, bytes)
}

/// Holds the kept reply against the closing.
pub(super) fn reply(entries: &[Proved], salt: Option<Salt>, bytes: &[u8]) -> Result<Matched, ReceiptError> {
    let told = entries.iter().rev().find_map(|proved| match &proved.entry.kind {
        Some(Kind::Closing(closing)) if !closing.reply_digest.is_empty() => Some(Told {
            index: proved.index,
            digest: &closing.reply_digest,
            bytes: closing.reply_bytes,
            whole: true,
        }),
        _ => None,
    });
    told.ok_or(ReceiptError::NotRecorded { what: Direction::Reply })?.check(Direction::Reply, salt, bytes)
}

/// The digest that says most of the request: the closing's or a progress's, which cover all of it; else
/// the opening's, which covers all of it where a closing that knows of the request counts no more bytes.
fn request_digest(entries: &[Proved]) -> Option<Told<'_>> {
    let mut told = None;
    let mut ended = false;
    for proved in entries {
        let index = proved.index;
        match &proved.entry.kind {
            Some(Kind::Opening(Opening { request_digest: digest, request_bytes: bytes, .. })) => {
                told = Some(Told { index, digest, bytes: *bytes, whole: false });
            }
            Some(
                Kind::Progress(Progress { request_digest: digest, request_bytes: bytes, .. })
                | Kind::Closing(Closing { request_digest: digest, request_bytes: bytes, .. }),
            ) if !digest.is_empty() => told = Some(Told { index, digest, bytes: *bytes, whole: true }),
            // A closing that was written after a crash knows nothing, not even a reply's digest.
            Some(Kind::Closing(closing)) => {
                let no_more = told.as_ref().is_some_and(|told| told.bytes == closing.request_bytes);
                ended = no_more && !closing.reply_digest.is_empty();
            }
            _ => {}
        }
    }
    told.map(|told| Told { whole: told.whole || ended, ..told })
}

/// What an entry commits to.
struct Told<'e> {
    index: u64,
    digest: &'e [u8],
    bytes: u64,
    /// Whether these were all bytes; else more may have followed.
    whole: bool,
}

impl Told<'_> {
    fn check(&self, what: Direction, salt: Option<Salt>, kept: &[u8]) -> Result<Matched, ReceiptError> {
        let salt = salt.ok_or(ReceiptError::NoSalt)?;
        let &Self { index, bytes, whole, .. } = self;
        let length = u64::try_from(kept.len()).unwrap_or(u64::MAX);
        if length < bytes || (whole && length != bytes) {
            return Err(ReceiptError::Length { what, index, kept: length, recorded: bytes, whole });
        }
        if bytes == 0 && length > 0 {
            return Err(ReceiptError::NotRecorded { what });
        }
        let covered = usize::try_from(bytes).ok().and_then(|bytes| kept.get(..bytes)).unwrap_or(kept);
        let mut context = Context::new(&SHA256);
        context.update(&salt.0);
        context.update(covered);
        if context.finish().as_ref() != self.digest {
            return Err(ReceiptError::Digest { what, index, bytes });
        }
        Ok(Matched { index, bytes, whole })
    }
}
