//! How many spans of one consumer's calls are recorded in a second. Callers choose the ids of their traces and may be
//! refused as often as they like: without a share each, one of them could use up the place of all.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use ura_proto::SystemId;

/// Calls of one consumer and second whose spans are recorded because of their traces' ids.
const SAMPLED_PER_S_MAX: u64 = 100;

/// Other calls of one consumer and second whose spans are recorded because they ended badly or late.
const LATE_PER_S_MAX: u64 = 50;

/// The shares of the consumers that are connected. Changed when connections come, never by a call.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<HashMap<SystemId, Weak<Share>>>);

/// What one consumer has on all its connections together.
#[derive(Debug, Default)]
pub(crate) struct Share {
    sampled: PerSecond,
    late: PerSecond,
}

impl Shares {
    /// The share of a consumer.
    pub(crate) fn of(&self, consumer: &SystemId) -> Arc<Share> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(consumer).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share::default());
        shares.insert(consumer.clone(), Arc::downgrade(&share));
        share
    }
}

impl Share {
    /// Whether one more call may be sampled in the second of this time.
    pub(super) fn sampled(&self, unix_us: i64) -> bool {
        self.sampled.take(unix_us, SAMPLED_PER_S_MAX)
    }

    /// Whether one more that was not sampled may be recorded in the second of this time.
    pub(super) fn late(&self, unix_us: i64) -> bool {
        self.late.take(unix_us, LATE_PER_S_MAX)
    }
}

/// A second since 1970, and what was counted in it, in the lower 32 bits.
#[derive(Debug, Default)]
struct PerSecond(AtomicU64);

impl PerSecond {
    fn take(&self, unix_us: i64, max: u64) -> bool {
        let second = u64::try_from(unix_us / 1_000_000).unwrap_or_default() << 32;
        let next = |counted: u64| if counted & !0xffff_ffff == second { counted + 1 } else { second + 1 };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |counted| Some(next(counted)));
        next(before.unwrap_or_default()) & 0xffff_ffff <= max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_consumer_does_not_use_up_the_place_of_another() {
        let shares = Shares::default();
        let id = |id: &str| id.parse::<SystemId>().expect("valid");
        let (one, again) = (shares.of(&id("a/one")), shares.of(&id("a/one")));
        let other = shares.of(&id("a/other"));
        let second_us = 1_795_348_800_000_000;
        let taken = (0..1_000).filter(|at| [&one, &again][at % 2].sampled(second_us)).count();
        assert_eq!(taken, 100, "over all its connections");
        let taken = (0..1_000).filter(|_| one.late(second_us + 999_999)).count();
        assert_eq!(taken, 50);
        assert!(other.sampled(second_us) && other.late(second_us));
        assert!(one.sampled(second_us + 1_000_000) && one.late(second_us + 1_000_000), "each second anew");
        drop((one, again));
        drop(shares.of(&id("a/third")));
        assert_eq!(shares.0.lock().expect("no panic").len(), 2, "who left is forgotten");
    }
}
