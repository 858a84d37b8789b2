//! The members' trace collector: OTLP's `TraceService` on the bus's port. A system's spans are taken under its own
//! name, whatever they say; a system that the directory does not know has none. Knows no exchange.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tonic::codec::CompressionEncoding;
use ura_runtime::clock::Clock;
use ura_traces::{
    admit::{REQUEST_BYTES_MAX, admit},
    queue::Sink,
};

use super::{caller, gate::Gate};
use crate::directory::Directory;

/// The service by which members send their spans. The caller's `SystemId` must stand among the extensions of each
/// request: its certificate says who sends.
pub(crate) fn trace_service(
    directory: Directory,
    sink: Sink,
    clock: Clock,
) -> Gate<TraceServiceServer<impl TraceService + Clone>> {
    let spans = TraceServiceServer::new(Spans { sink, clock, directory: directory.clone() })
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    Gate::new(spans, directory)
}

#[derive(Clone)]
struct Spans {
    directory: Directory,
    sink: Sink,
    clock: Clock,
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let language = caller::language(request.metadata());
        let system = caller::known(request.extensions(), &self.directory.load(), language)?;
        let admitted = admit(system.as_str(), request.into_inner().resource_spans, self.clock.unix_us());
        self.sink.bring(system.as_str(), admitted.spans);
        let partial_success = (admitted.rejected > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: i64::try_from(admitted.rejected).unwrap_or(i64::MAX),
            error_message: admitted.why.to_owned(),
        });
        Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success }))
    }
}
