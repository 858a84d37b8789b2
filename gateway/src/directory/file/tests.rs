//! Directory files, right and wrong.

mod evidence;
mod limits;
mod versions;

use super::*;

pub(crate) const PROTO: &str = r#"
    syntax = "proto3";
    package t.v1;
    service S {
      rpc Read(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
      rpc Write(M) returns (M);
    }
    message M { string id = 1; }
"#;

pub(crate) const GOOD: &str = r#"
version = "7"

[[members]]
id = "arc"
name = { en = "Civil registration", sq = "Regjistrimi civil" }

[[members]]
id = "ais"
name = { en = "Information society" }

[[systems]]
id = "arc/civil"
roles = ["provider"]

[[systems]]
id = "ais/portal"
roles = ["consumer"]

[[contracts]]
name = "t.v1.S"
proto = "t.proto"

[[services]]
contract = "t.v1.S"
provider = "arc/civil"

[[purposes]]
code = "birth"
legal_basis = "Law 04/L-003, Art. 14"
title = { en = "Birth certificate" }

[[grants]]
id = "g1"
consumer = "ais/portal"
provider = "arc/civil"
contract = "t.v1.S"
methods = ["Read"]
purposes = ["birth"]
from = 2026-01-01T00:00:00Z
until = 2027-01-01T00:00:00Z
"#;

fn load_text(text: &str) -> Result<Loaded, ConfigErrors> {
    let dir = tempfile::tempdir().expect("temporary folder");
    std::fs::write(dir.path().join("t.proto"), PROTO).expect("temporary folder");
    let path = dir.path().join("directory.toml");
    std::fs::write(&path, text).expect("temporary folder");
    load(&path).map_err(|refused| refused.errors)
}

#[test]
fn a_good_file_becomes_a_snapshot() {
    let loaded = load_text(GOOD).map_err(|e| e.to_string()).expect("valid");
    let snapshot = loaded.snapshot;
    assert_eq!(&*snapshot.version, "7");
    let portal: SystemId = "ais/portal".parse().expect("valid");
    let grant = &snapshot.systems[&portal].grants["t.v1.S"][0];
    assert_eq!(grant.until_unix_us - grant.from_unix_us, 365 * 86_400 * 1_000_000);
    assert!(snapshot.methods.contains_key("/t.v1.S/Write"));
    assert_eq!(loaded.paths.len(), 2, "directory and contract are watched");
    assert!(snapshot.gateways.is_empty());
    let two = "\"7\"\ngateways = [\"gw-1.example:7400\", \"[::1]:7400\"]";
    let other = load_text(&GOOD.replace("\"7\"", two)).map_err(|e| e.to_string()).expect("valid");
    assert_eq!(other.snapshot.gateways, ["gw-1.example:7400", "[::1]:7400"]);
    let other = load_text(&GOOD.replace("\"7\"", "\"8\"")).map_err(|e| e.to_string()).expect("valid");
    assert_ne!(other.snapshot.digest, snapshot.digest);
}

#[test]
fn every_error_is_told_with_its_line() {
    let broken = GOOD
        .replace("id = \"arc/civil\"", "id = \"Arc/civil\"")
        .replace("methods = [\"Read\"]", "methods = [\"Reed\"]")
        .replace("purposes = [\"birth\"]", "purposes = [\"death\"]")
        .replace("until = 2027", "until = 2025");
    let Err(errors) = load_text(&broken) else { unreachable!("four errors and what follows") };
    let text = errors.to_string();
    for expected in ["Arc/civil", "no method Reed; it has Read, Write", "purpose death", "later than from"] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    assert!(text.lines().all(|line| line.contains("directory.toml:")), "{text}");
}

#[test]
fn files_that_reflection_cannot_tell_apart_are_refused() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let load_with = |package: &str, file: &str| {
        let path = dir.path().join("other").join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("temporary folder");
        std::fs::write(&path, PROTO.replace("t.v1", package)).expect("temporary folder");
        std::fs::write(dir.path().join("t.proto"), PROTO).expect("temporary folder");
        let more = "proto_paths = [\"other\"]";
        let text =
            format!("{GOOD}\n[[contracts]]\nname = \"{package}.S\"\nproto = \"other/{file}\"\n{more}\n");
        let path = dir.path().join("directory.toml");
        std::fs::write(&path, text).expect("temporary folder");
        load(&path).map(|_| ()).map_err(|refused| refused.errors.to_string())
    };
    for file in ["t.proto", "health.proto"] {
        let told = load_with("u.v1", file).expect_err("two files of one path");
        assert!(told.contains(&format!("another file {file}")), "{told}");
    }
    load_with("u.v1", "u/v1/t.proto").expect("another path");
}

#[test]
fn mistakes_of_each_kind_are_refused() {
    let gateways = |list: &[&str]| format!("gateways = {list:?}\n{GOOD}");
    let many: Vec<String> = (1..=17).map(|port| format!("gw.example:{port}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let contract_twice = format!("{GOOD}\n[[contracts]]\nname = \"t.v1.S\"\nproto = \"t.proto\"\n");
    let cases = [
        (GOOD.replace("roles = [\"provider\"]", "roles = []"), "roles must name"),
        (GOOD.replace("roles = [\"provider\"]", "roles = [\"owner\"]"), "owner"),
        (GOOD.replace("proto = \"t.proto\"", "proto = \"missing.proto\""), "missing.proto"),
        (GOOD.replace("name = \"t.v1.S\"", "name = \"t.v1.T\""), "no service t.v1.T"),
        (GOOD.replace("proto = \"t.proto\"", ""), "either proto or descriptor_set"),
        (GOOD.replace("legal_basis = \"Law 04/L-003, Art. 14\"", "legal_basis = \" \""), "legal basis"),
        (GOOD.replace("from = 2026-01-01T00:00:00Z", "from = 2026-01-01"), "offset"),
        (GOOD.replace("version = \"7\"", "version = \"\""), "version"),
        (GOOD.replace("consumer = \"ais/portal\"", "consumer = \"ais/other\""), "not in [[systems]]"),
        (GOOD.replace("consumer = \"ais/portal\"", "consumer = \"arc/civil\""), "role consumer"),
        (contract_twice, "stands twice"),
        (GOOD.replace("[[services]]\ncontract = \"t.v1.S\"\nprovider = \"arc/civil\"", ""), "does not offer"),
        (GOOD.replace("methods = [\"Read\"]", "methods = [\"Read\"]\nmethod = 1"), "method"),
        (gateways(&["gw-1.example"]), "not host:port"),
        (gateways(&["gw-1.example:7400", "gw-1.example:7400"]), "stands twice"),
        (gateways(&many), "more than 16"),
    ];
    for (text, expected) in cases {
        let Err(errors) = load_text(&text) else { unreachable!("{expected}") };
        assert!(errors.to_string().contains(expected), "{expected}:\n{errors}");
    }
}
