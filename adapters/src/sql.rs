//! Registers that speak SQL: what PostgreSQL and SQLite have in common.
//!
//! Statements are run in order, nested queries hang their rows under the rows above, and rows leave
//! as one reply or as a stream. Values are always bound; nothing of a request becomes SQL text.

pub(crate) mod placeholders;
mod postgres;
mod postgres_errors;
mod postgres_types;
mod rows;
mod sqlite;

use std::{future::Future, pin::Pin, sync::Arc};

use prost_reflect::DynamicMessage;

use self::{
    placeholders::{Slot, Statement},
    postgres::Postgres,
    rows::RowSink,
    sqlite::Sqlite,
};
use crate::{
    plan::{Nested, RegisterKind, RegisterPlan, SqlPlan},
    register::{ConnectError, Failure, Reply, job::Job, pump},
    tree::Tree,
};

/// A pool of connections to a database.
#[derive(Clone)]
pub(crate) enum SqlRegister {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

impl SqlRegister {
    pub(crate) async fn connect(plan: &RegisterPlan, writes: bool) -> Result<Self, ConnectError> {
        if plan.kind == RegisterKind::Postgres {
            Postgres::connect(plan, writes).await.map(Self::Postgres)
        } else {
            Ok(Self::Sqlite(Sqlite::connect(plan, writes)))
        }
    }

    pub(crate) fn address(&self) -> String {
        match self {
            Self::Postgres(postgres) => postgres.address().to_owned(),
            Self::Sqlite(sqlite) => sqlite.address().to_owned(),
        }
    }

    pub(crate) async fn probe(&self) -> Result<(), Failure> {
        match self {
            Self::Postgres(postgres) => postgres.probe().await,
            Self::Sqlite(sqlite) => sqlite.probe().await,
        }
    }

    /// One reply; a write is committed only when its reply has been made.
    pub(crate) async fn unary(&self, job: &Job, plan: &SqlPlan) -> Result<DynamicMessage, Failure> {
        job.budget
            .whole(async {
                match self {
                    Self::Postgres(postgres) => postgres.unary(job, plan).await,
                    Self::Sqlite(sqlite) => sqlite.unary(job, plan).await,
                }
            })
            .await
    }

    /// Rows as they come. The register's work ends when the stream is dropped.
    pub(crate) fn stream(&self, job: Arc<Job>) -> Reply {
        let register = self.clone();
        pump::stream(Arc::clone(&job), |sink| async move {
            let mut sink = RowSink::new(sink, &job);
            match &register {
                Self::Postgres(postgres) => postgres.stream(&job, &mut sink).await,
                Self::Sqlite(sqlite) => sqlite.stream(&job, &mut sink).await,
            }?;
            sink.finish()
        })
    }
}

/// A connection, or a transaction on one, that runs statements.
trait Session: Send {
    /// All rows of a statement; `row` is the row above, for nested queries.
    fn rows(
        &mut self,
        statement: &Statement,
        row: Option<&Tree>,
    ) -> impl Future<Output = Result<Vec<Tree>, Failure>> + Send;
}

/// Runs all statements of a method; the rows are those of the last, with nested rows in them.
async fn run<S: Session>(session: &mut S, plan: &SqlPlan) -> Result<Vec<Tree>, Failure> {
    let mut rows = Vec::new();
    for statement in &plan.statements {
        rows = session.rows(statement, None).await?;
    }
    for row in &mut rows {
        hang(session, &plan.nested, row).await?;
    }
    Ok(rows)
}

/// Hangs the rows of nested queries under a row.
fn hang<'a, S: Session>(
    session: &'a mut S,
    nested: &'a [Nested],
    row: &'a mut Tree,
) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>> {
    Box::pin(async move {
        for query in nested {
            let mut rows = session.rows(&query.statement, Some(row)).await?;
            for row in &mut rows {
                hang(session, &query.nested, row).await?;
            }
            if let Tree::Object(columns) = row {
                columns.retain(|(name, _)| *name != query.name);
                columns.push((query.name.clone(), Tree::List(rows)));
            }
        }
        Ok(())
    })
}

/// The values of a statement's parameters, in its order.
fn values(job: &Job, statement: &Statement, row: Option<&Tree>) -> Result<Vec<Tree>, Failure> {
    statement
        .slots
        .iter()
        .map(|slot| match slot {
            Slot::Parameter(at) => Ok(job.values.get(*at).cloned().unwrap_or(Tree::Null)),
            Slot::Row(path) => row.and_then(|row| row.at(path)).cloned().ok_or_else(|| {
                let near = row.map(|row| row.near(path.as_str())).unwrap_or_default();
                let problem = format!("the row above has no column `{}`{near}", path.as_str());
                job.mismatch("a nested query", &problem)
            }),
        })
        .collect()
}
