//! Reading a store: entries, checkpoints and the registry, a page at a time. Nothing here writes.

use std::time::Duration;

use sqlx::{
    Pool, Postgres, Sqlite, Transaction,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{
    Address, CheckpointRow, LogRow, StoreError, StoredRow, Stray,
    address::Place,
    link::{Link, fetch, limited, signed, unsigned},
    log,
    migrations::{self, Standing},
    postgres, search,
    sqlite::check_sync as check_sqlite,
};

/// Rows that one question may be answered with.
pub const ROWS_MAX: u32 = 4096;
/// Connections of a reader.
const CONNECTIONS_MAX: u32 = 4;
/// How long one of them is waited for.
const ACQUIRE_MAX: Duration = Duration::from_secs(10);

/// Connections that only read; cheap to clone. They come back by themselves when the database does.
#[derive(Clone, Debug)]
pub struct Reader {
    connections: Connections,
}

#[derive(Clone, Debug)]
enum Connections {
    Sqlite(Pool<Sqlite>),
    Postgres(Pool<Postgres>),
}

/// A transaction that reads: all its questions are answered from one moment.
pub(super) enum Snapshot {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Snapshot {
    pub(super) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(transaction) => Link::Sqlite(transaction),
            Self::Postgres(transaction) => Link::Postgres(transaction),
        }
    }
}

impl Reader {
    /// Opens a store that is there.
    ///
    /// # Errors
    /// [`StoreError::Address`] where there is none, [`StoreError::Format`] where its tables are not ours.
    pub async fn open(address: &Address) -> Result<Self, StoreError> {
        let connections = match &address.place {
            Place::Sqlite(options) => Connections::Sqlite(sqlite(options, address).await?),
            Place::Postgres(options) => {
                let pool = PgPoolOptions::new()
                    .max_connections(CONNECTIONS_MAX)
                    .acquire_timeout(ACQUIRE_MAX)
                    .after_connect(|connection, _| Box::pin(postgres::limit_reading(connection)));
                Connections::Postgres(limited(pool.connect_with(options.as_ref().clone())).await?)
            }
        };
        let reader = Self { connections };
        let mut snapshot = reader.snapshot().await?;
        match migrations::standing(snapshot.link(), &address.to_string()).await? {
            Standing::Current => Ok(reader),
            Standing::Behind => Err(migrations::none(&address.to_string())),
        }
    }

    /// Its connections: those in use, those that wait for a question, and how many there may be.
    #[must_use]
    pub fn connections(&self) -> (usize, usize, u32) {
        let (all, idle) = match &self.connections {
            Connections::Sqlite(pool) => (pool.size(), pool.num_idle()),
            Connections::Postgres(pool) => (pool.size(), pool.num_idle()),
        };
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        (all.saturating_sub(idle), idle, CONNECTIONS_MAX)
    }

    /// Checks that commits to this store sync, as who writes it does before the first one.
    ///
    /// # Errors
    /// [`StoreError::NotSynced`] names the setting and how it is mended.
    pub async fn check_sync(&self, address: &Address) -> Result<(), StoreError> {
        match self.snapshot().await? {
            Snapshot::Sqlite(mut asked) => check_sqlite(&mut asked, &address.to_string()).await,
            Snapshot::Postgres(mut asked) => postgres::check_sync(&mut asked, &address.to_string()).await,
        }
    }

    /// Closes its connections, and those of its clones.
    pub async fn close(&self) {
        match &self.connections {
            Connections::Sqlite(pool) => pool.close().await,
            Connections::Postgres(pool) => pool.close().await,
        }
    }

