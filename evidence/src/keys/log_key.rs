//! The folder of log keys of one gateway, and the newest checkpoint that it signed. Knows files and their
//! order; what is signed, and what the log says of its keys, is known elsewhere.
//!
//! | file | what it is |
//! |---|---|
//! | `000001.log.pem` | a private key that is or was current, with its verifier key on the first line |
//! | `000001.log.pub` | the verifier key alone; stays where the private key was taken away |
//! | `1f3a9c02.next.pem` | a private key that is not current yet, named by its id |
//! | `held-<digits>.checkpoint` | the newest checkpoint of a log, by the SHA-256 of its origin (8 bytes) |
//! | `.held-<digits>.lock` | empty; locked by who compares that one with a newer one and replaces it |
//!
//! A verifier key begins with the name of its log, so keys of several logs lie in one folder: a log that
//! somebody else sealed is followed by `<origin>/2`. Numbers are shared by all of them.
//!
//! # Rotation
//! A key must be announced under the old key before it signs, or nobody who trusts the old one can follow:
//! 1. [`LogKeys::rotate`] makes the key; nothing signs with it.
//! 2. The caller appends a `KeyChange` entry and waits until a checkpoint of the old key covers it.
//! 3. [`LogKeys::activate`] makes it current, on disk and in memory.
//!
//! Whoever dies in between leaves a key in [`LogKeys::pending`]. At the next start the caller looks the
//! pending keys up in the log, in the order of their entries: one that a `KeyChange` announces is activated,
//! after a checkpoint of the old key covers the entry; another was never announced, stays unused and harms
//! nobody. [`LogKeys::activate`] that died in between is ended by the next one or the next start.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use ura_log::note::{Key, Kind, MAX_NOTE_BYTES, Signer};

use super::{
    KeysError,
    folder::{self, ATTEMPTS_MAX, Folder, PUBLIC, SECRET},
    pem, public,
};

/// How files of keys that are or were current end.
const PEM: &str = ".log.pem";
/// How files of their public halves end.
pub(super) const PUB: &str = ".log.pub";
/// How files of keys that are not current yet end.
const NEXT: &str = ".next.pem";
/// How the file of a checkpoint that is held ends.
const HELD: &str = ".checkpoint";
/// Largest file of a private key, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// The keys of one log. Cheap to clone; clones share what they have read.
#[derive(Clone)]
pub struct LogKeys(Arc<Shared>);

struct Shared {
    folder: Folder,
    origin: String,
    /// Held while the folder is read and what was read is published, so that nobody publishes what is older.
    changing: Mutex<()>,
    loaded: ArcSwap<Loaded>,
}

struct Loaded {
    newest: Arc<Signer>,
    /// Public halves of all keys that are or were current, oldest first.
    keys: Vec<Key>,
    /// Those that are not current yet.
    pending: Vec<Key>,
}

/// The keys of a log as its folder has them.
#[derive(Default)]
struct Found {
    /// The signer of the highest number, if its private half is there.
    newest: Option<Signer>,
    keys: Vec<Key>,
    /// Keys that are not current yet, each with its file.
    pending: Vec<(String, Key)>,
    /// Keys whose public file is missing, by its name.
    unpublished: Vec<(String, Key)>,
}

impl LogKeys {
    /// The keys of a log, for the gateway that writes it. Makes the folder (mode 700) and the log's first key
    /// (mode 600) where there is none; processes that do so at once agree on one.
    ///
    /// # Errors
    /// The folder or a key is open to others, or cannot be read or made; `origin` cannot name a key;
    /// [`KeysError::NoPrivateKey`] where the newest key is known by its public half only.
    pub fn open(dir: &Path, origin: &str) -> Result<Self, KeysError> {
        let folder = Folder::make(dir)?;
        if let Err(error) = folder.clean() {
            // Keys may lie where this process cannot write.
            tracing::warn!(%error, "what other processes left in the folder of log keys stays there");
        }
        for _ in 0..ATTEMPTS_MAX {
            let names = folder.names()?;
            let found = find(&folder, origin, &names)?;
            if found.keys.is_empty() {
                let signer = generate(&folder, origin)?;
                let number = folder.next_number(&names, &[PEM, PUB])?;
                folder.create(&folder::numbered(number, PEM), &text(&folder, &signer)?, SECRET)?;
                continue;
            }
            found.tidy(&folder)?;
            // Another process may have made the key and not synced its name yet.
            folder.sync()?;
            return Ok(Self::new(folder, origin, found.loaded(dir, origin)?));
        }
        Err(KeysError::Busy(dir.to_path_buf()))
    }

