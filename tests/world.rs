//! One world per test: PKI, directory, gateway and probe adapter on free ports, in a folder that
//! goes with it.

#![allow(dead_code)] // Each test target uses its part of it.

pub mod client;
pub mod journal;
pub mod members;
pub mod postgres;
pub mod probe;
pub mod program;
pub mod records;
pub mod relay;
pub mod store;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use time::OffsetDateTime;
use ura_adapters::{config::Config, run::Adapter, serve::ServiceBuilder};
use ura_certs::{Authority, Issue, Usage};
use ura_evidence::store::Reader;
use ura_gateway::{Gateway, config::GatewayConfig};
use ura_proto::ExchangeId;
use ura_runtime::{
    clock::{Clock, ManualClock},
    process::Shutdown,
};

use client::Client;
use probe::Probe;
pub use records::Records;
pub use store::EvidenceStore;

pub const TRUST_DOMAIN: &str = "ura.test";
/// The moment at which every world begins: 2026-11-22T12:00:00Z.
pub const BEGIN_UNIX_US: i64 = 1_795_348_800_000_000;
/// Long enough for anything; a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

const DIRECTORY: &str = r#"
version = "test-1"
members = [
  { id = "ais", name = { en = "Portal" } },
  { id = "arc", name = { en = "Register" } },
]
systems = [
  { id = "ais/gateway", roles = ["gateway"] },
  { id = "ais/portal", roles = ["consumer"] },
  { id = "ais/other", roles = ["consumer"] },
  { id = "arc/probe", roles = ["provider"] },
  { id = "arc/second", roles = ["provider"] },
]
contracts = [{ name = "test.v1.Probe", proto = "probe.proto" }]
services = [{ contract = "test.v1.Probe", provider = "arc/probe" }]
purposes = [
  { code = "test", legal_basis = "Law on Tests, Art. 1", title = { en = "Test" } },
]

[[grants]]
id = "g-portal"
consumer = "ais/portal"
provider = "arc/probe"
contract = "test.v1.Probe"
methods = ["*"]
"#;

/// What a test wants otherwise than usual.
pub struct Plan {
    /// The directory's text.
    pub directory: String,
    /// Lines appended to the gateway's `[limits]`.
    pub limits: String,
    /// Without it, no adapter is started.
    pub adapter: bool,
    /// The adapter listens and is dialled.
    pub dialled: bool,
    /// Where evidence is kept.
    pub evidence_store: EvidenceStore,
    /// Lines appended to `[evidence]`.
    pub evidence: String,
    /// Metrics are shown on a free port.
    pub metrics: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            directory: DIRECTORY.to_owned(),
            limits: String::new(),
            adapter: true,
            dialled: false,
            evidence_store: EvidenceStore::Sqlite,
            evidence: String::new(),
            metrics: false,
        }
    }
}

