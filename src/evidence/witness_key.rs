//! `ura evidence witness-key`: the key of a witness, and its file: the public key on the first line, so that
//! the file says whose it is, then PKCS#8 in PEM (RFC 7468 section 10). No error repeats a line of it.

use std::{
    fmt::Write as _,
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ura_log::note::{Key, Kind, NoteError, Signer};

use super::{
    failure::{Ended, Failure, Verdict, say, tell},
    receipt::write_new,
};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Largest file of a key, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// Make the key of a witness
///
/// Prints its public key: the operator of the bus enters it as `cosigner` of the witness's system in the directory.
#[derive(Debug, clap::Args)]
pub(super) struct WitnessKey {
    /// Name of the witness, as its signatures carry it, such as auditor.example
    name: String,
    /// New file for the private key; only its owner may read it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl WitnessKey {
    /// Makes and writes it.
    pub(super) fn run(self) -> Ended {
        let signer = Signer::generate(&self.name, Kind::CosignatureV1).map_err(|error| match error {
            NoteError::BadKey { wrong, .. } => {
                Failure::usage(format!("{} cannot name a key: {wrong}", self.name))
            }
            error => Failure::content("the key", error),
        })?;
        let der = signer.pkcs8().map_err(|error| Failure::content("the key", error))?;
        write_new(&self.out, &encode(signer.key(), der.as_ref()))?;
        say(signer.key())?;
        tell(&"the line above is to be entered as `cosigner` of the witness's system in the directory");
        Ok(Verdict::Holds)
    }
}

/// Reads the key of a witness.
///
/// # Errors
/// There is none, others may read it, or it is no key of a witness.
pub(super) fn read(path: &Path) -> Result<Signer, Failure> {
    let file = File::open(path).map_err(Failure::file(path))?;
    let mode = file.metadata().map_err(Failure::file(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let shown = path.display();
        return Err(Failure::usage(format!(
            "{shown}: others may read this key (mode {mode:o}); run `chmod 600` on it"
        )));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(Failure::file(path))?;
    signer(&text).map_err(|wrong| Failure::content(path.display(), wrong))
}

fn encode(key: &Key, der: &[u8]) -> String {
    let mut text = format!("{key}\n{BEGIN}\n");
    for (at, letter) in STANDARD.encode(der).chars().enumerate() {
        if at > 0 && at.is_multiple_of(64) {
            text.push('\n');
        }
        text.push(letter);
    }
    let _ = writeln!(text, "\n{END}");
    text
}

fn signer(text: &str) -> Result<Signer, &'static str> {
    let (line, pem) = text.split_once('\n').ok_or("a key of `ura evidence witness-key` is expected")?;
    let key =
        Key::parse(line.trim()).map_err(|_| "its first line must be the public key, as in name+id+base64")?;
    if key.kind() != Kind::CosignatureV1 {
        return Err("it is the key of a log; a witness needs one of `ura evidence witness-key`");
    }
    let body = pem.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let body = body.ok_or("after its first line one private key in PEM is expected, and nothing else")?;
    let letters: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(letters).map_err(|_| "the private key is not base64 between its marks")?;
    let signer = Signer::from_pkcs8(key.name(), Kind::CosignatureV1, &der)
        .map_err(|_| "the private key is not an Ed25519 key in PKCS#8")?;
    if *signer.key() != key {
        return Err("the private key is not that of the public key on the first line");
    }
    Ok(signer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind) -> String {
        let signer = Signer::generate("auditor.example", kind).expect("randomness");
        encode(signer.key(), signer.pkcs8().expect("own key").as_ref())
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let good = text(Kind::CosignatureV1);
        assert!(good.lines().skip(1).all(|line| line.len() <= 64));
        let (line, secret) = good.split_once('\n').expect("lines");
        assert_eq!(signer(&good).expect("own text").key().to_string(), line);
        let other = text(Kind::CosignatureV1);
        let other_line = other.lines().next().expect("lines");
        for bad in [
            String::new(),
            line.to_owned(),
            secret.to_owned(),
            format!("{other_line}\n{secret}"),
            format!("{good}{secret}"),
            good.replace("END PRIVATE", "END PUBLIC"),
            text(Kind::Ed25519),
        ] {
            assert!(signer(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let out = dir.path().join("witness.pem");
        let make = || WitnessKey { name: "auditor.example".to_owned(), out: out.clone() }.run();
        assert_eq!(make().expect("made"), Verdict::Holds);
        let made = std::fs::read(&out).expect("there");
        let error = make().expect_err("it is there").to_string();
        assert!(error.contains("not overwritten"), "{error}");
        assert_eq!(std::fs::read(&out).expect("there"), made);
        assert_eq!(read(&out).expect("a key").key().name(), "auditor.example");
        std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o640)).expect("own file");
        let error = read(&out).expect_err("open to others").to_string();
        assert!(error.contains("chmod 600"), "{error}");
        let named = WitnessKey { name: "two words".to_owned(), out: dir.path().join("other") }.run();
        assert!(named.expect_err("no name").to_string().contains("two words"));
        assert!(!dir.path().join("other").exists());
    }
}
