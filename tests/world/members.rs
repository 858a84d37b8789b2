//! A bus with several members, and what each of them reads of its evidence through typed clients, on a
//! connection of its own.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::{Status, Streaming, body::Body};
use tonic_health::pb::HealthCheckRequest;
use ura_adapters::run::Adapter;
use ura_evidence::keys::LogKeys;
use ura_gateway::Gateway;
use ura_log::{
    Hash,
    checkpoint::{self, Checkpoint},
    note::Key,
    proof::verify_inclusion,
    tree,
};
use ura_proto::{
    ExchangeId,
    v1::{
        AddCosignatureRequest, Entry, GetCheckpointRequest, GetConsistencyProofRequest, GetReceiptRequest,
        ListLogsRequest, ListLogsResponse, ReadEntriesRequest, ReadEntriesResponse,
        evidence_service_client::EvidenceServiceClient,
    },
};
use ura_runtime::{
    clock::Clock,
    process::Shutdown,
    tls::{self, Identity, Verify},
};

use super::{
    BEGIN_UNIX_US, EvidenceStore, Plan, World, issue, patient,
    store::{ORIGIN, reader},
};

/// Systems beside those that every world has a certificate for.
const MORE: [&str; 4] = ["mpb/police", "mpb/customs", "arc/auditor", "mpb/auditor"];

/// Each asks under other terms: at once, withheld, delayed. `COSIGNERS` stands for the auditors.
const DIRECTORY: &str = r#"
version = "members-1"
members = [
  { id = "ais", name = { en = "Agency", sq = "Agjencia", sr = "Agencija" } },
  { id = "arc", name = { en = "Register", sq = "Regjistri", sr = "Registar" } },
  { id = "mpb", name = { en = "Interior", sq = "Brendshme", sr = "Unutrašnji" } },
]
systems = [
  { id = "ais/gateway", roles = ["gateway"] },
  { id = "ais/portal", roles = ["consumer"] },
  { id = "ais/other", roles = ["consumer"] },
  { id = "mpb/police", roles = ["consumer"] },
  { id = "mpb/customs", roles = ["consumer"] },
  { id = "arc/probe", roles = ["provider"] },
  { id = "arc/second", roles = ["provider"] },
COSIGNERS
]
contracts = [{ name = "test.v1.Probe", proto = "probe.proto" }, { name = "ura.v1.SubjectAccessService" }]
services = [
  { contract = "test.v1.Probe", provider = "arc/probe" },
  { contract = "test.v1.Probe", provider = "arc/second" },
  { contract = "ura.v1.SubjectAccessService", provider = "ais/gateway" },
]
purposes = [
  { code = "test", legal_basis = "Law on Tests, Art. 1", title = { en = "Test", sq = "Provë", sr = "Proba" } },
  { code = "own-data", legal_basis = "Law on Data, Art. 2", title = { en = "Own data", sq = "Të dhënat e mia" } },
]

[[grants]]
id = "g-portal"
consumer = "ais/portal"
provider = "arc/probe"
contract = "test.v1.Probe"
methods = ["*"]

[[grants]]
id = "g-other"
consumer = "ais/other"
provider = "arc/second"
contract = "test.v1.Probe"
methods = ["*"]

[[grants]]
id = "g-police"
consumer = "mpb/police"
provider = "arc/probe"
contract = "test.v1.Probe"
methods = ["*"]
purposes = ["test"]
disclosure = "withheld"

[[grants]]
id = "g-customs"
consumer = "mpb/customs"
provider = "arc/probe"
contract = "test.v1.Probe"
methods = ["*"]
disclosure = { delay_days = 30 }

[[grants]]
id = "g-accesses"
consumer = "ais/portal"
provider = "ais/gateway"
contract = "ura.v1.SubjectAccessService"
methods = ["*"]
purposes = ["own-data"]
"#;

/// The directory of a bus with several members, without keys of cosigners.
pub fn directory() -> String {
    directory_with(&[])
}

/// The same, in which the auditors have these keys: the first arc/auditor, the second mpb/auditor.
pub fn directory_with(cosigners: &[&Key]) -> String {
    let line = |(number, system): (usize, &&str)| {
        let cosigner = cosigners.get(number).map(|key| format!(", cosigner = \"{key}\""));
        format!("  {{ id = \"{system}\", roles = [\"auditor\"]{} }},\n", cosigner.unwrap_or_default())
    };
    let lines: String = ["arc/auditor", "mpb/auditor"].iter().enumerate().map(line).collect();
    DIRECTORY.replace("COSIGNERS\n", &lines)
}

