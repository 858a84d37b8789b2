//! The writer's loop: takes what has gathered, commits it, and wakes by itself only for what is due:
//! an unsigned checkpoint, the upkeep of each second, another attempt after a failure.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use ura_proto::v1::{KeyChange, Started, entry::Kind};

use super::{
    AppendError, EvidenceError, Shared,
    batch::{Batch, Job, Unanswered},
    gap::Outage,
    log_state::{LogState, Signing},
    open_exchanges::OpenExchanges,
    setup::{Setup, acquire, begun},
};
use crate::{
    entry::Row,
    keys::LogKeys,
    lease::{self, Candidate, Holder, Lease},
    store::{LogRow, Reader, Store, StoreError},
    sweep::{Looked, Sweep},
};

/// Attempts that may fail to write what is left when every handle is gone.
const LAST_ATTEMPTS_MAX: u32 = 10;

/// How long the waiters of a commit without an answer are kept waiting for one, in milliseconds.
const ANSWER_MS_MAX: u64 = 5_000;

/// The writer's own state.
pub(super) struct Worker {
    pub(super) setup: Setup,
    pub(super) shared: Arc<Shared>,
    pub(super) candidate: Candidate,
    /// `None` while the log cannot be written.
    pub(super) store: Option<Store>,
    pub(super) reader: Reader,
    pub(super) keys: LogKeys,
    pub(super) log: LogState,
    pub(super) lease: Lease,
    /// The log as it was taken, until the start is recorded in it.
    pub(super) unstarted: Option<LogRow>,
    /// Id of the epoch key that the log knows to be the newest.
    pub(super) epoch: String,
    /// A new log key that signs, and whose first checkpoint is not there yet.
    pub(super) unconfirmed: Option<KeyChange>,
    pub(super) outage: Outage,
    pub(super) exchanges: OpenExchanges,
    pub(super) unanswered: Option<Unanswered>,
    /// Left to be swept; `None` while a predecessor may still close what it opened.
    pub(super) sweep: Option<Sweep>,
    pub(super) looking: Option<JoinHandle<Result<Looked, StoreError>>>,
    /// Commits and beats of ours since a predecessor was looked at.
    pub(super) own_beats: i64,
    pub(super) last_commit: Instant,
    pub(super) next_upkeep: Instant,
    pub(super) next_retry: Instant,
    pub(super) next_hourly: Instant,
    pub(super) next_swept: Instant,
    /// The failure that was told last.
    pub(super) trouble: Option<String>,
}

/// Why the loop woke.
enum Woken {
    Jobs,
    Looked(Result<Looked, StoreError>),
    Due,
    /// Every handle is gone.
    Over,
}

impl Worker {
    /// Opens the log, takes its lease, and records the start.
    pub(super) async fn open(setup: Setup, shared: Arc<Shared>) -> Result<Self, EvidenceError> {
        let mut store = Store::open(&setup.address).await?;
        let reader = Reader::open(&setup.address).await?;
        let mut candidate = Candidate {
            holder: Holder::own(),
            origin: setup.origin.clone(),
            gateway: setup.who.gateway.to_string(),
            take_over: setup.who.take_over,
            watch: setup.pace.watch,
            asked: None,
        };
        let acquired = acquire(&mut store, &mut candidate, &reader, &setup.log_keys, &shared.epochs).await;
        let (row, checked, lease) = match acquired {
            Ok(acquired) => acquired,
            Err(error) => {
                // Closed, a store in SQLite leaves one file behind: whoever puts the right file in its place must
                // not have the log of this one (`-wal`) replayed over it.
                reader.close().await;
                drop(store.close().await);
                return Err(error);
            }
        };
        // Only the first taking relieves a process that lives.
        candidate.take_over = false;
        let now = Instant::now();
        let (keys, log) = begun(&row, checked, &shared.epochs, &lease);
        let mut worker = Self {
            epoch: String::new(),
            unconfirmed: None,
            outage: Outage::default(),
            exchanges: OpenExchanges::default(),
            unanswered: None,
            unstarted: Some(row),
            sweep: None,
            looking: None,
            own_beats: 0,
            last_commit: now,
            next_upkeep: now,
            next_retry: now,
            next_hourly: now,
            next_swept: now,
            trouble: None,
            store: Some(store),
            setup,
            shared,
            candidate,
            reader,
            keys,
            log,
            lease,
        };
        if let Err(error) = worker.start().await {
            worker.release().await;
            worker.reader.close().await;
            if let Some(store) = worker.store.take() {
                drop(store.close().await);
            }
            return Err(error);
        }
        Ok(worker)
    }

