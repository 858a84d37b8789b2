//! Making a receipt from the store.

use prost::Message as _;
use ura_log::note::Key;
use ura_proto::ExchangeId;

use super::{Piece, RECEIPT_ENTRIES_MAX, Receipt, Salt};
use crate::{
    entry::kind,
    find::{self, Found, ReadError},
    prove,
    store::Reader,
};

/// The receipt of an exchange: its opening, progress and closing in the log that has its opening, under one
/// checkpoint, if possible one that others cosigned. What a citizen was not told of an exchange is nothing for its parties, so a disclosure is left
/// out. `salt` is for those who have a right to it; `keys` are the log's, as a hint.
///
/// # Errors
/// [`ReadError::NoExchange`]; [`ReadError::NotCovered`] where no checkpoint covers all of it yet;
/// [`ReadError::TooManyEntries`]; or the store was altered.
pub async fn make(
    reader: &Reader,
    exchange: ExchangeId,
    salt: Option<[u8; 32]>,
    keys: &[Key],
) -> Result<Receipt, ReadError> {
    let found = of_one_log(find::exchange(reader, exchange).await?, exchange)?;
    let log = found.first().map(|found| found.log.to_string()).ok_or(ReadError::NoExchange(exchange))?;
    let row = reader.log_by_origin(&log).await?.ok_or_else(|| ReadError::NoLog(log.clone()))?;
    let size = found.last().map_or(0, |last| last.index.saturating_add(1));
    let under = prove::cosigned(reader, row.log, size).await?;
    let places: Vec<_> = found.iter().map(|found| (found.index, found.leaf_hash)).collect();
    let proofs = prove::inclusions(reader, &under, &places).await?;
    let pieces = found.into_iter().zip(proofs).map(|(found, proof)| {
        let (index, leaf_hash) = (found.index, found.leaf_hash);
        // An entry has one encoding, so this is the body that was read.
        Ok(Piece { index, leaf_hash, proof, body: found.into_entry()?.encode_to_vec() })
    });
    let entries = pieces.collect::<Result<_, ReadError>>()?;
    let checkpoint = under.note.to_string();
    Ok(Receipt { log, exchange, salt: salt.map(Salt), entries, checkpoint, keys: keys.to_vec() })
}

/// The entries in the log of the opening. A gateway whose log was ended by another closes its exchanges in
/// the next one, and no checkpoint covers two logs.
fn of_one_log(mut found: Vec<Found>, exchange: ExchangeId) -> Result<Vec<Found>, ReadError> {
    let mut openings = found.iter().filter(|found| found.kind == kind::OPENING);
    let log = openings.next().map(|found| found.log.clone()).ok_or(ReadError::NoExchange(exchange))?;
    if openings.next().is_some() {
        return Err(ReadError::SeveralOpenings(exchange));
    }
    found.retain(|found| found.log == log && found.kind <= kind::CLOSING);
    if found.len() > RECEIPT_ENTRIES_MAX {
        return Err(ReadError::TooManyEntries { exchange, entries_max: RECEIPT_ENTRIES_MAX });
    }
    Ok(found)
}
