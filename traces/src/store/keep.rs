//! Writing to the store: batches as they come, and what is too old or too much is removed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use prost::Message as _;
use tokio::time::Instant;
use ura_evidence::store::Address;
use ura_runtime::clock::Clock;

use super::{Store, StoreError, on};
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
/// `status.code` of a span with an error (OTLP, `Status.StatusCode`).
const ERROR: i32 = 2;

/// Keeps what comes until the queue ends.
pub async fn keep(mut waiting: Waiting, evidence: Address, bounds: TracesConfig, clock: Clock) {
    let mut keeper = Keeper { bounds, store: None, written: 0, swept: None };
    let mut resting: Option<Instant> = None;
    while let Some(batch) = waiting.next().await {
        let counters = &waiting.counters;
        if resting.is_some_and(|until| Instant::now() < until) {
            count(&counters.not_stored, batch.count);
            continue;
        }
        match keeper.take(&evidence, &batch, clock.unix_us()).await {
            Ok(()) => {
                count(&counters.stored, batch.count);
                resting = None;
            }
            Err(error) => {
                tracing::warn!(%error, spans = batch.count, "spans are not kept now");
                count(&counters.not_stored, batch.count);
                keeper.store = None;
                resting = Some(Instant::now() + REST);
            }
        }
    }
    if let Some(store) = keeper.store {
        store.close().await;
    }
}

struct Keeper {
    bounds: TracesConfig,
    store: Option<Store>,
    /// Bytes since the last removal.
    written: u64,
    swept: Option<Instant>,
}

impl Keeper {
    async fn take(&mut self, evidence: &Address, batch: &Arc<Batch>, now_us: i64) -> Result<(), StoreError> {
        let store = match &self.store {
            Some(store) => store.clone(),
            None => self.store.insert(Store::open(evidence).await?).clone(),
        };
        self.written += store.insert(batch, &self.bounds, now_us).await?;
        let late = self.swept.is_none_or(|swept| swept.elapsed() >= SWEEP_EVERY);
        if late || self.written > self.bounds.kept_bytes_max / 16 {
            store.sweep(&self.bounds, now_us).await?;
            self.swept = Some(Instant::now());
            self.written = 0;
        }
        Ok(())
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
    /// Inserts the spans of a batch; those that are there already are left. The bytes that were inserted.
    pub(super) async fn insert(
        &self,
        batch: &Batch,
        bounds: &TracesConfig,
        now_us: i64,
    ) -> Result<u64, StoreError> {
        let scopes = batch.spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans: Vec<&Span> = scopes.flat_map(|scope| &scope.spans).collect();
        // By trace: whether something in this batch makes it notable.
        let mut traces: HashMap<&[u8], bool> = HashMap::new();
        for span in &spans {
            *traces.entry(&span.trace_id).or_default() |= is_notable(span, bounds.slow_ms);
        }
        on!(self, |pool| {
            let mut transaction = pool.begin().await?;
            for (trace, notable) in &mut traces {
                if *notable {
                    let others = "update trace_span set notable = 1 where trace_id = $1 and notable = 0";
                    sqlx::query(others).bind(trace.to_vec()).execute(&mut *transaction).await?;
                } else {
                    let found = "select id from trace_span where trace_id = $1 and notable = 1 limit 1";
                    let found: Option<(i64,)> =
                        sqlx::query_as(found).bind(trace.to_vec()).fetch_optional(&mut *transaction).await?;
                    *notable = found.is_some();
                }
            }
            let mut written = 0;
            for span in spans {
                let body = span.encode_to_vec();
                let bytes = i64::try_from(body.len()).unwrap_or(i64::MAX);
                let insert = "insert into trace_span (trace_id, span_id, system, received_us, notable, bytes, body) \
                              values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
                let inserted = sqlx::query(insert)
                    .bind(span.trace_id.clone())
                    .bind(span.span_id.clone())
                    .bind(batch.system.clone())
                    .bind(now_us)
                    .bind(i64::from(traces.get(&*span.trace_id).copied().unwrap_or_default()))
                    .bind(bytes)
                    .bind(body)
                    .execute(&mut *transaction)
                    .await?;
                if inserted.rows_affected() > 0 {
                    written += u64::try_from(bytes).unwrap_or_default();
                }
            }
            transaction.commit().await?;
            Ok(written)
        })
    }

    /// Removes what is older than the bounds, then the oldest while there is too much: what is notable last.
    pub(super) async fn sweep(&self, bounds: &TracesConfig, now_us: i64) -> Result<(), StoreError> {
        let before = |keep_s: u64| {
            let keep_us = i64::try_from(keep_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
            now_us.saturating_sub(keep_us)
        };
        for (notable, keep_s) in [(0_i64, bounds.keep_s), (1, bounds.keep_notable_s)] {
            on!(self, |pool| {
                sqlx::query("delete from trace_span where notable = $1 and received_us < $2")
                    .bind(notable)
                    .bind(before(keep_s))
                    .execute(pool)
                    .await?;
            });
        }
        let bytes_max = i64::try_from(bounds.kept_bytes_max).unwrap_or(i64::MAX);
        let mut bytes = self.bytes().await?;
        while bytes > bytes_max {
            on!(self, |pool| {
                let oldest = "delete from trace_span where id in \
                              (select id from trace_span order by notable, received_us, bytes limit $1)";
                sqlx::query(oldest).bind(REMOVED_TOGETHER).execute(pool).await?;
            });
            let left = self.bytes().await?;
            if left >= bytes {
                break;
            }
            bytes = left;
        }
        Ok(())
    }

    /// Bytes of all spans.
    pub(super) async fn bytes(&self) -> Result<i64, StoreError> {
        let sum = "select cast(coalesce(sum(bytes), 0) as bigint) from trace_span";
        let (bytes,): (i64,) = on!(self, |pool| sqlx::query_as(sum).fetch_one(pool).await?);
        Ok(bytes)
    }
}
