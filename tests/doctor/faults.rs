//! The sound bus, and every fault.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use tokio::process::Command;
use ura_certs::Authority;

use crate::{
    bus::PATIENCE,
    rig::{Rig, doctor, issue, now, replaced, shown},
};

const IDENTITY: &str = "identity = \"pki/ais-gateway\"";

#[tokio::test]
async fn a_sound_bus_is_sound() {
    let rig = Rig::start().await;
    let dir = shown(&rig.demo.path());
    let mut verify = Command::new(env!("CARGO_BIN_EXE_ura"));
    verify.args(["evidence", "verify", "--dir", &dir]).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, verify.output()).await.expect("in time").expect("it runs");
    let verified = rig.path("verify.txt");
    fs::write(&verified, ended.stdout).expect("written");
    let said = doctor(&["--dir", &dir, "--verified", &shown(&verified)]).await;
    assert!(said.not_ok().is_empty(), "{:#?}", said.not_ok());
    for (check, what) in [
        ("certificate", "spiffe://ura.test/ais/gateway holds for 8"),
        ("certificate", "spiffe://ura.test/mpb/vehicles holds for 8"),
        ("chain", "is vouched for"),
        ("names", "localhost, 127.0.0.1"),
        ("role", "ais/gateway is a gateway"),
        ("key", "its owner's alone"),
        ("identity", "it is atk/property-tax"),
        ("store", "its tables are this version's"),
        ("syncs", "each commit"),
        ("epoch keys", "1 in "),
        ("log keys", "1 of ura.test/gateway-1"),
        ("checkpoint", "old, covers all "),
        ("rollback", "has all"),
        ("gaps", "none"),
        ("verified", "and it held"),
        ("version", "are 0."),
        ("directory", "directory 2026-11-22.1"),
        ("gateway", " answers"),
        ("clock", "as 127.0.0.1:"),
        ("plug", "ks.tax.v1.PropertyTaxService is answered by atk/property-tax"),
        ("plug", "ura.v1.SubjectAccessService is answered by ais/gateway"),
        ("plug", "ks.vehicles.v1.VehicleService is answered on this bus, by mpb/vehicles if nobody else"),
        ("adapter file", "ks.vehicles.v1.VehicleService"),
    ] {
        said.says("ok", check, what);
    }
    // Without a word of the last verification that is all there is to say against it.
    let said = doctor(&["--dir", &dir]).await;
    said.says("warning", "verified", "not known");
    assert_eq!(said.not_ok().len(), 1, "{:#?}", said.not_ok());
    rig.demo.end().await;
}

#[tokio::test]
async fn a_log_that_grows_meanwhile_was_not_rolled_back() {
    let rig = Rig::start().await;
    let dir = shown(&rig.demo.path());
    let traffic = async {
        loop {
            rig.ask_for_an_invoice().await;
        }
    };
    let doctors = async {
        for _ in 0..3 {
            let said = doctor(&["--dir", &dir]).await;
            said.says("ok", "rollback", "has all");
            said.says("ok", "checkpoint", "covers all");
        }
    };
    tokio::select! {
        () = traffic => {}
        () = doctors => {}
    }
    rig.demo.end().await;
}

