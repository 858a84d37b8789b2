//! kill -9 of the gateway in the middle of its work, again and again, and immediate stops of the database under it:
//! whoever got an answer has a record, what reached a register was recorded before, every receipt holds, and all it
//! takes to go on is to start again.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Connection as _;
use ura_evidence::keys::LogKeys;

use crate::{
    book::{self, Book},
    bus::{Bus, Plan},
    load::{self, Ask, CALLS_IN_FLIGHT, Load, Told},
    random::Random,
    world::{EvidenceStore, postgres::Postgres, store::ORIGIN},
};

/// Rounds of the short tests.
const ROUNDS: usize = 20;
/// Rounds of the long ones.
const ROUNDS_LONG: usize = 100;
/// Answers of a round before the blow, at most.
const ANSWERS_MAX: usize = 256;
/// Turns of the test between the last answer and the blow, at most: the gateway goes on meanwhile.
const TURNS_MAX: usize = 2000;

/// What befalls the bus in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// kill -9 of the gateway.
    Kill,
    /// The database is stopped at once and started again; the gateway lives through it.
    Stop,
    /// The database is stopped, and the gateway killed meanwhile.
    Both,
}

/// The server of the evidence store, of which one at a time disposes.
#[derive(Clone)]
struct Server(Arc<Mutex<Postgres>>);

impl Server {
    async fn start() -> Self {
        let started = tokio::task::spawn_blocking(|| Postgres::start(&[])).await;
        Self(Arc::new(Mutex::new(started.expect("it starts"))))
    }

    fn url(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).url()
    }

    /// Does something to it, while the consumers go on.
    async fn on(&self, what: fn(&mut Postgres)) {
        let server = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            what(&mut server.lock().unwrap_or_else(PoisonError::into_inner));
        });
        done.await.expect("it is done");
    }
}

/// The rounds so far.
struct Rounds {
    bus: Bus,
    server: Option<Server>,
    asks: Vec<Ask>,
    random: Random,
    told: Vec<Told>,
    /// What the gateway held apart from the store after each blow.
    checkpoints: Vec<String>,
    kills: usize,
    stops: usize,
}

impl Rounds {
    /// On PostgreSQL the store has a server of its own.
    async fn start(on: EvidenceStore) -> Self {
        let random = Random::of_environment();
        let server = if on == EvidenceStore::Sqlite { None } else { Some(Server::start().await) };
        let evidence_store = server.as_ref().map_or(on, |server| EvidenceStore::At(server.url()));
        let plan = Plan { postgres: true, evidence_store, connections: Some(8), ..Plan::default() };
        let bus = Bus::start(plan).await;
        let asks = load::asks(&bus);
        let (told, checkpoints) = (Vec::new(), Vec::new());
        Self { bus, server, asks, random, told, checkpoints, kills: 0, stops: 0 }
    }

    /// 64 calls in flight at all times, and the blow at a random moment.
    async fn round(&mut self, number: usize, blow: Blow) {
        let load = Load::start(&self.bus, &self.asks, &format!("r{number}")).await;
        let answers = 1 + self.random.below(ANSWERS_MAX);
        load.until(|counts| counts.answered >= answers).await;
        for _ in 0..self.random.below(TURNS_MAX) {
            tokio::task::yield_now().await;
        }
        let told = match blow {
            Blow::Kill => {
                self.kill(&load);
                load.broken().await
            }
            Blow::Stop => {
                self.server().on(Postgres::stop_immediately).await;
                load.until(|counts| counts.unrecorded > 0).await;
                self.server().on(Postgres::start_again).await;
                let before = load.counts().answered;
                load.until(|counts| counts.answered > before + CALLS_IN_FLIGHT).await;
                load.stop().await
            }
            Blow::Both => {
                let (server, turns) = (self.server(), self.random.below(TURNS_MAX));
                let stopped = tokio::spawn(async move { server.on(Postgres::stop_immediately).await });
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                self.kill(&load);
                stopped.await.expect("stopped");
                self.server().on(Postgres::start_again).await;
                load.broken().await
            }
        };
        assert!(told.len() >= answers, "round {number}");
        self.told.extend(told);
        self.stops += usize::from(blow != Blow::Kill);
        let held = LogKeys::read(&self.bus.path("log-keys"), ORIGIN).and_then(|keys| keys.read_held());
        self.checkpoints.extend(held.expect("whatever the moment, it can be read"));
        if blow != Blow::Stop {
            self.kills += 1;
            // Nobody mends anything: it is started again.
            self.bus.gateway = Some(self.bus.start_gateway().await);
            self.bus.plugged(self.bus.gateway()).await;
        }
    }

