//! What members read of their evidence on the bus's port: their own entries, proved, and nobody else's;
//! checkpoints and proofs for all.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;
use prost::Message as _;
use tonic::Code;
use ura_log::{checkpoint, proof::verify_consistency};
use ura_proto::v1::{Entry, ListAccessesRequest, entry::Kind, list_accesses_request::Subject};

use super::{
    questions::reason,
    subjects::{Plate, ask},
};
use crate::world::{
    EvidenceStore, World,
    client::{Ended, framed},
    members::{self, Member, Reading, Told},
    patient,
    store::{ORIGIN, Store, on_each_store},
};

on_each_store!(each_member_reads_exactly_the_entries_that_name_it, checkpoints_and_proofs_are_everybodys,);

/// The portal may ask both providers.
const BOTH: &str = r#"
[[grants]]
id = "g-portal-second"
consumer = "ais/portal"
provider = "arc/second"
contract = "test.v1.Probe"
methods = ["*"]
"#;

const KEY: [(&str, &str); 1] = [("idempotency-key", "k-1")];

/// Exchanges of all kinds, of two consumers with two providers, all at once.
async fn interleaved(world: &World) {
    let (portal, other) = (world.portal().await, world.client("ais/other").await);
    let (to_probe, to_second) = (("ura-provider", "arc/probe"), ("ura-provider", "arc/second"));
    let (one, owner) = (ask("1234567892"), Plate { plate: "01-101-AA".into(), wish: "o:5".into() });
    let stream: Vec<Bytes> = ["1", "2", "3"].map(|number| framed(&ask(number))).into();
    let subject = Some(Subject::PersonalNumber("1234567892".into()));
    let question = ListAccessesRequest { subject, ..ListAccessesRequest::default() };
    let mut calls: Vec<std::pin::Pin<Box<dyn Future<Output = Ended> + '_>>> = Vec::new();
    for number in 0..120 {
        let provider = if number % 4 == 0 { to_second } else { to_probe };
        let (portal, other, one) = (&portal, &other, &one);
        calls.push(Box::pin(async move { portal.call("Read", &[provider], one).await }));
        if number % 3 == 0 {
            calls.push(Box::pin(async move { other.call("Write", &KEY, one).await }));
        }
    }
    for method in ["Up", "UpRead", "Chat"] {
        let (portal, stream) = (&portal, &stream);
        calls.push(Box::pin(async move { portal.send(method, &[KEY[0], to_probe], stream).await }));
        let other = &other;
        calls.push(Box::pin(async move { other.send(method, &KEY, stream).await }));
    }
    // Subjects that only the reply names, a refused call with a provider and one without.
    let (portal, owner, one, question) = (&portal, &owner, &one, &question);
    calls.push(Box::pin(async move { portal.call("Owner", &[to_probe], owner).await }));
    calls.push(Box::pin(async move { portal.call("Absent", &[to_probe], one).await }));
    calls.push(Box::pin(async move { portal.call("/no.v1.Such/Call", &[], one).await }));
    let purpose = [("ura-purpose", "own-data")];
    let accesses = "/ura.v1.SubjectAccessService/ListAccesses";
    calls.push(Box::pin(async move { portal.call(accesses, &purpose, question).await }));
    for ended in join_all(calls).await.iter().filter(|ended| !ended.headers.is_empty()) {
        world.evidence(ended.exchange()).await;
    }
}

/// What a system must read: openings, progress and closings of exchanges whose opening names it.
fn named(entries: &[Entry], system: &str) -> Vec<Told> {
    let mut parties = BTreeMap::new();
    for entry in entries {
        if let Some(Kind::Opening(opening)) = &entry.kind {
            let names = opening.consumer == system || opening.provider == system;
            parties.insert(&entry.exchange_id, names);
        }
    }
    let own = |entry: &Entry| {
        let told = matches!(entry.kind, Some(Kind::Opening(_) | Kind::Progress(_) | Kind::Closing(_)));
        told && parties.get(&entry.exchange_id) == Some(&true)
    };
    let entries = (0..).zip(entries).filter(|(_, entry)| own(entry));
    entries.map(|(index, entry)| Told { index, entry: entry.clone() }).collect()
}

