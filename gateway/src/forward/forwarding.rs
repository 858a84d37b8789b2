//! What goes with a call until the last byte of its reply has left. Knows nothing of replies.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use ura_proto::refusal::{Language, Reason};

use super::flow::Flow;
use crate::{
    call::{span::Span, streams::Stream},
    config::Limits,
    directory::ServiceKey,
    evidence::Ledger,
    meter::Meter,
    policy::Permit,
};

/// What a reply is forwarded with.
pub(crate) struct Forwarding {
    /// What permits it.
    pub(crate) permit: Permit,
    /// Its records.
    pub(crate) ledger: Arc<Ledger>,
    /// Limits of messages and streams.
    pub(crate) limits: Arc<Limits>,
    /// Language of refusals.
    pub(crate) language: Language,
    /// How long it may go on.
    pub(crate) flow: Arc<Flow>,
    /// Its place among the calls in hand, until dropped.
    pub(crate) _slot: (OwnedSemaphorePermit, Stream<ServiceKey>),
    /// Its span, where it is traced.
    pub(crate) span: Span,
    /// Counts it.
    pub(crate) meter: Meter,
}

impl Forwarding {
    /// Notes what the caller is told.
    pub(super) fn told(&mut self, status: u32, refusal: Option<Reason>) {
        self.span.end(status, refusal);
        self.meter.end(status, refusal);
    }
}
