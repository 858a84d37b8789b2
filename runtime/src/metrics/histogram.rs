//! Durations, counted by how long they were. Touches atomics only.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A histogram of durations with fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds_us: &'static [u64],
    /// One per bound, and one for what is longer than all; each counts its own only.
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Histogram {
    /// An empty one. `bounds_us`: the longest duration of each bucket in microseconds, rising.
    #[must_use]
    pub fn new(bounds_us: &'static [u64]) -> Self {
        let counts = (0..=bounds_us.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds_us, counts, sum_ns: AtomicU64::new(0) }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at = self.bounds_us.partition_point(|bound_us| bound_us.saturating_mul(1_000) < ns);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Each bound in seconds with how many were no longer, as Prometheus counts; then how many there were
    /// in all, and their sum in seconds.
    pub(super) fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds_us.len());
        for (at, own) in self.counts.iter().enumerate() {
            count += own.load(Ordering::Relaxed);
            if let Some(bound_us) = self.bounds_us.get(at) {
                buckets.push((Duration::from_micros(*bound_us).as_secs_f64(), count));
            }
        }
        (buckets, count, Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_each_bucket_that_is_long_enough() {
        let histogram = Histogram::new(&[100, 1_000]);
        for us in [0, 100, 101, 1_000, 5_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let (buckets, count, sum) = histogram.read();
        assert_eq!(buckets, [(0.0001, 2), (0.001, 4)]);
        assert_eq!(count, 5);
        assert!((sum - 0.006_201).abs() < 1e-12, "{sum}");
    }

    #[test]
    fn a_nanosecond_more_than_a_bound_is_beyond_it() {
        let histogram = Histogram::new(&[100]);
        histogram.observe(Duration::from_nanos(100_001));
        assert_eq!(histogram.read().0, [(0.0001, 0)]);
    }
}
