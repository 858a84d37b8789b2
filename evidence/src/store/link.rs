//! One way to run a statement on either database: the same text, the same values.

use std::{future::Future, time::Duration};

use sqlx::{PgConnection, SqliteConnection};
use ura_log::Hash;

use super::StoreError;

/// How long an answer of the database is waited for. Above the database's own limits, which say more.
const ANSWER_MAX: Duration = Duration::from_secs(40);

/// A connection, or a transaction on it, of either database.
pub(super) enum Link<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// The same expression on either connection.
macro_rules! on {
    ($link:expr, |$connection:ident| $run:expr) => {
        match $link {
            $crate::store::link::Link::Sqlite($connection) => $run,
            $crate::store::link::Link::Postgres($connection) => $run,
        }
    };
}

/// Runs a statement with its values; the number of rows that it changed.
macro_rules! execute {
    ($link:expr, $sql:expr $(, $value:expr)* $(,)?) => {
        $crate::store::link::on!($link, |connection| {
            let query = sqlx::query($sql)$(.bind($value))*;
            $crate::store::link::limited(query.execute(&mut *connection)).await.map(|done| done.rows_affected())
        })
    };
}

/// All rows of a query with its values, as tuples.
macro_rules! fetch {
    ($link:expr, $sql:expr $(, $value:expr)* $(,)?) => {
        $crate::store::link::on!($link, |connection| {
            let query = sqlx::query_as($sql)$(.bind($value))*;
            $crate::store::link::limited(query.fetch_all(&mut *connection)).await
        })
    };
}

pub(super) use {execute, fetch, on};

/// Waits for an answer, but not for ever: a server that is cut off does not say so.
pub(super) async fn limited<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(answer) => answer.map_err(StoreError::from),
        Err(_) => Err(StoreError::Gone(format!("no answer within {} s", ANSWER_MAX.as_secs()))),
    }
}

/// A number as the database holds it.
pub(super) fn signed(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value)
        .map_err(|_| StoreError::Misuse(format!("{value} is above the largest number, 2^63 - 1")))
}

/// A number that the database holds and that cannot be negative; `what` is its place.
pub(super) fn unsigned(value: i64, what: impl FnOnce() -> String) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::altered(format!("{} is negative: {value}", what())))
}

/// A hash that the database holds; `what` is its place.
pub(super) fn hash(bytes: &[u8], what: impl FnOnce() -> String) -> Result<Hash, StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::altered(format!("{} has {} bytes instead of 32", what(), bytes.len())))
}
