//! Both databases: what is kept, for how long, and how much of it.

use sqlx::{Row as _, raw_sql};

use super::{keep::is_notable, *};
use crate::{
    ResourceSpans, ScopeSpans,
    admit::attribute,
    config::TracesConfig,
    queue::{Waiting, queues},
};

#[path = "../../../tests/world/postgres.rs"]
mod server;

const DAY_US: i64 = 86_400_000_000;
const NOW_US: i64 = 1_795_348_800_000_000;

fn span(trace: u8, id: u8) -> Span {
    let status = Some(opentelemetry_proto::tonic::trace::v1::Status::default());
    Span { trace_id: vec![trace; 16], span_id: vec![id; 8], status, ..Span::default() }
}

fn failed(trace: u8, id: u8) -> Span {
    Span { attributes: vec![attribute("error.type", "GRANT_MISSING")], ..span(trace, id) }
}

fn of(spans: Vec<Span>) -> Vec<ResourceSpans> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }]
}

async fn insert(store: &Store, system: &str, spans: Vec<Span>, at_us: i64) {
    let (sink, waiting, _) = queues(true, false);
    sink.bring(system, of(spans));
    drop(sink);
    let mut waiting = waiting.expect("wanted");
    while let Some(batch) = waiting.next().await {
        store.insert(&batch, &TracesConfig::default(), at_us).await.expect("inserted");
    }
}

async fn ids(store: &Store, trace: u8) -> Vec<u8> {
    let kept = store.trace([trace; 16]).await.expect("read");
    kept.iter().map(|kept| kept.span.span_id[0]).collect()
}

async fn is_kept_as_long_as_it_should(store: &Store) {
    let bounds = TracesConfig::default();
    insert(store, "a/b", vec![span(1, 1), span(2, 1)], NOW_US - 2 * DAY_US).await;
    // Another span of the trace failed: all of it is kept longer, also what comes later.
    insert(store, "a/c", vec![failed(2, 2)], NOW_US - 2 * DAY_US).await;
    insert(store, "a/b", vec![span(2, 3)], NOW_US - 2 * DAY_US).await;
    insert(store, "a/b", vec![span(3, 1), failed(4, 1)], NOW_US - 8 * DAY_US).await;
    insert(store, "a/b", vec![span(5, 1), span(5, 1)], NOW_US).await;
    insert(store, "a/c", vec![span(5, 1)], NOW_US).await;
    store.sweep(&bounds, NOW_US).await.expect("swept");
    for (trace, expected) in [(1, vec![]), (2, vec![1, 2, 3]), (3, vec![]), (4, vec![]), (5, vec![1, 1])] {
        assert_eq!(ids(store, trace).await, expected, "{trace}");
    }
    let systems: Vec<String> =
        store.trace([5; 16]).await.expect("read").into_iter().map(|kept| kept.system).collect();
    assert_eq!(systems, ["a/b", "a/c"], "what one says twice is kept once");
}

/// Spans of a trace with ids of their own, each of 1 KiB.
fn many(trace: u8, count: u16, of: fn(u8, u8) -> Span) -> Vec<Span> {
    let one = |at: u16| {
        let mut span = Span { name: "x".repeat(1 << 10), ..of(trace, 1) };
        span.span_id[..2].copy_from_slice(&(at + 1).to_be_bytes());
        span
    };
    (0..count).map(one).collect()
}

async fn bytes(store: &Store) -> i64 {
    store.bytes().await.expect("told").iter().map(|(_, bytes)| bytes).sum()
}

/// Bytes that 1000 of those take, at least and at most.
const THOUSAND: std::ops::Range<i64> = 1_280_000..1_400_000;

async fn too_much_goes_and_what_is_notable_last(store: &Store) {
    insert(store, "a/b", many(11, 1_000, failed), NOW_US - 9).await;
    insert(store, "a/b", many(12, 1_000, span), NOW_US - 2).await;
    insert(store, "a/b", many(13, 1_000, span), NOW_US - 1).await;
    // The oldest of all, and of one who brings little.
    insert(store, "a/c", many(14, 1_000, span), NOW_US - 99).await;
    let whole = bytes(store).await;
    assert!((THOUSAND.start * 4..THOUSAND.end * 4).contains(&whole), "rows and indexes count: {whole}");
    let kept_bytes_max = u64::try_from(whole - THOUSAND.start / 2).expect("positive");
    let bounds = TracesConfig { kept_bytes_max, ..TracesConfig::default() };
    store.sweep(&bounds, NOW_US).await.expect("swept");
    let mut left = Vec::new();
    for trace in [11, 12, 13, 14] {
        left.push(ids(store, trace).await.len());
    }
    assert_eq!(left, [1000, 0, 1000, 1000]);
    assert!(bytes(store).await <= whole - THOUSAND.start);
}

