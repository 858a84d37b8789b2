//! What waits for the disk: a write before it is sent, an answer before it leaves, the end of a
//! streamed write before it is forwarded.

use ura_proto::v1::Outcome;

use super::rig::{exchange, opened, part, rounds, wish};
use crate::world::{
    World,
    client::{Client, Started, framed},
    patient,
    store::Store,
};

const KEY: [(&str, &str); 1] = [("idempotency-key", "k")];

#[derive(Clone, PartialEq, prost::Message)]
struct Plate {
    #[prost(string, tag = "1")]
    plate: String,
    #[prost(string, tag = "2")]
    wish: String,
}

async fn asked(client: &Client, method: &str, text: &str) -> Started {
    let mut call = client.start(method, &KEY);
    if method == "Owner" {
        call.bytes(framed(&Plate { plate: "01-101-AA".to_owned(), wish: text.to_owned() })).await;
    } else {
        call.message(&wish(text)).await;
    }
    call.close();
    call
}

#[tokio::test]
async fn a_read_is_asked_meanwhile_but_not_answered_before_its_opening() {
    let world = World::new().await;
    let client = world.portal().await;
    for (number, method) in ["Read", "Down"].into_iter().enumerate() {
        let mut lock = Store::open(&world.store).await;
        lock.lock().await;
        let call = asked(&client, method, "").await;
        // The adapter has answered whole, while the opening waits.
        world.probe.until(|calls| calls.len() == number + 1 && calls[number].request_end == "end").await;
        rounds(&client).await;
        assert!(!call.is_answered(), "{method}: nothing leaves before the opening");
        lock.unlock().await;
        assert_eq!(patient(call.ended()).await.status(), 0, "{method}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_write_is_not_sent_before_its_opening() {
    let world = World::new().await;
    let client = world.portal().await;
    for (number, method) in ["Write", "Put", "Up"].into_iter().enumerate() {
        let mut lock = Store::open(&world.store).await;
        lock.lock().await;
        let call = asked(&client, method, "").await;
        rounds(&client).await;
        assert_eq!(world.probe.calls().len(), number, "{method}: nothing is sent before the opening");
        lock.unlock().await;
        assert_eq!(patient(call.ended()).await.status(), 0, "{method}");
    }
    world.end().await;
}

#[tokio::test]
async fn an_answer_that_names_its_subject_waits_for_that_record() {
    let world = World::new().await;
    let client = world.portal().await;
    let call = asked(&client, "Owner", "wait:1234567892").await;
    let seen = world.probe.until(|calls| calls.len() == 1 && calls[0].messages == 1).await;
    // The opening is on disk before the answer names anybody.
    let id = exchange(&seen[0]);
    opened(&world, id).await;
    let mut lock = Store::open(&world.store).await;
    lock.lock().await;
    world.probe.release();
    world.probe.until(|calls| calls[0].request_end == "end").await;
    let mut body = patient(call.answer()).await.expect("the head names nobody").into_body();
    let mut first = Box::pin(super::rig::data(&mut body));
    tokio::select! {
        biased;
        bytes = &mut first => panic!("{bytes:?} left before the record of its subject"),
        () = rounds(&client) => {}
    }
    lock.unlock().await;
    assert!(first.await.is_some());
    let records = world.evidence(id).await;
    assert_eq!((records.progress.len(), records.progress[0].subjects.len()), (1, 1));
    assert!(records.progress[0].from_reply);
    world.end().await;
}

#[tokio::test]
async fn a_streamed_write_never_ends_without_the_record_of_its_digest() {
    let world = World::new().await;
    let client = world.portal().await;
    for (number, parts) in [1, 3].into_iter().enumerate() {
        let mut call = client.start("Up", &KEY);
        call.message(&wish("")).await;
        for _ in 0..parts {
            call.bytes(part(100)).await;
        }
        let all = parts + 1;
        let seen = world.probe.until(|calls| calls.len() > number && calls[number].messages == all).await;
        let mut store = Store::open(&world.store).await;
        store.hinder().await;
        call.close();
        let ended = patient(call.ended()).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (14, "EVIDENCE_UNAVAILABLE"), "{ended:?}");
        assert_eq!(ended.outcome(), "maybe_executed");
        let after = world.probe.until(|calls| !calls[number].request_end.is_empty()).await;
        assert_eq!(after[number].request_end, "reset", "it never ends");
        store.mend().await;
        // The closing is written as soon as the store takes it.
        let records = world.evidence(exchange(&seen[number])).await;
        assert_eq!(records.closing().outcome(), Outcome::MaybeExecuted);
        assert_eq!(records.closing().refusal, "EVIDENCE_UNAVAILABLE");
    }
    world.end().await;
}

#[tokio::test]
async fn a_streamed_write_waits_for_the_record_of_its_digest() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut call = client.start("Up", &KEY);
    call.message(&wish("")).await;
    call.bytes(part(100)).await;
    world.probe.until(|calls| calls.len() == 1 && calls[0].messages == 2).await;
    let mut lock = Store::open(&world.store).await;
    lock.lock().await;
    call.close();
    rounds(&client).await;
    assert_eq!(world.probe.calls()[0].request_end, "", "its end waits");
    lock.unlock().await;
    let ended = patient(call.ended()).await;
    assert_eq!(ended.status(), 0);
    let records = world.evidence(ended.exchange()).await;
    assert!(records.progress.iter().any(|progress| !progress.request_digest.is_empty()));
    world.end().await;
}

#[tokio::test]
async fn the_end_of_a_write_waits_for_its_closing() {
    let world = World::new().await;
    let client = world.portal().await;
    let call = asked(&client, "Write", "wait").await;
    let seen = world.probe.until(|calls| calls.len() == 1 && calls[0].messages == 1).await;
    opened(&world, exchange(&seen[0])).await;
    let mut lock = Store::open(&world.store).await;
    lock.lock().await;
    world.probe.release();
    let answer = patient(call.answer()).await.expect("the head");
    let mut end = Box::pin(crate::world::client::collect(answer));
    tokio::select! {
        biased;
        ended = &mut end => panic!("{ended:?} before its closing"),
        () = rounds(&client) => {}
    }
    lock.unlock().await;
    assert_eq!(patient(end).await.status(), 0);
    world.end().await;
}
