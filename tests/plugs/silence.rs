//! A network that fails without a word: nothing is closed, and nothing comes through.

use std::time::Duration;

use ura_proto::{ExchangeId, v1::Outcome};

use super::rig::{Plugged, metadata, wish};
use crate::world::{
    Plan, World,
    client::{Client, Started},
    patient,
    probe::Seen,
    relay::Relay,
};

/// Within so long the calls have moved.
const MOVED_WITHIN: Duration = Duration::from_secs(3);

/// Adapters of the same service: one behind a relay and one that is reached directly.
struct Pair {
    world: World,
    relay: Relay,
    far: Plugged,
    near: Plugged,
}

impl Pair {
    async fn start() -> Self {
        let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
        let relay = Relay::to(&world.address).await;
        let far = Plugged::start(&world, &relay.address(), "", "").await;
        far.connections(2).await;
        let near = Plugged::start(&world, &world.address, "", "").await;
        near.connections(2).await;
        Self { world, relay, far, near }
    }

    async fn end(self) {
        // What was cut off cannot say that it leaves.
        self.relay.cut();
        self.far.leave().await;
        self.near.leave().await;
        self.relay.end().await;
        self.world.end().await;
    }
}

/// Writes that hang: on both adapters, at least five on each.
async fn hanging_writes(pair: &Pair, client: &Client) -> Vec<Started> {
    let mut hanging = Vec::new();
    while pair.far.probe.calls().len() < 5 || pair.near.probe.calls().len() < 5 {
        let key = format!("k-{}", hanging.len());
        let mut call = client.start("Write", &metadata(&key));
        call.message(&wish("wait")).await;
        call.close();
        hanging.push(call);
        let so_far = hanging.len();
        let taken = async {
            while pair.far.probe.calls().len() + pair.near.probe.calls().len() < so_far {
                tokio::task::yield_now().await;
            }
        };
        patient(taken).await;
    }
    hanging
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_without_a_word_moves_calls_and_repeats_no_write() {
    let pair = Pair::start().await;
    let client = pair.world.portal().await;
    let hanging = hanging_writes(&pair, &client).await;
    let exchange = |seen: &Seen| -> ExchangeId {
        seen.headers["ura-exchange-id"].to_str().expect("text").parse().expect("an exchange id")
    };
    pair.far.probe.until(|calls| calls.iter().all(|call| call.messages == 1)).await;
    let cut_off = pair.far.probe.calls();

    pair.relay.silence();
    let moved = async {
        let mut in_a_row = 0;
        while in_a_row < 50 {
            let ask = wish("");
            let call = client.call("Read", &[], &ask);
            // One that goes to the far adapter hangs.
            let answered = tokio::time::timeout(Duration::from_millis(100), call).await;
            in_a_row = if answered.is_ok_and(|ended| ended.status() == 0) { in_a_row + 1 } else { 0 };
        }
    };
    tokio::time::timeout(MOVED_WITHIN, moved).await.expect("the calls have moved in time");
    let before = pair.near.probe.calls().len();
    for _ in 0..50 {
        assert_eq!(client.call("Read", &[], &wish("")).await.status(), 0, "the near one answers");
        assert_eq!(client.call("Write", &metadata("k"), &wish("")).await.status(), 0, "writes, too");
    }
    assert_eq!(pair.near.probe.calls().len(), before + 100);

    // The writes on the silent plugs end without an answer, the others with theirs.
    pair.near.probe.release();
    let mut maybe = Vec::new();
    for call in hanging {
        let ended = patient(call.ended()).await;
        if ended.status() == 0 {
            continue;
        }
        assert_eq!((ended.status(), ended.reason().as_str()), (14, "REGISTER_UNAVAILABLE"), "{ended:?}");
        assert_eq!(ended.outcome(), "maybe_executed");
        let records = pair.world.evidence(ended.exchange()).await;
        assert_eq!(records.closing().outcome(), Outcome::MaybeExecuted);
        maybe.push(ended.exchange());
    }
    let mut wanted: Vec<_> = cut_off.iter().map(exchange).collect();
    maybe.sort_by_key(ToString::to_string);
    wanted.sort_by_key(ToString::to_string);
    assert_eq!(maybe, wanted, "those on the far adapter, and no others");
    let near = pair.near.probe.calls();
    assert!(near.iter().map(exchange).all(|seen| !wanted.contains(&seen)), "none was sent again");
    assert_eq!(pair.far.probe.calls().len(), cut_off.len());

    // It comes back by itself.
    pair.relay.open();
    pair.far.probe.release();
    let calls = pair.far.probe.calls().len();
    pair.far.connections(2).await;
    while pair.far.probe.calls().len() == calls {
        assert_eq!(client.call("Read", &[], &wish("")).await.status(), 0);
    }
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_mended_in_time_costs_no_call() {
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let relay = Relay::to(&world.address).await;
    // One connection, so that it is known which.
    let adapter = Plugged::start(&world, &relay.address(), "", "connections = 1").await;
    adapter.connections(1).await;
    let client = world.portal().await;
    let mut call = client.start("Write", &metadata("k"));
    call.message(&wish("wait")).await;
    call.close();
    adapter.probe.until(|calls| calls.len() == 1 && calls[0].messages == 1).await;

    relay.hold();
    let refused = patient(async {
        loop {
            let mut call = client.start("Write", &metadata("later"));
            call.message(&wish("")).await;
            call.close();
            // Sent before the silence was noticed, it waits; afterwards it is refused at once.
            let ended = tokio::time::timeout(Duration::from_millis(100), call.ended()).await;
            if let Ok(ended) = ended {
                return ended;
            }
        }
    });
    let refused = refused.await;
    assert_eq!((refused.status(), refused.reason().as_str()), (14, "REGISTER_UNAVAILABLE"), "{refused:?}");
    assert_eq!(refused.outcome(), "never_sent");
    // The adapter tries another way meanwhile.
    relay.until_opened(2).await;
    relay.open();
    adapter.probe.release();
    let ended = patient(call.ended()).await;
    assert_eq!(ended.status(), 0, "the call in hand: {ended:?}");
    patient(async { while client.call("Read", &[], &wish("")).await.status() != 0 {} }).await;
    // One of the two connections goes, and it is not missed.
    adapter.connections(1).await;
    for _ in 0..20 {
        assert_eq!(client.call("Read", &[], &wish("")).await.status(), 0);
    }
    adapter.leave().await;
    relay.end().await;
    world.end().await;
}
