//! What an operator's command says in a log, as a guest beside the gateway that writes it; and the keys that a log
//! announces. Signs nothing: the gateway's next checkpoint covers it.

use ura_evidence::{
    entry::{Row, kind},
    extend, find,
    keys::EpochKeys,
    store::{Filter, LogRow, Reader, Store},
};
use ura_log::note::Key;
use ura_proto::v1::entry::Kind;
use ura_runtime::clock::Clock;

use super::failure::Failure;

/// Changes of the log's key that are looked at, from the newest on.
const CHANGES_MAX: u32 = 100;

/// Appends an entry of the log itself; returns its index. On return it is on disk.
///
/// # Errors
/// The log is sealed, or the store says no.
pub(super) async fn append(
    reader: &Reader,
    store: &mut Store,
    log: &LogRow,
    epochs: &EpochKeys,
    kind: Kind,
) -> Result<u64, Failure> {
    let now_us = Clock::system().unix_us();
    Ok(extend::append(reader, store, log, epochs, Row::new(None, now_us, kind), now_us).await?)
}

/// The keys that the entries of a log announce.
pub(super) async fn announced(reader: &Reader, origin: &str) -> Result<Vec<Key>, Failure> {
    let Some(row) = reader.log_by_origin(origin).await? else { return Ok(Vec::new()) };
    let mut keys = Vec::new();
    for (kind, limit) in [(kind::STARTED, 1), (kind::KEY_CHANGE, CHANGES_MAX)] {
        let filter = Filter { log: Some(row.log), kind: Some(kind), ..Filter::default() };
        for entry in find::find(reader, &filter, None, limit).await?.entries {
            let key = match entry.entry().and_then(|entry| entry.kind.as_ref()) {
                Some(Kind::Started(started)) => &started.log_key,
                Some(Kind::KeyChange(change)) => &change.log_key,
                _ => continue,
            };
            keys.extend(Key::parse(key));
        }
    }
    Ok(keys)
}
