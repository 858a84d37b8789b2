//! A closed folder of small files: each is made once, whole, and by one process only, also where several
//! processes share the folder. Knows file names and permission bits, not what a key is.
//!
//! A file is written under a hidden name, synced, and then linked to its own name, which fails where that is
//! taken. The maker holds a lock on the hidden file while it works; the system lets the lock go when the
//! maker dies. So whoever gets the lock knows that the file was left behind, and removes it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::KeysError;

/// Tries before a folder that others change all the time is given up.
pub(super) const ATTEMPTS_MAX: usize = 64;
/// Tries for a lock that another process has, and the pause between two of them. It is had for the time of one small
/// write; who has it longer stands still, and nobody waits for that.
const LOCK_TRIES_MAX: usize = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(2);
/// How a file that is being written is called.
const UNREADY: &str = ".unready-";
/// How a file that is being destroyed is called.
const ERASED: &str = ".erased-";
/// Highest number of a key.
const NUMBER_MAX: u32 = 999_999;
/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// Permission bits of a secret.
pub(super) const SECRET: u32 = 0o600;
/// Permission bits of what may be shown; the folder is closed all the same.
pub(super) const PUBLIC: u32 = 0o644;

/// A folder that nobody but its owner may enter.
pub(super) struct Folder(PathBuf);

/// A file under a hidden name, locked by this process; removed when dropped.
struct Unready {
    path: PathBuf,
    /// Holds the lock until it is dropped.
    file: File,
}

impl Drop for Unready {
    fn drop(&mut self) {
        // Where it stays, the next process that opens the folder removes it.
        drop(fs::remove_file(&self.path));
    }
}

/// A lock among all processes that use the folder; let go when dropped, or by the system when its process dies.
pub(super) struct Lock(#[expect(dead_code, reason = "it holds the lock as long as it is open")] File);

/// What an error of the system becomes.
pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> KeysError + use<> {
    let path = path.to_path_buf();
    move |source| KeysError::Io { path, source }
}

/// The number of a file `NNNNNN<suffix>`, from 1.
pub(super) fn number(name: &str, suffix: &str) -> Option<u32> {
    let digits = name.strip_suffix(suffix)?;
    let is_number = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|number| is_number && *number > 0)
}

/// The name of a file with this number.
pub(super) fn numbered(number: u32, suffix: &str) -> String {
    format!("{number:06}{suffix}")
}

