//! Files of keys and certificates: written whole or not at all, and never over anything.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::CertsError;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// For certificates: everybody may read them.
pub(crate) const PUBLIC: u32 = 0o644;
/// For keys.
pub(crate) const PRIVATE: u32 = 0o600;
/// For folders that hold keys.
const FOLDER: u32 = 0o700;

/// A file that is to be written.
pub(crate) struct NewFile<'a> {
    pub(crate) name: &'static str,
    pub(crate) mode: u32,
    pub(crate) content: &'a str,
}

/// Writes all files into `dir`, or none. A folder that does not exist appears only when it is
/// complete; in one that does, no file of these names may be.
pub(crate) fn write(dir: &Path, files: &[NewFile<'_>]) -> Result<(), CertsError> {
    if let Some(taken) =
        files.iter().map(|file| dir.join(file.name)).find(|path| path.symlink_metadata().is_ok())
    {
        return Err(CertsError::Exists(taken));
    }
    if dir.is_dir() {
        return write_into(dir, files);
    }
    if dir.symlink_metadata().is_ok() {
        return Err(CertsError::Exists(dir.to_owned()));
    }
    let name = dir.file_name().ok_or_else(|| CertsError::Exists(dir.to_owned()))?;
    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed(parent, "made"))?;
    let hidden = format!(".{}.{:016x}", name.to_string_lossy(), rand::random::<u64>());
    let staging = Staging(parent.join(hidden));
    fs::DirBuilder::new().mode(FOLDER).create(&staging.0).map_err(failed(&staging.0, "made"))?;
    write_into(&staging.0, files)?;
    // Takes the place of nothing, or of an empty folder that somebody made meanwhile; never of files.
    fs::rename(&staging.0, dir).map_err(failed(dir, "made"))?;
    sync_dir(parent)
}

/// A folder that is removed unless it was renamed.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already when all went well; if it cannot be removed, the error that led here is told.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write_into(dir: &Path, files: &[NewFile<'_>]) -> Result<(), CertsError> {
    let mut written = Vec::new();
    let result = files.iter().try_for_each(|file| {
        let path = dir.join(file.name);
        write_new(&path, file, &mut written)
    });
    match result {
        Ok(()) => sync_dir(dir),
        Err(error) => {
            for path in written {
                // The error that led here is the one to tell.
                let _ = fs::remove_file(path);
            }
            Err(error)
        }
    }
}

fn write_new(path: &Path, new: &NewFile<'_>, written: &mut Vec<PathBuf>) -> Result<(), CertsError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(new.mode).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(CertsError::Exists(path.to_owned()));
        }
        Err(error) => return Err(failed(path, "written")(error)),
    };
    written.push(path.to_owned());
    file.write_all(new.content.as_bytes()).and_then(|()| file.sync_all()).map_err(failed(path, "written"))
}

fn sync_dir(dir: &Path) -> Result<(), CertsError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir, "synced"))
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, CertsError> {
    let mut text = String::new();
    let file = File::open(path).map_err(failed(path, "read"))?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed(path, "read"))?;
    Ok(text)
}

/// The certificates in a PEM text that was read from `path`; at least one.
pub(crate) fn certificates(path: &Path, text: &str) -> Result<Vec<CertificateDer<'static>>, CertsError> {
    let content = |reason: String| CertsError::Content { path: path.to_owned(), reason };
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| content(format!("not certificates in PEM: {error}")))?;
    if found.is_empty() {
        return Err(content("no certificate in it".to_owned()));
    }
    Ok(found)
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> CertsError {
    let path = path.to_owned();
    move |source| CertsError::File { path, action, source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{NewFile, PRIVATE, PUBLIC, write, write_into};
    use crate::CertsError;

    fn files() -> [NewFile<'static>; 3] {
        [
            NewFile { name: "key.pem", mode: PRIVATE, content: "key" },
            NewFile { name: "ca.pem", mode: PUBLIC, content: "ca" },
            NewFile { name: "cert.pem", mode: PUBLIC, content: "cert" },
        ]
    }

    #[test]
    fn a_failure_half_way_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join("cert.pem"), "older").expect("written");
        let error = write_into(dir.path(), &files()).expect_err("cert.pem is there");
        assert!(matches!(error, CertsError::Exists(path) if path.ends_with("cert.pem")));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
        assert_eq!(fs::read_to_string(dir.path().join("cert.pem")).expect("read"), "older");
    }

    #[test]
    fn a_new_folder_appears_whole_and_alone() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let target = dir.path().join("deep/er/identity");
        write(&target, &files()).expect("written");
        assert_eq!(fs::read_dir(&target).expect("a folder").count(), 3);
        assert_eq!(fs::read_dir(target.parent().expect("has one")).expect("a folder").count(), 1);
        assert!(
            matches!(write(&target, &files()), Err(CertsError::Exists(path)) if path.ends_with("key.pem"))
        );
    }

    #[test]
    fn what_is_no_folder_is_not_replaced() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("file");
        fs::write(&file, "mine").expect("written");
        assert!(write(&file, &files()).is_err());
        assert_eq!(fs::read_to_string(&file).expect("read"), "mine");
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &dangling).expect("linked");
        assert!(matches!(write(&dangling, &files()), Err(CertsError::Exists(_))));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 2);
    }
}
