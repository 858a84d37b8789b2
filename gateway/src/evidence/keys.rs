//! The epoch key: salts of digests and pseudonyms of subjects are made from it. Whoever destroys it
//! ends the guessing. It lies in a folder of its own, apart from the log; replicas share it.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::{digest, hmac};
use ura_proto::ExchangeId;

use crate::directory::subject::Found;

/// Length of an epoch key, in bytes.
const KEY_BYTES: usize = 32;

/// Why the epoch key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The folder or a key file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not 64 hexadecimal digits.
    #[error("{0}: an epoch key file holds 64 hexadecimal digits")]
    Malformed(PathBuf),
    /// A folder that others may enter.
    #[error("{path}: others may enter this folder of keys (mode {mode:o}); run `chmod 700` on it")]
    OpenFolder {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Readable by others.
    #[error("{path}: others may read this key (mode {mode:o}); run `chmod 600` on it")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The key of the present epoch, ready for use.
#[derive(Clone)]
pub(crate) struct EpochKey {
    id: Arc<str>,
    key: hmac::Key,
}

impl EpochKey {
    /// The newest key of the folder, or a new one where there is none.
    pub(crate) fn open(dir: &Path) -> Result<Self, KeysError> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| KeysError::Io { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io(dir))?;
        let mode = fs::metadata(dir).map_err(io(dir))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeysError::OpenFolder { path: dir.to_path_buf(), mode });
        }
        let mut files: Vec<PathBuf> = fs::read_dir(dir)
            .map_err(io(dir))?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "epoch"))
            .collect();
        // Named by number: 000001.epoch is the first epoch.
        files.sort();
        match files.last() {
            Some(path) => Self::read(path),
            None => Self::create(&dir.join("000001.epoch")),
        }
    }

    /// Id of the key, from which nothing can be learnt about it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Salt of an exchange's digests.
    pub(crate) fn salt(&self, exchange: ExchangeId) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // A kind of subject has no space, so no salt is ever a pseudonym.
        context.update(b"salt of exchange\0");
        context.update(exchange.as_bytes());
        tag(context)
    }

    /// Pseudonym of a subject: HMAC-SHA-256(epoch key, kind ‖ 0x00 ‖ canonical form).
    pub(crate) fn pseudonym(&self, subject: &Found) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(subject.kind.as_bytes());
        context.update(&[0]);
        context.update(&subject.value);
        tag(context)
    }

    fn read(path: &Path) -> Result<Self, KeysError> {
        let io = |source| KeysError::Io { path: path.to_path_buf(), source };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeysError::Open { path: path.to_path_buf(), mode });
        }
        let text = fs::read_to_string(path).map_err(io)?;
        let bytes = unhex(text.trim()).ok_or_else(|| KeysError::Malformed(path.to_path_buf()))?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Makes a key file; another process that was first wins.
    fn create(path: &Path) -> Result<Self, KeysError> {
        let io = |source| KeysError::Io { path: path.to_path_buf(), source };
        let mut bytes = [0u8; KEY_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io(std::io::Error::other("no randomness")))?;
        let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        // Written under another name first, so that nobody reads half a key.
        let unready = path.with_extension(format!("new-{}", std::process::id()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unready).and_then(
            |mut file| {
                writeln!(file, "{text}")?;
                file.sync_all()
            },
        );
        let linked = written.and_then(|()| fs::hard_link(&unready, path));
        // The unready name is ours alone; a failure to remove it harms nobody.
        drop(fs::remove_file(&unready));
        match linked {
            Ok(()) => Ok(Self::from_bytes(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(io(error)),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"id of epoch key\0");
        context.update(bytes);
        let id: String = context.finish().as_ref().iter().take(4).map(|b| format!("{b:02x}")).collect();
        Self { id: id.into(), key: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }
}

/// The 32 bytes of an HMAC-SHA-256.
fn tag(context: hmac::Context) -> [u8; 32] {
    context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

/// 64 hexadecimal digits as 32 bytes.
fn unhex(text: &str) -> Option<[u8; KEY_BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_kept_closed_and_read_back() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let keys = dir.path().join("keys");
        let first = EpochKey::open(&keys).expect("made");
        let again = EpochKey::open(&keys).expect("read");
        let exchange = ExchangeId::at(1_790_000_000_000_000);
        assert_eq!(first.salt(exchange), again.salt(exchange));
        assert_eq!(first.id(), again.id());
        let path = keys.join("000001.epoch");
        assert_eq!(fs::read_dir(&keys).expect("folder").count(), 1, "nothing else is left behind");
        assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("own file");
        assert!(matches!(EpochKey::open(&keys), Err(KeysError::Open { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
        fs::write(&path, "short").expect("own file");
        assert!(matches!(EpochKey::open(&keys), Err(KeysError::Malformed(_))));
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o750)).expect("own folder");
        assert!(matches!(EpochKey::open(&keys), Err(KeysError::OpenFolder { mode: 0o750, .. })));
    }

    #[test]
    fn kinds_and_exchanges_never_meet() {
        let key = EpochKey::from_bytes(&[7; 32]);
        let subject = |kind: &str, value: &[u8]| Found { kind: kind.into(), value: value.to_vec() };
        assert_ne!(key.pseudonym(&subject("person", b"1")), key.pseudonym(&subject("plate", b"1")));
        assert_ne!(key.pseudonym(&subject("a", b"bc")), key.pseudonym(&subject("ab", b"c")));
        assert_ne!(key.salt(ExchangeId::at(1)), key.salt(ExchangeId::at(1)), "ids differ, so do salts");
    }
}
