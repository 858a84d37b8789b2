//! What becomes of spans in this gateway: its own and its members' go to the store and to the collector. Starts
//! and ends that; knows no exchange and no caller.

use std::time::Duration;

use tokio::{sync::oneshot, task::JoinHandle};
use ura_evidence::store::Address;
use ura_runtime::{
    clock::Clock,
    telemetry::relay::{self, Relayed},
};
use ura_traces::{
    admit,
    forward::{EndpointError, collector, forward},
    queue::{Sink, queues},
    store::{empty, keep},
};

use crate::config::GatewayConfig;

/// At the end: time for what waits to reach the store and the collector.
const LEAVING_MAX: Duration = Duration::from_secs(3);

/// The queues, and what empties them.
pub(crate) struct Traces {
    sink: Sink,
    tasks: Vec<JoinHandle<()>>,
    /// The spans of this process, and the word that no more will come.
    own: Option<(JoinHandle<()>, oneshot::Sender<()>)>,
}

impl Traces {
    /// Starts keeping and forwarding, as the configuration says; `system` is the gateway.
    ///
    /// # Errors
    /// `otlp_endpoint` is no address.
    pub(crate) fn start(
        system: &str,
        evidence: &Address,
        config: &GatewayConfig,
        clock: Clock,
    ) -> Result<Self, EndpointError> {
        let channel = config.telemetry.otlp_endpoint.as_deref().map(collector).transpose()?;
        let (sink, to_store, to_collector) = queues(config.traces.kept_bytes_max > 0, channel.is_some());
        let mut tasks = Vec::new();
        if let Some(waiting) = to_store {
            tasks.push(tokio::spawn(keep(waiting, evidence.clone(), config.traces, clock)));
        } else {
            let evidence = evidence.clone();
            // None is to be kept: those of before go too.
            tasks.push(tokio::spawn(async move {
                if let Err(error) = empty(&evidence).await {
                    tracing::warn!(%error, "the spans that were kept before are still there");
                }
            }));
        }
        if let (Some(waiting), Some(channel)) = (to_collector, channel) {
            tasks.push(tokio::spawn(forward(waiting, channel)));
        }
        let own = relay::take().map(|relayed| {
            let (over, told) = oneshot::channel();
            (tokio::spawn(bring(relayed, system.to_owned(), sink.clone(), told)), over)
        });
        Ok(Self { sink, tasks, own })
    }

    /// Where spans are brought to.
    pub(crate) fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Waits until what was brought is kept and forwarded, for a bounded time. Nobody may bring more.
    pub(crate) async fn finished(self) {
        let Self { sink, mut tasks, own } = self;
        let counters = sink.counters().clone();
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        let leaving = async {
            if let Some((bringing, over)) = own {
                drop(over);
                drop(bringing.await);
            }
            drop(sink);
            for task in &mut tasks {
                drop(task.await);
            }
        };
        if tokio::time::timeout(LEAVING_MAX, leaving).await.is_err() {
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
            tracing::warn!("the last spans did not reach the store or the collector in time");
        }
        tracing::debug!(?counters, dropped = relay::dropped(), "spans");
    }
}

/// Brings the process's own spans until it is told that no more will come.
async fn bring(mut relayed: Relayed, system: String, sink: Sink, mut over: oneshot::Receiver<()>) {
    loop {
        let (spans, last) = tokio::select! {
            spans = relayed.next() => (spans, false),
            _ = &mut over => (relayed.rest().await, true),
        };
        sink.bring(&system, admit::own(&system, spans));
        if last {
            return;
        }
    }
}
