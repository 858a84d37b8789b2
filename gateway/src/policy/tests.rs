//! The decision as a table: each condition met and not met.

use std::time::Duration;

use tokio::time::Instant;
use ura_proto::{ExchangeId, refusal::Language};
use ura_runtime::trace::TraceContext;

use super::*;
use crate::{
    call::Encoding,
    directory::{Directory, Disclosure, Purpose, ServiceKey},
};

const PROTO: &str = r#"
    syntax = "proto3";
    package t.v1;
    service S {
      rpc Read(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
      rpc Write(M) returns (M);
    }
    message M { string id = 1; }
"#;

const DIRECTORY: &str = r#"
version = "1"
members = [{ id = "a", name = { en = "A" } }]
systems = [
  { id = "a/portal", roles = ["consumer"] },
  { id = "a/one", roles = ["provider"] },
  { id = "a/two", roles = ["provider"] },
  { id = "a/three", roles = ["provider"] },
]
contracts = [{ name = "t.v1.S", proto = "t.proto" }]
services = [
  { contract = "t.v1.S", provider = "a/one" },
  { contract = "t.v1.S", provider = "a/two" },
]
"#;

/// Provider, methods, purposes, from, until.
type GrantRow<'g> = (&'g str, Option<&'g [&'g str]>, &'g [&'g str], i64, i64);

/// Provider, grant and purpose of a permit; or the reason of a refusal.
type Outcome = Result<(String, String, Option<String>), Reason>;

/// Name, grants, call, time, outcome.
type Case<'g> = (&'static str, Vec<GrantRow<'g>>, Call, i64, Outcome);

fn snapshot(grants: &[GrantRow<'_>]) -> Snapshot {
    let dir = tempfile::tempdir().expect("temporary folder");
    std::fs::write(dir.path().join("t.proto"), PROTO).expect("temporary folder");
    let path = dir.path().join("directory.toml");
    std::fs::write(&path, DIRECTORY).expect("temporary folder");
    let (directory, _) = Directory::open(&path).map_err(|e| e.to_string()).expect("valid");
    let mut snapshot = Arc::into_inner(directory.load_owned()).expect("nobody else reads it");
    let all: Vec<_> = grants
        .iter()
        .enumerate()
        .map(|(number, (provider, methods, purposes, from, until))| {
            let key = ServiceKey { contract: "t.v1.S".into(), provider: provider.parse().expect("valid") };
            Arc::new(Grant {
                id: format!("g{number}").into(),
                consumer: "a/portal".parse().expect("valid"),
                service: Arc::new(Service { key, limits: Default::default(), validate: Default::default() }),
                methods: methods.map(|names| names.iter().map(|name| (*name).into()).collect()),
                purposes: purposes.iter().map(|code| Arc::new(Purpose::for_tests(code))).collect(),
                from_unix_us: *from,
                until_unix_us: *until,
                disclosure: Disclosure::Immediate,
                digest: [0; 32],
            })
        })
        .collect();
    let portal = snapshot.systems.get_mut(&"a/portal".parse().expect("valid")).expect("there");
    portal.grants.insert("t.v1.S".into(), all);
    snapshot
}

fn call(method: &str, provider: Option<&str>, purpose: Option<&str>, key: bool) -> Call {
    Call {
        exchange: ExchangeId::at(1),
        consumer: "a/portal".parse().expect("valid"),
        certificate: [0; 32],
        path: method.into(),
        provider: provider.map(|id| id.parse().expect("valid")),
        purpose: purpose.map(Into::into),
        case_number: None,
        idempotency_key: key.then(|| http::HeaderValue::from_static("k")),
        timeout: Some(Duration::from_secs(1)),
        encoding: Encoding::Identity,
        language: Language::English,
        trace: TraceContext::root(false),
        trace_continued: false,
        arrived: Instant::now(),
        arrived_unix_us: 1,
    }
}

const READ: &str = "/t.v1.S/Read";
const WRITE: &str = "/t.v1.S/Write";
const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);
const ONE: GrantRow<'_> = ("a/one", None, &[], ALWAYS.0, ALWAYS.1);
const TWO: GrantRow<'_> = ("a/two", None, &[], ALWAYS.0, ALWAYS.1);

fn outcome(snapshot: &Snapshot, call: &Call, now: i64) -> Outcome {
    decide(snapshot, call, now, &mut Located::default())
        .map(|p| (p.provider().to_string(), p.grant().id.to_string(), p.purpose().map(str::to_owned)))
        .map_err(|refusal| refusal.reason)
}

