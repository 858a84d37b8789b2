//! Whole commands on a small log that a gateway's writer made, in a demo's folder.

mod destroying;
mod pruning;
mod verifying;

use std::{
    fs,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};
use clap::Parser;
use ura_evidence::{
    entry::{Row, kind},
    find,
    keys::{EpochKey, commitment},
    receipt::{Receipt, framed},
    store::{Address, Filter, Reader},
    writer::{Evidence, OpenAs, WriterThread},
};
use ura_gateway::config::GatewayConfig;
use ura_proto::{
    ExchangeId,
    v1::{Closing, Opening, Outcome, Subject, entry::Kind},
};
use ura_runtime::clock::Clock;

use super::{
    EvidenceCommand,
    failure::{Ended, Verdict},
};

const ORIGIN: &str = "ura.test/gateway-1";
const METHOD: &str = "ks.tax.v1.PropertyTaxService/GetInvoice";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    evidence: EvidenceCommand,
}

/// A demo's folder without the demo.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        fs::create_dir_all(dir.path().join("config")).expect("temporary folder");
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/config/directory.toml");
        let text = format!(
            "listen = '127.0.0.1:0'\nidentity = 'nobody'\ndirectory = '{directory}'\n[evidence]\n\
             store = 'sqlite:../evidence.db'\nkeys = '../keys'\nlog_keys = '../log-keys'\norigin = '{ORIGIN}'\n"
        );
        fs::write(dir.path().join("config/gateway.toml"), text).expect("temporary folder");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// One life of the log's gateway: records exchanges about these persons, and signs them.
    async fn record(&self, persons: &[&str]) -> Vec<ExchangeId> {
        let (evidence, writer) = self.gateway().await;
        let exchanges = submit(&evidence, persons);
        Self::stop(evidence, writer).await;
        exchanges
    }

    /// A gateway's writer, at work.
    async fn gateway(&self) -> (Evidence, WriterThread) {
        let config = GatewayConfig::load(&self.path("config/gateway.toml")).expect("own file");
        let who = OpenAs {
            gateway: "ais/gateway".parse().expect("a system"),
            program: "test".into(),
            directory_version: "1".into(),
            directory_digest: [0; 32],
            take_over: false,
        };
        Box::pin(Evidence::open(&config.evidence, who, Clock::system())).await.expect("opens")
    }

    /// Ends it; all is signed then.
    async fn stop(evidence: Evidence, writer: WriterThread) {
        let reader = evidence.reader();
        drop(evidence);
        tokio::task::spawn_blocking(|| writer.join()).await.expect("the writer ends");
        reader.close().await;
    }

    async fn run(&self, words: &[&str]) -> Ended {
        let line = ["evidence"].iter().chain(words).map(|word| word.replace('%', &self.text("")));
        Line::try_parse_from(line)
            .map_err(|error| error.to_string())
            .expect("a valid line")
            .evidence
            .action
            .run()
            .await
    }

    #[track_caller]
    fn verdict(ended: &Ended) -> Verdict {
        match ended {
            Ok(verdict) => *verdict,
            Err(error) => unreachable!("{error}"),
        }
    }

    async fn holds(&self, words: &[&str]) {
        assert_eq!(Self::verdict(&self.run(words).await), Verdict::Holds, "{words:?}");
    }

    async fn does_not(&self, words: &[&str]) {
        assert_eq!(Self::verdict(&self.run(words).await), Verdict::DoesNot, "{words:?}");
    }

    async fn fails(&self, words: &[&str]) -> String {
        self.run(words).await.expect_err(&format!("{words:?}")).to_string()
    }

    /// How many entries of a kind there are.
    async fn count(&self, kind: i64) -> usize {
        let address = Address::parse(&format!("sqlite:{}", self.text("evidence.db"))).expect("an address");
        let reader = Reader::open(&address).await.expect("a store");
        let filter = Filter { kind: Some(kind), ..Filter::default() };
        let found = find::find(&reader, &filter, None, 1000).await.expect("sound").entries;
        reader.close().await;
        found.iter().filter(|entry| entry.entry().is_some()).count()
    }
}

const REQUEST: &[u8] = b"asked";
const REPLY: &[u8] = b"answered";

/// Records exchanges about these persons.
fn submit(evidence: &Evidence, persons: &[&str]) -> Vec<ExchangeId> {
    let mut exchanges = Vec::new();
    for person in persons {
        let now_us = evidence.clock().unix_us();
        let exchange = ExchangeId::at(now_us);
        exchange_of(exchange, person, now_us, &evidence.epoch())
            .into_iter()
            .for_each(|row| evidence.submit_kept(row));
        exchanges.push(exchange);
    }
    exchanges
}

