//! A refused plug: both sides say why, the institution where it looks first and the operator, too.

use ura_runtime::process::Shutdown;

use super::rig::Plugged;
use crate::world::{Plan, World, directory, identity_dir, issue, journal, now, patient};

/// Starts an adapter that is refused and returns what each side says; both say `reason`.
async fn refused(plan: Plan, system: &str, reason: &str) {
    journal::listen();
    let world = World::with(Plan { adapter: false, ..plan }).await;
    let shutdown = Shutdown::new();
    let adapter = world.plug(system, &world.probe, &shutdown).await;
    let refused = patient(adapter.plugged_in()).await.expect_err("refused").to_string();
    assert!(refused.contains(reason), "{refused}");
    for side in ["ura_gateway", "ura_adapters"] {
        journal::said(&[side, reason, &format!("={system}")]).await;
    }
    shutdown.drain();
    patient(adapter.finished()).await;
    world.end().await;
}

#[tokio::test]
async fn a_contract_that_is_not_approved() {
    let text = directory()
        .replace("contracts = [{ name = \"test.v1.Probe\", proto = \"probe.proto\" }]", "contracts = []")
        .replace("services = [{ contract = \"test.v1.Probe\", provider = \"arc/probe\" }]", "services = []");
    let text = text.split("[[grants]]").next().expect("a beginning").to_owned();
    let plan = Plan { directory: text, ..Plan::default() };
    refused(plan, "arc/probe", "contract test.v1.Probe is not approved in the directory").await;
}

#[tokio::test]
async fn a_provider_that_does_not_offer_it() {
    refused(Plan::default(), "arc/second", "does not say that arc/second offers test.v1.Probe").await;
}

#[tokio::test]
async fn a_system_that_may_not_answer() {
    refused(Plan::default(), "ais/other", "ais/other does not have the role provider").await;
}

#[tokio::test]
async fn a_stranger_s_certificate() {
    journal::listen();
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let foreign = ura_certs::Authority::init(&world.path("foreign"), "ura.test", now());
    let folder = identity_dir(world.dir.path(), "arc/probe");
    std::fs::remove_dir_all(&folder).expect("removed");
    issue(&foreign.expect("an authority"), world.dir.path(), "arc/probe", &[]);
    std::fs::copy(world.path("pki/ais-gateway/ca.pem"), folder.join("ca.pem")).expect("copied");
    let adapter = Plugged::start(&world, &world.address, "", "connections = 1").await;
    // TLS tells it in an alert (RFC 8446 section 6.2).
    let said = journal::said(&["ura_adapters", "cannot plug in", "alert"]).await;
    println!("{said}");
    adapter.leave().await;
    world.end().await;
}
