//! A log in a real store and a directory, for tests of what is answered from them.

use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use ura_evidence::{
    entry::Row,
    keys::{EpochKeys, commitment},
    store::{Address, Appender, Reader, Store},
};
use ura_log::{
    checkpoint::Checkpoint,
    note::{Key, Kind as KeyKind, Signer},
    tree::Frontier,
};
use ura_proto::{
    ExchangeId, SystemId,
    v1::{Closing, Opening, Outcome, Started, entry::Kind},
};
use ura_runtime::{clock::Clock, process::Shutdown};

use super::Sources;
use crate::directory::Directory;

/// Name of the log.
pub(super) const ORIGIN: &str = "ura.test/log";

/// What the clock shows: 2026-11-22T12:00:00Z.
pub(super) const NOW_US: i64 = 1_795_348_800_000_000;

/// Microseconds in a day.
pub(super) const DAY_US: i64 = 86_400_000_000;

/// A store with one log, and the services' sources on it.
pub(super) struct Sample {
    pub(super) sources: Sources,
    /// What was brought into the log by the services.
    pub(super) recorded: Arc<Mutex<Vec<Row>>>,
    /// Whether the log can be written.
    pub(super) writable: Arc<Mutex<bool>>,
    pub(super) signer: Signer,
    pub(super) cosigner: Signer,
    store: Store,
    log: i64,
    frontier: Frontier,
    exchanges: i64,
    _dir: TempDir,
}

impl Sample {
    /// A log in which a gateway has begun to write.
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let address = format!("sqlite:{}", dir.path().join("evidence.db").display());
        let address = Address::parse(&address).expect("an address");
        let mut store = Store::open(&address).await.expect("opens");
        let log = store.log(ORIGIN, "ais/gateway").await.expect("registered").log;
        let cosigner = Signer::generate("auditor.test", KeyKind::CosignatureV1).expect("a key");
        let path = dir.path().join("directory.toml");
        std::fs::write(&path, directory(cosigner.key())).expect("written");
        let recorded: Arc<Mutex<Vec<Row>>> = Arc::default();
        let writable = Arc::new(Mutex::new(true));
        let (into, open) = (recorded.clone(), writable.clone());
        let sources = Sources {
            reader: Reader::open(&address).await.expect("opens"),
            address,
            keys: EpochKeys::open(&dir.path().join("keys")).expect("keys"),
            origin: Arc::new(|| ORIGIN.into()),
            record: Arc::new(move |row| {
                into.lock().expect("no panic").push(row);
                let written = *open.lock().expect("no panic");
                Box::pin(std::future::ready(written))
            }),
            directory: Directory::open(&path).expect("a good directory").0,
            clock: Clock::manual(NOW_US).0,
            shutdown: Shutdown::new(),
        };
        let signer = Signer::generate(ORIGIN, KeyKind::Ed25519).expect("a key");
        let started = Started { log_key: signer.key().to_string(), ..Started::default() };
        let (frontier, exchanges) = (Frontier::new(), 0);
        let mut sample = Self {
            sources,
            recorded,
            writable,
            signer,
            cosigner,
            store,
            log,
            frontier,
            exchanges,
            _dir: dir,
        };
        sample.append(&[Row::new(None, NOW_US - DAY_US, Kind::Started(started))]).await;
        sample
    }

    /// Appends rows, fewer than a tile has.
    pub(super) async fn append(&mut self, rows: &[Row]) {
        let mut append =
            self.store.begin(self.log, Appender::Guest, rows.len(), NOW_US).await.expect("begins");
        append.insert(rows).await.expect("inserts");
        rows.iter().for_each(|row| self.frontier.append(row.leaf_hash()));
        let mark = self.sources.keys.newest().mark(ORIGIN, self.frontier.size(), &self.frontier.root());
        append.mark(&mark).await.expect("marks");
        append.commit().await.expect("commits");
    }

    /// Signs a checkpoint over all rows.
    pub(super) async fn checkpoint(&mut self) -> Checkpoint {
        let (size, root) = (self.frontier.size(), self.frontier.root());
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root, extensions: Vec::new() };
        let note = checkpoint.sign(&self.signer).expect("signed").to_string();
        let mut append = self.store.begin(self.log, Appender::Guest, 0, NOW_US).await.expect("begins");
        append.checkpoint(size, &note, NOW_US, false).await.expect("inserts");
        append.commit().await.expect("commits");
        checkpoint
    }

    /// A new exchange id.
    pub(super) fn exchange(&mut self) -> ExchangeId {
        self.exchanges += 1;
        ExchangeId::at(NOW_US + self.exchanges * 1000)
    }

    /// An exchange about the person 1234567892 that the register answered; changed before it is recorded.
    pub(super) fn answered(
        &mut self,
        recorded_us: i64,
        change: impl FnOnce(&mut Opening),
    ) -> (ExchangeId, [Row; 2]) {
        let exchange = self.exchange();
        let epoch = self.sources.keys.newest();
        let subject = epoch.subject("person", b"1234567892", exchange);
        let commitment = commitment(&subject).to_vec();
        let mut opening = Opening {
            consumer: "ais/portal".into(),
            provider: "arc/civil".into(),
            method: "t.v1.S/Read".into(),
            purpose: "birth".into(),
            subjects: vec![ura_proto::v1::Subject { kind: "person".into(), commitment }],
            epoch: epoch.id().to_owned(),
            ..Opening::default()
        };
        change(&mut opening);
        let subjects = if opening.subjects.is_empty() { Vec::new() } else { vec![subject] };
        let opening = Row::with_subjects(Some(exchange), recorded_us, Kind::Opening(opening), subjects);
        let closing = Closing { outcome: Outcome::Answered.into(), ..Closing::default() };
        (exchange, [opening, Row::new(Some(exchange), recorded_us + 1, Kind::Closing(closing))])
    }
}

/// A request of a system.
pub(super) fn request<T>(caller: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(caller.parse::<SystemId>().expect("valid"));
    request
}

/// The directory file. Contracts of the bus need no files, so that one stands for all.
fn directory(cosigner: &Key) -> String {
    format!(
        r#"
version = "7"

[[members]]
id = "ais"
name = {{ en = "Information society", sq = "Shoqëria e informacionit" }}

[[members]]
id = "arc"
name = {{ en = "Civil registration", sq = "Regjistrimi civil" }}

[[systems]]
id = "ais/gateway"
roles = ["gateway"]

[[systems]]
id = "ais/portal"
roles = ["consumer"]

[[systems]]
id = "arc/civil"
roles = ["provider"]

[[systems]]
id = "arc/auditor"
roles = ["auditor"]
cosigner = "{cosigner}"

[[contracts]]
name = "ura.v1.SubjectAccessService"

[[services]]
contract = "ura.v1.SubjectAccessService"
provider = "ais/gateway"

[[purposes]]
code = "birth"
legal_basis = "Law 04/L-003, Art. 14"
title = {{ en = "Birth certificate", sq = "Certifikatë e lindjes" }}

[[grants]]
id = "withheld"
consumer = "ais/portal"
provider = "ais/gateway"
contract = "ura.v1.SubjectAccessService"
methods = ["*"]
disclosure = "withheld"

[[grants]]
id = "later"
consumer = "ais/portal"
provider = "ais/gateway"
contract = "ura.v1.SubjectAccessService"
methods = ["*"]
disclosure = {{ delay_days = 30 }}
"#
    )
}
