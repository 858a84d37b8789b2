//! The civil status database in a SQLite file.

use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, QueryBuilder, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::schema::{Cell, Kind, MARK, TABLES, Table, create, create_indexes};
use crate::{error::MocksError, people::People};

/// Longest wait for a lock that somebody else holds.
const BUSY_TIMEOUT_MS: u64 = 5000;
/// Values bound in one statement; SQLite takes 32766.
const VALUES_PER_STATEMENT: usize = 1000;

/// A SQLite file.
pub(super) struct Sqlite {
    options: SqliteConnectOptions,
}

impl Sqlite {
    pub(super) fn new(url: &str) -> Result<Self, MocksError> {
        // A rollback journal, because with a write-ahead log an exclusive lock keeps no reader out.
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Off)
            .busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS));
        Ok(Self { options })
    }

    /// Makes the tables anew, in one transaction.
    pub(super) async fn fill(&self, people: &People) -> Result<(), MocksError> {
        if let Some(folder) = self.options.get_filename().parent().filter(|folder| *folder != Path::new("")) {
            tokio::fs::create_dir_all(folder).await.map_err(sqlx::Error::Io)?;
        }
        let mut connection = self.options.connect().await?;
        refuse_foreign(&mut connection).await?;
        sqlx::raw_sql("begin immediate").execute(&mut connection).await?;
        for table in &TABLES {
            sqlx::raw_sql(AssertSqlSafe(create(table, type_of))).execute(&mut connection).await?;
            insert(&mut connection, table, people).await?;
            let indexes = create_indexes(table);
            if !indexes.is_empty() {
                sqlx::raw_sql(AssertSqlSafe(indexes)).execute(&mut connection).await?;
            }
        }
        sqlx::raw_sql("commit").execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// Runs statements in one transaction.
    pub(super) async fn run(&self, statements: &'static str) -> Result<(), MocksError> {
        let mut connection = self.options.connect().await?;
        let mut transaction = connection.begin().await?;
        sqlx::raw_sql(statements).execute(&mut *transaction).await?;
        transaction.commit().await?;
        connection.close().await?;
        Ok(())
    }

    /// Keeps every reader and writer out until the lock is released.
    pub(super) async fn lock(&self) -> Result<Lock, MocksError> {
        let mut connection = self.options.connect().await?;
        sqlx::raw_sql("begin exclusive").execute(&mut connection).await?;
        Ok(Lock(connection))
    }
}

/// An exclusive lock on the file.
pub(super) struct Lock(SqliteConnection);

impl Lock {
    pub(super) async fn release(self) {
        // Closing rolls back; an error would mean that the lock is gone already.
        if let Err(error) = self.0.close().await {
            tracing::warn!(%error, "the lock on the civil status database did not close cleanly");
        }
    }
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Integer => "integer",
        Kind::Bytes => "blob",
    }
}

/// A database with tables of these names and without the mark belongs to somebody else.
async fn refuse_foreign(connection: &mut SqliteConnection) -> Result<(), MocksError> {
    let names: Vec<String> =
        sqlx::query_scalar("select name from sqlite_master where type in ('table', 'view')")
            .fetch_all(connection)
            .await?;
    let has = |name: &str| names.iter().any(|own| own == name);
    match TABLES.iter().find(|table| has(table.name)) {
        Some(table) if !has(MARK) => Err(MocksError::NotOurs { table: table.name }),
        _ => Ok(()),
    }
}

/// Many rows a statement: one at a time, the way to the database's thread would dominate.
async fn insert(connection: &mut SqliteConnection, table: &Table, people: &People) -> Result<(), MocksError> {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let head = format!("insert into {} ({}) ", table.name, names.join(", "));
    let at_once = VALUES_PER_STATEMENT / names.len();
    let mut rows = (table.rows)(people).peekable();
    while rows.peek().is_some() {
        let mut query = QueryBuilder::<sqlx::Sqlite>::new(head.as_str());
        query.push_values(rows.by_ref().take(at_once), |mut values, row| {
            for cell in row {
                match cell {
                    Cell::Null => values.push_bind(None::<String>),
                    Cell::Text(text) => values.push_bind(text),
                    Cell::Integer(number) => values.push_bind(number),
                    Cell::Bytes(bytes) => values.push_bind(bytes),
                };
            }
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}
