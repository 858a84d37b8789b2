//! The gateway: one port on which consumers ask and adapters plug in.
//!
//! A connection's certificate says who is at its other end and its ALPN says in which role: `h2`
//! asks, `ura-plug` answers. See `exchange` for the path of a call.

mod admin;
mod call;
pub mod config;
mod directory;
mod error;
mod evidence;
mod exchange;
mod forward;
mod meter;
mod metrics;
mod plug;
mod policy;
mod serve;
mod traces;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::ServerConfig;
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use ura_evidence::{
    seal::{WatchOthers, watch_others},
    store::Address,
    writer::{Evidence, EvidenceError, OpenAs, WriterThread},
};
use ura_proto::SystemId;
use ura_runtime::{
    clock::Clock,
    config::ConfigErrors,
    metrics::MetricsConfig,
    process::Shutdown,
    tls::{Identity, Listener, ListenerCounters, TlsError},
};

pub use directory::{Outline, check as check_directory};

use call::{body::HeldBytes, span::Sampling};
use config::GatewayConfig;
use directory::Directory;
use evidence::directory_change;
use exchange::{Bus, Own, OwnService};
use meter::Meters;
use plug::{Local, Plugs};
use traces::Traces;

/// Protocols of the port: consumers, adapters.
const ALPN: [&[u8]; 2] = [b"h2", b"ura-plug"];

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The directory file.
    #[error("{0}")]
    Directory(#[from] ConfigErrors),
    /// The gateway's certificate.
    #[error("identity {path}: {source}")]
    Identity {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<TlsError>,
    },
    /// The certificate names a system that the directory does not know as a gateway.
    #[error(
        "{0} does not have the role gateway in the directory; enter it in [[systems]], or use the gateway's own identity"
    )]
    NotGateway(String),
    /// Evidence.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The collector of spans.
    #[error(transparent)]
    Traces(#[from] ura_traces::forward::EndpointError),
    /// The port.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    traces: Traces,
    writer: WriterThread,
}

