//! Finding entries: by their place, by what they are searched by, and by whom they are about.
//!
//! The queries are written so that each step has one sensible plan, whatever the planner knows of tables that grow
//! fast: `select count(*)` instead of `exists`, which it would turn into a join, steps as `materialized`, and `+ 0` at
//! a column by whose index it must not begin.

use std::cmp::Reverse;

use ura_log::Hash;
use ura_proto::ExchangeId;

use super::{
    Cursor, Filter, ROWS_MAX, Reader, StoreError, StoredRow,
    found::{Found, by_sql, complete, select},
    link::{Link, fetch, on, signed, unsigned},
    query::{accesses_query, exchanges_query, find_query},
    read::Snapshot,
};

/// Entries that one exchange may have where it is read at once.
pub const EXCHANGE_ROWS_MAX: u32 = 16_384;
/// Pseudonyms of one subject that may be asked for at once: one for each epoch.
pub const PSEUDONYMS_MAX: usize = 256;
/// Methods of a contract that are searched one by one, which is faster. There are more only where many were asked for
/// that do not exist.
const METHODS_MAX: usize = 64;

/// Entries of a log from an index on.
pub(super) async fn entries(
    snapshot: &mut Snapshot,
    log: i64,
    from: i64,
    limit: u32,
) -> Result<Vec<Found>, StoreError> {
    let found = on!(snapshot.link(), |connection| by_sql!(
        connection,
        sqlx::query(select!("where e.log = $1 and e.log_index >= $2 order by e.log_index limit $3"))
            .bind(log)
            .bind(from)
            .bind(i64::from(limit))
    ))?;
    complete(snapshot, found).await
}

