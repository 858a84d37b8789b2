//! PostgreSQL: pooled with bb8, parameters bound in text form so that the server reads them as the
//! types it infers, large answers through portals.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bb8::{ManageConnection, Pool, PooledConnection, RunError};
use bb8_postgres::PostgresConnectionManager;
use futures_util::TryStreamExt as _;
use prost_reflect::DynamicMessage;
use tokio::sync::Notify;
use tokio_postgres::{
    CancelToken, Client, Config, Error, GenericClient, IsolationLevel, NoTls, Row, Transaction, config::Host,
};

use super::{
    Session, hang,
    placeholders::Statement,
    postgres_errors::{failure, text},
    postgres_types::{PgParameter, PgTree},
    rows::{RowBuffer, RowSink},
    run, values,
};
use crate::{
    plan::{Answer, Operation, RegisterPlan, SqlPlan},
    register::{ConnectError, Failure, failure::CONTRACT_MISMATCH, job::Job},
    tree::Tree,
};

/// Rows of a stream that are fetched at once.
const BATCH_ROWS: i32 = 64;
/// Prepared statements that one connection keeps; a file with more prepares some again.
const STATEMENTS_MAX: usize = 256;

type Statements = HashMap<Arc<str>, tokio_postgres::Statement>;

/// Pools of connections: one that cannot write, and one for methods that may.
#[derive(Clone)]
pub(crate) struct Postgres {
    reads: Side,
    writes: Option<Side>,
    address: String,
    connections_max: u32,
}

#[derive(Clone)]
struct Side {
    pool: Pool<Manager>,
    refused: Arc<Refused>,
}

/// The pool keeps failed attempts to itself; this wakes those who wait for a connection.
#[derive(Default)]
struct Refused {
    notify: Notify,
    last: Mutex<String>,
}

struct Manager {
    inner: PostgresConnectionManager<NoTls>,
    refused: Arc<Refused>,
}

/// A connection with its prepared statements.
struct Connection {
    client: Client,
    statements: Statements,
    /// A call that was left in the middle: nobody knows what still runs on it.
    in_doubt: bool,
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self) -> Result<Connection, Error> {
        match self.inner.connect().await {
            Ok(client) => Ok(Connection { client, statements: HashMap::new(), in_doubt: false }),
            Err(error) => {
                *self.refused.last.lock().unwrap_or_else(PoisonError::into_inner) = text(&error);
                self.refused.notify.notify_waiters();
                Err(error)
            }
        }
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.client.check_connection().await
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.in_doubt || connection.client.is_closed()
    }
}

/// Ends what runs on the server when a call is left in the middle.
struct CancelOnDrop(Option<CancelToken>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let (Some(token), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                let sent = tokio::time::timeout(Duration::from_secs(5), token.cancel_query(NoTls));
                if let Ok(Err(error)) = sent.await {
                    tracing::debug!(%error, "a left query could not be cancelled");
                }
            });
        }
    }
}

impl Postgres {
    pub(super) async fn connect(plan: &RegisterPlan, writes: bool) -> Result<Self, ConnectError> {
        let config: Config = plan.url.parse().map_err(|error| ConnectError::Url(text(&error)))?;
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let ports = config.get_ports().iter().map(|port| format!(":{port}"));
        let ports = ports.chain(std::iter::repeat(String::new()));
        let address = hosts.zip(ports).map(|(host, port)| host + &port).collect::<Vec<_>>().join(",");
        let reads = Side::new(&config, plan, true).await?;
        let writes = match writes {
            true => Some(Side::new(&config, plan, false).await?),
            false => None,
        };
        Ok(Self { reads, writes, address, connections_max: plan.connections_max })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let connection = self.get(true).await?;
        let answer = connection.client.simple_query("select 1").await;
        answer.map(drop).map_err(|error| Failure::unreachable(text(&error)))
    }