    /// Records that this process writes the log from here on, and signs it, where that is not done.
    pub(super) async fn start(&mut self) -> Result<(), EvidenceError> {
        let Some(swept) = self.unstarted.as_ref().map(|row| row.swept) else { return Ok(()) };
        let origin = self.log.origin.clone();
        let epoch = self.shared.epochs.newest().id().to_owned();
        let who = &self.setup.who;
        let started = Started {
            origin: origin.as_ref().to_owned(),
            gateway: who.gateway.to_string(),
            program: who.program.clone(),
            holder: self.candidate.holder.to_string(),
            log_key: self.keys.newest().key().to_string(),
            epoch: epoch.clone(),
            directory_version: who.directory_version.clone(),
            directory_digest: who.directory_digest.to_vec(),
        };
        let mut batch = Batch::default();
        batch.own(Row::new(None, self.now_us(), Kind::Started(started)));
        self.commit(batch, true, false).await?;
        self.epoch = epoch;
        let generation = lease::generation_of(&self.setup.origin, &origin);
        self.shared.gauges.generation.store(generation, Ordering::Relaxed);
        self.shared.gauges.set_origin(origin);
        self.unstarted = None;
        self.looking = None;
        self.sweep = Some(Sweep { log: self.log.log, next: swept, below: self.log.size() });
        Ok(())
    }

