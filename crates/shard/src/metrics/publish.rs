//! What was counted, as a scrape shows it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bitroster_engine::{EngineStats, Forms};
use bitroster_telemetry::metric::Page;
use bitroster_types::GroupId;
use bitroster_wal::{DiskUsage, Wal};

use super::{Metrics, NodeMetrics, SnapshotOp};
use crate::group::{Group, ReplicaStatus};

/// What one group shows.
struct Row {
    name: String,
    status: ReplicaStatus,
    has_leader: bool,
    log_bytes: u64,
    queue_bytes: usize,
    stats: EngineStats,
    forms: Forms,
    metrics: Arc<Metrics>,
}

impl Row {
    fn of(group: &Arc<Group>) -> Self {
        Self {
            name: group.id().to_string(),
            status: group.status(),
            has_leader: group.hears_leader(),
            log_bytes: group.meter().bytes(),
            queue_bytes: group.queue().bytes(),
            stats: group.engine_stats(),
            forms: group.surveyed().forms(),
            metrics: Arc::clone(group.metrics()),
        }
    }

    fn keeps_data(&self) -> bool {
        self.status.group != GroupId::META
    }
}

/// Shows what the groups and the node have counted, and how they are.
pub(crate) fn publish(groups: &[Arc<Group>], node: &NodeMetrics, wal: &Wal, page: &mut Page) {
    let rows: Vec<Row> = groups.iter().map(Row::of).collect();
    publish_roles(&rows, page);
    publish_logs(&rows, page);
    publish_proposals(&rows, node, page);
    publish_peers(&rows, node, page);
    publish_snapshots(&rows, node, page);
    publish_wal(wal, page);
    publish_store(&rows, page);
}

/// A family of one whole number a group.
macro_rules! by_group {
    ($page:expr, $kind:ident, $rows:expr, $name:literal, $help:literal, $value:expr) => {
        let mut family = $page.$kind($name, $help);
        for row in $rows {
            let value: fn(&Row) -> u64 = $value;
            family.row(&[("group", &row.name)], value(row));
        }
    };
}

fn publish_roles(rows: &[Row], page: &mut Page) {
    by_group!(
        page,
        gauge,
        rows,
        "bitroster_raft_is_leader",
        "Whether the replica here leads its group",
        |row| u64::from(row.status.leads)
    );
    by_group!(
        page,
        gauge,
        rows,
        "bitroster_raft_has_leader",
        "Whether the replica here has heard of a leader of its group within an election time-out",
        |row| u64::from(row.has_leader)
    );
    by_group!(page, gauge, rows, "bitroster_raft_term", "Newest term known", |row| row.status.term);
    by_group!(page, gauge, rows, "bitroster_raft_voters", "Replicas that vote", |row| {
        row.status.voters
    });
    by_group!(
        page,
        gauge,
        rows,
        "bitroster_raft_learners",
        "Replicas that follow and do not vote",
        |row| row.status.learners
    );
    by_group!(
        page,
        counter,
        rows,
        "bitroster_raft_leader_changes_total",
        "Times that another replica than before was seen to lead",
        |row| row.metrics.leader_changes.load(Relaxed)
    );
}

fn publish_logs(rows: &[Row], page: &mut Page) {
    by_group!(
        page,
        gauge,
        rows,
        "bitroster_raft_log_first_index",
        "First entry that the log still holds",
        |row| row.status.first_log
    );
    by_group!(page, gauge, rows, "bitroster_raft_log_last_index", "Last entry of the log", |row| {
        row.status.last_log
    });
    by_group!(
        page,
        gauge,
        rows,
        "bitroster_raft_committed_index",
        "Last entry known to be on a majority's disks",
        |row| row.status.committed
    );
    by_group!(
        page,
        gauge,
        rows,
        "bitroster_raft_applied_index",
        "Last entry applied to the data",
        |row| row.status.applied
    );
    by_group!(
        page,
        gauge,
        rows,
        "bitroster_raft_log_memory_bytes",
        "Log kept in memory, which is all since the last snapshot",
        |row| row.log_bytes
    );
    by_group!(
        page,
        gauge,
        rows,
        "bitroster_raft_queue_bytes",
        "Ops that wait for the next entry",
        |row| row.queue_bytes as u64
    );
}

