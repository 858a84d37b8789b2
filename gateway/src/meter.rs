//! Counting exchanges: how each ended, between whom, and where its time went. Knows nothing of how numbers
//! are shown.
//!
//! Names that are counted apart come from the directory alone, so that no caller can make new ones; and
//! there is a bound on their pairs, because directories change. An exchange takes no lock here and makes
//! nothing, but for the first one of a pair.

mod series;
mod times;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;
use ura_proto::{SystemId, refusal::Reason};
use ura_runtime::metrics::Histogram;

use crate::directory::{ServiceKey, Snapshot};

pub(crate) use series::{Pair, Series, ServiceSeries};
pub(crate) use times::{Times, Waiting};

/// gRPC status of a call whose caller went away.
const CANCELLED: u32 = 1;

/// What a caller was told: a status, and the reason where it comes from the bus. `None`: nothing, for it left.
type Ended = Option<(u32, Option<Reason>)>;

/// Lengths by which the bus's own time is counted, in microseconds.
const OVERHEAD_US: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// All that is counted of exchanges.
pub(crate) struct Meters {
    pairs: ArcSwap<HashMap<Pair, Arc<Series>>>,
    /// Of pairs beyond the bound.
    others: Arc<Series>,
    /// Exchanges of those.
    uncounted: AtomicU64,
    services: ArcSwap<HashMap<ServiceKey, Arc<ServiceSeries>>>,
    /// Held by those who add a pair or a service.
    adding: Mutex<()>,
    pairs_max: usize,
    /// The bus's own time: of reads, of writes.
    overhead: [Histogram; 2],
}

impl Meters {
    /// Nothing yet, and never more than so many pairs.
    pub(crate) fn new(pairs_max: usize) -> Self {
        Self {
            pairs: ArcSwap::default(),
            others: Arc::new(Series::new(None)),
            uncounted: AtomicU64::new(0),
            services: ArcSwap::default(),
            adding: Mutex::default(),
            pairs_max,
            overhead: [Histogram::new(&OVERHEAD_US), Histogram::new(&OVERHEAD_US)],
        }
    }

    /// The counters of a pair.
    fn series(&self, pair: &Pair) -> Arc<Series> {
        let pairs = self.pairs.load();
        if let Some(found) = pairs.get(pair) {
            return found.clone();
        }
        // Pairs are never taken away: what is full needs no lock.
        if pairs.len() >= self.pairs_max {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
            return self.others.clone();
        }
        let service = pair.service().and_then(|key| self.service(&key));
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = self.pairs.load_full();
        if let Some(found) = pairs.get(pair) {
            return found.clone();
        }
        let made = Arc::new(Series::new(service));
        let mut grown = HashMap::clone(&pairs);
        grown.insert(pair.clone(), made.clone());
        self.pairs.store(Arc::new(grown));
        made
    }

    /// The counters of a service, whoever asks it. `None` beyond the bound, which is that of pairs.
    fn service(&self, key: &ServiceKey) -> Option<Arc<ServiceSeries>> {
        let services = self.services.load();
        if let Some(found) = services.get(key) {
            return Some(found.clone());
        }
        if services.len() >= self.pairs_max {
            return None;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let services = self.services.load_full();
        if let Some(found) = services.get(key) {
            return Some(found.clone());
        }
        let made = Arc::<ServiceSeries>::default();
        let mut grown = HashMap::clone(&services);
        grown.insert(key.clone(), made.clone());
        self.services.store(Arc::new(grown));
        Some(made)
    }

    /// Every pair that had an exchange.
    pub(crate) fn pairs(&self) -> Arc<HashMap<Pair, Arc<Series>>> {
        self.pairs.load_full()
    }

    /// What is counted of pairs beyond the bound together, and how many exchanges that are.
    pub(crate) fn others(&self) -> (&Series, u64) {
        (&self.others, self.uncounted.load(Ordering::Relaxed))
    }

    /// Every service that had an exchange.
    pub(crate) fn services(&self) -> Arc<HashMap<ServiceKey, Arc<ServiceSeries>>> {
        self.services.load_full()
    }

    /// The bus's own time of reads, and of writes.
    pub(crate) fn overhead(&self) -> &[Histogram; 2] {
        &self.overhead
    }
}

/// Counts one exchange, once: when it is dropped.
pub(crate) struct Meter {
    meters: Arc<Meters>,
    pair: Pair,
    arrived: Instant,
    ended: Ended,
    writes: bool,
    /// Its time is the parties' own affair.
    streams: bool,
    /// Waited for the register, and for anybody at all, the register included.
    waited: Option<(Duration, Duration)>,
    bytes: (u64, u64),
}

impl Meter {
    /// An exchange that just arrived; what the directory does not know has no name here.
    pub(crate) fn new(
        meters: &Arc<Meters>,
        directory: &Snapshot,
        consumer: &SystemId,
        path: &str,
        arrived: Instant,
    ) -> Self {
        let consumer = directory.systems.contains_key(consumer).then(|| consumer.clone());
        let method = directory.methods.get(path);
        // A method that the contract does not have, or not yet.
        let named = || path.strip_prefix('/')?.split_once('/').map(|(contract, _)| contract);
        let contract = method
            .map(|method| method.contract.clone())
            .or_else(|| Some(directory.contracts.get_key_value(named()?)?.0.clone()));
        Self {
            meters: meters.clone(),
            pair: Pair { consumer, contract, provider: None },
            arrived,
            ended: None,
            writes: method.is_some_and(|method| method.writes()),
            streams: method.is_some_and(|method| method.streams()),
            waited: None,
            bytes: (0, 0),
        }
    }

    /// Names who is to answer.
    pub(crate) fn provider(&mut self, provider: &SystemId) {
        self.pair.provider = Some(provider.clone());
    }

    /// Notes what the caller is told. The last word counts; without one, the caller went away.
    pub(crate) fn end(&mut self, status: u32, refusal: Option<Reason>) {
        self.ended = Some((status, refusal));
    }

    /// Notes of a call that was permitted how long it waited for others, and its size: request, reply.
    pub(crate) fn forwarded(&mut self, times: &Times, bytes: (u64, u64)) {
        self.waited = Some((times.of_register(), times.of_all()));
        self.bytes = bytes;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let series = self.meters.series(&self.pair);
        series.ended(self.ended, self.bytes);
        let Some((register, all)) = self.waited else { return };
        let of_others = || self.meters.service(&self.pair.service()?);
        let Some(service) = series.service().cloned().or_else(of_others) else { return };
        service.ended(self.ended);
        if self.streams {
            return;
        }
        let took = self.arrived.elapsed();
        service.took(took, register);
        // Of what the bus ended itself, or a caller left, the time says nothing about the bus.
        if matches!(self.ended, Some((status, None)) if status != CANCELLED) {
            let [reads, writes] = &self.meters.overhead;
            let kind = if self.writes { writes } else { reads };
            kind.observe(took.saturating_sub(all));
        }
    }
}

#[cfg(test)]
mod tests;
