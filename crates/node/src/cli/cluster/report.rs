//! What is known of a cluster, for people and for programs.

use std::fmt::Write as _;

use bitroster_placement::{ClusterState, state::ReplicaEntry};
use bitroster_proto::internal as wire;
use bitroster_types::{GroupId, NodeId, ReplicaId};
use serde_json::{Value, json};

use crate::cli::output::{self, Cell, Style, Tone};

/// A node, and what it said.
pub(crate) struct NodeView {
    pub(crate) id: NodeId,
    pub(crate) address: String,
    pub(crate) status: Option<wire::StatusReply>,
    /// Milliseconds by which its clock is ahead of this machine's, if it tells.
    pub(crate) ahead_ms: Option<i64>,
}

/// A router that some node has a link to, and what it said.
pub(crate) struct RouterView {
    pub(crate) address: String,
    pub(crate) status: Option<wire::StatusReply>,
}

/// The state and every node's own view.
pub(crate) struct Report {
    pub(crate) state: ClusterState,
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) routers: Vec<RouterView>,
}

impl Report {
    fn replica(&self, group: GroupId, replica: ReplicaId) -> Option<&wire::ReplicaStatus> {
        let statuses = self.nodes.iter().filter_map(|node| node.status.as_ref());
        let mut replicas = statuses.flat_map(|status| &status.replicas);
        replicas.find(|status| status.group == u32::from(group.0) && status.replica == replica.0)
    }

    /// The replica that says that it leads, in the highest term.
    pub(crate) fn leader(&self, group: GroupId) -> Option<&wire::ReplicaStatus> {
        let statuses = self.nodes.iter().filter_map(|node| node.status.as_ref());
        let replicas = statuses.flat_map(|status| &status.replicas);
        let leaders = replicas.filter(|status| status.group == u32::from(group.0) && status.leads);
        leaders.max_by_key(|status| status.term)
    }

    pub(crate) fn leader_node(&self, group: GroupId) -> Option<NodeId> {
        let leader = self.leader(group)?;
        let replicas = self.state.replicas(group);
        replicas.iter().find(|replica| replica.id.0 == leader.replica).map(|found| found.node)
    }

    /// How many entries a replica is behind its leader, as the leader sees it.
    pub(crate) fn behind(&self, group: GroupId, replica: ReplicaId) -> Option<u64> {
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

    /// What is not as it should be, a line each: nodes that do not answer, groups without leader,
    /// replicas that their leader does not know.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for node in self.nodes.iter().filter(|node| node.status.is_none()) {
            lines.push(format!("node {} at {} does not answer", node.id, node.address));
        }
        for (group, replicas) in &self.state.groups {
            if self.leader(*group).is_none() {
                lines.push(format!("group {group} has no leader"));
                continue;
            }
            let unknown = |replica: &&ReplicaEntry| {
                !replica.leaving && self.behind(*group, replica.id).is_none()
            };
            for replica in replicas.iter().filter(unknown) {
                let ReplicaEntry { id, node, .. } = replica;
                lines.push(format!("group {group}: replica {id} on node {node} is not in it yet"));
            }
        }
        lines
    }

    pub(super) fn status(&self, style: Style) -> String {
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
        out.push_str(&self.nodes(style));
        out.push('\n');
        out.push_str(&self.groups(style));
        section(&mut out, "moving:", &self.moves(), Style::warning, style);
        section(&mut out, "degraded:", &self.problems(), Style::bad, style);
        out
    }

    pub(super) fn nodes(&self, style: Style) -> String {
        let head = ["NODE", "ADDRESS", "STATE", "REPLICAS", "LEADS", "KEYS", "DATA"];
        let mut rows = Vec::new();
        for node in &self.nodes {
            let leaving = self.state.nodes.get(&node.id).is_some_and(|entry| entry.leaving);
            let state = match (&node.status, leaving) {
                (None, _) => Cell::new("no answer", Tone::Bad),
                (Some(_), true) => Cell::new("leaving", Tone::Warning),
                (Some(_), false) => Cell::new("up", Tone::Good),
            };
            let figure = |field: fn(&wire::StatusReply) -> String| {
                node.status.as_ref().map_or_else(dash, |status| Cell::from(field(status)))
            };
            rows.push(vec![
                node.id.to_string().into(),
                node.address.clone().into(),
                state,
                self.state.hosted(node.id).count().to_string().into(),
                self.led_by(node.id).to_string().into(),
                figure(|status| output::thousands(status.keys)),
                figure(|status| output::bytes(status.dataset_bytes)),
            ]);
        }
        for router in &self.routers {
            let (address, state) = (router.address.clone().into(), "router".into());
            rows.push(vec![dash(), address, state, dash(), dash(), dash(), dash()]);
        }
        output::table(&head, rows, &[0, 3, 4, 5, 6], style)
    }

    /// How many groups a node leads.
    pub(crate) fn led_by(&self, node: NodeId) -> usize {
        let groups = self.state.groups.keys();
        groups.filter(|group| self.leader_node(**group) == Some(node)).count()
    }

    pub(super) fn groups(&self, style: Style) -> String {
        let head = ["GROUP", "SLOTS", "LEADER", "TERM", "REPLICAS (node:replica, entries behind)"];
        let mut rows = Vec::new();
        for (group, replicas) in &self.state.groups {
            let leader = match self.leader_node(*group) {
                Some(node) => Cell::from(format!("node {node}")),
                None => Cell::new("none", Tone::Bad),
            };
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
                name.into(),
                self.state.map.slots_of(*group).len().to_string().into(),
                leader,
                self.leader(*group).map_or_else(dash, |it| it.term.to_string().into()),
                replicas.join("  ").into(),
            ]);
        }
        output::table(&head, rows, &[1, 3], style)
    }

    pub(super) fn slots(&self, style: Style) -> String {
        let mut rows = Vec::new();
        for (first, last, group) in self.state.map.ranges() {
            let leader = match self.leader_node(group) {
                Some(node) => Cell::from(format!("node {node}")),
                None => Cell::new("none", Tone::Bad),
            };
            rows.push(vec![format!("{first}-{last}").into(), group.to_string().into(), leader]);
        }
        output::table(&["SLOTS", "GROUP", "LEADER"], rows, &[], style)
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
            "routers": self.routers.iter().map(|router| &router.address).collect::<Vec<_>>(),
            "groups": groups.collect::<Vec<_>>(),
            "slots": slots.collect::<Vec<_>>(),
            "moving": self.moves(),
            "problems": self.problems(),
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

/// What a cell shows that nothing is known of.
fn dash() -> Cell {
    Cell::new("-", Tone::Dim)
}

/// A title and lines below it, where there are any.
fn section(
    out: &mut String,
    title: &str,
    lines: &[String],
    paint: fn(Style, &str) -> String,
    style: Style,
) {
    if lines.is_empty() {
        return;
    }
    let mut put = |line: &str| {
        writeln!(out, "{line}").expect("writing to a string does not fail");
    };
    put("");
    put(&paint(style, title));
    lines.iter().for_each(|line| put(&format!("  {line}")));
}
