//! The bus end to end, in one process: real mTLS on port 0, a PKI minted for the run, a gateway, and
//! an adapter whose conduct the tests order.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "e2e/access.rs"]
mod access;
#[path = "e2e/clock.rs"]
mod clock;
#[path = "e2e/contracts.rs"]
mod contracts;
#[path = "e2e/directory.rs"]
mod directory;
#[path = "e2e/evidence.rs"]
mod evidence;
#[path = "e2e/guessing.rs"]
mod guessing;
#[path = "e2e/identity.rs"]
mod identity;
#[path = "e2e/keys.rs"]
mod keys;
#[path = "e2e/log_entries.rs"]
mod log_entries;
#[path = "e2e/nonsense.rs"]
mod nonsense;
#[path = "e2e/outage.rs"]
mod outage;
#[path = "e2e/own_services.rs"]
mod own_services;
#[path = "e2e/path.rs"]
mod path;
#[path = "e2e/questions.rs"]
mod questions;
#[path = "e2e/receipts.rs"]
mod receipts;
#[path = "e2e/refusals.rs"]
mod refusals;
#[path = "e2e/shapes.rs"]
mod shapes;
#[path = "e2e/spans.rs"]
mod spans;
#[path = "e2e/subjects.rs"]
mod subjects;
#[path = "e2e/views.rs"]
mod views;
#[path = "e2e/withheld.rs"]
mod withheld;
#[path = "e2e/witness.rs"]
mod witness;
mod world;
