//! Declared adapters against real registers: SQLite in a folder of its own, small HTTP servers on
//! free ports, and PostgreSQL where `URA_TEST_POSTGRES` names one.

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
#[path = "declared/soap.rs"]
mod soap;
#[path = "declared/sqlite.rs"]
mod sqlite;
