//! A trace that begins in Python, with OpenTelemetry's own SDK, and is shown whole by `ura trace`: the SDK gives its
//! span to the bus, too.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::json;

use crate::{
    bus::{Bus, Plan, VEHICLES},
    clients::python,
    portal::{frame, purpose},
    process::{Process, ura},
    spans::{printed, receiver},
    world::patient,
};

/// `ura trace` on the bus's store.
fn trace(bus: &Bus, what: &[&str]) -> Output {
    let mut command = ura();
    command.arg("trace").args(what).arg("--config").arg(bus.path("gateway.toml"));
    command.output().expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks until the answer is enough: spans come a moment after the call.
async fn shown(bus: &Bus, what: &[&str], enough: impl Fn(&str) -> bool) -> String {
    let looked = async {
        loop {
            let shown = text(&trace(bus, what));
            if enough(&shown) {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    };
    patient(looked).await
}

/// What the script printed behind `name `.
fn told(lines: &[String], name: &str) -> String {
    let start = format!("{name} ");
    let line = lines.iter().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{name} in {lines:#?}")).to_owned()
}

#[tokio::test]
async fn a_trace_of_pythons_sdk_is_shown_whole() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut receiver, port) = receiver(folder.path()).await;
    let otlp = Some(format!("http://127.0.0.1:{port}"));
    let mut bus = Bus::start(Plan { otlp, ..Plan::default() }).await;
    let facts = json!({
        "address": bus.address, "portal": bus.identity("ais/portal"),
        "asked": format!("{VEHICLES}/GetVehicle"), "plate": bus.population.vehicles[0].plate,
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/otel_portal.py");
    let mut client =
        Process::start("otel", Command::new(python()).arg("-B").arg(script).arg(facts.to_string()));
    let status = client.ended().await;
    let lines = client.lines();
    assert!(status.success(), "opentelemetry-sdk (`./test` installs it):\n{}", lines.join("\n"));
    let id = told(&lines, "trace");

    // One picture: the caller, the gateway, the adapter, the register; and what evidence says.
    let whole = |shown: &str| shown.lines().filter(|line| line.contains('|')).count() == 4;
    let picture = shown(&bus, &[&id], whole).await;
    let rows: Vec<&str> = picture.lines().filter(|line| line.contains('|')).collect();
    let expected = [
        "ais/portal    a citizen opens the page".to_owned(),
        format!("ais/gateway     {VEHICLES}/GetVehicle  OK"),
        format!("mpb/vehicles      {VEHICLES}/GetVehicle  OK"),
        "mpb/vehicles        register GetVehicle".to_owned(),
    ];
    for (row, expected) in rows.iter().zip(&expected) {
        assert!(row.ends_with(expected), "{expected}:\n{picture}");
    }
    let exchange = told(&lines, "exchange");
    assert!(picture.contains(&format!("exchange {exchange}\n")), "{picture}");
    assert!(picture.contains("  consumer  ais/portal\n"), "{picture}");
    assert_eq!(text(&trace(&bus, &[&exchange])), picture, "found by the exchange as by the trace");

    // A refusal's whole text leads there in one step.
    let refusal = told(&lines, "refusal");
    let found = shown(&bus, &[&refusal], |shown| shown.contains('|')).await;
    assert!(found.contains("INVALID_ARGUMENT PURPOSE_MISSING"), "{found}");
    assert!(found.contains("  ended     refused: PURPOSE_MISSING"), "{found}");

    for (what, code, says) in [
        (vec!["0af7651916cd43dd8448eb211c80319c"], 1, "is not known here"),
        (vec!["no", "id", "at", "all"], 2, "neither an exchange id"),
    ] {
        let output = trace(&bus, &what);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(says), "{error}");
    }

    // The same reaches the receiver.
    for mut process in bus.adapters.drain(..).chain(bus.gateway.take()) {
        process.signal("TERM");
        assert_eq!(process.ended().await.code(), Some(0));
    }
    receiver.signal("TERM");
    receiver.ended().await;
    let all = printed(&receiver.lines());
    let mut services: Vec<&str> =
        all.iter().filter(|span| span.trace == id).map(|span| span.service.as_str()).collect();
    services.sort_unstable();
    assert_eq!(services, ["ais/gateway", "ais/portal", "mpb/vehicles", "mpb/vehicles"], "{all:#?}");
}

#[tokio::test]
async fn exchanges_are_listed_and_followed() {
    let bus = Bus::start(Plan::default()).await;
    let portal = bus.portal().await;
    let request = json!({ "plate": bus.population.vehicles[0].plate });
    let method = format!("{VEHICLES}/GetVehicle");
    let first = portal.ask(&method, request.clone()).await.ended.exchange();
    bus.closed(first).await;
    let list = |more: &[&str]| {
        let mut command = ura();
        command.arg("exchanges").arg("--config").arg(bus.path("gateway.toml")).args(more);
        command
    };
    let lines = text(&list(&["--provider", "mpb/vehicles"]).output().expect("it runs"));
    let line = format!(" {first} ais/portal -> mpb/vehicles {method} Ok in ");
    assert!(lines.lines().count() == 1 && lines.contains(&line), "{lines}");
    let none = list(&["--reason", "GRANT_EXPIRED"]).output().expect("it runs");
    assert_eq!(none.status.code(), Some(1));

    let follow = Process::start("exchanges", &mut list(&["--follow", "--method", &method]));
    follow.says(&[&first.to_string()]).await;
    let second = portal.ask(&method, request).await.ended.exchange();
    follow.says(&[&second.to_string(), " Ok in "]).await;
    // With two purposes, so it is refused: it has no other end.
    let refused = portal.ask_with(&method, &[("ura-purpose", "other")], json!({})).await.ended.exchange();
    follow.says(&[&refused.to_string(), " refused: "]).await;
    let seen = follow.lines();
    assert_eq!(seen.len(), 3, "each once: {seen:#?}");
    // One trace in a hundred is sampled here; what was refused has its span all the same.
    let picture = shown(&bus, &[&refused.to_string()], |shown| shown.contains('|')).await;
    assert!(picture.contains(&format!("ais/gateway  {method}  INVALID_ARGUMENT ")), "{picture}");
}

#[tokio::test]
async fn a_call_whose_caller_left_has_its_span_where_it_was_slow() {
    let mut bus = Bus::without_gateway(Plan { patient: true, ..Plan::default() }).await;
    let config = bus.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    std::fs::write(&config, text + "[traces]\nslow_ms = 0\n").expect("written");
    bus.gateway = Some(bus.start_gateway().await);
    bus.plugged(bus.gateway()).await;
    bus.fault("vehicles", json!({ "delay_ms": 60_000 })).await;
    let method = format!("{VEHICLES}/GetVehicle");
    // One that is not sampled: its id lies at the end of all.
    let id = "4bf92f3577b34da6a3ce929dffffffff";
    let trace_of = format!("00-{id}-00f067aa0ba902b7-01");
    let metadata = [("ura-purpose", purpose(&method)), ("traceparent", trace_of.as_str())];
    let mut call = bus.portal().await.client.start(&format!("/{method}"), &metadata);
    call.bytes(frame(&method, json!({ "plate": bus.population.vehicles[0].plate }))).await;
    call.close();
    bus.requests_until("vehicles", |log| log.iter().any(|request| request["state"] == "open")).await;
    call.abandon();
    let picture = shown(&bus, &[id], |shown| shown.contains('|')).await;
    assert!(picture.contains(&format!("ais/gateway  {method}  CANCELLED\n")), "{picture}");
}