#[test]
fn each_condition_is_asked_in_its_order() {
    let reads: &[&str] = &["Read"];
    let (birth, tax): (&[&str], &[&str]) = (&["birth"], &["tax"]);
    let all = ALWAYS;
    let yes = |provider: &str, grant: &str, purpose: Option<&str>| {
        Ok((provider.to_owned(), grant.to_owned(), purpose.map(str::to_owned)))
    };
    let cases: Vec<Case<'_>> = vec![
        ("granted", vec![ONE], call(READ, None, None, false), 0, yes("a/one", "g0", None)),
        (
            "purpose kept though not asked for",
            vec![ONE],
            call(READ, None, Some("p"), false),
            0,
            yes("a/one", "g0", Some("p")),
        ),
        ("absence denies", vec![], call(READ, None, None, false), 0, Err(Reason::GrantMissing)),
        (
            "named provider without grant",
            vec![ONE],
            call(READ, Some("a/two"), None, false),
            0,
            Err(Reason::GrantMissing),
        ),
        (
            "named provider that offers nothing",
            vec![ONE],
            call(READ, Some("a/three"), None, false),
            0,
            Err(Reason::ProviderUnknown),
        ),
        ("two providers", vec![ONE, TWO], call(READ, None, None, false), 0, Err(Reason::ProviderAmbiguous)),
        (
            "two providers, one named",
            vec![ONE, TWO],
            call(READ, Some("a/two"), None, false),
            0,
            yes("a/two", "g1", None),
        ),
        (
            "one of two expired",
            vec![("a/one", None, &[], 0, 10), TWO],
            call(READ, None, None, false),
            10,
            yes("a/two", "g1", None),
        ),
        (
            "unknown contract",
            vec![ONE],
            call("/t.v1.T/Read", None, None, false),
            0,
            Err(Reason::ServiceUnknown),
        ),
        (
            "unknown method",
            vec![ONE],
            call("/t.v1.S/Erase", None, None, false),
            0,
            Err(Reason::MethodUnknown),
        ),
        (
            "a path that only resembles one",
            vec![ONE],
            call("/t.v1.S/../t.v1.S/Read", None, None, false),
            0,
            Err(Reason::ServiceUnknown),
        ),
        (
            "a path with another beginning",
            vec![ONE],
            call("//t.v1.S/Read", None, None, false),
            0,
            Err(Reason::MethodUnknown),
        ),
        (
            "method not named",
            vec![("a/one", Some(reads), &[], all.0, all.1)],
            call(WRITE, None, None, true),
            0,
            Err(Reason::MethodNotGranted),
        ),
        (
            "method named",
            vec![("a/one", Some(reads), &[], all.0, all.1)],
            call(READ, None, None, false),
            0,
            yes("a/one", "g0", None),
        ),
        (
            "before its first moment",
            vec![("a/one", None, &[], 5, 10)],
            call(READ, None, None, false),
            4,
            Err(Reason::GrantNotYetValid),
        ),
        (
            "at its first moment",
            vec![("a/one", None, &[], 5, 10)],
            call(READ, None, None, false),
            5,
            yes("a/one", "g0", None),
        ),
        (
            "at its last moment",
            vec![("a/one", None, &[], 5, 10)],
            call(READ, None, None, false),
            9,
            yes("a/one", "g0", None),
        ),
        (
            "after it",
            vec![("a/one", None, &[], 5, 10)],
            call(READ, None, None, false),
            10,
            Err(Reason::GrantExpired),
        ),
        (
            "no purpose",
            vec![("a/one", None, birth, all.0, all.1)],
            call(READ, None, None, false),
            0,
            Err(Reason::PurposeMissing),
        ),
        (
            "another purpose",
            vec![("a/one", None, birth, all.0, all.1)],
            call(READ, None, Some("tax"), false),
            0,
            Err(Reason::PurposeNotGranted),
        ),
        (
            "a longer purpose",
            vec![("a/one", None, birth, all.0, all.1)],
            call(READ, None, Some("births"), false),
            0,
            Err(Reason::PurposeNotGranted),
        ),
        (
            "the second grant names the purpose",
            vec![("a/one", None, birth, all.0, all.1), ("a/one", None, tax, all.0, all.1)],
            call(READ, None, Some("tax"), false),
            0,
            yes("a/one", "g1", Some("tax")),
        ),
        (
            "a write without its key",
            vec![ONE],
            call(WRITE, None, None, false),
            0,
            Err(Reason::IdempotencyKeyMissing),
        ),
        ("a write with its key", vec![ONE], call(WRITE, None, None, true), 0, yes("a/one", "g0", None)),
    ];
    for (name, grants, call, now, expected) in cases {
        assert_eq!(outcome(&snapshot(&grants), &call, now), expected, "{name}");
    }
}

#[test]
fn who_may_not_ask_is_told_so_before_anything_else() {
    let snapshot = snapshot(&[ONE]);
    for (consumer, reason) in [("a/stranger", Reason::CallerUnknown), ("a/one", Reason::CallerNotConsumer)] {
        let mut call = call("/t.v1.T/Secret", None, None, false);
        call.consumer = consumer.parse().expect("valid");
        assert_eq!(outcome(&snapshot, &call, 0), Err(reason));
    }
}

#[test]
fn what_is_said_of_a_missing_grant_is_true() {
    let told = |snapshot: &Snapshot, provider: Option<&str>| {
        let call = call(READ, provider, None, false);
        decide(snapshot, &call, 0, &mut Located::default()).map(|_| ()).expect_err("refused").log_text()
    };
    // Another provider has granted access: only the one that was named has not.
    let text = told(&snapshot(&[ONE]), Some("a/two"));
    assert_eq!(text, "a/portal lacks the grant that it needs for t.v1.S; ask a/two");
    let text = told(&snapshot(&[]), None);
    assert!(text.ends_with("ask a/one, a/two"), "{text}");
    let mut nobody = snapshot(&[]);
    nobody.services.clear();
    let text = told(&nobody, None);
    assert!(text.ends_with("ask the operator of the bus, for no institution offers it yet"), "{text}");
}
