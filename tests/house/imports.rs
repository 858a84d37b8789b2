//! Who may import whom: between the crates, and between the rooms of the gateway.

use std::collections::BTreeSet;

use crate::{
    tokens::{Token, text},
    tree::File,
};

/// Each library with those of ours that it may import. Only the root package imports all.
const CRATES: [(&str, &[&str]); 10] = [
    ("proto", &[]),
    ("runtime", &[]),
    ("log", &[]),
    ("evidence", &["ura-log", "ura-proto", "ura-runtime"]),
    ("traces", &["ura-evidence", "ura-runtime"]),
    ("gateway", &["ura-evidence", "ura-log", "ura-proto", "ura-runtime", "ura-traces"]),
    ("adapters", &["ura-proto", "ura-runtime"]),
    ("adapters/examples/archive", &["ura-adapters"]),
    ("registry-mocks", &["ura-runtime"]),
    ("certs", &["ura-runtime"]),
];

/// The rooms of the gateway, from the top row to the lowest. Peers in a row never import each other,
/// but for the top: `lib` starts what `serve` does. `forward` stands above `policy` because it takes
/// the permit (docs/decisions/0001).
const ROWS: [&[&str]; 7] = [
    &["lib", "serve", "traces"],
    &["exchange", "admin", "metrics"],
    &["forward"],
    &["policy", "evidence", "plug", "meter"],
    &["directory"],
    &["call"],
    &["error", "config"],
];

/// What is wrong with the dependencies of the crate in `folder`; `ours` are the members' names.
pub(crate) fn crate_problems(folder: &str, manifest: &str, ours: &BTreeSet<String>) -> Vec<String> {
    let manifest: toml::Table = match manifest.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("{folder}/Cargo.toml: {error}")],
    };
    let Some((_, allowed)) = CRATES.iter().find(|(name, _)| *name == folder) else {
        return vec![format!("{folder}: say in CRATES what this crate may import")];
    };
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table);
    tables
        .chain([&manifest])
        .flat_map(|table| ["dependencies", "build-dependencies"].map(|key| table.get(key)))
        .filter_map(|table| table.and_then(toml::Value::as_table))
        .flatten()
        // A dependency may stand under another name than its own.
        .map(|(key, value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(key))
        .filter(|name| ours.contains(*name) && !allowed.contains(name))
        .map(|name| format!("{folder} may not import {name}"))
        .collect()
}

/// What is wrong with the imports inside the gateway, whose files are given relative to its `src`.
pub(crate) fn room_problems(files: &[File]) -> Vec<String> {
    let modules: Vec<Vec<String>> = files.iter().map(|file| module(&file.path)).collect();
    let rooms: BTreeSet<&str> =
        modules.iter().filter_map(|module| module.first()).map(String::as_str).collect();
    let mut problems: Vec<String> = rooms
        .iter()
        .filter(|room| row(room).is_none())
        .map(|room| format!("{room}: say in ROWS where this room stands"))
        .collect();
    let outside_tests = files.iter().zip(&modules).filter(|(file, _)| !file.is_test);
    for (file, module) in outside_tests {
        let from = module.first().map_or("lib", String::as_str);
        for (line, path) in paths(&file.tokens, module) {
            // What is no room is an item of lib.rs.
            let to = path.first().map(String::as_str).filter(|name| rooms.contains(name)).unwrap_or("lib");
            if is_forbidden(from, to) {
                problems.push(format!("{}:{line}: {from} may not import {to}", file.path));
            }
        }
    }
    problems
}

/// Whether an import goes up or to a peer.
fn is_forbidden(from: &str, to: &str) -> bool {
    let (from_row, to_row) = (row(from), row(to));
    from != to && to_row <= from_row && to_row.max(from_row) != Some(0)
}

/// The row of a room, from the top.
fn row(room: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&room))
}

/// The module in a file.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// All paths in a module that lead through `crate`, `super` or `self`, from the crate's root, each
/// with its line.
fn paths(tokens: &[Token], module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    // Names of the modules, and "" for the other blocks, that the place lies in.
    let mut blocks: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let word = token.text.as_str();
        let mut next = at + 1;
        let mut written = Vec::new();
        match word {
            "{" => {
                let name = at.checked_sub(2).filter(|mod_at| text(tokens, *mod_at) == "mod");
                blocks.push(name.map_or_else(String::new, |mod_at| text(tokens, mod_at + 1).to_owned()));
            }
            "}" => drop(blocks.pop()),
            // `use<'a>` of a return type is no import.
            "use" if text(tokens, next) != "<" => next = use_tree(tokens, next, &[], &mut written),
            "crate" | "super" | "self" if text(tokens, next) == "::" => {
                next = use_tree(tokens, at, &[], &mut written);
            }
            _ => {}
        }
        let inner = blocks.iter().filter(|name| !name.is_empty());
        let here: Vec<String> = module.iter().chain(inner).cloned().collect();
        let line = token.line;
        found.extend(written.iter().filter_map(|path| absolute(path, &here)).map(|path| (line, path)));
        at = next;
    }
    found
}