async fn each_member_reads_exactly_the_entries_that_name_it(on: EvidenceStore) {
    let world = members::bus_with(on, members::directory() + BOTH).await;
    let second = members::second(&world).await;
    interleaved(&world).await;
    let size = members::covered(&world).await;
    let keys = members::log_keys(&world);
    let entries = Store::open(&world.store).await.entries().await;
    let mut seen = 0;
    for system in ["ais/portal", "ais/other", "arc/probe", "arc/second"] {
        let member = Member::of(&world, system).await;
        let (told, pages) = member.read(0, &keys).await;
        let expected = named(&entries, system);
        assert!(expected.len() > 60, "{system}: {}", expected.len());
        assert!(told == expected, "{system}: {} of {}", told.len(), expected.len());
        assert_eq!(pages.last().unwrap().next_index, size);
        assert!(pages.iter().skip(1).all(|page| page.checkpoint.is_empty()), "told once");
        seen += told.len();
        // Resumed from each place that a page named, and from between two entries.
        let from = pages.iter().map(|page| page.next_index).chain([1, expected[7].index + 1]);
        for from in from.filter(|from| *from < size) {
            let (rest, _) = member.read(from, &keys).await;
            let expected = expected.iter().filter(|told| told.index >= from);
            assert!(rest.iter().eq(expected), "{system} from {from}");
        }
        assert_eq!(member.read(size, &keys).await, (vec![], vec![]), "nothing behind the end");
        assert_eq!(member.read(size + 9, &keys).await, (vec![], vec![]));
    }
    let portal = Member::of(&world, "ais/portal").await.read(0, &keys).await;
    assert!(portal.1.len() > 1, "more than one page");
    let kinds = |wanted: fn(&Kind) -> bool| {
        portal.0.iter().filter(|t| t.entry.kind.as_ref().is_some_and(wanted)).count()
    };
    assert!(kinds(|kind| matches!(kind, Kind::Progress(_))) > 3);
    assert!(kinds(|kind| matches!(kind, Kind::Opening(opening) if !opening.refusal.is_empty())) == 2);
    assert!(
        entries.iter().any(|entry| matches!(entry.kind, Some(Kind::Disclosure(_)))),
        "and it is nobody's"
    );
    assert!(seen > entries.len());
    // No pseudonym leaves: not beside the entries, and not within them.
    let pseudonyms = pseudonyms(&world).await;
    let bytes: Vec<u8> = portal.1.iter().flat_map(|page| page.encode_to_vec()).collect();
    let has = |bytes: &[u8], needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(pseudonyms.len() > 3 && pseudonyms.iter().all(|pseudonym| !has(&bytes, pseudonym)));
    let Some(Kind::Opening(opening)) = &portal.0[0].entry.kind else { panic!("an opening first") };
    assert!(has(&bytes, &opening.subjects[0].commitment), "the search itself finds what is there");
    // Whom no entry names reads none, and learns how far that holds.
    for system in ["arc/auditor", "mpb/police"] {
        let (told, pages) = Member::of(&world, system).await.read(0, &keys).await;
        assert_eq!((told.len(), pages.last().unwrap().next_index), (0, size), "{system}");
    }
    world.end().await;
    patient(second.finished()).await;
}

/// The pseudonyms of all subjects in the store.
async fn pseudonyms(world: &World) -> Vec<Vec<u8>> {
    let log = world.reader.log_by_origin(ORIGIN).await.unwrap().unwrap();
    let rows = world.reader.entries(log.log, 0, 4096).await.unwrap();
    let mut pseudonyms: Vec<_> = rows.into_iter().flat_map(|row| row.subjects).map(|s| s.pseudonym).collect();
    pseudonyms.sort_unstable();
    pseudonyms.dedup();
    pseudonyms
}