    /// The keys of a log, for who makes none: changes nothing in the folder.
    ///
    /// # Errors
    /// As [`LogKeys::open`], and [`KeysError::Missing`] where the log has no key here.
    pub fn read(dir: &Path, origin: &str) -> Result<Self, KeysError> {
        let folder = Folder::existing(dir)?;
        let loaded = find(&folder, origin, &folder.names()?)?.loaded(dir, origin)?;
        Ok(Self::new(folder, origin, loaded))
    }

    fn new(folder: Folder, origin: &str, loaded: Loaded) -> Self {
        let (origin, changing) = (origin.to_owned(), Mutex::new(()));
        Self(Arc::new(Shared { folder, origin, changing, loaded: ArcSwap::from_pointee(loaded) }))
    }

    /// Name of the log, and of its keys.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// The key that checkpoints are signed with. Touches memory only.
    #[must_use]
    pub fn newest(&self) -> Arc<Signer> {
        Arc::clone(&self.0.loaded.load().newest)
    }

    /// The verifier keys of all keys that are or were current, oldest first.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.0.loaded.load().keys.clone()
    }

    /// Keys that were made and are not current, as they were when the folder was read last.
    #[must_use]
    pub fn pending(&self) -> Vec<Key> {
        self.0.loaded.load().pending.clone()
    }

    /// Reads the folder anew. Returns whether the newest key is another one now.
    ///
    /// # Errors
    /// As [`LogKeys::read`]; the keys stay as they were.
    pub fn reload(&self) -> Result<bool, KeysError> {
        let _changing = self.changing();
        self.publish()
    }

    /// Makes a key that is not current yet. Returns the current key and the new one, as a `KeyChange` entry
    /// names them.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn rotate(&self) -> Result<(Key, Key), KeysError> {
        let _changing = self.changing();
        let folder = &self.0.folder;
        for _ in 0..ATTEMPTS_MAX {
            let signer = generate(folder, self.origin())?;
            let name = format!("{}{NEXT}", folder::hex(&signer.key().id()));
            // Ids have four bytes: another key may have this one.
            if folder.create(&name, &text(folder, &signer)?, SECRET)? {
                self.publish()?;
                return Ok((self.newest().key().clone(), signer.key().clone()));
            }
        }
        Err(KeysError::Busy(folder.path().to_path_buf()))
    }

    /// Makes a pending key the newest. Returns `false` where it is, or once was, current already.
    ///
    /// # Errors
    /// [`KeysError::NoPrivateKey`] where the folder does not have it; disk errors.
    pub fn activate(&self, key: &Key) -> Result<bool, KeysError> {
        let _changing = self.changing();
        let folder = &self.0.folder;
        let mut is_ours = false;
        for _ in 0..ATTEMPTS_MAX {
            let names = folder.names()?;
            let found = find(folder, self.origin(), &names)?;
            if found.keys.contains(key) {
                found.tidy(folder)?;
                self.publish()?;
                return Ok(is_ours);
            }
            let Some((name, _)) = found.pending.iter().find(|(_, pending)| pending == key) else {
                if folder.names()? != names {
                    // Another process may be activating it.
                    continue;
                }
                let path = folder.path().to_path_buf();
                return Err(KeysError::NoPrivateKey { path, key: key.to_string() });
            };
            let number = folder.next_number(&names, &[PEM, PUB])?;
            is_ours = match folder.link(name, &folder::numbered(number, PEM)) {
                // Another process activated it meanwhile.
                Err(KeysError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => false,
                linked => linked?,
            };
        }
        Err(KeysError::Busy(folder.path().to_path_buf()))
    }

    /// The newest checkpoint of this log that was held; `None` where none was.
    ///
    /// # Errors
    /// The file is open to others or cannot be read.
    pub fn read_held(&self) -> Result<Option<String>, KeysError> {
        let bytes_max = u64::try_from(MAX_NOTE_BYTES).unwrap_or(u64::MAX);
        self.0.folder.secret(&held_name(self.origin()), bytes_max)
    }

    /// Holds a checkpoint of this log, in place of the one that was held, at once and durably. One of a
    /// smaller tree than that is not held: a gateway that is being replaced may still sign. Of several
    /// processes one at a time compares and replaces.
    ///
    /// # Errors
    /// It is no checkpoint of this log; the file cannot be read or written; or another process stands still
    /// in the middle of this, which is not waited for. What was held is held still.
    pub fn write_held(&self, note: &str) -> Result<(), KeysError> {
        let folder = &self.0.folder;
        let name = held_name(self.origin());
        let Some(size) = tree_size(note, self.origin()) else {
            return Err(malformed(folder, &name)("only a checkpoint of its own log is held here"));
        };
        let _changing = self.changing();
        let _alone = folder.lock(&format!(".{}.lock", name.trim_end_matches(HELD)))?;
        // What cannot be read as one holds nothing.
        let held = self.read_held()?.and_then(|held| tree_size(&held, self.origin()));
        if held.is_some_and(|held| held > size) {
            return Ok(());
        }
        folder.replace(&name, note, SECRET)
    }

    fn changing(&self) -> std::sync::MutexGuard<'_, ()> {
        // It guards no value that a panic could have left half changed.
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self) -> Result<bool, KeysError> {
        let folder = &self.0.folder;
        let loaded = find(folder, self.origin(), &folder.names()?)?.loaded(folder.path(), self.origin())?;
        let is_other = self.0.loaded.load().newest.key() != loaded.newest.key();
        if is_other {
            folder.sync()?;
        }
        self.0.loaded.store(Arc::new(loaded));
        Ok(is_other)
    }
}

