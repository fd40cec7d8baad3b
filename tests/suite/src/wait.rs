//! Polling for a condition.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a condition may take. Long, because CI machines stall; a test that passes never waits
/// this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `condition` gives a value.
///
/// # Panics
///
/// With `what` in the message, after a minute.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    let value = within(PATIENCE, Duration::from_millis(2), condition);
    value.unwrap_or_else(|| panic!("waited {PATIENCE:?} until {what}"))
}

/// Polls every `pause` until `condition` gives a value, for `patience` at the most.
pub fn within<T>(
    patience: Duration,
    pause: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if started.elapsed() >= patience {
            return None;
        }
        thread::park_timeout(pause);
    }
}

/// Lets time pass while something else works, such as a load whose duration is the point.
pub fn while_others_work(duration: Duration) {
    let () = within(duration, duration.min(Duration::from_millis(20)), || None).unwrap_or(());
}
