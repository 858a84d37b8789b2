//! A service as this gateway has it: its plugs, its places, its budget, its health. It stays while plugs come
//! and go. Knows no contracts and no calls.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::Instant};

use super::{
    budget::Budget,
    bulkhead::{Bulkhead, Crowded, Inside, Room},
    choice::{Shut, choose},
    health::{Health, ServiceHealth},
    seat::{InFlight, Plug, Seat},
    standing::Use,
};
use crate::directory::ServiceKey;

/// Why no plug can take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No adapter of the service is connected.
    NoPlug,
    /// Adapters are connected, but say that their register does not serve.
    NotServing,
    /// Each has as many calls as it may.
    Full,
    /// The calls on all of them fail.
    Failing {
        /// When the next may be tried; `None` while one is.
        until: Option<Instant>,
    },
}

/// A service as this gateway has it.
pub(super) struct Offer {
    pub(super) key: ServiceKey,
    pub(super) seats: ArcSwap<Vec<Arc<Seat>>>,
    bulkhead: Bulkhead,
    budget: Mutex<Budget>,
    /// The health that was told last, and since when.
    told: Mutex<(Health, Instant)>,
    /// Tells those who wait that something changed.
    changed: watch::Sender<u64>,
}

impl Offer {
    pub(super) fn new(key: ServiceKey, changed: watch::Sender<u64>) -> Self {
        Self {
            key,
            seats: ArcSwap::default(),
            bulkhead: Bulkhead::new(),
            budget: Mutex::new(Budget::new()),
            told: Mutex::new((Health::NoAdapter, Instant::now())),
            changed,
        }
    }

    /// Waits for a place in the service.
    pub(super) async fn enter(&self, room: Room, until: Instant) -> Result<Inside, Crowded> {
        self.bulkhead.enter(room, until).await
    }

    /// A plug for a call, but for those that it was already sent on.
    pub(super) fn pick(self: &Arc<Self>, calls_max: usize, tried: &[Arc<Plug>]) -> Result<InFlight, Missing> {
        let (seats, now) = (self.seats.load(), Instant::now());
        let mut missing = Missing::NoPlug;
        let untried = seats
            .iter()
            .enumerate()
            .filter(|(_, seat)| !tried.iter().any(|plug| Arc::ptr_eq(plug, &seat.plug)));
        let candidates = untried.filter_map(|(at, seat)| match seat.candidate(at, now, calls_max) {
            Ok(candidate) => Some(candidate),
            Err(why) => {
                if missing == Missing::NoPlug || why == Missing::Full {
                    missing = why;
                }
                None
            }
        });
        match choose(candidates, seats.len(), &mut rand::rng()) {
            None => Err(missing),
            Some(Err(Shut { until })) => Err(Missing::Failing { until }),
            Some(Ok(at)) => {
                let seat = seats.get(at).ok_or(Missing::NoPlug)?;
                Ok(InFlight::take(self.clone(), seat.clone(), now))
            }
        }
    }

    /// Whether some plug of it is connected.
    pub(super) fn has_plug(&self) -> bool {
        self.seats.load().iter().any(|seat| seat.plug.is_up())
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).answered();
    }

    /// A call failed; says whether it may be sent again.
    pub(super) fn failed(&self) -> bool {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).failed()
    }

    /// How it is doing.
    pub(super) fn health(&self) -> ServiceHealth {
        let (seats, now) = (self.seats.load(), Instant::now());
        let states = || seats.iter().filter_map(|seat| seat.state(now));
        let health = Health::of(states());
        let (told, since) = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (calls_in_flight, waiting) = self.bulkhead.load();
        ServiceHealth {
            service: self.key.clone(),
            health,
            since: if told == health { since } else { now },
            plugs: states().count(),
            out: states().filter(|(_, usable)| matches!(usable, Use::Out { .. })).count(),
            calls_in_flight,
            waiting,
        }
    }

    /// Looks at its health, and says where it changed.
    pub(super) fn look(&self) -> ServiceHealth {
        let found = self.health();
        let before = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let before = told.0;
            if before != found.health {
                *told = (found.health, found.since);
            }
            before
        };
        if before != found.health {
            let ServiceHealth { service, health, plugs, out, calls_in_flight, waiting, .. } = &found;
            let (contract, provider) = (&service.contract, &service.provider);
            if health.serves() {
                tracing::info!(%contract, %provider, %health, %before, plugs, out, calls_in_flight, waiting, "the health of a service changed");
            } else {
                tracing::warn!(%contract, %provider, %health, %before, plugs, out, calls_in_flight, waiting, "the health of a service changed");
            }
            if health.serves() != before.serves() {
                self.changed.send_modify(|count| *count += 1);
            }
        }
        found
    }
}
