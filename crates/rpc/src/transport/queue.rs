//! Requests that wait for their way to a group, and how many flights take them.

use std::collections::VecDeque;

use bitroster_types::limits::{
    SENDER_FLIGHTS_MAX, SENDER_LOAD_BYTES, SENDER_QUEUE_BYTES_MAX, SENDER_QUEUE_REQUESTS_MAX,
};
use parking_lot::Mutex;

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
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<T>,
    bytes: usize,
    flights: usize,
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
    pub(super) const fn new() -> Self {
        Self { inner: Mutex::new(Inner { waiting: VecDeque::new(), bytes: 0, flights: 0 }) }
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
        let is_load = inner.bytes >= SENDER_LOAD_BYTES;
        if inner.flights == 0 || is_load && inner.flights < SENDER_FLIGHTS_MAX {
            inner.flights += 1;
            Pushed::Launch
        } else {
            Pushed::Waits
        }
    }

    /// Requests that wait.
    pub(super) fn len(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// Takes what goes into one call: what came first and all that goes with it, up to `count_max`
    /// requests and `bytes_max` bytes. Empty: nothing waits, and the flight that asked has ended.
    pub(super) fn take(&self, count_max: usize, bytes_max: usize) -> Vec<T> {
        let mut inner = self.inner.lock();
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
