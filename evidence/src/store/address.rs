//! Addresses of stores. What is shown of one never holds a password.

use std::{fmt, path::PathBuf};

use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use super::{StoreError, postgres, sqlite};

/// Where a store is: `sqlite:PATH[?synchronous=…&journal_mode=…]` or `postgres://USER@HOST:PORT/DATABASE?…`.
#[derive(Clone)]
pub struct Address {
    /// As it may be shown.
    shown: String,
    pub(super) place: Place,
}

/// Where tables that are no evidence may lie beside it, without one waiting for the other's locks.
#[derive(Clone, Debug)]
pub enum Beside {
    /// A file of its own in the same folder: SQLite has one writer for each file.
    Sqlite(PathBuf),
    /// The same database.
    Postgres(Box<PgConnectOptions>),
}

/// How a database is reached.
#[derive(Clone)]
pub(super) enum Place {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`StoreError::Address`] says what would be right, [`StoreError::NotSynced`] names a setting that no evidence
    /// may be kept with. Neither shows a password.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        match text.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                let options = sqlite::options(text)?;
                Ok(Self { shown: text.to_owned(), place: Place::Sqlite(Box::new(options)) })
            }
            Some("postgres" | "postgresql") => {
                let (options, shown) = postgres::options(text)?;
                Ok(Self { shown, place: Place::Postgres(Box::new(options)) })
            }
            // Nothing of it is shown: it may hold a password.
            _ => Err(StoreError::Address {
                store: text.split(':').next().unwrap_or_default().chars().take(32).collect(),
                problem: "write sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned(),
            }),
        }
    }

    /// Whether several gateways may keep their logs there: PostgreSQL.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    /// The place beside the evidence for tables named `what`: `evidence.db` has `evidence-<what>.db` beside it.
    #[must_use]
    pub fn beside(&self, what: &str) -> Beside {
        match &self.place {
            Place::Sqlite(options) => {
                let path = options.get_filename();
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                Beside::Sqlite(path.with_file_name(format!("{stem}-{what}.db")))
            }
            Place::Postgres(options) => Beside::Postgres(options.clone()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sekret-42";

    #[test]
    fn what_lies_beside_a_file_is_another_file() {
        let address = Address::parse("sqlite:state/evidence.db").expect("valid");
        let Beside::Sqlite(path) = address.beside("traces") else { unreachable!("a file") };
        assert_eq!(path, PathBuf::from("state/evidence-traces.db"));
    }

    #[test]
    fn an_address_never_shows_its_password() {
        let table = [
            format!("postgres://ura:{SECRET}@127.0.0.1:5433/evidence"),
            format!("postgresql://ura:{SECRET}@[::1]/evidence?sslmode=disable"),
            format!("postgres://localhost/evidence?user=ura&password={SECRET}"),
            format!(
                "postgres://ura:{SECRET}@db.example/evidence?sslmode=verify-full&sslrootcert=/etc/ca.pem"
            ),
            format!("postgres:///evidence?host=/run/postgresql&user=ura&password={SECRET}"),
        ];
        for text in &table {
            let address = Address::parse(text).expect(text);
            assert!(address.is_shared());
            for shown in [address.to_string(), format!("{address:?}"), format!("{address:#?}")] {
                assert!(!shown.contains(SECRET), "{shown}");
                assert!(shown.contains("ura@") && shown.contains("/evidence"), "{shown}");
            }
        }
    }

    #[test]
    fn a_wrong_address_is_refused_without_showing_its_password() {
        let table = [
            (format!("postgres://ura:{SECRET}@127.0.0.1:x/evidence"), "PostgreSQL"),
            (format!("postgres://ura:{SECRET}@127.0.0.1/evidence?pasword={SECRET}"), "`pasword`"),
            (format!("postgres://ura:{SECRET}#@127.0.0.1/evidence"), "%23"),
            (format!("postgres://ura:{SECRET}@127.0.0.1/evidence?sslmode={SECRET}"), "sslmode"),
            (format!("postgres://ura:{SECRET}@127.0.0.1/evidence?port={SECRET}"), "PostgreSQL"),
            (format!("postgres:ura:{SECRET}@127.0.0.1"), "postgres://"),
            (format!("mysql://ura:{SECRET}@h/d"), "sqlite:PATH"),
            (format!("Postgres://ura:{SECRET}@h/d"), "sqlite:PATH"),
            ("sqlite:x?cache=shared".to_owned(), "synchronous and journal_mode"),
            ("sqlite:x?synchronous=maybe".to_owned(), "synchronous=maybe"),
            (String::new(), "sqlite:PATH"),
        ];
        for (text, says) in &table {
            let error = Address::parse(text).expect_err(text);
            assert!(matches!(error, StoreError::Address { .. }), "{text}: {error}");
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains(SECRET), "{shown}");
            }
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_database_elsewhere_is_reached_by_tls_only() {
        for text in [
            "postgres://ura@db.example/evidence",
            "postgres://ura@10.0.0.1/evidence?sslmode=prefer",
            "postgres://ura@[2001:db8::1]/evidence?sslmode=disable",
            "postgres://ura@db.example/evidence?sslmode=allow",
            "postgres://ura@localhost/evidence?host=db.example",
            "postgres://ura@localhost.example/evidence",
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(error.contains("?sslmode=verify-full&sslrootcert="), "{error}");
        }
        for text in [
            "postgres://ura@db.example/evidence?sslmode=require",
            "postgres://ura@db.example/evidence?sslmode=verify-ca&sslrootcert=/ca.pem",
            "postgres://ura@localhost/evidence",
            "postgres://ura@127.0.0.9/evidence",
            "postgres://ura@%2Frun%2Fpostgresql/evidence",
        ] {
            Address::parse(text).expect(text);
        }
    }

    #[test]
    fn a_store_in_memory_does_not_sync() {
        for text in ["sqlite::memory:", "sqlite:", "sqlite:file:x?mode=memory", "sqlite:x?journal_mode=off"] {
            let error = Address::parse(text).expect_err(text);
            assert!(matches!(error, StoreError::NotSynced { .. }), "{text}: {error}");
        }
        assert!(!Address::parse("sqlite://x?synchronous=extra&journal_mode=WAL").expect("syncs").is_shared());
    }
}
