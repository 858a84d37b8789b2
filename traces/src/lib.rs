//! Spans that a gateway takes: from its members, each under its own name, and its own. The recent ones are kept
//! beside the evidence, and all are forwarded to an OTLP collector where one is configured.
//!
//! Nothing here is ever waited for by an exchange: what does not fit a queue is dropped and counted. Must not know
//! exchanges, grants or connections of members.

pub mod admit;
pub mod config;
pub mod forward;
pub mod queue;
pub mod store;

pub use opentelemetry_proto::tonic::{
    collector::trace::v1 as collector,
    common::v1 as common,
    trace::v1::{ResourceSpans, ScopeSpans, Span, span},
};
