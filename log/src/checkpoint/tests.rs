//! Checkpoints and cosignatures against the examples of the specifications.

use super::{Checkpoint, CheckpointError, cosign, cosigned_at, open};
use crate::note::{Kind, MAX_UNIX_S, Note, NoteError, Signer, time_of};
use crate::{MAX_TREE_LEAVES, syntax};

/// The example of <https://c2sp.org/tlog-cosignature>; its keys are not published.
const EXAMPLE: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
";

const TEXT: &str = "log.example\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

fn signer(name: &str, kind: Kind) -> Signer {
    Signer::generate(name, kind).expect("a key")
}

fn checkpoint() -> Checkpoint {
    Checkpoint::parse(TEXT).expect("a checkpoint")
}

#[test]
fn the_example_of_the_specification_is_read() {
    let note = Note::parse(EXAMPLE).expect("a note");
    let checkpoint = Checkpoint::parse(&note.text).expect("a checkpoint");
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(syntax::to_base64(&checkpoint.root), "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
    assert_eq!(checkpoint.text(), note.text);
    assert_eq!(note.to_string(), EXAMPLE);
    assert_eq!(time_of(&note.signatures[1].bytes), Some(1_679_315_147), "the time the specification gives");
}

#[test]
fn a_checkpoint_is_written_as_it_was_read() {
    let with_extensions = format!("{TEXT}one\ntwo +\n");
    for text in
        [TEXT, &with_extensions, &TEXT.replace("\n7\n", "\n0\n"), &TEXT.replace("log.example", "a log +")]
    {
        assert_eq!(Checkpoint::parse(text).expect("a checkpoint").text(), *text);
    }
    let largest = TEXT.replace("\n7\n", &format!("\n{MAX_TREE_LEAVES}\n"));
    assert_eq!(Checkpoint::parse(&largest).map(|checkpoint| checkpoint.size), Ok(MAX_TREE_LEAVES));
}

#[test]
fn wrong_checkpoints_are_refused() {
    let size = |size: &str| TEXT.replace("\n7\n", &format!("\n{size}\n"));
    let mut table = vec![
        (String::new(), CheckpointError::Note(NoteError::Unended)),
        (TEXT.trim_end().to_owned(), CheckpointError::Note(NoteError::Unended)),
        (TEXT.replace("7", "7\t"), CheckpointError::Note(NoteError::ControlCharacter { line: 2 })),
        ("\n".to_owned(), CheckpointError::BadLines),
        ("log.example\n7\n".to_owned(), CheckpointError::BadLines),
        (TEXT.replace("log.example", ""), CheckpointError::BadLines),
        (format!("{TEXT}\n"), CheckpointError::BadLines),
        (format!("{TEXT}one\n\ntwo\n"), CheckpointError::BadLines),
        (TEXT.replace("q2I=", "q2J="), CheckpointError::BadRoot),
        (TEXT.replace("q2I=", "q2I"), CheckpointError::BadRoot),
        (TEXT.replace("q2I=", ""), CheckpointError::BadRoot),
    ];
    let too_large = (MAX_TREE_LEAVES + 1).to_string();
    for wrong in ["07", "+7", "-7", "7 ", "0x7", "seven", "99999999999999999999", &too_large] {
        table.push((size(wrong), CheckpointError::BadSize));
    }
    for (text, expected) in table {
        assert_eq!(Checkpoint::parse(&text), Err(expected), "{text:?}");
    }
}

#[test]
fn what_would_read_as_something_else_is_not_signed() {
    let log = signer("log.example", Kind::Ed25519);
    let good = checkpoint();
    let ext = |line: &str| Checkpoint { extensions: vec![line.to_owned()], ..good.clone() };
    let origin = |line: &str| Checkpoint { origin: line.to_owned(), ..good.clone() };
    assert!(good.sign(&log).is_ok() && ext("fine").sign(&log).is_ok());
    for wrong in [
        ext(""),
        ext("a\nb"),
        ext("a\n"),
        ext("a\tb"),
        origin(""),
        origin("a\nb"),
        origin("a\n7"),
        origin("a\r"),
    ] {
        assert_eq!(wrong.sign(&log), Err(CheckpointError::Unwritable), "{wrong:?}");
    }
    let large = Checkpoint { size: MAX_TREE_LEAVES + 1, ..good };
    assert_eq!(large.sign(&log), Err(CheckpointError::BadSize));
}

#[test]
fn a_signed_checkpoint_opens_with_its_keys_only() {
    let (log, other) = (signer("log.example", Kind::Ed25519), signer("log.example", Kind::Ed25519));
    let note = checkpoint().sign(&log).expect("signed").to_string();
    let keys = [other.key().clone(), log.key().clone()];
    assert_eq!(open(&note, &keys), Ok((checkpoint(), vec![log.key().clone()])));
    let unsigned = CheckpointError::Note(NoteError::NoKnownSignature { known: 1 });
    assert_eq!(open(&note, &keys[..1]), Err(unsigned));
    let changed = note.replace("\n7\n", "\n8\n");
    let bad = CheckpointError::Note(NoteError::BadSignature { name: "log.example".to_owned() });
    assert_eq!(open(&changed, &keys), Err(bad));
    let no_checkpoint = Note::sign("hello\n".to_owned(), &log).expect("signed").to_string();
    assert_eq!(open(&no_checkpoint, &keys), Err(CheckpointError::BadLines));
}

#[test]
fn a_cosignature_carries_its_time() {
    let (log, witness) = (signer("log.example", Kind::Ed25519), signer("w.example", Kind::CosignatureV1));
    let mut note = checkpoint().sign(&log).expect("signed");
    let not_cosigned = CheckpointError::NotCosigned { name: "w.example".to_owned() };
    assert_eq!(cosigned_at(&note, witness.key()), Err(not_cosigned));
    for unix_s in [1_679_315_147, 0] {
        note.signatures.push(cosign(&note, &witness, unix_s).expect("cosigned"));
    }
    let keys = [log.key().clone(), witness.key().clone()];
    assert_eq!(open(&note.to_string(), &keys), Ok((checkpoint(), keys.to_vec())));
    assert_eq!(cosigned_at(&note, witness.key()), Ok(1_679_315_147), "the latest");

    // The time is signed too.
    let cosignature = note.signatures.len() - 2;
    note.signatures[cosignature].bytes[7] ^= 1;
    let bad = CheckpointError::Note(NoteError::BadSignature { name: "w.example".to_owned() });
    assert_eq!(cosigned_at(&note, witness.key()), Err(bad.clone()));
    assert_eq!(open(&note.to_string(), &keys), Err(bad.clone()));
    note.signatures[cosignature].bytes.truncate(7);
    assert_eq!(cosigned_at(&note, witness.key()), Err(bad));
}

#[test]
fn a_cosignature_is_not_a_signature() {
    let log = signer("log.example", Kind::Ed25519);
    let der = log.pkcs8().expect("encoded");
    let witness = Signer::from_pkcs8("log.example", Kind::CosignatureV1, der.as_ref()).expect("the same key");
    let note = checkpoint().sign(&log).expect("signed");
    let wrong = |name: &str, actual, needed| {
        CheckpointError::Note(NoteError::WrongKind { name: name.to_owned(), actual, needed })
    };
    let (signs, cosigns) = (Kind::Ed25519, Kind::CosignatureV1);
    assert_eq!(cosign(&note, &log, 1), Err(wrong("log.example", signs, cosigns)));
    assert_eq!(checkpoint().sign(&witness), Err(wrong("log.example", cosigns, signs)));
    assert_eq!(cosigned_at(&note, log.key()), Err(wrong("log.example", signs, cosigns)));

    // The signature of the log under the name and id of the witness does not pass for a cosignature.
    let mut forged = note.clone();
    forged.signatures[0].id = witness.key().id();
    assert!(cosigned_at(&forged, witness.key()).is_err());
    let bytes = [&[0; 8][..], &note.signatures[0].bytes].concat();
    forged.signatures[0].bytes = bytes;
    assert!(cosigned_at(&forged, witness.key()).is_err());

    let (late, time) = (MAX_UNIX_S + 1, |unix_s| CheckpointError::Note(NoteError::BadTime { unix_s }));
    assert_eq!(cosign(&note, &witness, late), Err(time(late)));
    assert!(cosign(&note, &witness, MAX_UNIX_S).is_ok());
    let no_checkpoint = Note { text: "hello\n".to_owned(), ..note };
    assert_eq!(cosign(&no_checkpoint, &witness, 1), Err(CheckpointError::BadLines));
}
