//! What may happen to a cluster, one pure function each.

use std::sync::Arc;

use bitroster_types::{GroupId, NodeId, ReplicaId};

use super::{
    ClusterState, NodeEntry, ReplicaEntry, meta_replicas,
    users::{self, Users, UsersError},
};

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No such node.
    #[error("there is no node {0}")]
    NoNode(NodeId),
    /// Another node is leaving already, or this one.
    #[error("node {0} is leaving already")]
    Leaving(NodeId),
    /// More users, or longer ones, than a state may have.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// No other node can take a replica.
    #[error(
        "group {group} has a replica on node {node} and no other node can take it: add a node first"
    )]
    NoRoom {
        /// The group.
        group: GroupId,
        /// The node that was to lose it.
        node: NodeId,
    },
    /// The node that was to take the replicas has one of the group already.
    #[error("node {node} has a replica of group {group} already")]
    HasReplica {
        /// The group.
        group: GroupId,
        /// The node.
        node: NodeId,
    },
}

/// A new state and what is different, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// One revision later.
    pub state: ClusterState,
    /// For people.
    pub lines: Vec<String>,
}

impl ClusterState {
    fn begin(&self) -> Changed {
        let mut state = self.clone();
        state.revision += 1;
        Changed { state, lines: Vec::new() }
    }

    /// Makes the node with this token a member: the same number again if it is one already. A node
    /// at the address of another one took its place, whose disk is lost: it gets that one's
    /// replicas under new numbers. `None` where nothing changes.
    pub fn join(&self, token: u64, address: &str) -> (NodeId, Option<Changed>) {
        if let Some((id, entry)) = self.nodes.iter().find(|(_, entry)| entry.token == token) {
            if entry.address == address {
                return (*id, None);
            }
            let mut changed = self.begin();
            changed.lines.push(format!("node {id} is at {address} now"));
            if let Some(entry) = changed.state.nodes.get_mut(id) {
                address.clone_into(&mut entry.address);
            }
            return (*id, Some(changed));
        }
        let lost = self.nodes.iter().find(|(_, entry)| entry.address == address);
        let mut changed = self.begin();
        let state = &mut changed.state;
        let id = NodeId(state.next_node);
        state.next_node += 1;
        let entry = NodeEntry { token, address: address.to_owned(), leaving: false };
        state.nodes.insert(id, entry);
        changed.lines.push(format!("node {id} at {address} joins"));
        if let Some((lost, _)) = lost {
            changed.lines.push(format!("node {id} takes the place of node {lost}"));
            changed.retire(*lost, Some(id)).expect("a new node has room");
            // Nobody is to look for the lost node where the new one is.
            if let Some(entry) = changed.state.nodes.get_mut(lost) {
                entry.address.clear();
            }
            changed.forget_empty();
        } else {
            changed.grow_meta();
        }
        (id, Some(changed))
    }

    /// Moves all replicas off `node` and forgets it once that is done.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing is changed then.
    pub fn remove(&self, node: NodeId) -> Result<Changed, ChangeError> {
        self.replace(node, None)
    }

    /// As [`remove`](Self::remove), onto one given node.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing is changed then.
    pub fn replace(&self, node: NodeId, with: Option<NodeId>) -> Result<Changed, ChangeError> {
        let entry = self.nodes.get(&node).ok_or(ChangeError::NoNode(node))?;
        if entry.leaving {
            return Err(ChangeError::Leaving(node));
        }
        if let Some(with) = with {
            let entry = self.nodes.get(&with).ok_or(ChangeError::NoNode(with))?;
            if entry.leaving || with == node {
                return Err(ChangeError::Leaving(with));
            }
        }
        let mut changed = self.begin();
        changed.retire(node, with)?;
        changed.forget_empty();
        Ok(changed)
    }

    /// Spreads replicas and leaders evenly: no node has two replicas, or the lead of two groups,
    /// more than another. `None` where it is so already.
    pub fn rebalance(&self) -> Option<Changed> {
        let mut changed = self.begin();
        changed.grow_meta();
        while changed.move_one() {}
        changed.spread_leads();
        (!changed.lines.is_empty()).then_some(changed)
    }

    /// Makes `users` the cluster's users. `None` where they are so already.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Users`]; nothing is changed then.
    pub fn set_users(&self, users: Users) -> Result<Option<Changed>, ChangeError> {
        users::check(&users)?;
        if *self.users == users {
            return Ok(None);
        }
        let mut changed = self.begin();
        changed.lines = users::differences(&self.users, &users);
        changed.state.users = Arc::new(users);
        Ok(Some(changed))
    }

    /// Notes that a group does without the replicas that were to leave. `None` where there are
    /// none.
    pub fn settle(&self, group: GroupId) -> Option<Changed> {
        if self.replicas(group).iter().all(|replica| !replica.leaving) {
            return None;
        }
        let mut changed = self.begin();
        if let Some(replicas) = changed.state.groups.get_mut(&group) {
            for gone in replicas.extract_if(.., |replica| replica.leaving) {
                let line = format!("group {group}: replica {} left node {}", gone.id, gone.node);
                changed.lines.push(line);
            }
        }
        changed.forget_empty();
        Some(changed)
    }
}

