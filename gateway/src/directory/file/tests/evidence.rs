//! What evidence needs of a directory file, right and wrong: disclosures, retention, auditors, cosigners,
//! titles, the bus's own contracts, and what is known of a file with errors.

use std::sync::Arc;

use aws_lc_rs::digest;
use ura_log::note::{Kind, Signer};
use ura_proto::refusal::Language;

use super::{GOOD, load, load_text};
use crate::directory::{Disclosure, Grant, Snapshot};

fn good(text: &str) -> Snapshot {
    load_text(text).map_err(|errors| errors.to_string()).expect("valid").snapshot
}

/// The one error of a text, with its line and column.
#[track_caller]
fn refused(text: &str, line_of: &str, expected: &str) {
    let Err(errors) = load_text(text) else { unreachable!("{expected}:\n{text}") };
    let found = errors.to_string();
    assert!(found.contains(expected), "{expected}:\n{found}");
    let line = text.lines().position(|line| line.contains(line_of)).expect("it stands there") + 1;
    assert!(found.contains(&format!("directory.toml:{line}:")), "line {line}:\n{found}");
}

fn with_grant_line(line: &str) -> String {
    format!("{GOOD}{line}\n")
}

fn grant(snapshot: &Snapshot) -> Arc<Grant> {
    snapshot.grant("g1").expect("there").clone()
}

#[test]
fn a_disclosure_is_one_of_four() {
    let until_us = 1_803_859_200_000_000;
    for (line, expected) in [
        ("", Disclosure::Immediate),
        ("disclosure = \"immediate\"", Disclosure::Immediate),
        ("disclosure = \"withheld\"", Disclosure::Withheld),
        ("disclosure = { delay_days = 1 }", Disclosure::Delayed { days: 1 }),
        ("disclosure = { delay_days = 3650 }", Disclosure::Delayed { days: 3650 }),
        (
            "disclosure = { withheld_until = 2027-03-01T01:00:00+01:00 }",
            Disclosure::WithheldUntil { unix_us: until_us },
        ),
        ("disclosure.withheld_until = 2027-03-01T00:00:00Z", Disclosure::WithheldUntil { unix_us: until_us }),
    ] {
        assert_eq!(grant(&good(&with_grant_line(line))).disclosure, expected, "{line}");
    }
    for (line, expected) in [
        ("disclosure = \"never\"", "disclosure is \"immediate\""),
        ("disclosure = 30", "disclosure is \"immediate\""),
        ("disclosure = true", "disclosure is \"immediate\""),
        ("disclosure = 2027-03-01T00:00:00Z", "disclosure is \"immediate\""),
        ("disclosure = {}", "disclosure is \"immediate\""),
        ("disclosure = { delay = 30 }", "disclosure is \"immediate\""),
        ("disclosure = { delay_days = \"30\" }", "disclosure is \"immediate\""),
        ("disclosure = { withheld_until = \"2027-03-01T00:00:00Z\" }", "disclosure is \"immediate\""),
        (
            "disclosure = { delay_days = 1, withheld_until = 2027-03-01T00:00:00Z }",
            "disclosure is \"immediate\"",
        ),
        ("disclosure = { delay_days = 0 }", "1 to 3650"),
        ("disclosure = { delay_days = -1 }", "1 to 3650"),
        ("disclosure = { delay_days = 3651 }", "1 to 3650"),
        ("disclosure = { withheld_until = 2027-03-01 }", "offset"),
        ("disclosure = { withheld_until = 2027-03-01T00:00:00 }", "offset"),
        ("disclosure = { withheld_until = 2026-01-01T00:00:00Z }", "later than the grant's from"),
    ] {
        refused(&with_grant_line(line), line, expected);
    }
}

#[test]
fn times_have_years_that_can_be_written() {
    let with = |until: &str| GOOD.replace("until = 2027-01-01T00:00:00Z", &format!("until = {until}"));
    let last = with("9999-12-31T23:59:59.9999999Z");
    assert!(grant(&good(&last)).canonical().contains("\nuntil 9999-12-31T23:59:59.999999Z\n"));
    let beyond = with("9999-12-31T23:59:59-01:00");
    refused(&beyond, "9999", "offset");
}

