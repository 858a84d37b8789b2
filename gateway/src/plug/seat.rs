//! A plug's place in one service, and a call's place on the plug. What a call's end says of the plug is
//! noted here; what follows from it is decided in `standing`.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;
use ura_proto::SystemId;

use super::{
    bulkhead::Inside,
    choice::Candidate,
    offer::{Missing, Offer},
    standing::{Sign, Standing, Use},
};
use crate::call::body::Outbound;

/// A call that nobody waited longer for says nothing of the plug.
const SILENCE_MIN: Duration = Duration::from_secs(1);

/// One connection of an adapter.
pub(crate) struct Plug {
    /// Whose adapter it is.
    pub(super) provider: SystemId,
    /// SHA-256 of its certificate in DER; `None` for the gateway itself.
    certificate: Option<[u8; 32]>,
    /// Where it is.
    address: SocketAddr,
    sender: SendRequest<Outbound>,
    in_flight: AtomicUsize,
    /// It takes no new calls.
    leaving: AtomicBool,
}

impl Plug {
    /// A plug that answers nothing yet.
    pub(super) fn new(
        provider: SystemId,
        certificate: Option<[u8; 32]>,
        address: SocketAddr,
        sender: SendRequest<Outbound>,
    ) -> Self {
        Self {
            provider,
            certificate,
            address,
            sender,
            in_flight: AtomicUsize::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    /// Takes no new calls from now on.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether it takes calls.
    pub(super) fn is_up(&self) -> bool {
        !self.leaving.load(Ordering::Relaxed) && !self.sender.is_closed()
    }
}

/// A plug's place in one service.
pub(super) struct Seat {
    pub(super) plug: Arc<Plug>,
    /// What the adapter's health says of the contract.
    pub(super) healthy: Arc<AtomicBool>,
    standing: Mutex<Standing>,
}

impl Seat {
    pub(super) fn new(plug: Arc<Plug>, healthy: Arc<AtomicBool>) -> Self {
        Self { plug, healthy, standing: Mutex::new(Standing::new(Instant::now())) }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // No code that holds the lock can panic half-way through a change.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the adapter says that it serves, and what may be sent; `None` where it is gone.
    pub(super) fn state(&self, now: Instant) -> Option<(bool, Use)> {
        self.plug.is_up().then(|| (self.healthy.load(Ordering::Relaxed), self.standing().usable(now)))
    }

    /// As a candidate for a call, in the list at `at`.
    pub(super) fn candidate(&self, at: usize, now: Instant, calls_max: usize) -> Result<Candidate, Missing> {
        if !self.plug.is_up() {
            return Err(Missing::NoPlug);
        }
        if !self.healthy.load(Ordering::Relaxed) {
            return Err(Missing::NotServing);
        }
        let in_flight = self.plug.in_flight.load(Ordering::Relaxed);
        if in_flight >= calls_max {
            return Err(Missing::Full);
        }
        let standing = self.standing();
        Ok(Candidate { at, in_flight, recent: standing.recent(now), usable: standing.usable(now) })
    }
}

/// A call's place on a plug, until dropped.
pub(crate) struct InFlight {
    offer: Arc<Offer>,
    seat: Arc<Seat>,
    /// Its place in the service, once it has an answer.
    inside: Option<Inside>,
    taken: Instant,
    /// It shows whether the plug answers again.
    trial: bool,
    /// The head of an answer came.
    heard: bool,
    /// What was noted of it.
    noted: Option<Sign>,
    /// Longer than this no register of the service may take; `None` for a stream.
    patience: Option<Duration>,
}

impl InFlight {
    /// A place on the plug of this seat.
    pub(super) fn take(offer: Arc<Offer>, seat: Arc<Seat>, now: Instant) -> Self {
        seat.plug.in_flight.fetch_add(1, Ordering::Relaxed);
        let trial = seat.standing().take(now);
        if trial {
            offer.look();
        }
        let (inside, heard, noted, patience) = (None, false, None, None);
        Self { offer, seat, inside, taken: now, trial, heard, noted, patience }
    }

    /// The connection to send on.
    pub(crate) fn sender(&self) -> SendRequest<Outbound> {
        self.seat.plug.sender.clone()
    }

    /// SHA-256 of the adapter's certificate in DER; `None` for the gateway itself.
    pub(crate) fn certificate(&self) -> Option<[u8; 32]> {
        self.seat.plug.certificate
    }

    /// Where the adapter is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.seat.plug.address
    }

    /// Which plug it is.
    pub(crate) fn plug(&self) -> Arc<Plug> {
        self.seat.plug.clone()
    }

    /// Says how long the service may take. Without it, silence says nothing.
    pub(crate) fn expect_within(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    /// Keeps the call's place in the service for as long.
    pub(crate) fn keep(&mut self, inside: Inside) {
        self.inside = Some(inside);
    }

    /// The head of an answer came. Of a stream that is the sign of life: its end may be far.
    pub(crate) fn heard(&mut self) {
        self.heard = true;
        if self.patience.is_none() {
            self.served();
        }
    }

    /// The adapter answered, whatever it said.
    pub(crate) fn served(&mut self) {
        if self.noted.is_none() {
            self.offer.answered();
            self.note(Sign::Good);
        }
    }

    /// The adapter, or its register, failed; says whether the budget has a second attempt.
    pub(crate) fn failed(&mut self) -> bool {
        if self.noted == Some(Sign::Failed) {
            return false;
        }
        self.note(Sign::Failed);
        self.offer.failed()
    }

    /// The stream broke. Where the connection broke with it, the plug is gone, and nothing follows for the
    /// others. Says whether the budget has a second attempt.
    pub(crate) fn lost(&mut self) -> bool {
        if self.seat.plug.is_up() {
            return self.failed();
        }
        self.noted = Some(Sign::Failed);
        self.offer.failed()
    }

    /// Time ran out.
    pub(crate) fn late(&mut self) {
        let waited = self.taken.elapsed();
        match self.patience {
            // A little less: the time before it was sent is part of the same limit.
            Some(patience) if waited >= patience.mul_f64(0.9) => self.note(Sign::Failed),
            Some(_) if waited >= SILENCE_MIN => self.note(Sign::Silent),
            _ => {}
        }
    }

    /// Nothing is to be learnt from its end.
    pub(crate) fn untaken(&mut self) {
        self.heard = true;
    }

    fn note(&mut self, sign: Sign) {
        self.noted = Some(sign);
        let trial = std::mem::take(&mut self.trial);
        let changed = self.seat.standing().note(Instant::now(), sign, trial);
        if changed {
            self.offer.look();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.noted.is_none() && !self.heard {
            // The caller went away, perhaps because its own time was over.
            self.late();
        }
        if self.trial {
            self.seat.standing().trial_over();
        }
        self.seat.plug.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
