//! The records of one exchange, from its opening to its closing. Whatever happens to the call, its
//! closing is written: dropping the ledger closes it.

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use tokio::time::Instant;
use ura_evidence::{
    entry::Row,
    keys::EpochKey,
    writer::{Evidence, Fate, Recorded, Ticket},
};
use ura_proto::{
    ExchangeId,
    refusal::Reason,
    v1::{Closing, Outcome, Progress, entry::Kind},
};

use super::opening::{Asked, Decided, opening, subjects};
use crate::{
    call::Call,
    directory::{Snapshot, subject::Found},
    error::Refusal,
};

/// How an exchange ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// gRPC status that the caller is given.
    pub(crate) status: u32,
    /// What became of the call at the register.
    pub(crate) outcome: Outcome,
    /// Why, where the bus itself ended it.
    pub(crate) refusal: Option<Reason>,
}

/// The records of one exchange.
pub(crate) struct Ledger {
    evidence: Evidence,
    exchange: ExchangeId,
    /// The same through the whole exchange, whatever becomes the present one meanwhile.
    epoch: Arc<EpochKey>,
    salt: [u8; 32],
    arrived: Instant,
    fate: Arc<Fate>,
    state: Mutex<State>,
}

/// An adapter's connection, as the closing names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adapter {
    /// SHA-256 of its certificate in DER; `None` for the gateway itself.
    pub(crate) certificate: Option<[u8; 32]>,
    /// Where it is.
    pub(crate) address: SocketAddr,
}

/// What changes while the exchange goes on.
struct State {
    request: digest::Context,
    request_bytes: u64,
    /// The opening's digest covers the whole request.
    request_told: bool,
    reply: digest::Context,
    reply_bytes: u64,
    /// Records that must be on disk before anything of the answer leaves.
    waiting: VecDeque<Ticket>,
    opening: Option<Recorded>,
    opened: bool,
    closed: bool,
    /// Whom the call is on its way to.
    sent: Option<Adapter>,
    /// When the head of the answer came.
    answered: Option<Instant>,
    /// What the closing says of the register's side.
    ended: Option<Outcome>,
    /// Why the bus gave the request up while it was on its way.
    fault: Option<Refusal>,
}

impl Ledger {
    /// A ledger without entries.
    pub(crate) fn new(evidence: &Evidence, call: &Call) -> Self {
        let epoch = evidence.epoch();
        let salt = epoch.salt(call.exchange);
        let mut salted = digest::Context::new(&digest::SHA256);
        salted.update(&salt);
        let state = State {
            request: salted.clone(),
            request_bytes: 0,
            request_told: false,
            reply: salted,
            reply_bytes: 0,
            waiting: VecDeque::with_capacity(1),
            opening: None,
            opened: false,
            closed: false,
            sent: None,
            answered: None,
            ended: None,
            fault: None,
        };
        Self {
            evidence: evidence.clone(),
            exchange: call.exchange,
            epoch,
            salt,
            arrived: call.arrived,
            fate: Arc::default(),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.evidence.clock().unix_us()
    }

    /// Salt of this exchange's digests.
    pub(crate) fn salt(&self) -> &[u8; 32] {
        &self.salt
    }

    /// Takes bytes of the request into its digest.
    pub(crate) fn request(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.request.update(bytes);
        state.request_bytes += bytes.len() as u64;
    }

    /// Takes bytes of the reply into its digest.
    pub(crate) fn reply(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.reply.update(bytes);
        state.reply_bytes += bytes.len() as u64;
    }

    /// Bytes of the request and of the reply so far.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let state = self.state();
        (state.request_bytes, state.reply_bytes)
    }

    /// The exchange whose records these are.
    pub(crate) fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    /// Notes that the call is on its way to this adapter.
    pub(crate) fn sent(&self, adapter: Adapter) {
        self.state().sent = Some(adapter);
    }

    /// Notes that the head of the answer is there.
    pub(crate) fn answered(&self) {
        self.state().answered = Some(Instant::now());
    }

    /// Notes that an adapter handed the call back untouched.
    pub(crate) fn not_sent(&self) {
        self.state().sent = None;
    }

    /// Notes why the request is given up on its way: the caller is told this, not what the adapter
    /// makes of the reset.
    pub(crate) fn fail(&self, refusal: Refusal) {
        self.state().fault.get_or_insert(refusal);
    }

    /// The reason noted by [`Ledger::fail`], or else this one.
    pub(crate) fn fault_or(&self, refusal: Refusal) -> Refusal {
        let outcome = refusal.outcome;
        self.state().fault.take().map_or(refusal, |fault| fault.outcome(outcome))
    }

    /// Queues the opening. `complete`: the request has been read to its end.
    pub(crate) fn open(
        &self,
        call: &Call,
        directory: &Snapshot,
        decided: &Decided<'_>,
        found: &[Found],
        complete: bool,
    ) -> Result<(), Refusal> {
        let (committed, openings) = subjects(found, &self.epoch, self.exchange);
        let mut state = self.state();
        let asked =
            Asked { subjects: committed, digest: finished(&state.request), bytes: state.request_bytes };
        state.request_told = complete;
        let record = opening(call, directory, decided, asked, &self.epoch, &self.salt);
        let row =
            Row::with_subjects(Some(self.exchange), call.arrived_unix_us, Kind::Opening(record), openings);
        let ticket = self.evidence.submit(row, &self.fate).ok_or_else(unavailable)?;
        state.waiting.push_back(ticket);
        state.opened = true;
        Ok(())
    }

