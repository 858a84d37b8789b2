//! The bus as an operator runs it: mocks, three adapters and a gateway, each a process with its own
//! configuration file. The directory and the adapter files are the samples in `config/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;
use ura_certs::Authority;
use ura_evidence::store::Reader;
use ura_proto::ExchangeId;
use ura_registry_mocks::population::Population;

use crate::{
    portal::Portal,
    process::{Process, ura},
    world::{EvidenceStore, Records, TRUST_DOMAIN, identity_dir, issue, now, patient, store},
};

pub const CIVIL: &str = "ks.civilstatus.v1.CivilStatusService";
pub const TAX: &str = "ks.tax.v1.PropertyTaxService";
pub const VEHICLES: &str = "ks.vehicles.v1.VehicleService";

/// System, adapter file, variable and contract of each adapter.
const ADAPTERS: [(&str, &str, &str, &str); 3] = [
    ("arc/civil-status", "civil-status", "URA_CIVIL_STATUS_URL", CIVIL),
    ("atk/property-tax", "property-tax", "URA_PROPERTY_TAX_URL", TAX),
    ("mpb/vehicles", "vehicles", "URA_VEHICLES_URL", VEHICLES),
];

const SEED: u64 = 7;
const PEOPLE: usize = 1200;

/// What a test wants otherwise than usual.
#[derive(Default)]
pub struct Plan {
    /// Civil status on PostgreSQL instead of SQLite.
    pub postgres: bool,
    /// Where evidence is kept.
    pub evidence_store: EvidenceStore,
    /// Where the gateway forwards spans to; then every trace is recorded.
    pub otlp: Option<String>,
    /// Connections of each adapter: with many of them the first is back soon after a crash.
    pub connections: Option<usize>,
    /// Adapters wait a minute for their registers, so that tests can order long delays.
    pub patient: bool,
}

pub struct Bus {
    // In the order in which they end.
    pub gateway: Option<Process>,
    pub adapters: Vec<Process>,
    _mocks: Process,
    /// Address of the database of civil status.
    civil: String,
    /// Address of the evidence store, as the gateway's configuration has it.
    pub store: String,
    /// Everybody and everything that the mocks were made of.
    pub population: Population,
    pub address: String,
    pub control: String,
    /// Holds the gateway's port while no gateway does; takes no connections itself.
    _port: tokio::net::TcpSocket,
    dir: TempDir,
}

impl Bus {
    pub async fn start(plan: Plan) -> Self {
        let mut bus = Self::without_gateway(plan).await;
        bus.gateway = Some(bus.start_gateway().await);
        bus.plugged(bus.gateway()).await;
        bus
    }

