//! What `bitroster cluster status --output json` says, as values.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A cluster as its nodes tell it.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The state's version.
    pub revision: u64,
    /// The shard nodes.
    pub nodes: Vec<NodeStatus>,
    /// The groups, the meta group (0) among them.
    pub groups: Vec<GroupStatus>,
    /// Ranges of slots, first and last, and the group that owns them.
    pub slots: Vec<(u64, u64, u64)>,
}

/// A shard node.
#[derive(Clone, Debug, Default)]
pub struct NodeStatus {
    /// Its number in the cluster.
    pub id: u64,
    /// Where other nodes reach it.
    pub address: String,
    /// Whether it answers.
    pub reachable: bool,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub struct GroupStatus {
    /// Its number; 0 is the meta group.
    pub group: u64,
    /// The node that leads it, if one says so.
    pub leader: Option<u64>,
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
}

/// A replica.
#[derive(Clone, Debug, Default)]
pub struct ReplicaStatus {
    /// Its number, never used again.
    pub replica: u64,
    /// The node that holds it.
    pub node: u64,
    /// Whether it is still being filled.
    pub learner: bool,
    /// Whether it goes away.
    pub leaving: bool,
    /// Entries behind its leader, if the leader knows.
    pub behind: Option<u64>,
}

impl Status {
    /// Reads the command's output.
    ///
    /// # Errors
    ///
    /// If it is not JSON, or a field that is always there is not.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("status is not JSON")?;
        let nodes = list(&value, "nodes")?.iter().map(node).collect::<Result<_>>()?;
        let groups = list(&value, "groups")?.iter().map(group).collect::<Result<_>>()?;
        let slots = list(&value, "slots")?.iter().map(range).collect::<Result<_>>()?;
        Ok(Self { revision: number(&value, "revision")?, nodes, groups, slots })
    }

    /// The number of the node with this address.
    pub fn id_of(&self, address: &str) -> Option<u64> {
        self.nodes.iter().find(|node| node.address == address).map(|node| node.id)
    }

    /// The group that owns a slot.
    pub fn owner(&self, slot: u64) -> Option<u64> {
        let owns = |(first, last, _): &&(u64, u64, u64)| (*first..=*last).contains(&slot);
        self.slots.iter().find(owns).map(|(_, _, group)| *group)
    }

    /// The node that leads a group.
    pub fn leader(&self, group: u64) -> Option<u64> {
        self.groups.iter().find(|found| found.group == group)?.leader
    }

    /// The nodes that hold a replica of a group.
    pub fn holders(&self, group: u64) -> Vec<u64> {
        let found = self.groups.iter().find(|found| found.group == group);
        found.map_or_else(Vec::new, |found| found.replicas.iter().map(|it| it.node).collect())
    }

    /// Whether every group has a leader, and every replica is a full member with all but the last
    /// few entries.
    pub fn is_settled(&self) -> bool {
        let full = |replica: &ReplicaStatus| {
            !replica.learner && !replica.leaving && replica.behind.is_some_and(|behind| behind < 50)
        };
        let settled = |group: &GroupStatus| {
            group.leader.is_some() && !group.replicas.is_empty() && group.replicas.iter().all(full)
        };
        !self.groups.is_empty() && self.groups.iter().all(settled)
    }
}

fn node(value: &Value) -> Result<NodeStatus> {
    let address = value["address"].as_str().context("a node has no address")?;
    let reachable = value["reachable"].as_bool().context("a node does not tell if it answers")?;
    Ok(NodeStatus { id: number(value, "id")?, address: address.to_owned(), reachable })
}

fn group(value: &Value) -> Result<GroupStatus> {
    let replicas = list(value, "replicas")?.iter().map(replica).collect::<Result<_>>()?;
    Ok(GroupStatus { group: number(value, "group")?, leader: value["leader"].as_u64(), replicas })
}

fn replica(value: &Value) -> Result<ReplicaStatus> {
    Ok(ReplicaStatus {
        replica: number(value, "replica")?,
        node: number(value, "node")?,
        // A node that does not answer cannot say that its replica is filled.
        learner: value["learner"].as_bool().unwrap_or(true),
        leaving: value["leaving"].as_bool().unwrap_or(false),
        behind: value["behind"].as_u64(),
    })
}

fn range(value: &Value) -> Result<(u64, u64, u64)> {
    let at = |at: usize| value[at].as_u64().with_context(|| format!("no range of slots: {value}"));
    Ok((at(0)?, at(1)?, at(2)?))
}

fn number(value: &Value, field: &str) -> Result<u64> {
    value[field].as_u64().with_context(|| format!("no number {field} in {value}"))
}

fn list<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    value[field].as_array().with_context(|| format!("no list {field} in {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_settled_once_every_replica_is_a_member_and_has_the_log() {
        let text = |learner: bool, behind: &str| {
            format!(
                r#"{{"revision": 3, "nodes": [{{"id": 1, "address": "h:1", "reachable": true}}],
                "groups": [{{"group": 1, "leader": 1, "replicas":
                [{{"replica": 9, "node": 1, "learner": {learner}, "behind": {behind}}}]}}],
                "slots": [[0, 8000, 1], [8001, 16383, 2]]}}"#
            )
        };
        let settled = Status::parse(&text(false, "3")).expect("a status");
        assert!(settled.is_settled());
        assert_eq!((settled.id_of("h:1"), settled.leader(1)), (Some(1), Some(1)));
        assert_eq!((settled.owner(8000), settled.owner(8001)), (Some(1), Some(2)));
        assert!(!Status::parse(&text(true, "0")).expect("a status").is_settled());
        assert!(!Status::parse(&text(false, "null")).expect("a status").is_settled());
        assert!(!Status::parse(&text(false, "5000")).expect("a status").is_settled());
        assert!(Status::parse("{}").is_err());
    }
}
