//! What these tests share: wishes, what the gateway says of itself.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use ura_adapters::run::Adapter;
use ura_proto::{ExchangeId, v1::entry::Kind};
use ura_runtime::process::Shutdown;

use crate::world::{
    Plan, Records, World,
    client::{Client, framed},
    patient,
    probe::{Ask, Probe, Seen},
    relay::Relay,
    store::Store,
};

/// A request about nobody in particular, with a wish.
pub fn wish(wish: &str) -> Ask {
    Ask { personal_number: "1234567892".to_owned(), wish: wish.to_owned(), ..Ask::default() }
}

/// A part of an upload, of so many bytes.
pub fn part(bytes: usize) -> Bytes {
    framed(&Ask { data: Bytes::from(vec![b'u'; bytes]), ..Ask::default() })
}

/// The exchange that a call seen by the adapter belongs to.
pub fn exchange(seen: &Seen) -> ExchangeId {
    seen.headers["ura-exchange-id"].to_str().expect("text").parse().expect("an exchange id")
}

/// Waits until the opening of an exchange is in the log.
pub async fn opened(world: &World, id: ExchangeId) {
    patient(async {
        while Records::read(&world.reader, id).await.openings.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The next bytes of an answer; `None` at its end.
pub async fn data(body: &mut Incoming) -> Option<Bytes> {
    loop {
        match patient(body.frame()).await? {
            Err(error) => panic!("the answer broke: {error}"),
            Ok(frame) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Some(data),
                Err(_) => return None,
            },
        }
    }
}

/// Asks the gateway itself, again and again: whatever it had to do before has its chance meanwhile.
pub async fn rounds(client: &Client) {
    for _ in 0..100 {
        let asked = client.call("/grpc.health.v1.Health/Check", &[], &Health::default()).await;
        assert_eq!(asked.status(), 0);
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthAnswer {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Waits until the gateway says whether the probe's contract is served.
pub async fn until_serving(client: &Client, serving: bool) {
    let mut watch = client.start("/grpc.health.v1.Health/Watch", &[]);
    watch.bytes(framed(&Health { service: "test.v1.Probe".to_owned() })).await;
    watch.close();
    let mut states = watch.answer().await.expect("answered").into_body();
    let wanted = if serving { 1 } else { 2 };
    while let Some(state) = data(&mut states).await {
        let state: HealthAnswer = prost::Message::decode(state.slice(5..)).expect("a state");
        if state.status == wanted {
            return;
        }
    }
    panic!("the watch ended");
}

/// How many openings and closings the log holds.
pub async fn log_counts(store: &str) -> (usize, usize) {
    let entries = Store::open(store).await.entries().await;
    let count = |kind: fn(&Kind) -> bool| {
        entries.iter().filter(|entry| entry.kind.as_ref().is_some_and(kind)).count()
    };
    (count(|kind| matches!(kind, Kind::Opening(_))), count(|kind| matches!(kind, Kind::Closing(_))))
}

/// A world whose adapter is plugged in through a relay.
pub struct Relayed {
    pub world: World,
    pub relay: Relay,
    pub adapter: Adapter,
    pub shutdown: Shutdown,
}

impl Relayed {
    pub async fn new() -> Self {
        let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
        let relay = Relay::to(&world.address).await;
        let shutdown = Shutdown::new();
        let probe: Arc<Probe> = world.probe.clone();
        let adapter = world.plug_at("arc/probe", &probe, &relay.address(), &shutdown).await;
        let relayed = Self { world, relay, adapter, shutdown };
        relayed.plugged().await;
        relayed
    }

    /// Waits until the gateway has accepted the adapter on both its connections.
    pub async fn plugged(&self) {
        let mut verdict = self.adapter.verdict();
        patient(verdict.wait_for(|now| now.connections == 2 && !now.accepted.is_empty()))
            .await
            .expect("it lives");
    }

    pub async fn end(self) {
        leave(self.adapter, &self.shutdown).await;
        self.relay.end().await;
        self.world.end().await;
    }
}

/// Ends an adapter and waits for it.
pub async fn leave(adapter: Adapter, shutdown: &Shutdown) {
    shutdown.drain();
    patient(adapter.finished()).await;
}
