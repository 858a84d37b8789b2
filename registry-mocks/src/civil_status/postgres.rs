//! The civil status database in PostgreSQL.

use std::fmt::Write;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::schema::{Cell, Kind, MARK, TABLES, Table, create, create_indexes};
use crate::{error::MocksError, people::People};

/// Bytes sent to the server at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Longest wait for transactions that still use the tables.
const LOCK_TIMEOUT_MS: u64 = 5000;

/// A PostgreSQL database.
pub(super) struct Postgres {
    url: String,
}

/// A connection and the task that drives it.
struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

impl Session {
    async fn close(self) {
        drop(self.client);
        let _ended = self.driver.await;
    }
}

impl Postgres {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    async fn connect(&self) -> Result<Session, MocksError> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "the connection to the civil status database broke");
            }
        });
        Ok(Session { client, driver })
    }

    /// Makes the tables anew, in one transaction.
    pub(super) async fn fill(&self, people: &People) -> Result<(), MocksError> {
        let session = self.connect().await?;
        let client = &session.client;
        refuse_foreign(client).await?;
        // Notices of tables that are not there to be dropped tell nobody anything.
        client.batch_execute("set client_min_messages = warning; begin").await?;
        for table in &TABLES {
            client.batch_execute(&create(table, type_of)).await?;
            copy(client, table, people).await?;
            client.batch_execute(&create_indexes(table)).await?;
        }
        client.batch_execute("commit; analyze").await?;
        session.close().await;
        Ok(())
    }

    /// Runs statements in one transaction.
    pub(super) async fn run(&self, statements: &str) -> Result<(), MocksError> {
        let session = self.connect().await?;
        // Statements sent together are one transaction (PostgreSQL manual, "Simple Query").
        session.client.batch_execute(statements).await?;
        session.close().await;
        Ok(())
    }

    /// Keeps every reader and writer waiting until the lock is released.
    pub(super) async fn lock(&self) -> Result<Lock, MocksError> {
        let session = self.connect().await?;
        let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        let statement = format!(
            "set lock_timeout = {LOCK_TIMEOUT_MS}; begin; lock table {} in access exclusive mode",
            names.join(", ")
        );
        session.client.batch_execute(&statement).await?;
        Ok(Lock(session))
    }
}

/// Exclusive locks on all tables.
pub(super) struct Lock(Session);

impl Lock {
    pub(super) async fn release(self) {
        if let Err(error) = self.0.client.batch_execute("rollback").await {
            tracing::warn!(%error, "the lock on the civil status database was gone");
        }
        self.0.close().await;
    }
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Integer => "bigint",
        Kind::Bytes => "bytea",
    }
}

/// A schema with tables of these names and without the mark belongs to somebody else.
async fn refuse_foreign(client: &Client) -> Result<(), MocksError> {
    let rows = client
        .query(
            "select table_name::text from information_schema.tables where table_schema = current_schema()",
            &[],
        )
        .await?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let has = |name: &str| names.iter().any(|own| own == name);
    match TABLES.iter().find(|table| has(table.name)) {
        Some(table) if !has(MARK) => Err(MocksError::NotOurs { table: table.name }),
        _ => Ok(()),
    }
}

async fn copy(client: &Client, table: &Table, people: &People) -> Result<(), MocksError> {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let statement = format!("copy {} ({}) from stdin", table.name, names.join(", "));
    let mut sink = std::pin::pin!(client.copy_in::<_, Bytes>(&statement).await?);
    let mut piece = String::with_capacity(2 * PIECE_BYTES);
    for row in (table.rows)(people) {
        for (at, cell) in row.iter().enumerate() {
            if at > 0 {
                piece.push('\t');
            }
            write_cell(&mut piece, cell);
        }
        piece.push('\n');
        if piece.len() >= PIECE_BYTES {
            sink.send(Bytes::from(std::mem::take(&mut piece))).await?;
        }
    }
    sink.send(Bytes::from(piece)).await?;
    sink.finish().await?;
    Ok(())
}

/// A value in COPY's text format (PostgreSQL manual, "COPY", "Text Format").
fn write_cell(piece: &mut String, cell: &Cell) {
    match cell {
        Cell::Null => piece.push_str("\\N"),
        Cell::Text(text) => {
            for letter in text.chars() {
                match letter {
                    '\\' => piece.push_str("\\\\"),
                    '\n' => piece.push_str("\\n"),
                    '\r' => piece.push_str("\\r"),
                    '\t' => piece.push_str("\\t"),
                    other => piece.push(other),
                }
            }
        }
        // Writing to a String cannot fail.
        Cell::Integer(number) => {
            let _infallible = write!(piece, "{number}");
        }
        Cell::Bytes(bytes) => {
            const HEX: [char; 16] =
                ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
            piece.push_str("\\\\x");
            for byte in bytes {
                piece.push(HEX[usize::from(byte >> 4)]);
                piece.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_escaped() {
        let mut piece = String::new();
        for cell in [
            Cell::Null,
            Cell::Text("a\tb\\c\nd\re ë".to_owned()),
            Cell::Integer(-7),
            Cell::Bytes(vec![0, 0xab]),
        ] {
            write_cell(&mut piece, &cell);
            piece.push('|');
        }
        assert_eq!(piece, "\\N|a\\tb\\\\c\\nd\\re ë|-7|\\\\x00ab|");
    }
}
