//! Files of a folder that somebody else may have made: only regular ones are opened, and none is read beyond a
//! limit.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

/// Visits all files below a folder, with what is wrong with them as files.
pub(crate) fn visit(root: &Path, below: &str, depth: usize, told_of: &mut impl FnMut(&str, Option<String>)) {
    let entries = match fs::read_dir(root.join(below)) {
        Ok(entries) => entries,
        Err(error) => return told_of(below, Some(told(error))),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return told_of(below, Some(told(error))),
        };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => visit(root, &path, depth - 1, told_of),
            Ok(kind) if kind.is_file() => told_of(&path, None),
            Ok(_) => told_of(&path, Some("it is not a regular file".to_owned())),
            Err(error) => told_of(&path, Some(told(error))),
        }
    }
}

/// The path of a file that is a regular one, and its length.
pub(crate) fn regular(root: &Path, path: &str) -> Result<(PathBuf, u64), String> {
    let whole = root.join(path);
    let metadata = fs::symlink_metadata(&whole).map_err(told)?;
    if metadata.is_file() { Ok((whole, metadata.len())) } else { Err("it is not a regular file".to_owned()) }
}

/// The bytes of a file of at most `bytes_max`.
pub(crate) fn contents(root: &Path, path: &str, bytes_max: usize) -> Result<Vec<u8>, String> {
    let (whole, length) = regular(root, path)?;
    if usize::try_from(length).is_ok_and(|length| length <= bytes_max) {
        let mut bytes = Vec::new();
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        File::open(whole).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(told)?;
        return Ok(bytes);
    }
    Err(format!("it has {length} bytes; at most {bytes_max} are right"))
}

/// The text of a file of at most `bytes_max`.
pub(crate) fn text(root: &Path, path: &str, bytes_max: usize) -> Result<String, String> {
    String::from_utf8(contents(root, path, bytes_max)?)
        .map_err(|error| format!("it is not text: byte {} is no UTF-8", error.utf8_error().valid_up_to()))
}

/// What the system said of a file.
pub(crate) fn told(error: std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        return "it is missing".to_owned();
    }
    format!("it cannot be read: {error}")
}
