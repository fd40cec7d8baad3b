//! Log time and deadlines.

use std::time::{Duration, Instant};

/// Milliseconds since the Unix epoch, as carried in log entries.
///
/// Only ever compared with other such times of the same group, whose log makes them grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// The instant after which nobody waits for an answer any more.
///
/// Made once, at the edge, and handed down; no hop has a time-out of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline at this instant.
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The instant itself.
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// The time left as seen at `now`; zero once passed.
    pub fn left(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }
}
