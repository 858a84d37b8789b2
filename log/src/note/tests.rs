//! Notes and keys against published ones; what the specification forbids is refused.

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{
    Key, Kind, MAX_KEY_NAME_BYTES, MAX_NOTE_BYTES, MAX_NOTE_SIGNATURES, Note, NoteError, NoteSignature,
    Signer, parse_signatures,
};
use crate::syntax;

/// The key pair and the note in the documentation of the Go package `golang.org/x/mod/sumdb/note`.
const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const SEED: &str = "gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=";
const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn peter() -> Signer {
    // PKCS#8 of an Ed25519 seed: RFC 8410 section 7.
    let mut der = crate::tree::reference::hex("302e020100300506032b657004220420");
    der.extend(syntax::base64(SEED).expect("base64"));
    Signer::from_pkcs8("PeterNeumann", Kind::Ed25519, &der).expect("a key")
}

fn signer(name: &str) -> Signer {
    Signer::generate(name, Kind::Ed25519).expect("a key")
}

#[test]
fn the_published_note_is_verified_and_made() {
    let published = format!("{TEXT}\n{LINE}");
    let key = Key::parse(VKEY).expect("a verifier key");
    assert_eq!((key.name(), key.id(), key.kind()), ("PeterNeumann", [0xc7, 0x4f, 0x20, 0xa3], Kind::Ed25519));
    assert_eq!(key.to_string(), VKEY);
    let note = Note::parse(&published).expect("a note");
    assert_eq!(note.text, TEXT);
    assert_eq!(note.verify(std::slice::from_ref(&key)), Ok(vec![key.clone()]));

    let signer = peter();
    assert_eq!(signer.key(), &key);
    let made = Note::sign(TEXT.to_owned(), &signer).expect("signed");
    assert_eq!(made.to_string(), published, "Ed25519 is deterministic");
}

#[test]
fn published_verifier_keys_are_read() {
    // From the tests of transparency-dev/formats.
    let witness = Key::parse("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2");
    assert_eq!(witness.map(|key| key.kind()), Ok(Kind::CosignatureV1));
    assert!(Key::parse("TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6").is_ok());
}

#[test]
fn wrong_verifier_keys_are_refused() {
    let table = [
        ("", "expected name+id+base64"),
        ("PeterNeumann+c74f20a3", "expected name+id+base64"),
        ("PeterNeumann+c74f20a3+!", "the part after the second plus is no base64"),
        ("PeterNeumann+c74f20a3+", "the key is empty"),
        ("x+12345678+AwEB", "only Ed25519 keys of signature types 0x01 and 0x04 are supported"),
        ("x+12345678+AQEB", "an Ed25519 key has 32 bytes"),
        (
            &VKEY.replace("c74f20a3", "c74f20a4"),
            "the id is not that of this name and key: one of them was changed",
        ),
        (
            &VKEY.replace("c74f20a3", "C74F20A3"),
            "the id is not that of this name and key: one of them was changed",
        ),
        (
            &VKEY.replace("PeterN", "Petern"),
            "the id is not that of this name and key: one of them was changed",
        ),
        (&VKEY.replace("ARpc", "BBpc"), "the id is not that of this name and key: one of them was changed"),
        (&"x".repeat(2_000), "expected name+id+base64"),
        (&format!("{}+12345678+AQ==", "x".repeat(2_000)), "too long"),
    ];
    for (text, expected) in table {
        let Err(NoteError::BadKey { wrong, text: shown }) = Key::parse(text) else {
            unreachable!("{text:?} was read")
        };
        assert_eq!(wrong, expected, "{text:?}");
        assert!(shown.len() < 400, "an error is short, whatever was sent");
    }
    let long = "x".repeat(MAX_KEY_NAME_BYTES + 1);
    for name in ["", " ", "a b", "a\u{a0}b", "a+b", "a\nb", "a\tb", "a\u{1}b", long.as_str()] {
        assert!(matches!(Key::new(name, Kind::Ed25519, [7; 32]), Err(NoteError::BadKey { .. })), "{name:?}");
    }
    let longest = Key::new(&"x".repeat(MAX_KEY_NAME_BYTES), Kind::CosignatureV1, [7; 32]).expect("fits");
    assert_eq!(Key::parse(&longest.to_string()), Ok(longest));
}

