//! Plugs that last: through networks that fail without a word, proxies, renewals, and gateways and
//! adapters that come and go.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "plugs/churn.rs"]
mod churn;
#[path = "plugs/gateways.rs"]
mod gateways;
#[path = "plugs/load.rs"]
mod load;
#[path = "plugs/many.rs"]
mod many;
#[allow(dead_code)] // A part of it is for other targets.
#[path = "processes/process.rs"]
mod process;
#[path = "plugs/proxy.rs"]
mod proxy;
#[path = "plugs/refused.rs"]
mod refused;
#[path = "plugs/renewal.rs"]
mod renewal;
#[path = "plugs/rig.rs"]
mod rig;
#[path = "plugs/silence.rs"]
mod silence;
mod world;
