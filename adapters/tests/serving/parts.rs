//! What goes together in one adapter: handlers, typed services, and what does not.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{ClientStreamingService, Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::Service;
use ura_adapters::{
    Caller,
    config::Link,
    run,
    serve::{PartsError, ServiceBuilder},
};
use ura_runtime::process::Shutdown;

use crate::{
    gateway::{Gateway, exchange},
    pki::Pki,
    world::{self, CountRequest, CountResponse, ECHO, Echo, SAY, SayResponse, say},
};

const SUM: &str = "test.v1.SumService";

/// What a generated server comes down to.
#[derive(Clone)]
struct SumServer;

impl NamedService for SumServer {
    const NAME: &'static str = SUM;
}

impl ClientStreamingService<CountRequest> for SumServer {
    type Response = CountResponse;
    type Future = BoxFuture<'static, Result<Response<CountResponse>, Status>>;

    fn call(&mut self, request: Request<Streaming<CountRequest>>) -> Self::Future {
        Box::pin(async move {
            let consumer = Caller::of(&request).ok().map(|caller| caller.consumer().to_owned());
            let mut requests = request.into_inner();
            let mut number = 0;
            while let Some(request) = requests.try_next().await? {
                number += request.numbers;
            }
            let padding = consumer.unwrap_or_default().into_bytes();
            Ok(Response::new(CountResponse { number, padding }))
        })
    }
}

impl Service<http::Request<Body>> for SumServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let codec: ProstCodec<CountResponse, CountRequest> = ProstCodec::default();
            Ok(Grpc::new(codec).client_streaming(service, request).await)
        })
    }
}

#[tokio::test]
async fn a_typed_service_runs_beside_a_handler() {
    let pki = Pki::new();
    let mut gateway = Gateway::new(&pki);
    let set = world::descriptor_set(&pki);
    let services = world::services(&set).typed(SumServer, &set, None).expect("fits");
    let link = Link::Plug(vec![gateway.address()]);
    let config = world::config(pki.issue("arc/echo"), link);
    let adapter = run::serve(config, services, Shutdown::new()).await.expect("started");
    assert_eq!(adapter.contracts(), [ECHO, SUM]);

    let plug = gateway.plug().await;
    let reply: SayResponse = plug.unary(SAY, say("beside")).await.expect("answered");
    assert_eq!(reply.text, "beside");
    let numbers = (1..=4).map(|numbers| CountRequest { numbers });
    let mut grpc = plug.grpc();
    grpc.ready().await.expect("ready");
    let codec: ProstCodec<CountRequest, CountResponse> = ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static("/test.v1.SumService/Sum");
    let request = exchange(tokio_stream::iter(numbers));
    let sum = grpc.client_streaming(request, path, codec).await.expect("answered").into_inner();
    assert_eq!(sum.number, 10);
    assert_eq!(sum.padding, b"ais/portal");
}

#[tokio::test]
async fn parts_that_do_not_go_together_are_refused() {
    let pki = Pki::new();
    let set = world::descriptor_set(&pki);
    let start = async |services: ServiceBuilder| {
        let link = Link::Plug(vec!["127.0.0.1:1".to_owned()]);
        let config = world::config(pki.issue("arc/echo"), link);
        run::serve(config, services, Shutdown::new()).await.expect_err("refused").to_string()
    };

    let health = watch::Sender::new(true).subscribe();
    let sum = world::contract(&set, SUM);
    let streaming = ServiceBuilder::new().handler(&sum, &set, Arc::new(Echo::default()), health);
    assert!(
        matches!(streaming.err(), Some(PartsError::ClientStreaming(method)) if method == "test.v1.SumService.Sum")
    );

    let missing = ServiceBuilder::new().service("test.v1.Other", SumServer, &set, None);
    assert!(matches!(missing.err(), Some(PartsError::Undescribed { .. })));

    assert!(start(ServiceBuilder::new()).await.contains("at least one contract"));

    let twice = ServiceBuilder::new()
        .typed(SumServer, &set, None)
        .and_then(|services| services.typed(SumServer, &set, None))
        .expect("not yet compared");
    assert!(start(twice).await.contains("served twice"));

    let own = ServiceBuilder::new()
        .service("grpc.health.v1.Health", SumServer, tonic_health::pb::FILE_DESCRIPTOR_SET, None)
        .expect("not yet compared");
    assert!(start(own).await.contains("by the adapter library itself"));

    let other_folder = Pki::new();
    let path = other_folder.path().join("echo.proto");
    std::fs::write(path, "syntax = \"proto3\"; package other.v1; service S {}").expect("written");
    let mut compiler = protox::Compiler::new([other_folder.path()]).expect("a compiler");
    compiler.open_file("echo.proto").expect("compiled");
    let other = compiler.encode_file_descriptor_set();
    let conflict = ServiceBuilder::new()
        .typed(SumServer, &set, None)
        .and_then(|services| services.service("other.v1.S", SumServer, &other, None))
        .expect("not yet compared");
    let text = start(conflict).await;
    assert!(text.contains("echo.proto") && text.contains("other.v1.S"), "{text}");
}
