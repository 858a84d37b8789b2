//! Contracts as approved things: several versions beside each other, those on their way out, and messages held
//! against them.

use bytes::Bytes;
use ura_adapters::run::NotPlugged;
use ura_proto::contract::Contract;
use ura_runtime::process::Shutdown;

use super::subjects::ask;
use crate::world::{
    Plan, World,
    client::{Client, Ended, framed},
    directory, journal, patient,
    probe::{Ask, Probe},
};

const KEY: [(&str, &str); 1] = [("idempotency-key", "k-1")];

/// The probe's contract changed, in a folder of its own; its path.
fn variant(world: &World, folder: &str, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(world.path("probe.proto")).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::create_dir(world.path(folder)).unwrap();
    let path = format!("{folder}/probe.proto");
    std::fs::write(world.path(&path), text.replace(from, to)).unwrap();
    path
}

/// The usual directory with this entry of the contract.
fn approving(version: &str, entry: &str) -> String {
    let text = directory().replace("\"test-1\"", &format!("\"{version}\""));
    text.replace("proto = \"probe.proto\"", entry)
}

async fn until(client: &Client, wanted: impl Fn(&Ended) -> bool) -> Ended {
    patient(async {
        loop {
            let ended = client.call("Read", &[], &ask("1")).await;
            if wanted(&ended) {
                return ended;
            }
        }
    })
    .await
}

