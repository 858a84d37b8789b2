//! Entries as a query gives them, made into rows with their subjects.

use std::collections::BTreeMap;

use ura_proto::v1::SubjectOpening;

use super::{
    StoreError, StoredRow,
    link::{Link, fetch, hash, unsigned},
    postgres,
    read::Snapshot,
    sqlite,
};
use crate::entry;

/// A row with the number of its log.
pub(super) type Found = (i64, StoredRow);

/// The columns of [`select`], in its order.
pub(super) type Columns =
    (i64, i64, Vec<u8>, i64, Vec<u8>, i64, String, String, String, String, Vec<u8>, i64, Option<Vec<u8>>);

/// A query of entries `e` with their bodies, from its condition on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select e.log_index, e.log, e.leaf, e.kind, e.exchange_id, e.recorded_us, e.consumer, e.provider, e.method, \
             e.reason, e.trace_id, e.removed_by, b.bytes \
             from entry e left join body b on b.log = e.log and b.log_index = e.log_index ",
            $rest
        )
    };
}

/// The entries that a query with the columns of [`select`] finds, still without their subjects.
macro_rules! by_sql {
    ($connection:expr, $query:expr) => {{
        let rows = $crate::store::link::limited($query.fetch_all(&mut *$connection)).await?;
        let read = |row| match <$crate::store::found::Columns as sqlx::FromRow<_>>::from_row(row) {
            Ok(columns) => $crate::store::found::found(columns),
            Err(error) => Err($crate::store::found::unreadable(sqlx::Row::try_get(row, 0), &error)),
        };
        rows.iter().map(read).collect::<Result<Vec<$crate::store::found::Found>, StoreError>>()
    }};
}

pub(super) use {by_sql, select};

/// One entry, without its subjects.
pub(super) fn found(columns: Columns) -> Result<Found, StoreError> {
    let (
        index,
        log,
        leaf,
        kind,
        exchange,
        recorded_us,
        consumer,
        provider,
        method,
        reason,
        trace_id,
        removed_by,
        body,
    ) = columns;
    let place = |what: &str| format!("{what} of entry {index} of log {log}");
    let row = StoredRow {
        index: unsigned(index, || place("index"))?,
        leaf: hash(&leaf, || place("leaf"))?,
        columns: entry::Columns { kind, exchange, recorded_us, consumer, provider, method, reason, trace_id },
        removed_by: unsigned(removed_by, || place("removed_by"))?,
        body,
        subjects: Vec::new(),
    };
    Ok((log, row))
}

/// An entry with a value of another type.
pub(super) fn unreadable(index: Result<i64, sqlx::Error>, error: &sqlx::Error) -> StoreError {
    let index = index.map_or_else(|_| "?".to_owned(), |index| index.to_string());
    StoreError::altered(format!("entry {index} has a value that cannot be: {error}"))
}

/// Adds what opens the subjects of entries.
pub(super) async fn complete(
    snapshot: &mut Snapshot,
    mut found: Vec<Found>,
) -> Result<Vec<Found>, StoreError> {
    let mut indexes: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (log, row) in &found {
        // It was signed when it came.
        indexes.entry(*log).or_default().push(row.index.cast_signed());
    }
    let mut subjects: BTreeMap<(i64, u64), Vec<SubjectOpening>> = BTreeMap::new();
    for (log, indexes) in indexes {
        for (index, kind, pseudonym, blind) in of_log(snapshot.link(), log, &indexes).await? {
            let opening = SubjectOpening { kind, pseudonym, blind };
            subjects.entry((log, index.cast_unsigned())).or_default().push(opening);
        }
    }
    for (log, row) in &mut found {
        row.subjects = subjects.remove(&(*log, row.index)).unwrap_or_default();
    }
    Ok(found)
}

/// Subjects of entries of one log, in order of ordinals.
async fn of_log(link: Link<'_>, log: i64, indexes: &[i64]) -> Result<Vec<sqlite::SubjectRow>, StoreError> {
    let (first, last) = (indexes.iter().min().copied(), indexes.iter().max().copied());
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    let dense = i64::try_from(indexes.len()).is_ok_and(|count| last - first < count.saturating_mul(2));
    match link {
        // A page of the log itself: one range, and one statement for all of them.
        link if dense => fetch!(
            link,
            "select log_index, kind, pseudonym, blind from subject \
             where log = $1 and log_index >= $2 and log_index <= $3 order by log_index, ordinal",
            log,
            first,
            last
        ),
        Link::Sqlite(connection) => sqlite::subjects(connection, indexes).await,
        Link::Postgres(connection) => postgres::subjects(connection, log, indexes).await,
    }
}
