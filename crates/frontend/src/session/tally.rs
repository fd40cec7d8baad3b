//! What the commands of one turn cost, until they are answered.
//!
//! Each request leaves its command's place in the table; replies come in the same order, so that
//! the two are matched at the turn's end. Costs a push a request and two looks at the clock a turn.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::metrics::Metrics;

/// A request for a command that is in no row of the table, or is counted already.
const NOBODY: u16 = 0x7fff;

/// Marks a request that was refused before it ran.
const REJECTED: u16 = 0x8000;

/// The requests of a turn.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Places in the table, in the order of the requests.
    taken: Vec<u16>,
    /// Requests that had a time of their own, and that time in nanoseconds.
    alone: SmallVec<[(usize, u64); 2]>,
    started: Option<Instant>,
}

/// What a turn took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turned {
    /// The time that requests without a time of their own share.
    pub(super) took: Duration,
    /// How many those are.
    pub(super) requests: usize,
}

impl Tally {
    /// Notes a request. Whether its command is another one than the last one's.
    #[inline]
    pub(super) fn take(&mut self, index: Option<u16>) -> bool {
        let index = index.unwrap_or(NOBODY);
        if self.taken.is_empty() {
            self.started = Some(Instant::now());
        }
        let is_new = self.taken.last() != Some(&index);
        self.taken.push(index);
        is_new
    }

    /// The last request was refused before it ran.
    #[cold]
    pub(super) fn reject(&mut self) {
        if let Some(last) = self.taken.last_mut() {
            *last |= REJECTED;
        }
    }

    /// The request whose reply comes at `place` had a time of its own.
    pub(super) fn set_alone(&mut self, place: usize, took: Duration) {
        self.alone.push((place, nanos(took)));
    }

    /// The last request has no reply in the turn.
    pub(super) fn finish_last(&mut self, metrics: &Metrics, took: Duration) {
        if let Some(index) = self.taken.pop() {
            metrics.add_commands(index, 1, nanos(took));
        }
    }

    /// The reply at `place` is an error.
    #[cold]
    pub(super) fn fail(&self, metrics: &Metrics, place: usize) {
        match self.taken.get(place) {
            Some(index) if index & REJECTED != 0 => metrics.add_rejected(index & !REJECTED),
            Some(index) => metrics.add_failed(*index),
            None => {}
        }
    }

    /// Counts the first `replies` requests, which are answered, and forgets them.
    pub(super) fn settle(&mut self, metrics: &Metrics, replies: usize) -> Turned {
        let replies = replies.min(self.taken.len());
        let elapsed = self.started.take().map_or(0, |started| nanos(started.elapsed()));
        let mut rest = elapsed;
        let mut sharing = replies as u64;
        for (place, nanos) in self.alone.drain(..) {
            if let Some(index) = self.taken.get_mut(place) {
                metrics.add_commands(*index, 1, nanos);
                *index = NOBODY;
                rest = rest.saturating_sub(nanos);
                sharing = sharing.saturating_sub(1);
            }
        }
        let share = rest / sharing.max(1);
        for run in self.taken[..replies].chunk_by(|a, b| a == b) {
            metrics.add_commands(run[0], run.len() as u64, share);
        }
        metrics.add_turn(replies.max(1));
        self.taken.drain(..replies);
        if !self.taken.is_empty() {
            self.started = Some(Instant::now());
        }
        Turned { took: Duration::from_nanos(rest), requests: usize::try_from(sharing).unwrap_or(0) }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bitroster_command::lookup;

    use super::*;
    use crate::catalog;

    fn index(name: &str) -> u16 {
        catalog::index(lookup(name.as_bytes()).unwrap())
    }

    #[test]
    fn requests_are_counted_with_their_replies() {
        let (mut tally, metrics) = (Tally::default(), Metrics::new());
        assert!(tally.take(Some(index("get"))));
        assert!(!tally.take(Some(index("get"))));
        assert!(tally.take(Some(index("set"))));
        tally.reject();
        tally.fail(&metrics, 1);
        tally.fail(&metrics, 2);
        tally.set_alone(0, Duration::from_secs(1));
        // One more is taken and not answered yet.
        tally.take(Some(index("quit")));
        assert_eq!(tally.settle(&metrics, 3).requests, 2);
        let figures: Vec<_> = metrics
            .commands()
            .map(|f| (f.name, f.calls, f.rejected, f.failed, f.nanos >= 1_000_000_000))
            .collect();
        assert_eq!(figures, [("get", 2, 0, 1, true), ("set", 0, 1, 0, false)]);
        tally.finish_last(&metrics, Duration::ZERO);
        assert_eq!(metrics.totals().commands, 3);
    }
}
