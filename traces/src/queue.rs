//! The way of spans from whoever brings them to the store and to the collector: two queues, bounded in bytes, in which
//! nobody takes the place of all others. Who brings spans never waits; what does not fit is dropped and counted.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prost::Message as _;
use tokio::{sync::mpsc, time::Instant};
use ura_runtime::telemetry::split::{count as spans_of, split};

use crate::{ResourceSpans, Span, common::KeyValue, span};

/// Bytes of spans that wait in one queue, in memory.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Bytes of one batch, encoded: collectors take no more than 4 MiB in a message, after decompression.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Spans of one batch.
const BATCH_SPANS_MAX: usize = 8_192;
/// Batches that wait in one queue.
const WAITING_BATCHES_MAX: usize = 4_096;

/// Spans that were brought together.
#[derive(Debug)]
pub struct Batch {
    /// Who brought them, `<member>/<system>`.
    pub system: String,
    /// The spans, under that name.
    pub spans: Vec<ResourceSpans>,
    /// How many.
    pub count: usize,
    /// When they were brought.
    pub arrived: Instant,
    /// Their size in memory, about.
    bytes: usize,
}

/// What became of spans since the gateway began. Each number only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Brought here.
    pub received: AtomicU64,
    /// Kept in the store.
    pub stored: AtomicU64,
    /// Not kept: the queue was full or the store failed.
    pub not_stored: AtomicU64,
    /// Taken by the collector.
    pub forwarded: AtomicU64,
    /// Not forwarded: the queue was full or the collector did not take them.
    pub not_forwarded: AtomicU64,
}

/// Adds a number of spans to a counter.
pub(crate) fn count(counter: &AtomicU64, spans: usize) {
    counter.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Where spans are brought to. Cheap to clone; the queues end when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Sink {
    counters: Arc<Counters>,
    store: Option<Way>,
    collector: Option<Way>,
}

/// The receiving end of a queue.
#[derive(Debug)]
pub struct Waiting {
    batches: mpsc::Receiver<Arc<Batch>>,
    shares: Arc<Mutex<Shares>>,
    /// What became of spans.
    pub counters: Arc<Counters>,
}

#[derive(Clone, Debug)]
struct Way {
    batches: mpsc::Sender<Arc<Batch>>,
    shares: Arc<Mutex<Shares>>,
}

/// Bytes that wait, of all and of each system.
#[derive(Debug, Default)]
struct Shares {
    bytes: usize,
    systems: HashMap<String, usize>,
}

/// A sink, with the queue of the store and the queue of the collector where they are wanted.
#[must_use]
pub fn queues(to_store: bool, to_collector: bool) -> (Sink, Option<Waiting>, Option<Waiting>) {
    let counters = Arc::new(Counters::default());
    let one = |wanted: bool| {
        let (batches, waiting) = mpsc::channel(WAITING_BATCHES_MAX);
        let shares = Arc::new(Mutex::new(Shares::default()));
        let way = Way { batches, shares: shares.clone() };
        let waiting = Waiting { batches: waiting, shares, counters: counters.clone() };
        wanted.then_some((way, waiting)).unzip()
    };
    let ((store, stored), (collector, forwarded)) = (one(to_store), one(to_collector));
    (Sink { counters: counters.clone(), store, collector }, stored, forwarded)
}

impl Sink {
    /// Brings spans of `system`; their resources must carry that name already. Never waits.
    pub fn bring(&self, system: &str, spans: Vec<ResourceSpans>) {
        for spans in split(spans, BATCH_SPANS_MAX, BATCH_BYTES_MAX) {
            let (count_of, bytes) = (spans_of(&spans), memory(&spans));
            let batch =
                Batch { system: system.to_owned(), spans, count: count_of, arrived: Instant::now(), bytes };
            let batch = Arc::new(batch);
            count(&self.counters.received, count_of);
            for (way, lost) in
                [(&self.store, &self.counters.not_stored), (&self.collector, &self.counters.not_forwarded)]
            {
                if way.as_ref().is_some_and(|way| !way.take(&batch)) {
                    count(lost, count_of);
                }
            }
        }
    }

    /// What became of spans.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// The size of spans in memory, about: small things take more there than encoded.
fn memory(all: &[ResourceSpans]) -> usize {
    let scopes = || all.iter().flat_map(|resource| &resource.scope_spans);
    let of = |span: &Span| {
        size_of::<Span>()
            + span.attributes.len() * size_of::<KeyValue>()
            + span.events.len() * (size_of::<span::Event>() + size_of::<KeyValue>())
            + span.links.len() * size_of::<span::Link>()
    };
    let encoded: usize = all.iter().map(ResourceSpans::encoded_len).sum();
    encoded + scopes().flat_map(|scope| &scope.spans).map(of).sum::<usize>()
}

impl Shares {
    /// Takes the bytes of a system, where they leave others twice the place that it has then.
    fn take(&mut self, system: &str, bytes: usize) -> bool {
        let own = self.systems.get(system).copied().unwrap_or_default();
        if own + bytes > WAITING_BYTES_MAX.saturating_sub(self.bytes) / 2 {
            return false;
        }
        self.bytes += bytes;
        *self.systems.entry(system.to_owned()).or_default() += bytes;
        true
    }

    fn give_back(&mut self, system: &str, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(own) = self.systems.get_mut(system) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.systems.remove(system);
            }
        }
    }
}

