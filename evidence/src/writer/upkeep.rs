//! What the writer does each second, beside its work: keys that changed, a sign of life, whether a
//! predecessor is gone, closings of exchanges that nobody else will close, checkpoints to be thinned out.

use std::time::Duration;

use tokio::time::Instant;
use ura_log::note::Key;
use ura_proto::v1::{Entry, KeyChange, entry::Kind};

use super::{EvidenceError, batch::Batch, work::Worker};
use crate::{
    entry::{self, Row, kind},
    store::{Filter, StoreError},
    sweep::{self, Looked, Sweep},
};

/// How often checkpoints are thinned out, and how old those are: a day.
const THIN_EVERY: Duration = Duration::from_secs(3600);
const THIN_OLDER_US: i64 = 86_400_000_000;

/// How often it is noted up to where nothing is open.
const SWEPT_EVERY: Duration = Duration::from_secs(60);

/// Announcements of keys that are looked through, newest first.
const KEY_CHANGES_MAX: u32 = 256;

impl Worker {
    /// The upkeep of each second.
    pub(super) async fn upkeep(&mut self) {
        self.next_upkeep = Instant::now() + self.setup.pace.upkeep;
        if let Err(error) = Box::pin(self.try_upkeep()).await {
            self.down(&error);
        }
    }

    async fn try_upkeep(&mut self) -> Result<(), EvidenceError> {
        self.follow_epochs().await?;
        self.follow_log_keys().await?;
        self.beat().await?;
        self.follow_predecessor().await?;
        self.look_for_unclosed();
        let now = Instant::now();
        if now >= self.next_swept {
            self.next_swept = now + SWEPT_EVERY;
            self.note_swept().await;
        }
        if now >= self.next_hourly {
            self.next_hourly = now + THIN_EVERY;
            self.thin().await?;
        }
        Ok(())
    }

    /// Takes up a new epoch key, and announces it where nobody did.
    async fn follow_epochs(&mut self) -> Result<(), EvidenceError> {
        if let Err(error) = self.shared.epochs.reload() {
            self.warn_of_keys(&error.to_string());
        }
        let newest = self.shared.epochs.newest().id().to_owned();
        if newest == self.epoch {
            return Ok(());
        }
        let is_announced = |change: &KeyChange| change.epoch == newest;
        if !self.key_changes().await?.iter().any(|(_, change)| is_announced(change)) {
            let before = self.epoch.clone();
            let change = KeyChange { epoch: newest.clone(), before, ..KeyChange::default() };
            let mut batch = Batch::default();
            batch.own(Row::new(None, self.now_us(), Kind::KeyChange(change)));
            self.commit(batch, false, false).await?;
        }
        self.epoch = newest;
        Ok(())
    }

    /// Makes a new log key current, once it is announced and the announcement is signed by the old one.
    async fn follow_log_keys(&mut self) -> Result<(), EvidenceError> {
        if let Err(error) = self.keys.reload() {
            self.warn_of_keys(&error.to_string());
        }
        self.confirm_log_key().await?;
        let mut pending: Vec<Key> = self.keys.pending();
        if pending.is_empty() {
            return Ok(());
        }
        let mut changes = self.key_changes().await?;
        // In the order of the log: each is announced under the one before.
        changes.reverse();
        for (index, change) in changes {
            let is_of = |key: &Key| key.to_string() == change.log_key;
            let Some(at) = pending.iter().position(is_of) else { continue };
            if self.log.signed_size() <= index {
                // Whoever knows only the old key learns the new one from this checkpoint: it stays.
                self.commit(Batch::default(), true, true).await?;
            }
            if self.log.signed_size() <= index {
                continue;
            }
            if let Some(store) = &mut self.store {
                store.keep_checkpoint(self.log.log, index).await?;
            }
            if let Err(error) = self.keys.activate(&pending[at]) {
                self.warn_of_keys(&error.to_string());
                continue;
            }
            pending.remove(at);
            self.unconfirmed = Some(change);
            self.confirm_log_key().await?;
        }
        Ok(())
    }

    /// Says the change once more under the new key and signs that, so that a checkpoint by it follows at once, and not
    /// only when there is something to record: from then on nothing is to be signed by the old one.
    async fn confirm_log_key(&mut self) -> Result<(), EvidenceError> {
        let Some(change) = self.unconfirmed.clone() else { return Ok(()) };
        let mut batch = Batch::default();
        batch.own(Row::new(None, self.now_us(), Kind::KeyChange(change)));
        self.commit(batch, true, true).await?;
        self.unconfirmed = None;
        Ok(())
    }

    /// Changes of keys that the log tells of, newest first.
    async fn key_changes(&self) -> Result<Vec<(u64, KeyChange)>, EvidenceError> {
        let filter = Filter { log: Some(self.log.log), kind: Some(kind::KEY_CHANGE), ..Filter::default() };
        let rows = self.reader.find(&filter, None, KEY_CHANGES_MAX).await?;
        let changes = rows.into_iter().filter_map(|(_, row)| {
            let body = row.body.filter(|body| entry::leaf(body) == row.leaf)?;
            match entry::decode(&body) {
                Ok(Entry { kind: Some(Kind::KeyChange(change)), .. }) => Some((row.index, change)),
                _ => None,
            }
        });
        let mut changes: Vec<_> = changes.collect();
        // Found by their times, and a clock may have been set back between two of them.
        changes.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        Ok(changes)
    }

