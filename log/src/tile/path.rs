//! Names of tiles and bundles below the log's root (<https://c2sp.org/tlog-tiles>, "Merkle Tree" and "Log
//! entries"). Each has exactly one spelling.

use super::{TILE_WIDTH, TileError, TileId};

/// Longest name that is looked at, in bytes: the longest real one has 46.
const MAX_PATH_BYTES: usize = 64;

/// Highest level that a name may carry.
const MAX_LEVEL: u8 = 63;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A tile of hashes.
    Tile(TileId),
    /// A bundle of entries.
    Entries {
        /// Position from 0: that of the tile of level 0 with the hashes of these entries.
        index: u64,
        /// Entries in it, 1 to 256.
        width: u16,
    },
}

/// Path of a tile below the log's root, such as `tile/0/x001/x234/067` or, if not full,
/// `tile/0/x001/x234/067.p/5`.
pub fn path(tile: TileId) -> String {
    format!("tile/{}/{}{}", tile.level, index_elements(tile.index), partial(tile.width))
}

/// Path of an entry bundle below the log's root, such as `tile/entries/x001/x234/067.p/5`.
pub fn entries_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}{}", index_elements(index), partial(width))
}

fn index_elements(index: u64) -> String {
    let mut elements = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        elements = format!("x{:03}/{elements}", rest % 1000);
        rest /= 1000;
    }
    elements
}

fn partial(width: u16) -> String {
    if width >= TILE_WIDTH { String::new() } else { format!(".p/{width}") }
}

/// Reads the path of a tile or bundle below the log's root.
///
/// # Errors
/// [`TileError::BadPath`] for anything that [`path`] and [`entries_path`] would not have written.
pub fn parse_path(text: &str) -> Result<Parsed, TileError> {
    let bad = || TileError::BadPath { path: text.chars().take(MAX_PATH_BYTES).collect() };
    if text.len() > MAX_PATH_BYTES {
        return Err(bad());
    }
    let parsed = parse_loosely(text).ok_or_else(bad)?;
    let written = match parsed {
        Parsed::Tile(tile) => path(tile),
        Parsed::Entries { index, width } => entries_path(index, width),
    };
    // One spelling only: leading zeroes and missing or spare elements are caught here.
    if written == text { Ok(parsed) } else { Err(bad()) }
}

fn parse_loosely(text: &str) -> Option<Parsed> {
    let (kind, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let (elements, width) = match rest.split_once(".p/") {
        Some((elements, width)) => (elements, width.parse().ok().filter(|w| (1..TILE_WIDTH).contains(w))?),
        None => (rest, TILE_WIDTH),
    };
    let mut index = 0u64;
    for element in elements.split('/') {
        let digits: u64 = element.trim_start_matches('x').parse().ok().filter(|digits| *digits < 1000)?;
        index = index.checked_mul(1000)?.checked_add(digits)?;
    }
    if kind == "entries" {
        return Some(Parsed::Entries { index, width });
    }
    let level = kind.parse().ok().filter(|level| *level <= MAX_LEVEL)?;
    Some(Parsed::Tile(TileId { level, index, width }))
}

#[cfg(test)]
mod tests {
    use super::{Parsed, entries_path, parse_path, path};
    use crate::tile::TileId;

    #[test]
    fn paths_are_those_of_the_specification() {
        let table = [
            (0, 0, 256, "tile/0/000"),
            (0, 0, 1, "tile/0/000.p/1"),
            (0, 999, 256, "tile/0/999"),
            (0, 1000, 256, "tile/0/x001/000"),
            (1, 1_234_067, 256, "tile/1/x001/x234/067"),
            (63, 1_234_067, 255, "tile/63/x001/x234/067.p/255"),
            (7, u64::MAX, 17, "tile/7/x018/x446/x744/x073/x709/x551/615.p/17"),
        ];
        for (level, index, width, text) in table {
            let tile = TileId { level, index, width };
            assert_eq!(path(tile), text);
            assert_eq!(parse_path(text), Ok(Parsed::Tile(tile)));
        }
        assert_eq!(entries_path(1_234_067, 5), "tile/entries/x001/x234/067.p/5");
        assert_eq!(
            parse_path("tile/entries/x001/x234/067"),
            Ok(Parsed::Entries { index: 1_234_067, width: 256 })
        );
    }

    #[test]
    fn any_other_spelling_is_refused() {
        let long = format!("tile/0/{}067", "x000/".repeat(100));
        let wrong = [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/67",
            "tile/0/0067",
            "tile/00/067",
            "tile/64/067",
            "tile/256/067",
            "tile/-1/067",
            "tile/+1/067",
            "tile/0/x067",
            "tile/0/001/067",
            "tile/0/x000/067",
            "tile/0/xx01/067",
            "tile/0/x01/067",
            "tile/0/x001/67",
            "tile/0/067.p/0",
            "tile/0/067.p/256",
            "tile/0/067.p/01",
            "tile/0/067.p/",
            "tile/0/067.p",
            "tile/0/067.p/5/",
            "tile/0/067/",
            "/tile/0/067",
            "tile/0/../067",
            "tile/data/067",
            "tile/entries",
            "tile/0/+67",
            "tile/0/067.p/+5",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            &long,
        ];
        for text in wrong {
            assert!(parse_path(text).is_err(), "{text:?}");
        }
    }
}
