//! The evidence store in SQLite: group commits with `synchronous = FULL`, and search by exchange.
//! A store on which a commit would not sync is refused.

use std::{path::PathBuf, str::FromStr as _, sync::LazyLock};

use prost::Message as _;
use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, SqlSafeStr as _, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use ura_proto::{ExchangeId, v1::Entry};

use super::entry::{LeafHash, Row, leaf_hash};

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address is not one of a store.
    #[error("evidence store `{store}`: {problem}")]
    Address {
        /// As configured.
        store: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A commit would return before it is on disk.
    #[error(
        "evidence store `{store}` does not sync: {problem}. Ura keeps evidence only on a store that syncs each commit; remove the setting"
    )]
    NotSynced {
        /// As configured.
        store: String,
        /// The setting found.
        problem: String,
    },
    /// SQLite said no.
    #[error("evidence store: {0}")]
    Sqlite(#[from] sqlx::Error),
    /// The tables cannot be made.
    #[error("evidence store: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// An entry that cannot be decoded.
    #[error("evidence store: entry {index} cannot be read: {problem}")]
    Entry {
        /// Its place in the log.
        index: i64,
        /// What is wrong with it.
        problem: String,
    },
}

/// An entry as it stands in the log.
#[derive(Debug)]
pub struct StoredEntry {
    /// Place in the log, from 0.
    pub index: u64,
    /// SHA-256(0x00 ‖ entry), as stored.
    pub leaf_hash: [u8; 32],
    /// The entry.
    pub entry: Entry,
}

/// Rows in one insert statement, larger first: each size is one prepared statement.
const INSERT_ROWS: [usize; 3] = [64, 8, 1];

/// The connection of the writer.
pub(super) struct Store {
    connection: SqliteConnection,
}

impl Store {
    /// Opens or makes the store and checks that it syncs.
    pub(super) async fn open(address: &str) -> Result<Self, StoreError> {
        let options = options(address)?.create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        check_sync(&mut connection, address).await?;
        migrator().run(&mut connection).await?;
        Ok(Self { connection })
    }

    /// Appends rows in one transaction; returns the index of the first. On return they are on disk.
    pub(super) async fn append(&mut self, rows: &[Row]) -> Result<i64, sqlx::Error> {
        // The write lock is taken before the last index is read: two processes may share the log
        // while one hands over to the other.
        let mut transaction = self.connection.begin_with("begin immediate").await?;
        let first: i64 = sqlx::query_scalar("select coalesce(max(log_index) + 1, 0) from entry")
            .fetch_one(&mut *transaction)
            .await?;
        let mut rest = rows;
        let mut index = first;
        while !rest.is_empty() {
            let size = INSERT_ROWS.into_iter().find(|size| *size <= rest.len()).unwrap_or(1);
            let (now, later) = rest.split_at(size);
            insert(&mut transaction, index, now).await?;
            index += i64::try_from(size).expect("at most 64");
            rest = later;
        }
        transaction.commit().await?;
        Ok(first)
    }
}

/// The statements that insert 64, 8 and 1 rows.
static STATEMENTS: LazyLock<[(usize, String, String); 3]> = LazyLock::new(|| {
    INSERT_ROWS.map(|rows| {
        let values = |columns: usize| {
            let row = format!("({})", vec!["?"; columns].join(","));
            vec![row; rows].join(",")
        };
        let entry = format!(
            "insert into entry (log_index, leaf_hash, kind, exchange_id, recorded_us, consumer, provider, method, reason, trace_id) values {}",
            values(10)
        );
        (rows, entry, format!("insert into body (log_index, bytes) values {}", values(2)))
    })
});

