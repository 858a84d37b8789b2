//! Adapters written in Rust: the example of docs/adapter-library.md over a real bus, and what a typed service
//! knows of each call.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

#[allow(dead_code)] // Of another target; this one uses a part.
#[path = "docs/page.rs"]
mod page;
mod world;

use std::sync::{Arc, Mutex};

use tonic::{Request, Response, Status, Streaming};
use ura_adapters::{
    Caller,
    config::{Config, Link},
    run,
    serve::ServiceBuilder,
};
use ura_example_archive::{
    contract::{
        ConsultRequest, ConsultResponse, CopyRequest, CopyResponse, DESCRIPTORS, DepositRequest,
        DepositResponse, GetDocumentRequest, GetDocumentResponse,
        archive_service_server::{ArchiveService, ArchiveServiceServer},
    },
    reading_room,
};
use ura_runtime::{process::Shutdown, trace::TraceContext};
use world::{Plan, TRUST_DOMAIN, World, client::framed, patient};

const ARCHIVE: &str = "ks.archive.v1.ArchiveService";
const ROOM: &str = "ks.archive.v1.ReadingRoomService";

/// A directory that has approved both contracts, with a purpose for the archive.
fn directory() -> String {
    let proto = page::root().join("adapters/examples/archive/proto/ks/archive/v1/archive.proto");
    let proto = proto.display();
    let room = format!(
        "\n[[grants]]\nid = \"g-room\"\nconsumer = \"ais/portal\"\nprovider = \"arc/probe\"\ncontract = \"{ROOM}\"\nmethods = [\"*\"]\n"
    );
    world::directory()
        .replace(
            "contracts = [{ name = \"test.v1.Probe\", proto = \"probe.proto\" }]",
            &format!("contracts = [{{ name = \"{ARCHIVE}\", proto = \"{proto}\" }}, {{ name = \"{ROOM}\", proto = \"{proto}\" }}]"),
        )
        .replace(
            "services = [{ contract = \"test.v1.Probe\", provider = \"arc/probe\" }]",
            &format!("services = [{{ contract = \"{ARCHIVE}\", provider = \"arc/probe\" }}, {{ contract = \"{ROOM}\", provider = \"arc/probe\" }}]"),
        )
        .replace("contract = \"test.v1.Probe\"", &format!("contract = \"{ARCHIVE}\"\npurposes = [\"test\"]"))
        + &room
}

async fn empty_world() -> World {
    World::with(Plan { directory: directory(), adapter: false, ..Plan::default() }).await
}

fn deposit(number: u64, title: &str) -> DepositRequest {
    DepositRequest { number, title: title.to_owned() }
}

#[tokio::test]
async fn the_example_answers_over_the_bus() {
    let world = empty_world().await;
    let shutdown = Shutdown::new();
    let services = reading_room::beside(ura_example_archive::services().unwrap()).unwrap();
    let adapter = world.plug_with("arc/probe", services, &shutdown).await;
    patient(adapter.plugged_in()).await.expect("plugged in");
    let portal = world.portal().await;

    let documents: Vec<_> =
        [deposit(7, "Testament, Pejë 1924"), deposit(2, "Žalba")].iter().map(framed).collect();
    let write = [("ura-purpose", "test"), ("idempotency-key", "deposit-1")];
    let taken = portal.send(&format!("/{ARCHIVE}/Deposit"), &write, &documents).await;
    assert_eq!((taken.status(), taken.decode::<DepositResponse>(0).numbers), (0, vec![2, 7]), "{taken:?}");

    let get = format!("/{ARCHIVE}/GetDocument");
    let read = [("ura-purpose", "test")];
    let found = portal.call(&get, &read, &GetDocumentRequest { number: 7 }).await;
    let document: GetDocumentResponse = found.decode(0);
    assert_eq!(document.title, "Testament, Pejë 1924");
    assert_eq!(document.stamp, format!("for ais/portal, exchange {}", found.exchange()));

    let unknown = portal.call(&get, &read, &GetDocumentRequest { number: 8 }).await;
    assert_eq!(unknown.status(), 5);
    let details = unknown.details();
    let info = details.error_info().expect("a reason");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("DOCUMENT_UNKNOWN", "arc/probe"));

    let copies = portal.call(&format!("/{ROOM}/Copy"), &[], &CopyRequest { copies: 3 }).await;
    assert_eq!((copies.status(), copies.messages.len(), copies.decode::<CopyResponse>(2).copy), (0, 3, 3));
    let questions =
        ["Ku?", "Kada?"].map(|question| framed(&ConsultRequest { question: question.to_owned() }));
    let answers = portal.send(&format!("/{ROOM}/Consult"), &[], &questions).await;
    assert_eq!(answers.decode::<ConsultResponse>(1).answer, "ais/portal asks: Kada?");

    shutdown.drain();
    patient(adapter.finished()).await;
    world.end().await;
}

/// Answers everything with nothing and remembers who asked.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<Caller>>>);

impl Witness {
    fn note<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.0.lock().unwrap().push(Caller::of(request)?);
        Ok(())
    }

    fn services(&self) -> ServiceBuilder {
        ServiceBuilder::new().typed(ArchiveServiceServer::new(self.clone()), DESCRIPTORS, None).unwrap()
    }
}

