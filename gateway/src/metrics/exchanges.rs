//! Exchanges: between whom, how they ended, how large they were, and the bus's own time.

use ura_runtime::metrics::{Page, Type};

use super::Sources;
use crate::meter::{Pair, Series};

/// What is no name of the directory.
const OTHER: &str = "_other";
/// What an exchange did not come to know.
const NONE: &str = "_none";

pub(super) fn put(page: &mut Page, sources: &Sources) {
    let pairs = sources.meters.pairs();
    let (others, uncounted) = sources.meters.others();
    let all = || {
        let beyond = (uncounted > 0).then_some(([OTHER; 3], others));
        pairs.iter().map(|(pair, series)| (names(pair), &**series)).chain(beyond)
    };
    page.family(
        "ura_exchanges_total",
        Type::Counter,
        "Exchanges by how they ended; reason is empty where the register's own answer was passed on, _left where the caller did not wait for one.",
    );
    for ([consumer, contract, provider], series) in all() {
        for (code, reason, count) in series.ends() {
            let labels = [
                ("consumer", consumer),
                ("contract", contract),
                ("provider", provider),
                ("code", code),
                ("reason", reason),
            ];
            page.sample(&labels, count);
        }
    }
    let bytes = |page: &mut Page, name, help, of: fn(&Series) -> u64| {
        page.family(name, Type::Counter, help);
        for ([consumer, contract, provider], series) in all().filter(|(_, series)| of(series) > 0) {
            let labels = [("consumer", consumer), ("contract", contract), ("provider", provider)];
            page.sample(&labels, of(series));
        }
    };
    bytes(
        page,
        "ura_exchange_request_bytes_total",
        "Bytes of requests that were permitted, as far as they were read.",
        |of| of.bytes().0,
    );
    bytes(page, "ura_exchange_reply_bytes_total", "Bytes of replies.", |of| of.bytes().1);
    page.one(
        "ura_exchanges_uncounted_total",
        Type::Counter,
        "Exchanges of pairs beyond limits.counted_pairs_max, which are counted together as _other.",
        uncounted,
    );
    page.family(
        "ura_exchange_overhead_seconds",
        Type::Histogram,
        "The bus's own time of answered unary exchanges: without waiting for the caller, a place, or the register.",
    );
    let [reads, writes] = sources.meters.overhead();
    page.histogram(&[("kind", "read")], reads);
    page.histogram(&[("kind", "write")], writes);
}

fn names(pair: &Pair) -> [&str; 3] {
    [
        pair.consumer.as_ref().map_or(OTHER, |consumer| consumer.as_str()),
        pair.contract.as_deref().unwrap_or(OTHER),
        pair.provider.as_ref().map_or(NONE, |provider| provider.as_str()),
    ]
}
