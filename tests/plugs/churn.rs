//! Many adapters that plug in, vanish and return while others work: those lose nothing, and memory returns to
//! where it was.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    many::{Many, Running, resident_kib},
    rig::wish,
};
use crate::world::{
    client::{Client, Ended, framed},
    patient,
    relay::Relay,
};

/// Adapters that stay.
const HEALTHY: usize = 8;
/// The service that several adapters answer, of which some stay and the others leave in order.
const SHARED: &str = "arc/shared";
const SHARED_STAY: usize = 2;
/// Adapters behind one relay, which vanish together.
const BEHIND_A_RELAY: usize = 10;
/// Calls of each caller in a second, at most.
const CALLS_EACH_SECOND: u64 = 100;
/// Calls before memory is looked at.
const WARM_CALLS: usize = 1_000;

/// How many come and go, and for how long.
struct Plan {
    leave: usize,
    cut_relays: usize,
    silent_relays: usize,
    /// Each comes and goes at least once.
    lasts: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapters_that_come_and_go_disturb_nobody() {
    let plan = Plan { leave: 12, cut_relays: 1, silent_relays: 1, lasts: Duration::from_secs(1) };
    Box::pin(run(plan)).await;
}

/// 200 of them for ten minutes: `./test plugs-long`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "ten minutes"]
async fn two_hundred_adapters_come_and_go_for_ten_minutes() {
    let plan = Plan { leave: 100, cut_relays: 6, silent_relays: 4, lasts: Duration::from_mins(10) };
    Box::pin(run(plan)).await;
}

/// Names of the systems of a kind.
fn systems(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("arc/{kind}-{number}")).collect()
}

async fn run(plan: Plan) {
    let healthy = systems("healthy", HEALTHY);
    let cut = systems("cut", plan.cut_relays * BEHIND_A_RELAY);
    let silent = systems("silent", plan.silent_relays * BEHIND_A_RELAY);
    let providers: Vec<String> = [&healthy[..], &cut, &silent, &[SHARED.to_owned()]].concat();
    let vanishing = [&cut[..], &silent].concat();
    let bus = Many::start(&providers).await;
    let mut memory = Memory::new(bus.gateway.pid());
    memory.look("nobody plugged in");

    let staying_systems = healthy.iter().map(String::as_str).chain([SHARED; SHARED_STAY]);
    let staying = join_all(staying_systems.map(|system| bus.adapter(system, &bus.address))).await;
    let leaving = join_all((0..plan.leave).map(|_| bus.adapter(SHARED, &bus.address))).await;
    let cut = groups(&bus, &cut).await;
    let silent = groups(&bus, &silent).await;
    let behind = cut.iter().chain(&silent).flat_map(|group| &group.adapters);
    join_all(staying.iter().chain(&leaving).chain(behind).map(|adapter| adapter.connections(2))).await;

    let load = Load::start(&bus, &healthy, &vanishing).await;
    load.more(WARM_CALLS).await;
    memory.look("all plugged in");

    let until = Instant::now() + plan.lasts;
    let mut churn = JoinSet::new();
    for group in cut {
        churn.spawn(group.vanish(Way::Cut, until));
    }
    for group in silent {
        churn.spawn(group.vanish(Way::Silence, until));
    }
    let (leaving, left) = leave_and_return(&bus, leaving, until).await;
    let groups = churn.join_all().await;
    let vanished: usize = groups.iter().map(|group| group.times * group.adapters.len()).sum();
    load.more(WARM_CALLS).await;
    memory.look("all plugged in again");

    let told = load.end().await;
    println!("{left} left in order and returned, {vanished} vanished and returned");
    for (whom, tally) in &told {
        println!("{whom}: {} calls, {} failed", tally.calls, tally.failed.len());
    }
    let (before, after) = (memory.gateway_kib("all plugged in"), memory.gateway_kib("all plugged in again"));
    for group in groups {
        join_all(group.adapters.into_iter().map(Running::leave)).await;
        group.relay.end().await;
    }
    join_all(staying.into_iter().chain(leaving).map(Running::leave)).await;
    memory.look("nobody plugged in any more");
    for whom in ["healthy", "shared"] {
        let failed = &told[whom].failed;
        assert!(
            failed.is_empty(),
            "{} calls of {whom} failed: {:#?}",
            failed.len(),
            &failed[..failed.len().min(5)]
        );
    }
    let failed = &told["vanishing"].failed;
    let honest = |failure: &&String| !failure.starts_with("REGISTER_UNAVAILABLE");
    let odd: Vec<&String> = failed.iter().filter(honest).collect();
    assert!(odd.is_empty(), "{} calls ended oddly: {:#?}", odd.len(), &odd[..odd.len().min(5)]);
    assert!(after <= before + before / 4 + (16 << 10), "the gateway grew from {before} KiB to {after} KiB");
    bus.end().await;
}

/// What the processes hold at each stage.
struct Memory {
    gateway: u32,
    seen: Vec<(&'static str, u64)>,
}

impl Memory {
    fn new(gateway: u32) -> Self {
        Self { gateway, seen: Vec::new() }
    }

    fn look(&mut self, stage: &'static str) {
        let gateway = resident_kib(self.gateway);
        let own = resident_kib(std::process::id());
        println!("{stage}: gateway {} MiB, adapters and consumers {} MiB", gateway >> 10, own >> 10);
        self.seen.push((stage, gateway));
    }

