//! What the log tells beside who asked whom: that a gateway began, that the directory changed, under which
//! grant and over which connections an exchange went.

use prost::Message as _;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use ura_evidence::{entry::kind, find, store::Filter};
use ura_proto::v1::{DirectoryChange, Entry, Opening, Outcome, Started, entry::Kind};

use super::{
    access::{OWN_DATA, about},
    evidence::{sha256, wish},
    subjects::ask,
};
use crate::world::{
    BEGIN_UNIX_US, EvidenceStore, Plan, World,
    client::Client,
    members, patient,
    store::{ORIGIN, Store, on_each_store},
};

on_each_store!(a_start_says_who_writes_and_by_what, every_change_of_the_directory_is_told_before_it_decides,);

const DAY_US: i64 = 86_400_000_000;

async fn entries(world: &World) -> Vec<Entry> {
    Store::open(&world.store).await.entries().await
}

fn starts(entries: &[Entry]) -> Vec<Started> {
    let of = |entry: &Entry| match &entry.kind {
        Some(Kind::Started(started)) => Some(started.clone()),
        _ => None,
    };
    entries.iter().filter_map(of).collect()
}

/// Changes of the directory, each with its index.
fn changes(entries: &[Entry]) -> Vec<(usize, DirectoryChange)> {
    let of = |(index, entry): (usize, &Entry)| match &entry.kind {
        Some(Kind::DirectoryChange(change)) => Some((index, change.clone())),
        _ => None,
    };
    entries.iter().enumerate().filter_map(of).collect()
}

/// Waits until the log tells of so many changes of the directory.
async fn told(world: &World, count: usize) -> Vec<DirectoryChange> {
    let filter = Filter { kind: Some(kind::DIRECTORY_CHANGE), ..Filter::default() };
    patient(Box::pin(async {
        loop {
            let mut found = find::find(&world.reader, &filter, None, 100).await.unwrap().entries;
            assert!(found.len() <= count, "{found:?}");
            if found.len() == count {
                found.sort_unstable_by_key(|found| found.index);
                let changes = found.into_iter().map(|found| match found.into_entry().unwrap().kind {
                    Some(Kind::DirectoryChange(change)) => change,
                    other => panic!("{other:?}"),
                });
                return changes.collect();
            }
            tokio::task::yield_now().await;
        }
    }))
    .await
}

async fn a_start_says_who_writes_and_by_what(on: EvidenceStore) {
    let mut world = members::bus(on).await;
    let ended = world.portal().await.call("Read", &[], &ask("1")).await;
    let opening = world.evidence(ended.exchange()).await.opening().clone();
    let all = entries(&world).await;
    assert_eq!((starts(&all[..1]).len(), starts(&all).len()), (1, 1), "it comes first");
    let started = &starts(&all)[0];
    assert_eq!((started.origin.as_str(), started.gateway.as_str()), (ORIGIN, "ais/gateway"));
    assert_eq!(started.program, env!("CARGO_PKG_VERSION"));
    assert!(started.holder.split('/').any(|part| part == std::process::id().to_string()), "{started:?}");
    assert_eq!(started.log_key, members::log_keys(&world)[0].to_string());
    assert_eq!(started.epoch, opening.epoch);
    assert_eq!(
        (&started.directory_version, &started.directory_digest),
        (&opening.directory_version, &opening.directory_digest)
    );
    assert_eq!((started.directory_version.as_str(), started.directory_digest.len()), ("members-1", 32));
    assert!(all[0].exchange_id.is_empty() && all[0].recorded_unix_us == BEGIN_UNIX_US);
    // The next one says so too, by its own directory.
    world.stop().await;
    let text = members::directory().replace("members-1", "members-2");
    world.write_directory(&text);
    let before = entries(&world).await.len();
    members::again(&mut world).await;
    let all = entries(&world).await;
    let again = starts(&all[before..]);
    assert_eq!((again.len(), again[0].directory_version.as_str()), (1, "members-2"));
    assert_ne!(again[0].directory_digest, started.directory_digest);
    assert_eq!((&again[0].log_key, &again[0].epoch), (&started.log_key, &started.epoch));
    assert!(changes(&all).is_empty(), "what changed meanwhile is told by the start");
    world.end().await;
}

/// Asks without pause until `stop`; the openings are in the log.
async fn asking(client: &Client, stop: tokio::sync::watch::Receiver<bool>) -> usize {
    let (one, mut count) = (ask("1"), 0);
    while !*stop.borrow() {
        futures_util::future::join_all((0..4).map(|_| client.call("Absent", &[], &one))).await;
        count += 4;
    }
    count
}

