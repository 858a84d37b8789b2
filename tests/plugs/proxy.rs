//! Adapters that reach the bus through an HTTP proxy only.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::rig::{Plugged, wish};
use crate::world::{Plan, World, journal, patient};

/// A proxy that makes tunnels and remembers what it was asked.
struct Proxy {
    address: String,
    asked: Arc<watch::Sender<Vec<String>>>,
    task: AbortHandle,
}

impl Proxy {
    /// Answers a request with `answer`, and makes the tunnel where that is a 200.
    async fn start(answer: fn(&str) -> &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let asked = Arc::new(watch::Sender::new(Vec::new()));
        let told = asked.clone();
        let serving = async move {
            let mut tunnels = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tunnels.spawn(tunnel(stream, answer, told.clone()));
            }
        };
        Self { address, asked, task: tokio::spawn(serving).abort_handle() }
    }

    /// Waits for so many requests, and returns them.
    async fn asked(&self, count: usize) -> Vec<String> {
        let mut asked = self.asked.subscribe();
        patient(asked.wait_for(|asked| asked.len() >= count)).await.expect("it lives").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tunnel(
    mut near: TcpStream,
    answer: fn(&str) -> &'static str,
    asked: Arc<watch::Sender<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(near.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    let head = String::from_utf8(head).expect("text");
    let answer = answer(&head);
    let target = head.split(' ').nth(1).expect("a target").to_owned();
    asked.send_modify(|asked| asked.push(head));
    // The client's first words may come with the end of ours.
    if near.write_all(answer.as_bytes()).await.is_err() || !answer.contains(" 200 ") {
        return;
    }
    let mut far = TcpStream::connect(target).await.expect("the gateway");
    drop(copy_bidirectional(&mut near, &mut far).await);
}

#[tokio::test]
async fn an_adapter_plugs_in_through_a_proxy() {
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let proxy = Proxy::start(|_| "HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n").await;
    let lines = format!("proxy = \"http://{}\"", proxy.address);
    let adapter = Plugged::start(&world, &world.address, &lines, "").await;
    adapter.connections(2).await;
    for request in proxy.asked(2).await {
        let target = &world.address;
        assert_eq!(request, format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    }
    let client = world.portal().await;
    for _ in 0..20 {
        assert_eq!(client.call("Read", &[], &wish("")).await.status(), 0);
    }
    assert_eq!(proxy.asked(2).await.len(), 2, "one tunnel for each connection");
    adapter.leave().await;
    world.end().await;
}

#[tokio::test]
async fn a_proxy_is_told_who_asks_and_a_mended_password_is_taken_without_a_restart() {
    journal::listen();
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    // "arc:open sesame"
    let proxy =
        Proxy::start(|head| match head.contains("Proxy-Authorization: Basic YXJjOm9wZW4gc2VzYW1l\r\n") {
            true => "HTTP/1.0 200 OK\r\n\r\n",
            false => {
                "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n"
            }
        })
        .await;
    let address = &proxy.address;
    let alone = format!("proxy = \"http://{address}\"");
    let nobody = Plugged::start(&world, &world.address, &alone, "connections = 1").await;
    let said = journal::said(&["cannot plug in", "407", "proxy_password_file"]).await;
    assert!(said.contains("arc/probe"), "{said}");
    nobody.leave().await;

    let file = world.path("proxy-password");
    std::fs::write(&file, "wrong secret\n").expect("written");
    let lines = format!("{alone}\nproxy_user = \"arc\"\nproxy_password_file = \"{}\"", file.display());
    let before = proxy.asked(1).await.len();
    let adapter = Plugged::start(&world, &world.address, &lines, "connections = 1").await;
    proxy.asked(before + 1).await;
    std::fs::write(&file, "open sesame\n").expect("written");
    adapter.connections(1).await;
    assert!(journal::lines(&["sesame"]).is_empty() && journal::lines(&["wrong secret"]).is_empty());
    adapter.leave().await;
    world.end().await;
}

#[tokio::test]
async fn a_proxy_that_refuses_is_quoted() {
    journal::listen();
    let world = World::with(Plan { adapter: false, ..Plan::default() }).await;
    let proxy = Proxy::start(|_| "HTTP/1.1 403 Not on the list of the ministry\r\n\r\n").await;
    let lines = format!("proxy = \"http://{}\"", proxy.address);
    let adapter = Plugged::start(&world, &world.address, &lines, "connections = 1").await;
    let said = journal::said(&["the proxy refuses a tunnel", "403 Not on the list of the ministry"]).await;
    assert!(said.contains(&world.address), "{said}");
    adapter.leave().await;
    world.end().await;
}
