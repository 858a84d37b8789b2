//! The evidence store in SQLite or PostgreSQL: the log's rows, its lease, its checkpoints, and search.
//!
//! A store on which a commit would not sync is refused. Knows rows and bytes, not what an entry means, and neither
//! keys nor signatures: who reads what stands here must check it.

mod address;
mod append;
mod error;
mod found;
mod hashes;
mod link;
mod log;
mod migrations;
mod postgres;
mod query;
mod read;
mod rows;
mod search;
mod sqlite;
#[cfg(test)]
mod tests;

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};

pub use address::{Address, Beside};
pub use append::{APPEND_ROWS_MAX, Append};
pub use error::StoreError;
pub use read::{ROWS_MAX, Reader};
pub use rows::{
    Appender, CheckpointRow, Cosignature, Cursor, Filter, LogRow, NewLease, Removed, StoredRow, Stray,
};
pub use search::{EXCHANGE_ROWS_MAX, PSEUDONYMS_MAX};

use address::Place;
use link::{Link, execute, fetch, limited, signed};

/// One connection that may write. After [`StoreError::Gone`] it is of no use: open another.
pub struct Store {
    shown: String,
    connection: Connection,
}

/// The connection itself.
enum Connection {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

impl Store {
    /// Opens the store, makes its tables where there are none, and checks that its commits sync.
    ///
    /// # Errors
    /// [`StoreError::NotSynced`] names the setting and how it is mended; [`StoreError::Format`] where the tables are
    /// another version's; [`StoreError::Gone`] where the database cannot be reached.
    pub async fn open(address: &Address) -> Result<Self, StoreError> {
        let shown = address.to_string();
        let connection = match &address.place {
            Place::Sqlite(options) => {
                let options = options.as_ref().clone().create_if_missing(true);
                let mut connection = limited(options.connect()).await?;
                sqlite::check_sync(&mut connection, &shown).await?;
                migrations::migrate_sqlite(&mut connection, &shown).await?;
                Connection::Sqlite(Box::new(connection))
            }
            Place::Postgres(options) => {
                let mut connection = limited(options.connect()).await?;
                postgres::limit(&mut connection).await?;
                postgres::check_sync(&mut connection, &shown).await?;
                migrations::migrate_postgres(&mut connection, &shown).await?;
                Connection::Postgres(Box::new(connection))
            }
        };
        Ok(Self { shown, connection })
    }

    /// Closes the connection and tells the database so. The last one on a store in SQLite leaves one file behind.
    ///
    /// # Errors
    /// [`StoreError`], where the database was gone by then.
    pub async fn close(self) -> Result<(), StoreError> {
        match self.connection {
            Connection::Sqlite(connection) => limited(connection.close()).await,
            Connection::Postgres(connection) => limited(connection.close()).await,
        }
    }

    fn link(&mut self) -> Link<'_> {
        match &mut self.connection {
            Connection::Sqlite(connection) => Link::Sqlite(connection),
            Connection::Postgres(connection) => Link::Postgres(connection),
        }
    }

    /// The log of this name; it is registered where the store has none.
    ///
    /// # Errors
    /// [`StoreError::WrongLog`] where a store in SQLite holds another one.
    pub async fn log(&mut self, origin: &str, gateway: &str) -> Result<LogRow, StoreError> {
        if let Some(row) = log::by_origin(self.link(), origin).await? {
            return Ok(row);
        }
        if matches!(self.connection, Connection::Sqlite(_))
            && let Some(other) = log::all(self.link()).await?.into_iter().next()
        {
            let (holds, asked) = (other.origin, origin.to_owned());
            return Err(StoreError::WrongLog { store: self.shown.clone(), holds, asked });
        }
        execute!(
            self.link(),
            "insert into log (origin, gateway) values ($1, $2) on conflict (origin) do nothing",
            origin,
            gateway
        )?;
        let found = log::by_origin(self.link(), origin).await?;
        found.ok_or_else(|| StoreError::altered(format!("log `{origin}` was registered and is not there")))
    }

    /// All logs, by their numbers. At most [`ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn logs(&mut self) -> Result<Vec<LogRow>, StoreError> {
        log::all(self.link()).await
    }

    /// Takes the lease, if the log still is as it was `seen` and not sealed. `false`: somebody was faster.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] for a token that is not above [`LogRow::last_token`].
    pub async fn take(&mut self, log: i64, seen: &LogRow, lease: &NewLease) -> Result<bool, StoreError> {
        log::take(self.link(), log, seen, lease).await
    }

    /// A sign of life of who holds the token, as holder or as the one before. `false`: the token is no longer
    /// valid, or the log is sealed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn beat(&mut self, log: i64, token: i64, now_us: i64) -> Result<bool, StoreError> {
        let beaten = execute!(
            self.link(),
            "update log set beat = beat + 1, renewed_us = $3 \
             where log = $1 and sealed = 0 and $2 > 0 and (token = $2 or previous_token = $2)",
            log,
            token,
            now_us
        )?;
        Ok(beaten == 1)
    }

    /// Gives a token back, as holder or as the one before; one that is not valid any more is no error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release(&mut self, log: i64, token: i64) -> Result<(), StoreError> {
        log::release(self.link(), log, token).await
    }

    /// Keeps the first checkpoint beyond an entry when checkpoints are thinned out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_checkpoint(&mut self, log: i64, index: u64) -> Result<(), StoreError> {
        log::keep_checkpoint(self.link(), log, signed(index)?).await
    }

    /// Notes up to where openings that never closed were looked for.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] where the token is no longer valid or the log is sealed.
    pub async fn set_swept(&mut self, log: i64, token: i64, swept: u64) -> Result<(), StoreError> {
        let noted = execute!(
            self.link(),
            "update log set swept = $3 where log = $1 and sealed = 0 and $2 > 0 and (token = $2 or previous_token = $2)",
            log,
            token,
            signed(swept)?
        )?;
        if noted == 1 { Ok(()) } else { Err(log::fenced(self.link(), log).await?) }
    }

    /// Begins an append of exactly `rows` entries (0 to [`APPEND_ROWS_MAX`]): locks the log, checks who appends, and
    /// reserves the indexes. Dropped without [`Append::commit`] it leaves nothing.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] where the token is no longer valid or the log is sealed; [`StoreError::Busy`] where
    /// somebody else writes for longer than 5 s.
    pub async fn begin(
        &mut self,
        log: i64,
        by: Appender,
        rows: usize,
        now_us: i64,
    ) -> Result<Append<'_>, StoreError> {
        Append::begin(&mut self.connection, log, by, rows, now_us).await
    }

    /// Keeps a cosignature of a checkpoint; a later one of the same name replaces it. `false`: the log has no
    /// checkpoint of that size.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_cosignature(
        &mut self,
        log: i64,
        size: u64,
        cosignature: &Cosignature,
    ) -> Result<bool, StoreError> {
        let (size, time_s) = (signed(size)?, signed(cosignature.time_s)?);
        let there: Vec<(i64,)> =
            fetch!(self.link(), "select size from checkpoint where log = $1 and size = $2", log, size)?;
        if there.is_empty() {
            return Ok(false);
        }
        execute!(
            self.link(),
            "insert into cosignature (log, size, name, line, time_s) values ($1, $2, $3, $4, $5) \
             on conflict (log, size, name) do update set line = excluded.line, time_s = excluded.time_s",
            log,
            size,
            cosignature.name.as_str(),
            cosignature.line.as_str(),
            time_s
        )?;
        Ok(true)
    }
}