/// The text of the usual directory, to be changed.
pub fn directory() -> String {
    DIRECTORY.to_owned()
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub authority: Authority,
    pub gateway: Option<Gateway>,
    pub adapter: Option<Adapter>,
    pub probe: Arc<Probe>,
    pub clock: ManualClock,
    pub shutdown: Shutdown,
    pub adapter_shutdown: Shutdown,
    pub address: String,
    /// Address of the evidence store.
    pub store: String,
    /// What the evidence store holds.
    pub reader: Reader,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Plan::default()).await
    }

    /// A world that keeps its evidence there.
    pub async fn on(evidence_store: EvidenceStore) -> Self {
        Self::with(Plan { evidence_store, ..Plan::default() }).await
    }

    pub async fn with(plan: Plan) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let authority =
            Authority::init(&dir.path().join("authority"), TRUST_DOMAIN, now()).expect("an authority");
        for system in ["ais/portal", "ais/other", "arc/probe", "arc/second"] {
            issue(&authority, dir.path(), system, &[]);
        }
        issue(&authority, dir.path(), "ais/gateway", &["localhost", "127.0.0.1"]);
        std::fs::write(dir.path().join("probe.proto"), include_str!("world/probe.proto"))
            .expect("a contract");
        let probe = Probe::new();
        let adapter_shutdown = Shutdown::new();
        let mut adapter = None;
        let mut directory = plan.directory.clone();
        if plan.adapter && plan.dialled {
            let started =
                start_adapter(dir.path(), &probe, "arc/probe", Link::Listen, &adapter_shutdown).await;
            let address = started.address().expect("it listens");
            let plain = r#"{ id = "arc/probe", roles = ["provider"] }"#;
            let dialled = format!(r#"{{ id = "arc/probe", roles = ["provider"], dial = "{address}" }}"#);
            assert!(directory.contains(plain), "the directory names the probe");
            directory = directory.replace(plain, &dialled);
            adapter = Some(started);
        }
        let store = plan.evidence_store.address(dir.path()).await;
        let config = write_config(dir.path(), &plan, &directory, &store);
        let (clock, manual) = Clock::manual(BEGIN_UNIX_US);
        let shutdown = Shutdown::new();
        let gateway = Gateway::start(config, clock, shutdown.clone()).await.unwrap_or_else(|e| panic!("{e}"));
        let address = gateway.address().to_string();
        if plan.adapter && !plan.dialled {
            let link = Link::Plug(&address);
            adapter = Some(start_adapter(dir.path(), &probe, "arc/probe", link, &adapter_shutdown).await);
        }
        if let Some(adapter) = &adapter {
            patient(adapter.plugged_in()).await.expect("plugged in");
        }
        Self {
            dir,
            authority,
            gateway: Some(gateway),
            adapter,
            probe,
            clock: manual,
            shutdown,
            adapter_shutdown,
            address,
            reader: store::reader(&store).await,
            store,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An identity folder of this world's authority.
    pub fn identity(&self, system: &str) -> PathBuf {
        identity_dir(self.dir.path(), system)
    }

    /// A connection of the portal.
    pub async fn portal(&self) -> Client {
        self.client("ais/portal").await
    }

    pub async fn client(&self, system: &str) -> Client {
        Client::connect(&self.identity(system), &self.address).await.expect("connects")
    }

    /// Starts another adapter for the probe.
    pub async fn plug(&self, system: &str, probe: &Arc<Probe>, shutdown: &Shutdown) -> Adapter {
        self.plug_at(system, probe, &self.address, shutdown).await
    }

    /// Starts another adapter for the probe that plugs in at this address.
    pub async fn plug_at(
        &self,
        system: &str,
        probe: &Arc<Probe>,
        address: &str,
        shutdown: &Shutdown,
    ) -> Adapter {
        start_adapter(self.dir.path(), probe, system, Link::Plug(address), shutdown).await
    }

    /// Starts another adapter for the probe that listens.
    pub async fn listen(&self, system: &str, probe: &Arc<Probe>, shutdown: &Shutdown) -> Adapter {
        start_adapter(self.dir.path(), probe, system, Link::Listen, shutdown).await
    }

    /// Starts an adapter with these services.
    pub async fn plug_with(&self, system: &str, services: ServiceBuilder, shutdown: &Shutdown) -> Adapter {
        let config = adapter_config(self.dir.path(), system, &Link::Plug(&self.address));
        ura_adapters::run::serve(config, services, shutdown.clone()).await.expect("the adapter starts")
    }

    /// The configuration that the gateway was started with.
    pub fn config(&self) -> GatewayConfig {
        GatewayConfig::load(&self.path("gateway.toml")).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Writes a directory; the gateway finds it by itself.
    pub fn write_directory(&self, text: &str) {
        // Renamed into place, as deployment tools do.
        let next = self.path("directory.next");
        std::fs::write(&next, text).expect("the directory");
        std::fs::rename(next, self.path("directory.toml")).expect("the directory");
    }

    /// The records of an exchange, once its closing is there (the closing of a read follows).
    pub async fn evidence(&self, exchange: ExchangeId) -> Records {
        let found = patient(async {
            loop {
                let records = Records::read(&self.reader, exchange).await;
                let refused = records.openings.iter().any(|opening| !opening.refusal.is_empty());
                if refused || records.closing.is_some() {
                    return records;
                }
                tokio::task::yield_now().await;
            }
        });
        found.await
    }

    /// Ends everything and waits for it. The log proves itself whole then, and signed to its end.
    pub async fn end(mut self) {
        self.stop().await;
        let report = store::verified(&self.reader, &self.path("log-keys")).await;
        assert_eq!((report.unsigned, report.size), (0, report.signed_size), "{report:?}");
    }

    /// Ends everything and waits for it; what was kept stays.
    pub async fn stop(&mut self) {
        self.adapter_shutdown.drain();
        self.shutdown.drain();
        if let Some(adapter) = self.adapter.take() {
            patient(adapter.finished()).await;
        }
        if let Some(gateway) = self.gateway.take() {
            patient(gateway.finished()).await;
        }
    }
}

pub fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(Clock::system().unix_us()) * 1000).expect("a time")
}

