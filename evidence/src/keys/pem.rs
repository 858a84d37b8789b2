//! The text of a log key's file: its verifier key on the first line, so that the file says which log it
//! signs, and PKCS#8 in PEM after it (RFC 7468 sections 5.2 and 10), which other tools read. Pure. No error
//! repeats a line of the text, since any line may be the key.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ura_log::note::{Key, Kind, Signer};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Characters in a line of base64 (RFC 7468 section 2).
const LINE_CHARACTERS: usize = 64;

/// Text of a key.
pub(super) fn encode(key: &Key, der: &[u8]) -> String {
    let mut text = format!("{key}\n{BEGIN}\n");
    for (at, letter) in STANDARD.encode(der).chars().enumerate() {
        if at > 0 && at % LINE_CHARACTERS == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text + "\n" + END + "\n"
}

/// The verifier key that a text says it belongs to.
pub(super) fn key(text: &str) -> Result<Key, &'static str> {
    let line = text.lines().next().unwrap_or_default();
    Key::parse(line).map_err(|_| "a log key file begins with its verifier key, as in name+id+base64")
}

/// The private key in a text, which must be the one of its first line.
pub(super) fn signer(text: &str) -> Result<Signer, &'static str> {
    let key = key(text)?;
    let body = text.split_once('\n').and_then(|(_, pem)| pem.trim().strip_prefix(BEGIN)?.strip_suffix(END));
    let body =
        body.ok_or("after its first line a log key file holds one private key in PEM, and nothing else")?;
    let letters: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(letters).map_err(|_| "the private key of a log is base64 between its marks")?;
    let signer = Signer::from_pkcs8(key.name(), Kind::Ed25519, &der)
        .map_err(|_| "the private key of a log is an Ed25519 key in PKCS#8")?;
    if *signer.key() != key {
        return Err("the private key is not that of the verifier key on the file's first line");
    }
    Ok(signer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> (Key, String) {
        let signer = Signer::generate("ura.test/gateway", Kind::Ed25519).expect("randomness");
        let text = encode(signer.key(), signer.pkcs8().expect("own key").as_ref());
        (signer.key().clone(), text)
    }

    #[test]
    fn what_is_written_is_read() {
        let (key, text) = text();
        assert_eq!(super::key(&text), Ok(key.clone()));
        assert_eq!(signer(&text).expect("own text").key(), &key);
        assert!(text.lines().skip(1).all(|line| line.len() <= LINE_CHARACTERS));
        // As an editor on another system saves it.
        assert_eq!(signer(&text.replace('\n', "\r\n")).expect("the same key").key(), &key);
    }

    #[test]
    fn every_damage_is_an_error_that_tells_no_key() {
        let (_, text) = text();
        let (_, other) = self::text();
        let (line, secret) = text.split_once('\n').expect("lines");
        let (other_line, _) = other.split_once('\n').expect("lines");
        let cases = [
            String::new(),
            secret.to_owned(),
            line.to_owned(),
            format!("{text}{secret}"),
            format!("{line}\n{text}"),
            format!("{other_line}\n{secret}"),
            text.replace("END PRIVATE", "END PUBLIC"),
            text.replace("PRIVATE KEY-----\nM", "PRIVATE KEY-----\n*"),
            text.replace("PRIVATE KEY-----\nM", "PRIVATE KEY-----\nA"),
        ];
        for damaged in cases {
            assert!(signer(&damaged).is_err(), "read all the same: {damaged}");
        }
    }
}