fn publish_proposals(rows: &[Row], node: &NodeMetrics, page: &mut Page) {
    by_group!(
        page,
        counter,
        rows,
        "bitroster_raft_proposals_total",
        "Entries proposed here that have ended, whichever way",
        |row| {
            let Metrics { proposals_applied, proposals_refused, proposals_unknown, .. } =
                &*row.metrics;
            let ends = [proposals_applied, proposals_refused, proposals_unknown];
            ends.iter().map(|cell| cell.load(Relaxed)).sum()
        }
    );
    let mut family = page.counter(
        "bitroster_raft_proposals_failed_total",
        "Entries proposed here that were not seen to be applied",
    );
    for row in rows {
        let Metrics { proposals_refused, proposals_unknown, .. } = &*row.metrics;
        for (reason, cell) in [("refused", proposals_refused), ("unknown", proposals_unknown)] {
            family.row(&[("group", &row.name), ("reason", reason)], cell.load(Relaxed));
        }
    }
    by_group!(
        page,
        counter,
        rows,
        "bitroster_raft_proposed_ops_total",
        "Ops proposed here and applied",
        |row| row.metrics.ops.load(Relaxed)
    );
    page.histogram("bitroster_raft_batch_ops", "Ops in one entry, of all groups")
        .buckets(&[], &node.batch_ops);
    let mut family = page.histogram(
        "bitroster_raft_proposal_duration_seconds",
        "From proposing an entry to its being applied, on the leader",
    );
    for row in rows {
        family.buckets(&[("group", &row.name)], &row.metrics.proposal_duration);
    }
    let mut family = page.histogram(
        "bitroster_raft_read_index_duration_seconds",
        "Asking a majority whether the replica here still leads, for the reads that wait",
    );
    for row in rows {
        family.buckets(&[("group", &row.name)], &row.metrics.read_index_duration);
    }
    let mut family = page.histogram(
        "bitroster_raft_apply_duration_seconds",
        "Applying one entry to the data, heavy work included",
    );
    for row in rows {
        family.buckets(&[("group", &row.name)], &row.metrics.apply_duration);
    }
}

fn publish_peers(rows: &[Row], node: &NodeMetrics, page: &mut Page) {
    let mut family = page.gauge(
        "bitroster_raft_replication_lag_entries",
        "Entries that a follower is not known to have, as its leader here sees it",
    );
    for row in rows {
        for follower in &row.status.followers {
            let peer = follower.node.to_string();
            family.row(&[("group", &row.name), ("peer", &peer)], follower.behind);
        }
    }
    let peers: Vec<_> =
        node.peers().into_iter().map(|(node, peer)| (node.to_string(), peer)).collect();
    let mut family = page.histogram(
        "bitroster_raft_peer_round_trip_seconds",
        "From sending entries or a heartbeat to a node to its answer",
    );
    for (name, peer) in &peers {
        family.buckets(&[("peer", name)], &peer.round_trip);
    }
    let mut family = page.counter(
        "bitroster_raft_peer_send_failures_total",
        "Raft messages to a node that had no good answer",
    );
    for (name, peer) in &peers {
        for (reason, cell) in [
            ("unreachable", &peer.unreachable),
            ("refused", &peer.refused),
            ("malformed", &peer.malformed),
        ] {
            family.row(&[("peer", name), ("reason", reason)], cell.load(Relaxed));
        }
    }
}

fn publish_snapshots(rows: &[Row], node: &NodeMetrics, page: &mut Page) {
    let ops = [
        ("build", SnapshotOp::Build),
        ("install", SnapshotOp::Install),
        ("send", SnapshotOp::Send),
    ];
    let mut family = page.counter(
        "bitroster_raft_snapshots_total",
        "Snapshots written here, sent to a follower, and taken from a leader",
    );
    for row in rows {
        for (name, op) in ops {
            let count = row.metrics.snapshots[op as usize].load(Relaxed);
            family.row(&[("group", &row.name), ("op", name)], count);
        }
    }
    let mut family = page.histogram(
        "bitroster_raft_snapshot_duration_seconds",
        "Writing a snapshot, and making a leader's snapshot the state here",
    );
    for ((name, _), durations) in ops.iter().zip(&node.snapshot_durations) {
        family.buckets(&[("op", name)], durations);
    }
    by_group!(
        page,
        gauge,
        rows,
        "bitroster_raft_snapshot_bytes",
        "Length of the last snapshot written here; 0 before there was one",
        |row| row.metrics.snapshot_bytes.load(Relaxed)
    );
}

