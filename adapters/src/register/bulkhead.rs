//! Keeps one register's trouble to itself: a bound on calls in flight, and a breaker that answers
//! at once while the register cannot be reached and tries it until it is back.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{Backend, failure::Failure};
use crate::plan::RegisterPlan;

/// Places at the register, its health, and the task that tries it while it cannot be reached.
pub(crate) struct Bulkhead {
    places: Arc<Semaphore>,
    wait: Duration,
    health: Health,
    probing: JoinHandle<()>,
}

/// Lets whoever learns it say that the register cannot be reached. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Health {
    up: Arc<watch::Sender<bool>>,
    /// For the log: without user and password.
    address: Arc<str>,
}

impl Health {
    /// Takes note of a failure.
    pub(crate) fn note(&self, failure: &Failure) {
        if failure.is_unreachable() {
            let was = self.up.send_replace(false);
            if was {
                self.warn(failure);
            }
        }
    }

    fn warn(&self, failure: &Failure) {
        tracing::warn!(register = %self.address, detail = %failure.detail, "the register cannot be reached");
    }
}

impl Bulkhead {
    /// Tries the register once and begins to watch it.
    pub(crate) async fn start(plan: &RegisterPlan, backend: Arc<Backend>, address: &str) -> Self {
        let probe = async |backend: &Backend| {
            timeout(plan.timeout, backend.probe())
                .await
                .unwrap_or_else(|_| Err(Failure::unreachable("the probe took too long")))
        };
        let first = probe(&backend).await;
        let up = Arc::new(watch::Sender::new(first.is_ok()));
        let health = Health { up, address: address.into() };
        if let Err(failure) = &first {
            health.warn(failure);
        }
        let (every, limit) = (plan.probe, plan.timeout);
        let watched = health.clone();
        let probing = tokio::spawn(async move {
            let mut state = watched.up.subscribe();
            // The sender lives in this task: waiting cannot fail.
            while state.wait_for(|up| !up).await.is_ok() {
                tokio::time::sleep(every).await;
                if let Ok(Ok(())) = timeout(limit, backend.probe()).await {
                    watched.up.send_replace(true);
                    tracing::info!(register = %watched.address, "the register can be reached again");
                }
            }
        });
        Self { places: Arc::new(Semaphore::new(plan.calls_in_flight_max)), wait: plan.wait, health, probing }
    }

    pub(crate) fn health(&self) -> watch::Receiver<bool> {
        self.health.up.subscribe()
    }

    pub(crate) fn handle(&self) -> Health {
        self.health.clone()
    }

    pub(crate) fn note(&self, failure: &Failure) {
        self.health.note(failure);
    }

    /// A place at the register, free until it is dropped.
    pub(crate) async fn enter(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit, Failure> {
        // While it cannot be reached nobody waits for a timeout: the probe finds out when it is back.
        if !*self.health.up.borrow() {
            return Err(Failure::unreachable("known to be unreachable, being probed"));
        }
        let wait = Instant::now() + self.wait;
        let until = deadline.map_or(wait, |deadline| deadline.min(wait));
        match tokio::time::timeout_at(until, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Failure::overloaded("no free place at the register")),
        }
    }
}

impl Drop for Bulkhead {
    fn drop(&mut self) {
        self.probing.abort();
    }
}
