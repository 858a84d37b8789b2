//! The numbers that Prometheus reads: gathered when it asks, from where they are kept anyway. Decides nothing
//! and changes nothing.
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

use std::sync::Arc;

use tokio::sync::Semaphore;
use ura_evidence::writer::Evidence;
use ura_runtime::{
    metrics::{MetricsListener, Page},
    process::Shutdown,
    tls::ListenerCounters,
};
use ura_traces::queue::Counters;

use crate::{call::body::HeldBytes, config::Limits, directory::Directory, meter::Meters, plug::Plugs};

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

/// Shows the numbers until the drain: a process that takes over shows its own from then on.
pub(crate) async fn show(listener: MetricsListener, sources: Sources, shutdown: Shutdown) {
    let address = listener.local_addr();
    process::started();
    tracing::info!(%address, "metrics are shown");
    tokio::select! {
        never = listener.serve(move || page(&sources)) => match never {},
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