impl Folder {
    /// The folder, made with mode 700 where it is not there, with its missing parents.
    pub(super) fn make(path: &Path) -> Result<Self, KeysError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.as_os_str().is_empty()).collect();
        let missing: Vec<&Path> = missing.into_iter().take_while(|p| !p.exists()).collect();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_at(path))?;
        for made in missing {
            // A folder that is forgotten at a power cut takes its keys with it.
            let parent = made.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            sync(parent)?;
        }
        Self::existing(path)
    }

    /// The folder, which must be there and closed.
    pub(super) fn existing(path: &Path) -> Result<Self, KeysError> {
        let folder = Self(path.to_path_buf());
        folder.check()?;
        Ok(folder)
    }

    /// Its path, as it was given.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Path of a file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn check(&self) -> Result<(), KeysError> {
        let mode = fs::metadata(&self.0).map_err(io_at(&self.0))?.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(KeysError::OpenFolder { path: self.0.clone(), mode });
        }
        Ok(())
    }

    /// Names of the files in it, sorted, without hidden ones.
    pub(super) fn names(&self) -> Result<Vec<String>, KeysError> {
        self.check()?;
        let mut before = self.shown_names()?;
        for _ in 0..ATTEMPTS_MAX {
            // A listing may miss a file that was made while it ran, and have a later one. What was there when
            // it began it has, so two that are equal are as of one moment.
            let names = self.shown_names()?;
            if names == before {
                return Ok(names);
            }
            before = names;
        }
        Err(KeysError::Busy(self.0.clone()))
    }

    fn shown_names(&self) -> Result<Vec<String>, KeysError> {
        let mut names = self.all_names()?;
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        Ok(names)
    }

    fn all_names(&self) -> Result<Vec<String>, KeysError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(io_at(&self.0))? {
            let name = entry.map_err(io_at(&self.0))?.file_name();
            names.extend(name.to_str().map(str::to_owned));
        }
        Ok(names)
    }

    /// The number after the highest that a file with one of `suffixes` has.
    pub(super) fn next_number(&self, names: &[String], suffixes: &[&str]) -> Result<u32, KeysError> {
        let numbers = names.iter().flat_map(|name| suffixes.iter().filter_map(|s| number(name, s)));
        let next = numbers.max().unwrap_or(0) + 1;
        if next > NUMBER_MAX {
            return Err(KeysError::Full(self.0.clone()));
        }
        Ok(next)
    }

    /// Reads a secret: a file that only its owner may read. `None` where it is not there.
    pub(super) fn secret(&self, name: &str, bytes_max: u64) -> Result<Option<String>, KeysError> {
        let path = self.file(name);
        let Some((file, mode)) = open(&path)? else { return Ok(None) };
        if mode & OTHERS != 0 {
            return Err(KeysError::Open { path, mode });
        }
        text(&path, file, bytes_max).map(Some)
    }

    /// Reads a file that anybody may read. `None` where it is not there.
    pub(super) fn public(&self, name: &str, bytes_max: u64) -> Result<Option<String>, KeysError> {
        public(&self.file(name), bytes_max)
    }

    /// Makes a file. `false` where the name is taken: somebody else was first.
    pub(super) fn create(&self, name: &str, content: &str, mode: u32) -> Result<bool, KeysError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(unready) = self.unready(content, mode)? else { continue };
            match self.link_path(&unready.path, name) {
                Err(KeysError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                linked => return linked,
            }
        }
        Err(KeysError::Busy(self.0.clone()))
    }

    /// Gives a file of the folder a second name. `false` where that is taken.
    pub(super) fn link(&self, from: &str, to: &str) -> Result<bool, KeysError> {
        self.link_path(&self.file(from), to)
    }

    fn link_path(&self, from: &Path, to: &str) -> Result<bool, KeysError> {
        let path = self.file(to);
        let is_first = match fs::hard_link(from, &path) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(io_at(&path)(error)),
        };
        // Also where another was first: it may not have synced yet, and its key is used from here on.
        self.sync()?;
        Ok(is_first)
    }

    /// Makes a file, or puts it in the place of what stands there, at once.
    pub(super) fn replace(&self, name: &str, content: &str, mode: u32) -> Result<(), KeysError> {
        let path = self.file(name);
        for _ in 0..ATTEMPTS_MAX {
            let Some(unready) = self.unready(content, mode)? else { continue };
            match fs::rename(&unready.path, &path) {
                Ok(()) => return self.sync(),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io_at(&path)(error)),
            }
        }
        Err(KeysError::Busy(self.0.clone()))
    }

    /// Takes the lock of this name, which no two have at once. Its empty file stays: who removed it would let two
    /// processes lock two files.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`]: another process has it for longer than it needs it.
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever writes and syncs files here blocks for as long anyway"
    )]
    pub(super) fn lock(&self, name: &str) -> Result<Lock, KeysError> {
        let path = self.file(name);
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).mode(SECRET).open(&path);
        let file = opened.map_err(io_at(&path))?;
        for _ in 0..LOCK_TRIES_MAX {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
                // A file system without locks is not shared by processes that hand over to each other.
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Lock(file));
                }
                Err(TryLockError::Error(error)) => return Err(io_at(&path)(error)),
            }
        }
        let why = "another process locks this and does not let it go: see whether it stands still";
        Err(io_at(&path)(io::Error::new(ErrorKind::WouldBlock, why)))
    }

    /// Removes a name, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), KeysError> {
        gone(&self.file(name), fs::remove_file(self.file(name)))?;
        self.sync()
    }

    /// Takes a file away and overwrites it. Where this process dies in between, [`Folder::clean`] ends the
    /// work: the file has lost its name first, so that nobody reads half of it.
    pub(super) fn erase(&self, name: &str) -> Result<(), KeysError> {
        let path = self.file(name);
        let hidden = self.file(&format!("{ERASED}{}", self.random()?));
        gone(&path, fs::rename(&path, &hidden))?;
        self.sync()?;
        overwrite(&hidden)?;
        self.sync()
    }

    /// Removes what processes that died left behind.
    pub(super) fn clean(&self) -> Result<(), KeysError> {
        for name in self.all_names()? {
            let path = self.file(&name);
            if name.starts_with(ERASED) {
                overwrite(&path)?;
            } else if name.starts_with(UNREADY) && is_left(&path) {
                gone(&path, fs::remove_file(&path))?;
            }
        }
        Ok(())
    }

    /// Writes a file under a hidden name. `None` where somebody took it for one that was left behind.
    fn unready(&self, content: &str, mode: u32) -> Result<Option<Unready>, KeysError> {
        let path = self.file(&format!("{UNREADY}{}", self.random()?));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(mode).open(&path).map_err(io_at(&path))?;
        // A file system without locks has nobody who cleans, either.
        let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        let mut unready = Unready { path, file };
        if is_taken {
            return Ok(None);
        }
        let written = unready.file.write_all(content.as_bytes()).and_then(|()| unready.file.sync_all());
        written.map_err(io_at(&unready.path))?;
        Ok(Some(unready))
    }

    fn random(&self) -> Result<String, KeysError> {
        let mut bytes = [0u8; 8];
        fill(&mut bytes).map_err(io_at(&self.0))?;
        Ok(hex(&bytes))
    }

    /// Syncs the names in the folder.
    pub(super) fn sync(&self) -> Result<(), KeysError> {
        sync(&self.0)
    }
}

