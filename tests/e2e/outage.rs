//! A store that cannot be written: everybody is refused, nothing is sent that is not recorded, and
//! what was missed is counted. And a store that would not sync, on which nothing begins.

use futures_util::future::join_all;
use ura_gateway::{Gateway, GatewayError, config::EvidenceConfig};
use ura_proto::v1::{Closing, Entry, Outcome, entry::Kind};
use ura_runtime::{clock::Clock, process::Shutdown};

use super::evidence::{in_log, recorded, wish};
use crate::world::{
    Plan, World,
    client::{Client, Ended, framed},
    patient,
    store::Store,
};

const KEY: [(&str, &str); 1] = [("idempotency-key", "k-1")];

fn refused(ended: &Ended) {
    assert_eq!((ended.status(), ended.reason().as_str()), (14, "EVIDENCE_UNAVAILABLE"), "{ended:?}");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_refuses_everybody_and_the_gap_is_counted_exactly() {
    let world = World::new().await;
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
        assert_eq!(client.call(method, &KEY, &wish("")).await.status(), 0, "service is back by itself");
    }
    let entries = closed(&world, 3).await;
    let opened: Vec<_> = entries.iter().filter(|entry| opens(entry)).collect();
    assert_eq!(opened.len(), 3, "one before, two after: {entries:?}");
    for entry in entries.iter().filter(|entry| !matches!(entry.kind, Some(Kind::Gap(_)))) {
        let has_opening = opened.iter().any(|opening| opening.exchange_id == entry.exchange_id);
        assert!(has_opening, "no record stands without its opening: {entry:?}");
    }
    world.end().await;
}

fn opens(entry: &Entry) -> bool {
    matches!(entry.kind, Some(Kind::Opening(_)))
}

/// The whole log, once it has as many closings.
async fn closed(world: &World, closings: usize) -> Vec<Entry> {
    let mut store = Store::open(&world.store).await;
    patient(async {
        loop {
            let entries = store.entries().await;
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

#[tokio::test]
async fn a_write_that_was_executed_is_told_so_when_its_closing_cannot_be_written() {
    let world = World::new().await;
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

#[tokio::test]
async fn a_store_that_stays_locked_refuses_too_and_comes_back() {
    let world = World::new().await;
    let client = world.portal().await;
    let mut lock = Store::open(&world.store).await;
    lock.lock().await;
    refused(&client.call("Write", &KEY, &wish("")).await);
    assert!(world.probe.calls().is_empty());
    lock.unlock().await;
    let gaps = lock.gap().await;
    assert_eq!((gaps.len(), gaps[0].refused), (1, 1));
    assert_eq!(client.call("Write", &KEY, &wish("")).await.status(), 0);
    world.end().await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_is_counted() {
    let evidence = "queue_entries_max = 1\nbatch_entries_max = 1".to_owned();
    let world = World::with(Plan { evidence, ..Plan::default() }).await;
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

#[tokio::test]
async fn two_gateways_on_one_log_number_without_gaps() {
    let world = World::new().await;
    let shutdown = Shutdown::new();
    let second = Gateway::start(world.config(), Clock::system(), shutdown.clone()).await.unwrap();
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
    world.end().await;
}

#[tokio::test]
async fn a_gateway_does_not_start_on_a_store_that_does_not_sync_or_on_open_keys() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let start = async |change: &dyn Fn(&mut EvidenceConfig)| {
        let mut config = world.config();
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
    let keys = world.path("keys");
    let key = keys.join("000001.epoch");
    for (path, closed) in [(&keys, 0o700), (&key, 0o600)] {
        for more in [0o040, 0o004, 0o002, 0o010] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(closed | more)).unwrap();
            let said = start(&|_| ()).await;
            assert!(said.contains("others may") && said.contains("chmod"), "{more:o}: {said}");
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(closed)).unwrap();
    }
    assert_eq!(start(&|_| ()).await, "");
    world.end().await;
}