/// Waits until this version of the directory is in force.
async fn in_force(world: &World, client: &Client, version: &str) {
    patient(async {
        loop {
            let ended = client.call("Read", &[], &ask("1")).await;
            if world.evidence(ended.exchange()).await.opening().directory_version == version {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_adapter_may_have_any_approved_version_and_no_other() {
    journal::listen();
    let world = World::new().await;
    let client = world.portal().await;
    let newer =
        variant(&world, "newer", "string wish = 2;\n  bytes", "string wish = 2;\n  bool more = 9;\n  bytes");
    let other =
        variant(&world, "other", "string wish = 2;\n  bytes", "string wish = 2;\n  bool else = 8;\n  bytes");
    let set =
        |path: &str| Contract::from_proto("test.v1.Probe", &world.path(path), &[]).unwrap().descriptor_set;

    // The old adapter goes on, and one of the newer version comes.
    let both = format!("proto = \"{newer}\", older = [{{ proto = \"probe.proto\" }}]");
    world.write_directory(&approving("both", &both));
    in_force(&world, &client, "both").await;
    let (probe, shutdown) = (Probe::new(), Shutdown::new());
    let adapter = world.plug_with("arc/probe", probe.services_as(&set(&newer)), &shutdown).await;
    patient(adapter.plugged_in()).await.expect("the newest version");
    until(&client, |_| !probe.calls().is_empty()).await;
    let before = world.probe.calls().len();
    until(&client, |_| world.probe.calls().len() > before).await;

    let (third, leaving) = (Probe::new(), Shutdown::new());
    let refused = world.plug_with("arc/probe", third.services_as(&set(&other)), &leaving).await;
    let Err(NotPlugged::Refused(why)) = patient(refused.plugged_in()).await else { panic!("plugged in") };
    let why = &why["test.v1.Probe"];
    assert!(why.contains("none of the approved versions"), "{why}");
    assert!(why.contains("the one of probe.proto is nearest: field test.v1.Ask = 8"), "{why}");

    // A newer version that breaks the older is not taken.
    let breaking = variant(&world, "breaking", "string text = 1;\n  bytes data = 2;", "string text = 1;");
    let entry = format!("proto = \"{breaking}\", older = [{{ proto = \"probe.proto\" }}]");
    world.write_directory(&approving("breaking", &entry));
    let said = ["both", "is not published", "it breaks the version of probe.proto"];
    let line = journal::said(&said).await;
    assert!(line.contains("test.v1.Answer: field data = 2 is gone"), "{line}");
    assert_eq!(client.call("Read", &[], &ask("1")).await.status(), 0);

    // Without the older version its adapter is let go; its reason is told without a new connection.
    world.write_directory(&approving("alone", &format!("proto = \"{newer}\"")));
    let mut verdict = world.adapter.as_ref().unwrap().verdict();
    let told =
        patient(verdict.wait_for(|verdict| !verdict.refused.is_empty())).await.unwrap().refused.clone();
    assert!(told["test.v1.Probe"].contains("more"), "{told:?}");
    for shutdown in [shutdown, leaving] {
        shutdown.drain();
    }
    patient(adapter.finished()).await;
    patient(refused.finished()).await;
    world.end().await;
}

#[tokio::test]
async fn every_answer_of_what_is_deprecated_says_so() {
    let deprecated = "proto = \"probe.proto\", deprecated = { since = 2026-10-01, until = 2027-04-30 }";
    let directory = approving("test-1", deprecated);
    let world = World::with(Plan { directory, ..Plan::default() }).await;
    let client = world.portal().await;
    let announced = "of=test.v1.Probe;since=2026-10-01;until=2027-04-30";
    for (method, wish, status) in [("Read", "", 0), ("Down", "down:2", 0), ("Write", "error:5", 5)] {
        let ended = client.call(method, &KEY, &Ask { wish: wish.into(), ..Ask::default() }).await;
        assert_eq!(ended.status(), status, "{ended:?}");
        let header = ended.headers.get("ura-deprecated").or(ended.trailers.get("ura-deprecated"));
        assert_eq!(header.map(|value| value.to_str().unwrap()), Some(announced), "{method}: {ended:?}");
    }
    world.write_directory(&approving("test-2", "proto = \"probe.proto\""));
    let plain = until(&client, |ended| !ended.headers.contains_key("ura-deprecated")).await;
    assert_eq!(plain.status(), 0);
    world.end().await;
}

/// A message of one field of bytes that no contract of the probe has.
fn unknown() -> Bytes {
    Bytes::from_static(&[0, 0, 0, 0, 8, 0x7a, 6, b's', b'e', b'c', b'r', b'e', b't'])
}

/// The usual directory whose messages are held against the contract so.
fn validating(mode: &str) -> String {
    let service = "{ contract = \"test.v1.Probe\", provider = \"arc/probe\"";
    let text = directory();
    assert!(text.contains(service));
    text.replace(service, &format!("{service}, validate = \"{mode}\""))
        .replace("test-1", &format!("v-{mode}"))
}

#[tokio::test]
async fn messages_that_the_contract_does_not_say_are_refused_where_that_is_enforced() {
    let world = World::with(Plan { directory: validating("enforce"), ..Plan::default() }).await;
    let client = world.portal().await;
    let good = framed(&ask("1"));
    // The subject is the same; the text of `wish` is not UTF-8.
    let broken_text = Bytes::from_static(&[0, 0, 0, 0, 3, 0x12, 1, 0xff]);
    for (method, frames, problem) in [
        ("Read", vec![unknown()], "field 15: test.v1.Ask has no field of this number"),
        ("Write", vec![broken_text], "field wish: its text is not UTF-8"),
        ("Down", vec![unknown()], "field 15: test.v1.Ask has no field of this number"),
        ("Up", vec![good.clone(), unknown()], "field 15: test.v1.Ask has no field of this number"),
        ("UpRead", vec![unknown()], "field 15: test.v1.Ask has no field of this number"),
        ("Chat", vec![good.clone(), good.clone(), unknown()], "field 15: test.v1.Ask has no field"),
    ] {
        let ended = client.send(method, &KEY, &frames).await;
        let what = format!("{method}: {ended:?}");
        assert_eq!((ended.status(), ended.reason().as_str()), (3, "REQUEST_MALFORMED"), "{what}");
        let told = ended.details().error_info().unwrap().metadata["problem"].clone();
        assert!(told.contains(problem) && !told.contains("secret"), "{what}");
    }
    for call in world.probe.calls() {
        assert_ne!(call.request_end, "end", "none reached the register whole: {call:?}");
    }
    for (method, wish, before) in [("Read", "unknown", 0), ("Write", "unknown", 0), ("Down", "unknown:3", 2)]
    {
        let ended = client.call(method, &KEY, &Ask { wish: wish.into(), ..Ask::default() }).await;
        let what = format!("{method}: {ended:?}");
        assert_eq!((ended.status(), ended.reason().as_str()), (13, "CONTRACT_MISMATCH"), "{what}");
        assert_eq!(ended.messages.len(), before, "nothing unread leaves: {what}");
        let told = ended.details().error_info().unwrap().metadata["problem"].clone();
        assert_eq!(told, "field 15: test.v1.Answer has no field of this number");
        assert_eq!(world.evidence(ended.exchange()).await.closing().refusal, "CONTRACT_MISMATCH");
    }
    for method in ["Read", "Put", "Write", "Down", "Up", "UpRead", "Chat"] {
        let ended = client.call(method, &KEY, &Ask { data: "any".into(), ..ask("1") }).await;
        assert_eq!(ended.status(), 0, "{method}: {ended:?}");
    }
    let zipped = client.call("Read", &[], &Ask { wish: "gzip".into(), ..ask("1") }).await;
    assert_eq!(zipped.status(), 0, "{zipped:?}");
    world.end().await;
}

#[tokio::test]
async fn messages_that_the_contract_does_not_say_pass_where_they_are_only_logged() {
    journal::listen();
    let world = World::with(Plan { directory: validating("log"), ..Plan::default() }).await;
    let client = world.portal().await;
    let asked = client.send("Read", &[], &[unknown()]).await;
    let answered = client.call("Down", &[], &Ask { wish: "unknown:2".into(), ..Ask::default() }).await;
    for (ended, direction, problem) in [
        (asked, "Request", "field 15: test.v1.Ask has no field of this number"),
        (answered, "Reply", "field 15: test.v1.Answer has no field of this number"),
    ] {
        assert_eq!(ended.status(), 0, "{ended:?}");
        let id = ended.exchange().to_string();
        let line = journal::said(&[&id, "not what its contract says", direction, problem]).await;
        assert!(!line.contains("secret"), "{line}");
    }
    world.write_directory(&validating("off"));
    in_force(&world, &client, "v-off").await;
    let ended = client.send("Read", &[], &[unknown()]).await;
    assert_eq!(ended.status(), 0);
    world.evidence(ended.exchange()).await;
    let said = journal::lines(&[&ended.exchange().to_string(), "not what its contract says"]);
    assert!(said.is_empty(), "{said:?}");
    world.end().await;
}
