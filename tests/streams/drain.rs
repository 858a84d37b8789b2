//! Connections that end in order: nothing in hand is lost, and what is not taken was never sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};
use ura_runtime::process::Shutdown;

use super::rig::{leave, log_counts, wish};
use crate::world::{
    Plan, World,
    client::{Client, Ended},
    patient,
};

/// Whether a call was not taken by a connection that ends: the stream was never processed.
fn is_not_taken(ended: &Ended) -> bool {
    const WORDS: [&str; 3] = ["canceled", "channel closed", "not a result of an error"];
    let error = ended.reset.as_deref().unwrap_or_default();
    ended.headers.is_empty() && WORDS.iter().any(|word| error.contains(word))
}

#[tokio::test]
async fn a_connection_ends_with_its_age_and_its_calls_end_well() {
    let world = World::with(Plan {
        limits: "connection_age_ms = 200\ndrain_timeout_ms = 1".to_owned(),
        ..Plan::default()
    })
    .await;
    let client = world.portal().await;
    let mut call = client.start("Read", &[]);
    call.message(&wish("wait")).await;
    call.close();
    world.probe.until(|calls| calls.len() == 1 && calls[0].messages == 1).await;
    let refused = patient(async {
        loop {
            let ended = client.call("Read", &[], &wish("")).await;
            if ended.status() != 0 {
                return ended;
            }
        }
    });
    let refused = refused.await;
    assert!(is_not_taken(&refused), "{refused:?}");
    let calls = world.probe.calls().len();
    world.probe.release();
    assert_eq!(patient(call.ended()).await.status(), 0, "the call in hand");
    assert_eq!(world.probe.calls().len(), calls, "the refused call came nowhere");
    assert_eq!(world.portal().await.call("Read", &[], &wish("")).await.status(), 0, "a new connection");
    world.end().await;
}

/// Callers that call one after another, each on its own connection, until theirs takes no more.
struct Load {
    answered: Arc<AtomicUsize>,
    progress: watch::Sender<usize>,
    callers: JoinSet<Option<Ended>>,
}

impl Load {
    async fn start(world: &World, callers: usize, stop: &watch::Sender<bool>) -> Self {
        let mut load =
            Self { answered: Arc::default(), progress: watch::Sender::new(0), callers: JoinSet::new() };
        for number in 0..callers {
            let client = world.portal().await;
            let (answered, progress, stop) = (load.answered.clone(), load.progress.clone(), stop.subscribe());
            load.callers.spawn(async move {
                while !*stop.borrow() {
                    let ended = one(&client, number).await;
                    if ended.status() != 0 {
                        return Some(ended);
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                    progress.send_modify(|count| *count += 1);
                }
                None
            });
        }
        load
    }

    /// Waits until so many more calls are answered.
    async fn more(&self, calls: usize) {
        let mut progress = self.progress.subscribe();
        let wanted = *progress.borrow_and_update() + calls;
        patient(progress.wait_for(|count| *count >= wanted)).await.expect("somebody calls");
    }

    /// How the callers ended, and how many calls were answered.
    async fn end(mut self) -> (Vec<Ended>, usize) {
        let mut refused = Vec::new();
        while let Some(ended) = patient(self.callers.join_next()).await {
            refused.extend(ended.expect("no panic"));
        }
        (refused, self.answered.load(Ordering::SeqCst))
    }
}

async fn one(client: &Client, number: usize) -> Ended {
    match number % 3 {
        0 => client.call("Read", &[], &wish("")).await,
        1 => client.call("Down", &[], &wish("flow:3,1000")).await,
        _ => client.call("Write", &[("idempotency-key", "k")], &wish("")).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_drains_answers_what_it_took() {
    let mut world = World::new().await;
    let stop = watch::Sender::new(false);
    let load = Load::start(&world, 12, &stop).await;
    load.more(50).await;
    let in_hand = world.portal().await;
    let mut call = in_hand.start("Read", &[("x-in-hand", "1")]);
    call.message(&wish("wait")).await;
    call.close();
    world
        .probe
        .until(|calls| calls.iter().any(|call| call.headers.contains_key("x-in-hand") && call.messages == 1))
        .await;
    load.more(50).await;
    world.shutdown.drain();
    let (refused, answered) = load.end().await;
    assert_eq!(refused.len(), 12, "every connection ended");
    for ended in &refused {
        assert!(is_not_taken(ended), "{ended:?}");
    }
    world.probe.release();
    assert_eq!(patient(call.ended()).await.status(), 0, "the call in hand");
    patient(world.gateway.take().expect("running").finished()).await;
    let all = answered + 1;
    assert_eq!(log_counts(&world.store).await, (all, all), "evidence is complete");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapters_may_restart_under_load() {
    let world = World::new().await;
    let stop = watch::Sender::new(false);
    let load = Load::start(&world, 12, &stop).await;
    let mut last = None;
    for _ in 0..4 {
        load.more(30).await;
        let shutdown = Shutdown::new();
        let next = world.plug("arc/probe", &world.probe, &shutdown).await;
        patient(next.plugged_in()).await.expect("plugged in");
        match last.replace((next, shutdown)) {
            Some((before, shutdown)) => leave(before, &shutdown).await,
            None => world.adapter_shutdown.drain(),
        }
    }
    load.more(30).await;
    stop.send_replace(true);
    let (failed, answered) = load.end().await;
    assert!(failed.is_empty(), "{failed:?}");
    assert!(answered >= 150);
    let (adapter, shutdown) = last.expect("the last");
    leave(adapter, &shutdown).await;
    world.end().await;
}

#[tokio::test]
async fn plugs_are_there_until_the_last_consumer_of_a_draining_gateway_is_gone() {
    let world = World::new().await;
    let client = world.portal().await;
    world.shutdown.drain();
    // As long as the connection takes calls, they are answered.
    let refused = patient(async {
        loop {
            let ended = client.call("Read", &[], &wish("")).await;
            if ended.status() != 0 {
                return ended;
            }
        }
    });
    let refused = tokio::time::timeout(Duration::from_secs(30), refused).await.expect("it ends");
    assert!(is_not_taken(&refused), "{refused:?}");
    world.end().await;
}
