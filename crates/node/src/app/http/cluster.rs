//! What all nodes say of themselves, put together.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{Extension, extract::State, http::HeaderMap};
use bitroster_placement::ClusterMap;
use bitroster_proto::internal as wire;
use bitroster_rpc::{LinkTls, client};
use bitroster_shard::Shard;
use bitroster_types::{GroupId, NodeId, ReplicaId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};

use super::{super::figures::Figures, super::report, super::topology::Topology};
use super::{Answer, Console, Ends, answer_value};

/// How long a node may take to answer.
const NODE_TIME_MAX: Duration = Duration::from_secs(1);

/// How old an answer may be: whoever asks more often gets the same one.
const AGE_MAX: Duration = Duration::from_millis(500);

/// What the figures are gathered from.
pub(in super::super) struct Sight {
    pub(in super::super) topology: Topology,
    pub(in super::super) figures: Arc<Figures>,
    pub(in super::super) shard: Arc<OnceLock<Arc<Shard>>>,
    pub(in super::super) tls: Option<Arc<dyn LinkTls>>,
}

/// Gathers what nodes say, once for all that ask at a time.
pub(super) struct Gatherer {
    sight: Sight,
    last: Mutex<Option<(Instant, Arc<Seen>)>>,
}

/// The cluster as its nodes told it.
pub(super) struct Seen {
    revision: Option<u64>,
    map: Option<Arc<ClusterMap>>,
    nodes: Vec<Told>,
    /// Where replicas are to be.
    groups: BTreeMap<GroupId, Vec<(ReplicaId, NodeId)>>,
}

/// A node, and what it said.
struct Told {
    id: NodeId,
    address: String,
    status: Result<wire::StatusReply, String>,
}

impl Gatherer {
    pub(super) fn new(sight: Sight) -> Self {
        Self { sight, last: Mutex::new(None) }
    }

    /// The cluster as it was told within the last half second.
    pub(super) async fn seen(&self, address: Option<&str>) -> Arc<Seen> {
        let mut last = self.last.lock().await;
        if let Some((at, seen)) = &*last
            && at.elapsed() < AGE_MAX
        {
            return Arc::clone(seen);
        }
        let seen = Arc::new(self.sight.look(address).await);
        *last = Some((Instant::now(), Arc::clone(&seen)));
        seen
    }
}

impl Sight {
    async fn look(&self, address: Option<&str>) -> Seen {
        match &self.topology {
            Topology::Fixed(map) => self.look_here(map, address),
            Topology::Followed(_) => self.look_around().await,
        }
    }

    /// A lone node is its whole cluster.
    fn look_here(&self, map: &Arc<ClusterMap>, address: Option<&str>) -> Seen {
        let me = NodeId(1);
        let status = report::figures(&self.figures, self.shard.get().map(|shard| &**shard));
        let replicas = status.replicas.iter().filter_map(|replica| {
            let group = GroupId(u16::try_from(replica.group).ok()?);
            Some((group, vec![(ReplicaId(replica.replica), me)]))
        });
        let groups = replicas.collect();
        let address = address.unwrap_or_default().to_owned();
        let nodes = vec![Told { id: me, address, status: Ok(status) }];
        Seen { revision: None, map: Some(Arc::clone(map)), nodes, groups }
    }

    async fn look_around(&self) -> Seen {
        let Some(state) = self.topology.state() else {
            let (nodes, groups) = (Vec::new(), BTreeMap::new());
            return Seen { revision: None, map: None, nodes, groups };
        };
        let nodes = state.nodes.iter().map(|(id, entry)| async {
            let (id, address) = (*id, entry.address.clone());
            let asked = timeout(NODE_TIME_MAX, ask(&address, self.tls.as_deref())).await;
            let status = asked.unwrap_or_else(|_| Err("no answer within 1 s".to_owned()));
            Told { id, address, status }
        });
        let nodes = join_all(nodes).await;
        let replicas = state.groups.iter().map(|(group, replicas)| {
            (*group, replicas.iter().map(|replica| (replica.id, replica.node)).collect())
        });
        Seen {
            revision: Some(state.revision),
            map: Some(Arc::clone(&state.map)),
            nodes,
            groups: replicas.collect(),
        }
    }
}

async fn ask(address: &str, tls: Option<&dyn LinkTls>) -> Result<wire::StatusReply, String> {
    let asked = async {
        let mut node = client::connect_with(address, NODE_TIME_MAX, tls).await?;
        client::answer(node.status(wire::StatusRequest {}).await)
    };
    asked.await.map_err(|error| error.to_string())
}

/// A replica's own word.
type Word<'a> = (NodeId, &'a wire::ReplicaStatus);

