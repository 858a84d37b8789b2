//! Writing to the store: batches as they come, and what is too old or too much is removed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use ura_evidence::store::Address;
use ura_runtime::clock::Clock;

use super::{Store, StoreError, TRACE_SYSTEM_SPANS_MAX, on};
use crate::{
    Span,
    config::TracesConfig,
    queue::{Batch, Waiting, count},
};

/// After a failure the store is left alone for so long.
const REST: Duration = Duration::from_secs(5);
/// Time between two removals of what is too old.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Removed in one statement when there is too much.
const REMOVED_TOGETHER: i64 = 1_000;
/// What a row and its places in the indexes take beside the span itself, in bytes, about.
const ROW_BYTES: usize = 256;
/// `status.code` of a span with an error (OTLP, `Status.StatusCode`).
const ERROR: i32 = 2;

/// Keeps what comes until the queue ends. What is too old is removed at the start and then every minute, whether
/// something comes or not.
pub async fn keep(mut waiting: Waiting, evidence: Address, bounds: TracesConfig, clock: Clock) {
    let mut keeper = Keeper { evidence, bounds, store: None, written: 0, resting: None };
    keeper.sweep(clock.unix_us()).await;
    let mut due = interval_at(Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = due.tick() => keeper.sweep(clock.unix_us()).await,
            batch = waiting.next() => {
                let Some(batch) = batch else { break };
                let counters = &waiting.counters;
                let kept = keeper.take(&batch, clock.unix_us()).await;
                count(if kept { &counters.stored } else { &counters.not_stored }, batch.count);
            }
        }
    }
    if let Some(store) = keeper.store {
        store.close().await;
    }
}

/// Empties the store, where there is one: none is to be kept.
///
/// # Errors
/// The database.
pub async fn empty(evidence: &Address) -> Result<(), StoreError> {
    let Some(reading) = Store::open_reading(evidence).await? else { return Ok(()) };
    reading.close().await;
    let store = Store::open(evidence).await?;
    on!(store, |pool| {
        sqlx::query("delete from trace_span").execute(pool).await?;
    });
    store.close().await;
    Ok(())
}

struct Keeper {
    evidence: Address,
    bounds: TracesConfig,
    store: Option<Store>,
    /// Bytes since the last removal.
    written: u64,
    /// After a failure: until when nothing is tried.
    resting: Option<Instant>,
}

impl Keeper {
    /// The store, opened where it must be; `None` while it rests after a failure.
    async fn store(&mut self) -> Option<Store> {
        if self.resting.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        if self.store.is_none() {
            match Store::open(&self.evidence).await {
                Ok(store) => self.store = Some(store),
                Err(error) => self.failed(&error),
            }
        }
        self.store.clone()
    }

    fn failed(&mut self, error: &StoreError) {
        tracing::warn!(%error, "spans are not kept now");
        self.store = None;
        self.resting = Some(Instant::now() + REST);
    }

    /// Whether the batch is kept.
    async fn take(&mut self, batch: &Arc<Batch>, now_us: i64) -> bool {
        let Some(store) = self.store().await else { return false };
        match store.insert(batch, &self.bounds, now_us).await {
            Ok(written) => self.written += written,
            Err(error) => {
                self.failed(&error);
                return false;
            }
        }
        if self.written > self.bounds.kept_bytes_max / 16 {
            self.sweep(now_us).await;
        }
        true
    }

    async fn sweep(&mut self, now_us: i64) {
        let Some(store) = self.store().await else { return };
        match store.sweep(&self.bounds, now_us).await {
            Ok(()) => self.written = 0,
            Err(error) => self.failed(&error),
        }
    }
}

/// Whether a span is worth keeping longer: it had an error, or it was slow.
pub(super) fn is_notable(span: &Span, slow_ms: u64) -> bool {
    let took_ns = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    span.status.as_ref().is_some_and(|status| status.code == ERROR)
        || span.attributes.iter().any(|attribute| attribute.key == "error.type")
        || took_ns >= slow_ms.saturating_mul(1_000_000)
}

