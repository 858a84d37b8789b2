//! A reply on its way from the server, frame by frame, at the pace at which the caller reads.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::DropGuard;

use super::link::Place;

/// A reply. Dropped before its end, the server learns that nobody waits for it any more.
pub(super) struct Download {
    stream: RecvStream,
    part: Part,
    _place: Place,
    _over: DropGuard,
}

enum Part {
    Data,
    Trailers,
    Done,
}

impl Download {
    pub(super) fn new(stream: RecvStream, place: Place, over: DropGuard) -> Self {
        Self { stream, part: Part::Data, _place: place, _over: over }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        loop {
            match self.part {
                Part::Data => match ready!(self.stream.poll_data(context)) {
                    None => self.part = Part::Trailers,
                    Some(Ok(data)) => {
                        // What is handed on makes room for more: nothing is read ahead of the caller.
                        self.stream.flow_control().release_capacity(data.len())?;
                        if !data.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                    }
                    Some(Err(error)) => {
                        self.part = Part::Done;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                Part::Trailers => {
                    let trailers = ready!(self.stream.poll_trailers(context));
                    self.part = Part::Done;
                    return Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).transpose());
                }
                Part::Done => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.part, Part::Done) || self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
