//! What every process of the bus needs and no domain word: clock, configuration, TLS, silence on
//! connections, telemetry, metrics, trace context and the life of a process.
//!
//! This crate imports nothing of the project. It knows certificates and SPIFFE ids, but not what a
//! member, a grant or an exchange is.

pub mod clock;
pub mod config;
pub mod metrics;
pub mod process;
pub mod silence;
pub mod telemetry;
pub mod tls;
pub mod trace;
