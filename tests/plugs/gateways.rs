//! The bus tells its adapters of its gateways: they plug into all, and let go of those that are gone.

use super::{
    load::Load,
    rig::{Plugged, Second, directory_with, metadata, wish},
};
use crate::world::{Plan, World, client::Client, patient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapters_plug_into_each_gateway_of_the_list_and_let_go_without_losing_a_call() {
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let second = Second::start(&world).await;
    let adapter = Plugged::start(&world, &world.address, "", "").await;
    adapter.connections(2).await;
    let load = Load::start(&world, 6).await;
    for _ in 0..2 {
        load.more(40).await;
        world.write_directory(&directory_with(&[&world.address, &second.address]));
        adapter.connections(4).await;
        let client = Client::connect(&world.identity("ais/portal"), &second.address).await.expect("connects");
        let before = adapter.probe.calls().len();
        let mut call = client.start("Write", &metadata("in-hand"));
        call.message(&wish("wait")).await;
        call.close();
        let waits = |seen: &crate::world::probe::Seen| {
            seen.headers.get("idempotency-key").is_some_and(|key| key == "in-hand") && seen.messages == 1
        };
        adapter.probe.until(|calls| calls.iter().skip(before).any(waits)).await;
        load.more(40).await;
        // The second one is listed no more; the call that it has in hand keeps one connection.
        world.write_directory(&directory_with(&[&world.address]));
        adapter.connections(3).await;
        let refused = patient(async {
            loop {
                let ended = client.call("Write", &metadata("later"), &wish("")).await;
                if ended.status() != 0 {
                    return ended;
                }
            }
        });
        let refused = refused.await;
        assert_eq!(
            (refused.reason().as_str(), refused.outcome().as_str()),
            ("REGISTER_UNAVAILABLE", "never_sent")
        );
        adapter.probe.release();
        assert_eq!(patient(call.ended()).await.status(), 0, "the call in hand");
        adapter.connections(2).await;
        adapter.probe.close();
    }
    let (answered, failed) = load.end().await;
    assert!(
        failed.is_empty(),
        "{} of {answered} calls failed: {:#?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
    adapter.leave().await;
    second.end().await;
    world.end().await;
}

#[tokio::test]
async fn a_gateway_of_the_configuration_is_kept_whatever_the_list_says() {
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let second = Second::start(&world).await;
    let adapter = Plugged::start(&world, &world.address, "", "connections = 1").await;
    adapter.connections(1).await;
    world.write_directory(&directory_with(&[&second.address]));
    adapter.connections(2).await;
    let client = world.portal().await;
    assert_eq!(client.call("Read", &[], &wish("")).await.status(), 0);
    // Where the one it was configured with is gone for a while, it is found by the other.
    let mut world = world;
    world.shutdown.drain();
    drop(client);
    patient(world.gateway.take().expect("running").finished()).await;
    adapter.connections(1).await;
    let client = Client::connect(&world.identity("ais/portal"), &second.address).await.expect("connects");
    assert_eq!(client.call("Read", &[], &wish("")).await.status(), 0);
    adapter.leave().await;
    second.end().await;
    world.end().await;
}
