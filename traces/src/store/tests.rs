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
    let batch = waiting.expect("wanted").next().await.expect("brought");
    store.insert(&batch, &TracesConfig::default(), at_us).await.expect("inserted");
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

async fn too_much_goes_and_what_is_notable_last(store: &Store) {
    let large = |span: Span| Span { name: "x".repeat(1 << 10), ..span };
    let many = |trace: u8, of: fn(u8, u8) -> Span| -> Vec<Span> {
        let ids = (0..4_u16).flat_map(|high| (1..=250_u16).map(move |low| (high, low)));
        ids.map(|(high, low)| {
            let mut span = large(of(trace, 1));
            span.span_id[..2].copy_from_slice(&(high << 8 | low).to_be_bytes());
            span
        })
        .collect()
    };
    insert(store, "a/b", many(11, failed), NOW_US - 9).await;
    insert(store, "a/b", many(12, span), NOW_US - 2).await;
    insert(store, "a/b", many(13, span), NOW_US - 1).await;
    let bounds = TracesConfig { kept_bytes_max: 2_500 << 10, ..TracesConfig::default() };
    store.sweep(&bounds, NOW_US).await.expect("swept");
    let mut left = Vec::new();
    for trace in [11, 12, 13] {
        left.push(ids(store, trace).await.len());
    }
    assert_eq!(left, [1000, 0, 1000]);
    assert!(store.bytes().await.expect("told") <= 2_500 << 10);
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
