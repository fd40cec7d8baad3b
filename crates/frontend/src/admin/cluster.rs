//! CLUSTER: the cluster for people and tools, in Redis's forms.
//!
//! To its clients a Bitroster cluster is one server (`cluster_enabled:0`): any router takes any
//! key, so nobody needs the slots to route by, and nobody is ever redirected. The addresses shown
//! are those at which nodes reach each other.

use std::fmt::Write as _;

use bitroster_command::{CommandError, Reply};
use bitroster_types::{GroupId, NodeId, limits::SLOTS};
use bytes::Bytes;

use super::{help, integer, subcommand, unknown_subcommand, utf8, wrong_arity};
use crate::{
    server::Shared,
    view::{ClusterView, GroupView, NodeView, SlotRange},
};

const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Answers 0: nodes do not vote on each other's failures.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "LINKS",
    "    Answers an empty array: there is no cluster bus.",
    "MYID",
    "    Return the node id.",
    "MYSHARDID",
    "    Return the node id: a node serves many shard groups.",
    "NODES",
    "    Return the nodes that keep data, with the slots of the groups that they lead.",
    "REPLICAS <node-id>",
    "    Return the nodes that follow <node-id> in all that they keep.",
    "SHARDS",
    "    Return the shard groups: their slots and nodes.",
    "SLOTS",
    "    Return the slot ranges with the nodes of their groups, the leader first.",
    "HELP",
    "    Print this help.",
];

/// Redis's refusal of what changes a cluster: clients are not who changes this one.
pub(super) const NOT_BY_CLIENTS: CommandError =
    CommandError::Text("ERR This instance has cluster support disabled");

/// Sub-commands that Redis has and that change a cluster or look into one slot.
const REFUSED: &[&str] = &[
    "addslots",
    "addslotsrange",
    "bumpepoch",
    "countkeysinslot",
    "delslots",
    "delslotsrange",
    "failover",
    "flushslots",
    "forget",
    "getkeysinslot",
    "meet",
    "replicate",
    "reset",
    "saveconfig",
    "set-config-epoch",
    "setslot",
    "slot-stats",
];

pub(super) fn run(shared: &Shared, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("cluster", args)?;
    match (name.as_str(), rest) {
        ("keyslot", [key]) => Ok(Reply::Integer(i64::from(shared.status.key_slot(key)))),
        ("info", []) => Ok(Reply::Text(info(&Picture::of(shared), shared).into())),
        ("myid" | "myshardid", []) => Ok(Reply::bulk(Picture::of(shared).my_name())),
        ("nodes", []) => Ok(Reply::Text(Picture::of(shared).nodes().into())),
        ("slots", []) => Ok(Picture::of(shared).slots()),
        ("shards", []) => Ok(Picture::of(shared).shards()),
        ("replicas" | "slaves", [node]) => Picture::of(shared).replicas(utf8(node)),
        ("count-failure-reports", [_]) => Ok(Reply::Integer(0)),
        ("links", []) => Ok(Reply::Array(Vec::new())),
        ("help", []) => Ok(help(HELP)),
        (refused, _) if REFUSED.contains(&refused) => Err(NOT_BY_CLIENTS),
        (
            "keyslot"
            | "info"
            | "myid"
            | "myshardid"
            | "help"
            | "nodes"
            | "slots"
            | "shards"
            | "replicas"
            | "slaves"
            | "count-failure-reports"
            | "links",
            _,
        ) => Err(wrong_arity(&format!("cluster|{name}"))),
        _ => Err(unknown_subcommand("cluster", args)),
    }
}

/// What is shown: the node's view, or one made up of this node alone.
struct Picture {
    view: ClusterView,
    /// This node's name where it has no number.
    run_id: String,
}

