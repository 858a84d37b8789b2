//! The folder that is exported into: one export at a time, each file written under another name first, so
//! that a file with its right name is whole. What was broken off is found and mended by the next export.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use ura_log::{
    checkpoint::Checkpoint,
    note::{Key, MAX_NOTE_BYTES, Note},
};

use super::ExportError;
use crate::source::{
    files::{contents, text, visit},
    layout::{CHECKPOINT, KEYS, KEYS_BYTES_MAX, belongs, of_any_size, read_keys},
};

/// What a file is called until it is whole.
const UNFINISHED: &str = ".unfinished";
/// Deepest folder of an export.
const DEPTH_MAX: usize = 12;

/// A folder, held by this export until it is dropped.
pub(super) struct Target {
    root: PathBuf,
    /// Locked; the lock goes when it is closed.
    _lock: File,
    pub(super) written: u64,
    pub(super) kept: u64,
}

impl Target {
    /// Opens a folder, or makes it, for nobody else to enter: evidence tells who asked whom.
    pub(super) fn open(root: &Path) -> Result<Self, ExportError> {
        make(root)?;
        let lock = File::open(root).map_err(at(root))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ExportError::Busy { path: root.display().to_string() });
            }
            Err(TryLockError::Error(error)) => return Err(at(root)(error)),
        }
        let target = Self { root: root.to_path_buf(), _lock: lock, written: 0, kept: 0 };
        let mut foreign = None;
        visit(root, "", DEPTH_MAX, &mut |path, problem| {
            if foreign.is_none() && (problem.is_some() || !(path == UNFINISHED || of_any_size(path))) {
                foreign = Some((path.to_owned(), problem));
            }
        });
        match foreign {
            Some((path, problem)) => {
                let problem = problem.unwrap_or_else(|| "it is no file of an export".to_owned());
                Err(target.occupied(&path, problem))
            }
            None => Ok(target),
        }
    }

    /// What a folder with something else in it is refused with.
    pub(super) fn occupied(&self, path: &str, problem: String) -> ExportError {
        ExportError::Occupied { path: self.root.join(path).display().to_string(), problem }
    }

    /// The keys that an export names that is there; none where it is not whole.
    pub(super) fn keys(&self) -> Result<Vec<Key>, ExportError> {
        if !self.exists(KEYS)? {
            return Ok(Vec::new());
        }
        let keys = text(&self.root, KEYS, KEYS_BYTES_MAX).and_then(|text| read_keys(&text));
        Ok(keys.unwrap_or_default())
    }

    /// The checkpoint of a finished export that is there.
    pub(super) fn checkpoint(&self) -> Result<Option<Checkpoint>, ExportError> {
        if !self.exists(CHECKPOINT)? {
            return Ok(None);
        }
        let read = text(&self.root, CHECKPOINT, MAX_NOTE_BYTES).and_then(|note| {
            let note = Note::parse(&note).map_err(|error| error.to_string())?;
            Checkpoint::parse(&note.text).map_err(|error| error.to_string())
        });
        match read {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(problem) => Err(self.occupied(CHECKPOINT, problem)),
        }
    }

    fn exists(&self, path: &str) -> Result<bool, ExportError> {
        let path = self.root.join(path);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Takes away what an export that was broken off has left unfinished.
    pub(super) fn begin(&mut self) -> Result<(), ExportError> {
        self.remove(UNFINISHED)
    }

    /// Writes a file, unless it is there with these bytes.
    pub(super) fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
        if contents(&self.root, path, bytes.len()).is_ok_and(|there| there == bytes) {
            self.kept += 1;
            return Ok(());
        }
        let mut file = self.create()?;
        file.write_all(bytes).map_err(at(&self.root))?;
        drop(file);
        self.finish(path)
    }

    /// Writes the last file and waits until it is on disk.
    pub(super) fn seal(&mut self, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
        if contents(&self.root, path, bytes.len()).is_ok_and(|there| there == bytes) {
            self.kept += 1;
            return Ok(());
        }
        let mut file = self.create()?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(&self.root))?;
        drop(file);
        self.finish(path)?;
        File::open(&self.root).and_then(|folder| folder.sync_all()).map_err(at(&self.root))
    }

    /// Begins a file; [`Target::finish`] gives it its name.
    pub(super) fn create(&self) -> Result<File, ExportError> {
        let path = self.root.join(UNFINISHED);
        File::create(&path).map_err(at(&path))
    }

    /// Gives the file that was begun its name.
    pub(super) fn finish(&mut self, path: &str) -> Result<(), ExportError> {
        let whole = self.root.join(path);
        if let Some(folder) = whole.parent() {
            make(folder)?;
        }
        fs::rename(self.root.join(UNFINISHED), &whole).map_err(at(&whole))?;
        self.written += 1;
        Ok(())
    }

    /// What an error while writing a file is told with.
    pub(super) fn failed(&self, path: &str) -> impl Fn(io::Error) -> ExportError + use<> {
        let path = self.root.join(path).display().to_string();
        move |source| ExportError::Io { path: path.clone(), source }
    }

    /// A file that is there.
    pub(super) fn read(&self, path: &str) -> Option<File> {
        let whole = self.root.join(path);
        let regular = fs::symlink_metadata(&whole).is_ok_and(|metadata| metadata.is_file());
        regular.then(|| File::open(whole).ok()).flatten()
    }

    /// Removes the files of smaller sizes that a larger one does not have, and folders that are empty then.
    pub(super) fn clean(&mut self, size: u64) -> Result<(), ExportError> {
        let mut stale = Vec::new();
        visit(&self.root, "", DEPTH_MAX, &mut |path, _| {
            if path != CHECKPOINT && !belongs(path, size) {
                stale.push(path.to_owned());
            }
        });
        stale.iter().try_for_each(|path| self.remove(path))
    }

    /// Removes a file, if it is there, and its folder, if that is empty then.
    pub(super) fn remove(&self, path: &str) -> Result<(), ExportError> {
        let whole = self.root.join(path);
        match fs::remove_file(&whole) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at(&whole)(error)),
        }
        if let Some(folder) = whole.parent().filter(|folder| *folder != self.root) {
            // A folder with other files in it stays.
            drop(fs::remove_dir(folder));
        }
        Ok(())
    }

    /// Sizes of the older checkpoints that are there.
    pub(super) fn checkpoint_paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        visit(&self.root, "checkpoints", 0, &mut |path, problem| {
            if problem.is_none() {
                paths.push(path.to_owned());
            }
        });
        paths
    }
}

/// Makes a folder for nobody else to enter, if it is not there.
fn make(folder: &Path) -> Result<(), ExportError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))
}

/// What an error of the system is told with.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> ExportError + use<> {
    let path = path.display().to_string();
    move |source| ExportError::Io { path, source }
}
