//! The numbers that Prometheus reads: gathered when it asks, from where they are kept anyway. Decides nothing;
//! what it finds changed of a service's health is logged, as by anybody else who looks.
//!
//! Every name that a label can take comes from the directory or from this program: `_other` stands for what
//! the directory does not know, `_none` for what an exchange did not come to know. The one exception is the
//! directory's own version, of which there is one at a time. docs/operators.md has the table of all.

mod bus;
mod evidence;
mod exchanges;
mod process;
mod services;
mod spans;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use ura_evidence::writer::Evidence;
use ura_runtime::{
    metrics::{MetricsConfig, MetricsListener, Page},
    process::Shutdown,
    tls::ListenerCounters,
};
use ura_traces::queue::Counters;

use crate::{call::body::HeldBytes, config::Limits, directory::Directory, meter::Meters, plug::Plugs};

/// How often an address that is taken is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// Where the numbers come from.
pub(crate) struct Sources {
    /// What is decided by.
    pub(crate) directory: Directory,
    /// The log.
    pub(crate) evidence: Evidence,
    /// Who answers.
    pub(crate) plugs: Arc<Plugs>,
    /// What exchanges were counted as.
    pub(crate) meters: Arc<Meters>,
    /// What may be.
    pub(crate) limits: Arc<Limits>,
    /// Places for calls in hand.
    pub(crate) calls: Arc<Semaphore>,
    /// Request bytes held.
    pub(crate) held: HeldBytes,
    /// What the port has seen.
    pub(crate) port: Arc<ListenerCounters>,
    /// What became of spans.
    pub(crate) spans: Arc<Counters>,
}

/// Where numbers are to be shown.
pub(crate) enum Place {
    /// Here.
    Bound(MetricsListener),
    /// Here, as soon as the process that is relieved lets go of it: when it drains.
    Taken(MetricsConfig),
}

impl Place {
    /// Takes the place; with `take_over` it may be the other process's for now.
    ///
    /// # Errors
    /// What the system says, such as an address in use by somebody else.
    pub(crate) fn take(config: MetricsConfig, take_over: bool) -> io::Result<Self> {
        match MetricsListener::bind(config) {
            Err(error) if take_over && error.kind() == io::ErrorKind::AddrInUse => Ok(Self::Taken(config)),
            bound => bound.map(Self::Bound),
        }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Bound(listener) => listener.local_addr(),
            Self::Taken(config) => config.listen,
        }
    }

    async fn bound(self) -> MetricsListener {
        let config = match self {
            Self::Bound(listener) => return listener,
            Self::Taken(config) => config,
        };
        tracing::info!(address = %config.listen, "metrics are shown once the process before lets go of the address");
        loop {
            tokio::time::sleep(AGAIN).await;
            if let Ok(listener) = MetricsListener::bind(config) {
                return listener;
            }
        }
    }
}

/// Shows the numbers until the drain: a process that takes over shows its own from then on.
pub(crate) async fn show(place: Place, sources: Sources, shutdown: Shutdown) {
    process::started();
    let shown = async {
        let listener = place.bound().await;
        tracing::info!(address = %listener.local_addr(), "metrics are shown");
        listener.serve(move || page(&sources)).await
    };
    tokio::select! {
        never = shown => match never {},
        () = shutdown.draining() => {}
    }
}

/// The page as it is now.
fn page(sources: &Sources) -> Page {
    let mut page = Page::default();
    exchanges::put(&mut page, sources);
    services::put(&mut page, sources);
    evidence::put(&mut page, &sources.evidence);
    bus::put(&mut page, sources);
    spans::put(&mut page, &sources.spans);
    process::put(&mut page);
    page
}

/// Whole seconds and their fraction of microseconds since 1970.
fn seconds(unix_us: i64) -> String {
    format!("{}.{:06}", unix_us.div_euclid(1_000_000), unix_us.rem_euclid(1_000_000))
}
