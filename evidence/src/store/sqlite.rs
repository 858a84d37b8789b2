//! What only SQLite needs: its options, the check that it syncs, and inserts of many rows in one statement.

use std::{path::PathBuf, str::FromStr as _, sync::LazyLock, time::Duration};

use sqlx::{
    AssertSqlSafe, SqliteConnection,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use ura_log::Hash;

use super::{StoreError, link::limited};
use crate::entry::Row;

/// How long a lock is waited for.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(5);
/// Rows in one insert statement, larger first: each size is one prepared statement.
const INSERT_ROWS: [usize; 3] = [64, 8, 1];

/// SQLite's options for an address `sqlite:PATH[?synchronous=…&journal_mode=…]`.
pub(super) fn options(address: &str) -> Result<SqliteConnectOptions, StoreError> {
    let wrong = |problem: String| StoreError::Address { store: address.to_owned(), problem };
    let not_synced = |problem: String| StoreError::NotSynced { store: address.to_owned(), problem };
    let rest = address
        .strip_prefix("sqlite:")
        .map(|rest| rest.strip_prefix("//").unwrap_or(rest))
        .ok_or_else(|| wrong("write sqlite:PATH".to_owned()))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.is_empty() || path == ":memory:" || path.starts_with("file:") {
        return Err(not_synced("it is not a file on disk; write sqlite:PATH".to_owned()));
    }
    let mut options = SqliteConnectOptions::new()
        .filename(PathBuf::from(path))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_MAX)
        // What is removed is overwritten, not left in free pages.
        .pragma("secure_delete", "on")
        // 64 MiB: the indexes of a large log are written all over.
        .pragma("cache_size", "-65536")
        // 16 MiB of pages, so that a page that many commits touch is carried over once for all of them.
        .pragma("wal_autocheckpoint", "4096");
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        options = match key {
            "synchronous" => options.synchronous(
                SqliteSynchronous::from_str(value).map_err(|error| wrong(format!("{pair}: {error}")))?,
            ),
            // The mode stays with the file, so another one is refused before the store is touched.
            "journal_mode" if !value.eq_ignore_ascii_case("wal") => {
                return Err(not_synced(format!(
                    "journal_mode = {value}, it must be WAL; remove the setting"
                )));
            }
            "journal_mode" => options,
            _ => return Err(wrong(format!("{key} is not known; known are synchronous and journal_mode"))),
        };
    }
    Ok(options)
}

/// Asks the open store itself whether its commits sync.
pub(super) async fn check_sync(connection: &mut SqliteConnection, store: &str) -> Result<(), StoreError> {
    // https://www.sqlite.org/pragma.html#pragma_synchronous: 0 OFF, 1 NORMAL, 2 FULL, 3 EXTRA.
    let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(&mut *connection).await?;
    let journal: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut *connection).await?;
    let not = |problem: String| StoreError::NotSynced { store: store.to_owned(), problem };
    if synchronous < 2 {
        let found = ["OFF", "NORMAL"][usize::from(synchronous == 1)];
        return Err(not(format!("synchronous = {found}, it must be FULL or EXTRA; remove the setting")));
    }
    if !journal.eq_ignore_ascii_case("wal") {
        return Err(not(format!("journal_mode = {journal}, it must be WAL")));
    }
    Ok(())
}

/// A statement that inserts as many rows as each of [`INSERT_ROWS`] says.
type Statements = [String; 3];

/// Statements from their beginning and the values of one row.
fn statements(insert: &str, row: &str) -> Statements {
    INSERT_ROWS.map(|rows| format!("{insert} values {}", vec![row; rows].join(",")))
}

static ENTRY: LazyLock<Statements> = LazyLock::new(|| {
    statements(
        "insert into entry (log, log_index, leaf, kind, exchange_id, recorded_us, consumer, provider, method, reason, trace_id)",
        "(1,?,?,?,?,?,?,?,?,?,?)",
    )
});
static BODY: LazyLock<Statements> =
    LazyLock::new(|| statements("insert into body (log, log_index, bytes)", "(1,?,?)"));
static SUBJECT: LazyLock<Statements> = LazyLock::new(|| {
    statements("insert into subject (log, log_index, ordinal, kind, pseudonym, blind)", "(1,?,?,?,?,?)")
});
static SUBTREE: LazyLock<Statements> = LazyLock::new(|| {
    INSERT_ROWS.map(|rows| {
        format!(
            "insert into subtree (log, level, idx, hash) values {} on conflict (log, level, idx) do nothing",
            vec!["(1,?,?,?)"; rows].join(",")
        )
    })
});
/// Lists of as many places, for `in (…)`.
static PLACES: LazyLock<Statements> = LazyLock::new(|| INSERT_ROWS.map(|rows| vec!["?"; rows].join(",")));
static REMOVE_BODY: LazyLock<Statements> =
    LazyLock::new(|| PLACES.clone().map(|list| format!("delete from body where log_index in ({list})")));
