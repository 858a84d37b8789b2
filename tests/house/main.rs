//! The house's rules, checked on the sources: who imports whom, how long and how named things are.
//! Each rule is also shown a bad sample, in its own module, so that a rule that sees nothing is seen.

mod dependencies;
mod imports;
mod shape;
mod tokens;
mod tree;

use std::{collections::BTreeSet, fs};

use tree::File;

/// Fails with all problems, one a line.
#[track_caller]
fn none(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} of the house's rules are broken:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// Checks one rule on every Rust file of the workspace.
#[track_caller]
fn holds(rule: fn(&File) -> Vec<String>) {
    let files = tree::rust_files(tree::root()).expect("the sources can be read");
    assert!(files.len() > 100, "the sources were not found: {} files", files.len());
    none(&files.iter().flat_map(rule).collect::<Vec<_>>());
}

/// The folder, name and manifest of every member but the root package.
fn members() -> Vec<(String, String, String)> {
    let read = |path: String| fs::read_to_string(tree::root().join(path)).expect("a manifest can be read");
    let table = |text: &str| text.parse::<toml::Table>().expect("a manifest is TOML");
    let root = table(&read("Cargo.toml".to_owned()));
    let folders = root["workspace"]["members"].as_array().expect("members are a list").iter();
    folders
        .map(|folder| folder.as_str().expect("a member is a path").to_owned())
        .filter(|folder| folder != ".")
        .map(|folder| {
            let text = read(format!("{folder}/Cargo.toml"));
            let name = table(&text)["package"]["name"].as_str().expect("a name is text").to_owned();
            (folder, name, text)
        })
        .collect()
}

#[test]
fn crates_import_only_what_they_may() {
    let members = members();
    let ours: BTreeSet<String> =
        members.iter().map(|(_, name, _)| name.clone()).chain(["ura".to_owned()]).collect();
    assert!(ours.len() >= 7, "{ours:?}");
    none(
        &members
            .iter()
            .flat_map(|(folder, _, text)| imports::crate_problems(folder, text, &ours))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn rooms_of_the_gateway_import_downwards() {
    let files = tree::rust_files(&tree::root().join("gateway/src")).expect("the sources can be read");
    none(&imports::room_problems(&files));
}

#[test]
fn files_are_short() {
    holds(shape::length);
}

#[test]
fn functions_are_short() {
    holds(shape::functions);
}

#[test]
fn modules_are_named_by_what_is_inside() {
    holds(shape::names);
}

#[test]
fn modules_say_their_job() {
    holds(shape::job);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    holds(shape::unwraps);
}

#[test]
fn nothing_is_built_that_deny_toml_forbids() {
    let built = dependencies::built();
    assert!(built.lines().count() > 100, "cargo's answer was\n{built}");
    none(&dependencies::Rules::read().broken_by(&built));
    let manifests = members().into_iter().map(|(folder, _, _)| format!("{folder}/Cargo.toml"));
    for path in manifests.chain(["Cargo.toml".to_owned()]) {
        let text = fs::read_to_string(tree::root().join(&path)).expect("a manifest can be read");
        none(&dependencies::wildcards(&text.parse().expect("a manifest is TOML")));
    }
}
