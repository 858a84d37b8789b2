//! Removing on a log that a gateway writes, and on one that nobody does: who signs it, and what is said where nobody can.

use std::os::unix::fs::PermissionsExt as _;

use ura_evidence::{
    keys::EpochKeys,
    store::{LogRow, NewLease, Store},
};

use super::*;
use crate::evidence::{place::Found, prune};

/// Removes all that was recorded until now.
async fn remove(world: &World, place: &[&str]) {
    let now = crate::evidence::facts::time(Clock::system().unix_us());
    let contract = METHOD.rsplit_once('/').expect("a method").0;
    let words = ["prune", "--contract", contract, "--before", &now, "--keys", "%/keys"];
    world.holds(&[&words[..], place].concat()).await;
}

fn address(world: &World) -> Address {
    Address::parse(&format!("sqlite:{}", world.text("evidence.db"))).expect("an address")
}

async fn log(world: &World) -> (LogRow, u64) {
    let reader = Reader::open(&address(world)).await.expect("a store");
    let log = reader.log_by_origin(ORIGIN).await.expect("readable").expect("there");
    let signed = reader.newest_checkpoint(log.log).await.expect("readable").expect("signed").size;
    reader.close().await;
    (log, signed)
}

/// A process of this machine that ended: its id is used by another, which began at another time.
fn dead_process() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux");
    let namespace = fs::read_link("/proc/self/ns/pid").expect("Linux");
    format!("{}/{}/{}/1", boot.trim(), namespace.display(), std::process::id())
}

/// Gives the lease of the log to a process.
async fn hold(world: &World, holder: &str) {
    let (row, _) = log(world).await;
    let mut store = Store::open(&address(world)).await.expect("opens");
    let (holder, previous_holder) = (holder.to_owned(), String::new());
    let lease = NewLease { token: row.last_token + 1, holder, previous_token: 0, previous_holder };
    assert!(store.take(row.log, &row, &lease).await.expect("takes"));
    store.close().await.expect("closes");
}

/// What is left to be done about the signature of a log that was pruned.
async fn left(world: &World, with_config: bool) -> Option<String> {
    let config = GatewayConfig::load(&world.path("config/gateway.toml")).expect("own file");
    let place = Found { address: address(world), config: with_config.then(|| Box::new(config)) };
    let epochs = EpochKeys::read(&world.path("keys")).expect("keys");
    let mut store = Store::open(&place.address).await.expect("opens");
    let reader = Reader::open(&place.address).await.expect("opens");
    let left = Box::pin(prune::sign(&place, &reader, &mut store, ORIGIN, &epochs)).await;
    reader.close().await;
    store.close().await.expect("closes");
    left.map_err(|error| error.to_string()).expect("told, and no failure")
}

#[tokio::test]
async fn bodies_go_and_the_log_still_verifies() {
    let world = World::new();
    let exchange = world.record(&["12", "34"]).await[0].to_string();
    world.holds(&["prune", "--dir", "%"]).await;
    assert_eq!(world.count(kind::OPENING).await, 2, "nothing is ten years old");
    let now = crate::evidence::facts::time(Clock::system().unix_us());
    let prune = ["prune", "--dir", "%", "--contract", "ks.tax.v1.PropertyTaxService", "--before", &now];
    world.holds(&[&prune[..], &["--dry-run"]].concat()).await;
    assert_eq!(world.count(kind::OPENING).await, 2, "nothing was removed");
    world.holds(&prune).await;
    assert_eq!((world.count(kind::OPENING).await, world.count(kind::REMOVAL).await), (0, 1));
    world.does_not(&["find", &exchange, "--dir", "%"]).await;
    world.holds(&["verify", "--dir", "%"]).await;
    world.holds(&["export", "%/exported", "--dir", "%"]).await;
    world.holds(&["verify", "%/exported", "--key", "%/log-keys"]).await;
    let error = world.fails(&["prune", "--store", "sqlite:%/evidence.db"]).await;
    assert!(error.contains("--contract and --before"), "{error}");
    let error = world.fails(&["seal", ORIGIN, "--dir", "%"]).await;
    assert!(error.contains("own"), "{error}");
}

#[tokio::test]
async fn a_log_that_nobody_writes_is_signed_by_the_command() {
    let world = World::new();
    world.record(&["12", "34"]).await;
    remove(&world, &["--dir", "%"]).await;
    let (row, signed) = log(&world).await;
    assert_eq!(
        (signed, row.token, row.holder.as_str()),
        (row.size, 0, ""),
        "signed, and the lease given back"
    );
    let is_held = |path: &&PathBuf| path.extension().is_some_and(|end| end == "checkpoint");
    let held = files(&world.path("log-keys"));
    let held = fs::read_to_string(held.iter().find(is_held).expect("held")).expect("readable");
    assert_eq!(held.lines().nth(1), Some(signed.to_string().as_str()), "{held}");
    world.holds(&["verify", "--dir", "%", "--key", "%/log-keys/000001.log.pub"]).await;
    // It starts on that.
    world.record(&["56"]).await;
    hold(&world, &dead_process()).await;
    remove(&world, &["--dir", "%"]).await;
    let (row, signed) = log(&world).await;
    assert_eq!((signed, row.token), (row.size, 0), "a process that was killed holds nothing");
    world.holds(&["verify", "--dir", "%"]).await;
}

#[tokio::test]
async fn a_gateway_that_runs_signs_by_itself() {
    let world = World::new();
    world.record(&["12", "34"]).await;
    let (evidence, writer) = world.gateway().await;
    let (before, _) = log(&world).await;
    remove(&world, &["--dir", "%"]).await;
    world.holds(&["verify", "--dir", "%"]).await;
    let (after, _) = log(&world).await;
    let lease = |row: &LogRow| (row.token, row.holder.clone(), row.last_token);
    assert_eq!(lease(&after), lease(&before), "the gateway keeps its lease");
    submit(&evidence, &["56"]);
    World::stop(evidence, writer).await;
    assert_eq!((world.count(kind::OPENING).await, world.count(kind::REMOVAL).await), (1, 1));
    world.holds(&["verify", "--dir", "%"]).await;
}

#[tokio::test]
async fn where_the_log_key_is_not_at_hand_it_is_said_what_to_do() {
    let world = World::new();
    world.record(&["12"]).await;
    remove(&world, &["--store", "sqlite:%/evidence.db"]).await;
    world.does_not(&["verify", "--dir", "%"]).await;
    let (row, signed) = log(&world).await;
    assert_eq!(signed + 1, row.size, "the removal is not signed");
    let says = |left: Option<String>, what: &str| {
        let left = left.expect("something is to be done");
        assert!(left.contains(what) && left.contains("Start the gateway"), "{left}");
    };
    says(left(&world, false).await, "--config FILE");
    let folder = world.path("log-keys");
    let mode = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("own folder");
    mode(0o755);
    says(left(&world, true).await, "others may");
    mode(0o700);
    fs::rename(&folder, world.path("elsewhere")).expect("own folder");
    says(left(&world, true).await, "log-keys");
    assert!(!folder.exists(), "a command makes no key");
    fs::rename(world.path("elsewhere"), &folder).expect("own folder");
    // Run once more, with nothing left to remove, it signs what is there.
    remove(&world, &["--dir", "%"]).await;
    assert_eq!(left(&world, false).await, None);
    world.holds(&["verify", "--dir", "%"]).await;
}
