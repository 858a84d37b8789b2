//! Whole calls over real mutual TLS: a gateway's stand-in that reflects a contract and echoes.

mod echo;

use clap::Parser;
use prost_reflect::DynamicMessage;
use time::{Duration, OffsetDateTime};
use tokio::sync::{mpsc, oneshot};
use tonic::metadata::MetadataMap;
use ura_certs::{Authority, Issue, Usage};
use ura_runtime::clock::Clock;

use super::{
    CallCommand, CallError, Circumstances,
    connection::Connection,
    explain,
    input::{Broken, InputError, Messages},
    invocation::Invocation,
    output::Output,
    reflection,
};
use echo::{Echo, Seen};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    call: CallCommand,
}

/// Identity folders of one bus and of a stranger that has its name, and the echo.
struct World {
    dir: tempfile::TempDir,
    echo: Echo,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let now = OffsetDateTime::from_unix_timestamp(Clock::system().unix_us().div_euclid(1_000_000));
        let now = now.expect("now is a time");
        let at = |name: &str| dir.path().join(name);
        let ours = Authority::init(&at("ours"), "ura.example", now - Duration::days(30)).expect("authority");
        let theirs =
            Authority::init(&at("theirs"), "ura.example", now - Duration::days(30)).expect("authority");
        let issue = |authority: &Authority, folder: &str, names: &[&str], not_before, lifetime| {
            let request = Issue {
                system: format!("ais/{folder}"),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                not_before,
                lifetime,
                usage: Usage::Both,
            };
            authority.issue(&request, &at(folder)).expect("issued");
        };
        let minute = Duration::minutes(1);
        issue(&ours, "gateway", &["127.0.0.1"], now - minute, Duration::days(1));
        issue(&ours, "portal", &[], now - minute, Duration::days(1));
        issue(&ours, "late", &[], now - Duration::days(3), Duration::days(1));
        issue(&theirs, "stranger", &[], now - minute, Duration::days(1));
        // Trusts the bus, but is not of it: only the gateway can notice.
        std::fs::copy(at("portal").join("ca.pem"), at("stranger").join("root.pem")).expect("copied");
        std::fs::rename(at("stranger").join("root.pem"), at("stranger").join("ca.pem")).expect("renamed");
        let echo = Echo::start(&at("gateway"));
        Self { dir, echo }
    }

    /// Calls a method of the echo, or `contract/method`.
    async fn call(&self, method: &str, identity: &str, more: &[&str]) -> (String, Result<(), CallError>) {
        let target =
            if method.contains('/') { method.to_owned() } else { format!("{}/{method}", echo::CONTRACT) };
        let identity = self.dir.path().join(identity);
        let fixed = ["call", &target, "--gateway", self.echo.address(), "--identity"];
        let words = fixed.into_iter().chain([identity.to_str().expect("UTF-8")]).chain(more.iter().copied());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string()).expect("a valid line");
        let mut out = Vec::new();
        let ended = line.call.call(&mut out).await;
        (String::from_utf8(out).expect("JSON"), ended)
    }

    async fn fails(&self, method: &str, identity: &str, more: &[&str]) -> String {
        self.call(method, identity, more).await.1.expect_err(method).to_string()
    }
}

#[tokio::test]
async fn all_four_kinds_of_method() {
    let world = World::start().await;
    let file = world.dir.path().join("notes.json");
    std::fs::write(&file, "{\"text\": \"ë\"}\n{\"text\": \"ç\"}").expect("temporary folder");
    let file = format!("@{}", file.display());
    let (one, two) = ("{\n  \"text\": \"ë\"\n}\n", "{\n  \"text\": \"ë\"\n}\n{\n  \"text\": \"ç\"\n}\n");
    for (method, data, printed) in [
        ("One", "{\"text\": \"ë\"}", one),
        ("Down", "{\"text\": \"ë\"}", one),
        ("Up", "{\"text\": \"ë\"}", one),
        ("Both", "{\"text\": \"ë\"} {\"text\": \"ç\"}", two),
        ("Both", &file, two),
        ("Both", "", ""),
    ] {
        let (out, ended) = world.call(method, "portal", &["-d", data]).await;
        assert!(ended.is_ok(), "{method}: {ended:?}");
        assert_eq!(out, printed, "{method}");
    }
    let error = world.fails("Up", "portal", &["-d", "{}{}"]).await;
    assert!(error.contains("answers with one message, but 2 came"), "{error}");
}

