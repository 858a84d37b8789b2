//! The directory while the gateway runs: changes take effect without a restart, a file with errors
//! changes nothing, and evidence names the version that was decided on.

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use ura_proto::contract::Contract;
use ura_runtime::process::Shutdown;

use crate::world::{
    BEGIN_UNIX_US, Plan, World,
    client::{Client, Ended},
    directory, issue, journal, patient,
    probe::{Ask, Probe},
};

const HOUR_US: i64 = 3_600_000_000;

/// Calls until the answer is as wanted.
async fn until(client: &Client, method: &str, wanted: impl Fn(&Ended) -> bool) -> Ended {
    patient(async {
        loop {
            let ended =
                client.call(method, &[], &Ask { personal_number: "1".into(), ..Ask::default() }).await;
            if wanted(&ended) {
                return ended;
            }
        }
    })
    .await
}

fn version(text: &str, version: &str) -> String {
    let changed = text.replace("\"test-1\"", &format!("\"{version}\""));
    assert_ne!(changed, text);
    changed
}

#[tokio::test]
async fn a_grant_that_is_taken_away_ends_at_once_and_evidence_names_the_version() {
    let world = World::new().await;
    let client = world.portal().await;
    let before = client.call("Read", &[], &Ask::default()).await;
    assert_eq!(before.status(), 0);
    let text = directory();
    let (without, _) = text.split_once("[[grants]]").unwrap();
    world.write_directory(&version(without, "test-2"));
    let refused = until(&client, "Read", |ended| ended.status() != 0).await;
    assert_eq!(refused.reason(), "GRANT_MISSING");
    world.write_directory(&version(&text, "test-3").replace("g-portal", "g-again"));
    let after = until(&client, "Read", |ended| ended.status() == 0).await;
    let mut seen = Vec::new();
    for (ended, version, grant) in
        [(before, "test-1", "g-portal"), (refused, "test-2", ""), (after, "test-3", "g-again")]
    {
        let records = world.evidence(ended.exchange()).await;
        let opening = records.opening();
        assert_eq!((opening.directory_version.as_str(), opening.grant.as_str()), (version, grant));
        assert_eq!(opening.directory_digest.len(), 32);
        assert!(!seen.contains(&opening.directory_digest), "each file has its digest");
        seen.push(opening.directory_digest.clone());
    }
    world.end().await;
}

#[tokio::test]
async fn a_file_with_errors_changes_nothing_and_says_why() {
    journal::listen();
    let first = "kept-while-broken";
    let world = World::with(Plan { directory: version(&directory(), first), ..Plan::default() }).await;
    let client = world.portal().await;
    let text = directory();
    let broken = [
        (text.replace("\"*\"", "\"Absent\""), "has no method Absent"),
        (text.replace("version = \"test-1\"", "version = \"test-1"), "directory.toml:2:"),
        (text.replace("arc/probe", "Arc/Probe"), "is not a system id"),
        (text.replace("ais/portal\"\n", "ais/nobody\"\n"), "ais/nobody is not in [[systems]]"),
        (text.replace("probe.proto", "absent.proto"), "absent.proto"),
        (text.replace("methods =", "method ="), "unknown key `method`"),
        (String::new(), "version"),
    ];
    for (changed, why) in broken {
        assert_ne!(changed, text);
        world.write_directory(&changed);
        let told = ura_gateway::check_directory(&world.path("directory.toml")).unwrap_err().to_string();
        assert!(told.contains(why), "the check says the same: {told}");
        let line = journal::said(&[first, "is not published", why]).await;
        assert!(line.contains("directory.toml:"), "with its place: {line}");
        let ended = client.call("Read", &[], &Ask::default()).await;
        assert_eq!(ended.status(), 0, "after {why}");
        assert_eq!(world.evidence(ended.exchange()).await.opening().directory_version, first);
    }
    std::fs::remove_file(world.path("directory.toml")).unwrap();
    journal::said(&[first, "is not published", "directory.toml", "cannot be read"]).await;
    assert_eq!(client.call("Read", &[], &Ask::default()).await.status(), 0);
    world.write_directory(
        &version(&text, "mended").replace("ais/portal\"\nprovider", "ais/other\"\nprovider"),
    );
    let refused = until(&client, "Read", |ended| ended.status() != 0).await;
    assert_eq!(world.evidence(refused.exchange()).await.opening().directory_version, "mended");
    world.end().await;
}

const GRANT: &str = r#"
[[grants]]
id = "g-later"
consumer = "ais/portal"
provider = "arc/later"
contract = "test.v2.Later"
methods = ["*"]
"#;

/// The usual directory with one more system, contract, service and grant.
fn with_later() -> String {
    let mut text = version(&directory(), "test-2");
    for (from, more) in [
        ("  { id = \"arc/second\"", "  { id = \"arc/later\", roles = [\"provider\"] },\n"),
        ("{ name = \"test.v1.Probe\"", "{ name = \"test.v2.Later\", proto = \"later.proto\" }, "),
        ("{ contract = \"test.v1.Probe\"", "{ contract = \"test.v2.Later\", provider = \"arc/later\" }, "),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, &format!("{more}{from}"), 1);
    }
    text + GRANT
}

