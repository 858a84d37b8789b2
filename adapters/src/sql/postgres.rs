//! PostgreSQL: pooled with bb8, parameters bound in text form so that the server reads them as the
//! types it infers, large answers through portals. Each session has its limits at the server too: what it may write, how
//! long a statement and an open transaction may take.

mod session;
mod tls;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bb8::{ManageConnection, Pool, PooledConnection, RunError};
use bb8_postgres::PostgresConnectionManager;
use prost_reflect::DynamicMessage;
use tokio::sync::Notify;
use tokio_postgres::{CancelToken, Client, Config, IsolationLevel, Transaction, config::Host};

use self::{
    session::{PgSession, Statements, parameters, tree},
    tls::Tls,
};
use super::{
    Session as _, hang,
    postgres_errors::{failure, text},
    rows::RowSink,
    run, values,
};
use crate::{
    plan::{Answer, Operation, RegisterPlan, SqlPlan},
    register::{ConnectError, Failure, failure::CONTRACT_MISMATCH, job::Job},
    tree::Tree,
};

/// Rows of a stream that are fetched at once.
const BATCH_ROWS: i32 = 64;
/// The server ends a session that holds a transaction open so long without asking anything, in milliseconds: longer than
/// a stream waits for its reader. Whoever vanishes without a word holds its locks no longer.
const IDLE_IN_TRANSACTION_MS: u32 = 60_000;

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
    inner: PostgresConnectionManager<Tls>,
    tls: Tls,
    refused: Arc<Refused>,
    /// Longest wait for a connection that is ready, TLS and password included.
    connect_timeout: Duration,
    statement_timeout: Duration,
}

/// A connection with its prepared statements.
struct Connection {
    client: Client,
    tls: Tls,
    statements: Statements,
    /// The server's own limit at the moment.
    statement_timeout: Duration,
    /// A call that was left in the middle: nobody knows what still runs on it.
    in_doubt: bool,
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = String;

    async fn connect(&self) -> Result<Connection, String> {
        let connected = match tokio::time::timeout(self.connect_timeout, self.inner.connect()).await {
            Ok(connected) => connected.map_err(|error| text(&error)),
            Err(_) => Err(format!("no connection in {} ms", self.connect_timeout.as_millis())),
        };
        match connected {
            Ok(client) => Ok(Connection {
                client,
                tls: self.tls.clone(),
                statements: HashMap::new(),
                statement_timeout: self.statement_timeout,
                in_doubt: false,
            }),
            Err(error) => {
                self.refused.last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&error);
                self.refused.notify.notify_waiters();
                Err(error)
            }
        }
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), String> {
        connection.client.check_connection().await.map_err(|error| text(&error))
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.in_doubt || connection.client.is_closed()
    }
}

/// Ends what runs on the server when a call is left in the middle.
struct CancelOnDrop(Option<(CancelToken, Tls)>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let (Some((token, tls)), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                let sent = tokio::time::timeout(Duration::from_secs(5), token.cancel_query(tls));
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
        let local = config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
        });
        if !plan.tls && !local {
            tracing::warn!(%address, "PostgreSQL is spoken without TLS over a network: write sslmode=verify-full in its url");
        }
        let tls = Tls::new(plan)?;
        let reads = Side::new(&config, plan, &tls, true);
        let writes = writes.then(|| Side::new(&config, plan, &tls, false));
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
        check(&job.values)?;
        let mut connection = job.budget.connection(self.get(job.method.read_only)).await?;
        let mut cancel = connection.begin();
        connection.limit(job).await?;
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
        check(&job.values)?;
        let mut connection = job.budget.connection(self.get(job.method.read_only)).await?;
        let mut cancel = connection.begin();
        job.budget.step(connection.limit(job)).await?;
        let Connection { client, statements, .. } = &mut *connection;
        stream_on(client, statements, job, plan, sink).await?;
        cancel.0 = None;
        connection.in_doubt = false;
        Ok(())
    }
}

impl Connection {
    /// Tells the server how long a statement of this method may take, where it does not know yet. It counts by itself then,
    /// whatever becomes of the adapter.
    async fn limit(&mut self, job: &Job) -> Result<(), Failure> {
        let wanted = job.method.timeout;
        if self.statement_timeout != wanted {
            let text = format!("set statement_timeout = {}", wanted.as_millis());
            self.client.batch_execute(&text).await.map_err(|error| failure(job, &error))?;
            self.statement_timeout = wanted;
        }
        Ok(())
    }

    fn begin(&mut self) -> CancelOnDrop {
        self.in_doubt = true;
        CancelOnDrop(Some((self.client.cancel_token(), self.tls.clone())))
    }
}

impl Side {
    fn new(config: &Config, plan: &RegisterPlan, tls: &Tls, read_only: bool) -> Self {
        let mut config = config.clone();
        let mut options = config.get_options().unwrap_or_default().to_owned();
        let statement_ms = plan.timeout.as_millis();
        options += &format!(
            " -c statement_timeout={statement_ms} -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}"
        );
        if read_only {
            options += " -c default_transaction_read_only=on";
        }
        config.options(options);
        if config.get_application_name().is_none() {
            config.application_name("ura-adapter");
        }
        // Shorter than a call, so that a silent host is told from a slow query.
        let connect_timeout = config.get_connect_timeout().copied().unwrap_or(plan.timeout * 3 / 4);
        config.connect_timeout(connect_timeout);
        let refused = Arc::new(Refused::default());
        let manager = Manager {
            inner: PostgresConnectionManager::new(config, tls.clone()),
            tls: tls.clone(),
            refused: Arc::clone(&refused),
            connect_timeout,
            statement_timeout: plan.timeout,
        };
        let pool = Pool::builder()
            .max_size(plan.connections_max)
            .connection_timeout(plan.timeout)
            .retry_connection(false)
            .test_on_check_out(false)
            .build_unchecked(manager);
        Self { pool, refused }
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
                    RunError::User(error) => Failure::unreachable(error),
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

/// Text of PostgreSQL has no NUL (manual, chapter 8.3), not even escaped: nothing of such a request is sent.
fn check(values: &[Tree]) -> Result<(), Failure> {
    fn fits(tree: &Tree) -> bool {
        match tree {
            Tree::Text(text) => !text.contains('\0'),
            Tree::List(items) => items.iter().all(fits),
            Tree::Object(members) => members.iter().all(|(name, value)| !name.contains('\0') && fits(value)),
            _ => true,
        }
    }
    let invalid = "A value of the request holds the character NUL, which this register's text cannot hold.";
    if values.iter().all(fits) { Ok(()) } else { Err(Failure::invalid(invalid)) }
}
