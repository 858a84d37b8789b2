//! Writes exchanges through the writer, as a gateway does: the closing of an exchange is queued when its opening is on
//! disk, and many exchanges are in hand at once.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ura_evidence::writer::{Evidence, Fate};

use crate::exchanges::{Exchange, Exchanges};

/// Exchanges in hand at once. The default limit of calls in a gateway is 8192.
const IN_HAND: u64 = 2048;

/// Exchanges that are in the log.
pub struct Filled {
    pub entries: u64,
    pub took: Duration,
    /// Some of them, to be asked for.
    pub some: Vec<Exchange>,
}

impl Filled {
    pub fn per_second(&self) -> f64 {
        figure(self.entries) / self.took.as_secs_f64()
    }
}

/// A count as a number with a fraction.
pub fn figure(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Writes the exchanges of these numbers; each `keep_every`th is told.
pub async fn fill(evidence: &Evidence, all: Exchanges, numbers: Range<u64>, keep_every: u64) -> Filled {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let entries = Arc::new(AtomicU64::new(0));
    let some = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let mut hands = tokio::task::JoinSet::new();
    for _ in 0..IN_HAND {
        let (evidence, next, entries, some) = (evidence.clone(), next.clone(), entries.clone(), some.clone());
        hands.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return;
                }
                let exchange = all.exchange(number);
                entries.fetch_add(record(&evidence, &exchange).await, Ordering::Relaxed);
                if number.is_multiple_of(keep_every) {
                    some.lock().expect("nobody panics with it").push(exchange);
                }
            }
        });
    }
    while let Some(ended) = hands.join_next().await {
        ended.expect("no exchange fails");
    }
    let took = begun.elapsed();
    let some = std::mem::take(&mut *some.lock().expect("nobody panics with it"));
    Filled { entries: entries.load(Ordering::Relaxed), took, some }
}

/// Records one exchange; how many entries that are.
async fn record(evidence: &Evidence, exchange: &Exchange) -> u64 {
    let (epoch, fate) = (evidence.epoch(), Arc::new(Fate::default()));
    let opened = evidence.submit(exchange.opening(&epoch), &fate).expect("the queue has room");
    opened.await.expect("the opening is on disk");
    let Some(closing) = exchange.closing(&epoch) else { return 1 };
    evidence.submit_closing(closing, &fate).await.expect("the closing is on disk");
    2
}
