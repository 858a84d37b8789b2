//! Keys that are replaced while the gateway runs, by the operator's commands: who trusts the old key of a log goes
//! on from there, who has only the new one verifies all of it, and records name the epoch that they are of.

use std::path::Path;

use ura_evidence::{
    keys::{EpochKeys, LogKeys},
    receipt::{self, Kept, Receipt},
    source::Source,
    store::CheckpointRow,
    verify::{Report, Trust, verify},
};
use ura_log::{checkpoint, note::Key};
use ura_proto::v1::{KeyChange, entry::Kind};

use super::subjects::ask;
use crate::world::{
    EvidenceStore, World,
    client::Client,
    members::{self, Member},
    patient,
    program::{Ran, ura},
    store::{ORIGIN, Store, on_each_store},
};

on_each_store!(a_log_s_key_is_replaced_while_it_is_written, an_epoch_ends_while_its_gateway_runs,);

async fn command(world: &World, arguments: &[&str]) -> Ran {
    let config = world.path("gateway.toml").display().to_string();
    ura(&[&["evidence"], arguments, &["--config", &config]].concat()).await
}

/// Changes of keys that the log tells, each with its index.
async fn changes(world: &World) -> Vec<(u64, KeyChange)> {
    let entries = Store::open(&world.store).await.entries().await;
    let of = |(index, entry): (u64, ura_proto::v1::Entry)| match entry.kind {
        Some(Kind::KeyChange(change)) => Some((index, change)),
        _ => None,
    };
    (0..).zip(entries).filter_map(of).collect()
}

async fn checkpoints(world: &World) -> Vec<CheckpointRow> {
    let log = world.reader.log_by_origin(ORIGIN).await.unwrap().unwrap().log;
    world.reader.checkpoints(log, 0, 4096).await.unwrap()
}

fn signed_by(row: &CheckpointRow, key: &Key) -> bool {
    checkpoint::open(&row.note, std::slice::from_ref(key)).is_ok()
}

/// Asks until a checkpoint by this key covers it.
async fn until_signed_by(world: &World, client: &Client, key: &Key) {
    patient(Box::pin(async {
        loop {
            assert_eq!(client.call("Read", &[], &ask("1")).await.status(), 0);
            members::covered(world).await;
            if checkpoints(world).await.last().is_some_and(|row| signed_by(row, key)) {
                return;
            }
        }
    }))
    .await;
}

/// Verifies the whole log by this key alone.
async fn verified(world: &World, key: &Key) -> Report {
    let log = world.reader.log_by_origin(ORIGIN).await.unwrap().unwrap();
    let trust = Trust { keys: vec![key.clone()], ..Trust::default() };
    let report = verify(Source::store(world.reader.clone(), log), &trust, |_, _| {}).await.unwrap();
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!((report.unsigned, report.size), (0, report.signed_size), "{report:#?}");
    report
}

