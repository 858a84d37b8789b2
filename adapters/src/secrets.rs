//! Files with secrets and keys: bounded, read again now and then so that they can be replaced while the adapter runs.
//! What stands in them is never logged and never part of an error.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{plan::IdentityFiles, register::ConnectError};

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// How old what was read may be.
pub(crate) const REREAD_EVERY: Duration = Duration::from_secs(10);

/// One secret in a file of its own; line ends at its end do not count.
pub(crate) struct SecretFile {
    path: PathBuf,
    last: Mutex<(Instant, Arc<str>)>,
}

impl SecretFile {
    /// Reads it for the first time.
    pub(crate) fn open(path: &Path) -> Result<Self, ConnectError> {
        let text = secret(path).map_err(|reason| unusable(path, reason))?;
        Ok(Self { path: path.to_owned(), last: Mutex::new((Instant::now(), text)) })
    }

    /// The secret, at most [`REREAD_EVERY`] old. Where the file cannot be read any more, the last one.
    pub(crate) async fn text(&self) -> Arc<str> {
        let (read, text) = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if read.elapsed() < REREAD_EVERY { text } else { self.reread().await }
    }

    /// The secret that the file holds now.
    pub(crate) async fn reread(&self) -> Arc<str> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || secret(&path)).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.0 = Instant::now();
        match read {
            Ok(Ok(text)) => last.1 = text,
            Ok(Err(reason)) => {
                tracing::warn!(file = %self.path.display(), reason, "going on with the secret read before");
            }
            // The runtime is going down.
            Err(_) => {}
        }
        Arc::clone(&last.1)
    }
}

fn secret(path: &Path) -> Result<Arc<str>, String> {
    let text = String::from_utf8(read(path)?).map_err(|_| "it is not UTF-8".to_owned())?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("it is empty".to_owned()),
        text if text.contains(char::is_control) => Err("it has control characters in it".to_owned()),
        text => Ok(text.into()),
    }
}

/// A file, bounded.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(format!("it is larger than {FILE_BYTES_MAX} bytes"))
    }
}

/// Certificates and key of a client identity, in PEM, one behind the other.
pub(crate) fn read_identity(files: &IdentityFiles) -> Result<Vec<u8>, ConnectError> {
    let mut pem = read(&files.certificate).map_err(|reason| unusable(&files.certificate, reason))?;
    pem.push(b'\n');
    // With both in one file the key would stand there twice.
    if files.key != files.certificate {
        pem.extend(read(&files.key).map_err(|reason| unusable(&files.key, reason))?);
    }
    Ok(pem)
}

pub(crate) fn unusable(path: &Path, reason: impl Into<String>) -> ConnectError {
    ConnectError::File { path: path.to_owned(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_replaced_secret_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let write = |text: &str| std::fs::write(&path, text).expect("written");
        for bad in ["", "\n", "a\nb\n", "a\tb"] {
            write(bad);
            assert!(SecretFile::open(&path).is_err(), "{bad:?}");
        }
        write(" një \r\n");
        let secret = SecretFile::open(&path).expect("a secret");
        assert_eq!(&*secret.text().await, " një ");
        write("two\n");
        assert_eq!(&*secret.text().await, " një ", "read a moment ago");
        tokio::time::advance(REREAD_EVERY).await;
        assert_eq!(&*secret.text().await, "two");
        write("");
        assert_eq!(&*secret.reread().await, "two");
    }
}
