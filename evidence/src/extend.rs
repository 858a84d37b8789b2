//! A few rows appended to a log by who does not hold its tree in memory: an operator's command, a gateway that seals
//! another's log. Whoever writes the log all the time takes them in with its next commit. Knows leaves and hashes, not
//! what an entry says.

use ura_log::{
    Hash,
    tree::{Frontier, leaf_hash},
};

use crate::{
    entry::Row,
    keys::EpochKeys,
    mark::Marks,
    store::{Append, Appender, LogRow, Reader, Store, StoreError},
};

/// Leaves of others that are read at once.
const LEAVES_AT_ONCE: u64 = 16_384;

/// Height of a tile: subtrees of heights that are multiples of it are stored.
const TILE_HEIGHT: u8 = 8;

/// The right edge of a log's tree as the log stands now, read before an append begins: while it is open the log's own
/// writer waits.
///
/// # Errors
/// [`StoreError::Altered`] names what is missing of the tree.
pub(crate) async fn edge(reader: &Reader, log: &LogRow) -> Result<Frontier, StoreError> {
    reader.frontier(log.log, log.size).await
}

/// Takes the entries of a log up to `size` into the edge of its tree, leaf by leaf: where nothing is signed the stored
/// hashes of subtrees prove nothing.
///
/// # Errors
/// [`StoreError::Altered`] where an entry is missing.
pub(crate) async fn take_in(
    reader: &Reader,
    log: i64,
    tree: &mut Frontier,
    size: u64,
) -> Result<(), StoreError> {
    while tree.size() < size {
        let to = size.min(tree.size().saturating_add(LEAVES_AT_ONCE));
        let leaves = reader.leaves(log, tree.size(), to).await?;
        leaves.iter().for_each(|leaf| tree.append(leaf_hash(leaf)));
    }
    Ok(())
}

/// Appends an entry to a log that another process may be writing; returns its index. On return it is on disk. Signs
/// nothing: the gateway's next checkpoint covers it.
///
/// # Errors
/// The log is sealed, [`StoreError::Foreign`] where its mark is made by none of the epoch keys, or the store says no.
pub async fn append(
    reader: &Reader,
    store: &mut Store,
    log: &LogRow,
    epochs: &EpochKeys,
    row: Row,
    now_us: i64,
) -> Result<u64, StoreError> {
    let mut tree = edge(reader, log).await?;
    let mut append = store.begin(log.log, Appender::Guest, 1, now_us).await?;
    let index = append.first();
    extend(&mut append, &mut tree, &[row], Marks::new(&log.origin, epochs)).await?;
    append.commit().await?;
    Ok(index)
}

/// Inserts all rows of an append, with the roots of the subtrees that they fill, and sets the mark, which is returned.
/// `tree` becomes the edge behind them: to be thrown away where the append is not committed.
///
/// # Errors
/// [`StoreError::Altered`] where the log is shorter than the edge that was read before, or an entry is missing;
/// [`StoreError::Foreign`] where the mark that stands is not one of the entries that stand.
pub(crate) async fn extend(
    append: &mut Append<'_>,
    tree: &mut Frontier,
    rows: &[Row],
    marks: Marks<'_>,
) -> Result<Hash, StoreError> {
    let first = append.first();
    if first < tree.size() {
        let what = format!("a log that had {} entries has {first}: it was rolled back", tree.size());
        return Err(StoreError::altered(what));
    }
    let mut subtrees = Vec::new();
    let mut add = |tree: &mut Frontier, leaf: &Hash| {
        tree.append_telling(leaf_hash(leaf), |height, index, hash| {
            if height > 0 && height % TILE_HEIGHT == 0 {
                subtrees.push((height / TILE_HEIGHT, index, *hash));
            }
        });
    };
    let is_known = tree.size() == first && marks.known == Some(append.standing());
    while tree.size() < first {
        let to = first.min(tree.size().saturating_add(LEAVES_AT_ONCE));
        // Subtrees that these fill are there already; inserting them again changes nothing.
        append.leaves(tree.size(), to).await?.iter().for_each(|leaf| add(tree, leaf));
    }
    if !is_known && !marks.are_right(tree, append.standing()) {
        return Err(StoreError::Foreign { origin: marks.origin.to_owned(), from: None, size: first });
    }
    rows.iter().for_each(|row| add(tree, &row.leaf));
    append.insert(rows).await?;
    append.subtrees(&subtrees).await?;
    marks.set(append, tree).await
}
