//! A bus, a server that knows nothing of it, and the bridge between the two.

use std::{path::PathBuf, process::Command};

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::Message;
use serde_json::{Value, json};
use ura_adapters::{
    bridge::{Bridge, Source},
    config::{Config, Link},
    run::{self, Adapter},
};
use ura_runtime::process::Shutdown;

use crate::{
    process::Process,
    world::{
        Plan, TRUST_DOMAIN, World,
        client::{Client, framed},
        patient,
    },
};

pub const CONTRACT: &str = "test.bridge.v1.Desk";

#[derive(Clone, PartialEq, Message)]
pub struct Question {
    #[prost(string, tag = "1")]
    pub wish: String,
    #[prost(int32, tag = "2")]
    pub number: i32,
    #[prost(string, tag = "3")]
    pub personal_number: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(int32, tag = "2")]
    pub number: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub data: bytes::Bytes,
    #[prost(map = "string, string", tag = "4")]
    pub seen: std::collections::HashMap<String, String>,
}

pub fn wish(wish: &str, number: i32) -> Question {
    Question { wish: wish.to_owned(), number, personal_number: "1234567892".to_owned() }
}

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    Node,
}

/// What a server is started with, beside its port; see the head of desk.py.
pub fn all() -> Value {
    json!({ "reflection": true, "health": true })
}

/// A bus with a desk behind a bridge.
pub struct Desk {
    pub world: World,
    pub server: Option<Process>,
    pub port: String,
    pub adapter: Adapter,
    language: Language,
    shutdown: Shutdown,
}

pub fn source(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A world that has approved the desk's contract, without an adapter.
pub async fn world() -> World {
    let directory = crate::world::directory()
        .replace("test.v1.Probe", CONTRACT)
        .replace("probe.proto", &source("tests/bridge/desk.proto").display().to_string());
    World::with(Plan { directory, adapter: false, ..Plan::default() }).await
}

/// Starts a server on this port; 0 is any. Returns the port.
pub async fn serve(world: &World, language: Language, plan: &Value, port: &str) -> (Process, String) {
    let mut plan = plan.clone();
    plan["port"] = json!(port.parse::<u16>().expect("a port"));
    let mut command;
    match language {
        Language::Python => {
            plan["descriptors"] = json!(descriptors(world));
            command = Command::new(std::env::var("URA_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned()));
            command.arg("-B").arg(source("tests/bridge/desk.py"));
        }
        Language::Node => {
            plan["proto"] = json!(source("tests/bridge/desk.proto"));
            plan["roots"] = json!([source("proto"), source("tests/bridge")]);
            command = Command::new(std::env::var("URA_TEST_NODE").unwrap_or_else(|_| "node".to_owned()));
            if let Some(path) = std::env::var_os("URA_TEST_NODE_PATH") {
                command.env("NODE_PATH", path);
            }
            command.arg(source("tests/bridge/desk.js"));
        }
    }
    let server = Process::start(&format!("{language:?} server"), command.arg(plan.to_string()));
    let Some(line) = server.said(&["listening on port"]).await else {
        panic!(
            "the {language:?} server does not start; `./test tools` installs what it needs:\n{}",
            server.lines().join("\n")
        )
    };
    let port = line.rsplit(' ').next().expect("a port").to_owned();
    (server, port)
}

/// The contract as a serialised descriptor set, in a file.
pub fn descriptors(world: &World) -> PathBuf {
    let contract =
        ura_proto::contract::Contract::from_proto(CONTRACT, &source("tests/bridge/desk.proto"), &[])
            .expect("the desk's contract");
    let path = world.path("desk.binpb");
    std::fs::write(&path, contract.descriptor_set).expect("a file");
    path
}

/// The adapter's configuration with a bridge to this port, whose server is asked often how it is.
pub fn config(world: &World, port: &str) -> Config {
    let gateway = format!("spiffe://{TRUST_DOMAIN}/ais/gateway").parse().expect("an id");
    let link = Link::Plug(vec![world.address.clone()]);
    let mut config =
        Config::new("arc/probe".parse().expect("a system"), world.identity("arc/probe"), gateway, link);
    let mut bridge = Bridge::new(format!("127.0.0.1:{port}").parse().expect("an address"));
    bridge.health_interval_ms = 50;
    config.bridge = Some(bridge);
    config
}

impl Desk {
    /// A server with all that servers can have.
    pub async fn new(language: Language) -> Self {
        Self::with(language, &all()).await
    }

    pub async fn with(language: Language, plan: &Value) -> Self {
        let world = world().await;
        let (server, port) = serve(&world, language, plan, "0").await;
        let mut config = config(&world, &port);
        let bridge = config.bridge.as_mut().expect("there is one");
        if plan["reflection"] == false {
            bridge.source = Source::DescriptorSet(descriptors(&world));
        }
        if plan["reflection"] == false || language == Language::Node {
            // Node's reflection lists every service of the file, also those that the server does not have.
            bridge.contracts = vec![CONTRACT.to_owned()];
        }
        let shutdown = Shutdown::new();
        let adapter =
            patient(run::start(config, shutdown.clone())).await.unwrap_or_else(|error| panic!("{error}"));
        patient(adapter.plugged_in()).await.unwrap_or_else(|error| panic!("{error}"));
        Self { world, server: Some(server), port, adapter, language, shutdown }
    }

    pub fn server(&self) -> &Process {
        self.server.as_ref().expect("it runs")
    }

    /// Starts the server again where it was.
    pub async fn serve_again(&mut self) {
        let (server, _) = serve(&self.world, self.language, &all(), &self.port).await;
        self.server = Some(server);
    }

    pub async fn end(self) {
        self.shutdown.drain();
        patient(self.adapter.finished()).await;
        self.world.end().await;
        drop(self.server);
    }
}

/// The path of a method.
pub fn path(method: &str) -> String {
    format!("/{CONTRACT}/{method}")
}

/// An answer read message by message.
pub struct Answers {
    body: Incoming,
    buffer: BytesMut,
    pub trailers: http::HeaderMap,
}

impl Answers {
    pub fn of(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new(), trailers: http::HeaderMap::new() }
    }

    /// The next message; `None` at the end, when the trailers are there.
    pub async fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some(prefix) = self.buffer.first_chunk::<5>() {
                let [_, length @ ..] = *prefix;
                let length = u32::from_be_bytes(length) as usize;
                if self.buffer.len() >= length + 5 {
                    self.buffer.advance(5);
                    return Some(Answer::decode(self.buffer.split_to(length).freeze()).expect("an answer"));
                }
            }
            match patient(self.body.frame()).await?.expect("the answer goes on").into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Health {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthAnswer {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Waits until the gateway says whether the desk is served.
pub async fn until_serving(client: &Client, serving: bool) {
    let mut watch = client.start("/grpc.health.v1.Health/Watch", &[]);
    watch.bytes(framed(&Health { service: CONTRACT.to_owned() })).await;
    watch.close();
    let mut states = watch.answer().await.expect("answered").into_body();
    let wanted = if serving { 1 } else { 2 };
    loop {
        let frame = patient(states.frame()).await.expect("the watch goes on").expect("a state");
        let Ok(state) = frame.into_data() else { panic!("the watch ended") };
        if state.is_empty() {
            continue;
        }
        let state: HealthAnswer = Message::decode(state.slice(5..)).expect("a state");
        if state.status == wanted {
            return;
        }
    }
}
