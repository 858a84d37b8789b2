//! The evidence store as another process sees it: what it holds, and ways to hinder its writer.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqliteConnection, raw_sql, sqlite::SqliteConnectOptions,
};
use ura_evidence::{
    find::Found,
    keys::LogKeys,
    source::Source,
    store::{Address, LogRow, ROWS_MAX, Reader},
    verify::{Held, Report, Trust, verify},
};
use ura_proto::v1::{Entry, Gap, entry::Kind};

use super::postgres::Postgres;

/// Name of the log of every bus of a test.
pub const ORIGIN: &str = "ura.test/gateway";

/// Where a bus of a test keeps its evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EvidenceStore {
    #[default]
    Sqlite,
    /// A database of its own on the server that the tests of this process share.
    Postgres,
    /// The empty store at an address.
    At(String),
}

impl EvidenceStore {
    /// The address of an empty store; one in a file lies in this folder.
    pub async fn address(&self, dir: &Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite:{}", dir.join("evidence.db").display()),
            Self::Postgres => database().await,
            Self::At(address) => address.clone(),
        }
    }
}

/// Declares tests for each kind of evidence store, out of functions that take one.
#[allow(unused_macros)] // Each test target uses its part of the world.
macro_rules! on_each_store {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    Box::pin(super::$name(crate::world::store::EvidenceStore::Sqlite)).await;
                }
            )+
        }
        mod on_postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    Box::pin(super::$name(crate::world::store::EvidenceStore::Postgres)).await;
                }
            )+
        }
    };
}
#[allow(unused_imports)] // The same.
pub(crate) use on_each_store;

/// The address of an empty database on the server that the tests of this process share.
pub async fn database() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let server = tokio::task::spawn_blocking(Postgres::shared).await.expect("it starts");
    let mut connection = PgConnection::connect(&server.url()).await.expect("PostgreSQL");
    let create = format!("create database {name}");
    raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.expect("a database");
    connection.close().await.expect("closes");
    server.url_of(&name)
}

/// Reads a store that is there.
pub async fn reader(address: &str) -> Reader {
    let address = Address::parse(address).expect("an address");
    Box::pin(Reader::open(&address)).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Verifies the log as an auditor would, who has its public key and a checkpoint that was held apart.
pub async fn verified(reader: &Reader, log_keys: &Path) -> Report {
    let keys = LogKeys::read(log_keys, ORIGIN).expect("its keys");
    let held = keys.read_held().expect("readable").map(Held::Checkpoint);
    let now_us = Some(ura_runtime::clock::Clock::system().unix_us());
    let trust = Trust { keys: keys.keys(), held: held.into_iter().collect(), now_us, ..Trust::default() };
    let log = Box::pin(reader.log_by_origin(ORIGIN)).await.expect("readable").expect("it is there");
    let source = Source::store(reader.clone(), log);
    let report = Box::pin(verify(source, &trust, |_, _| {})).await.expect("readable");
    assert!(report.is_sound(), "{report:#?}");
    report
}

/// A view of the store, and a connection of its own to hinder the writer.
pub struct Store {
    reader: Reader,
    connection: Connection,
}

enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Store {
    pub async fn open(address: &str) -> Self {
        let connection = if address.starts_with("sqlite:") {
            let options = SqliteConnectOptions::new().filename(path(address));
            Connection::Sqlite(SqliteConnection::connect_with(&options).await.expect("the store opens"))
        } else {
            Connection::Postgres(PgConnection::connect(address).await.expect("the store opens"))
        };
        Self { reader: reader(address).await, connection }
    }

    /// Runs statements in the words of the one database or the other.
    async fn run(&mut self, sqlite: &'static str, postgres: &'static str) {
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                raw_sql(sqlite).execute(connection).await.expect(sqlite);
            }
            Connection::Postgres(connection) => {
                raw_sql(postgres).execute(connection).await.expect(postgres);
            }
        }
    }

    /// From now on every append fails.
    pub async fn hinder(&mut self) {
        self.run(
            "create trigger hindrance before insert on entry begin select raise(fail, 'disk full'); end",
            "create function hindrance() returns trigger language plpgsql as
             'begin raise exception ''disk full'' using errcode = ''disk_full''; end';
             create trigger hindrance before insert on entry execute function hindrance()",
        )
        .await;
    }

    /// Appends work again.
    pub async fn mend(&mut self) {
        self.run("drop trigger hindrance", "drop trigger hindrance on entry; drop function hindrance").await;
    }

    /// Takes the write lock: every append waits.
    pub async fn lock(&mut self) {
        self.run("begin immediate", "begin; lock table log in exclusive mode").await;
    }

    /// Gives the lock back.
    pub async fn unlock(&mut self) {
        self.run("rollback", "rollback").await;
    }

    /// The one log of the store.
    pub async fn log(&self) -> LogRow {
        let mut logs = Box::pin(self.reader.logs()).await.expect("readable");
        assert_eq!(logs.len(), 1, "one log: {logs:?}");
        logs.remove(0)
    }

    /// Every entry of the log, in its order, each with the body that its leaf commits to; indexes have no gaps.
    pub async fn entries(&self) -> Vec<Entry> {
        let log = self.log().await;
        let origin: Arc<str> = log.origin.into();
        let mut entries = Vec::new();
        loop {
            let from = u64::try_from(entries.len()).expect("few");
            let page = Box::pin(self.reader.entries(log.log, from, ROWS_MAX)).await.expect("readable");
            if page.is_empty() {
                return entries;
            }
            for (row, expected) in page.into_iter().zip(from..) {
                assert_eq!(row.index, expected, "indexes have no gaps");
                let found = Found::of(&origin, row).unwrap_or_else(|error| panic!("{error}"));
                entries.push(found.into_entry().expect("nothing was removed"));
            }
        }
    }

    /// The entries that belong to exchanges.
    pub async fn exchanges(&self) -> Vec<Entry> {
        let mut entries = self.entries().await;
        entries.retain(|entry| {
            let of_exchange =
                matches!(entry.kind, Some(Kind::Opening(_) | Kind::Progress(_) | Kind::Closing(_)));
            assert_eq!(of_exchange, !entry.exchange_id.is_empty(), "{entry:?}");
            of_exchange
        });
        entries
    }

    /// The gaps that the log tells of.
    pub async fn gaps(&self) -> Vec<Gap> {
        let entries = self.entries().await;
        let gap = |entry: Entry| match entry.kind {
            Some(Kind::Gap(gap)) => Some(gap),
            _ => None,
        };
        entries.into_iter().filter_map(gap).collect()
    }

    /// Waits until the log tells of a gap, and returns all.
    pub async fn gap(&self) -> Vec<Gap> {
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

/// Every byte of a store in a file: the database, its log and its index.
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
