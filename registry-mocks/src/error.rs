//! Why the mocks cannot run. What lies beneath an error is its source, not part of its text.

use std::net::SocketAddr;

/// Why the mocks cannot start or a fault cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum MocksError {
    /// Values of the configuration are out of their ranges.
    #[error("configuration: {0}")]
    Config(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The civil status database holds tables that the mocks did not make.
    #[error(
        "the database has a table `{table}` and was not made by the mocks: it is left alone; name an empty one"
    )]
    NotOurs {
        /// The table.
        table: &'static str,
    },
    /// The SQLite file cannot be written or locked.
    #[error("civil status database (SQLite)")]
    Sqlite(#[source] sqlx::Error),
    /// PostgreSQL refused.
    #[error("civil status database (PostgreSQL)")]
    Postgres(#[source] tokio_postgres::Error),
    /// The fault is out of range, or this register cannot have it.
    #[error("{0}")]
    Fault(String),
    /// The register's listener is gone: the mocks are shutting down.
    #[error("the mocks are shutting down")]
    Closing,
}

impl From<sqlx::Error> for MocksError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<tokio_postgres::Error> for MocksError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}
