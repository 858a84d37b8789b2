//! What the page says is what happened.

use std::{collections::BTreeSet, process::Stdio};

use tokio::io::AsyncWriteExt as _;
use ura_proto::refusal::Reason;
use ura_runtime::process::Shutdown;

use super::pages::Shown;
use crate::world::{
    Plan, World,
    client::framed,
    directory, patient,
    probe::{Ask, Probe},
    store::Store,
};

const KEY: [(&str, &str); 1] = [("idempotency-key", "k-1")];
const PROBE: [(&str, &str); 3] =
    [("consumer", "ais/portal"), ("contract", "test.v1.Probe"), ("provider", "arc/probe")];

pub fn wish(wish: &str) -> Ask {
    Ask { personal_number: "1803478194".to_owned(), wish: wish.to_owned(), ..Ask::default() }
}

pub async fn world() -> World {
    World::with(Plan { metrics: true, ..Plan::default() }).await
}

fn exchanges(shown: &Shown, labels: &[(&str, &str)], code: &str, reason: &str) -> f64 {
    let labels = [labels, &[("code", code), ("reason", reason)]].concat();
    shown.value("ura_exchanges_total", &labels)
}

/// All exchanges together.
fn all(shown: &Shown) -> f64 {
    shown.samples("ura_exchanges_total").map(|sample| sample.value).sum()
}

#[tokio::test]
async fn every_exchange_is_counted_once_by_how_it_ended() {
    let world = world().await;
    let (portal, other) = (world.portal().await, world.client("ais/other").await);
    assert_eq!(all(&Shown::of(&world).await), 0.0);
    for _ in 0..3 {
        assert_eq!(portal.call("Read", &[], &wish("")).await.status(), 0);
    }
    assert_eq!(portal.call("Write", &KEY, &wish("")).await.status(), 0);
    assert_eq!(portal.call("Down", &[], &wish("")).await.status(), 0);
    assert_eq!(portal.call("Read", &[], &wish("error:5")).await.status(), 5);
    assert_eq!(portal.call("Read", &[], &wish("no-status")).await.reason(), "CONTRACT_MISMATCH");
    assert_eq!(portal.call("Write", &[], &wish("")).await.reason(), "IDEMPOTENCY_KEY_MISSING");
    assert_eq!(other.call("Read", &[], &wish("")).await.reason(), "GRANT_MISSING");
    assert_eq!(portal.call("/no.such.v1.Service/Read", &[], &wish("")).await.reason(), "SERVICE_UNKNOWN");
    // One whose caller goes away.
    let mut left = portal.start("Read", &[]);
    left.bytes(framed(&wish("hang"))).await;
    left.close();
    world.probe.until(|calls| calls.len() == 8).await;
    left.abandon();
    let expected = [
        (&PROBE[..], "OK", "", 5.0),
        (&PROBE, "NOT_FOUND", "", 1.0),
        (&PROBE, "INTERNAL", "CONTRACT_MISMATCH", 1.0),
        (&PROBE, "INVALID_ARGUMENT", "IDEMPOTENCY_KEY_MISSING", 1.0),
        (&PROBE, "CANCELLED", "_left", 1.0),
        (&[("consumer", "ais/other"), PROBE[1]], "PERMISSION_DENIED", "GRANT_MISSING", 1.0),
        (&[PROBE[0], ("contract", "_other"), ("provider", "_none")], "UNIMPLEMENTED", "SERVICE_UNKNOWN", 1.0),
    ];
    let shown = Shown::when(&world, |shown| all(shown) >= 11.0).await;
    assert_eq!(all(&shown), 11.0, "{}", shown.text);
    for (labels, code, reason, count) in expected {
        assert_eq!(exchanges(&shown, labels, code, reason), count, "{code} {reason}\n{}", shown.text);
    }
    let asked = shown.value("ura_exchange_request_bytes_total", &PROBE);
    let told = shown.value("ura_exchange_reply_bytes_total", &PROBE);
    assert!(asked > 8.0 * 12.0 && told > 4.0 * 12.0, "{asked} {told}");
    // Answered unary exchanges alone: three reads and the NOT_FOUND; one write.
    for (kind, count) in [("read", 4.0), ("write", 1.0)] {
        assert_eq!(shown.value("ura_exchange_overhead_seconds_count", &[("kind", kind)]), count, "{kind}");
    }
    // The same, the one that was no gRPC, and the one whose caller gave up waiting for the register.
    assert_eq!(shown.value("ura_service_register_seconds_count", &PROBE[1..]), 7.0);
    assert_eq!(shown.value("ura_service_call_seconds_count", &PROBE[1..]), 7.0);
    // Streams are not timed.
    assert_eq!(shown.value("ura_service_exchanges_total", &PROBE[1..]), 8.0);
    assert_eq!(shown.value("ura_service_failures_total", &PROBE[1..]), 1.0);
    world.end().await;
}

