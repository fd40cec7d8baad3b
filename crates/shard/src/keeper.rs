//! Keeps the log short: snapshots by bytes of log, one group at a time.
//!
//! A group is due when its log since the last snapshot outgrows both a fixed minimum and a share of
//! its dataset: half of it, so that snapshots cost no more than twice what the log cost; less where
//! that would be too much to keep in memory and to read at the next start. Groups that
//! write little would hold the oldest log file for ever; once the log takes too much disk, those
//! are due too. Every replica takes its own. A little of the log that a snapshot covers is kept for
//! followers that lag, unless the disk is short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitroster_types::limits::WAL_FILE_BYTES_DEFAULT;
use bitroster_wal::Wal;
use tokio::sync::Notify;

use crate::group::Group;
use crate::shard::Groups;

/// A log longer than this is not worth its memory and the time to read it at the next start, even
/// beside a large dataset; an eighth of a very large one is.
const LOG_BYTES_ENOUGH: u64 = 256 << 20;

/// Log on the disk, in multiples of what all groups together may hold before they are due, beyond
/// which the groups that hold the oldest file are due.
const DISK_FACTOR: u64 = 2;

/// Log on the disk that is never too much: files that are prepared, and one that fills.
const DISK_SLACK_BYTES: u64 = 4 * WAL_FILE_BYTES_DEFAULT;

/// How many bytes of one group's log are in memory.
#[derive(Debug)]
pub(crate) struct LogMeter {
    bytes: AtomicU64,
    /// The keeper is woken past this.
    limit: AtomicU64,
    wake: Arc<Notify>,
}

impl LogMeter {
    /// An empty log's meter; wakes the keeper when the log outgrows `limit` bytes.
    pub(crate) fn new(limit: u64, wake: Arc<Notify>) -> Arc<Self> {
        let (bytes, limit) = (AtomicU64::new(0), AtomicU64::new(limit));
        Arc::new(Self { bytes, limit, wake })
    }

    /// Sets the log's length.
    pub(crate) fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        if bytes > self.limit.load(Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    /// The log's length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Sets the limit, and tells whether the log is longer.
    fn exceeds(&self, limit: u64) -> bool {
        self.limit.store(limit, Ordering::Relaxed);
        self.bytes() > limit
    }
}

/// The task that takes snapshots of a node's groups.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Woken by the meters.
    pub(crate) wake: Arc<Notify>,
    /// All groups of the node.
    pub(crate) groups: Arc<Groups>,
    /// The log they share.
    pub(crate) wal: Arc<Wal>,
    /// No group is due before its log has this many bytes.
    pub(crate) log_bytes_min: u64,
}

impl Keeper {
    /// Takes snapshots as they are due. Never returns.
    pub(crate) async fn run(self) {
        loop {
            self.wake.notified().await;
            let mut allowed = 0;
            for group in self.groups.all() {
                let limit = log_bytes_limit(group.dataset_bytes()).max(self.log_bytes_min);
                allowed += limit;
                if group.meter().exceeds(limit) {
                    snapshot(&group, true).await;
                }
            }
            if self.wal.stats().disk_bytes > DISK_SLACK_BYTES + DISK_FACTOR * allowed {
                let holders = self.wal.holders();
                let holds =
                    |group: &Arc<Group>| holders.iter().any(|holder| holder.group == group.id());
                for group in self.groups.all().into_iter().filter(holds) {
                    snapshot(&group, false).await;
                }
            }
        }
    }
}

/// How long the log of a dataset may be.
fn log_bytes_limit(dataset_bytes: u64) -> u64 {
    (dataset_bytes / 2).min(LOG_BYTES_ENOUGH.max(dataset_bytes / 8))
}

async fn snapshot(group: &Group, keep: bool) {
    if let Err(error) = group.snapshot(keep).await {
        // The replica has stopped, which is told where it happened.
        tracing::debug!(group = %group.id(), %error, "no snapshot");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_grows_with_the_dataset_ever_more_slowly() {
        const MIB: u64 = 1 << 20;
        assert_eq!(log_bytes_limit(0), 0);
        assert_eq!(log_bytes_limit(100 * MIB), 50 * MIB);
        assert_eq!(log_bytes_limit(1000 * MIB), LOG_BYTES_ENOUGH);
        assert_eq!(log_bytes_limit(8000 * MIB), 1000 * MIB);
    }
}
