//! The steps that end a log, each of which may be the last that its process takes: the log is checked, its lease taken,
//! its open exchanges closed, and then the entry, the last checkpoint and the mark stand in one transaction.

use ura_log::{
    checkpoint::{self, Checkpoint},
    note::Key,
    tree::Frontier,
};
use ura_proto::v1::{Seal, entry::Kind};
use ura_runtime::clock::Clock;

use super::{REASON_BYTES_MAX, SealError, Sealed};
use crate::{
    entry::Row,
    extend::{extend, take_in},
    keys::EpochKeys,
    lease::Holder,
    mark::Marks,
    registry::{Own, first_key, keys_from, newest},
    store::{Appender, LogRow, NewLease, Reader, Store, StoreError},
    sweep::{self, Sweep},
};

/// A log whose entries are those that its own gateway signed, as far as it did.
pub(super) struct Sound {
    row: LogRow,
    /// The edge of its tree behind all its entries.
    tree: Frontier,
}

/// Checks a log as it stands now: its newest checkpoint is signed by its own key and has the root of the entries, and so
/// has what the registry lists of it. Full tiles are taken by their stored hashes: with them the root is the one that was
/// signed, so what is signed on top of it is right, whatever became of the entries below, which verification tells.
/// What nobody signed yet was written by who has the epoch keys, as the mark says.
pub(super) async fn check(reader: &Reader, epochs: &EpochKeys, row: &LogRow) -> Result<Sound, SealError> {
    let unsound = |what: String| SealError::Unsound { origin: row.origin.clone(), what };
    let altered = |error: StoreError| match error {
        StoreError::Altered { what } => unsound(what),
        error => error.into(),
    };
    let registry = newest(reader).await?;
    let listed = registry.as_ref().and_then(|registry| registry.log(&row.origin));
    // Checkpoints before the size: a log that is still written grows.
    let newest = reader.newest_checkpoint(row.log).await?;
    let row = reader.log_by_origin(&row.origin).await?.ok_or_else(|| SealError::NoLog(row.origin.clone()))?;
    let mut roots = Vec::new();
    if let Some(listed) = listed {
        roots.push((listed.size, listed.root, "the registry lists"));
    }
    if let Some(newest) = &newest {
        let first = match listed {
            Some(listed) => Some(listed.key.clone()),
            None => first_key(reader, &row).await?,
        };
        let first =
            first.ok_or_else(|| unsound("neither the registry nor its first entry names its key".into()))?;
        let keys: Vec<Key> = keys_from(reader, &row, &first).await?;
        let (signed, _) = checkpoint::open(&newest.note, &keys).map_err(|error| {
            unsound(format!("its newest checkpoint is not signed by its own key: {error}"))
        })?;
        if signed.origin != row.origin {
            return Err(unsound(format!("its newest checkpoint is one of log `{}`", signed.origin)));
        }
        roots.push((signed.size, signed.root, "its newest checkpoint covers"));
    }
    roots.sort_by_key(|(size, _, _)| *size);
    let (mut tree, mut covered) = (Frontier::new(), 0);
    for (size, root, who) in roots {
        if size > row.size {
            return Err(unsound(format!("it has {} entries, and {who} {size}: it was cut off", row.size)));
        }
        tree = reader.frontier(row.log, size).await.map_err(altered)?;
        if tree.root() != root {
            return Err(unsound(format!("its first {size} entries do not have the root that {who}")));
        }
        covered = size;
    }
    take_in(reader, row.log, &mut tree, row.size).await.map_err(altered)?;
    if covered < row.size && !Marks::new(&row.origin, epochs).are_right(&tree, &row.mark) {
        return Err(foreign(&row.origin, covered));
    }
    Ok(Sound { row, tree })
}

