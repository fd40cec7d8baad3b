//! Whether requests that wait should leave, or wait for those that are about to come.
//!
//! Many clients ask again as soon as they are answered. Where a batch was answered while other
//! requests waited, its callers and those others would go by turns for ever, each time with half a
//! batch, though a batch costs three disks and many messages however long it is. So what waits
//! gives the callers that were just answered a moment to come back. Where they do not, for they
//! think or have gone, this is tried less and less often.

use std::time::{Duration, Instant};

/// Batches that leave at once after the first try in vain; this doubles.
const PASSED_MIN: u32 = 2;

/// The most batches that leave at once between two tries.
const PASSED_MAX: u32 = 256;

/// What is known of those who were answered last.
#[derive(Debug, Default)]
pub(super) struct Cohort {
    /// How many they are, until they have been waited for.
    answered: usize,
    answered_at: Option<Instant>,
    /// How long they may take: half of what their batch took.
    patience: Duration,
    /// Batches that leave at once before the next try.
    passes: u32,
    passed_next: u32,
}

impl Cohort {
    /// A batch of so many callers was answered.
    pub(super) fn answered(&mut self, callers: usize, took: Duration, now: Instant) {
        self.answered = callers;
        self.patience = took / 2;
        self.answered_at = Some(now);
    }

    /// For how many requests it is worth to wait, and how long, where `waiting` do; `None`: they
    /// leave at once.
    pub(super) fn wanted(&mut self, waiting: usize, now: Instant) -> Option<(usize, Duration)> {
        let since = now.saturating_duration_since(self.answered_at?);
        if waiting == 0 || since > self.patience {
            return None;
        }
        let wanted = ((std::mem::take(&mut self.answered) + waiting) * 9).div_ceil(10);
        if waiting >= wanted {
            return None;
        }
        if self.passes > 0 {
            self.passes -= 1;
            return None;
        }
        Some((wanted, self.patience))
    }

    /// Whether those that were waited for came in time.
    pub(super) fn came(&mut self, in_time: bool) {
        if in_time {
            (self.passes, self.passed_next) = (0, 0);
        } else {
            self.passes = self.passed_next.clamp(PASSED_MIN, PASSED_MAX);
            self.passed_next = self.passes * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(2);

    fn answered(callers: usize) -> (Cohort, Instant) {
        let (mut cohort, now) = (Cohort::default(), Instant::now());
        cohort.answered(callers, TOOK, now);
        (cohort, now)
    }

    #[test]
    fn those_who_were_answered_are_waited_for_once_and_not_for_long() {
        for (callers, waiting, wanted) in [(1, 1, 2), (25, 25, 45), (3, 1, 4), (40, 1, 37)] {
            let (mut cohort, now) = answered(callers);
            assert_eq!(cohort.wanted(waiting, now + TOOK / 2), Some((wanted, TOOK / 2)));
            assert_eq!(cohort.wanted(waiting, now), None);
        }
        // Nobody would be delayed, or all but a few wait, or they are long gone.
        let (mut cohort, now) = answered(25);
        assert_eq!(cohort.wanted(0, now), None);
        assert_eq!(cohort.wanted(25, now + TOOK), None);
        let (mut cohort, now) = answered(2);
        assert_eq!(cohort.wanted(30, now), None);
        assert_eq!(Cohort::default().wanted(5, now), None);
    }

    #[test]
    fn who_does_not_come_back_is_waited_for_less_and_less_often() {
        let (mut cohort, now) = answered(25);
        let mut batches_to_next_try = |comes: bool| {
            let mut batches = 0;
            loop {
                batches += 1;
                cohort.answered(25, TOOK, now);
                if cohort.wanted(25, now).is_some() {
                    cohort.came(comes);
                    return batches;
                }
            }
        };
        let tries: Vec<u32> = (0..11).map(|_| batches_to_next_try(false)).collect();
        assert_eq!(tries, [1, 3, 5, 9, 17, 33, 65, 129, 257, 257, 257]);
        assert_eq!([true, true, false, false].map(batches_to_next_try), [257, 1, 1, 3]);
    }
}
