//! Clients that were not written here: Python's grpcio, and `buf curl`.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use ura_proto::{ExchangeId, v1::Outcome};

use crate::{
    bus::{Bus, CIVIL, Plan, TAX, VEHICLES},
    portal::purpose,
    process::{Process, ura},
    relatives::child,
};

/// The Python of `./test`, or one that has grpcio.
pub fn python() -> String {
    std::env::var("URA_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

#[tokio::test]
async fn grpcio_asks_the_bus() {
    let bus = Bus::start(Plan { patient: true, ..Plan::default() }).await;
    let (_, child) = child(&bus.population);
    let unpaid = bus.population.invoices.iter().find(|one| !one.cancelled && one.paid_cents == 0);
    let facts = json!({
        "address": bus.address, "control": bus.control,
        "portal": bus.identity("ais/portal"), "stranger": bus.identity("mashti/school-books"),
        "person": {
            "number": child.personal_number, "given": child.given_name, "family": child.family_name,
        },
        "uniref": unpaid.expect("an invoice").uniref, "plate": bus.population.vehicles[0].plate,
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/grpcio_portal.py");
    let mut command = Command::new(python());
    command.arg("-B").arg(script).arg(facts.to_string());
    let mut client = Process::start("grpcio", &mut command);
    let status = client.ended().await;
    let lines = client.lines();
    assert!(
        status.success(),
        "grpcio (`./test` installs it; URA_TEST_PYTHON names its Python):\n{}",
        lines.join("\n")
    );
    // What it did stands in evidence, with the case number that it sent.
    let told = |name: &str| -> ExchangeId {
        let start = format!("exchange {name} ");
        let line = lines.iter().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("{name} in {lines:?}")).parse().expect("an exchange id")
    };
    let unary = bus.closed(told("unary")).await;
    assert_eq!((unary.opening().case_number.as_str(), unary.closing().status), ("C. nr. 1136/19", 0));
    assert_eq!(bus.closed(told("stream")).await.closing().status, 0);
    let refused = bus.records(told("refused")).await;
    assert_eq!(refused.opening().refusal, "GRANT_MISSING");
    let late = bus.closed(told("deadline")).await;
    assert_eq!(late.closing().outcome(), Outcome::MaybeExecuted);
    let cancelled = bus.closed(told("cancelled")).await;
    assert_eq!((cancelled.closing().status, cancelled.closing().outcome()), (1, Outcome::MaybeExecuted));
}

/// The JSON values that a client printed, all that it printed, and its exit code.
struct Printed {
    answers: Vec<Value>,
    text: String,
    code: Option<i32>,
}

async fn run(name: &str, command: &mut Command) -> Printed {
    let mut client = Process::start(name, command);
    let code = client.ended().await.code();
    let text = client.lines().join("\n");
    let answers = serde_json::Deserializer::from_str(&text).into_iter().map_while(Result::ok).collect();
    Printed { answers, text, code }
}

/// `buf curl` with reflection.
async fn buf_curl(bus: &Bus, identity: &str, method: &str, request: &Value) -> Printed {
    let program = std::env::var("URA_TEST_BUF").unwrap_or_else(|_| "buf".to_owned());
    let file = |name: &str| bus.identity(identity).join(name);
    let mut command = Command::new(program);
    command.args(["curl", "--protocol", "grpc", "--reflect"]);
    command.arg("--cacert").arg(file("ca.pem")).arg("--cert").arg(file("cert.pem"));
    command.arg("--key").arg(file("key.pem"));
    command.arg("-H").arg(format!("ura-purpose: {}", purpose(method))).arg("-d").arg(request.to_string());
    command.arg(format!("https://{}/{method}", bus.address));
    command.env("HOME", bus.path("home")).env("BUF_CACHE_DIR", bus.path("buf-cache"));
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    run("buf curl (`./test` installs it; URA_TEST_BUF names it)", &mut command).await
}

/// `ura call`.
async fn ura_call(bus: &Bus, identity: &str, method: &str, request: &Value) -> Printed {
    let mut command = ura();
    command.arg("call").arg(method).arg("-d").arg(request.to_string());
    command.arg("--identity").arg(bus.identity(identity)).args(["--gateway", &bus.address]);
    command.args(["--purpose", purpose(method)]);
    run("ura call", &mut command).await
}

/// A call of each contract, and what its answer must hold at which place.
fn calls(bus: &Bus) -> Vec<(String, Value, &'static str, Value)> {
    let (_, child) = child(&bus.population);
    let (invoice, vehicle) = (&bus.population.invoices[0], &bus.population.vehicles[0]);
    let number = json!({ "personalNumber": child.personal_number });
    let (uniref, plate) = (json!({ "uniref": invoice.uniref }), json!({ "plate": vehicle.plate }));
    vec![
        (
            format!("{CIVIL}/GetBirthCertificate"),
            number.clone(),
            "/certificate/givenName",
            json!(child.given_name),
        ),
        (format!("{CIVIL}/GetBirthCertificateDocument"), number, "/mediaType", json!("application/pdf")),
        (format!("{TAX}/GetInvoice"), uniref, "/invoice/taxYear", json!(invoice.year)),
        (format!("{VEHICLES}/GetVehicle"), plate, "/vehicle/chassisNumber", json!(vehicle.chassis_number)),
    ]
}

#[tokio::test]
async fn buf_curl_asks_each_contract_by_reflection() {
    let bus = Bus::start(Plan::default()).await;
    for (method, request, place, expected) in calls(&bus) {
        let printed = buf_curl(&bus, "ais/portal", &method, &request).await;
        assert_eq!(printed.code, Some(0), "{}", printed.text);
        assert_eq!(printed.answers[0].pointer(place), Some(&expected), "{}", printed.text);
    }
    // A refusal is readable, and its exit code is the gRPC code times eight.
    let (method, request, ..) = calls(&bus).pop().expect("calls");
    let refused = buf_curl(&bus, "mashti/school-books", &method, &request).await;
    assert_eq!(refused.code, Some(7 << 3), "{}", refused.text);
    assert!(refused.text.contains("permission_denied"), "{}", refused.text);
    assert!(refused.text.contains("GRANT_MISSING"), "{}", refused.text);
}

#[tokio::test]
async fn ura_call_asks_each_contract_by_reflection() {
    let bus = Bus::start(Plan::default()).await;
    for (method, request, place, expected) in calls(&bus) {
        let printed = ura_call(&bus, "ais/portal", &method, &request).await;
        assert_eq!(printed.code, Some(0), "{}", printed.text);
        assert_eq!(printed.answers[0].pointer(place), Some(&expected), "{}", printed.text);
    }
    let (method, request, ..) = calls(&bus).pop().expect("calls");
    let refused = ura_call(&bus, "mashti/school-books", &method, &request).await;
    assert_ne!(refused.code, Some(0), "{}", refused.text);
    assert!(refused.text.contains("GRANT_MISSING"), "{}", refused.text);
    // Its record is found by the id that it was told.
    let id = refused.text.split(|c: char| !c.is_ascii_hexdigit() && c != '-').find(|word| word.len() == 36);
    let mut command = ura();
    command.args(["evidence", "find", id.expect("an exchange id"), "--config"]).arg(bus.path("gateway.toml"));
    let found = run("ura evidence", &mut command).await;
    assert_eq!(found.code, Some(0), "{}", found.text);
    assert!(
        found.text.contains("mashti/school-books") && found.text.contains("GRANT_MISSING"),
        "{}",
        found.text
    );
}
