//! Statements on a connection of PostgreSQL: prepared once, values bound, rows read as trees.

use std::{collections::HashMap, sync::Arc};

use futures_util::TryStreamExt as _;
use tokio_postgres::{Error, GenericClient, Row};

use super::super::{
    Session,
    placeholders::Statement,
    postgres_errors::failure,
    postgres_types::{PgParameter, PgTree},
    rows::RowBuffer,
    values,
};
use crate::{
    register::{Failure, job::Job},
    tree::Tree,
};

/// Prepared statements that one connection keeps; a file with more prepares some again.
const STATEMENTS_MAX: usize = 256;

/// Prepared statements of a connection, by their text.
pub(super) type Statements = HashMap<Arc<str>, tokio_postgres::Statement>;

/// Runs statements on a client or a transaction.
pub(super) struct PgSession<'a, C> {
    client: &'a C,
    statements: &'a mut Statements,
    job: &'a Job,
    comment: Option<String>,
    /// What the answer took so far.
    pub(super) bytes: usize,
}

impl<'a, C: GenericClient + Sync> PgSession<'a, C> {
    pub(super) fn new(client: &'a C, statements: &'a mut Statements, job: &'a Job) -> Self {
        Self {
            client,
            statements,
            job,
            comment: job.trace.sampled.then(|| comment(&job.trace.header())).flatten(),
            bytes: 0,
        }
    }

    pub(super) async fn prepare(
        &mut self,
        statement: &Statement,
    ) -> Result<tokio_postgres::Statement, Failure> {
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

pub(super) fn parameters(values: Vec<Tree>) -> Vec<PgParameter> {
    values.into_iter().map(PgParameter).collect()
}

pub(super) fn tree(row: &Row, job: &Job) -> Result<Tree, Failure> {
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
