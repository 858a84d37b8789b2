//! A gateway that is told to stop: calls in flight are answered, and where the next process already
//! listens on the same port and store, nobody notices.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};
use ura_evidence::entry::kind;
use ura_proto::{
    ExchangeId,
    v1::{Outcome, entry::Kind},
};

use crate::{
    bus::{Bus, CIVIL, Plan, TAX, VEHICLES},
    consumer::Consumer,
    portal::{Portal, frame, purpose},
    process::ura,
    world::{
        EvidenceStore, Records, patient,
        store::{Store, on_each_store, verified},
    },
};

on_each_store!(a_restart_with_overlap_is_noticed_by_nobody);

/// Calls that wait at the register when the gateway is told to stop.
const WAITING: usize = 24;
/// How long the register takes, in milliseconds: longer than the gateway needs to begin its drain.
const REGISTER_MS: u64 = 2500;

#[tokio::test]
async fn sigterm_lets_calls_in_flight_end() {
    let mut bus = Bus::start(Plan { patient: true, ..Plan::default() }).await;
    let portal = bus.portal().await;
    bus.fault("property-tax", json!({ "delay_ms": REGISTER_MS })).await;
    let unpaid = bus.population.invoices.iter().filter(|one| !one.cancelled && one.paid_cents == 0);
    let mut calls = JoinSet::new();
    for (at, invoice) in unpaid.take(WAITING).enumerate() {
        let (portal, uniref) = (portal.clone(), invoice.uniref.clone());
        calls.spawn(async move {
            if at % 2 == 0 {
                return portal.ask(&format!("{TAX}/GetInvoice"), json!({ "uniref": uniref })).await;
            }
            let key = format!("leaving-{at}");
            let request = payment(&uniref);
            portal.ask_with(&format!("{TAX}/ConfirmPayment"), &[("idempotency-key", &key)], request).await
        });
    }
    let open = |log: &[Value]| log.iter().filter(|request| request["state"] == "open").count();
    bus.requests_until("property-tax", |log| open(log) == WAITING).await;
    let mut gateway = bus.gateway.take().expect("it runs");
    gateway.signal("TERM");
    gateway.says(&[" draining connections="]).await;
    let refused = tokio::net::TcpStream::connect(&bus.address).await;
    assert!(refused.is_err(), "who drains does not listen");

    let replies = patient(calls.join_all()).await;
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(portal.client.is_closed());
    for reply in replies {
        assert_eq!(reply.ended.status(), 0, "{reply:?}");
        let records = bus.records(reply.ended.exchange()).await;
        assert_eq!(
            (records.openings.len(), records.closing().status),
            (1, 0),
            "complete when the process ends"
        );
    }
}

fn payment(uniref: &str) -> Value {
    json!({
        "uniref": uniref, "amount": { "currencyCode": "EUR", "minorUnits": 1 },
        "paidOn": { "year": 2026, "month": 6, "day": 1 }, "payer": { "name": "Blerta" },
    })
}

const CONSUMERS: usize = 12;
const RESTARTS: usize = 3;
/// Calls of each consumer before and after a restart.
const CALLS_BETWEEN: usize = 10;

/// What all consumers of a test share.
struct Load {
    stop: AtomicBool,
    done: [watch::Sender<usize>; CONSUMERS],
    unirefs: Vec<String>,
    person: String,
    plate: String,
}

/// What one consumer saw.
struct Saw {
    answered: Vec<ExchangeId>,
    failed: Vec<String>,
    connections: usize,
    again: Vec<String>,
}

/// Asks one thing after another until it is told to stop.
async fn consume(mut consumer: Consumer, load: Arc<Load>, own: usize) -> Saw {
    let (mut answered, mut failed) = (Vec::new(), Vec::new());
    for at in 0.. {
        if load.stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("load-{own}-{at}");
        let (method, request) = match at % 4 {
            0 => (format!("{TAX}/ConfirmPayment"), payment(&load.unirefs[at % load.unirefs.len()])),
            1 => (format!("{CIVIL}/ListFamilyMembers"), json!({ "personalNumber": load.person })),
            2 => (format!("{CIVIL}/GetBirthCertificateDocument"), json!({ "personalNumber": load.person })),
            _ => (format!("{VEHICLES}/GetVehicle"), json!({ "plate": load.plate })),
        };
        let mut metadata = vec![("ura-purpose", purpose(&method))];
        if at % 4 == 0 {
            metadata.push(("idempotency-key", &key));
        }
        match consumer.call(&format!("/{method}"), &metadata, frame(&method, request)).await {
            Ok(ended) if ended.status() == 0 => answered.push(ended.exchange()),
            Ok(ended) => failed.push(format!("{method}: {} {}", ended.status(), ended.reason())),
            Err(why) => failed.push(format!("{method}: {why}")),
        }
        load.done[own].send_modify(|count| *count += 1);
    }
    Saw { answered, failed, connections: consumer.connections, again: consumer.again }
}

