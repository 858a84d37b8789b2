//! A real Prometheus reads a real gateway, and what goes wrong there fires the operators' alerts.

use serde_json::Value;

use super::{
    numbers::{self, wish},
    prometheus::Prometheus,
};
use crate::world::{Plan, World, client::framed, directory, patient, store::Store};

async fn reads(world: &World) -> Prometheus {
    Prometheus::start(world.gateway.as_ref().unwrap().metrics_address().unwrap()).await
}

/// An alert fires, with these labels, and its texts are whole.
async fn fires(prometheus: &Prometheus, alert: &str, labels: &[(&str, &str)]) {
    let found = prometheus.firing(alert).await;
    for (name, value) in labels {
        assert_eq!(found["labels"][*name], *value, "{found}");
    }
    for text in ["summary", "description"].map(|key| found["annotations"][key].as_str().unwrap()) {
        assert!(!text.is_empty() && !text.contains("<no value>") && !text.contains("<error"), "{found}");
        assert!(!text.contains(" , ") && !text.contains("  ") && !text.contains("()"), "{found}");
    }
}

#[tokio::test]
async fn prometheus_reads_what_the_gateway_shows() {
    let world = numbers::world().await;
    let portal = world.portal().await;
    for _ in 0..3 {
        assert_eq!(portal.call("Read", &[], &wish("")).await.status(), 0);
    }
    let prometheus = reads(&world).await;
    let found =
        prometheus.when("sum by (consumer, contract, provider, code) (ura_exchanges_total) == 3").await;
    let [(labels, _)] = found.as_slice() else { panic!("{found:?}") };
    let expected = serde_json::json!({
        "consumer": "ais/portal", "contract": "test.v1.Probe", "provider": "arc/probe", "code": "OK",
    });
    assert_eq!(*labels, expected);
    let found = prometheus
        .query("histogram_quantile(0.5, ura_exchange_overhead_seconds_bucket{kind=\"read\"})")
        .await;
    assert!(found[0].1 > 0.0, "{found:?}");
    // It kept what kind each family is.
    let kinds = prometheus.get("metadata").await;
    for (name, kind) in [
        ("ura_exchanges_total", "counter"),
        ("ura_service_plugs", "gauge"),
        ("ura_evidence_commit_seconds", "histogram"),
    ] {
        assert_eq!(kinds[name][0]["type"], kind);
    }
    // And nothing of what it read was thrown away.
    let targets = prometheus.get("targets").await;
    assert_eq!(targets["activeTargets"][0]["lastError"], Value::from(""), "{targets}");
    prometheus.end().await;
    world.end().await;
}

#[tokio::test]
async fn a_bus_in_trouble_fires_alerts() {
    let one = r#"services = [{ contract = "test.v1.Probe", provider = "arc/probe" }]"#;
    let two = r#"services = [
        { contract = "test.v1.Probe", provider = "arc/probe", calls_in_flight_max = 1, queue_max = 1, wait_ms = 60000 },
        { contract = "test.v1.Probe", provider = "arc/second" },
    ]"#;
    let two = directory().replace(one, two);
    assert_ne!(two, directory());
    let limits = "calls_in_flight_max = 2\ncounted_pairs_max = 1".to_owned();
    let world = World::with(Plan { metrics: true, directory: two, limits, ..Plan::default() }).await;
    let prometheus = reads(&world).await;
    let service = [("contract", "test.v1.Probe"), ("provider", "arc/second")];
    fires(&prometheus, "UraServiceWithoutPlug", &service).await;
    // The certificates of these tests last for a day.
    for alert in ["UraCertificateEndsSoon", "UraCertificateEndsVerySoon"] {
        fires(&prometheus, alert, &[]).await;
    }
    let so_far = prometheus.all_firing().await;
    let expected = |name: &String| name.starts_with("UraCertificate") || name == "UraServiceWithoutPlug";
    assert!(so_far.iter().all(expected), "nothing else is wrong: {so_far:?}");

    world.write_directory("version = 7");
    fires(&prometheus, "UraDirectoryRefused", &[]).await;

    // One call has the service's only place, another waits for it; together they are all that may be.
    let portal = world.portal().await;
    let mut calls = Vec::new();
    for _ in 0..2 {
        let mut call = portal.start("Read", &[]);
        call.bytes(framed(&wish("wait"))).await;
        call.close();
        calls.push(call);
    }
    let service = [("contract", "test.v1.Probe"), ("provider", "arc/probe")];
    fires(&prometheus, "UraServiceCrowded", &service).await;
    fires(&prometheus, "UraCallsNearFull", &[]).await;
    world.probe.release();
    for call in calls {
        assert_eq!(patient(call.ended()).await.status(), 0);
    }

    // Pairs beyond the bound, until the growth was seen.
    let other = world.client("ais/other").await;
    let alert = fires(&prometheus, "UraMetricsOverflow", &[]);
    let asks = async {
        loop {
            other.call("Read", &[], &wish("")).await;
        }
    };
    tokio::select! {
        () = alert => {}
        () = asks => {}
    }
    prometheus.end().await;
    world.end().await;
}

#[tokio::test]
async fn a_register_a_store_and_a_gateway_that_are_gone_fire_alerts() {
    let mut world = numbers::world().await;
    let prometheus = reads(&world).await;
    let portal = world.portal().await;
    let failing = async {
        loop {
            portal.call("Read", &[], &wish("error:14")).await;
        }
    };
    let service = [("contract", "test.v1.Probe"), ("provider", "arc/probe")];
    let alerts = async {
        fires(&prometheus, "UraExchangesFailing", &service).await;
        fires(&prometheus, "UraServiceFailing", &service).await;
    };
    tokio::select! {
        () = alerts => {}
        () = failing => {}
    }
    let mut store = Store::open(&world.store).await;
    store.hinder().await;
    assert_eq!(portal.call("Read", &[], &wish("")).await.reason(), "EVIDENCE_UNAVAILABLE");
    fires(&prometheus, "UraEvidenceUnavailable", &[]).await;
    store.mend().await;
    prometheus.when("ura_evidence_available == 1").await;
    world.stop().await;
    fires(&prometheus, "UraGatewayDown", &[]).await;
    prometheus.end().await;
}