    /// Writes until every handle is gone and nothing is left.
    pub(super) async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let mut taken = Vec::with_capacity(self.setup.jobs_max);
        loop {
            let woken = self.wait(&mut jobs, &mut taken).await;
            self.shared.gauges.queued.fetch_sub(taken.len(), Ordering::Relaxed);
            match woken {
                Woken::Over => break,
                Woken::Looked(looked) => self.close_unclosed(looked).await,
                Woken::Jobs | Woken::Due => {}
            }
            let now = Instant::now();
            if self.store.is_none() {
                self.turn_away(taken.drain(..));
                if now >= self.next_retry {
                    self.recover().await;
                }
            } else {
                self.write(taken.drain(..)).await;
                if self.store.is_some() && now >= self.next_upkeep {
                    self.upkeep().await;
                }
            }
            let waiting = self.outage.waiting();
            self.shared.gauges.waiting.store(waiting, Ordering::Relaxed);
            let (refused, closings_lost) = self.outage.totals();
            self.shared.gauges.tally.refused.store(refused, Ordering::Relaxed);
            self.shared.gauges.tally.closings_lost.store(closings_lost, Ordering::Relaxed);
        }
        self.end().await;
    }

    /// Waits for something to do.
    async fn wait(&mut self, jobs: &mut mpsc::UnboundedReceiver<Job>, taken: &mut Vec<Job>) -> Woken {
        let is_up = self.store.is_some();
        let due = self.log.due(self.setup.interval).filter(|_| is_up);
        let until = if is_up { self.next_upkeep } else { self.next_retry };
        let until = due.map_or(until, |due| due.min(until));
        // What waits is written at once, with what has gathered.
        let is_behind = is_up && !self.outage.is_over();
        let looking = &mut self.looking;
        let looked = async {
            match looking {
                Some(task) => task.await.unwrap_or_else(|error| Err(StoreError::Gone(error.to_string()))),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // First, for there is one at a time: behind a queue that is never empty it would never be heard.
            looked = looked => Woken::Looked(looked),
            received = jobs.recv_many(taken, self.setup.jobs_max) => {
                if received == 0 { Woken::Over } else { Woken::Jobs }
            }
            () = std::future::ready(()), if is_behind => Woken::Due,
            () = tokio::time::sleep_until(until) => Woken::Due,
        }
    }

    /// Commits what has gathered, and signs where that is due.
    async fn write(&mut self, jobs: impl ExactSizeIterator<Item = Job>) {
        let now_us = self.now_us();
        self.count_refused(now_us);
        let mut batch = Batch::with_capacity(jobs.len());
        batch.outage(&mut self.outage, now_us);
        batch.fresh(jobs);
        let is_due = self.log.due(self.setup.interval).is_some_and(|due| due <= Instant::now());
        if batch.is_empty() && !is_due {
            return;
        }
        if let Err(error) = self.commit(batch, false, false).await {
            self.down(&error);
        }
    }

    /// Commits one batch and tells its waiters. `sign`: sign whatever is not signed; `keep`: the
    /// checkpoint is one that stays.
    pub(super) async fn commit(
        &mut self,
        mut batch: Batch,
        sign: bool,
        keep: bool,
    ) -> Result<(), EvidenceError> {
        let now_us = self.now_us();
        let Some(store) = &mut self.store else {
            batch.failed(&mut self.outage, now_us);
            return Err(StoreError::Gone("it is not open".to_owned()).into());
        };
        let interval = self.setup.interval;
        let signing = Signing { signer: self.keys.newest(), interval, now: sign, keep };
        let (outage, refused) = (&mut self.outage, &self.shared.refused);
        let Batch { rows, sources } = &mut batch;
        let late = |rows: &mut [Row]| {
            // Nothing is committed between this and the rows: whoever was refused until now is counted.
            outage.refused(refused.swap(0, Ordering::Relaxed), now_us);
            Batch::recount(rows, sources, outage, now_us);
        };
        let (began, records) = (Instant::now(), rows.len());
        match self.log.append(store, rows, &signing, now_us, late).await {
            Ok(appended) => {
                if records > 0 {
                    self.shared.gauges.tally.commits.observe(began.elapsed());
                }
                let origin = self.log.origin.clone();
                batch.written(&origin, appended.first, &mut self.outage, &mut self.exchanges);
                self.committed(appended.note);
                Ok(())
            }
            Err(error) => {
                // Before any waiter is told: who asks again is refused at once.
                self.shared.gauges.available.store(false, Ordering::Relaxed);
                if let AppendError::Unknown { first, .. } = error {
                    let until = Instant::now() + Duration::from_millis(ANSWER_MS_MAX);
                    let (log, origin) = (self.log.log, self.log.origin.clone());
                    self.unanswered = Some(Unanswered::new(log, origin, first, batch, until));
                } else {
                    batch.failed(&mut self.outage, now_us);
                }
                Err(error.into())
            }
        }
    }

    /// Takes note of a commit.
    fn committed(&mut self, note: Option<String>) {
        self.own_beats += 1;
        self.last_commit = Instant::now();
        let gauges = &self.shared.gauges;
        gauges.size.store(self.log.size(), Ordering::Relaxed);
        if let Some(note) = note {
            gauges.signed_size.store(self.log.signed_size(), Ordering::Relaxed);
            gauges.tally.signed_unix_us.store(self.shared.clock.unix_us(), Ordering::Relaxed);
            // It is in the store all the same.
            if let Err(error) = self.keys.write_held(&note) {
                tracing::warn!(%error, "the newest checkpoint cannot be held apart from the store");
            }
        }
    }

    /// Calls that were refused by the handles belong into the gap.
    pub(super) fn count_refused(&mut self, now_us: i64) {
        self.outage.refused(self.shared.refused.swap(0, Ordering::Relaxed), now_us);
    }

    pub(super) fn now_us(&self) -> i64 {
        self.shared.clock.unix_us()
    }

    /// Writes what is left, signs, and gives the lease back.
    async fn end(mut self) {
        let mut failed = 0;
        while failed < LAST_ATTEMPTS_MAX && (self.store.is_none() || !self.outage.is_over()) {
            if self.store.is_none() {
                self.recover().await;
            } else {
                self.write(std::iter::empty()).await;
            }
            if self.store.is_none() {
                failed += 1;
                tokio::time::sleep(self.setup.pace.retry).await;
            }
        }
        if let Err(error) = self.commit(Batch::default(), true, false).await {
            self.down(&error);
        }
        if self.store.is_none() || !self.outage.is_over() {
            let closings = self.outage.waiting();
            tracing::error!(closings, "the log could not be written to the end");
        }
        self.note_swept().await;
        self.release().await;
    }

    /// Gives the lease back, so that the next process need not ask whether this one lives.
    async fn release(&mut self) {
        if let Some(looking) = self.looking.take() {
            looking.abort();
        }
        self.reader.close().await;
        let Some(mut store) = self.store.take() else { return };
        let released = store.release(self.log.log, self.lease.token).await;
        if let Err(error) = released.and(store.close().await) {
            tracing::warn!(%error, "the lease of the log could not be given back");
        }
    }
}
