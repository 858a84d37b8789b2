//! One call, of any of the four kinds: messages out, messages in, status. Knows no command line.

use std::{
    future,
    io::{self, Write},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use http::{Uri, uri::PathAndQuery};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tokio::{sync::oneshot, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, client::Grpc, codec::CompressionEncoding, metadata::MetadataMap};
use ura_proto::metadata::{DEPRECATED, EXCHANGE_ID};

use super::{
    codec::DynamicCodec,
    connection::Calls,
    input::{Broken, Messages},
    metadata::{lines, status_lines},
    output::{Output, OutputError},
};

/// How much longer than the call's time limit is waited for the gateway to say that it has passed.
const LATE_GRACE: Duration = Duration::from_secs(2);

/// Why a call did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It ended with this status; the second is the exchange id, where it is known.
    #[error("{}", .0.message())]
    Status(Box<Status>, Option<String>),
    /// The request broke off. What this holds is to outlive the connection.
    #[error("{}", .0.error)]
    Input(Broken),
    /// The reply cannot be kept.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Nobody said anything within the time limit.
    #[error("no end of the call within its time limit of {0:?}, and the gateway did not say so either")]
    Late(Duration),
}

/// A call to be made.
pub(super) struct Invocation {
    /// What is called.
    pub(super) method: MethodDescriptor,
    /// The request's headers.
    pub(super) metadata: MetadataMap,
    /// Time limit, told to the gateway.
    pub(super) timeout: Option<Duration>,
    /// Largest message in either direction, in bytes.
    pub(super) message_bytes_max: usize,
    /// Whether headers, trailers and times are shown.
    pub(super) verbose: bool,
}

/// When things happened, from the moment of the call.
struct Times {
    begun: Instant,
    first: Option<Duration>,
    last: Option<Duration>,
    replies: u64,
}

impl Invocation {
    /// Makes the call; replies go to `output` as they arrive.
    pub(super) async fn run<W: Write>(
        self,
        calls: Calls,
        origin: Uri,
        messages: Messages,
        output: &mut Output<W>,
    ) -> Result<(), Failed> {
        let (requests, breaks) = match messages {
            Messages::Ready(all) => (stream::iter(all).boxed(), None),
            Messages::Reading(read, breaks) => (ReceiverStream::new(read).boxed(), Some(breaks)),
        };
        let late = async {
            match self.timeout {
                Some(timeout) => tokio::time::sleep(timeout + LATE_GRACE).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            ended = self.exchange(calls, origin, requests, output) => ended,
            // Until the call is given up here, the unfinished request does not look finished.
            broken = broken(breaks) => Err(Failed::Input(broken)),
            () = late => Err(Failed::Late(self.timeout.unwrap_or_default())),
        }
    }

    async fn exchange<W: Write>(
        &self,
        calls: Calls,
        origin: Uri,
        requests: stream::BoxStream<'static, DynamicMessage>,
        output: &mut Output<W>,
    ) -> Result<(), Failed> {
        let path = format!("/{}/{}", self.method.parent_service().full_name(), self.method.name());
        let path = PathAndQuery::try_from(path).map_err(|error| internal(format!("no path: {error}")))?;
        let mut request = Request::new(requests);
        *request.metadata_mut() = self.metadata.clone();
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        self.show(&format!("> POST {path}\n{}", lines('>', request.metadata())));
        let mut grpc = Grpc::with_origin(calls, origin)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(self.message_bytes_max)
            .max_encoding_message_size(self.message_bytes_max);
        let mut times = Times { begun: Instant::now(), first: None, last: None, replies: 0 };
        let codec = DynamicCodec { reply: self.method.output() };
        let response = match grpc.streaming(request, path, codec).await {
            Ok(response) => response,
            Err(status) => {
                announce(status.metadata());
                let exchange = exchange_id(status.metadata());
                return Err(self.ended(status, exchange, &times));
            }
        };
        let exchange = exchange_id(response.metadata());
        self.show(&lines('<', response.metadata()));
        announce(response.metadata());
        let mut replies = response.into_inner();
        if let Err(failed) = self.receive(&mut replies, output, &mut times).await {
            return Err(match failed {
                Failed::Status(status, _) => self.ended(*status, exchange, &times),
                other => other,
            });
        }
        let trailers =
            replies.trailers().await.map_err(|status| Failed::Status(Box::new(status), exchange.clone()))?;
        self.show(&lines('<', &trailers.unwrap_or_default()));
        self.show(&times.line(exchange.as_deref()));
        Ok(())
    }

    async fn receive<W: Write>(
        &self,
        replies: &mut Streaming<DynamicMessage>,
        output: &mut Output<W>,
        times: &mut Times,
    ) -> Result<(), Failed> {
        while let Some(reply) =
            replies.message().await.map_err(|status| Failed::Status(Box::new(status), None))?
        {
            let now = times.begun.elapsed();
            times.first.get_or_insert(now);
            times.last = Some(now);
            times.replies += 1;
            output.take(reply)?;
        }
        if self.method.is_server_streaming() || times.replies == 1 {
            return Ok(());
        }
        Err(internal(format!("the method answers with one message, but {} came", times.replies)))
    }

    /// A call that ended with an error, shown where everything is shown.
    fn ended(&self, status: Status, exchange: Option<String>, times: &Times) -> Failed {
        self.show(&status_lines('<', &status));
        self.show(&times.line(exchange.as_deref()));
        Failed::Status(Box::new(status), exchange)
    }

    fn show(&self, text: &str) {
        if self.verbose {
            // A closed stderr leaves nobody to tell.
            drop(io::stderr().write_all(text.as_bytes()));
        }
    }
}

impl Times {
    fn line(&self, exchange: Option<&str>) -> String {
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        let mut line = exchange.map_or_else(String::new, |exchange| format!("exchange {exchange}\n"));
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let s = if self.replies == 1 { "" } else { "s" };
            line.push_str(&format!(
                "{} message{s}, first after {}, last after {}, ",
                self.replies,
                ms(first),
                ms(last)
            ));
        }
        line.push_str(&format!("ended after {}\n", ms(self.begun.elapsed())));
        line
    }
}

