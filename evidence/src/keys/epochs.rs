//! The folder of epoch keys, which all gateways of a bus share. Knows files and their order, not what is
//! made of a key.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use ura_log::Hash;

use super::{
    EpochKey, KeysError,
    epoch::KEY_BYTES,
    folder::{self, ATTEMPTS_MAX, Folder, SECRET},
};

/// How epoch key files end; before it stands the number of the epoch.
const SUFFIX: &str = ".epoch";
/// Largest epoch key file, in bytes: 64 digits, and room for white space.
const FILE_BYTES_MAX: u64 = 128;

/// The epoch keys of a folder: `000001.epoch`, `000002.epoch` … The one with the highest number is the
/// newest, and new records are made with it. Cheap to clone; clones share what they have read.
#[derive(Clone)]
pub struct EpochKeys(Arc<Shared>);

struct Shared {
    folder: Folder,
    /// Held while the folder is read and what was read is published, so that nobody publishes what is older.
    changing: Mutex<()>,
    epochs: ArcSwap<Epochs>,
}

/// What was read: at least one key.
struct Epochs {
    newest: Arc<EpochKey>,
    /// Newest of them first.
    older: Vec<Arc<EpochKey>>,
}

impl EpochKeys {
    /// The keys of a folder, for a gateway. Makes the folder (mode 700) and the first key (mode 600) where
    /// there is none; processes that do so at once agree on one.
    ///
    /// # Errors
    /// The folder or a key is open to others, or cannot be read or made.
    pub fn open(dir: &Path) -> Result<Self, KeysError> {
        let folder = Folder::make(dir)?;
        if let Err(error) = folder.clean() {
            // Keys may lie where this process cannot write.
            tracing::warn!(%error, "what other processes left in the folder of epoch keys stays there");
        }
        for _ in 0..ATTEMPTS_MAX {
            if let Some(epochs) = load(&folder)? {
                // Another process may have made the key and not synced its name yet.
                folder.sync()?;
                return Ok(Self::new(folder, epochs));
            }
            folder.create(&folder::numbered(1, SUFFIX), &fresh(&folder)?, SECRET)?;
        }
        Err(KeysError::Busy(dir.to_path_buf()))
    }

    /// The keys of a folder, for who only reads: makes and removes nothing.
    ///
    /// # Errors
    /// As [`EpochKeys::open`], and [`KeysError::Missing`] where there is no key.
    pub fn read(dir: &Path) -> Result<Self, KeysError> {
        let folder = Folder::existing(dir)?;
        let epochs = load(&folder)?.ok_or_else(|| missing(&folder))?;
        Ok(Self::new(folder, epochs))
    }

    fn new(folder: Folder, epochs: Epochs) -> Self {
        Self(Arc::new(Shared { folder, changing: Mutex::new(()), epochs: ArcSwap::from_pointee(epochs) }))
    }

    /// The key that new records are made with. Touches memory only.
    #[must_use]
    pub fn newest(&self) -> Arc<EpochKey> {
        Arc::clone(&self.0.epochs.load().newest)
    }

