//! Whom evidence names: exactly those that the adapter's parser will see, under pseudonyms, by the
//! annotations of the approved contract and nobody else's; and what evidence must never hold.

use std::io::Write as _;

use base64::Engine as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use prost::Message;
use ura_evidence::keys::EpochKeys;

use super::evidence::{not_yet, recorded, sha256};
use crate::world::{
    EvidenceStore, Plan, Records, World,
    client::{Client, framed},
    patient,
    probe::{Answer, Ask},
    records::Named,
    store::{self, on_each_store},
};

on_each_store!(an_owner_known_only_from_the_reply_is_recorded_before_it_leaves);

/// The request of `Owner`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Plate {
    #[prost(string, tag = "1")]
    pub(crate) plate: String,
    #[prost(string, tag = "2")]
    pub(crate) wish: String,
}

pub(crate) fn ask(number: &str) -> Ask {
    Ask { personal_number: number.to_owned(), ..Ask::default() }
}

/// A length-delimited field.
fn field(number: u8, text: &str) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(text.len()).unwrap()];
    out.extend_from_slice(text.as_bytes());
    out
}

/// Bytes with a message's prefix.
fn raw(bytes: &[u8], compressed: bool) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(u8::from(compressed));
    out.put_u32(u32::try_from(bytes.len()).unwrap());
    out.put_slice(bytes);
    out.freeze()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As whom a person stands in this world's evidence.
pub(crate) async fn person(world: &World, client: &Client, number: &str) -> Named {
    let ended = client.call("Read", &[], &ask(number)).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    let mut named = world.evidence(ended.exchange()).await.named;
    assert_eq!((named.len(), named[0].kind.as_str()), (1, "person"));
    named.remove(0)
}

/// Whether evidence names these, in this order, and nobody else; in another exchange.
#[track_caller]
fn same(named: &[Named], expected: &[&Named]) {
    let all = named.len() == expected.len() && named.iter().zip(expected).all(|(one, other)| one.is(other));
    assert!(all, "{named:?} are not {expected:?}");
    for (one, other) in named.iter().zip(expected) {
        assert_ne!(one.commitment, other.commitment, "two exchanges cannot be linked by their entries");
    }
}

#[tokio::test]
async fn a_field_that_stands_twice_names_whom_the_adapter_will_see() {
    let world = World::new().await;
    let client = world.portal().await;
    let (first, last) =
        (person(&world, &client, "1111111111").await, person(&world, &client, "2222222222").await);
    assert!(!first.is(&last));
    let twice = [field(1, "1111111111"), field(1, "2222222222")].concat();
    let ended = client.send("Read", &[], &[raw(&twice, false)]).await;
    assert_eq!(ended.decode::<Answer>(0).text, "2222222222", "the last one is what the adapter parses");
    same(&world.evidence(ended.exchange()).await.named, &[&last]);
    // A known field of another wire type is an unknown field to the parser and to the scan.
    let odd = [field(1, "1111111111"), vec![1 << 3, 5]].concat();
    let ended = client.send("Read", &[], &[raw(&odd, false)]).await;
    same(&world.evidence(ended.exchange()).await.named, &[&first]);
    world.end().await;
}

#[tokio::test]
async fn repeated_subjects_are_all_recorded_each_once() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut expected = Vec::new();
    for number in ["1", "3", "4"] {
        expected.push(person(&world, &client, number).await);
    }
    let others = ["3", " 4 ", "3", "1", ""].map(str::to_owned).to_vec();
    let ended = client.call("Read", &[], &Ask { others, ..ask("1") }).await;
    let named = world.evidence(ended.exchange()).await.named;
    assert_eq!(named.len(), 3, "each once");
    assert!(expected.iter().all(|subject| named.iter().any(|one| one.is(subject))));
    world.end().await;
}

#[tokio::test]
async fn one_subject_has_one_pseudonym_however_it_is_written_and_kinds_never_meet() {
    let world = World::new().await;
    let client = world.portal().await;
    let plain = person(&world, &client, "1234567892").await;
    for spelling in ["123 456 7892", "1234-567-892", " 1234567892\t", "nr. 1234567892"] {
        let again = person(&world, &client, spelling).await;
        assert!(again.is(&plain), "{spelling}");
        assert_ne!(again.commitment, plain.commitment, "two exchanges cannot be linked by their entries");
    }
    assert!(!person(&world, &client, "1234567893").await.is(&plain));
    // Who has the epoch key and the number finds the person, and nobody else does.
    let key = EpochKeys::open(&world.path("keys")).unwrap().newest();
    assert_eq!(plain.pseudonym, key.pseudonym("person", b"1234567892"));
    let mut plates = Vec::new();
    for plate in ["1234567892", "01-101-aa", "01 101 AA", "01101AA"] {
        let ended = client.call("Owner", &[], &Plate { plate: plate.into(), wish: "o:5".into() }).await;
        assert_eq!(ended.status(), 0, "{ended:?}");
        plates.push(world.evidence(ended.exchange()).await.named.remove(0));
    }
    assert!(plates.iter().all(|plate| plate.kind == "plate"));
    assert_ne!(plates[0].pseudonym, plain.pseudonym, "the same text of another kind is somebody else");
    assert!(plates[1].is(&plates[2]) && plates[2].is(&plates[3]) && !plates[0].is(&plates[1]));
    // Another bus has other keys, and so other pseudonyms.
    let elsewhere = World::new().await;
    let there = person(&elsewhere, &elsewhere.portal().await, "1234567892").await;
    assert_ne!(there.pseudonym, plain.pseudonym);
    elsewhere.end().await;
    world.end().await;
}

