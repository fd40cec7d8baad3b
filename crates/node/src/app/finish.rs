//! Finishes changes over several groups that a router began and did not end: the duty of the leader
//! of the key's home.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bitroster_command::Pending;
use bitroster_router::Router;
use bitroster_shard::Shard;
use bitroster_types::{GroupId, Key, UnixMillis, Version};
use tokio::time::interval;
use tracing::debug;

/// How often leaders look. What is found twice is nobody's work any more, or that of somebody slow,
/// whom a second hand does not disturb.
const INTERVAL: Duration = Duration::from_secs(1);

/// Most changes of one group that are listed at a time.
const CHANGES_MAX: usize = 1024;

/// Most lists of one group before the others have their turn.
const ROUNDS_MAX: usize = 32;

/// A change, by its key and version.
type Change = (GroupId, Key, Version);

/// Looks after the groups that this node leads, for ever. What was reserved or enlisted longer ago
/// than `patience` is taken back: no request lives that long.
pub(super) async fn run(router: Router, shard: Arc<Shard>, patience: Duration) {
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let mut ticks = interval(INTERVAL);
    let mut seen: HashSet<Change> = HashSet::new();
    loop {
        ticks.tick().await;
        let before = UnixMillis(wall_clock_ms().saturating_sub(patience_ms));
        let mut found = HashSet::new();
        for group in shard.groups() {
            if !group.leads() {
                continue;
            }
            for _ in 0..ROUNDS_MAX {
                let mut due = group.pending(before, CHANGES_MAX);
                let is_all = due.len() < CHANGES_MAX;
                due.retain(|pending| {
                    let Some(change) = under_way(group.id(), pending) else { return true };
                    let is_old = seen.contains(&change);
                    found.insert(change);
                    is_old
                });
                if !due.is_empty() {
                    debug!(group = %group.id(), changes = due.len(), "finishing changes");
                    router.finish(&due, group.id()).await;
                }
                if is_all {
                    break;
                }
            }
        }
        seen = found;
    }
}

/// The change, where its router may still be at work on it.
fn under_way(group: GroupId, pending: &Pending) -> Option<Change> {
    match pending {
        Pending::Published { key, version, .. } | Pending::Abandoned { key, version } => {
            Some((group, key.clone(), *version))
        }
        Pending::Expired { .. } | Pending::Reserved { .. } | Pending::Enlisted { .. } => None,
    }
}

fn wall_clock_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
