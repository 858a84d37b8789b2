//! One transaction on a log: its indexes are reserved at its beginning, and on return from its commit it is on disk.

use sqlx::{Connection as _, Postgres, Sqlite, Transaction};
use ura_log::Hash;

use super::{
    Appender, Connection, Removed, StoreError, hashes,
    link::{Link, execute, limited, signed, unsigned},
    log, postgres, sqlite,
};
use crate::entry::Row;

/// Entries that one append may have.
pub const APPEND_ROWS_MAX: usize = 4096;
/// Checkpoints that are thinned out at once.
const THINNED_MAX: i64 = 10_000;

/// An append under way. Dropped without [`Append::commit`] it is rolled back: nothing of it stays.
pub struct Append<'s> {
    transaction: Open<'s>,
    log: i64,
    first: i64,
    reserved: usize,
    inserted: usize,
    /// The mark that stood when it began.
    standing: Vec<u8>,
    marked: bool,
}

/// The transaction itself.
enum Open<'s> {
    Sqlite(Transaction<'s, Sqlite>),
    Postgres(Transaction<'s, Postgres>),
}

impl Open<'_> {
    fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(transaction) => Link::Sqlite(transaction),
            Self::Postgres(transaction) => Link::Postgres(transaction),
        }
    }
}

impl<'s> Append<'s> {
    /// Begins; see [`super::Store::begin`].
    pub(super) async fn begin(
        connection: &'s mut Connection,
        log: i64,
        by: Appender,
        rows: usize,
        now_us: i64,
    ) -> Result<Self, StoreError> {
        if rows > APPEND_ROWS_MAX {
            let problem = format!("{rows} entries in one append are above the limit of {APPEND_ROWS_MAX}");
            return Err(StoreError::Misuse(problem));
        }
        let mut transaction = match connection {
            // The write lock first: a read that becomes a write could find that somebody else wrote meanwhile.
            Connection::Sqlite(connection) => {
                Open::Sqlite(limited(connection.begin_with("begin immediate")).await?)
            }
            Connection::Postgres(connection) => Open::Postgres(limited(connection.begin()).await?),
        };
        let count = u64::try_from(rows).expect("at most 4096");
        let first = match by {
            Appender::Holder(token) => log::reserve(transaction.link(), log, token, count, now_us).await?,
            Appender::Guest => log::reserve_as_guest(transaction.link(), log, count).await?,
        };
        let Some((first, standing)) = first else { return Err(log::fenced(transaction.link(), log).await?) };
        unsigned(first, || format!("size of log {log}"))?;
        Ok(Self { transaction, log, first, reserved: rows, inserted: 0, standing, marked: false })
    }

