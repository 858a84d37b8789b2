//! kill -9 of the gateway in the middle of its work, again and again: whoever got an answer has a
//! record, and what reached a register was recorded before.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};
use tokio::{sync::watch, task::JoinSet};
use ura_proto::ExchangeId;

use crate::{
    bus::{Bus, CIVIL, Plan, TAX, VEHICLES},
    portal::{Portal, Reply},
    world::patient,
};

const ROUNDS: usize = 20;
const CONNECTIONS: usize = 8;
const CALLS_IN_FLIGHT: usize = 64;

/// A call that every worker repeats.
#[derive(Clone)]
struct Ask {
    method: String,
    request: Value,
    /// Sent as metadata besides; for a write, the key is made for each call.
    metadata: Vec<(&'static str, &'static str)>,
    write: bool,
}

/// What a consumer got of a call: its exchange, whether anything of it is a write that succeeded.
struct Got {
    exchange: ExchangeId,
    done: Option<String>,
}

/// The state of a round.
struct Round {
    asks: Vec<Ask>,
    in_flight: AtomicUsize,
    answered: watch::Sender<usize>,
}

fn asks(bus: &Bus) -> Vec<Ask> {
    let people = &bus.population;
    let number = &people.people[20].personal_number;
    let ask = |method: String, request: Value| Ask { method, request, metadata: Vec::new(), write: false };
    let mut asks = vec![
        ask(
            format!("{CIVIL}/VerifyIdentity"),
            json!({ "personalNumber": number, "givenName": "A", "familyName": "B" }),
        ),
        ask(
            format!("{CIVIL}/GetBirthCertificateDocument"),
            json!({ "personalNumber": people.people[50].personal_number }),
        ),
        ask(format!("{TAX}/ListInvoices"), json!({ "personalNumber": number })),
        ask(format!("{VEHICLES}/GetVehicle"), json!({ "plate": people.vehicles[0].plate })),
    ];
    // Refused by the bus itself.
    let mut refused = ask(format!("{VEHICLES}/GetVehicle"), json!({ "plate": "01-101-AA" }));
    refused.metadata = vec![("ura-provider", "atk/property-tax")];
    asks.push(refused);
    let unpaid = people.invoices.iter().filter(|one| !one.cancelled && one.paid_cents == 0);
    asks.extend(unpaid.filter(|one| one.total_cents() > 2000).take(16).map(|invoice| {
        let request = json!({
            "uniref": invoice.uniref, "amount": { "currencyCode": "EUR", "minorUnits": 1 },
            "paidOn": { "year": 2026, "month": 6, "day": 1 }, "payer": { "name": "Çelik" },
        });
        Ask { write: true, ..ask(format!("{TAX}/ConfirmPayment"), request) }
    }));
    asks
}

/// Asks one thing after another until the connection breaks.
async fn work(portal: Portal, round: Arc<Round>, name: String, first: usize) -> Vec<Got> {
    let mut got = Vec::new();
    for at in first.. {
        let ask = &round.asks[at % round.asks.len()];
        let key = format!("{name}-{at}");
        let mut metadata = ask.metadata.clone();
        if ask.write {
            metadata.push(("idempotency-key", &key));
        }
        round.in_flight.fetch_add(1, Ordering::Relaxed);
        let Reply { ended, .. } = portal.ask_with(&ask.method, &metadata, ask.request.clone()).await;
        round.in_flight.fetch_sub(1, Ordering::Relaxed);
        if ended.headers.contains_key("ura-exchange-id") {
            let done = (ask.write && ended.status() == 0).then(|| key.clone());
            got.push(Got { exchange: ended.exchange(), done });
        }
        if ended.reset.is_some() {
            return got;
        }
        round.answered.send_modify(|count| *count += 1);
    }
    got
}