    /// Everything but the gateway; the adapters try to reach it.
    pub async fn without_gateway(plan: Plan) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        make_pki(dir.path());
        let port = tokio::net::TcpSocket::new_v4().expect("a socket");
        port.set_reuseaddr(true).and_then(|()| port.set_reuseport(true)).expect("shared, as the gateway's");
        port.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = port.local_addr().expect("bound").to_string();
        let civil = match plan.postgres {
            true => store::database().await,
            false => format!("sqlite:{}", dir.path().join("civil-status.db").display()),
        };
        let store = plan.evidence_store.address(dir.path()).await;
        let mocks = start_mocks(dir.path(), &civil);
        let url = async |register: &str| {
            let line = patient(mocks.says(&[&format!("{register} http://")])).await;
            line.split(' ').next_back().expect("a url").to_owned()
        };
        let urls = [civil.clone(), url("property-tax").await, url("vehicles").await];
        let control = url("control").await;
        let telemetry = plan
            .otlp
            .as_ref()
            .map(|endpoint| format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\nsample_ratio = 1.0\n"))
            .unwrap_or_default();
        write_gateway(dir.path(), &address, &store, &telemetry);
        let connections = plan.connections.unwrap_or(2);
        let mut adapters = Vec::new();
        for ((system, file, variable, _), url) in ADAPTERS.iter().zip(urls) {
            let contract = if plan.patient { patient_sample(dir.path(), file) } else { sample_of(file) };
            let more = format!("[limits]\nconnections = {connections}\n");
            let config = write_adapter(dir.path(), system, &address, &contract, &more);
            adapters.push(Process::ura("adapter run", &config, &[(variable, url)]));
        }
        let population = Population::generate(SEED, PEOPLE);
        Self {
            gateway: None,
            adapters,
            _mocks: mocks,
            civil,
            store,
            population,
            address,
            control,
            _port: port,
            dir,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn gateway(&self) -> &Process {
        self.gateway.as_ref().expect("it runs")
    }

    /// A gateway on the bus's port and store; it listens when this returns.
    pub async fn start_gateway(&self) -> Process {
        self.start_gateway_under(ura(), &[]).await
    }

    /// [`Bus::start_gateway`], by a command that runs the bus's program, with more arguments.
    pub async fn start_gateway_under(&self, command: Command, more: &[&str]) -> Process {
        let gateway = self.try_gateway(command, more);
        assert_eq!(gateway.tells(&["the gateway listens"], "address").await, self.address);
        gateway
    }

    /// A gateway that may or may not start.
    pub fn try_gateway(&self, mut command: Command, more: &[&str]) -> Process {
        command.arg("gateway").arg("--config").arg(self.path("gateway.toml")).args(more);
        Process::start("gateway", &mut command)
    }

    /// Waits until an adapter of each contract is plugged into this gateway.
    pub async fn plugged(&self, gateway: &Process) {
        for (.., contract) in ADAPTERS {
            gateway.says(&[" plugged in ", contract]).await;
        }
    }

    /// A connection of the portal.
    pub async fn portal(&self) -> Portal {
        Portal::connect(&self.identity("ais/portal"), &self.address).await
    }

    pub fn identity(&self, system: &str) -> PathBuf {
        identity_dir(self.dir.path(), system)
    }

    /// A connection to the database of civil status, past the bus.
    pub async fn civil_status(&self) -> tokio_postgres::Client {
        let connected = tokio_postgres::connect(&self.civil, tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("PostgreSQL");
        tokio::spawn(connection);
        client
    }

    /// What the evidence store holds.
    pub async fn reader(&self) -> Reader {
        store::reader(&self.store).await
    }

    /// The records of an exchange at this moment.
    pub async fn records(&self, exchange: ExchangeId) -> Records {
        let reader = self.reader().await;
        let records = Records::read(&reader, exchange).await;
        reader.close().await;
        records
    }

    /// The records of an exchange, once its closing is there.
    pub async fn closed(&self, exchange: ExchangeId) -> Records {
        let reader = self.reader().await;
        let closed = async {
            loop {
                let records = Records::read(&reader, exchange).await;
                if records.closing.is_some() {
                    return records;
                }
                tokio::task::yield_now().await;
            }
        };
        patient(closed).await
    }

    /// Asks the mocks' control port.
    pub async fn ask_mocks(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.control);
        let answer = http().get(url).send().await.expect("the control port");
        let text = answer.text().await.expect("a body");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Puts a fault in force; it is when this returns.
    pub async fn fault(&self, register: &str, fault: Value) {
        let url = format!("{}/registers/{register}", self.control);
        let request = http().put(url).header("content-type", "application/json");
        let answer = request.body(fault.to_string()).send().await.expect("the control port");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// The requests that a register saw.
    pub async fn requests(&self, register: &str) -> Vec<Value> {
        let log = self.ask_mocks(&format!("/registers/{register}/requests")).await;
        log.as_array().expect("a list").clone()
    }

    /// Waits until the register's log of requests is so.
    pub async fn requests_until(&self, register: &str, fits: impl Fn(&[Value]) -> bool) {
        let waited = async { while !fits(&self.requests(register).await) {} };
        patient(waited).await;
    }
}

fn make_pki(dir: &Path) {
    let authority = Authority::init(&dir.join("authority"), TRUST_DOMAIN, now()).expect("an authority");
    issue(&authority, dir, "ais/gateway", &["localhost", "127.0.0.1"]);
    let others = ADAPTERS.map(|(system, ..)| system);
    for system in others.iter().chain(&["ais/portal", "mashti/school-books"]) {
        issue(&authority, dir, system, &[]);
    }
}

fn start_mocks(dir: &Path, civil: &str) -> Process {
    let config = dir.join("mocks.toml");
    let text = format!(
        "seed = {SEED}\npeople = {PEOPLE}\nrequests_kept_max = 100000\n[civil_status]\nurl = \"{civil}\"\n"
    );
    fs::write(&config, text).expect("a configuration");
    Process::ura("mocks", &config, &[])
}

fn write_gateway(dir: &Path, address: &str, store: &str, telemetry: &str) {
    let directory = sample("directory.toml");
    let text = format!(
        r#"
listen = "{address}"
identity = "pki/ais-gateway"
directory = "{}"
[evidence]
store = "{store}"
keys = "keys"
log_keys = "log-keys"
origin = "ura.test/gateway"
{telemetry}"#,
        directory.display()
    );
    fs::write(dir.join("gateway.toml"), text).expect("a configuration");
}

fn write_adapter(dir: &Path, system: &str, gateway: &str, contract: &Path, more: &str) -> PathBuf {
    let text = format!(
        r#"
system = "{system}"
identity = "pki/{}"
gateways = ["{gateway}"]
gateway_id = "spiffe://{TRUST_DOMAIN}/ais/gateway"
contracts = ["{}"]
{more}"#,
        system.replace('/', "-"),
        contract.display()
    );
    let config = dir.join(format!("{}.toml", system.replace('/', "-")));
    fs::write(&config, text).expect("a configuration");
    config
}

/// The sample of an adapter file.
fn sample_of(file: &str) -> PathBuf {
    sample(&format!("adapters/{file}.toml"))
}

/// A copy of the sample with a longer timeout.
fn patient_sample(dir: &Path, file: &str) -> PathBuf {
    let text = fs::read_to_string(sample_of(file)).expect("the sample");
    let usual = "timeout_ms = 2000";
    assert!(text.contains(usual), "{file} has the usual timeout");
    let text = text
        .replace(usual, "timeout_ms = 60000")
        .replace("../../proto", &sample("../proto").display().to_string());
    let copy = dir.join(format!("{file}.toml"));
    fs::write(&copy, text).expect("a copy");
    copy
}

/// A client that goes to loopback, whatever proxy the machine has.
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// A sample of `config/`.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}