    fn gateway_kib(&self, stage: &str) -> u64 {
        self.seen.iter().find(|(seen, _)| *seen == stage).expect("looked at").1
    }
}

/// Some adapters leave in order and return, again and again: each at least once. Returns how often.
async fn leave_and_return(bus: &Many, mut adapters: Vec<Running>, until: Instant) -> (Vec<Running>, usize) {
    let at_once = adapters.len().div_ceil(4);
    let least = adapters.len();
    let mut left = 0;
    while left < least || Instant::now() < until {
        let going: Vec<Running> = adapters.drain(..at_once).collect();
        join_all(going.into_iter().map(Running::leave)).await;
        let returning = join_all((0..at_once).map(|_| bus.adapter(SHARED, &bus.address))).await;
        join_all(returning.iter().map(|adapter| adapter.connections(2))).await;
        adapters.extend(returning);
        left += at_once;
    }
    (adapters, left)
}

/// How adapters vanish.
#[derive(Clone, Copy)]
enum Way {
    /// Their connections end.
    Cut,
    /// Nothing is heard of them.
    Silence,
}

/// Adapters behind a relay.
struct Group {
    relay: Relay,
    adapters: Vec<Running>,
    /// How often they vanished.
    times: usize,
}

async fn groups(bus: &Many, systems: &[String]) -> Vec<Group> {
    let groups = systems.chunks(BEHIND_A_RELAY).map(async |systems| {
        let relay = Relay::to(&bus.address).await;
        let address = relay.address();
        let adapters = join_all(systems.iter().map(|system| bus.adapter(system, &address))).await;
        Group { relay, adapters, times: 0 }
    });
    join_all(groups).await
}

impl Group {
    /// All vanish and return, again and again: at least once.
    async fn vanish(mut self, way: Way, until: Instant) -> Self {
        while self.times == 0 || Instant::now() < until {
            match way {
                Way::Cut => self.relay.block(),
                Way::Silence => self.relay.silence(),
            }
            join_all(self.adapters.iter().map(|adapter| adapter.connections(0))).await;
            self.relay.open();
            join_all(self.adapters.iter().map(|adapter| adapter.connections(2))).await;
            self.times += 1;
        }
        self
    }
}

/// What became of the calls of some services.
#[derive(Default)]
struct Tally {
    calls: usize,
    failed: Vec<String>,
}

/// Callers: of those that stay, of the shared service, of those that vanish.
struct Load {
    stop: Arc<AtomicBool>,
    /// Calls of those that must not fail.
    ended: Arc<watch::Sender<usize>>,
    callers: JoinSet<(&'static str, Tally)>,
}

impl Load {
    async fn start(bus: &Many, healthy: &[String], vanishing: &[String]) -> Self {
        let mut load =
            Self { stop: Arc::default(), ended: Arc::new(watch::Sender::new(0)), callers: JoinSet::new() };
        let shared = [SHARED.to_owned()];
        for (whom, providers) in [
            ("healthy", healthy),
            ("healthy", healthy),
            ("healthy", healthy),
            ("healthy", healthy),
            ("shared", &shared),
            ("shared", &shared),
            ("shared", &shared),
            ("shared", &shared),
            ("vanishing", vanishing),
        ] {
            let client = bus.portal().await;
            let ended = (whom != "vanishing").then(|| load.ended.clone());
            load.callers.spawn(calls(client, whom, providers.to_vec(), load.stop.clone(), ended));
        }
        load
    }

    /// Waits until so many more calls have ended.
    async fn more(&self, calls: usize) {
        let mut ended = self.ended.subscribe();
        let wanted = *ended.borrow_and_update() + calls;
        patient(ended.wait_for(|count| *count >= wanted)).await.expect("somebody calls");
    }

    async fn end(mut self) -> BTreeMap<&'static str, Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut told: BTreeMap<&'static str, Tally> = BTreeMap::new();
        while let Some(caller) = patient(self.callers.join_next()).await {
            let (whom, tally) = caller.expect("no panic");
            let all = told.entry(whom).or_default();
            all.calls += tally.calls;
            all.failed.extend(tally.failed);
        }
        told
    }
}

/// Calls one provider after another at a steady rate, or as fast as they answer.
async fn calls(
    client: Client,
    whom: &'static str,
    providers: Vec<String>,
    stop: Arc<AtomicBool>,
    ended: Option<Arc<watch::Sender<usize>>>,
) -> (&'static str, Tally) {
    let mut tally = Tally::default();
    let mut pace = tokio::time::interval(Duration::from_millis(1000 / CALLS_EACH_SECOND));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in 0.. {
        pace.tick().await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let provider = &providers[number % providers.len()];
        let answer = one(&client, provider, number / providers.len() + number).await;
        tally.calls += 1;
        if answer.status() != 0 || answer.messages.is_empty() {
            tally.failed.push(format!("{} {} of {provider}: {answer:?}", answer.reason(), answer.outcome()));
        }
        if let Some(ended) = &ended {
            ended.send_modify(|count| *count += 1);
        }
    }
    (whom, tally)
}

async fn one(client: &Client, provider: &str, kind: usize) -> Ended {
    let read = [("ura-provider", provider)];
    let write = [("ura-provider", provider), ("idempotency-key", "k")];
    match kind % 4 {
        0 => client.call("Read", &read, &wish("")).await,
        1 => client.call("Down", &read, &wish("")).await,
        2 => client.call("Write", &write, &wish("")).await,
        _ => {
            let part = framed(&wish(""));
            client.send("Up", &write, &[part.clone(), part]).await
        }
    }
}