static REMOVE_SUBJECT: LazyLock<Statements> = LazyLock::new(|| {
    PLACES.clone().map(|list| format!("delete from subject where log = 1 and log_index in ({list})"))
});
static REMOVE_COLUMNS: LazyLock<Statements> = LazyLock::new(|| {
    PLACES.clone().map(|list| {
        format!(
            "update entry set kind = 0, recorded_us = 0, exchange_id = x'', consumer = '', provider = '', method = '', reason = '', \
             trace_id = x'', removed_by = ? where removed_by = 0 and log_index in ({list})"
        )
    })
});

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

/// Runs statements over all items, as many at a time as one of them takes. Each begins with `start` bound.
async fn run<T>(
    connection: &mut SqliteConnection,
    statements: &'static Statements,
    items: &[T],
    start: Option<i64>,
    bind: impl for<'q> Fn(Query<'q>, &T) -> Query<'q>,
) -> Result<u64, StoreError> {
    let mut rest = items;
    let mut affected = 0;
    while !rest.is_empty() {
        let sizes = INSERT_ROWS.iter().zip(statements);
        let (size, statement) =
            sizes.into_iter().find(|(size, _)| **size <= rest.len()).expect("the last size is 1");
        let (now, later) = rest.split_at(*size);
        let mut query = sqlx::query(AssertSqlSafe(statement.as_str()));
        if let Some(start) = start {
            query = query.bind(start);
        }
        for item in now {
            query = bind(query, item);
        }
        affected += limited(query.execute(&mut *connection)).await?.rows_affected();
        rest = later;
    }
    Ok(affected)
}

/// Inserts entries with all that stands beside them; the first gets the index `first`.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    first: i64,
    rows: &[Row],
) -> Result<(), StoreError> {
    let rows: Vec<(i64, &Row)> = (first..).zip(rows).collect();
    run(connection, &ENTRY, &rows, None, |query, (index, row)| {
        let columns = &row.columns;
        query
            .bind(*index)
            .bind(row.leaf.to_vec())
            .bind(columns.kind)
            .bind(columns.exchange.clone())
            .bind(columns.recorded_us)
            .bind(columns.consumer.clone())
            .bind(columns.provider.clone())
            .bind(columns.method.clone())
            .bind(columns.reason.clone())
            .bind(columns.trace_id.clone())
    })
    .await?;
    run(connection, &BODY, &rows, None, |query, (index, row)| query.bind(*index).bind(row.body.clone()))
        .await?;
    let subjects: Vec<_> = rows
        .iter()
        .flat_map(|(index, row)| {
            (0i64..).zip(&row.subjects).map(move |(ordinal, subject)| (*index, ordinal, subject))
        })
        .collect();
    run(connection, &SUBJECT, &subjects, None, |query, (index, ordinal, subject)| {
        query
            .bind(*index)
            .bind(*ordinal)
            .bind(subject.kind.clone())
            .bind(subject.pseudonym.clone())
            .bind(subject.blind.clone())
    })
    .await?;
    Ok(())
}

/// Inserts roots of subtrees: level, index, hash.
pub(super) async fn insert_subtrees(
    connection: &mut SqliteConnection,
    subtrees: &[(i64, i64, Hash)],
) -> Result<(), StoreError> {
    run(connection, &SUBTREE, subtrees, None, |query, (level, index, hash)| {
        query.bind(*level).bind(*index).bind(hash.to_vec())
    })
    .await?;
    Ok(())
}

/// Takes bodies and subjects of entries away and blanks their columns; returns how many entries that were.
pub(super) async fn remove(
    connection: &mut SqliteConnection,
    indexes: &[i64],
    removed_by: i64,
) -> Result<u64, StoreError> {
    run(connection, &REMOVE_BODY, indexes, None, |query, index| query.bind(*index)).await?;
    run(connection, &REMOVE_SUBJECT, indexes, None, |query, index| query.bind(*index)).await?;
    run(connection, &REMOVE_COLUMNS, indexes, Some(removed_by), |query, index| query.bind(*index)).await
}

/// A subject's row: index of the entry, kind, pseudonym, blind.
pub(super) type SubjectRow = (i64, String, Vec<u8>, Vec<u8>);

/// The subjects of these entries, in order of ordinals. At most [`super::read::ROWS_MAX`] indexes.
pub(super) async fn subjects(
    connection: &mut SqliteConnection,
    indexes: &[i64],
) -> Result<Vec<SubjectRow>, StoreError> {
    let list = vec!["?"; indexes.len()].join(",");
    let sql = format!(
        "select log_index, kind, pseudonym, blind from subject where log = 1 and log_index in ({list}) order by log_index, ordinal"
    );
    let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
    for index in indexes {
        query = query.bind(*index);
    }
    limited(query.fetch_all(connection)).await
}
