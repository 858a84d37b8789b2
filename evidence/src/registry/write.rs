//! The next version of the registry: what it says, and how it is written together with the entry that tells of it.

use std::sync::Arc;

use ura_log::{
    checkpoint,
    note::{Key, Note, Signer},
    tree::empty_root,
};
use ura_proto::{
    SystemId,
    v1::{RegistryChange, entry::Kind},
};

use super::{LOGS_MAX, Listed, Registry, RegistryError, signers};
use crate::{
    entry::Row,
    extend::{edge, extend},
    keys::EpochKeys,
    mark::Marks,
    store::{Appender, LogRow, Reader, Store, StoreError},
};

/// Times that others may be quicker before a version is given up.
const ATTEMPTS_MAX: u32 = 16;

/// The gateway that writes a version: its log, and the key that signs that log.
#[derive(Clone, Debug)]
pub struct Own {
    /// Name of its log.
    pub origin: String,
    /// Its system.
    pub gateway: SystemId,
    /// The newest key of its log, named by `origin`.
    pub signer: Arc<Signer>,
    /// The epoch keys of the bus, by which what it appends is marked.
    pub epochs: EpochKeys,
}

/// Writes the next version, if there is something to tell: the gateway's own log or its newest key is not listed, a
/// log was sealed since, or a key was listed since that this gateway has not signed for yet: whoever knows one gateway
/// knows all by it. Others that write at once are waited for. Returns the version that was written; `None` where
/// the newest one already says all. The entry in the gateway's own log stands in the same transaction.
///
/// # Errors
/// [`RegistryError`]; nothing was written then, or as with every commit it cannot be told.
/// [`RegistryError::Replaced`]: another process of this gateway signs with a newer key by now; read it and try again.
pub async fn announce(
    store: &mut Store,
    reader: &Reader,
    own: &Own,
    now_us: i64,
) -> Result<Option<u64>, RegistryError> {
    for _ in 0..ATTEMPTS_MAX {
        let rows = reader.logs().await?;
        let row = rows.iter().find(|row| row.origin == own.origin);
        let row = row.ok_or_else(|| RegistryError::NoLog(own.origin.clone()))?;
        let newest = newest(reader).await?;
        let mut changed = vec![own_line(reader, row, own, newest.as_ref()).await?];
        for other in rows.iter().filter(|other| other.sealed && other.origin != own.origin) {
            changed.extend(sealed_line(reader, other, newest.as_ref(), own.signer.key()).await?);
        }
        let confirms = is_behind(reader, newest.as_ref(), own).await?;
        let Some(next) = following(newest.as_ref(), changed, confirms)? else { return Ok(None) };
        if write(store, reader, row, newest.as_ref(), &next, own, now_us).await? {
            return Ok(Some(next.version));
        }
    }
    Err(RegistryError::Contended)
}

/// The newest version, if its author's signature holds.
pub(crate) async fn newest(reader: &Reader) -> Result<Option<Registry>, RegistryError> {
    let Some((version, note)) = reader.newest_registry().await? else { return Ok(None) };
    let unsound = |what: String| RegistryError::Unsound { version, what };
    let (registry, _) = Registry::open(&note).map_err(|error| unsound(error.to_string()))?;
    if registry.version != version {
        return Err(unsound(format!("its text says that it is version {}", registry.version)));
    }
    Ok(Some(registry))
}

/// Whether keys were listed since the last version that the gateway's own log signed. Versions of which one cannot be
/// read are not signed for: verification tells of it.
async fn is_behind(reader: &Reader, newest: Option<&Registry>, own: &Own) -> Result<bool, StoreError> {
    // One that is not listed never wrote a version: what it writes as its first it signs for.
    let Some(newest) = newest.filter(|newest| newest.log(&own.origin).is_some()) else { return Ok(false) };
    for version in (1..=newest.version).rev() {
        let Some(note) = reader.registry(version).await? else { return Ok(false) };
        let Ok((registry, signer)) = Registry::open(&note) else { return Ok(false) };
        if signer.name() == own.origin {
            let signed = registry.keys();
            return Ok(newest.keys().iter().any(|key| !signed.contains(key)));
        }
    }
    Ok(false)
}

