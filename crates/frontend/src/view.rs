//! The cluster as CLUSTER, WAIT, ROLE and INFO tell of it.

use bitroster_types::{ClusterId, GroupId, NodeId};

/// The cluster as one node knows it. The default is a node that is alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// The cluster's number; `None` for a node that is alone.
    pub cluster: Option<ClusterId>,
    /// The revision of the cluster's state.
    pub revision: u64,
    /// The epoch of its map.
    pub epoch: u64,
    /// This node's number; `None` for one that keeps no data.
    pub me: Option<NodeId>,
    /// The nodes that keep data, by ascending number.
    pub nodes: Vec<NodeView>,
    /// Who has which slots, ascending, without overlap.
    pub ranges: Vec<SlotRange>,
    /// The groups that own slots or may get some, ascending; not the meta group.
    pub groups: Vec<GroupView>,
    /// Log entries that this node has applied, over all its groups. Only grows.
    pub applied_entries: u64,
}

/// A node that keeps data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its number.
    pub id: NodeId,
    /// The host of the address at which other nodes reach it.
    pub host: String,
    /// The port of that address: not one for clients.
    pub port: u16,
    /// Its role: `shard` or `all`.
    pub role: &'static str,
    /// Whether it is this node, or this node has a connection to it.
    pub is_linked: bool,
}

/// Neighbouring slots of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// The first slot.
    pub first: u16,
    /// The last slot: inclusive.
    pub last: u16,
    /// Their owner.
    pub group: GroupId,
}

impl SlotRange {
    /// How many slots it has.
    pub fn count(&self) -> u64 {
        u64::from(self.last.saturating_sub(self.first)) + 1
    }
}

/// A group and where its replicas are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The group.
    pub id: GroupId,
    /// The node of its leader, where one is known.
    pub leader: Option<NodeId>,
    /// The nodes of all replicas that vote, the leader's among them.
    pub voters: Vec<NodeId>,
}

impl GroupView {
    /// The nodes of the voting replicas that do not lead.
    pub fn followers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters.iter().copied().filter(|node| Some(*node) != self.leader)
    }
}

impl ClusterView {
    /// A node, if it is known.
    pub fn node(&self, id: NodeId) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// A group, if it is known.
    pub fn group(&self, id: GroupId) -> Option<&GroupView> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// The slots of a group, as ranges.
    pub fn ranges_of(&self, group: GroupId) -> impl Iterator<Item = SlotRange> + '_ {
        self.ranges.iter().copied().filter(move |range| range.group == group)
    }

    /// Whether the owner of a range has a leader that this node knows.
    pub fn is_served(&self, range: &SlotRange) -> bool {
        self.group(range.group).is_some_and(|group| group.leader.is_some())
    }

    /// How many replicas beside one have every acknowledged write, at least: a majority without
    /// one, in the group with the fewest replicas. 0 where the node is alone.
    pub fn replicas_beside_one(&self) -> u64 {
        let beside = self.groups.iter().map(|group| group.voters.len() as u64 / 2);
        beside.min().unwrap_or(0)
    }

    /// How many other nodes follow a group that is led here and are connected.
    pub fn followers_linked(&self) -> usize {
        let led = self.groups.iter().filter(|group| self.me.is_some() && group.leader == self.me);
        let mut followers: Vec<NodeId> = led.flat_map(GroupView::followers).collect();
        followers.sort_unstable();
        followers.dedup();
        followers.retain(|id| self.node(*id).is_some_and(|node| node.is_linked));
        followers.len()
    }

    /// Forty hexadecimal digits that name the cluster's data; `None` where the node is alone.
    pub fn data_id(&self) -> Option<String> {
        self.cluster.map(|cluster| format!("{:040x}", cluster.0))
    }

    /// A node's name as Redis has them: forty hexadecimal digits, of the cluster and of the node.
    pub fn name_of(&self, node: NodeId) -> String {
        let cluster = self.cluster.unwrap_or_default().0 >> 32;
        format!("{cluster:024x}{:016x}", node.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: u16, leader: Option<u64>, voters: &[u64]) -> GroupView {
        let voters = voters.iter().copied().map(NodeId).collect();
        GroupView { id: GroupId(id), leader: leader.map(NodeId), voters }
    }

    #[test]
    fn no_more_replicas_are_claimed_than_a_majority_of_the_smallest_group_has() {
        let claimed = |groups: Vec<GroupView>| {
            ClusterView { groups, ..ClusterView::default() }.replicas_beside_one()
        };
        assert_eq!(claimed(vec![]), 0);
        assert_eq!(claimed(vec![group(1, Some(1), &[1])]), 0);
        assert_eq!(claimed(vec![group(1, Some(1), &[1, 2])]), 1);
        assert_eq!(claimed(vec![group(1, None, &[1, 2, 3])]), 1);
        let five = group(1, Some(1), &[1, 2, 3, 4, 5]);
        assert_eq!(claimed(vec![five.clone()]), 2);
        assert_eq!(claimed(vec![five, group(2, Some(1), &[1, 2, 3])]), 1);
    }

    #[test]
    fn names_have_forty_digits_and_tell_nodes_and_clusters_apart() {
        let view =
            ClusterView { cluster: Some(ClusterId(u128::MAX - 7)), ..ClusterView::default() };
        let other = ClusterView { cluster: Some(ClusterId(7)), ..ClusterView::default() };
        let names = [view.name_of(NodeId(1)), view.name_of(NodeId(2)), other.name_of(NodeId(1))];
        assert!(names.iter().all(|name| name.len() == 40));
        assert!(names[0] != names[1] && names[0] != names[2]);
        assert_eq!(view.data_id().map(|id| id.len()), Some(40));
        assert_eq!(ClusterView::default().data_id(), None);
    }
}
