//! Plugs and their lives: connecting, being judged, being replaced, leaving.

use tonic_health::pb::health_check_response::ServingStatus;
use ura_adapters::{
    config::Link,
    run::{self, NotPlugged, StartError},
};
use ura_proto::v1::{DrainRequest, RefusedContract, ReportRequest};
use ura_runtime::process::Shutdown;

use crate::{
    gateway::dial,
    pki::Pki,
    world::{self, ECHO, SAY, SayResponse, World, say},
};

#[tokio::test]
async fn the_verdict_is_seen_and_goes_with_its_connection() {
    let mut world = World::new().await;
    let plug = world.gateway.accept(&[ECHO]).await;
    world.adapter.plugged_in().await.expect("accepted");
    assert_eq!(world.adapter.contracts(), [ECHO]);

    let mut verdict = world.adapter.verdict();
    let refused = RefusedContract { contract: ECHO.to_owned(), reason: "not in the directory".to_owned() };
    let request = ReportRequest { refused: vec![refused], ..ReportRequest::default() };
    plug.control().report(request).await.expect("taken");
    let Err(NotPlugged::Refused(reasons)) = world.adapter.plugged_in().await else {
        unreachable!("the gateway has refused");
    };
    assert_eq!(reasons.get(ECHO).map(String::as_str), Some("not in the directory"));

    plug.vanish().await;
    verdict.wait_for(|verdict| verdict.connections == 0).await.expect("watched");
}

#[tokio::test]
async fn an_adapter_plugs_in_again_and_with_its_new_certificate() {
    let mut world = World::new().await;
    let first = world.gateway.accept(&[ECHO]).await;
    assert_eq!(first.peer.id.to_string(), "spiffe://td.test/arc/echo");
    let fingerprint = first.peer.fingerprint;
    world.pki.issue("arc/echo");
    first.vanish().await;
    let second = world.gateway.accept(&[ECHO]).await;
    assert_ne!(second.peer.fingerprint, fingerprint);
    let reply: SayResponse = second.unary(SAY, say("again")).await.expect("answered");
    assert_eq!(reply.text, "again");
}

#[tokio::test]
async fn an_unreadable_identity_does_not_unplug() {
    let mut world = World::new().await;
    let first = world.gateway.accept(&[ECHO]).await;
    let key = world.pki.path().join("arc-echo/key.pem");
    std::fs::write(key, "half a key").expect("written");
    let fingerprint = first.peer.fingerprint;
    first.vanish().await;
    let second = world.gateway.accept(&[ECHO]).await;
    assert_eq!(second.peer.fingerprint, fingerprint);
}

#[tokio::test]
async fn a_draining_gateway_is_replaced_at_once_and_answered_to_the_end() {
    let mut world = World::new().await;
    let old = world.gateway.accept(&[ECHO]).await;
    let mut waiting = world.echo.waiting.subscribe();
    let call = async {
        let reply: SayResponse = old.unary(SAY, say("wait")).await.expect("answered");
        reply.text
    };
    let rest = async {
        waiting.wait_for(|count| *count == 1).await.expect("counted");
        old.control().drain(DrainRequest {}).await.expect("taken");
        let new = world.gateway.accept(&[ECHO]).await;
        let reply: SayResponse = new.unary(SAY, say("new")).await.expect("answered");
        assert_eq!(reply.text, "new");
        let reply: SayResponse = old.unary(SAY, say("old")).await.expect("answered");
        assert_eq!(reply.text, "old");
        world.echo.released.send_replace(true);
    };
    let (text, ()) = tokio::join!(call, rest);
    assert_eq!(text, "wait");
}

#[tokio::test]
async fn health_follows_the_register() {
    let mut world = World::new().await;
    let plug = world.gateway.accept(&[ECHO]).await;
    let mut health = plug.watch(ECHO).await;
    for (state, status) in
        [(true, ServingStatus::Serving), (false, ServingStatus::NotServing), (true, ServingStatus::Serving)]
    {
        world.register.send_replace(state);
        let seen = health.message().await.expect("sent").expect("a state");
        assert_eq!(seen.status(), status);
    }
}