impl Gateway {
    /// Starts a gateway; it runs until `shutdown` drains. When this returns, it listens.
    ///
    /// # Errors
    /// [`GatewayError`]: a gateway does not start on a directory with errors, without its identity,
    /// or on an evidence store that does not sync.
    pub async fn start(
        config: GatewayConfig,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<Self, GatewayError> {
        let seen = serve::stamp(&config.identity);
        let (server_config, identity) = own_identity(&config.identity)?;
        let (directory, watched) = Directory::open(&config.directory)?;
        let system = gateway_system(&identity, &directory).map_err(GatewayError::NotGateway)?;
        let shown = before_the_log(&config)?;
        let (evidence, writer) =
            Evidence::open(&config.evidence, open_as(&config, &system, &directory), clock.clone()).await?;
        let watch = WatchOthers::new(&config.evidence, system.clone()).map_err(EvidenceError::from)?;
        let store = Address::parse(&config.evidence.store).map_err(EvidenceError::from)?;
        let traces = Traces::start(system.as_str(), &store, &config, clock.clone())?;
        let sources = admin::Sources::of(&evidence, store, directory.clone(), shutdown.clone());
        let listener = Listener::bind(config.listen, server_config, config.listener)
            .map_err(|source| GatewayError::Listen { address: config.listen, source })?;
        let address = listener.local_addr();
        let metrics_address = shown.as_ref().map(metrics::Place::address);
        let plugs = Arc::new(Plugs::new(config.limits.calls_per_plug_max));
        let bus = Arc::new(Bus {
            own: own_services(&sources, &plugs, &traces),
            directory: directory.clone(),
            evidence: evidence.clone(),
            plugs: plugs.clone(),
            calls: Arc::new(Semaphore::new(config.limits.calls_in_flight_max.min(Semaphore::MAX_PERMITS))),
            meters: Arc::new(Meters::new(config.limits.counted_pairs_max)),
            limits: Arc::new(config.limits),
            clock,
            shutdown: shutdown.clone(),
            held: HeldBytes::default(),
            sampling: Sampling::new(config.telemetry.sample_ratio, config.traces.slow_ms),
            started: Instant::now(),
        });
        let numbers = numbers(&bus, listener.counters(), &traces);
        let trust_domain = identity.spiffe_id().trust_domain.clone();
        tracing::info!(%address, trust_domain, version = %directory.load().version, "the gateway listens");
        let metadata_bytes_max = bus.limits.metadata_bytes_max;
        let mut tasks = vec![
            tokio::spawn(serve::follow_identity(
                config.identity.clone(),
                seen,
                (identity, serve::Own { peers: plugs.peers().clone(), system: system.clone() }),
                listener.reloader(),
                shutdown.clone(),
            )),
            tokio::spawn(look_after_logs(watch, evidence.clone(), shutdown.clone())),
            tokio::spawn(directory.clone().follow(watched, shutdown.clone(), move |change| {
                evidence.submit_kept(directory_change(change, evidence.clock().unix_us()));
            })),
            tokio::spawn(plug::answer_locally(
                Local {
                    system,
                    directory: directory.clone(),
                    plugs: plugs.clone(),
                    shutdown: shutdown.clone(),
                    metadata_bytes_max,
                },
                admin::subject_access_service(&sources),
                admin::descriptor_set("ura.v1.SubjectAccessService"),
            )),
            tokio::spawn(plug::dial(directory, plugs, config.identity, metadata_bytes_max, shutdown.clone())),
            tokio::spawn(serve::listen(listener, trust_domain, bus)),
        ];
        tasks.extend(shown.map(|place| tokio::spawn(metrics::show(place, numbers, shutdown))));
        Ok(Self { address, metrics_address, tasks, traces, writer })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are shown, if anywhere.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Waits for the end: every call answered or its time over, every record on disk.
    pub async fn finished(self) {
        for task in self.tasks {
            if task.await.is_err() {
                tracing::error!("a task of the gateway ended by a panic");
            }
        }
        self.traces.finished().await;
        let writer = self.writer;
        // The writer ends when the last exchange lets go of it.
        drop(tokio::task::spawn_blocking(move || writer.join()).await);
    }
}

/// Its certificate, and how it meets those who connect.
fn own_identity(path: &Path) -> Result<(Arc<ServerConfig>, Identity), GatewayError> {
    Identity::load(path)
        .and_then(|identity| Ok((identity.server_config(&ALPN)?, identity)))
        .map_err(|source| GatewayError::Identity { path: path.to_owned(), source: source.into() })
}

/// What must be possible before the log is taken over, so that a mistake relieves nobody: the place of its metrics,
/// which is returned, and the address of the collector.
fn before_the_log(config: &GatewayConfig) -> Result<Option<metrics::Place>, GatewayError> {
    if let Some(endpoint) = &config.telemetry.otlp_endpoint {
        ura_traces::forward::collector(endpoint)?;
    }
    config.metrics.map(|metrics| show_at(metrics, config.take_over)).transpose()
}

/// The place of its metrics.
fn show_at(config: MetricsConfig, take_over: bool) -> Result<metrics::Place, GatewayError> {
    metrics::Place::take(config, take_over)
        .map_err(|source| GatewayError::Listen { address: config.listen, source })
}

/// Where its metrics come from.
fn numbers(bus: &Bus, port: Arc<ListenerCounters>, traces: &Traces) -> metrics::Sources {
    metrics::Sources {
        directory: bus.directory.clone(),
        evidence: bus.evidence.clone(),
        plugs: bus.plugs.clone(),
        meters: bus.meters.clone(),
        limits: bus.limits.clone(),
        calls: bus.calls.clone(),
        held: bus.held.clone(),
        port,
        spans: traces.sink().counters().clone(),
    }
}

/// The gateway's own system, which the directory must know as one; else what the certificate names.
fn gateway_system(identity: &Identity, directory: &Directory) -> Result<SystemId, String> {
    let path = &identity.spiffe_id().path;
    SystemId::from_spiffe_path(path)
        .ok()
        .filter(|id| directory.load().systems.get(id).is_some_and(|system| system.gateway))
        .ok_or_else(|| path.trim_start_matches('/').to_owned())
}

/// As what the log is opened.
fn open_as(config: &GatewayConfig, system: &SystemId, directory: &Directory) -> OpenAs {
    let directory = directory.load();
    OpenAs {
        gateway: system.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        directory_version: directory.version.as_ref().to_owned(),
        directory_digest: directory.digest,
        take_over: config.take_over,
    }
}

/// Keeps the registry of logs, and seals those that nobody writes any more, until the drain.
async fn look_after_logs(watch: WatchOthers, evidence: Evidence, shutdown: Shutdown) {
    let clock = evidence.clock().clone();
    tokio::select! {
        never = watch_others(watch, move || evidence.origin(), clock) => match never {},
        () = shutdown.draining() => {}
    }
}

/// The services that the port has for members: beside health and reflection their evidence, and the collector of
/// their spans.
fn own_services(sources: &admin::Sources, plugs: &Arc<Plugs>, traces: &Traces) -> Own {
    let evidence =
        OwnService::new(admin::evidence_service(sources), admin::descriptor_set("ura.v1.EvidenceService"));
    let spans = OwnService::unreflected(admin::trace_service(
        sources.directory.clone(),
        traces.sink(),
        sources.clock.clone(),
    ));
    Own::new(sources.directory.clone(), plugs.clone(), sources.shutdown.clone(), vec![evidence, spans])
}
