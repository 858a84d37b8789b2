//! The recent spans, in tables of their own beside the evidence. They may be lost: nothing waits for them to be on
//! disk, and where the store fails they are dropped and counted.

mod keep;
#[cfg(test)]
mod tests;

use std::time::Duration;

use prost::Message as _;
use sqlx::{
    PgPool, SqlSafeStr as _, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use ura_evidence::store::{Address, Beside};

use crate::Span;
pub use keep::{empty, keep};

/// Spans of one trace that are read.
pub const TRACE_SPANS_MAX: i64 = 10_000;
/// Spans of one trace that are kept of one system: others would be buried under them.
pub const TRACE_SYSTEM_SPANS_MAX: i64 = 2_000;
/// How long a lock or a connection is waited for.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Name of the tables, for their place beside the evidence.
const WHAT: &str = "traces";

/// Why spans cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error("the store of spans: {0}")]
    Database(#[from] sqlx::Error),
    /// Its tables.
    #[error("the tables of the store of spans: {0}")]
    Tables(#[from] MigrateError),
    /// A row is no span.
    #[error("the store of spans holds something that is no span: {0}")]
    Body(#[from] prost::DecodeError),
}

/// A span as it was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Who brought it, `<member>/<system>`.
    pub system: String,
    /// The span.
    pub span: Span,
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Pool);

#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The same expression on either database.
macro_rules! on {
    ($store:expr, |$pool:ident| $run:expr) => {
        match &$store.0 {
            $crate::store::Pool::Sqlite($pool) => $run,
            $crate::store::Pool::Postgres($pool) => $run,
        }
    };
}
pub(crate) use on;

impl Store {
    /// Opens the store beside the evidence at this address, and makes its tables where they are missing.
    ///
    /// # Errors
    /// The database cannot be reached, or its tables are of another version.
    pub async fn open(evidence: &Address) -> Result<Self, StoreError> {
        let store = Self::connect(evidence, false).await?;
        match &store.0 {
            Pool::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                sqlite().run_direct(None, &mut *connection, false).await?;
            }
            Pool::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                postgres().run_direct(None, &mut *connection, false).await?;
            }
        }
        Ok(store)
    }

    /// Opens the store for reading; `None` where no gateway has kept a span yet.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn open_reading(evidence: &Address) -> Result<Option<Self>, StoreError> {
        if let Beside::Sqlite(path) = evidence.beside(WHAT)
            && !path.exists()
        {
            return Ok(None);
        }
        let store = Self::connect(evidence, true).await?;
        let tables: Vec<(i64,)> = match &store.0 {
            Pool::Sqlite(pool) => {
                let found = "select 1 from sqlite_master where name = 'trace_span'";
                sqlx::query_as(found).fetch_all(pool).await?
            }
            Pool::Postgres(pool) => {
                let found = "select cast(1 as bigint) from pg_class where oid = to_regclass('trace_span')";
                sqlx::query_as(found).fetch_all(pool).await?
            }
        };
        Ok((!tables.is_empty()).then_some(store))
    }

    async fn connect(evidence: &Address, reading: bool) -> Result<Self, StoreError> {
        Ok(Self(match evidence.beside(WHAT) {
            Beside::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(!reading)
                    .read_only(reading)
                    .journal_mode(SqliteJournalMode::Wal)
                    // Nobody waits for a span to be on disk.
                    .synchronous(SqliteSynchronous::Normal)
                    .busy_timeout(WAIT_MAX);
                let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(WAIT_MAX);
                Pool::Sqlite(pool.connect_with(options).await?)
            }
            Beside::Postgres(options) => {
                let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(WAIT_MAX);
                let pool = pool.after_connect(|connection, _| {
                    Box::pin(async move {
                        let limits = "set lock_timeout = '5s'; set statement_timeout = '30s'; \
                            set idle_in_transaction_session_timeout = '10s'; set synchronous_commit = off; \
                            set client_min_messages = warning";
                        sqlx::raw_sql(limits).execute(connection).await.map(|_| ())
                    })
                });
                Pool::Postgres(pool.connect_with(*options).await?)
            }
        }))
    }

    /// The spans of a trace, in the order in which they came; at most [`TRACE_SPANS_MAX`]. Where there are more, each
    /// system's first are among them.
    ///
    /// # Errors
    /// The database, or a row that is no span.
    pub async fn trace(&self, trace_id: [u8; 16]) -> Result<Vec<Kept>, StoreError> {
        let mut rows: Vec<(i64, String, Vec<u8>)> = on!(self, |pool| {
            let found = "select id, system, body from (select id, system, body, \
                         row_number() over (partition by system order by id) as turn \
                         from trace_span where trace_id = $1) as found order by turn, id limit $2";
            sqlx::query_as(found).bind(trace_id.to_vec()).bind(TRACE_SPANS_MAX).fetch_all(pool).await?
        });
        rows.sort_unstable_by_key(|(id, ..)| *id);
        let kept =
            |(_, system, body): (i64, String, Vec<u8>)| Ok(Kept { system, span: Span::decode(&*body)? });
        rows.into_iter().map(kept).collect()
    }

    /// Closes its connections.
    pub async fn close(&self) {
        on!(self, |pool| pool.close().await);
    }
}

/// Migrations in one dialect, counted in a table of their own: evidence counts its own.
fn migrator(up: &'static str, down: &'static str) -> Migrator {
    let migration =
        |kind, sql: &'static str| Migration::new(1, "spans".into(), kind, sql.into_sql_str(), false);
    let mut migrator = Migrator::with_migrations(vec![
        migration(MigrationType::ReversibleUp, up),
        migration(MigrationType::ReversibleDown, down),
    ]);
    migrator.table_name = "_trace_migrations".into();
    migrator
}

fn sqlite() -> Migrator {
    migrator(
        include_str!("../migrations/sqlite/0001_spans.up.sql"),
        include_str!("../migrations/sqlite/0001_spans.down.sql"),
    )
}

fn postgres() -> Migrator {
    migrator(
        include_str!("../migrations/postgres/0001_spans.up.sql"),
        include_str!("../migrations/postgres/0001_spans.down.sql"),
    )
}