    async fn get(&self, read_only: bool) -> Result<PooledConnection<'static, Manager>, Failure> {
        let side = self.writes.as_ref().filter(|_| !read_only).unwrap_or(&self.reads);
        // Idle connections may have died meanwhile; each is looked at once at most.
        for _ in 0..=self.connections_max {
            let connection = side.get().await?;
            if !connection.client.is_closed() {
                return Ok(connection);
            }
        }
        Err(Failure::unreachable("every connection of the pool was closed by the server"))
    }

    pub(super) async fn unary(&self, job: &Job, plan: &SqlPlan) -> Result<DynamicMessage, Failure> {
        let mut connection = job.budget.connection(self.get(job.method.read_only)).await?;
        let mut cancel = connection.begin();
        let Connection { client, statements, .. } = &mut *connection;
        let outcome = unary_on(client, statements, job, plan).await;
        if outcome.is_err() {
            // What was prepared may be why: a table that changed, for example.
            statements.clear();
        }
        // Rows that nobody reads any more may still be on their way.
        let in_doubt = matches!(&outcome, Err(failure) if failure.reason == CONTRACT_MISMATCH);
        if !in_doubt {
            cancel.0 = None;
        }
        connection.in_doubt = in_doubt;
        outcome
    }

    pub(super) async fn stream(&self, job: &Job, sink: &mut RowSink) -> Result<(), Failure> {
        let Operation::Sql(plan) = &job.method.operation else {
            return Ok(());
        };
        let mut connection = job.budget.connection(self.get(job.method.read_only)).await?;
        let mut cancel = connection.begin();
        let Connection { client, statements, .. } = &mut *connection;
        stream_on(client, statements, job, plan, sink).await?;
        cancel.0 = None;
        connection.in_doubt = false;
        Ok(())
    }
}

impl Connection {
    fn begin(&mut self) -> CancelOnDrop {
        self.in_doubt = true;
        CancelOnDrop(Some(self.client.cancel_token()))
    }
}

impl Side {
    async fn new(config: &Config, plan: &RegisterPlan, read_only: bool) -> Result<Self, ConnectError> {
        let mut config = config.clone();
        if read_only {
            let options = config.get_options().unwrap_or_default();
            config.options(format!("{options} -c default_transaction_read_only=on"));
        }
        if config.get_application_name().is_none() {
            config.application_name("ura-adapter");
        }
        if config.get_connect_timeout().is_none() {
            // Shorter than a call, so that a silent host is told from a slow query.
            config.connect_timeout(plan.timeout * 3 / 4);
        }
        let refused = Arc::new(Refused::default());
        let manager =
            Manager { inner: PostgresConnectionManager::new(config, NoTls), refused: Arc::clone(&refused) };
        let pool = Pool::builder()
            .max_size(plan.connections_max)
            .connection_timeout(plan.timeout)
            .retry_connection(false)
            .test_on_check_out(false)
            .build_unchecked(manager);
        Ok(Self { pool, refused })
    }

    async fn get(&self) -> Result<PooledConnection<'static, Manager>, Failure> {
        let connection = self.pool.get_owned();
        tokio::pin!(connection);
        let mut was_refused = false;
        loop {
            let refused = self.refused.notify.notified();
            tokio::pin!(refused);
            refused.as_mut().enable();
            // One more that the server refuses says nothing of those that it has given: one gets free.
            if was_refused && self.pool.state().connections == 0 {
                let last = self.refused.last.lock().unwrap_or_else(PoisonError::into_inner);
                return Err(Failure::unreachable(last.clone()));
            }
            tokio::select! {
                biased;
                connection = &mut connection => return connection.map_err(|error| match error {
                    RunError::User(error) => Failure::unreachable(text(&error)),
                    RunError::TimedOut => Failure::overloaded("no free connection in time"),
                }),
                () = refused => was_refused = true,
            }
        }
    }
}

async fn unary_on(
    client: &mut Client,
    statements: &mut Statements,
    job: &Job,
    plan: &SqlPlan,
) -> Result<DynamicMessage, Failure> {
    let single = plan.nested.is_empty() && plan.statements.len() == 1;
    if single && job.method.read_only {
        let mut session = PgSession::new(&*client, statements, job);
        let rows = run(&mut session, plan).await?;
        return job.unary(rows, None);
    }
    let transaction = begin(client, job).await?;
    let rows = run(&mut PgSession::new(&transaction, statements, job), plan).await?;
    // Dropping the transaction rolls it back: an answer that does not fit undoes the write.
    let reply = job.unary(rows, None)?;
    transaction.commit().await.map_err(|error| failure(job, &error))?;
    Ok(reply)
}

async fn begin<'a>(client: &'a mut Client, job: &Job) -> Result<Transaction<'a>, Failure> {
    let builder = client.build_transaction();
    let builder = if job.method.read_only {
        // One view of the data for a row and the rows under it.
        builder.isolation_level(IsolationLevel::RepeatableRead).read_only(true)
    } else {
        builder
    };
    builder.start().await.map_err(|error| failure(job, &error))
}

