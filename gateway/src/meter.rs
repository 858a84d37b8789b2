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

use crate::directory::{ServiceKey, Snapshot, contract::Method};

pub(crate) use series::{Pair, Series, ServiceSeries};
pub(crate) use times::{Times, Waiting};

/// gRPC status of a call whose caller went away.
const CANCELLED: u32 = 1;

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
    services: Mutex<HashMap<ServiceKey, Arc<ServiceSeries>>>,
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
            services: Mutex::default(),
            pairs_max,
            overhead: [Histogram::new(&OVERHEAD_US), Histogram::new(&OVERHEAD_US)],
        }
    }

    /// The counters of a pair.
    fn series(&self, pair: &Pair) -> Arc<Series> {
        if let Some(found) = self.pairs.load().get(pair) {
            return found.clone();
        }
        // Held by those who add; whoever finds its pair never comes here.
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = self.pairs.load_full();
        if let Some(found) = pairs.get(pair) {
            return found.clone();
        }
        if pairs.len() >= self.pairs_max {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
            return self.others.clone();
        }
        let service = pair.service().map(|key| services.entry(key).or_default().clone());
        let made = Arc::new(Series::new(service));
        let mut grown = HashMap::clone(&pairs);
        grown.insert(pair.clone(), made.clone());
        self.pairs.store(Arc::new(grown));
        made
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
    pub(crate) fn services(&self) -> Vec<(ServiceKey, Arc<ServiceSeries>)> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.iter().map(|(key, series)| (key.clone(), series.clone())).collect()
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
    /// What the caller is told: a status, and the reason where it comes from the bus.
    ended: (u32, Option<Reason>),
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
        method: Option<&Method>,
        arrived: Instant,
    ) -> Self {
        let consumer = directory.systems.contains_key(consumer).then(|| consumer.clone());
        let contract = method.map(|method| method.contract.clone());
        Self {
            meters: meters.clone(),
            pair: Pair { consumer, contract, provider: None },
            arrived,
            ended: (CANCELLED, None),
            writes: method.is_some_and(Method::writes),
            streams: method.is_some_and(Method::streams),
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
        self.ended = (status, refusal);
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
        let (status, refusal) = self.ended;
        series.ended(status, refusal, self.bytes);
        let Some((register, all)) = self.waited.filter(|_| !self.streams) else { return };
        let Some(service) = series.service() else { return };
        let took = self.arrived.elapsed();
        service.took(took, register);
        // Of what the bus ended itself, or a caller left, the time says nothing about the bus.
        if refusal.is_none() && status != CANCELLED {
            let [reads, writes] = &self.meters.overhead;
            let kind = if self.writes { writes } else { reads };
            kind.observe(took.saturating_sub(all));
        }
    }
}

#[cfg(test)]
mod tests;
