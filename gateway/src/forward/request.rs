//! Reading a request: a unary one is held until its end, so that its record is whole and the call
//! can be sent again if nobody took it; of a streamed one the first message is held.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::future::poll_fn;
use http_body::Body as _;
use ura_proto::refusal::{Reason, Term};

use super::{
    flow::Flow,
    look::{Direction, Look},
    stream::RequestStream,
};
use crate::{
    call::{
        Encoding,
        body::{Guarded, Held, HeldBytes, Outbound},
        frame::{FrameError, Frames},
    },
    config::Limits,
    directory::{
        contract::{Method, Validate},
        subject::Found,
    },
    error::Refusal,
    evidence::Ledger,
    meter::Waiting,
};

/// What a piece of a request costs besides its bytes: its handle and the frame it came in.
const PIECE_BYTES: usize = 48;

/// A request up to this size is not counted among the held bytes.
const UNCOUNTED_BYTES: usize = 64 << 10;

/// How a request is to be read.
pub(crate) struct Reading<'r> {
    /// The method asked.
    pub(crate) method: &'r Arc<Method>,
    /// Whether its messages are held against the contract.
    pub(crate) validate: Validate,
    /// Compression of its messages.
    pub(crate) encoding: Encoding,
    /// Limits of messages.
    pub(crate) limits: &'r Arc<Limits>,
    /// Bytes held by all calls.
    pub(crate) held: &'r HeldBytes,
    /// Takes the digest.
    pub(crate) ledger: &'r Arc<Ledger>,
    /// How long it may take.
    pub(crate) flow: &'r Arc<Flow>,
}

/// A request as far as it must be known before it is recorded.
pub(crate) struct Asked {
    /// What is to be sent.
    pub(crate) body: Outbound,
    /// Whom it names.
    pub(crate) subjects: Vec<Found>,
    /// Whether it was read to its end.
    pub(crate) complete: bool,
}

/// Reads a request, or its first message where it is a stream.
pub(crate) async fn receive(reading: &Reading<'_>, body: hyper::body::Incoming) -> Result<Asked, Refusal> {
    let mut body = Guarded::new(body);
    let mut look = Look::new(
        reading.method,
        Direction::Request,
        reading.validate,
        reading.encoding,
        reading.limits,
        reading.ledger.exchange(),
    );
    let mut frames = Frames::new(reading.limits.message_bytes_max, look.is_wanted());
    let mut share = reading.held.share();
    let (mut chunks, mut messages, mut total) = (Vec::new(), Vec::new(), 0usize);
    loop {
        let next = reading.flow.within(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
        let next = reading.flow.times.of(Waiting::Caller, next).await;
        let chunk: Bytes = match next.map_err(|late| late.term("side", Term::Caller))? {
            None => break,
            Some(Err(error)) => {
                return Err(malformed("it was reset before its end").cause(error));
            }
            // Trailers of a request mean nothing in gRPC.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => continue,
                Ok(data) => data,
                Err(_) => continue,
            },
        };
        reading.flow.moved();
        // Many small pieces cost more than their bytes.
        let cost = chunk.len() + PIECE_BYTES;
        total += cost;
        if total > UNCOUNTED_BYTES && !share.grow(cost, reading.limits.held_bytes_max) {
            return Err(Refusal::new(Reason::Overloaded).term("limit", Term::HeldBytes));
        }
        reading.ledger.request(&chunk);
        frames
            .push(&chunk, |message| messages.push(message))
            .map_err(|error| framing(error, Term::Request))?;
        chunks.push(chunk);
        if reading.method.streams_request && frames.messages > 0 {
            break;
        }
        if frames.messages > 1 {
            return Err(malformed("a unary method takes one message, here are several"));
        }
    }
    let complete = body.is_end_stream();
    if complete {
        frames.end().map_err(|error| framing(error, Term::Request))?;
    }
    if complete && !reading.method.streams_request && frames.messages == 0 {
        return Err(malformed("it has no message"));
    }
    let subjects = look.at(&messages)?;
    let body = if complete {
        Outbound::Held(Held::new(chunks, share))
    } else {
        let rest = RequestStream::new(body, (chunks, share), (frames, look), reading);
        Outbound::Stream(Box::pin(rest))
    };
    Ok(Asked { body, subjects, complete })
}

/// A request that is not what gRPC or its contract say.
pub(super) fn malformed(problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::RequestMalformed).with("problem", problem.to_string())
}

/// Bad framing as a refusal.
pub(super) fn framing(error: FrameError, direction: Term) -> Refusal {
    match error {
        FrameError::TooLarge { bytes_max, .. } => Refusal::new(Reason::MessageTooLarge)
            .term("direction", direction)
            .with("bytes_max", bytes_max.to_string()),
        other => malformed(other),
    }
}
