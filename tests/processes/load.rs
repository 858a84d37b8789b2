//! Consumers that keep 64 calls in flight and remember all that they are told. Know nothing of the log.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};
use ura_evidence::receipt::{Trailer, framed};
use ura_proto::ExchangeId;

use crate::{
    bus::{Bus, CIVIL, TAX, VEHICLES},
    portal::{Portal, frame, purpose},
    world::{client::Ended, patient},
};

pub const CALLS_IN_FLIGHT: usize = 64;
const CONNECTIONS: usize = 8;
/// Longer replies are not kept.
const KEPT_BYTES_MAX: usize = 16_384;

/// A call that consumers repeat.
#[derive(Clone)]
pub struct Ask {
    method: String,
    frame: Bytes,
    /// Sent as metadata besides; for a write, the key is made for each call.
    metadata: Vec<(&'static str, &'static str)>,
    write: bool,
}

/// What a consumer was told of one call.
#[derive(Debug)]
pub struct Told {
    /// Where it was told so much.
    pub exchange: Option<ExchangeId>,
    /// gRPC status; -1: the connection broke before the end.
    pub status: i32,
    /// The bus's own reason, and what it says of the register's side.
    pub reason: String,
    pub outcome: String,
    /// Messages of the reply.
    pub messages: usize,
    /// Idempotency key; writes have one.
    pub key: Option<String>,
    pub trailer: Option<Trailer>,
    /// Request and reply as they travelled, of calls that were answered.
    pub kept: Option<(Bytes, Vec<u8>)>,
}

impl Told {
    fn of(ask: &Ask, key: &str, ended: &Ended) -> Self {
        let trailer = ended.trailers.get("ura-receipt").map(|value| {
            let text = value.to_str().expect("text");
            text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
        });
        let (status, is_whole) = (ended.status(), ended.reset.is_none());
        let (mut reason, mut outcome) = (String::new(), String::new());
        if status > 0 {
            (reason, outcome) = (ended.reason(), ended.outcome());
        }
        let bytes: usize = ended.messages.iter().map(Bytes::len).sum();
        let kept = (status == 0 && bytes <= KEPT_BYTES_MAX).then(|| {
            let reply = ended.messages.iter().map(|message| framed(message).expect("short"));
            (ask.frame.clone(), reply.collect::<Vec<_>>().concat())
        });
        Self {
            exchange: ended.headers.contains_key("ura-exchange-id").then(|| ended.exchange()),
            status: if is_whole { status } else { -1 },
            reason,
            outcome,
            messages: ended.messages.len(),
            key: ask.write.then(|| key.to_owned()),
            trailer,
            kept,
        }
    }

    /// Refused because it could not be recorded.
    pub fn is_unrecorded(&self) -> bool {
        self.reason == "EVIDENCE_UNAVAILABLE"
    }

    /// Whether the gap counts it. A write that was executed is told apart: its opening stands in the log, only its
    /// closing comes later.
    pub fn is_counted(&self) -> bool {
        self.is_unrecorded() && (self.key.is_none() || self.outcome == "never_sent")
    }
}

/// What was told so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub answered: usize,
    /// Refused because they could not be recorded.
    pub unrecorded: usize,
}

/// What the consumers of a round share.
struct Shared {
    asks: Vec<Ask>,
    in_flight: AtomicUsize,
    stop: AtomicBool,
    counts: watch::Sender<Counts>,
}

/// Consumers at work.
pub struct Load {
    shared: Arc<Shared>,
    consumers: JoinSet<Vec<Told>>,
}

impl Load {
    /// Connects, and begins to ask. `name` begins the keys of its writes.
    pub async fn start(bus: &Bus, asks: &[Ask], name: &str) -> Self {
        let shared = Arc::new(Shared {
            asks: asks.to_vec(),
            in_flight: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            counts: watch::channel(Counts::default()).0,
        });
        let mut consumers = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let portal = bus.portal().await;
            for worker in 0..CALLS_IN_FLIGHT / CONNECTIONS {
                let name = format!("{name}-c{connection}-w{worker}");
                consumers.spawn(consume(portal.clone(), shared.clone(), name, connection * 5 + worker * 7));
            }
        }
        Self { shared, consumers }
    }

    /// Waits until they were told so much.
    pub async fn until(&self, told: impl Fn(&Counts) -> bool) -> Counts {
        let mut counts = self.shared.counts.subscribe();
        *patient(counts.wait_for(told)).await.expect("its sender is here")
    }

    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Calls in flight at this moment.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// They have got the answers to their last calls, and ask no more.
    pub async fn stop(self) -> Vec<Told> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let told = self.broken().await;
        assert!(told.iter().all(|one| one.status >= 0), "no connection broke");
        told
    }

    /// All their connections are broken.
    pub async fn broken(self) -> Vec<Told> {
        patient(self.consumers.join_all()).await.into_iter().flatten().collect()
    }
}

/// Asks one thing after another until it is told to stop, or the connection breaks.
async fn consume(portal: Portal, shared: Arc<Shared>, name: String, first: usize) -> Vec<Told> {
    let mut told = Vec::new();
    for at in first.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let ask = &shared.asks[at % shared.asks.len()];
        let key = format!("{name}-{at}");
        let mut metadata = vec![("ura-purpose", purpose(&ask.method))];
        metadata.extend(&ask.metadata);
        if ask.write {
            metadata.push(("idempotency-key", &key));
        }
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        let path = format!("/{}", ask.method);
        let ended = portal.client.send(&path, &metadata, std::slice::from_ref(&ask.frame)).await;
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        let one = Told::of(ask, &key, &ended);
        let (is_over, unrecorded) = (one.status < 0, usize::from(one.is_unrecorded()));
        told.push(one);
        if is_over {
            break;
        }
        shared.counts.send_modify(|counts| {
            counts.answered += 1 - unrecorded;
            counts.unrecorded += unrecorded;
        });
    }
    told
}

/// Reads and writes of three registers, and a call that the bus refuses.
pub fn asks(bus: &Bus) -> Vec<Ask> {
    let people = &bus.population;
    let number = &people.people[20].personal_number;
    let ask = |method: String, request: Value| Ask {
        frame: frame(&method, request),
        method,
        metadata: Vec::new(),
        write: false,
    };
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
        // Its reply names the owner: two records before it leaves.
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
