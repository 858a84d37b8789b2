//! A server that reflects one contract, gives every request's messages back, and tells what it saw.

use std::{convert::Infallible, path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{Mutex, mpsc, watch};
use tonic::{body::Body, codegen::Service as _};
use ura_proto::contract::Contract;
use ura_runtime::tls::{Accepted, Identity, Listener, ListenerLimits};

pub(super) const CONTRACT: &str = "t.v1.EchoService";

/// A contract that health knows and reflection does not.
pub(super) const UNPLUGGED: &str = "t.v1.UnpluggedService";

const PROTO: &str = r#"syntax = "proto3"; package t.v1;
    message Note { string text = 1; }
    service EchoService {
      rpc One(Note) returns (Note) { option idempotency_level = NO_SIDE_EFFECTS; }
      rpc Write(Note) returns (Note);
      rpc Up(stream Note) returns (Note);
      rpc Down(Note) returns (stream Note);
      rpc Both(stream Note) returns (stream Note);
      rpc Refuse(Note) returns (Note);
      rpc Vanish(Note) returns (Note);
    }"#;

/// What the server saw of a call of the contract.
pub(super) enum Seen {
    Head(HeaderMap),
    Whole,
    Broken,
}

pub(super) struct Echo {
    address: String,
    seen: Mutex<mpsc::UnboundedReceiver<Seen>>,
}

/// What every call is served with.
struct Serving {
    descriptor_set: Vec<u8>,
    seen: mpsc::UnboundedSender<Seen>,
}

impl Echo {
    pub(super) fn start(identity: &Path) -> Self {
        let proto = identity.join("echo.proto");
        std::fs::write(&proto, PROTO).expect("temporary folder");
        let contract = Contract::from_proto(CONTRACT, &proto, &[]).expect("compiles");
        let config =
            Identity::load(identity).and_then(|own| own.server_config(&[b"h2"])).expect("an identity");
        let any_port = "127.0.0.1:0".parse().expect("an address");
        let mut listener = Listener::bind(any_port, config, ListenerLimits::default()).expect("a free port");
        let address = listener.local_addr().to_string();
        let (sender, seen) = mpsc::unbounded_channel();
        let serving = Arc::new(Serving { descriptor_set: contract.descriptor_set, seen: sender });
        tokio::spawn(async move {
            loop {
                tokio::spawn(serve(listener.accept().await, Arc::clone(&serving)));
            }
        });
        Self { address, seen: Mutex::new(seen) }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What was seen next.
    pub(super) async fn next(&self) -> Seen {
        self.seen.lock().await.recv().await.expect("the server runs")
    }
}

/// Serves a connection until it ends or a call makes it vanish.
async fn serve(accepted: Accepted, serving: Arc<Serving>) {
    let (vanish, mut vanished) = watch::channel(false);
    let vanish = Arc::new(vanish);
    let service = service_fn(move |request| answer(request, Arc::clone(&serving), Arc::clone(&vanish)));
    let connection =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(accepted.stream), service);
    tokio::select! {
        _ = connection => {}
        _ = vanished.wait_for(|vanished| *vanished) => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    serving: Arc<Serving>,
    vanish: Arc<watch::Sender<bool>>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.starts_with("/grpc.reflection.v1.") {
        let builder = tonic_reflection::server::Builder::configure();
        let built = builder.register_encoded_file_descriptor_set(&serving.descriptor_set).build_v1();
        return built.expect("descriptors").call(request).await;
    }
    if path.starts_with("/grpc.health.v1.") {
        let (reporter, mut service) = tonic_health::server::health_reporter();
        reporter.set_service_status(UNPLUGGED, tonic_health::ServingStatus::NotServing).await;
        return service.call(request).await;
    }
    let (head, body) = request.into_parts();
    drop(serving.seen.send(Seen::Head(head.headers)));
    match path.rsplit('/').next() {
        Some("Refuse") => {
            let mut status = tonic::Status::permission_denied("no ë");
            status.metadata_mut().insert("ura-exchange-id", "0190".parse().expect("ASCII"));
            Ok(status.into_http())
        }
        Some("Vanish") => {
            vanish.send_replace(true);
            std::future::pending().await
        }
        _ => Ok(echo(body, serving)),
    }
}

/// The messages as they come, then status 0; a request that breaks breaks the reply.
fn echo(mut body: Incoming, serving: Arc<Serving>) -> Response<Body> {
    let (frames, receiver) = mpsc::channel::<Result<http_body::Frame<Bytes>, tonic::Status>>(4);
    tokio::spawn(async move {
        loop {
            let frame = match body.frame().await {
                Some(Ok(frame)) => Ok(frame),
                None if body.is_end_stream() => break,
                _ => {
                    drop(serving.seen.send(Seen::Broken));
                    drop(frames.send(Err(tonic::Status::cancelled("broken"))).await);
                    return;
                }
            };
            drop(frames.send(frame).await);
        }
        drop(serving.seen.send(Seen::Whole));
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        drop(frames.send(Ok(http_body::Frame::trailers(trailers))).await);
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut response = Response::new(Body::new(http_body_util::StreamBody::new(stream)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
