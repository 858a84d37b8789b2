//! An adapter from its start to its end: connects its registers, plugs in or listens, and leaves in
//! order when it is told to.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use ura_proto::SystemId;
use ura_runtime::{
    clock::Clock,
    config::ConfigErrors,
    process::{self, Shutdown},
};

use crate::{
    bridge::{BridgeError, Bridged},
    config::{Config, Link},
    declared::Declared,
    identity::{Identities, IdentityError},
    listen::{Listen, ListenError},
    plug::Plug,
    serve::{PartsError, ServiceBuilder, Stage, Verdict},
    spans::{self, Sending},
};

/// Why an adapter cannot start. Gateways that cannot be reached are no reason: it tries on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Adapter files are wrong; all of them are reported.
    #[error("{0}")]
    Contracts(ConfigErrors),
    /// A register cannot be used as declared.
    #[error("{0}")]
    Register(String),
    /// The identity folder cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The server behind the bridge cannot be plugged in.
    #[error("the bridge cannot start: {0}")]
    Bridge(#[from] BridgeError),
    /// The contracts do not go together.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Why an adapter did not get plugged in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPlugged {
    /// A gateway refuses contracts: each with its reason.
    #[error("the gateway refuses {0:?}")]
    Refused(BTreeMap<String, String>),
    /// The adapter ended before.
    #[error("the adapter has ended")]
    Ended,
}

/// A running adapter. Dropping it does not end it: the [`Shutdown`] does.
#[derive(Debug)]
pub struct Adapter {
    system: SystemId,
    contracts: Vec<String>,
    address: Option<SocketAddr>,
    verdict: watch::Receiver<Verdict>,
    task: JoinHandle<()>,
    /// Ends when the server behind the bridge has other contracts than before.
    outdated: Option<CancellationToken>,
}

impl Adapter {
    /// Who it is.
    #[must_use]
    pub fn system(&self) -> &SystemId {
        &self.system
    }

    /// Full names of its contracts, sorted.
    #[must_use]
    pub fn contracts(&self) -> &[String] {
        &self.contracts
    }

    /// Where it listens; `None` where it plugs in.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What the gateways say of its contracts, now and whenever that changes.
    #[must_use]
    pub fn verdict(&self) -> watch::Receiver<Verdict> {
        self.verdict.clone()
    }

    /// Waits until every contract is accepted by a gateway.
    ///
    /// # Errors
    /// [`NotPlugged::Refused`] as soon as a gateway refuses one.
    pub async fn plugged_in(&self) -> Result<(), NotPlugged> {
        let mut verdict = self.verdict.clone();
        let decided = verdict
            .wait_for(|verdict| {
                let accepted = |contract| verdict.accepted.contains(contract);
                !verdict.refused.is_empty() || self.contracts.iter().all(accepted)
            })
            .await
            .map_err(|_| NotPlugged::Ended)?;
        if decided.refused.is_empty() { Ok(()) } else { Err(NotPlugged::Refused(decided.refused.clone())) }
    }

    /// Waits until the server behind the bridge has other contracts than those that are plugged in; without a
    /// bridge, for ever.
    pub async fn outdated(&self) {
        match &self.outdated {
            Some(outdated) => outdated.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the adapter has left: told to drain, calls in flight finished.
    pub async fn finished(self) {
        if let Err(error) = self.task.await {
            tracing::error!(system = %self.system, %error, "the adapter ended abruptly");
        }
    }
}

/// Runs an adapter until it is told to leave. Where a server is bridged it is started anew whenever the
/// server comes back with other contracts.
///
/// # Errors
/// See [`StartError`].
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    loop {
        let this = shutdown.child();
        let adapter = match start(config.clone(), this.clone()).await {
            Err(StartError::Bridge(BridgeError::Stopped(_))) => return Ok(()),
            started => started?,
        };
        let leaving = tokio::select! {
            () = adapter.outdated() => false,
            () = shutdown.draining() => true,
        };
        this.drain();
        adapter.finished().await;
        if leaving {
            return Ok(());
        }
    }
}

/// Starts an adapter that serves the contracts of its configuration: the declared ones, and those of the
/// server behind its bridge. Waits for that server, where it is to tell its contracts itself.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config, shutdown: Shutdown) -> Result<Adapter, StartError> {
    let mut files = Vec::new();
    let mut problems: Option<ConfigErrors> = None;
    for path in &config.contracts {
        match Declared::load(path) {
            Ok(file) => files.push(file),
            Err(more) => {
                problems = Some(match problems {
                    Some(problems) => problems.and(more),
                    None => more,
                });
            }
        }
    }
    if let Some(problems) = problems {
        return Err(StartError::Contracts(problems));
    }
    let mut services = ServiceBuilder::new();
    for file in files {
        let register = file.connect().await.map_err(|error| StartError::Register(process::chain(&error)))?;
        let health = register.health();
        services = services.handler(file.contract(), file.descriptor_set(), register, health)?;
    }
    let mut outdated = None;
    if let Some(bridge) = &config.bridge {
        let bridged = Bridged::open(bridge, &config.limits, &config.system, &shutdown).await?;
        let (all, token) = bridged.serve(services)?;
        (services, outdated) = (all, Some(token));
    }
    Ok(Adapter { outdated, ..serve(config, services, shutdown).await? })
}

