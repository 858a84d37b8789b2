//! The counters of one pair of consumer and service, and those of one service.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ura_proto::{SystemId, refusal::Reason};
use ura_runtime::metrics::Histogram;

use crate::{call::span::code_name, directory::ServiceKey};

/// gRPC status codes, 0 to 16.
const CODES: usize = 17;
/// Ways to end: each status by the register, each reason of the bus.
const ENDS: usize = CODES + Reason::ALL.len();

/// Lengths by which calls are counted, in microseconds.
const CALL_US: [u64; 14] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// Between whom an exchange was. `None`: nobody of the directory, or not known when it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    /// Who asked.
    pub(crate) consumer: Option<SystemId>,
    /// For which contract.
    pub(crate) contract: Option<Arc<str>>,
    /// Whom.
    pub(crate) provider: Option<SystemId>,
}

impl Pair {
    /// The service asked, where both its parts are known.
    pub(super) fn service(&self) -> Option<ServiceKey> {
        let (contract, provider) = (self.contract.clone()?, self.provider.clone()?);
        Some(ServiceKey { contract, provider })
    }
}

/// The counters of one pair.
pub(crate) struct Series {
    ends: [AtomicU64; ENDS],
    request_bytes: AtomicU64,
    reply_bytes: AtomicU64,
    service: Option<Arc<ServiceSeries>>,
}

impl Series {
    /// Nothing yet.
    pub(super) fn new(service: Option<Arc<ServiceSeries>>) -> Self {
        Self {
            ends: array::from_fn(|_| AtomicU64::new(0)),
            request_bytes: AtomicU64::new(0),
            reply_bytes: AtomicU64::new(0),
            service,
        }
    }

    /// Counts one exchange.
    pub(super) fn ended(&self, status: u32, refusal: Option<Reason>, (request, reply): (u64, u64)) {
        if let Some(end) = self.ends.get(place(status, refusal)) {
            end.fetch_add(1, Ordering::Relaxed);
        }
        self.request_bytes.fetch_add(request, Ordering::Relaxed);
        self.reply_bytes.fetch_add(reply, Ordering::Relaxed);
    }

    /// The counters of its service, where it has one.
    pub(super) fn service(&self) -> Option<&ServiceSeries> {
        self.service.as_deref()
    }

    /// How exchanges ended, as far as there were any: code, reason (empty where the register answered),
    /// how many.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let counts = self.ends.iter().map(|end| end.load(Ordering::Relaxed)).enumerate();
        counts.filter(|(_, count)| *count > 0).map(|(at, count)| {
            let (code, reason) = names(at);
            (code, reason, count)
        })
    }

    /// Bytes of requests, and of replies.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.request_bytes.load(Ordering::Relaxed), self.reply_bytes.load(Ordering::Relaxed))
    }
}

/// Where an end is counted. A reason has one status.
fn place(status: u32, refusal: Option<Reason>) -> usize {
    const UNKNOWN: usize = 2;
    match refusal {
        Some(reason) => CODES + reason as usize,
        None => usize::try_from(status).ok().filter(|status| *status < CODES).unwrap_or(UNKNOWN),
    }
}

/// Code and reason of a place.
fn names(at: usize) -> (&'static str, &'static str) {
    let code = |status: i32| code_name(u32::try_from(status).unwrap_or(u32::MAX));
    match at.checked_sub(CODES).and_then(|reason| Reason::ALL.get(reason)) {
        Some(reason) => (code(reason.status().into()), reason.as_str()),
        None => (code(i32::try_from(at).unwrap_or(i32::MAX)), ""),
    }
}

/// The counters of one service: unary calls that were permitted.
pub(crate) struct ServiceSeries {
    /// From their arrival to their end.
    pub(crate) calls: Histogram,
    /// How long the register was waited for, of those that were sent to it.
    pub(crate) register: Histogram,
}

impl Default for ServiceSeries {
    fn default() -> Self {
        Self { calls: Histogram::new(&CALL_US), register: Histogram::new(&CALL_US) }
    }
}

impl ServiceSeries {
    /// Counts one call.
    pub(super) fn took(&self, call: Duration, register: Duration) {
        self.calls.observe(call);
        if !register.is_zero() {
            self.register.observe(register);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_a_place_of_its_own() {
        let series = Series::new(None);
        (0..=16).for_each(|status| series.ended(status, None, (1, 2)));
        for reason in Reason::ALL {
            series.ended(u32::try_from(i32::from(reason.status())).expect("a code"), Some(*reason), (0, 0));
        }
        assert!(series.ends.iter().all(|end| end.load(Ordering::Relaxed) == 1));
        let ends: Vec<_> = series.ends().collect();
        assert_eq!(ends[0], ("OK", "", 1));
        assert_eq!(ends[16], ("UNAUTHENTICATED", "", 1));
        for (reason, end) in Reason::ALL.iter().zip(&ends[CODES..]) {
            assert_eq!(end.1, reason.as_str());
        }
        assert!(ends.contains(&("PERMISSION_DENIED", "GRANT_MISSING", 1)));
        series.ended(99, None, (0, 0));
        assert!(series.ends().any(|end| end == ("UNKNOWN", "", 2)), "no status of gRPC");
        assert_eq!(series.bytes(), (17, 34));
    }
}
