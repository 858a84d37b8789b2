//! One call from the bus to the server: the head is addressed anew, the bytes pass as they are.
//!
//! What the gateway wrote about the call goes along, so that the server can read who asks and why. A
//! call that ends on one side ends on the other.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use h2::Reason;
use http::{HeaderValue, Request, Response, Uri, Version, header, uri::PathAndQuery};
use http_body_util::StreamBody;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, body::Body};
use tower::Service;
use ura_proto::{SystemId, metadata, timeout};
use ura_runtime::process::chain;

use super::{
    Address,
    download::Download,
    link::Link,
    upload::{Sending, upload},
};
use crate::{
    caller::Caller,
    register::{Failure, failure::REGISTER_REFUSED},
    serve::to_status,
};

/// Answers every call with what the server answers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Calls {
    link: Arc<Link>,
    system: SystemId,
    origin: Uri,
}

/// How often a call is sent that the server has not begun with: a server that retires its connections may
/// refuse what crosses its goodbye.
const ATTEMPTS_MAX: usize = 3;

/// Why the server did not answer.
enum Lost {
    /// It did not take the call, which can be sent once more where it is still whole.
    Unbegun(Failure, Option<Sending>),
    /// It said itself how the call ended.
    Known(Failure),
    /// The connection broke: whether the call was executed is not known.
    Unknown(h2::Error),
}

impl Calls {
    pub(super) fn new(link: Arc<Link>, system: SystemId, to: &Address) -> Self {
        Self { link, system, origin: to.origin() }
    }

    /// What requests are addressed to.
    pub(super) fn origin(&self) -> Uri {
        self.origin.clone()
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    async fn forward(&self, request: Request<Body>) -> Result<Response<Body>, Lost> {
        let (head, body) = request.into_parts();
        let head = addressed(head, &self.origin);
        let mut sending = Sending::new(body);
        let mut attempts = 1;
        loop {
            match self.attempt(head.clone(), sending).await {
                Err(Lost::Unbegun(_, Some(again))) if attempts < ATTEMPTS_MAX => sending = again,
                ended => return ended,
            }
            attempts += 1;
        }
    }

    async fn attempt(&self, head: Request<()>, sending: Sending) -> Result<Response<Body>, Lost> {
        let opened = self.link.open().await;
        let (mut sender, place) =
            opened.map_err(|reason| Lost::Unbegun(Failure::unreachable(reason), None))?;
        let no_body = sending.is_over();
        let (answer, stream) = match sender.send_request(head, no_body) {
            Ok(sent) => sent,
            // Nothing has left this process yet.
            Err(error) => return Err(Lost::Unbegun(Failure::unreachable(chain(&error)), Some(sending))),
        };
        let over = CancellationToken::new();
        // Held by the call and then by its answer: dropped with them, it ends the upload.
        let guard = over.clone().drop_guard();
        // A task of its own: a caller may go on sending while it does not read, and the other way round.
        let upload = tokio::spawn(upload(sending, stream, over));
        match answer.await {
            Ok(answer) => Ok(answer.map(|stream| Body::new(Download::new(stream, place, guard)))),
            Err(error) if is_unbegun(&error) => {
                drop(guard);
                let again = upload.await.ok().and_then(Sending::again);
                Err(Lost::Unbegun(Failure::unreachable(chain(&error)), again))
            }
            Err(error) => Err(lost(error)),
        }
    }
}

/// The head of a request, as the server gets it.
fn addressed(head: http::request::Parts, origin: &Uri) -> Request<()> {
    let mut uri = origin.clone().into_parts();
    uri.path_and_query = head.uri.path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
    let mut request = Request::new(());
    *request.method_mut() = head.method;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from_parts(uri).expect("a scheme, an authority and a path make a URI");
    let mut headers = head.headers;
    // The connection to the server is another one (RFC 9110 section 7.6.1).
    for own in [header::HOST, header::CONNECTION] {
        headers.remove(own);
    }
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Some(caller) = head.extensions.get::<Caller>() {
        if let Some(deadline) = caller.deadline() {
            let left = deadline.saturating_duration_since(Instant::now());
            headers.insert(metadata::GRPC_TIMEOUT, timeout::value(left));
        }
        // The span of this process where it has one, else what came.
        if let Ok(trace) = HeaderValue::from_bytes(&caller.trace().header()) {
            headers.insert(metadata::TRACEPARENT, trace);
        }
    }
    *request.headers_mut() = headers;
    request
}

/// Whether the server says that it has not begun with a call (RFC 9113 section 8.7).
fn is_unbegun(error: &h2::Error) -> bool {
    let goodbye = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    goodbye || (error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM))
}

/// What a call that brought no head means, where the server may have begun with it.
fn lost(error: h2::Error) -> Lost {
    if error.is_reset() && error.is_remote() {
        let (code, reason) = (code(error.reason()), REGISTER_REFUSED);
        let message = "The server broke the call off without a status; it may have been executed.";
        return Lost::Known(Failure::new(code, reason, message, chain(&error)));
    }
    Lost::Unknown(error)
}

/// The status that a reset stands for (gRPC over HTTP/2, "Errors").
fn code(reason: Option<Reason>) -> Code {
    match reason {
        Some(Reason::CANCEL) => Code::Cancelled,
        Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// An answer that breaks off: the gateway takes it as what it is, a call whose outcome is not known. A
/// status would say that the server had answered.
fn broken(error: h2::Error) -> Response<Body> {
    let frames = tokio_stream::once(Err::<http_body::Frame<bytes::Bytes>, _>(error));
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let calls = self.clone();
        Box::pin(async move {
            Ok(match calls.forward(request).await {
                Ok(answer) => answer,
                Err(Lost::Known(failure) | Lost::Unbegun(failure, _)) => {
                    tracing::debug!(system = %calls.system, detail = failure.detail, "the server did not answer");
                    to_status(&failure, &calls.system).into_http()
                }
                Err(Lost::Unknown(error)) => {
                    tracing::warn!(system = %calls.system, %error, "the connection to the server broke during a call");
                    broken(error)
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_a_status() {
        for (reason, expected) in [
            (Reason::CANCEL, Code::Cancelled),
            (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
            (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
            (Reason::NO_ERROR, Code::Internal),
            (Reason::PROTOCOL_ERROR, Code::Internal),
        ] {
            assert_eq!(code(Some(reason)), expected, "{reason:?}");
        }
    }

    #[test]
    fn the_head_is_addressed_to_the_server_and_keeps_the_rest() {
        let request = Request::post("https://probe.arc/a.B/C?x=1")
            .header("host", "probe.arc")
            .header("ura-consumer", "ais/portal")
            .body(())
            .expect("a request");
        let head = addressed(request.into_parts().0, &Uri::from_static("http://127.0.0.1:5/"));
        assert_eq!(head.uri(), "http://127.0.0.1:5/a.B/C?x=1");
        let mut names: Vec<_> = head.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["te", "ura-consumer"]);
    }
}
