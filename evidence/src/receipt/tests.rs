//! Receipts over a log in memory: what holds, and that nothing of a receipt can be changed unseen.

mod kept;
mod make;

use aws_lc_rs::digest::{Context, SHA256};
use ura_log::{
    checkpoint::{Checkpoint, cosign},
    note::{Kind as KeyKind, Signer},
    proof::Plan,
    tile::{TileId, Tiles},
    tree::Frontier,
};
use ura_proto::v1::{Closing, Gap, Opening, Outcome, Progress, entry::Kind};

use super::*;
use crate::entry::Row;

const ORIGIN: &str = "ura.test/log";
const SALT: Salt = Salt([9; 32]);
const REQUEST: &[u8] = b"\0\0\0\0\x05Blerta";
const REPLY: &[u8] = b"\0\0\0\0\x03Ura";

/// A log in memory with its keys.
struct World {
    rows: Vec<Row>,
    signer: Signer,
    witness: Signer,
    exchange: ExchangeId,
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(&SALT.0);
    context.update(bytes);
    context.finish().as_ref().to_vec()
}

fn opening(request: &[u8]) -> Kind {
    let request_bytes = request.len() as u64;
    Kind::Opening(Opening {
        consumer: "ais/portal".into(),
        request_digest: digest(request),
        request_bytes,
        ..Opening::default()
    })
}

fn closing(reply: &[u8], request_digest: Vec<u8>) -> Kind {
    Kind::Closing(Closing {
        outcome: Outcome::Answered.into(),
        reply_digest: digest(reply),
        reply_bytes: reply.len() as u64,
        request_bytes: REQUEST.len() as u64,
        request_digest,
        ..Closing::default()
    })
}

impl World {
    /// A log of some gaps, among them the entries of one exchange.
    fn new(kinds: Vec<Kind>) -> Self {
        let exchange = ExchangeId::at(1_795_348_800_000_000);
        let gap = |n| Row::new(None, n, Kind::Gap(Gap { refused: 1, ..Gap::default() }));
        let mut rows: Vec<Row> = (0..300).map(gap).collect();
        for (n, kind) in (300..).zip(kinds) {
            rows.push(Row::new(Some(exchange), n, kind));
            rows.push(gap(n));
        }
        let signer = Signer::generate(ORIGIN, KeyKind::Ed25519).expect("a key");
        let witness = Signer::generate("witness.test", KeyKind::CosignatureV1).expect("a key");
        Self { rows, signer, witness, exchange }
    }

    fn answered() -> Self {
        Self::new(vec![opening(REQUEST), closing(REPLY, Vec::new())])
    }

    /// The receipt of the rows that have an exchange.
    fn receipt(&self) -> Receipt {
        let hashes: Vec<Hash> = self.rows.iter().map(Row::leaf_hash).collect();
        let mut frontier = Frontier::new();
        hashes.iter().for_each(|hash| frontier.append(*hash));
        let size = frontier.size();
        let mut tiles = Tiles::new();
        for (index, chunk) in (0..).zip(hashes.chunks(256)) {
            let tile = TileId::in_tree(0, index, size).expect("in the tree");
            tiles.insert(tile, chunk.to_vec()).expect("its width");
        }
        let checkpoint =
            Checkpoint { origin: ORIGIN.into(), size, root: frontier.root(), extensions: Vec::new() };
        let mut note = checkpoint.sign(&self.signer).expect("signed");
        note.signatures.push(cosign(&note, &self.witness, 1_795_348_801).expect("cosigned"));
        let rows = (0..).zip(&self.rows).filter(|(_, row)| !row.columns.exchange.is_empty());
        let piece = |(index, row): (u64, &Row)| Piece {
            index,
            body: row.body.clone(),
            leaf_hash: row.leaf_hash(),
            proof: Plan::inclusion(index, size).expect("in it").prove(&tiles).expect("all tiles"),
        };
        Receipt {
            log: ORIGIN.into(),
            exchange: self.exchange,
            salt: Some(SALT),
            entries: rows.map(piece).collect(),
            checkpoint: note.to_string(),
            keys: vec![self.signer.key().clone()],
        }
    }

    fn trust(&self) -> Trust {
        Trust {
            keys: vec![self.signer.key().clone()],
            witnesses: vec![self.witness.key().clone()],
            keys_of_receipt: false,
        }
    }

    fn verify(&self, receipt: &Receipt) -> Result<Verified, ReceiptError> {
        let kept = Kept { request: Some(REQUEST), reply: Some(REPLY), trailer: None };
        verify(receipt, &self.trust(), &kept)
    }
}

