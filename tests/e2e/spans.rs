//! The bus as its members' trace collector: spans come in over OTLP under the sender's own name only, within bounds.

use http::Uri;
use tonic::{Code, codec::CompressionEncoding};
use ura_evidence::store::Address;
use ura_traces::{
    ResourceSpans, ScopeSpans, Span,
    admit::attribute,
    collector::{
        ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_client::TraceServiceClient,
    },
    store::{Kept, Store},
};

use super::own_services::Connection;
use crate::world::{BEGIN_UNIX_US, Plan, World, directory, patient, store::EvidenceStore};

crate::world::store::on_each_store!(spans_are_kept_under_the_name_of_who_sent_them);

const TRACE: [u8; 16] = [7; 16];

fn span(id: u8) -> Span {
    let at_ns = u64::try_from(BEGIN_UNIX_US).unwrap() * 1_000;
    Span {
        trace_id: TRACE.to_vec(),
        span_id: vec![id; 8],
        name: format!("span {id}"),
        start_time_unix_nano: at_ns,
        end_time_unix_nano: at_ns,
        ..Span::default()
    }
}

/// Spans of somebody who calls itself the gateway.
fn claimed(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = ResourceSpans {
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    let mut request = ExportTraceServiceRequest { resource_spans: vec![resource] };
    let claims = ["service.name", "ura.system"].map(|key| attribute(key, "ais/gateway"));
    request.resource_spans[0].resource.get_or_insert_default().attributes = claims.to_vec();
    request
}

async fn export(
    world: &World,
    system: &str,
    compressed: bool,
    request: ExportTraceServiceRequest,
) -> Result<ExportTraceServiceResponse, tonic::Status> {
    let connection = Connection::of(world, system).await;
    let mut client = TraceServiceClient::with_origin(connection, Uri::from_static("https://gateway"));
    if compressed {
        client = client.send_compressed(CompressionEncoding::Gzip);
    }
    client.export(request).await.map(tonic::Response::into_inner)
}

/// The spans of the trace, once there are so many.
async fn kept(world: &World, count: usize) -> Vec<Kept> {
    let address = Address::parse(&world.store).unwrap();
    patient(async {
        loop {
            if let Ok(Some(store)) = Store::open_reading(&address).await {
                let kept = store.trace(TRACE).await.unwrap();
                store.close().await;
                if kept.len() >= count {
                    return kept;
                }
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn spans_are_kept_under_the_name_of_who_sent_them(evidence_store: EvidenceStore) {
    let world = World::on(evidence_store).await;
    let wrong = Span { span_id: Vec::new(), ..span(3) };
    let told = export(&world, "arc/probe", true, claimed(vec![span(1), wrong])).await.unwrap();
    let partial = told.partial_success.expect("one was not taken");
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("span_id"), "{partial:?}");
    kept(&world, 1).await;
    let told = export(&world, "ais/portal", false, claimed(vec![span(1), span(2)])).await.unwrap();
    assert_eq!(told.partial_success, None);
    let kept = kept(&world, 3).await;
    let names: Vec<_> = kept.iter().map(|kept| (kept.system.as_str(), kept.span.name.as_str())).collect();
    assert_eq!(names, [("arc/probe", "span 1"), ("ais/portal", "span 1"), ("ais/portal", "span 2")]);
    // Evidence knows nothing of it.
    world.end().await;
}

#[tokio::test]
async fn spans_of_strangers_and_too_many_are_refused() {
    let plain = r#"  { id = "ais/other", roles = ["consumer"] },"#;
    assert!(directory().contains(plain));
    let directory = directory().replace(plain, "");
    let world = World::with(Plan { directory, ..Plan::default() }).await;
    for compressed in [false, true] {
        let refused = export(&world, "ais/other", compressed, claimed(vec![span(1)])).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        let large = Span { name: "x".repeat(5 << 20), ..span(1) };
        let refused = export(&world, "ais/portal", compressed, claimed(vec![large])).await.unwrap_err();
        let limit = [Code::OutOfRange, Code::ResourceExhausted];
        assert!(limit.contains(&refused.code()), "a limit: {refused:?}");
    }
    // The next one is taken as if nothing had been.
    export(&world, "ais/portal", true, claimed(vec![span(9)])).await.unwrap();
    let kept = kept(&world, 1).await;
    assert_eq!((kept.len(), kept[0].span.name.as_str()), (1, "span 9"));
    world.end().await;
}
