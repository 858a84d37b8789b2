//! Questions to a log as those who search it ask them, each timed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ura_evidence::{
    find::{self, Found, Whom},
    keys::EpochKey,
    store::{Filter, Reader},
};

use crate::{
    exchanges::{Exchange, famous},
    keeper::Keeper,
    random::Random,
};

/// Questions of each sort.
const ASKED: usize = 200;
/// Entries of an answer, as `ura evidence find` shows where nothing is said.
const LIMIT: u32 = 50;
const HOUR_US: i64 = 3_600_000_000;

/// By what is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Exchange,
    Trace,
    Subject,
    Famous,
    ConsumerAndTime,
    ReasonAndTime,
    Method,
}

pub const ALL: [(By, &str); 7] = [
    (By::Exchange, "exchange"),
    (By::Trace, "trace"),
    (By::Subject, "subject"),
    (By::Famous, "subject of 1 in 1000 exchanges"),
    (By::ConsumerAndTime, "consumer, within an hour"),
    (By::ReasonAndTime, "reason, until a time"),
    (By::Method, "method, until a time"),
];

/// How long answers took.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The first one over new connections.
    pub first: Duration,
    pub median: Duration,
    pub longest: Duration,
}

/// Asks for exchanges that are in the log, over connections of its own.
pub async fn ask(keeper: &Keeper, by: By, some: &[Exchange], random: &mut Random) -> Times {
    let reader = keeper.read().await;
    let keys = keeper.keys().all();
    let mut times = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let exchange = &some[random.below(some.len())];
        let begun = Instant::now();
        let found = answer(&reader, &keys, by, exchange).await;
        times.push(begun.elapsed());
        judge(by, exchange, &found);
    }
    reader.close().await;
    let first = times[0];
    times.sort_unstable();
    Times { first, median: times[ASKED / 2], longest: times[ASKED - 1] }
}

async fn answer(reader: &Reader, keys: &[Arc<EpochKey>], by: By, exchange: &Exchange) -> Vec<Found> {
    let until = Some(exchange.recorded_us + HOUR_US / 2);
    let text = |text: &str| Some(text.to_owned());
    let person = if by == By::Famous { famous() } else { exchange.person.clone() };
    let filter = match by {
        By::Exchange => return find::exchange(reader, exchange.id).await.expect("an answer"),
        By::Subject | By::Famous => {
            let whom = Whom { kind: "person", canonical: person.as_bytes() };
            let always = (i64::MIN, i64::MAX);
            let page = find::find_subject(reader, keys, whom, always, None, LIMIT).await.expect("an answer");
            return page.entries;
        }
        By::Trace => Filter { trace_id: Some(exchange.trace), ..Filter::default() },
        By::ConsumerAndTime => {
            let from_us = Some(exchange.recorded_us - HOUR_US / 2);
            Filter { consumer: text(exchange.consumer), from_us, until_us: until, ..Filter::default() }
        }
        By::ReasonAndTime => Filter { reason: text("GRANT_MISSING"), until_us: until, ..Filter::default() },
        By::Method => Filter { method: text(&exchange.method), until_us: until, ..Filter::default() },
    };
    find::find(reader, &filter, None, LIMIT).await.expect("an answer").entries
}

/// Whether that can be the answer: what was written is found, as far as a page tells.
fn judge(by: By, exchange: &Exchange, found: &[Found]) {
    let is_it = |found: &Found| {
        found.entry().is_some_and(|entry| entry.exchange_id == exchange.id.as_bytes().as_slice())
    };
    match by {
        By::Exchange => {
            let entries = if exchange.reason.is_empty() { 2 } else { 1 };
            assert!(found.len() == entries && found.iter().all(is_it), "{exchange:?}: {found:?}");
        }
        // On the first page of the newest: a person has about ten, but for one.
        By::Trace | By::Subject if exchange.person != famous() => {
            assert!(found.iter().any(is_it), "{by:?}: {exchange:?} is not found");
        }
        _ => {
            assert!(!found.is_empty(), "{by:?}");
        }
    }
}
