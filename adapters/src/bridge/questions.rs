//! The bridge's own calls to the server, for typed clients: reflection and health.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response, Uri, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tower::Service;
use ura_proto::metadata;

use super::calls::Calls;

/// The two names of one protocol: grpcio speaks the elder, whose messages are the same.
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const REFLECTION_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Calls of the bridge itself. Cheap to clone.
#[derive(Clone)]
pub(super) struct Questions {
    calls: Calls,
    elder: bool,
}

impl Questions {
    pub(super) fn new(calls: Calls) -> Self {
        Self { calls, elder: false }
    }

    /// The same with reflection under its elder name.
    pub(super) fn elder(self) -> Self {
        Self { elder: true, ..self }
    }

    /// What requests are addressed to.
    pub(super) fn origin(&self) -> Uri {
        self.calls.origin()
    }
}

impl Service<Request<Body>> for Questions {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if self.elder && request.uri().path() == REFLECTION {
            let mut uri = std::mem::take(request.uri_mut()).into_parts();
            uri.path_and_query = Some(PathAndQuery::from_static(REFLECTION_ALPHA));
            *request.uri_mut() = Uri::from_parts(uri).expect("only the path is another one");
        }
        let answer = self.calls.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            // Typed clients panic on details that are not base64, and our own questions need none.
            answer.headers_mut().remove(metadata::GRPC_STATUS_DETAILS);
            Ok(answer.map(|body| {
                Body::new(body.map_frame(|frame| match frame.into_trailers() {
                    Ok(mut trailers) => {
                        trailers.remove(metadata::GRPC_STATUS_DETAILS);
                        http_body::Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                }))
            }))
        })
    }
}
