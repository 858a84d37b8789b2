//! SQLite: pooled by sqlx, read-only connections for methods without side effects. A connection
//! stays with the file that it opened, so a file that was replaced gets new pools.

use std::{
    os::unix::fs::MetadataExt as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use prost_reflect::DynamicMessage;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Row as _, SqliteConnection, SqlitePool,
    TypeInfo as _, ValueRef as _,
    pool::PoolConnection,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePoolOptions, SqliteRow},
};
use tonic::Code;

use super::{
    Session, hang,
    placeholders::Statement,
    rows::{RowBuffer, RowSink},
    run, values,
};
use crate::{
    plan::{Operation, RegisterPlan, SqlPlan},
    register::{Failure, job::Job},
    tree::Tree,
};

/// Instructions of SQLite's machine between two looks at whether the call was left.
const PROGRESS_STEPS: i32 = 10_000;

/// A database file, by its path.
#[derive(Clone)]
pub(crate) struct Sqlite {
    address: String,
    writes: bool,
    connections_max: u32,
    timeout: Duration,
    pools: Arc<Mutex<Option<Pools>>>,
}

/// Pools of connections: one that cannot write, and one for methods that may.
struct Pools {
    /// Device and inode of the file that they are on. Its open connections keep the number taken.
    file: (u64, u64),
    reads: SqlitePool,
    writes: Option<SqlitePool>,
}

/// Interrupts a statement when its call is left.
struct InterruptOnDrop(Arc<AtomicBool>);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sqlite {
    pub(super) fn connect(plan: &RegisterPlan, writes: bool) -> Self {
        Self {
            address: plan.url.clone(),
            writes,
            connections_max: plan.connections_max,
            timeout: plan.timeout,
            pools: Arc::default(),
        }
    }

    /// The pool on the file that is at the path now.
    async fn pool(&self, read_only: bool) -> Result<SqlitePool, Failure> {
        let found = tokio::fs::metadata(&self.address).await;
        let found = found.map_err(|error| Failure::unreachable(format!("{}: {error}", self.address)))?;
        let file = (found.dev(), found.ino());
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        // Calls in hand end on the connections that they have.
        let now = match pools.take().filter(|pools| pools.file == file) {
            Some(pools) => pools,
            None => Pools { file, reads: self.open(true), writes: self.writes.then(|| self.open(false)) },
        };
        let now = pools.insert(now);
        Ok(now.writes.as_ref().filter(|_| !read_only).unwrap_or(&now.reads).clone())
    }

    fn open(&self, read_only: bool) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(&self.address)
            .create_if_missing(false)
            .read_only(read_only)
            .busy_timeout(self.timeout)
            .disable_statement_logging();
        SqlitePoolOptions::new()
            .max_connections(self.connections_max)
            .acquire_timeout(self.timeout)
            .idle_timeout(Duration::from_secs(600))
            .test_before_acquire(false)
            .connect_lazy_with(options)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let unreachable = |error: sqlx::Error| Failure::unreachable(error.to_string());
        let mut connection = self.pool(true).await?.acquire().await.map_err(unreachable)?;
        let read = sqlx::query("select count(*) from sqlite_schema").execute(&mut *connection);
        read.await.map(drop).map_err(unreachable)
    }

    async fn get(&self, job: &Job) -> Result<(PoolConnection<sqlx::Sqlite>, InterruptOnDrop), Failure> {
        let pool = self.pool(job.method.read_only).await?;
        let mut connection = pool.acquire().await.map_err(|error| failure(job, &error))?;
        let left = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&left);
        let mut handle = connection.lock_handle().await.map_err(|error| failure(job, &error))?;
        handle.set_progress_handler(PROGRESS_STEPS, move || !watched.load(Ordering::Relaxed));
        drop(handle);
        Ok((connection, InterruptOnDrop(left)))
    }

    pub(super) async fn unary(&self, job: &Job, plan: &SqlPlan) -> Result<DynamicMessage, Failure> {
        let (mut connection, interrupt) = job.budget.connection(self.get(job)).await?;
        let single = plan.nested.is_empty() && plan.statements.len() == 1;
        let reply = if single && job.method.read_only {
            let rows = run(&mut SqliteSession::new(&mut connection, job), plan).await?;
            job.unary(rows, None)
        } else {
            let failed = |error: sqlx::Error| failure(job, &error);
            let mut transaction = connection.begin_with(begin(job)).await.map_err(failed)?;
            let rows = run(&mut SqliteSession::new(&mut transaction, job), plan).await?;
            // Dropping the transaction rolls it back: an answer that does not fit undoes the write.
            let reply = job.unary(rows, None)?;
            transaction.commit().await.map_err(failed)?;
            Ok(reply)
        };
        drop(interrupt);
        reply
    }

    pub(super) async fn stream(&self, job: &Job, sink: &mut RowSink) -> Result<(), Failure> {
        let Operation::Sql(plan) = &job.method.operation else {
            return Ok(());
        };
        let Some((last, before)) = plan.statements.split_last() else {
            return Ok(());
        };
        let failed = |error: sqlx::Error| failure(job, &error);
        let (mut connection, _interrupt) = job.budget.connection(self.get(job)).await?;
        let begin = connection.begin_with(begin(job));
        let mut transaction = job.budget.step(async { begin.await.map_err(failed) }).await?;
        let mut session = SqliteSession::new(&mut transaction, job);
        for statement in before {
            job.budget.step(session.rows(statement, None)).await?;
        }
        if plan.nested.is_empty() {
            let query = query(job, last, None)?;
            let mut rows = query.fetch(&mut *session.connection);
            while let Some(row) = job.budget.step(async { rows.try_next().await.map_err(failed) }).await? {
                sink.push(tree(&row, job)?).await?;
            }
        } else {
            // One connection reads one statement at a time: the outer rows come first.
            let rows = job.budget.step(session.rows(last, None)).await?;
            for mut row in rows {
                session.bytes = 0;
                job.budget.step(hang(&mut session, &plan.nested, &mut row)).await?;
                sink.push(row).await?;
            }
        }
        job.budget.step(async { transaction.commit().await.map_err(failed) }).await
    }
}

