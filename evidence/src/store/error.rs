//! Why a store cannot be used, or did not do what it was asked.

/// What went wrong with a store. No text holds a password, a pseudonym or a key.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address is not one of a store.
    #[error("evidence store `{store}`: {problem}")]
    Address {
        /// As configured, without its password.
        store: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A commit would return before it is on disk.
    #[error(
        "evidence store `{store}` does not sync: {problem}. Ura keeps evidence only on a store that syncs each commit"
    )]
    NotSynced {
        /// As configured, without its password.
        store: String,
        /// The setting found, and how it is mended.
        problem: String,
    },
    /// The tables are those of another version, or there are none.
    #[error("evidence store `{store}`: {problem}")]
    Format {
        /// As configured, without its password.
        store: String,
        /// What it is, and what to do.
        problem: String,
    },
    /// The store holds another log, and can hold only one.
    #[error(
        "evidence store `{store}` holds the log `{holds}`; a store in SQLite holds one log only: give `{asked}` a store of its own, or use PostgreSQL"
    )]
    WrongLog {
        /// As configured.
        store: String,
        /// The log that it holds.
        holds: String,
        /// The log that was asked for.
        asked: String,
    },
    /// The log may not be written under this token any more. Nothing was written.
    #[error("the log may not be written to: {}", fence(*.sealed, .holder))]
    Fenced {
        /// Number of the log in the store.
        log: i64,
        /// Whether it was sealed.
        sealed: bool,
        /// Who holds it now; empty: nobody.
        holder: String,
    },
    /// The database cannot be reached, or the connection broke. The store must be opened anew. Where this comes
    /// from a commit, the rows may stand or not.
    #[error("evidence store: the database is gone: {0}")]
    Gone(String),
    /// Somebody else holds a lock for longer than we wait, or the statement took too long. Nothing was
    /// written; the same may be tried again.
    #[error("evidence store: the database is busy: {0}")]
    Busy(String),
    /// The store holds what no version of Ura writes there: somebody altered it, or it is damaged.
    #[error("evidence store: {what}")]
    Altered {
        /// The place, and what is wrong there.
        what: String,
    },
    /// Entries that were not appended by who has the epoch keys: by somebody who only has the database.
    #[error("log `{origin}` was altered: {}", foreign(*.from, *.size))]
    Foreign {
        /// Name of the log.
        origin: String,
        /// From which index on, where whoever found it knows how the log was before.
        from: Option<u64>,
        /// Entries that the log has.
        size: u64,
    },
    /// The caller asked for what cannot be: more rows than it announced, more than a limit allows.
    #[error("evidence store: {0}")]
    Misuse(String),
    /// The database said no: disk full, no permission.
    #[error("evidence store: {0}")]
    Database(sqlx::Error),
}

/// What is foreign in a log of `size` entries, and what to do.
fn foreign(from: Option<u64>, size: u64) -> String {
    let what = match from {
        Some(from) if from < size => {
            format!("entries from {from} on (of {size}) were not written by this bus")
        }
        Some(_) => format!("the mark of its {size} entries was not made by this bus"),
        None => format!("not all of its {size} entries were written by this bus"),
    };
    format!(
        "{what}: its mark was made by none of the epoch keys in the folder `keys`. Nothing is written to it and nothing \
         of that is signed; `ura evidence verify` tells what is there. Put back what was there before, or begin a log \
         under another origin"
    )
}

/// Why a log is fenced, in words.
fn fence(sealed: bool, holder: &str) -> String {
    match (sealed, holder) {
        (true, _) => "it is sealed".to_owned(),
        (false, "") => "its lease was given up".to_owned(),
        (false, holder) => format!("`{holder}` has taken it over"),
    }
}

impl StoreError {
    /// Whether the connection is of no use any more and the store must be opened anew.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Something in the store that cannot be.
    pub(crate) fn altered(what: impl Into<String>) -> Self {
        Self::Altered { what: what.into() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => {
                Self::Gone(error.to_string())
            }
            E::ColumnDecode { .. } | E::Decode(_) => Self::altered(format!("a value cannot be: {error}")),
            E::Database(database) => match class(database.code().as_deref().unwrap_or_default()) {
                Class::Gone => Self::Gone(error.to_string()),
                Class::Busy => Self::Busy(error.to_string()),
                Class::Other => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

/// What a database's code says of the connection.
#[derive(Debug, PartialEq, Eq)]
enum Class {
    Gone,
    Busy,
    Other,
}

/// Classes of codes: five characters are SQLSTATE (PostgreSQL, appendix A), a number is one of SQLite's extended
/// result codes (<https://www.sqlite.org/rescode.html>), whose lowest byte is the primary one.
fn class(code: &str) -> Class {
    const SQLITE_BUSY: u32 = 5;
    const SQLITE_LOCKED: u32 = 6;
    match code {
        // Shutdown of the server, no room for a connection, session ended while idle in a transaction.
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25P03" | "25P04" => Class::Gone,
        // Lock not available, statement cancelled, serialization failure, deadlock.
        "55P03" | "57014" | "40001" | "40P01" => Class::Busy,
        code if code.len() == 5 && code.starts_with("08") => Class::Gone,
        code if code.len() < 5 => match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(SQLITE_BUSY | SQLITE_LOCKED) => Class::Busy,
            _ => Class::Other,
        },
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_whether_the_database_is_gone() {
        for gone in ["57P01", "57P03", "08006", "08P01", "25P03", "53300"] {
            assert_eq!(class(gone), Class::Gone, "{gone}");
        }
        for busy in ["55P03", "57014", "5", "517", "261", "6"] {
            assert_eq!(class(busy), Class::Busy, "{busy}");
        }
        for other in ["", "53100", "23505", "13", "10", "1555", "778"] {
            assert_eq!(class(other), Class::Other, "{other}");
        }
        assert!(StoreError::from(sqlx::Error::PoolTimedOut).is_gone());
        assert!(!StoreError::from(sqlx::Error::RowNotFound).is_gone());
    }

    #[test]
    fn a_fence_says_who() {
        let fenced =
            |sealed, holder: &str| StoreError::Fenced { log: 1, sealed, holder: holder.into() }.to_string();
        assert!(fenced(true, "x").contains("sealed"));
        assert!(fenced(false, "boot 7").contains("`boot 7` has taken it over"));
        assert!(fenced(false, "").contains("given up"));
    }
}