/// Says that what was called is on its way out, whether or not the call is shown.
fn announce(metadata: &MetadataMap) {
    if let Some(value) = metadata.get(DEPRECATED).and_then(|value| value.to_str().ok()) {
        // A closed stderr leaves nobody to tell.
        drop(writeln!(io::stderr(), "{}", deprecation(value)));
    }
}

/// The value of `ura-deprecated` as a sentence.
fn deprecation(value: &str) -> String {
    let part = |key: &str| {
        let mut parts = value.split(';').filter_map(|part| part.split_once('='));
        parts.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let mut sentence = format!("deprecated: {}", part("of").unwrap_or(value));
    for (key, words) in [("since", " since"), ("until", ", answered until"), ("use", "; use instead")] {
        if let Some(value) = part(key) {
            sentence.push_str(&format!("{words} {value}"));
        }
    }
    sentence
}

/// The gateway's id of the exchange.
fn exchange_id(metadata: &MetadataMap) -> Option<String> {
    metadata.get(EXCHANGE_ID).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn internal(message: String) -> Failed {
    Failed::Status(Box::new(Status::internal(message)), None)
}

/// Waits for the request to break off; forever, where it does not.
async fn broken(breaks: Option<oneshot::Receiver<Broken>>) -> Broken {
    if let Some(breaks) = breaks
        && let Ok(broken) = breaks.await
    {
        return broken;
    }
    future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deprecation_is_told_as_far_as_it_is_known() {
        for (value, sentence) in [
            ("of=a.v1.S/M", "deprecated: a.v1.S/M"),
            (
                "of=a.v1.S;since=2026-10-01;until=2027-04-30;use=a.v2.S",
                "deprecated: a.v1.S since 2026-10-01, answered until 2027-04-30; use instead a.v2.S",
            ),
            ("soon", "deprecated: soon"),
        ] {
            assert_eq!(deprecation(value), sentence);
        }
    }
}
