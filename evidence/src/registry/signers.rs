//! Keys that a log itself announces: the first one by the entry with which it begins, each later one by a `KeyChange`
//! entry that a checkpoint of the key before covers. Reads only.

use ura_log::{
    checkpoint,
    note::{Key, Kind as KeyKind},
};
use ura_proto::v1::{KeyChange, entry::Kind};

use crate::{
    entry::{self, kind},
    store::{Cursor, Filter, LogRow, Reader, StoreError, StoredRow},
};

/// Changes of a log's keys that are followed. A key a day is one for 2.8 years.
const CHANGES_MAX: usize = 1024;

/// Changes that are read at once.
const CHANGES_AT_ONCE: u32 = 256;

/// The key that a log begins with, as its first entry says; nothing vouches for it.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn first_key(reader: &Reader, log: &LogRow) -> Result<Option<Key>, StoreError> {
    let first = reader.entries(log.log, 0, 1).await?;
    let Some(Kind::Started(started)) = first.first().and_then(said) else { return Ok(None) };
    Ok(Key::parse(&started.log_key).ok().filter(|key| is_of(key, log)))
}

/// A known key of a log, and those that follow from it: each is announced under a checkpoint that the one before
/// signed. The last is the newest.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn keys_from(reader: &Reader, log: &LogRow, known: &Key) -> Result<Vec<Key>, StoreError> {
    let mut keys = vec![known.clone()];
    let mut newest = known.clone();
    for (index, change) in changes(reader, log).await? {
        let Some(next) = Key::parse(&change.log_key).ok().filter(|key| is_of(key, log)) else { continue };
        if change.before != newest.to_string() {
            continue;
        }
        let Some(covering) = reader.checkpoint_at_least(log.log, index.saturating_add(1)).await? else {
            continue;
        };
        let signed = checkpoint::open(&covering.note, &[newest.clone()]);
        if signed.is_ok_and(|(signed, _)| signed.origin == log.origin && signed.size > index) {
            keys.push(next.clone());
            newest = next;
        }
    }
    Ok(keys)
}

/// Whether a key can be one of a log.
fn is_of(key: &Key, log: &LogRow) -> bool {
    key.kind() == KeyKind::Ed25519 && key.name() == log.origin
}

/// What an entry says, if its body is the one of its leaf.
pub(super) fn said(row: &StoredRow) -> Option<Kind> {
    let body = row.body.as_ref().filter(|body| entry::leaf(body) == row.leaf)?;
    entry::decode(body).ok()?.kind
}

/// Changes of a log's own keys in the order of the log.
async fn changes(reader: &Reader, log: &LogRow) -> Result<Vec<(u64, KeyChange)>, StoreError> {
    let filter = Filter { log: Some(log.log), kind: Some(kind::KEY_CHANGE), ..Filter::default() };
    let mut changes = Vec::new();
    let mut after = None;
    while changes.len() < CHANGES_MAX {
        let page = reader.find(&filter, after, CHANGES_AT_ONCE).await?;
        let Some((at, last)) = page.last() else { break };
        after = Some(Cursor::of(*at, last));
        changes.extend(page.iter().filter_map(|(_, row)| match said(row) {
            Some(Kind::KeyChange(change)) if !change.log_key.is_empty() => Some((row.index, change)),
            _ => None,
        }));
    }
    // Found by their times, and a clock may have been set back between two of them.
    changes.sort_by_key(|(index, _)| *index);
    Ok(changes)
}