#[tokio::test]
async fn a_gzip_message_hides_nobody() {
    let limits = "inflated_bytes_max = 100000".to_owned();
    let world = World::with(Plan { limits, ..Plan::default() }).await;
    let client = world.portal().await;
    let expected = person(&world, &client, "1234567892").await;
    let gz = [("grpc-encoding", "gzip")];
    let message = ask("1234567892").encode_to_vec();
    for bytes in [raw(&gzip(&message), true), raw(&message, false)] {
        let ended = client.send("Read", &gz, std::slice::from_ref(&bytes)).await;
        assert_eq!(ended.status(), 0, "{ended:?}");
        let records = world.evidence(ended.exchange()).await;
        same(&records.named, &[&expected]);
        assert_eq!(
            records.opening().request_digest,
            sha256(&[&ended.salt(), &bytes]),
            "of the bytes as sent"
        );
    }
    let seen = world.probe.calls();
    assert_eq!(seen.last().unwrap().headers["grpc-encoding"], "gzip", "passed on as it came");
    let before = seen.len();
    let bomb = Ask { data: vec![0; 200_000].into(), ..ask("1") }.encode_to_vec();
    for (what, metadata, bytes) in [
        ("a bomb", &gz[..], raw(&gzip(&bomb), true)),
        // Servers read one gzip member or all of them: who is meant must not depend on that.
        ("two members", &gz, raw(&[gzip(&field(1, "1")), gzip(&field(1, "1234567892"))].concat(), true)),
        ("no gzip", &gz, raw(b"no gzip at all", true)),
        ("half", &gz, raw(&gzip(&message)[..12], true)),
        ("not declared", &[], raw(&gzip(&message), true)),
        ("declared as nothing", &[("grpc-encoding", "identity")], raw(&gzip(&message), true)),
        ("no protobuf", &[], raw(&[0xff], false)),
    ] {
        let ended = client.send("Read", metadata, &[bytes]).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (3, "REQUEST_MALFORMED"), "{what}: {ended:?}");
        assert_eq!(world.evidence(ended.exchange()).await.opening().refusal, "REQUEST_MALFORMED");
    }
    for encoding in ["br", "deflate", "zstd", "GZIP", "gzip,identity", "x"] {
        let ended = client.send("Read", &[("grpc-encoding", encoding)], &[raw(&message, false)]).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (12, "ENCODING_UNSUPPORTED"), "{encoding}");
        assert_eq!(world.evidence(ended.exchange()).await.opening().refusal, "ENCODING_UNSUPPORTED");
    }
    assert_eq!(world.probe.calls().len(), before, "none of them reached the adapter");
    world.end().await;
}

async fn an_owner_known_only_from_the_reply_is_recorded_before_it_leaves(on: EvidenceStore) {
    let world = World::on(on).await;
    let client = world.portal().await;
    let owner = person(&world, &client, "9876543210").await;
    let mut started = client.start("Owner", &[]);
    started.bytes(framed(&Plate { plate: "01-101-AA".into(), wish: "wait:9876543210".into() })).await;
    started.close();
    let exchange = recorded(&world, |call| call.path.ends_with("/Owner")).await;
    let mut lock = store::Store::open(&world.store).await;
    lock.lock().await;
    world.probe.release();
    // The head of the answer says nothing of the owner; its message does, and waits.
    let mut reply = patient(started.answer()).await.expect("answered").into_body();
    let frame = not_yet(&client, reply.frame()).await;
    lock.unlock().await;
    let data = patient(frame).await.unwrap().unwrap().into_data().expect("the message");
    assert_eq!(data.slice(5..), Answer { text: "9876543210".into(), ..Answer::default() }.encode_to_vec());
    let records = Records::read(&world.reader, exchange).await;
    assert_eq!(records.progress.len(), 1, "on disk when the reply is here");
    assert!(records.progress[0].from_reply);
    same(&records.named_later[0], &[&owner]);
    while reply.frame().await.is_some() {}
    // The same in a compressed reply.
    let plate = Plate { plate: "1".into(), wish: "gzip:9876543210".into() };
    let ended = client.call("Owner", &[("grpc-accept-encoding", "gzip")], &plate).await;
    assert_eq!((ended.status(), ended.headers["grpc-encoding"].to_str().unwrap()), (0, "gzip"));
    same(&world.evidence(ended.exchange()).await.named_later[0], &[&owner]);
    world.end().await;
}

