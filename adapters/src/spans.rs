//! The adapter's spans on their way to its gateway, over an ordinary connection under its own identity. The bus is
//! its members' trace collector; what it cannot take in time is dropped and counted, and no call waits for it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

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
    telemetry::{
        relay,
        split::{count, split},
    },
    tls::SpiffeId,
};

use crate::{config::Proxy, identity::Identities, plug::Dial};

/// Protocol of a connection on which the adapter asks.
const ALPN: &[u8] = b"h2";
/// Spans of one request; the gateway takes 8192.
const PART_SPANS_MAX: usize = 2_048;
/// Bytes of one request; the gateway takes 4 MiB, in memory of its own.
const PART_BYTES_MAX: usize = 1 << 20;
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
    let client = TraceServiceClient::new(channel(sending)).send_compressed(CompressionEncoding::Gzip);
    let mut sender = Sender { client, system, failing: false, lost: 0 };
    // What was taken from the process and not yet sent. It stands here so that leaving does not lose it.
    let mut parts = VecDeque::new();
    loop {
        let sent = async {
            if parts.is_empty() {
                parts.extend(split(relayed.next().await, PART_SPANS_MAX, PART_BYTES_MAX));
            }
            while let Some(part) = parts.front() {
                sender.send(part).await;
                parts.pop_front();
            }
        };
        tokio::select! {
            biased;
            _ = &mut over => break,
            () = sent => {}
        }
    }
    let last = async {
        parts.extend(split(relayed.rest().await, PART_SPANS_MAX, PART_BYTES_MAX));
        while let Some(part) = parts.front() {
            sender.once(part).await;
            parts.pop_front();
        }
    };
    drop(tokio::time::timeout(LEAVING_MAX, last).await);
    sender.lost += parts.iter().map(|part| count(part)).sum::<usize>();
    if sender.lost > 0 || relay::dropped() > 0 {
        tracing::warn!(system = %sender.system, lost = sender.lost, dropped = relay::dropped(), "spans were lost");
    }
}

struct Sender {
    client: TraceServiceClient<Channel>,
    system: SystemId,
    failing: bool,
    /// Spans that the gateway did not take.
    lost: usize,
}

impl Sender {
    /// Sends spans until they are taken, refused for good or waited for too long.
    async fn send(&mut self, spans: &[ResourceSpans]) {
        let mut wait = WAIT_FIRST;
        loop {
            let error = match self.export(spans).await {
                Ok(()) => {
                    if std::mem::take(&mut self.failing) {
                        let (system, lost, dropped) = (&self.system, self.lost, relay::dropped());
                        tracing::info!(%system, lost, dropped, "the gateway takes spans again");
                    }
                    return;
                }
                Err(error) => error,
            };
            let again = matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled);
            if !again || wait > WAIT_MAX {
                return self.gave_up(spans, &error);
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    /// Sends spans once.
    async fn once(&mut self, spans: &[ResourceSpans]) {
        if let Err(error) = self.export(spans).await {
            self.gave_up(spans, &error);
        }
    }

    fn gave_up(&mut self, spans: &[ResourceSpans], error: &Status) {
        let spans = count(spans);
        self.lost += spans;
        if !std::mem::replace(&mut self.failing, true) {
            let (system, error, code) = (&self.system, error.message(), error.code());
            tracing::warn!(%system, spans, error, ?code, "the gateway did not take spans");
        }
    }

    /// One request. What the gateway rejects of it is lost.
    async fn export(&mut self, spans: &[ResourceSpans]) -> Result<(), Status> {
        let request = ExportTraceServiceRequest { resource_spans: spans.to_vec() };
        let answer = self.client.export(request).await?.into_inner();
        if let Some(partial) = answer.partial_success.filter(|partial| partial.rejected_spans > 0) {
            self.lost += usize::try_from(partial.rejected_spans).unwrap_or_default().min(count(spans));
            let (system, rejected, why) = (&self.system, partial.rejected_spans, partial.error_message);
            tracing::warn!(%system, rejected, why, "the gateway rejected spans");
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use opentelemetry_proto::tonic::{
        collector::trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
        trace::v1::{ScopeSpans, Span},
    };

    use super::*;

    /// A gateway that answers as it is told, then takes everything.
    struct Gateway(Mutex<VecDeque<Result<i64, Code>>>);

    #[tonic::async_trait]
    impl TraceService for Gateway {
        async fn export(
            &self,
            _: tonic::Request<ExportTraceServiceRequest>,
        ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
            let answer = self.0.lock().expect("no panic").pop_front().unwrap_or(Ok(0));
            let rejected_spans = answer.map_err(|code| Status::new(code, "told to"))?;
            let error_message = "told to".to_owned();
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
            Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success }))
        }
    }

    #[tokio::test]
    async fn what_is_not_taken_is_counted() {
        let (near, far) = tokio::io::duplex(64 << 10);
        let answers =
            [Ok(2), Err(Code::Unavailable), Ok(0), Err(Code::InvalidArgument), Err(Code::Unavailable)];
        let gateway = TraceServiceServer::new(Gateway(Mutex::new(answers.into())));
        let gateway = gateway.accept_compressed(CompressionEncoding::Gzip);
        let answer =
            hyper::service::service_fn(move |request| tower::ServiceExt::oneshot(gateway.clone(), request));
        let connection = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .serve_connection(TokioIo::new(far), answer);
        drop(tokio::spawn(connection));
        let mut near = Some(near);
        let connector = tower::service_fn(move |_: Uri| {
            let near = near.take().ok_or_else(|| std::io::Error::other("there is one connection"));
            std::future::ready(near.map(TokioIo::new))
        });
        let channel = Endpoint::from_static("http://gateway.ura").connect_with_connector_lazy(connector);
        let system = "arc/civil-status".parse().expect("valid");
        let client = TraceServiceClient::new(channel);
        let mut sender = Sender { client, system, failing: false, lost: 0 };
        let scope_spans = vec![ScopeSpans { spans: vec![Span::default(); 3], ..ScopeSpans::default() }];
        let spans = [ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        sender.send(&spans).await;
        assert_eq!(sender.lost, 2, "the gateway rejected two of three");
        sender.send(&spans).await;
        assert_eq!(sender.lost, 2, "sent again, they were taken");
        sender.send(&spans).await;
        assert_eq!(sender.lost, 5, "refused for good");
        sender.once(&spans).await;
        assert_eq!(sender.lost, 8);
    }
}
