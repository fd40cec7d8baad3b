//! What a node says of itself: to other nodes, to operators, and to its own console.

use std::{sync::LazyLock, time::Instant};

use bitroster_frontend::NodeStatus as _;
use bitroster_proto::internal as wire;
use bitroster_shard::{FollowerStatus, ReplicaStatus, Shard};
use bitroster_telemetry::build;

use super::figures::Figures;

/// When the process started, or about then.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Notes that the process starts.
pub(super) fn note_start() {
    LazyLock::force(&STARTED);
}

/// What the node holds and takes; who and where it is, and whom it knows, is the caller's to add.
pub(super) fn figures(figures: &Figures, shard: Option<&Shard>) -> wire::StatusReply {
    let status = figures.status();
    let replicas = shard.into_iter().flat_map(Shard::groups).map(|handle| {
        let engine = handle.engine_stats();
        replica(&handle.status(), engine.keys, engine.dataset_bytes)
    });
    wire::StatusReply {
        version: build::VERSION.to_owned(),
        replicas: replicas.collect(),
        keys: status.keys,
        dataset_bytes: status.dataset_bytes,
        host: Some(wire::Host {
            uptime_ms: u64::try_from(STARTED.elapsed().as_millis()).unwrap_or(u64::MAX),
            memory_bytes: status.allocated_bytes,
            memory_limit_bytes: status.memory_bytes_max,
            log_disk_bytes: status.log_bytes,
            ..wire::Host::default()
        }),
        ..wire::StatusReply::default()
    }
}

fn replica(status: &ReplicaStatus, keys: u64, dataset_bytes: u64) -> wire::ReplicaStatus {
    let follower = |follower: &FollowerStatus| wire::Follower {
        replica: follower.replica.0,
        node: follower.node.0,
        behind: follower.behind,
        voter: follower.voter,
    };
    wire::ReplicaStatus {
        group: status.group.0.into(),
        replica: status.replica.0,
        leads: status.leads,
        leader_node: status.leader.map_or(0, |node| node.0),
        term: status.term,
        last_log: status.last_log,
        committed: status.committed,
        applied: status.applied,
        ready: status.ready,
        learner: status.learner,
        followers: status.followers.iter().map(follower).collect(),
        keys,
        dataset_bytes,
    }
}