/// A write takes its lock at once, so that it cannot fail half-way for want of it.
fn begin(job: &Job) -> &'static str {
    if job.method.read_only { "BEGIN" } else { "BEGIN IMMEDIATE" }
}

struct SqliteSession<'a> {
    connection: &'a mut SqliteConnection,
    job: &'a Job,
    bytes: usize,
}

impl<'a> SqliteSession<'a> {
    fn new(connection: &'a mut SqliteConnection, job: &'a Job) -> Self {
        Self { connection, job, bytes: 0 }
    }
}

impl Session for SqliteSession<'_> {
    async fn rows(&mut self, statement: &Statement, row: Option<&Tree>) -> Result<Vec<Tree>, Failure> {
        let query = query(self.job, statement, row)?;
        let mut rows = query.fetch(&mut *self.connection);
        let mut buffer = RowBuffer::new(self.job, self.bytes);
        while let Some(row) = rows.try_next().await.map_err(|error| failure(self.job, &error))? {
            buffer.push(tree(&row, self.job)?)?;
        }
        drop(rows);
        Ok(buffer.finish(&mut self.bytes))
    }
}

type Query = sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments>;

fn query(job: &Job, statement: &Statement, row: Option<&Tree>) -> Result<Query, Failure> {
    let mut arguments = SqliteArguments::default();
    for value in values(job, statement, row)? {
        bind(&mut arguments, value).map_err(|error| {
            Failure::invalid(format!("A value of the request cannot be put to the register: {error}."))
        })?;
    }
    // The text is the adapter file's own; values are bound.
    Ok(sqlx::query_with(AssertSqlSafe(Arc::clone(&statement.text)), arguments))
}

fn bind(arguments: &mut SqliteArguments, value: Tree) -> Result<(), sqlx::error::BoxDynError> {
    use sqlx::Arguments as _;
    match value {
        Tree::Null => arguments.add(None::<String>),
        Tree::Bool(value) => arguments.add(value),
        Tree::Bytes(bytes) => arguments.add(Vec::from(bytes)),
        Tree::Text(text) => arguments.add(text),
        Tree::Number(text) => {
            if let Ok(value) = text.parse::<i64>() {
                return arguments.add(value);
            }
            match text.parse::<f64>() {
                // As a number where that says exactly the same.
                Ok(value) if value.to_string() == text => arguments.add(value),
                _ => arguments.add(text),
            }
        }
        other => arguments.add(other.to_text()),
    }
}

fn tree(row: &SqliteRow, job: &Job) -> Result<Tree, Failure> {
    let mut columns = Vec::with_capacity(row.len());
    for (at, column) in row.columns().iter().enumerate() {
        let value = value(row, at)
            .map_err(|error| job.mismatch(&format!("column {}", column.name()), &error.to_string()))?;
        columns.push((column.name().to_owned(), value));
    }
    Ok(Tree::row(columns))
}

/// SQLite types values, not columns.
fn value(row: &SqliteRow, at: usize) -> Result<Tree, sqlx::Error> {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(Tree::Null);
    }
    let kind = raw.type_info().name().to_owned();
    drop(raw);
    Ok(match kind.as_str() {
        "INTEGER" => Tree::integer(row.try_get_unchecked::<i64, _>(at)?),
        "REAL" => Tree::Number(row.try_get_unchecked::<f64, _>(at)?.to_string()),
        "BLOB" => Tree::Bytes(Bytes::from(row.try_get_unchecked::<Vec<u8>, _>(at)?)),
        _ => Tree::Text(row.try_get_unchecked::<String, _>(at)?),
    })
}

fn failure(job: &Job, error: &sqlx::Error) -> Failure {
    let detail = error.to_string();
    let code = match error {
        sqlx::Error::PoolTimedOut => return Failure::overloaded(detail),
        sqlx::Error::Database(database) => database.code().unwrap_or_default().into_owned(),
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => {
            return Failure::unreachable(detail);
        }
        _ => return Failure::refused(Code::Internal, "The register did not carry out the call.", detail),
    };
    if let Some(refusal) = job.method.errors.get(&code) {
        let message = refusal.message.as_deref().unwrap_or("The register refused the call.");
        return Failure::refused(refusal.code, message, detail);
    }
    // Primary result codes are the low byte of extended ones (sqlite.org/rescode.html).
    match code.parse::<u32>().map_or(0, |code| code & 0xff) {
        // BUSY, LOCKED: another one writes for longer than the time limit.
        5 | 6 => Failure::refused(
            Code::Aborted,
            "The register gave up the call because of another one; try again.",
            detail,
        ),
        // INTERRUPT
        9 => Failure::timeout(detail),
        // IOERR, CORRUPT, FULL, CANTOPEN, NOTADB
        10 | 11 | 13 | 14 | 26 => Failure::unreachable(detail),
        // CONSTRAINT
        19 => Failure::refused(Code::FailedPrecondition, "The register's rules do not allow this.", detail),
        _ => Failure::refused(Code::Internal, "The register did not carry out the call.", detail),
    }
}