/// Reads `a::b::{c, d as e, f::*}` at a place, as paths that begin with `prefix`; returns the place
/// behind it. A path in code reads as a tree of one branch.
fn use_tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match text(tokens, at) {
            "{" => {
                at += 1;
                while !matches!(text(tokens, at), "}" | "") {
                    // An empty branch, or what no tree holds: go on behind it.
                    let end = use_tree(tokens, at, &path, found);
                    at = if end == at || text(tokens, end) == "," { end + 1 } else { end };
                }
                return at + 1;
            }
            "::" => at += 1,
            word if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push(word.to_owned());
                at += 1;
                if text(tokens, at) != "::" {
                    break;
                }
            }
            "*" => {
                at += 1;
                break;
            }
            _ => break,
        }
    }
    if text(tokens, at) == "as" {
        at += 2;
    }
    if path.len() > prefix.len() || path.len() > 1 {
        found.push(path);
    }
    at
}

/// A written path from the crate's root; `None` where it leads elsewhere.
fn absolute(path: &[String], here: &[String]) -> Option<Vec<String>> {
    let first = path.first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "super" | "self" => here.to_vec(),
        _ => return None,
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()),
            name => base.push(name.to_owned()),
        }
    }
    Some(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    fn rooms(path: &str, text: &str) -> Vec<String> {
        let mut sources: Vec<(String, String)> = ROWS
            .iter()
            .flat_map(|row| row.iter())
            .map(|room| (format!("{room}.rs"), String::new()))
            .filter(|(name, _)| name != path)
            .collect();
        sources.push((path.to_owned(), text.to_owned()));
        room_problems(&tree::files(sources))
    }

    #[test]
    fn a_forbidden_crate_is_found_in_any_table_but_that_of_tests() {
        let ours = ["ura-proto", "ura-runtime", "ura-gateway"].map(str::to_owned).into();
        let good = "[dependencies]\nura-runtime.workspace = true\nserde = \"1\"\n[dev-dependencies]\nura-gateway.workspace = true";
        assert_eq!(crate_problems("certs", good, &ours), [""; 0]);
        for bad in [
            "[dependencies]\nura-gateway.workspace = true",
            "[build-dependencies]\nura-gateway = { path = \"../gateway\" }",
            "[dependencies]\nbus = { package = \"ura-gateway\", path = \"../gateway\" }",
            "[target.'cfg(unix)'.dependencies]\nura-gateway.workspace = true",
        ] {
            assert_eq!(crate_problems("certs", bad, &ours), ["certs may not import ura-gateway"], "{bad}");
        }
        assert_eq!(crate_problems("proto", "[dependencies]\nura-runtime.workspace = true", &ours).len(), 1);
        assert_eq!(crate_problems("console", "", &ours).len(), 1, "an unknown crate");
    }

    #[test]
    fn imports_down_the_rows_pass() {
        for (path, text) in [
            ("exchange.rs", "use crate::{forward::{self, Reply}, policy, plug::Plugs, call::{Call, span}};"),
            ("forward/reply.rs", "use super::headers; use crate::{policy::Permit, evidence::Ledger};"),
            ("forward/reply.rs", "fn f() { crate::error::g(); super::super::policy::h(); }"),
            ("forward/reply.rs", "mod inner { use super::super::stream; use super::X; }"),
            ("plug/dial.rs", "use super::table::{self, Plugs}; use tokio::net::{TcpStream, exchange};"),
            ("serve.rs", "use crate::{ALPN, until, exchange::Bus};"),
            ("lib.rs", "use serve::listen; use crate::directory::Directory;"),
            (
                "policy.rs",
                "// crate::exchange\n const A: &str = \"crate::exchange\"; #[cfg(test)] use crate::exchange::B;",
            ),
            ("policy.rs", "pub(crate) fn f() -> impl A + use<'a> { self.x }"),
        ] {
            assert_eq!(rooms(path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn imports_up_or_aside_are_found() {
        for (path, text, found) in [
            ("forward.rs", "use crate::exchange::Bus;", "forward may not import exchange"),
            ("policy.rs", "use crate::forward;", "policy may not import forward"),
            ("plug/table.rs", "use crate::{call::Call, evidence::{Ledger}};", "plug may not import evidence"),
            ("plug/table.rs", "use {std::io, crate::policy::Permit as P};", "plug may not import policy"),
            ("error.rs", "use crate::config::Limits;", "error may not import config"),
            (
                "directory/file.rs",
                "fn f() { let x = crate::plug::Plugs::new(); }",
                "directory may not import plug",
            ),
            ("directory/file.rs", "use super::super::plug;", "directory may not import plug"),
            ("directory.rs", "use super::plug;", "directory may not import plug"),
            ("plug/dial.rs", "fn f() { crate::until(1); }", "plug may not import lib"),
            ("plug/dial.rs", "use crate::*;", "plug may not import lib"),
            ("config.rs", "mod inner { use super::super::serve; }", "config may not import serve"),
            ("exchange.rs", "use crate::serve::listen;", "exchange may not import serve"),
        ] {
            assert_eq!(rooms(path, text), [format!("{path}:1: {found}")], "{text}");
        }
        assert_eq!(rooms("console.rs", ""), ["console: say in ROWS where this room stands"]);
    }
}
