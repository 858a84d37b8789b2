//! What a writer is made from: its configuration, its times, and a log that was checked and taken.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    EvidenceError, OpenAs,
    log_state::LogState,
    opening::{self, Checked},
};
use crate::{
    config::EvidenceConfig,
    keys::{EpochKeys, KeysError, LogKeys},
    lease::{self, ATTEMPTS_MAX, Candidate, Lease, LeaseError, Watch},
    store::{Address, Appender, LogRow, Reader, Store, StoreError},
};

/// Most jobs in one commit, whatever the configuration says: with what waited, one append of the store.
const JOBS_MAX: usize = 2048;

/// Times of the writer; tests have other ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How other holders are watched.
    pub(super) watch: Watch,
    /// Between two attempts after a failure.
    pub(super) retry: Duration,
    /// Between two upkeeps, and two signs of life.
    pub(super) upkeep: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let (retry, upkeep) = (Duration::from_millis(500), Duration::from_secs(1));
        Self { watch: Watch::default(), retry, upkeep }
    }
}

/// What a writer is made from.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) address: Address,
    pub(super) log_keys: PathBuf,
    pub(super) origin: String,
    pub(super) jobs_max: usize,
    pub(super) interval: Duration,
    pub(super) who: OpenAs,
    pub(super) pace: Pace,
}

impl Setup {
    pub(super) fn new(config: &EvidenceConfig, who: OpenAs, pace: Pace) -> Result<Self, StoreError> {
        Ok(Self {
            address: Address::parse(&config.store)?,
            log_keys: config.log_keys.clone(),
            origin: config.origin.clone(),
            jobs_max: config.batch_entries_max.clamp(1, JOBS_MAX),
            interval: Duration::from_millis(config.checkpoint_interval_ms),
            who,
            pace,
        })
    }
}

/// Takes the lease of the log as it is written now, once every generation of it was checked; looks again
/// as often as others are quicker.
pub(super) async fn acquire(
    store: &mut Store,
    candidate: &mut Candidate,
    reader: &Reader,
    log_keys: &Path,
    epochs: &EpochKeys,
) -> Result<(LogRow, Checked, Lease), EvidenceError> {
    for _ in 0..ATTEMPTS_MAX {
        let (sealed, row) = lease::generations(store, candidate).await?;
        for row in sealed {
            match LogKeys::read(log_keys, &row.origin) {
                Ok(keys) => drop(opening::check(reader, keys, epochs, &row).await?),
                // It was sealed before this gateway ever wrote it.
                Err(KeysError::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let checked = opening::check(reader, LogKeys::open(log_keys, &row.origin)?, epochs, &row).await?;
        if let Some(lease) = lease::take(store, &row, candidate).await? {
            return Ok((row, checked, lease));
        }
    }
    Err(LeaseError::Contended { origin: candidate.origin.clone() }.into())
}

/// The state of a log that was checked and taken.
pub(super) fn begun(
    row: &LogRow,
    checked: Checked,
    epochs: &EpochKeys,
    lease: &Lease,
) -> (LogKeys, LogState) {
    let Checked { keys, tree, mark, signed_size } = checked;
    let by = Appender::Holder(lease.token);
    (
        keys,
        LogState::new(
            row.log,
            row.origin.as_str().into(),
            by,
            epochs.clone(),
            (tree, Some(mark)),
            signed_size,
        ),
    )
}
