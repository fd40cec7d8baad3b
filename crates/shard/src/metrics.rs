//! What a shard counts.
//!
//! The label is a group's number: a small closed set. Handles are made once.

use bitroster_types::GroupId;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

/// One group's instruments. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Entries that were proposed, applied and answered.
    pub(crate) proposals_applied: Counter,
    /// Entries that were refused before they reached the log.
    pub(crate) proposals_refused: Counter,
    /// Entries whose outcome nobody learnt.
    pub(crate) proposals_unknown: Counter,
    /// Ops proposed here and applied.
    pub(crate) ops: Counter,
    /// Ops in each entry.
    pub(crate) entry_ops: Histogram,
    /// From the proposal of an entry to its outcomes.
    pub(crate) commit_duration: Histogram,
    /// Applying one entry, heavy work included.
    pub(crate) apply_duration: Histogram,
    /// Bytes of ops that wait for the next entry.
    pub(crate) queue_bytes: Gauge,
    /// Bytes of log kept in memory: all since the last snapshot.
    pub(crate) log_bytes: Gauge,
    /// From a snapshot's instant to its being durable.
    pub(crate) snapshot_duration: Histogram,
    /// Bytes of the last snapshot.
    pub(crate) snapshot_bytes: Gauge,
}

impl Metrics {
    /// Makes the handles of one group.
    pub(crate) fn new(group: GroupId) -> Self {
        let group = group.to_string();
        let proposals = |outcome| {
            counter!("bitroster_shard_proposals_total",
                "group" => group.clone(), "outcome" => outcome)
        };
        let duration = |name| histogram!(name, "group" => group.clone());
        Self {
            proposals_applied: proposals("applied"),
            proposals_refused: proposals("refused"),
            proposals_unknown: proposals("unknown"),
            ops: counter!("bitroster_shard_ops_total", "group" => group.clone()),
            entry_ops: duration("bitroster_shard_entry_ops"),
            commit_duration: duration("bitroster_shard_commit_duration_seconds"),
            apply_duration: duration("bitroster_shard_apply_duration_seconds"),
            queue_bytes: gauge!("bitroster_shard_queue_bytes", "group" => group.clone()),
            log_bytes: gauge!("bitroster_shard_log_bytes", "group" => group.clone()),
            snapshot_duration: duration("bitroster_shard_snapshot_duration_seconds"),
            snapshot_bytes: gauge!("bitroster_shard_snapshot_bytes", "group" => group.clone()),
        }
    }
}

/// Instruments of the log that all groups share.
#[derive(Clone, Debug)]
pub(crate) struct LogMetrics {
    syncs: Counter,
    sync_nanos: Counter,
    frame_bytes: Counter,
    disk_bytes: Gauge,
    pending_bytes: Gauge,
}

impl LogMetrics {
    /// Makes the handles.
    pub(crate) fn new() -> Self {
        Self {
            syncs: counter!("bitroster_shard_wal_syncs_total"),
            sync_nanos: counter!("bitroster_shard_wal_sync_nanoseconds_total"),
            frame_bytes: counter!("bitroster_shard_wal_written_bytes_total"),
            disk_bytes: gauge!("bitroster_shard_wal_disk_bytes"),
            pending_bytes: gauge!("bitroster_shard_wal_pending_bytes"),
        }
    }

    /// Shows the log's figures.
    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    pub(crate) fn show(&self, stats: &bitroster_wal::Stats) {
        let nanos = u64::try_from(stats.sync_time.as_nanos()).unwrap_or(u64::MAX);
        self.syncs.absolute(stats.syncs);
        self.sync_nanos.absolute(nanos);
        self.frame_bytes.absolute(stats.frame_bytes);
        self.disk_bytes.set(stats.disk_bytes as f64);
        self.pending_bytes.set(stats.pending_bytes as f64);
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
    /// Makes the handles.
    pub(crate) fn new() -> Self {
        let jobs = |outcome| counter!("bitroster_shard_work_jobs_total", "outcome" => outcome);
        Self {
            waiting_jobs: gauge!("bitroster_shard_work_waiting_jobs"),
            running_jobs: gauge!("bitroster_shard_work_running_jobs"),
            bytes: gauge!("bitroster_shard_work_bytes"),
            done: jobs("done"),
            refused: jobs("refused"),
            cancelled: jobs("cancelled"),
            expired: jobs("expired"),
        }
    }
}

/// Tells the recorder what each name means. Called once, at the start.
pub(crate) fn describe() {
    describe_counter!(
        "bitroster_shard_proposals_total",
        "Log entries proposed here, by outcome: applied, refused or unknown."
    );
    describe_counter!("bitroster_shard_ops_total", "Ops proposed here and applied.");
    describe_histogram!("bitroster_shard_entry_ops", Unit::Count, "Ops in one log entry.");
    describe_histogram!(
        "bitroster_shard_commit_duration_seconds",
        Unit::Seconds,
        "Time from the proposal of an entry to its outcomes, on the leader."
    );
    describe_histogram!(
        "bitroster_shard_apply_duration_seconds",
        Unit::Seconds,
        "Time to apply one entry, heavy work included."
    );
    describe_gauge!(
        "bitroster_shard_queue_bytes",
        Unit::Bytes,
        "Ops that wait for the next entry."
    );
    describe_gauge!(
        "bitroster_shard_log_bytes",
        Unit::Bytes,
        "Log kept in memory: all entries since the last snapshot."
    );
    describe_histogram!(
        "bitroster_shard_snapshot_duration_seconds",
        Unit::Seconds,
        "Time from a snapshot's instant to its being durable."
    );
    describe_gauge!("bitroster_shard_snapshot_bytes", Unit::Bytes, "Length of the last snapshot.");
    describe_work();
}

fn describe_work() {
    describe_counter!(
        "bitroster_shard_work_jobs_total",
        "Heavy computations, by outcome: done, refused because too much waits, cancelled with \
         their caller or expired before they began."
    );
    describe_gauge!(
        "bitroster_shard_work_waiting_jobs",
        Unit::Count,
        "Heavy computations that wait for a thread."
    );
    describe_gauge!(
        "bitroster_shard_work_running_jobs",
        Unit::Count,
        "Heavy computations that run."
    );
    describe_gauge!(
        "bitroster_shard_work_bytes",
        Unit::Bytes,
        "Bytes that heavy computations of readers touch, of those that run or wait."
    );
}