/// A bus with several members; checkpoints come soon after entries.
pub async fn bus(on: EvidenceStore) -> World {
    bus_with(on, directory()).await
}

/// The same, by this directory.
pub async fn bus_with(evidence_store: EvidenceStore, directory: String) -> World {
    let evidence = "checkpoint_interval_ms = 20".to_owned();
    bus_as(Plan { evidence_store, directory, evidence, ..Plan::default() }).await
}

/// The same, as this plan says.
pub async fn bus_as(plan: Plan) -> World {
    let world = World::with(plan).await;
    for system in MORE {
        issue(&world.authority, world.dir.path(), system, &[]);
    }
    let client = world.portal().await;
    let asked = HealthCheckRequest { service: "ura.v1.SubjectAccessService".to_owned() };
    patient(async {
        // The gateway answers it over a plug of its own, which it enters after its start.
        while !client
            .call("/grpc.health.v1.Health/Check", &[], &asked)
            .await
            .messages
            .iter()
            .any(|m| **m == [8, 1])
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // So that nothing comes into the log from here on but what the test does.
    patient(Box::pin(async {
        while world.reader.newest_registry().await.expect("readable").is_none() {
            tokio::task::yield_now().await;
        }
    }))
    .await;
    world
}

/// Plugs the second provider in; it leaves with the world's adapter.
pub async fn second(world: &World) -> Adapter {
    let adapter = world.plug("arc/second", &world.probe, &world.adapter_shutdown).await;
    patient(adapter.plugged_in()).await.expect("plugged in");
    adapter
}

/// Starts a gateway again where one ended, on what it kept. Adapters are not started again.
pub async fn again(world: &mut World) {
    world.shutdown = Shutdown::new();
    let (clock, manual) = Clock::manual(BEGIN_UNIX_US);
    let gateway = Gateway::start(world.config(), clock, world.shutdown.clone()).await;
    let gateway = gateway.unwrap_or_else(|error| panic!("{error}"));
    world.address = gateway.address().to_string();
    world.gateway = Some(gateway);
    world.clock = manual;
    world.reader = reader(&world.store).await;
}

/// The keys of the log, as its operator gives them to members.
pub fn log_keys(world: &World) -> Vec<Key> {
    LogKeys::read(&world.path("log-keys"), ORIGIN).expect("its keys").keys()
}

/// Waits until a checkpoint covers all that is in the log; returns its size.
pub async fn covered(world: &World) -> u64 {
    patient(Box::pin(async {
        loop {
            let log = world.reader.log_by_origin(ORIGIN).await.expect("readable").expect("there");
            let newest = world.reader.newest_checkpoint(log.log).await.expect("readable");
            if newest.is_some_and(|newest| newest.size == log.size) {
                return log.size;
            }
            tokio::task::yield_now().await;
        }
    }))
    .await
}

/// A connection for typed clients.
#[derive(Clone)]
pub struct Connection(http2::SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// An entry that was told, and proved to stand in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub index: u64,
    pub entry: Entry,
}

/// A system that asks for its evidence.
#[derive(Clone)]
pub struct Member {
    client: EvidenceServiceClient<Connection>,
}

impl Member {
    pub async fn of(world: &World, system: &str) -> Self {
        let identity = Identity::load(&world.identity(system)).expect("an identity");
        let config = identity.client_config(&[b"h2"], Verify::Name).expect("TLS");
        let connected = tls::connect(&world.address, config, Duration::from_secs(30)).await;
        let io = TokioIo::new(connected.expect("connects").0);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        let origin = Uri::from_static("https://gateway");
        Self { client: EvidenceServiceClient::with_origin(Connection(sender), origin) }
    }

    pub async fn logs(&self) -> Result<ListLogsResponse, Status> {
        let mut client = self.client.clone();
        Ok(patient(client.list_logs(ListLogsRequest {})).await?.into_inner())
    }

    pub async fn checkpoint(&self, origin: &str, size_min: u64) -> Result<String, Status> {
        let asked = GetCheckpointRequest { origin: origin.to_owned(), size_min };
        let mut client = self.client.clone();
        Ok(patient(client.get_checkpoint(asked)).await?.into_inner().checkpoint)
    }

    /// Hashes of a proof; each has 32 bytes.
    pub async fn consistency(&self, origin: &str, first: u64, second: u64) -> Result<Vec<Hash>, Status> {
        let origin = origin.to_owned();
        let asked = GetConsistencyProofRequest { origin, first_size: first, second_size: second };
        let mut client = self.client.clone();
        Ok(hashes(&patient(client.get_consistency_proof(asked)).await?.into_inner().hashes))
    }

    pub async fn cosign(&self, origin: &str, size: u64, signature: &str) -> Result<(), Status> {
        let (origin, signature) = (origin.to_owned(), signature.to_owned());
        let mut client = self.client.clone();
        patient(client.add_cosignature(AddCosignatureRequest { origin, size, signature })).await.map(drop)
    }

    pub async fn receipt(&self, exchange_id: &str) -> Result<String, Status> {
        let asked = GetReceiptRequest { exchange_id: exchange_id.to_owned() };
        let mut client = self.client.clone();
        Ok(patient(client.get_receipt(asked)).await?.into_inner().receipt)
    }

    /// The receipt of an exchange, once a checkpoint covers it.
    pub async fn receipt_soon(&self, exchange: ExchangeId) -> String {
        patient(async {
            loop {
                match self.receipt(&exchange.to_string()).await {
                    Err(status) if status.message().contains("no checkpoint covers it yet") => {}
                    told => return told.expect("a receipt"),
                }
            }
        })
        .await
    }

    pub async fn entries(
        &self,
        origin: &str,
        from_index: u64,
        follow: bool,
    ) -> Result<Streaming<ReadEntriesResponse>, Status> {
        let asked = ReadEntriesRequest { origin: origin.to_owned(), from_index, follow };
        let mut client = self.client.clone();
        Ok(patient(client.read_entries(asked)).await?.into_inner())
    }

    /// All entries from an index on, each proved by a log's key; and the pages they came on.
    pub async fn read(&self, from: u64, keys: &[Key]) -> (Vec<Told>, Vec<ReadEntriesResponse>) {
        let mut stream = self.entries("", from, false).await.expect("a stream");
        let (mut told, mut pages) = (Vec::new(), Vec::new());
        let mut reading = Reading { keys: keys.to_vec(), under: None, next_index: from };
        while let Some(page) = patient(stream.message()).await.expect("a page") {
            told.extend(reading.page(&page));
            pages.push(page);
        }
        (told, pages)
    }
}

/// A stream as a careful member reads it: nothing is taken without its proof.
#[derive(Debug)]
pub struct Reading {
    pub keys: Vec<Key>,
    pub under: Option<Checkpoint>,
    pub next_index: u64,
}

impl Reading {
    /// The entries of a page; panics where one is not proved, or comes where it does not belong.
    pub fn page(&mut self, page: &ReadEntriesResponse) -> Vec<Told> {
        if !page.checkpoint.is_empty() {
            let (under, signed) = checkpoint::open(&page.checkpoint, &self.keys).expect("signed by the log");
            assert!(signed.iter().any(|key| key.name() == ORIGIN), "{signed:?}");
            self.under = Some(under);
        }
        let under = self.under.clone().expect("the first page has a checkpoint");
        assert!(page.next_index > self.next_index && page.next_index <= under.size, "{page:?}");
        assert!(page.entries.len() <= 256);
        let mut told = Vec::new();
        for entry in &page.entries {
            let stored = entry.entry.as_ref().expect("an entry");
            let (index, body) = (stored.log_index, &stored.body);
            assert!((self.next_index..page.next_index).contains(&index), "{index} is out of its place");
            self.next_index = index + 1;
            assert!(stored.subjects.is_empty(), "pseudonyms are nobody's");
            assert_eq!(stored.removed_by, 0);
            let leaf_hash = tree::leaf_hash(&ura_evidence::entry::leaf(body));
            verify_inclusion(&leaf_hash, index, under.size, &hashes(&entry.proof), &under.root)
                .expect("proved");
            told.push(Told { index, entry: ura_evidence::entry::decode(body).expect("canonical") });
        }
        self.next_index = page.next_index;
        told
    }
}

fn hashes(bytes: &[Vec<u8>]) -> Vec<Hash> {
    bytes.iter().map(|hash| hash.as_slice().try_into().expect("32 bytes")).collect()
}
