//! The evidence log and its writer.

use std::sync::atomic::Ordering;

use ura_evidence::writer::{Evidence, Tally};
use ura_runtime::metrics::{Page, Type};

use super::seconds;

pub(super) fn put(page: &mut Page, evidence: &Evidence) {
    gauges(page, evidence);
    written(page, evidence.tally());
    let (busy, idle, connections_max) = evidence.reader().connections();
    page.family(
        "ura_evidence_reader_connections",
        Type::Gauge,
        "Connections to the store for questions about evidence.",
    );
    page.sample(&[("state", "busy")], busy);
    page.sample(&[("state", "idle")], idle);
    page.one(
        "ura_evidence_reader_connections_max",
        Type::Gauge,
        "Connections to the store that questions may have at once.",
        connections_max,
    );
}

/// The log as it is now.
fn gauges(page: &mut Page, evidence: &Evidence) {
    let status = evidence.status();
    for (name, help, value) in [
        (
            "ura_evidence_available",
            "1 where records can be made; where not, every call is refused.",
            u64::from(status.available),
        ),
        (
            "ura_evidence_fenced",
            "1 where another process took the log over: for good, or at a restart until this one has drained.",
            u64::from(status.fenced),
        ),
        (
            "ura_evidence_generation",
            "Generation of the log, from 1: one more each time another gateway has sealed it.",
            u64::from(status.generation),
        ),
        ("ura_evidence_entries", "Entries of the log that are on disk.", status.size),
        (
            "ura_evidence_unsigned_entries",
            "Entries that no checkpoint covers yet.",
            status.size.saturating_sub(status.signed_size),
        ),
        ("ura_evidence_queue_entries", "Records that wait to be taken by the writer.", size(status.queued)),
        (
            "ura_evidence_queue_entries_max",
            "Records that may wait; calls beyond are refused.",
            size(evidence.queue_entries_max()),
        ),
        (
            "ura_evidence_waiting_entries",
            "Closings and administrative records that wait until the log can be written again.",
            size(status.waiting),
        ),
    ] {
        page.one(name, Type::Gauge, help, value);
    }
}

/// What the writer has done.
fn written(page: &mut Page, tally: &Tally) {
    page.one(
        "ura_evidence_checkpoint_timestamp_seconds",
        Type::Gauge,
        "When this process signed the log last; nothing is signed while nothing is recorded.",
        seconds(tally.signed_unix_us.load(Ordering::Relaxed)),
    );
    for (name, help, value) in [
        (
            "ura_evidence_failures_total",
            "Times that the log could not be written, attempts to go on included.",
            &tally.failures,
        ),
        (
            "ura_evidence_refused_exchanges_total",
            "Exchanges refused because their record could not be made.",
            &tally.refused,
        ),
        (
            "ura_evidence_closings_lost_total",
            "Closings given up, because too many waited for the log.",
            &tally.closings_lost,
        ),
    ] {
        page.one(name, Type::Counter, help, value.load(Ordering::Relaxed));
    }
    page.family(
        "ura_evidence_commit_seconds",
        Type::Histogram,
        "Transactions with records in them, until they were on disk.",
    );
    page.histogram(&[], &tally.commits);
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