#[tokio::test]
async fn leaving_says_so_first_and_loses_no_call() {
    let mut world = World::new().await;
    let plug = world.gateway.accept(&[ECHO]).await;
    let mut health = plug.watch(ECHO).await;
    let seen = health.message().await.expect("sent").expect("a state");
    assert_eq!(seen.status(), ServingStatus::Serving);
    let mut waiting = world.echo.waiting.subscribe();
    let call = async {
        let reply: SayResponse = plug.unary(SAY, say("wait")).await.expect("answered");
        reply.text
    };
    let rest = async {
        waiting.wait_for(|count| *count == 1).await.expect("counted");
        world.shutdown.drain();
        let seen = health.message().await.expect("sent").expect("a state");
        assert_eq!(seen.status(), ServingStatus::NotServing);
        assert!(health.message().await.expect("ended").is_none());
        world.echo.released.send_replace(true);
    };
    let (text, ()) = tokio::join!(call, rest);
    assert_eq!(text, "wait");
    world.adapter.finished().await;
    plug.task.await.expect("joined").expect("closed in order");
}

#[tokio::test]
async fn a_listening_adapter_serves_its_gateway_and_nobody_else() {
    let pki = Pki::new();
    let set = world::descriptor_set(&pki);
    let services = world::services(&set);
    let link = Link::Listen("127.0.0.1:0".parse().expect("an address"));
    let config = world::config(pki.issue("arc/echo"), link);
    let shutdown = Shutdown::new();
    let adapter = run::serve(config, services, shutdown.clone()).await.expect("started");
    let address = adapter.address().expect("it listens");

    let gateway = dial(&pki, "ais/gateway", "arc/echo", address).await;
    let reply: SayResponse = gateway.unary(SAY, say("dialled")).await.expect("answered");
    assert_eq!(reply.text, "dialled");
    gateway.report(&[ECHO]).await;
    adapter.plugged_in().await.expect("accepted");

    let stranger = dial(&pki, "ais/portal", "arc/echo", address).await;
    let refused = stranger.unary::<_, SayResponse>(SAY, say("let me in")).await;
    refused.expect_err("not the gateway");

    shutdown.drain();
    adapter.finished().await;
    gateway.task.await.expect("joined").expect("closed in order");
}

#[tokio::test]
async fn an_adapter_does_not_plug_into_somebody_else() {
    let pki = Pki::new();
    let mut gateway = crate::gateway::Gateway::new(&pki);
    let set = world::descriptor_set(&pki);
    let services = world::services(&set);
    let link = Link::Plug(vec![gateway.address()]);
    let mut config = world::config(pki.issue("arc/echo"), link);
    config.gateway_id = "spiffe://td.test/ais/other".parse().expect("an id");
    let shutdown = Shutdown::new();
    let adapter = run::serve(config, services, shutdown.clone()).await.expect("started");
    gateway.refused_by_peers(2).await;
    assert_eq!(adapter.verdict().borrow().connections, 0);
    shutdown.drain();
    adapter.finished().await;
}

#[tokio::test]
async fn a_gateway_that_says_nothing_is_hung_up_on() {
    let pki = Pki::new();
    let mut gateway = crate::gateway::Gateway::new(&pki);
    let set = world::descriptor_set(&pki);
    let services = world::services(&set);
    let mut config = world::config(pki.issue("arc/echo"), Link::Plug(vec![gateway.address()]));
    config.limits.first_call_timeout_ms = 50;
    let adapter = run::serve(config, services, Shutdown::new()).await.expect("started");
    let mut mute = gateway.take().await;
    let mut heard = Vec::new();
    // Its side of the HTTP/2 preface, then the end; an abrupt one is an end, too.
    drop(tokio::io::AsyncReadExt::read_to_end(&mut mute, &mut heard).await);
    gateway.accept(&[ECHO]).await;
    adapter.plugged_in().await.expect("accepted");
}

#[tokio::test]
async fn the_certificate_must_name_the_system() {
    let pki = Pki::new();
    let set = world::descriptor_set(&pki);
    let services = world::services(&set);
    let link = Link::Plug(vec!["127.0.0.1:1".to_owned()]);
    let config = world::config(pki.issue("arc/other"), link);
    let error = run::serve(config, services, Shutdown::new()).await.expect_err("another system");
    assert!(matches!(error, StartError::Identity(_)));
    let text = error.to_string();
    assert!(text.contains("arc/echo") && text.contains("td.test/arc/other"), "{text}");
}
