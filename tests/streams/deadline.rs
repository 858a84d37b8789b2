//! Deadlines and limits of time: they end a call wherever it is, the caller is told by the bus, and
//! the adapter learns it too.

use http_body_util::BodyExt as _;
use ura_proto::v1::Outcome;

use super::rig::{exchange, part, rounds, wish};
use crate::world::{
    Plan, World,
    client::{Client, Ended, Started, collect},
    patient,
};

const DEADLINE_EXCEEDED: i32 = 4;
const KEY: (&str, &str) = ("idempotency-key", "k");
const SHORT: (&str, &str) = ("grpc-timeout", "300m");

/// A call that asks and then says no more.
async fn asked(client: &Client, method: &str, metadata: &[(&str, &str)], text: &str) -> Started {
    let mut call = client.start(method, metadata);
    call.message(&wish(text)).await;
    call.close();
    call
}

async fn is_late(world: &World, number: usize, ended: &Ended, reason: &str) {
    assert_eq!((ended.status(), ended.reason().as_str()), (DEADLINE_EXCEEDED, reason), "{ended:?}");
    assert_eq!(ended.outcome(), "maybe_executed");
    let seen = world.probe.until(|calls| calls[number].dropped).await;
    let records = world.evidence(exchange(&seen[number])).await;
    let closing = records.closing();
    assert_eq!((closing.status, closing.outcome()), (4, Outcome::MaybeExecuted));
    assert_eq!(closing.refusal, reason);
}

async fn limited(limits: &str) -> World {
    World::with(Plan { limits: limits.to_owned(), ..Plan::default() }).await
}

#[tokio::test]
async fn the_caller_s_deadline_ends_a_unary_call() {
    let world = World::new().await;
    let client = world.portal().await;
    for (number, method) in ["Read", "Write"].into_iter().enumerate() {
        let call = asked(&client, method, &[SHORT, KEY], "hang").await;
        is_late(&world, number, &patient(call.ended()).await, "DEADLINE_EXCEEDED").await;
    }
    world.end().await;
}

#[tokio::test]
async fn the_caller_s_deadline_ends_a_stream_in_the_middle() {
    let world = World::new().await;
    let client = world.portal().await;
    let call = asked(&client, "Down", &[SHORT], "hang-after:3,10").await;
    let ended = patient(call.ended()).await;
    assert_eq!(ended.messages.len(), 3, "what came before had left");
    is_late(&world, 0, &ended, "DEADLINE_EXCEEDED").await;
    world.end().await;
}

#[tokio::test]
async fn the_caller_s_deadline_ends_a_stuck_upload() {
    let world = World::new().await;
    let client = world.portal().await;
    for (number, method) in ["Up", "UpRead"].into_iter().enumerate() {
        let mut call = client.start(method, &[SHORT, KEY]);
        call.message(&wish("")).await;
        call.bytes(part(10)).await;
        // Held open, while nothing more is sent.
        let upload = call.upload.take();
        let ended = patient(call.ended()).await;
        is_late(&world, number, &ended, "DEADLINE_EXCEEDED").await;
        drop(upload);
    }
    world.end().await;
}

#[tokio::test]
async fn a_deadline_before_the_first_message_reaches_nobody() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut call = client.start("Up", &[SHORT, KEY]);
    let upload = call.upload.take();
    let ended = patient(call.ended()).await;
    assert_eq!((ended.status(), ended.reason().as_str()), (DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"));
    assert_eq!(ended.outcome(), "never_sent");
    assert!(world.probe.calls().is_empty());
    drop(upload);
    world.end().await;
}

#[tokio::test]
async fn the_gateway_s_own_limit_ends_a_unary_call() {
    let world = limited("unary_timeout_ms = 300").await;
    let client = world.portal().await;
    let call = asked(&client, "Read", &[("grpc-timeout", "1H")], "hang").await;
    is_late(&world, 0, &patient(call.ended()).await, "DEADLINE_EXCEEDED").await;
    world.end().await;
}

#[tokio::test]
async fn a_stream_on_which_nothing_moves_is_ended() {
    let world = limited("stream_idle_ms = 300").await;
    let client = world.portal().await;
    let call = asked(&client, "Down", &[], "hang-after:3,10").await;
    is_late(&world, 0, &patient(call.ended()).await, "STREAM_IDLE").await;

    // The adapter is told of a request that goes on, too.
    let mut chat = client.start("Chat", &[]);
    chat.message(&wish("")).await;
    let upload = chat.upload.take();
    is_late(&world, 1, &patient(chat.ended()).await, "STREAM_IDLE").await;
    drop(upload);

    let mut up = client.start("Up", &[KEY]);
    up.message(&wish("")).await;
    let upload = up.upload.take();
    is_late(&world, 2, &patient(up.ended()).await, "STREAM_IDLE").await;
    assert_eq!(world.probe.calls()[2].request_end, "reset");
    drop(upload);
    world.end().await;
}

#[tokio::test]
async fn a_stream_that_moves_one_way_only_goes_on() {
    let world = limited("stream_idle_ms = 2000").await;
    let client = world.portal().await;
    // The adapter's answer to the first message comes at once, then only the caller speaks: for
    // longer than a stream may be idle.
    let mut chat = client.start("Chat", &[]);
    chat.message(&wish("mute")).await;
    world.probe.until(|calls| calls.len() == 1 && calls[0].messages == 1).await;
    let began = std::time::Instant::now();
    let mut sent = 1;
    while began.elapsed().as_millis() < 5000 {
        assert!(chat.bytes(part(10)).await, "taken after {sent} parts");
        sent += 1;
        world.probe.until(|calls| calls[0].messages == sent).await;
        rounds(&client).await;
    }
    chat.close();
    let ended = patient(chat.ended()).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    world.end().await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_an_adapter_no_longer_than_its_deadline() {
    for (limits, metadata) in [("", &[SHORT][..]), ("stream_idle_ms = 300", &[])] {
        let world = limited(limits).await;
        let client = world.portal().await;
        let mut call = client.start("Down", metadata);
        call.message(&wish("flow:1024,65536")).await;
        call.close();
        let mut answer = patient(call.answer()).await.expect("answered");
        // Nothing is read until the adapter has been let go.
        let seen = world.probe.until(|calls| calls[0].dropped).await;
        let records = world.evidence(exchange(&seen[0])).await;
        assert_eq!(records.closing().outcome(), Outcome::MaybeExecuted);
        assert_ne!(records.closing().status, 0);
        patient(answer.body_mut().frame()).await;
        let ended = patient(collect(answer)).await;
        assert_ne!(ended.status(), 0, "{:?} {:?}", ended.trailers, ended.reset);
        world.end().await;
    }
}
