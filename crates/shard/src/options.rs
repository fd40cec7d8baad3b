//! How a node's replicas are run.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitroster_types::limits::BULK_BYTES_MAX;
use bitroster_types::{GroupId, NodeId, ReplicaId, SegmentWidth, Slot, UnixMillis};
use bitroster_wal::{FileSystem, Options, RealFileSystem};

use crate::error::Error;
use crate::fatal::Fatal;
use crate::peers::Peers;

/// Tells the time. Entries carry it; replicas never read it while they apply.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// One group of a node: the replica of it that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// The group.
    pub id: GroupId,
    /// The slots that it owns from its first entry on. Ignored once it has an entry: its log
    /// decides.
    pub slots: Vec<Slot>,
    /// The replica's number, which no other replica of the group ever had or will have.
    pub replica: ReplicaId,
    /// The group's first members and their nodes; the same on each of them. A replica that is none
    /// of them, or whose list is empty, waits until a leader feeds it. Ignored once the replica has
    /// a log.
    pub founders: Vec<(ReplicaId, NodeId)>,
    /// Whether this replica should lead: it stands for election at the founding, and the other
    /// founders wait for it. Of the founders, one should be preferred.
    pub preferred: bool,
}

impl GroupSpec {
    /// A group whose only replica is here: number 1, on `node`.
    pub fn alone(id: GroupId, slots: Vec<Slot>, node: NodeId) -> Self {
        let replica = ReplicaId(1);
        Self { id, slots, replica, founders: vec![(replica, node)], preferred: true }
    }
}

/// How a node's replicas are run. Make it with [`ShardOptions::new`] and change fields.
#[derive(Clone)]
pub struct ShardOptions {
    /// Where the log and the snapshots are. Made if absent; locked while open.
    pub data_dir: PathBuf,

    /// The file system of `data_dir`. Default the operating system's.
    pub file_system: Arc<dyn FileSystem>,

    /// The groups that have a replica here. Their ids differ.
    pub groups: Vec<GroupSpec>,

    /// The node's number in the cluster, as memberships name it. Default 1.
    pub node: NodeId,

    /// How replicas on other nodes are reached. Default none: then each group has one replica,
    /// this node's.
    pub peers: Option<Arc<dyn Peers>>,

    /// Milliseconds between a leader's heartbeats. Default 100.
    pub heartbeat_ms: u64,

    /// Shortest wait for a heartbeat before an election, in milliseconds; the longest, which is
    /// also the time after which a leader that hears from no majority refuses writes, is twice
    /// this. Default 400. At least three heartbeats, so that one that is lost is no reason to
    /// elect.
    pub election_timeout_ms_min: u64,

    /// The cluster's segment width. Default 2^20 bits; fixed for ever when a cluster is made.
    pub width: SegmentWidth,

    /// The log's own options: when a write counts as durable, and how long its files are.
    pub wal: Options,

    /// Bytes of log since the last snapshot below which a group takes none. Default 16 MiB. Larger
    /// restarts slower and keeps more log in memory; smaller writes more.
    pub snapshot_log_bytes_min: u64,

    /// Longest value that a whole-key command may make, in bytes. Default 512 MiB. A constant of
    /// the cluster: replicas must agree.
    pub value_bytes_max: u64,

    /// Tells the time. Default the system's.
    pub clock: Clock,

    /// Threads that compute heavy ops. Default one a core.
    pub cpu_threads: usize,

    /// What to do when a replica cannot go on. Default: end the process.
    pub fatal: Fatal,
}

impl ShardOptions {
    /// The defaults, for these groups in this directory.
    pub fn new(data_dir: impl Into<PathBuf>, groups: Vec<GroupSpec>) -> Self {
        Self {
            data_dir: data_dir.into(),
            file_system: Arc::new(RealFileSystem),
            groups,
            node: NodeId(1),
            peers: None,
            heartbeat_ms: 100,
            election_timeout_ms_min: 400,
            width: SegmentWidth::DEFAULT,
            wal: Options::default(),
            snapshot_log_bytes_min: 16 << 20,
            value_bytes_max: BULK_BYTES_MAX as u64,
            clock: Arc::new(system_time),
            cpu_threads: thread::available_parallelism().map_or(1, usize::from),
            fatal: Fatal::abort(),
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for the first that is out of range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let bad = |option, problem| Err(Error::Option { option, problem });
        let mut ids: Vec<_> = self.groups.iter().map(|group| group.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return bad("groups", "two have the same id");
        }
        if self.snapshot_log_bytes_min == 0 {
            return bad("snapshot_log_bytes_min", "must not be zero");
        }
        if self.heartbeat_ms == 0 {
            return bad("heartbeat_ms", "must not be zero");
        }
        if self.election_timeout_ms_min < self.heartbeat_ms.saturating_mul(3) {
            return bad("election_timeout_ms_min", "must be at least three heartbeats");
        }
        if self.cpu_threads == 0 {
            return bad("cpu_threads", "must not be zero");
        }
        Ok(())
    }
}

/// How patient replicas are with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) heartbeat_ms: u64,
    pub(crate) election_timeout_ms_min: u64,
}

impl Timing {
    /// Between a leader's heartbeats.
    pub(crate) fn heartbeat(self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// How long a follower may take to answer, with its sync, before nothing more is asked of Raft
    /// for it.
    pub(crate) fn overdue(self) -> Duration {
        self.election_timeout_min() / 2
    }

    /// Shortest wait for a heartbeat before an election.
    pub(crate) fn election_timeout_min(self) -> Duration {
        Duration::from_millis(self.election_timeout_ms_min)
    }

    /// Longest wait for a heartbeat before an election; also a leader's lease.
    pub(crate) fn election_timeout_max(self) -> Duration {
        2 * self.election_timeout_min()
    }
}

impl ShardOptions {
    pub(crate) fn timing(&self) -> Timing {
        let Self { heartbeat_ms, election_timeout_ms_min, .. } = *self;
        Timing { heartbeat_ms, election_timeout_ms_min }
    }
}

impl fmt::Debug for ShardOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardOptions")
            .field("data_dir", &self.data_dir)
            .field("groups", &self.groups.len())
            .field("node", &self.node)
            .field("has_peers", &self.peers.is_some())
            .field("heartbeat_ms", &self.heartbeat_ms)
            .field("election_timeout_ms_min", &self.election_timeout_ms_min)
            .field("width", &self.width)
            .field("wal", &self.wal)
            .field("snapshot_log_bytes_min", &self.snapshot_log_bytes_min)
            .field("value_bytes_max", &self.value_bytes_max)
            .field("cpu_threads", &self.cpu_threads)
            .finish_non_exhaustive()
    }
}

fn system_time() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
