//! Receipts from a store.

use ura_log::{checkpoint::cosign, note::Note};
use ura_proto::v1::{Disclosure, Withheld};

use super::*;
use crate::{
    find::{self, ReadError},
    sample::{BEGIN_US, Sample},
    store::{Appender, Cosignature},
};

/// A log with one exchange: opening, progress, disclosure, closing, at indexes 100 to 103.
async fn sample() -> (Sample, ExchangeId) {
    let mut sample = Sample::sqlite().await;
    sample.append(&Sample::gaps(100)).await;
    let exchange = sample.exchange();
    let withheld = vec![Withheld { grant: "g-police".into(), accesses: 1, until_unix_us: i64::MAX }];
    let rows = [
        sample.opening(exchange, BEGIN_US, Some("1234567890"), |_| {}),
        Row::new(Some(exchange), BEGIN_US, Kind::Progress(Progress::default())),
        Row::new(Some(exchange), BEGIN_US, Kind::Disclosure(Disclosure { told: 0, withheld })),
        Sample::closing(exchange, BEGIN_US),
    ];
    sample.append(&rows).await;
    (sample, exchange)
}

fn trust(sample: &Sample) -> Trust {
    Trust { keys: vec![sample.signer.key().clone()], ..Trust::default() }
}

#[tokio::test]
async fn a_receipt_is_made_once_a_checkpoint_covers_all_of_it() {
    let (mut sample, exchange) = sample().await;
    let reader = sample.reader().await;
    let keys = [sample.signer.key().clone()];
    let error = make(&reader, exchange, None, &keys).await.expect_err("not signed yet");
    assert!(matches!(error, ReadError::NotCovered { size: 104, .. }), "{error}");
    sample.checkpoint().await;
    sample.append(&Sample::gaps(300)).await;
    sample.checkpoint().await;
    let salt = sample.keys.newest().salt(exchange);
    let receipt = make(&reader, exchange, Some(salt), &keys).await.expect("made");
    let receipt = Receipt::from_json(&receipt.to_json()).expect("own JSON");
    let verified = verify(&receipt, &trust(&sample), &Kept::default()).expect("true");
    // What was withheld from a citizen is not told to the portal.
    let indexes: Vec<u64> = verified.entries.iter().map(|proved| proved.index).collect();
    assert_eq!(indexes, [100, 101, 103]);
    assert_eq!((receipt.salt, verified.checkpoint.size), (Some(Salt(salt)), 404));
    let nobody = make(&reader, ExchangeId::at(1), None, &keys).await.expect_err("nothing");
    assert!(matches!(nobody, ReadError::NoExchange(_)), "{nobody}");
}

#[tokio::test]
async fn a_receipt_prefers_what_others_cosigned() {
    let (mut sample, exchange) = sample().await;
    let witness = Signer::generate("witness.test", KeyKind::CosignatureV1).expect("a key");
    for _ in 0..3 {
        sample.checkpoint().await;
        sample.append(&Sample::gaps(1)).await;
    }
    let reader = sample.reader().await;
    let receipt = make(&reader, exchange, None, &[]).await.expect("made");
    let trust = Trust { witnesses: vec![witness.key().clone()], ..trust(&sample) };
    let verified = verify(&receipt, &trust, &Kept::default()).expect("true");
    assert_eq!((verified.checkpoint.size, verified.cosigned.len()), (106, 0));
    let row = reader.checkpoint_at_least(sample.log, 105).await.expect("read").expect("there");
    let note: Note = row.note.parse().expect("a note");
    let line = cosign(&note, &witness, 7).expect("cosigned").to_string();
    let cosignature = Cosignature { name: "witness.test".into(), line, time_s: 7 };
    assert!(sample.store.add_cosignature(sample.log, 105, &cosignature).await.expect("kept"));
    let receipt = make(&reader, exchange, None, &[]).await.expect("made");
    let verified = verify(&receipt, &trust, &Kept::default()).expect("true");
    let cosigned = [Cosigned { name: "witness.test".into(), unix_s: 7 }];
    assert_eq!((verified.checkpoint.size, &verified.cosigned[..]), (105, &cosigned[..]));
}

/// The last checkpoint of a log that another gateway ended, as that one leaves it.
async fn seal(sample: &mut Sample, sealer: &Signer) {
    sample.append(&Sample::gaps(1)).await;
    let (size, root) = (sample.frontier.size(), sample.frontier.root());
    let last = Checkpoint { origin: crate::sample::ORIGIN.into(), size, root, extensions: Vec::new() };
    let note = last.sign(sealer).expect("signed").to_string();
    let mut append = sample.store.begin(sample.log, Appender::Guest, 0, BEGIN_US).await.expect("begins");
    append.checkpoint(size, &note, BEGIN_US, true).await.expect("inserts");
    append.seal().await.expect("sealed");
    append.commit().await.expect("commits");
}

