//! Whom the user believes: public keys from the command line. Knows no log.

use std::path::Path;

use ura_evidence::keys::log_keys_of_file;
use ura_log::note::{Key, Kind};

use super::{
    facts::hex,
    failure::{Failure, tell},
    held::regular,
    report::name,
};

/// Public keys of logs that the user got from somebody else than who keeps the log.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Keys {
    /// Public key of the log, got from its operator beforehand: the key itself, a file of keys, or a folder of log keys.
    /// May stand several times
    #[arg(long = "key", value_name = "KEY|FILE|FOLDER")]
    keys: Vec<String>,
}

impl Keys {
    /// Whether none was given.
    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that sign logs.
    ///
    /// # Errors
    /// One is no key, or one of a witness.
    pub(super) fn read(&self) -> Result<Vec<Key>, Failure> {
        let mut keys = Vec::new();
        for text in &self.keys {
            keys.extend(read(text, Kind::Ed25519)?);
        }
        Ok(keys)
    }
}

/// The keys of one kind that an argument names.
///
/// # Errors
/// It names none.
pub(super) fn read(text: &str, kind: Kind) -> Result<Vec<Key>, Failure> {
    let found = match Key::parse(text) {
        Ok(key) => vec![key],
        // A file may have any name, even that of a key.
        Err(error) if text.split('+').count() > 2 && !Path::new(text).exists() => {
            return Err(Failure::content(text, error));
        }
        Err(_) => {
            let path = Path::new(text);
            if path.exists() && !path.is_dir() {
                regular(path)?;
            }
            log_keys_of_file(path)?
        }
    };
    let fit: Vec<Key> = found.into_iter().filter(|key| key.kind() == kind).collect();
    if !fit.is_empty() {
        return Ok(fit);
    }
    Err(Failure::usage(match kind {
        Kind::Ed25519 => {
            format!("{text}: it holds keys of witnesses only; --witness takes those, --key a key of the log")
        }
        Kind::CosignatureV1 => {
            format!("{text}: it holds keys of logs only; --key takes those, --witness a key of a witness")
        }
    }))
}

/// Says that the keys came from who keeps the log, and what to compare.
pub(super) fn tell_same_hand(keys: &[Key], from: &str) {
    let shown: Vec<String> =
        keys.iter().map(|key| format!("{} ({})", name(key), hex(key.public()))).collect();
    tell(&format!(
        "the key is {from}, from the same hand as the log: compare it with what you got elsewhere, or give --key: {}",
        shown.join(", ")
    ));
}

#[cfg(test)]
mod tests {
    use ura_log::note::Signer;

    use super::*;

    fn key(kind: Kind) -> Key {
        Signer::generate("l.example", kind).expect("randomness").key().clone()
    }

    #[test]
    fn keys_come_as_text_file_or_folder() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (log, witness) = (key(Kind::Ed25519), key(Kind::CosignatureV1));
        let file = dir.path().join("keys");
        std::fs::write(&file, format!("{log}\n{witness}\n")).expect("temporary folder");
        std::fs::write(dir.path().join("000001.log.pub"), format!("{log}\n")).expect("temporary folder");
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        for text in [log.to_string(), path(&file), path(dir.path())] {
            assert_eq!(read(&text, Kind::Ed25519).expect("a key").first(), Some(&log), "{text}");
        }
        assert_eq!(read(&path(&file), Kind::CosignatureV1).expect("a key").first(), Some(&witness));
        for (text, kind, says) in [
            (witness.to_string(), Kind::Ed25519, "--witness takes those"),
            (log.to_string(), Kind::CosignatureV1, "--key takes those"),
            (log.to_string().replace("l.example", "m.example"), Kind::Ed25519, "id is not that"),
            ("/nowhere/log.pub".to_owned(), Kind::Ed25519, "/nowhere/log.pub"),
        ] {
            let error = read(&text, kind).expect_err(&text).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
