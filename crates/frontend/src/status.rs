//! What INFO and CONFIG ask of the node.

use bitroster_command::CommandError;

use crate::ClusterView;

/// The node's figures at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Forty hexadecimal digits that are new at every start.
    pub run_id: String,
    /// Bytes that the allocator has handed out.
    pub allocated_bytes: u64,
    /// The largest [`allocated_bytes`](Self::allocated_bytes) seen so far.
    pub allocated_bytes_max: u64,
    /// Bytes that keys and bitmaps take, as the groups count them.
    pub dataset_bytes: u64,
    /// Resident memory of the process, in bytes.
    pub resident_bytes: u64,
    /// Memory of the machine, in bytes.
    pub machine_bytes: u64,
    /// Above this many allocated bytes writes are refused; 0 for no limit.
    pub memory_bytes_max: u64,
    /// Processor time in user mode, in seconds.
    pub cpu_user_seconds: f64,
    /// Processor time in the kernel, in seconds.
    pub cpu_system_seconds: f64,
    /// Keys.
    pub keys: u64,
    /// Keys with an expiry.
    pub expires: u64,
    /// Keys and parts of keys that replicas here dropped because they had expired.
    pub expired: u64,
    /// Keys over several groups, of the groups that this node leads.
    pub spread: SpreadStatus,
    /// Shard groups on this node.
    pub groups: usize,
    /// Whether a snapshot is being written.
    pub snapshot_running: bool,
    /// Unix time in seconds of the last snapshot that succeeded, or of the start.
    pub snapshot_time_secs: u64,
    /// Whether the last snapshot succeeded.
    pub snapshot_ok: bool,
    /// Bytes of log files on disk.
    pub log_bytes: u64,
}

/// What groups hold of keys that lie in several groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpreadStatus {
    /// Parts of keys whose home is another group.
    pub parts: u64,
    /// Parts that changes under way have staged.
    pub staged: u64,
    /// Changes that are decided and not yet done in every group.
    pub pending: u64,
    /// Changes that are being prepared.
    pub reserved: u64,
    /// Leaves to hold a part that were given not long ago.
    pub enlisted: u64,
}

/// The node, as a session sees it. Called on the sessions' tasks: must answer at once.
pub trait NodeStatus: Send + Sync + 'static {
    /// The node's figures. May cost some microseconds; only INFO and the like ask.
    fn status(&self) -> Status;

    /// Starts a snapshot of every group and does not wait for it.
    ///
    /// # Errors
    ///
    /// A refusal in Redis's words, such as that one is running already.
    fn start_snapshot(&self) -> Result<(), CommandError>;

    /// Begins to stop the node, as SIGTERM does, and does not wait for it.
    ///
    /// # Errors
    ///
    /// A refusal, where clients may not stop this node.
    fn stop(&self) -> Result<(), CommandError> {
        Err(CommandError::Text("ERR this node cannot be stopped by a client"))
    }

    /// Unix time in seconds of the last snapshot that succeeded, or of the start.
    fn snapshot_time_secs(&self) -> u64;

    /// Names and values, as Redis writes them, of the settings that the node keeps: `maxmemory`,
    /// `appendfsync`, `dir`, `loglevel` and so on.
    fn settings(&self) -> Vec<(&'static str, String)>;

    /// Changes a setting. `None` where the node has no such setting.
    ///
    /// # Errors
    ///
    /// Why the value cannot be had, in a few words.
    fn change_setting(&self, name: &str, value: &str) -> Option<Result<(), String>>;

    /// The slot of a key, as `CLUSTER KEYSLOT` numbers them.
    fn key_slot(&self, key: &[u8]) -> u16;

    /// The cluster map's epoch.
    fn epoch(&self) -> u64;

    /// The cluster as this node knows it; the default where the node is alone. May cost some
    /// microseconds; only CLUSTER, WAIT, ROLE and INFO ask.
    fn cluster(&self) -> ClusterView {
        ClusterView::default()
    }
}