#[tokio::test]
async fn faults_of_certificates_and_keys_are_told() {
    let rig = Rig::start().await;
    let with = async |name: &str| rig.gateway_with(IDENTITY, &format!("identity = \"pki/{name}\"")).await;

    rig.issue("ais/gateway", -10, 5, "expired");
    let said = with("expired").await;
    said.says("problem", "certificate", "spiffe://ura.test/ais/gateway ended ");
    said.says("problem", "chain", "would be refused");
    said.says("problem", "gateway", "it ended at");

    rig.issue("ais/gateway", 2, 5, "early");
    with("early").await.says("problem", "certificate", "begins only at");

    rig.issue("ais/gateway", -1, 4, "ending");
    let said = with("ending").await;
    said.says("warning", "certificate", "ends in ");
    said.says("ok", "chain", "is vouched for");

    let said = with("ais-portal").await;
    said.says("problem", "role", "ais/portal does not have the role gateway");
    said.says("problem", "names", "no DNS name");

    // The key is right, and its folder trusts the authority of another bus.
    let other = tempfile::tempdir().expect("temporary folder");
    let authority = Authority::init(&other.path().join("a"), "ura.test", now()).expect("an authority");
    issue(&authority, &other.path().join("pki"), "ais/gateway", 0, 5);
    rig.issue("ais/gateway", -1, 40, "foreign");
    fs::copy(other.path().join("pki/ca.pem"), rig.path("config/pki/foreign/ca.pem")).expect("copied");
    let said = with("foreign").await;
    said.says("problem", "chain", "would be refused");
    said.says("problem", "gateway", "is not of the authority");

    rig.issue("ais/gateway", -1, 40, "open");
    let key = rig.path("config/pki/open/key.pem");
    with("open").await.says("ok", "key", "its owner's alone");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("its mode");
    with("open").await.says("problem", "key", "(mode 644)");
    fs::remove_file(key).expect("removed");
    with("open").await.says("problem", "certificate", "key.pem cannot be read");

    // An adapter with the certificate of somebody else.
    let adapter = fs::read_to_string(rig.path("config/adapter-vehicles.toml")).expect("the configuration");
    let file = rig.path("config/adapter-changed.toml");
    fs::write(&file, replaced(&adapter, "pki/mpb-vehicles", "pki/ais-portal")).expect("written");
    let said = doctor(&["--config", &shown(&file)]).await;
    said.says("problem", "identity", "that of ais/portal, the configuration says mpb/vehicles");
    rig.demo.end().await;
}

#[tokio::test]
async fn faults_of_evidence_are_told() {
    let rig = Rig::start().await;
    let with = async |store: &str| rig.gateway_with("evidence.db", store).await;

    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                 values (99, 'later', 1, x'00', 0)";
    rig.copy_store("newer.db", newer).await;
    with("newer.db").await.says("problem", "store", "made by a newer version of Ura");

    rig.copy_store("short.db", "update log set size = 1").await;
    with("short.db").await.says("problem", "rollback", "covers ");

    rig.copy_store("unsigned.db", "delete from checkpoint; update log set token = 0").await;
    let said = with("unsigned.db").await;
    said.says("warning", "log", "nobody writes");
    said.says("warning", "checkpoint", "there is none yet");

    with("none.db").await.says("problem", "store", "there is no such file");
    assert!(!rig.path("state/none.db").exists(), "nothing was made");
    let said = with("evidence.db?synchronous=off").await;
    said.says("problem", "syncs", "synchronous = OFF");

    let keys = rig.path("state/log-keys/000001.log.pem");
    let mode = |mode| fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).expect("its mode");
    mode(0o644);
    let said = with("evidence.db").await;
    mode(0o600);
    said.says("problem", "log keys", "others may read this key (mode 644)");
    let folder = rig.path("state/keys");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("its mode");
    let said = with("evidence.db").await;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("its mode");
    said.says("problem", "epoch keys", "others may enter this folder");
    rig.demo.end().await;
}