impl Store {
    /// Inserts the spans of a batch; those that are there already are left, and so are those beyond
    /// [`TRACE_SYSTEM_SPANS_MAX`] of one system in one trace. The bytes that were inserted.
    pub(super) async fn insert(
        &self,
        batch: &Batch,
        bounds: &TracesConfig,
        now_us: i64,
    ) -> Result<u64, StoreError> {
        let scopes = batch.spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans: Vec<&Span> = scopes.flat_map(|scope| &scope.spans).collect();
        // By trace, in an order: two gateways that write to one database must not wait for each other.
        let mut traces: BTreeMap<&[u8], OfTrace> = BTreeMap::new();
        for span in &spans {
            traces.entry(&span.trace_id).or_default().notable |= is_notable(span, bounds.slow_ms);
        }
        on!(self, |pool| {
            let mut transaction = pool.begin().await?;
            for (trace, of_trace) in &mut traces {
                if of_trace.notable {
                    let others = "update trace_span set notable = 1 where trace_id = $1 and notable = 0";
                    sqlx::query(others).bind(trace.to_vec()).execute(&mut *transaction).await?;
                } else {
                    let found = "select id from trace_span where trace_id = $1 and notable = 1 limit 1";
                    let found: Option<(i64,)> =
                        sqlx::query_as(found).bind(trace.to_vec()).fetch_optional(&mut *transaction).await?;
                    of_trace.notable = found.is_some();
                }
                let there = "select count(*) from trace_span where trace_id = $1 and system = $2";
                let there = sqlx::query_as(there).bind(trace.to_vec()).bind(&batch.system);
                let (there,): (i64,) = there.fetch_one(&mut *transaction).await?;
                of_trace.there = there;
            }
            let mut written = 0;
            for span in spans {
                let Some(of_trace) = traces.get_mut(&*span.trace_id) else { continue };
                if of_trace.there >= TRACE_SYSTEM_SPANS_MAX {
                    continue;
                }
                let body = span.encode_to_vec();
                let bytes = i64::try_from(body.len() + ROW_BYTES).unwrap_or(i64::MAX);
                let insert = "insert into trace_span (trace_id, span_id, system, received_us, notable, bytes, body) \
                              values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
                let inserted = sqlx::query(insert)
                    .bind(span.trace_id.clone())
                    .bind(span.span_id.clone())
                    .bind(batch.system.clone())
                    .bind(now_us)
                    .bind(i64::from(of_trace.notable))
                    .bind(bytes)
                    .bind(body)
                    .execute(&mut *transaction)
                    .await?;
                if inserted.rows_affected() > 0 {
                    of_trace.there += 1;
                    written += u64::try_from(bytes).unwrap_or_default();
                }
            }
            transaction.commit().await?;
            Ok(written)
        })
    }

    /// Removes what is older than the bounds, then, while there is too much, the oldest of the system that has most:
    /// what is notable last. So nobody drives out what others brought.
    pub(super) async fn sweep(&self, bounds: &TracesConfig, now_us: i64) -> Result<(), StoreError> {
        let before = |keep_s: u64| {
            let keep_us = i64::try_from(keep_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
            now_us.saturating_sub(keep_us)
        };
        for (system, _) in self.bytes().await? {
            for (notable, keep_s) in [(0_i64, bounds.keep_s), (1, bounds.keep_notable_s)] {
                on!(self, |pool| {
                    let old =
                        "delete from trace_span where system = $1 and notable = $2 and received_us < $3";
                    let old = sqlx::query(old).bind(&system).bind(notable).bind(before(keep_s));
                    old.execute(pool).await?;
                });
            }
        }
        let bytes_max = i64::try_from(bounds.kept_bytes_max).unwrap_or(i64::MAX);
        let mut systems = self.bytes().await?;
        let mut all: i64 = systems.iter().map(|(_, bytes)| bytes).sum();
        while all > bytes_max
            && let Some((system, bytes)) = systems.iter_mut().max_by_key(|(_, bytes)| *bytes)
        {
            let removed: Vec<(i64,)> = on!(self, |pool| {
                let oldest = "delete from trace_span where id in (select id from trace_span where system = $1 \
                              order by notable, received_us, bytes limit $2) returning bytes";
                sqlx::query_as(oldest).bind(&*system).bind(REMOVED_TOGETHER).fetch_all(pool).await?
            });
            if removed.is_empty() {
                break;
            }
            let removed: i64 = removed.iter().map(|(bytes,)| bytes).sum();
            all = all.saturating_sub(removed);
            *bytes = bytes.saturating_sub(removed);
        }
        Ok(())
    }

    /// Bytes of all spans, by system.
    pub(super) async fn bytes(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let sum = "select system, cast(sum(bytes) as bigint) from trace_span group by system";
        Ok(on!(self, |pool| sqlx::query_as(sum).fetch_all(pool).await?))
    }
}

/// What is known of a trace before spans of it are inserted.
#[derive(Debug, Default)]
struct OfTrace {
    /// Whether something makes it notable.
    notable: bool,
    /// Spans of the same system that are there.
    there: i64,
}
