//! Spans: how many came, what became of them, and where some were lost.

use std::sync::atomic::Ordering;

use ura_runtime::{
    metrics::{Page, Type},
    telemetry::relay,
};
use ura_traces::queue::Counters;

pub(super) fn put(page: &mut Page, spans: &Counters) {
    for (name, help, count) in [
        (
            "ura_spans_received_total",
            "Spans that came in, of members and of the gateway itself.",
            &spans.received,
        ),
        ("ura_spans_kept_total", "Spans that were written to the store.", &spans.stored),
        ("ura_spans_forwarded_total", "Spans that the collector took.", &spans.forwarded),
    ] {
        page.one(name, Type::Counter, help, count.load(Ordering::Relaxed));
    }
    page.family(
        "ura_spans_dropped_total",
        Type::Counter,
        "Spans that were lost on the way: out of the gateway's own exchanges, to the store, to the collector.",
    );
    for (way, count) in [
        ("own", relay::dropped()),
        ("store", spans.not_stored.load(Ordering::Relaxed)),
        ("collector", spans.not_forwarded.load(Ordering::Relaxed)),
    ] {
        page.sample(&[("way", way)], count);
    }
}
