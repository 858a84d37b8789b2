//! The reply on its way to the caller. No frame leaves before every record due so far is on disk,
//! and the end of a write not before its closing is.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use ura_evidence::writer::Ticket;
use ura_proto::{
    metadata,
    refusal::{Reason, Term},
    v1::Outcome,
};

use super::{
    answer::{encoding, mismatch, not_grpc, status},
    forwarding::Forwarding,
    headers::clean,
    look::{Direction, Look},
    outgoing::Reply,
};
use crate::{
    call::{
        Encoding,
        body::{BodyError, Guarded},
        frame::{FrameError, Frames},
        watched,
    },
    error::{Refusal, without_own_error_info},
    evidence::{Ended, unavailable},
    meter::Waiting,
    plug::InFlight,
};

/// gRPC status of a deadline.
const DEADLINE_EXCEEDED: u32 = 4;
/// gRPC status of a server that cannot answer now.
const UNAVAILABLE: u32 = 14;

/// An adapter's reply.
pub(crate) struct Forwarded {
    with: Forwarding,
    body: Option<Guarded>,
    frames: Frames,
    look: Look,
    /// Bytes of a message that was not looked into yet.
    unread: VecDeque<Bytes>,
    /// Bytes that may leave as soon as the records are on disk.
    ready: VecDeque<Bytes>,
    timer: Pin<Box<Sleep>>,
    end: End,
    /// Its place on the plug.
    place: InFlight,
    /// Whom it waits for, and since when.
    waiting: Option<(Waiting, Instant)>,
}

/// The end of the reply.
enum End {
    /// Not seen yet.
    Open,
    /// The closing of a write is on its way to the disk; the trailers wait for it.
    Closing(Ticket, HeaderMap),
    /// Trailers are due.
    Trailers(HeaderMap),
    /// Nothing more.
    Done,
}

