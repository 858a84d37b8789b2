//! A gateway as an adapter sees one: takes plugs on a TLS port and becomes the HTTP/2 client.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::server::TlsStream;
use tonic::{Request, Response, Status, Streaming, body::Body, client::Grpc};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tonic_prost::ProstCodec;
use tower::Service;
use ura_proto::v1::{ReportRequest, plug_service_client::PlugServiceClient};
use ura_runtime::tls::{Listener, ListenerLimits, Peer};

use crate::pki::Pki;

/// Small, so that backpressure is felt early.
pub const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const ORIGIN: &str = "http://adapter";

pub struct Gateway {
    listener: Listener,
}

impl Gateway {
    pub fn new(pki: &Pki) -> Self {
        let identity = pki.identity("ais/gateway");
        let config = identity.server_config(&[b"ura-plug"]).expect("a server");
        let address = "127.0.0.1:0".parse().expect("an address");
        let listener = Listener::bind(address, config, ListenerLimits::default()).expect("bound");
        Self { listener }
    }

    pub fn address(&self) -> String {
        self.listener.local_addr().to_string()
    }

    /// Waits until so many peers have broken the handshake off.
    pub async fn refused_by_peers(&mut self, peers: u64) {
        let counters = self.listener.counters();
        while counters.handshake_failed.load(Ordering::Relaxed) < peers {
            tokio::select! {
                _ = self.listener.accept() => unreachable!("it took us for its gateway"),
                () = tokio::task::yield_now() => {}
            }
        }
    }

    /// The next plug.
    pub async fn plug(&mut self) -> Plugged {
        let accepted = self.listener.accept().await;
        assert_eq!(accepted.alpn.as_deref(), Some(&b"ura-plug"[..]));
        Plugged::new(accepted.stream, accepted.peer).await
    }

    /// The next connection, on which nothing was said yet.
    pub async fn take(&mut self) -> TlsStream<TcpStream> {
        self.listener.accept().await.stream
    }

    /// The next plug, accepted for `contracts`.
    pub async fn accept(&mut self, contracts: &[&str]) -> Plugged {
        let plugged = self.plug().await;
        plugged.report(contracts).await;
        plugged
    }
}

/// Dials a listening adapter.
pub async fn dial(pki: &Pki, system: &str, adapter: &str, address: SocketAddr) -> Plugged {
    let id = format!("spiffe://td.test/{adapter}").parse().expect("an id");
    let config =
        pki.identity(system).client_config(&[b"h2"], ura_runtime::tls::Verify::Spiffe(id)).expect("a client");
    let limit = std::time::Duration::from_secs(10);
    let (stream, peer) =
        ura_runtime::tls::connect(&address.to_string(), config, limit).await.expect("a connection");
    Plugged::new(stream, peer).await
}

/// A connection on which the gateway asks.
pub struct Plugged {
    pub conn: Conn,
    pub peer: Peer,
    pub task: JoinHandle<hyper::Result<()>>,
}

impl Plugged {
    async fn new<IO>(io: IO, peer: Peer) -> Self
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .handshake(TokioIo::new(io))
            .await
            .expect("HTTP/2");
        Self { conn: Conn(sender), peer, task: tokio::spawn(connection) }
    }

    /// Vanishes, as a killed gateway does.
    pub async fn vanish(self) {
        self.task.abort();
        drop(self.task.await);
    }

    pub fn control(&self) -> PlugServiceClient<Conn> {
        PlugServiceClient::with_origin(self.conn.clone(), ORIGIN.parse().expect("a URI"))
    }

    pub async fn report(&self, contracts: &[&str]) {
        let accepted = contracts.iter().map(|&name| name.to_owned()).collect();
        let request = ReportRequest { accepted, ..ReportRequest::default() };
        self.control().report(request).await.expect("taken");
    }

    pub async fn watch(&self, contract: &str) -> Streaming<HealthCheckResponse> {
        let mut client = HealthClient::with_origin(self.conn.clone(), ORIGIN.parse().expect("a URI"));
        let request = HealthCheckRequest { service: contract.to_owned() };
        client.watch(request).await.expect("a watch").into_inner()
    }

    /// Asks as an exchange would.
    pub async fn unary<Q, R>(&self, method: &'static str, message: Q) -> Result<R, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let answer = self.raw_unary(method, exchange(message)).await;
        answer.map(Response::into_inner)
    }

    pub async fn raw_unary<Q, R>(
        &self,
        method: &'static str,
        request: Request<Q>,
    ) -> Result<Response<R>, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let codec: ProstCodec<Q, R> = ProstCodec::default();
        let path = http::uri::PathAndQuery::from_static(method);
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        grpc.unary(request, path, codec).await
    }

    pub async fn stream<Q, R>(
        &self,
        method: &'static str,
        request: Request<Q>,
    ) -> Result<Streaming<R>, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let codec: ProstCodec<Q, R> = ProstCodec::default();
        let path = http::uri::PathAndQuery::from_static(method);
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = grpc.server_streaming(request, path, codec).await;
        answer.map(Response::into_inner)
    }

    pub fn grpc(&self) -> Grpc<Conn> {
        Grpc::with_origin(self.conn.clone(), ORIGIN.parse().expect("a URI"))
    }
}

/// A request with the metadata that the gateway writes.
pub fn exchange<Q>(message: Q) -> Request<Q> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("ura-consumer", "ais/portal".parse().expect("ASCII"));
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    metadata.insert("ura-exchange-id", id.parse().expect("ASCII"));
    request
}

/// An HTTP/2 client connection as tonic's clients want it.
#[derive(Clone)]
pub struct Conn(http2::SendRequest<Body>);

impl Service<http::Request<Body>> for Conn {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
