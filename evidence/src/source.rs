//! A log to be read from its beginning to its end: from a store, or from an export in a folder. Reads what
//! stands there and judges nothing but whether it can be read.

pub(crate) mod bundle;
pub(crate) mod files;
mod folder;
pub(crate) mod layout;
mod stored;

use std::path::Path;

use ura_log::{Hash, note::Key};

use crate::{
    store::{LogRow, Reader, StoreError},
    verify::{
        problem::{Fault, FilePlace, Place},
        reading::Reading,
    },
};
use folder::Folder;
use stored::Stored;

/// Why a log cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder is not an export, or a file without which nothing of it can be read is damaged.
    #[error("{path}: {problem}")]
    NotAnExport {
        /// The file or folder.
        path: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// Something found while reading that is wrong by itself.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) file: Option<FilePlace>,
    pub(crate) fault: Fault,
}

/// What stands where the body of an entry belongs.
#[derive(Debug)]
pub(crate) enum Body {
    /// It could not be read; why was told.
    Unread,
    /// A body, and by which entry it was removed, though it should be gone then.
    Here { reading: Reading, removed_by: Option<u64> },
    /// None; removed by this entry, if by one.
    Gone { removed_by: Option<u64>, faults: Vec<Fault> },
}

/// An entry as it was found.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) index: u64,
    pub(crate) leaf: Option<Hash>,
    /// Hash of the leaf in the tile of level 0; a store has none.
    pub(crate) tile: Option<Hash>,
    pub(crate) body: Body,
    /// Where the body begins in its file.
    pub(crate) offset: u64,
}

/// Up to 256 entries: those below one hash of level 1.
#[derive(Debug)]
pub(crate) struct Block {
    /// In order; some may be missing.
    pub(crate) entries: Vec<Seen>,
    /// Their files, in an export.
    pub(crate) files: Option<BlockFiles>,
}

/// The files of a block, below the export's folder.
#[derive(Clone, Debug)]
pub(crate) struct BlockFiles {
    pub(crate) tile: String,
    pub(crate) leaves: String,
    pub(crate) bodies: String,
}

/// A checkpoint as it was found.
#[derive(Debug)]
pub(crate) struct Noted {
    /// Size under which it is kept.
    pub(crate) size: u64,
    /// The signed note.
    pub(crate) note: String,
    pub(crate) file: Option<FilePlace>,
}

/// A hash of a subtree, as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subtree {
    Hash(Hash),
    Missing,
    /// It could not be read; why was told.
    Unread,
}

/// A log to be read in order.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    Store(Box<Stored>),
    Folder(Box<Folder>),
}

impl Source {
    /// The log of a store.
    #[must_use]
    pub fn store(reader: Reader, log: LogRow) -> Self {
        Self(Kind::Store(Box::new(Stored::new(reader, log))))
    }

    /// An export.
    ///
    /// # Errors
    /// [`SourceError::NotAnExport`] where there is no checkpoint, or it cannot be read.
    pub fn folder(path: &Path) -> Result<Self, SourceError> {
        Ok(Self(Kind::Folder(Box::new(Folder::open(path)?))))
    }

    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        match &self.0 {
            Kind::Store(store) => &store.log().origin,
            Kind::Folder(folder) => folder.origin(),
        }
    }

    /// Entries that it says it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.0 {
            Kind::Store(store) => store.log().size,
            Kind::Folder(folder) => folder.size(),
        }
    }

    /// Keys of the log and of witnesses that an export names itself; none of a store. Whoever made the export
    /// chose them: they show that it agrees with itself, and nothing about who made it.
    #[must_use]
    pub fn own_keys(&self) -> &[Key] {
        match &self.0 {
            Kind::Store(_) => &[],
            Kind::Folder(folder) => folder.keys(),
        }
    }

    /// The newest checkpoint of an export.
    pub(crate) fn newest_note(&self) -> Option<&str> {
        match &self.0 {
            Kind::Store(_) => None,
            Kind::Folder(folder) => Some(folder.note()),
        }
    }

    /// Whether every signature must be by a known key: an export names all keys itself.
    pub(crate) fn is_export(&self) -> bool {
        matches!(self.0, Kind::Folder(_))
    }

    /// Whether entries may still be added: not to a log that ended, nor behind the checkpoint of an export.
    pub(crate) fn goes_on(&self) -> bool {
        match &self.0 {
            Kind::Store(store) => !store.log().sealed,
            Kind::Folder(_) => false,
        }
    }

    /// The entries of a block.
    pub(crate) async fn block(&mut self, number: u64, found: &mut Vec<Found>) -> Result<Block, SourceError> {
        match &mut self.0 {
            Kind::Store(store) => store.block(number, found).await,
            Kind::Folder(folder) => Ok(folder.block(number, found)),
        }
    }

    /// The checkpoints of sizes `from` up to `last`, in order.
    pub(crate) async fn notes(
        &mut self,
        from: u64,
        last: u64,
        found: &mut Vec<Found>,
    ) -> Result<Vec<Noted>, SourceError> {
        match &mut self.0 {
            Kind::Store(store) => store.notes(from, last).await,
            Kind::Folder(folder) => Ok(folder.notes(from, last, found)),
        }
    }

    /// The stored root of a subtree of 256^level leaves. Must be asked for in ascending order on each level.
    pub(crate) async fn subtree(
        &mut self,
        level: u8,
        index: u64,
        found: &mut Vec<Found>,
    ) -> Result<Subtree, SourceError> {
        match &mut self.0 {
            Kind::Store(store) => store.subtree(level, index).await,
            Kind::Folder(folder) => Ok(folder.subtree(level, index, found)),
        }
    }

    /// The file and byte of a stored root, in an export.
    pub(crate) fn subtree_file(&self, level: u8, index: u64) -> Option<FilePlace> {
        match &self.0 {
            Kind::Store(_) => None,
            Kind::Folder(folder) => Some(folder.subtree_file(level, index)),
        }
    }

    /// The file with the bodies of these entries, or the folder of several such, in an export.
    pub(crate) fn bodies_file(&self, place: Place) -> Option<FilePlace> {
        match (&self.0, place) {
            (Kind::Folder(folder), Place::Entries { from, until }) => Some(folder.bodies_file(from, until)),
            _ => None,
        }
    }

    /// What was wrong with an export from the beginning.
    pub(crate) fn own_faults(&mut self, found: &mut Vec<Found>) {
        if let Kind::Folder(folder) = &mut self.0 {
            folder.own_faults(found);
        }
    }

    /// What is there beyond what a log of this size has.
    pub(crate) async fn beyond(&mut self, found: &mut Vec<Found>) -> Result<(), SourceError> {
        match &mut self.0 {
            Kind::Store(store) => store.beyond(found).await,
            Kind::Folder(folder) => {
                folder.unknown_files(found);
                Ok(())
            }
        }
    }

    /// The body of an entry behind the size that is being verified: a log goes on while it is read.
    pub(crate) async fn later(&mut self, index: u64) -> Result<Option<Vec<u8>>, SourceError> {
        match &mut self.0 {
            Kind::Store(store) => store.later(index).await,
            Kind::Folder(_) => Ok(None),
        }
    }
}