#[tokio::test]
async fn the_registers_time_is_not_the_buses_own() {
    let world = world().await;
    let portal = world.portal().await;
    let mut slow = portal.start("Read", &[]);
    slow.bytes(framed(&wish("wait"))).await;
    slow.close();
    world.probe.until(|calls| calls.len() == 1).await;
    let began = std::time::Instant::now();
    // The register takes as long as it takes to look two hundred times.
    for _ in 0..200 {
        let shown = Shown::of(&world).await;
        assert_eq!(shown.value("ura_service_calls", &PROBE[1..]), 1.0);
        assert_eq!(shown.value("ura_calls", &[]), 1.0);
    }
    let waited = began.elapsed().as_secs_f64();
    world.probe.release();
    assert_eq!(patient(slow.ended()).await.status(), 0);
    let shown = Shown::when(&world, |shown| all(shown) == 1.0).await;
    let sum = |name: &str, labels: &[(&str, &str)]| shown.value(&format!("{name}_sum"), labels);
    let register = sum("ura_service_register_seconds", &PROBE[1..]);
    let call = sum("ura_service_call_seconds", &PROBE[1..]);
    let overhead = sum("ura_exchange_overhead_seconds", &[("kind", "read")]);
    assert!(register >= waited, "{register} {waited}");
    assert!(overhead > 0.0 && overhead + register <= call * 1.000_001, "{overhead} {register} {call}");
    assert_eq!((shown.value("ura_calls", &[]), shown.value("ura_service_calls", &PROBE[1..])), (0.0, 0.0));
    world.end().await;
}

#[tokio::test]
async fn plugs_health_certificates_and_connections_are_those_of_now() {
    let world = world().await;
    let portal = world.portal().await;
    assert_eq!(portal.call("Read", &[], &wish("")).await.status(), 0);
    let plugged = |count: f64| {
        move |shown: &Shown| {
            shown.value("ura_service_plugs", &PROBE[1..]) == count
                && shown.value("ura_connections", &[("role", "adapter")]) == count
        }
    };
    let shown = Shown::when(&world, plugged(2.0)).await;
    assert!(shown.value("ura_connections", &[("role", "consumer")]) >= 1.0);
    let health =
        |shown: &Shown, of: &str| shown.value("ura_service_health", &[PROBE[1], PROBE[2], ("health", of)]);
    assert_eq!(health(&shown, "serving"), 1.0);
    assert_eq!(shown.samples("ura_service_health").map(|sample| sample.value).sum::<f64>(), 1.0);
    let now = crate::world::now().unix_timestamp() as f64;
    for (system, role) in [("ais/gateway", "gateway"), ("ais/portal", "consumer"), ("arc/probe", "adapter")] {
        let ends =
            shown.value("ura_certificate_expiry_timestamp_seconds", &[("system", system), ("role", role)]);
        let days = (ends - now) / 86_400.0;
        assert!((0.9..=1.0).contains(&days), "{system}: {days}");
    }
    let (probe, shutdown) = (Probe::new(), Shutdown::new());
    let second = world.plug("arc/probe", &probe, &shutdown).await;
    patient(second.plugged_in()).await.unwrap();
    Shown::when(&world, plugged(4.0)).await;
    world.probe.healthy.send_replace(false);
    Shown::when(&world, |shown| health(shown, "impaired") == 1.0).await;
    probe.healthy.send_replace(false);
    Shown::when(&world, |shown| health(shown, "not-serving") == 1.0).await;
    shutdown.drain();
    patient(second.finished()).await;
    world.adapter_shutdown.drain();
    let shown = Shown::when(&world, plugged(0.0)).await;
    assert_eq!(health(&shown, "no-adapter"), 1.0);
    world.end().await;
}