#[tokio::test]
async fn a_new_contract_plugs_in_the_adapter_that_was_waiting_for_it() {
    journal::listen();
    let world = World::new().await;
    issue(&world.authority, world.dir.path(), "arc/later", &[]);
    let text = std::fs::read_to_string(world.path("probe.proto")).unwrap();
    let text = text.replace("package test.v1", "package test.v2").replace("service Probe", "service Later");
    std::fs::create_dir(world.path("own")).unwrap();
    std::fs::write(world.path("own/later.proto"), &text).unwrap();
    let contract = Contract::from_proto("test.v2.Later", &world.path("own/later.proto"), &[]).unwrap();
    let (probe, shutdown) = (Probe::new(), Shutdown::new());
    let services = probe.services_named("test.v2.Later", &contract.descriptor_set);
    let adapter = world.plug_with("arc/later", services, &shutdown).await;
    let mut verdict = adapter.verdict();
    patient(verdict.wait_for(|v| v.connections == 2 && !v.refused.is_empty())).await.unwrap();
    let client = world.portal().await;
    assert_eq!(client.call("/test.v2.Later/Read", &[], &Ask::default()).await.reason(), "SERVICE_UNKNOWN");
    // The directory comes before the contract that it names: it is published when that is there.
    world.write_directory(&with_later());
    journal::said(&["is not published", "later.proto"]).await;
    assert_eq!(client.call("/test.v2.Later/Read", &[], &Ask::default()).await.reason(), "SERVICE_UNKNOWN");
    std::fs::write(world.path("later.next"), &text).unwrap();
    std::fs::rename(world.path("later.next"), world.path("later.proto")).unwrap();
    patient(verdict.wait_for(|v| v.accepted.contains("test.v2.Later"))).await.unwrap();
    let ended = until(&client, "/test.v2.Later/Read", |ended| ended.status() == 0).await;
    let records = world.evidence(ended.exchange()).await;
    assert_eq!(records.opening().provider, "arc/later");
    assert_eq!((records.opening().grant.as_str(), records.opening().subjects.len()), ("g-later", 1));
    let gone = journal::lines(&["a plug is gone", "arc/later"]);
    assert!(gone.is_empty(), "on the connections that were there: {gone:?}");
    // What is taken out again is gone for callers and adapter alike.
    world.write_directory(&version(&directory(), "test-3"));
    until(&client, "/test.v2.Later/Read", |ended| ended.reason() == "SERVICE_UNKNOWN").await;
    patient(verdict.wait_for(|v| v.refused.contains_key("test.v2.Later"))).await.unwrap();
    assert_eq!(client.call("Read", &[], &Ask::default()).await.status(), 0, "others notice nothing");
    shutdown.drain();
    patient(adapter.finished()).await;
    world.end().await;
}

#[tokio::test]
async fn a_changed_contract_turns_its_adapter_away_and_takes_it_back() {
    let limits = "plug_wait_ms = 0".to_owned();
    let world = World::with(Plan { limits, ..Plan::default() }).await;
    let client = world.portal().await;
    let text = std::fs::read_to_string(world.path("probe.proto")).unwrap();
    let write = |text: &str| {
        std::fs::write(world.path("proto.next"), text).unwrap();
        std::fs::rename(world.path("proto.next"), world.path("probe.proto")).unwrap();
    };
    write(&text.replace("string wish = 2;", "string wish = 2;\n  string more = 9;"));
    let refused = until(&client, "Read", |ended| ended.status() != 0).await;
    assert_eq!(refused.reason(), "REGISTER_UNAVAILABLE");
    let mut verdict = world.adapter.as_ref().unwrap().verdict();
    let seen = patient(verdict.wait_for(|v| v.accepted.is_empty())).await.unwrap().clone();
    assert!(seen.refused["test.v1.Probe"].contains("test.v1.Ask = 9"), "{seen:?}");
    write(&text);
    until(&client, "Read", |ended| ended.status() == 0).await;
    world.end().await;
}

#[tokio::test]
async fn a_grant_holds_from_its_first_to_before_its_last_microsecond() {
    let window = "methods = [\"*\"]\nfrom = 2026-11-22T13:00:00Z\nuntil = 2026-11-22T14:00:00+00:00\n";
    let text = directory().replace("methods = [\"*\"]\n", window);
    let world = World::with(Plan { directory: text, ..Plan::default() }).await;
    let client = world.portal().await;
    for (passed_us, reason) in [
        (0, "GRANT_NOT_YET_VALID"),
        (HOUR_US - 1, "GRANT_NOT_YET_VALID"),
        (1, ""),
        (HOUR_US - 1, ""),
        (1, "GRANT_EXPIRED"),
        (HOUR_US * 24 * 365, "GRANT_EXPIRED"),
    ] {
        world.clock.advance_us(passed_us);
        let ended = client.call("Read", &[], &Ask::default()).await;
        assert_eq!(ended.reason(), reason, "{passed_us}");
        assert_eq!(ended.status(), if reason.is_empty() { 0 } else { 7 });
        assert_eq!(world.evidence(ended.exchange()).await.opening().refusal, reason);
    }
    world.end().await;
}

