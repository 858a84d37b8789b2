//! Declared adapters against real registers: SQLite in a folder of its own, small HTTP servers on
//! free ports, and PostgreSQL servers of their own.

// A test that cannot go on says so by a panic.
#![allow(clippy::panic)]

#[path = "declared/auth.rs"]
mod auth;
#[path = "declared/files.rs"]
mod files;
#[path = "declared/fixture.rs"]
mod fixture;
#[path = "declared/http.rs"]
mod http;
#[path = "declared/injection.rs"]
mod injection;
#[path = "declared/mismatch.rs"]
mod mismatch;
#[path = "declared/pki.rs"]
mod pki;
#[path = "declared/postgres.rs"]
mod postgres;
#[path = "declared/postgres_sessions.rs"]
mod postgres_sessions;
#[path = "declared/rest.rs"]
mod rest;
#[path = "../../tests/world/postgres.rs"]
mod server;
#[path = "declared/soap.rs"]
mod soap;
#[path = "declared/sqlite.rs"]
mod sqlite;
#[path = "declared/wsdl.rs"]
mod wsdl;
