//! Two gateways on one PostgreSQL: what befalls the one is nothing to the other. One that stands still in the middle of
//! a transaction hinders nobody, one that is gone has its log ended by the other, and never do two write one log.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Instant,
};

use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;
use ura_evidence::{
    entry::kind,
    find::Found,
    keys::log_keys_of_file,
    receipt::{self, Kept, Receipt},
    source::Source,
    store::ROWS_MAX,
    verify::{Place, Problem, SealedBy, Trust, verify},
};
use ura_log::checkpoint;
use ura_proto::v1::{Outcome, entry::Kind};
use ura_runtime::clock::Clock;

use crate::{
    bus::{TAX, VEHICLES},
    load::{self, CALLS_IN_FLIGHT, Load, Told},
    pair::{FIRST_AGAIN, Pair, SECOND, export_by_command, trailer, waiting},
    portal::Portal,
    process::Process,
    world::{patient, store::ORIGIN},
};

/// The shortest possible.
const SEAL_SOON: &str = "seal_after_ms = 5000\n";
/// Calls that are open when the first gateway is killed, and how many of them at least have no end: some are turned away.
const OPEN_MIN: usize = CALLS_IN_FLIGHT / 2;
const UNKNOWN_MIN: usize = OPEN_MIN / 2;
/// Consumers of the second gateway.
const CONSUMERS: usize = 8;
/// Rounds of calls of each.
const ROUNDS: usize = 12;
/// Calls of the second answered while the first stood still in its transaction, which the server ends after 10 s.
const ANSWERED_MIN: usize = 16;

/// What the entries of a log say, in their order.
async fn said(pair: &Pair, origin: &str) -> Vec<Kind> {
    let log = pair.log(origin).await;
    let mut said = Vec::new();
    loop {
        let from = u64::try_from(said.len()).expect("few");
        let page = pair.reader.entries(log.log, from, ROWS_MAX).await.expect("readable");
        if page.is_empty() {
            return said;
        }
        for row in page {
            let found = Found::of(&origin.into(), row).unwrap_or_else(|error| panic!("{error}"));
            said.push(found.into_entry().expect("nothing was removed").kind.expect("a kind"));
        }
    }
}

/// The log of the first gateway has ended: by a word of the second, with every exchange closed, under its key.
async fn assert_ended(pair: &Pair, reason: &str, told: &[Told], unknown_min: usize) {
    let log = pair.log(ORIGIN).await;
    assert!(log.sealed);
    let said = said(pair, ORIGIN).await;
    let Some(Kind::Seal(seal)) = said.last() else { panic!("the last entry is {:?}", said.last()) };
    assert_eq!((seal.by.as_str(), seal.reason.as_str()), (SECOND, reason));
    assert_eq!(said.iter().filter(|said| matches!(said, Kind::Seal(_))).count(), 1);
    let unknown = |said: &&Kind| matches!(said, Kind::Closing(one) if one.outcome() == Outcome::Unknown);
    let unknown = said.iter().filter(unknown).count();
    assert!(unknown >= unknown_min, "{unknown} were closed");
    let unclosed = pair.reader.unclosed(log.log, 0, log.size, 1).await.expect("readable");
    assert_eq!(unclosed, [], "no exchange is left open");
    let (first, second) = (pair.key(ORIGIN), pair.key(SECOND));
    let last = pair.reader.newest_checkpoint(log.log).await.expect("readable").expect("a checkpoint");
    let (signed, _) =
        checkpoint::open(&last.note, std::slice::from_ref(&second)).expect("signed by the second");
    assert_eq!((signed.origin.as_str(), signed.size), (ORIGIN, log.size));
    let by = |verified| Some(SealedBy { by: SECOND.to_owned(), size: log.size, verified });
    let both = pair.verified(ORIGIN, &[first.clone(), second], told).await;
    assert_eq!((both.signed_size, both.sealed), (log.size, by(true)));
    // With the dead gateway's own key alone: all that it signed, and one thing more, that nobody vouches for the end.
    let own = pair.judged(ORIGIN, &[first], told).await;
    assert!(own.signed_size > 0 && own.signed_size < log.size, "{own:?}");
    assert_end_alone(&own.problems, own.signed_size, log.size);
    let shown = own.sealed.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(shown.starts_with(&format!("sealed with {} entries by {SECOND}", log.size)), "{shown}");
    assert_eq!(own.sealed, by(false));
}

