//! The documentation is true: its tables come from the code, its files load, its links lead somewhere,
//! and what it tells people to type does what it says.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]
#![allow(missing_docs, unreachable_pub)]

#[path = "docs/bus.rs"]
mod bus;
#[path = "docs/files.rs"]
mod files;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/page.rs"]
mod page;
#[path = "docs/pages.rs"]
mod pages;
#[path = "world/postgres.rs"]
mod postgres;
#[path = "processes/random.rs"]
mod random;
#[path = "docs/refusals.rs"]
mod refusals;
#[path = "docs/schemas.rs"]
mod schemas;
#[path = "docs/strangers.rs"]
mod strangers;
#[path = "docs/walk.rs"]
mod walk;
