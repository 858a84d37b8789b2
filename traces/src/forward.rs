//! Spans on to an OTLP collector (`opentelemetry.proto.collector.trace.v1`), one batch after another. While it does
//! not answer, the queue before it fills, and what does not fit is counted there.

use std::time::Duration;

use tonic::{
    Code, Status,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{
    collector::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    queue::{Batch, Waiting, count},
};

/// An answer of the collector.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The wait after the first failure; doubled after each.
const WAIT_FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A batch that came so long ago and could not be sent is given up.
const GIVE_UP: Duration = Duration::from_secs(300);

/// The collector's address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("otlp_endpoint `{endpoint}` cannot be used: write http://HOST:PORT")]
pub struct EndpointError {
    endpoint: String,
    /// What is wrong with it.
    #[source]
    source: tonic::transport::Error,
}

/// A connection to a collector, made when it is first needed.
///
/// # Errors
/// The address is none.
pub fn collector(endpoint: &str) -> Result<Channel, EndpointError> {
    let made = Endpoint::from_shared(endpoint.to_owned());
    let made = made.map_err(|source| EndpointError { endpoint: endpoint.to_owned(), source })?;
    Ok(made.connect_timeout(ANSWER_MAX).timeout(ANSWER_MAX).connect_lazy())
}

/// Forwards until the queue ends.
pub async fn forward(mut waiting: Waiting, channel: Channel) {
    let mut client = TraceServiceClient::new(channel).send_compressed(CompressionEncoding::Gzip);
    let mut failing = false;
    while let Some(batch) = waiting.next().await {
        let counters = &waiting.counters;
        if failing && batch.arrived.elapsed() > GIVE_UP {
            // Younger ones are tried.
            count(&counters.not_forwarded, batch.count);
            continue;
        }
        match send(&mut client, &batch, &mut failing).await {
            Ok(rejected) => {
                let rejected = usize::try_from(rejected).unwrap_or_default().min(batch.count);
                count(&counters.forwarded, batch.count - rejected);
                count(&counters.not_forwarded, rejected);
            }
            Err(error) => {
                tracing::warn!(error = error.message(), code = ?error.code(), spans = batch.count, "the collector did not take spans");
                count(&counters.not_forwarded, batch.count);
            }
        }
    }
}

/// Sends a batch until it is taken, refused for good or too old; the number of spans that were rejected.
async fn send(
    client: &mut TraceServiceClient<Channel>,
    batch: &Batch,
    failing: &mut bool,
) -> Result<i64, Status> {
    let mut wait = WAIT_FIRST;
    loop {
        let request = ExportTraceServiceRequest { resource_spans: batch.spans.clone() };
        let error = match client.export(request).await {
            Ok(answer) => {
                if std::mem::take(failing) {
                    tracing::info!("the collector takes spans again");
                }
                let partial = answer.into_inner().partial_success;
                return Ok(partial.map_or(0, |partial| partial.rejected_spans));
            }
            Err(error) => error,
        };
        let pause = error.get_details_retry_info().and_then(|info| info.retry_delay);
        if !may_be_repeated(error.code(), pause.is_some()) || batch.arrived.elapsed() > GIVE_UP {
            return Err(error);
        }
        if !std::mem::replace(failing, true) {
            tracing::warn!(error = error.message(), code = ?error.code(), "the collector takes no spans now; they wait");
        }
        tokio::time::sleep(pause.unwrap_or_default().clamp(wait, WAIT_MAX)).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// Whether the same may be sent again (OTLP specification, "Failures"). Servers say of what is too large that a resource
/// is exhausted or that it is out of range: those are repeated only where the answer names a pause.
fn may_be_repeated(code: Code, names_a_pause: bool) -> bool {
    match code {
        Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::Unavailable | Code::DataLoss => true,
        Code::ResourceExhausted | Code::OutOfRange => names_a_pause,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use tokio::sync::mpsc;
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::{
        ResourceSpans, ScopeSpans, Span,
        collector::{
            ExportTracePartialSuccess, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
        queue::queues,
    };

    #[test]
    fn failures_after_which_the_same_is_sent_again() {
        let repeated = |pause: bool| -> Vec<i32> {
            (0..17).filter(|code| may_be_repeated(Code::from_i32(*code), pause)).collect()
        };
        assert_eq!(
            repeated(true),
            [1, 4, 8, 10, 11, 14, 15],
            "of the codes 0 to 16, those of the specification"
        );
        assert_eq!(repeated(false), [1, 4, 10, 14, 15]);
    }

    /// A collector that answers as it is told, then takes everything.
    struct Collector {
        answers: Mutex<VecDeque<Result<i64, Code>>>,
        seen: mpsc::UnboundedSender<usize>,
    }

    #[tonic::async_trait]
    impl TraceService for Collector {
        async fn export(
            &self,
            request: tonic::Request<ExportTraceServiceRequest>,
        ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
            let resources = request.into_inner().resource_spans;
            let spans = resources.iter().flat_map(|resource| &resource.scope_spans);
            self.seen.send(spans.map(|scope| scope.spans.len()).sum()).expect("the test listens");
            let answer = self.answers.lock().expect("no panic").pop_front().unwrap_or(Ok(0));
            let rejected_spans = answer.map_err(|code| match code {
                Code::ResourceExhausted => {
                    let pause = ErrorDetails::with_retry_info(Some(Duration::from_millis(1)));
                    Status::with_error_details(code, "a moment", pause)
                }
                code => Status::new(code, "told to"),
            })?;
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: String::new() };
            let partial_success = (rejected_spans > 0).then_some(partial);
            Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success }))
        }
    }

    #[tokio::test]
    async fn what_is_not_taken_is_sent_again_or_counted() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let (seen, mut told) = mpsc::unbounded_channel();
        let answers =
            [Err(Code::Unavailable), Err(Code::ResourceExhausted), Ok(0), Err(Code::OutOfRange), Ok(1)];
        let collector_of = Collector { answers: Mutex::new(answers.into()), seen };
        let service = TraceServiceServer::new(collector_of).accept_compressed(CompressionEncoding::Gzip);
        let connection = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("somebody comes");
            let incoming = only(stream);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        let (sink, _, waiting) = queues(false, true);
        for spans in [1, 2, 3, 4] {
            let scope_spans =
                vec![ScopeSpans { spans: vec![Span::default(); spans], ..ScopeSpans::default() }];
            sink.bring("a/b", vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }]);
        }
        let counters = sink.counters().clone();
        drop(sink);
        forward(waiting.expect("wanted"), collector(&endpoint).expect("an address")).await;
        connection.abort();
        let mut all = Vec::new();
        while let Ok(spans) = told.try_recv() {
            all.push(spans);
        }
        assert_eq!(all, [1, 1, 1, 2, 3, 4], "the first until it was taken, the second once");
        let counted =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(counted(&counters.forwarded), 1 + 2 + 4, "of three one was rejected");
        assert_eq!(counted(&counters.not_forwarded), 2 + 1);
    }

    /// One connection, and then no other.
    fn only(
        stream: tokio::net::TcpStream,
    ) -> impl tokio_stream::Stream<Item = Result<tokio::net::TcpStream, std::io::Error>> {
        tokio_stream::StreamExt::chain(tokio_stream::once(Ok(stream)), tokio_stream::pending())
    }

    #[test]
    fn an_address_that_is_none() {
        let error = collector("not an address").expect_err("refused").to_string();
        assert!(error.contains("not an address") && error.contains("http://"), "{error}");
    }
}
