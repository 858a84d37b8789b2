//! A store that cannot be written: everybody is refused, nothing is sent that is not recorded, and
//! what was missed is counted. And a store that would not sync, on which nothing begins.

use futures_util::future::join_all;
use ura_evidence::config::EvidenceConfig;
use ura_gateway::{Gateway, GatewayError, config::GatewayConfig};
use ura_proto::v1::{Closing, Entry, Outcome, entry::Kind};
use ura_runtime::{clock::Clock, process::Shutdown};

use super::evidence::{in_log, recorded, wish};
use crate::world::{
    EvidenceStore, Plan, World,
    client::{Client, Ended, framed},
    patient,
    postgres::Postgres,
    store::{Store, on_each_store},
};

on_each_store!(
    a_store_that_cannot_be_written_refuses_everybody_and_the_gap_is_counted_exactly,
    a_write_that_was_executed_is_told_so_when_its_closing_cannot_be_written,
    a_store_that_stays_locked_refuses_too_and_comes_back,
    a_full_queue_refuses_at_once_and_is_counted,
    two_gateways_on_one_log_number_without_gaps,
);

const KEY: [(&str, &str); 1] = [("idempotency-key", "k-1")];

fn refused(ended: &Ended) {
    assert_eq!((ended.status(), ended.reason().as_str()), (14, "EVIDENCE_UNAVAILABLE"), "{ended:?}");
}

/// Service is back by itself, as soon as the gateway knows what the log tells already.
async fn back(client: &Client, method: &str) {
    patient(async {
        loop {
            let ended = client.call(method, &KEY, &wish("")).await;
            if ended.status() == 0 {
                return;
            }
            refused(&ended);
        }
    })
    .await;
}

async fn a_store_that_cannot_be_written_refuses_everybody_and_the_gap_is_counted_exactly(on: EvidenceStore) {
    let world = World::on(on).await;
    let client = world.portal().await;
    let mut waiting = client.start("Read", &[]);
    waiting.bytes(framed(&wish("wait"))).await;
    waiting.close();
    let open = recorded(&world, |_| true).await;
    let mut store = Store::open(&world.store).await;
    store.hinder().await;
    let other = world.client("ais/other").await;
    let mut count = 0u64;
    for _ in 0..3 {
        let ended = client.call("Write", &KEY, &wish("")).await;
        refused(&ended);
        assert_eq!(ended.outcome(), "never_sent");
        refused(&client.call("Read", &[], &wish("")).await);
        // A refusal for another reason cannot be recorded either.
        refused(&other.call("Read", &[], &wish("")).await);
        let (one, two) = ([framed(&wish(""))], [framed(&wish("")), framed(&wish(""))]);
        let streams = [("Up", &two[..]), ("UpRead", &two), ("Down", &one), ("Chat", &two)];
        let streams = streams.map(|(method, frames)| client.send(method, &KEY, frames));
        join_all(streams).await.iter().for_each(refused);
        let (one, two) = (wish(""), wish(""));
        let at_once = [client.call("Put", &KEY, &one), client.call("Put", &KEY, &two)];
        join_all(at_once).await.iter().for_each(refused);
        count += 9;
    }
    let sent: Vec<_> = world.probe.calls().into_iter().map(|call| call.path).collect();
    let write = |path: &String| ["/Write", "/Put", "/Up"].iter().any(|method| path.ends_with(method));
    assert!(!sent.iter().any(write), "no write without its record: {sent:?}");
    // A call that was recorded in time is answered; its closing comes later.
    world.probe.release();
    assert_eq!(patient(waiting.ended()).await.status(), 0);
    assert_eq!(in_log(&world, open).await.closing, None);
    store.mend().await;
    let gaps = store.gap().await;
    assert_eq!((gaps.len(), gaps[0].refused, gaps[0].closings_lost), (1, count, 0), "{gaps:?}");
    assert!(gaps[0].first_unix_us <= gaps[0].last_unix_us);
    assert_eq!(world.evidence(open).await.closing().status, 0, "the closing was kept");
    for method in ["Read", "Write"] {
        back(&client, method).await;
    }
    let entries = closed(&world, 3).await;
    let opened: Vec<_> = entries.iter().filter(|entry| opens(entry)).collect();
    assert_eq!(opened.len(), 3, "one before, two after: {entries:?}");
    for entry in &entries {
        let has_opening = opened.iter().any(|opening| opening.exchange_id == entry.exchange_id);
        assert!(has_opening, "no record stands without its opening: {entry:?}");
    }
    world.end().await;
}