#[tokio::test]
async fn faults_of_gateway_directory_and_plugs_are_told() {
    let rig = Rig::start().await;
    let gateway = fs::read_to_string(rig.path("config/gateway.toml")).expect("the configuration");
    let directory = fs::read_to_string(rig.path("config/directory.toml")).expect("the directory");

    // Nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = free.local_addr().expect("an address").to_string();
    drop(free);
    let dir = shown(&rig.demo.path());
    let said = doctor(&["--dir", &dir, "--gateway", &nobody]).await;
    said.says("problem", "gateway", &format!("nobody listens at {nobody}"));
    said.says("ok", "checkpoint", "covers all");
    let adapter = fs::read_to_string(rig.path("config/adapter-vehicles.toml")).expect("the configuration");
    let file = rig.path("config/lost.toml");
    fs::write(&file, replaced(&adapter, &rig.demo.gateway, &nobody)).expect("written");
    doctor(&["--config", &shown(&file)]).await.says("problem", "gateway", "nobody listens at");

    // A register that went silent behind its adapter.
    let register = format!("{}/registers/property-tax", rig.demo.control.trim_end_matches('/'));
    let order =
        |outage| reqwest::Client::new().put(&register).json(&serde_json::json!({ "outage": outage })).send();
    // A register is known to be silent when it did not answer.
    order(true).await.expect("in force");
    let silent = async {
        loop {
            rig.ask_for_an_invoice().await;
            let said = rig.gateway_of(&gateway).await;
            if said.not_ok().iter().any(|[_, check, ..]| check == "plug") {
                return said;
            }
        }
    };
    let said = tokio::time::timeout(PATIENCE, silent).await.expect("its health is told");
    said.says(
        "problem",
        "plug",
        "ks.tax.v1.PropertyTaxService of atk/property-tax: an adapter is plugged in",
    );
    order(false).await.expect("in force");
    let answers = async {
        while rig.gateway_of(&gateway).await.not_ok().iter().any(|[_, check, ..]| check == "plug") {}
    };
    tokio::time::timeout(PATIENCE, answers).await.expect("it answers again");

    // A file with a mistake, a file that nobody took, and no file.
    rig.gateway_of(&format!("{gateway}\nportt = 1")).await.says("problem", "configuration", "portt");
    doctor(&["--config", "/nowhere/gateway.toml"]).await.says("problem", "configuration", "cannot be read");
    let other = rig.path("config/directory-2.toml");
    let changed = gateway.replace("directory.toml", "directory-2.toml");
    fs::write(&other, replaced(&directory, "2026-11-22.1", "2026-11-22.2")).expect("written");
    let said = rig.gateway_of(&changed).await;
    said.says("problem", "directory", "by version 2026-11-22.1, the file is 2026-11-22.2");
    fs::write(&other, format!("{directory}\n[[grants]]\nid = 1\n")).expect("written");
    rig.gateway_of(&changed).await.says("problem", "directory", "directory-2.toml:");

    // A service that is entered, and whose adapter is missing. The running gateway takes it by itself.
    let proto = "syntax = \"proto3\"; package test.v1; service Nobody { rpc Ask(Nothing) returns (Nothing); } message Nothing {}";
    fs::write(rig.path("config/nobody.proto"), proto).expect("written");
    let more = "\n[[contracts]]\nname = \"test.v1.Nobody\"\nproto = \"nobody.proto\"\n\
                [[services]]\ncontract = \"test.v1.Nobody\"\nprovider = \"arc/civil-status\"\n";
    let next = rig.path("config/next.toml");
    fs::write(&next, replaced(&directory, "2026-11-22.1", "2026-11-22.3") + more).expect("written");
    fs::rename(next, rig.path("config/directory.toml")).expect("renamed");
    let taken = async {
        loop {
            let said = rig.gateway_of(&gateway).await;
            if !said.findings.iter().any(|[level, check, ..]| level == "problem" && check == "directory") {
                return said;
            }
        }
    };
    let said = tokio::time::timeout(PATIENCE, taken).await.expect("the gateway takes the directory");
    said.says("problem", "plug", "test.v1.Nobody: no adapter of arc/civil-status is plugged in");
    said.says("ok", "plug", "ks.tax.v1.PropertyTaxService is answered");

    // Its last change is one that it did not take.
    fs::write(rig.path("config/directory.toml"), "version = \"broken\"\nnonsense = 1\n").expect("written");
    let refused = async {
        loop {
            let said = rig.gateway_of(&gateway).await;
            if said.findings.iter().any(|[.., what, _]| what.contains("did not take the changed file")) {
                return said;
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the refusal is recorded");
    rig.demo.end().await;
}
