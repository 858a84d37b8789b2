//! Ending the log of a gateway that does not come back: visibly, by an entry in it, a last checkpoint under the key of
//! the gateway that ends it, and a new version of the registry. Whoever is wrongly taken for dead is fenced by the
//! lease, and goes on in a log of the next generation.
//!
//! | module | its job |
//! |---|---|
//! | `ending` | the steps from the lease to the last checkpoint |
//! | `stillness` | which logs nobody writes any more |
//! | `watch` | the future of a gateway that looks after the others |

mod ending;
mod stillness;
#[cfg(test)]
mod tests;
mod watch;

use tokio::time::Instant;
use ura_log::checkpoint::CheckpointError;
use ura_runtime::clock::Clock;

use crate::{
    lease::{Holder, Seen, Stillness, Watch},
    registry::{self, Own, RegistryError},
    store::{LogRow, Reader, Store, StoreError},
};

pub use watch::{WatchOthers, watch_others};

/// Longest reason that is recorded, in bytes.
pub const REASON_BYTES_MAX: usize = 1024;

/// Why a log was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The store has no such log.
    #[error("the store has no log `{0}`")]
    NoLog(String),
    /// It has ended already.
    #[error("log `{0}` is sealed already")]
    Already(String),
    /// The gateway's own log.
    #[error("log `{0}` is this gateway's own: a log is sealed by another gateway of the same store")]
    Own(String),
    /// Its gateway lives.
    #[error("log `{origin}` is written by process `{holder}`, which lives; stop that gateway first")]
    InUse {
        /// Name of the log.
        origin: String,
        /// The process, as its lease names it.
        holder: String,
    },
    /// Others changed its lease meanwhile.
    #[error("log `{0}` was taken by somebody else meanwhile")]
    Taken(String),
    /// Its row is locked.
    #[error("log `{0}` is locked by a transaction that does not end; it is tried again later")]
    Locked(String),
    /// Its entries are not what was signed.
    #[error(
        "log `{origin}` is not sealed, because nothing may be signed on top of it: {what}. `ura evidence verify` tells more"
    )]
    Unsound {
        /// Name of the log.
        origin: String,
        /// What is wrong.
        what: String,
    },
    /// The last checkpoint could not be made.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The registry could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It is sealed, and the registry does not say so yet; a gateway that runs on the store writes that.
    #[error("log `{origin}` is sealed, but the registry does not list it as such yet: {source}")]
    Unlisted {
        /// Name of the log.
        origin: String,
        /// Why.
        source: RegistryError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A log that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Entries that it has for ever.
    pub size: u64,
    /// Exchanges that were closed with an unknown outcome.
    pub closed: u64,
}

/// Seals another gateway's log on an operator's word. A holder that beats or lives is not overruled; one elsewhere is
/// watched for five seconds. `reason` is recorded, its first [`REASON_BYTES_MAX`] bytes.
///
/// # Errors
/// [`SealError`].
pub async fn seal(
    store: &mut Store,
    reader: &Reader,
    origin: &str,
    own: &Own,
    reason: &str,
    clock: &Clock,
) -> Result<Sealed, SealError> {
    Box::pin(seal_watching(store, reader, origin, own, reason, clock, Watch::default())).await
}

async fn seal_watching(
    store: &mut Store,
    reader: &Reader,
    origin: &str,
    own: &Own,
    reason: &str,
    clock: &Clock,
    watch: Watch,
) -> Result<Sealed, SealError> {
    if origin == own.origin {
        return Err(SealError::Own(origin.to_owned()));
    }
    let row = reader.log_by_origin(origin).await?.ok_or_else(|| SealError::NoLog(origin.to_owned()))?;
    if row.sealed {
        return Err(SealError::Already(origin.to_owned()));
    }
    refuse_living(reader, &row, watch).await?;
    let sound = ending::check(reader, &own.epochs, &row).await?;
    let token = ending::take(store, &row).await?.ok_or_else(|| SealError::Taken(origin.to_owned()))?;
    let sealed = ending::end(store, reader, &sound, token, own, reason, clock).await?;
    list(store, reader, own, origin, clock).await?;
    Ok(sealed)
}

/// Has the registry say that a log is sealed.
async fn list(
    store: &mut Store,
    reader: &Reader,
    own: &Own,
    origin: &str,
    clock: &Clock,
) -> Result<(), SealError> {
    let announced = registry::announce(store, reader, own, clock.unix_us()).await;
    announced.map(drop).map_err(|source| SealError::Unlisted { origin: origin.to_owned(), source })
}

/// Whoever holds the log must be dead, or silent for a while.
async fn refuse_living(reader: &Reader, row: &LogRow, watch: Watch) -> Result<(), SealError> {
    let here = Holder::own();
    let in_use = |holder: &str| SealError::InUse { origin: row.origin.clone(), holder: holder.to_owned() };
    let mut elsewhere = None;
    for (token, holder) in [(row.token, &row.holder), (row.previous_token, &row.previous_holder)] {
        match here.sees(holder) {
            _ if token == 0 => {}
            Seen::Alive => return Err(in_use(holder)),
            Seen::Elsewhere => elsewhere = elsewhere.or(Some(holder)),
            Seen::Dead => {}
        }
    }
    let Some(holder) = elsewhere else { return Ok(()) };
    let mut stillness = Stillness::new(watch, row.beat, Instant::now());
    loop {
        tokio::time::sleep(watch.poll).await;
        let beat = reader.log_by_origin(&row.origin).await?.map_or(row.beat, |row| row.beat);
        match stillness.look(beat, Instant::now()) {
            Some(true) => return Err(in_use(holder)),
            Some(false) => return Ok(()),
            None => {}
        }
    }
}
