//! A caller that gives up: the adapter learns it, and evidence says what is known.

use http_body_util::BodyExt as _;
use ura_proto::v1::Outcome;

use super::rig::{exchange, part, rounds, wish};
use crate::world::{Records, World, client::Client, patient, relay::Relay};

const CANCELLED: u32 = 1;

fn is_cancelled(records: &Records) {
    let closing = records.closing();
    assert_eq!((closing.status, closing.outcome()), (CANCELLED, Outcome::MaybeExecuted), "{closing:?}");
}

#[tokio::test]
async fn of_a_unary_call() {
    let world = World::new().await;
    let client = world.portal().await;
    for method in ["Read", "Write"] {
        let mut call = client.start(method, &[("idempotency-key", "k")]);
        call.message(&wish("hang")).await;
        call.close();
        let seen = world.probe.until(|calls| calls.last().is_some_and(|call| call.messages == 1)).await;
        call.abandon();
        let number = seen.len() - 1;
        world.probe.until(|calls| calls[number].dropped).await;
        is_cancelled(&world.evidence(exchange(&seen[number])).await);
    }
    world.end().await;
}

#[tokio::test]
async fn of_a_stream_in_the_middle() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut call = client.start("Down", &[]);
    call.message(&wish("hang-after:2,10")).await;
    call.close();
    let mut body = patient(call.answer()).await.expect("answered").into_body();
    patient(body.frame()).await.expect("a frame").expect("whole");
    drop(body);
    let seen = world.probe.until(|calls| calls[0].dropped).await;
    let records = world.evidence(exchange(&seen[0])).await;
    is_cancelled(&records);
    assert!(records.closing().reply_bytes > 0, "what had left is counted");
    world.end().await;
}

#[tokio::test]
async fn of_a_chat_that_the_adapter_does_not_read() {
    let world = World::new().await;
    let relay = Relay::to(&world.address).await;
    let client = Client::connect(&world.identity("ais/portal"), &relay.address()).await.expect("connects");
    let mut call = client.start("Chat", &[]);
    call.message(&wish("")).await;
    let upload = call.upload.take().expect("open");
    let mut body = patient(call.answer()).await.expect("answered").into_body();
    patient(body.frame()).await.expect("a frame").expect("whole");
    // The answers are not read, so the adapter stops reading, so the upload stalls.
    let part = part(1 << 20);
    let writer =
        tokio::spawn(
            async move { while upload.send(Ok(http_body::Frame::data(part.clone()))).await.is_ok() {} },
        );
    rounds(&client).await;
    relay.cut();
    let seen = world.probe.until(|calls| calls[0].dropped).await;
    is_cancelled(&world.evidence(exchange(&seen[0])).await);
    drop(body);
    patient(writer).await.expect("it ends with the connection");
    relay.end().await;
    world.end().await;
}
