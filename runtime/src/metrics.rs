//! Numbers for Prometheus: what they are counted in, the page they are shown on, and the listener that
//! serves it. Knows no number by name: who counts says what it is.
//!
//! Counting takes no lock and no memory; the page is made when somebody asks for it.

mod histogram;
mod page;
mod serve;

pub use histogram::Histogram;
pub use page::{Page, Type};
pub use serve::{MetricsConfig, MetricsListener};
