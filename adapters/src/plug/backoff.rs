//! How long a slot waits before it connects again. Pure; randomness comes in as an argument.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// Doublings from the first wait to the longest.
const STEPS: u32 = 6;
/// A connection that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// The waits of one slot: none at first, then exponential with full jitter.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    refused: bool,
    /// Young connections were replaced without a wait already.
    hasty: bool,
}

impl Backoff {
    /// The wait before the next attempt; `random` is in 0..1.
    pub(super) fn delay(&self, random: f64) -> Duration {
        if self.refused {
            // Another attempt seldom mends a refusal: the upper half only.
            return LONGEST.mul_f64(0.5 + random / 2.0);
        }
        match self.failures {
            0 => Duration::ZERO,
            n => (FIRST * 2_u32.pow((n - 1).min(STEPS))).min(LONGEST).mul_f64(random),
        }
    }

    /// There was no connection.
    pub(super) fn failed(&mut self) {
        self.refused = false;
        self.failures = self.failures.saturating_add(1);
    }

    /// The gateway took nothing from the connection.
    pub(super) fn refused(&mut self) {
        self.failed();
        self.refused = true;
    }

    /// A connection ended after this time.
    pub(super) fn lost(&mut self, lasted: Duration) {
        self.lasted(lasted);
        self.failed();
    }

    /// A connection, as old as this, is to be replaced: at once, unless that happens all the time.
    pub(super) fn replaced(&mut self, lasted: Duration) {
        self.lasted(lasted);
        self.refused = false;
        if self.hasty {
            self.failed();
        } else {
            self.failures = 0;
            self.hasty = lasted < GOOD;
        }
    }

    fn lasted(&mut self, lasted: Duration) {
        if lasted >= GOOD {
            self.failures = 0;
            self.hasty = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_seconds() {
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(backoff.delay(1.0).as_millis());
            assert_eq!(backoff.delay(0.0), Duration::ZERO);
            backoff.failed();
        }
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.lost(Duration::from_secs(1));
        assert_eq!(backoff.delay(1.0), LONGEST);
        backoff.lost(GOOD);
        assert_eq!(backoff.delay(1.0), FIRST);
    }

    #[test]
    fn a_refusal_waits_long_and_a_replacement_does_not() {
        let mut backoff = Backoff::default();
        backoff.refused();
        assert_eq!(backoff.delay(0.0), LONGEST / 2);
        assert_eq!(backoff.delay(1.0), LONGEST);
        backoff.lost(GOOD);
        assert_eq!(backoff.delay(1.0), FIRST);
        backoff.replaced(GOOD);
        assert_eq!(backoff.delay(1.0), Duration::ZERO);
        backoff.replaced(Duration::ZERO);
        assert_eq!(backoff.delay(1.0), Duration::ZERO);
        for wait in [FIRST, FIRST * 2, FIRST * 4] {
            backoff.replaced(Duration::ZERO);
            assert_eq!(backoff.delay(1.0), wait, "not all the time");
        }
        backoff.replaced(GOOD);
        assert_eq!(backoff.delay(1.0), Duration::ZERO);
    }
}
