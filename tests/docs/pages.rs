//! The pages for people who use the bus or rely on it, gone through against a running demo.

use std::process::Stdio;

use tokio::process::Command;

use crate::{
    bus::{Demo, PATIENCE},
    postgres::Postgres,
    walk::{Walk, number},
};

/// What `ura evidence find` prints of an exchange.
async fn evidence(exchange: &str, place: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ura"));
    let command =
        command.args(["evidence", "find", exchange]).args(place).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await.expect("in time").expect("it runs");
    assert!(ended.status.success(), "{exchange}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

/// The rest of the last line that begins so.
fn told<'p>(printed: &'p str, name: &str) -> Option<&'p str> {
    printed.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

#[tokio::test]
async fn the_portal_developers_page_is_true() {
    let demo = Demo::start().await;
    let mut walk = Walk::new(&demo, "docs/portal-developers.md");
    let printed = walk.go().await;
    // Only Python prints it: what it computed from the salt is what evidence holds.
    if let Some(digest) = told(&printed, "request digest") {
        let python = printed.lines().take_while(|line| !line.starts_with("request digest"));
        let exchange = python.filter_map(|line| line.strip_prefix("exchange ")).last().expect("an exchange");
        let found = evidence(exchange, &["--dir", &demo.path().display().to_string()]).await;
        for (name, value) in
            [("request digest", digest), ("leaf hash", told(&printed, "leaf hash").expect("told"))]
        {
            let line = format!("  {name:<18}{value}");
            assert!(found.lines().any(|known| known == line), "{line} is not in\n{found}");
        }
    }
    walk.end().await;
    demo.end().await;
}

#[tokio::test]
async fn the_institutions_page_is_true() {
    let demo = Demo::start().await;
    let database = Postgres::shared().url();
    let mut walk = Walk::new(&demo, "docs/institutions.md").with_database("LICENCES_DB", database);
    walk.go().await;
    let visits = number(&walk.dir().join("permits.db"), "select count(*) from inspektimet").await;
    assert_eq!(visits, 1, "a repeat with its key counts once");
    walk.end().await;
    demo.end().await;
}

#[tokio::test]
async fn the_evidence_page_is_true() {
    let demo = Demo::start().await;
    let mut walk = Walk::new(&demo, "docs/evidence.md");
    let printed = walk.go().await;
    // With Python: what it checked by hand is the log's own key.
    if printed.contains("the kept reply is the one that was recorded") {
        let key = std::fs::read_to_string(walk.dir().join("log.pub")).expect("the page copies it");
        let signed = format!("entries: signed by {}", key.trim_end());
        assert!(printed.lines().any(|line| line.ends_with(&signed)), "{signed} is not in\n{printed}");
    }
    let cosigned = number(&demo.evidence(), "select count(*) from cosignature").await;
    assert_eq!(cosigned, 1, "the witness signed once");
    walk.end().await;
    demo.end().await;
}

#[tokio::test]
async fn the_operators_page_is_true() {
    let demo = Demo::start().await;
    let mut walk = Walk::new(&demo, "docs/operators.md");
    walk.go().await;
    let copy = walk.dir().join("evidence-copy.db");
    let count = "select count(*) from entry join body using (log_index)";
    let (copied, kept) = (number(&copy, count).await, number(&demo.evidence(), count).await);
    assert!(copied > 0 && copied <= kept, "{copied} of {kept} records are in the copy");
    let grants = "select count(*) from entry where kind = 10 and reason = 'GRANT_MISSING'";
    assert_eq!(number(&copy, grants).await, 1, "the demo's walk ends with a refusal for want of a grant");
    walk.end().await;
    demo.end().await;
}

#[tokio::test]
async fn the_bridge_page_is_true() {
    let demo = Demo::start().await;
    // The reader chooses the port; here it is one that is free.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let counters = free.local_addr().expect("an address").to_string();
    drop(free);
    let packages = std::env::var_os("URA_TEST_NODE_PATH").or_else(|| std::env::var_os("NODE_PATH"));
    let mut walk = Walk::new(&demo, "docs/bridge.md")
        .with_variable("COUNTERS", counters.into())
        .with_variable("NODE_PATH", packages.unwrap_or_default());
    if walk.can("node -e 'require(\"@grpc/reflection\")'").await {
        walk.go().await;
    } else {
        assert!(std::env::var_os("URA_TEST_NODE_PATH").is_none(), "node does not find its packages");
        eprintln!("docs/bridge.md: not gone through, for there is no node with @grpc/reflection");
    }
    walk.end().await;
    demo.end().await;
}
