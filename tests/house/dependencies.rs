//! What may be in the dependency tree: the bans, licences and sources of `deny.toml`, which cargo-deny reads too.
//! That tool takes minutes to build, so the tests ask cargo themselves.

use std::{collections::BTreeMap, process::Command};

use spdx::{Expression, LicenseReq, ParseMode};

use crate::tree;

/// The rules of `deny.toml` that are checked here.
pub(crate) struct Rules {
    /// Crates that may not be there at all.
    banned: Vec<String>,
    /// Crates of which there may be one version.
    single: Vec<String>,
    /// SPDX identifiers.
    licences: Vec<String>,
}

impl Rules {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(tree::root().join("deny.toml")).expect("deny.toml can be read");
        let rules: toml::Table = text.parse().expect("deny.toml is TOML");
        let strings = |list: &toml::Value| {
            let list = list.as_array().expect("a list").iter();
            list.map(|one| one.as_str().expect("a string").to_owned()).collect::<Vec<_>>()
        };
        let (mut banned, mut single) = (Vec::new(), Vec::new());
        for rule in rules["bans"]["deny"].as_array().expect("bans are a list") {
            let name = rule["crate"].as_str().expect("a ban names a crate").to_owned();
            match rule.get("deny-multiple-versions").and_then(toml::Value::as_bool) {
                Some(true) => single.push(name),
                _ => banned.push(name),
            }
        }
        Self { banned, single, licences: strings(&rules["licenses"]["allow"]) }
    }

    /// What of a tree breaks the rules, a line each. A line of the tree is `name vVERSION|LICENCE`, behind the
    /// version `(proc-macro)`, the folder of a member or the source that is not the default registry.
    pub(crate) fn broken_by(&self, tree: &str) -> Vec<String> {
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut problems = Vec::new();
        let lines = tree.lines().filter(|line| !line.is_empty());
        let mut lines: Vec<&str> = lines.map(|line| line.trim_end_matches(" (*)")).collect();
        lines.sort_unstable();
        lines.dedup();
        for line in lines {
            let (package, licence) = line.rsplit_once('|').expect("as cargo was asked");
            let mut words = package.splitn(3, ' ');
            let name = words.next().expect("its name");
            versions.entry(name).or_default().push(words.next().expect("its version"));
            if self.banned.iter().any(|banned| banned == name) {
                problems.push(format!("{package} is banned: deny.toml says why"));
            }
            let source = words.next().unwrap_or_default().trim_start_matches("(proc-macro)").trim();
            if !(source.is_empty() || source.starts_with("(/")) {
                problems.push(format!("{package} does not come from the default registry"));
            }
            if let Err(why) = self.permits(licence) {
                problems.push(format!("{package}: {why}"));
            }
        }
        for name in &self.single {
            if let Some([first, second, ..]) = versions.get(name.as_str()).map(Vec::as_slice) {
                problems.push(format!("{name} is there as {first} and as {second}: deny.toml says why not"));
            }
        }
        problems
    }

    fn permits(&self, licence: &str) -> Result<(), String> {
        let parsed = Expression::parse_mode(licence, ParseMode::LAX)
            .map_err(|error| format!("its licence {licence:?} is no SPDX expression: {}", error.reason))?;
        let allowed = |wanted: &LicenseReq| {
            wanted.license.id().is_some_and(|id| self.licences.iter().any(|known| known == id.name))
        };
        if parsed.evaluate(allowed) { Ok(()) } else { Err(format!("its licence {licence:?} is not allowed")) }
    }
}

/// What cargo builds for the systems that we ship for, and for the tests.
pub(crate) fn built() -> String {
    let mut cargo = Command::new(std::env::var_os("CARGO").expect("cargo runs the tests"));
    cargo.args(["tree", "--locked", "--offline", "--workspace", "--prefix", "none"]);
    cargo.args(["--edges", "normal,build,dev", "--format", "{p}|{l}"]);
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        cargo.args(["--target", target]);
    }
    let done = cargo.current_dir(tree::root()).output().expect("cargo runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// Requirements of the workspace that any version meets: where one is named, and by what.
pub(crate) fn wildcards(manifest: &toml::Table) -> Vec<String> {
    let is_wild = |wanted: &toml::Value| {
        let version = wanted.as_str().or_else(|| wanted.get("version")?.as_str());
        version.is_some_and(|version| version.contains('*'))
    };
    let mut found = Vec::new();
    for (name, value) in manifest {
        let Some(inner) = value.as_table() else { continue };
        if name.ends_with("dependencies") {
            let wild = inner.iter().filter(|(_, wanted)| is_wild(wanted));
            found.extend(wild.map(|(dependency, _)| format!("{dependency} may have any version")));
        } else {
            found.extend(wildcards(inner));
        }
    }
    found
}

#[test]
fn each_rule_sees_what_breaks_it() {
    let tree = "good v1.0.0 (proc-macro)|MIT/Apache-2.0 (*)\n\
        member v1.0.0 (/home/us/ura)|EUPL-1.2\n\
        ring v0.17.0|ISC AND MIT\n\
        hyper v0.14.0|MIT\n\
        hyper v1.0.0|MIT\n\
        hyper v1.0.0|MIT (*)\n\
        copyleft v1.0.0|GPL-3.0-only OR (MIT AND GPL-2.0-only)\n\
        nameless v1.0.0|\n\
        forked v1.0.0 (https://example.org/forked#12345678)|MIT";
    let found = Rules::read().broken_by(tree).join("\n");
    for told in ["ring v0.17.0 is", "hyper is there", "copyleft v1", "nameless v1", "forked v1"] {
        assert!(found.contains(told), "{told} is not in\n{found}");
    }
    assert_eq!(found.lines().count(), 5, "{found}");
    let manifest =
        "[workspace.dependencies]\nany = '*'\none = '1.0'\n[dev-dependencies]\nwild = { version = '0.*' }";
    let found = wildcards(&manifest.parse().expect("TOML"));
    assert_eq!(found, ["any may have any version", "wild may have any version"]);
}
