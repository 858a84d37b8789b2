//! The adapter's spans on their way to its gateway, over an ordinary connection under its own identity. The bus is
//! its members' trace collector; what it cannot take in time is dropped and counted, and no call waits for it.

use std::{sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    trace::v1::ResourceSpans,
};
use tokio::sync::oneshot;
use tonic::{
    Code, Status,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint, Uri},
};
use ura_proto::SystemId;
use ura_runtime::{
    clock::Clock,
    telemetry::relay::{self, Relayed},
    tls::SpiffeId,
};

use crate::{config::Proxy, identity::Identities, plug::Dial};

/// Protocol of a connection on which the adapter asks.
const ALPN: &[u8] = b"h2";
/// An answer of the gateway.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The wait after the first failure; doubled after each.
const WAIT_FIRST: Duration = Duration::from_millis(200);
/// The longest wait; a batch is given up when it has been waited for so long.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// When the adapter leaves: time for its last spans.
const LEAVING_MAX: Duration = Duration::from_secs(1);

/// What spans are sent with.
pub(crate) struct Sending {
    pub(crate) system: SystemId,
    pub(crate) identities: Arc<Identities>,
    pub(crate) gateway_id: SpiffeId,
    /// `host:port` each.
    pub(crate) gateways: Vec<String>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) connect_timeout_ms: u64,
}

/// Sends this process's spans until `over`; returns at once where there are none to be had.
pub(crate) async fn send(sending: Sending, mut over: oneshot::Receiver<()>) {
    let Some(mut relayed) = relay::take() else { return };
    let system = sending.system.clone();
    let mut client = TraceServiceClient::new(channel(sending)).send_compressed(CompressionEncoding::Gzip);
    let mut failing = false;
    let mut lost = 0_usize;
    loop {
        let sent = tokio::select! {
            biased;
            _ = &mut over => break,
            sent = next(&mut relayed, &mut client) => sent,
        };
        match sent {
            Ok(()) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(%system, lost, dropped = relay::dropped(), "the gateway takes spans again");
                }
            }
            Err((spans, error)) => {
                lost += spans;
                if !std::mem::replace(&mut failing, true) {
                    let (error, code) = (error.message(), error.code());
                    tracing::warn!(%system, spans, error, ?code, "the gateway did not take spans");
                }
            }
        }
    }
    let last = async {
        let rest = relayed.rest().await;
        if !rest.is_empty() {
            let request = ExportTraceServiceRequest { resource_spans: rest };
            if let Err(error) = client.export(request).await {
                tracing::debug!(%system, error = error.message(), "the last spans were not taken");
            }
        }
    };
    drop(tokio::time::timeout(LEAVING_MAX, last).await);
}

/// Waits for the next spans and sends them; where that failed, how many they were and why.
async fn next(
    relayed: &mut Relayed,
    client: &mut TraceServiceClient<Channel>,
) -> Result<(), (usize, Status)> {
    let spans = relayed.next().await;
    let mut wait = WAIT_FIRST;
    loop {
        let request = ExportTraceServiceRequest { resource_spans: spans.clone() };
        let error = match client.export(request).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let again = matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled);
        if !again || wait > WAIT_MAX {
            return Err((count(&spans), error));
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

/// How many spans these are.
fn count(spans: &[ResourceSpans]) -> usize {
    spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
}

/// A connection to the first gateway that can be reached, made whenever one is needed.
fn channel(sending: Sending) -> Channel {
    let sending = Arc::new(sending);
    let connector = tower::service_fn(move |_: Uri| {
        let sending = Arc::clone(&sending);
        async move { connect(&sending).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://gateway.ura").timeout(ANSWER_MAX).connect_with_connector_lazy(connector)
}

async fn connect(
    sending: &Sending,
) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, std::io::Error> {
    let dial = Dial {
        identities: &sending.identities,
        gateway_id: &sending.gateway_id,
        proxy: sending.proxy.as_ref(),
        timeout: Duration::from_millis(sending.connect_timeout_ms),
        clock: &Clock::system(),
    };
    let mut problem = "there is no gateway to send them to".to_owned();
    for gateway in &sending.gateways {
        match dial.connect(gateway, ALPN).await {
            Ok(link) => return Ok(link.stream),
            Err(error) => problem = error,
        }
    }
    Err(std::io::Error::other(problem))
}