/// Opening and closing of an exchange about a person.
fn exchange_of(exchange: ExchangeId, person: &str, now_us: i64, key: &EpochKey) -> [Row; 2] {
    let subject = key.subject("person", person.as_bytes(), exchange);
    let digest = |message: &[u8]| {
        let mut context = Context::new(&SHA256);
        context.update(&key.salt(exchange));
        context.update(&framed(message).expect("short"));
        context.finish().as_ref().to_vec()
    };
    let opening = Opening {
        consumer: "ais/portal".into(),
        provider: "atk/property-tax".into(),
        method: METHOD.into(),
        grant: "g-1".into(),
        subjects: vec![Subject { kind: "person".into(), commitment: commitment(&subject).to_vec() }],
        request_digest: digest(REQUEST),
        request_bytes: 10,
        trace_id: vec![7; 16],
        epoch: key.id().into(),
        ..Opening::default()
    };
    let closing = Closing {
        outcome: Outcome::Answered.into(),
        reply_digest: digest(REPLY),
        reply_bytes: 13,
        request_bytes: 10,
        ..Closing::default()
    };
    let opening = Row::with_subjects(Some(exchange), now_us, Kind::Opening(opening), vec![subject]);
    [opening, Row::new(Some(exchange), now_us, Kind::Closing(closing))]
}

/// All files of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn an_export_verifies_until_a_byte_is_changed() {
    let world = World::new();
    world.record(&["12", "34"]).await;
    world.holds(&["verify", "--dir", "%"]).await;
    world.holds(&["export", "%/exported", "--dir", "%"]).await;
    world.holds(&["export", "%/exported", "--dir", "%"]).await;
    let key = "%/log-keys/000001.log.pub";
    world.holds(&["verify", "%/exported"]).await;
    world.holds(&["verify", "%/exported", "--key", key, "--json"]).await;
    for path in files(&world.path("exported")) {
        let whole = fs::read(&path).expect("there");
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, changed).expect("own file");
        let ended = world.run(&["verify", "%/exported", "--key", key]).await;
        assert!(!matches!(ended, Ok(Verdict::Holds)), "{}", path.display());
        fs::write(&path, whole).expect("own file");
    }
    world.holds(&["verify", "%/exported", "--key", key]).await;
    let error = world.fails(&["verify", "%/exported", "--dir", "%"]).await;
    assert!(error.contains("name one to verify"), "{error}");
    let error = world.fails(&["verify", "--store", "sqlite:%/evidence.db"]).await;
    assert!(error.contains("--key"), "{error}");
}

