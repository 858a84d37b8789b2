//! The text of a version: one spelling, so that a text that was read is written again byte for byte. Pure.
//!
//! ```text
//! ura-registry/1
//! version 2
//! before <base64 of SHA-256 of the text of version 1, or ->
//! log <origin> <gateway> <open|sealed> <size> <base64 of the root> <verifier key>
//! ```

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ura_log::{
    Hash, MAX_TREE_LEAVES,
    note::{Key, Kind, MAX_NOTE_BYTES, Note, NoteError},
    tree::empty_root,
};
use ura_proto::SystemId;

use super::{LOGS_MAX, Listed, Registry, RegistryError};

const HEAD: &str = "ura-registry/1";

impl Registry {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let before = self.before.map_or_else(|| "-".to_owned(), |hash| STANDARD.encode(hash));
        let mut text = format!("{HEAD}\nversion {}\nbefore {before}\n", self.version);
        for log in &self.logs {
            let state = if log.sealed { "sealed" } else { "open" };
            let root = STANDARD.encode(log.root);
            let (origin, gateway, size, key) = (&log.origin, &log.gateway, log.size, &log.key);
            text.push_str(&format!("log {origin} {gateway} {state} {size} {root} {key}\n"));
        }
        text
    }

    /// SHA-256 of the text: what the next version and the entry in the log name this one by.
    #[must_use]
    pub fn digest(&self) -> Hash {
        digest_of(&self.text())
    }

    /// Reads a text, without verifying any signature.
    ///
    /// # Errors
    /// Says which line is wrong, and what would be right.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        if text.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { bytes: text.len() }.into());
        }
        let mut lines =
            text.split_inclusive('\n').map(|line| line.strip_suffix('\n').unwrap_or_default()).zip(1..);
        let mut head = |expected: &'static str, prefix: &str| {
            let line = lines.next();
            let rest = line.and_then(|(line, _)| line.strip_prefix(prefix));
            rest.ok_or(RegistryError::Line { line: line.map_or(1, |(_, number)| number), expected })
        };
        if !head("it must be `ura-registry/1`", HEAD)?.is_empty() {
            return Err(RegistryError::Line { line: 1, expected: "it must be `ura-registry/1`" });
        }
        const VERSION: &str = "it must be `version` and a number from 1";
        let version =
            head(VERSION, "version ")?.parse().ok().filter(|version| (1..=MAX_TREE_LEAVES).contains(version));
        let version = version.ok_or(RegistryError::Line { line: 2, expected: VERSION })?;
        const BEFORE: &str =
            "it must be `before` and the hash of the version before in base64, or `-` in version 1";
        let before = match head(BEFORE, "before ")? {
            "-" => None,
            text => Some(hash(text).ok_or(RegistryError::Line { line: 3, expected: BEFORE })?),
        };
        if before.is_some() != (version > 1) {
            return Err(RegistryError::Line { line: 3, expected: BEFORE });
        }
        let mut logs: Vec<Listed> = Vec::new();
        for (line, number) in lines {
            if logs.len() == LOGS_MAX {
                return Err(RegistryError::TooManyLogs);
            }
            let wrong = |expected| RegistryError::Line { line: number, expected };
            let listed = log(line).map_err(wrong)?;
            if logs.last().is_some_and(|last| last.origin >= listed.origin) {
                return Err(wrong("logs must stand in the order of their names, each once"));
            }
            logs.push(listed);
        }
        let read = Self { version, before, logs };
        // One spelling: numbers without leading zeroes, a newline at the end.
        if read.text() != text {
            return Err(RegistryError::Line {
                line: 1,
                expected: "the text is not spelled as registries are",
            });
        }
        Ok(read)
    }

    /// Reads a signed version and verifies that the key which it lists for one of its logs signed it: the author's.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn open(note: &str) -> Result<(Self, Key), RegistryError> {
        let note = Note::parse(note)?;
        let read = Self::parse(&note.text)?;
        let signed = note.verify(&read.keys())?;
        let [key] = &signed[..] else {
            let what = "more than one key signed it".to_owned();
            return Err(RegistryError::Unsound { version: read.version, what });
        };
        Ok((read, key.clone()))
    }
}

/// SHA-256 of a text.
fn digest_of(text: &str) -> Hash {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// A line of a log.
fn log(line: &str) -> Result<Listed, &'static str> {
    const FORM: &str = "it must be `log <origin> <gateway> <open|sealed> <size> <root> <verifier key>`";
    let mut parts = line.strip_prefix("log ").ok_or(FORM)?.split(' ');
    let mut part = || parts.next().ok_or(FORM);
    let (origin, gateway, state, size, root, key) = (part()?, part()?, part()?, part()?, part()?, part()?);
    if parts.next().is_some() {
        return Err(FORM);
    }
    let sealed = match state {
        "open" => false,
        "sealed" => true,
        _ => return Err("a log is `open` or `sealed`"),
    };
    gateway.parse::<SystemId>().map_err(|_| "a gateway is named as in `member/system`")?;
    let size = size.parse().ok().filter(|size| *size <= MAX_TREE_LEAVES).ok_or("the size is not a number")?;
    let root = hash(root).ok_or("the root is not a hash in base64")?;
    if size == 0 && root != empty_root() {
        return Err("a log of size 0 has the root of no entries");
    }
    let key = Key::parse(key).map_err(|_| "the last word is not a verifier key")?;
    if key.name() != origin || key.kind() != Kind::Ed25519 {
        return Err("the key of a log is an Ed25519 key with the log's name");
    }
    Ok(Listed { origin: origin.to_owned(), gateway: gateway.to_owned(), sealed, size, root, key })
}