/// Whether the gateway's own log goes on under a later key than the one that is to sign: a checkpoint of it stands, or
/// the newest version lists it. To list the older one again would be to take the change back.
async fn is_replaced(
    reader: &Reader,
    row: &LogRow,
    own: &Own,
    newest: Option<&Registry>,
) -> Result<bool, StoreError> {
    let keys = signers::keys_from(reader, row, own.signer.key()).await?;
    let later = keys.get(1..).unwrap_or_default();
    if later.is_empty() {
        return Ok(false);
    }
    let is_listed = |newest: &Registry| newest.log(&own.origin).is_some_and(|own| later.contains(&own.key));
    if newest.is_some_and(is_listed) {
        return Ok(true);
    }
    let last = reader.newest_checkpoint(row.log).await?;
    Ok(last.is_some_and(|last| checkpoint::open(&last.note, later).is_ok()))
}

/// Inserts a version with its entry; `false`: somebody else was quicker.
async fn write(
    store: &mut Store,
    reader: &Reader,
    row: &LogRow,
    newest: Option<&Registry>,
    next: &Registry,
    own: &Own,
    now_us: i64,
) -> Result<bool, RegistryError> {
    let note = Note::sign(next.text(), &own.signer)?.to_string();
    let change = RegistryChange { version: next.version, digest: next.digest().to_vec() };
    let mut tree = edge(reader, row).await?;
    let mut append = store.begin(row.log, Appender::Guest, 1, now_us).await?;
    if !append.registry(next.version, &note).await? {
        return Ok(false);
    }
    // Asked while the log is locked: no checkpoint of another key comes between the answer and the commit.
    if is_replaced(reader, row, own, newest).await? {
        return Err(RegistryError::Replaced(own.origin.clone()));
    }
    let entry = Row::new(None, now_us, Kind::RegistryChange(change));
    extend(&mut append, &mut tree, &[entry], Marks::new(&row.origin, &own.epochs)).await?;
    append.commit().await?;
    Ok(true)
}

/// The version after `newest` in which these lines are as given; `None` where they are already, but for how far their
/// logs have grown, unless it `confirms` what others wrote.
fn following(
    newest: Option<&Registry>,
    changed: Vec<Listed>,
    confirms: bool,
) -> Result<Option<Registry>, RegistryError> {
    let says = |line: &Listed| {
        let listed = newest.and_then(|newest| newest.log(&line.origin));
        listed.is_some_and(|listed| {
            (&listed.key, &listed.gateway, listed.sealed) == (&line.key, &line.gateway, line.sealed)
        })
    };
    if !confirms && changed.iter().all(says) {
        return Ok(None);
    }
    let mut logs = newest.map(|newest| newest.logs.clone()).unwrap_or_default();
    for line in changed {
        match logs.iter_mut().find(|listed| listed.origin == line.origin) {
            Some(listed) => *listed = line,
            None => logs.push(line),
        }
    }
    if logs.len() > LOGS_MAX {
        return Err(RegistryError::TooManyLogs);
    }
    logs.sort_by(|a, b| a.origin.cmp(&b.origin));
    let version = newest.map_or(0, |newest| newest.version) + 1;
    Ok(Some(Registry { version, before: newest.map(Registry::digest), logs }))
}