#[tokio::test]
async fn a_write_is_given_a_key_and_a_read_is_not() {
    let world = World::start().await;
    for (method, more, key) in [
        ("One", &[][..], false),
        ("Write", &[], true),
        ("Write", &["--idempotency-key", "k-1"], true),
        ("Write", &["-H", "idempotency-key: k-1"], true),
    ] {
        let (_, ended) = world.call(method, "portal", more).await;
        assert!(ended.is_ok(), "{method}: {ended:?}");
        let seen = world.echo.next().await;
        let Seen::Head(head) = seen else { unreachable!("a head comes first") };
        let sent = head.get("idempotency-key").map(|value| value.to_str().expect("ASCII").to_owned());
        assert_eq!(sent.is_some(), key, "{method} {more:?}");
        assert_eq!(sent.as_deref() == Some("k-1"), !more.is_empty(), "{method} {more:?}");
        assert!(matches!(world.echo.next().await, Seen::Whole));
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_is_never_taken_for_whole() {
    let world = World::start().await;
    let connection =
        Connection::open(world.echo.address(), &world.dir.path().join("portal")).await.expect("open");
    let target = format!("{}/Both", echo::CONTRACT).parse().expect("a target");
    let method = reflection::method(&connection.calls, &connection.origin, &target).await.expect("reflected");
    let (open, messages) = mpsc::channel(1);
    let (breaks, broken) = oneshot::channel();
    open.send(DynamicMessage::new(method.input())).await.expect("room for one");
    let invocation = Invocation {
        method,
        metadata: MetadataMap::new(),
        timeout: None,
        message_bytes_max: 1 << 20,
        verbose: false,
    };
    let mut output = Output::new(Vec::new(), None);
    let (calls, origin) = (connection.calls.clone(), connection.origin.clone());
    let run = invocation.run(calls, origin, Messages::Reading(messages, broken), &mut output);
    let breaking = async {
        assert!(matches!(world.echo.next().await, Seen::Head(_)));
        breaks.send(Broken { error: InputError::Nothing, open }).expect("the call is under way");
    };
    let (ended, ()) = tokio::join!(run, breaking);
    let failed = ended.expect_err("broken off");
    let error = explain(failed, connection, Circumstances::default()).await;
    assert!(matches!(error, CallError::Input(InputError::Nothing)), "{error}");
    assert!(matches!(world.echo.next().await, Seen::Broken));
}

#[tokio::test]
async fn errors_and_lost_connections() {
    let world = World::start().await;
    let (_, ended) = world.call("Refuse", "portal", &[]).await;
    let text = ended.expect_err("refused").to_string();
    assert_eq!(text, "ended with an error: PERMISSION_DENIED\n  no ë\n  exchange  0190");
    let text = world.fails("Vanish", "portal", &["--idempotency-key", "k-1"]).await;
    assert!(text.contains("was lost") && text.contains("--idempotency-key k-1"), "{text}");
    let text = world.fails("Nothing", "portal", &[]).await;
    assert!(text.contains("has no method Nothing\n  try       one of these: One, Write"), "{text}");
}

#[tokio::test]
async fn contracts_that_cannot_be_called() {
    let world = World::start().await;
    let others = "t.v1.EchoService";
    for (contract, said) in
        [(echo::UNPLUGGED, "no adapter of it is plugged in"), ("t.v1.Nothing", "is approved on this bus")]
    {
        let text = world.fails(&format!("{contract}/Any"), "portal", &[]).await;
        assert!(text.contains(contract) && text.contains(said) && text.ends_with(others), "{text}");
    }
}

#[tokio::test]
async fn a_gateway_says_late_what_it_has_against_a_certificate() {
    let world = World::start().await;
    for (identity, said) in [
        ("stranger", "it is not of an authority that the gateway trusts"),
        ("late", "refuses the certificate"),
        ("nobody", "there is no folder"),
    ] {
        let text = world.fails("One", identity, &[]).await;
        assert!(text.contains(said), "{identity}: {text}");
    }
    let text = world.fails("One", "late", &[]).await;
    assert!(text.contains("it ended at"), "{text}");
}

#[tokio::test]
async fn a_call_is_kept_as_it_travelled() {
    let world = World::start().await;
    let kept = |name: &str| world.dir.path().join(name);
    let read = |name: &str, file: &str| std::fs::read(kept(name).join(file)).ok();
    // Each message with its prefix: not compressed, and its length in four bytes.
    let one = b"\0\0\0\0\x04\x0a\x02\xc3\xab".to_vec();
    let two = [&one[..], b"\0\0\0\0\x04\x0a\x02\xc3\xa7"].concat();
    for (method, data, travelled) in [
        ("One", "{\"text\": \"ë\"}", &one),
        ("Both", "{\"text\": \"ë\"} {\"text\": \"ç\"}", &two),
        ("Both", "", &Vec::new()),
    ] {
        let name = format!("{method}-{}", travelled.len());
        let folder = kept(&name);
        let folder = folder.to_str().expect("UTF-8");
        let more = ["-d", data, "--keep", folder, "--purpose", "test"];
        let (_, ended) = world.call(method, "portal", &more).await;
        assert!(ended.is_ok(), "{method}: {ended:?}");
        for file in ["request", "reply"] {
            assert_eq!(read(&name, file).as_ref(), Some(travelled), "{name}: {file}");
        }
        let metadata = String::from_utf8(read(&name, "metadata").expect("kept")).expect("ASCII");
        for line in
            [&format!("> POST /{}/{method}", echo::CONTRACT), "> ura-purpose: test", "< grpc-status: 0"]
        {
            assert!(metadata.lines().any(|known| known == line), "{line} is not in\n{metadata}");
        }
        let again = world.fails(method, "portal", &more).await;
        assert!(again.contains("holds another call already"), "{again}");
        assert_eq!(read(&name, "reply").as_ref(), Some(travelled), "nothing was overwritten");
    }
}

#[tokio::test]
async fn a_call_that_fails_keeps_what_there_was() {
    let world = World::start().await;
    let one = b"\0\0\0\0\x04\x0a\x02\xc3\xab";
    for (method, exchange, metadata) in
        [("Refuse", Some(&b"0190\n"[..]), "< grpc-status: 7"), ("Vanish", None, "> idempotency-key: k-1")]
    {
        let folder = world.dir.path().join(method);
        let name = folder.to_str().expect("UTF-8");
        let more = ["-d", "{\"text\": \"ë\"}", "--keep", name, "--idempotency-key", "k-1"];
        let (_, ended) = world.call(method, "portal", &more).await;
        assert!(ended.is_err(), "{method}");
        let read = |file: &str| std::fs::read(folder.join(file)).ok();
        assert_eq!(read("request").as_deref(), Some(&one[..]), "{method}");
        assert_eq!(read("exchange").as_deref(), exchange, "{method}");
        assert_eq!(read("receipt"), None, "{method}");
        assert_eq!(read("reply").unwrap_or_default(), b"", "{method}");
        let kept = String::from_utf8(read("metadata").expect("kept")).expect("ASCII");
        assert!(kept.lines().any(|line| line == metadata), "{metadata} is not in\n{kept}");
    }
    // A call that cannot be made leaves no folder.
    let folder = world.dir.path().join("none");
    let name = folder.to_str().expect("UTF-8");
    let text = world.fails("One", "portal", &["-d", "{\"x\": 1}", "--keep", name]).await;
    assert!(text.contains("has no field"), "{text}");
    assert!(!folder.exists());
}