/// Inserts as many rows as one of the statements takes.
async fn insert(connection: &mut SqliteConnection, first: i64, rows: &[Row]) -> Result<(), sqlx::Error> {
    let (_, entry, body) = STATEMENTS
        .iter()
        .find(|(size, ..)| *size == rows.len())
        .expect("append cuts rows into the sizes of INSERT_ROWS");
    let mut entries = sqlx::query(AssertSqlSafe(entry.as_str()));
    let mut bodies = sqlx::query(AssertSqlSafe(body.as_str()));
    for (index, row) in (first..).zip(rows) {
        entries = entries
            .bind(index)
            .bind(row.leaf_hash.as_slice())
            .bind(row.kind)
            .bind(row.exchange.as_slice())
            .bind(row.recorded_us)
            .bind(row.consumer.as_str())
            .bind(row.provider.as_str())
            .bind(row.method.as_str())
            .bind(row.reason.as_str())
            .bind(row.trace_id.as_slice());
        bodies = bodies.bind(index).bind(row.bytes.as_slice());
    }
    entries.execute(&mut *connection).await?;
    bodies.execute(&mut *connection).await?;
    Ok(())
}

/// The entries of one exchange, in the order of the log. Reads only; the store may be in use.
///
/// # Errors
/// [`StoreError`] where the store cannot be opened or an entry is not what its leaf hash says.
pub async fn find(address: &str, exchange: ExchangeId) -> Result<Vec<StoredEntry>, StoreError> {
    let mut connection = SqliteConnection::connect_with(&options(address)?).await?;
    let rows = sqlx::query(
        "select entry.log_index, leaf_hash, bytes from entry join body using (log_index) where exchange_id = ? order by entry.log_index",
    )
    .bind(exchange.as_bytes().as_slice())
    .fetch_all(&mut connection)
    .await?;
    let found = rows
        .into_iter()
        .map(|row| {
            let index: i64 = row.try_get(0)?;
            let wrong = |problem: &str| StoreError::Entry { index, problem: problem.to_owned() };
            let stored: Vec<u8> = row.try_get(1)?;
            let bytes: Vec<u8> = row.try_get(2)?;
            let leaf_hash: LeafHash = leaf_hash(&bytes);
            if stored != leaf_hash {
                return Err(wrong("its bytes do not have its leaf hash"));
            }
            let entry = Entry::decode(bytes.as_slice()).map_err(|error| wrong(&error.to_string()))?;
            Ok(StoredEntry {
                index: u64::try_from(index).map_err(|_| wrong("negative index"))?,
                leaf_hash,
                entry,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>();
    connection.close().await?;
    found
}

/// SQLite's options for an address `sqlite:PATH[?synchronous=…&journal_mode=…]`.
fn options(address: &str) -> Result<SqliteConnectOptions, StoreError> {
    let wrong = |problem: String| StoreError::Address { store: address.to_owned(), problem };
    let rest = address
        .strip_prefix("sqlite:")
        .map(|rest| rest.strip_prefix("//").unwrap_or(rest))
        .ok_or_else(|| wrong("write sqlite:PATH".to_owned()))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.is_empty() || path == ":memory:" || path.starts_with("file:") {
        return Err(StoreError::NotSynced {
            store: address.to_owned(),
            problem: "it is not a file on disk".to_owned(),
        });
    }
    let mut options = SqliteConnectOptions::new()
        .filename(PathBuf::from(path))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(std::time::Duration::from_secs(5))
        .foreign_keys(true);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        options = match key {
            "synchronous" => options.synchronous(
                SqliteSynchronous::from_str(value).map_err(|error| wrong(format!("{pair}: {error}")))?,
            ),
            // The mode stays with the file, so another one is refused before the store is touched.
            "journal_mode" if !value.eq_ignore_ascii_case("wal") => {
                let problem = format!("journal_mode = {value}, it must be WAL");
                return Err(StoreError::NotSynced { store: address.to_owned(), problem });
            }
            "journal_mode" => options,
            _ => return Err(wrong(format!("{key} is not known; known are synchronous and journal_mode"))),
        };
    }
    Ok(options)
}

/// Asks the open store itself whether its commits sync.
async fn check_sync(connection: &mut SqliteConnection, address: &str) -> Result<(), StoreError> {
    // https://www.sqlite.org/pragma.html#pragma_synchronous: 0 OFF, 1 NORMAL, 2 FULL, 3 EXTRA.
    let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(&mut *connection).await?;
    let journal: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut *connection).await?;
    let not = |problem: String| StoreError::NotSynced { store: address.to_owned(), problem };
    if synchronous < 2 {
        return Err(not(format!("synchronous = {}", ["OFF", "NORMAL"][usize::from(synchronous == 1)])));
    }
    if !journal.eq_ignore_ascii_case("wal") {
        return Err(not(format!("journal_mode = {journal}, it must be WAL")));
    }
    Ok(())
}

/// The store's migrations, up and down.
fn migrator() -> Migrator {
    let migration =
        |kind, sql: &'static str| Migration::new(1, "evidence".into(), kind, sql.into_sql_str(), false);
    Migrator::with_migrations(vec![
        migration(MigrationType::ReversibleUp, include_str!("../../migrations/0001_evidence.up.sql")),
        migration(MigrationType::ReversibleDown, include_str!("../../migrations/0001_evidence.down.sql")),
    ])
}

#[cfg(test)]
mod tests {
    use ura_proto::v1::{Gap, Opening};

    use super::*;

    #[tokio::test]
    async fn rows_are_numbered_without_gaps_and_found_by_exchange() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let address = format!("sqlite:{}", dir.path().join("e.db").display());
        let mut store = Store::open(&address).await.expect("opens");
        let ids: Vec<_> = (0..100).map(ExchangeId::at).collect();
        let rows: Vec<_> = ids
            .iter()
            .map(|id| Row::opening(*id, 5, Opening { consumer: "ais/portal".into(), ..Default::default() }))
            .collect();
        assert_eq!(store.append(&rows).await.expect("appends"), 0);
        assert_eq!(store.append(&[Row::gap(6, Gap::default())]).await.expect("appends"), 100);
        // A second process at the same log goes on where the first one stopped.
        let mut second = Store::open(&address).await.expect("opens");
        assert_eq!(second.append(&rows[..9]).await.expect("appends"), 101);
        let found = find(&address, ids[3]).await.expect("found");
        assert_eq!(found.iter().map(|e| e.index).collect::<Vec<_>>(), [3, 104]);
        assert_eq!(found[0].leaf_hash, rows[3].leaf_hash);
    }

    #[tokio::test]
    async fn a_store_that_does_not_sync_is_refused() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("e.db");
        let path = path.display();
        for bad in ["synchronous=off", "synchronous=normal", "journal_mode=memory", "journal_mode=off"] {
            let error = Store::open(&format!("sqlite:{path}?{bad}")).await.err().expect(bad);
            assert!(matches!(error, StoreError::NotSynced { .. }), "{bad}: {error}");
        }
        assert!(matches!(Store::open("sqlite::memory:").await, Err(StoreError::NotSynced { .. })));
        for bad in ["postgres://x", "sqlite:x?cache=shared", "sqlite:x?synchronous=maybe"] {
            assert!(matches!(Store::open(bad).await, Err(StoreError::Address { .. })), "{bad}");
        }
        Store::open(&format!("sqlite:{path}?synchronous=extra")).await.expect("syncs more than enough");
    }

    #[tokio::test]
    async fn migrations_go_up_and_down() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let address = format!("sqlite:{}", dir.path().join("e.db").display());
        let mut store = Store::open(&address).await.expect("opens");
        migrator().undo(&mut store.connection, 0).await.expect("down");
        let tables: i64 =
            sqlx::query_scalar("select count(*) from sqlite_master where name in ('entry', 'body')")
                .fetch_one(&mut store.connection)
                .await
                .expect("counts");
        assert_eq!(tables, 0);
        migrator().run(&mut store.connection).await.expect("up again");
    }

    #[tokio::test]
    async fn an_entry_that_was_changed_is_not_shown_as_evidence() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let address = format!("sqlite:{}", dir.path().join("e.db").display());
        let mut store = Store::open(&address).await.expect("opens");
        let id = ExchangeId::at(1);
        store.append(&[Row::opening(id, 5, Opening::default())]).await.expect("appends");
        sqlx::query("update body set bytes = x'0801'").execute(&mut store.connection).await.expect("tampers");
        assert!(matches!(find(&address, id).await, Err(StoreError::Entry { index: 0, .. })));
    }
}
