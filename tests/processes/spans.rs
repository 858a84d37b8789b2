//! Spans of gateway and adapter reach an OTLP receiver that was not written here, in one trace that
//! continues the caller's and goes on to the register. Adapters give theirs to the gateway, which keeps and forwards
//! all.

use std::process::Command;

use serde_json::json;

use crate::{
    bus::{Bus, Plan, VEHICLES},
    clients::python,
    process::Process,
    world::{patient, postgres::free_port},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// Ports that are tried: another process may take one between the look and the start.
const PORTS_TRIED_MAX: usize = 10;

/// A receiver that prints every span; its gRPC port.
pub async fn receiver(folder: &std::path::Path) -> (Process, u16) {
    let program = std::env::var("URA_TEST_ROTEL").unwrap_or_else(|_| packaged());
    for _ in 0..PORTS_TRIED_MAX {
        let (grpc, http) = (free_port(), free_port());
        let mut command = Command::new(&program);
        command.args([
            "start",
            "--exporter",
            "blackhole",
            "--debug-log",
            "traces",
            "--debug-log-verbosity",
            "detailed",
        ]);
        command.arg("--otlp-grpc-endpoint").arg(format!("127.0.0.1:{grpc}"));
        command.arg("--otlp-http-endpoint").arg(format!("127.0.0.1:{http}"));
        command
            .arg("--pid-file")
            .arg(folder.join("rotel.pid"))
            .arg("--log-file")
            .arg(folder.join("rotel.log"));
        command.env("NO_COLOR", "1");
        let process = Process::start("rotel", &mut command);
        process.says(&["Starting"]).await;
        if listens(&process, grpc).await {
            return (process, grpc);
        }
    }
    panic!("the receiver found no free port in {PORTS_TRIED_MAX} attempts");
}

/// The program inside the Python package `rotel`.
fn packaged() -> String {
    let ask = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
    let output = Command::new(python()).args(["-c", ask]).output().expect("Python runs");
    assert!(
        output.status.success(),
        "rotel is not installed: `./test` installs it beside grpcio (URA_TEST_PYTHON), or name its program in URA_TEST_ROTEL"
    );
    String::from_utf8(output.stdout).expect("a path").trim().to_owned()
}

/// Waits until the port takes connections; `false` where the process ended before.
async fn listens(process: &Process, port: u16) -> bool {
    let listens = async {
        loop {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return true;
            }
            if process.has_ended() {
                return false;
            }
            tokio::task::yield_now().await;
        }
    };
    patient(listens).await
}

/// A span as the receiver printed it.
#[derive(Debug, Default)]
pub struct Printed {
    pub service: String,
    pub trace: String,
    parent: String,
    id: String,
    kind: String,
    /// Name, and attributes as `key: Type(value)`.
    texts: Vec<String>,
}

pub fn printed(lines: &[String]) -> Vec<Printed> {
    let mut spans: Vec<Printed> = Vec::new();
    let mut service = String::new();
    let mut in_resource = false;
    for line in lines.iter().map(|line| line.trim()) {
        let after =
            |start: &str| line.strip_prefix(start).map(|rest| rest.trim_start_matches([' ', ':']).to_owned());
        if line.starts_with("ResourceSpans #") {
            in_resource = true;
        } else if line.starts_with("Span #") {
            in_resource = false;
            spans.push(Printed::default());
        } else if let Some(name) = after("-> service.name: Str(").filter(|_| in_resource) {
            service = name.trim_end_matches(')').to_owned();
        }
        let Some(span) = spans.last_mut().filter(|_| !in_resource) else { continue };
        span.service.clone_from(&service);
        for (start, place) in [
            ("Trace ID", &mut span.trace),
            ("Parent ID", &mut span.parent),
            ("ID  ", &mut span.id),
            ("Kind", &mut span.kind),
        ] {
            if let Some(value) = after(start) {
                *place = value;
            }
        }
        span.texts.extend(after("Name").or_else(|| after("->")));
    }
    spans
}

impl Printed {
    fn is(&self, service: &str, kind: &str, method: &str) -> bool {
        self.service == service && self.kind == kind && self.texts.iter().any(|text| text.contains(method))
    }
}

#[tokio::test]
async fn one_trace_from_the_caller_to_the_register() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut receiver, port) = receiver(folder.path()).await;
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut bus = Bus::start(Plan { otlp: Some(endpoint), ..Plan::default() }).await;
    let portal = bus.portal().await;
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let request = json!({ "plate": bus.population.vehicles[0].plate });
    let method = format!("{VEHICLES}/GetVehicle");
    let reply = portal.ask_with(&method, &[("traceparent", &traceparent)], request).await;
    assert_eq!(reply.ended.status(), 0, "{reply:?}");
    let exchange = reply.ended.exchange();
    let seen = bus.requests("vehicles").await;
    let header = seen.last().expect("one request")["headers"]["traceparent"].clone();
    let opening = bus.records(exchange).await.opening().trace_id.clone();
    drop(portal);
    // What leaves sends what it has: spans are complete when the processes have ended.
    for mut process in bus.adapters.drain(..).chain(bus.gateway.take()) {
        process.signal("TERM");
        assert_eq!(process.ended().await.code(), Some(0));
    }
    receiver.signal("TERM");
    receiver.ended().await;

    let all = printed(&receiver.lines());
    let spans: Vec<&Printed> = all.iter().filter(|span| span.trace == TRACE).collect();
    let one = |service: &str, kind: &str, method: &str| {
        let found: Vec<_> = spans.iter().filter(|span| span.is(service, kind, method)).collect();
        assert_eq!(found.len(), 1, "{service} {kind}: {all:#?}");
        found[0]
    };
    let gateway = one("ais/gateway", "SPAN_KIND_SERVER", &method);
    let adapter = one("mpb/vehicles", "SPAN_KIND_SERVER", &method);
    let register = one("mpb/vehicles", "SPAN_KIND_CLIENT", "GetVehicle");
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert_eq!(gateway.parent, CALLER, "the caller's trace goes on");
    assert_eq!(adapter.parent, gateway.id);
    assert_eq!(register.parent, adapter.id);
    assert_eq!(header, format!("00-{TRACE}-{}-01", register.id), "the register is told the trace");
    assert!(gateway.texts.contains(&format!("ura.exchange_id: Str({exchange})")), "{gateway:?}");
    let hex: String = opening.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, TRACE, "evidence names the trace");
}
