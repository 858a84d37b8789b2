//! The folder and the store that are measured, and the ways into them. All of it goes when this is dropped.

use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use tempfile::TempDir;
use ura_evidence::{
    config::EvidenceConfig,
    keys::EpochKeys,
    store::{Address, Reader},
    writer::{Evidence, OpenAs, WriterThread},
};
use ura_runtime::clock::Clock;

use crate::postgres::Postgres;

const ORIGIN: &str = "ura.test/million";

/// A store of one log.
pub struct Keeper {
    address: String,
    database: Option<Postgres>,
    folder: TempDir,
}

impl Keeper {
    /// In a file.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("sqlite:{}", folder.path().join("evidence.db").display());
        Self { address, database: None, folder }
    }

    /// In a server of its own, with the settings that it comes with.
    pub fn postgres() -> Self {
        let database = Postgres::start(&[]);
        let folder = tempfile::tempdir().expect("a folder");
        Self { address: database.url(), database: Some(database), folder }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn named(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// The public key of the log.
    pub fn log_key(&self) -> String {
        self.named("log-keys/000001.log.pub")
    }

    /// Opens the log to write it, with the limits that a gateway has where its configuration says nothing.
    pub async fn write(&self) -> (Evidence, WriterThread) {
        let config = EvidenceConfig {
            store: self.address.clone(),
            keys: self.path("keys"),
            log_keys: self.path("log-keys"),
            origin: ORIGIN.to_owned(),
            queue_entries_max: 16_384,
            batch_entries_max: 2048,
            checkpoint_interval_ms: 1000,
            seal_after_ms: 60_000,
        };
        let who = OpenAs {
            gateway: "ais/gateway".parse().expect("a system"),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            directory_version: "2026-11-01.3".to_owned(),
            directory_digest: [1; 32],
            take_over: false,
        };
        Box::pin(Evidence::open(&config, who, Clock::system())).await.expect("the log opens")
    }

    /// Opens the store to read it.
    pub async fn read(&self) -> Reader {
        let address = Address::parse(&self.address).expect("an address");
        Reader::open(&address).await.expect("the store opens")
    }

    /// The epoch keys.
    pub fn keys(&self) -> EpochKeys {
        EpochKeys::read(&self.path("keys")).expect("the keys are there")
    }

    /// Bytes that the store has on disk, without what is written ahead of it.
    pub async fn bytes(&self) -> u64 {
        if self.database.is_none() {
            return size(&self.path("evidence.db"));
        }
        let options: PgConnectOptions = self.address.parse().expect("an address");
        let mut connection = options.connect().await.expect("it is there");
        let bytes: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
            .fetch_one(&mut connection)
            .await
            .expect("a size");
        connection.close().await.expect("closed");
        bytes.try_into().expect("not negative")
    }
}

/// Bytes of a file, or of all files of a folder.
pub fn size(path: &Path) -> u64 {
    let data = std::fs::metadata(path).expect("it is there");
    if !data.is_dir() {
        return data.len();
    }
    let inside = std::fs::read_dir(path).expect("a folder");
    inside.map(|entry| size(&entry.expect("an entry").path())).sum()
}