    /// All keys, newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<EpochKey>> {
        let epochs = self.0.epochs.load();
        std::iter::once(&epochs.newest).chain(&epochs.older).cloned().collect()
    }

    /// The key with an id; `None` where it was destroyed or never known.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<Arc<EpochKey>> {
        self.all().into_iter().find(|key| key.id() == id)
    }

    /// Whether a mark is that of a log with so many entries and this root, by any of the keys; see
    /// [`EpochKey::mark`]. Touches memory only.
    #[must_use]
    pub fn marked(&self, origin: &str, size: u64, root: &Hash, mark: &[u8]) -> bool {
        let is_by =
            |key: &Arc<EpochKey>| verify_slices_are_equal(&key.mark(origin, size, root), mark).is_ok();
        self.all().iter().any(is_by)
    }

    /// Reads the folder anew: takes up what others rotated, forgets what they destroyed. Returns whether the
    /// newest key is another one now.
    ///
    /// # Errors
    /// As [`EpochKeys::read`]; the keys stay as they were.
    pub fn reload(&self) -> Result<bool, KeysError> {
        let _changing = self.changing();
        self.publish()
    }

    /// Makes the next key, which is the newest from here on. Where another process rotates at the same
    /// moment, each gets a key of its own.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn rotate(&self) -> Result<Arc<EpochKey>, KeysError> {
        let _changing = self.changing();
        let folder = &self.0.folder;
        for _ in 0..ATTEMPTS_MAX {
            let name = folder::numbered(folder.next_number(&folder.names()?, &[SUFFIX])?, SUFFIX);
            if folder.create(&name, &fresh(folder)?, SECRET)? {
                self.publish()?;
                return key(folder, &name)?.map(Arc::new).ok_or_else(|| missing(folder));
            }
        }
        Err(KeysError::Busy(folder.path().to_path_buf()))
    }

    /// Destroys a key: its file is overwritten, synced and removed. From then on nobody can link its
    /// pseudonyms to persons or guess what its digests stand for. Other gateways forget it when they reload.
    ///
    /// Copies that the file system, its snapshots, the device or backups keep are out of reach here.
    ///
    /// # Errors
    /// [`KeysError::Newest`], [`KeysError::Unknown`], or the file cannot be overwritten or removed. A
    /// destruction that was cut off is ended by the next one, or by the next gateway that starts.
    pub fn destroy(&self, id: &str) -> Result<(), KeysError> {
        let _changing = self.changing();
        let folder = &self.0.folder;
        folder.clean()?;
        // Judged by the folder, not by what this process has read: another may have rotated.
        let found = files(folder)?;
        if found.first().is_some_and(|(_, newest)| newest.id() == id) {
            return Err(KeysError::Newest { id: id.to_owned() });
        }
        let mut of_id = found.iter().filter(|(_, key)| key.id() == id).map(|(name, _)| name).peekable();
        if of_id.peek().is_none() {
            return Err(KeysError::Unknown { path: folder.path().to_path_buf(), id: id.to_owned() });
        }
        // A key may lie there twice.
        of_id.try_for_each(|name| folder.erase(name))?;
        self.publish().map(drop)
    }

    fn changing(&self) -> std::sync::MutexGuard<'_, ()> {
        // It guards no value that a panic could have left half changed.
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self) -> Result<bool, KeysError> {
        let epochs = load(&self.0.folder)?.ok_or_else(|| missing(&self.0.folder))?;
        let is_other = self.0.epochs.load().newest.id() != epochs.newest.id();
        if is_other {
            self.0.folder.sync()?;
        }
        self.0.epochs.store(Arc::new(epochs));
        Ok(is_other)
    }
}

impl fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochKeys").field("folder", &self.0.folder.path()).field("keys", &self.all()).finish()
    }
}

fn missing(folder: &Folder) -> KeysError {
    KeysError::Missing { path: folder.path().to_path_buf(), what: "epoch key".to_owned() }
}

/// The keys of a folder; `None` where it has none.
fn load(folder: &Folder) -> Result<Option<Epochs>, KeysError> {
    let mut keys = files(folder)?.into_iter().map(|(_, key)| Arc::new(key));
    let Some(newest) = keys.next() else { return Ok(None) };
    Ok(Some(Epochs { newest, older: keys.collect() }))
}

/// The key files of a folder with their keys, newest first.
fn files(folder: &Folder) -> Result<Vec<(String, EpochKey)>, KeysError> {
    let mut found = Vec::new();
    for name in folder.names()?.into_iter().rev() {
        if name.ends_with(".log.pem") || name.ends_with(".log.pub") {
            return Err(KeysError::Mixed { path: folder.path().to_path_buf(), holds: "log keys" });
        }
        if !name.ends_with(SUFFIX) {
            continue;
        }
        if folder::number(&name, SUFFIX).is_none() {
            let expected = "by six digits from 000001 and `.epoch`";
            return Err(KeysError::Name { path: folder.file(&name), expected });
        }
        // What is gone by now was destroyed while the folder was read.
        found.extend(key(folder, &name)?.map(|key| (name, key)));
    }
    Ok(found)
}

/// Reads one key file; `None` where it is not there.
fn key(folder: &Folder, name: &str) -> Result<Option<EpochKey>, KeysError> {
    let Some(text) = folder.secret(name, FILE_BYTES_MAX)? else { return Ok(None) };
    match unhex(text.trim()) {
        Some(bytes) => Ok(Some(EpochKey::from_bytes(&bytes))),
        // Overwritten while it was read: it is gone by now.
        None if !folder.file(name).exists() => Ok(None),
        None => {
            let expected = "an epoch key file holds 64 hexadecimal digits";
            Err(KeysError::Malformed { path: folder.file(name), expected })
        }
    }
}

/// Text of a new key file.
fn fresh(folder: &Folder) -> Result<String, KeysError> {
    let mut bytes = [0u8; KEY_BYTES];
    folder::fill(&mut bytes).map_err(folder::io_at(folder.path()))?;
    Ok(format!("{}\n", folder::hex(&bytes)))
}

/// 64 hexadecimal digits as 32 bytes.
fn unhex(text: &str) -> Option<[u8; KEY_BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok())?;
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}
