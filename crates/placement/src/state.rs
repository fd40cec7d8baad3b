//! The cluster as the meta group keeps it: nodes, groups, replicas and the map.
//!
//! A state is a value with a revision. It changes only by the functions of [`change`], which are
//! pure: who changes it writes the outcome into the meta group's log on the condition that nobody
//! else has, and plans again otherwise. All that nodes do about it - start replicas, feed them,
//! drop them - follows from the newest state that they have seen.

pub mod change;
mod codec;
pub mod users;

use std::{collections::BTreeMap, sync::Arc};

use bitroster_types::{ClusterId, GroupId, NodeId, ReplicaId, SegmentWidth};

use crate::ClusterMap;

pub use change::{ChangeError, Changed};
pub use codec::StateError;
pub use users::Users;

/// Most members of the meta group: more would make its writes slower and protect against failures
/// that take the data with them anyway.
const META_REPLICAS_MAX: usize = 5;

/// All that a cluster's first state follows from. Its founding members keep it, so that one that
/// crashed during the founding can finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// The cluster's number.
    pub cluster: ClusterId,
    /// The founding members, by ascending number; their numbers are 1, 2, ...
    pub members: Vec<Member>,
    /// How many data groups.
    pub groups: u16,
    /// Replicas of each group; fewer where there are fewer members.
    pub replicas: u8,
    /// The width of all segments.
    pub width: SegmentWidth,
}

/// A founding member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub node: NodeId,
    /// What it drew at its first start.
    pub token: u64,
    /// Where other nodes reach it, `host:port`.
    pub address: String,
}

/// A node that keeps data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// What it drew at its first start: tells a node from one with an empty disk in its place.
    pub token: u64,
    /// Where other nodes reach it, `host:port`.
    pub address: String,
    /// Whether it gets no replicas any more and is forgotten when it has none left.
    pub leaving: bool,
}

/// A replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaEntry {
    /// Its number.
    pub id: ReplicaId,
    /// The node it lives on.
    pub node: NodeId,
    /// Whether it goes as soon as the others can do without it.
    pub leaving: bool,
}

/// The cluster at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    /// The cluster's number.
    pub cluster: ClusterId,
    /// Grows by one with every change, from 1.
    pub revision: u64,
    /// How it began.
    pub founding: Founding,
    /// Who owns which slot. Its epoch grows only when that changes.
    pub map: Arc<ClusterMap>,
    /// The nodes that keep data.
    pub nodes: BTreeMap<NodeId, NodeEntry>,
    /// The replicas of each group, the meta group among them. The first that does not leave should
    /// lead.
    pub groups: BTreeMap<GroupId, Vec<ReplicaEntry>>,
    /// Who may do what as a client, by name; in a form that only the clients' side reads. A user
    /// that is not here does not exist, but for `default`, which is then as each node's
    /// configuration says.
    pub users: Arc<Users>,
    next_node: u64,
    next_replica: u64,
}

impl ClusterState {
    /// The first state of a cluster: the same on every node that computes it.
    ///
    /// Group after group takes the next nodes in turn, so that replicas and leaders are even. The
    /// meta group takes all members up to five, an odd number beyond two.
    ///
    /// # Panics
    ///
    /// If there are no members, groups or replicas.
    pub fn found(founding: &Founding) -> Self {
        let members = &founding.members;
        assert!(!members.is_empty() && founding.groups > 0 && founding.replicas > 0);
        let ids: Vec<GroupId> = (1..=founding.groups).map(GroupId).collect();
        let map = Arc::new(ClusterMap::plan(&ids, founding.width));
        let mut next_replica = 1;
        let mut place = |first: usize, count: usize| -> Vec<ReplicaEntry> {
            (0..count.min(members.len()))
                .map(|at| {
                    let node = members[(first + at) % members.len()].node;
                    next_replica += 1;
                    ReplicaEntry { id: ReplicaId(next_replica - 1), node, leaving: false }
                })
                .collect()
        };
        let mut groups = BTreeMap::from([(GroupId::META, place(0, meta_replicas(members.len())))]);
        for (at, id) in ids.into_iter().enumerate() {
            groups.insert(id, place(at, usize::from(founding.replicas)));
        }
        let node = |member: &Member| {
            let Member { node, token, address } = member.clone();
            (node, NodeEntry { token, address, leaving: false })
        };
        Self {
            cluster: founding.cluster,
            revision: 1,
            founding: founding.clone(),
            map,
            nodes: members.iter().map(node).collect(),
            groups,
            users: Arc::default(),
            next_node: members.iter().map(|member| member.node.0).max().unwrap_or(0) + 1,
            next_replica,
        }
    }

    /// Where a node is reached.
    pub fn address(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node).map(|entry| entry.address.as_str())
    }

    /// The replicas of a group; none where there is no such group.
    pub fn replicas(&self, group: GroupId) -> &[ReplicaEntry] {
        self.groups.get(&group).map_or(&[], Vec::as_slice)
    }

    /// The replicas that a group is to have in the end.
    pub fn members(&self, group: GroupId) -> BTreeMap<ReplicaId, NodeId> {
        let stays = self.replicas(group).iter().filter(|replica| !replica.leaving);
        stays.map(|replica| (replica.id, replica.node)).collect()
    }

    /// The replica that should lead a group.
    pub fn preferred(&self, group: GroupId) -> Option<ReplicaEntry> {
        self.replicas(group).iter().find(|replica| !replica.leaving).copied()
    }

    /// The groups with a replica on `node`, and that replica.
    pub fn hosted(&self, node: NodeId) -> impl Iterator<Item = (GroupId, ReplicaEntry)> + '_ {
        self.groups.iter().flat_map(move |(group, replicas)| {
            let here = replicas.iter().filter(move |replica| replica.node == node);
            here.map(move |replica| (*group, *replica))
        })
    }

    /// The members that a group began with: those of the first state. Empty for a replica that was
    /// made later, which waits to be fed.
    pub fn founders(&self, group: GroupId, replica: ReplicaId) -> Vec<(ReplicaId, NodeId)> {
        let first = Self::found(&self.founding);
        let founders = first.replicas(group);
        if founders.iter().all(|founder| founder.id != replica) {
            return Vec::new();
        }
        founders.iter().map(|founder| (founder.id, founder.node)).collect()
    }
}

/// How many replicas the meta group has on `nodes` nodes.
fn meta_replicas(nodes: usize) -> usize {
    let most = nodes.min(META_REPLICAS_MAX);
    if most > 2 && most.is_multiple_of(2) { most - 1 } else { most }
}

#[cfg(test)]
mod tests;
