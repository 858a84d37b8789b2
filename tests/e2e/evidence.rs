//! The records of exchanges: durable before what depends on them, exact when they could not be made,
//! and such that whoever holds salt and bytes can show what was said.

use std::pin::Pin;

use base64::Engine as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use prost::Message as _;
use ura_proto::{
    ExchangeId,
    v1::{Entry, Outcome, entry::Kind},
};

use super::subjects::Plate;
use crate::world::{
    EvidenceStore, Records, World,
    client::{Client, framed},
    patient,
    probe::{Answer, Ask, Seen},
    store::{Store, on_each_store},
};

on_each_store!(
    who_holds_salt_and_bytes_can_show_what_was_said,
    nothing_of_a_read_leaves_and_no_write_is_sent_before_the_opening_is_on_disk,
    the_end_of_a_write_waits_for_its_closing_and_that_of_a_read_does_not,
    a_reply_s_receipt_names_the_opening_as_it_stands_in_the_log,
);

const KEY: [(&str, &str); 1] = [("idempotency-key", "k-1")];

/// SHA-256 by the library that the tests' TLS uses, apart from the gateway's own use of it.
pub(crate) fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

/// Shows that a future is not ready, though the gateway answers other questions again and again on
/// the same connection; hands it back.
pub(crate) async fn not_yet<'f, T>(
    client: &Client,
    future: impl Future<Output = T> + 'f,
) -> Pin<Box<dyn Future<Output = T> + 'f>> {
    let mut future = Box::pin(future);
    for _ in 0..30 {
        let check = client.send("/grpc.health.v1.Health/Check", &[], &[Bytes::from_static(&[0; 5])]).await;
        assert_eq!(check.status(), 0, "{check:?}");
        assert!(future.as_mut().now_or_never().is_none(), "it did not wait");
    }
    future
}

/// Waits until the adapter has such a call in hand and the opening is in the log.
pub(crate) async fn recorded(world: &World, such: impl Fn(&Seen) -> bool) -> ExchangeId {
    let calls = world.probe.until(|calls| calls.iter().any(|call| such(call) && call.messages > 0)).await;
    let call = calls.iter().find(|call| such(call)).unwrap();
    let exchange = call.headers["ura-exchange-id"].to_str().unwrap().parse().unwrap();
    patient(async {
        while in_log(world, exchange).await.openings.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    exchange
}

pub(crate) async fn in_log(world: &World, exchange: ExchangeId) -> Records {
    Records::read(&world.reader, exchange).await
}

pub(crate) fn wish(text: &str) -> Ask {
    Ask { personal_number: "1234567892".into(), wish: text.into(), ..Ask::default() }
}

async fn who_holds_salt_and_bytes_can_show_what_was_said(on: EvidenceStore) {
    let world = World::on(on).await;
    let client = world.portal().await;
    let several: Vec<_> = (0..4).map(|n| framed(&Ask { data: vec![n; 70_000].into(), ..wish("") })).collect();
    let one = |text: &str| vec![framed(&wish(text))];
    for (method, frames) in [
        ("Read", one("gzip")),
        ("Put", one("")),
        ("Write", one("")),
        ("Down", one("down:4,50000")),
        ("Down", one("gzip:3,1000")),
        ("Up", several.clone()),
        ("UpRead", several.clone()),
        ("Chat", several),
        ("Read", one("error:5")),
    ] {
        let metadata = [KEY[0], ("grpc-accept-encoding", "gzip")];
        let ended = client.send(method, &metadata, &frames).await;
        let records = world.evidence(ended.exchange()).await;
        let (opening, closing, salt) = (records.opening(), records.closing(), ended.salt());
        let whole = records.progress.iter().find(|progress| !progress.request_digest.is_empty());
        let (digest, bytes) = whole.map_or((&opening.request_digest, opening.request_bytes), |p| {
            (&p.request_digest, p.request_bytes)
        });
        let request = frames.concat();
        assert_eq!(*digest, sha256(&[&salt, &request]), "{method}");
        assert_eq!((bytes, closing.request_bytes), (request.len() as u64, request.len() as u64));
        assert!(closing.request_digest.is_empty(), "it stands in one place");
        let flag = u8::from(ended.headers.get("grpc-encoding").is_some());
        let reply: Vec<u8> = ended.messages.iter().flat_map(|message| prefixed(flag, message)).collect();
        assert_eq!(closing.reply_digest, sha256(&[&salt, &reply]), "{method}");
        assert_eq!(closing.reply_bytes, reply.len() as u64, "{method}");
        assert_eq!(closing.status.to_string(), ended.status().to_string());
        assert_eq!(closing.outcome(), Outcome::Answered);
        assert_eq!(opening.idempotency_key_digest, sha256(&[&salt, b"k-1"]));
    }
    world.end().await;
}

fn prefixed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag][..], &length, message].concat()
}

