//! The body of a request, which does not take a reset for an end.
//!
//! hyper reports a stream reset with NO_ERROR as a clean end of the body; a client-streaming call
//! that was broken off would then look complete. The HTTP/2 END_STREAM flag tells the two apart
//! (RFC 9113 section 8.1).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// A request body whose end is an end.
pub(super) struct Upload<B> {
    body: B,
    done: bool,
}

impl<B> Upload<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, done: false }
    }
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.done {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => {
                self.done = true;
                Some(Err(Status::from_error(error.into())))
            }
            None => {
                self.done = true;
                (!self.body.is_end_stream())
                    .then(|| Err(Status::cancelled("the caller broke the request off")))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;

    use super::*;

    /// A body that gives its frames and then `None`, with or without END_STREAM.
    struct Frames(VecDeque<&'static str>, bool);

    impl Body for Frames {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            let next = self.0.pop_front();
            Poll::Ready(next.map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
        }

        fn is_end_stream(&self) -> bool {
            self.1 && self.0.is_empty()
        }
    }

    #[tokio::test]
    async fn an_end_without_end_stream_is_an_error() {
        let whole = Upload::new(Frames(["a", "b"].into(), true));
        assert_eq!(whole.collect().await.expect("whole").to_bytes(), "ab");
        let broken = Upload::new(Frames(["a", "b"].into(), false));
        let error = broken.collect().await.expect_err("broken off");
        assert_eq!(error.code(), tonic::Code::Cancelled);
    }
}