fn locked(shares: &Mutex<Shares>) -> MutexGuard<'_, Shares> {
    shares.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Way {
    fn take(&self, batch: &Arc<Batch>) -> bool {
        if !locked(&self.shares).take(&batch.system, batch.bytes) {
            return false;
        }
        let taken = self.batches.try_send(batch.clone()).is_ok();
        if !taken {
            locked(&self.shares).give_back(&batch.system, batch.bytes);
        }
        taken
    }
}

impl Waiting {
    /// The next batch; `None` when there will be no more. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<Batch>> {
        let batch = self.batches.recv().await?;
        locked(&self.shares).give_back(&batch.system, batch.bytes);
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScopeSpans;

    fn spans(count: usize, bytes: usize) -> Vec<ResourceSpans> {
        let span = Span { name: "x".repeat(bytes), ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span; count], ..ScopeSpans::default() }];
        vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }]
    }

    fn told(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_and_the_other_goes_on() {
        let (sink, store, collector) = queues(true, true);
        let (mut store, mut collector) = (store.expect("wanted"), collector.expect("wanted"));
        for _ in 0..8 {
            sink.bring("a/b", spans(1, 1 << 20));
            // Only the collector keeps up.
            assert_eq!(collector.next().await.expect("one").count, 1);
        }
        let counters = sink.counters().clone();
        assert_eq!(told(&counters.received), 8);
        assert_eq!(told(&counters.not_stored), 3, "a third of 16 MiB is one sender's");
        assert_eq!(told(&counters.not_forwarded), 0);
        // Another one finds its place.
        sink.bring("a/c", spans(1, 1 << 20));
        assert_eq!(told(&counters.not_stored), 3);
        assert_eq!(store.next().await.expect("one").system, "a/b");
        sink.bring("a/b", spans(1, 1 << 20));
        assert_eq!(told(&counters.not_stored), 3, "there is place again");
        drop(sink);
        let mut left = Vec::new();
        while let Some(batch) = store.next().await {
            left.push(batch.system.clone());
        }
        assert_eq!(left, ["a/b", "a/b", "a/b", "a/b", "a/c", "a/b"]);
        assert!(locked(&store.shares).systems.is_empty() && locked(&store.shares).bytes == 0);
    }

    #[tokio::test]
    async fn no_batch_is_larger_than_a_collector_takes() {
        let (sink, store, _) = queues(true, false);
        sink.bring("a/b", spans(5, 512 << 10));
        drop(sink);
        let mut counts = Vec::new();
        let mut store = store.expect("wanted");
        while let Some(batch) = store.next().await {
            assert!(
                batch.spans.iter().map(ResourceSpans::encoded_len).sum::<usize>() <= BATCH_BYTES_MAX + 1_000
            );
            counts.push(batch.count);
        }
        assert_eq!(counts, [1; 5], "two of them and what is around them are more than a MiB");
    }

    #[test]
    fn small_things_count_as_what_they_take() {
        let small = Span { attributes: vec![KeyValue::default(); 128], ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![small], ..ScopeSpans::default() }];
        let all = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        assert!(memory(&all) >= 128 * size_of::<KeyValue>() + size_of::<Span>());
    }

    #[tokio::test]
    async fn what_nobody_wants_is_not_kept() {
        let (sink, store, collector) = queues(false, false);
        assert!(store.is_none() && collector.is_none());
        sink.bring("a/b", spans(1, 1));
        sink.bring("a/b", spans(0, 0));
        let counters = sink.counters();
        assert_eq!(counters.received.load(Ordering::Relaxed), 1);
        assert_eq!(counters.not_stored.load(Ordering::Relaxed), 0);
    }
}
