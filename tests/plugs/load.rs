//! Consumers that call all the time, each on a connection of its own, and remember what failed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{sync::watch, task::JoinSet};

use super::rig::wish;
use crate::world::{
    World,
    client::{Client, Ended, framed},
    patient,
};

pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<watch::Sender<usize>>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    pub async fn start(world: &World, callers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(watch::Sender::new(0));
        let mut load = Self { stop, answered, callers: JoinSet::new() };
        for number in 0..callers {
            let client = world.portal().await;
            load.callers.spawn(calls(client, number, load.stop.clone(), load.answered.clone()));
        }
        load
    }

    /// Waits until so many more calls have ended.
    pub async fn more(&self, calls: usize) {
        let mut answered = self.answered.subscribe();
        let wanted = *answered.borrow_and_update() + calls;
        patient(answered.wait_for(|count| *count >= wanted)).await.expect("somebody calls");
    }

    /// How many calls ended, and what was wrong with those that did not end well.
    pub async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = patient(self.callers.join_all()).await.concat();
        let answered = *self.answered.borrow();
        (answered, failed)
    }
}

/// One kind of call after another.
async fn calls(
    client: Client,
    number: usize,
    stop: Arc<AtomicBool>,
    answered: Arc<watch::Sender<usize>>,
) -> Vec<String> {
    let mut failed = Vec::new();
    let mut kind = number;
    while !stop.load(Ordering::Relaxed) {
        let (name, ended) = one(&client, kind).await;
        if ended.status() != 0 || ended.messages.is_empty() {
            failed.push(format!("{name}: {} {} {ended:?}", ended.status(), ended.reason()));
        }
        kind += 1;
        answered.send_modify(|count| *count += 1);
    }
    failed
}

async fn one(client: &Client, kind: usize) -> (&'static str, Ended) {
    match kind % 4 {
        0 => ("Read", client.call("Read", &[], &wish("")).await),
        1 => ("Down", client.call("Down", &[], &wish("flow:30,1000")).await),
        2 => ("Write", client.call("Write", &[("idempotency-key", "k")], &wish("")).await),
        _ => {
            let part = framed(&wish(""));
            let parts = [part.clone(), part.clone(), part];
            ("Up", client.send("Up", &[("idempotency-key", "k")], &parts).await)
        }
    }
}
