//! After a failure: what became of a commit that was not answered, whether the log is still ours, and
//! whether everything stands in it. Back at work only when a commit has shown that.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{
    AppendError, EvidenceError, Place,
    batch::{Batch, Job},
    setup::{acquire, begun},
    work::Worker,
};
use crate::{
    lease::LeaseError,
    store::{Store, StoreError},
};

/// How long a store may take to be opened, in milliseconds.
const OPEN_MS_MAX: u64 = 10_000;

impl Worker {
    /// The log cannot be written from here on.
    pub(super) fn down(&mut self, error: &EvidenceError) {
        let gauges = &self.shared.gauges;
        gauges.available.store(false, Ordering::Relaxed);
        let is_fenced = match error {
            EvidenceError::Append(error) => error.is_fenced(),
            EvidenceError::Store(error) => matches!(error, StoreError::Fenced { .. }),
            EvidenceError::Lease(error) => !matches!(error, LeaseError::Store(_)),
            _ => false,
        };
        gauges.fenced.store(is_fenced, Ordering::Relaxed);
        gauges.tally.failures.fetch_add(1, Ordering::Relaxed);
        // The first attempt follows at once; a connection that was lost is often there again.
        let is_first = self.store.take().is_some();
        self.next_retry = Instant::now() + if is_first { Duration::ZERO } else { self.setup.pace.retry };
        let told = error.to_string();
        if self.trouble.as_ref() != Some(&told) {
            tracing::error!(error = %told, "the log cannot be written: calls are refused");
            self.trouble = Some(told);
        }
    }

    /// While the log cannot be written: closings and acts wait, whatever else comes is refused.
    pub(super) fn turn_away(&mut self, jobs: impl Iterator<Item = Job>) {
        let now_us = self.now_us();
        let mut batch = Batch::default();
        batch.fresh(jobs);
        if !batch.is_empty() {
            batch.waiting_last(&mut self.outage, now_us);
        }
        if let Some(unanswered) = &mut self.unanswered
            && Instant::now() >= unanswered.until
        {
            unanswered.tell_nobody_knows(&mut self.outage, now_us);
        }
    }

    /// Tries to get back to work.
    pub(super) async fn recover(&mut self) {
        let now_us = self.now_us();
        self.count_refused(now_us);
        match Box::pin(self.try_recover()).await {
            Ok(()) => {
                self.trouble = None;
                self.shared.gauges.fenced.store(false, Ordering::Relaxed);
                self.shared.gauges.available.store(true, Ordering::Relaxed);
                self.next_upkeep = Instant::now();
                tracing::info!(log = %self.log.origin, "the log is written again");
            }
            Err(error) => {
                self.store = None;
                self.down(&error);
            }
        }
    }

    async fn try_recover(&mut self) -> Result<(), EvidenceError> {
        let opening = Store::open(&self.setup.address);
        let opened = tokio::time::timeout(Duration::from_millis(OPEN_MS_MAX), opening).await;
        let mut store = opened.map_err(|_| EvidenceError::Silent(OPEN_MS_MAX))??;
        self.resolve(&mut store).await?;
        self.check_memory(&mut store).await?;
        self.keep_or_take(&mut store).await?;
        self.store = Some(store);
        self.start().await?;
        // The first commit shows that it is so. It tells of the gap, if there is one.
        let (mut batch, now_us) = (Batch::default(), self.now_us());
        batch.outage(&mut self.outage, now_us);
        self.commit(batch, false, false).await
    }

    /// Finds out what became of a commit that was not answered.
    async fn resolve(&mut self, store: &mut Store) -> Result<(), EvidenceError> {
        let Some(unanswered) = &self.unanswered else { return Ok(()) };
        let (log, from, now_us) = (unanswered.log, unanswered.first, self.now_us());
        let to = from.saturating_add(unanswered.len());
        // The lock of the log's row is had only when that transaction is over, one way or the other. So it
        // is when another process could take the log or seal it.
        let leaves = match store.begin(log, self.log.by, 0, now_us).await {
            Ok(mut append) => {
                let to = to.min(append.first());
                if from < to { append.leaves(from, to).await? } else { Vec::new() }
            }
            Err(StoreError::Fenced { .. }) => self.reader.leaves(log, from, to).await.or_else(absent)?,
            Err(error) => return Err(error.into()),
        };
        let Some(unanswered) = self.unanswered.take() else { return Ok(()) };
        let (is_in, origin) = (unanswered.is_in(&leaves), unanswered.origin.clone());
        tracing::warn!(entries = unanswered.len(), is_in, "a commit that was not answered is looked up");
        let batch = unanswered.into_batch();
        if is_in {
            batch.written(&origin, from, &mut self.outage, &mut self.exchanges);
        } else {
            batch.failed(&mut self.outage, now_us);
        }
        Ok(())
    }

    /// Compares the log with what this process knows to have been committed.
    async fn check_memory(&mut self, store: &mut Store) -> Result<(), EvidenceError> {
        let (origin, known) = (self.log.origin.clone(), self.log.size());
        let found = store.log(&origin, &self.candidate.gateway).await?.size;
        if found < known {
            return Err(AppendError::RolledBack { origin, known, found }.into());
        }
        if self.reader.frontier(self.log.log, known).await?.root() != self.log.root() {
            return Err(EvidenceError::OtherRoot { origin, place: Place::Memory, size: known });
        }
        Ok(())
    }

    /// Keeps the lease where it still is ours, or takes it as at a start.
    async fn keep_or_take(&mut self, store: &mut Store) -> Result<(), EvidenceError> {
        let row = store.log(&self.log.origin, &self.candidate.gateway).await?;
        if !row.sealed && [row.token, row.previous_token].contains(&self.lease.token) {
            return Ok(());
        }
        let (reader, log_keys, epochs) = (&self.reader, &self.setup.log_keys, &self.shared.epochs);
        let (row, checked, lease) = acquire(store, &mut self.candidate, reader, log_keys, epochs).await?;
        let is_other = row.log != self.log.log;
        (self.keys, self.log) = begun(&row, checked, epochs, &lease);
        self.lease = lease;
        if is_other {
            self.exchanges.moved();
        }
        self.unstarted = Some(row);
        Ok(())
    }
}

/// Leaves that are not all there are none of ours.
fn absent(error: StoreError) -> Result<Vec<ura_log::Hash>, StoreError> {
    if matches!(error, StoreError::Altered { .. }) { Ok(Vec::new()) } else { Err(error) }
}