/// Starts an adapter that serves these contracts; `config.contracts` is not read. For adapters
/// written in Rust.
///
/// # Errors
/// See [`StartError`].
pub async fn serve(
    config: Config,
    services: ServiceBuilder,
    shutdown: Shutdown,
) -> Result<Adapter, StartError> {
    let system = config.system;
    let identities = Arc::new(Identities::open(&config.identity, system.clone())?);
    let (stage, stages) = watch::channel(Stage::Serving);
    let parts = services.build(system.clone(), config.limits)?;
    let tasks = TaskTracker::new();
    let mut spans: Option<Spans> = None;
    let address = match config.link {
        Link::Plug(gateways) => {
            if config.telemetry.relayed {
                let sending = Sending {
                    system: system.clone(),
                    identities: Arc::clone(&identities),
                    gateway_id: config.gateway_id.clone(),
                    gateways: gateways.clone(),
                    proxy: config.proxy.clone(),
                    connect_timeout_ms: parts.limits().connect_timeout_ms,
                };
                let (over, told) = oneshot::channel();
                spans = Some((tokio::spawn(spans::send(sending, told)), over));
            }
            let plug = Plug {
                parts: Arc::clone(&parts),
                identities,
                gateway_id: config.gateway_id,
                proxy: config.proxy,
                stage: stages,
                tasks: tasks.clone(),
                clock: Clock::system(),
            };
            plug.start(gateways);
            None
        }
        Link::Listen(address) => {
            let listen = Listen {
                parts: Arc::clone(&parts),
                identities,
                gateway_id: config.gateway_id,
                stage: stages,
                tasks: tasks.clone(),
                clock: Clock::system(),
            };
            Some(listen.start(address).await?)
        }
    };
    let contracts = parts.contracts().to_vec();
    let listens = address.map(tracing::field::display);
    tracing::info!(%system, ?contracts, address = listens, "adapter started");
    let notice = Duration::from_millis(parts.limits().drain_notice_ms);
    let task = tokio::spawn(leave(system.clone(), stage, tasks, notice, shutdown, spans));
    Ok(Adapter { system, contracts, address, verdict: parts.verdicts().subscribe(), task, outdated: None })
}

/// The task that sends spans, and the word that there will be no more calls.
type Spans = (JoinHandle<()>, oneshot::Sender<()>);

/// Waits for the word to leave, then leaves: health first, then no new calls, then the last reply.
async fn leave(
    system: SystemId,
    stage: watch::Sender<Stage>,
    tasks: TaskTracker,
    notice: Duration,
    shutdown: Shutdown,
    spans: Option<Spans>,
) {
    shutdown.draining().await;
    tracing::info!(%system, "leaving");
    stage.send_replace(Stage::Leaving);
    tokio::select! {
        () = sleep(notice) => {}
        () = shutdown.expired() => {}
    }
    stage.send_replace(Stage::Closing);
    tasks.close();
    tokio::select! {
        () = tasks.wait() => tracing::info!(%system, "left"),
        () = shutdown.expired() => tracing::warn!(%system, "left with calls in flight"),
    }
    if let Some((sending, over)) = spans {
        drop(over);
        drop(sending.await);
    }
}
