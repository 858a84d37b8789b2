//! The way of spans from whoever brings them to the store and to the collector: two queues, bounded in bytes. Who
//! brings spans never waits; what does not fit is dropped and counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use prost::Message as _;
use tokio::sync::mpsc;

use crate::ResourceSpans;

/// Bytes of spans that wait in one queue.
const WAITING_BYTES_MAX: usize = 16 << 20;
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
    /// Their size, encoded.
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
    bytes: Arc<AtomicUsize>,
    /// What became of spans.
    pub counters: Arc<Counters>,
}

#[derive(Clone, Debug)]
struct Way {
    batches: mpsc::Sender<Arc<Batch>>,
    bytes: Arc<AtomicUsize>,
}

/// A sink, with the queue of the store and the queue of the collector where they are wanted.
#[must_use]
pub fn queues(to_store: bool, to_collector: bool) -> (Sink, Option<Waiting>, Option<Waiting>) {
    let counters = Arc::new(Counters::default());
    let one = |wanted: bool| {
        let (batches, waiting) = mpsc::channel(WAITING_BATCHES_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        let way = Way { batches, bytes: bytes.clone() };
        let waiting = Waiting { batches: waiting, bytes, counters: counters.clone() };
        wanted.then_some((way, waiting)).unzip()
    };
    let ((store, stored), (collector, forwarded)) = (one(to_store), one(to_collector));
    (Sink { counters: counters.clone(), store, collector }, stored, forwarded)
}

impl Sink {
    /// Brings spans of `system`; their resources must carry that name already. Never waits.
    pub fn bring(&self, system: &str, spans: Vec<ResourceSpans>) {
        let of =
            |spans: &ResourceSpans| spans.scope_spans.iter().map(|scope| scope.spans.len()).sum::<usize>();
        let count_of: usize = spans.iter().map(of).sum();
        if count_of == 0 {
            return;
        }
        let bytes = spans.iter().map(ResourceSpans::encoded_len).sum();
        let batch = Arc::new(Batch { system: system.to_owned(), spans, count: count_of, bytes });
        count(&self.counters.received, count_of);
        for (way, lost) in
            [(&self.store, &self.counters.not_stored), (&self.collector, &self.counters.not_forwarded)]
        {
            if way.as_ref().is_some_and(|way| !way.take(&batch)) {
                count(lost, count_of);
            }
        }
    }

    /// What became of spans.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

impl Way {
    fn take(&self, batch: &Arc<Batch>) -> bool {
        let before = self.bytes.fetch_add(batch.bytes, Ordering::Relaxed);
        let taken = before + batch.bytes <= WAITING_BYTES_MAX && self.batches.try_send(batch.clone()).is_ok();
        if !taken {
            self.bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
        }
        taken
    }
}

impl Waiting {
    /// The next batch; `None` when there will be no more. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<Batch>> {
        let batch = self.batches.recv().await?;
        self.bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ScopeSpans, Span};

    fn spans(count: usize, bytes: usize) -> Vec<ResourceSpans> {
        let span = Span { name: "x".repeat(bytes), ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span; count], ..ScopeSpans::default() }];
        vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }]
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_and_the_other_goes_on() {
        let (sink, store, collector) = queues(true, true);
        let (mut store, mut collector) = (store.expect("wanted"), collector.expect("wanted"));
        let told = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for _ in 0..4 {
            sink.bring("a/b", spans(3, 2 << 20));
            // Only the collector keeps up.
            assert_eq!(collector.next().await.expect("one").count, 3);
        }
        let counters = sink.counters().clone();
        assert_eq!(told(&counters.received), 12);
        assert_eq!(told(&counters.not_stored), 6, "two of 6 MiB fit");
        assert_eq!(told(&counters.not_forwarded), 0);
        assert_eq!(store.next().await.expect("one").system, "a/b");
        sink.bring("a/b", spans(1, 2 << 20));
        assert_eq!(told(&counters.not_stored), 6, "there is place again");
        drop(sink);
        assert_eq!(store.next().await.expect("one").count, 3);
        assert_eq!(store.next().await.expect("one").count, 1);
        assert!(store.next().await.is_none());
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
