//! Spans are counted: those that came, were kept and were forwarded, and where some were lost.

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use ura_traces::{ResourceSpans, ScopeSpans, Span, collector::ExportTraceServiceRequest};

use super::{numbers, pages::Shown};
use crate::world::{BEGIN_UNIX_US, Plan, World};

/// Gives this many spans to the bus, as any of its members may.
async fn export(world: &World, spans: u8) {
    let at_ns = u64::try_from(BEGIN_UNIX_US).unwrap() * 1_000;
    let span = |id: u8| Span {
        start_time_unix_nano: at_ns,
        end_time_unix_nano: at_ns,
        trace_id: vec![7; 16],
        span_id: vec![id + 1; 8],
        name: "made here".to_owned(),
        ..Span::default()
    };
    let scope = ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() };
    let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![resource] };
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_eq!(world.portal().await.call(path, &[], &request).await.status(), 0);
}

fn dropped(shown: &Shown, way: &str) -> f64 {
    shown.value("ura_spans_dropped_total", &[("way", way)])
}

/// A server of gRPC that collects no spans; its address.
async fn no_collector() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let refuse = |_: Request<Incoming>| async {
        let response =
            Response::builder().header("content-type", "application/grpc").header("grpc-status", "12");
        response.body(String::new())
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let served = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(refuse));
            tokio::spawn(served);
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn spans_that_came_were_kept_and_were_lost_are_counted() {
    let limits = format!("[telemetry]\notlp_endpoint = \"{}\"", no_collector().await);
    let world = World::with(Plan { metrics: true, limits, ..Plan::default() }).await;
    export(&world, 3).await;
    let arrived =
        |shown: &Shown| shown.value("ura_spans_kept_total", &[]) == 3.0 && dropped(shown, "collector") == 3.0;
    let shown = Shown::when(&world, arrived).await;
    assert_eq!(shown.value("ura_spans_received_total", &[]), 3.0);
    assert_eq!(shown.value("ura_spans_forwarded_total", &[]), 0.0);
    assert_eq!((dropped(&shown, "own"), dropped(&shown, "store")), (0.0, 0.0));
    world.end().await;
    // Without a collector nothing is lost on the way to it.
    let world = numbers::world().await;
    export(&world, 2).await;
    let shown = Shown::when(&world, |shown| shown.value("ura_spans_kept_total", &[]) == 2.0).await;
    assert_eq!(dropped(&shown, "collector"), 0.0);
    world.end().await;
}
