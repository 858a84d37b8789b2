//! A plugged adapter's certificate is renewed: another connection with the new one takes over, and the one
//! before goes when its calls have ended.

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    load::Load,
    rig::{Plugged, metadata, wish},
};
use crate::world::{Plan, World, identity_dir, issue, journal, patient};

const RENEWALS: usize = 4;

/// Puts the identity folder of the probe behind a link that can be turned, as operators do.
fn link(world: &World) {
    let folder = identity_dir(world.dir.path(), "arc/probe");
    let first = folder.with_file_name("arc-probe-0");
    std::fs::rename(&folder, &first).expect("renamed");
    std::os::unix::fs::symlink(&first, &folder).expect("a link");
}

/// Issues another certificate and turns the link to it; returns its SHA-256.
fn renew(world: &World, number: usize) -> Vec<u8> {
    let folder = identity_dir(world.dir.path(), "arc/probe");
    let issued = world.path(&format!("renewed-{number}"));
    issue(&world.authority, &issued, "arc/probe", &[]);
    turn(&folder, &identity_dir(&issued, "arc/probe"));
    fingerprint(world)
}

fn turn(link: &std::path::Path, to: &std::path::Path) {
    let next = link.with_file_name("next");
    std::os::unix::fs::symlink(to, &next).expect("a link");
    std::fs::rename(next, link).expect("turned");
}

fn fingerprint(world: &World) -> Vec<u8> {
    let file = identity_dir(world.dir.path(), "arc/probe").join("cert.pem");
    let leaf = CertificateDer::pem_file_iter(file).expect("readable").next().expect("a leaf").expect("PEM");
    digest(&SHA256, &leaf).as_ref().to_vec()
}

/// Calls until one was answered on a connection with this certificate, which evidence names.
async fn until_used(world: &World, certificate: &[u8]) {
    let client = world.portal().await;
    let used = async {
        loop {
            let ended = client.call("Read", &[], &wish("")).await;
            assert_eq!(ended.status(), 0, "{ended:?}");
            let records = world.evidence(ended.exchange()).await;
            if records.closing().adapter_certificate == certificate {
                return;
            }
        }
    };
    patient(used).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_under_load_cost_no_call() {
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    link(&world);
    // Who makes room for another has all the time that there is, not only that of a drain.
    let limits = "connections = 3\ndrain_timeout_ms = 1";
    let adapter = Plugged::start(&world, &world.address, "", limits).await;
    adapter.connections(3).await;
    // A call that outlives all of it.
    let client = world.portal().await;
    let mut call = client.start("Read", &[]);
    call.message(&wish("wait")).await;
    call.close();
    adapter.probe.until(|calls| calls.len() == 1 && calls[0].messages == 1).await;
    let load = Load::start(&world, 8).await;
    for number in 1..=RENEWALS {
        load.more(40).await;
        let certificate = renew(&world, number);
        until_used(&world, &certificate).await;
        // Those before are gone, but for the one with the call in hand.
        let mut verdict = adapter.adapter.verdict();
        let few = verdict.wait_for(|now| now.connections <= 4 && !now.accepted.is_empty());
        patient(few).await.expect("it lives");
    }
    load.more(40).await;
    let (answered, failed) = load.end().await;
    assert!(
        failed.is_empty(),
        "{} of {answered} calls failed: {:#?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
    adapter.probe.release();
    let ended = patient(call.ended()).await;
    assert_eq!(ended.status(), 0, "the call in hand: {ended:?}");
    adapter.connections(3).await;
    adapter.leave().await;
    world.end().await;
}

/// Many connections that are replaced while hardly anybody calls: the gateway learns of each end as it comes.
#[tokio::test]
async fn a_renewal_of_many_idle_connections_costs_no_call() {
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    link(&world);
    let adapter = Plugged::start(&world, &world.address, "", "connections = 16\ndrain_notice_ms = 0").await;
    adapter.connections(16).await;
    let client = world.portal().await;
    let mut parallel = Vec::new();
    for number in 1..=RENEWALS {
        let certificate = renew(&world, number);
        until_used(&world, &certificate).await;
        // Each of them may have an old connection in hand.
        for _ in 0..32 {
            let mut call = client.start("Read", &[]);
            call.message(&wish("")).await;
            call.close();
            parallel.push(call);
        }
        for call in parallel.drain(..) {
            let ended = patient(call.ended()).await;
            assert_eq!(ended.status(), 0, "{ended:?}");
        }
        adapter.connections(16).await;
    }
    adapter.leave().await;
    world.end().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_the_plug_as_it_is() {
    journal::listen();
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    link(&world);
    let adapter = Plugged::start(&world, &world.address, "", "connections = 1").await;
    adapter.connections(1).await;
    let before = fingerprint(&world);
    let folder = identity_dir(world.dir.path(), "arc/probe");

    // Of an authority that the gateway does not know.
    let foreign = ura_certs::Authority::init(&world.path("foreign"), "ura.test", crate::world::now());
    let strange = world.path("strange");
    issue(&foreign.expect("an authority"), &strange, "arc/probe", &[]);
    // Only that side minds: the adapter goes on trusting the gateway.
    let strange = identity_dir(&strange, "arc/probe");
    std::fs::copy(world.path("pki/ais-gateway/ca.pem"), strange.join("ca.pem")).expect("copied");
    turn(&folder, &strange);
    journal::said(&["cannot plug in anew, going on with the plug as it is"]).await;
    let client = world.portal().await;
    let ended = client.call("Write", &metadata("k"), &wish("")).await;
    assert_eq!(ended.status(), 0, "{ended:?}");
    assert_eq!(world.evidence(ended.exchange()).await.closing().adapter_certificate, before);

    // A good one mends it.
    let certificate = renew(&world, 1);
    until_used(&world, &certificate).await;
    adapter.connections(1).await;
    adapter.leave().await;
    world.end().await;
}