#[tokio::test]
async fn the_state_of_evidence_and_of_the_directory_is_told() {
    let world = world().await;
    let portal = world.portal().await;
    assert_eq!(portal.call("Write", &KEY, &wish("")).await.status(), 0);
    let shown = Shown::of(&world).await;
    assert_eq!(shown.value("ura_evidence_available", &[]), 1.0);
    // Start, opening, closing.
    assert!(shown.value("ura_evidence_entries", &[]) >= 3.0);
    assert!(shown.value("ura_evidence_commit_seconds_count", &[]) >= 2.0);
    Shown::when(&world, |shown| shown.value("ura_evidence_unsigned_entries", &[]) == 0.0).await;
    let mut store = Store::open(&world.store).await;
    store.hinder().await;
    assert_eq!(portal.call("Read", &[], &wish("")).await.reason(), "EVIDENCE_UNAVAILABLE");
    let shown = Shown::when(&world, |shown| {
        shown.value("ura_evidence_refused_exchanges_total", &[]) == 1.0 && all(shown) == 2.0
    })
    .await;
    assert_eq!(shown.value("ura_evidence_available", &[]), 0.0);
    assert!(shown.value("ura_evidence_failures_total", &[]) >= 1.0);
    assert_eq!(exchanges(&shown, &PROBE, "UNAVAILABLE", "EVIDENCE_UNAVAILABLE"), 1.0);
    store.mend().await;
    Shown::when(&world, |shown| shown.value("ura_evidence_available", &[]) == 1.0).await;

    assert_eq!(shown.value("ura_directory_info", &[("version", "test-1")]), 1.0);
    let taken = shown.value("ura_directory_published_timestamp_seconds", &[]);
    let refused = |of: f64| move |shown: &Shown| shown.value("ura_directory_refused", &[]) == of;
    world.write_directory("version = 7");
    Shown::when(&world, refused(1.0)).await;
    // The old one again: nothing is published, and nothing is wrong any more.
    world.write_directory(&directory());
    let shown = Shown::when(&world, refused(0.0)).await;
    assert_eq!(shown.value("ura_directory_published_timestamp_seconds", &[]), taken);
    world.write_directory(&directory().replace("test-1", "test-2"));
    let version = |shown: &Shown| shown.value("ura_directory_info", &[("version", "test-2")]) == 1.0;
    let shown = Shown::when(&world, version).await;
    assert_eq!(shown.samples("ura_directory_info").count(), 1);
    Shown::when(&world, |shown| shown.value("ura_directory_published_timestamp_seconds", &[]) > taken).await;
    world.end().await;
}

#[tokio::test]
async fn labels_are_of_closed_sets_and_promtool_approves_the_page() {
    let limits = "counted_pairs_max = 2".to_owned();
    let world = World::with(Plan { metrics: true, limits, ..Plan::default() }).await;
    let (portal, other) = (world.portal().await, world.client("ais/other").await);
    // A system with a certificate of the bus that the directory does not name.
    crate::world::issue(&world.authority, world.dir.path(), "zzz/stranger", &[]);
    let stranger = world.client("zzz/stranger").await;
    assert_eq!(stranger.call("Read", &[], &wish("")).await.reason(), "CALLER_UNKNOWN");
    assert_eq!(portal.call("Read", &[], &wish("")).await.status(), 0);
    assert_eq!(other.call("/made.Up/ByACaller", &[], &wish("")).await.reason(), "SERVICE_UNKNOWN");
    assert_eq!(
        other.call("Read", &[("ura-provider", "zzz/made-up")], &wish("")).await.reason(),
        "PROVIDER_UNKNOWN"
    );
    let shown = Shown::when(&world, |shown| all(shown) == 4.0).await;
    assert_eq!(shown.value("ura_exchanges_uncounted_total", &[]), 2.0);
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).chain([""]).collect();
    let seen: BTreeSet<_> = shown
        .families
        .iter()
        .filter(|(family, _)| !family.ends_with("_info"))
        .flat_map(|(_, family)| &family.samples)
        .flat_map(|sample| &sample.labels)
        .collect();
    for (label, value) in seen {
        let known: &[&str] = match label.as_str() {
            "consumer" => &["ais/portal", "ais/other", "_other"],
            "contract" => &["test.v1.Probe", "_other"],
            "provider" => &["arc/probe", "_other", "_none"],
            "code" => &["OK", "PERMISSION_DENIED", "UNIMPLEMENTED", "INVALID_ARGUMENT"],
            "reason"
                if ["handshake_failed", "handshake_timed_out", "over_limit"].contains(&value.as_str()) =>
            {
                continue;
            }
            "reason" => &reasons,
            "kind" => &["read", "write"],
            "health" => &["no-adapter", "not-serving", "failing", "trying", "impaired", "serving"],
            "state" => &["busy", "idle"],
            "way" => &["own", "store", "collector"],
            "role" => &["consumer", "adapter", "gateway"],
            "system" => &["ais/portal", "ais/other", "ais/gateway", "arc/probe", "_other"],
            "le" => continue,
            other => panic!("the label {other} has no closed set"),
        };
        assert!(known.contains(&value.as_str()), "{label}=\"{value}\" is of no closed set");
    }
    let mut promtool =
        tokio::process::Command::new(std::env::var_os("URA_TEST_PROMTOOL").expect("./test tools"))
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
    promtool.stdin.take().unwrap().write_all(shown.text.as_bytes()).await.unwrap();
    let output = patient(promtool.wait_with_output()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    world.end().await;
}

#[tokio::test]
async fn without_the_table_nothing_is_shown_and_after_the_drain_nothing_any_more() {
    let world = World::new().await;
    assert_eq!(world.gateway.as_ref().unwrap().metrics_address(), None);
    world.end().await;
    let mut world = self::world().await;
    let address = world.gateway.as_ref().unwrap().metrics_address().unwrap();
    world.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
