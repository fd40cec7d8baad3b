//! CLIENT PAUSE and UNPAUSE: holds clients back for a while.
//!
//! A held client waits at its next command; what it has sent before is answered. The pause is this
//! node's own: clients of other nodes go on.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use bitroster_command::{CommandError, Reply, parse_i64};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::wrong_arity;

/// A pause and its end.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// Whether there may be one; read for every turn.
    is_set: AtomicBool,
    until: Mutex<Option<Held>>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    until: Instant,
    /// Reads too.
    all: bool,
}

impl Pause {
    /// Whether there may be a pause.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Relaxed)
    }

    /// Until when a command is held; a pause that is over is forgotten.
    pub(crate) fn holds(&self, is_write: bool) -> Option<Instant> {
        let mut held = self.until.lock();
        let Held { until, all } = (*held)?;
        if until <= Instant::now() {
            *held = None;
            self.is_set.store(false, Relaxed);
            return None;
        }
        (all || is_write).then_some(until)
    }

    /// Begins a pause; one that holds more, or holds longer, goes on to do so, as in Redis.
    fn begin(&self, millis: u64, all: bool) {
        let now = Instant::now();
        // A year is for ever.
        let span = Duration::from_millis(millis).min(Duration::from_secs(366 * 86_400));
        let mut held = self.until.lock();
        let running = held.filter(|held| held.until > now);
        *held = Some(Held {
            until: (now + span).max(running.map_or(now, |held| held.until)),
            all: all || running.is_some_and(|held| held.all),
        });
        self.is_set.store(true, Relaxed);
        drop(held);
        self.changed.notify_waiters();
    }

    fn end(&self) {
        *self.until.lock() = None;
        self.is_set.store(false, Relaxed);
        self.changed.notify_waiters();
    }

    /// Waits until a command is not held any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait.
    pub(crate) async fn wait(&self, is_write: bool) {
        loop {
            let changed = self.changed.notified();
            let Some(until) = self.holds(is_write) else { return };
            if timeout_at(until, changed).await.is_err() {
                continue;
            }
        }
    }

    /// `CLIENT PAUSE timeout [WRITE|ALL]`
    pub(super) fn pause(&self, args: &[Bytes]) -> Result<Reply, CommandError> {
        let (timeout, mode) = match args {
            [timeout] => (timeout, None),
            [timeout, mode] => (timeout, Some(mode.to_ascii_lowercase())),
            _ => return Err(wrong_arity("client|pause")),
        };
        let all = match mode.as_deref() {
            None | Some(b"all") => true,
            Some(b"write") => false,
            Some(_) => {
                return Err(CommandError::Text("ERR CLIENT PAUSE mode must be WRITE or ALL"));
            }
        };
        let millis = parse_i64(timeout)
            .ok_or(CommandError::Text("ERR timeout is not an integer or out of range"))?;
        let millis =
            u64::try_from(millis).map_err(|_| CommandError::Text("ERR timeout is negative"))?;
        self.begin(millis, all);
        Ok(Reply::Ok)
    }

    /// `CLIENT UNPAUSE`
    pub(super) fn unpause(&self) -> Reply {
        self.end();
        Reply::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_by_time_or_by_word() {
        let pause = Pause::default();
        assert!(!pause.is_set() && pause.holds(true).is_none());
        pause.begin(1000, false);
        assert!(pause.holds(false).is_none() && pause.holds(true).is_some());
        pause.begin(10, true);
        assert!(pause.holds(false).is_some());
        let started = Instant::now();
        pause.wait(true).await;
        assert_eq!(started.elapsed().as_millis(), 1000);
        assert!(!pause.is_set());
        pause.begin(1_000_000, true);
        let (_, reply) = tokio::join!(pause.wait(false), async { pause.unpause() });
        assert_eq!(reply, Reply::Ok);
    }
}
