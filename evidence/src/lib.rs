//! Evidence: the tamper-evident record of exchanges and of administrative acts.
//!
//! One log per gateway, a Merkle tree with signed checkpoints (`ura-log`), in SQLite or PostgreSQL.
//! Knows entries, keys and stores; knows nothing of connections, calls and policy.

pub mod config;
pub mod entry;
pub mod export;
pub mod extend;
pub mod find;
pub mod keys;
mod lease;
mod mark;
pub mod prove;
pub mod prune;
pub mod receipt;
pub mod registry;
#[cfg(test)]
mod sample;
pub mod seal;
pub mod source;
pub mod store;
mod sweep;
pub mod verify;
pub mod view;
pub mod writer;
