//! Doing what the cluster's state says: on every node the replicas that it is to have, and in every
//! group's leader the members that the group is to have.
//!
//! Nothing here remembers how far it came: each round compares what is with what is to be and takes
//! one step, so a crash anywhere is followed by the same steps.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use bitroster_placement::ClusterState;
use bitroster_rpc::{Links, StateCell};
use bitroster_shard::{GroupHandle, GroupSpec, MemberStep, ReplicaStatus, Shard};
use bitroster_types::{GroupId, NodeId, ReplicaId};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use super::{
    disk::Disk,
    meta::{self, Meta},
};

/// Pause between two rounds where nothing changes.
const ROUND_PAUSE: Duration = Duration::from_millis(500);

/// How long a node must have led before it gives the lead to the replica that should have it: a
/// cluster that is in trouble is not moved about.
const LEAD_AGE_MIN: Duration = Duration::from_secs(5);

/// Entries that a follower may be behind and still be given the lead.
const BEHIND_MAX: u64 = 1_000;

/// Follows the state on a node that keeps data.
pub(crate) struct Follower {
    pub(crate) node: NodeId,
    pub(crate) shard: Arc<Shard>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) cell: StateCell,
    pub(crate) meta: Meta,
    pub(crate) links: Links,
    /// In which term, and since when, this node leads a group.
    led: HashMap<GroupId, (u64, Instant)>,
    /// The revision on the disk.
    saved: u64,
}

impl Follower {
    pub(crate) fn new(
        node: NodeId,
        shard: Arc<Shard>,
        disk: Arc<Disk>,
        cell: StateCell,
        meta: Meta,
        links: Links,
    ) -> Self {
        Self { node, shard, disk, cell, meta, links, led: HashMap::new(), saved: 0 }
    }

    /// Follows for ever.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut states = self.cell.subscribe();
        let mut ticks = interval(ROUND_PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(()) = states.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let Some(state) = self.cell.current() else { continue };
            if let Err(error) = self.round(&state).await {
                warn!(error = format!("{error:#}"), "a step of the cluster's state is put off");
            }
        }
    }

    async fn round(&mut self, state: &ClusterState) -> anyhow::Result<()> {
        if state.revision > self.saved {
            self.disk.save_state(state)?;
            self.saved = state.revision;
        }
        self.host(state).await?;
        for (group, _) in state.hosted(self.node) {
            let Some(handle) = self.shard.group(group) else { continue };
            let status = handle.status();
            if !status.leads {
                self.led.remove(&group);
                continue;
            }
            let led = self.led.entry(group).or_insert_with(|| (status.term, Instant::now()));
            if led.0 != status.term {
                *led = (status.term, Instant::now());
            }
            let since = led.1;
            // One group's trouble is none of the others'.
            if let Err(error) = self.lead(state, group, &handle, &status, since).await {
                // Not at once again.
                self.led.remove(&group);
                info!(%group, error = format!("{error:#}"), "a step of a group is put off");
            }
        }
        Ok(())
    }

    /// Starts the replicas that are to be here and drops those that are not.
    async fn host(&self, state: &ClusterState) -> anyhow::Result<()> {
        let hosted: BTreeMap<GroupId, ReplicaId> =
            state.hosted(self.node).map(|(group, replica)| (group, replica.id)).collect();
        let kept = self.disk.replicas()?;
        if hosted != kept {
            for (group, replica) in &kept {
                if hosted.get(group) != Some(replica) {
                    info!(%group, %replica, "dropping a replica");
                    self.shard.remove_group(*group).await?;
                }
            }
            // What is dropped is dropped before what comes is known: a crash drops it again.
            self.disk.save_replicas(&hosted)?;
        }
        for (group, replica) in hosted {
            if self.shard.group(group).is_none() {
                info!(%group, %replica, "starting a replica");
                self.shard.add_group(spec(state, self.node, group, replica)).await?;
            }
        }
        Ok(())
    }

    /// Brings a group's members to what they are to be, one step at a time.
    async fn lead(
        &self,
        state: &ClusterState,
        group: GroupId,
        handle: &GroupHandle,
        status: &ReplicaStatus,
        since: Instant,
    ) -> anyhow::Result<()> {
        if group == GroupId::META && !handle.peek(&meta::get()).is_some_and(is_value) {
            self.meta.begin(&ClusterState::found(&state.founding)).await?;
            return Ok(());
        }
        let members = state.members(group);
        let step = handle.change_members(&members).await?;
        if step != MemberStep::Done {
            info!(%group, ?step, "members change");
            return Ok(());
        }
        let replicas = state.replicas(group);
        if replicas.iter().any(|replica| replica.leaving) {
            // Only what was seen to be out: the state may say more by now.
            let settle = |state: &ClusterState| {
                Ok(if state.replicas(group) == replicas { state.settle(group) } else { None })
            };
            self.meta.change(settle).await?;
            return Ok(());
        }
        let Some(preferred) = state.preferred(group) else { return Ok(()) };
        // One that is away cannot take the lead, and the group would be without one meanwhile.
        let is_there = self.links.linked().contains(&preferred.node);
        let may_take = status.followers.iter().any(|follower| {
            follower.replica == preferred.id
                && follower.voter
                && follower.behind < BEHIND_MAX
                && is_there
        });
        if preferred.node != self.node && may_take && since.elapsed() > LEAD_AGE_MIN {
            let node = preferred.node;
            info!(%group, %node, "handing the lead to the node that should have it");
            handle.transfer_leadership(preferred.id).await?;
        }
        Ok(())
    }
}

fn is_value(outcome: bitroster_command::Outcome) -> bool {
    matches!(outcome, bitroster_command::Outcome::Reply(bitroster_command::Reply::Bulk(_)))
}

/// How a replica is started.
pub(crate) fn spec(
    state: &ClusterState,
    node: NodeId,
    group: GroupId,
    replica: ReplicaId,
) -> GroupSpec {
    let slots = if group == GroupId::META { meta::slots() } else { state.map.slots_of(group) };
    let preferred = state.preferred(group).is_some_and(|preferred| preferred.node == node);
    GroupSpec { id: group, slots, replica, founders: state.founders(group, replica), preferred }
}

/// Offers every state that the meta group commits, on a node that has a replica of it.
pub(crate) async fn watch_meta(
    shard: Arc<Shard>,
    cell: StateCell,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = interval(ROUND_PAUSE);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let Some(handle) = shard.group(GroupId::META) else { continue };
        let mut applied = handle.applied_changes();
        loop {
            offer(&handle, &cell);
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { break },
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

fn offer(handle: &GroupHandle, cell: &StateCell) {
    use bitroster_command::{Outcome, Reply};
    let Some(Outcome::Reply(Reply::Bulk(bytes))) = handle.peek(&meta::get()) else { return };
    match ClusterState::decode(&bytes) {
        Ok(state) => {
            cell.offer(Arc::new(state));
        }
        Err(error) => error!(%error, "the meta group holds a state that cannot be read"),
    }
}
