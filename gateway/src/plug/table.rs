//! The table of plugs: who can answer which service now.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use hyper::client::conn::http2::SendRequest;
use rand::Rng as _;
use tokio::{sync::watch, time::Instant};
use ura_proto::SystemId;

use crate::{call::body::Outbound, directory::ServiceKey};

/// One connection of an adapter.
pub(crate) struct Plug {
    /// Whose adapter it is.
    pub(super) provider: SystemId,
    /// SHA-256 of its certificate in DER; `None` for the gateway itself.
    certificate: Option<[u8; 32]>,
    /// Where it is.
    address: SocketAddr,
    sender: SendRequest<Outbound>,
    in_flight: AtomicUsize,
    /// Contracts accepted on it, each with its health.
    contracts: ArcSwap<HashMap<Arc<str>, Arc<AtomicBool>>>,
    /// It takes no new calls.
    leaving: AtomicBool,
}

impl Plug {
    /// A plug that answers nothing yet.
    pub(super) fn new(
        provider: SystemId,
        certificate: Option<[u8; 32]>,
        address: SocketAddr,
        sender: SendRequest<Outbound>,
    ) -> Self {
        Self {
            provider,
            certificate,
            address,
            sender,
            in_flight: AtomicUsize::new(0),
            contracts: ArcSwap::default(),
            leaving: AtomicBool::new(false),
        }
    }

    /// Whether it can take a call of this contract; `None` where it does not have the contract.
    fn serves(&self, contract: &str) -> Option<bool> {
        if self.leaving.load(Ordering::Relaxed) || self.sender.is_closed() {
            return None;
        }
        self.contracts.load().get(contract).map(|healthy| healthy.load(Ordering::Relaxed))
    }
}

/// A call's place on a plug, until dropped.
pub(crate) struct InFlight(Arc<Plug>);

impl InFlight {
    /// The connection to send on.
    pub(crate) fn sender(&self) -> SendRequest<Outbound> {
        self.0.sender.clone()
    }

    /// SHA-256 of the adapter's certificate in DER; `None` for the gateway itself.
    pub(crate) fn certificate(&self) -> Option<[u8; 32]> {
        self.0.certificate
    }

    /// Where the adapter is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why no plug can take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No adapter of the service is connected.
    NoPlug,
    /// Adapters are connected, but say that their register does not serve.
    NotServing,
    /// Each has as many calls as it may.
    Full,
}

/// All plugs of this gateway.
pub(crate) struct Plugs {
    by_service: ArcSwap<HashMap<ServiceKey, Vec<Arc<Plug>>>>,
    /// Every plug; changed under this lock only.
    all: Mutex<Vec<Arc<Plug>>>,
    changed: watch::Sender<u64>,
    /// Held by each consumer's connection.
    askers: watch::Sender<()>,
    calls_per_plug_max: usize,
}

impl Plugs {
    /// An empty table.
    pub(crate) fn new(calls_per_plug_max: usize) -> Self {
        let (changed, _) = watch::channel(0);
        let (askers, _) = watch::channel(());
        Self { by_service: ArcSwap::default(), all: Mutex::default(), changed, askers, calls_per_plug_max }
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

    /// A plug for a call: the less busy of two taken at random.
    pub(crate) fn pick(&self, service: &ServiceKey) -> Result<InFlight, Missing> {
        let table = self.by_service.load();
        let plugs = table.get(service).map_or(&[][..], Vec::as_slice);
        let mut missing = Missing::NoPlug;
        let mut able: Vec<&Arc<Plug>> = Vec::with_capacity(plugs.len());
        for plug in plugs {
            match plug.serves(&service.contract) {
                Some(true) if plug.in_flight.load(Ordering::Relaxed) < self.calls_per_plug_max => {
                    able.push(plug);
                }
                Some(true) => missing = Missing::Full,
                Some(false) if missing == Missing::NoPlug => missing = Missing::NotServing,
                Some(false) | None => {}
            }
        }
        let chosen = match able.as_slice() {
            [] => return Err(missing),
            [one] => one,
            several => {
                let mut random = rand::rng();
                let a = random.random_range(0..several.len());
                let b = (a + random.random_range(1..several.len())) % several.len();
                let load = |at: usize| several[at].in_flight.load(Ordering::Relaxed);
                &several[if load(a) <= load(b) { a } else { b }]
            }
        };
        chosen.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(InFlight(Arc::clone(chosen)))
    }

    /// Waits until some adapter of the service is connected, at most until `until`.
    pub(crate) async fn wait_for(&self, service: &ServiceKey, until: Instant) {
        let mut changes = self.changed.subscribe();
        while matches!(self.pick(service), Err(Missing::NoPlug)) {
            if tokio::time::timeout_at(until, changes.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Word of each change of plugs or their health; the value counts them.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Contracts that some plug answers, each with whether one of them is healthy.
    pub(crate) fn contracts(&self) -> HashMap<Arc<str>, bool> {
        let mut found = HashMap::new();
        for (key, plugs) in self.by_service.load().iter() {
            for plug in plugs {
                if let Some(healthy) = plug.serves(&key.contract) {
                    *found.entry(key.contract.clone()).or_insert(false) |= healthy;
                }
            }
        }
        found
    }

    /// Enters a plug with the contracts accepted on it, or changes them.
    pub(super) fn enter(&self, plug: &Arc<Plug>, contracts: HashMap<Arc<str>, Arc<AtomicBool>>) {
        plug.contracts.store(Arc::new(contracts));
        self.change(|all| {
            if !all.iter().any(|known| Arc::ptr_eq(known, plug)) {
                all.push(plug.clone());
            }
        });
    }

    /// Takes a plug out.
    pub(super) fn remove(&self, plug: &Arc<Plug>) {
        plug.leaving.store(true, Ordering::Relaxed);
        self.change(|all| all.retain(|known| !Arc::ptr_eq(known, plug)));
    }

    /// Tells those who wait that a plug's health changed.
    pub(super) fn health_changed(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Changes the list of plugs and publishes the table made from it.
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Plug>>)) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        let mut table: HashMap<ServiceKey, Vec<Arc<Plug>>> = HashMap::new();
        for plug in all.iter() {
            for contract in plug.contracts.load().keys() {
                let key = ServiceKey { contract: contract.clone(), provider: plug.provider.clone() };
                table.entry(key).or_default().push(plug.clone());
            }
        }
        self.by_service.store(Arc::new(table));
        drop(all);
        self.health_changed();
    }
}
