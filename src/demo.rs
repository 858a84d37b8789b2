//! `ura demo`: the whole bus in one process on free loopback ports. Mock registers, an adapter for
//! each, a gateway, and a portal that walks through what citizens do.

mod setup;
mod walk;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use ura_adapters::{config::Config, run};
use ura_gateway::{Gateway, config::GatewayConfig};
use ura_registry_mocks::{Mocks, MocksConfig};
use ura_runtime::{
    clock::Clock,
    process::{self, Shutdown},
    telemetry::TelemetryConfig,
};

use setup::{ADAPTERS, Folder};
use walk::Walk;

/// How long the parts may take to end, in milliseconds.
const DRAIN_TIMEOUT_MS: u64 = 20_000;

/// Run the whole bus on this machine
#[derive(Debug, clap::Args)]
pub(crate) struct DemoCommand {
    /// End after the walk; the exit code tells whether it went as it should
    #[arg(long)]
    once: bool,
    /// Keep the demo's files in this folder, and go on from them when it is started again
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address of the gateway
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// People in the mock registers, 100 to 2000000
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(100..=2_000_000))]
    people: usize,
    /// Seed of everybody in the mock registers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What to log, in the syntax of tracing's EnvFilter
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "warn,ura_adapters=error,ura_gateway::plug::offer=error"
    )]
    log: String,
}

/// Why a demo ends early.
type DemoError = Box<dyn std::error::Error + Send + Sync>;

/// The process skeleton wants one error type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Ended(DemoError);

impl DemoCommand {
    /// Runs until the walk has ended (`--once`) or a signal comes.
    pub(crate) fn run(self) -> ExitCode {
        let telemetry =
            TelemetryConfig { log_filter: self.log.clone(), relayed: true, ..TelemetryConfig::default() };
        process::run(&telemetry, "demo", DRAIN_TIMEOUT_MS, async move |shutdown| {
            // A folder of its own goes with the demo; one that was asked for stays.
            let temporary = if self.dir.is_none() {
                Some(tempfile::Builder::new().prefix("ura-demo-").tempdir().map_err(|e| Ended(e.into()))?)
            } else {
                None
            };
            let path = self
                .dir
                .clone()
                .or_else(|| temporary.as_ref().map(|dir| dir.path().to_path_buf()))
                .unwrap_or_default();
            self.play(path, shutdown).await.map_err(Ended)
        })
    }

    async fn play(self, path: PathBuf, shutdown: Shutdown) -> Result<(), DemoError> {
        let folder = Folder::open(path)?;
        say(&format!("folder {}", folder.path("").display()))?;
        say("making keys and certificates")?;
        folder.make_pki()?;
        folder.write_contracts()?;
        folder.write_directory()?;

        let registers = folder.path("registers");
        std::fs::create_dir_all(&registers)?;
        let civil = format!("sqlite:{}", registers.join("gjendja-civile.db").display());
        let mocks = MocksConfig::new(self.seed, self.people, civil);
        let mocks = Mocks::start(mocks, |line| drop(say(line))).await?;

        let gateway = GatewayConfig::load(&folder.write_gateway(&self.listen.to_string())?)?;
        let store = gateway.evidence.store.clone();
        let gateway = Gateway::start(gateway, Clock::system(), shutdown.clone()).await?;
        let address = gateway.address().to_string();
        say(&format!("gateway listens on {address}"))?;

        let mut adapters = Vec::new();
        let urls = [mocks.civil_status_url(), mocks.tax_url(), mocks.vehicles_url()];
        for (adapter, url) in ADAPTERS.iter().zip(urls) {
            let config = Config::load(&folder.write_adapter(adapter, &url, &address)?)?;
            let running = run::start(config, shutdown.clone()).await?;
            running.plugged_in().await?;
            say(&format!("{} plugged in: {}", running.system(), running.contracts().join(", ")))?;
            adapters.push(running);
        }

        let walk = Walk::new(&folder, &address, &mocks, &store);
        let went = tokio::select! {
            went = walk.all() => went?,
            () = shutdown.draining() => true,
        };
        if !self.once && !shutdown.is_draining() {
            hints(&folder, &address, &mocks)?;
            shutdown.draining().await;
        }
        shutdown.drain();
        for adapter in adapters {
            adapter.finished().await;
        }
        gateway.finished().await;
        mocks.shutdown().await;
        if went { Ok(()) } else { Err("the walk did not go as it should".into()) }
    }
}

/// A line of progress.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "  {line}")?;
    out.flush()
}

/// What to try next, as lines that can be pasted in another shell.
fn hints(folder: &Folder, gateway: &str, mocks: &Mocks) -> Result<(), DemoError> {
    let people = mocks.people();
    let child = people.child().ok_or("the mock registers have no child")?;
    let invoice = people.unpaid_invoice().ok_or("the mock registers have no unpaid invoice")?;
    let vehicle = people.vehicle().ok_or("the mock registers have no vehicle")?;
    let ura = std::env::current_exe()?.display().to_string();
    let portal = folder.identity("ais/portal").display().to_string();
    let questions = [
        (
            "ks.civilstatus.v1.CivilStatusService/GetBirthCertificate",
            "birth-certificate",
            format!(r#"{{"personal_number":"{}"}}"#, child.personal_number),
        ),
        (
            "ks.tax.v1.PropertyTaxService/GetInvoice",
            "property-tax",
            format!(r#"{{"uniref":"{}"}}"#, invoice.uniref),
        ),
        (
            "ks.vehicles.v1.VehicleService/GetVehicle",
            "vehicle-documents",
            format!(r#"{{"plate":"{}"}}"#, vehicle.plate),
        ),
    ];
    let mut out = io::stdout().lock();
    writeln!(out, "\nThe bus stays up until Ctrl-C. In another shell:\n")?;
    for (method, purpose, json) in &questions {
        writeln!(
            out,
            "{ura} call {method} --gateway {gateway} --identity {portal} --purpose {purpose} -d '{json}'\n"
        )?;
    }
    writeln!(out, "The same with buf, which knows nothing of this bus:\n")?;
    for (method, purpose, json) in &questions {
        writeln!(
            out,
            "buf curl --protocol grpc --cacert {portal}/ca.pem --cert {portal}/cert.pem --key {portal}/key.pem \
             -H 'ura-purpose: {purpose}' -d '{json}' https://{gateway}/{method}\n"
        )?;
    }
    writeln!(out, "With -v a call also prints its exchange id; what was recorded of it:\n")?;
    let dir = folder.path("").display().to_string();
    writeln!(out, "{ura} evidence find EXCHANGE --dir {dir}\n")?;
    writeln!(out, "Whether the whole record is as it was signed:\n\n{ura} evidence verify --dir {dir}\n")?;
    writeln!(out, "Who may ask what stands in {};", folder.path("config/directory.toml").display())?;
    writeln!(
        out,
        "a change takes effect within a second. Delays and outages of the registers: docs/mocks.md, at"
    )?;
    writeln!(out, "{}", mocks.control_url())?;
    out.flush()?;
    Ok(())
}
