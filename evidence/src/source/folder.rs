//! An export in a folder (docs/evidence.md, "Exports"), read a block at a time. Every file is opened only
//! when it is a regular one of the length that it must have, so that a hostile export cannot stop or fill us.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use ura_log::{
    Hash,
    checkpoint::Checkpoint,
    note::{Key, MAX_NOTE_BYTES, Note},
    tile::{self, TILE_WIDTH, TileId, entries_path},
};
use ura_proto::v1::StoredEntry;

use super::{
    Block, BlockFiles, Body, Found, Noted, Seen, SourceError, Subtree, bundle,
    files::{contents, regular, text, told, visit},
    layout::{
        BODIES, CHECKPOINT, CHECKPOINTS, KEYS, KEYS_BYTES_MAX, belongs, bodies_path, checkpoint_path,
        read_keys,
    },
};
use crate::verify::{
    problem::{Fault, FilePlace, Place},
    reading::{Beside, read, read_removed},
    tree::BLOCK,
};

/// Most older checkpoints: their sizes are held in memory, 8 MiB.
const CHECKPOINTS_MAX: usize = 1 << 20;
/// Deepest folder: `tile/LEVEL/` and seven elements of an index, and `.p`.
const DEPTH_MAX: usize = 12;
/// A leaf in its bundle: two bytes of length before it.
const LEAF_BYTES: usize = 34;

/// An export.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    origin: String,
    size: u64,
    note: String,
    keys: Vec<Key>,
    /// What is wrong with the file of keys or with the folder of checkpoints.
    faults: Vec<(&'static str, String)>,
    sizes: Vec<u64>,
    /// One tile for each level; `None` where it could not be read.
    tiles: BTreeMap<u8, (u64, Option<Vec<Hash>>)>,
}

