//! What somebody keeps of a log elsewhere: checkpoints, receipts, trailers, proofs, as files. Told apart by what
//! stands in them. Knows no log.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use ura_evidence::{
    entry::leaf,
    receipt::{RECEIPT_BYTES_MAX, Receipt, Trailer},
    verify::Held,
};
use ura_log::{
    checkpoint::Checkpoint,
    note::Note,
    proof_file::{HEADER, ProofFile},
    tree,
};

use super::failure::Failure;

/// Largest file of kept bytes that is compared with a digest, in bytes.
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// A file of evidence.
#[derive(Debug)]
pub(super) enum Kind {
    Receipt(Box<Receipt>),
    Proof(Box<ProofFile>),
    /// A signed note with a checkpoint.
    Checkpoint {
        origin: String,
        note: String,
    },
    Trailer(Trailer),
}

impl Kind {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is none of these.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = text(path)?;
        Self::of(&text).map_err(|error| Failure::content(path.display(), error))
    }

    fn of(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('{') {
            let receipt = Receipt::from_json(text).map_err(|error| error.to_string())?;
            return Ok(Self::Receipt(Box::new(receipt)));
        }
        if text.starts_with(HEADER) {
            let proof = ProofFile::parse(text).map_err(|error| error.to_string())?;
            return Ok(Self::Proof(Box::new(proof)));
        }
        if text.starts_with("log=") {
            return Ok(Self::Trailer(text.trim_end().parse().map_err(|error| format!("{error}"))?));
        }
        let parsed = Note::parse(text)
            .map_err(|error| error.to_string())
            .and_then(|note| Checkpoint::parse(&note.text).map_err(|error| error.to_string()));
        match parsed {
            Ok(Checkpoint { origin, .. }) => Ok(Self::Checkpoint { origin, note: text.to_owned() }),
            Err(error) => Err(format!(
                "it is neither a checkpoint, a receipt, an ura-receipt trailer nor a tlog-proof: {error}"
            )),
        }
    }

    /// What of it a log must agree with: each with the log's name.
    pub(super) fn held(&self) -> Vec<(String, Held)> {
        match self {
            Self::Receipt(receipt) => {
                let origin = &receipt.log;
                let entries = receipt.entries.iter().map(|piece| {
                    let leaf_hash = tree::leaf_hash(&leaf(&piece.body));
                    (origin.clone(), Held::Receipt { origin: origin.clone(), index: piece.index, leaf_hash })
                });
                let checkpoint = (origin.clone(), Held::Checkpoint(receipt.checkpoint.clone()));
                entries.chain([checkpoint]).collect()
            }
            Self::Proof(proof) => {
                let origin = proof.checkpoint.text.lines().next().unwrap_or_default().to_owned();
                vec![(origin, Held::Checkpoint(proof.checkpoint.to_string()))]
            }
            Self::Checkpoint { origin, note } => vec![(origin.clone(), Held::Checkpoint(note.clone()))],
            Self::Trailer(Trailer { log, index, leaf_hash, .. }) => {
                let (origin, index, leaf_hash) = (log.clone(), *index, *leaf_hash);
                vec![(log.clone(), Held::Receipt { origin, index, leaf_hash })]
            }
        }
    }
}

/// The text of a file of evidence.
fn text(path: &Path) -> Result<String, Failure> {
    let bytes = read(path, u64::try_from(RECEIPT_BYTES_MAX).unwrap_or(u64::MAX))?;
    String::from_utf8(bytes)
        .map_err(|_| Failure::content(path.display(), "it is no text, so it is no evidence"))
}

/// Bytes that a party kept.
pub(super) fn kept(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, KEPT_BYTES_MAX)
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    regular(path)?;
    let read =
        File::open(path).and_then(|file| file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes));
    let length = read.map_err(Failure::file(path))?;
    if u64::try_from(length).unwrap_or(u64::MAX) > bytes_max {
        let problem = format!("it has more than {bytes_max} bytes");
        return Err(Failure::file(path)(io::Error::new(io::ErrorKind::FileTooLarge, problem)));
    }
    Ok(bytes)
}

/// Refuses what is no regular file: a pipe would be waited for without end.
pub(super) fn regular(path: &Path) -> Result<(), Failure> {
    let kind = std::fs::metadata(path).map_err(Failure::file(path))?;
    if kind.is_file() {
        return Ok(());
    }
    Err(Failure::content(
        path.display(),
        "it is no regular file: name a file, not a pipe, a device or a folder",
    ))
}

#[cfg(test)]
mod tests {
    use ura_log::note::{Kind as KeyKind, Signer};

    use super::*;

    #[test]
    fn files_are_told_apart_by_what_stands_in_them() {
        let signer = Signer::generate("l", KeyKind::Ed25519).expect("a key");
        let checkpoint = Checkpoint { origin: "l".into(), size: 3, root: [1; 32], extensions: Vec::new() };
        let note = checkpoint.sign(&signer).expect("signed");
        let proof = ProofFile { extra: None, index: 2, hashes: vec![[2; 32]], checkpoint: note.clone() };
        let zeros = "A".repeat(43);
        let trailer = format!("log=l;index=7;leaf={zeros};salt={zeros}\n");
        for (text, origin) in [(note.to_string(), "l"), (proof.encode(), "l"), (trailer, "l")] {
            let held = Kind::of(&text).expect(&text).held();
            assert_eq!(held.len(), 1, "{text}");
            assert_eq!(held[0].0, origin, "{text}");
        }
        for (text, says) in [
            ("", "neither a checkpoint"),
            ("{}", "it is not a receipt"),
            ("log=l", "ura-receipt"),
            ("c2sp.org/tlog-proof@v1\nx", ""),
            ("hello\n\n— l AAAA", "neither"),
        ] {
            let error = Kind::of(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        for error in [Kind::read(&pipe).map(drop), kept(&pipe).map(drop), kept(dir.path()).map(drop)] {
            let error = error.expect_err("no file").to_string();
            assert!(error.contains("no regular file"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Kind::read(Path::new("/nowhere/x")).expect_err("nowhere").to_string();
        assert!(error.contains("/nowhere/x"), "{error}");
    }
}
