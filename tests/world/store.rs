//! The evidence store as another process sees it: what it holds, and ways to hinder its writer.

use std::path::{Path, PathBuf};

use prost::Message as _;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use ura_proto::v1::{Entry, Gap, entry::Kind};

/// A connection of its own to the store.
pub struct Store {
    connection: SqliteConnection,
}

impl Store {
    /// Opens `sqlite:PATH`.
    pub async fn open(address: &str) -> Self {
        let options = SqliteConnectOptions::new().filename(path(address));
        Self { connection: SqliteConnection::connect_with(&options).await.expect("the store opens") }
    }

    async fn run(&mut self, statement: &'static str) {
        sqlx::query(statement).execute(&mut self.connection).await.expect(statement);
    }

    /// From now on every append fails.
    pub async fn hinder(&mut self) {
        self.run(
            "create trigger hindrance before insert on entry begin select raise(fail, 'disk full'); end",
        )
        .await;
    }

    /// Appends work again.
    pub async fn mend(&mut self) {
        self.run("drop trigger hindrance").await;
    }

    /// Takes the write lock: every append waits.
    pub async fn lock(&mut self) {
        self.run("begin immediate").await;
    }

    /// Gives the lock back.
    pub async fn unlock(&mut self) {
        self.run("rollback").await;
    }

    /// Every entry of the log, in its order; indexes have no gaps.
    pub async fn entries(&mut self) -> Vec<Entry> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "select log_index, bytes from entry join body using (log_index) order by log_index",
        )
        .fetch_all(&mut self.connection)
        .await
        .expect("readable");
        let entries = rows.into_iter().zip(0..).map(|((index, bytes), expected)| {
            assert_eq!(index, expected, "indexes have no gaps");
            Entry::decode(bytes.as_slice()).expect("an entry")
        });
        entries.collect()
    }

    /// The gaps that the log tells of.
    pub async fn gaps(&mut self) -> Vec<Gap> {
        let entries = self.entries().await;
        let gap = |entry: Entry| match entry.kind {
            Some(Kind::Gap(gap)) => Some(gap),
            _ => None,
        };
        entries.into_iter().filter_map(gap).collect()
    }

    /// Waits until the log tells of a gap, and returns all.
    pub async fn gap(&mut self) -> Vec<Gap> {
        super::patient(async {
            loop {
                let gaps = self.gaps().await;
                if !gaps.is_empty() {
                    return gaps;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

/// Every byte of the store: the database, its log and its index.
pub fn bytes(address: &str) -> Vec<u8> {
    let path = path(address);
    let mut all = Vec::new();
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        if Path::new(&name).exists() {
            all.extend(std::fs::read(&name).expect("readable"));
        }
    }
    all
}

fn path(address: &str) -> PathBuf {
    let path = address.strip_prefix("sqlite:").expect("a store in a file");
    PathBuf::from(path.split('?').next().unwrap_or_default())
}
