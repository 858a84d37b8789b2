//! The key of the gateway that ended a log: the export names it, since it signed the last checkpoint. Where the key is
//! to be believed from is for the reader to decide.

use ura_log::note::{Key, Note};
use ura_proto::v1::entry::Kind;

use super::ExportError;
use crate::{
    entry::{self, kind},
    registry::{Registry, first_key, keys_from},
    store::{CheckpointRow, Filter, LogRow, Reader},
};

/// The key that signed the last checkpoint of a log that another gateway ended, as the registry or that gateway's own log
/// names it. `None` where a key of the log itself signed, or where the other one is not known.
pub(super) async fn key(
    reader: &Reader,
    log: &LogRow,
    last: &CheckpointRow,
    own: &[Key],
) -> Result<Option<Key>, ExportError> {
    let Ok(note) = Note::parse(&last.note) else { return Ok(None) };
    let signed = |key: &Key| note.verify(std::slice::from_ref(key)).is_ok();
    if own.iter().any(signed) {
        return Ok(None);
    }
    let Some(by) = ended_by(reader, log).await? else { return Ok(None) };
    Ok(candidates(reader, &by).await?.into_iter().find(|key| key.name() == by && signed(key)))
}

/// The log of the gateway that ended this one, as its newest entry of that kind says.
async fn ended_by(reader: &Reader, log: &LogRow) -> Result<Option<String>, ExportError> {
    let filter = Filter { log: Some(log.log), kind: Some(kind::SEAL), ..Filter::default() };
    let found = reader.find(&filter, None, 1).await?;
    let body = found.first().and_then(|(_, row)| row.body.as_ref());
    Ok(match body.and_then(|body| entry::decode(body).ok()).and_then(|entry| entry.kind) {
        Some(Kind::Seal(seal)) => Some(seal.by),
        _ => None,
    })
}

/// Keys of a log by the registry and by its own entries.
async fn candidates(reader: &Reader, origin: &str) -> Result<Vec<Key>, ExportError> {
    let newest = reader.newest_registry().await?.and_then(|(_, note)| Registry::open(&note).ok());
    let listed = newest.and_then(|(registry, _)| registry.log(origin).map(|listed| listed.key.clone()));
    let mut keys = Vec::from_iter(listed);
    // It may have changed since.
    if let Some(row) = reader.log_by_origin(origin).await?
        && let Some(first) = first_key(reader, &row).await?
    {
        keys.extend(keys_from(reader, &row, &first).await?);
    }
    Ok(keys)
}
