//! Files of verifier keys, as `--key` names them: public text, one key a line. Knows no private key.

use std::{collections::BTreeMap, fs, path::Path};

use ura_log::note::{Key, NoteError};

use super::{
    KeysError,
    folder::{self, io_at},
    log_key::PUB,
};

/// Largest file of verifier keys, in bytes: about 200 keys.
pub(super) const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The verifier keys of a file (one a line; empty lines and lines that begin with `#` are skipped), or those of
/// a folder of log keys (its files `NNNNNN.log.pub`, of whichever log, oldest first). Both may lie open.
///
/// # Errors
/// There is no such file, it holds no key, or a line is none; each with its place. A line is not repeated,
/// since it may be a secret that stands in the wrong file.
pub fn log_keys_of_file(path: &Path) -> Result<Vec<Key>, KeysError> {
    if !path.is_dir() {
        let text = folder::public(path, FILE_BYTES_MAX)?.ok_or_else(|| {
            io_at(path)(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file of keys"))
        })?;
        return keys(path, &text);
    }
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(io_at(path))? {
        let name = entry.map_err(io_at(path))?.file_name();
        let number = name.to_str().and_then(|name| folder::number(name, PUB));
        files.extend(number.map(|number| (number, path.join(&name))));
    }
    let mut found = Vec::new();
    for file in files.values() {
        let text = folder::public(file, FILE_BYTES_MAX)?.unwrap_or_default();
        found.extend(keys(file, &text)?);
    }
    if found.is_empty() {
        return Err(KeysError::Missing { path: path.to_path_buf(), what: format!("file NNNNNN{PUB}") });
    }
    Ok(found)
}

/// The keys in a text.
pub(super) fn keys(path: &Path, text: &str) -> Result<Vec<Key>, KeysError> {
    let malformed = |expected| KeysError::Malformed { path: path.to_path_buf(), expected };
    if text.contains("PRIVATE KEY-----") {
        return Err(malformed(
            "this file holds a private key; name the file with the public one, `.log.pub`",
        ));
    }
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(line, key)| {
        Key::parse(key).map_err(|error| KeysError::MalformedLine {
            path: path.to_path_buf(),
            line,
            wrong: match error {
                NoteError::BadKey { wrong, .. } => wrong,
                _ => "it is no verifier key",
            },
        })
    });
    let keys: Vec<Key> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(malformed("a file of verifier keys holds at least one, as in name+id+base64"));
    }
    Ok(keys)
}