async fn nothing_of_a_read_leaves_and_no_write_is_sent_before_the_opening_is_on_disk(on: EvidenceStore) {
    let world = World::on(on).await;
    let client = world.portal().await;
    let mut lock = Store::open(&world.store).await;
    for method in ["Read", "Down", "Owner", "UpRead", "Chat"] {
        lock.lock().await;
        let mut started = client.start(method, &[]);
        let plate = Plate { plate: "1".into(), wish: "o:5".into() };
        started.bytes(if method == "Owner" { framed(&plate) } else { framed(&wish("")) }).await;
        started.close();
        // The adapter works meanwhile.
        world.probe.until(|calls| calls.iter().any(|c| c.path.ends_with(method) && c.messages == 1)).await;
        let ended = not_yet(&client, started.ended()).await;
        lock.unlock().await;
        assert_eq!(patient(ended).await.status(), 0, "{method}");
    }
    for method in ["Write", "Put", "Up"] {
        let before = world.probe.calls().len();
        lock.lock().await;
        let mut started = client.start(method, &KEY);
        started.bytes(framed(&wish(""))).await;
        started.close();
        let ended = not_yet(&client, started.ended()).await;
        assert_eq!(world.probe.calls().len(), before, "{method} was sent before its record");
        lock.unlock().await;
        assert_eq!(patient(ended).await.status(), 0, "{method}");
        assert_eq!(world.probe.calls().len(), before + 1);
    }
    world.end().await;
}

async fn the_end_of_a_write_waits_for_its_closing_and_that_of_a_read_does_not(on: EvidenceStore) {
    let world = World::on(on).await;
    let client = world.portal().await;
    let mut lock = Store::open(&world.store).await;
    let mut started = client.start("Write", &KEY);
    started.bytes(framed(&wish("wait"))).await;
    started.close();
    let mut reading = client.start("Read", &[]);
    reading.bytes(framed(&wish("wait"))).await;
    reading.close();
    let write = recorded(&world, |call| call.path.ends_with("/Write")).await;
    let read = recorded(&world, |call| call.path.ends_with("/Read")).await;
    lock.lock().await;
    world.probe.release();
    assert_eq!(patient(reading.ended()).await.status(), 0, "while nothing can be written");
    assert_eq!(in_log(&world, read).await.closing, None);
    let mut body = patient(started.answer()).await.unwrap().into_body();
    let message = patient(body.frame()).await.unwrap().unwrap();
    assert!(message.is_data());
    let end = not_yet(&client, body.frame()).await;
    assert_eq!(in_log(&world, write).await.closing, None);
    lock.unlock().await;
    let trailers = patient(end).await.unwrap().unwrap().into_trailers().expect("the end");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(in_log(&world, write).await.closing().outcome(), Outcome::Answered, "on disk when it is told");
    assert_eq!(world.evidence(read).await.closing().status, 0);
    world.end().await;
}

async fn a_reply_s_receipt_names_the_opening_as_it_stands_in_the_log(on: EvidenceStore) {
    let world = World::on(on).await;
    let client = world.portal().await;
    for method in ["Read", "Write", "Down"] {
        let ended = client.call(method, &KEY, &wish("")).await;
        let records = world.evidence(ended.exchange()).await;
        assert_eq!(ended.receipt("index"), records.indexes[0].to_string());
        assert_eq!(ended.receipt("log"), "ura.test/gateway");
        // The body holds 32 bytes of the tree: the leaf is its SHA-256, and the receipt has the leaf's hash.
        let log = Store::open(&world.store).await.log().await;
        let rows = world.reader.entries(log.log, records.indexes[0], 1).await.unwrap();
        let body = rows[0].body.as_deref().unwrap();
        let entry = Entry::decode(body).unwrap();
        assert_eq!(entry.kind, Some(Kind::Opening(records.opening().clone())));
        assert_eq!(entry.exchange_id, ended.exchange().as_bytes());
        let leaf_hash = sha256(&[&[0], &sha256(&[body])]);
        let told = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(leaf_hash);
        assert_eq!(ended.receipt("leaf"), told);
        assert!(ended.decode::<Answer>(0).data.is_empty());
    }
    world.end().await;
}