impl fmt::Debug for LogKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys().iter().map(Key::to_string).collect();
        let mut shown = f.debug_struct("LogKeys");
        shown.field("folder", &self.0.folder.path()).field("origin", &self.0.origin).field("keys", &keys);
        shown.finish_non_exhaustive()
    }
}

impl Found {
    /// Writes public files that are missing and removes pending names of keys that are current: what was
    /// left by a process that died.
    fn tidy(&self, folder: &Folder) -> Result<(), KeysError> {
        for (name, key) in &self.unpublished {
            folder.create(name, &format!("{key}\n"), PUBLIC)?;
        }
        let current = self.pending.iter().filter(|(_, key)| self.keys.contains(key));
        current.map(|(name, _)| name).try_for_each(|name| folder.remove(name))
    }

    fn loaded(self, dir: &Path, origin: &str) -> Result<Loaded, KeysError> {
        let path = dir.to_path_buf();
        let Some(last) = self.keys.last() else {
            return Err(KeysError::Missing { path, what: format!("key of log {origin}") });
        };
        let Some(newest) = self.newest else {
            return Err(KeysError::NoPrivateKey { path, key: last.to_string() });
        };
        let pending = self.pending.into_iter().map(|(_, key)| key).filter(|key| !self.keys.contains(key));
        Ok(Loaded { newest: Arc::new(newest), pending: pending.collect(), keys: self.keys })
    }
}