#[test]
fn a_grant_is_found_by_its_id_and_named_by_its_digest() {
    let snapshot = good(GOOD);
    let found = grant(&snapshot);
    let canonical = "format ura-grant/1\nid g1\nconsumer ais/portal\nprovider arc/civil\ncontract t.v1.S\n\
        method Read\npurpose birth\nfrom 2026-01-01T00:00:00Z\nuntil 2027-01-01T00:00:00Z\ndisclosure immediate\n";
    assert_eq!(found.digest, digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let portal = &snapshot.systems[&"ais/portal".parse().expect("valid")];
    assert!(Arc::ptr_eq(&found, &portal.grants["t.v1.S"][0]), "the very grant that calls are decided on");
    for absent in ["", "g2", "G1"] {
        assert!(snapshot.grant(absent).is_none(), "{absent}");
    }
    let reworded = good(&GOOD.replace("2026-01-01T00:00:00Z", "2026-01-01T01:00:00.000+01:00"));
    assert_eq!(grant(&reworded).digest, found.digest, "the same time");
    let changed = good(&GOOD.replace("methods = [\"Read\"]", "methods = [\"Read\", \"Write\"]"));
    assert_ne!(grant(&changed).digest, found.digest);
    let second = GOOD.replace("[[grants]]", "[[grants]]\nid = \"g0\"\nconsumer = \"ais/portal\"\nprovider = \"arc/civil\"\ncontract = \"t.v1.S\"\nmethods = [\"*\"]\n\n[[grants]]");
    let second = good(&second);
    assert_eq!([&*second.grant("g0").expect("there").id, &*grant(&second).id], ["g0", "g1"]);
}

#[test]
fn retention_is_of_a_contract() {
    let with = |line: &str| GOOD.replace("proto = \"t.proto\"", &format!("proto = \"t.proto\"\n{line}"));
    for (line, days) in
        [("", None), ("retention_days = 1", Some(1)), ("retention_days = 36_500", Some(36_500))]
    {
        assert_eq!(good(&with(line)).contracts["t.v1.S"].retention_days, days, "{line}");
    }
    for (line, expected) in [
        ("retention_days = 0", "1 to 36500"),
        ("retention_days = -3650", "1 to 36500"),
        ("retention_days = 36501", "1 to 36500"),
        ("retention_days = 1.5", "expected i64"),
        ("retention_days = \"3650\"", "expected i64"),
    ] {
        refused(&with(line), line, expected);
    }
}

#[test]
fn an_auditor_neither_asks_nor_answers() {
    let with = |roles: &str| format!("{GOOD}\n[[systems]]\nid = \"ais/auditor\"\nroles = [{roles}]\n");
    let snapshot = good(&with("\"auditor\""));
    let auditor = &snapshot.systems[&"ais/auditor".parse().expect("valid")];
    assert!(auditor.auditor && !auditor.consumer && !auditor.provider && !auditor.gateway);
    assert!(snapshot.systems.values().filter(|system| system.auditor).count() == 1, "nobody else is one");
    for other in ["consumer", "provider", "gateway"] {
        let text = with(&format!("\"auditor\", \"{other}\""));
        refused(&text, "\"auditor\", ", "stands alone");
    }
    let granted = with("\"auditor\"").replace("consumer = \"ais/portal\"", "consumer = \"ais/auditor\"");
    refused(&granted, "consumer = \"ais/auditor\"", "role consumer");
    let answering = with("\"auditor\"").replace("provider = \"arc/civil\"", "provider = \"ais/auditor\"");
    refused(&answering, "provider = \"ais/auditor\"", "role provider");
    refused(&with("\"owner\""), "owner", "auditor");
}

fn vkey(name: &str, kind: Kind) -> String {
    Signer::generate(name, kind).expect("randomness").key().to_string()
}

#[test]
fn a_cosigner_key_stands_for_one_system() {
    let with = |portal: &str, civil: &str| {
        GOOD.replace("roles = [\"consumer\"]", &format!("roles = [\"consumer\"]\n{portal}"))
            .replace("roles = [\"provider\"]", &format!("roles = [\"provider\"]\n{civil}"))
    };
    let line = |key: &str| format!("cosigner = \"{key}\"");
    let (one, two) = (vkey("ais/portal", Kind::CosignatureV1), vkey("arc/civil", Kind::CosignatureV1));
    let snapshot = good(&with(&line(&one), &line(&two)));
    for (id, key) in [("ais/portal", &one), ("arc/civil", &two)] {
        let system = &snapshot.systems[&id.parse().expect("valid")];
        assert_eq!(system.cosigner.as_ref().map(ToString::to_string).as_ref(), Some(key));
    }
    assert!(good(GOOD).systems.values().all(|system| system.cosigner.is_none()));
    let first = one.replacen("ais/portal", "ais/p0rtal", 1);
    for (key, expected) in [
        (vkey("ais/portal", Kind::Ed25519), "cosigning checkpoints"),
        (first, "the id is not that of this name and key"),
        ("ais/portal".to_owned(), "expected name+id+base64"),
        (String::new(), "expected name+id+base64"),
    ] {
        refused(&with(&line(&key), ""), &line(&key), expected);
    }
    // The portal stands after the provider, so the provider had it first.
    let again = format!("{} # again", line(&two));
    refused(&with(&again, &line(&two)), "# again", "arc/civil has this key");
}

#[test]
fn the_same_key_under_another_name_is_the_same_key() {
    let signer = Signer::generate("one", Kind::CosignatureV1).expect("randomness");
    let again = ura_log::note::Key::new("two", Kind::CosignatureV1, *signer.key().public()).expect("valid");
    assert_ne!(signer.key().id(), again.id());
    let text = GOOD
        .replace(
            "roles = [\"provider\"]",
            &format!("roles = [\"provider\"]\ncosigner = \"{}\"", signer.key()),
        )
        .replace("roles = [\"consumer\"]", &format!("roles = [\"consumer\"]\ncosigner = \"{again}\""));
    refused(&text, &again.to_string(), "arc/civil has this key");
}

#[test]
fn the_words_for_citizens_are_kept() {
    let languages = [Language::English, Language::Albanian, Language::Serbian];
    let snapshot = good(GOOD);
    let member = snapshot.member("arc").expect("there");
    assert_eq!(
        languages.map(|l| member.get(l)),
        ["Civil registration", "Regjistrimi civil", "Civil registration"]
    );
    let purpose = snapshot.purpose("birth").expect("there");
    assert_eq!((&*purpose.code, &*purpose.legal_basis), ("birth", "Law 04/L-003, Art. 14"));
    assert_eq!(languages.map(|l| purpose.title.get(l)), ["Birth certificate"; 3]);
    assert!(snapshot.purpose("death").is_none() && snapshot.member("arc/civil").is_none());
    assert!(snapshot.contracts["t.v1.S"].title.is_none(), "it has no titles");
    assert!(snapshot.methods["/t.v1.S/Read"].title.is_none());
    let basis = |chars: usize| GOOD.replace("Law 04/L-003, Art. 14", &"ë".repeat(chars));
    good(&basis(400));
    refused(&basis(401), "legal_basis", "at most 400 characters");
    refused(&GOOD.replace("{ en = \"Birth certificate\" }", "{ en = \" \" }"), "code = \"birth\"", "en text");
}

const OWN: &str = r#"
[[systems]]
id = "ais/gateway"
roles = ["gateway"]

[[contracts]]
name = "ura.v1.SubjectAccessService"

[[services]]
contract = "ura.v1.SubjectAccessService"
provider = "ais/gateway"

[[grants]]
id = "g-own"
consumer = "ais/portal"
provider = "ais/gateway"
contract = "ura.v1.SubjectAccessService"
methods = ["ListAccesses"]
purposes = ["birth"]
"#;

#[test]
fn a_gateway_answers_the_contracts_of_the_bus() {
    let text = format!("{GOOD}{OWN}");
    let loaded = load_text(&text).map_err(|errors| errors.to_string()).expect("valid");
    assert_eq!(loaded.paths.len(), 2, "the program's own contract is no file");
    let snapshot = loaded.snapshot;
    let contract = &snapshot.contracts["ura.v1.SubjectAccessService"];
    let title = contract.title.as_ref().expect("it has titles");
    assert_eq!(title.get(Language::English), "Who looked at my data?");
    let method = &snapshot.methods["/ura.v1.SubjectAccessService/ListAccesses"];
    assert_eq!(method.title.as_ref().expect("titles").get(Language::English), "List of accesses to my data");
    let law = method.legal_basis.as_deref().expect("a law");
    assert_eq!(law, "Law No. 06/L-082 on Protection of Personal Data");
    assert!(method.request_subjects.is_some(), "the question names its subject");
    assert_eq!(snapshot.grant("g-own").expect("there").service.key.provider.as_str(), "ais/gateway");
    assert_ne!(snapshot.digest, good(&text.replace("g-own", "g-two")).digest);
}

#[test]
fn whatever_else_is_refused_both_ways() {
    let text = format!("{GOOD}{OWN}");
    let ordinary_by_gateway = text.replacen(
        "contract = \"t.v1.S\"\nprovider = \"arc/civil\"",
        "contract = \"t.v1.S\"\nprovider = \"ais/gateway\" # x",
        1,
    );
    refused(
        &ordinary_by_gateway,
        "# x",
        "ais/gateway is a gateway: it answers contracts of the package ura.v1",
    );
    let own_by_provider = text.replacen(
        "contract = \"ura.v1.SubjectAccessService\"\nprovider = \"ais/gateway\"",
        "contract = \"ura.v1.SubjectAccessService\"\nprovider = \"arc/civil\" # x",
        1,
    );
    refused(&own_by_provider, "# x", "arc/civil does not have the role gateway");
    let both = text.replace("roles = [\"gateway\"]", "roles = [\"gateway\", \"provider\"]");
    refused(&both, "\"gateway\", \"provider\"", "nothing else: give the adapter a system of its own");
    let asking = text.replace("roles = [\"gateway\"]", "roles = [\"gateway\", \"consumer\"]");
    good(&asking);
    for (name, expected) in [
        ("ura.v1.Absent", "no service ura.v1.Absent in this program; it defines: "),
        ("ura.v1.sub.SubjectAccessService", "either proto or descriptor_set"),
        ("ura.v2.SubjectAccessService", "either proto or descriptor_set"),
    ] {
        let text = format!("{GOOD}\n[[contracts]]\nname = \"{name}\"\n");
        refused(&text, name, expected);
    }
}

#[test]
fn a_file_may_not_change_a_contract_of_the_bus() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("directory.toml");
    std::fs::write(dir.path().join("t.proto"), super::PROTO).expect("temporary folder");
    let own = include_str!("../../../../../proto/ura/v1/subject_access.proto");
    let load_with = |proto: &str| {
        std::fs::write(dir.path().join("own.proto"), proto).expect("temporary folder");
        let name = "name = \"ura.v1.SubjectAccessService\"";
        let text = format!("{GOOD}{OWN}").replace(name, &format!("{name}\nproto = \"own.proto\""));
        std::fs::write(&path, text).expect("temporary folder");
        load(&path).map(|_| ()).map_err(|refused| refused.errors.to_string())
    };
    load_with(own).expect("the same contract");
    let changed = own.replace("string page_token = 6;", "string page_token = 7;");
    assert_ne!(changed, own);
    let told = load_with(&changed).expect_err("another one");
    assert!(told.contains("leave out proto and descriptor_set"), "{told}");
}