pub fn identity_dir(dir: &Path, system: &str) -> PathBuf {
    dir.join("pki").join(system.replace('/', "-"))
}

/// Issues a certificate that is valid now.
pub fn issue(authority: &Authority, dir: &Path, system: &str, names: &[&str]) {
    let request = Issue {
        system: system.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        not_before: now() - time::Duration::minutes(5),
        lifetime: time::Duration::days(1),
        usage: Usage::Both,
    };
    authority.issue(&request, &identity_dir(dir, system)).expect("a certificate");
}

/// Waits, but not for ever.
pub async fn patient<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("within a minute")
}

enum Link<'a> {
    Plug(&'a str),
    Listen,
}

async fn start_adapter(
    dir: &Path,
    probe: &Arc<Probe>,
    system: &str,
    link: Link<'_>,
    shutdown: &Shutdown,
) -> Adapter {
    let config = adapter_config(dir, system, &link);
    ura_adapters::run::serve(config, probe.services(dir), shutdown.clone()).await.expect("the adapter starts")
}

fn adapter_config(dir: &Path, system: &str, link: &Link<'_>) -> Config {
    let link = match link {
        Link::Plug(address) => format!("gateways = [\"{address}\"]"),
        Link::Listen => "listen = \"127.0.0.1:0\"".to_owned(),
    };
    let text = format!(
        "system = \"{system}\"\nidentity = \"{}\"\ngateway_id = \"spiffe://{TRUST_DOMAIN}/ais/gateway\"\n{link}\ncontracts = [\"probe.toml\"]\n[limits]\nrequest_bytes_max = 33554432\n",
        identity_dir(dir, system).display()
    );
    Config::parse(&dir.join("adapter.toml"), text).unwrap_or_else(|e| panic!("{e}"))
}

fn write_config(dir: &Path, plan: &Plan, directory: &str, store: &str) -> GatewayConfig {
    std::fs::write(dir.join("directory.toml"), directory).expect("the directory");
    let text = format!(
        r#"
listen = "127.0.0.1:0"
identity = "pki/ais-gateway"
directory = "directory.toml"
[evidence]
store = "{store}"
keys = "keys"
log_keys = "log-keys"
origin = "ura.test/gateway"
{evidence}
[limits]
{limits}
{metrics}
"#,
        evidence = plan.evidence,
        limits = plan.limits,
        metrics = if plan.metrics { "[metrics]\nlisten = \"127.0.0.1:0\"" } else { "" },
    );
    let path = dir.join("gateway.toml");
    std::fs::write(&path, text).expect("the configuration");
    GatewayConfig::load(&path).unwrap_or_else(|e| panic!("{e}"))
}