async fn every_change_of_the_directory_is_told_before_it_decides(on: EvidenceStore) {
    let world = members::bus(on).await;
    let client = world.portal().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let asking = tokio::spawn(async move { asking(&client, stopped).await });
    let text = members::directory();
    let named = |version: &str| text.replace("members-1", version);
    let mut digests = vec![starts(&entries(&world).await)[0].directory_digest.clone()];
    // Published: each once, under its own digest; also where only a contract changed.
    for (number, version) in ["members-2", "members-3"].into_iter().enumerate() {
        world.write_directory(&named(version));
        digests.push(told(&world, number + 1).await[number].digest.clone());
    }
    let contract = std::fs::read_to_string(world.path("probe.proto")).unwrap();
    assert!(contract.contains("\"Reading\""));
    std::fs::write(world.path("probe.proto"), contract.replace("\"Reading\"", "\"Read out\"")).unwrap();
    digests.push(told(&world, 3).await[2].digest.clone());
    // Refused: once for each content, however often it is looked at and written.
    let many = text.replace("consumer = \"ais/portal\"", "consumer = \"Ais/Portal\"");
    let many = (0..200).fold(many, |text, n| format!("{text}\n[[grants]]\nid = \"g{n}\"\nconsumer = \"nobody/{n}\"\nprovider = \"no/body\"\ncontract = \"no.Such\"\nmethods = []\n"));
    for (number, bad) in [named("members-4").replace("methods =", "method ="), many].into_iter().enumerate() {
        for _ in 0..2 {
            world.write_directory(&bad);
            let change = &told(&world, 4 + number).await[3 + number];
            assert_eq!(change.digest, sha256(&[bad.as_bytes()]), "of the file alone");
            assert!(change.refused.contains("directory.toml:") && change.refused.len() <= 2048, "{change:?}");
            assert_eq!(
                (&change.version_before, &change.digest_before),
                (&"members-3".to_owned(), &digests[3])
            );
        }
    }
    // No directory at all; then the one in force again, which is no change; then a new one.
    std::fs::remove_file(world.path("directory.toml")).unwrap();
    let change = &told(&world, 6).await[5];
    assert!(
        change.digest.is_empty() && change.version.is_empty() && !change.refused.is_empty(),
        "{change:?}"
    );
    world.write_directory(&named("members-3"));
    world.write_directory(&named("members-5"));
    digests.push(told(&world, 7).await[6].digest.clone());
    stop.send_replace(true);
    assert!(asking.await.unwrap() > 0);

    let all = entries(&world).await;
    let changes = changes(&all);
    let published: Vec<_> = changes.iter().filter(|(_, change)| change.refused.is_empty()).collect();
    let versions: Vec<_> = published.iter().map(|(_, change)| change.version.as_str()).collect();
    assert_eq!(versions, ["members-2", "members-3", "members-3", "members-5"]);
    for ((_, change), before) in published.iter().zip(&digests) {
        assert_eq!(change.digest_before, *before, "{change:?}");
    }
    assert_eq!(changes[3].1.version, "members-4", "what the refused file says of itself");
    // No exchange was decided on what the log had not told before.
    let mut decided = 0;
    for (index, entry) in all.iter().enumerate() {
        let Some(Kind::Opening(opening)) = &entry.kind else { continue };
        let by = (&opening.directory_version, &opening.directory_digest);
        let known = published.iter().any(|(at, c)| *at < index && (&c.version, &c.digest) == by);
        assert!(known || by == (&"members-1".to_owned(), &digests[0]), "{index}: {by:?} was not told before");
        decided += 1;
    }
    assert!(decided >= 8);
    assert!(all.iter().all(|entry| entry.version == 1 && !entry.encode_to_vec().is_empty()));
    world.end().await;
}

/// A grant of the directory, and the text that its digest is made of.
const GRANTS: [(&str, &str, i64); 4] = [
    ("methods = [\"*\"]", "method *\ndisclosure immediate\n", 0),
    (
        "methods = [\"Read\", \"Down\"]\npurposes = [\"test\", \"own-data\"]\ndisclosure = { delay_days = 30 }",
        "method Down\nmethod Read\npurpose own-data\npurpose test\ndisclosure delay_days 30\n",
        BEGIN_UNIX_US + 30 * DAY_US,
    ),
    (
        "methods = [\"Read\"]\nfrom = 2026-01-01T01:00:00+01:00\nuntil = 2026-12-31T23:59:59.5Z\ndisclosure = \"withheld\"",
        "method Read\nfrom 2026-01-01T00:00:00Z\nuntil 2026-12-31T23:59:59.5Z\ndisclosure withheld\n",
        i64::MAX,
    ),
    (
        "methods = [\"Read\", \"*\"]\ndisclosure = { withheld_until = 2026-11-23T13:00:00+01:00 }",
        "method *\ndisclosure withheld_until 2026-11-23T12:00:00Z\n",
        BEGIN_UNIX_US + DAY_US,
    ),
];

