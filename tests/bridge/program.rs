//! `ura adapter bridge` as a process: by flags, by a configuration, before its server is there, after it has
//! become another one, over TLS.

use std::process::Command;

use serde_json::json;

use crate::{
    desk::{Answer, CONTRACT, Language, all, path, serve, until_serving, wish, world},
    process::{Process, ura},
    world::{TRUST_DOMAIN, World},
};

/// `ura adapter bridge` with who it is and where it plugs in.
fn by_flags(world: &World, to: &str) -> Command {
    let mut command = ura();
    command.args(["adapter", "bridge", "--to", to, "--system", "arc/probe", "--gateway", &world.address]);
    command.arg("--gateway-id").arg(format!("spiffe://{TRUST_DOMAIN}/ais/gateway"));
    command.arg("--identity").arg(world.identity("arc/probe"));
    command
}

/// A port on which nothing listens, held until the end.
fn nothing_there() -> (std::net::TcpListener, String) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    (taken, port)
}

#[tokio::test]
async fn flags_are_enough_and_the_server_may_come_later() {
    let world = world().await;
    let (taken, port) = nothing_there();
    drop(taken);
    let mut bridge = Process::start("bridge", &mut by_flags(&world, &format!("127.0.0.1:{port}")));
    bridge.says(&["cannot reach the server behind the bridge"]).await;
    let (_server, _) = serve(&world, Language::Python, &all(), &port).await;
    bridge.says(&["the gateway accepts the contract", CONTRACT]).await;
    let client = world.portal().await;
    until_serving(&client, true).await;
    let ended = client.call(&path("Ask"), &[], &wish("late", 1)).await;
    assert_eq!(ended.decode::<Answer>(0).text, "late", "{ended:?}");
    bridge.signal("TERM");
    assert!(bridge.ended().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_bridge_without_a_server_leaves_when_it_is_told_to() {
    let world = world().await;
    let (taken, port) = nothing_there();
    drop(taken);
    let mut bridge = Process::start("bridge", &mut by_flags(&world, &format!("127.0.0.1:{port}")));
    bridge.says(&["the server's contracts cannot be read"]).await;
    bridge.signal("TERM");
    assert!(bridge.ended().await.success());
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_bridged_is_told() {
    let world = world().await;
    let (_server, port) =
        serve(&world, Language::Node, &json!({ "reflection": false, "health": true }), "0").await;
    let to = format!("127.0.0.1:{port}");
    let mut bridge = Process::start("bridge", &mut by_flags(&world, &to));
    bridge.says(&["the server has no reflection", "--proto"]).await;
    assert!(!bridge.ended().await.success());

    let (_server, port) = serve(&world, Language::Node, &all(), "0").await;
    let to = format!("127.0.0.1:{port}");
    let mut bridge = Process::start("bridge", by_flags(&world, &to).args(["--contract", "test.Nowhere"]));
    bridge.says(&["the server does not have test.Nowhere; it lists: test.bridge.v1.Desk"]).await;
    assert!(!bridge.ended().await.success());
    world.end().await;
}

#[tokio::test]
async fn a_server_that_comes_back_as_another_is_plugged_in_anew() {
    let world = world().await;
    let other = json!({ "reflection": true, "health": true, "service": "test.bridge.v1.Other" });
    // The description of a service of another name, as its server brings it along.
    let (server, port) = serve(&world, Language::Python, &other, "0").await;
    let bridge = Process::start("bridge", &mut by_flags(&world, &format!("127.0.0.1:{port}")));
    bridge.says(&["the gateway refuses the contract", "test.bridge.v1.Other"]).await;
    server.kill();
    bridge.says(&["no connection to the server behind the bridge"]).await;
    let (_server, _) = serve(&world, Language::Python, &all(), &port).await;
    bridge.says(&["the server has other contracts than before"]).await;
    bridge.says(&["the gateway accepts the contract", CONTRACT]).await;
    let client = world.portal().await;
    until_serving(&client, true).await;
    assert_eq!(client.call(&path("Ask"), &[], &wish("new", 1)).await.status(), 0);
    assert!(!bridge.has_ended());
    world.end().await;
}

#[tokio::test]
async fn a_configuration_knows_tls() {
    let world = world().await;
    let pki = world.identity("ais/gateway");
    let plan = json!({
        "reflection": true, "health": true, "key": pki.join("key.pem"), "certificate": pki.join("cert.pem"),
    });
    let (_server, port) = serve(&world, Language::Python, &plan, "0").await;
    let write = |ca: &std::path::Path| {
        let text = format!(
            "system = \"arc/probe\"\nidentity = \"pki/arc-probe\"\ngateways = [\"{}\"]\n\
             gateway_id = \"spiffe://{TRUST_DOMAIN}/ais/gateway\"\n\
             [bridge]\nto = \"https://127.0.0.1:{port}\"\nca = \"{}\"\n",
            world.address,
            ca.display()
        );
        let path = world.path("bridge.toml");
        std::fs::write(&path, text).expect("a file");
        path
    };
    // Another authority's certificate is not taken.
    let stranger = ura_certs::Authority::init(&world.path("stranger"), TRUST_DOMAIN, crate::world::now());
    stranger.expect("an authority");
    let mut bridge = Process::ura("adapter bridge", &write(&world.path("stranger/root.pem")), &[]);
    bridge.says(&["cannot reach the server behind the bridge", "certificate"]).await;
    bridge.signal("TERM");
    assert!(bridge.ended().await.success());

    let bridge = Process::ura("adapter run", &write(&pki.join("ca.pem")), &[]);
    bridge.says(&["the gateway accepts the contract", CONTRACT]).await;
    let client = world.portal().await;
    until_serving(&client, true).await;
    let ended = client.call(&path("Ask"), &[], &wish("sealed", 1)).await;
    assert_eq!(ended.decode::<Answer>(0).text, "sealed", "{ended:?}");
    world.end().await;
}
