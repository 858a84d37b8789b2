//! Proof files that this crate made, changed in every way. The example of the specification is cut short
//! there, so it cannot be read.

use super::{HEADER, MAX_EXTRA_BYTES, MAX_PROOF_FILE_BYTES, ProofFile, ProofFileError};
use crate::checkpoint::{Checkpoint, CheckpointError, cosign};
use crate::note::{Key, Kind, NoteError, Signer};
use crate::proof::{Plan, ProofError};
use crate::syntax;
use crate::tree::Hash;
use crate::tree::reference::{Log, leaves};

struct World {
    leaf: Hash,
    file: ProofFile,
    log: Vec<Key>,
    witnesses: Vec<Key>,
}

fn world() -> World {
    let (index, leaves) = (300u64, leaves(1_000));
    let tree = Log::of(&leaves);
    let log = Signer::generate("log.example", Kind::Ed25519).expect("a key");
    let witness = Signer::generate("w.example", Kind::CosignatureV1).expect("a key");
    let checkpoint = Checkpoint {
        origin: "log.example".to_owned(),
        size: tree.size(),
        root: tree.frontier.root(),
        extensions: Vec::new(),
    };
    let mut note = checkpoint.sign(&log).expect("signed");
    note.signatures.push(cosign(&note, &witness, 1_700_000_000).expect("cosigned"));
    let plan = Plan::inclusion(index, tree.size()).expect("in the tree");
    let hashes = plan.prove(&tree.all_tiles()).expect("all tiles");
    World {
        leaf: leaves[300],
        file: ProofFile { extra: None, index, hashes, checkpoint: note },
        log: vec![log.key().clone()],
        witnesses: vec![witness.key().clone()],
    }
}

#[test]
fn a_proof_verifies_offline() {
    let world = world();
    let text = world.file.encode();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 300\n"));
    let file = ProofFile::parse(&text).expect("read");
    assert_eq!(file, world.file);
    let verified = file.verify(&world.leaf, "log.example", &world.log, &world.witnesses);
    let (checkpoint, signed) = verified.expect("verified");
    assert_eq!(checkpoint.size, 1_000);
    assert_eq!(signed, [&world.log[..], &world.witnesses[..]].concat());
}

#[test]
fn what_is_wrong_is_said() {
    let world = world();
    let check = |file: &ProofFile, leaf: &Hash, origin: &str, log: &[Key]| {
        file.verify(leaf, origin, log, &world.witnesses).expect_err("wrong")
    };
    let (expected, found) = ("other.example".to_owned(), "log.example".to_owned());
    assert_eq!(
        check(&world.file, &world.leaf, "other.example", &world.log),
        ProofFileError::OtherLog { expected, found }
    );
    assert_eq!(check(&world.file, &world.leaf, "log.example", &[]), ProofFileError::NotSignedByLog);
    let mismatch = ProofFileError::Proof(ProofError::RootMismatch);
    assert_eq!(check(&world.file, &[0; 32], "log.example", &world.log), mismatch);
    let mut other = world.file.clone();
    other.index = 301;
    assert_eq!(check(&other, &world.leaf, "log.example", &world.log), mismatch);
    other.index = 1_000;
    let outside = ProofFileError::Proof(ProofError::IndexOutside { index: 1_000, size: 1_000 });
    assert_eq!(check(&other, &world.leaf, "log.example", &world.log), outside);
    let mut other = world.file.clone();
    other.hashes.pop();
    let short = ProofFileError::Proof(ProofError::WrongLength { expected: 10, found: 9 });
    assert_eq!(check(&other, &world.leaf, "log.example", &world.log), short);
    let mut other = world.file.clone();
    other.checkpoint.text = other.checkpoint.text.replace("1000", "1001");
    let forged = NoteError::BadSignature { name: "log.example".to_owned() };
    let forged = ProofFileError::Checkpoint(CheckpointError::Note(forged));
    assert_eq!(check(&other, &world.leaf, "log.example", &world.log), forged);
}

#[test]
fn extra_data_is_kept_and_bounded() {
    let mut file = world().file;
    for length in [0, 1, MAX_EXTRA_BYTES] {
        file.extra = Some(vec![7; length]);
        assert_eq!(ProofFile::parse(&file.encode()), Ok(file.clone()), "{length}");
    }
    file.extra = Some(vec![7; MAX_EXTRA_BYTES + 1]);
    assert_eq!(ProofFile::parse(&file.encode()), Err(ProofFileError::BadExtra));
}

#[test]
fn wrong_files_are_refused() {
    let text = world().file.encode();
    let hash = format!("{}\n", syntax::to_base64(&[7; 32]));
    let with_hashes =
        |count: usize| text.replace("index 300\n", &format!("index 300\n{}", hash.repeat(count)));
    assert!(ProofFile::parse(&with_hashes(53)).is_ok());
    let long = format!("{text}{}", "x".repeat(MAX_PROOF_FILE_BYTES));
    let table = [
        (String::new(), ProofFileError::NoCheckpoint),
        (text.replace("\n\nlog", "\nlog"), ProofFileError::BadHash { position: 10 }),
        (text.replace("@v1", "@v2"), ProofFileError::BadHeader),
        (format!("\n{text}"), ProofFileError::BadHeader),
        (text.replace("index 300\n", ""), ProofFileError::BadIndex),
        (text.replace("index 300", "index  300"), ProofFileError::BadIndex),
        (text.replace("index 300", "index 0300"), ProofFileError::BadIndex),
        (text.replace("index 300", "index -1"), ProofFileError::BadIndex),
        (text.replace("index 300", "index 9223372036854775807"), ProofFileError::BadIndex),
        (text.replace("index 300", "extra AA=\nindex 300"), ProofFileError::BadExtra),
        (text.replace("index 300", "extra\nindex 300"), ProofFileError::BadExtra),
        (text.replace("index 300", "index 300\nextra AA=="), ProofFileError::BadHash { position: 0 }),
        (with_hashes(54), ProofFileError::TooManyHashes),
        (long.clone(), ProofFileError::TooLong { bytes: long.len() }),
        (
            format!("{HEADER}\nindex 0\n\nno note\n"),
            ProofFileError::Checkpoint(CheckpointError::Note(NoteError::NoSignatures)),
        ),
    ];
    for (file, expected) in table {
        let shown: String = file.chars().take(60).collect();
        assert_eq!(ProofFile::parse(&file).expect_err(&shown), expected, "{shown:?}");
    }
}