#[test]
fn of_a_file_with_errors_the_version_and_the_digest_are_known() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("directory.toml");
    for (text, version) in [
        (GOOD.replace("t.proto", "absent.proto").into_bytes(), "7"),
        (GOOD.replace("methods =", "method =").into_bytes(), "7"),
        (GOOD.replace("id = \"g1\"", "id = ").into_bytes(), "7"),
        (GOOD.replace("version = \"7\"", "version = 7").into_bytes(), ""),
        (GOOD.replace("version = \"7\"", "version = \"a b\"").into_bytes(), ""),
        (GOOD.replace("version = \"7\"", "").into_bytes(), ""),
        (Vec::new(), ""),
        ([GOOD.as_bytes(), &[0xff]].concat(), ""),
    ] {
        std::fs::write(&path, &text).expect("temporary folder");
        let refused = load(&path).expect_err("it has errors");
        assert_eq!(&*refused.version, version, "{}", refused.errors);
        let digest = digest::digest(&digest::SHA256, &text);
        assert_eq!(refused.digest.as_ref().map(<[u8; 32]>::as_slice), Some(digest.as_ref()));
    }
    std::fs::remove_file(&path).expect("temporary folder");
    let refused = load(&path).expect_err("there is no file");
    assert_eq!((&*refused.version, refused.digest), ("", None));
    assert!(refused.errors.to_string().contains("cannot be read"), "{}", refused.errors);
}