impl Seen {
    /// Keys of all groups, as their leaders count them; none where one has no leader.
    pub(super) fn keys(&self) -> Option<u64> {
        let mut groups = self.map.as_ref()?.groups().iter();
        groups.try_fold(0, |sum, group| Some(sum + self.leader(*group)?.1.keys))
    }

    /// Memory of all nodes that answer.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        let hosts = || {
            let told = self.nodes.iter().filter_map(|node| node.status.as_ref().ok());
            told.filter_map(|status| status.host.as_ref())
        };
        hosts().next().map(|_| hosts().map(|host| host.memory_bytes).sum())
    }

    fn replicas(&self, group: GroupId) -> impl Iterator<Item = Word<'_>> {
        let told = self.nodes.iter().filter_map(|node| Some((node.id, node.status.as_ref().ok()?)));
        told.flat_map(|(id, status)| status.replicas.iter().map(move |replica| (id, replica)))
            .filter(move |(_, replica)| replica.group == u32::from(group.0))
    }

    /// The replica that says that it leads, in the highest term.
    fn leader(&self, group: GroupId) -> Option<Word<'_>> {
        self.replicas(group).filter(|(_, it)| it.leads).max_by_key(|(_, it)| it.term)
    }

    fn json(&self) -> Value {
        let ranges = self.map.as_ref().map(|map| map.ranges()).unwrap_or_default();
        let mut slots: BTreeMap<GroupId, Vec<[u16; 2]>> = BTreeMap::new();
        let mut served = 0;
        for (first, last, group) in ranges {
            slots.entry(group).or_default().push([first, last]);
            if self.leader(group).is_some_and(|(_, leader)| leader.ready) {
                served += u32::from(last) - u32::from(first) + 1;
            }
        }
        let groups = slots.iter().map(|(group, slots)| self.group(*group, slots));
        let statuses = self.nodes.iter().filter_map(|node| node.status.as_ref().ok());
        let mut routers: Vec<&String> = statuses.flat_map(|status| &status.routers).collect();
        routers.sort_unstable();
        routers.dedup();
        json!({
            "revision": self.revision,
            "epoch": self.map.as_ref().map(|map| map.epoch()),
            "slots": bitroster_types::limits::SLOTS,
            "slots_served": served,
            "nodes": self.nodes.iter().map(|node| self.node(node)).collect::<Vec<_>>(),
            "routers": routers.iter().map(|it| json!({ "address": it })).collect::<Vec<_>>(),
            "groups": groups.collect::<Vec<_>>(),
        })
    }

    fn node(&self, node: &Told) -> Value {
        let status = node.status.as_ref().ok();
        let figure = |field: fn(&wire::StatusReply) -> u64| status.map(field);
        let host = status.and_then(|status| status.host.as_ref());
        let of_host = |field: fn(&wire::Host) -> u64| host.map(field);
        // The meta group is nobody's data.
        let groups = || self.map.iter().flat_map(|map| map.groups());
        let led = groups().filter(|group| self.leader(**group).is_some_and(|it| it.0 == node.id));
        let hosted = self.groups.iter().filter(|(group, _)| **group != GroupId::META);
        let replicas = hosted.flat_map(|(_, replicas)| replicas).filter(|it| it.1 == node.id);
        json!({
            "id": node.id.0,
            "address": node.address,
            "version": status.map(|status| &status.version),
            "alive": status.is_some(),
            "uptime_seconds": of_host(|host| host.uptime_ms / 1000),
            "memory_bytes": of_host(|host| host.memory_bytes),
            "memory_limit_bytes": of_host(|host| host.memory_limit_bytes),
            "disk_bytes": of_host(|host| host.log_disk_bytes),
            "keys": figure(|status| status.keys),
            "groups_led": led.count(),
            "replicas": replicas.count(),
            "error": node.status.as_ref().err(),
        })
    }

    fn group(&self, group: GroupId, slots: &[[u16; 2]]) -> Value {
        let leader = self.leader(group);
        let figure = |field: fn(&wire::ReplicaStatus) -> u64| leader.map(|(_, it)| field(it));
        let none = Vec::new();
        let replicas = self.groups.get(&group).unwrap_or(&none).iter();
        json!({
            "id": group.0,
            "slots": slots,
            "leader": leader.map(|(node, _)| node.0),
            "term": figure(|leader| leader.term),
            "last_index": figure(|leader| leader.last_log),
            "committed_index": figure(|leader| leader.committed),
            "applied_index": figure(|leader| leader.applied),
            "keys": figure(|leader| leader.keys),
            "memory_bytes": figure(|leader| leader.dataset_bytes),
            "plain_bytes": null,
            "replicas": replicas.map(|it| self.replica(group, *it)).collect::<Vec<_>>(),
        })
    }

    fn replica(&self, group: GroupId, (replica, node): (ReplicaId, NodeId)) -> Value {
        let own = self.replicas(group).find(|(_, it)| it.replica == replica.0).map(|it| it.1);
        let leader = self.leader(group).map(|it| it.1);
        let leads = leader.is_some_and(|leader| leader.replica == replica.0);
        let state = match own {
            None => "unknown",
            Some(_) if leads => "leader",
            Some(own) if own.learner => "learner",
            Some(_) => "follower",
        };
        let followers = leader.map(|leader| &leader.followers[..]).unwrap_or_default();
        let behind = || followers.iter().find(|it| it.replica == replica.0).map(|it| it.behind);
        json!({
            "node": node.0,
            "state": state,
            "applied_index": own.map(|own| own.applied),
            "lag_entries": if leads { Some(0) } else { behind() },
            "alive": own.is_some(),
        })
    }
}

