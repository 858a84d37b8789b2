//! The layout of an export: which file holds what (<https://c2sp.org/tlog-tiles>, and docs/evidence.md for what is
//! ours). Pure.

use ura_log::{
    note::Key,
    tile::{Parsed, TileId, entries_path, parse_path},
};

/// The newest checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Older checkpoints, named by their size.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// The folder of bodies.
pub(crate) const BODIES: &str = "bodies";
/// Verifier keys, one on a line: of the log, then of witnesses.
pub(crate) const KEYS: &str = "keys";
/// Largest file of keys, in bytes.
pub(crate) const KEYS_BYTES_MAX: usize = 1 << 20;
/// Path of the bodies that belong to a bundle of leaves.
pub(crate) fn bodies_path(index: u64, width: u16) -> String {
    entries_path(index, width).replacen("tile/entries/", "bodies/", 1)
}

/// Path of an older checkpoint.
pub(crate) fn checkpoint_path(size: u64) -> String {
    format!("{CHECKPOINTS}/{size}")
}

/// Reads a file of keys.
pub(crate) fn read_keys(text: &str) -> Result<Vec<Key>, String> {
    let lines = text.strip_suffix('\n').ok_or("its last line is not ended")?;
    let mut keys = Vec::new();
    for (line, text) in lines.split('\n').enumerate() {
        let key = Key::parse(text).map_err(|error| format!("line {}: {error}", line + 1))?;
        if keys.contains(&key) {
            return Err(format!("line {}: the same key again", line + 1));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Whether a file is one of an export of this size.
pub(crate) fn belongs(path: &str, size: u64) -> bool {
    if path == CHECKPOINT || path == KEYS {
        return true;
    }
    if let Some(name) = path.strip_prefix("checkpoints/") {
        return name.parse::<u64>().is_ok_and(|number| number <= size && number.to_string() == name);
    }
    let bundle = path.strip_prefix("bodies/").map(|rest| format!("tile/entries/{rest}"));
    let right = |level, index| TileId::in_tree(level, index, size);
    match parse_path(bundle.as_deref().unwrap_or(path)) {
        Ok(Parsed::Tile(tile)) => bundle.is_none() && right(tile.level, tile.index) == Some(tile),
        Ok(Parsed::Entries { index, width }) => right(0, index).is_some_and(|tile| tile.width == width),
        Err(_) => false,
    }
}

/// Whether a file is one of an export, whatever its size.
pub(crate) fn of_any_size(path: &str) -> bool {
    let bundle = path.strip_prefix("bodies/").map(|rest| format!("tile/entries/{rest}"));
    let tile = parse_path(bundle.as_deref().unwrap_or(path));
    let tile = tile.is_ok_and(|tile| bundle.is_none() || matches!(tile, Parsed::Entries { .. }));
    tile || belongs(path, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_that_size_belong() {
        let yes = [
            "checkpoint",
            "keys",
            "checkpoints/0",
            "checkpoints/300",
            "tile/0/000",
            "tile/0/001.p/44",
            "tile/1/000.p/1",
            "tile/entries/000",
            "tile/entries/001.p/44",
            "bodies/000",
            "bodies/001.p/44",
        ];
        let no = [
            "",
            "checkpoint.",
            "keys/1",
            "checkpoints/301",
            "checkpoints/01",
            "checkpoints/+1",
            "tile/0/001",
            "tile/0/001.p/43",
            "tile/0/002.p/1",
            "tile/1/000",
            "tile/2/000.p/1",
            "bodies/001",
            "bodies/0",
            "bodies/tile/0/000",
            "bodies/../keys",
            ".unfinished",
            "tile/entries/001.p/45",
        ];
        for path in yes {
            assert!(belongs(path, 300), "{path:?}");
        }
        for path in no {
            assert!(!belongs(path, 300), "{path:?}");
        }
        assert_eq!(bodies_path(1, 44), "bodies/001.p/44");
    }

    #[test]
    fn keys_are_lines() {
        let key = "example.com/log+";
        assert!(read_keys(key).is_err() && read_keys("\n").is_err() && read_keys("").is_err());
    }
}
