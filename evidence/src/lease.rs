//! Who may write a log: one process, and during a restart also the one before it until it has drained.
//! Taking a lease needs no clock: a holder is dead when its process is gone, or when its beat stands
//! still. Whoever is wrongly taken for dead is fenced by its token, which the store compares in every
//! transaction. Knows nothing of entries.

mod liveness;
mod predecessor;
#[cfg(test)]
mod tests;

pub(crate) use liveness::{Holder, Seen, Watch};
pub(crate) use predecessor::Predecessor;

pub(crate) use liveness::Stillness;
use tokio::time::Instant;

use crate::store::{LogRow, NewLease, Store, StoreError};

/// Logs that one gateway may have had sealed by others before it gives up looking for the next name.
const GENERATIONS_MAX: u32 = 1000;

/// Times that others may be quicker before a start gives up.
pub(crate) const ATTEMPTS_MAX: u32 = 16;

/// Why a log may not be written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process writes the log.
    #[error(
        "log `{origin}` is in use by process `{holder}` (boot id/process namespace/process id/start); two gateways need two origins; to relieve that process without a pause, start with --take-over"
    )]
    InUse {
        /// Name of the log.
        origin: String,
        /// The process, as its lease names it.
        holder: String,
    },
    /// The log is being handed over already.
    #[error(
        "log `{origin}` is being handed over: process `{previous}` still drains for `{holder}`; try again when it has ended"
    )]
    HandingOver {
        /// Name of the log.
        origin: String,
        /// The process that holds it.
        holder: String,
        /// The process that it relieved.
        previous: String,
    },
    /// Others took it each time, or sealed each generation.
    #[error("log `{origin}` could not be taken: others changed its lease {ATTEMPTS_MAX} times meanwhile")]
    Contended {
        /// Name of the log.
        origin: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who wants the log.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// This process.
    pub(crate) holder: Holder,
    /// Name of the log as configured, that is, of its first generation.
    pub(crate) origin: String,
    /// The gateway.
    pub(crate) gateway: String,
    /// Relieve a process that lives.
    pub(crate) take_over: bool,
    /// How long others are watched.
    pub(crate) watch: Watch,
    /// A token that was asked for, without an answer.
    pub(crate) asked: Option<i64>,
}

/// The right to write a log.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// Token that every append shows.
    pub(crate) token: i64,
    /// A process that still writes to its end.
    pub(crate) previous: Option<Predecessor>,
}

/// Whether the two that a lease names live.
#[derive(Clone, Copy, Debug)]
struct Living {
    holder: bool,
    previous: bool,
}

/// What is to be done about a lease.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Take it; the process that may go on to its end: token and holder, or 0 and nobody.
    Take(i64, String),
    InUse,
    HandingOver,
}

/// The generations of the log of `candidate`: those that were sealed, and last the one that is written
/// now.
pub(crate) async fn generations(
    store: &mut Store,
    candidate: &Candidate,
) -> Result<(Vec<LogRow>, LogRow), LeaseError> {
    let mut sealed = Vec::new();
    for generation in 1..=GENERATIONS_MAX {
        let row = store.log(&generation_name(&candidate.origin, generation), &candidate.gateway).await?;
        if !row.sealed {
            return Ok((sealed, row));
        }
        sealed.push(row);
    }
    Err(LeaseError::Contended { origin: candidate.origin.clone() })
}

/// Number of a generation by its name and that of the first.
pub(crate) fn generation_of(origin: &str, name: &str) -> u32 {
    let number = name.strip_prefix(origin).and_then(|rest| rest.strip_prefix('/')?.parse().ok());
    number.unwrap_or(1)
}

/// Name of a generation: what follows a log that another sealed has a number behind its name.
fn generation_name(origin: &str, generation: u32) -> String {
    if generation == 1 { origin.to_owned() } else { format!("{origin}/{generation}") }
}

/// Takes the lease of the log as `row` shows it; `None` where another was quicker or the log was sealed:
/// then it is to be looked at anew.
pub(crate) async fn take(
    store: &mut Store,
    row: &LogRow,
    candidate: &mut Candidate,
) -> Result<Option<Lease>, LeaseError> {
    let own = candidate.holder.to_string();
    let asked = candidate.asked.take();
    if asked == Some(row.token) && row.holder == own {
        // The answer to our last attempt was lost, and this is it.
        return Ok(Some(lease(row.token, row.previous_token, &row.previous_holder)));
    }
    let living = living(store, row, candidate).await?;
    let (previous_token, previous_holder) = match decide(row, living, candidate.take_over) {
        Decision::Take(token, holder) => (token, holder),
        Decision::InUse => {
            return Err(LeaseError::InUse { origin: row.origin.clone(), holder: row.holder.clone() });
        }
        Decision::HandingOver => {
            return Err(LeaseError::HandingOver {
                origin: row.origin.clone(),
                holder: row.holder.clone(),
                previous: row.previous_holder.clone(),
            });
        }
    };
    let token = row.last_token.max(row.token) + 1;
    let new = NewLease { token, holder: own, previous_token, previous_holder };
    candidate.asked = Some(token);
    let taken = store.take(row.log, row, &new).await?;
    candidate.asked = None;
    Ok(taken.then(|| lease(token, new.previous_token, &new.previous_holder)))
}

fn lease(token: i64, previous_token: i64, previous_holder: &str) -> Lease {
    let previous =
        (previous_token != 0).then(|| Predecessor::new(previous_token, previous_holder.to_owned()));
    Lease { token, previous }
}

/// Looks whether those whom a lease names live; watches the beat where that cannot be seen from here.
async fn living(store: &mut Store, row: &LogRow, candidate: &Candidate) -> Result<Living, StoreError> {
    let sees = |token: i64, holder: &str| (token != 0).then(|| candidate.holder.sees(holder));
    let holder = sees(row.token, &row.holder);
    let previous = sees(row.previous_token, &row.previous_holder);
    let is_known_alive = holder == Some(Seen::Alive) && !candidate.take_over;
    let unseen = [holder, previous].contains(&Some(Seen::Elsewhere)) && !is_known_alive;
    let beats = unseen && beats(store, row, candidate).await?;
    let lives = |seen| match seen {
        Some(Seen::Alive) => true,
        Some(Seen::Elsewhere) => beats,
        Some(Seen::Dead) | None => false,
    };
    Ok(Living { holder: lives(holder), previous: lives(previous) })
}

/// Watches whether somebody writes the log. Who of several that is cannot be told: where one does, all of
/// them are taken for alive.
async fn beats(store: &mut Store, row: &LogRow, candidate: &Candidate) -> Result<bool, StoreError> {
    let mut stillness = Stillness::new(candidate.watch, row.beat, Instant::now());
    loop {
        tokio::time::sleep(candidate.watch.poll).await;
        let now = store.log(&row.origin, &candidate.gateway).await?;
        if let Some(beats) = stillness.look(now.beat, Instant::now()) {
            return Ok(beats);
        }
    }
}

fn decide(row: &LogRow, living: Living, take_over: bool) -> Decision {
    let previous = || Decision::Take(row.previous_token, row.previous_holder.clone());
    match (living.holder, living.previous, take_over) {
        (true, _, false) => Decision::InUse,
        // A third process would fence the first, which still has calls in hand.
        (true, true, true) => Decision::HandingOver,
        (true, false, true) => Decision::Take(row.token, row.holder.clone()),
        (false, true, _) => previous(),
        (false, false, _) => Decision::Take(0, String::new()),
    }
}