#[test]
fn wrong_notes_are_refused() {
    let note = format!("{TEXT}\n{LINE}");
    let many = LINE.repeat(MAX_NOTE_SIGNATURES);
    assert!(Note::parse(&format!("{TEXT}\n{many}")).is_ok());
    let long = format!("{}\n\n{LINE}", "x".repeat(MAX_NOTE_BYTES));
    let table = [
        (String::new(), NoteError::NoSignatures),
        (TEXT.to_owned(), NoteError::NoSignatures),
        (format!("{TEXT}\n"), NoteError::NoSignatures),
        (format!("{TEXT}{LINE}"), NoteError::NoSignatures),
        (note.trim_end().to_owned(), NoteError::NoSignatures),
        (format!("{note}\n"), NoteError::NoSignatures),
        (format!("{note}x"), NoteError::NoSignatures),
        (format!("{note}x\n"), NoteError::BadSignatureLine { line: 2 }),
        (note.replace('\n', "\r\n"), NoteError::ControlCharacter { line: 1 }),
        (note.replace("problem is.", "problem\tis."), NoteError::ControlCharacter { line: 2 }),
        (note.replace("problem is.", "problem\0is."), NoteError::ControlCharacter { line: 2 }),
        (note.replace('\u{2014}', "-"), NoteError::BadSignatureLine { line: 1 }),
        (note.replace("\u{2014} ", "\u{2014}"), NoteError::BadSignatureLine { line: 1 }),
        (note.replace("PeterNeumann ", "PeterNeumann"), NoteError::BadSignatureLine { line: 1 }),
        (note.replace("PeterNeumann ", "PeterNeumann  "), NoteError::BadSignatureLine { line: 1 }),
        (note.replace("PeterNeumann ", " "), NoteError::BadSignatureLine { line: 1 }),
        (note.replace("PeterNeumann ", "Peter+Neumann "), NoteError::BadSignatureLine { line: 1 }),
        (note.replace("PeterNeumann ", "Peter\u{2003}Neumann "), NoteError::BadSignatureLine { line: 1 }),
        (note.replace("nAM=", "nAM"), NoteError::BadSignatureLine { line: 1 }),
        (note.replace("nAM=", "nAN="), NoteError::BadSignatureLine { line: 1 }),
        (format!("{TEXT}\n\u{2014} x x08gow==\n"), NoteError::BadSignatureLine { line: 1 }),
        (format!("{TEXT}\n{many}{LINE}"), NoteError::TooManySignatures),
        (long.clone(), NoteError::TooLong { bytes: long.len() }),
    ];
    for (text, expected) in table {
        assert_eq!(Note::parse(&text), Err(expected), "{:?}", text.chars().take(200).collect::<String>());
    }
}

#[test]
fn a_text_may_have_empty_lines() {
    let signer = signer("log");
    for text in ["\n", "\n\n", "a\n\nb\n", "a\n\n", "\u{2014} no signature\n", "ëçš\n"] {
        let note = Note::sign(text.to_owned(), &signer).expect("signed");
        let read = Note::parse(&note.to_string()).expect("read");
        assert_eq!(read, note);
        assert_eq!(read.verify(std::slice::from_ref(signer.key())), Ok(vec![signer.key().clone()]));
    }
    for (text, expected) in [
        ("", NoteError::Unended),
        ("a", NoteError::Unended),
        ("a\rb\n", NoteError::ControlCharacter { line: 1 }),
    ] {
        assert_eq!(signer.sign(text), Err(expected), "{text:?}");
    }
}

#[test]
fn unknown_keys_are_ignored_and_known_ones_must_verify() {
    let (one, two, stranger) = (signer("one"), signer("two"), signer("stranger"));
    let text = "text\n".to_owned();
    let mut note = Note::sign(text.clone(), &one).expect("signed");
    let keys = [two.key().clone(), one.key().clone()];
    assert_eq!(note.verify(&keys), Ok(vec![one.key().clone()]));
    assert_eq!(note.verify(&[]), Err(NoteError::NoKnownSignature { known: 0 }));
    assert_eq!(note.verify(std::slice::from_ref(two.key())), Err(NoteError::NoKnownSignature { known: 1 }));

    note.signatures.push(stranger.sign("another\n").expect("signed"));
    // A name without the id, and an id without the name, are not the key.
    let two_signed = two.sign(&text).expect("signed");
    note.signatures.push(NoteSignature { name: "three".to_owned(), ..two_signed.clone() });
    note.signatures.push(NoteSignature { id: [1, 2, 3, 4], ..two_signed.clone() });
    assert_eq!(note.verify(&keys), Ok(vec![one.key().clone()]));

    note.signatures.extend([two_signed.clone(), two_signed.clone()]);
    assert_eq!(note.verify(&keys), Ok(vec![one.key().clone(), two.key().clone()]), "each once");

    note.signatures.push(two.sign("another\n").expect("signed"));
    assert_eq!(note.verify(&keys), Err(NoteError::BadSignature { name: "two".to_owned() }));
    note.signatures.pop();
    note.signatures.push(NoteSignature { bytes: vec![1], ..two_signed });
    assert_eq!(note.verify(&keys), Err(NoteError::BadSignature { name: "two".to_owned() }));
}

