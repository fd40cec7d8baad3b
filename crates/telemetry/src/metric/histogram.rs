//! Histograms with fixed bounds.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Where the buckets of a histogram end, the same for all that count the same unit.
#[derive(Debug)]
pub struct Bounds {
    /// The ends, ascending and inclusive, in the small unit that is counted in.
    pub ends: &'static [u64],
    /// How many of the small units make one of the unit that is shown.
    pub scale: f64,
}

/// Durations: counted in nanoseconds, shown in seconds, from 50 microseconds to 5 seconds.
pub static SECONDS: Bounds = Bounds {
    ends: &[
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        1_000_000_000,
        5_000_000_000,
    ],
    scale: 1e9,
};

/// Counts, such as ops in an entry: powers of two, and of four from 256, up to 16384.
pub static COUNTS: Bounds =
    Bounds { ends: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024, 4_096, 16_384], scale: 1.0 };

impl Bounds {
    /// The bucket of a value: the first whose end is not below it, or the one past all.
    #[inline]
    pub fn bucket_of(&self, value: u64) -> usize {
        self.ends.partition_point(|end| *end < value)
    }
}

/// How many values fell between which bounds. Shared; recording costs two additions.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    /// One a bound, and one for what is above all.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// A histogram of nothing yet.
    pub fn new(bounds: &'static Bounds) -> Self {
        let buckets = (0..=bounds.ends.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// A histogram of durations.
    pub fn of_seconds() -> Self {
        Self::new(&SECONDS)
    }

    /// A histogram of counts.
    pub fn of_counts() -> Self {
        Self::new(&COUNTS)
    }

    /// Adds a value, in the unit of the bounds' ends.
    #[inline]
    pub fn record(&self, value: u64) {
        self.buckets[self.bounds.bucket_of(value)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// Adds a duration.
    #[inline]
    pub fn record_time(&self, span: Duration) {
        self.record(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Where its buckets end.
    pub fn bounds(&self) -> &'static Bounds {
        self.bounds
    }

    /// How many values each bucket has by itself, the one past all bounds last.
    pub fn counts(&self) -> Vec<u64> {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect()
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// The sum of all values, in the unit of the bounds' ends.
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// Forgets all values.
    pub fn reset(&self) {
        self.buckets.iter().chain([&self.sum]).for_each(|cell| cell.store(0, Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_whose_end_is_not_below_it() {
        let histogram = Histogram::of_counts();
        for value in [0, 1, 2, 3, 4, 5, 16_384, 16_385] {
            histogram.record(value);
        }
        assert_eq!(histogram.counts(), [2, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((histogram.count(), histogram.sum()), (8, 32_784));
        histogram.reset();
        assert_eq!((histogram.count(), histogram.sum()), (0, 0));
    }

    #[test]
    fn durations_are_counted_in_nanoseconds() {
        let histogram = Histogram::of_seconds();
        histogram.record_time(Duration::from_micros(50));
        histogram.record_time(Duration::from_secs(6));
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[14]), (1, 1));
        assert_eq!(histogram.sum(), 6_000_050_000);
    }

    #[test]
    fn bounds_grow() {
        for bounds in [&SECONDS, &COUNTS] {
            assert!(bounds.ends.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
        assert_eq!(SECONDS.ends.len(), 14);
    }
}