/// One round: 64 calls in flight at all times, and the kill after so many answers.
async fn kill_under_load(bus: &mut Bus, number: usize, answers: usize) -> Vec<Got> {
    let (answered, mut answers_seen) = watch::channel(0);
    let round = Arc::new(Round { asks: asks(bus), in_flight: AtomicUsize::new(0), answered });
    let mut workers = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let portal = bus.portal().await;
        for worker in 0..CALLS_IN_FLIGHT / CONNECTIONS {
            let name = format!("r{number}-c{connection}-w{worker}");
            workers.spawn(work(portal.clone(), round.clone(), name, connection * 5 + worker * 7));
        }
    }
    patient(answers_seen.wait_for(|seen| *seen >= answers)).await.expect("answers");
    let gateway = bus.gateway.take().expect("it runs");
    gateway.kill();
    assert_eq!(round.in_flight.load(Ordering::Relaxed), CALLS_IN_FLIGHT, "in flight at the kill");
    patient(workers.join_all()).await.into_iter().flatten().collect()
}

/// A sequence that its seed fixes (splitmix64).
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    usize::try_from(mixed >> 40).expect("24 bits")
}

#[tokio::test]
async fn whoever_got_an_answer_has_a_record_after_kill_9() {
    let seed: u64 =
        std::env::var("URA_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("URA_TEST_SEED={seed}");
    let mut state = seed;
    let mut bus = Bus::start(Plan { postgres: true, connections: Some(8), ..Plan::default() }).await;
    let (mut answers, mut paid) = (0, BTreeSet::new());
    for number in 0..ROUNDS {
        let got = kill_under_load(&mut bus, number, 64 + next(&mut state) % 256).await;
        // The store opens as the kill left it, in the next gateway and for a reader.
        bus.gateway = Some(bus.start_gateway().await);
        assert!(!got.is_empty(), "round {number}");
        for one in &got {
            let records = bus.records(one.exchange).await;
            assert_eq!(
                records.openings.len(),
                1,
                "round {number}: {} was answered: {records:?}",
                one.exchange
            );
            if let Some(key) = &one.done {
                assert_eq!(records.closing().status, 0, "round {number}: {key} ended before its closing");
                paid.insert(key.clone());
            }
        }
        answers += got.len();
        bus.plugged(bus.gateway()).await;
    }
    println!("{answers} answers and {} payments had their records", paid.len());
    writes_were_recorded_first(&bus, &paid).await;
    log_is_whole(&bus).await;
}

/// Not from the clock: from the address of something, which the system makes random.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Every write that the register saw was sent to it once, after its opening was on disk.
async fn writes_were_recorded_first(bus: &Bus, paid: &BTreeSet<String>) {
    let requests = bus.requests("property-tax").await;
    let writes: Vec<&Value> = requests.iter().filter(|request| request["method"] == "POST").collect();
    let mut keys = BTreeSet::new();
    for write in &writes {
        let header = |name: &str| write["headers"][name].as_str().unwrap_or_default().to_owned();
        let key = header("idempotency-key");
        assert!(keys.insert(key.clone()), "{key} reached the register twice");
        let exchange: ExchangeId = header("ura-exchange-id").parse().expect("an exchange id");
        let records = bus.records(exchange).await;
        assert_eq!(records.opening().method, format!("{TAX}/ConfirmPayment"));
        assert_eq!(records.opening().refusal, "");
    }
    assert!(paid.is_subset(&keys), "what a consumer was told to be paid reached the register");
    let counted: u64 = bus
        .ask_mocks("/payments")
        .await
        .as_object()
        .expect("counts")
        .values()
        .filter_map(Value::as_u64)
        .sum();
    let done = writes.iter().filter(|write| write["status"] == 201).count();
    assert!(counted >= u64::try_from(done).expect("few"), "{counted} counted, {done} answered");
    assert!(counted <= u64::try_from(keys.len()).expect("few"), "{counted} counted, {} sent", keys.len());
    assert!(counted >= u64::try_from(paid.len()).expect("few"), "every payment that was told was counted");
    println!("{} writes reached the register, {counted} counted", keys.len());
}

/// The log has no gap and no page of it is damaged.
async fn log_is_whole(bus: &Bus) {
    let mut store = sqlx::SqliteConnection::connect(&bus.store()).await.expect("opens");
    let row =
        sqlx::query("select count(*), min(log_index), max(log_index) from entry").fetch_one(&mut store).await;
    let row = row.expect("counted");
    let (count, first, last): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((first, last), (0, count - 1), "indexes without gaps");
    let check: String =
        sqlx::query_scalar("pragma integrity_check").fetch_one(&mut store).await.expect("checked");
    assert_eq!(check, "ok");
    store.close().await.expect("closes");
}
