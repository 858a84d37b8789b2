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
#[path = "declared/rest.rs"]
mod rest;
#[path = "../../tests/world/postgres.rs"]
mod server;
#[path = "declared/soap.rs"]
mod soap;
#[path = "declared/sqlite.rs"]
mod sqlite;
