//! Retention: bodies of exchanges whose time is over are removed, and each removal is an entry of its own. The tree
//! keeps their leaves, so that every proof still holds. Knows contracts and times, not why a time is over.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA256};
use ura_log::tree::Frontier;
use ura_proto::{
    ExchangeId,
    v1::{Removal, entry::Kind},
};

use crate::{
    entry::{Row, kind},
    extend::{edge, extend, take_in},
    find::exchange_of,
    keys::EpochKeys,
    mark::Marks,
    store::{
        Appender, Cursor, EXCHANGE_ROWS_MAX, Filter, LogRow, Reader, Removed, Store, StoreError, StoredRow,
    },
};

/// Entries that one transaction removes, unless a single exchange has more.
pub const REMOVED_ENTRIES_MAX: usize = 1000;

/// Openings that are looked at together.
const OPENINGS_AT_ONCE: u32 = 512;

/// Entries of others that may be left to be read while the log is locked.
const FEW_ENTRIES: u64 = 1024;

/// Times that a log which grows meanwhile is read up to its end, before the rest is read while it is locked.
const CATCH_UPS_MAX: u32 = 8;

/// Why nothing more is removed. What was removed before stays removed, and the same may be asked again.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// What was asked for names no contract.
    #[error("`{0}` is not the name of a contract; write it as in `ks.civilstatus.v1.CivilStatusService`")]
    Contract(String),
    /// A time that is not over.
    #[error(
        "{contract}: exchanges opened before {before_us} us since 1970 are to be removed, but now it is {now_us} us: the time must be in the past"
    )]
    Future {
        /// The contract.
        contract: String,
        /// Microseconds since 1970-01-01 UTC.
        before_us: i64,
        /// Microseconds since 1970-01-01 UTC.
        now_us: i64,
    },
    /// A log that ended.
    #[error(
        "log `{0}` is sealed: nothing is written to it any more, so no removal could be recorded in it either"
    )]
    Sealed(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was removed of a contract, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunedContract {
    /// The contract, `package.Service`.
    pub contract: String,
    /// Exchanges.
    pub exchanges: u64,
    /// Their entries.
    pub entries: u64,
    /// Exchanges that stay because they have not ended.
    pub open: u64,
    /// Exchanges that stay because they have more entries than can be removed at once, [`EXCHANGE_ROWS_MAX`].
    pub too_long: u64,
}

/// What was removed, or would be: by contract, in the order asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// One for each contract that was asked for.
    pub contracts: Vec<PrunedContract>,
}

/// What is to be removed.
#[derive(Clone, Copy, Debug)]
pub struct Retention<'r> {
    /// Names of contracts, `package.Service`, each with the time before which its exchanges were opened, in microseconds
    /// since 1970-01-01 UTC.
    pub contracts: &'r [(String, i64)],
    /// Now, microseconds since 1970-01-01 UTC.
    pub now_us: i64,
    /// Only count.
    pub dry_run: bool,
}

/// Removes the bodies of exchanges that ended and were opened before a time, as `retention` says. Whole exchanges go, in transactions of at most
/// [`REMOVED_ENTRIES_MAX`] entries, each with one `Removal` entry that accounts for them. An exchange that was not
/// refused and has no closing stays; so does all that the log says of itself. `progress` is told
/// after each transaction, and in a dry run now and then. Dropped in between, or stopped by an error, it leaves nothing
/// half done, and may be run again.
///
/// # Errors
/// [`PruneError`]; [`StoreError::Foreign`] where the log's mark is made by none of the epoch keys.
pub async fn prune(
    store: &mut Store,
    reader: &Reader,
    log: &LogRow,
    epochs: &EpochKeys,
    retention: Retention<'_>,
    mut progress: impl FnMut(&PrunedContract),
) -> Result<Pruned, PruneError> {
    let Retention { contracts, now_us, dry_run } = retention;
    if log.sealed {
        return Err(PruneError::Sealed(log.origin.clone()));
    }
    for (contract, before_us) in contracts {
        check(contract, *before_us, now_us)?;
    }
    let tree = edge(reader, log).await?;
    let mut pruning = Pruning { store, reader, log, epochs, now_us, dry_run, tree };
    let mut pruned = Pruned::default();
    for (contract, before_us) in contracts {
        pruned.contracts.push(pruning.contract(contract, *before_us, &mut progress).await?);
    }
    Ok(pruned)
}