#[tokio::test]
async fn an_opening_commits_to_its_grant_and_to_the_caller_s_certificate() {
    let text = members::directory();
    let usual = "contract = \"test.v1.Probe\"\nmethods = [\"*\"]\n\n[[grants]]\nid = \"g-other\"";
    let world = members::bus(EvidenceStore::Sqlite).await;
    let client = world.portal().await;
    let certificate = |system: &str| {
        let path = world.identity(system).join("cert.pem");
        let der = CertificateDer::from_pem_file(path).unwrap();
        sha256(&[&der])
    };
    for (number, (terms, canonical, disclose_from)) in GRANTS.into_iter().enumerate() {
        let version = format!("grant-{number}");
        assert!(text.contains(usual));
        let terms = format!("contract = \"test.v1.Probe\"\n{terms}\n\n[[grants]]\nid = \"g-other\"");
        world.write_directory(&text.replace(usual, &terms).replace("members-1", &version));
        let opening: Opening = patient(async {
            loop {
                let ended = client.call("Read", &[("ura-purpose", "test")], &ask("1")).await;
                let opening = world.evidence(ended.exchange()).await.opening().clone();
                if opening.directory_version == version {
                    return opening;
                }
            }
        })
        .await;
        let canonical = format!(
            "format ura-grant/1\nid g-portal\nconsumer ais/portal\nprovider arc/probe\ncontract test.v1.Probe\n{canonical}"
        );
        assert_eq!(opening.grant_digest, sha256(&[canonical.as_bytes()]), "{canonical}");
        assert_eq!(
            (opening.grant.as_str(), opening.disclose_from_unix_us),
            ("g-portal", disclose_from),
            "{terms}"
        );
        assert_eq!(opening.consumer_certificate, certificate("ais/portal"));
    }
    // Of a refused call there is no grant; who asked is known all the same.
    let ended = world
        .client("ais/other")
        .await
        .call("/ura.v1.SubjectAccessService/ListAccesses", &[], &about("1"))
        .await;
    let opening = world.evidence(ended.exchange()).await.opening().clone();
    assert_eq!(opening.refusal, "GRANT_MISSING");
    assert_eq!((opening.grant_digest.len(), opening.disclose_from_unix_us), (0, 0));
    assert_eq!(opening.consumer_certificate, certificate("ais/other"));
    world.end().await;
}

#[tokio::test]
async fn a_closing_names_the_adapter_s_connection_and_when_it_answered() {
    for dialled in [false, true] {
        let plan = Plan { directory: members::directory(), dialled, ..Plan::default() };
        let world = members::bus_as(plan).await;
        let client = world.portal().await;
        let path = world.identity("arc/probe").join("cert.pem");
        let adapter = sha256(&[&CertificateDer::from_pem_file(path).unwrap()]);
        let closing = async |metadata: &[(&str, &str)], wishes: &str| {
            let ended = client.call("Read", metadata, &wish(wishes)).await;
            world.evidence(ended.exchange()).await.closing().clone()
        };
        for wishes in ["", "error:5"] {
            let answered = closing(&[], wishes).await;
            assert_eq!(answered.outcome(), Outcome::Answered);
            assert!((1..=answered.duration_us).contains(&answered.answered_us), "{answered:?}");
            assert_eq!(answered.adapter_certificate, adapter);
            let address: std::net::SocketAddr = answered.adapter_address.parse().unwrap();
            assert!(address.ip().is_loopback() && address.port() > 0);
            if let Some(listens) = world.adapter.as_ref().and_then(ura_adapters::run::Adapter::address) {
                assert_eq!(address, listens);
            }
        }
        // Sent, and no answer came.
        let silent = closing(&[("grpc-timeout", "200m")], "hang").await;
        assert_eq!((silent.answered_us, silent.status), (0, 4), "{silent:?}");
        assert_eq!(silent.adapter_certificate, adapter);
        assert!(!silent.adapter_address.is_empty());
        // Answered by the gateway itself: over no network, by no certificate.
        let own = client.call("/ura.v1.SubjectAccessService/ListAccesses", &[OWN_DATA], &about("1")).await;
        let own = world.evidence(own.exchange()).await.closing().clone();
        assert!(own.adapter_certificate.is_empty() && own.answered_us > 0, "{own:?}");
        world.end().await;
    }
}

#[tokio::test]
async fn what_was_sent_to_nobody_names_no_adapter() {
    let plan = Plan { directory: members::directory(), adapter: false, ..Plan::default() };
    let world = members::bus_as(plan).await;
    let ended = world.portal().await.call("Read", &[], &ask("1")).await;
    assert_eq!(ended.reason(), "REGISTER_UNAVAILABLE");
    let closing = world.evidence(ended.exchange()).await.closing().clone();
    assert_eq!((closing.outcome(), closing.answered_us), (Outcome::NeverSent, 0));
    assert!(closing.adapter_certificate.is_empty() && closing.adapter_address.is_empty(), "{closing:?}");
    world.end().await;
}
