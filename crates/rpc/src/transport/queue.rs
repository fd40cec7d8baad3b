//! Requests that wait for their way to a group, and how many flights take them.

use std::{collections::VecDeque, time::Duration};

use bitroster_types::limits::{
    SENDER_FLIGHTS_MAX, SENDER_GATHER_BYTES_MAX, SENDER_LOAD_BYTES, SENDER_QUEUE_BYTES_MAX,
    SENDER_QUEUE_REQUESTS_MAX,
};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::cohort::Cohort;

/// Something that waits.
pub(super) trait Item {
    /// Bytes of its ops.
    fn bytes(&self) -> usize;

    /// Whether it may share a call with `other`, which came before it.
    fn goes_with(&self, other: &Self) -> bool;
}

/// Requests that wait for their way to a group.
#[derive(Debug)]
pub(super) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    /// Told when as many wait as are wanted.
    are_enough: Notify,
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<T>,
    bytes: usize,
    flights: usize,
    cohort: Cohort,
    /// A flight waits until so many wait.
    wanted: Option<usize>,
    /// What waits leaves with a flight that has waited for it.
    is_gathered: bool,
}

/// What to do after a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Start one more flight.
    Launch,
    /// Nothing; a flight that is on its way comes back for it.
    Waits,
    /// Nothing was pushed: too much waits.
    Full,
}

impl<T: Item> Queue<T> {
    pub(super) fn new() -> Self {
        let inner = Inner {
            waiting: VecDeque::new(),
            bytes: 0,
            flights: 0,
            cohort: Cohort::default(),
            wanted: None,
            is_gathered: false,
        };
        Self { inner: Mutex::new(inner), are_enough: Notify::new() }
    }

    /// Adds a request at the end.
    pub(super) fn push(&self, item: T) -> Pushed {
        let mut inner = self.inner.lock();
        let bytes = inner.bytes + item.bytes();
        let is_full = bytes > SENDER_QUEUE_BYTES_MAX && !inner.waiting.is_empty();
        if is_full || inner.waiting.len() >= SENDER_QUEUE_REQUESTS_MAX {
            return Pushed::Full;
        }
        inner.bytes = bytes;
        inner.waiting.push_back(item);
        let (waiting, is_much) = (inner.waiting.len(), bytes >= SENDER_GATHER_BYTES_MAX);
        if inner.wanted.take_if(|wanted| waiting >= *wanted || is_much).is_some() {
            self.are_enough.notify_waiters();
        }
        let is_load = inner.bytes >= SENDER_LOAD_BYTES && !inner.is_gathered;
        if inner.flights == 0 || is_load && inner.flights < SENDER_FLIGHTS_MAX {
            inner.flights += 1;
            Pushed::Launch
        } else {
            Pushed::Waits
        }
    }

    /// A batch of so many callers is about to be answered.
    pub(super) fn answered(&self, callers: usize, took: Duration) {
        let mut inner = self.inner.lock();
        let waiting = inner.waiting.len();
        inner.cohort.answered(callers, waiting, took, Instant::now().into_std());
    }

    /// Gives those who were answered last a moment to ask again, where a few more requests would
    /// make a much larger batch; see [`Cohort`].
    pub(super) async fn gather(&self) {
        let mut are_enough = std::pin::pin!(self.are_enough.notified());
        let (since, patience) = {
            let (mut inner, now) = (self.inner.lock(), Instant::now());
            if inner.wanted.is_some() || inner.bytes >= SENDER_GATHER_BYTES_MAX {
                return;
            }
            let waiting = inner.waiting.len();
            let Some((wanted, patience)) = inner.cohort.wanted(waiting, now.into_std()) else {
                return;
            };
            inner.wanted = Some(wanted);
            inner.is_gathered = true;
            are_enough.as_mut().enable();
            (now, patience)
        };
        // The timer is coarse: it may come a millisecond late.
        let have_come = timeout(patience, are_enough).await.is_ok();
        let mut inner = self.inner.lock();
        if !have_come {
            inner.wanted = None;
        }
        inner.cohort.came(have_come && since.elapsed() <= patience);
    }