#[tokio::test]
async fn a_receipt_proves_what_was_kept() {
    let world = World::new();
    let exchange = world.record(&["12"]).await[0].to_string();
    for (name, bytes) in [
        ("asked", REQUEST),
        ("answered", REPLY),
        ("other", b"answerde"),
        ("whole", &framed(REQUEST).expect("short")),
    ] {
        fs::write(world.path(name), bytes).expect("temporary folder");
    }
    world.holds(&["receipt", &exchange, "--dir", "%", "--out", "%/receipt"]).await;
    let error = world.fails(&["receipt", &exchange, "--dir", "%", "--out", "%/receipt"]).await;
    assert!(error.contains("not overwritten"), "{error}");
    let key = "%/log-keys";
    let verify = ["verify", "%/receipt", "--key", key];
    let kept = |more: &[&'static str]| [&verify[..], more].concat();
    world.holds(&["verify", "%/receipt"]).await;
    world.holds(&kept(&["--request", "%/whole", "--reply-message", "%/answered"])).await;
    world.holds(&kept(&["--request-message", "%/asked", "--json"])).await;
    world.does_not(&kept(&["--request", "%/asked"])).await;
    world.does_not(&kept(&["--reply-message", "%/other"])).await;
    world.does_not(&kept(&["--reply-message", "%/other", "--json"])).await;
    // The log agrees with its own receipt, and its checkpoint.
    world.holds(&["verify", "--dir", "%", "--against", "%/receipt"]).await;

    world.holds(&["receipt", &exchange, "--dir", "%", "--out", "%/bare", "--without-salt"]).await;
    let text = fs::read_to_string(world.path("bare")).expect("written");
    let bare = Receipt::from_json(&text).expect("a receipt");
    assert!(bare.salt.is_none() && bare.keys.len() == 1, "{text}");
    let error = world.fails(&["verify", "%/bare", "--key", key, "--request", "%/whole"]).await;
    assert!(error.contains("--trailer"), "{error}");
    let nobody = ExchangeId::at(7).to_string();
    world.does_not(&["receipt", &nobody, "--dir", "%"]).await;
    let error = world.fails(&["receipt", &nobody]).await;
    assert!(error.contains("--gateway"), "{error}");
}

#[tokio::test]
async fn what_is_held_finds_a_log_that_was_set_back() {
    let world = World::new();
    world.record(&["12"]).await;
    // A reader that was the last one leaves the write-ahead log behind.
    for part in ["", "-wal"] {
        let (from, to) = (world.path(&format!("evidence.db{part}")), world.path(&format!("older.db{part}")));
        assert!(fs::copy(from, to).is_ok() || !part.is_empty(), "own file");
    }
    let exchange = world.record(&["34"]).await[0].to_string();
    world.holds(&["receipt", &exchange, "--dir", "%", "--out", "%/receipt"]).await;
    let older = ["verify", "--store", "sqlite:%/older.db", "--key", "%/log-keys"];
    world.holds(&older).await;
    world.does_not(&[&older[..], &["--against", "%/receipt"]].concat()).await;
    let zeros = "A".repeat(43);
    let other = format!("log=ura.test/gateway-2;index=0;leaf={zeros};salt={zeros}\n");
    fs::write(world.path("other"), other).expect("temporary folder");
    world.does_not(&["verify", "--dir", "%", "--against", "%/other"]).await;
}

#[tokio::test]
async fn entries_are_found() {
    let world = World::new();
    let exchange = world.record(&["1234567892", "34"]).await[0].to_string();
    let place = ["--dir", "%"];
    let trace = "07".repeat(16);
    for more in [
        &[exchange.as_str()][..],
        &[],
        &["--subject", "person=1234 567-892", "--consumer", "ais/portal", "--method", METHOD],
        &["--method", "ks.tax.v1.PropertyTaxService", "--trace", &trace, "--log", ORIGIN],
        &["--kind", "started", "--json"],
        &["--since", "2020-01-01T00:00:00Z", "--provider", "atk/property-tax", "--limit", "1"],
    ] {
        world.holds(&[&["find"], more, &place].concat()).await;
    }
    for more in [
        &["--subject", "person=5"][..],
        &["--subject", "person=34", "--consumer", "ais/other"],
        &["--subject", "person=34", "--reason", "GRANT_MISSING"],
        &["--until", "2020-01-01T00:00:00Z"],
        &["--kind", "gap"],
        &["--method", "ks.tax.v1.PropertyTax"],
    ] {
        world.does_not(&[&["find"], more, &place].concat()).await;
    }
    for (more, says) in [
        (&["--subject", "ghost=5"][..], "they name: "),
        (&["--kind", "closing", "--consumer", "ais/portal"], "leave out --kind"),
        (&["--log", "l"], "it has ura.test/gateway-1"),
    ] {
        let error = world.fails(&[&["find"], more, &place].concat()).await;
        assert!(error.contains(says), "{error}");
    }
    let store = ["find", "--store", "sqlite:%/evidence.db", "--subject", "person=1234567892"];
    let error = world.fails(&store).await;
    assert!(error.contains("--keys DIR"), "{error}");
    world.holds(&[&store[..], &["--keys", "%/keys"]].concat()).await;
    for wrong in [&["find", &exchange, "--kind", "gap"][..], &["find", "--subject", "a=b", "--kind", "gap"]] {
        assert!(Line::try_parse_from(["evidence"].iter().chain(wrong)).is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn keys_are_replaced_and_what_was_before_still_verifies() {
    let world = World::new();
    world.record(&["12"]).await;
    world.holds(&["rotate-log-key", "--dir", "%"]).await;
    let error = world.fails(&["rotate-log-key", "--dir", "%"]).await;
    assert!(error.contains("announced already"), "{error}");
    let error = world.fails(&["rotate-log-key", "--store", "sqlite:%/evidence.db"]).await;
    assert!(error.contains("--config or --dir"), "{error}");
    world.holds(&["rotate-epoch-key", "--dir", "%"]).await;
    world.record(&["12"]).await;
    // The epoch key, the announcement of the log key, and that it is in use.
    assert_eq!(world.count(kind::KEY_CHANGE).await, 3);
    assert!(world.path("log-keys/000002.log.pub").exists(), "the gateway took it up");
    world.holds(&["verify", "--dir", "%", "--key", "%/log-keys/000001.log.pub"]).await;

    let keys = ura_evidence::keys::EpochKeys::read(&world.path("keys")).expect("keys").all();
    let [newest, first] = [keys[0].id(), keys[1].id()];
    let error = world.fails(&["destroy-epoch-key", first, "--dir", "%"]).await;
    assert!(error.contains("add --yes"), "{error}");
    let error = world.fails(&["destroy-epoch-key", newest, "--dir", "%", "--yes"]).await;
    assert!(error.contains("rotate first"), "{error}");
    world.holds(&["destroy-epoch-key", first, "--keys", "%/keys", "--yes"]).await;
    assert!(world.fails(&["destroy-epoch-key", first, "--dir", "%", "--yes"]).await.contains(first));
    world.holds(&["find", "--subject", "person=12", "--dir", "%"]).await;
    world.holds(&["verify", "--dir", "%"]).await;
}

#[tokio::test]
async fn an_announcement_that_fills_a_tile_leaves_its_hash() {
    let world = World::new();
    // With the entry of the start these are 255.
    world.record(&["12"; 127]).await;
    world.holds(&["rotate-log-key", "--dir", "%"]).await;
    world.holds(&["verify", "--dir", "%"]).await;
    world.record(&["12"]).await;
    world.holds(&["verify", "--dir", "%", "--key", "%/log-keys/000001.log.pub"]).await;
}
