//! Who answers: dialled adapters, their identity, their health, two of them for one service.

use ura_runtime::{process::Shutdown, tls::Verify};

use super::rig::{leave, until_serving, wish};
use crate::world::{Plan, World, client::Client, directory, patient, probe::Probe, relay::Relay};

#[tokio::test]
async fn an_adapter_that_listens_is_dialled() {
    let world = World::with(Plan { dialled: true, ..Plan::default() }).await;
    let client = world.portal().await;
    let ended = client.call("Read", &[], &wish("")).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    assert_eq!(world.probe.calls()[0].headers["ura-consumer"], "ais/portal");
    world.end().await;
}

#[tokio::test]
async fn an_adapter_that_listens_answers_nobody_but_the_gateway() {
    let world = World::with(Plan { dialled: true, ..Plan::default() }).await;
    let address =
        world.adapter.as_ref().and_then(|adapter| adapter.address()).expect("it listens").to_string();
    let adapter = Verify::Spiffe("spiffe://ura.test/arc/probe".parse().expect("an id"));
    let identity = world.identity("ais/portal");
    let client = Client::connect_with(&identity, &address, adapter, 1 << 20).await.expect("a handshake");
    let ended = client.call("Read", &[], &wish("")).await;
    assert!(ended.reset.is_some(), "{ended:?}");
    assert!(world.probe.calls().is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_dialled_adapter_with_another_s_identity_is_not_used() {
    let plan = Plan { adapter: false, limits: "plug_wait_ms = 0".to_owned(), ..Plan::default() };
    let world = World::with(plan).await;
    let client = world.portal().await;
    let shutdown = Shutdown::new();
    let other = world.listen("arc/second", &world.probe, &shutdown).await;
    let relay = Relay::to(&other.address().expect("it listens").to_string()).await;
    let plain = r#"{ id = "arc/probe", roles = ["provider"] }"#;
    let dialled = format!(r#"{{ id = "arc/probe", roles = ["provider"], dial = "{}" }}"#, relay.address());
    world.write_directory(&directory().replace(plain, &dialled));
    // Once more than the two connections at once: those before were dropped.
    relay.until_opened(3).await;
    let ended = client.call("Read", &[], &wish("")).await;
    assert_eq!((ended.status(), ended.reason().as_str()), (14, "REGISTER_UNAVAILABLE"), "{ended:?}");
    assert_eq!(ended.outcome(), "never_sent");
    assert!(world.probe.calls().is_empty());
    relay.end().await;
    leave(other, &shutdown).await;
    world.end().await;
}

#[tokio::test]
async fn a_dialled_adapter_that_moves_is_followed() {
    let world = World::with(Plan { dialled: true, ..Plan::default() }).await;
    let client = world.portal().await;
    let (probe, shutdown) = (Probe::new(), Shutdown::new());
    let next = world.listen("arc/probe", &probe, &shutdown).await;
    let old = world.adapter.as_ref().and_then(|adapter| adapter.address()).expect("it listens").to_string();
    let new = next.address().expect("it listens").to_string();
    let text = std::fs::read_to_string(world.path("directory.toml")).expect("the directory");
    world.write_directory(&text.replace(&old, &new));
    patient(next.plugged_in()).await.expect("dialled");
    patient(world.adapter.as_ref().expect("there").verdict().wait_for(|now| now.connections == 0))
        .await
        .expect("it lives");
    let before = world.probe.calls().len();
    for _ in 0..20 {
        assert_eq!(client.call("Read", &[], &wish("")).await.status(), 0);
    }
    assert_eq!((world.probe.calls().len(), probe.calls().len()), (before, 20));
    leave(next, &shutdown).await;
    world.end().await;
}

#[tokio::test]
async fn a_register_that_is_not_healthy_is_not_asked() {
    let world = World::new().await;
    let client = world.portal().await;
    for _ in 0..2 {
        world.probe.healthy.send_replace(false);
        until_serving(&client, false).await;
        let before = world.probe.calls().len();
        let ended = client.call("Write", &[("idempotency-key", "k")], &wish("")).await;
        assert_eq!((ended.status(), ended.reason().as_str()), (14, "REGISTER_UNAVAILABLE"), "{ended:?}");
        assert_eq!(ended.outcome(), "never_sent");
        assert_eq!(world.probe.calls().len(), before);

        world.probe.healthy.send_replace(true);
        until_serving(&client, true).await;
        // The other connection of the adapter may still be said to be out, but one serves.
        assert_eq!(client.call("Write", &[("idempotency-key", "k")], &wish("")).await.status(), 0);
    }
    world.end().await;
}

#[tokio::test]
async fn two_adapters_of_a_service_share_its_calls_and_one_may_leave() {
    let world = World::new().await;
    let client = world.portal().await;
    let (probe, shutdown) = (Probe::new(), Shutdown::new());
    let second = world.plug("arc/probe", &probe, &shutdown).await;
    patient(second.plugged_in()).await.expect("plugged in");
    let call = async |expected: &str| {
        let ended = client.call("Read", &[], &wish("")).await;
        assert_eq!(ended.status(), 0, "{expected}: {ended:?}");
    };
    // By the power of two choices each is taken soon.
    while world.probe.calls().is_empty() || probe.calls().is_empty() {
        call("both").await;
    }
    let calling = async {
        for _ in 0..200 {
            call("one leaves").await;
        }
    };
    tokio::join!(calling, leave(second, &shutdown));
    let gone = probe.calls().len();
    for _ in 0..20 {
        call("one is left").await;
    }
    assert_eq!(probe.calls().len(), gone);
    world.end().await;
}
