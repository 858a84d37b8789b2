//! The rules for new versions of a contract against `buf breaking`, change by change: every type into every other,
//! and hundreds of changes made at random, each in a file of its own, judged by buf in one go and by us. The
//! verdicts must be equal, rule by rule. `URA_TEST_SEED` repeats a run.

#![allow(clippy::panic, clippy::print_stdout)]

mod mutate;
mod oracle;
mod pairs;
mod random;

use std::collections::BTreeMap;

use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use ura_proto::{
    breaking::{Rule, breaking},
    contract::Contract,
};

use mutate::CHANGES;
use random::Random;

/// Changed files of each syntax, for each kind of change.
const FILES_PER_CHANGE: usize = 12;

const BASES: [&str; 2] = [include_str!("base3.proto"), include_str!("base2.proto")];

/// One changed file.
struct Case {
    old: FileDescriptorProto,
    new: FileDescriptorProto,
    /// What was done.
    done: Vec<&'static str>,
}

/// A base contract as file and package of this name.
fn base(text: &str, name: &str) -> FileDescriptorProto {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join(format!("{name}.proto"));
    std::fs::write(&path, text.replace("PACKAGE", name)).expect("temporary folder");
    let (pool, _) = Contract::pool(&path, &[]).expect("the base compiles");
    pool.get_file_by_name(&format!("{name}.proto")).expect("there").file_descriptor_proto().clone()
}

/// A pool of one file; `None` where it is no contract.
fn pool(file: &FileDescriptorProto) -> Option<DescriptorPool> {
    DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: vec![file.clone()] }).ok()
}

/// Applies a kind of change, and sometimes others on top.
fn case(random: &mut Random, text: &str, name: &str, first: usize) -> Option<Case> {
    let old = base(text, name);
    let (mut new, mut done) = (old.clone(), Vec::new());
    let more = random.below(3);
    for step in 0..=more {
        let (what, change) = if step == 0 { CHANGES[first] } else { *random.of(CHANGES) };
        let mut changed = new.clone();
        // Two changes may be no contract together: then the first stands alone.
        if change(random, &mut changed) && pool(&changed).is_some() {
            new = changed;
            done.push(what);
        }
    }
    (!done.is_empty()).then_some(Case { old, new, done })
}

fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for (syntax, text) in BASES.iter().enumerate() {
        for first in 0..CHANGES.len() {
            for round in 0..FILES_PER_CHANGE {
                let name = format!("s{syntax}c{first}r{round}");
                cases.extend(case(random, text, &name, first));
            }
        }
    }
    cases
}

/// What we say of a case, in buf's words.
fn ours(case: &Case) -> Vec<String> {
    let pools = [&case.old, &case.new].map(|file| pool(file).expect("checked when it was made"));
    let breaks = breaking(&pools[0], &pools[1]);
    // buf has no rule for services by their full names alone.
    let mut rules: Vec<String> = breaks
        .iter()
        .filter(|found| found.rule != Rule::ServiceDeleted)
        .map(|found| found.rule.id().to_owned())
        .collect();
    rules.sort();
    rules
}

#[test]
fn every_verdict_is_that_of_buf() {
    let mut random = Random::seeded();
    let mut cases = cases(&mut random);
    cases.extend(pairs::cases());
    let set = |of: fn(&Case) -> &FileDescriptorProto| FileDescriptorSet {
        file: cases.iter().map(|case| of(case).clone()).collect(),
    };
    let used = ["WIRE", "WIRE_JSON", "RPC_NO_DELETE"];
    let theirs = oracle::breaking(&used, &set(|case| &case.old), &set(|case| &case.new));
    let (mut wrong, mut seen, mut harmless) = (Vec::new(), BTreeMap::<String, usize>::new(), 0);
    for case in &cases {
        let (ours, name) = (ours(case), case.old.name());
        let theirs = theirs.get(name).cloned().unwrap_or_default();
        theirs.iter().for_each(|rule| *seen.entry(rule.clone()).or_default() += 1);
        harmless += usize::from(theirs.is_empty());
        if ours != theirs {
            wrong.push(format!("{name} {:?}\n  ours {ours:?}\n  buf  {theirs:?}", case.done));
        }
    }
    println!("{} changes, {harmless} of them harmless; found by buf: {seen:#?}", cases.len());
    assert!(wrong.is_empty(), "{} of {} verdicts differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    for rule in Rule::ALL.iter().filter(|rule| rule.is_wire()) {
        assert!(
            seen.get(rule.id()).is_some_and(|count| *count >= 3),
            "too few changes against {}",
            rule.id()
        );
    }
    assert!(harmless * 10 > cases.len(), "too few harmless changes: {harmless} of {}", cases.len());
}

#[test]
fn the_rules_are_all_of_bufs() {
    let program = std::env::var("URA_TEST_BUF").unwrap_or_else(|_| "buf".to_owned());
    let args = ["config", "ls-breaking-rules", "--version", "v2", "--format", "json"];
    let output = std::process::Command::new(&program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (`./test` installs it): {error}")).stdout;
    let mut theirs = BTreeMap::new();
    for line in String::from_utf8(output).expect("text").lines() {
        let rule: serde_json::Value = serde_json::from_str(line).expect("JSON a line");
        let is_in = |category: &str| {
            rule["categories"].as_array().is_some_and(|all| all.iter().any(|c| c == category))
        };
        if is_in("WIRE") || is_in("WIRE_JSON") {
            theirs.insert(rule["id"].as_str().expect("an id").to_owned(), is_in("WIRE"));
        }
    }
    let more = [Rule::MethodDeleted, Rule::ServiceDeleted];
    let rules = Rule::ALL.iter().filter(|rule| !more.contains(rule));
    let ours: BTreeMap<_, _> = rules.map(|rule| (rule.id().to_owned(), rule.is_wire())).collect();
    assert_eq!(ours, theirs);
}
