//! One call on its way to a plug, and to another one where that is allowed. Evidence names the last plug
//! that may have executed it. Knows nothing of how plugs are chosen.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use ura_proto::{
    metadata,
    refusal::{Reason, Term},
    v1::Outcome,
};

use super::{
    flow::Flow,
    headers::Sending,
    unserved::{lost, nobody, unavailable},
};
use crate::{
    call::body::Outbound,
    error::Refusal,
    evidence::{Adapter, Ledger},
    meter::Waiting,
    plug::{InFlight, Missing, Plug, Plugs},
    policy::Permit,
};

/// Plugs that one call is offered to.
const ATTEMPTS_MAX: usize = 3;

/// gRPC status of a server that cannot answer now.
const UNAVAILABLE: &[u8] = b"14";

/// The head of an answer, and the call's place on the plug that gave it.
type Answered = (Response<Incoming>, InFlight);

/// The attempts of one call.
pub(super) struct Attempts<'s> {
    permit: &'s Permit,
    sending: &'s Sending<'s>,
    ledger: &'s Ledger,
    plugs: &'s Plugs,
    flow: &'s Flow,
    /// How long the service may take for a unary call.
    patience: Option<Duration>,
    /// Plugs on which it failed.
    tried: Vec<Arc<Plug>>,
    /// The last of those.
    sent: Option<Adapter>,
    /// What the caller is told unless another attempt ends better.
    best: Option<Result<Answered, Refusal>>,
    /// Why a plug did not take it, for the log.
    cause: Option<String>,
}

/// How an attempt ended.
enum Tried {
    /// With what the caller is told.
    Ended(Result<Response<Incoming>, Refusal>),
    /// The same, but it may be sent again.
    Failed(Result<Response<Incoming>, Refusal>),
    /// The adapter never saw it; the request as it was, where it came back whole.
    NotTaken(Option<Request<Outbound>>, hyper::Error),
}

impl<'s> Attempts<'s> {
    /// None yet.
    pub(super) fn new(
        permit: &'s Permit,
        sending: &'s Sending<'s>,
        ledger: &'s Ledger,
        plugs: &'s Plugs,
        flow: &'s Flow,
        patience: Option<Duration>,
    ) -> Self {
        let (tried, sent, best, cause) = (Vec::new(), None, None, None);
        Self { permit, sending, ledger, plugs, flow, patience, tried, sent, best, cause }
    }

    /// Sends the call until an attempt ends it.
    pub(super) async fn send(mut self, body: Outbound) -> Result<Answered, Refusal> {
        let service = &self.permit.service().key;
        let mut request = self.request(body);
        for _ in 0..ATTEMPTS_MAX {
            let mut place = match self.plugs.pick(service, &self.tried) {
                Ok(place) => place,
                Err(missing) => return self.best(missing),
            };
            place.expect_within(self.patience);
            let spare = match request.body() {
                Outbound::Held(held) => Some(held.clone()),
                _ => None,
            };
            let adapter = Adapter { certificate: place.certificate(), address: place.address() };
            self.ledger.sent(adapter);
            request = match (self.once(&mut place, request).await, spare) {
                (Tried::Ended(end), _) | (Tried::Failed(end), None) => {
                    return end.map(|answer| (answer, place));
                }
                (Tried::Failed(end), Some(held)) => {
                    self.tried.push(place.plug());
                    self.sent = Some(adapter);
                    self.best = Some(end.map(|answer| (answer, place)));
                    self.request(Outbound::Held(held))
                }
                (Tried::NotTaken(untouched, error), spare) => {
                    place.untaken();
                    self.ledger.not_sent();
                    if let Some(before) = self.sent {
                        self.ledger.sent(before);
                    }
                    match (untouched, spare) {
                        (Some(untouched), _) => {
                            self.cause = Some(error.to_string());
                            untouched
                        }
                        (None, Some(held)) => {
                            self.cause = Some(error.to_string());
                            self.request(Outbound::Held(held))
                        }
                        (None, None) => {
                            // The beginning of a streamed request is gone: only the caller can send it again.
                            let refusal = unavailable(service, Term::NoMoreCalls);
                            return Err(self.ledger.fault_or(refusal.cause(error)));
                        }
                    }
                }
            };
        }
        self.best(Missing::NoPlug)
    }

    /// Sends it on one plug.
    async fn once(&self, place: &mut InFlight, request: Request<Outbound>) -> Tried {
        let service = &self.permit.service().key;
        let repeats = self.permit.method().may_repeat();
        let mut sender = place.sender();
        let answer = self.flow.within(sender.try_send_request(request));
        let mut error = match self.flow.times.of(Waiting::Register, answer).await {
            Err(late) => {
                place.late();
                let late = late.waiting_for(&service.provider);
                return Tried::Ended(Err(late.outcome(Outcome::MaybeExecuted)));
            }
            Ok(Ok(answer)) => {
                self.ledger.answered();
                let again = is_unavailable(&answer) && place.failed() && repeats;
                // The adapter may say itself when, or that not: its word is for the caller.
                let pushed_back = answer.headers().contains_key(metadata::RETRY_PUSHBACK);
                return if again && !pushed_back {
                    Tried::Failed(Ok(answer))
                } else {
                    Tried::Ended(Ok(answer))
                };
            }
            Ok(Err(error)) => error,
        };
        let untouched = error.take_message();
        let error = error.into_error();
        if untouched.is_some() || was_not_taken(&error) {
            return Tried::NotTaken(untouched, error);
        }
        let refusal = self.ledger.fault_or(lost(service, &error));
        // What the caller did wrong says nothing of the plug.
        let again = refusal.reason == Reason::RegisterUnavailable && place.lost() && repeats;
        if again { Tried::Failed(Err(refusal)) } else { Tried::Ended(Err(refusal)) }
    }

    /// The request as the next plug gets it.
    fn request(&self, body: Outbound) -> Request<Outbound> {
        let mut request = self.sending.request(self.permit, body, self.flow.until());
        if !self.tried.is_empty() {
            let attempts = HeaderValue::from(self.tried.len());
            request.headers_mut().insert(metadata::PREVIOUS_ATTEMPTS, attempts);
        }
        request
    }

    /// How the best of the attempts ended, when no plug is left.
    fn best(self, missing: Missing) -> Result<Answered, Refusal> {
        self.best.unwrap_or_else(|| {
            let refusal = nobody(&self.permit.service().key, missing, self.plugs);
            Err(match self.cause {
                Some(error) => refusal.cause(error),
                None => refusal,
            })
        })
    }
}

/// Whether an answer consists of the status `UNAVAILABLE` alone.
fn is_unavailable(answer: &Response<Incoming>) -> bool {
    answer.headers().get(metadata::GRPC_STATUS).is_some_and(|status| status.as_bytes() == UNAVAILABLE)
}

/// Whether the peer says that it did nothing with the request: it refused the stream, or announced
/// that it goes away without this stream (RFC 9113 section 6.8; h2 fails no other stream by it).
fn was_not_taken(error: &hyper::Error) -> bool {
    super::unserved::h2_error(error).is_some_and(|error| {
        error.reason() == Some(h2::Reason::REFUSED_STREAM) || (error.is_go_away() && error.is_remote())
    })
}
