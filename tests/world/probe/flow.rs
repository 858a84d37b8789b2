//! An answer of any length, made as it is taken: what the transport does not ask for is never made.

use super::{Answer, Body, Bytes, Context, Frame, Guard, HeaderMap, HeaderValue, Pin, Poll, framed};

/// Answers with `COUNT,SIZE`: so many messages with so many bytes of data.
pub(super) fn answer(value: &str, guard: Guard) -> http::Response<Body> {
    let (count, size) = value.split_once(',').expect("flow:COUNT,SIZE");
    let data = Bytes::from(vec![b'x'; size.parse().expect("a size")]);
    let message = framed(&Answer { text: String::new(), data });
    let flow = Flow { message, left: Some(count.parse().expect("a count")), guard };
    let mut response = http::Response::new(Body::new(flow));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// Answers with one message and, once released, resets the stream with this code.
pub(super) fn broken(code: &str, guard: Guard) -> http::Response<Body> {
    let reason = h2::Reason::from(code.parse::<u32>().expect("break:CODE"));
    let message = framed(&Answer { text: "1".to_owned(), data: Bytes::new() });
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, h2::Error>>(1);
    tokio::spawn(async move {
        sender.send(Ok(Frame::data(message))).await.ok();
        let mut gate = guard.probe.gate.subscribe();
        gate.wait_for(|open| *open).await.ok();
        sender.send(Err(reason.into())).await.ok();
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut response = http::Response::new(Body::new(http_body_util::StreamBody::new(stream)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

struct Flow {
    message: Bytes,
    /// Messages left; `None` after the trailers.
    left: Option<usize>,
    guard: Guard,
}

impl http_body::Body for Flow {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        Poll::Ready(match self.left {
            None => None,
            Some(0) => {
                self.left = None;
                self.guard.finished = true;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(left) => {
                self.left = Some(left - 1);
                let message = self.message.clone();
                self.guard.probe.note(self.guard.call, |seen| seen.sent += message.len());
                Some(Ok(Frame::data(message)))
            }
        })
    }
}
