//! What is known of a cluster, for people and for programs.

use std::fmt::Write as _;

use bitroster_placement::ClusterState;
use bitroster_proto::internal as wire;
use bitroster_types::{GroupId, NodeId, ReplicaId};
use serde_json::{Value, json};

/// A node, and what it said.
pub(super) struct NodeView {
    pub(super) id: NodeId,
    pub(super) address: String,
    pub(super) status: Option<wire::StatusReply>,
}

/// The state and every node's own view.
pub(super) struct Report {
    pub(super) state: ClusterState,
    pub(super) nodes: Vec<NodeView>,
    pub(super) routers: Vec<String>,
}

impl Report {
    fn replica(&self, group: GroupId, replica: ReplicaId) -> Option<&wire::ReplicaStatus> {
        let statuses = self.nodes.iter().filter_map(|node| node.status.as_ref());
        let mut replicas = statuses.flat_map(|status| &status.replicas);
        replicas.find(|status| status.group == u32::from(group.0) && status.replica == replica.0)
    }

    /// The replica that says that it leads, in the highest term.
    fn leader(&self, group: GroupId) -> Option<&wire::ReplicaStatus> {
        let statuses = self.nodes.iter().filter_map(|node| node.status.as_ref());
        let replicas = statuses.flat_map(|status| &status.replicas);
        let leaders = replicas.filter(|status| status.group == u32::from(group.0) && status.leads);
        leaders.max_by_key(|status| status.term)
    }

    fn leader_node(&self, group: GroupId) -> Option<NodeId> {
        let leader = self.leader(group)?;
        let replicas = self.state.replicas(group);
        replicas.iter().find(|replica| replica.id.0 == leader.replica).map(|found| found.node)
    }

    /// How many entries a replica is behind its leader, as the leader sees it.
    fn behind(&self, group: GroupId, replica: ReplicaId) -> Option<u64> {
        let leader = self.leader(group)?;
        if leader.replica == replica.0 {
            return Some(0);
        }
        let follower = leader.followers.iter().find(|follower| follower.replica == replica.0)?;
        Some(follower.behind)
    }

    /// What is still being moved, a line a replica.
    pub(super) fn moves(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (group, replicas) in &self.state.groups {
            if replicas.iter().all(|replica| !replica.leaving) {
                continue;
            }
            for replica in replicas {
                let progress = match self.behind(*group, replica.id) {
                    Some(0) => "has everything".to_owned(),
                    Some(behind) => format!("{behind} entries behind"),
                    None => "not in the group yet".to_owned(),
                };
                let what = if replica.leaving { "leaves" } else { "stays" };
                lines.push(format!(
                    "group {group}: replica {} on node {} {what}, {progress}",
                    replica.id, replica.node
                ));
            }
        }
        lines
    }

    pub(super) fn status(&self) -> String {
        let led = |group: &&GroupId| self.leader_node(**group).is_some();
        let groups = self.state.groups.len();
        let with_leader = self.state.groups.keys().filter(led).count();
        let answering = self.nodes.iter().filter(|node| node.status.is_some()).count();
        let mut out = format!(
            "cluster {}, revision {}, map epoch {}\n{answering} of {} nodes answer, {with_leader} \
             of {groups} groups have a leader, {} routers\n\n",
            self.state.cluster,
            self.state.revision,
            self.state.map.epoch(),
            self.nodes.len(),
            self.routers.len(),
        );
        out.push_str(&self.nodes());
        out.push('\n');
        out.push_str(&self.groups());
        let moves = self.moves();
        if !moves.is_empty() {
            out.push_str("\nmoving:\n");
            for line in moves {
                writeln!(out, "  {line}").expect("writing to a string does not fail");
            }
        }
        out
    }

