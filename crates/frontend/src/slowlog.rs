//! The slow log: the requests that took longest to answer.
//!
//! Redis measures a command while nothing else runs. Here a request is slow where its *turn* was:
//! from the moment that it was taken to the moment that its reply was ready, waiting for groups and
//! their disks included. Of a pipeline that was slow as a whole the first request is kept, with a
//! note of how many came with it. Passwords are never kept.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use bitroster_types::limits::{
    SLOWLOG_ARG_BYTES_MAX, SLOWLOG_ARGS_MAX, SLOWLOG_ENTRIES_DEFAULT, SLOWLOG_USECS_DEFAULT,
};
use bytes::Bytes;
use parking_lot::Mutex;

const REDACTED: &[u8] = b"(redacted)";

/// One slow request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    /// Unix time at which it was answered.
    pub(crate) time_secs: u64,
    pub(crate) micros: u64,
    /// Cut and without passwords.
    pub(crate) args: Vec<Bytes>,
    pub(crate) addr: String,
    pub(crate) client_name: String,
}

/// The newest slow requests.
#[derive(Debug)]
pub(crate) struct SlowLog {
    threshold_usecs: AtomicI64,
    entries_max: AtomicUsize,
    next_id: AtomicU64,
    entries: Mutex<VecDeque<Entry>>,
}

impl Default for SlowLog {
    fn default() -> Self {
        Self {
            threshold_usecs: AtomicI64::new(SLOWLOG_USECS_DEFAULT),
            entries_max: AtomicUsize::new(SLOWLOG_ENTRIES_DEFAULT),
            next_id: AtomicU64::new(0),
            entries: Mutex::default(),
        }
    }
}

impl SlowLog {
    /// Microseconds from which on a request is slow; negative where none is.
    pub(crate) fn threshold_usecs(&self) -> i64 {
        self.threshold_usecs.load(Relaxed)
    }

    pub(crate) fn set_threshold_usecs(&self, usecs: i64) {
        self.threshold_usecs.store(usecs, Relaxed);
    }

    pub(crate) fn entries_max(&self) -> usize {
        self.entries_max.load(Relaxed)
    }

    pub(crate) fn set_entries_max(&self, entries: usize) {
        self.entries_max.store(entries, Relaxed);
        self.entries.lock().truncate(entries);
    }

    /// Whether a request that took this long is slow.
    #[inline]
    pub(crate) fn takes(&self, took: Duration) -> bool {
        u128::try_from(self.threshold_usecs()).is_ok_and(|usecs| took.as_micros() >= usecs)
    }

    /// Keeps a request; `more` is how many others were answered with it.
    pub(crate) fn add(
        &self,
        args: &[&[u8]],
        more: usize,
        took: Duration,
        now: Duration,
        (addr, client_name): (String, String),
    ) {
        let entries_max = self.entries_max();
        if entries_max == 0 {
            return;
        }
        let mut kept = kept_args(args);
        if more > 0 {
            kept.push(format!("... ({more} more requests in the pipeline)").into());
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut entries = self.entries.lock();
        entries.push_front(Entry {
            id: self.next_id.fetch_add(1, Relaxed),
            time_secs: now.as_secs(),
            micros,
            args: kept,
            addr,
            client_name,
        });
        entries.truncate(entries_max);
    }

    /// The newest `count`, newest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<Entry> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }
}

/// The arguments as they are kept. Redis: `slowlogCreateEntry` in `slowlog.c`.
fn kept_args(args: &[&[u8]]) -> Vec<Bytes> {
    let shown = if args.len() > SLOWLOG_ARGS_MAX { SLOWLOG_ARGS_MAX - 1 } else { args.len() };
    let mut kept: Vec<Bytes> =
        (0..shown)
            .map(|place| {
                if is_secret(args, place) { Bytes::from_static(REDACTED) } else { cut(args[place]) }
            })
            .collect();
    if shown < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - shown).into());
    }
    kept
}

fn cut(arg: &[u8]) -> Bytes {
    let Some(more) = arg.len().checked_sub(SLOWLOG_ARG_BYTES_MAX).filter(|more| *more > 0) else {
        return Bytes::copy_from_slice(arg);
    };
    let mut kept = arg[..SLOWLOG_ARG_BYTES_MAX].to_vec();
    kept.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
    kept.into()
}

/// Whether the argument at `place` may tell who may do what.
fn is_secret(args: &[&[u8]], place: usize) -> bool {
    let is = |at: usize, word: &str| {
        args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    if is(0, "auth") {
        return place > 0;
    }
    if is(0, "hello") {
        return (1..place).any(|at| is(at, "auth") && place <= at + 2);
    }
    if is(0, "acl") {
        return place > 1 && (is(1, "setuser") || is(1, "deluser") || is(1, "getuser"));
    }
    if is(0, "config") && is(1, "set") {
        return place > 2 && place % 2 == 1 && names_a_secret(args[place - 1]);
    }
    (is(0, "migrate") || is(0, "replicaof") || is(0, "slaveof")) && place > 2
}

/// Whether a setting's value is a secret.
fn names_a_secret(setting: &[u8]) -> bool {
    let setting = setting.to_ascii_lowercase();
    let has = |word: &[u8]| setting.windows(word.len()).any(|part| part == word);
    has(b"pass") || has(b"auth") || has(b"secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(request: &str) -> String {
        let args: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let kept = kept_args(&args);
        let kept: Vec<_> = kept.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
        kept.join(" ")
    }

    #[test]
    fn secrets_are_not_kept() {
        assert_eq!(kept("AUTH s"), "AUTH (redacted)");
        assert_eq!(kept("auth me s"), "auth (redacted) (redacted)");
        assert_eq!(
            kept("HELLO 3 AUTH me s SETNAME n"),
            "HELLO 3 AUTH (redacted) (redacted) SETNAME n"
        );
        assert_eq!(
            kept("CONFIG SET timeout 5 requirepass s"),
            "CONFIG SET timeout 5 requirepass (redacted)"
        );
        assert_eq!(kept("acl SETUSER me >s"), "acl SETUSER (redacted) (redacted)");
        assert_eq!(kept("ACL WHOAMI"), "ACL WHOAMI");
        assert_eq!(kept("SETBIT auth 1 1"), "SETBIT auth 1 1");
    }

    #[test]
    fn long_requests_are_cut_as_redis_cuts_them() {
        let long = "x".repeat(130);
        assert_eq!(kept(&long), format!("{}... (2 more bytes)", "x".repeat(128)));
        let many = ["a"; 33].join(" ");
        assert_eq!(kept(&many), format!("{} ... (2 more arguments)", ["a"; 31].join(" ")));
        assert_eq!(kept(&["a"; 32].join(" ")), ["a"; 32].join(" "));
    }

    #[test]
    fn the_newest_stay_and_none_are_slow_below_the_threshold() {
        let log = SlowLog::default();
        assert!(!log.takes(Duration::from_millis(9)) && log.takes(Duration::from_millis(10)));
        log.set_threshold_usecs(-1);
        assert!(!log.takes(Duration::from_secs(1000)));
        log.set_entries_max(2);
        for request in [b"A", b"B", b"C"] {
            let who = || ("1:1".to_owned(), String::new());
            log.add(&[request], 3, Duration::from_secs(1), Duration::from_secs(9), who());
        }
        let names: Vec<_> = log.newest(10).iter().map(|entry| entry.args[0].clone()).collect();
        assert_eq!(names, ["C", "B"]);
        assert_eq!(log.newest(1)[0].args[1], "... (3 more requests in the pipeline)");
        log.clear();
        assert_eq!(log.len(), 0);
    }
}
