//! The table of plugs: who can answer which service now.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::Instant};

use super::{
    bulkhead::{Crowded, Inside, Room},
    health::ServiceHealth,
    offer::{Missing, Offer},
    seat::{InFlight, Plug, Seat},
};
use crate::{call::peers::Peers, directory::ServiceKey};

/// Contracts accepted on a plug, each with its health.
type Contracts = HashMap<Arc<str>, Arc<AtomicBool>>;

/// All plugs of this gateway.
pub(crate) struct Plugs {
    /// Every service that ever had a plug.
    offers: ArcSwap<HashMap<ServiceKey, Arc<Offer>>>,
    /// Every plug; changed under this lock only, and `offers` with it.
    all: Mutex<Vec<(Arc<Plug>, Contracts)>>,
    changed: watch::Sender<u64>,
    /// Held by each consumer's connection.
    askers: watch::Sender<()>,
    calls_per_plug_max: usize,
    peers: Arc<Peers>,
}

impl Plugs {
    /// An empty table.
    pub(crate) fn new(calls_per_plug_max: usize) -> Self {
        let (changed, _) = watch::channel(0);
        let (askers, _) = watch::channel(());
        Self {
            offers: ArcSwap::default(),
            all: Mutex::default(),
            changed,
            askers,
            calls_per_plug_max,
            peers: Arc::default(),
        }
    }

    /// Who is connected, in whatever role.
    pub(crate) fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// To be held by a connection that asks: plugs stay through a drain for as long.
    pub(crate) fn asker(&self) -> watch::Receiver<()> {
        self.askers.subscribe()
    }

    /// Waits until no connection asks any more.
    pub(super) async fn nobody_asks(&self) {
        self.askers.closed().await;
    }

    /// Calls that one plug may have at once.
    pub(super) fn calls_per_plug_max(&self) -> usize {
        self.calls_per_plug_max
    }

    fn offer(&self, service: &ServiceKey) -> Option<Arc<Offer>> {
        self.offers.load().get(service).cloned()
    }

    /// Waits for a place in a service. `None`: it has no plug, and so no places.
    pub(crate) async fn place(
        &self,
        service: &ServiceKey,
        room: Room,
        until: Instant,
    ) -> Option<Result<Inside, Crowded>> {
        let offer = self.offer(service)?;
        Some(offer.enter(room, until).await)
    }

    /// A plug for a call, but for those on which it failed already.
    pub(crate) fn pick(&self, service: &ServiceKey, tried: &[Arc<Plug>]) -> Result<InFlight, Missing> {
        self.offer(service).ok_or(Missing::NoPlug)?.pick(self.calls_per_plug_max, tried)
    }

    /// Waits until some adapter of the service is connected, at most until `until`.
    pub(crate) async fn wait_for(&self, service: &ServiceKey, until: Instant) {
        let has_plug = || self.offers.load().get(service).is_some_and(|offer| offer.has_plug());
        if has_plug() {
            return;
        }
        let mut changes = self.changed.subscribe();
        while !has_plug() {
            if tokio::time::timeout_at(until, changes.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Word of each change of plugs or their health; the value counts them.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How a service is doing; `None` where it never had a plug.
    pub(crate) fn health_of(&self, service: &ServiceKey) -> Option<ServiceHealth> {
        self.offer(service).map(|offer| offer.look())
    }

    /// How all services are doing that ever had a plug.
    pub(crate) fn health(&self) -> Vec<ServiceHealth> {
        self.offers.load().values().map(|offer| offer.look()).collect()
    }

    /// Contracts that some plug answers, each with whether one of its services is healthy.
    pub(crate) fn contracts(&self) -> HashMap<Arc<str>, bool> {
        let mut found = HashMap::new();
        for service in self.health().into_iter().filter(|service| service.plugs > 0) {
            *found.entry(service.service.contract).or_insert(false) |= service.health.serves();
        }
        found
    }

    /// Enters a plug with the contracts accepted on it, or changes them.
    pub(super) fn enter(&self, plug: &Arc<Plug>, contracts: Contracts) {
        self.change(|all| match all.iter_mut().find(|(known, _)| Arc::ptr_eq(known, plug)) {
            Some((_, known)) => *known = contracts,
            None => all.push((plug.clone(), contracts)),
        });
    }

    /// Takes a plug out.
    pub(super) fn remove(&self, plug: &Arc<Plug>) {
        plug.leave();
        self.change(|all| all.retain(|(known, _)| !Arc::ptr_eq(known, plug)));
    }

    /// Tells those who wait that a plug's health changed.
    pub(super) fn health_changed(&self) {
        drop(self.health());
        self.changed.send_modify(|count| *count += 1);
    }

    /// Changes the list of plugs and publishes the table made from it.
    fn change(&self, change: impl FnOnce(&mut Vec<(Arc<Plug>, Contracts)>)) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        let mut offers = HashMap::clone(&self.offers.load());
        let mut seats: HashMap<ServiceKey, Vec<Arc<Seat>>> =
            offers.keys().map(|key| (key.clone(), Vec::new())).collect();
        for (plug, contracts) in all.iter() {
            for (contract, healthy) in contracts {
                let key = ServiceKey { contract: contract.clone(), provider: plug.provider.clone() };
                // A plug that stays keeps its record.
                let sat = offers.get(&key).and_then(|offer| {
                    let seats = offer.seats.load();
                    let same = |seat: &&Arc<Seat>| {
                        Arc::ptr_eq(&seat.plug, plug) && Arc::ptr_eq(&seat.healthy, healthy)
                    };
                    seats.iter().find(same).cloned()
                });
                let seat = sat.unwrap_or_else(|| Arc::new(Seat::new(plug.clone(), healthy.clone())));
                seats.entry(key).or_default().push(seat);
            }
        }
        for (key, seats) in seats {
            let offer =
                offers.entry(key.clone()).or_insert_with(|| Arc::new(Offer::new(key, self.changed.clone())));
            offer.seats.store(Arc::new(seats));
        }
        self.offers.store(Arc::new(offers));
        drop(all);
        self.health_changed();
    }
}