/// Kills the first gateway (SIGKILL) with calls in hand that are recorded and not answered.
async fn killed(pair: &mut Pair, load: Load) -> Vec<Told> {
    // Longer than the rest of the test: whoever asks this register waits.
    pair.bus.fault("property-tax", serde_json::json!({ "delay_ms": 60_000 })).await;
    let since_us = Clock::system().unix_us();
    let waits = async {
        loop {
            let log = pair.log(ORIGIN).await;
            let open =
                Box::pin(pair.reader.unclosed(log.log, 0, log.size, ROWS_MAX)).await.expect("readable");
            let of_register =
                open.iter().map(|row| &row.columns).filter(|columns| columns.method.starts_with(TAX));
            if of_register.filter(|columns| columns.recorded_us > since_us).count() >= OPEN_MIN {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    patient(waits).await;
    pair.bus.gateway.take().expect("it runs").kill();
    pair.bus.fault("property-tax", serde_json::json!({})).await;
    load.broken().await
}

/// All that is wrong is that the key of who ended the log is not trusted.
fn assert_end_alone(problems: &[Problem], from: u64, until: u64) {
    let [problem] = problems else { panic!("{problems:#?}") };
    assert_eq!(problem.place, Place::Entries { from, until });
    assert!(problem.what.contains(SECOND) && problem.what.contains("--key"), "{problem}");
}

/// A start that is refused since somebody writes the log.
async fn refused(pair: &Pair, config: &str, holder: &Process) {
    let mut twin = Process::ura("gateway", &pair.bus.path(config), &[]);
    assert_eq!(twin.ended().await.code(), Some(1));
    let said = twin.lines().join("\n");
    for part in ["is in use by process", &format!("/{}/", holder.pid()), "two origins", "--take-over"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("the gateway listens"), "{said}");
}

/// The log of a gateway that lives is sealed by nobody.
fn refused_to_seal(pair: &Pair) {
    for (origin, config, holder, says) in [
        (ORIGIN, "gateway-2.toml", pair.bus.gateway(), "which lives; stop that gateway first"),
        (SECOND, "gateway.toml", &pair.second, "which lives; stop that gateway first"),
    ] {
        let (code, said) = pair.seal_by_command(origin, config);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(says) && said.contains(&format!("/{}/", holder.pid())), "{said}");
    }
    let (code, said) = pair.seal_by_command(SECOND, "gateway-2.toml");
    assert!(code == Some(2) && said.contains("is this gateway's own"), "{said}");
}

#[tokio::test]
async fn the_log_of_a_killed_gateway_is_sealed_by_the_other() {
    let mut pair = Box::pin(Pair::start(SEAL_SOON)).await;
    let load = Load::start(&pair.bus, &load::asks(&pair.bus), "first").await;
    load.until(|counts| counts.answered > 2 * CALLS_IN_FLIGHT).await;
    // Each writes its own log, and knows the other's.
    let replies = pair.ask(&pair.portal().await, "second").await;
    assert!(replies.iter().all(|reply| trailer(reply).log == SECOND));
    let reply = pair.ask(&pair.bus.portal().await, "early").await.remove(0);
    assert_eq!(trailer(&reply).log, ORIGIN);
    for keys in [&[ORIGIN, SECOND][..], &[ORIGIN], &[SECOND]] {
        pair.verify_by_command(keys);
    }
    refused(&pair, "gateway.toml", pair.bus.gateway()).await;
    refused(&pair, "gateway-2.toml", &pair.second).await;
    refused_to_seal(&pair);
    let (exchange, keys) = (reply.ended.exchange(), [pair.key(ORIGIN)]);
    pair.bus.closed(exchange).await;
    let early = patient(async {
        loop {
            match Box::pin(receipt::make(&pair.reader, exchange, None, &[])).await {
                Ok(receipt) => return receipt.to_json(),
                // It is signed within a second.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let told = Box::pin(killed(&mut pair, load)).await;
    pair.second.says(&["a log is sealed", ORIGIN]).await;
    pair.listed(&[(ORIGIN, true), (SECOND, false)]).await;
    assert_ended(&pair, "no sign of life for 5 s", &told, UNKNOWN_MIN).await;
    for keys in [&[ORIGIN, SECOND][..], &[SECOND]] {
        pair.verify_by_command(keys);
    }
    let trust = receipt::Trust { keys: keys.to_vec(), ..receipt::Trust::default() };
    let kept = Kept { request: None, reply: None, trailer: Some(&trailer(&reply)) };
    receipt::verify(&Receipt::from_json(&early).expect("a receipt"), &trust, &kept).expect("it still holds");
    exported(&pair).await;
    // Started again it goes on by itself, and is listed.
    pair.bus.gateway = Some(pair.bus.start_gateway().await);
    pair.bus.plugged(pair.bus.gateway()).await;
    let replies = pair.ask(&pair.bus.portal().await, "again").await;
    assert!(replies.iter().all(|reply| trailer(reply).log == FIRST_AGAIN));
    pair.listed(&[(ORIGIN, true), (SECOND, false), (FIRST_AGAIN, false)]).await;
    pair.verify_by_command(&[SECOND]);
    pair.ask(&pair.portal().await, "later").await;
    pair.reader.close().await;
}

/// An export of the sealed log verifies with the keys that it names, and with the dead gateway's own alone.
async fn exported(pair: &Pair) {
    let folder = pair.bus.path("export");
    export_by_command(pair, ORIGIN, "gateway-2.toml", &folder);
    let log = pair.log(ORIGIN).await;
    let own = Source::folder(&folder).expect("an export").own_keys().to_vec();
    assert_eq!(own, [pair.key(ORIGIN), pair.key(SECOND)]);
    for (keys, verified) in [(own, true), (vec![pair.key(ORIGIN)], false)] {
        let trust = Trust { keys, ..Trust::default() };
        let report = verify(Source::folder(&folder).expect("an export"), &trust, |_, _| {}).await;
        let report = report.expect("readable");
        match verified {
            true => assert_eq!(report.problems, []),
            false => assert_end_alone(&report.problems, report.signed_size, log.size),
        }
        assert_eq!((report.size, report.signed_size == log.size), (log.size, verified));
        assert!(report.signed_size > 0);
        assert_eq!(report.sealed.map(|sealed| sealed.verified), Some(verified));
    }
}

#[tokio::test]
async fn a_log_is_sealed_by_hand_when_its_gateway_is_gone() {
    let mut pair = Box::pin(Pair::start("")).await;
    let load = Load::start(&pair.bus, &load::asks(&pair.bus), "first").await;
    load.until(|counts| counts.answered > CALLS_IN_FLIGHT).await;
    refused_to_seal(&pair);
    let told = Box::pin(killed(&mut pair, load)).await;
    let (code, said) = pair.seal_by_command(ORIGIN, "gateway-2.toml");
    let log = pair.log(ORIGIN).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("log {ORIGIN} is sealed at {} entries", log.size)), "{said}");
    pair.listed(&[(ORIGIN, true), (SECOND, false)]).await;
    assert_ended(&pair, "by hand", &told, UNKNOWN_MIN).await;
    let (code, said) = pair.seal_by_command(ORIGIN, "gateway-2.toml");
    assert!(code == Some(2) && said.contains("sealed already"), "{said}");
    pair.ask(&pair.portal().await, "after").await;
    pair.reader.close().await;
}

/// What consumers of the second gateway do meanwhile.
struct Meanwhile {
    /// Calls that were answered, the first still in its transaction after the answer.
    answered: AtomicUsize,
    over: AtomicBool,
}

impl Meanwhile {
    /// Consumers of the second gateway ask, and the server is asked again and again whether the second waits for
    /// anybody.
    async fn of(pair: &Pair) -> usize {
        let meanwhile = Self { answered: AtomicUsize::new(0), over: AtomicBool::new(false) };
        let watched = async {
            let mut connection = pair.connection().await;
            let mut looks = 0;
            while !meanwhile.over.load(Ordering::Relaxed) {
                assert_eq!(waiting(&mut connection).await, Vec::<String>::new());
                looks += 1;
            }
            looks
        };
        let asked = async {
            let consumers = (0..CONSUMERS).map(|consumer| meanwhile.consume(pair, consumer));
            futures_util::future::join_all(consumers).await;
            meanwhile.over.store(true, Ordering::Relaxed);
        };
        let (looks, ()) = tokio::join!(watched, asked);
        assert!(looks > 0);
        meanwhile.answered.into_inner()
    }

    async fn consume(&self, pair: &Pair, consumer: usize) {
        let portal: Portal = pair.portal().await;
        let mut connection = pair.connection().await;
        for round in 0..ROUNDS {
            let replies = pair.ask(&portal, &format!("meanwhile-{consumer}-{round}")).await;
            assert!(replies.iter().all(|reply| trailer(reply).log == SECOND));
            if pair.is_locked(&mut connection, ORIGIN).await {
                self.answered.fetch_add(replies.len(), Ordering::Relaxed);
            }
        }
    }
}

#[tokio::test]
async fn one_that_stands_still_in_a_transaction_hinders_no_other() {
    let pair = Box::pin(Pair::start("")).await;
    let mut connection: PgConnection = pair.connection().await;
    let load = Load::start(&pair.bus, &load::asks(&pair.bus), "first").await;
    load.until(|counts| counts.answered > CALLS_IN_FLIGHT).await;
    pair.stop_in_transaction(&mut connection).await;
    let before = load.counts();
    let answered = Meanwhile::of(&pair).await;
    assert!(answered >= ANSWERED_MIN, "{answered} calls were answered while the first stood still");
    assert_eq!(load.counts().answered, before.answered, "it stood still all the time");
    refused_to_seal(&pair);
    pair.bus.gateway().signal("CONT");
    load.until(|counts| counts.answered > before.answered + 2 * CALLS_IN_FLIGHT).await;
    let told = load.stop().await;
    // Whoever does hinder it is seen.
    let mut hindering = connection.begin().await.expect("begun");
    let lock = sqlx::query("select log from log where origin = $1 for update").bind(SECOND);
    lock.fetch_one(&mut *hindering).await.expect("locked");
    let mut watching = pair.connection().await;
    patient(async { while waiting(&mut watching).await.is_empty() {} }).await;
    hindering.rollback().await.expect("given back");
    for (origin, told) in [(ORIGIN, &told[..]), (SECOND, &[])] {
        assert!(!pair.log(origin).await.sealed);
        let report = pair.verified(origin, &[pair.key(origin)], told).await;
        assert_eq!(report.kinds.get(&kind::STARTED), Some(&1), "{report:?}");
    }
    pair.listed(&[(ORIGIN, false), (SECOND, false)]).await;
    pair.reader.close().await;
}

#[tokio::test]
async fn one_that_was_sealed_while_it_stood_still_goes_on_in_the_next_log() {
    let pair = Box::pin(Pair::start(SEAL_SOON)).await;
    let mut connection = pair.connection().await;
    let load = Load::start(&pair.bus, &load::asks(&pair.bus), "first").await;
    load.until(|counts| counts.answered > CALLS_IN_FLIGHT).await;
    pair.stop_in_transaction(&mut connection).await;
    // The server ends the transaction, and the second the log.
    pair.second.says(&["a log is sealed", ORIGIN]).await;
    pair.listed(&[(ORIGIN, true), (SECOND, false)]).await;
    let (sealed, before) = (pair.log(ORIGIN).await, load.counts());
    pair.bus.gateway().signal("CONT");
    pair.bus.gateway().says(&["the log is written again", FIRST_AGAIN]).await;
    load.until(|counts| counts.answered > before.answered + 2 * CALLS_IN_FLIGHT).await;
    let told = load.stop().await;
    pair.listed(&[(ORIGIN, true), (SECOND, false), (FIRST_AGAIN, false)]).await;
    let now = pair.log(ORIGIN).await;
    assert_eq!((now.size, now.token, now.sealed), (sealed.size, 0, true), "nobody wrote it any more");
    assert_ended(&pair, "no sign of life for 5 s", &told, 0).await;
    let keys = log_keys_of_file(&pair.bus.path("log-keys")).expect("public keys");
    let again = pair.verified(FIRST_AGAIN, &keys, &told).await;
    assert_eq!(again.kinds.get(&kind::STARTED), Some(&1), "{again:?}");
    let logs = told.iter().filter_map(|one| Some(one.trailer.as_ref()?.log.as_str()));
    assert_eq!(logs.collect::<BTreeSet<_>>(), [ORIGIN, FIRST_AGAIN].into());
    pair.verify_by_command(&[SECOND]);
    pair.reader.close().await;
}

/// Windows of each kind, and calls in each: one window is over before the server ends the transaction.
const WINDOWS: usize = 5;
const CALLS: usize = 600;

/// Durations of single calls of the second gateway, in microseconds.
async fn measured(pair: &Pair) -> Vec<u128> {
    let mut consumers = JoinSet::new();
    let plate = pair.bus.population.vehicles[0].plate.clone();
    for _ in 0..CONSUMERS {
        let (portal, plate) = (pair.portal().await, plate.clone());
        consumers.spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..CALLS / CONSUMERS {
                let request = serde_json::json!({ "plate": plate });
                let begun = Instant::now();
                portal.get(&format!("{}/GetVehicle", VEHICLES), request).await;
                taken.push(begun.elapsed().as_micros());
            }
            taken
        });
    }
    consumers.join_all().await.concat()
}

fn print(name: &str, mut taken: Vec<u128>) {
    taken.sort_unstable();
    let at = |part: usize| taken[(taken.len() * part / 1000).min(taken.len() - 1)];
    println!(
        "{name}: {} calls, p50 {} µs, p90 {} µs, p99 {} µs, p99.9 {} µs, longest {} µs",
        taken.len(),
        at(500),
        at(900),
        at(990),
        at(999),
        at(1000)
    );
}

#[tokio::test]
#[ignore = "a measurement: prints how long calls take beside a gateway that stands still"]
async fn measure_calls_beside_one_that_stands_still() {
    let pair = Box::pin(Pair::start("")).await;
    let mut connection = pair.connection().await;
    measured(&pair).await;
    let (mut idle, mut stopped) = (Vec::new(), Vec::new());
    for window in 0..WINDOWS {
        idle.extend(measured(&pair).await);
        let load = Load::start(&pair.bus, &load::asks(&pair.bus), &format!("w{window}")).await;
        load.until(|counts| counts.answered > CALLS_IN_FLIGHT).await;
        pair.stop_in_transaction(&mut connection).await;
        stopped.extend(measured(&pair).await);
        assert!(pair.is_locked(&mut connection, ORIGIN).await, "the window was too long");
        pair.bus.gateway().signal("CONT");
        load.stop().await;
    }
    print("the first serves nobody          ", idle);
    print("the first stopped in transaction ", stopped);
    pair.reader.close().await;
}
