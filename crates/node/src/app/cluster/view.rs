//! The cluster as clients are told of it.

use std::sync::{Arc, OnceLock};

use bitroster_frontend::{ClusterView, GroupView, NodeView, SlotRange};
use bitroster_placement::ClusterState;
use bitroster_rpc::{ClusterTransport, Links, StateCell};
use bitroster_shard::Shard;
use bitroster_types::{GroupId, NodeId};

/// What the view is made from.
pub(crate) struct Viewer {
    pub(crate) cell: StateCell,
    pub(crate) links: Links,
    pub(crate) transport: Arc<ClusterTransport>,
    pub(crate) shard: Arc<OnceLock<Arc<Shard>>>,
}

impl Viewer {
    /// The cluster as this node sees it now.
    pub(crate) fn view(&self) -> ClusterView {
        let Some(state) = self.cell.current() else { return ClusterView::default() };
        let linked = self.links.linked();
        let me = self.links.identity().node;
        let node = |id: &NodeId| {
            let address = state.address(*id).unwrap_or_default();
            let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
            NodeView {
                id: *id,
                host: host.to_owned(),
                port: port.parse().unwrap_or(0),
                role: "shard",
                is_linked: me == Some(*id) || linked.contains(id),
            }
        };
        let range = |(first, last, group)| SlotRange { first, last, group };
        let shard = self.shard.get();
        let applied = |shard: &Arc<Shard>| -> u64 {
            shard.groups().map(|group| group.status().applied).sum()
        };
        ClusterView {
            cluster: Some(state.cluster),
            revision: state.revision,
            epoch: state.map.epoch(),
            me,
            nodes: state.nodes.keys().map(node).collect(),
            ranges: state.map.ranges().into_iter().map(range).collect(),
            groups: state.map.groups().iter().map(|group| self.group(&state, *group)).collect(),
            applied_entries: shard.map_or(0, applied),
        }
    }

    fn group(&self, state: &ClusterState, group: GroupId) -> GroupView {
        let here = self.shard.get().and_then(|shard| shard.group(group));
        let leader = here.and_then(|handle| handle.leader());
        GroupView {
            id: group,
            leader: leader.or_else(|| self.transport.leader(group)),
            voters: state.members(group).into_values().collect(),
        }
    }
}
