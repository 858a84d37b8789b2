//! Whatever a caller sends arrives at the register byte for byte, in the place that is meant for it, or is refused before
//! anything is sent. Seen in the register's own log, never in the adapter's words. Backends that put text together
//! (the mutants) must be found out by the same audit.

#[path = "injection/corpus.rs"]
mod corpus;
#[path = "injection/rest.rs"]
mod rest;
#[path = "injection/server.rs"]
mod server;
#[path = "injection/soap.rs"]
mod soap;
#[path = "injection/sql.rs"]
mod sql;

use std::collections::BTreeSet;

use tonic::Code;
use ura_adapters::{
    declared::Declared,
    register::{Failure, Reply},
};
use ura_runtime::trace::TraceContext;

use self::corpus::{Hostile, corpus};
use crate::fixture::{Folder, Subject};

const PROTO: &str = r#"
syntax = "proto3";
package test.v1;
service AskService { rpc Ask(AskRequest) returns (Told) {} }
message AskRequest {
  string path = 1; string query = 2; string header = 3; string body = 4; string text = 5;
  repeated string items = 6; map<string, string> map = 7;
}
message Told { string told = 1; }
"#;

/// Stands in every place but the one that is tried.
const HARMLESS: &str = "x";

/// Where a value of the request goes, which entry of the register's log is it, and what the protocol can carry there.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    entry: usize,
    carries: fn(&str) -> bool,
}

fn anything(_: &str) -> bool {
    true
}

/// What a register says that it was asked. Those of one call are put together.
#[derive(Clone, Debug, Default, PartialEq)]
struct Asked {
    /// Everything but the values: it is the same whatever they are.
    shape: String,
    values: Vec<Vec<u8>>,
}

enum Entry {
    Asked(Asked),
    /// Not of the subject: the audit marks the end of a call.
    Mark(usize),
}

trait Log {
    async fn mark(&mut self, call: usize);
    /// Everything since the last look.
    async fn read(&mut self) -> Vec<Entry>;
}

/// Something that the audit holds against a backend.
#[derive(Debug)]
struct Finding {
    place: &'static str,
    family: &'static str,
    #[allow(dead_code, reason = "read by whoever reads the message")]
    what: String,
}

/// Asks with every value in every place, and compares what was sent with what the register was asked.
async fn audit(
    log: &mut impl Log,
    places: &[Place],
    values: &[Hostile],
    ask: impl AsyncFn(&str, &str) -> Result<(), Failure>,
) -> Vec<Finding> {
    let harmless = Hostile { family: "harmless", value: HARMLESS.to_owned() };
    let first = places.first().expect("a place");
    let tried = places.iter().flat_map(|place| values.iter().map(move |value| (place, value)));
    let tried: Vec<(&Place, &Hostile)> = std::iter::once((first, &harmless)).chain(tried).collect();
    // What was said before, such as the look whether the register is there.
    log.mark(0).await;
    log.read().await;
    let mut outcomes = Vec::new();
    for (call, (place, hostile)) in tried.iter().enumerate() {
        outcomes.push(ask(place.name, &hostile.value).await);
        log.mark(call).await;
    }
    let mut told = vec![Asked::default(); tried.len()];
    let mut call = 0;
    for entry in log.read().await {
        match entry {
            Entry::Mark(ended) => call = ended + 1,
            // What comes after the last mark belongs to the last call, late as it is.
            Entry::Asked(asked) => {
                let told = &mut told[call.min(tried.len() - 1)];
                told.shape += &asked.shape;
                told.shape += "\n";
                told.values.extend(asked.values);
            }
        }
    }
    let shape = told[0].shape.clone();
    assert!(outcomes[0].is_ok() && !shape.is_empty(), "a harmless value arrives: {:?} {shape}", outcomes[0]);
    let mut findings = Vec::new();
    for (at, (place, hostile)) in tried.into_iter().enumerate() {
        if let Some(what) = problem(place, &hostile.value, &outcomes[at], &told[at], &shape) {
            findings.push(Finding { place: place.name, family: hostile.family, what });
        }
    }
    findings
}

/// What is wrong with one call.
fn problem(
    place: &Place,
    value: &str,
    outcome: &Result<(), Failure>,
    told: &Asked,
    shape: &str,
) -> Option<String> {
    match outcome {
        Ok(()) if told.shape != shape => {
            Some(format!("{value:?} changed what was asked:\n{}instead of\n{shape}", told.shape))
        }
        Ok(()) => {
            let arrived = told.values.get(place.entry).map(Vec::as_slice);
            (arrived != Some(value.as_bytes())).then(|| {
                format!("{value:?} arrived as {:?}", String::from_utf8_lossy(arrived.unwrap_or_default()))
            })
        }
        Err(failure) if (place.carries)(value) => Some(format!("{value:?} was refused: {failure}")),
        Err(failure) => {
            let clear = (failure.code, failure.reason) == (Code::InvalidArgument, "REQUEST_INVALID")
                && !failure.message.is_empty();
            let told_value = value.len() > 3 && failure.message.contains(value);
            if *told != Asked::default() {
                Some(format!("{value:?} was refused, and something was sent: {told:?}"))
            } else if !clear || told_value {
                Some(format!("{value:?} was refused in these words: {failure}"))
            } else {
                None
            }
        }
    }
}

/// A mutant is found out, in this place, by values that attack these languages.
#[track_caller]
fn assert_found(mutant: &str, findings: &[Finding], place: &str, families: &[&str]) {
    let found: BTreeSet<&str> = findings.iter().filter(|f| f.place == place).map(|f| f.family).collect();
    for family in families {
        assert!(found.contains(family), "{mutant} passes the {family} values in {place}: {found:?}");
    }
}

#[track_caller]
fn assert_clean(findings: &[Finding], seed: u64) {
    let shown: Vec<_> = findings.iter().take(20).collect();
    assert!(findings.is_empty(), "seed {seed}: {} findings, the first: {shown:#?}", findings.len());
}

/// The values of this run, and the seed that some of them are made of.
fn hostile_values() -> (u64, Vec<Hostile>) {
    let given = std::env::var("URA_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    (seed, corpus(seed))
}

/// A register behind an adapter file of this `[register]` and this `[methods.Ask]`.
async fn subject(register: &str, method: &str) -> (Folder, Subject) {
    let folder = Folder::new();
    std::fs::write(folder.path().join("ask.proto"), PROTO).expect("written");
    let text = format!(
        "contract = \"test.v1.AskService\"\nproto = \"ask.proto\"\n[register]\n{register}\n[methods.Ask]\n{method}"
    );
    let path = folder.path().join("ask.toml");
    std::fs::write(&path, text).expect("written");
    let declared = Declared::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    (folder, Subject::new(declared).await)
}

/// Calls with a value in one place and harmless ones in all others.
async fn ask(subject: &Subject, place: &str, value: &str) -> Result<(), Failure> {
    let at = |name: &str| if name == place { value } else { HARMLESS };
    let request = serde_json::json!({
        "path": at("path"), "query": at("query"), "header": at("header"), "body": at("body"), "text": at("text"),
        "items": [at("items")], "map": { at("map key"): at("map") },
    });
    let mut context = crate::fixture::context();
    context.trace = TraceContext::root(false);
    context.idempotency_key = Some(at("key").to_owned());
    match subject.call_as(context, "Ask", &request.to_string()).await? {
        Reply::One(_) => Ok(()),
        Reply::Stream(_) => panic!("a stream"),
    }
}
