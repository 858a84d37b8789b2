//! Spans reach the configured collector. A process of its own, because telemetry starts once per process.

use std::{net::Ipv4Addr, time::Duration};

use opentelemetry::trace::{Span, Tracer, TracerProvider};
use tokio::{io::AsyncReadExt, net::TcpListener};
use ura_runtime::telemetry::{TelemetryConfig, TelemetryError, init, tracing_enabled};

/// How an HTTP/2 client begins (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longer than it takes; reached only when the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_are_exported_where_an_endpoint_is_set() {
    let collector = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let endpoint = format!("http://{}", collector.local_addr().expect("an address"));
    let config =
        TelemetryConfig { otlp_endpoint: Some(endpoint), sample_ratio: 1.0, ..TelemetryConfig::default() };
    let telemetry = init(&config, "test").expect("started");
    assert!(tracing_enabled());
    let again = init(&TelemetryConfig::default(), "test").expect_err("once per process");
    assert!(matches!(again, TelemetryError::Twice));

    let mut span = opentelemetry::global::tracer_provider().tracer("test").start("one");
    assert!(span.span_context().is_sampled());
    span.end();
    let flushed = tokio::task::spawn_blocking(move || telemetry.shutdown());
    let greeting = async {
        let (mut stream, _) = collector.accept().await.expect("the exporter connects");
        let mut greeting = [0; PREFACE.len()];
        stream.read_exact(&mut greeting).await.expect("it speaks");
        greeting
    };
    let greeting = tokio::time::timeout(PATIENCE, greeting).await.expect("in time");
    assert_eq!(&greeting, PREFACE);
    // The collector hangs up without an answer: shutdown ends all the same.
    drop(collector);
    tokio::time::timeout(PATIENCE, flushed).await.expect("in time").expect("no panic");
    assert!(!tracing_enabled());
}