/// Reads a file that anybody may read, of at most `bytes_max` bytes. `None` where it is not there.
pub(super) fn public(path: &Path, bytes_max: u64) -> Result<Option<String>, KeysError> {
    open(path)?.map(|(file, _)| text(path, file, bytes_max)).transpose()
}

/// Random bytes.
pub(super) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| io::Error::other("no randomness"))
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// An ordinary file with its permission bits. `None` where it is not there.
fn open(path: &Path) -> Result<Option<(File, u32)>, KeysError> {
    // Asked before it is opened: to open a pipe is to wait for whoever writes into it.
    let opened = fs::metadata(path).and_then(|found| match found.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "a key is an ordinary file, and this is none")),
    });
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(path)(error)),
    };
    let mode = file.metadata().map_err(io_at(path))?.permissions().mode() & 0o777;
    Ok(Some((file, mode)))
}

fn text(path: &Path, file: File, bytes_max: u64) -> Result<String, KeysError> {
    let mut text = String::new();
    let read = file.take(bytes_max + 1).read_to_string(&mut text).map_err(io_at(path))?;
    if u64::try_from(read).is_ok_and(|read| read <= bytes_max) {
        return Ok(text);
    }
    let error = io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {bytes_max} bytes"));
    Err(io_at(path)(error))
}

/// Whether the maker of a hidden file is dead.
fn is_left(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

/// Overwrites a file that has no name of its own any more, and removes it. Several may do so at once.
fn overwrite(path: &Path) -> Result<(), KeysError> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(io_at(path))?,
    };
    let bytes = file.metadata().map_err(io_at(path))?.len();
    let written = io::copy(&mut io::repeat(0).take(bytes), &mut file).and_then(|_| file.sync_all());
    written.map_err(io_at(path))?;
    gone(path, fs::remove_file(path))
}

/// What was already gone is as good as removed.
fn gone(path: &Path, removed: io::Result<()>) -> Result<(), KeysError> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_at(path)(error)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), KeysError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_at(path))
}
