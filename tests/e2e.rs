//! The bus end to end, in one process: real mTLS on port 0, a PKI minted for the run, a gateway, and
//! an adapter whose conduct the tests order.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "e2e/path.rs"]
mod path;
mod world;