impl Load {
    fn new(bus: &Bus) -> Arc<Self> {
        let people = &bus.population;
        let unpaid = people.invoices.iter().filter(|one| !one.cancelled && one.paid_cents == 0);
        let unpaid = unpaid.filter(|one| one.total_cents() > 2000).map(|one| one.uniref.clone());
        Arc::new(Self {
            stop: AtomicBool::new(false),
            done: std::array::from_fn(|_| watch::channel(0).0),
            unirefs: unpaid.collect(),
            person: crate::relatives::child(people).1.personal_number.clone(),
            plate: people.vehicles[0].plate.clone(),
        })
    }

    /// Waits until every consumer has made so many more calls.
    async fn more(&self, calls: usize) {
        for done in &self.done {
            let mut done = done.subscribe();
            let from = *done.borrow();
            patient(done.wait_for(|now| *now >= from + calls)).await.expect("the consumers go on");
        }
    }
}

async fn a_restart_with_overlap_is_noticed_by_nobody(on: EvidenceStore) {
    let mut bus = Bus::start(Plan { evidence_store: on, ..Plan::default() }).await;
    let load = Load::new(&bus);
    let mut consumers = JoinSet::new();
    for own in 0..CONSUMERS {
        let consumer = Consumer::new(bus.identity("ais/portal"), &bus.address);
        consumers.spawn(consume(consumer, load.clone(), own));
    }
    for _ in 0..RESTARTS {
        load.more(CALLS_BETWEEN).await;
        let mut before = bus.gateway.take().expect("it runs");
        // It listens on the same port, beside the one before, when this returns; and both write the log.
        bus.gateway = Some(bus.start_gateway_under(ura(), &["--take-over"]).await);
        before.signal("TERM");
        bus.plugged(bus.gateway()).await;
        assert_eq!(before.ended().await.code(), Some(0));
    }
    load.more(CALLS_BETWEEN).await;
    load.stop.store(true, Ordering::Relaxed);
    let saw = patient(consumers.join_all()).await;

    let failed: Vec<&String> = saw.iter().flat_map(|saw| &saw.failed).collect();
    assert!(failed.is_empty(), "{} calls failed: {:#?}", failed.len(), &failed[..failed.len().min(5)]);
    let connections: usize = saw.iter().map(|saw| saw.connections).sum();
    assert!(connections >= CONSUMERS * (RESTARTS + 1), "{connections} connections: consumers moved");
    let again: Vec<&String> = saw.iter().flat_map(|saw| &saw.again).collect();
    println!("{connections} connections, {} calls sent again: {again:?}", again.len());

    let mut gateway = bus.gateway.take().expect("it runs");
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
    evidence_is_whole(&bus, saw.iter().flat_map(|saw| &saw.answered)).await;
    let counted = bus.ask_mocks("/payments").await;
    let counted: u64 = counted.as_object().expect("counts").values().filter_map(Value::as_u64).sum();
    let log = bus.requests("property-tax").await;
    let keys: BTreeSet<&str> =
        log.iter().filter_map(|write| write["headers"]["idempotency-key"].as_str()).collect();
    assert_eq!(counted, u64::try_from(keys.len()).expect("few"), "each payment counts once");
}

/// The log of all processes together: every exchange opened and closed by who had it in hand, the tree whole and
/// signed to its end.
async fn evidence_is_whole(bus: &Bus, answered: impl Iterator<Item = &ExchangeId>) {
    let reader = bus.reader().await;
    let mut count = 0;
    for exchange in answered {
        let records = Records::read(&reader, *exchange).await;
        assert_eq!((records.openings.len(), records.closing().status), (1, 0), "{exchange}");
        count += 1;
    }
    let report = verified(&reader, &bus.path("log-keys")).await;
    assert_eq!(report.unsigned, 0, "{report:?}");
    assert_eq!(report.kinds.get(&kind::STARTED), Some(&(RESTARTS as u64 + 1)), "{report:?}");
    let of_exchanges = Store::open(&bus.store).await.exchanges().await;
    let unknown = of_exchanges.iter().filter(
        |entry| matches!(&entry.kind, Some(Kind::Closing(closing)) if closing.outcome() == Outcome::Unknown),
    );
    assert_eq!(unknown.count(), 0, "nobody's exchange was taken for lost");
    println!("{count} exchanges in {} records", report.size);
}

#[tokio::test]
async fn a_restart_without_overlap_is_survived_by_adapters() {
    let mut bus = Bus::start(Plan { connections: Some(8), ..Plan::default() }).await;
    bus.gateway.take().expect("it runs").kill();
    bus.gateway = Some(bus.start_gateway().await);
    // Asked at once, before any adapter is back: the call waits for it.
    let portal: Portal = bus.portal().await;
    let request = json!({ "plate": bus.population.vehicles[0].plate });
    portal.get(&format!("{VEHICLES}/GetVehicle"), request).await;
}
