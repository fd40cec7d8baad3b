//! Three shards, each over a disk in memory and in a runtime of its own, joined by a transport that
//! can be cut in either direction.
#![allow(unreachable_pub, reason = "the test's own module")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bitroster_command::{OpBatch, Outcome, ReadOp};
use bitroster_shard::{
    Destination, Error, Fatal, GroupHandle, GroupSpec, MemberStep, MessageKind, PeerError, Peers,
    Shard, ShardOptions,
};
use bitroster_types::limits::SLOTS;
use bitroster_types::{Consistency, Deadline, GroupId, NodeId, ReplicaId, Slot};
use bitroster_wal::testing::{FaultyDisk, Names, Tear};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

pub const ONE: GroupId = GroupId(1);

/// Long enough for any machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Net {
    pub shards: Mutex<HashMap<NodeId, Weak<Shard>>>,
    pub cut: Mutex<HashSet<(NodeId, NodeId)>>,
}

impl Net {
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.lock().unwrap().contains(&(from, to))
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&self, node: NodeId) {
        let others = (1..=3).map(NodeId).filter(|other| *other != node);
        self.cut.lock().unwrap().extend(others.flat_map(|other| [(node, other), (other, node)]));
    }

    pub fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }
}

/// One node's way to the others.
pub struct Line {
    pub from: NodeId,
    pub net: Arc<Net>,
}

impl Peers for Line {
    fn call(
        &self,
        to: Destination,
        kind: MessageKind,
        body: Bytes,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let (from, net, node) = (self.from, self.net.clone(), to.node);
        let lost = move |reason: &str| PeerError::Unreachable { node, reason: reason.to_owned() };
        async move {
            if net.is_cut(from, node) {
                return Err(lost("the way is cut"));
            }
            let shard = net.shards.lock().unwrap().get(&node).and_then(Weak::upgrade);
            let Some(shard) = shard else { return Err(lost("the node is down")) };
            let answer = timeout(patience, shard.receive(to.group, to.replica, kind, body)).await;
            drop(shard);
            if net.is_cut(node, from) {
                return Err(lost("the way back is cut"));
            }
            answer
                .map_err(|_| lost("too late"))?
                .map_err(|error| PeerError::Refused { node, reason: error.to_string() })
        }
        .boxed()
    }
}

pub struct Node {
    pub runtime: Runtime,
    pub shard: Arc<Shard>,
}

/// Three nodes with a replica each.
pub struct Cluster {
    pub net: Arc<Net>,
    pub disks: BTreeMap<NodeId, FaultyDisk>,
    pub replicas: BTreeMap<NodeId, ReplicaId>,
    pub nodes: BTreeMap<NodeId, Node>,
    pub client: Runtime,
}

pub fn founders() -> Vec<(ReplicaId, NodeId)> {
    (1..=3).map(|number| (ReplicaId(number), NodeId(number))).collect()
}

impl Cluster {
    pub fn start() -> Self {
        Self::start_nodes(&[1, 2, 3])
    }

    pub fn start_nodes(nodes: &[u64]) -> Self {
        let mut cluster = Self {
            net: Arc::default(),
            disks: (1..=3).map(|node| (NodeId(node), FaultyDisk::default())).collect(),
            replicas: founders().into_iter().map(|(replica, node)| (node, replica)).collect(),
            nodes: BTreeMap::new(),
            client: runtime(),
        };
        for node in nodes {
            cluster.boot(NodeId(*node));
        }
        cluster.wait_ready();
        cluster
    }

    pub fn boot(&mut self, node: NodeId) {
        let replica = self.replicas[&node];
        let is_founder = founders().contains(&(replica, node));
        let spec = GroupSpec {
            id: ONE,
            slots: (0..SLOTS).filter_map(Slot::new).collect(),
            replica,
            founders: if is_founder { founders() } else { Vec::new() },
            preferred: node == NodeId(1),
        };
        let mut options = ShardOptions::new("/data", vec![spec]);
        options.file_system = self.disks[&node].mount();
        options.wal.file_bytes = 64 << 10;
        options.cpu_threads = 1;
        options.node = node;
        options.peers = Some(Arc::new(Line { from: node, net: self.net.clone() }));
        // A node whose disk was taken away under it is one that a test has crashed.
        options.fatal = Fatal::new(|_| {});
        let runtime = runtime();
        let shard = Arc::new(runtime.block_on(Shard::open(options)).unwrap());
        self.net.shards.lock().unwrap().insert(node, Arc::downgrade(&shard));
        self.nodes.insert(node, Node { runtime, shard });
    }

