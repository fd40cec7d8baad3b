//! What a shard counts: plain cells, a group's and a node's, which a scrape reads.
//!
//! A group's cells go with its replica, a peer's with the last replica that talks to it, so that a
//! scrape shows what is here now.

mod publish;
mod survey;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use bitroster_telemetry::metric::Histogram;
use bitroster_types::NodeId;
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use parking_lot::Mutex;

pub(crate) use self::publish::{publish, publish_disk};
pub(crate) use self::survey::{Surveyed, walk};

/// What is done with a snapshot: the label `op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotOp {
    /// Written here.
    Build,
    /// Made the state here; it came from a leader.
    Install,
    /// Sent to a follower, to its end.
    Send,
}

/// One group's counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Entries that were proposed, applied and answered.
    pub(crate) proposals_applied: AtomicU64,
    /// Entries that were refused before they reached the log.
    pub(crate) proposals_refused: AtomicU64,
    /// Entries whose outcome nobody learnt.
    pub(crate) proposals_unknown: AtomicU64,
    /// Ops proposed here and applied.
    pub(crate) ops: AtomicU64,
    /// Times that another replica than before was seen to lead.
    pub(crate) leader_changes: AtomicU64,
    /// From the proposal of an entry to its outcomes.
    pub(crate) proposal_duration: Histogram,
    /// One question to the majority.
    pub(crate) read_index_duration: Histogram,
    /// Applying one entry, heavy work included.
    pub(crate) apply_duration: Histogram,
    snapshots: [AtomicU64; 3],
    /// Bytes of the last snapshot written.
    pub(crate) snapshot_bytes: AtomicU64,
    /// What all groups of the node count together.
    pub(crate) node: Arc<NodeMetrics>,
}

/// Adds one.
pub(crate) fn count(cell: &AtomicU64) {
    cell.fetch_add(1, Relaxed);
}

impl Metrics {
    /// A group's cells.
    pub(crate) fn new(node: Arc<NodeMetrics>) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self {
            proposals_applied: zero(),
            proposals_refused: zero(),
            proposals_unknown: zero(),
            ops: zero(),
            leader_changes: zero(),
            proposal_duration: Histogram::of_seconds(),
            read_index_duration: Histogram::of_seconds(),
            apply_duration: Histogram::of_seconds(),
            snapshots: Default::default(),
            snapshot_bytes: zero(),
            node,
        })
    }

    /// Counts a snapshot that was written, sent or taken, and the time that it took.
    pub(crate) fn snapshot_done(&self, op: SnapshotOp, took: std::time::Duration) {
        count(&self.snapshots[op as usize]);
        if let Some(durations) = self.node.snapshot_durations.get(op as usize) {
            durations.record_time(took);
        }
    }
}

/// What all groups of a node count together.
#[derive(Debug)]
pub(crate) struct NodeMetrics {
    /// Ops in one entry.
    pub(crate) batch_ops: Histogram,
    /// Of those written and those taken.
    snapshot_durations: [Histogram; 2],
    peers: Mutex<BTreeMap<NodeId, Weak<PeerMetrics>>>,
}

/// What is counted of the messages to one node.
#[derive(Debug)]
pub(crate) struct PeerMetrics {
    /// From sending entries or a heartbeat to the answer.
    pub(crate) round_trip: Histogram,
    /// It could not be reached, or did not answer in time.
    pub(crate) unreachable: AtomicU64,
    /// It said that it has no such replica.
    pub(crate) refused: AtomicU64,
    /// Its answer made no sense.
    pub(crate) malformed: AtomicU64,
}

impl NodeMetrics {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            batch_ops: Histogram::of_counts(),
            snapshot_durations: [Histogram::of_seconds(), Histogram::of_seconds()],
            peers: Mutex::default(),
        })
    }

    /// The cells of one node, for as long as somebody holds them.
    pub(crate) fn peer(&self, node: NodeId) -> Arc<PeerMetrics> {
        let mut peers = self.peers.lock();
        peers.retain(|_, peer| peer.strong_count() > 0);
        if let Some(peer) = peers.get(&node).and_then(Weak::upgrade) {
            return peer;
        }
        let zero = || AtomicU64::new(0);
        let peer = Arc::new(PeerMetrics {
            round_trip: Histogram::of_seconds(),
            unreachable: zero(),
            refused: zero(),
            malformed: zero(),
        });
        peers.insert(node, Arc::downgrade(&peer));
        peer
    }

    fn peers(&self) -> Vec<(NodeId, Arc<PeerMetrics>)> {
        let peers = self.peers.lock();
        peers.iter().filter_map(|(node, peer)| Some((*node, peer.upgrade()?))).collect()
    }
}

/// Instruments of the node's threads for heavy computations.
#[derive(Clone, Debug)]
pub(crate) struct WorkMetrics {
    /// Jobs that have not begun.
    pub(crate) waiting_jobs: Gauge,
    /// Jobs that have begun and not ended.
    pub(crate) running_jobs: Gauge,
    /// Bytes that the readers' jobs touch, of those that run or wait.
    pub(crate) bytes: Gauge,
    /// Jobs that ran to their end.
    pub(crate) done: Counter,
    /// Jobs that were refused because too much waits.
    pub(crate) refused: Counter,
    /// Jobs whose caller went before they began.
    pub(crate) cancelled: Counter,
    /// Jobs whose deadline passed before they began.
    pub(crate) expired: Counter,
}

impl WorkMetrics {
    /// Makes the handles, in the recorder that is installed.
    pub(crate) fn new() -> Self {
        describe_counter!(
            "bitroster_store_work_jobs_total",
            "Heavy computations that have ended, by how they ended"
        );
        describe_gauge!(
            "bitroster_store_work_waiting_jobs",
            "Heavy computations that wait for a thread"
        );
        describe_gauge!("bitroster_store_work_running_jobs", "Heavy computations that run");
        describe_gauge!(
            "bitroster_store_work_bytes",
            "Bytes that heavy computations of readers touch, of those that run or wait"
        );
        let jobs = |outcome| counter!("bitroster_store_work_jobs_total", "outcome" => outcome);
        Self {
            waiting_jobs: gauge!("bitroster_store_work_waiting_jobs"),
            running_jobs: gauge!("bitroster_store_work_running_jobs"),
            bytes: gauge!("bitroster_store_work_bytes"),
            done: jobs("done"),
            refused: jobs("refused"),
            cancelled: jobs("cancelled"),
            expired: jobs("expired"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_for_as_long_as_somebody_talks_to_it() {
        let node = NodeMetrics::new();
        let (first, second) = (node.peer(NodeId(2)), node.peer(NodeId(2)));
        assert!(Arc::ptr_eq(&first, &second));
        let third = node.peer(NodeId(3));
        drop((first, second));
        let known: Vec<NodeId> = node.peers().into_iter().map(|(node, _)| node).collect();
        assert_eq!(known, [NodeId(3)]);
        drop(third);
    }
}
