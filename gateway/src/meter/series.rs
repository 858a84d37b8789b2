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

use super::{CANCELLED, Ended};
use crate::{
    call::span::{SERVER_ERRORS, code_name},
    directory::ServiceKey,
};

/// gRPC status codes, 0 to 16.
const CODES: usize = 17;
/// Where exchanges are counted that nobody ended: their caller left.
const LEFT: usize = CODES + Reason::ALL.len();
/// Ways to end: each status by the register, each reason of the bus, none.
const ENDS: usize = LEFT + 1;
/// What stands for a reason where the caller left.
const LEFT_REASON: &str = "_left";

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
    pub(super) fn ended(&self, ended: Ended, (request, reply): (u64, u64)) {
        if let Some(end) = self.ends.get(place(ended)) {
            end.fetch_add(1, Ordering::Relaxed);
        }
        self.request_bytes.fetch_add(request, Ordering::Relaxed);
        self.reply_bytes.fetch_add(reply, Ordering::Relaxed);
    }

    /// The counters of its service, where it has one.
    pub(super) fn service(&self) -> Option<&Arc<ServiceSeries>> {
        self.service.as_ref()
    }

    /// How exchanges ended, as far as there were any: code, reason (empty where the register answered, `_left` where
    /// the caller did not wait), how many.
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
fn place(ended: Ended) -> usize {
    const UNKNOWN: usize = 2;
    match ended {
        None => LEFT,
        Some((_, Some(reason))) => CODES + reason as usize,
        Some((status, None)) => {
            usize::try_from(status).ok().filter(|status| *status < CODES).unwrap_or(UNKNOWN)
        }
    }
}

/// Whether the register, its adapter or its line did not do its part: gRPC's server errors, and what the bus says in
/// their place. A caller's own limit of time is not the register's affair, however short it was.
fn failed(ended: Ended) -> bool {
    match ended {
        None => false,
        Some((_, Some(reason))) => {
            matches!(reason, Reason::RegisterUnavailable | Reason::ContractMismatch | Reason::StreamIdle)
        }
        Some((status, None)) => SERVER_ERRORS.contains(&status),
    }
}

/// Code and reason of a place.
fn names(at: usize) -> (&'static str, &'static str) {
    let code = |status: i32| code_name(u32::try_from(status).unwrap_or(u32::MAX));
    if at == LEFT {
        return (code_name(CANCELLED), LEFT_REASON);
    }
    match at.checked_sub(CODES).and_then(|reason| Reason::ALL.get(reason)) {
        Some(reason) => (code(reason.status().into()), reason.as_str()),
        None => (code(i32::try_from(at).unwrap_or(i32::MAX)), ""),
    }
}

/// The counters of one service: unary calls that were permitted.
pub(crate) struct ServiceSeries {
    /// Permitted exchanges that have ended, streams included.
    pub(crate) ended: AtomicU64,
    /// Those of them that the register, its adapter or its line failed.
    pub(crate) failed: AtomicU64,
    /// From their arrival to their end.
    pub(crate) calls: Histogram,
    /// How long the register was waited for, of those that were sent to it.
    pub(crate) register: Histogram,
}

impl Default for ServiceSeries {
    fn default() -> Self {
        Self {
            ended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            calls: Histogram::new(&CALL_US),
            register: Histogram::new(&CALL_US),
        }
    }
}

impl ServiceSeries {
    /// Counts one exchange.
    pub(super) fn ended(&self, ended: Ended) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        if failed(ended) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the time of one unary call.
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
        (0..=16).for_each(|status| series.ended(Some((status, None)), (1, 2)));
        for reason in Reason::ALL {
            let status = u32::try_from(i32::from(reason.status())).expect("a code");
            series.ended(Some((status, Some(*reason))), (0, 0));
        }
        series.ended(None, (0, 0));
        assert!(series.ends.iter().all(|end| end.load(Ordering::Relaxed) == 1));
        let ends: Vec<_> = series.ends().collect();
        assert_eq!(ends[0], ("OK", "", 1));
        assert_eq!(ends[16], ("UNAUTHENTICATED", "", 1));
        for (reason, end) in Reason::ALL.iter().zip(&ends[CODES..]) {
            assert_eq!(end.1, reason.as_str());
        }
        assert!(ends.contains(&("PERMISSION_DENIED", "GRANT_MISSING", 1)));
        assert_eq!(ends.last(), Some(&("CANCELLED", "_left", 1)));
        series.ended(Some((99, None)), (0, 0));
        assert!(series.ends().any(|end| end == ("UNKNOWN", "", 2)), "no status of gRPC");
        assert_eq!(series.bytes(), (17, 34));
    }
    #[test]
    fn a_service_fails_by_what_its_register_did() {
        let service = ServiceSeries::default();
        let ends = [
            (None, 0),
            (Some((0, None)), 0),
            (Some((5, None)), 0),
            (Some((13, None)), 1),
            (Some((14, Some(Reason::RegisterUnavailable))), 1),
            (Some((14, Some(Reason::EvidenceUnavailable))), 0),
            (Some((4, Some(Reason::DeadlineExceeded))), 0),
            (Some((4, None)), 1),
        ];
        for (ended, failures) in ends {
            let before = service.failed.load(Ordering::Relaxed);
            service.ended(ended);
            assert_eq!(service.failed.load(Ordering::Relaxed) - before, failures, "{ended:?}");
        }
        assert_eq!(service.ended.load(Ordering::Relaxed), 8);
    }
}
