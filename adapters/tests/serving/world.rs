//! An adapter with a contract of its own, and a handler that tests can hold still.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt, stream};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ServiceDescriptor, Value};
use tokio::sync::watch;
use tonic::Code;
use ura_adapters::{
    config::{Config, Limits, Link},
    register::{CallContext, Failure, Reply},
    run::{self, Adapter},
    serve::{Handler, ServiceBuilder},
};
use ura_runtime::process::Shutdown;

use crate::{
    gateway::Gateway,
    pki::{GATEWAY_ID, Pki},
};

pub const ECHO: &str = "test.v1.EchoService";
pub const SAY: &str = "/test.v1.EchoService/Say";
pub const COUNT: &str = "/test.v1.EchoService/Count";
/// Bytes of each message of a count.
pub const PADDING_BYTES: usize = 16 * 1024;

const PROTO: &str = r#"
syntax = "proto3";
package test.v1;

service EchoService {
  rpc Say(SayRequest) returns (SayResponse);
  rpc Count(CountRequest) returns (stream CountResponse);
}
service SumService {
  rpc Sum(stream CountRequest) returns (CountResponse);
}
message SayRequest { string text = 1; }
message SayResponse { string text = 1; string consumer = 2; }
message CountRequest { uint64 numbers = 1; }
message CountResponse { uint64 number = 1; bytes padding = 2; }
"#;

#[derive(Clone, PartialEq, prost::Message)]
pub struct SayRequest {
    #[prost(string, tag = "1")]
    pub text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SayResponse {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(string, tag = "2")]
    pub consumer: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CountRequest {
    #[prost(uint64, tag = "1")]
    pub numbers: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CountResponse {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub padding: Vec<u8>,
}

pub fn say(text: &str) -> SayRequest {
    SayRequest { text: text.to_owned() }
}

/// Serialised descriptors of the contract above.
pub fn descriptor_set(pki: &Pki) -> Vec<u8> {
    let file = pki.path().join("echo.proto");
    fs::write(&file, PROTO).expect("written");
    let mut compiler = protox::Compiler::new([pki.path()]).expect("a compiler");
    compiler.include_imports(true);
    compiler.open_file("echo.proto").expect("compiled");
    compiler.encode_file_descriptor_set()
}

pub fn contract(descriptor_set: &[u8], name: &str) -> ServiceDescriptor {
    let pool = DescriptorPool::decode(descriptor_set).expect("descriptors");
    pool.get_service_by_name(name).expect("the contract")
}

/// Answers `EchoService`.
#[derive(Default)]
pub struct Echo {
    /// Calls of "wait" that have begun.
    pub waiting: watch::Sender<u64>,
    /// Calls of "wait" that were given up.
    pub given_up: watch::Sender<u64>,
    /// Lets the calls of "wait" go.
    pub released: watch::Sender<bool>,
    /// Messages of counts made so far.
    pub produced: Arc<AtomicU64>,
}

/// Counts a call that is dropped.
struct Drops<'a>(Option<&'a watch::Sender<u64>>);

impl Drop for Drops<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            counter.send_modify(|count| *count += 1);
        }
    }
}

impl Echo {
    async fn wait(&self) {
        let mut guard = Drops(Some(&self.given_up));
        let mut released = self.released.subscribe();
        self.waiting.send_modify(|count| *count += 1);
        drop(released.wait_for(|released| *released).await);
        guard.0 = None;
    }
}

#[tonic::async_trait]
impl Handler for Echo {
    async fn call(
        &self,
        context: CallContext,
        method: &MethodDescriptor,
        request: DynamicMessage,
    ) -> Result<Reply, Failure> {
        let output = method.output();
        if method.name() == "Count" {
            let numbers = request.get_field_by_name("numbers").and_then(|value| value.as_u64());
            let produced = Arc::clone(&self.produced);
            let messages = stream::iter(0..numbers.unwrap_or(0)).map(move |number| {
                produced.fetch_add(1, Ordering::SeqCst);
                let mut message = DynamicMessage::new(output.clone());
                message.set_field_by_name("number", Value::U64(number));
                message.set_field_by_name("padding", Value::Bytes(vec![7; PADDING_BYTES].into()));
                Ok(message)
            });
            if numbers == Some(0) {
                return Ok(Reply::Stream(stream::pending().boxed()));
            }
            return Ok(Reply::Stream(messages.boxed()));
        }
        let text = request.get_field_by_name("text").expect("a field").into_owned();
        match text.as_str() {
            Some("fail") => {
                let message = "nobody has this number";
                return Err(Failure::new(Code::NotFound, "NOT_FOUND", message, "select … returned no row"));
            }
            Some("mismatch") => return Ok(Reply::One(request)),
            Some("wait") => self.wait().await,
            _ => {}
        }
        let mut reply = DynamicMessage::new(output);
        reply.set_field_by_name("text", text);
        reply.set_field_by_name("consumer", Value::String(context.consumer));
        Ok(Reply::One(reply))
    }
}

/// `EchoService` over a register that is always well.
pub fn services(descriptor_set: &[u8]) -> ServiceBuilder {
    let health = watch::Sender::new(true).subscribe();
    let contract = contract(descriptor_set, ECHO);
    let echo = Arc::new(Echo::default());
    ServiceBuilder::new().handler(&contract, descriptor_set, echo, health).expect("fits")
}

pub struct World {
    pub pki: Pki,
    pub gateway: Gateway,
    pub echo: Arc<Echo>,
    pub register: watch::Sender<bool>,
    pub adapter: Adapter,
    pub shutdown: Shutdown,
}

pub fn config(identity: PathBuf, link: Link) -> Config {
    let system = "arc/echo".parse().expect("a system");
    let gateway_id = GATEWAY_ID.parse().expect("an id");
    let limits =
        Limits { connections: 1, request_bytes_max: 64 * 1024, drain_notice_ms: 0, ..Limits::default() };
    Config { limits, ..Config::new(system, identity, gateway_id, link) }
}

impl World {
    /// An adapter of `EchoService` that plugs into a fresh gateway.
    pub async fn new() -> Self {
        let pki = Pki::new();
        let gateway = Gateway::new(&pki);
        let set = descriptor_set(&pki);
        let echo = Arc::new(Echo::default());
        let (register, health) = watch::channel(true);
        let handler: Arc<dyn Handler> = echo.clone();
        let services =
            ServiceBuilder::new().handler(&contract(&set, ECHO), &set, handler, health).expect("fits");
        let link = Link::Plug(vec![gateway.address()]);
        let config = config(pki.issue("arc/echo"), link);
        let shutdown = Shutdown::new();
        let adapter = run::serve(config, services, shutdown.clone()).await.expect("started");
        Self { pki, gateway, echo, register, adapter, shutdown }
    }
}