#[test]
fn a_receipt_proves_the_exchange_and_the_kept_bytes() {
    let world = World::answered();
    let receipt = Receipt::from_json(&world.receipt().to_json()).expect("own JSON");
    assert_eq!(receipt, world.receipt());
    let verified = world.verify(&receipt).expect("true");
    assert_eq!((verified.log.as_str(), verified.exchange), (ORIGIN, world.exchange));
    assert_eq!(verified.entries.iter().map(|proved| proved.index).collect::<Vec<_>>(), [300, 302]);
    assert_eq!(verified.opening().expect("an opening").consumer, "ais/portal");
    assert_eq!(verified.closing().expect("a closing").reply_bytes, 8);
    assert_eq!(verified.checkpoint.size, 304);
    assert_eq!((&verified.key, verified.key_from), (world.signer.key(), KeyFrom::Outside));
    assert_eq!(verified.cosigned, [Cosigned { name: "witness.test".into(), unix_s: 1_795_348_801 }]);
    assert_eq!(verified.request, Some(Matched { index: 300, bytes: 11, whole: true }));
    assert_eq!(verified.reply, Some(Matched { index: 302, bytes: 8, whole: true }));
    assert_eq!(framed(b"Ura").as_deref(), Some(REPLY));
}

#[test]
fn keys_of_the_receipt_are_a_hint_only() {
    let world = World::answered();
    let receipt = world.receipt();
    let trust = |keys: &[&Signer], keys_of_receipt| Trust {
        keys: keys.iter().map(|signer| signer.key().clone()).collect(),
        witnesses: Vec::new(),
        keys_of_receipt,
    };
    let outcome = |trust| verify(&receipt, &trust, &Kept::default());
    assert!(matches!(outcome(trust(&[], false)), Err(ReceiptError::NoKey { .. })));
    assert_eq!(outcome(trust(&[], true)).expect("agrees with itself").key_from, KeyFrom::Receipt);
    assert_eq!(outcome(trust(&[&world.signer], true)).expect("true").key_from, KeyFrom::Outside);
    let other = Signer::generate(ORIGIN, KeyKind::Ed25519).expect("a key");
    assert!(matches!(outcome(trust(&[&other], false)), Err(ReceiptError::OtherSigners { .. })));
    let sealer = Signer::generate("ura.test/sealer", KeyKind::Ed25519).expect("a key");
    let two = outcome(trust(&[&other, &sealer], false)).expect_err("neither signed").to_string();
    assert!(two.contains("signed by \"ura.test/log\"") || two.contains(ORIGIN), "{two}");
    assert!(two.contains("ura.test/sealer"), "{two}");
    // Under the checkpoint of the gateway that ended the log, for who gave the keys of both.
    let own: ura_log::note::Note = receipt.checkpoint.parse().expect("own note");
    let ended = ura_log::note::Note::sign(own.text, &sealer).expect("signed").to_string();
    let ended = Receipt { checkpoint: ended, ..receipt.clone() };
    let by = |keys: &[&Signer]| verify(&ended, &trust(keys, false), &Kept::default());
    let both = by(&[&world.signer, &sealer]).expect("both keys");
    assert_eq!((both.key_from, &both.key), (KeyFrom::OtherGateway, sealer.key()));
    assert!(matches!(by(&[&world.signer]), Err(ReceiptError::OtherSigners { .. })));
    assert!(matches!(by(&[&sealer]), Err(ReceiptError::NoKey { .. })));
    assert_eq!(outcome(trust(&[&other], true)).expect("agrees with itself").key_from, KeyFrom::Receipt);
    // A checkpoint that the log's key signed for another log, and the key of another log.
    let note: ura_log::note::Note = receipt.checkpoint.parse().expect("own note");
    let text = note.text.replacen(ORIGIN, "ura.test/other", 1);
    let alien = ura_log::note::Note::sign(text, &world.signer).expect("signed").to_string();
    let alien = Receipt { checkpoint: alien, ..receipt.clone() };
    let error = verify(&alien, &world.trust(), &Kept::default()).expect_err("another log");
    assert!(matches!(error, ReceiptError::OtherLog { .. }), "{error}");
    let other = Signer::generate("ura.test/other", KeyKind::Ed25519).expect("a key");
    assert!(matches!(outcome(trust(&[&other], false)), Err(ReceiptError::NoKey { .. })));
    // A witness's key does not make a checkpoint the log's.
    assert!(matches!(outcome(trust(&[&world.witness], false)), Err(ReceiptError::NoKey { .. })));
}

