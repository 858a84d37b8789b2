//! The data of an evidence store while nobody writes it: copied, set aside and put back, as an operator does it.

use std::{fs, path::PathBuf};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};

use crate::bus::Bus;

/// Where the data lie.
pub enum Data {
    /// In a file, of which nobody has another part: its last writer closed it.
    File(PathBuf),
    /// In a database of a server.
    Database { server: String, name: String },
}

impl Data {
    pub fn of(bus: &Bus) -> Self {
        match bus.store.strip_prefix("sqlite:") {
            Some(path) => Self::File(PathBuf::from(path)),
            None => {
                let (server, name) = bus.store.rsplit_once('/').expect("an address");
                Self::Database { server: format!("{server}/postgres"), name: name.to_owned() }
            }
        }
    }

    /// Keeps a copy under this name.
    pub async fn copy(&self, copy: &str) {
        match self {
            Self::File(path) => drop(fs::copy(path, path.with_extension(copy)).expect("copied")),
            Self::Database { name, .. } => {
                self.run(&[format!("create database {copy}_{name} template {name}")]).await;
            }
        }
    }

    /// Gives the data this name: there are none any more.
    pub async fn set_aside(&self, aside: &str) {
        match self {
            Self::File(path) => fs::rename(path, path.with_extension(aside)).expect("set aside"),
            Self::Database { name, .. } => {
                let rename = format!("alter database {name} rename to {aside}_{name}");
                self.run(&[rename, format!("create database {name}")]).await;
            }
        }
    }

    /// Puts the data of this name where they belong, in place of what is there.
    pub async fn put(&self, aside: &str) {
        match self {
            Self::File(path) => fs::rename(path.with_extension(aside), path).expect("put back"),
            Self::Database { name, .. } => {
                let rename = format!("alter database {aside}_{name} rename to {name}");
                self.run(&[format!("drop database {name} with (force)"), rename]).await;
            }
        }
    }

    async fn run(&self, statements: &[String]) {
        let Self::Database { server, .. } = self else { return };
        let mut connection = PgConnection::connect(server).await.expect("PostgreSQL");
        for statement in statements {
            let done = raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut connection).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        connection.close().await.expect("closes");
    }
}
