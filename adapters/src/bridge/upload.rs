//! A request on its way to the server, frame by frame, at the pace at which the server reads.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

/// Most bytes of one request that are kept, so that it can be sent once more where the server has not begun with it.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A request, and what of it was sent already.
pub(super) struct Sending {
    body: Body,
    /// Its beginning; `None` where that is too long to be kept.
    kept: Option<Vec<Bytes>>,
    kept_bytes: usize,
    /// How many of those kept are sent.
    sent: usize,
    /// The caller broke it off.
    broken: bool,
}

/// What comes next of a request.
enum Next {
    Data(Bytes),
    End,
    /// The caller broke it off.
    Broken,
    /// The server wants no more of it.
    Unwanted,
}

impl Sending {
    pub(super) fn new(body: Body) -> Self {
        Self { body, kept: Some(Vec::new()), kept_bytes: 0, sent: 0, broken: false }
    }

    /// Whether nothing more is to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.body.is_end_stream() && self.sent == self.kept.as_ref().map_or(self.sent, Vec::len)
    }

    /// The same from its beginning; `None` where that is not there any more.
    pub(super) fn again(self) -> Option<Self> {
        (self.kept.is_some() && !self.broken).then_some(Self { sent: 0, ..self })
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if let Some(data) = self.kept.as_ref().and_then(|kept| kept.get(self.sent)) {
            self.sent += 1;
            return Poll::Ready(Next::Data(data.clone()));
        }
        loop {
            return Poll::Ready(match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => Next::End,
                Poll::Ready(Some(Err(_))) => {
                    self.broken = true;
                    Next::Broken
                }
                // Requests of gRPC have no trailers; an empty frame says nothing.
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        self.keep(&data);
                        Next::Data(data)
                    }
                    _ if self.body.is_end_stream() => Next::End,
                    _ => continue,
                },
            });
        }
    }

    fn keep(&mut self, data: &Bytes) {
        self.kept_bytes = self.kept_bytes.saturating_add(data.len());
        match &mut self.kept {
            Some(kept) if self.kept_bytes <= KEPT_BYTES_MAX => {
                kept.push(data.clone());
                self.sent += 1;
            }
            _ => self.kept = None,
        }
    }
}

/// Sends a request to its end, unless its call is `over` before. Gives it back, should it have to be sent again.
pub(super) async fn upload(
    mut sending: Sending,
    mut stream: SendStream<Bytes>,
    over: CancellationToken,
) -> Sending {
    let whole = tokio::select! {
        biased;
        whole = pump(&mut sending, &mut stream) => whole,
        () = over.cancelled() => false,
    };
    if !whole {
        // Without it an upload that was broken off would look like one that has ended.
        stream.send_reset(Reason::CANCEL);
    }
    sending
}

/// Whether nothing is left to be said on the stream.
async fn pump(sending: &mut Sending, stream: &mut SendStream<Bytes>) -> bool {
    while !sending.is_over() {
        match poll_fn(|context| next(sending, stream, context)).await {
            Next::Data(mut data) => {
                let end = sending.is_over();
                while !data.is_empty() {
                    stream.reserve_capacity(data.len());
                    let room = match poll_fn(|context| stream.poll_capacity(context)).await {
                        Some(Ok(room)) => room.min(data.len()),
                        Some(Err(_)) | None => return true,
                    };
                    let part = data.split_to(room);
                    if !part.is_empty() && stream.send_data(part, end && data.is_empty()).is_err() {
                        return true;
                    }
                }
            }
            Next::End => {
                // Refused where the stream is over already, which is what is wanted.
                drop(stream.send_data(Bytes::new(), true));
                return true;
            }
            Next::Broken => return false,
            Next::Unwanted => return true,
        }
    }
    true
}

fn next(sending: &mut Sending, stream: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<Next> {
    if stream.poll_reset(context).is_ready() {
        return Poll::Ready(Next::Unwanted);
    }
    sending.poll_next(context)
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn sending(sizes: &[usize]) -> Sending {
        let frames: Vec<_> =
            sizes.iter().map(|size| Ok::<_, h2::Error>(Frame::data(Bytes::from(vec![1; *size])))).collect();
        Sending::new(Body::new(StreamBody::new(tokio_stream::iter(frames))))
    }

    /// The sizes of what is sent.
    async fn sent(sending: &mut Sending) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Next::Data(data) = poll_fn(|context| sending.poll_next(context)).await {
            sizes.push(data.len());
        }
        sizes
    }

    #[tokio::test]
    async fn what_is_short_can_be_sent_again() {
        let mut short = sending(&[10, 0, KEPT_BYTES_MAX - 10]);
        assert_eq!(sent(&mut short).await, [10, KEPT_BYTES_MAX - 10]);
        let mut again = short.again().expect("kept");
        assert_eq!(sent(&mut again).await, [10, KEPT_BYTES_MAX - 10]);
        let mut long = sending(&[10, KEPT_BYTES_MAX]);
        assert_eq!(sent(&mut long).await, [10, KEPT_BYTES_MAX]);
        assert!(long.again().is_none());
        // Sent in part, and then from its beginning.
        let mut part = sending(&[1, 2, 3]);
        assert!(
            matches!(poll_fn(|context| part.poll_next(context)).await, Next::Data(data) if data.len() == 1)
        );
        assert_eq!(sent(&mut part.again().expect("kept")).await, [1, 2, 3]);
    }
}
