//! A clock that is set back an hour, also while another process takes the log over: the log goes on in the order in
//! which things happened, is signed as before, and is found by the times it tells.

use std::collections::BTreeSet;

use ura_evidence::{
    entry::{Row, kind},
    extend,
    find::{self, Whom},
    keys::EpochKeys,
    store::{Address, CheckpointRow, Filter},
};
use ura_gateway::{Gateway, config::GatewayConfig};
use ura_proto::{
    ExchangeId,
    v1::{Opening, Outcome, entry::Kind},
};
use ura_runtime::{clock::Clock, process::Shutdown};

use super::evidence::{in_log, recorded, wish};
use crate::world::{
    BEGIN_UNIX_US, EvidenceStore, World,
    client::{Client, Started, framed},
    patient,
    store::{Store, on_each_store},
};

on_each_store!(a_clock_set_back_an_hour_stops_nothing_and_hides_nothing);

const HOUR_US: i64 = 3_600_000_000;
const SECOND_US: i64 = 1_000_000;
/// The jump, and the one of the process that takes the log over.
const BACK_US: i64 = BEGIN_UNIX_US - HOUR_US;
const FURTHER_BACK_US: i64 = BEGIN_UNIX_US - 2 * HOUR_US;
/// Calls between two jumps.
const CALLS: usize = 4;
/// Fewer than there are to be found, so that pages follow each other.
const PAGE: u32 = 3;

/// Asks one after another; the exchanges, in their order.
async fn ask(client: &Client, tick: impl Fn()) -> Vec<ExchangeId> {
    let mut asked = Vec::new();
    for n in 0..CALLS {
        let method = ["Read", "Write"][n % 2];
        let key = format!("k-{n}");
        let ended = client.call(method, &[("idempotency-key", &key)], &wish("")).await;
        assert_eq!(ended.status(), 0, "{ended:?}");
        asked.push(ended.exchange());
        tick();
    }
    asked
}

/// A stream that goes on until it is closed, and its exchange.
async fn stream(world: &World, client: &Client, method: &str) -> (Started, ExchangeId) {
    let mut started = client.start(method, &[]);
    assert!(started.bytes(framed(&wish(""))).await);
    let exchange = recorded(world, |call| call.path.ends_with(&format!("/{method}"))).await;
    (started, exchange)
}

/// The stream is closed, and its own gateway says how it ended.
async fn ends(world: &World, (mut started, exchange): (Started, ExchangeId)) {
    assert_eq!(in_log(world, exchange).await.closing, None, "it was in somebody's hands");
    started.close();
    assert_eq!(patient(started.ended()).await.status(), 0);
    assert_eq!(world.evidence(exchange).await.closing().outcome(), Outcome::Answered);
}

/// The newest checkpoint, once it covers the whole log.
async fn signed(world: &World) -> CheckpointRow {
    patient(Box::pin(async {
        loop {
            let log = world.reader.logs().await.unwrap().remove(0);
            let newest = world.reader.newest_checkpoint(log.log).await.unwrap().unwrap();
            if newest.size == log.size {
                return newest;
            }
            tokio::task::yield_now().await;
        }
    }))
    .await
}

/// An exchange whose gateway has ended: nobody has it in hand.
async fn orphan(world: &World, now_us: i64) -> ExchangeId {
    let mut store = ura_evidence::store::Store::open(&Address::parse(&world.store).unwrap()).await.unwrap();
    let log = store.logs().await.unwrap().remove(0);
    let exchange = ExchangeId::at(now_us);
    let opening = Opening { consumer: "ais/gone".into(), ..Opening::default() };
    let row = Row::new(Some(exchange), now_us, Kind::Opening(opening));
    let epochs = EpochKeys::read(&world.path("keys")).unwrap();
    extend::append(&world.reader, &mut store, &log, &epochs, row, now_us).await.unwrap();
    store.close().await.unwrap();
    exchange
}