    /// Index of the first new entry: the size of the log before.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first.unsigned_abs()
    }

    /// The mark that stands: of the log as it was when this began. Empty: nobody appended yet.
    #[must_use]
    pub fn standing(&self) -> &[u8] {
        &self.standing
    }

    /// Sets the mark of the log as this append makes it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mark(&mut self, mark: &Hash) -> Result<(), StoreError> {
        execute!(self.transaction.link(), "update log set mark = $2 where log = $1", self.log, &mark[..])?;
        self.marked = true;
        Ok(())
    }

    /// Leaves `from..to` (at most 65,536 of them; the leaves, not their hashes) of entries that others appended.
    ///
    /// # Errors
    /// [`StoreError::Altered`] names the first that is missing.
    pub async fn leaves(&mut self, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
        hashes::leaves(self.transaction.link(), self.log, from, to).await
    }

    /// Inserts entries behind those inserted before.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where they are more than were announced.
    pub async fn insert(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        if rows.len() > self.reserved - self.inserted {
            return Err(StoreError::Misuse(format!("more entries than the {} announced", self.reserved)));
        }
        let first = self.first + i64::try_from(self.inserted).expect("at most 4096");
        match &mut self.transaction {
            Open::Sqlite(transaction) => sqlite::insert(transaction, first, rows).await?,
            Open::Postgres(transaction) => postgres::insert(transaction, self.log, first, rows).await?,
        }
        self.inserted += rows.len();
        Ok(())
    }

    /// Inserts roots of full subtrees: level (from 1, a subtree of 256^level leaves), its index at that level, its hash.
    /// One that is there stays as it is: to judge it is a matter of verification.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn subtrees(&mut self, subtrees: &[(u8, u64, Hash)]) -> Result<(), StoreError> {
        let rows = subtrees
            .iter()
            .map(|(level, index, hash)| Ok((i64::from(*level), signed(*index)?, *hash)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        if rows.is_empty() {
            return Ok(());
        }
        match &mut self.transaction {
            Open::Sqlite(transaction) => sqlite::insert_subtrees(transaction, &rows).await,
            Open::Postgres(transaction) => postgres::insert_subtrees(transaction, self.log, &rows).await,
        }
    }

    /// Inserts a checkpoint: a signed note. One of the same size stays as it was signed first: it may be the one by
    /// which an older key vouches for the next. It becomes kept where this one is to be.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint(
        &mut self,
        size: u64,
        note: &str,
        signed_us: i64,
        kept: bool,
    ) -> Result<(), StoreError> {
        execute!(
            self.transaction.link(),
            "insert into checkpoint (log, size, note, signed_us, kept) values ($1, $2, $3, $4, $5) \
             on conflict (log, size) do update set \
             kept = case when checkpoint.kept = 1 then 1 else excluded.kept end",
            self.log,
            signed(size)?,
            note,
            signed_us,
            i64::from(kept)
        )?;
        Ok(())
    }

    /// Removes the bodies and subjects of entries and blanks what they are searched by.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where an entry is not there, was removed before or is named twice.
    pub async fn remove(&mut self, removed: &Removed<'_>) -> Result<(), StoreError> {
        let indexes = removed.indexes.iter().map(|index| signed(*index)).collect::<Result<Vec<_>, _>>()?;
        let removed_by = signed(removed.removal_index.saturating_add(1))?;
        let blanked = match &mut self.transaction {
            Open::Sqlite(transaction) => sqlite::remove(transaction, &indexes, removed_by).await?,
            Open::Postgres(transaction) => {
                postgres::remove(transaction, self.log, &indexes, removed_by).await?
            }
        };
        let wanted = indexes.len();
        if usize::try_from(blanked) == Ok(wanted) {
            return Ok(());
        }
        Err(StoreError::Misuse(format!("{blanked} of {wanted} entries are there to be removed")))
    }

    /// Ends the log: nothing is ever appended to it after this commit.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seal(&mut self) -> Result<(), StoreError> {
        execute!(self.transaction.link(), "update log set sealed = 1 where log = $1", self.log)?;
        Ok(())
    }

    /// Inserts a version of the registry of logs. `false`: there is one of that version already, and it stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn registry(&mut self, version: u64, note: &str) -> Result<bool, StoreError> {
        let inserted = execute!(
            self.transaction.link(),
            "insert into registry (version, note) values ($1, $2) on conflict (version) do nothing",
            signed(version)?,
            note
        )?;
        Ok(inserted == 1)
    }

    /// Deletes checkpoints signed before a time that are not kept, not cosigned and not the newest; at most 10,000 of
    /// them, the smallest first. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn thin_checkpoints(&mut self, before_us: i64) -> Result<u64, StoreError> {
        execute!(
            self.transaction.link(),
            "delete from checkpoint where log = $1 and size in (\
             select c.size from checkpoint c where c.log = $1 and c.kept = 0 and c.signed_us < $2 \
             and c.size < (select max(n.size) from checkpoint n where n.log = $1) \
             and not exists (select 1 from cosignature s where s.log = c.log and s.size = c.size) \
             order by c.size limit $3)",
            self.log,
            before_us,
            THINNED_MAX
        )
    }

    /// Ends the append. On return it is on disk. After [`StoreError::Gone`] it may stand or not: the size of the log
    /// tells, once the store is open again.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where fewer entries were inserted than announced, or some and no mark was set;
    /// nothing stays then.
    pub async fn commit(self) -> Result<(), StoreError> {
        if self.inserted != self.reserved {
            let problem = format!("{} of {} announced entries were inserted", self.inserted, self.reserved);
            return Err(StoreError::Misuse(problem));
        }
        if self.inserted > 0 && !self.marked {
            return Err(StoreError::Misuse("entries were inserted and no mark was set for them".to_owned()));
        }
        match self.transaction {
            Open::Sqlite(transaction) => limited(transaction.commit()).await,
            Open::Postgres(transaction) => limited(transaction.commit()).await,
        }
    }
}
