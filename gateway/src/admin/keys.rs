//! The key of a log's checkpoints, as the log itself announces it: whoever starts to write names its key,
//! and a new key is named before it signs. A hint for those who have none of the keys yet; whom to trust they
//! learn elsewhere.

use ura_evidence::{
    entry::kind,
    find::{self, Found, ReadError},
    store::{Filter, Reader},
};
use ura_log::note::{Key, Note};
use ura_proto::v1::entry::Kind;

/// Changes of a key that are looked at, from the newest on.
const CHANGES_MAX: u32 = 100;

/// Keys that the entries of a log announce, the last announced one first.
pub(super) async fn announced(reader: &Reader, log: i64) -> Result<Vec<Key>, ReadError> {
    let of_kind = |kind, limit| async move {
        let filter = Filter { log: Some(log), kind: Some(kind), ..Filter::default() };
        find::find(reader, &filter, None, limit).await
    };
    let mut found = of_kind(kind::STARTED, 1).await?.entries;
    found.extend(of_kind(kind::KEY_CHANGE, CHANGES_MAX).await?.entries);
    found.sort_unstable_by_key(|found| std::cmp::Reverse(found.index));
    Ok(found.iter().filter_map(named).collect())
}

/// The key of the log that an entry names.
fn named(found: &Found) -> Option<Key> {
    let key = match &found.entry()?.kind {
        Some(Kind::Started(started)) => &started.log_key,
        Some(Kind::KeyChange(change)) => &change.log_key,
        _ => return None,
    };
    Key::parse(key).ok()
}

/// The key among those announced that signed a checkpoint.
pub(super) fn signing<'k>(note: &Note, announced: &'k [Key]) -> Option<&'k Key> {
    announced.iter().find(|key| note.verify(std::slice::from_ref(*key)).is_ok())
}