/// What fits a filter, newest first, still without subjects.
async fn fitting(
    snapshot: &mut Snapshot,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Found>, StoreError> {
    let limit = i64::from(limit);
    match snapshot.link() {
        Link::Sqlite(connection) => {
            by_sql!(connection, find_query::<sqlx::Sqlite>(filter, after, limit)?.build())
        }
        Link::Postgres(connection) => {
            by_sql!(connection, find_query::<sqlx::Postgres>(filter, after, limit)?.build())
        }
    }
}

/// The methods of a contract that were ever asked for; `None` where they are more than [`METHODS_MAX`].
async fn methods(snapshot: &mut Snapshot, contract: &str) -> Result<Option<Vec<String>>, StoreError> {
    // `0` is the character behind `/`: between the two lie all methods of the contract.
    let (mut last, end) = (format!("{contract}/"), format!("{contract}0"));
    let mut methods = Vec::new();
    loop {
        let next: Vec<(Option<String>,)> = fetch!(
            snapshot.link(),
            "select min(method) from entry where kind = 10 and method > $1 and method < $2",
            last.as_str(),
            end.as_str()
        )?;
        match next.into_iter().next() {
            Some((Some(method),)) if methods.len() < METHODS_MAX => {
                last.clone_from(&method);
                methods.push(method);
            }
            Some((Some(_),)) => return Ok(None),
            _ => return Ok(Some(methods)),
        }
    }
}

impl Reader {
    /// Of the entries `from..to`, those whose bodies were removed: index, and index of the Removal entry. At most
    /// [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn removed(&self, log: i64, from: u64, to: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        let rows: Vec<(i64, i64)> = fetch!(
            self.snapshot().await?.link(),
            "select log_index, removed_by from entry where log = $1 and log_index >= $2 and log_index < $3 \
             and removed_by > 0 order by log_index limit $4",
            log,
            signed(from)?,
            signed(to)?,
            i64::from(ROWS_MAX)
        )?;
        let number = |value: i64| unsigned(value, || "index of a removed entry".to_owned());
        rows.into_iter().map(|(index, by)| Ok((number(index)?, number(by)? - 1))).collect()
    }

    /// What fits a filter, newest first; the next page goes on `after` the last row of this one. At most `limit` and
    /// [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Altered`] names the entry whose values cannot be.
    pub async fn find(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<(i64, StoredRow)>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let limit = limit.min(ROWS_MAX);
        let contract = filter.method.as_deref().and_then(|method| method.strip_suffix('/'));
        let methods = match contract {
            Some(contract) => methods(&mut snapshot, contract).await?,
            None => None,
        };
        let mut found = Vec::new();
        match methods {
            // Each method has its own order of time: the newest of all are among the newest of each.
            Some(methods) => {
                for method in methods {
                    let filter = Filter { method: Some(method), ..filter.clone() };
                    found.extend(fitting(&mut snapshot, &filter, after, limit).await?);
                }
                found.sort_by_key(|(log, row)| Reverse((row.columns.recorded_us, *log, row.index)));
                found.truncate(limit.try_into().unwrap_or(usize::MAX));
            }
            None => found = fitting(&mut snapshot, filter, after, limit).await?,
        }
        complete(&mut snapshot, found).await
    }

    /// All entries of an exchange that still have their bodies, in the order of the log.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where they are more than [`EXCHANGE_ROWS_MAX`].
    pub async fn exchange(&self, exchange: ExchangeId) -> Result<Vec<(i64, StoredRow)>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let found = on!(snapshot.link(), |connection| by_sql!(
            connection,
            sqlx::query(select!("where e.exchange_id = $1 order by e.log + 0, e.log_index limit $2"))
                .bind(exchange.as_bytes().as_slice())
                .bind(i64::from(EXCHANGE_ROWS_MAX) + 1)
        ))?;
        if i64::try_from(found.len()).unwrap_or(i64::MAX) > i64::from(EXCHANGE_ROWS_MAX) {
            let problem =
                format!("the exchange has more than {EXCHANGE_ROWS_MAX} entries; read them by their indexes");
            return Err(StoreError::Misuse(problem));
        }
        complete(&mut snapshot, found).await
    }

    /// All entries of several exchanges (at most [`ROWS_MAX`] of them) that still have their bodies, in the order of the
    /// logs, without what opens their subjects. `None` where they are more than [`EXCHANGE_ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where too many are asked for at once.
    pub async fn exchanges(
        &self,
        exchanges: &[ExchangeId],
    ) -> Result<Option<Vec<(i64, StoredRow)>>, StoreError> {
        if exchanges.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if u32::try_from(exchanges.len()).map_or(true, |count| count > ROWS_MAX) {
            let problem = format!("{} exchanges are above the limit of {ROWS_MAX}", exchanges.len());
            return Err(StoreError::Misuse(problem));
        }
        let mut snapshot = self.snapshot().await?;
        let limit = i64::from(EXCHANGE_ROWS_MAX);
        let found = match snapshot.link() {
            Link::Sqlite(connection) => {
                by_sql!(connection, exchanges_query::<sqlx::Sqlite>(exchanges, limit + 1).build())
            }
            Link::Postgres(connection) => {
                by_sql!(connection, exchanges_query::<sqlx::Postgres>(exchanges, limit + 1).build())
            }
        }?;
        Ok(i64::try_from(found.len()).is_ok_and(|count| count <= limit).then_some(found))
    }

    /// Openings of exchanges about a subject, of all logs, newest first: those whose opening or a later entry names
    /// one of the `pseudonyms` (at most [`PSEUDONYMS_MAX`]), opened at `from_us` or later and before `until_us`. The
    /// next page goes on at what was `before` all of this one. At most `limit` and [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Altered`] names the entry whose values cannot be.
    pub async fn accesses(
        &self,
        pseudonyms: &[Hash],
        from_us: i64,
        until_us: i64,
        before: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<(i64, StoredRow)>, StoreError> {
        if pseudonyms.len() > PSEUDONYMS_MAX {
            let problem = format!("{} pseudonyms are above the limit of {PSEUDONYMS_MAX}", pseudonyms.len());
            return Err(StoreError::Misuse(problem));
        }
        if pseudonyms.is_empty() {
            return Ok(Vec::new());
        }
        let mut snapshot = self.snapshot().await?;
        let span = (from_us, until_us);
        let limit = i64::from(limit.min(ROWS_MAX));
        let found = match snapshot.link() {
            Link::Sqlite(connection) => {
                by_sql!(connection, accesses_query::<sqlx::Sqlite>(pseudonyms, span, before, limit)?.build())
            }
            Link::Postgres(connection) => {
                by_sql!(
                    connection,
                    accesses_query::<sqlx::Postgres>(pseudonyms, span, before, limit)?.build()
                )
            }
        }?;
        complete(&mut snapshot, found).await
    }

    /// Openings, progress and closings, at `from` or later and before `below`, of exchanges whose opening names a
    /// system as consumer or provider, in the order of the log. At most `limit` and [`ROWS_MAX`].
    ///
    /// Each entry from `from` to the last one found is looked at: ask for spans of a bounded length.
    ///
    /// # Errors
    /// [`StoreError::Altered`] names the entry whose values cannot be.
    pub async fn named(
        &self,
        log: i64,
        system: &str,
        from: u64,
        below: u64,
        limit: u32,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let found = on!(snapshot.link(), |connection| {
            by_sql!(
            connection,
            sqlx::query(select!(
                "where e.log = $1 and e.log_index >= $2 and e.log_index < $3 and e.kind <= 12 and e.removed_by = 0 \
                 and (select count(*) from entry o where o.exchange_id = e.exchange_id and o.kind + 0 = 10 \
                 and (o.consumer = $4 or o.provider = $4)) > 0 order by e.log_index limit $5"
            ))
            .bind(log)
            .bind(signed(from)?)
            .bind(signed(below)?)
            .bind(system)
            .bind(i64::from(limit.min(ROWS_MAX)))
        )
        })?;
        Ok(complete(&mut snapshot, found).await?.into_iter().map(|(_, row)| row).collect())
    }

    /// Openings, at `from` or later and before `below`, that were permitted and never closed, in the order of the
    /// log. At most `limit` and [`ROWS_MAX`]. Each opening from `from` to the last one found is looked at.
    ///
    /// # Errors
    /// [`StoreError::Altered`] names the entry whose values cannot be.
    pub async fn unclosed(
        &self,
        log: i64,
        from: u64,
        below: u64,
        limit: u32,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let found = on!(snapshot.link(), |connection| {
            by_sql!(
            connection,
            sqlx::query(select!(
                "where e.log = $1 and e.log_index >= $2 and e.log_index < $3 and e.kind = 10 and e.reason = '' \
                 and e.removed_by = 0 and (select count(*) from entry c where c.exchange_id = e.exchange_id \
                 and c.kind = 12) = 0 order by e.log_index limit $4"
            ))
            .bind(log)
            .bind(signed(from)?)
            .bind(signed(below)?)
            .bind(i64::from(limit.min(ROWS_MAX)))
        )
        })?;
        Ok(complete(&mut snapshot, found).await?.into_iter().map(|(_, row)| row).collect())
    }
}