impl Picture {
    fn of(shared: &Shared) -> Self {
        let mut view = shared.status.cluster();
        let run_id = shared.status.status().run_id;
        if view.nodes.is_empty() {
            let me = NodeId::default();
            let group = GroupId::default();
            let (host, port) = (String::new(), shared.settings.port);
            view.nodes = vec![NodeView { id: me, host, port, role: "all", is_linked: true }];
            view.me = Some(me);
            view.epoch = shared.status.epoch();
            view.ranges = vec![SlotRange { first: 0, last: SLOTS - 1, group }];
            let leader = shared.is_ready().then_some(me);
            view.groups = vec![GroupView { id: group, leader, voters: vec![me] }];
        }
        Self { view, run_id }
    }

    /// A node's name: the run's where this node is alone.
    fn name(&self, node: NodeId) -> String {
        if self.view.cluster.is_none() { self.run_id.clone() } else { self.view.name_of(node) }
    }

    fn my_name(&self) -> String {
        self.view.me.map_or_else(|| self.run_id.clone(), |me| self.name(me))
    }

    /// The groups that a node leads.
    fn led_by(&self, node: NodeId) -> impl Iterator<Item = &GroupView> {
        self.view.groups.iter().filter(move |group| group.leader == Some(node))
    }

    /// The one node that a node follows in all groups that it has, where there is just one.
    fn followed_by(&self, node: NodeId) -> Option<NodeId> {
        let mut leaders =
            self.view.groups.iter().filter(|group| group.voters.contains(&node)).map(|g| g.leader);
        let first = leaders.next()??;
        (first != node && leaders.all(|leader| leader == Some(first))).then_some(first)
    }

    /// CLUSTER NODES: one line a node, and one for this one where it keeps no data.
    fn nodes(&self) -> String {
        let mut out = String::new();
        for node in &self.view.nodes {
            out.push_str(&self.line(node));
        }
        if self.view.me.is_none() {
            let (name, epoch) = (&self.run_id, self.view.epoch);
            writeln!(out, "{name} :0@0 myself,master - 0 0 {epoch} connected")
                .expect("writing to a string does not fail");
        }
        out
    }

    fn line(&self, node: &NodeView) -> String {
        let master = self.followed_by(node.id);
        let mut flags = if Some(node.id) == self.view.me { "myself," } else { "" }.to_owned();
        flags.push_str(if master.is_some() { "slave" } else { "master" });
        if !node.is_linked {
            flags.push_str(",fail?");
        }
        let mut line = format!(
            "{} {}:{port}@{port} {flags} {} 0 0 {} {}",
            self.name(node.id),
            node.host,
            master.map_or_else(|| "-".to_owned(), |master| self.name(master)),
            self.view.epoch,
            if node.is_linked { "connected" } else { "disconnected" },
            port = node.port,
        );
        for group in self.led_by(node.id) {
            for SlotRange { first, last, .. } in self.view.ranges_of(group.id) {
                let range =
                    if first == last { format!(" {first}") } else { format!(" {first}-{last}") };
                line.push_str(&range);
            }
        }
        line.push('\n');
        line
    }

    /// CLUSTER SLOTS: first and last slot, then the leader, then the other nodes of the group.
    fn slots(&self) -> Reply {
        let row = |range: &SlotRange| {
            let mut row =
                vec![Reply::Integer(i64::from(range.first)), Reply::Integer(i64::from(range.last))];
            row.extend(self.members(range.group).map(|(node, _)| {
                Reply::Array(vec![
                    Reply::bulk(node.host.clone()),
                    Reply::Integer(i64::from(node.port)),
                    Reply::bulk(self.name(node.id)),
                    Reply::Array(Vec::new()),
                ])
            }));
            Reply::Array(row)
        };
        // A range without a leader is left out, as Redis leaves out slots that nobody serves.
        let served = self.view.ranges.iter().filter(|range| self.view.is_served(range));
        Reply::Array(served.map(row).collect())
    }

