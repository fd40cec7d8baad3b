//! The newest state of the cluster that a node has seen.

use std::{fmt, sync::Arc};

use bitroster_placement::ClusterState;
use bitroster_types::{Deadline, NodeId};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout_at};

/// Where a node keeps the newest state that it has seen, whoever told it. Clones are the same cell.
///
/// States come from the node's own meta replica and from every link: a link hands on what its end
/// has, once and at each change, so that a change reaches all nodes without anybody asking.
#[derive(Clone)]
pub struct StateCell {
    newest: Arc<watch::Sender<Option<Arc<ClusterState>>>>,
    /// The bytes of the revision that was last sent: many links send the same.
    encoded: Arc<Mutex<(u64, Bytes)>>,
}

impl StateCell {
    /// A cell without a state.
    pub fn new() -> Self {
        Self { newest: Arc::new(watch::Sender::new(None)), encoded: Arc::default() }
    }

    /// Keeps `state` if it is newer than what is kept, and of the same cluster. Says whether.
    pub fn offer(&self, state: Arc<ClusterState>) -> bool {
        self.newest.send_if_modified(|kept| {
            let is_newer = kept
                .as_ref()
                .is_none_or(|kept| kept.cluster == state.cluster && kept.revision < state.revision);
            if is_newer {
                *kept = Some(state);
            }
            is_newer
        })
    }

    /// The state, if one was ever seen.
    pub fn current(&self) -> Option<Arc<ClusterState>> {
        self.newest.borrow().clone()
    }

    /// Follows the state.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<ClusterState>>> {
        self.newest.subscribe()
    }

    /// The epoch of the state's map; 0 without a state.
    pub fn epoch(&self) -> u64 {
        self.newest.borrow().as_ref().map_or(0, |state| state.map.epoch())
    }

    /// Where a node is reached.
    pub fn address(&self, node: NodeId) -> Option<String> {
        self.newest.borrow().as_ref()?.address(node).map(str::to_owned)
    }

    /// Waits until the map's epoch is at least `epoch`. Says whether it is, by the deadline.
    pub async fn reaches(&self, epoch: u64, deadline: Deadline) -> bool {
        let mut states = self.subscribe();
        let reached =
            states.wait_for(|state| state.as_ref().is_some_and(|state| state.map.epoch() >= epoch));
        matches!(timeout_at(deadline.instant().into(), reached).await, Ok(Ok(_)))
    }

    /// The state's revision and bytes. Encodes each revision once.
    pub(crate) fn encoded(&self) -> Option<(u64, Bytes)> {
        let state = self.current()?;
        let mut encoded = self.encoded.lock();
        if encoded.0 != state.revision || encoded.1.is_empty() {
            *encoded = (state.revision, state.encode().into());
        }
        Some(encoded.clone())
    }
}

impl Default for StateCell {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StateCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.newest.borrow().as_ref().map(|state| state.revision);
        f.debug_struct("StateCell").field("revision", &revision).finish_non_exhaustive()
    }
}

/// What one end of a link knows of the other's state.
#[derive(Debug)]
pub(crate) struct StateFeed {
    cell: StateCell,
    changes: watch::Receiver<Option<Arc<ClusterState>>>,
    /// The newest revision that the other end is known to have.
    known: u64,
}

impl StateFeed {
    pub(crate) fn new(cell: &StateCell) -> Self {
        let mut changes = cell.subscribe();
        changes.mark_changed();
        Self { cell: cell.clone(), changes, known: 0 }
    }

    /// Waits for a state that the other end may not have, and returns its bytes. Never ends where
    /// there is none.
    ///
    /// # Cancel safety
    ///
    /// What was not returned is returned by the next call.
    pub(crate) async fn next(&mut self) -> Bytes {
        loop {
            // The cell lives as long as `self`, and its sender with it.
            drop(self.changes.changed().await);
            if let Some((revision, bytes)) = self.cell.encoded()
                && revision > self.known
            {
                self.known = revision;
                return bytes;
            }
        }
    }

    /// Takes what the other end sent.
    pub(crate) fn receive(&mut self, bytes: &Bytes) {
        match ClusterState::decode(bytes) {
            Ok(state) => {
                self.known = self.known.max(state.revision);
                let revision = state.revision;
                if self.cell.offer(Arc::new(state)) {
                    tracing::debug!(revision, "a newer state of the cluster came over a link");
                }
            }
            Err(error) => tracing::warn!(%error, "a link brought a cluster's state of no sense"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bitroster_placement::{Founding, state::Member};
    use bitroster_types::{ClusterId, SegmentWidth};

    use super::*;

    fn state(cluster: u128) -> ClusterState {
        ClusterState::found(&Founding {
            cluster: ClusterId(cluster),
            members: vec![Member { node: NodeId(1), token: 1, address: "h:1".to_owned() }],
            groups: 1,
            replicas: 1,
            width: SegmentWidth::DEFAULT,
        })
    }

    #[test]
    fn only_a_newer_state_of_the_same_cluster_is_kept() {
        let cell = StateCell::new();
        assert_eq!((cell.epoch(), cell.encoded()), (0, None));
        let first = Arc::new(state(1));
        assert!(cell.offer(first.clone()));
        assert!(!cell.offer(first.clone()));
        let mut foreign = state(2);
        foreign.revision = 9;
        assert!(!cell.offer(Arc::new(foreign)));
        let mut next = state(1);
        next.revision = 2;
        assert!(cell.offer(Arc::new(next.clone())));
        assert!(!cell.offer(first));
        let (revision, bytes) = cell.encoded().unwrap();
        assert_eq!((revision, ClusterState::decode(&bytes).unwrap()), (2, next));
    }
}