    /// Begins to read from one moment.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(match &self.connections {
            Connections::Sqlite(pool) => Snapshot::Sqlite(limited(pool.begin()).await?),
            Connections::Postgres(pool) => {
                let begin = "begin isolation level repeatable read read only";
                Snapshot::Postgres(limited(pool.begin_with(begin)).await?)
            }
        })
    }

    /// All logs, by their numbers. At most [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn logs(&self) -> Result<Vec<LogRow>, StoreError> {
        log::all(self.snapshot().await?.link()).await
    }

    /// The log of a name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn log_by_origin(&self, origin: &str) -> Result<Option<LogRow>, StoreError> {
        log::by_origin(self.snapshot().await?.link(), origin).await
    }

    /// Entries from an index on, in order: whatever stands there, gaps are not told. At most `limit` and
    /// [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Altered`] names the entry whose values cannot be.
    pub async fn entries(&self, log: i64, from: u64, limit: u32) -> Result<Vec<StoredRow>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let found = search::entries(&mut snapshot, log, signed(from)?, limit.min(ROWS_MAX)).await?;
        Ok(found.into_iter().map(|(_, row)| row).collect())
    }

    /// Rows of entries, bodies and subjects where a log of `size` entries has none. At most `limit` of each table.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn strays(&self, log: i64, size: u64, limit: u32) -> Result<Vec<Stray>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let mut strays = Vec::new();
        for (table, sql) in STRAYS {
            let limit = i64::from(limit.min(ROWS_MAX));
            let rows: Vec<(i64,)> = fetch!(snapshot.link(), sql, log, signed(size)?, limit)?;
            strays.extend(rows.into_iter().map(|(index,)| Stray { table, index }));
        }
        Ok(strays)
    }

    /// Checkpoints from a size on, in order. At most `limit` and [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoints(
        &self,
        log: i64,
        from_size: u64,
        limit: u32,
    ) -> Result<Vec<CheckpointRow>, StoreError> {
        let rows: Vec<CheckpointColumns> = fetch!(
            self.snapshot().await?.link(),
            "select size, note, signed_us, kept from checkpoint where log = $1 and size >= $2 order by size limit $3",
            log,
            signed(from_size)?,
            i64::from(limit.min(ROWS_MAX))
        )?;
        rows.into_iter().map(|columns| checkpoint(log, columns)).collect()
    }

    /// The checkpoint of the largest size.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_checkpoint(&self, log: i64) -> Result<Option<CheckpointRow>, StoreError> {
        let rows: Vec<CheckpointColumns> = fetch!(
            self.snapshot().await?.link(),
            "select size, note, signed_us, kept from checkpoint where log = $1 order by size desc limit 1",
            log
        )?;
        rows.into_iter().next().map(|columns| checkpoint(log, columns)).transpose()
    }

    /// The last checkpoint below this size.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint_below(&self, log: i64, size: u64) -> Result<Option<CheckpointRow>, StoreError> {
        let rows: Vec<CheckpointColumns> = fetch!(
            self.snapshot().await?.link(),
            "select size, note, signed_us, kept from checkpoint where log = $1 and size < $2 order by size desc limit 1",
            log,
            signed(size)?
        )?;
        rows.into_iter().next().map(|columns| checkpoint(log, columns)).transpose()
    }

    /// The first checkpoint of at least this size.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint_at_least(
        &self,
        log: i64,
        size: u64,
    ) -> Result<Option<CheckpointRow>, StoreError> {
        Ok(self.checkpoints(log, size, 1).await?.into_iter().next())
    }

    /// What others signed of a checkpoint: lines of the note without their newlines, in order of names. At most
    /// [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cosignatures(&self, log: i64, size: u64) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = fetch!(
            self.snapshot().await?.link(),
            "select line from cosignature where log = $1 and size = $2 order by name limit $3",
            log,
            signed(size)?,
            i64::from(ROWS_MAX)
        )?;
        Ok(rows.into_iter().map(|(line,)| line).collect())
    }

    /// The note of a checkpoint with the cosignatures that it has by now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint_note(&self, checkpoint: &CheckpointRow) -> Result<String, StoreError> {
        let mut note = checkpoint.note.clone();
        for line in self.cosignatures(checkpoint.log, checkpoint.size).await? {
            note.push_str(&line);
            note.push('\n');
        }
        Ok(note)
    }

    /// The registry of logs in a version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn registry(&self, version: u64) -> Result<Option<String>, StoreError> {
        let rows: Vec<(String,)> = fetch!(
            self.snapshot().await?.link(),
            "select note from registry where version = $1",
            signed(version)?
        )?;
        Ok(rows.into_iter().next().map(|(note,)| note))
    }

    /// The newest registry of logs: its version and its note.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_registry(&self) -> Result<Option<(u64, String)>, StoreError> {
        let rows: Vec<(i64, String)> = fetch!(
            self.snapshot().await?.link(),
            "select version, note from registry order by version desc limit 1"
        )?;
        let newest = rows.into_iter().next();
        newest
            .map(|(version, note)| Ok((unsigned(version, || "version of the registry".into())?, note)))
            .transpose()
    }
}

/// SQLite's connections for reading.
async fn sqlite(options: &SqliteConnectOptions, address: &Address) -> Result<Pool<Sqlite>, StoreError> {
    let path = options.get_filename();
    if !path.exists() {
        let problem = "there is no such file".to_owned();
        return Err(StoreError::Address { store: address.to_string(), problem });
    }
    // A little memory: each connection has its own, and what is asked for is few pages or all of them once. Writing is
    // shut off for what is asked, not for the connection: one that may not write cannot put the log's files in order
    // where the last writer has just closed them or was killed. Without leave to write SQLite opens the file for reading.
    let options =
        options.clone().create_if_missing(false).pragma("cache_size", "-4096").pragma("query_only", "on");
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_MAX);
    limited(pool.connect_with(options)).await
}

/// A query of rows beyond the ends of a log: below and above are two ranges of one index.
macro_rules! strays {
    ($table:literal) => {
        (
            $table,
            concat!(
                "select log_index from (select log_index from ",
                $table,
                " where log = $1 and log_index < 0 union all select log_index from ",
                $table,
                " where log = $1 and log_index >= $2) beyond order by log_index limit $3"
            ),
        )
    };
}

const STRAYS: [(&str, &str); 3] = [strays!("entry"), strays!("body"), strays!("subject")];

type CheckpointColumns = (i64, String, i64, i64);

fn checkpoint(
    log: i64,
    (size, note, signed_us, kept): CheckpointColumns,
) -> Result<CheckpointRow, StoreError> {
    let size = unsigned(size, || "size of a checkpoint".to_owned())?;
    Ok(CheckpointRow { log, size, note, signed_us, kept: kept != 0 })
}