#[tokio::test]
async fn a_receipt_from_a_sealed_log_needs_its_own_key_only() {
    let (mut sample, exchange) = sample().await;
    for _ in 0..3 {
        sample.checkpoint().await;
        sample.append(&Sample::gaps(1)).await;
    }
    let sealer = Signer::generate("ura.test/sealer", KeyKind::Ed25519).expect("a key");
    seal(&mut sample, &sealer).await;
    let reader = sample.reader().await;
    let own = async || {
        let receipt = make(&reader, exchange, None, &[]).await.expect("made");
        verify(&receipt, &trust(&sample), &Kept::default()).expect("true, by the log's own key")
    };
    assert_eq!(own().await.checkpoint.size, 106, "the last of its own");
    // Cosignatures of the sealer's checkpoint do not make it the better one, those of the log's own do.
    let witness = Signer::generate("witness.test", KeyKind::CosignatureV1).expect("a key");
    let mut store = crate::store::Store::open(&sample.address).await.expect("opens");
    for (cosigned, expected) in [(108, 106), (105, 105)] {
        let row = reader.checkpoint_at_least(sample.log, cosigned).await.expect("read").expect("there");
        let note: Note = row.note.parse().expect("a note");
        let line = cosign(&note, &witness, 7).expect("cosigned").to_string();
        let cosignature = Cosignature { name: "witness.test".into(), line, time_s: 7 };
        assert!(store.add_cosignature(sample.log, cosigned, &cosignature).await.expect("kept"));
        assert_eq!(own().await.checkpoint.size, expected, "{cosigned} is cosigned");
    }
}

#[tokio::test]
async fn what_only_the_sealer_signed_is_proved_under_its_checkpoint() {
    let (mut sample, exchange) = sample().await;
    // Before the closing, at index 103: the log's own key never covered the whole exchange.
    let own = sample.frontier.clone();
    let reader = sample.reader().await;
    let frontier = reader.frontier(sample.log, 103).await.expect("an edge");
    sample.frontier = frontier;
    sample.checkpoint().await;
    sample.frontier = own;
    let sealer = Signer::generate("ura.test/sealer", KeyKind::Ed25519).expect("a key");
    seal(&mut sample, &sealer).await;
    let receipt = make(&reader, exchange, None, &[]).await.expect("made");
    let alone = verify(&receipt, &trust(&sample), &Kept::default());
    assert!(matches!(alone, Err(ReceiptError::OtherSigners { .. })), "{alone:?}");
    let keys = vec![sample.signer.key().clone(), sealer.key().clone()];
    let both = verify(&receipt, &Trust { keys, ..Trust::default() }, &Kept::default()).expect("both keys");
    assert_eq!((both.checkpoint.size, both.key_from), (105, KeyFrom::OtherGateway));
    assert!(both.closing().is_some());
}

#[tokio::test]
async fn a_trailer_is_held_against_the_opening_in_the_store() {
    let (sample, exchange) = sample().await;
    let reader = sample.reader().await;
    let opening = find::at(&reader, crate::sample::ORIGIN, 100).await.expect("read").expect("there");
    let salt = Salt(sample.keys.newest().salt(exchange));
    let trailer =
        Trailer { log: crate::sample::ORIGIN.into(), index: 100, leaf_hash: opening.leaf_hash, salt };
    trailer.check(&opening).expect("the same");
    let next = find::at(&reader, crate::sample::ORIGIN, 101).await.expect("read").expect("there");
    assert!(matches!(trailer.check(&next), Err(ReceiptError::OtherTrailer { field: "index" })));
    assert!(find::at(&reader, crate::sample::ORIGIN, 104).await.expect("read").is_none());
    let error = find::at(&reader, "ura.test/none", 0).await.expect_err("no such log");
    assert!(matches!(error, ReadError::NoLog(_)), "{error}");
}

#[tokio::test]
async fn an_altered_store_makes_no_receipt() {
    // The root that was signed is another one than the rows have.
    let (mut sample, exchange) = sample().await;
    let frontier = std::mem::take(&mut sample.frontier);
    for n in 0..frontier.size() {
        sample.frontier.append([u8::try_from(n).expect("small"); 32]);
    }
    sample.checkpoint().await;
    let error = make(&sample.reader().await, exchange, None, &[]).await.expect_err("forked");
    assert!(matches!(error, ReadError::Proof { .. }), "{error}");
    // An id is given once.
    let again = sample.opening(exchange, BEGIN_US, None, |_| {});
    sample.append(&[again]).await;
    let error = make(&sample.reader().await, exchange, None, &[]).await.expect_err("opened twice");
    assert!(matches!(error, ReadError::SeveralOpenings(_)), "{error}");
}

#[tokio::test]
async fn a_removed_exchange_has_no_receipt() {
    let (mut sample, exchange) = sample().await;
    sample.remove(&[100, 101, 102, 103]).await;
    sample.checkpoint().await;
    let error = make(&sample.reader().await, exchange, None, &[]).await.expect_err("gone");
    assert!(matches!(error, ReadError::NoExchange(_)), "{error}");
}