    pub(super) fn nodes(&self) -> String {
        let mut rows = vec![
            ["NODE", "ADDRESS", "STATE", "REPLICAS", "LEADS", "KEYS", "DATA"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for node in &self.nodes {
            let leaving = self.state.nodes.get(&node.id).is_some_and(|entry| entry.leaving);
            let state = match (&node.status, leaving) {
                (None, _) => "no answer",
                (Some(_), true) => "leaving",
                (Some(_), false) => "up",
            };
            let replicas = self.state.hosted(node.id).count();
            let leads = self
                .state
                .groups
                .keys()
                .filter(|group| self.leader_node(**group) == Some(node.id))
                .count();
            let figure = |field: fn(&wire::StatusReply) -> u64| {
                node.status.as_ref().map_or_else(|| "-".to_owned(), |it| field(it).to_string())
            };
            rows.push(vec![
                node.id.to_string(),
                node.address.clone(),
                state.to_owned(),
                replicas.to_string(),
                leads.to_string(),
                figure(|status| status.keys),
                figure(|status| status.dataset_bytes),
            ]);
        }
        for router in &self.routers {
            let dash = || "-".to_owned();
            rows.push(vec![
                dash(),
                router.clone(),
                "router".to_owned(),
                dash(),
                dash(),
                dash(),
                dash(),
            ]);
        }
        table(&rows)
    }

    pub(super) fn groups(&self) -> String {
        let mut rows = vec![
            ["GROUP", "SLOTS", "LEADER", "TERM", "REPLICAS (node:replica, entries behind)"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for (group, replicas) in &self.state.groups {
            let leader = self.leader_node(*group);
            let name =
                if *group == GroupId::META { "0 (meta)".to_owned() } else { group.to_string() };
            let replicas: Vec<String> = replicas
                .iter()
                .map(|replica| {
                    let behind = self.behind(*group, replica.id);
                    let behind = behind.map_or_else(|| "?".to_owned(), |behind| behind.to_string());
                    let mark = if replica.leaving { " leaving" } else { "" };
                    format!("{}:{} +{behind}{mark}", replica.node, replica.id)
                })
                .collect();
            rows.push(vec![
                name,
                self.state.map.slots_of(*group).len().to_string(),
                leader.map_or_else(|| "none".to_owned(), |node| format!("node {node}")),
                self.leader(*group).map_or_else(|| "-".to_owned(), |it| it.term.to_string()),
                replicas.join("  "),
            ]);
        }
        table(&rows)
    }

    pub(super) fn slots(&self) -> String {
        let mut rows = vec![["SLOTS", "GROUP", "LEADER"].map(str::to_owned).to_vec()];
        for (first, last, group) in self.state.map.ranges() {
            let leader = self.leader_node(group);
            rows.push(vec![
                format!("{first}-{last}"),
                group.to_string(),
                leader.map_or_else(|| "none".to_owned(), |node| format!("node {node}")),
            ]);
        }
        table(&rows)
    }

    pub(super) fn json(&self) -> Value {
        let nodes = self.nodes.iter().map(|node| {
            let status = node.status.as_ref();
            json!({
                "id": node.id.0,
                "address": node.address,
                "role": status.map(|status| role_name(status.role())),
                "reachable": status.is_some(),
                "leaving": self.state.nodes.get(&node.id).is_some_and(|entry| entry.leaving),
                "version": status.map(|status| status.version.clone()),
                "revision": status.map(|status| status.revision),
                "linked": status.map(|status| status.linked.clone()),
                "keys": status.map(|status| status.keys),
                "dataset_bytes": status.map(|status| status.dataset_bytes),
            })
        });
        let groups = self.state.groups.iter().map(|(group, replicas)| {
            let replicas = replicas.iter().map(|replica| {
                let status = self.replica(*group, replica.id);
                json!({
                    "replica": replica.id.0,
                    "node": replica.node.0,
                    "leaving": replica.leaving,
                    "leads": status.is_some_and(|status| status.leads),
                    "learner": status.map(|status| status.learner),
                    "ready": status.map(|status| status.ready),
                    "applied": status.map(|status| status.applied),
                    "behind": self.behind(*group, replica.id),
                })
            });
            json!({
                "group": group.0,
                "leader": self.leader_node(*group).map(|node| node.0),
                "term": self.leader(*group).map(|status| status.term),
                "slots": self.state.map.slots_of(*group).len(),
                "replicas": replicas.collect::<Vec<_>>(),
            })
        });
        let ranges = self.state.map.ranges();
        let slots = ranges.iter().map(|(first, last, group)| json!([first, last, group.0]));
        json!({
            "cluster": self.state.cluster.to_string(),
            "revision": self.state.revision,
            "epoch": self.state.map.epoch(),
            "nodes": nodes.collect::<Vec<_>>(),
            "routers": self.routers,
            "groups": groups.collect::<Vec<_>>(),
            "slots": slots.collect::<Vec<_>>(),
            "moving": self.moves(),
        })
    }
}

fn role_name(role: wire::Role) -> &'static str {
    match role {
        wire::Role::All => "all",
        wire::Role::Shard => "shard",
        wire::Role::Router => "router",
        wire::Role::Unspecified => "unknown",
    }
}

/// Rows with their columns below each other; the first row is the head.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:<width$}  ").expect("writing to a string does not fail");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_lie_below_each_other() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["NODE", "ADDRESS"]), row(["1", "a:1"]), row(["12345", "b"])]);
        assert_eq!(text, "NODE   ADDRESS\n1      a:1\n12345  b\n");
    }
}
