//! The body of a reply: ends at the deadline, and tells the span how the call ended.
//!
//! A deadline covers the whole stream, not its first byte (gRPC over HTTP/2, "Timeout").

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status, body::Body};
use ura_proto::metadata;

use super::{boundary::Boundary, span::CallSpan};

/// What a caller is told whose deadline has passed.
pub(super) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed before the register's answer was complete")
}

/// A reply under way. Frames pass as they are; whether one ends a message depends on who made it.
pub(super) struct ReplyBody {
    body: Body,
    boundary: Boundary,
    deadline: Option<Pin<Box<Sleep>>>,
    span: CallSpan,
    done: bool,
}

impl ReplyBody {
    /// Puts the deadline and the span around a response, where there is anything to watch.
    pub(super) fn wrap(
        response: http::Response<Body>,
        deadline: Option<Instant>,
        span: CallSpan,
    ) -> http::Response<Body> {
        if let Some(code) = code_of(response.headers()) {
            span.end(code);
            return response;
        }
        if deadline.is_none() && !span.is_recording() {
            return response;
        }
        response.map(|body| {
            Body::new(Self {
                body,
                boundary: Boundary::default(),
                deadline: deadline.map(|at| Box::pin(sleep_until(at))),
                span,
                done: false,
            })
        })
    }

    fn finish(&mut self, code: Code) {
        self.done = true;
        self.deadline = None;
        std::mem::replace(&mut self.span, CallSpan::none()).end(code);
    }
}

/// The status that headers or trailers hold.
fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(metadata::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let late = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        if late {
            self.body = Body::empty();
            self.finish(Code::DeadlineExceeded);
            if !self.boundary.is_between() {
                // Trailers in the middle of a message would be no reply at all: the stream is reset.
                let cancelled = h2::Error::from(h2::Reason::CANCEL);
                return Poll::Ready(Some(Err(Status::from_error(Box::new(cancelled)))));
            }
            let mut trailers = HeaderMap::new();
            return Poll::Ready(Some(
                deadline_exceeded().add_header(&mut trailers).map(|()| Frame::trailers(trailers)),
            ));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.boundary.push(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.finish(code_of(trailers).unwrap_or(Code::Unknown));
                }
            }
            Some(Err(status)) => self.finish(status.code()),
            None => self.finish(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// A message of one byte, and the beginning of one.
    const WHOLE: &str = "\0\0\0\0\u{1}a";
    const BEGUN: &str = "\0\0\0\0\u{2}a";

    fn response(frames: Vec<&'static str>, ends: bool) -> http::Response<Body> {
        let frames = stream::iter(frames)
            .map(|text| Ok::<_, Status>(Frame::data(Bytes::from_static(text.as_bytes()))));
        let end = if ends {
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static(metadata::GRPC_STATUS),
                http::HeaderValue::from_static("0"),
            )]);
            stream::iter([Ok(Frame::trailers(trailers))]).boxed()
        } else {
            stream::pending().boxed()
        };
        http::Response::new(Body::new(StreamBody::new(frames.chain(end))))
    }

    async fn end_of(response: http::Response<Body>) -> (Bytes, Option<Code>) {
        let whole = response.into_body().collect().await.expect("a whole body");
        let code = whole.trailers().and_then(code_of);
        (whole.to_bytes(), code)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_ends_by_itself_or_at_its_deadline() {
        let at = Instant::now() + Duration::from_secs(1);
        let whole = ReplyBody::wrap(response(vec![WHOLE, WHOLE], true), Some(at), CallSpan::none());
        assert_eq!(end_of(whole).await, (Bytes::from([WHOLE, WHOLE].concat()), Some(Code::Ok)));
        let late = ReplyBody::wrap(response(vec![WHOLE], false), Some(at), CallSpan::none());
        assert_eq!(end_of(late).await, (Bytes::from(WHOLE), Some(Code::DeadlineExceeded)));
        let at = Instant::now() + Duration::from_secs(1);
        let cut = ReplyBody::wrap(response(vec![WHOLE, BEGUN], false), Some(at), CallSpan::none());
        let error = cut.into_body().collect().await.expect_err("no trailers in the middle of a message");
        assert_eq!(error.code(), Code::Cancelled);
    }

    #[tokio::test]
    async fn a_status_without_a_body_passes_as_it_is() {
        let refused: http::Response<Body> = Status::not_found("nobody").into_http();
        let wrapped = ReplyBody::wrap(refused, Some(Instant::now()), CallSpan::none());
        assert_eq!(code_of(wrapped.headers()), Some(Code::NotFound));
    }
}