#[tokio::test]
async fn subjects_of_every_message_of_a_stream_are_recorded() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut expected = Vec::new();
    for number in ["1", "2", "3"] {
        expected.push(person(&world, &client, number).await);
    }
    let key = [("idempotency-key", "k")];
    let frames: Vec<_> = ["1", "2", "3", "2"].iter().map(|number| framed(&ask(number))).collect();
    for method in ["Up", "UpRead", "Chat"] {
        let ended = client.send(method, &key, &frames).await;
        assert_eq!(ended.status(), 0, "{method}: {ended:?}");
        let records = world.evidence(ended.exchange()).await;
        let mut named = records.named.clone();
        assert!(named[0].is(&expected[0]));
        for subject in records.named_later.iter().flatten() {
            if !named.contains(subject) {
                named.push(subject.clone());
            }
        }
        same(&named, &expected.iter().collect::<Vec<_>>());
        let last = records.progress.iter().rev().find(|progress| !progress.request_digest.is_empty());
        let digest = &last.expect("the whole request's").request_digest;
        assert_eq!(*digest, sha256(&[&ended.salt(), &frames.concat()]), "{method}");
    }
    world.end().await;
}

/// Whether these bytes stand in the store: as they are, in hexadecimal, or within base64 text.
fn stands_in(haystack: &[u8], needle: &[u8]) -> Option<&'static str> {
    let has = |needle: &[u8]| haystack.windows(needle.len()).any(|window| window == needle);
    let hex: String = needle.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = |skipped: usize| {
        // What stands before shifts the text: the characters that depend on the neighbours are cut off.
        let text =
            base64::engine::general_purpose::STANDARD_NO_PAD.encode([&vec![0; skipped], needle].concat());
        let text = text.into_bytes();
        text[(skipped * 8).div_ceil(6)..text.len() - 1].to_vec()
    };
    let url = |text: Vec<u8>| -> Vec<u8> {
        text.into_iter()
            .map(|b| {
                if b == b'+' {
                    b'-'
                } else if b == b'/' {
                    b'_'
                } else {
                    b
                }
            })
            .collect()
    };
    if has(needle) {
        return Some("plain");
    }
    if has(hex.as_bytes()) || has(hex.to_uppercase().as_bytes()) {
        return Some("hexadecimal");
    }
    (0..3).any(|skipped| has(&base64(skipped)) || has(&url(base64(skipped)))).then_some("base64")
}

#[tokio::test]
async fn the_store_holds_no_payload_no_number_and_nothing_that_could_be_guessed() {
    let world = World::new().await;
    let client = world.portal().await;
    let (number, spelled, payload, key) =
        ("1234567892", "123 456 7892", "the-payload-of-the-call", "key-of-the-write");
    let request = Ask { data: payload.into(), others: vec!["5555555555".into()], ..ask(spelled) };
    let metadata =
        [("idempotency-key", key), ("ura-case", "case-in-the-open"), ("x-custom", "custom-metadata")];
    for method in ["Read", "Write", "Put", "Up", "Down"] {
        let ended = client.call(method, &metadata, &request).await;
        assert_eq!(ended.status(), 0, "{method}");
        let records = world.evidence(ended.exchange()).await;
        let expected = sha256(&[&ended.salt(), key.as_bytes()]);
        assert_eq!(records.opening().idempotency_key_digest, expected);
    }
    let owner = Plate { plate: "01-101-AA".into(), wish: "o:9876543210".into() };
    world.evidence(client.call("Owner", &[], &owner).await.exchange()).await;
    let salt = client.call("Read", &[], &request).await.salt();
    let bytes = store::bytes(&world.store);
    // The search itself finds what is there.
    assert_eq!(stands_in(&bytes, b"case-in-the-open"), Some("plain"));
    assert_eq!(stands_in(b"xxMTIzNDU2Nzg5Mg", b"1234567892"), Some("base64"));
    let answer = Answer { text: spelled.into(), data: payload.into() };
    let secrets: Vec<(&str, Vec<u8>)> = vec![
        ("number", number.into()),
        ("number as written", spelled.into()),
        ("another's number", "5555555555".into()),
        ("owner", "9876543210".into()),
        ("plate", "01101AA".into()),
        ("plate as written", "01-101-AA".into()),
        ("payload", payload.into()),
        ("key", key.into()),
        ("custom metadata", "custom-metadata".into()),
        ("salt", salt),
        ("message", request.encode_to_vec()),
        ("framed message", framed(&request).to_vec()),
        ("reply", answer.encode_to_vec()),
        ("framed reply", framed(&answer).to_vec()),
    ];
    for (what, secret) in &secrets {
        assert_eq!(stands_in(&bytes, secret), None, "{what}");
        let digest = sha256(&[secret]);
        assert_eq!(stands_in(&bytes, &digest), None, "SHA-256 of {what}");
        let kinds = ["person", "plate"].map(|kind| sha256(&[kind.as_bytes(), &[0], secret]));
        assert!(kinds.iter().all(|digest| stands_in(&bytes, digest).is_none()), "SHA-256 of kind and {what}");
    }
    world.end().await;
}
