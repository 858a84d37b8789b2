//! Health and reflection of the gateway itself, asked by tonic's own clients on a consumer's connection.

use std::{
    collections::BTreeSet,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use tonic::body::Body;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};
use ura_proto::contract::Contract;
use ura_runtime::{
    process::Shutdown,
    tls::{self, Identity, Verify},
};

use crate::world::{Plan, World, directory, issue, journal, patient, probe::Probe};

/// A consumer's connection for typed clients.
#[derive(Clone)]
pub(super) struct Connection(http2::SendRequest<Body>);

impl Connection {
    pub(super) async fn of(world: &World, system: &str) -> Self {
        let identity = Identity::load(&world.identity(system)).unwrap();
        let config = identity.client_config(&[b"h2"], Verify::Name).unwrap();
        let (stream, _) = tls::connect(&world.address, config, Duration::from_secs(30)).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    fn health(&self) -> HealthClient<Self> {
        HealthClient::with_origin(self.clone(), Uri::from_static("https://gateway"))
    }
}

impl tower::Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn health_is_checked_and_watched_for_the_gateway_and_for_each_contract() {
    let world = World::new().await;
    // Also for a system without any grant.
    let connection = Connection::of(&world, "ais/other").await;
    let mut client = connection.health();
    for service in ["", "test.v1.Probe"] {
        let status = client.check(named(service)).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "`{service}`");
    }
    let unknown = client.check(named("test.v9.Absent")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);

    let mut all = client.watch(named("")).await.unwrap().into_inner();
    let mut probe = client.watch(named("test.v1.Probe")).await.unwrap().into_inner();
    let mut absent = client.watch(named("test.v9.Absent")).await.unwrap().into_inner();
    let first = [&mut all, &mut probe, &mut absent];
    let mut told = Vec::new();
    for watch in first {
        told.push(patient(watch.message()).await.unwrap().unwrap().status());
    }
    assert_eq!(told, [ServingStatus::Serving, ServingStatus::Serving, ServingStatus::ServiceUnknown]);
    // The register goes and comes back.
    for (healthy, expected) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        world.probe.healthy.send_replace(healthy);
        assert_eq!(patient(probe.message()).await.unwrap().unwrap().status(), expected);
        assert_eq!(client.check(named("test.v1.Probe")).await.unwrap().into_inner().status(), expected);
        assert_eq!(client.check(named("")).await.unwrap().into_inner().status(), ServingStatus::Serving);
    }
    // The adapter leaves: its contract is approved still, but nobody answers it.
    world.adapter_shutdown.drain();
    assert_eq!(patient(probe.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    // The gateway drains: every watch says so and ends.
    world.shutdown.drain();
    assert_eq!(patient(all.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    for mut watch in [all, probe] {
        assert!(patient(watch.message()).await.unwrap().is_none(), "the watch ends");
    }
    drop((client, connection, absent));
    world.end().await;
}

/// Asks one question of v1.
async fn ask(
    connection: &Connection,
    question: v1::server_reflection_request::MessageRequest,
) -> v1::ServerReflectionResponse {
    let mut client = v1::server_reflection_client::ServerReflectionClient::with_origin(
        connection.clone(),
        Uri::from_static("https://gateway"),
    );
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    patient(answers.message()).await.unwrap().expect("an answer")
}

/// The same of v1alpha: both have one wire form.
async fn ask_older(
    connection: &Connection,
    question: &v1::server_reflection_request::MessageRequest,
) -> v1::ServerReflectionResponse {
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::with_origin(
        connection.clone(),
        Uri::from_static("https://gateway"),
    );
    let request =
        v1::ServerReflectionRequest { host: String::new(), message_request: Some(question.clone()) };
    let request = v1alpha::ServerReflectionRequest::decode(request.encode_to_vec().as_slice()).unwrap();
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = patient(answers.message()).await.unwrap().expect("an answer");
    v1::ServerReflectionResponse::decode(answer.encode_to_vec().as_slice()).unwrap()
}

use v1::{server_reflection_request::MessageRequest, server_reflection_response::MessageResponse};

/// The contracts that both versions list, without what every gRPC server has.
async fn listed(connection: &Connection) -> BTreeSet<String> {
    let question = MessageRequest::ListServices(String::new());
    let names = |answer: v1::ServerReflectionResponse| match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|service| service.name).collect::<BTreeSet<_>>()
        }
        other => panic!("{other:?}"),
    };
    let (current, older) =
        (names(ask(connection, question.clone()).await), names(ask_older(connection, &question).await));
    assert!(
        current.contains("grpc.health.v1.Health") && current.contains("grpc.reflection.v1.ServerReflection")
    );
    assert!(older.contains("grpc.reflection.v1alpha.ServerReflection"));
    let contracts =
        |names: BTreeSet<String>| names.into_iter().filter(|name| !name.starts_with("grpc.")).collect();
    let (current, older): (BTreeSet<String>, BTreeSet<String>) = (contracts(current), contracts(older));
    assert_eq!(current, older);
    current
}