    pub fn wait_ready(&self) {
        for node in self.nodes.keys() {
            self.wait_ready_on(*node);
        }
    }

    pub fn wait_ready_on(&self, node: NodeId) {
        self.block(self.shard(node).wait_ready());
    }

    /// Ends a node as a power cut does.
    pub fn crash(&mut self, node: NodeId) {
        self.net.shards.lock().unwrap().remove(&node);
        let Node { runtime, shard } = self.nodes.remove(&node).unwrap();
        self.disks[&node].crash(Tear::Short, Names::Half);
        runtime.shutdown_background();
        drop(shard);
    }

    pub fn shard(&self, node: NodeId) -> &Shard {
        &self.nodes[&node].shard
    }

    pub fn group(&self, node: NodeId) -> GroupHandle {
        self.shard(node).group(ONE).unwrap()
    }

    pub fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.client.block_on(async { timeout(PATIENCE, future).await.expect("in time") })
    }

    /// Waits until a majority's word is that one of these leads.
    pub fn leader(&self, among: &[u64]) -> NodeId {
        let among: Vec<_> = among.iter().copied().map(NodeId).collect();
        let seen = among.iter().map(|node| {
            let group = self.group(*node);
            let (node, among) = (*node, among.clone());
            async move {
                group.wait_leader(|leader| leader.is_some_and(|node| among.contains(&node))).await;
                group.wait_leader(|leader| leader == Some(node)).await;
                node
            }
            .boxed()
        });
        self.block(futures_util::future::select_all(seen)).0
    }

    /// Writes through whoever leads among these nodes, until it is acknowledged.
    pub fn write(&self, among: &[u64], batch: &OpBatch) -> (NodeId, Vec<Outcome>) {
        loop {
            let leader = self.leader(among);
            match self.block(self.group(leader).write(batch.clone(), soon())) {
                Ok(outcomes) => return (leader, outcomes),
                Err(Error::NoLeader { .. } | Error::Loading { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn read(&self, node: NodeId, op: ReadOp) -> Result<Outcome, Error> {
        self.block(self.group(node).read(op, Consistency::Linearizable, soon()))
    }

    /// Waits until a node has applied what another has by now.
    pub fn catch_up(&self, node: NodeId, with: NodeId) {
        let target = self.group(with).status().applied;
        let mut applied = self.group(node).applied_changes();
        self.block(async { applied.wait_for(|applied| *applied >= target).await.map(|_| ()) })
            .unwrap();
    }

    /// Brings the members about, whoever of these nodes leads meanwhile. All steps but refusals.
    pub fn change_members(&self, among: &[u64], members: &[(u64, u64)]) -> Vec<MemberStep> {
        let members =
            members.iter().map(|(replica, node)| (ReplicaId(*replica), NodeId(*node))).collect();
        let mut steps = Vec::new();
        while steps.last() != Some(&MemberStep::Done) {
            let group = self.group(self.leader(among));
            let mut applied = group.applied_changes();
            match self.block(group.change_members(&members)) {
                Ok(step) => steps.push(step),
                Err(Error::NoLeader { .. } | Error::Busy { .. }) => continue,
                Err(error) => panic!("{error}"),
            }
            if matches!(steps.last(), Some(MemberStep::Waiting { .. })) {
                // A follower's progress changes nothing here that can be waited for.
                self.block(async {
                    drop(timeout(Duration::from_millis(20), applied.changed()).await);
                });
            }
        }
        steps
    }
}

pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub fn soon() -> Deadline {
    Deadline::at(Instant::now() + PATIENCE)
}

pub fn within(millis: u64) -> Deadline {
    Deadline::at(Instant::now() + Duration::from_millis(millis))
}
