//! Finishes changes over several groups that a router began and did not end: the duty of the leader
//! of the key's home.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitroster_command::Pending;
use bitroster_router::Router;
use bitroster_shard::{GroupHandle, Shard};
use bitroster_types::{GroupId, Key, UnixMillis, Version};
use futures_util::future::join_all;
use tokio::time::interval;
use tracing::debug;

/// How often leaders look. What is found twice is nobody's work any more, or that of somebody slow,
/// whom a second hand does not disturb.
const INTERVAL: Duration = Duration::from_secs(1);

/// Most changes of one group that are listed at a time.
const CHANGES_MAX: usize = 1024;

/// Most lists of one group in one round.
const ROUNDS_MAX: usize = 32;

/// A change, by its key and version.
type Change = (Key, Version);

/// Looks after the groups that this node leads, for ever. What was reserved or enlisted longer ago
/// than `patience` is taken back: no request lives that long.
pub(super) async fn run(router: Router, shard: Arc<Shard>, patience: Duration) {
    let mut ticks = interval(INTERVAL);
    let mut watches: HashMap<GroupId, Watch> = HashMap::new();
    loop {
        ticks.tick().await;
        let led: Vec<GroupHandle> = shard.groups().filter(GroupHandle::leads).collect();
        watches.retain(|id, _| led.iter().any(|group| group.id() == *id));
        // Side by side: one whose keys have parts in a group that is down keeps up the others for
        // the time of its requests only.
        let looks = led.into_iter().map(|group| {
            let watch = watches.remove(&group.id()).unwrap_or_default();
            look(&router, group, watch, patience)
        });
        watches = join_all(looks).await.into_iter().collect();
    }
}

/// What was found unfinished in one group, and when first.
type Watch = HashMap<Change, Instant>;

/// Finishes what is due in one group.
async fn look(
    router: &Router,
    group: GroupHandle,
    mut watch: Watch,
    patience: Duration,
) -> (GroupId, Watch) {
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let before = UnixMillis(wall_clock_ms().saturating_sub(patience_ms));
    let mut found = Watch::new();
    for _ in 0..ROUNDS_MAX {
        let mut due = group.pending(before, CHANGES_MAX);
        let listed = due.len();
        due.retain(|pending| {
            let Some((change, grace)) = under_way(pending, patience) else { return true };
            let known = found.get(&change).copied().or_else(|| watch.remove(&change));
            let since = known.unwrap_or_else(Instant::now);
            let is_due = since.elapsed() >= grace;
            found.insert(change, since);
            is_due
        });
        if due.is_empty() {
            break;
        }
        debug!(group = %group.id(), changes = due.len(), "finishing changes");
        let is_done = router.finish(&due, group.id()).await;
        if !is_done || listed < CHANGES_MAX / 2 {
            break;
        }
    }
    (group.id(), found)
}

/// The change, where its router may still be at work on it, and how long it is left to it. The
/// second half of a RENAME must not be done by two.
fn under_way(pending: &Pending, patience: Duration) -> Option<(Change, Duration)> {
    match pending {
        Pending::Published { key, version, moved, .. } => {
            let grace = if moved.is_some() { patience } else { INTERVAL / 2 };
            Some(((key.clone(), *version), grace))
        }
        Pending::Abandoned { key, version } => Some(((key.clone(), *version), INTERVAL / 2)),
        Pending::Expired { .. } | Pending::Reserved { .. } | Pending::Enlisted { .. } => None,
    }
}

fn wall_clock_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