async fn a_log_s_key_is_replaced_while_it_is_written(on: EvidenceStore) {
    let mut world = members::bus(on).await;
    let client = world.portal().await;
    let before = client.call("Read", &[], &ask("1")).await.exchange();
    world.evidence(before).await;
    let mut keys = members::log_keys(&world);
    let early = Member::of(&world, "ais/portal").await.receipt_soon(before).await;
    for round in 0..2 {
        let printed = command(&world, &["rotate-log-key"]).await.done();
        let new = Key::parse(printed.trim()).unwrap();
        assert!(!keys.contains(&new) && new.name() == ORIGIN);
        let old = keys.last().unwrap().clone();
        until_signed_by(&world, &client, &new).await;
        let changes = changes(&world).await;
        // Announced under the old key, and said again when the new one is in use.
        assert_eq!(changes.len(), 2 * (round + 1), "{changes:?}");
        let [(announced, change), (in_use, again)] = &changes[2 * round..] else { panic!("{changes:?}") };
        let (log_key, before) = (new.to_string(), old.to_string());
        assert_eq!(*change, KeyChange { log_key, epoch: String::new(), before });
        assert_eq!((again, in_use > announced), (change, true));
        // The old key signed the announcement; behind that only the new one signs.
        let rows = checkpoints(&world).await;
        let covering = rows.iter().filter(|row| row.size > *announced && signed_by(row, &old));
        let last_old = covering.map(|row| row.size).max().expect("the announcement stands under the old key");
        for row in &rows {
            assert_eq!(signed_by(row, &new), row.size > last_old, "{row:?}");
        }
        keys.push(new);
    }
    assert_eq!(members::log_keys(&world), keys);
    let portal = Member::of(&world, "ais/portal").await;
    assert_eq!(portal.logs().await.unwrap().logs[0].key, keys[2].to_string());
    // A receipt hints at the key that signed; the one from before still holds by the old key.
    let trust = |key: &Key| receipt::Trust { keys: vec![key.clone()], ..receipt::Trust::default() };
    let after = client.call("Read", &[], &ask("1")).await.exchange();
    world.evidence(after).await;
    let late = Receipt::from_json(&portal.receipt_soon(after).await).unwrap();
    assert_eq!(late.keys, keys[2..]);
    receipt::verify(&late, &trust(&keys[2]), &Kept::default()).unwrap();
    assert!(receipt::verify(&late, &trust(&keys[0]), &Kept::default()).is_err());
    let early = Receipt::from_json(&early).unwrap();
    receipt::verify(&early, &trust(&keys[0]), &Kept::default()).unwrap();
    // Whoever has one of the keys verifies all of the log, in the store and in an export.
    world.stop().await;
    let export = world.path("exported").display().to_string();
    command(&world, &["export", &export]).await.done();
    for key in &keys {
        let report = verified(&world, key).await;
        let signed: u64 = report.keys.iter().map(|used| used.checkpoints).sum();
        assert_eq!(signed + report.unverifiable, report.checkpoints, "{report:#?}");
        ura(&["evidence", "verify", &export, "--key", &key.to_string()]).await.done();
    }
    assert_eq!(verified(&world, &keys[0]).await.unverifiable, 0, "the old key leads to the others");
    let stranger = ura_log::note::Signer::generate(ORIGIN, ura_log::note::Kind::Ed25519).unwrap();
    let ran = ura(&["evidence", "verify", &export, "--key", &stranger.key().to_string()]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    // The next gateway begins with the new key; no private key was ever shown.
    members::again(&mut world).await;
    members::covered(&world).await;
    assert!(checkpoints(&world).await.last().is_some_and(|row| signed_by(row, &keys[2])));
    world.end().await;
}

#[tokio::test]
async fn a_key_that_waits_is_not_replaced_and_no_output_holds_a_private_key() {
    let mut world = members::bus(EvidenceStore::Sqlite).await;
    world.stop().await;
    let old = members::log_keys(&world);
    // No gateway runs: it waits.
    let first = command(&world, &["rotate-log-key"]).await;
    let again = command(&world, &["rotate-log-key"]).await;
    assert_eq!((first.code, again.code), (Some(0), Some(2)), "{again:?}");
    assert!(again.err.contains("waits for its gateway"), "{again:?}");
    let new = Key::parse(first.out.trim()).unwrap();
    members::again(&mut world).await;
    let client = world.portal().await;
    patient(Box::pin(async {
        while !checkpoints(&world).await.last().is_some_and(|row| signed_by(row, &new)) {
            client.call("Absent", &[], &ask("1")).await;
        }
    }))
    .await;
    let epoch = command(&world, &["rotate-epoch-key"]).await;
    let files = [world.path("keys"), world.path("log-keys")].map(|dir| secrets(&dir)).concat();
    assert!(files.len() >= 4, "two log keys and two epoch keys");
    for ran in [&first, &again, &epoch] {
        for secret in &files {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{ran:?}");
        }
    }
    assert_eq!(LogKeys::read(&world.path("log-keys"), ORIGIN).unwrap().keys(), [&old[..], &[new]].concat());
    world.end().await;
}

/// What stands in the private files of a folder of keys, line by line.
fn secrets(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut secrets = Vec::new();
    for file in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap()) {
        let name = file.file_name().into_string().unwrap();
        if !name.ends_with(".pem") && !name.ends_with(".epoch") {
            continue;
        }
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        let text = std::fs::read_to_string(file.path()).unwrap();
        secrets.extend(
            text.lines()
                .filter(|line| line.len() > 20 && !line.starts_with('-') && !line.starts_with(ORIGIN))
                .map(str::to_owned),
        );
    }
    secrets
}

async fn an_epoch_ends_while_its_gateway_runs(on: EvidenceStore) {
    let world = members::bus(on).await;
    let client = world.portal().await;
    let keys = EpochKeys::open(&world.path("keys")).unwrap();
    let old = keys.newest().id().to_owned();
    let under = async || {
        let ended = client.call("Read", &[], &ask("1")).await;
        let opening = world.evidence(ended.exchange()).await.opening().clone();
        keys.reload().unwrap();
        let key = keys.by_id(&opening.epoch).expect("a key of the folder");
        assert_eq!(ended.salt(), key.salt(ended.exchange()), "the salt is of the epoch that is named");
        opening.epoch
    };
    assert_eq!(under().await, old);
    let printed = command(&world, &["rotate-epoch-key"]).await.done();
    let new = printed.trim();
    patient(async { while under().await != new {} }).await;
    for _ in 0..5 {
        assert_eq!(under().await, new, "there is no way back");
    }
    let changes = changes(&world).await;
    let announced = KeyChange { log_key: String::new(), epoch: new.to_owned(), before: old.clone() };
    assert!(!changes.is_empty() && changes.iter().all(|(_, change)| *change == announced), "{changes:?}");
    // The newest is not destroyed, the old one only if that is said twice; then its records still stand.
    for (arguments, code) in [
        (&["destroy-epoch-key", new, "--yes"][..], 2),
        (&["destroy-epoch-key", &old], 2),
        (&["destroy-epoch-key", &old, "--yes"], 0),
        (&["destroy-epoch-key", &old, "--yes"], 2),
    ] {
        let ran = command(&world, arguments).await;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
    }
    assert_eq!(under_ids(&world.path("keys")), [new]);
    assert_eq!(under().await, new);
    world.end().await;
}

fn under_ids(dir: &Path) -> Vec<String> {
    EpochKeys::read(dir).unwrap().all().iter().map(|key| key.id().to_owned()).collect()
}
