//! The map, the nodes and the replicas, as this node knows them now.

use std::sync::Arc;

use bitroster_placement::{ClusterMap, ClusterState};
use bitroster_rpc::StateCell;

/// What is known, by whatever way.
#[derive(Clone)]
pub(crate) enum Topology {
    /// A lone node's map, which never changes.
    Fixed(Arc<ClusterMap>),
    /// The newest state of a cluster, once there is one.
    Followed(StateCell),
}

impl Topology {
    /// Who owns which slots; `None` before a cluster is found.
    pub(crate) fn map(&self) -> Option<Arc<ClusterMap>> {
        match self {
            Self::Fixed(map) => Some(Arc::clone(map)),
            Self::Followed(cell) => cell.current().map(|state| Arc::clone(&state.map)),
        }
    }

    /// The cluster's state; `None` for a lone node, and before a cluster is found.
    pub(crate) fn state(&self) -> Option<Arc<ClusterState>> {
        match self {
            Self::Fixed(_) => None,
            Self::Followed(cell) => cell.current(),
        }
    }
}
