//! Replies that break off: never a clean end for the caller.

use http_body_util::BodyExt as _;
use ura_proto::v1::Outcome;

use super::rig::{Relayed, exchange, wish};
use crate::world::{World, client::collect, patient};

const UNAVAILABLE: i32 = 14;

#[tokio::test]
async fn a_reply_that_is_reset_at_once_does_not_end_well() {
    let world = World::new().await;
    let client = world.portal().await;
    let key = [("idempotency-key", "k")];
    for method in ["Read", "Write", "Down"] {
        for how in ["reset", "reset-no-error"] {
            let ended = client.call(method, &key, &wish(&format!("{how}:2,10"))).await;
            assert_eq!(ended.status(), UNAVAILABLE, "{method} {how}: {ended:?}");
            assert_eq!(ended.reason(), "REGISTER_UNAVAILABLE", "{method} {how}");
            assert_eq!(ended.outcome(), "maybe_executed", "{method} {how}");
            let records = world.evidence(ended.exchange()).await;
            let closing = records.closing();
            assert_eq!((closing.status, closing.outcome()), (14, Outcome::MaybeExecuted), "{method} {how}");
            assert_eq!(closing.refusal, "REGISTER_UNAVAILABLE", "{method} {how}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn a_reply_that_is_reset_after_its_message_does_not_end_well() {
    for method in ["Read", "Write", "Down"] {
        for reason in [h2::Reason::NO_ERROR, h2::Reason::CANCEL, h2::Reason::INTERNAL_ERROR] {
            let world = World::new().await;
            let client = world.portal().await;
            let mut call = client.start(method, &[("idempotency-key", "k")]);
            call.message(&wish(&format!("break:{}", u32::from(reason)))).await;
            call.close();
            let mut answer = patient(call.answer()).await.expect("answered");
            // The message has left whole when the stream breaks.
            patient(answer.body_mut().frame()).await.expect("a frame").expect("whole");
            world.probe.release();
            let ended = patient(collect(answer)).await;
            assert_eq!(ended.status(), UNAVAILABLE, "{method} {reason:?}: {ended:?}");
            assert_eq!(ended.reason(), "REGISTER_UNAVAILABLE", "{method} {reason:?}");
            let records = world.evidence(ended.exchange()).await;
            let closing = records.closing();
            assert_eq!((closing.status, closing.outcome()), (14, Outcome::MaybeExecuted), "{method}");
            world.end().await;
        }
    }
}

#[tokio::test]
async fn a_reply_whose_connection_vanishes_does_not_end_well() {
    let relayed = Relayed::new().await;
    let client = relayed.world.portal().await;
    let mut call = client.start("Down", &[]);
    call.message(&wish("hang-after:2,10")).await;
    call.close();
    let mut answer = patient(call.answer()).await.expect("answered");
    patient(answer.body_mut().frame()).await.expect("a frame").expect("whole");
    relayed.relay.cut();
    let ended = patient(collect(answer)).await;
    assert_eq!((ended.status(), ended.reason().as_str()), (UNAVAILABLE, "REGISTER_UNAVAILABLE"), "{ended:?}");
    assert_eq!(ended.outcome(), "maybe_executed");
    let seen = relayed.world.probe.calls();
    let records = relayed.world.evidence(exchange(&seen[0])).await;
    assert_eq!((records.closing().status, records.closing().outcome()), (14, Outcome::MaybeExecuted));
    relayed.end().await;
}