/// The keys of a log among the files of a folder.
fn find(folder: &Folder, origin: &str, names: &[String]) -> Result<Found, KeysError> {
    let mut found = Found::default();
    // Sorted, so that a private key comes right before its public half.
    for name in names {
        check_name(folder, name)?;
        if name.ends_with(NEXT) {
            let key = private(folder, name)?.map(|text| pem::key(&text).map_err(malformed(folder, name)));
            let key = key.transpose()?.filter(|key| key.name() == origin);
            found.pending.extend(key.map(|key| (name.clone(), key)));
        } else if folder::number(name, PEM).is_some() {
            let Some(text) = private(folder, name)? else { continue };
            if pem::key(&text).map_err(malformed(folder, name))?.name() != origin {
                continue;
            }
            let signer = pem::signer(&text).map_err(malformed(folder, name))?;
            let public = name.replace(PEM, PUB);
            if !names.contains(&public) {
                found.unpublished.push((public, signer.key().clone()));
            }
            found.keys.push(signer.key().clone());
            found.newest = Some(signer);
        } else if folder::number(name, PUB).is_some() {
            let Some(key) = published(folder, name)?.filter(|key| key.name() == origin) else { continue };
            let private = name.replace(PUB, PEM);
            if !names.contains(&private) {
                found.keys.push(key);
                found.newest = None;
            } else if found.keys.last() != Some(&key) {
                let expected = "this is not the public half of the private key beside it; remove it, and the \
                                gateway writes it anew when it starts";
                return Err(malformed(folder, name)(expected));
            }
        }
    }
    Ok(found)
}

/// Refuses names that would be overlooked.
fn check_name(folder: &Folder, name: &str) -> Result<(), KeysError> {
    if name.ends_with(".epoch") {
        return Err(KeysError::Mixed { path: folder.path().to_path_buf(), holds: "epoch keys" });
    }
    let is_key = name.ends_with(".pem") || name.ends_with(".pub");
    let is_known = name.ends_with(NEXT) || [PEM, PUB].iter().any(|s| folder::number(name, s).is_some());
    if is_key && !is_known {
        let expected = "by six digits from 000001 and `.log.pem` or `.log.pub`";
        return Err(KeysError::Name { path: folder.file(name), expected });
    }
    Ok(())
}

/// Text of a private key; `None` where it is gone by now.
fn private(folder: &Folder, name: &str) -> Result<Option<String>, KeysError> {
    folder.secret(name, FILE_BYTES_MAX)
}

/// The key in a public file; `None` where it is gone by now.
fn published(folder: &Folder, name: &str) -> Result<Option<Key>, KeysError> {
    let Some(text) = folder.public(name, public::FILE_BYTES_MAX)? else { return Ok(None) };
    Ok(public::keys(&folder.file(name), &text)?.pop())
}

fn malformed(folder: &Folder, name: &str) -> impl Fn(&'static str) -> KeysError + use<> {
    let path = folder.file(name);
    move |expected| KeysError::Malformed { path: path.clone(), expected }
}

fn generate(folder: &Folder, origin: &str) -> Result<Signer, KeysError> {
    let generated = Signer::generate(origin, Kind::Ed25519);
    generated.map_err(|source| KeysError::Note { path: folder.path().to_path_buf(), source })
}

fn text(folder: &Folder, signer: &Signer) -> Result<String, KeysError> {
    let der = signer.pkcs8();
    let der = der.map_err(|source| KeysError::Note { path: folder.path().to_path_buf(), source })?;
    Ok(pem::encode(signer.key(), der.as_ref()))
}

/// File name of the held checkpoint of a log. An origin itself may be too long for a name, or hold slashes.
fn held_name(origin: &str) -> String {
    let hash = digest::digest(&digest::SHA256, origin.as_bytes());
    let short: [u8; 8] = *hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    format!("held-{}{HELD}", folder::hex(&short))
}

/// Size of the tree of a checkpoint of this log: its second line, behind the origin
/// (<https://c2sp.org/tlog-checkpoint>).
fn tree_size(note: &str, origin: &str) -> Option<u64> {
    let mut lines = note.lines();
    lines.next().filter(|first| *first == origin)?;
    lines.next()?.parse().ok()
}
