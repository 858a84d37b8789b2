//! A bus with many adapters: a gateway as a process of its own, so that its memory can be told, and adapters
//! that answer at once and remember nothing.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tempfile::TempDir;
use tonic::body::Body;
use ura_adapters::{
    config::{Config, Link},
    run::{Adapter, serve},
    serve::ServiceBuilder,
};
use ura_certs::Authority;
use ura_proto::contract::Contract;
use ura_runtime::process::Shutdown;

use crate::{
    process::{Process, ura},
    world::{
        EvidenceStore, TRUST_DOMAIN, client::Client, client::framed, identity_dir, issue, now, patient,
        probe::Answer,
    },
};

/// Hundreds of adapters that connect at once, all of them and the gateway on one machine, take their time.
const STORM: Duration = Duration::from_mins(4);

/// Messages of a streamed reply.
const STREAMED: usize = 10;

pub struct Many {
    pub gateway: Process,
    pub address: String,
    descriptor_set: Vec<u8>,
    dir: TempDir,
}

impl Many {
    /// A bus on which these systems may answer the probe's contract.
    pub async fn start(providers: &[String]) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let authority =
            Authority::init(&dir.path().join("authority"), TRUST_DOMAIN, now()).expect("an authority");
        issue(&authority, dir.path(), "ais/gateway", &["localhost", "127.0.0.1"]);
        for system in providers.iter().map(String::as_str).chain(["ais/portal"]) {
            issue(&authority, dir.path(), system, &[]);
        }
        let proto = dir.path().join("probe.proto");
        std::fs::write(&proto, include_str!("../world/probe.proto")).expect("a contract");
        let contract = Contract::from_proto("test.v1.Probe", &proto, &[]).expect("the probe's contract");
        std::fs::write(dir.path().join("directory.toml"), directory(providers)).expect("the directory");
        let config = dir.path().join("gateway.toml");
        // A store of another process: SQLite's cache, up to 64 MiB in this one, would hide what plugs leave.
        let store = EvidenceStore::Postgres.address(dir.path()).await;
        std::fs::write(&config, GATEWAY.replace("STORE", &store)).expect("the configuration");
        let mut command = ura();
        command.arg("gateway").arg("--config").arg(config);
        let gateway = Process::start("gateway", &mut command);
        let address = gateway.tells(&["the gateway listens"], "address").await;
        Self { gateway, address, descriptor_set: contract.descriptor_set, dir }
    }

    pub async fn portal(&self) -> Client {
        Client::connect(&self.identity("ais/portal"), &self.address).await.expect("connects")
    }

    fn identity(&self, system: &str) -> PathBuf {
        identity_dir(self.dir.path(), system)
    }

    /// Starts an adapter of a system that plugs in at an address.
    pub async fn adapter(&self, system: &str, address: &str) -> Running {
        let gateway_id = format!("spiffe://{TRUST_DOMAIN}/ais/gateway").parse().expect("an id");
        let link = Link::Plug(vec![address.to_owned()]);
        let config = Config::new(system.parse().expect("a system"), self.identity(system), gateway_id, link);
        let services = ServiceBuilder::new().service("test.v1.Probe", Echo, &self.descriptor_set, None);
        let shutdown = Shutdown::new();
        let adapter = serve(config, services.expect("described"), shutdown.clone()).await;
        Running { adapter: adapter.expect("the adapter starts"), shutdown }
    }

    pub async fn end(mut self) {
        self.gateway.signal("TERM");
        assert_eq!(self.gateway.ended().await.code(), Some(0));
    }
}

/// An adapter that runs.
pub struct Running {
    adapter: Adapter,
    shutdown: Shutdown,
}

impl Running {
    /// Waits until so many connections were accepted, and no others are there.
    pub async fn connections(&self, count: usize) {
        let mut verdict = self.adapter.verdict();
        let wanted = |now: &ura_adapters::serve::Verdict| {
            now.connections == count && now.accepted.is_empty() == (count == 0)
        };
        let reached = tokio::time::timeout(STORM, verdict.wait_for(wanted)).await.is_ok();
        let (system, now) = (self.adapter.system(), self.adapter.verdict().borrow().clone());
        assert!(reached, "{system} did not come to {count} connections within {STORM:?}: {now:?}");
    }

    pub async fn leave(self) {
        self.shutdown.drain();
        patient(self.adapter.finished()).await;
    }
}

/// Resident memory of a process in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

const GATEWAY: &str = r#"
listen = "127.0.0.1:0"
identity = "pki/ais-gateway"
directory = "directory.toml"
[evidence]
store = "STORE"
keys = "keys"
log_keys = "log-keys"
origin = "ura.test/gateway"
[telemetry]
log_filter = "error,ura_gateway=info,ura_gateway::plug=error,ura_gateway::forward=error"
"#;

fn directory(providers: &[String]) -> String {
    let mut text = r#"
version = "many-1"
members = [{ id = "ais", name = { en = "Portal" } }, { id = "arc", name = { en = "Register" } }]
contracts = [{ name = "test.v1.Probe", proto = "probe.proto" }]
[[systems]]
id = "ais/gateway"
roles = ["gateway"]
[[systems]]
id = "ais/portal"
roles = ["consumer"]
"#
    .to_owned();
    for provider in providers {
        text.push_str(&format!(
            r#"
[[systems]]
id = "{provider}"
roles = ["provider"]
[[services]]
contract = "test.v1.Probe"
provider = "{provider}"
[[grants]]
id = "g-{provider}"
consumer = "ais/portal"
provider = "{provider}"
contract = "test.v1.Probe"
methods = ["*"]
"#
        ));
    }
    text
}

/// Answers once its request has ended.
#[derive(Clone)]
struct Echo;

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let count = if request.uri().path().ends_with("/Down") { STREAMED } else { 1 };
            drop(request.into_body().collect().await);
            let answer = Answer { text: "here".to_owned(), data: Bytes::from_static(&[7; 500]) };
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let answers = (0..count).map(move |_| Frame::data(framed(&answer)));
            let frames = answers.chain([Frame::trailers(trailers)]).map(Ok::<_, Infallible>);
            let body = StreamBody::new(tokio_stream::iter(frames));
            let mut response = http::Response::new(Body::new(body));
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            Ok(response)
        })
    }
}
