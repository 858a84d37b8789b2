//! Adapters that vanish: before a call nothing was sent, during it nobody knows, and the next call
//! goes to whoever has come back.

use ura_proto::v1::Outcome;

use super::rig::{Relayed, exchange, until_serving, wish};
use crate::world::patient;

#[tokio::test]
async fn between_request_and_reply() {
    let relayed = Relayed::new().await;
    let client = relayed.world.portal().await;
    for method in ["Read", "Write"] {
        let before = relayed.world.probe.calls().len();
        let opened = relayed.relay.opened();
        let mut call = client.start(method, &[("idempotency-key", "k")]);
        call.message(&wish("hang")).await;
        call.close();
        let seen =
            relayed.world.probe.until(|calls| calls.len() > before && calls[before].messages == 1).await;
        relayed.relay.cut();
        let ended = patient(call.ended()).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (14, "REGISTER_UNAVAILABLE"), "{ended:?}");
        assert_eq!(ended.outcome(), "maybe_executed", "{method}");
        let records = relayed.world.evidence(exchange(&seen[before])).await;
        assert_eq!(records.closing().outcome(), Outcome::MaybeExecuted, "{method}");
        assert_eq!(relayed.world.probe.calls().len(), before + 1, "{method}: never sent twice");

        relayed.relay.until_opened(opened + 2).await;
        relayed.plugged().await;
        let next = client.call(method, &[("idempotency-key", "k2")], &wish("")).await;
        assert_eq!(next.status(), 0, "{method}: {next:?}");
    }
    relayed.end().await;
}

#[tokio::test]
async fn before_the_call() {
    let relayed = Relayed::new().await;
    let client = relayed.world.portal().await;
    // After a start the gateway waits for plugs; that time is over with the first that was there.
    relayed.relay.block();
    until_serving(&client, false).await;
    let ended = client.call("Write", &[("idempotency-key", "k")], &wish("")).await;
    assert_eq!((ended.status(), ended.reason().as_str()), (14, "REGISTER_UNAVAILABLE"), "{ended:?}");
    assert_eq!(ended.outcome(), "never_sent");
    let records = relayed.world.evidence(ended.exchange()).await;
    assert_eq!((records.closing().outcome(), records.closing().status), (Outcome::NeverSent, 14));
    assert!(relayed.world.probe.calls().is_empty());

    relayed.relay.open();
    until_serving(&client, true).await;
    assert_eq!(client.call("Write", &[("idempotency-key", "k")], &wish("")).await.status(), 0);
    relayed.end().await;
}