/// Each change of one field, and whether the error is the one it must be.
type Mutation = (&'static str, fn(&mut Receipt), fn(&ReceiptError) -> bool);

fn replace_in_checkpoint(receipt: &mut Receipt, from: &str, to: &str) {
    let changed = receipt.checkpoint.replacen(from, to, 1);
    assert_ne!(changed, receipt.checkpoint, "{from}");
    receipt.checkpoint = changed;
}

const MUTATIONS: &[Mutation] = &[
    ("log", |r| r.log.push('x'), |e| matches!(e, ReceiptError::NoKey { .. })),
    (
        "exchange",
        |r| r.exchange = ExchangeId::at(5),
        |e| matches!(e, ReceiptError::OtherExchange { index: 300 }),
    ),
    (
        "salt",
        |r| r.salt = Some(Salt([8; 32])),
        |e| matches!(e, ReceiptError::Digest { what: Direction::Request, index: 300, bytes: 11 }),
    ),
    ("no salt", |r| r.salt = None, |e| matches!(e, ReceiptError::NoSalt)),
    ("index", |r| r.entries[0].index = 299, |e| matches!(e, ReceiptError::Proof { index: 299, .. })),
    ("index outside", |r| r.entries[1].index = 304, |e| matches!(e, ReceiptError::Proof { index: 304, .. })),
    ("leaf hash", |r| r.entries[1].leaf_hash[7] ^= 1, |e| matches!(e, ReceiptError::LeafHash { index: 302 })),
    (
        "short proof",
        |r| r.entries[0].proof.truncate(1),
        |e| matches!(e, ReceiptError::Proof { index: 300, source: ProofError::WrongLength { .. } }),
    ),
    (
        "long proof",
        |r| r.entries[0].proof.push([0; 32]),
        |e| matches!(e, ReceiptError::Proof { index: 300, source: ProofError::WrongLength { .. } }),
    ),
    (
        "origin",
        |r| replace_in_checkpoint(r, "ura.test/log\n", "ura.test/lag\n"),
        |e| matches!(e, ReceiptError::Checkpoint(_)),
    ),
    (
        "size",
        |r| replace_in_checkpoint(r, "\n304\n", "\n305\n"),
        |e| matches!(e, ReceiptError::Checkpoint(_)),
    ),
    ("no signature", |r| r.checkpoint.truncate(70), |e| matches!(e, ReceiptError::Checkpoint(_))),
    ("no entries", |r| r.entries.clear(), |e| matches!(e, ReceiptError::NoOpening)),
    ("no opening", |r| drop(r.entries.remove(0)), |e| matches!(e, ReceiptError::NoOpening)),
    (
        "no closing",
        |r| drop(r.entries.pop()),
        |e| matches!(e, ReceiptError::NotRecorded { what: Direction::Reply }),
    ),
    ("swapped", |r| r.entries.swap(0, 1), |e| matches!(e, ReceiptError::NoOpening)),
    (
        "twice",
        |r| r.entries.insert(1, r.entries[0].clone()),
        |e| matches!(e, ReceiptError::NotInOrder { index: 300, before: 300 }),
    ),
    (
        "closing twice",
        |r| r.entries.push(r.entries[1].clone()),
        |e| matches!(e, ReceiptError::NotInOrder { index: 302, before: 302 }),
    ),
];

#[test]
fn every_changed_field_is_found() {
    let world = World::answered();
    for (name, change, expected) in MUTATIONS {
        let mut receipt = world.receipt();
        change(&mut receipt);
        let error = world.verify(&receipt).expect_err(name);
        assert!(expected(&error), "{name}: {error}");
    }
}

#[test]
fn every_flipped_bit_of_bodies_and_proofs_is_found() {
    let world = World::answered();
    let whole = world.receipt();
    for entry in 0..whole.entries.len() {
        let piece = &whole.entries[entry];
        for bit in 0..piece.body.len() * 8 {
            let mut receipt = whole.clone();
            receipt.entries[entry].body[bit / 8] ^= 1 << (bit % 8);
            let error = world.verify(&receipt).expect_err("a flipped bit of a body");
            assert!(matches!(error, ReceiptError::LeafHash { index } if index == piece.index), "{error}");
            // The forger who computes the leaf hash anew stops at the proof, or before it at the format.
            let body = &receipt.entries[entry].body;
            receipt.entries[entry].leaf_hash = ura_log::tree::leaf_hash(&crate::entry::leaf(body));
            let error = world.verify(&receipt).expect_err("a flipped bit of a body");
            assert!(
                matches!(
                    error,
                    ReceiptError::Entry { .. }
                        | ReceiptError::Proof { .. }
                        | ReceiptError::OtherExchange { .. }
                ),
                "{error}"
            );
        }
        for bit in 0..piece.proof.len() * 256 {
            let mut receipt = whole.clone();
            receipt.entries[entry].proof[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
            let error = world.verify(&receipt).expect_err("a flipped bit of a proof");
            let source = ProofError::RootMismatch;
            assert!(
                matches!(&error, ReceiptError::Proof { index, source: s } if *index == piece.index && *s == source)
            );
        }
    }
}

#[test]
fn every_changed_byte_of_the_file_is_found() {
    let world = World::answered();
    let text = world.receipt().to_json();
    let whole = world.receipt();
    for at in 0..text.len() {
        for byte in [b'A', b'7', b'"', b' '] {
            let mut bytes = text.clone().into_bytes();
            if bytes[at] == byte {
                continue;
            }
            bytes[at] = byte;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let Ok(receipt) = Receipt::from_json(&changed) else { continue };
            // Space between tokens, and the hints, mean nothing.
            let same = Receipt { keys: whole.keys.clone(), ..receipt.clone() } == whole;
            // A cosignature under another name is one of nobody that is trusted, and so none.
            let found = world.verify(&receipt).map_or(true, |verified| verified.cosigned.is_empty());
            assert!(same || found, "byte {at} as {:?}: {changed}", char::from(byte));
        }
    }
}

#[test]
fn entries_of_an_exchange_have_their_order() {
    let verify = |kinds| {
        let world = World::new(kinds);
        verify(&world.receipt(), &world.trust(), &Kept::default())
    };
    let (open, close) = (|| opening(REQUEST), || closing(REPLY, Vec::new()));
    let progress = || Kind::Progress(Progress::default());
    assert!(verify(vec![open()]).expect("refused, or going on").closing().is_none());
    verify(vec![open(), progress(), progress(), close()]).expect("a stream");
    verify(vec![open(), close(), progress()]).expect("the request ended after the reply");
    let second = verify(vec![open(), open(), close()]);
    assert!(matches!(second, Err(ReceiptError::SecondOpening { index: 302 })), "{second:?}");
    let second = verify(vec![open(), close(), progress(), close()]);
    assert!(matches!(second, Err(ReceiptError::SecondClosing { index: 306 })), "{second:?}");
    let alien = verify(vec![open(), Kind::Gap(Gap::default())]);
    assert!(matches!(alien, Err(ReceiptError::OtherKind { index: 302 })), "{alien:?}");
    assert!(matches!(verify(vec![progress(), close()]), Err(ReceiptError::NoOpening)));
}

#[test]
fn a_trusted_witness_must_have_signed_what_stands_under_its_name() {
    let world = World::answered();
    let mut receipt = world.receipt();
    let note: ura_log::note::Note = receipt.checkpoint.parse().expect("own note");
    let mut forged = note.clone();
    let last = forged.signatures.last_mut().expect("two");
    last.bytes[20] ^= 1;
    receipt.checkpoint = forged.to_string();
    assert!(matches!(world.verify(&receipt), Err(ReceiptError::Checkpoint(_))));
    // Nobody else's cosignature is looked at.
    let trust = Trust { witnesses: Vec::new(), ..world.trust() };
    assert!(verify(&receipt, &trust, &Kept::default()).expect("true").cosigned.is_empty());
}

#[test]
fn what_is_no_receipt_is_refused_with_its_place() {
    let good = World::answered().receipt().to_json();
    let place = |text: &str| match Receipt::from_json(text) {
        Err(ReceiptError::Malformed { place, .. }) => place,
        other => format!("{other:?}"),
    };
    assert_eq!(place("{}"), "the file");
    assert_eq!(place(&good.replace("\"log\"", "\"extra\": 1, \"log\"")), "the file");
    assert_eq!(place(&good.replace("\"index\": 300", "\"index\": 300, \"index\": 300")), "the file");
    assert_eq!(place(&good.replace("ura-receipt/1", "ura-receipt/2")), "format");
    assert_eq!(place(&good.replace("\"exchange\": \"", "\"exchange\": \"x")), "exchange");
    assert_eq!(place(&good.replace("\"salt\": \"", "\"salt\": \"A")), "salt");
    assert_eq!(place(&good.replacen("\"body\": \"", "\"body\": \"A", 1)), "entries[0].body");
    assert_eq!(
        place(&good.replacen("\"leaf_hash\": \"", "\"leaf_hash\": \"AAAA", 1)),
        "entries[0].leaf_hash"
    );
    let mut receipt = World::answered().receipt();
    receipt.entries[1].proof = vec![[0; 32]; 64];
    assert_eq!(place(&receipt.to_json()), "entries[1].proof");
    receipt.entries = vec![receipt.entries[0].clone(); RECEIPT_ENTRIES_MAX + 1];
    assert_eq!(place(&receipt.to_json()), "entries");
    let large = " ".repeat(RECEIPT_BYTES_MAX + 1);
    assert!(matches!(Receipt::from_json(&large), Err(ReceiptError::TooLarge { .. })));
}