async fn nobody_buries_a_trace(store: &Store) {
    insert(store, "a/b", many(21, 2_100, span), NOW_US).await;
    insert(store, "a/c", many(21, 1, span), NOW_US).await;
    let kept = store.trace([21; 16]).await.expect("read");
    let of = |system: &str| kept.iter().filter(|kept| kept.system == system).count();
    assert_eq!((of("a/b"), of("a/c")), (2_000, 1));
    for system in ["a/d", "a/e", "a/f", "a/g", "a/h"] {
        insert(store, system, many(21, 2_000, span), NOW_US).await;
    }
    insert(store, "a/last", many(21, 1, span), NOW_US).await;
    let kept = store.trace([21; 16]).await.expect("read");
    assert_eq!(i64::try_from(kept.len()).expect("few"), TRACE_SPANS_MAX);
    for system in ["a/b", "a/c", "a/h", "a/last"] {
        assert!(kept.iter().any(|kept| kept.system == system), "{system}");
    }
}

#[tokio::test]
async fn sqlite() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("evidence.db");
    let address = Address::parse(&format!("sqlite:{}", path.display())).expect("valid");
    assert!(Store::open_reading(&address).await.expect("no error").is_none(), "nothing was kept yet");
    let store = Store::open(&address).await.expect("opens");
    is_kept_as_long_as_it_should(&store).await;
    too_much_goes_and_what_is_notable_last(&store).await;
    nobody_buries_a_trace(&store).await;
    let reading = Store::open_reading(&address).await.expect("opens").expect("there");
    assert_eq!(ids(&reading, 2).await, [1, 2, 3]);
    reading.close().await;
    // A second start finds its tables; then they go as they came.
    store.close().await;
    let store = Store::open(&address).await.expect("opens again");
    let Pool::Sqlite(pool) = &store.0 else { unreachable!("a file") };
    raw_sql(include_str!("../../migrations/sqlite/0001_spans.down.sql")).execute(pool).await.expect("down");
    let left = "select count(*) from sqlite_master where name like 'trace_span%'";
    let left: i64 = sqlx::query(left).fetch_one(pool).await.expect("told").get(0);
    assert_eq!(left, 0);
    assert!(!path.exists(), "the evidence itself is not touched");
}

#[tokio::test]
async fn postgres() {
    let server = tokio::task::spawn_blocking(server::Postgres::shared).await.expect("starts");
    let address = Address::parse(&server.url()).expect("valid");
    assert!(Store::open_reading(&address).await.expect("no error").is_none(), "nothing was kept yet");
    let store = Store::open(&address).await.expect("opens");
    is_kept_as_long_as_it_should(&store).await;
    too_much_goes_and_what_is_notable_last(&store).await;
    nobody_buries_a_trace(&store).await;
    store.close().await;
    // Evidence in the same database keeps its own count of migrations.
    ura_evidence::store::Store::open(&address).await.expect("evidence opens beside it");
    let store = Store::open(&address).await.expect("opens again");
    assert_eq!(ids(&store, 2).await, [1, 2, 3]);
    let Pool::Postgres(pool) = &store.0 else { unreachable!("a server") };
    raw_sql(include_str!("../../migrations/postgres/0001_spans.down.sql")).execute(pool).await.expect("down");
    assert!(Store::open_reading(&address).await.expect("no error").is_none());
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_costs_only_the_spans() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let nowhere = dir.path().join("absent/evidence.db");
    let address = Address::parse(&format!("sqlite:{}", nowhere.display())).expect("valid");
    let (sink, waiting, _) = queues(true, false);
    sink.bring("a/b", of(vec![span(1, 1)]));
    sink.bring("a/b", of(vec![span(1, 2), span(1, 3)]));
    let counters = sink.counters().clone();
    drop(sink);
    let waiting: Waiting = waiting.expect("wanted");
    keep(waiting, address, TracesConfig::default(), ura_runtime::clock::Clock::system()).await;
    assert_eq!(counters.not_stored.load(std::sync::atomic::Ordering::Relaxed), 3);
    assert_eq!(counters.stored.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_too_old_goes_also_where_nothing_comes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let address = Address::parse(&format!("sqlite:{}", dir.path().join("evidence.db").display()));
    let address = address.expect("valid");
    empty(&address).await.expect("there is nothing to empty");
    assert!(Store::open_reading(&address).await.expect("no error").is_none());
    let store = Store::open(&address).await.expect("opens");
    let now_us = ura_runtime::clock::Clock::system().unix_us();
    insert(&store, "a/b", vec![span(1, 1)], now_us - 2 * DAY_US).await;
    insert(&store, "a/b", vec![span(2, 1)], now_us).await;
    let (sink, waiting, _) = queues(true, false);
    drop(sink);
    let clock = ura_runtime::clock::Clock::system();
    keep(waiting.expect("wanted"), address.clone(), TracesConfig::default(), clock).await;
    assert_eq!((ids(&store, 1).await, ids(&store, 2).await), (vec![], vec![1]));
    empty(&address).await.expect("emptied");
    assert_eq!(bytes(&store).await, 0);
    store.close().await;
}

#[test]
fn what_is_notable() {
    let error = opentelemetry_proto::tonic::trace::v1::Status { code: 2, ..Default::default() };
    let long =
        |ms: u64| Span { end_time_unix_nano: 5 + ms * 1_000_000, start_time_unix_nano: 5, ..span(1, 1) };
    for (span, expected) in [
        (span(1, 1), false),
        (failed(1, 1), true),
        (Span { status: Some(error), ..span(1, 1) }, true),
        (Span { status: None, ..span(1, 1) }, false),
        (long(999), false),
        (long(1000), true),
    ] {
        assert_eq!(is_notable(&span, 1000), expected, "{span:?}");
    }
}