/// The files that describe a symbol, imports included, as both versions give them.
async fn described(connection: &Connection, symbol: &str) -> DescriptorPool {
    let files = |answer: v1::ServerReflectionResponse| match answer.message_response {
        Some(MessageResponse::FileDescriptorResponse(found)) => found.file_descriptor_proto,
        other => panic!("{symbol}: {other:?}"),
    };
    let mut protos: Vec<FileDescriptorProto> = Vec::new();
    let mut wanted = vec![MessageRequest::FileContainingSymbol(symbol.to_owned())];
    while let Some(question) = wanted.pop() {
        let found = files(ask(connection, question.clone()).await);
        assert_eq!(found, files(ask_older(connection, &question).await));
        for bytes in found {
            let proto = FileDescriptorProto::decode(bytes.as_slice()).unwrap();
            if !protos.iter().any(|known| known.name == proto.name) {
                wanted.extend(proto.dependency.iter().cloned().map(MessageRequest::FileByFilename));
                protos.push(proto);
            }
        }
    }
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(protos).expect("they fit together");
    pool
}

/// What is listed while adapters answer these: the bus's own service is always there.
fn with_own(contracts: &[&str]) -> BTreeSet<String> {
    contracts.iter().chain(&["ura.v1.EvidenceService"]).map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn reflection_lists_and_describes_exactly_what_is_plugged_in() {
    // The approved file holds a second service that nobody approved.
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let approved = std::fs::read_to_string(world.path("probe.proto")).unwrap()
        + "\nservice Unapproved { rpc Read(Ask) returns (Answer); }\n";
    std::fs::write(world.path("probe.proto"), approved).unwrap();
    // A file that changes between two questions is described in two ways.
    journal::listen();
    let version = format!("with-unapproved-{}", std::process::id());
    world.write_directory(&directory().replacen("version = \"", &format!("version = \"{version}-"), 1));
    journal::said(&["directory published", &version]).await;
    issue(&world.authority, world.dir.path(), "arc/later", &[]);
    let connection = Connection::of(&world, "ais/other").await;
    assert_eq!(listed(&connection).await, with_own(&[]), "nobody is plugged in");
    for symbol in ["ura.v1.EvidenceService", "ura.v1.Entry"] {
        described(&connection, symbol).await;
    }

    let shutdown = Shutdown::new();
    let probe = Probe::new();
    let adapter = world.plug("arc/probe", &probe, &shutdown).await;
    patient(adapter.plugged_in()).await.unwrap();
    assert_eq!(listed(&connection).await, with_own(&["test.v1.Probe"]));
    let pool = described(&connection, "test.v1.Probe").await;
    let service = pool.get_service_by_name("test.v1.Probe").expect("described");
    let contract = Contract::from_proto("test.v1.Probe", &world.path("probe.proto"), &[]).unwrap();
    let methods = |service: &prost_reflect::ServiceDescriptor| {
        service.methods().map(|m| format!("{:?}", m.method_descriptor_proto())).collect::<Vec<_>>()
    };
    assert_eq!(methods(&service), methods(&contract.service), "as approved, options included");
    for symbol in ["test.v1.Ask", "test.v1.Probe.Read", "ura.v1.DataSubject", "grpc.health.v1.Health"] {
        described(&connection, symbol).await;
    }

    // A second contract comes and goes, and with it what reflection says.
    let text = std::fs::read_to_string(world.path("probe.proto")).unwrap();
    let text = text.replace("package test.v1", "package test.v2").replace("service Probe", "service Later");
    std::fs::write(world.path("later.proto"), text).unwrap();
    let more = [
        ("  { id = \"arc/second\"", "  { id = \"arc/later\", roles = [\"provider\"] },\n"),
        ("{ name = \"test.v1.Probe\"", "{ name = \"test.v2.Later\", proto = \"later.proto\" }, "),
        ("{ contract = \"test.v1.Probe\"", "{ contract = \"test.v2.Later\", provider = \"arc/later\" }, "),
    ];
    let extended =
        more.iter().fold(directory(), |text, (at, more)| text.replacen(at, &format!("{more}{at}"), 1));
    world.write_directory(&extended);
    let later = Contract::from_proto("test.v2.Later", &world.path("later.proto"), &[]).unwrap();
    let (other, other_shutdown) = (Probe::new(), Shutdown::new());
    let services = other.services_named("test.v2.Later", &later.descriptor_set);
    let second = world.plug_with("arc/later", services, &other_shutdown).await;
    let mut verdict = second.verdict();
    patient(verdict.wait_for(|verdict| verdict.accepted.contains("test.v2.Later"))).await.unwrap();
    let both = with_own(&["test.v1.Probe", "test.v2.Later"]);
    assert_eq!(listed(&connection).await, both);
    described(&connection, "test.v2.Later").await;
    other_shutdown.drain();
    patient(second.finished()).await;
    patient(async {
        while listed(&connection).await == both {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(listed(&connection).await, with_own(&["test.v1.Probe"]));
    shutdown.drain();
    patient(adapter.finished()).await;
    drop(connection);
    world.end().await;
}
