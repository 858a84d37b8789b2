//! A log in a real store, for tests of what reads it: rows are appended as the writer does, with the hashes
//! of full tiles and with signed checkpoints.

#[path = "../../tests/world/postgres.rs"]
pub(crate) mod postgres;

use ura_log::{
    checkpoint::Checkpoint,
    note::{Kind as KeyKind, Signer},
    tree::Frontier,
};
use ura_proto::{
    ExchangeId,
    v1::{Closing, Gap, Opening, Outcome, Subject, SubjectOpening, entry::Kind},
};

use crate::{
    entry::Row,
    keys::{EpochKeys, commitment},
    store::{Address, Appender, Reader, Removed, Store},
};

/// Name of the sample's log.
pub(crate) const ORIGIN: &str = "ura.test/log";

/// The moment at which the sample begins: 2026-11-22T12:00:00Z.
pub(crate) const BEGIN_US: i64 = 1_795_348_800_000_000;

/// Rows of one append.
const BATCH_ROWS: usize = 4096;

/// One log.
pub(crate) struct Sample {
    pub(crate) store: Store,
    pub(crate) address: Address,
    pub(crate) log: i64,
    pub(crate) frontier: Frontier,
    pub(crate) signer: Signer,
    pub(crate) keys: EpochKeys,
    dir: tempfile::TempDir,
    exchanges: i64,
}

impl Sample {
    /// A log in SQLite.
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let address = format!("sqlite:{}", dir.path().join("evidence.db").display());
        Self::at(dir, &address, ORIGIN).await
    }

    /// A log in the store at an address.
    pub(crate) async fn at(dir: tempfile::TempDir, address: &str, origin: &str) -> Self {
        let address = Address::parse(address).expect("an address");
        let mut store = Store::open(&address).await.expect("opens");
        let log = store.log(origin, "ais/gateway").await.expect("registered").log;
        let keys = EpochKeys::open(&dir.path().join("keys")).expect("keys");
        let signer = Signer::generate(origin, KeyKind::Ed25519).expect("a key");
        Self { store, address, log, frontier: Frontier::new(), signer, keys, dir, exchanges: 0 }
    }

    /// Another log in the same store, with the same epoch keys.
    pub(crate) async fn beside(&self, origin: &str) -> Self {
        let mut store = Store::open(&self.address).await.expect("opens");
        let log = store.log(origin, "ais/gateway").await.expect("registered").log;
        let signer = Signer::generate(origin, KeyKind::Ed25519).expect("a key");
        let dir = tempfile::tempdir().expect("temporary folder");
        let (address, keys) = (self.address.clone(), self.keys.clone());
        Self { store, address, log, frontier: Frontier::new(), signer, keys, dir, exchanges: 1 << 20 }
    }

    /// Folder of the epoch keys, of a sample that is not beside another.
    pub(crate) fn keys_folder(&self) -> std::path::PathBuf {
        self.dir.path().join("keys")
    }

    /// Opens the store for reading.
    pub(crate) async fn reader(&self) -> Reader {
        Reader::open(&self.address).await.expect("opens")
    }

    /// Appends rows in batches; returns the index of the first.
    pub(crate) async fn append(&mut self, rows: &[Row]) -> u64 {
        let first = self.frontier.size();
        for batch in rows.chunks(BATCH_ROWS) {
            self.append_batch(batch).await;
        }
        first
    }

    async fn append_batch(&mut self, rows: &[Row]) {
        let mut frontier = self.frontier.clone();
        let mut subtrees = Vec::new();
        for row in rows {
            frontier.append_telling(row.leaf_hash(), |height, index, hash| {
                if height > 0 && height % 8 == 0 {
                    subtrees.push((height / 8, index, *hash));
                }
            });
        }
        let mut append =
            self.store.begin(self.log, Appender::Guest, rows.len(), BEGIN_US).await.expect("begins");
        append.insert(rows).await.expect("inserts");
        append.subtrees(&subtrees).await.expect("inserts");
        append
            .mark(&self.keys.newest().mark(self.signer.key().name(), frontier.size(), &frontier.root()))
            .await
            .expect("marks");
        append.commit().await.expect("commits");
        self.frontier = frontier;
    }

    /// Signs a checkpoint over all rows.
    pub(crate) async fn checkpoint(&mut self) -> Checkpoint {
        let origin = self.signer.key().name().to_owned();
        let (size, root) = (self.frontier.size(), self.frontier.root());
        let checkpoint = Checkpoint { origin, size, root, extensions: Vec::new() };
        let note = checkpoint.sign(&self.signer).expect("signed").to_string();
        let mut append = self.store.begin(self.log, Appender::Guest, 0, BEGIN_US).await.expect("begins");
        append.checkpoint(size, &note, BEGIN_US, false).await.expect("inserts");
        append.commit().await.expect("commits");
        checkpoint
    }

    /// Removes bodies, as retention does.
    pub(crate) async fn remove(&mut self, indexes: &[u64]) {
        let removal = Row::new(None, BEGIN_US, Kind::Removal(ura_proto::v1::Removal::default()));
        let mut frontier = self.frontier.clone();
        frontier.append(removal.leaf_hash());
        let mut append = self.store.begin(self.log, Appender::Guest, 1, BEGIN_US).await.expect("begins");
        let removal_index = append.first();
        append.insert(&[removal]).await.expect("inserts");
        append.remove(&Removed { indexes, removal_index }).await.expect("removes");
        append
            .mark(&self.keys.newest().mark(self.signer.key().name(), frontier.size(), &frontier.root()))
            .await
            .expect("marks");
        append.commit().await.expect("commits");
        self.frontier = frontier;
    }

    /// A new exchange id; ascending.
    pub(crate) fn exchange(&mut self) -> ExchangeId {
        self.exchanges += 1;
        ExchangeId::at(BEGIN_US + self.exchanges * 1000)
    }

    /// What a person's number is in an entry of an exchange, and what opens it.
    pub(crate) fn person(&self, exchange: ExchangeId, number: &str) -> (Subject, SubjectOpening) {
        let opening = self.keys.newest().subject("person", number.as_bytes(), exchange);
        let commitment = commitment(&opening).to_vec();
        (Subject { kind: "person".into(), commitment }, opening)
    }

    /// The opening of an exchange by the portal about a person, unless the change says otherwise.
    pub(crate) fn opening(
        &self,
        exchange: ExchangeId,
        recorded_us: i64,
        person: Option<&str>,
        change: impl FnOnce(&mut Opening),
    ) -> Row {
        let (subjects, openings) = person.map(|number| self.person(exchange, number)).into_iter().unzip();
        let mut opening = Opening {
            consumer: "ais/portal".into(),
            provider: "arc/civil-status".into(),
            method: "ks.civilstatus.v1.CivilStatusService/GetPerson".into(),
            subjects,
            ..Opening::default()
        };
        change(&mut opening);
        Row::with_subjects(Some(exchange), recorded_us, Kind::Opening(opening), openings)
    }

    /// The closing of an answered exchange.
    pub(crate) fn closing(exchange: ExchangeId, recorded_us: i64) -> Row {
        let closing = Closing { outcome: Outcome::Answered.into(), ..Closing::default() };
        Row::new(Some(exchange), recorded_us, Kind::Closing(closing))
    }

    /// Entries that belong to nobody.
    pub(crate) fn gaps(count: i64) -> Vec<Row> {
        (0..count).map(|n| Row::new(None, BEGIN_US + n, Kind::Gap(Gap::default()))).collect()
    }
}
