//! Metrics: every number is there and true, its labels are closed, Prometheus reads it, and every alert fires
//! when it should and not before.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "metrics/alerts.rs"]
mod alerts;
#[path = "metrics/numbers.rs"]
mod numbers;
#[path = "metrics/pages.rs"]
mod pages;
#[path = "metrics/prometheus.rs"]
mod prometheus;
#[path = "metrics/rules.rs"]
mod rules;
#[path = "metrics/spans.rs"]
mod spans;
#[path = "metrics/table.rs"]
mod table;
mod world;
