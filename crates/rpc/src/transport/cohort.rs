//! Whether requests that wait should leave, or wait for those that are about to come.
//!
//! Many clients ask again as soon as they are answered. Where a batch was answered while other
//! requests waited, its callers and those others would go by turns for ever, each time with half a
//! batch, though a batch costs three disks and many messages however long it is. So what waits
//! gives the callers that were just answered a moment to come back. Where they do not, for they
//! think or have gone, this is tried less and less often.

use std::time::{Duration, Instant};

use super::tries::Tries;

/// The longest time that those who were answered may take: a few rounds of an idle group.
const PATIENCE_MAX: Duration = Duration::from_millis(5);

/// What is known of those who were answered last.
#[derive(Debug, Default)]
pub(super) struct Cohort {
    /// How many they were with those who waited then, until they have been waited for.
    both: usize,
    answered_at: Option<Instant>,
    /// How long they may take: half of what their batch took, within bounds.
    patience: Duration,
    tries: Tries,
}

impl Cohort {
    /// A batch of so many callers is about to be answered, while `waiting` others wait.
    pub(super) fn answered(
        &mut self,
        callers: usize,
        waiting: usize,
        took: Duration,
        now: Instant,
    ) {
        self.both = callers + waiting;
        self.patience = (took / 2).min(PATIENCE_MAX);
        self.answered_at = Some(now);
    }

    /// For how many requests it is worth to wait, and how long, where `waiting` do; `None`: they
    /// leave at once.
    pub(super) fn wanted(&mut self, waiting: usize, now: Instant) -> Option<(usize, Duration)> {
        let since = now.saturating_duration_since(self.answered_at?);
        if waiting == 0 || since > self.patience {
            return None;
        }
        let wanted = (std::mem::take(&mut self.both) * 9).div_ceil(10);
        (waiting < wanted && self.tries.is_due()).then_some((wanted, self.patience))
    }

    /// Whether those that were waited for came in time.
    pub(super) fn came(&mut self, in_time: bool) {
        self.tries.tried(in_time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(2);

    fn answered(callers: usize, waiting: usize) -> (Cohort, Instant) {
        let (mut cohort, now) = (Cohort::default(), Instant::now());
        cohort.answered(callers, waiting, TOOK, now);
        (cohort, now)
    }

    #[test]
    fn those_who_were_answered_are_waited_for_once_and_not_for_long() {
        for (callers, waiting, wanted) in [(1, 1, 2), (25, 25, 45), (3, 1, 4), (40, 1, 37)] {
            let (mut cohort, now) = answered(callers, waiting);
            assert_eq!(cohort.wanted(waiting, now + TOOK / 2), Some((wanted, TOOK / 2)));
            assert_eq!(cohort.wanted(waiting, now), None);
        }
        // Some of them are back before anybody looks.
        let (mut cohort, now) = answered(25, 25);
        assert_eq!(cohort.wanted(31, now), Some((45, TOOK / 2)));
        // A lone client comes back; nobody waits; they are long gone; all but a few wait.
        let (mut cohort, now) = answered(1, 0);
        assert_eq!(cohort.wanted(1, now), None);
        let (mut cohort, now) = answered(25, 25);
        assert_eq!(cohort.wanted(0, now), None);
        assert_eq!(cohort.wanted(25, now + TOOK), None);
        let (mut cohort, now) = answered(2, 28);
        assert_eq!(cohort.wanted(28, now), None);
        assert_eq!(Cohort::default().wanted(5, now), None);
        // However long it took.
        cohort.answered(40, 10, Duration::from_secs(30), now);
        assert_eq!(cohort.wanted(10, now), Some((45, PATIENCE_MAX)));
    }

    #[test]
    fn who_does_not_come_back_is_waited_for_less_often() {
        let (mut cohort, now) = answered(25, 25);
        let mut waits = |comes: bool| {
            cohort.answered(25, 25, TOOK, now);
            let waits = cohort.wanted(25, now).is_some();
            if waits {
                cohort.came(comes);
            }
            waits
        };
        assert_eq!([true, true, false].map(&mut waits), [true, true, true]);
        assert_eq!([true, true, true, true].map(&mut waits), [false, false, true, true]);
    }
}
