//! Who leads a group, and how much of its log is applied here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitroster_types::{NodeId, ReplicaId};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What a replica is in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    /// It takes itself for the leader.
    pub(crate) leads: bool,
    /// It leads, and nobody else votes.
    pub(crate) alone: bool,
    /// Who leads, as far as known.
    pub(crate) leader: Option<(ReplicaId, NodeId)>,
    /// The newest term known.
    pub(crate) term: u64,
}

/// Told of each entry that is applied. Held by the state machine: those who listen learn that the
/// replica has stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Applies {
    index: watch::Sender<u64>,
    term: Arc<AtomicU64>,
}

/// How much of its log a replica has applied.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    index: watch::Receiver<u64>,
    term: Arc<AtomicU64>,
}

impl Applies {
    /// Nothing is applied yet.
    pub(crate) fn new() -> (Self, Applied) {
        let (sender, receiver) = watch::channel(0);
        let term = Arc::<AtomicU64>::default();
        (Self { index: sender, term: term.clone() }, Applied { index: receiver, term })
    }

    /// All up to this entry is applied.
    pub(crate) fn tell(&self, term: u64, index: u64) {
        self.term.store(term, Ordering::Release);
        self.index.send_replace(index);
    }
}

impl Applied {
    /// Index of the last applied entry; 0 where there is none.
    pub(crate) fn index(&self) -> u64 {
        *self.index.borrow()
    }

    /// Term of the last applied entry; 0 where there is none, or only the founding.
    pub(crate) fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// Changes with every applied entry.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.index.clone()
    }
}

/// When a follower knew last that it had applied all that its leader had committed.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    fresh: Option<Instant>,
    /// When the leader was last heard of.
    heard: Option<Instant>,
    /// The leader had committed this much at that time.
    told: Option<(u64, Instant)>,
}

impl Freshness {
    /// At `at` the leader had committed the log up to `committed`.
    pub(crate) fn tell(&self, committed: u64, at: Instant, applied: u64) {
        let mut inner = self.inner.lock();
        inner.heard = Some(at);
        inner.settle(applied);
        // An older word that is not reached yet is kept: it is reached first.
        inner.told.get_or_insert((committed, at));
        inner.settle(applied);
    }

    /// At `at` all was applied.
    pub(crate) fn set(&self, at: Instant) {
        let mut inner = self.inner.lock();
        inner.fresh = inner.fresh.max(Some(at));
    }

    /// How long ago a leader's log was taken; `None` if it never was.
    pub(crate) fn silence(&self) -> Option<Duration> {
        self.inner.lock().heard.map(|heard| heard.elapsed())
    }

    /// How long ago all was applied, by what is known now; `None` if it never was.
    pub(crate) fn age(&self, applied: u64) -> Option<Duration> {
        let mut inner = self.inner.lock();
        inner.settle(applied);
        inner.fresh.map(|fresh| fresh.elapsed())
    }
}

impl Inner {
    fn settle(&mut self, applied: u64) {
        if let Some((_, at)) = self.told.take_if(|(committed, _)| applied >= *committed) {
            self.fresh = self.fresh.max(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_is_fresh_as_of_the_word_that_it_has_caught_up_with() {
        let freshness = Freshness::default();
        let start = Instant::now();
        assert_eq!(freshness.age(100), None);
        freshness.tell(10, start, 5);
        freshness.tell(20, start + Duration::from_secs(1), 9);
        assert_eq!(freshness.age(9), None);
        assert!(freshness.age(10).is_some());
        let fresh = || freshness.inner.lock().fresh;
        assert_eq!(fresh(), Some(start));
        freshness.tell(20, start + Duration::from_secs(2), 20);
        assert_eq!(fresh(), Some(start + Duration::from_secs(2)));
        freshness.set(start);
        assert_eq!(fresh(), Some(start + Duration::from_secs(2)));
    }
}