#[tonic::async_trait]
impl ArchiveService for Witness {
    async fn get_document(
        &self,
        request: Request<GetDocumentRequest>,
    ) -> Result<Response<GetDocumentResponse>, Status> {
        self.note(&request)?;
        Ok(Response::new(Default::default()))
    }

    async fn deposit(
        &self,
        request: Request<Streaming<DepositRequest>>,
    ) -> Result<Response<DepositResponse>, Status> {
        self.note(&request)?;
        let mut documents = request.into_inner();
        while documents.message().await?.is_some() {}
        Ok(Response::new(Default::default()))
    }
}

/// What a consumer sends along; two of the keys are not its to write.
const SENT: [(&str, &str); 6] = [
    ("ura-purpose", "test"),
    ("ura-case", "C. nr. 12/26"),
    ("idempotency-key", "deposit-9"),
    ("ura-consumer", "mpb/police"),
    ("ura-exchange-id", "0190163d-8694-739b-aea5-966c26f8ad91"),
    ("grpc-timeout", "20S"),
];

#[tokio::test]
async fn a_typed_service_knows_who_asks_plugged_in_or_listening() {
    let world = empty_world().await;
    let witness = Witness::default();
    let (plugged, listening) = (Shutdown::new(), Shutdown::new());
    let adapter = world.plug_with("arc/probe", witness.services(), &plugged).await;
    patient(adapter.plugged_in()).await.expect("plugged in");
    asked(&world, &witness).await;
    plugged.drain();
    patient(adapter.finished()).await;

    let id = format!("spiffe://{TRUST_DOMAIN}/ais/gateway").parse().unwrap();
    let link = Link::Listen("127.0.0.1:0".parse().unwrap());
    let config = Config::new("arc/probe".parse().unwrap(), world.identity("arc/probe"), id, link);
    let adapter = run::serve(config, witness.services(), listening.clone()).await.expect("it listens");
    let dial = format!(
        "{{ id = \"arc/probe\", roles = [\"provider\"], dial = \"{}\" }}",
        adapter.address().unwrap()
    );
    let next = directory().replace("{ id = \"arc/probe\", roles = [\"provider\"] }", &dial);
    world.write_directory(&next.replace("test-1", "test-2"));
    patient(adapter.plugged_in()).await.expect("dialled");
    asked(&world, &witness).await;
    listening.drain();
    patient(adapter.finished()).await;
    world.end().await;
}

/// One read and one write, and what the service knew of them.
async fn asked(world: &World, witness: &Witness) {
    let portal = world.portal().await;
    let trace = TraceContext::root(true);
    let traceparent = String::from_utf8(trace.header().to_vec()).unwrap();
    let mut sent = SENT.to_vec();
    sent.push(("traceparent", &traceparent));
    witness.0.lock().unwrap().clear();
    let read =
        portal.call(&format!("/{ARCHIVE}/GetDocument"), &sent, &GetDocumentRequest { number: 1 }).await;
    assert_eq!(read.status(), 0, "{read:?}");
    // Each write has a key of its own: the gateway would answer a repeat itself.
    let key = format!("deposit-{}", read.exchange());
    sent[2] = ("idempotency-key", &key);
    let write = portal.send(&format!("/{ARCHIVE}/Deposit"), &sent, &[framed(&deposit(1, "x"))]).await;
    assert_eq!(write.status(), 0, "{write:?}");
    let callers = witness.0.lock().unwrap().clone();
    assert_eq!(callers.len(), 2);
    for (caller, ended) in callers.iter().zip([&read, &write]) {
        assert_eq!((caller.consumer(), caller.purpose()), ("ais/portal", Some("test")));
        assert_eq!(caller.case_number(), Some("C. nr. 12/26"));
        assert_eq!(caller.exchange_id(), ended.exchange().to_string());
        assert_eq!(caller.user(), None, "nobody has verified one");
        assert_eq!(caller.trace().trace_id, trace.trace_id, "the trace goes on");
        assert_eq!(caller.traceparent().as_bytes(), caller.trace().header());
        let left = caller.deadline().expect("a deadline") - tokio::time::Instant::now();
        assert!(left <= std::time::Duration::from_secs(20));
    }
    assert_eq!(callers[1].idempotency_key(), Some(key.as_str()));
}

#[test]
fn the_page_shows_the_example_as_it_is() {
    const PAGE: &str = "docs/adapter-library.md";
    let blocks = page::blocks(&page::read(PAGE));
    let mut lines = 0;
    for file in ["src/lib.rs", "src/main.rs", "build.rs", "src/reading_room.rs"] {
        let text = page::read(&format!("adapters/examples/archive/{file}"));
        let head = format!("// {file}\n");
        let shown = blocks.iter().find_map(|block| block.text.strip_prefix(head.as_str()));
        assert!(
            shown == Some(text.as_str()),
            "{PAGE} does not show {file} as it is; put this there:\n{head}{text}"
        );
        if matches!(file, "src/lib.rs" | "src/main.rs") {
            lines += text.lines().filter(|line| !line.trim().is_empty()).count();
        }
    }
    assert!(lines < 50, "{lines} lines are to be written for a typed adapter");
}
