//! Spans of this process for whoever in it sends them on: a gateway keeps and forwards them, an adapter
//! gives them to its gateway. Nothing here waits: what does not fit is dropped and counted.
//!
//! Must not know where the spans go.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry_proto::{
    tonic::{
        common::v1::InstrumentationScope,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::sync::mpsc;

/// Batches of finished spans that wait.
const BATCHES_WAITING_MAX: usize = 128;
/// Single spans that wait.
const SINGLE_WAITING_MAX: usize = 16_384;
/// Single spans that are handed on together.
const TOGETHER_MAX: usize = 512;
/// Name of the instrumentation of single spans.
const SCOPE: &str = "ura.relay";
/// For how long a flush may take.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The receiving end while nobody has it.
static FREE: Mutex<Option<Ends>> = Mutex::new(None);
static SINGLE: OnceLock<mpsc::Sender<Span>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

struct Ends {
    batches: mpsc::Receiver<Vec<ResourceSpans>>,
    single: mpsc::Receiver<Span>,
    provider: SdkTracerProvider,
}

/// The spans of this process. Given back when dropped, so that it can be taken again.
pub struct Relayed(Option<Ends>);

/// Spans that were dropped because nobody took them in time, since the process began.
#[must_use]
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Takes the spans; `None` where telemetry was not started for it, or somebody else has them.
#[must_use]
pub fn take() -> Option<Relayed> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner).take().map(|ends| Relayed(Some(ends)))
}

/// Hands on one finished span that was made by hand. Where nobody relays it goes nowhere.
pub fn submit(span: Span) {
    if let Some(single) = SINGLE.get()
        && single.try_send(span).is_err()
    {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a span as dropped that was not even made.
pub fn drop_one() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

impl Relayed {
    /// The next spans, without a resource that says anything; waits for them. Cancel safe.
    pub async fn next(&mut self) -> Vec<ResourceSpans> {
        let Some(ends) = &mut self.0 else { return std::future::pending().await };
        let mut spans = Vec::new();
        tokio::select! {
            Some(batch) = ends.batches.recv() => batch,
            _ = ends.single.recv_many(&mut spans, TOGETHER_MAX) => vec![of_scope(spans)],
        }
    }

    /// All spans that have ended by now. Waits at most 2 s for them.
    pub async fn rest(&mut self) -> Vec<ResourceSpans> {
        let Some(ends) = &mut self.0 else { return Vec::new() };
        let provider = ends.provider.clone();
        let flushed = tokio::task::spawn_blocking(move || drop(provider.force_flush()));
        drop(tokio::time::timeout(FLUSH_MAX, flushed).await);
        let mut all = Vec::new();
        while let Ok(batch) = ends.batches.try_recv() {
            all.extend(batch);
        }
        let mut spans = Vec::new();
        while let Ok(span) = ends.single.try_recv() {
            spans.push(span);
        }
        if !spans.is_empty() {
            all.push(of_scope(spans));
        }
        all
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) = self.0.take();
    }
}

/// Single spans as a batch.
fn of_scope(spans: Vec<Span>) -> ResourceSpans {
    let scope = InstrumentationScope { name: SCOPE.to_owned(), ..InstrumentationScope::default() };
    let spans = ScopeSpans { scope: Some(scope), spans, schema_url: String::new() };
    ResourceSpans { resource: None, scope_spans: vec![spans], schema_url: String::new() }
}

/// A provider whose spans are relayed. Called once in a process.
pub(super) fn provider() -> SdkTracerProvider {
    let (into, batches) = mpsc::channel(BATCHES_WAITING_MAX);
    let (one, single) = mpsc::channel(SINGLE_WAITING_MAX);
    let provider = super::batching(Relay(into)).build();
    // A second start is refused before anything is sent.
    drop(SINGLE.set(one));
    let ends = Ends { batches, single, provider: provider.clone() };
    *FREE.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
    provider
}

/// The exporter.
#[derive(Debug)]
struct Relay(mpsc::Sender<Vec<ResourceSpans>>);

impl SpanExporter for Relay {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let batch = group_spans_by_resource_and_scope(batch, &ResourceAttributesWithSchema::default());
        if self.0.try_send(batch).is_err() {
            DROPPED.fetch_add(spans, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};

    use super::*;

    fn names(batches: &[ResourceSpans]) -> Vec<&str> {
        let scopes = batches.iter().flat_map(|batch| &batch.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn spans_are_taken_by_one_and_counted_where_nobody_does() {
        assert!(take().is_none(), "nobody relays");
        let provider = provider();
        let mut relayed = take().expect("there is one");
        assert!(take().is_none(), "there is only one");
        provider.tracer("test").start("made by the SDK").end();
        assert_eq!(names(&relayed.next().await), ["made by the SDK"]);
        let by_hand = |name: &str| Span { name: name.to_owned(), ..Span::default() };
        submit(by_hand("made by hand"));
        assert_eq!(names(&relayed.next().await), ["made by hand"]);
        drop(relayed);

        for _ in 0..SINGLE_WAITING_MAX + 3 {
            submit(by_hand("waiting"));
        }
        assert_eq!(dropped(), 3);
        provider.tracer("test").start("last").end();
        let rest = take().expect("given back").rest().await;
        assert_eq!(names(&rest).len(), SINGLE_WAITING_MAX + 1);
        assert!(names(&rest).contains(&"last"));
    }
}