/// Takes the lease of a log as it was seen, with nobody before; the token, or `None` where somebody was quicker.
pub(super) async fn take(store: &mut Store, seen: &LogRow) -> Result<Option<i64>, StoreError> {
    let (token, holder) = (next_token(seen), Holder::own().to_string());
    let lease = NewLease { token, holder, previous_token: 0, previous_holder: String::new() };
    Ok(store.take(seen.log, seen, &lease).await?.then_some(token))
}

/// The token under which a log as it was seen is taken.
pub(super) fn next_token(seen: &LogRow) -> i64 {
    seen.last_token.max(seen.token).saturating_add(1)
}

/// Closes what is open in a log that was taken, and ends it. What was written between the check and the lease is taken
/// in; what was removed meanwhile is found.
pub(super) async fn end(
    store: &mut Store,
    reader: &Reader,
    sound: &Sound,
    token: i64,
    own: &Own,
    reason: &str,
    clock: &Clock,
) -> Result<Sealed, SealError> {
    let by = Appender::Holder(token);
    let (row, mut tree) = (&sound.row, sound.tree.clone());
    let mut mark = row.mark.clone();
    let log = row.log;
    // Nobody else but a command appends from here on.
    let below = reader.log_by_origin(&row.origin).await?.map_or(row.size, |row| row.size);
    let mut sweep = Sweep { log, next: row.swept, below };
    let mut closed = 0;
    while !sweep.is_done() {
        let looked = sweep.look(reader.clone()).await?;
        let now_us = clock.unix_us();
        let closings: Vec<Row> =
            looked.unclosed.iter().filter_map(|row| sweep::closing(row, now_us)).collect();
        // Without any it still is a sign of life: nobody else takes the log meanwhile.
        let mut append = store.begin(log, by, closings.len(), now_us).await?;
        let mut grown = tree.clone();
        let marks = Marks { origin: &row.origin, epochs: &own.epochs, known: Some(&mark) };
        let next = extend(&mut append, &mut grown, &closings, marks).await;
        let next = next.map_err(|error| unmarked(error, tree.size()))?;
        append.commit().await?;
        (tree, mark) = (grown, next.to_vec());
        closed += u64::try_from(closings.len()).unwrap_or(0);
        sweep.next = looked.upto;
    }
    let now_us = clock.unix_us();
    let seal = Seal { by: own.origin.clone(), reason: cut(reason).to_owned() };
    let mut append = store.begin(log, by, 1, now_us).await?;
    let marks = Marks { origin: &row.origin, epochs: &own.epochs, known: Some(&mark) };
    let covered = tree.size();
    let extended = extend(&mut append, &mut tree, &[Row::new(None, now_us, Kind::Seal(seal))], marks).await;
    extended.map_err(|error| unmarked(error, covered))?;
    let (size, root) = (tree.size(), tree.root());
    let last = Checkpoint { origin: row.origin.clone(), size, root, extensions: Vec::new() };
    append.checkpoint(size, &last.sign(&own.signer)?.to_string(), now_us, true).await?;
    append.seal().await?;
    append.commit().await?;
    tracing::warn!(log = %row.origin, by = %own.origin, size, closed, reason = cut(reason), "a log is sealed");
    // Nobody can use the token any more; it goes for tidiness.
    if let Err(error) = store.release(log, token).await {
        tracing::debug!(%error, "the lease of a sealed log was not given back");
    }
    Ok(Sealed { size, closed })
}

/// Entries behind the `covered` first that only somebody with the database appended.
fn foreign(origin: &str, covered: u64) -> SealError {
    let what = format!(
        "entries from {covered} on were not written by this bus: its mark was made by none of the epoch keys in the \
         folder `keys`"
    );
    SealError::Unsound { origin: origin.to_owned(), what }
}

/// The same, where it is found as the log is extended.
fn unmarked(error: StoreError, covered: u64) -> SealError {
    match error {
        StoreError::Foreign { origin, .. } => foreign(&origin, covered),
        error => error.into(),
    }
}

/// A reason of bounded length.
fn cut(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(REASON_BYTES_MAX)).unwrap_or_default()
}
