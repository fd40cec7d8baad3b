//! In which order the pool's jobs begin. No threads, no time.
//!
//! First what entries being applied wait for, then values to free, then reads. Of these the small
//! ones go before the large ones, until a large one has let pass as many bytes as it has itself;
//! and large ones never have all threads if there are two. So a small job waits for at most one
//! large job, and a large one for about as long again as it takes.

use std::collections::{BTreeMap, VecDeque};

use bitroster_types::limits::{WORK_SMALL_BYTES_MAX, WORK_TURN_BYTES_MAX};

/// A read's job that waits, by the order of its coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Jobs that wait. All calls cost O(log n).
#[derive(Debug)]
pub(super) struct Lanes<J> {
    /// Jobs of entries being applied: at most one a group.
    urgent: VecDeque<J>,
    discards: VecDeque<J>,
    small: BTreeMap<Ticket, Costed<J>>,
    large: BTreeMap<Ticket, Costed<J>>,
    tickets: u64,
    /// Bytes of small jobs that went before the first large one.
    passed_bytes: u64,
    large_running: usize,
    /// The most large jobs that run at once.
    large_running_max: usize,
}

#[derive(Debug)]
struct Costed<J> {
    job: J,
    bytes: u64,
}

impl<J> Lanes<J> {
    /// Empty ones. At most `large_running_max` large jobs run at once.
    pub(super) fn new(large_running_max: usize) -> Self {
        Self {
            urgent: VecDeque::new(),
            discards: VecDeque::new(),
            small: BTreeMap::new(),
            large: BTreeMap::new(),
            tickets: 0,
            passed_bytes: 0,
            large_running: 0,
            large_running_max,
        }
    }

    /// All that wait.
    pub(super) fn len(&self) -> usize {
        self.urgent.len() + self.discards.len() + self.small.len() + self.large.len()
    }

    /// Whether a read's job waits.
    pub(super) fn has_waiting(&self) -> bool {
        !self.small.is_empty() || !self.large.is_empty()
    }

    /// Values that wait to be freed.
    pub(super) fn discards(&self) -> usize {
        self.discards.len()
    }

    /// Adds what an entry being applied needs.
    pub(super) fn push_urgent(&mut self, job: J) {
        self.urgent.push_back(job);
    }

    /// Adds what frees a value.
    pub(super) fn push_discard(&mut self, job: J) {
        self.discards.push_back(job);
    }

    /// Adds a read's job that costs `bytes`.
    pub(super) fn push(&mut self, bytes: u64, job: J) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let lane = if bytes <= WORK_SMALL_BYTES_MAX { &mut self.small } else { &mut self.large };
        lane.insert(ticket, Costed { job, bytes });
        ticket
    }

    /// Takes a read's job back; `None` if it has begun.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<J> {
        let withdrawn = self.small.remove(&ticket).or_else(|| self.large.remove(&ticket));
        withdrawn.map(|costed| costed.job)
    }

    /// The next job to begin, and whether it is a large one: [`Lanes::end_large`] must then follow
    /// its end. `None` if none waits, or only large ones and as many run as may.
    pub(super) fn take(&mut self) -> Option<(J, bool)> {
        if let Some(job) = self.urgent.pop_front().or_else(|| self.discards.pop_front()) {
            return Some((job, false));
        }
        if self.is_large_next() {
            let (_, taken) = self.large.pop_first()?;
            self.passed_bytes = 0;
            self.large_running += 1;
            return Some((taken.job, true));
        }
        let (_, taken) = self.small.pop_first()?;
        if self.large.is_empty() {
            self.passed_bytes = 0;
        } else {
            self.passed_bytes = self.passed_bytes.saturating_add(taken.bytes);
        }
        Some((taken.job, false))
    }

    /// A large job ended.
    pub(super) fn end_large(&mut self) {
        self.large_running -= 1;
    }

    fn is_large_next(&self) -> bool {
        let Some((_, first)) = self.large.first_key_value() else { return false };
        let had_turn = self.passed_bytes >= first.bytes.min(WORK_TURN_BYTES_MAX);
        self.large_running < self.large_running_max && (self.small.is_empty() || had_turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: u64 = WORK_SMALL_BYTES_MAX;
    const LARGE: u64 = 4 * WORK_SMALL_BYTES_MAX;

    fn order(lanes: &mut Lanes<&'static str>) -> Vec<&'static str> {
        let mut order = Vec::new();
        while let Some((job, is_large)) = lanes.take() {
            order.push(job);
            if is_large {
                lanes.end_large();
            }
        }
        order
    }

    #[test]
    fn what_entries_wait_for_comes_first_then_what_is_to_be_freed() {
        let mut lanes = Lanes::new(1);
        lanes.push(LARGE, "large");
        lanes.push(SMALL, "small");
        lanes.push_discard("free");
        lanes.push_urgent("write");
        assert_eq!(lanes.len(), 4);
        assert_eq!(order(&mut lanes), ["write", "free", "small", "large"]);
        assert_eq!(lanes.len(), 0);
    }

    #[test]
    fn a_large_job_lets_as_many_bytes_pass_as_it_has_itself() {
        let mut lanes = Lanes::new(1);
        lanes.push(LARGE, "large");
        for _ in 0..6 {
            lanes.push(SMALL, "small");
        }
        lanes.push(LARGE, "second");
        let expected = ["small", "small", "small", "small", "large", "small", "small", "second"];
        assert_eq!(order(&mut lanes), expected);
    }

    #[test]
    fn the_largest_job_lets_no_more_pass_than_a_turn() {
        let mut lanes = Lanes::new(1);
        lanes.push(u64::MAX, "large");
        let turn = usize::try_from(WORK_TURN_BYTES_MAX / SMALL).unwrap();
        for _ in 0..2 * turn {
            lanes.push(SMALL, "small");
        }
        assert_eq!(order(&mut lanes).iter().position(|job| *job == "large"), Some(turn));
    }

    #[test]
    fn large_jobs_leave_a_thread_to_the_small_ones() {
        let mut lanes = Lanes::new(1);
        lanes.push(LARGE, "first");
        lanes.push(LARGE, "second");
        assert_eq!(lanes.take(), Some(("first", true)));
        assert_eq!(lanes.take(), None);
        lanes.push(SMALL, "small");
        assert_eq!(lanes.take(), Some(("small", false)));
        lanes.end_large();
        assert_eq!(lanes.take(), Some(("second", true)));
    }

    #[test]
    fn a_job_is_withdrawn_once_and_only_before_it_begins() {
        let mut lanes = Lanes::new(1);
        let (small, large) = (lanes.push(SMALL, "small"), lanes.push(LARGE, "large"));
        assert_eq!(lanes.withdraw(large), Some("large"));
        assert_eq!(lanes.withdraw(large), None);
        assert_eq!(lanes.take(), Some(("small", false)));
        assert_eq!(lanes.withdraw(small), None);
        assert!(!lanes.has_waiting());
    }
}
