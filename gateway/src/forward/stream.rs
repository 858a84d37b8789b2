//! The rest of a streamed request, frame by frame. Subjects of later messages are recorded before
//! any answer leaves; the full digest of a write is on disk before its end is forwarded.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use ura_evidence::writer::Ticket;
use ura_proto::refusal::Term;

use super::{
    flow::Flow,
    look::Look,
    request::{Reading, framing, malformed},
};
use crate::{
    call::{
        body::{BodyError, Guarded, Share, cancelled},
        frame::Frames,
        pump,
    },
    directory::contract::Method,
    error::Refusal,
    evidence::{Ledger, unavailable},
};

/// A streamed request on its way to the adapter.
pub(super) struct RequestStream {
    body: Guarded,
    /// Chunks that were held for the first message.
    first: VecDeque<Bytes>,
    /// What those count among the held bytes.
    share: Option<Share>,
    frames: Frames,
    look: Look,
    method: Arc<Method>,
    ledger: Arc<Ledger>,
    flow: Arc<Flow>,
    begun: bool,
    end: End,
}

/// The end of the request.
enum End {
    /// Not seen yet.
    Open,
    /// Seen; its record is on the way to the disk.
    Recording(Ticket),
    /// Recorded, or no record is due.
    Done,
}

impl RequestStream {
    /// Goes on where the reading of the first message stopped.
    pub(super) fn new(
        body: Guarded,
        (first, share): (Vec<Bytes>, Share),
        (frames, look): (Frames, Look),
        reading: &Reading<'_>,
    ) -> Self {
        Self {
            body,
            first: first.into(),
            share: Some(share),
            frames,
            look,
            method: reading.method.clone(),
            ledger: reading.ledger.clone(),
            flow: reading.flow.clone(),
            begun: false,
            end: End::Open,
        }
    }

    /// Gives the request up: the caller is told why, the adapter sees a reset.
    fn give_up(&mut self, refusal: Refusal) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.ledger.fail(refusal);
        self.end = End::Done;
        Poll::Ready(Some(Err(cancelled())))
    }

    /// Looks at a chunk before it goes on. A refusal resets the stream towards the adapter.
    fn look(&mut self, chunk: &Bytes) -> Result<(), Refusal> {
        self.flow.moved();
        self.ledger.request(chunk);
        let mut messages = Vec::new();
        self.frames.push(chunk, |message| messages.push(message)).map_err(|e| framing(e, Term::Request))?;
        let found = self.look.at(&messages)?;
        if found.is_empty() { Ok(()) } else { self.ledger.subjects(&found, false) }
    }

    /// The end was seen.
    fn finish(&mut self) -> Result<(), Refusal> {
        self.frames.end().map_err(|e| framing(e, Term::Request))?;
        let ticket = self.ledger.request_ended()?;
        // A read need not wait: its answer does.
        self.end = if self.method.writes() { End::Recording(ticket) } else { End::Done };
        Ok(())
    }
}

impl Body for RequestStream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !std::mem::replace(&mut self.begun, true)
            && let Some(over) = self.flow.pump()
        {
            pump::announce(over);
        }
        if let Some(chunk) = self.first.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        self.share = None;
        loop {
            match &mut self.end {
                End::Done => return Poll::Ready(None),
                End::Recording(ticket) => {
                    let recorded = ready!(Pin::new(ticket).poll(context));
                    // The record of an earlier message may have failed where this one did not.
                    if recorded.is_none() || self.ledger.lacks_a_record() {
                        return self.give_up(unavailable());
                    }
                    self.end = End::Done;
                }
                End::Open => match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                    None => {
                        if let Err(refusal) = self.finish() {
                            return self.give_up(refusal);
                        }
                    }
                    Some(Err(error)) => {
                        return self.give_up(malformed("it was reset before its end").cause(error));
                    }
                    Some(Ok(frame)) => {
                        // Trailers of a request mean nothing in gRPC.
                        let Ok(chunk) = frame.into_data() else { continue };
                        if chunk.is_empty() {
                            continue;
                        }
                        if let Err(refusal) = self.look(&chunk) {
                            return self.give_up(refusal);
                        }
                        return Poll::Ready(Some(Ok(Frame::data(chunk))));
                    }
                },
            }
        }
    }
}
