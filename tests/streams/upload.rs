//! Uploads that break off: a break is never an end, whatever its code says.

use ura_proto::v1::Outcome;

use super::rig::{exchange, part, wish};
use crate::world::{World, client::Client, patient, relay::Relay};

const KEY: [(&str, &str); 1] = [("idempotency-key", "k")];

/// What must hold of the last call after its upload broke off.
async fn is_broken_off(world: &World, number: usize, case: &str) {
    let seen = world.probe.until(|calls| !calls[number].request_end.is_empty()).await;
    assert_eq!(seen[number].request_end, "reset", "{case}");
    let records = world.evidence(exchange(&seen[number])).await;
    assert!(
        records.progress.iter().all(|progress| progress.request_digest.is_empty()),
        "{case}: never whole"
    );
    let closing = records.closing();
    assert_ne!(closing.status, 0, "{case}");
    assert_eq!(closing.outcome(), Outcome::MaybeExecuted, "{case}");
    assert!(!closing.request_digest.is_empty(), "{case}: what had arrived is told");
}

#[tokio::test]
async fn a_reset_in_mid_upload_is_a_reset() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut number = 0;
    for method in ["Up", "UpRead"] {
        for reason in [h2::Reason::NO_ERROR, h2::Reason::CANCEL, h2::Reason::INTERNAL_ERROR] {
            let mut call = client.start(method, &KEY);
            call.message(&wish("")).await;
            call.bytes(part(100)).await;
            world.probe.until(|calls| calls.len() > number && calls[number].messages == 2).await;
            call.reset(reason).await;
            is_broken_off(&world, number, &format!("{method} {reason:?}")).await;
            number += 1;
        }
    }
    world.end().await;
}

#[tokio::test]
async fn a_connection_cut_in_mid_upload_is_a_reset() {
    let world = World::new().await;
    let relay = Relay::to(&world.address).await;
    for number in 0..2 {
        let client =
            Client::connect(&world.identity("ais/portal"), &relay.address()).await.expect("connects");
        let mut call = client.start("Up", &KEY);
        call.message(&wish("")).await;
        call.bytes(part(100)).await;
        // In the middle of a message, too.
        call.bytes(part(100).slice(..50)).await;
        let bytes = part(100).len() + 50;
        world.probe.until(|calls| calls.len() > number && calls[number].bytes >= bytes).await;
        relay.cut();
        is_broken_off(&world, number, "cut").await;
    }
    relay.end().await;
    world.end().await;
}

#[tokio::test]
async fn a_unary_request_that_breaks_off_reaches_nobody() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut call = client.start("Write", &KEY);
    call.bytes(part(100).slice(..50)).await;
    call.reset(h2::Reason::NO_ERROR).await;
    assert_ne!(patient(call.ended()).await.status(), 0);
    // A call that is answered afterwards shows that the other had its chance.
    assert_eq!(client.call("Read", &[], &wish("")).await.status(), 0);
    let seen = world.probe.calls();
    assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/test.v1.Probe/Read"));
    world.end().await;
}

#[tokio::test]
async fn an_upload_that_ends_inside_a_message_is_refused_and_never_ended() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut call = client.start("Up", &KEY);
    call.message(&wish("")).await;
    call.bytes(part(100).slice(..50)).await;
    world.probe.until(|calls| calls.len() == 1 && calls[0].messages == 1).await;
    call.close();
    let ended = patient(call.ended()).await;
    assert_eq!((ended.status(), ended.reason().as_str()), (3, "REQUEST_MALFORMED"), "{ended:?}");
    is_broken_off(&world, 0, "inside a message").await;
    world.end().await;
}