/// `GET /api/v1/cluster`
pub(super) async fn show(
    State(console): State<Console>,
    Extension(ends): Extension<Ends>,
    headers: HeaderMap,
) -> Answer {
    console.admit(&headers, ends)?;
    let address = console.inner.address.get().map(String::as_str);
    Ok(answer_value(&console.inner.gatherer.seen(address).await.json()))
}

#[cfg(test)]
mod tests {
    use bitroster_types::SegmentWidth;

    use super::*;

    fn replica(replica: u64, leads: bool, term: u64) -> wire::ReplicaStatus {
        let follower = |replica, behind| wire::Follower { replica, node: 0, behind, voter: true };
        wire::ReplicaStatus {
            group: 1,
            replica,
            leads,
            term,
            last_log: 9,
            applied: 8,
            ready: true,
            keys: 5,
            followers: if leads { vec![follower(2, 3), follower(3, 7)] } else { Vec::new() },
            ..wire::ReplicaStatus::default()
        }
    }

    fn told(id: u64, replicas: Vec<wire::ReplicaStatus>) -> Told {
        let host = Some(wire::Host { memory_bytes: 10, ..wire::Host::default() });
        let status = wire::StatusReply { replicas, host, ..wire::StatusReply::default() };
        Told { id: NodeId(id), address: format!("h:{id}"), status: Ok(status) }
    }

    fn seen() -> Seen {
        let map = ClusterMap::plan(&[GroupId(1)], SegmentWidth::DEFAULT);
        let silent = Told { id: NodeId(3), address: "h:3".into(), status: Err("gone".into()) };
        let places = [1, 2, 3].map(|n| (ReplicaId(n), NodeId(n))).to_vec();
        Seen {
            revision: Some(4),
            map: Some(Arc::new(map)),
            // The first one leads, and has not heard that the second one does by now.
            nodes: vec![
                told(1, vec![replica(1, true, 2)]),
                told(2, vec![replica(2, true, 3)]),
                silent,
            ],
            groups: BTreeMap::from([(GroupId(1), places)]),
        }
    }

    #[test]
    fn of_two_that_lead_the_later_one_is_believed() {
        let json = seen().json();
        let group = &json["groups"][0];
        assert_eq!((&group["leader"], &group["term"]), (&json!(2), &json!(3)));
        assert_eq!(json["slots_served"], 16384);
        let states: Vec<&Value> =
            group["replicas"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
        assert_eq!(states, ["follower", "leader", "unknown"]);
        assert_eq!(json["nodes"][1]["groups_led"], 1);
        assert_eq!(seen().keys(), Some(5));
        assert_eq!(seen().memory_bytes(), Some(20));
    }

    #[test]
    fn what_a_silent_node_would_say_is_not_made_up() {
        let json = seen().json();
        let node = &json["nodes"][2];
        assert_eq!((&node["alive"], &node["error"]), (&json!(false), &json!("gone")));
        assert_eq!((&node["keys"], &node["replicas"]), (&Value::Null, &json!(1)));
        let replica = &json["groups"][0]["replicas"][2];
        assert_eq!((&replica["applied_index"], &replica["lag_entries"]), (&Value::Null, &json!(7)));
    }

    #[test]
    fn without_a_leader_no_slot_is_served() {
        let mut seen = seen();
        seen.nodes.iter_mut().for_each(|node| node.status = Err("gone".to_owned()));
        let json = seen.json();
        assert_eq!(
            (&json["slots_served"], &json["groups"][0]["leader"]),
            (&json!(0), &Value::Null)
        );
        assert_eq!((seen.keys(), seen.memory_bytes()), (None, None));
    }
}