fn check(contract: &str, before_us: i64, now_us: i64) -> Result<(), PruneError> {
    let is_name =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !contract.split('.').all(is_name) {
        return Err(PruneError::Contract(contract.chars().take(255).collect()));
    }
    if before_us > now_us {
        return Err(PruneError::Future { contract: contract.to_owned(), before_us, now_us });
    }
    Ok(())
}

/// A removal under way.
struct Pruning<'a> {
    store: &'a mut Store,
    reader: &'a Reader,
    log: &'a LogRow,
    epochs: &'a EpochKeys,
    now_us: i64,
    dry_run: bool,
    tree: Frontier,
}

/// Whole exchanges that go in one transaction.
#[derive(Debug, Default)]
struct Parcel {
    exchanges: u64,
    indexes: Vec<u64>,
}

/// What becomes of an exchange.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Its entries in this log.
    Goes(Vec<u64>),
    Open,
    TooLong,
}

impl Pruning<'_> {
    /// Removes what a contract is to lose, newest first.
    async fn contract(
        &mut self,
        contract: &str,
        before_us: i64,
        progress: &mut impl FnMut(&PrunedContract),
    ) -> Result<PrunedContract, PruneError> {
        let mut pruned = PrunedContract { contract: contract.to_owned(), ..PrunedContract::default() };
        let mut parcel = Parcel::default();
        let mut after: Option<Cursor> = None;
        loop {
            let filter = Filter {
                log: Some(self.log.log),
                method: Some(format!("{contract}/")),
                kind: Some(kind::OPENING),
                // Both ends are given, so that each page is found by its times and not by looking through all.
                from_us: Some(i64::MIN),
                until_us: Some(
                    after.map_or(before_us, |after| after.recorded_us.saturating_add(1).min(before_us)),
                ),
                ..Filter::default()
            };
            let openings = self.reader.find(&filter, after, OPENINGS_AT_ONCE).await?;
            let Some((log, last)) = openings.last() else { break };
            after = Some(Cursor::of(*log, last));
            for fate in self.fates(&openings).await? {
                match fate {
                    Fate::Open => pruned.open += 1,
                    Fate::TooLong => pruned.too_long += 1,
                    Fate::Goes(indexes) => {
                        if parcel.indexes.len() + indexes.len() > REMOVED_ENTRIES_MAX {
                            self.remove(&mut pruned, std::mem::take(&mut parcel), before_us).await?;
                            progress(&pruned);
                        }
                        parcel.exchanges += 1;
                        parcel.indexes.extend(indexes);
                    }
                }
            }
        }
        self.remove(&mut pruned, parcel, before_us).await?;
        progress(&pruned);
        Ok(pruned)
    }

    /// What becomes of the exchanges of these openings, one for each.
    async fn fates(&self, openings: &[(i64, StoredRow)]) -> Result<Vec<Fate>, StoreError> {
        let exchanges = openings.iter().map(|(_, opening)| {
            exchange_of(&opening.columns.exchange).ok_or_else(|| {
                let (index, origin) = (opening.index, &self.log.origin);
                StoreError::altered(format!("entry {index} of log `{origin}` opens no exchange"))
            })
        });
        let exchanges = exchanges.collect::<Result<Vec<_>, _>>()?;
        let mut fates = Vec::with_capacity(exchanges.len());
        let Some(rows) = self.reader.exchanges(&exchanges).await? else {
            // There are long ones among them.
            for exchange in exchanges {
                fates.push(self.fate(exchange).await?);
            }
            return Ok(fates);
        };
        let mut by_exchange: HashMap<Vec<u8>, Vec<(i64, StoredRow)>> = HashMap::new();
        for (log, row) in rows {
            by_exchange.entry(row.columns.exchange.clone()).or_default().push((log, row));
        }
        let rows = |exchange: &ExchangeId| by_exchange.get(exchange.as_bytes().as_slice());
        fates.extend(exchanges.iter().map(|id| fate(rows(id).map_or(&[], Vec::as_slice), self.log.log)));
        Ok(fates)
    }

    /// What becomes of one exchange.
    async fn fate(&self, exchange: ExchangeId) -> Result<Fate, StoreError> {
        match self.reader.exchange(exchange).await {
            Ok(rows) => Ok(fate(&rows, self.log.log)),
            Err(StoreError::Misuse(why)) => {
                tracing::warn!(%exchange, max = EXCHANGE_ROWS_MAX, why, "an exchange is too long to be removed");
                Ok(Fate::TooLong)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes in what others appended, before an append begins: while that is open nobody else writes the log.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        for _ in 0..CATCH_UPS_MAX {
            let Some(row) = self.reader.log_by_origin(&self.log.origin).await? else { return Ok(()) };
            let behind = row.size.saturating_sub(self.tree.size());
            take_in(self.reader, self.log.log, &mut self.tree, row.size).await?;
            if behind <= FEW_ENTRIES {
                break;
            }
        }
        Ok(())
    }

    /// Removes a parcel in one transaction.
    async fn remove(
        &mut self,
        pruned: &mut PrunedContract,
        mut parcel: Parcel,
        before_us: i64,
    ) -> Result<(), PruneError> {
        if parcel.indexes.is_empty() {
            return Ok(());
        }
        parcel.indexes.sort_unstable();
        if !self.dry_run {
            let row = removal(&pruned.contract, before_us, &parcel.indexes, self.now_us);
            self.catch_up().await?;
            let begun = self.store.begin(self.log.log, Appender::Guest, 1, self.now_us).await;
            let mut append = begun.map_err(|error| match error {
                StoreError::Fenced { sealed: true, .. } => PruneError::Sealed(self.log.origin.clone()),
                error => error.into(),
            })?;
            let removal_index = append.first();
            let mut tree = self.tree.clone();
            let marks = Marks::new(&self.log.origin, self.epochs);
            extend(&mut append, &mut tree, &[row], marks).await?;
            append.remove(&Removed { indexes: &parcel.indexes, removal_index }).await?;
            append.commit().await?;
            self.tree = tree;
        }
        pruned.exchanges += parcel.exchanges;
        pruned.entries += count(&parcel.indexes);
        Ok(())
    }
}

/// What becomes of an exchange with these entries, of which those of `log` may go.
fn fate(rows: &[(i64, StoredRow)], log: i64) -> Fate {
    let is_end = |row: &StoredRow| {
        let columns = &row.columns;
        columns.kind == kind::CLOSING || (columns.kind == kind::OPENING && !columns.reason.is_empty())
    };
    if !rows.iter().any(|(_, row)| is_end(row)) {
        return Fate::Open;
    }
    let of_exchange = |kind: i64| kind <= kind::CLOSING || kind == kind::DISCLOSURE;
    let going =
        rows.iter().filter(|(at, row)| *at == log && of_exchange(row.columns.kind) && row.removed_by == 0);
    Fate::Goes(going.map(|(_, row)| row.index).collect())
}

/// The entry that accounts for a removal. Indexes ascend.
fn removal(contract: &str, before_unix_us: i64, indexes: &[u64], now_us: i64) -> Row {
    let mut digest = Context::new(&SHA256);
    indexes.iter().for_each(|index| digest.update(&index.to_be_bytes()));
    let removal = Removal {
        contract: contract.to_owned(),
        before_unix_us,
        entries: count(indexes),
        first_index: indexes.first().copied().unwrap_or_default(),
        last_index: indexes.last().copied().unwrap_or_default(),
        indexes_digest: digest.finish().as_ref().to_vec(),
    };
    Row::new(None, now_us, Kind::Removal(removal))
}

fn count(indexes: &[u64]) -> u64 {
    u64::try_from(indexes.len()).unwrap_or(u64::MAX)
}