/// The openings recorded in a time, page by page.
async fn found(world: &World, from_us: i64, until_us: i64) -> BTreeSet<ExchangeId> {
    let filter = Filter {
        from_us: Some(from_us),
        until_us: Some(until_us),
        kind: Some(kind::OPENING),
        ..Filter::default()
    };
    let epochs = EpochKeys::read(&world.path("keys")).unwrap();
    let whom = Whom { kind: "person", canonical: b"1234567892" };
    let (mut all, mut of_person, mut times) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut after = None;
    loop {
        let page = find::find(&world.reader, &filter, after, PAGE).await.unwrap();
        for entry in page.entries {
            times.push(entry.recorded_us);
            assert!(all.insert(id(&entry)), "found once");
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first: {times:?}");
    assert!(times.iter().all(|time| (from_us..until_us).contains(time)), "{times:?}");
    loop {
        let times = (from_us, until_us);
        let page = find::find_subject(&world.reader, &epochs.all(), whom, times, after, PAGE).await.unwrap();
        assert!(page.entries.iter().all(|entry| of_person.insert(id(entry))), "found once");
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    all.retain(|id| of_person.contains(id));
    assert_eq!(all, of_person);
    all
}

fn id(found: &find::Found) -> ExchangeId {
    let bytes: [u8; 16] = found.entry().unwrap().exchange_id.as_slice().try_into().unwrap();
    format!("{:032x}", u128::from_be_bytes(bytes)).parse().unwrap()
}

/// Entries stand in the order in which they were made, whatever their times.
async fn in_order(world: &World, exchanges: &[ExchangeId]) {
    let entries = Store::open(&world.store).await.entries().await;
    let place = |id: &ExchangeId| entries.iter().position(|entry| entry.exchange_id == id.as_bytes());
    assert!(exchanges.iter().map(place).is_sorted_by(|one, next| one.is_some() && one < next));
    let fell =
        entries.windows(2).filter(|two| two[0].recorded_unix_us - two[1].recorded_unix_us > HOUR_US / 2);
    assert!(fell.count() >= 2, "the clock was seen to jump");
}

async fn a_clock_set_back_an_hour_stops_nothing_and_hides_nothing(on: EvidenceStore) {
    let mut world = World::on(on).await;
    let portal = world.portal().await;
    let clock = world.clock.clone();
    let tick = || clock.advance_us(SECOND_US);
    let through = stream(&world, &portal, "Chat").await;
    tick();
    let before = ask(&portal, tick).await;
    let newest = signed(&world).await;
    clock.set_unix_us(BACK_US);
    let after = ask(&portal, tick).await;
    let later = signed(&world).await;
    assert!(later.size > newest.size && later.signed_us < newest.signed_us, "{newest:?} {later:?}");

    // Another process takes the log over, and its clock is behind that one by another hour.
    let orphan = orphan(&world, BEGIN_UNIX_US + HOUR_US).await;
    let (second_clock, hand) = Clock::manual(FURTHER_BACK_US);
    let (shutdown, adapter_shutdown) = (Shutdown::new(), Shutdown::new());
    let config = GatewayConfig { take_over: true, ..world.config() };
    let second = Gateway::start(config, second_clock, shutdown.clone()).await.unwrap();
    let address = second.address().to_string();
    let adapter = world.plug_at("arc/probe", &world.probe, &address, &adapter_shutdown).await;
    patient(adapter.plugged_in()).await.unwrap();
    let there = Client::connect(&world.identity("ais/portal"), &address).await.unwrap();
    let taken = ask(&there, || hand.advance_us(SECOND_US)).await;
    let live = stream(&world, &there, "UpRead").await;
    let live_id = live.1;
    // The first still writes to its end, by its own clock.
    let draining = ask(&portal, tick).await;
    ends(&world, through).await;
    drop(portal);
    world.shutdown.drain();
    patient(world.gateway.take().unwrap().finished()).await;

    // What is left behind is closed now, and nothing that somebody has in hand.
    assert_eq!(world.evidence(orphan).await.closing().outcome(), Outcome::Unknown);
    ends(&world, live).await;
    let end = ask(&there, || hand.advance_us(SECOND_US)).await;

    in_order(&world, &[&before[..], &after, &taken, &draining, &end].concat()).await;
    let of = |parts: &[&[ExchangeId]]| parts.concat().into_iter().collect::<BTreeSet<_>>();
    let day = 24 * HOUR_US;
    assert_eq!(found(&world, BEGIN_UNIX_US + SECOND_US, day + BEGIN_UNIX_US).await, of(&[&before]));
    assert_eq!(found(&world, BACK_US, BEGIN_UNIX_US).await, of(&[&after, &draining]));
    assert_eq!(found(&world, FURTHER_BACK_US, BACK_US).await, of(&[&taken, &[live_id], &end]));
    drop(there);
    adapter_shutdown.drain();
    patient(adapter.finished()).await;
    shutdown.drain();
    patient(second.finished()).await;
    world.end().await;
}