/// How the author lists its own log.
async fn own_line(
    reader: &Reader,
    row: &LogRow,
    own: &Own,
    newest: Option<&Registry>,
) -> Result<Listed, RegistryError> {
    let key = own.signer.key().clone();
    let listed = newest.and_then(|newest| newest.log(&own.origin));
    let mut keys = vec![key.clone()];
    keys.extend(listed.map(|listed| listed.key.clone()).filter(|listed| *listed != key));
    let (mut size, mut root) = listed.map_or((0, empty_root()), |listed| (listed.size, listed.root));
    if let Some(newest) = reader.newest_checkpoint(row.log).await?
        && let Ok((signed, _)) = checkpoint::open(&newest.note, &keys)
        && signed.origin == own.origin
        && signed.size >= size
    {
        (size, root) = (signed.size, signed.root);
    }
    let (origin, gateway) = (own.origin.clone(), own.gateway.to_string());
    Ok(Listed { origin, gateway, sealed: false, size, root, key })
}

/// How a log is listed that another sealed: with the checkpoint that ended it. `None` where no listed key signed that.
async fn sealed_line(
    reader: &Reader,
    row: &LogRow,
    newest: Option<&Registry>,
    own: &Key,
) -> Result<Option<Listed>, StoreError> {
    let listed = newest.and_then(|newest| newest.log(&row.origin));
    if let Some(listed) = listed.filter(|listed| listed.sealed) {
        return Ok(Some(listed.clone()));
    }
    let key = match listed {
        Some(listed) => Some(listed.key.clone()),
        // It ended before its gateway came to list it.
        None => signers::first_key(reader, row).await?,
    };
    let (Some(key), Some(last)) = (key, reader.newest_checkpoint(row.log).await?) else { return Ok(None) };
    let keys = signers::keys_from(reader, row, &key).await?;
    let mut sealers = newest.map(Registry::keys).unwrap_or_default();
    sealers.extend(keys.iter().cloned().chain([own.clone()]));
    match checkpoint::open(&last.note, &sealers) {
        Ok((signed, _)) if signed.origin == row.origin && signed.size == row.size => Ok(Some(Listed {
            origin: row.origin.clone(),
            gateway: row.gateway.clone(),
            sealed: true,
            size: signed.size,
            root: signed.root,
            key: keys.last().cloned().unwrap_or(key),
        })),
        _ => {
            tracing::error!(log = %row.origin, "a log is marked as sealed, but no listed key signed its end; it is not listed as sealed");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use ura_log::note::Kind as KeyKind;

    use super::*;

    fn line(origin: &str, size: u64, sealed: bool, key: u8) -> Listed {
        let key = Key::new(origin, KeyKind::Ed25519, [key; 32]).expect("a key");
        let root = if size == 0 { empty_root() } else { [7; 32] };
        Listed { origin: origin.into(), gateway: "ais/gateway".into(), sealed, size, root, key }
    }

    #[test]
    fn a_version_follows_only_where_something_changed() {
        let first = following(None, vec![line("b", 0, false, 1)], false).expect("few").expect("the first");
        assert_eq!((first.version, first.before, first.logs.len()), (1, None, 1));
        let same = following(Some(&first), vec![line("b", 99, false, 1)], false).expect("few");
        assert_eq!(same, None, "a log grows all the time");
        let changes =
            [line("b", 0, false, 2), line("a", 0, false, 1), line("b", 5, true, 1)].map(|line| vec![line]);
        for changed in changes {
            let next = following(Some(&first), changed.clone(), false).expect("few").expect("a change");
            assert_eq!((next.version, next.before), (2, Some(first.digest())));
            assert_eq!(next.log(&changed[0].origin), Some(&changed[0]));
            assert!(next.logs.is_sorted_by_key(|log| log.origin.clone()));
            assert!(next.log("b").is_some(), "what was listed stays");
            assert!(Registry::parse(&next.text()).is_ok());
        }
    }

    #[test]
    fn a_version_has_no_more_logs_than_can_be_read() {
        let lines = (0..=LOGS_MAX).map(|number| line(&format!("log-{number}"), 0, false, 1)).collect();
        assert!(matches!(following(None, lines, false), Err(RegistryError::TooManyLogs)));
    }
}
