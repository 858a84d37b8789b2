//! The bus as separate processes: signals, kill -9, system calls, real clients in other languages.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "processes/answers.rs"]
mod answers;
#[path = "processes/book.rs"]
mod book;
#[path = "processes/bus.rs"]
mod bus;
#[path = "processes/clients.rs"]
mod clients;
#[path = "processes/consumer.rs"]
mod consumer;
#[path = "processes/data.rs"]
mod data;
#[path = "processes/faults.rs"]
mod faults;
#[path = "processes/killed.rs"]
mod killed;
#[path = "processes/leaving.rs"]
mod leaving;
#[path = "processes/load.rs"]
mod load;
#[path = "processes/pair.rs"]
mod pair;
#[path = "processes/portal.rs"]
mod portal;
#[path = "processes/process.rs"]
mod process;
#[path = "processes/random.rs"]
mod random;
#[path = "processes/refusing.rs"]
mod refusing;
#[path = "processes/relatives.rs"]
mod relatives;
#[path = "processes/replicas.rs"]
mod replicas;
#[path = "processes/sdk.rs"]
mod sdk;
#[path = "processes/spans.rs"]
mod spans;
#[path = "processes/synced.rs"]
mod synced;
#[path = "processes/system_calls.rs"]
mod system_calls;
mod world;