async fn stream_on(
    client: &mut Client,
    statements: &mut Statements,
    job: &Job,
    plan: &SqlPlan,
    sink: &mut RowSink,
) -> Result<(), Failure> {
    let Some((last, before)) = plan.statements.split_last() else {
        return Ok(());
    };
    let transaction = job.budget.step(begin(client, job)).await?;
    let mut session = PgSession::new(&transaction, statements, job);
    for statement in before {
        job.budget.step(session.rows(statement, None)).await?;
    }
    let prepared = job.budget.step(session.prepare(last)).await?;
    let parameters = parameters(values(job, last, None)?);
    let bound = transaction.bind_raw(&prepared, parameters.iter());
    let portal = job.budget.step(async { bound.await.map_err(|e| failure(job, &e)) }).await?;
    // A piece of a large value at a time, or some ordinary rows.
    let batch = if matches!(job.method.answer, Answer::Chunks { .. }) { 1 } else { BATCH_ROWS };
    loop {
        let fetched = transaction.query_portal(&portal, batch);
        let rows = job.budget.step(async { fetched.await.map_err(|e| failure(job, &e)) }).await?;
        let complete = i32::try_from(rows.len()).is_ok_and(|count| count < batch);
        for row in &rows {
            let mut row = tree(row, job)?;
            session.bytes = 0;
            job.budget.step(hang(&mut session, &plan.nested, &mut row)).await?;
            sink.push(row).await?;
        }
        if complete {
            break;
        }
    }
    job.budget.step(async { transaction.commit().await.map_err(|error| failure(job, &error)) }).await
}

/// Runs statements on a client or a transaction.
struct PgSession<'a, C> {
    client: &'a C,
    statements: &'a mut Statements,
    job: &'a Job,
    comment: Option<String>,
    bytes: usize,
}

impl<'a, C: GenericClient + Sync> PgSession<'a, C> {
    fn new(client: &'a C, statements: &'a mut Statements, job: &'a Job) -> Self {
        Self {
            client,
            statements,
            job,
            comment: job.trace.sampled.then(|| comment(&job.trace.header())).flatten(),
            bytes: 0,
        }
    }

    async fn prepare(&mut self, statement: &Statement) -> Result<tokio_postgres::Statement, Failure> {
        let failed = |error: Error| failure(self.job, &error);
        if let Some(comment) = &self.comment {
            // Its text is new each time, so it is not worth keeping. The new line ends a comment.
            let text = format!("{}\n{comment}", statement.text);
            return self.client.prepare(&text).await.map_err(failed);
        }
        if let Some(prepared) = self.statements.get(&statement.text) {
            return Ok(prepared.clone());
        }
        let prepared = self.client.prepare(&statement.text).await.map_err(failed)?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(Arc::clone(&statement.text), prepared.clone());
        Ok(prepared)
    }
}

impl<C: GenericClient + Sync> Session for PgSession<'_, C> {
    async fn rows(&mut self, statement: &Statement, row: Option<&Tree>) -> Result<Vec<Tree>, Failure> {
        let parameters = parameters(values(self.job, statement, row)?);
        let prepared = self.prepare(statement).await?;
        let failed = |error: Error| failure(self.job, &error);
        let rows = self.client.query_raw(&prepared, parameters.iter()).await.map_err(failed)?;
        tokio::pin!(rows);
        let mut buffer = RowBuffer::new(self.job, self.bytes);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            buffer.push(tree(&row, self.job)?)?;
        }
        Ok(buffer.finish(&mut self.bytes))
    }
}

fn parameters(values: Vec<Tree>) -> Vec<PgParameter> {
    values.into_iter().map(PgParameter).collect()
}

fn tree(row: &Row, job: &Job) -> Result<Tree, Failure> {
    let mut columns = Vec::with_capacity(row.len());
    for (at, column) in row.columns().iter().enumerate() {
        let value: PgTree = row.try_get(at).map_err(|error| {
            let problem = match std::error::Error::source(&error) {
                Some(source) => source.to_string(),
                None => error.to_string(),
            };
            job.mismatch(&format!("column {}", column.name()), &problem)
        })?;
        columns.push((column.name().to_owned(), value.0));
    }
    Ok(Tree::row(columns))
}

/// A trailing comment that ties the statement to its trace; only hex digits and hyphens get in.
fn comment(header: &[u8]) -> Option<String> {
    let safe = header.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    let header = std::str::from_utf8(header).ok().filter(|_| safe)?;
    Some(format!("/*traceparent='{header}'*/"))
}