#[cfg(test)]
mod tests {
    use ura_log::note::Signer;

    use super::*;

    fn listed(origin: &str, size: u64) -> (Listed, Signer) {
        let signer = Signer::generate(origin, Kind::Ed25519).expect("a key");
        let root = if size == 0 { empty_root() } else { [3; 32] };
        let (origin, gateway, key) = (origin.to_owned(), "ais/gateway".to_owned(), signer.key().clone());
        (Listed { origin, gateway, sealed: size > 9, size, root, key }, signer)
    }

    fn sample() -> (Registry, Signer) {
        let ((a, signer), (b, _)) = (listed("ura.test/a", 12), listed("ura.test/b", 0));
        (Registry { version: 7, before: Some([9; 32]), logs: vec![a, b] }, signer)
    }

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let (registry, signer) = sample();
        assert_eq!(Registry::parse(&registry.text()).expect("a registry"), registry);
        let note = Note::sign(registry.text(), &signer).expect("signed").to_string();
        assert_eq!(Registry::open(&note).expect("a registry"), (registry.clone(), signer.key().clone()));
        let first = Registry { version: 1, before: None, ..registry };
        assert!(
            first
                .text()
                .starts_with("ura-registry/1\nversion 1\nbefore -\nlog ura.test/a ais/gateway sealed 12 ")
        );
        assert_eq!(Registry::parse(&first.text()).expect("a registry"), first);
    }

    #[test]
    fn only_a_key_that_it_lists_may_sign_it() {
        let (registry, signer) = sample();
        let stranger = Signer::generate("ura.test/a", Kind::Ed25519).expect("a key");
        let note = |signer| Note::sign(registry.text(), signer).expect("signed").to_string();
        assert!(matches!(Registry::open(&note(&stranger)), Err(RegistryError::Note(_))));
        let altered = note(&signer).replace(" 12 ", " 13 ");
        assert!(matches!(Registry::open(&altered), Err(RegistryError::Note(NoteError::BadSignature { .. }))));
    }

    #[test]
    fn whatever_is_spelled_otherwise_is_refused() {
        let (registry, _) = sample();
        let text = registry.text();
        let lines: Vec<&str> = text.lines().collect();
        let table: [(&str, String, usize); 14] = [
            ("empty", String::new(), 1),
            ("another format", text.replace("registry/1", "registry/2"), 1),
            ("more on the first line", text.replace("registry/1", "registry/1 "), 1),
            ("version 0", text.replace("version 7", "version 0"), 2),
            ("no number", text.replace("version 7", "version x"), 2),
            ("no hash", text.replace("before ", "before x"), 3),
            ("the first names one before", text.replace("version 7", "version 1"), 3),
            ("a later one names none", format!("{}\n{}\nbefore -\n", lines[0], lines[1]), 3),
            ("no such state", text.replace(" sealed ", " shut "), 4),
            ("more words", text.replace(" sealed ", " sealed 1 "), 4),
            ("another name than the key's", text.replace("log ura.test/a ", "log ura.test/aa "), 4),
            ("no gateway", text.replacen("ais/gateway", "gateway", 1), 4),
            (
                "another order",
                format!("{}\n{}\n{}\n{}\n{}\n", lines[0], lines[1], lines[2], lines[4], lines[3]),
                5,
            ),
            ("twice", format!("{text}{}\n", lines[4]), 6),
        ];
        for (case, text, line) in table {
            let found = Registry::parse(&text).expect_err(case);
            assert!(matches!(found, RegistryError::Line { line: at, .. } if at == line), "{case}: {found}");
        }
        for (case, text) in [
            ("a leading zero", text.replace(" 12 ", " 012 ")),
            ("a plus", text.replace("version 7", "version +7")),
            ("no newline at the end", text.trim_end().to_owned()),
            ("an empty line", format!("{text}\n")),
        ] {
            assert!(Registry::parse(&text).is_err(), "{case}");
        }
    }

    #[test]
    fn there_is_a_limit_of_logs() {
        let (one, _) = listed("ura.test/a", 1);
        let named = |number: usize| {
            let origin = format!("ura.test/{number:0>245}");
            let key = Key::new(&origin, Kind::Ed25519, [1; 32]).expect("a key");
            Listed { origin, key, size: MAX_TREE_LEAVES, ..one.clone() }
        };
        let mut registry = Registry { version: 1, before: None, logs: (0..LOGS_MAX).map(named).collect() };
        assert!(registry.text().len() < MAX_NOTE_BYTES - 1000, "{}", registry.text().len());
        assert!(Registry::parse(&registry.text()).is_ok());
        registry.logs.push(named(LOGS_MAX));
        assert!(matches!(Registry::parse(&registry.text()), Err(RegistryError::TooManyLogs)));
    }
}