impl Folder {
    pub(crate) fn open(root: &Path) -> Result<Self, SourceError> {
        let wrong = |path: &Path, problem: String| SourceError::NotAnExport {
            path: path.display().to_string(),
            problem,
        };
        if !root.is_dir() {
            return Err(wrong(root, "there is no such folder".to_owned()));
        }
        let path = root.join(CHECKPOINT);
        let note = text(root, CHECKPOINT, MAX_NOTE_BYTES).map_err(|problem| {
            wrong(&path, format!("{problem}; an export that was finished has its checkpoint there"))
        })?;
        let checkpoint = parse(&note).map_err(|problem| wrong(&path, problem))?;
        let mut folder = Self {
            root: root.to_path_buf(),
            origin: checkpoint.origin,
            size: checkpoint.size,
            note,
            keys: Vec::new(),
            faults: Vec::new(),
            sizes: Vec::new(),
            tiles: BTreeMap::new(),
        };
        match text(root, KEYS, KEYS_BYTES_MAX).and_then(|text| read_keys(&text)) {
            Ok(keys) => folder.keys = keys,
            Err(problem) => folder.faults.push((KEYS, problem)),
        }
        match sizes(&root.join(CHECKPOINTS)) {
            Ok(sizes) => folder.sizes = sizes,
            Err(problem) => folder.faults.push((CHECKPOINTS, problem)),
        }
        Ok(folder)
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn note(&self) -> &str {
        &self.note
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(crate) fn block(&self, number: u64, found: &mut Vec<Found>) -> Block {
        let Some(tile) = TileId::in_tree(0, number, self.size) else {
            return Block { entries: Vec::new(), files: None };
        };
        let files = BlockFiles {
            tile: tile::path(tile),
            leaves: entries_path(number, tile.width),
            bodies: bodies_path(number, tile.width),
        };
        let from = number.saturating_mul(BLOCK);
        let until = from.saturating_add(u64::from(tile.width));
        let before = found.len();
        let tiles = self.hashes(&files.tile, tile, Place::Entries { from, until }, found);
        let leaves = self.leaves(&files.leaves, from, until, found);
        let bodies = self.bodies(&files.bodies, from, until, found);
        let nothing = tiles.is_none() && leaves.is_none() && bodies.is_empty();
        if nothing {
            // The whole block is missing: that is one fault, not three.
            found.truncate(before);
            return Block { entries: Vec::new(), files: Some(files) };
        }
        let at = |hashes: &Option<Vec<Hash>>, place: usize| {
            hashes.as_ref().and_then(|all| all.get(place).copied())
        };
        let mut bodies = bodies.into_iter();
        let entries = (from..until).enumerate().map(|(place, index)| {
            let (body, offset) = bodies.next().unwrap_or((Body::Unread, 0));
            Seen { index, leaf: at(&leaves, place), tile: at(&tiles, place), body, offset }
        });
        Block { entries: entries.collect(), files: Some(files) }
    }

    /// The hashes of a tile.
    fn hashes(&self, path: &str, tile: TileId, place: Place, found: &mut Vec<Found>) -> Option<Vec<Hash>> {
        let bytes = self.exactly(path, usize::from(tile.width) * 32, place, found)?;
        tile::decode(&bytes).ok()
    }

    /// The leaves of a bundle: each has 32 bytes.
    fn leaves(&self, path: &str, from: u64, until: u64, found: &mut Vec<Found>) -> Option<Vec<Hash>> {
        let width = usize::try_from(until - from).ok()?;
        let place = Place::Entries { from, until };
        let bytes = self.exactly(path, width * LEAF_BYTES, place, found)?;
        let (leaves, _) = bytes.as_chunks::<LEAF_BYTES>();
        let read = leaves.iter().zip(from..).map(|(bytes, index)| {
            if bytes[..2] != [0, 32] {
                let offset = LEAF_BYTES as u64 * (index - from);
                let what = "a leaf has 32 bytes: 00 20 must stand before it".to_owned();
                let file = Some(FilePlace::at(path, offset));
                found.push(Found { place: Place::entry(index), file, fault: Fault::File(what) });
            }
            let mut leaf = [0; 32];
            leaf.copy_from_slice(&bytes[2..]);
            leaf
        });
        Some(read.collect())
    }

    /// What was read of each body, and where it begins; fewer where the file ends or cannot be read on.
    fn bodies(&self, path: &str, from: u64, until: u64, found: &mut Vec<Found>) -> Vec<(Body, u64)> {
        let mut bodies = Vec::new();
        let mut tell = |index: u64, offset: Option<u64>, problem: String| {
            let file = offset.map_or_else(|| FilePlace::whole(path), |offset| FilePlace::at(path, offset));
            let place = Place::Entries { from: index, until };
            found.push(Found { place, file: Some(file), fault: Fault::File(problem) });
        };
        let mut file = match regular(&self.root, path).and_then(|(path, _)| File::open(path).map_err(told)) {
            Ok(file) => BufReader::new(file),
            Err(problem) => {
                tell(from, None, problem);
                return bodies;
            }
        };
        let mut offset = 0;
        for index in from..until {
            match bundle::next(&mut file) {
                Ok(Some((entry, length))) if entry.log_index == index => {
                    bodies.push((body(&entry), offset));
                    offset += length;
                }
                Ok(Some((entry, _))) => {
                    tell(index, Some(offset), format!("here stands entry {}", entry.log_index));
                    return bodies;
                }
                Ok(None) => {
                    tell(index, Some(offset), "the file ends before this entry".to_owned());
                    return bodies;
                }
                Err(error) => {
                    tell(index, Some(offset), error.to_string());
                    return bodies;
                }
            }
        }
        if file.fill_buf().is_ok_and(|rest| !rest.is_empty()) {
            tell(until - 1, Some(offset), "bytes follow the last entry".to_owned());
        }
        bodies
    }

    pub(crate) fn notes(&mut self, from: u64, last: u64, found: &mut Vec<Found>) -> Vec<Noted> {
        let mut noted = Vec::new();
        let start = self.sizes.partition_point(|size| *size < from);
        for size in self.sizes[start..].iter().take_while(|size| **size <= last) {
            let path = checkpoint_path(*size);
            let file = Some(FilePlace::whole(&path));
            match text(&self.root, &path, MAX_NOTE_BYTES) {
                Ok(note) => noted.push(Noted { size: *size, note, file }),
                Err(problem) => {
                    let place = Place::Checkpoint { size: *size };
                    found.push(Found { place, file, fault: Fault::File(problem) });
                }
            }
        }
        if (from..=last).contains(&self.size) {
            let file = Some(FilePlace::whole(CHECKPOINT));
            noted.push(Noted { size: self.size, note: self.note.clone(), file });
        }
        noted
    }

    pub(crate) fn subtree(&mut self, level: u8, index: u64, found: &mut Vec<Found>) -> Subtree {
        let number = index / u64::from(TILE_WIDTH);
        if self.tiles.get(&level).is_none_or(|(held, _)| *held != number) {
            let hashes = TileId::in_tree(level, number, self.size).and_then(|tile| {
                let from = number * u64::from(TILE_WIDTH);
                let place = Place::Subtrees { level, from, until: from + u64::from(tile.width) };
                self.hashes(&tile::path(tile), tile, place, found)
            });
            self.tiles.insert(level, (number, hashes));
        }
        let Some((_, Some(hashes))) = self.tiles.get(&level) else { return Subtree::Unread };
        let place = usize::try_from(index % u64::from(TILE_WIDTH)).expect("below 256");
        hashes.get(place).map_or(Subtree::Missing, |hash| Subtree::Hash(*hash))
    }

    pub(crate) fn subtree_file(&self, level: u8, index: u64) -> FilePlace {
        let width = u64::from(TILE_WIDTH);
        let tile = TileId::in_tree(level, index / width, self.size);
        let path = tile.map_or_else(|| format!("tile/{level}"), tile::path);
        FilePlace::at(&path, index % width * 32)
    }

    pub(crate) fn bodies_file(&self, from: u64, until: u64) -> FilePlace {
        let (first, last) = (from / BLOCK, until.saturating_sub(1) / BLOCK);
        match TileId::in_tree(0, first, self.size) {
            Some(tile) if first == last => FilePlace::whole(&bodies_path(first, tile.width)),
            _ => FilePlace::whole(BODIES),
        }
    }

    /// Tells of what was wrong from the beginning.
    pub(crate) fn own_faults(&mut self, found: &mut Vec<Found>) {
        for (path, problem) in self.faults.drain(..) {
            let file = Some(FilePlace::whole(path));
            found.push(Found { place: Place::File, file, fault: Fault::File(problem) });
        }
    }

    /// Tells of files that do not belong here.
    pub(crate) fn unknown_files(&self, found: &mut Vec<Found>) {
        visit(&self.root, "", DEPTH_MAX, &mut |path, problem| {
            let problem = problem.or_else(|| {
                let known = belongs(path, self.size);
                (!known).then(|| "it does not belong to this export".to_owned())
            });
            if let Some(problem) = problem {
                let file = Some(FilePlace::whole(path));
                found.push(Found { place: Place::File, file, fault: Fault::File(problem) });
            }
        });
    }

    /// The bytes of a file whose length is known.
    fn exactly(&self, path: &str, length: usize, place: Place, found: &mut Vec<Found>) -> Option<Vec<u8>> {
        let read = contents(&self.root, path, length).and_then(|bytes| {
            let has = bytes.len();
            if has == length { Ok(bytes) } else { Err(format!("it has {has} bytes; {length} are right")) }
        });
        match read {
            Ok(bytes) => Some(bytes),
            Err(problem) => {
                let file = Some(FilePlace::whole(path));
                found.push(Found { place, file, fault: Fault::File(problem) });
                None
            }
        }
    }
}

/// What an entry of a bundle says.
fn body(entry: &StoredEntry) -> Body {
    let removed_by = entry.removed_by.checked_sub(1);
    if entry.body.is_empty() {
        return Body::Gone { removed_by, faults: read_removed(None, &entry.subjects) };
    }
    let reading = read(&entry.body, None, &entry.subjects, Beside::OrNone);
    Body::Here { reading, removed_by }
}

/// Reads a checkpoint that is spelled as notes are.
fn parse(text: &str) -> Result<Checkpoint, String> {
    let note = Note::parse(text).map_err(|error| error.to_string())?;
    Checkpoint::parse(&note.text).map_err(|error| error.to_string())
}

/// Sizes of the older checkpoints, ascending.
fn sizes(folder: &Path) -> Result<Vec<u64>, String> {
    let mut sizes = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(sizes),
        Err(error) => return Err(told(error)),
    };
    for entry in entries {
        let name = entry.map_err(told)?.file_name();
        if let Some(size) = name.to_str().and_then(|name| name.parse().ok()) {
            sizes.push(size);
        }
        if sizes.len() > CHECKPOINTS_MAX {
            return Err(format!("more than {CHECKPOINTS_MAX} checkpoints"));
        }
    }
    sizes.sort_unstable();
    Ok(sizes)
}
