//! The time of day. Everything that needs it is handed a [`Clock`], so that tests can set it.
//!
//! This is the only place that reads the system's time of day. Durations and timeouts are tokio's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

/// As far ahead as a timer is ever set.
const FAR: Duration = Duration::from_secs(31_536_000);

/// A source of the time of day: the system's, or one that a test moves by hand. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

/// Moves the [`Clock`] that was made with it.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `unix_us` until the returned hand moves it.
    #[must_use]
    pub fn manual(unix_us: i64) -> (Self, ManualClock) {
        let time = Arc::new(AtomicI64::new(unix_us));
        (Self(Source::Manual(Arc::clone(&time))), ManualClock(time))
    }

    /// Microseconds since 1970-01-01 UTC, leap seconds not counted. May step back when the system's
    /// clock is set.
    #[must_use]
    pub fn unix_us(&self) -> i64 {
        match &self.0 {
            Source::System => system_unix_us(),
            Source::Manual(time) => time.load(Ordering::Acquire),
        }
    }

    /// The instant at which this clock will show `unix_s`, seconds since 1970-01-01 UTC: now where that
    /// is past, at most a year ahead, for timers need not reach further.
    #[must_use]
    pub fn instant_of(&self, unix_s: i64) -> tokio::time::Instant {
        let left_s = unix_s.saturating_sub(self.unix_us().div_euclid(1_000_000));
        let left = Duration::from_secs(u64::try_from(left_s).unwrap_or(0));
        tokio::time::Instant::now() + left.min(FAR)
    }
}

impl ManualClock {
    /// Sets the time, in microseconds since 1970-01-01 UTC.
    pub fn set_unix_us(&self, unix_us: i64) {
        self.0.store(unix_us, Ordering::Release);
    }

    /// Moves the time by so many microseconds; negative moves it back.
    pub fn advance_us(&self, us: i64) {
        self.0.fetch_add(us, Ordering::AcqRel);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn system_unix_us() -> i64 {
    match std::time::SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let (clock, hand) = Clock::manual(1_000);
        let copy = clock.clone();
        assert_eq!(clock.unix_us(), 1_000);
        hand.advance_us(-1_500);
        assert_eq!(copy.unix_us(), -500);
        hand.set_unix_us(7);
        assert_eq!(clock.unix_us(), 7);
    }

    #[test]
    fn the_system_clock_counts_microseconds() {
        // 2020-01-01 and 2100-01-01: a wrong unit would be off by a factor of a thousand.
        let now = Clock::system().unix_us();
        assert!((1_577_836_800_000_000..4_102_444_800_000_000).contains(&now));
    }
}
