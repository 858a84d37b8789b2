//! Declared adapters against real registers: SQLite in a folder of its own, small HTTP servers on
//! free ports, and PostgreSQL servers of their own.

// A test that cannot go on says so by a panic.
#![allow(clippy::panic)]

#[path = "declared/files.rs"]
mod files;
#[path = "declared/fixture.rs"]
mod fixture;
#[path = "declared/http.rs"]
mod http;
#[path = "declared/postgres.rs"]
mod postgres;
#[allow(dead_code, unreachable_pub, clippy::print_stderr)] // Of another target; this one uses a part.
#[path = "../../tests/processes/process.rs"]
mod process;
#[path = "declared/rest.rs"]
mod rest;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/processes/postgres.rs"]
mod server;
#[path = "declared/soap.rs"]
mod soap;
#[path = "declared/sqlite.rs"]
mod sqlite;

/// What `process` and `server` take from the world of their own target.
mod world {
    use std::time::Duration;

    /// Long enough for anything; a test that reaches it has failed.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

    /// Waits, but not for ever.
    pub(crate) async fn patient<F: Future>(future: F) -> F::Output {
        tokio::time::timeout(PATIENCE, future).await.expect("within a minute")
    }
}
