//! What an adapter reflects against what is approved: annotations of its own count for nothing, and
//! another shape is refused, with the reason told to the adapter.

use ura_adapters::run::NotPlugged;
use ura_proto::contract::Contract;
use ura_runtime::process::Shutdown;

use super::subjects::{Plate, ask, person};
use crate::world::{Plan, World, patient, probe::Probe};

/// The probe's contract, changed.
fn variant(world: &World, folder: &str, change: impl Fn(String) -> String) -> Vec<u8> {
    let text = std::fs::read_to_string(world.path("probe.proto")).unwrap();
    let changed = change(text.clone());
    assert_ne!(changed, text, "the change changes something");
    let dir = world.path(folder);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("probe.proto"), changed).unwrap();
    Contract::from_proto("test.v1.Probe", &dir.join("probe.proto"), &[]).expect("compiles").descriptor_set
}

#[tokio::test]
async fn annotations_that_an_adapter_reflects_count_for_nothing() {
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let renamed = variant(&world, "renamed", |text| text.replace("\"person\"", "\"nobody\""));
    let stripped = variant(&world, "stripped", |mut text| {
        for (begin, end) in [(" [(ura", "}]"), ("option (ura", "};")] {
            while let Some(at) = text.find(begin) {
                let end = at + text.get(at..).and_then(|rest| rest.find(end)).unwrap() + end.len();
                text.replace_range(at..end, "");
            }
        }
        text.replace("import \"ura/v1/annotations.proto\";", "")
    });
    let claimed = variant(&world, "claimed", |text| {
        text.replace("option idempotency_level = NO_SIDE_EFFECTS;", "").replace(
            "rpc Write(Ask) returns (Answer);",
            "rpc Write(Ask) returns (Answer) { option idempotency_level = NO_SIDE_EFFECTS; }",
        )
    });
    let client = world.portal().await;
    for set in [renamed, stripped, claimed] {
        let (probe, shutdown) = (Probe::new(), Shutdown::new());
        let adapter = world.plug_with("arc/probe", probe.services_as(&set), &shutdown).await;
        patient(adapter.plugged_in()).await.expect("only the shape must agree");
        person(&world, &client, "1").await;
        let write = client.call("Write", &[], &ask("1")).await;
        assert_eq!(write.reason(), "IDEMPOTENCY_KEY_MISSING", "a write stays one");
        let owner = client.call("Owner", &[], &Plate { plate: "1".into(), wish: "o:5".into() }).await;
        assert_eq!(world.evidence(owner.exchange()).await.progress[0].subjects[0].kind, "person");
        shutdown.drain();
        patient(adapter.finished()).await;
    }
    world.end().await;
}

#[tokio::test]
async fn an_adapter_of_another_shape_is_refused_and_told_why() {
    let limits = "plug_wait_ms = 0".to_owned();
    let world = World::with(Plan { adapter: false, limits, ..Plan::default() }).await;
    let client = world.portal().await;
    let answer = "rpc Write(Ask) returns (Answer);";
    let changes: [(&str, &str, &str, &str); 6] = [
        ("type", "bytes data = 3", "string data = 3", "field test.v1.Ask = 3"),
        ("number", "string wish = 2;\n  bytes", "string wish = 7;\n  bytes", "field test.v1.Ask = 2"),
        ("name", "string text = 1", "string texts = 1", "field test.v1.Answer = 1"),
        ("repeated", "repeated string others", "string others", "field test.v1.Ask = 4"),
        ("missing", answer, "", "rpc test.v1.Probe.Write"),
        ("stream", answer, "rpc Write(Ask) returns (stream Answer);", "rpc test.v1.Probe.Write"),
    ];
    for (folder, from, to, told) in changes {
        let set = variant(&world, folder, |text| text.replace(from, to));
        let (probe, shutdown) = (Probe::new(), Shutdown::new());
        let adapter = world.plug_with("arc/probe", probe.services_as(&set), &shutdown).await;
        let Err(NotPlugged::Refused(refused)) = patient(adapter.plugged_in()).await else {
            panic!("{folder}: plugged in")
        };
        assert!(refused["test.v1.Probe"].contains("differs from the approved one"), "{refused:?}");
        assert!(refused["test.v1.Probe"].contains(told), "{folder}: {refused:?}");
        assert_eq!(adapter.verdict().borrow().accepted.len(), 0);
        let ended = client.call("Read", &[], &ask("1")).await;
        assert_eq!(ended.reason(), "REGISTER_UNAVAILABLE");
        assert!(probe.calls().is_empty());
        shutdown.drain();
        patient(adapter.finished()).await;
    }
    world.end().await;
}

#[tokio::test]
async fn a_contract_that_nobody_approved_is_refused() {
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let text = std::fs::read_to_string(world.path("probe.proto"))
        .unwrap()
        .replace("package test.v1", "package test.v9");
    std::fs::write(world.path("other.proto"), text).unwrap();
    let other = Contract::from_proto("test.v9.Probe", &world.path("other.proto"), &[]).unwrap();
    let (probe, shutdown) = (Probe::new(), Shutdown::new());
    let services = probe.services_named("test.v9.Probe", &other.descriptor_set);
    let adapter = world.plug_with("arc/probe", services, &shutdown).await;
    let Err(NotPlugged::Refused(refused)) = patient(adapter.plugged_in()).await else { panic!("plugged in") };
    assert!(refused["test.v9.Probe"].contains("is not approved in the directory"), "{refused:?}");
    let ended = world.portal().await.call("/test.v9.Probe/Read", &[], &ask("1")).await;
    assert_eq!(ended.reason(), "SERVICE_UNKNOWN");
    assert!(probe.calls().is_empty());
    shutdown.drain();
    patient(adapter.finished()).await;
    world.end().await;
}