    /// Keys that cannot be read stay as they were.
    fn warn_of_keys(&mut self, error: &str) {
        if self.trouble.as_deref() != Some(error) {
            tracing::warn!(%error, "keys cannot be read anew; those known before stay in use");
            self.trouble = Some(error.to_owned());
        }
    }

    /// A sign of life where no commit gave one. Takes in what others appended, so that it is signed too.
    async fn beat(&mut self) -> Result<(), EvidenceError> {
        if self.last_commit.elapsed() < self.setup.pace.upkeep {
            return Ok(());
        }
        self.commit(Batch::default(), false, false).await
    }

    /// Looks whether the process before this one has ended.
    async fn follow_predecessor(&mut self) -> Result<(), EvidenceError> {
        let Some(predecessor) = &mut self.lease.previous else { return Ok(()) };
        let Some(store) = &mut self.store else { return Ok(()) };
        let seen = self.candidate.holder.sees(&predecessor.holder);
        // The look at the row comes after the look at the process: what it wrote at last is seen.
        let row = store.log(&self.log.origin, &self.candidate.gateway).await?;
        let own_beats = std::mem::take(&mut self.own_beats);
        let is_released = row.previous_token != predecessor.token;
        if is_released || predecessor.is_gone(seen, row.beat, own_beats, Instant::now()) {
            if !is_released {
                tracing::warn!(holder = %predecessor.holder, "the process before this one ended without a word");
                store.release(self.log.log, predecessor.token).await?;
            }
            self.lease.previous = None;
            // What it left open is closed from here on; what it opened last may stand behind our start.
            let below = store.log(&self.log.origin, &self.candidate.gateway).await?.size;
            if let Some(sweep) = &mut self.sweep {
                sweep.below = below;
            }
        }
        Ok(())
    }

    /// Begins to look for exchanges that nobody will close, where none may be in another's hands.
    fn look_for_unclosed(&mut self) {
        if self.lease.previous.is_some() || self.looking.is_some() {
            return;
        }
        if let Some(sweep) = self.sweep.filter(|sweep| !sweep.is_done()) {
            self.exchanges.look_begins();
            self.looking = Some(tokio::spawn(sweep.look(self.reader.clone())));
        } else {
            self.sweep = None;
            self.exchanges.look_ends();
        }
    }

    /// Closes exchanges that nobody else will close.
    pub(super) async fn close_unclosed(&mut self, looked: Result<Looked, StoreError>) {
        self.looking = None;
        let Some(sweep) = self.sweep.filter(|_| self.store.is_some()) else { return };
        let closed = match looked {
            Ok(looked) => self.try_close(sweep, looked).await,
            Err(error) => {
                // The log can be written all the same; the next upkeep looks again.
                tracing::warn!(%error, "exchanges that nobody closed could not be looked for");
                self.exchanges.look_ends();
                return;
            }
        };
        self.exchanges.look_ends();
        match closed {
            Ok(()) => self.look_for_unclosed(),
            Err(error) => self.down(&error),
        }
    }

    async fn try_close(&mut self, sweep: Sweep, looked: Looked) -> Result<(), EvidenceError> {
        let now_us = self.now_us();
        let mut batch = Batch::default();
        let dead = looked.unclosed.iter().filter(|row| !self.exchanges.contains(&row.columns.exchange));
        dead.filter_map(|row| sweep::closing(row, now_us)).for_each(|row| batch.own(row));
        if !batch.is_empty() {
            tracing::warn!(
                exchanges = batch.rows.len(),
                "exchanges of a gateway that ended are closed as unknown"
            );
            self.commit(batch, false, false).await?;
        }
        self.sweep = Some(Sweep { next: looked.upto, ..sweep });
        Ok(())
    }

    /// Notes up to where every exchange is closed, so that the next start need not look there.
    pub(super) async fn note_swept(&mut self) {
        let Some(store) = &mut self.store else { return };
        let next = self.sweep.map_or(self.log.size(), |sweep| sweep.next);
        let swept = self.exchanges.first().map_or(next, |first| first.min(next));
        let noted = async {
            let row = store.log(&self.log.origin, &self.candidate.gateway).await?;
            // A process that was relieved knows nothing of what its successor has open.
            if row.token != self.lease.token || swept <= row.swept {
                return Ok(());
            }
            store.set_swept(self.log.log, self.lease.token, swept).await
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "it could not be noted up to where exchanges are closed");
        }
    }

    /// Thins out checkpoints: of those older than a day, one an hour stays.
    async fn thin(&mut self) -> Result<(), EvidenceError> {
        let now_us = self.now_us();
        let Some(store) = &mut self.store else { return Ok(()) };
        let mut append = store.begin(self.log.log, self.log.by, 0, now_us).await?;
        append.thin_checkpoints(now_us.saturating_sub(THIN_OLDER_US)).await?;
        append.commit().await?;
        self.own_beats += 1;
        Ok(())
    }
}
