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
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} until {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}
