//! Reading the tree of a log: leaves, roots of full subtrees, tiles and the right edge.

use ura_log::{
    Hash,
    proof::Plan,
    tile::{TILE_WIDTH, TileId, Tiles},
    tree::{self, Frontier},
};

use super::{
    ROWS_MAX, Reader, StoreError,
    link::{Link, fetch, hash, signed, unsigned},
};

/// Leaves that one question may be answered with.
const LEAVES_MAX: u64 = 65_536;
/// Tiles that one question may be answered with.
const TILES_MAX: usize = 1024;

impl Reader {
    /// Leaves `from..to`, at most 65,536 of them: SHA-256 of bodies, not the hashes of leaves.
    ///
    /// # Errors
    /// [`StoreError::Altered`] names the first that is missing.
    pub async fn leaves(&self, log: i64, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
        leaves(self.snapshot().await?.link(), log, from, to).await
    }

    /// Roots of subtrees of a level (from 1) from an index on, whatever stands there. At most `limit` and
    /// [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn subtrees(
        &self,
        log: i64,
        level: u8,
        from: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Hash)>, StoreError> {
        let limit = i64::from(limit.min(ROWS_MAX));
        subtrees(self.snapshot().await?.link(), log, level, signed(from)?, limit).await
    }

    /// Tiles, at most 1024.
    ///
    /// # Errors
    /// [`StoreError::Altered`] names what is missing of one of them.
    pub async fn tiles(&self, log: i64, tiles: &[TileId]) -> Result<Tiles, StoreError> {
        if tiles.len() > TILES_MAX {
            return Err(StoreError::Misuse(format!(
                "{} tiles are above the limit of {TILES_MAX}",
                tiles.len()
            )));
        }
        let mut snapshot = self.snapshot().await?;
        let mut held = Tiles::new();
        for tile in tiles {
            let hashes = tile_hashes(snapshot.link(), log, *tile).await?;
            held.insert(*tile, hashes).map_err(|error| StoreError::Misuse(error.to_string()))?;
        }
        Ok(held)
    }

    /// The right edge of the tree of the first `size` leaves, from the subtrees and leaves of the store.
    ///
    /// # Errors
    /// [`StoreError::Altered`] names what is missing.
    pub async fn frontier(&self, log: i64, size: u64) -> Result<Frontier, StoreError> {
        let tiles = self.tiles(log, &Plan::root(size).tiles()).await?;
        let nodes = tree::subtrees(size).into_iter();
        let hashes = nodes.map(|node| tiles.hash(node)).collect::<Result<Vec<_>, _>>();
        let hashes = hashes.map_err(|error| StoreError::altered(error.to_string()))?;
        Frontier::from_subtrees(size, &hashes).map_err(|error| StoreError::Misuse(error.to_string()))
    }
}

/// Leaves `from..to`, all of them there.
pub(super) async fn leaves(link: Link<'_>, log: i64, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
    let wanted = to.saturating_sub(from);
    if wanted > LEAVES_MAX {
        return Err(StoreError::Misuse(format!("{wanted} leaves are above the limit of {LEAVES_MAX}")));
    }
    let rows: Vec<(i64, Vec<u8>)> = fetch!(
        link,
        "select log_index, leaf from entry where log = $1 and log_index >= $2 and log_index < $3 order by log_index",
        log,
        signed(from)?,
        signed(to)?
    )?;
    let mut found = rows.into_iter();
    (from..to)
        .map(|index| match found.next() {
            Some((at, leaf)) if signed(index)? == at => {
                hash(&leaf, || format!("leaf of entry {index} of log {log}"))
            }
            _ => Err(StoreError::altered(format!("entry {index} of log {log} is missing"))),
        })
        .collect()
}

/// Roots of subtrees, whatever stands there.
async fn subtrees(
    link: Link<'_>,
    log: i64,
    level: u8,
    from: i64,
    limit: i64,
) -> Result<Vec<(u64, Hash)>, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> = fetch!(
        link,
        "select idx, hash from subtree where log = $1 and level = $2 and idx >= $3 order by idx limit $4",
        log,
        i64::from(level),
        from,
        limit
    )?;
    let place = |index: i64| format!("subtree {index} of level {level} of log {log}");
    rows.into_iter()
        .map(|(index, bytes)| Ok((unsigned(index, || place(index))?, hash(&bytes, || place(index))?)))
        .collect()
}

/// The hashes of a tile, all of them there.
async fn tile_hashes(link: Link<'_>, log: i64, tile: TileId) -> Result<Vec<Hash>, StoreError> {
    let start = tile.index.saturating_mul(u64::from(TILE_WIDTH));
    let end = start.saturating_add(u64::from(tile.width));
    if tile.level == 0 {
        return Ok(leaves(link, log, start, end).await?.iter().map(|leaf| tree::leaf_hash(leaf)).collect());
    }
    let found = subtrees(link, log, tile.level, signed(start)?, i64::from(tile.width)).await?;
    let mut found = found.into_iter();
    (start..end)
        .map(|index| match found.next() {
            Some((at, hash)) if at == index => Ok(hash),
            _ => Err(StoreError::altered(format!(
                "subtree {index} of level {} of log {log} is missing",
                tile.level
            ))),
        })
        .collect()
}