impl Changed {
    /// Has `node` leave, and others take its replicas: `with`, or whoever has fewest.
    fn retire(&mut self, node: NodeId, with: Option<NodeId>) -> Result<(), ChangeError> {
        if let Some(entry) = self.state.nodes.get_mut(&node) {
            entry.leaving = true;
        }
        let hosted: Vec<(GroupId, ReplicaEntry)> =
            self.state.hosted(node).filter(|(_, replica)| !replica.leaving).collect();
        for (group, replica) in hosted {
            let spare = || self.least_loaded(group);
            let target = match with {
                // Where the meta group lies is of no matter to who replaces a node.
                Some(with) if self.hosts(group, with) && group == GroupId::META => spare(),
                Some(with) if self.hosts(group, with) => {
                    return Err(ChangeError::HasReplica { group, node: with });
                }
                Some(with) => Some(with),
                None => spare(),
            };
            match target {
                Some(target) => self.move_replica(group, replica, target),
                // The meta group needs no given number of replicas.
                None if group == GroupId::META => self.drop_replica(group, replica),
                None => return Err(ChangeError::NoRoom { group, node }),
            }
        }
        Ok(())
    }

    fn hosts(&self, group: GroupId, node: NodeId) -> bool {
        self.state.replicas(group).iter().any(|replica| replica.node == node)
    }

    /// Replicas of data groups that a node is to have.
    fn load(&self, node: NodeId) -> usize {
        let hosted = self.state.hosted(node);
        hosted.filter(|(group, replica)| *group != GroupId::META && !replica.leaving).count()
    }

    /// The node with the fewest replicas that could take one of `group`.
    fn least_loaded(&self, group: GroupId) -> Option<NodeId> {
        let nodes = self.state.nodes.iter().filter(|(_, entry)| !entry.leaving);
        let free = nodes.map(|(id, _)| *id).filter(|id| !self.hosts(group, *id));
        free.min_by_key(|id| (self.load(*id), *id))
    }

    fn new_replica(&mut self, node: NodeId) -> ReplicaEntry {
        let id = ReplicaId(self.state.next_replica);
        self.state.next_replica += 1;
        ReplicaEntry { id, node, leaving: false }
    }

    fn move_replica(&mut self, group: GroupId, from: ReplicaEntry, to: NodeId) {
        let new = self.new_replica(to);
        let line = format!(
            "group {group}: replica {} on node {to} replaces replica {} on node {}",
            new.id, from.id, from.node
        );
        self.lines.push(line);
        if let Some(replicas) = self.state.groups.get_mut(&group) {
            for replica in replicas.iter_mut().filter(|replica| replica.id == from.id) {
                replica.leaving = true;
            }
            // In the old one's place, so that leaders stay as even as they were.
            let place = replicas.iter().position(|replica| replica.id == from.id);
            replicas.insert(place.unwrap_or(0), new);
        }
    }

    fn drop_replica(&mut self, group: GroupId, from: ReplicaEntry) {
        self.lines.push(format!("group {group}: replica {} leaves node {}", from.id, from.node));
        for replica in self.state.groups.get_mut(&group).into_iter().flatten() {
            replica.leaving |= replica.id == from.id;
        }
    }

    /// Gives the meta group a replica on another node where it has fewer than it should.
    fn grow_meta(&mut self) {
        let staying = self.state.nodes.values().filter(|entry| !entry.leaving).count();
        loop {
            let have = self.state.members(GroupId::META).len();
            // From an odd number to the next: two at a time where there are three already.
            let Some(node) = self.least_loaded(GroupId::META) else { return };
            if have >= meta_replicas(staying) {
                return;
            }
            let new = self.new_replica(node);
            self.lines.push(format!("group 0: replica {} on node {node} is added", new.id));
            self.state.groups.entry(GroupId::META).or_default().push(new);
        }
    }

    /// Moves one replica from the fullest node to the emptiest, if that makes it more even.
    fn move_one(&mut self) -> bool {
        let nodes: Vec<NodeId> = self
            .state
            .nodes
            .iter()
            .filter(|(_, entry)| !entry.leaving)
            .map(|(id, _)| *id)
            .collect();
        let Some(emptiest) = nodes.iter().copied().min_by_key(|id| (self.load(*id), *id)) else {
            return false;
        };
        let Some(fullest) = nodes.iter().copied().max_by_key(|id| self.load(*id)) else {
            return false;
        };
        if self.load(fullest) < self.load(emptiest) + 2 {
            return false;
        }
        let movable = self.state.hosted(fullest).find(|(group, replica)| {
            let is_moving = self.state.replicas(*group).iter().any(|replica| replica.leaving);
            *group != GroupId::META
                && !replica.leaving
                && !self.hosts(*group, emptiest)
                && !is_moving
        });
        let Some((group, replica)) = movable else { return false };
        self.move_replica(group, replica, emptiest);
        true
    }

    /// Changes which replica should lead where a node leads two groups more than another could.
    fn spread_leads(&mut self) {
        let mut leads = std::collections::BTreeMap::<NodeId, usize>::new();
        for id in self.state.nodes.keys() {
            leads.insert(*id, 0);
        }
        for (group, replicas) in &mut self.state.groups {
            if *group == GroupId::META {
                continue;
            }
            let staying = |replica: &ReplicaEntry| !replica.leaving;
            let Some(now) = replicas.iter().position(staying) else { continue };
            let best = (0..replicas.len())
                .filter(|at| staying(&replicas[*at]))
                .min_by_key(|at| leads.get(&replicas[*at].node).copied().unwrap_or(0))
                .unwrap_or(now);
            if best != now {
                replicas.swap(now, best);
                let node = replicas[now].node;
                self.lines.push(format!("group {group}: node {node} should lead"));
            }
            *leads.entry(replicas[now].node).or_default() += 1;
        }
    }

    /// Forgets nodes that were to leave and have no replica any more.
    fn forget_empty(&mut self) {
        let empty: Vec<NodeId> = self
            .state
            .nodes
            .iter()
            .filter(|(id, entry)| entry.leaving && self.state.hosted(**id).next().is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in empty {
            self.state.nodes.remove(&id);
            self.lines.push(format!("node {id} has left"));
        }
    }
}