    /// Records a refused call, and waits until that is on disk. What the caller is told: the
    /// refusal, or that it could not be recorded.
    pub(crate) async fn refuse(
        &self,
        call: &Call,
        directory: &Snapshot,
        decided: Decided<'_>,
        refusal: Refusal,
    ) -> Refusal {
        let decided = Decided { refusal: refusal.reason.as_str(), ..decided };
        if let Err(unrecorded) = self.open(call, directory, &decided, &[], false) {
            return unrecorded;
        }
        self.state().closed = true;
        match self.recorded().await {
            Ok(()) => refusal,
            Err(unrecorded) => unrecorded,
        }
    }

    /// Queues subjects that became known later; the answer waits for the record.
    pub(crate) fn subjects(&self, found: &[Found], from_reply: bool) -> Result<(), Refusal> {
        let (committed, openings) = subjects(found, &self.epoch, self.exchange);
        let mut state = self.state();
        let progress = Progress {
            subjects: committed,
            request_digest: Vec::new(),
            request_bytes: state.request_bytes,
            from_reply,
        };
        let kind = Kind::Progress(progress);
        let row = Row::with_subjects(Some(self.exchange), self.now(), kind, openings);
        let ticket = self.evidence.submit(row, &self.fate).ok_or_else(unavailable)?;
        state.waiting.push_back(ticket);
        Ok(())
    }

    /// Queues the digest of a streamed request that has been read to its end.
    pub(crate) fn request_ended(&self) -> Result<Ticket, Refusal> {
        let mut state = self.state();
        let progress = Progress {
            subjects: Vec::new(),
            request_digest: finished(&state.request),
            request_bytes: state.request_bytes,
            from_reply: false,
        };
        state.request_told = true;
        let row = Row::new(Some(self.exchange), self.now(), Kind::Progress(progress));
        self.evidence.submit(row, &self.fate).ok_or_else(unavailable)
    }

    /// Whether some record of this exchange could not be made.
    pub(crate) fn lacks_a_record(&self) -> bool {
        self.fate.missed_any()
    }

    /// Waits until every record so far is on disk.
    pub(crate) async fn recorded(&self) -> Result<(), Refusal> {
        poll_fn(|context| self.poll_recorded(context)).await
    }

    /// [`Ledger::recorded`] for bodies. To be polled by one task.
    pub(crate) fn poll_recorded(&self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let mut state = self.state();
        while let Some(ticket) = state.waiting.front_mut() {
            let recorded = ready!(Pin::new(ticket).poll(context));
            state.waiting.pop_front();
            let Some(recorded) = recorded else { return Poll::Ready(Err(unavailable())) };
            state.opening.get_or_insert(recorded);
        }
        Poll::Ready(Ok(()))
    }

    /// Queues the closing; `None` where the exchange is closed already, or has no opening.
    pub(crate) fn close(&self, ended: Ended) -> Option<Ticket> {
        let mut state = self.state();
        if state.closed || !state.opened || self.fate.unopened() {
            return None;
        }
        state.closed = true;
        state.ended = Some(ended.outcome);
        let closing = Closing {
            status: ended.status,
            outcome: ended.outcome.into(),
            reply_digest: finished(&state.reply),
            reply_bytes: state.reply_bytes,
            request_bytes: state.request_bytes,
            duration_us: us(self.arrived.elapsed()),
            refusal: ended.refusal.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
            request_digest: if state.request_told { Vec::new() } else { finished(&state.request) },
            answered_us: state.answered.map_or(0, |at| us(at.duration_since(self.arrived)).max(1)),
            adapter_certificate: state
                .sent
                .as_ref()
                .and_then(|adapter| adapter.certificate)
                .map(Vec::from)
                .unwrap_or_default(),
            adapter_address: state
                .sent
                .as_ref()
                .map(|adapter| adapter.address.to_string())
                .unwrap_or_default(),
        };
        let row = Row::new(Some(self.exchange), self.now(), Kind::Closing(closing));
        Some(self.evidence.submit_closing(row, &self.fate))
    }

    /// What is known of the register's side if the exchange ended now.
    pub(crate) fn outcome(&self) -> Outcome {
        let state = self.state();
        state.ended.unwrap_or(if state.sent.is_some() { Outcome::MaybeExecuted } else { Outcome::NeverSent })
    }

    /// The receipt: where the opening stands, and the salt.
    pub(crate) fn receipt(&self) -> Option<HeaderValue> {
        let state = self.state();
        let opening = state.opening.as_ref()?;
        let text = format!(
            "log={};index={};leaf={};salt={}",
            opening.origin,
            opening.index,
            URL_SAFE_NO_PAD.encode(opening.leaf_hash),
            URL_SAFE_NO_PAD.encode(self.salt)
        );
        HeaderValue::from_str(&text).ok()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        const CANCELLED: u32 = 1;
        let outcome = self.outcome();
        // Nobody waits for it: the caller is gone.
        drop(self.close(Ended { status: CANCELLED, outcome, refusal: None }));
    }
}

/// Microseconds.
fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The digest of what was taken so far.
fn finished(context: &digest::Context) -> Vec<u8> {
    context.clone().finish().as_ref().to_vec()
}

/// The refusal of a call that cannot be recorded.
pub(crate) fn unavailable() -> Refusal {
    Refusal::new(Reason::EvidenceUnavailable)
}