#[test]
fn keys_that_cannot_be_told_apart_are_refused() {
    let signer = signer("log");
    let note = Note::sign("text\n".to_owned(), &signer).expect("signed");
    // Nobody can be expected to find a collision here, so one is made by hand.
    let key = signer.key().clone();
    let mut twin = key.clone();
    twin.public = [9; 32];
    assert_eq!(note.verify(&[key.clone(), twin]), Err(NoteError::AmbiguousKey { name: "log".to_owned() }));
    assert_eq!(note.verify(&[key.clone(), key.clone()]), Ok(vec![key]), "the same key twice is no matter");
}

#[test]
fn a_key_comes_back_from_its_file_and_shows_no_secret() {
    let signer = signer("log");
    let der = signer.pkcs8().expect("encoded");
    let read = Signer::from_pkcs8("log", Kind::Ed25519, der.as_ref()).expect("read");
    assert_eq!(read.key(), signer.key());
    assert_eq!(read.sign("text\n"), signer.sign("text\n"));
    let shown = format!("{signer:?}");
    assert_eq!(shown, format!("Signer {{ key: {:?}, .. }}", signer.key().to_string()));
    let other = Signer::from_pkcs8("log", Kind::CosignatureV1, der.as_ref()).expect("read");
    assert_ne!(other.key().id(), signer.key().id(), "a kind has its own id");
    let needed = (Kind::CosignatureV1, Kind::Ed25519);
    let error = NoteError::WrongKind { name: "log".to_owned(), actual: needed.0, needed: needed.1 };
    assert_eq!(other.sign("text\n"), Err(error));

    let bad = NoteError::BadPrivateKey { name: "log".to_owned() };
    for der in [&b""[..], b"no key", &der.as_ref()[1..], &der.as_ref()[..40]] {
        assert_eq!(Signer::from_pkcs8("log", Kind::Ed25519, der).err(), Some(bad.clone()));
    }
    assert!(Signer::generate("a b", Kind::Ed25519).is_err());
}

#[test]
fn signature_lines_stand_alone() {
    let two = format!("{LINE}{LINE}");
    assert_eq!(parse_signatures(&two).map(|signatures| signatures.len()), Ok(2));
    for (lines, expected) in [
        ("", NoteError::NoSignatures),
        ("\n", NoteError::BadSignatureLine { line: 1 }),
        (LINE.trim_end(), NoteError::NoSignatures),
        (&format!("{LINE}\n"), NoteError::BadSignatureLine { line: 2 }),
        (&LINE.replace("PeterN", "Peter\u{1}N"), NoteError::ControlCharacter { line: 1 }),
        (&LINE.repeat(MAX_NOTE_SIGNATURES + 1), NoteError::TooManySignatures),
    ] {
        assert_eq!(parse_signatures(lines), Err(expected), "{lines:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "([a-z \n\u{1}—+]{0,40}\n\n)?(— [a-z+]{0,3} [A-Za-z/+=]{0,12}\n){0,3}.{0,2}") {
        if let Ok(note) = Note::parse(&text) {
            prop_assert_eq!(note.to_string(), text);
        }
    }

    #[test]
    fn any_changed_bit_of_the_text_or_signature_is_found(at in any::<proptest::sample::Index>(), bit in 0u8..7) {
        let published = format!("{TEXT}\n{LINE}");
        let keys = [Key::parse(VKEY).expect("a key")];
        let mut bytes = published.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Either the note cannot be read any more, or the key is not found, or it does not verify.
        let verified = String::from_utf8(bytes).ok().and_then(|note| Note::parse(&note).ok()?.verify(&keys).ok());
        prop_assert!(verified.is_none());
    }
}