    /// CLUSTER SHARDS: one a group.
    fn shards(&self) -> Reply {
        let shard = |group: &GroupView| {
            let ranges = self.view.ranges_of(group.id);
            let slots = ranges.flat_map(|range| [range.first, range.last]);
            let nodes = self.members(group.id).map(|(node, leads)| self.shard_node(node, leads));
            Reply::Map(vec![
                (
                    Reply::bulk("slots"),
                    Reply::Array(slots.map(|slot| Reply::Integer(i64::from(slot))).collect()),
                ),
                (Reply::bulk("nodes"), Reply::Array(nodes.collect())),
            ])
        };
        Reply::Array(self.view.groups.iter().map(shard).collect())
    }

    fn shard_node(&self, node: &NodeView, leads: bool) -> Reply {
        let is_me = Some(node.id) == self.view.me;
        let applied = if is_me { integer(self.view.applied_entries) } else { 0 };
        let rows = [
            ("id", Reply::bulk(self.name(node.id))),
            ("port", Reply::Integer(i64::from(node.port))),
            ("ip", Reply::bulk(node.host.clone())),
            ("endpoint", Reply::bulk(node.host.clone())),
            ("role", Reply::bulk(if leads { "master" } else { "replica" })),
            ("replication-offset", Reply::Integer(applied)),
            ("health", Reply::bulk(if node.is_linked { "online" } else { "fail" })),
        ];
        Reply::Map(rows.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
    }

    /// CLUSTER REPLICAS.
    fn replicas(&self, name: &str) -> Result<Reply, CommandError> {
        let Some(master) = self.view.nodes.iter().find(|node| self.name(node.id) == name) else {
            return Err(CommandError::Message(format!("ERR Unknown node {name}")));
        };
        let follows = |node: &&NodeView| self.followed_by(node.id) == Some(master.id);
        let lines = self.view.nodes.iter().filter(follows);
        let lines = lines.map(|node| Reply::bulk(self.line(node).trim_end()));
        Ok(Reply::Array(lines.collect()))
    }

    /// The nodes of a group, the leader's first; whether each is it.
    fn members(&self, group: GroupId) -> impl Iterator<Item = (&NodeView, bool)> {
        let group = self.view.group(group);
        let leader = group.and_then(|group| group.leader).map(|leader| (leader, true));
        let followers = group.into_iter().flat_map(GroupView::followers).map(|node| (node, false));
        leader
            .into_iter()
            .chain(followers)
            .filter_map(|(node, leads)| Some((self.view.node(node)?, leads)))
    }
}

fn info(picture: &Picture, shared: &Shared) -> String {
    let view = &picture.view;
    let assigned: u64 = view.ranges.iter().map(SlotRange::count).sum();
    let served = view.ranges.iter().filter(|range| view.is_served(range));
    let served = if shared.is_ready() { served.map(SlotRange::count).sum() } else { 0 };
    let leading = view.nodes.iter().filter(|node| {
        picture.led_by(node.id).any(|group| view.ranges_of(group.id).next().is_some())
    });
    let is_whole = assigned == u64::from(SLOTS) && served == assigned;
    let mut out = format!("cluster_state:{}\r\n", if is_whole { "ok" } else { "fail" });
    for (name, value) in [
        ("cluster_enabled", 0),
        ("cluster_slots_assigned", assigned),
        ("cluster_slots_ok", served),
        ("cluster_slots_pfail", 0),
        ("cluster_slots_fail", assigned - served),
        ("cluster_known_nodes", view.nodes.len() as u64),
        ("cluster_size", leading.count() as u64),
        ("cluster_current_epoch", view.epoch),
        ("cluster_my_epoch", view.epoch),
        ("cluster_stats_messages_sent", 0),
        ("cluster_stats_messages_received", 0),
        ("bitroster_revision", view.revision),
        ("bitroster_groups", view.groups.len() as u64),
        ("bitroster_groups_led_here", view.me.map_or(0, |me| picture.led_by(me).count() as u64)),
    ] {
        write!(out, "{name}:{value}\r\n").expect("writing to a string does not fail");
    }
    out
}
