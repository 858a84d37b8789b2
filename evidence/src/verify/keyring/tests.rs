//! Which keys are believed, and what they prove.

use ura_log::{
    checkpoint::{Checkpoint, cosign},
    note::Signer,
};

use super::*;

fn signer(kind: Kind) -> Signer {
    Signer::generate("log.example", kind).expect("a key")
}

fn note(size: u64, by: &Signer) -> Note {
    let checkpoint = Checkpoint { origin: "log.example".into(), size, root: [1; 32], extensions: Vec::new() };
    checkpoint.sign(by).expect("signed")
}

#[test]
fn a_key_is_believed_when_a_believed_one_vouches_for_its_announcement() {
    let (old, new, forged) = (signer(Kind::Ed25519), signer(Kind::Ed25519), signer(Kind::Ed25519));
    for given in [&old, &new] {
        let mut ring = Keyring::new("log.example", &[given.key().clone()], &[]);
        assert!(ring.learn(old.key(), Some(0)));
        assert!(ring.learn(new.key(), Some(5)));
        for (size, by) in [(3, &old), (6, &old), (9, &new)] {
            let judged = ring.judge(&note(size, by));
            ring.agrees(&judged.by, size, [1; 32]);
        }
        assert!(ring.learn(forged.key(), Some(9)));
        let judged = ring.judge(&note(12, &forged));
        assert!(!ring.agrees(&judged.by, 12, [1; 32]), "nobody vouches for entry 9");
        let proven = ring.finish();
        assert_eq!((proven.size, proven.keys.len(), proven.not_vouched), (9, 2, Some(12)));
    }
}

#[test]
fn signatures_are_sorted() {
    let (log, other, witness) = (signer(Kind::Ed25519), signer(Kind::Ed25519), signer(Kind::CosignatureV1));
    let ring = Keyring::new("log.example", &[log.key().clone()], &[witness.key().clone()]);
    let mut signed = note(3, &log);
    signed.signatures.push(cosign(&signed, &witness, 77).expect("cosigned"));
    signed.signatures.push(note(3, &other).signatures.remove(0));
    let judged = ring.judge(&signed);
    assert_eq!((judged.by, judged.cosigned), (vec![0], vec![(0, 77)]));
    assert_eq!(judged.unknown.len(), 1);
    signed.text.push_str("more\n");
    let judged = ring.judge(&signed);
    assert_eq!((judged.bad.len(), judged.bad_cosigned.len(), judged.unknown.len()), (1, 1, 1));
}

#[test]
fn a_checkpoint_of_nobody_beyond_the_signed_ones_is_told() {
    let log = signer(Kind::Ed25519);
    let mut ring = Keyring::new("log.example", &[log.key().clone()], &[]);
    ring.agrees(&[], 4, [1; 32]);
    ring.agrees(&[0], 8, [1; 32]);
    let proven = ring.finish();
    assert_eq!((proven.size, proven.unverifiable, proven.not_vouched), (8, 1, None));
    let mut ring = Keyring::new("log.example", &[], &[]);
    ring.agrees(&[], 4, [1; 32]);
    assert_eq!(ring.finish().not_vouched, Some(4));
}
