//! `ura doctor` against a bus that runs: what it says of a sound one, and of each fault, made for real.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "docs/bus.rs"]
mod bus;
#[path = "doctor/faults.rs"]
mod faults;
#[path = "doctor/rig.rs"]
mod rig;