impl Forwarded {
    /// Checks the head of an adapter's answer and makes the response from it.
    pub(crate) fn respond(
        with: Forwarding,
        answer: Response<Incoming>,
        mut place: InFlight,
    ) -> Response<Reply> {
        let (mut head, body) = answer.into_parts();
        let problem = not_grpc(&head);
        let encoding = encoding(&head);
        let trailers_only = head.headers.contains_key(metadata::GRPC_STATUS);
        let look = Look::new(
            with.permit.method(),
            Direction::Reply,
            with.permit.service().validate,
            encoding.unwrap_or(Encoding::Identity),
            &with.limits,
            with.ledger.exchange(),
        );
        with.flow.moved();
        if problem.is_some() {
            place.failed();
        } else if !trailers_only {
            place.heard();
        }
        let mut reply = Self {
            body: Some(Guarded::new(body)),
            frames: Frames::new(with.limits.message_bytes_max, look.is_wanted()),
            look,
            unread: VecDeque::new(),
            ready: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep_until(with.flow.ends())),
            end: End::Open,
            place,
            waiting: None,
            with,
        };
        let mut response = Response::new(());
        if let Some(problem) = problem {
            reply.give_up(mismatch(problem));
        } else if encoding.is_none() {
            reply.give_up(mismatch("its grpc-encoding is neither identity nor gzip"));
        } else if trailers_only {
            // The status stands in the headers: they are the trailers.
            let mut trailers = std::mem::take(&mut head.headers);
            trailers.remove(http::header::CONTENT_TYPE);
            reply.ended(trailers);
        } else {
            clean(&mut head.headers);
            *response.headers_mut() = head.headers;
        }
        let headers = response.headers_mut();
        headers.insert(metadata::EXCHANGE_ID, crate::error::exchange_value(reply.with.ledger.exchange()));
        if let Some(deprecated) = &reply.with.permit.method().deprecated {
            headers.insert(metadata::DEPRECATED, deprecated.clone());
        }
        headers
            .entry(http::header::CONTENT_TYPE)
            .or_insert(http::HeaderValue::from_static("application/grpc"));
        response.map(|()| Reply::Forwarded(Box::new(reply)))
    }

    /// The next frame.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.waited(Waiting::Caller);
        loop {
            match std::mem::replace(&mut self.end, End::Done) {
                End::Done => return Poll::Ready(None),
                End::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                End::Closing(mut ticket, trailers) => match Pin::new(&mut ticket).poll(context) {
                    Poll::Pending => {
                        self.end = End::Closing(ticket, trailers);
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(_)) => self.end = End::Trailers(trailers),
                    Poll::Ready(None) => {
                        let refusal = unavailable().outcome(self.with.ledger.outcome());
                        self.with.told(refusal.status(), Some(refusal.reason));
                        self.end = End::Trailers(self.refusal(&refusal));
                    }
                },
                End::Open => {
                    self.end = End::Open;
                    watched::watch(Some(self.timer.deadline()));
                    if let Some(chunk) = ready!(self.poll_open(context)) {
                        self.waiting = Some((Waiting::Caller, Instant::now()));
                        return Poll::Ready(Some(Ok(Frame::data(chunk))));
                    }
                }
            }
        }
    }

    /// The next bytes; `None` where the end was seen.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if self.timer.as_mut().poll(context).is_ready() {
                if let Some(late) = self.with.flow.late() {
                    self.give_up(late.outcome(Outcome::MaybeExecuted));
                    return Poll::Ready(None);
                }
                // Something moved the other way.
                self.rewind();
                continue;
            }
            if let Err(refusal) = ready!(self.with.ledger.poll_recorded(context)) {
                let outcome = self.with.ledger.outcome();
                self.give_up(refusal.outcome(outcome));
                return Poll::Ready(None);
            }
            if let Some(chunk) = self.ready.pop_front() {
                self.with.ledger.reply(&chunk);
                return Poll::Ready(Some(chunk));
            }
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
                self.waiting.get_or_insert_with(|| (Waiting::Register, Instant::now()));
                return Poll::Pending;
            };
            self.waited(Waiting::Register);
            match frame {
                None => self.give_up(mismatch("it ended without a grpc-status")),
                Some(Err(error)) => {
                    let lost = Refusal::new(Reason::RegisterUnavailable)
                        .term("problem", Term::AdapterLost)
                        .cause(error);
                    self.give_up(self.with.ledger.fault_or(lost.outcome(Outcome::MaybeExecuted)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => self.take(chunk),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            self.ended(trailers);
                        }
                    }
                },
            }
            if !matches!(self.end, End::Open) {
                return Poll::Ready(None);
            }
        }
    }

    /// Takes bytes of the reply; those of a message that must be read wait for its end.
    fn take(&mut self, mut chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.with.flow.moved();
        self.rewind();
        let mut messages = Vec::new();
        let ended = match self.frames.push(&chunk, |message| messages.push(message)) {
            Ok(ended) => ended,
            Err(FrameError::TooLarge { bytes_max, .. }) => {
                let refusal = Refusal::new(Reason::MessageTooLarge)
                    .term("direction", Term::Reply)
                    .with("bytes_max", bytes_max.to_string());
                return self.give_up(refusal.outcome(Outcome::Answered));
            }
            Err(error) => return self.give_up(mismatch(error)),
        };
        if self.frames.messages > 1 && !self.with.permit.method().streams_reply {
            return self.give_up(mismatch("a unary method answers with one message, here are several"));
        }
        if !self.look.is_wanted() {
            self.ready.push_back(chunk);
            return;
        }
        if ended == 0 {
            self.unread.push_back(chunk);
            return;
        }
        match self.look.at(&messages) {
            Err(refusal) => return self.give_up(mismatch(refusal.problem())),
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                if let Err(refusal) = self.with.ledger.subjects(&found, true) {
                    return self.give_up(refusal.outcome(Outcome::MaybeExecuted));
                }
            }
        }
        self.ready.append(&mut self.unread);
        self.ready.push_back(chunk.split_to(ended));
        if !chunk.is_empty() {
            self.unread.push_back(chunk);
        }
    }

    /// The adapter ended the reply.
    fn ended(&mut self, mut trailers: HeaderMap) {
        let Some(status) = status(&trailers) else {
            return self.give_up(mismatch("its grpc-status is not a status code"));
        };
        if status == DEADLINE_EXCEEDED
            && let Some(late) = self.with.flow.late()
        {
            // The adapter was told the same deadline: its word for it came first.
            return self.give_up(late.outcome(Outcome::MaybeExecuted));
        }
        if status == 0 && self.frames.end().is_err() {
            return self.give_up(mismatch("it ended inside a message"));
        }
        if status == 0 && self.frames.messages == 0 && !self.with.permit.method().streams_reply {
            return self.give_up(mismatch("it has no message"));
        }
        match status {
            UNAVAILABLE => drop(self.place.failed()),
            // Its register was given no more time than we give.
            DEADLINE_EXCEEDED => self.place.late(),
            _ => self.place.served(),
        }
        clean(&mut trailers);
        without_own_error_info(&mut trailers);
        self.close(status, Outcome::Answered, None, trailers);
    }

    /// The bus ends the reply: the adapter sees a reset, the caller why.
    fn give_up(&mut self, refusal: Refusal) {
        let provider = self.with.permit.provider();
        let refusal = match refusal.reason {
            Reason::DeadlineExceeded | Reason::StreamIdle => refusal.waiting_for(provider),
            _ => refusal.with("provider", provider.as_str()),
        };
        match refusal.reason {
            Reason::RegisterUnavailable => drop(self.place.lost()),
            Reason::DeadlineExceeded | Reason::StreamIdle => self.place.late(),
            // The adapter answered, if not well.
            _ => self.place.served(),
        }
        tracing::info!(exchange = %self.with.ledger.exchange(), reason = %refusal.reason, why = refusal.log_text(), "an exchange was ended by the bus");
        self.unread.clear();
        self.ready.clear();
        let trailers = self.refusal(&refusal);
        self.close(refusal.status(), refusal.outcome, Some(refusal.reason), trailers);
    }

    /// Records the end; that of a write is waited for.
    fn close(&mut self, status: u32, outcome: Outcome, refusal: Option<Reason>, mut trailers: HeaderMap) {
        self.waited(Waiting::Register);
        self.body = None;
        self.with.flow.over();
        watched::watch(None);
        self.with.told(status, refusal);
        let ticket = self.with.ledger.close(Ended { status, outcome, refusal });
        if let Some(receipt) = self.with.ledger.receipt() {
            trailers.insert(metadata::RECEIPT, receipt);
        }
        self.end = match ticket {
            Some(ticket) if self.with.permit.method().writes() => End::Closing(ticket, trailers),
            _ => End::Trailers(trailers),
        };
    }

    /// A wait is over, if it was one for this.
    fn waited(&mut self, whom: Waiting) {
        let since = self.waiting.take_if(|(waiting, _)| *waiting == whom).map(|(_, since)| since);
        self.with.flow.times.since(whom, since);
    }

    fn refusal(&self, refusal: &Refusal) -> HeaderMap {
        refusal.trailers(self.with.language, self.with.ledger.exchange())
    }

    /// A stream on which something moves may go on.
    fn rewind(&mut self) {
        let ends = self.with.flow.ends();
        if ends != self.timer.deadline() {
            self.timer.as_mut().reset(ends);
            watched::watch(Some(ends));
        }
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.with.flow.over();
        // Dropped because its time ran out while the caller did not read; otherwise the caller is
        // gone, and the ledger says so.
        if matches!(self.end, End::Open)
            && let Some(late) = self.with.flow.late()
        {
            self.place.late();
            let outcome = Outcome::MaybeExecuted;
            let ended = Ended { status: late.status(), outcome, refusal: Some(late.reason) };
            self.with.told(late.status(), Some(late.reason));
            drop(self.with.ledger.close(ended));
        }
        self.waited(Waiting::Register);
        self.waited(Waiting::Caller);
        self.with.meter.forwarded(&self.with.flow.times, self.with.ledger.bytes());
    }
}