    fn server(&self) -> Server {
        self.server.clone().expect("on PostgreSQL")
    }

    fn kill(&mut self, load: &Load) {
        self.bus.gateway.take().expect("it runs").kill();
        assert_eq!(load.in_flight(), CALLS_IN_FLIGHT, "in flight at the kill");
    }

    /// Everything that was told agrees with the log, the log with itself, and the registers with both.
    async fn hold(self) {
        let Self { bus, told, checkpoints, kills, stops, .. } = self;
        let book = Book::read(&bus).await;
        told.iter().for_each(|one| book.holds(one));
        assert!(book.unknown > 0, "each kill leaves calls in flight");
        assert_eq!(book.processes, kills + 1);
        let counted = told.iter().filter(|one| one.is_counted()).count();
        assert!(book.refused() <= counted, "{} counted, {counted} refused", book.refused());
        assert!((stops == 0) == (book.refused() == 0), "{:?}", book.gaps);
        let trailers = told.iter().filter(|one| one.trailer.is_some()).count();
        println!(
            "{kills} kills, {stops} stops of the database; {} calls, {trailers} receipts, {counted} not recorded and \
             refused, {} of them counted in {} gaps; {} entries; {} exchanges cut off by a kill",
            told.len(),
            book.refused(),
            book.gaps.len(),
            book.entries,
            book.unknown
        );
        book::writes(&bus, &book, &told).await;
        book::receipts(&bus, &book, &told).await;
        book::whole(&bus, &told, checkpoints).await;
        no_page_is_damaged(&bus).await;
    }
}

async fn whoever_got_an_answer_has_a_record(on: EvidenceStore, rounds: usize) {
    let rounds = std::env::var("URA_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(rounds);
    let mut all = Rounds::start(on).await;
    let blows: &[Blow] = match all.server {
        Some(_) => &[Blow::Kill, Blow::Stop, Blow::Kill, Blow::Both, Blow::Kill],
        None => &[Blow::Kill],
    };
    for (number, blow) in blows.iter().cycle().take(rounds).enumerate() {
        all.round(number, *blow).await;
    }
    all.hold().await;
}

#[tokio::test]
async fn whoever_got_an_answer_has_a_record_after_kill_9_on_sqlite() {
    Box::pin(whoever_got_an_answer_has_a_record(EvidenceStore::Sqlite, ROUNDS)).await;
}

#[tokio::test]
async fn whoever_got_an_answer_has_a_record_after_kill_9_and_stops_of_postgres() {
    Box::pin(whoever_got_an_answer_has_a_record(EvidenceStore::Postgres, ROUNDS)).await;
}

#[tokio::test]
#[ignore = "minutes long: ./test evidence-long"]
async fn a_hundred_kills_on_sqlite() {
    Box::pin(whoever_got_an_answer_has_a_record(EvidenceStore::Sqlite, ROUNDS_LONG)).await;
}

#[tokio::test]
#[ignore = "minutes long: ./test evidence-long"]
async fn a_hundred_kills_and_stops_on_postgres() {
    Box::pin(whoever_got_an_answer_has_a_record(EvidenceStore::Postgres, ROUNDS_LONG)).await;
}

async fn no_page_is_damaged(bus: &Bus) {
    if bus.store.starts_with("sqlite:") {
        let mut store = sqlx::SqliteConnection::connect(&bus.store).await.expect("opens");
        let check: String =
            sqlx::query_scalar("pragma integrity_check").fetch_one(&mut store).await.expect("checked");
        assert_eq!(check, "ok");
        store.close().await.expect("closes");
    }
}