fn publish_wal(wal: &Wal, page: &mut Page) {
    let stats = wal.stats();
    page.histogram(
        "bitroster_raft_log_fsync_duration_seconds",
        "One sync of the log that all groups share",
    )
    .buckets(&[], wal.sync_times());
    page.counter("bitroster_raft_log_written_bytes_total", "Bytes written to the log")
        .row(&[], stats.frame_bytes);
    page.gauge("bitroster_raft_log_pending_bytes", "Bytes that wait for the log's disk")
        .row(&[], stats.pending_bytes);
    page.gauge(
        "bitroster_raft_log_disk_bytes",
        "Bytes that the log takes on the disk, spare files included",
    )
    .row(&[], stats.disk_bytes);
}

fn publish_store(rows: &[Row], page: &mut Page) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.keeps_data()).collect();
    by_group!(page, gauge, &rows, "bitroster_store_keys", "Keys whose home is the group", |row| {
        row.stats.keys
    });
    by_group!(
        page,
        gauge,
        &rows,
        "bitroster_store_expiring_keys",
        "Keys and parts of keys that have an expiry",
        |row| row.stats.keys_with_expiry
    );
    by_group!(
        page,
        counter,
        &rows,
        "bitroster_store_expired_keys_total",
        "Keys and parts of keys dropped because they had expired",
        |row| row.stats.expired
    );
    let mut family = page.gauge(
        "bitroster_store_memory_bytes",
        "Memory of the data in the allocator's size classes, by what holds it",
    );
    for row in &rows {
        for (kind, bytes) in memory(&row.stats, &row.forms) {
            family.row(&[("group", &row.name), ("kind", kind)], bytes);
        }
    }
    let mut family =
        page.gauge("bitroster_store_containers", "Containers and inline values, by form");
    for row in &rows {
        let Forms { inline, arrays, dense, runs, full, .. } = row.forms;
        for (kind, form) in
            [("inline", inline), ("array", arrays), ("dense", dense), ("run", runs), ("full", full)]
        {
            family.row(&[("group", &row.name), ("kind", kind)], form.count);
        }
    }
    by_group!(
        page,
        gauge,
        &rows,
        "bitroster_store_logical_bytes",
        "What the group's segments would take as plain strings, without a cost per key",
        |row| row.forms.logical_bytes
    );
    by_group!(page, gauge, &rows, "bitroster_slot_owned", "Slots that the group owns", |row| row
        .stats
        .slots);
}

/// A group's memory by kind. The sum is exact; what is counted by a walk may be a little old, and
/// is cut where it would exceed what the pages take now.
fn memory(stats: &EngineStats, forms: &Forms) -> [(&'static str, u64); 6] {
    let mut left = stats.page_bytes;
    let mut share = |bytes: usize| {
        let share = left.min(bytes as u64);
        left -= share;
        share
    };
    let inline = share(forms.inline.bytes);
    let array = share(forms.arrays.bytes);
    let dense = share(forms.dense.bytes);
    let run = share(forms.runs.bytes);
    let other = stats.dataset_bytes.saturating_sub(stats.page_bytes);
    [
        ("keys", left),
        ("inline", inline),
        ("array", array),
        ("dense", dense),
        ("run", run),
        ("other", other),
    ]
}

/// Shows what the data directory takes and what is free; nothing where that cannot be learnt.
pub(crate) fn publish_disk(root: &Path, page: &mut Page) {
    let usage = match DiskUsage::of(root) {
        Ok(usage) => usage,
        Err(error) => {
            tracing::debug!(%error, "the data directory's disk does not say how full it is");
            return;
        }
    };
    page.gauge("bitroster_disk_used_bytes", "Bytes of the files in the data directory")
        .row(&[("dir", "data")], usage.used_bytes);
    page.gauge(
        "bitroster_disk_free_bytes",
        "Bytes that are free on the disk of the data directory",
    )
    .row(&[("dir", "data")], usage.free_bytes);
}

#[cfg(test)]
mod tests {
    use bitroster_bitmap::Form;

    use super::*;

    #[test]
    fn kinds_add_up_to_all_memory_also_where_the_walk_is_old() {
        let stats = EngineStats { page_bytes: 1000, dataset_bytes: 1300, ..Default::default() };
        let form = |bytes| Form { count: 1, bytes };
        for (dense, keys) in [(300, 400), (5000, 0)] {
            let forms = Forms {
                inline: form(100),
                arrays: form(150),
                dense: form(dense),
                runs: form(50),
                ..Forms::default()
            };
            let kinds = memory(&stats, &forms);
            assert_eq!(kinds.iter().map(|(_, bytes)| bytes).sum::<u64>(), 1300);
            assert_eq!((kinds[0], kinds[5]), (("keys", keys), ("other", 300)));
        }
    }
}