fn opens(entry: &Entry) -> bool {
    matches!(entry.kind, Some(Kind::Opening(_)))
}

/// All records of exchanges, once there are as many closings.
async fn closed(world: &World, closings: usize) -> Vec<Entry> {
    let store = Store::open(&world.store).await;
    patient(async {
        loop {
            let entries = store.exchanges().await;
            let seen = entries.iter().filter(|entry| matches!(entry.kind, Some(Kind::Closing(_)))).count();
            assert!(seen <= closings, "closings of nobody: {entries:?}");
            if seen == closings {
                return entries;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn a_write_that_was_executed_is_told_so_when_its_closing_cannot_be_written(on: EvidenceStore) {
    let world = World::on(on).await;
    let client = world.portal().await;
    let mut started = client.start("Write", &KEY);
    started.bytes(framed(&wish("wait"))).await;
    started.close();
    let exchange = recorded(&world, |_| true).await;
    let mut store = Store::open(&world.store).await;
    store.hinder().await;
    world.probe.release();
    let ended = patient(started.ended()).await;
    refused(&ended);
    assert_eq!(ended.outcome(), "executed");
    store.mend().await;
    let records = world.evidence(exchange).await;
    let Closing { status, reply_bytes, .. } = records.closing();
    assert_eq!((*status, *reply_bytes > 0, records.closing().outcome()), (0, true, Outcome::Answered));
    world.end().await;
}

async fn a_store_that_stays_locked_refuses_too_and_comes_back(on: EvidenceStore) {
    let world = World::on(on).await;
    let client = world.portal().await;
    let mut lock = Store::open(&world.store).await;
    lock.lock().await;
    refused(&client.call("Write", &KEY, &wish("")).await);
    assert!(world.probe.calls().is_empty());
    lock.unlock().await;
    let gaps = lock.gap().await;
    assert_eq!((gaps.len(), gaps[0].refused), (1, 1));
    back(&client, "Write").await;
    world.end().await;
}

async fn a_full_queue_refuses_at_once_and_is_counted(on: EvidenceStore) {
    let evidence = "queue_entries_max = 1\nbatch_entries_max = 1".to_owned();
    let world = World::with(Plan { evidence, evidence_store: on, ..Plan::default() }).await;
    let client = world.portal().await;
    let mut lock = Store::open(&world.store).await;
    lock.lock().await;
    let request = wish("");
    let mut calls: Vec<_> = (0..8).map(|_| Box::pin(client.call("Write", &KEY, &request))).collect();
    // One is with the writer and one in the queue: of eight, some are turned away while the lock is held.
    let mut ended = Vec::new();
    while ended.len() < 4 {
        let (one, _, rest) = futures_util::future::select_all(calls).await;
        refused(&one);
        assert_eq!(one.outcome(), "never_sent");
        ended.push(one);
        calls = rest;
    }
    lock.unlock().await;
    ended.extend(join_all(calls).await);
    let turned_away = ended.iter().filter(|one| one.status() != 0).inspect(|one| refused(one)).count();
    assert_eq!(world.probe.calls().len(), 8 - turned_away);
    patient(async {
        loop {
            let counted: u64 = lock.gaps().await.iter().map(|gap| gap.refused).sum();
            assert!(counted <= turned_away as u64);
            if counted == turned_away as u64 {
                return;
            }
            // Counted with the next record.
            client.call("Write", &[], &request).await;
        }
    })
    .await;
    world.end().await;
}

async fn two_gateways_on_one_log_number_without_gaps(on: EvidenceStore) {
    let world = World::on(on).await;
    let shutdown = Shutdown::new();
    // Who does not ask to relieve the one that writes does not start, and that one is not disturbed.
    let refused = Gateway::start(world.config(), Clock::system(), shutdown.clone()).await;
    let told = refused.err().expect("the log is in use").to_string();
    let process = format!("/{}/", std::process::id());
    for part in ["`ura.test/gateway` is in use", &process, "--take-over"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let config = GatewayConfig { take_over: true, ..world.config() };
    let second = Gateway::start(config, Clock::system(), shutdown.clone()).await.unwrap();
    let identity = world.identity("ais/portal");
    let there = Client::connect(&identity, &second.address().to_string()).await.unwrap();
    let here = world.portal().await;
    let request = wish("");
    let calls = (0..120).map(|n| {
        if n % 2 == 0 { here.call("Read", &[], &request) } else { there.call("Absent", &[], &request) }
    });
    let ended = join_all(calls).await;
    assert!(ended.iter().step_by(2).all(|call| call.status() == 0));
    assert!(ended.iter().skip(1).step_by(2).all(|call| call.reason() == "METHOD_UNKNOWN"));
    drop(there);
    shutdown.drain();
    patient(second.finished()).await;
    let entries = closed(&world, 60).await;
    assert_eq!(entries.iter().filter(|entry| opens(entry)).count(), 120);
    let all = Store::open(&world.store).await.entries().await;
    let started = all.iter().filter(|entry| matches!(entry.kind, Some(Kind::Started(_)))).count();
    assert_eq!(started, 2, "each told that it began");
    // The first one, which was relieved, still writes to its end.
    assert_eq!(here.call("Write", &KEY, &request).await.status(), 0);
    world.end().await;
}

#[tokio::test]
async fn a_database_that_crashes_refuses_everybody_and_is_written_again_when_it_is_back() {
    let server = tokio::task::spawn_blocking(|| Postgres::start(&[]));
    let mut server = server.await.unwrap();
    let world = World::on(EvidenceStore::At(server.url())).await;
    let client = world.portal().await;
    let before = client.call("Write", &KEY, &wish("")).await;
    assert_eq!(before.status(), 0);
    server.stop_immediately();
    let ended = client.call("Write", &KEY, &wish("")).await;
    refused(&ended);
    assert_eq!(ended.outcome(), "never_sent");
    refused(&client.call("Read", &[], &wish("")).await);
    let writes = || world.probe.calls().iter().filter(|call| call.path.ends_with("/Write")).count();
    assert_eq!(writes(), 1, "no write without its record");
    server.start_again();
    let gaps = Store::open(&world.store).await.gap().await;
    assert_eq!((gaps.len(), gaps[0].refused, gaps[0].closings_lost), (1, 2, 0), "{gaps:?}");
    back(&client, "Write").await;
    assert_eq!(world.evidence(before.exchange()).await.closing().status, 0, "what was told is there");
    assert_eq!(closed(&world, 2).await.iter().filter(|entry| opens(entry)).count(), 2);
    world.end().await;
}

#[tokio::test]
async fn a_gateway_does_not_start_on_a_store_that_does_not_sync_or_on_open_keys() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let start = async |change: &dyn Fn(&mut EvidenceConfig)| {
        let mut config = GatewayConfig { take_over: true, ..world.config() };
        change(&mut config.evidence);
        let shutdown = Shutdown::new();
        match Gateway::start(config, Clock::system(), shutdown.clone()).await {
            Ok(gateway) => {
                shutdown.drain();
                patient(gateway.finished()).await;
                String::new()
            }
            Err(GatewayError::Evidence(error)) => error.to_string(),
            Err(other) => panic!("{other}"),
        }
    };
    for setting in [
        "synchronous=off",
        "synchronous=normal",
        "journal_mode=memory",
        "journal_mode=off",
        "synchronous=full&journal_mode=off",
        "synchronous=full&synchronous=off",
    ] {
        let said = start(&|evidence| evidence.store.push_str(&format!("?{setting}"))).await;
        assert!(said.contains("does not sync"), "{setting}: {said}");
    }
    for store in [
        "sqlite::memory:",
        "sqlite:",
        "sqlite:file:x?mode=memory",
        "sqlite:x?vfs=unix-none",
        "sqlite:x?synchronous=0",
    ] {
        let said = start(&|evidence| evidence.store = store.to_owned()).await;
        assert!(!said.is_empty(), "{store}");
    }
    assert_eq!(start(&|evidence| evidence.store.push_str("?synchronous=extra")).await, "");
    for (path, closed) in [
        ("keys", 0o700),
        ("keys/000001.epoch", 0o600),
        ("log-keys", 0o700),
        ("log-keys/000001.log.pem", 0o600),
    ] {
        let set = |mode| {
            std::fs::set_permissions(world.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for more in [0o040, 0o004, 0o002, 0o010] {
            set(closed | more);
            let said = start(&|_| ()).await;
            assert!(said.contains("others may") && said.contains("chmod"), "{path} {more:o}: {said}");
        }
        set(closed);
    }
    assert_eq!(start(&|_| ()).await, "");
    world.end().await;
}