#[tokio::test]
async fn an_opening_names_the_grant_its_disclosure_and_the_certificate() {
    const DAY_US: i64 = 86_400_000_000;
    let world = World::new().await;
    let client = world.portal().await;
    let der = CertificateDer::from_pem_file(world.identity("ais/portal").join("cert.pem")).unwrap();
    // As docs/evidence.md tells how to compute it by hand.
    let terms = "format ura-grant/1\nid g-portal\nconsumer ais/portal\nprovider arc/probe\n\
        contract test.v1.Probe\nmethod *\ndisclosure ";
    for (number, (line, disclosure, from_us)) in [
        ("", "immediate", 0),
        ("disclosure = { delay_days = 30 }\n", "delay_days 30", BEGIN_UNIX_US + 30 * DAY_US),
        ("disclosure = \"withheld\"\n", "withheld", i64::MAX),
        (
            "disclosure = { withheld_until = 2026-11-22T13:00:00+01:00 }\n",
            "withheld_until 2026-11-22T12:00:00Z",
            BEGIN_UNIX_US,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let named = format!("disclosure-{number}");
        world.write_directory(&(version(&directory(), &named) + line));
        let opening = patient(async {
            loop {
                let ended = client.call("Read", &[], &Ask::default()).await;
                let opening = world.evidence(ended.exchange()).await.opening().clone();
                if opening.directory_version == named {
                    return opening;
                }
            }
        })
        .await;
        let canonical = format!("{terms}{disclosure}\n");
        assert_eq!(opening.grant_digest, digest(&SHA256, canonical.as_bytes()).as_ref(), "{canonical}");
        assert_eq!(opening.disclose_from_unix_us, from_us, "{disclosure}");
        assert_eq!(opening.consumer_certificate, digest(&SHA256, &der).as_ref());
    }
    let other = world.client("ais/other").await;
    let refused = other.call("Read", &[], &Ask::default()).await;
    let records = world.evidence(refused.exchange()).await;
    assert_eq!(records.opening().refusal, "GRANT_MISSING");
    assert!(records.opening().grant_digest.is_empty(), "there was none");
    assert_eq!(records.opening().disclose_from_unix_us, 0);
    assert_ne!(records.opening().consumer_certificate, digest(&SHA256, &der).as_ref());
    world.end().await;
}

#[tokio::test]
async fn the_bus_s_own_contract_and_an_auditor_are_entered_while_it_runs() {
    const LIST: &str = "/ura.v1.SubjectAccessService/ListAccesses";
    let world = World::new().await;
    issue(&world.authority, world.dir.path(), "ais/auditor", &[]);
    let (portal, auditor) = (world.portal().await, world.client("ais/auditor").await);
    assert_eq!(portal.call(LIST, &[], &Ask::default()).await.reason(), "SERVICE_UNKNOWN");
    assert_eq!(auditor.call(LIST, &[], &Ask::default()).await.reason(), "CALLER_UNKNOWN");
    let mut text = version(&directory(), "test-2");
    for (from, more) in [
        ("  { id = \"arc/second\"", "  { id = \"ais/auditor\", roles = [\"auditor\"] },\n"),
        ("{ name = \"test.v1.Probe\"", "{ name = \"ura.v1.SubjectAccessService\" }, "),
        (
            "{ contract = \"test.v1.Probe\"",
            "{ contract = \"ura.v1.SubjectAccessService\", provider = \"ais/gateway\" }, ",
        ),
    ] {
        text = text.replacen(from, &format!("{more}{from}"), 1);
    }
    world.write_directory(&text);
    // Like any other contract: whatever is not granted is refused, and an auditor asks nothing.
    until(&portal, LIST, |ended| ended.reason() == "GRANT_MISSING").await;
    for method in [LIST, "Read"] {
        assert_eq!(auditor.call(method, &[], &Ask::default()).await.reason(), "CALLER_NOT_CONSUMER");
    }
    // Nor does it answer.
    let (probe, shutdown) = (Probe::new(), Shutdown::new());
    let adapter = world.plug("ais/auditor", &probe, &shutdown).await;
    let mut verdict = adapter.verdict();
    let told = patient(verdict.wait_for(|v| !v.refused.is_empty())).await.unwrap().clone();
    assert!(told.refused["test.v1.Probe"].contains("does not have the role provider"), "{told:?}");
    assert!(told.accepted.is_empty());
    shutdown.drain();
    patient(adapter.finished()).await;
    world.end().await;
}
