//! What the allocator has handed out, and the limit on it.
//!
//! jemalloc's figures are as of its last epoch; moving the epoch takes all arenas' locks, so it is
//! done at most ten times a second, and only when somebody asks or a limit must be kept.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bitroster_rpc::{Links, PeerHost};
use parking_lot::Mutex;
use tikv_jemalloc_ctl::{epoch, stats};
use tokio::time::interval;
use tracing::{info, warn};

/// How old a figure may be.
const FIGURE_AGE_MAX: Duration = Duration::from_millis(100);

/// The allocator's figures and `maxmemory`.
#[derive(Debug)]
pub(crate) struct Memory {
    limit_bytes: AtomicU64,
    is_over: AtomicBool,
    refuses: Arc<AtomicBool>,
    others: OnceLock<Others>,
    last: Mutex<Last>,
}

/// The other nodes of the cluster: what they say, and who tells them.
struct Others {
    are_over: Arc<AtomicBool>,
    host: Arc<PeerHost>,
}

impl std::fmt::Debug for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Others").field("are_over", &self.are_over).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Last {
    taken: Option<Instant>,
    allocated_bytes: u64,
    allocated_bytes_max: u64,
}

impl Memory {
    /// `limit_bytes` of 0 is no limit.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes: AtomicU64::new(limit_bytes),
            is_over: AtomicBool::default(),
            refuses: Arc::default(),
            others: OnceLock::new(),
            last: Mutex::new(Last { taken: None, allocated_bytes: 0, allocated_bytes_max: 0 }),
        }
    }

    /// Whether more is allocated than the limit allows, here or on another node that is linked:
    /// what takes memory is to be refused. Kept up to date by [`watch`](Self::watch).
    pub(crate) fn refuses(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.refuses)
    }

    /// From now on the other nodes count too, and learn of this one.
    pub(crate) fn join(&self, links: &Links, host: Arc<PeerHost>) {
        self.others.get_or_init(|| Others { are_over: links.is_over_memory(), host });
    }

    /// The limit in bytes; 0 for none.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Relaxed)
    }

    /// Changes the limit, at once.
    pub(crate) fn set_limit_bytes(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Relaxed);
        self.check();
    }

    /// Allocated bytes now, and the most seen so far. At most a tenth of a second old.
    pub(crate) fn allocated_bytes(&self) -> (u64, u64) {
        let mut last = self.last.lock();
        if last.taken.is_none_or(|taken| taken.elapsed() >= FIGURE_AGE_MAX) {
            last.taken = Some(Instant::now());
            last.allocated_bytes = read_allocated().unwrap_or(last.allocated_bytes);
            last.allocated_bytes_max = last.allocated_bytes_max.max(last.allocated_bytes);
        }
        (last.allocated_bytes, last.allocated_bytes_max)
    }

    /// Keeps [`refuses`](Self::refuses) up to date, for ever: a task.
    pub(crate) async fn watch(&self) {
        let mut ticks = interval(FIGURE_AGE_MAX);
        loop {
            ticks.tick().await;
            self.check();
        }
    }

    fn check(&self) {
        let limit_bytes = self.limit_bytes();
        let allocated_bytes = if limit_bytes == 0 { 0 } else { self.allocated_bytes().0 };
        let is_over = limit_bytes != 0 && allocated_bytes > limit_bytes;
        if self.is_over.swap(is_over, Relaxed) != is_over {
            if is_over {
                warn!(allocated_bytes, limit_bytes, "memory is above maxmemory: writes refused");
            } else {
                info!(allocated_bytes, limit_bytes, "memory is below maxmemory again");
            }
        }
        let others = self.others.get();
        if let Some(Others { host, .. }) = others {
            host.set_over_memory(is_over);
        }
        let are_others_over = others.is_some_and(|others| others.are_over.load(Relaxed));
        self.refuses.store(is_over || are_others_over, Relaxed);
    }
}

fn read_allocated() -> Option<u64> {
    epoch::advance().ok()?;
    stats::allocated::read().ok().map(|bytes| bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_what_is_allocated_is_noticed_at_once() {
        let memory = Memory::new(0);
        let is_over = memory.refuses();
        memory.check();
        assert!(!is_over.load(Relaxed));
        let (now, most) = memory.allocated_bytes();
        assert!(now > 0 && most >= now);
        memory.set_limit_bytes(1);
        assert!(is_over.load(Relaxed));
        memory.set_limit_bytes(u64::MAX);
        assert!(!is_over.load(Relaxed));
    }
}