#[tokio::test]
async fn a_stream_is_followed_until_the_gateway_drains() {
    let world = members::bus(EvidenceStore::Sqlite).await;
    let client = world.portal().await;
    let portal = Member::of(&world, "ais/portal").await;
    let size = members::covered(&world).await;
    let mut stream = portal.entries(ORIGIN, size, true).await.unwrap();
    let mut reading = Reading { keys: members::log_keys(&world), under: None, next_index: size };
    let mut told = Vec::new();
    for number in ["1", "2", "3"] {
        let exchange = client.call("Read", &[], &ask(number)).await.exchange();
        let mine = |told: &[Told]| told.iter().filter(|t| t.entry.exchange_id == exchange.as_bytes()).count();
        while mine(&told) < 2 {
            let page = patient(stream.message()).await.unwrap().expect("it goes on");
            told.extend(reading.page(&page));
        }
    }
    assert_eq!(told.len(), 6, "opening and closing of each, once");
    // Each has so many streams, and others are not disturbed.
    let mut more = Vec::new();
    for _ in 0..3 {
        more.push(portal.entries("", 0, true).await.unwrap());
    }
    let status = portal.entries("", 0, true).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "OVERLOADED"));
    let other = Member::of(&world, "ais/other").await.entries("", 0, true).await.unwrap();
    drop(more.pop());
    patient(async {
        while portal.entries("", 0, false).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.shutdown.drain();
    for mut stream in more.into_iter().chain([stream, other]) {
        while patient(stream.message()).await.expect("it ends without an error").is_some() {}
    }
    world.end().await;
}

#[tokio::test]
async fn who_leaves_the_directory_is_told_no_more() {
    let world = members::bus(EvidenceStore::Sqlite).await;
    let other = Member::of(&world, "ais/other").await;
    let mut stream = other.entries("", 0, true).await.unwrap();
    patient(stream.message()).await.unwrap().expect("the first page");
    let text = members::directory().replace("members-1", "members-2");
    let text = text.replace("  { id = \"ais/other\", roles = [\"consumer\"] },\n", "");
    let (before, after) = text.split_once("[[grants]]\nid = \"g-other\"").unwrap();
    let after = after.split_once("[[grants]]").unwrap().1;
    world.write_directory(&format!("{before}[[grants]]{after}"));
    let status = patient(async {
        loop {
            if let Err(status) = stream.message().await {
                return status;
            }
        }
    })
    .await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "CALLER_UNKNOWN"));
    let status = other.logs().await.unwrap_err();
    assert_eq!(reason(&status), "CALLER_UNKNOWN");
    world.end().await;
}

async fn checkpoints_and_proofs_are_everybodys(on: EvidenceStore) {
    let world = members::bus(on).await;
    let client = world.portal().await;
    let auditor = Member::of(&world, "arc/auditor").await;
    let keys = members::log_keys(&world);
    for number in 0..40 {
        client.call("Read", &[], &ask(&number.to_string())).await;
        if number % 4 == 0 {
            members::covered(&world).await;
        }
    }
    let size = {
        let last = client.call("Read", &[], &ask("1")).await.exchange();
        world.evidence(last).await;
        members::covered(&world).await
    };
    let logs = auditor.logs().await.unwrap();
    let names: Vec<_> =
        logs.logs.iter().map(|log| (log.origin.as_str(), log.key.as_str(), log.size, log.sealed)).collect();
    assert_eq!(names, [(ORIGIN, keys[0].to_string().as_str(), size, false)]);
    // Every checkpoint, as it is found by the smallest size that will do.
    let (mut signed, mut size_min) = (Vec::new(), 1);
    while size_min <= size {
        let note = auditor.checkpoint(ORIGIN, size_min).await.unwrap();
        let (checkpoint, _) = checkpoint::open(&note, &keys).expect("signed");
        assert!(checkpoint.size >= size_min && checkpoint.origin == ORIGIN);
        size_min = checkpoint.size + 1;
        signed.push(checkpoint);
    }
    assert!(signed.len() > 5, "{}", signed.len());
    let newest = checkpoint::open(&auditor.checkpoint("", 0).await.unwrap(), &keys).unwrap().0;
    assert_eq!(Some(&newest), signed.last());
    for (number, first) in signed.iter().enumerate() {
        for second in &signed[number..] {
            let proof = auditor.consistency("", first.size, second.size).await.unwrap();
            verify_consistency(first.size, &first.root, second.size, &second.root, &proof)
                .expect("it only grew");
            let mut forged = second.root;
            forged[0] ^= 1;
            assert!(verify_consistency(first.size, &first.root, second.size, &forged, &proof).is_err());
        }
    }
    // What is beyond, reversed, or not there.
    for (first, second, code) in [
        (1, size + 1, Code::OutOfRange),
        (size + 1, size + 2, Code::OutOfRange),
        (0, u64::MAX, Code::OutOfRange),
        (u64::MAX, u64::MAX, Code::OutOfRange),
        (2, 1, Code::InvalidArgument),
        (u64::MAX, 0, Code::InvalidArgument),
    ] {
        let status = auditor.consistency(ORIGIN, first, second).await.unwrap_err();
        assert_eq!(status.code(), code, "{first} {second}: {status:?}");
    }
    assert!(auditor.consistency(ORIGIN, 0, 0).await.unwrap().is_empty());
    assert!(auditor.consistency(ORIGIN, 0, size).await.unwrap().is_empty());
    for size_min in [size + 1, 1 << 62, i64::MAX as u64, u64::MAX] {
        let status = auditor.checkpoint(ORIGIN, size_min).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{size_min}: {status:?}");
    }
    world.end().await;
}
