//! Checking a cosignature before it is stored (<https://c2sp.org/tlog-cosignature>). Pure.

use ura_log::{
    checkpoint::{self, CheckpointError},
    note::{Key, Note, NoteError, NoteSignature},
};

/// How far a cosigner's clock may be ahead of the gateway's, in seconds.
const AHEAD_S_MAX: u64 = 300;

/// Longest signature line, in bytes: a name of 255 bytes, and base64 of 76 bytes.
const LINE_BYTES_MAX: usize = 512;

/// A cosignature that holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cosignature {
    /// Name of the key.
    pub(super) name: String,
    /// The signature line, without its newline, in its one form.
    pub(super) line: String,
    /// When the cosigner saw the checkpoint, seconds since 1970-01-01 UTC.
    pub(super) time_s: u64,
}

/// Why a cosignature is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CosignatureError {
    /// Not a signature line.
    #[error("it is no signature line: write \"— name base64\", one line (C2SP signed-note)")]
    Line,
    /// Of somebody else, or of an older key.
    #[error("it is signed by {found}, but the directory has the key {expected} for the caller")]
    OtherKey {
        /// Name on the line.
        found: String,
        /// Name and id of the directory's key.
        expected: String,
    },
    /// Wrong.
    #[error("the signature does not hold for the log's checkpoint of this size")]
    Wrong,
    /// From the future.
    #[error("its time, {time_s} s since 1970, is more than {AHEAD_S_MAX} s ahead of the gateway's clock")]
    Future {
        /// What it carries.
        time_s: u64,
    },
    /// The stored checkpoint cannot be read: not the caller's fault.
    #[error("the stored checkpoint cannot be read: {0}")]
    Stored(String),
}

/// Checks the signature line that the owner of `key` left for a stored checkpoint.
///
/// # Errors
/// [`CosignatureError`]; all but `Stored` are the caller's to mend.
pub(super) fn check(
    line: &str,
    key: &Key,
    stored_note: &str,
    now_unix_us: i64,
) -> Result<Cosignature, CosignatureError> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        return Err(CosignatureError::Line);
    }
    let signature: NoteSignature = line.parse().map_err(|_| CosignatureError::Line)?;
    if !key.made(&signature) {
        // Name, plus, id: what tells keys apart.
        let expected = key.to_string().splitn(3, '+').take(2).collect::<Vec<_>>().join("+");
        return Err(CosignatureError::OtherKey { found: signature.name, expected });
    }
    let stored = Note::parse(stored_note).map_err(|error| CosignatureError::Stored(error.to_string()))?;
    let signed = Note { text: stored.text, signatures: vec![signature] };
    let time_s = checkpoint::cosigned_at(&signed, key).map_err(|error| match error {
        CheckpointError::Note(NoteError::BadSignature { .. } | NoteError::WrongKind { .. })
        | CheckpointError::NotCosigned { .. } => CosignatureError::Wrong,
        other => CosignatureError::Stored(other.to_string()),
    })?;
    let now_s = u64::try_from(now_unix_us / 1_000_000).unwrap_or(0);
    if time_s > now_s.saturating_add(AHEAD_S_MAX) {
        return Err(CosignatureError::Future { time_s });
    }
    let line = signed.signatures[0].to_string();
    Ok(Cosignature { name: key.name().to_owned(), line, time_s })
}

#[cfg(test)]
mod tests {
    use ura_log::{
        checkpoint::Checkpoint,
        note::{Kind, MAX_UNIX_S, Signer},
    };

    use super::*;

    const NOW_US: i64 = 1_790_000_000_000_000;
    const NOW_S: u64 = 1_790_000_000;

    fn note(size: u64) -> Note {
        let log = Signer::generate("log.example/1", Kind::Ed25519).expect("a key");
        let checkpoint =
            Checkpoint { origin: "log.example/1".to_owned(), size, root: [7; 32], extensions: Vec::new() };
        checkpoint.sign(&log).expect("signed")
    }

    #[test]
    fn only_the_callers_own_signature_of_this_checkpoint_is_taken() {
        let witness = Signer::generate("witness.example", Kind::CosignatureV1).expect("a key");
        let other = Signer::generate("witness.example", Kind::CosignatureV1).expect("a key");
        let plain = Signer::generate("witness.example", Kind::Ed25519).expect("a key");
        let stored = note(5);
        let line = |signer: &Signer, of: &Note, time_s| {
            checkpoint::cosign(of, signer, time_s).expect("cosigned").to_string()
        };
        let good = line(&witness, &stored, NOW_S + 300);
        let taken = |line: &str| check(line, witness.key(), &stored.to_string(), NOW_US);
        let expected =
            Cosignature { name: "witness.example".to_owned(), line: good.clone(), time_s: NOW_S + 300 };
        assert_eq!(taken(&good), Ok(expected));
        assert!(taken(&format!("{good}\n")).is_ok());
        assert_eq!(taken(&line(&witness, &note(6), NOW_S)), Err(CosignatureError::Wrong));
        let future = Err(CosignatureError::Future { time_s: NOW_S + 301 });
        assert_eq!(taken(&line(&witness, &stored, NOW_S + 301)), future);
        let latest = Err(CosignatureError::Future { time_s: MAX_UNIX_S });
        assert_eq!(taken(&line(&witness, &stored, MAX_UNIX_S)), latest);
        assert!(matches!(taken(&line(&other, &stored, NOW_S)), Err(CosignatureError::OtherKey { .. })));
        for bad in ["", "x", "— witness.example AAAA", &format!("{good}\n{good}"), &"a".repeat(600)] {
            assert_eq!(taken(bad), Err(CosignatureError::Line), "{bad}");
        }
        // A directory that names a key of the other kind: the signature over the bare text is no cosignature.
        let bare = plain.sign(&stored.text).expect("signed").to_string();
        assert_eq!(check(&bare, plain.key(), &stored.to_string(), NOW_US), Err(CosignatureError::Wrong));
        assert!(matches!(check(&good, witness.key(), "no note", NOW_US), Err(CosignatureError::Stored(_))));
    }

    #[test]
    fn the_error_names_key_and_id_but_not_more() {
        let (mine, other) = ("mine.example", "other.example");
        let mine = Signer::generate(mine, Kind::CosignatureV1).expect("a key");
        let other = Signer::generate(other, Kind::CosignatureV1).expect("a key");
        let stored = note(1);
        let line = checkpoint::cosign(&stored, &other, NOW_S).expect("cosigned").to_string();
        let error = check(&line, mine.key(), &stored.to_string(), NOW_US).expect_err("another key");
        let text = error.to_string();
        assert!(matches!(error, CosignatureError::OtherKey { .. }), "{text}");
        assert!(text.contains("signed by other.example") && text.contains("key mine.example+"), "{text}");
        let public = mine.key().to_string().splitn(3, '+').nth(2).expect("three parts").to_owned();
        assert!(!text.contains(&public), "{text}");
    }
}