    /// Requests that wait.
    pub(super) fn len(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// Takes what goes into one call: what came first and all that goes with it, up to `count_max`
    /// requests and `bytes_max` bytes. Empty: nothing waits, and the flight that asked has ended.
    pub(super) fn take(&self, count_max: usize, bytes_max: usize) -> Vec<T> {
        let mut inner = self.inner.lock();
        inner.is_gathered = false;
        if inner.wanted.take().is_some() {
            // Another flight takes them.
            self.are_enough.notify_waiters();
        }
        let (mut count, mut bytes) = (0, 0);
        if let Some(first) = inner.waiting.front() {
            for item in &inner.waiting {
                let is_over = count >= count_max || bytes + item.bytes() > bytes_max;
                if count > 0 && (is_over || !item.goes_with(first)) {
                    break;
                }
                count += 1;
                bytes += item.bytes();
            }
        } else {
            inner.flights -= 1;
        }
        inner.bytes -= bytes;
        inner.waiting.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Parcel(usize, u64);

    impl Item for Parcel {
        fn bytes(&self) -> usize {
            self.0
        }

        fn goes_with(&self, other: &Self) -> bool {
            self.1 == other.1
        }
    }

    #[test]
    fn what_waits_while_a_flight_is_out_goes_together() {
        let queue = Queue::new();
        assert_eq!(queue.push(Parcel(10, 1)), Pushed::Launch);
        assert_eq!(queue.take(100, 1000).len(), 1);
        for _ in 0..5 {
            assert_eq!(queue.push(Parcel(10, 1)), Pushed::Waits);
        }
        assert_eq!(queue.push(Parcel(10, 2)), Pushed::Waits);
        assert_eq!(queue.take(100, 35).len(), 3);
        assert_eq!(queue.take(100, 1000).len(), 2);
        assert_eq!(queue.take(100, 1000), [Parcel(10, 2)]);
        assert!(queue.take(100, 1000).is_empty());
        assert_eq!(queue.push(Parcel(10, 1)), Pushed::Launch);
    }

    #[test]
    fn more_flights_leave_only_with_a_load() {
        let queue = Queue::new();
        assert_eq!(queue.push(Parcel(10, 1)), Pushed::Launch);
        assert_eq!(queue.take(100, 1000).len(), 1);
        assert_eq!(queue.push(Parcel(SENDER_LOAD_BYTES - 1, 1)), Pushed::Waits);
        assert_eq!(queue.push(Parcel(1, 1)), Pushed::Launch);
        assert_eq!(queue.take(100, SENDER_LOAD_BYTES).len(), 2);
        assert_eq!(SENDER_FLIGHTS_MAX, 2, "both are out");
        assert_eq!(queue.push(Parcel(SENDER_LOAD_BYTES, 1)), Pushed::Waits);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gathered_leaves_with_the_flight_that_waited_for_it() {
        let queue = Queue::new();
        assert_eq!(queue.push(Parcel(10, 1)), Pushed::Launch);
        queue.answered(9, Duration::from_secs(60));
        {
            let mut gather = std::pin::pin!(queue.gather());
            assert!(futures_util::poll!(gather.as_mut()).is_pending());
            assert_eq!(queue.push(Parcel(SENDER_LOAD_BYTES, 1)), Pushed::Waits);
            assert_eq!(queue.push(Parcel(SENDER_GATHER_BYTES_MAX, 1)), Pushed::Waits);
            // The flight was told, and has not taken anything yet.
            assert_eq!(queue.push(Parcel(10, 1)), Pushed::Waits);
            gather.await;
        }
        assert_eq!(queue.take(100, usize::MAX).len(), 4);
        assert_eq!(queue.push(Parcel(SENDER_LOAD_BYTES, 1)), Pushed::Launch);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_again_at_once_go_with_those_who_wait() {
        let queue = Queue::new();
        for _ in 0..10 {
            queue.push(Parcel(10, 1));
        }
        assert_eq!(queue.take(5, 1000).len(), 5);
        queue.answered(5, Duration::from_secs(60));
        let come_back = async {
            // Nine of ten are enough.
            for _ in 0..4 {
                tokio::task::yield_now().await;
                queue.push(Parcel(10, 1));
            }
        };
        let started = Instant::now();
        let ((), ()) = tokio::join!(queue.gather(), come_back);
        assert_eq!((queue.take(100, 1000).len(), started.elapsed()), (9, Duration::ZERO));
        // Nobody comes, and what waits is not forgotten.
        queue.push(Parcel(10, 1));
        queue.answered(9, Duration::from_secs(60));
        queue.gather().await;
        assert!(started.elapsed() >= Duration::from_millis(5));
        assert_eq!(queue.take(100, 1000).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_others_once_much_waits_or_another_flight_has_left() {
        let queue = Queue::new();
        let answered = || {
            queue.push(Parcel(10, 1));
            queue.answered(9, Duration::from_secs(60));
        };
        answered();
        let mut first = std::pin::pin!(queue.gather());
        assert!(futures_util::poll!(&mut first).is_pending());
        queue.answered(9, Duration::from_secs(60));
        assert!(futures_util::poll!(std::pin::pin!(queue.gather())).is_ready(), "one is enough");
        assert_eq!(queue.take(100, 1000).len(), 1);
        assert!(futures_util::poll!(first).is_ready());
        answered();
        let mut much = std::pin::pin!(queue.gather());
        assert!(futures_util::poll!(&mut much).is_pending());
        queue.push(Parcel(SENDER_GATHER_BYTES_MAX, 1));
        assert!(futures_util::poll!(much).is_ready());
        queue.answered(9, Duration::from_secs(60));
        assert!(futures_util::poll!(std::pin::pin!(queue.gather())).is_ready());
    }

    #[test]
    fn one_that_is_too_long_for_company_goes_alone() {
        let queue = Queue::new();
        queue.push(Parcel(5000, 1));
        queue.push(Parcel(10, 1));
        assert_eq!(queue.take(100, 1000), [Parcel(5000, 1)]);
    }

    #[test]
    fn the_queue_is_bounded_by_bytes_and_by_count() {
        let queue = Queue::new();
        assert_ne!(queue.push(Parcel(SENDER_QUEUE_BYTES_MAX + 1, 1)), Pushed::Full);
        assert_eq!(queue.push(Parcel(1, 1)), Pushed::Full);
        let queue = Queue::new();
        for _ in 0..SENDER_QUEUE_REQUESTS_MAX {
            assert_ne!(queue.push(Parcel(1, 1)), Pushed::Full);
        }
        assert_eq!(queue.push(Parcel(1, 1)), Pushed::Full);
    }
}
