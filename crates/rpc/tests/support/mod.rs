//! Nodes in one process, linked over loopback; their one group is a real engine that does with
//! each request what the test's script says.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails where it breaks")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bitroster_command::{
    Op, OpBatch, Outcome, OutcomeWriter, ReadCommand, ReadOp, Reply, WriteCommand, WriteOp,
};
use bitroster_engine::{Engine, EngineConfig};
use bitroster_placement::{ClusterState, Founding, state::Member};
use bitroster_proto::internal::{
    ChangeReply, ChangeRequest, DiscoverReply, DiscoverRequest, FoundReply, FoundRequest,
    JoinReply, JoinRequest, PromiseReply, PromiseRequest, Role, StateReply, StateRequest, Status,
    StatusReply, StatusRequest,
};
use bitroster_rpc::{
    Backend, Control, ControlError, Dispatcher, Identity, Links, PeerHost, Refusal, Services,
    Spawn, StateCell, serve,
};
use bitroster_shard::{Answered, FoldPart, MessageKind};
use bitroster_types::{
    ClusterId, Consistency, Deadline, GroupId, Key, LogIndex, NodeId, ReplicaId, SegmentWidth,
    UnixMillis,
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, pending, ready};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};

pub const GROUP: GroupId = GroupId(1);

/// The term in which the leader leads.
pub const TERM: u64 = 5;

/// Starts tasks of tests.
pub struct Tasks;

impl Spawn for Tasks {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }
}

/// What the group does with the next write or read.
#[derive(Clone, Debug)]
pub enum Act {
    /// What it should.
    Serve,
    /// Refuses, and applies nothing.
    Refuse(Status, u64),
    /// Applies, and says that nobody knows.
    ApplyAndForget,
    /// Applies, and never answers.
    ApplyAndHang,
    /// Ends all sessions, then serves.
    EndSessions,
    /// Applies, ends all sessions, and says that nobody knows.
    ApplyAndEndSessions,
    /// Answers a fold with what is no count.
    NoCount,
    /// Waits until the test says so, then serves.
    Wait(Arc<Notify>),
}

/// The group that all nodes have a replica of.
pub struct Group {
    pub engine: Mutex<Engine>,
    pub leader: AtomicU64,
    script: Mutex<VecDeque<Act>>,
    /// Requests that reached the leader, without those that open sessions.
    pub writes: AtomicU64,
    pub reads: AtomicU64,
    /// The newest term that each node's replica says it has promised itself to; `u64::MAX`: it does
    /// not say. The leader leads in [`TERM`].
    pub promised: [AtomicU64; 3],
    /// Reads that the leader answered for its supporters to confirm.
    pub unconfirmed: AtomicU64,
    /// Who was asked for a promise, in order.
    pub asked: Mutex<Vec<u64>>,
    /// Who was asked to fold, of which entries on, in order.
    pub folds: Mutex<Vec<(u64, Vec<FoldPart>)>>,
    /// Messages between replicas, in the order in which they were taken up.
    pub messages: Mutex<Vec<Bytes>>,
}

impl Group {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            engine: Mutex::new(engine()),
            leader: AtomicU64::new(1),
            script: Mutex::default(),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            promised: Default::default(),
            unconfirmed: AtomicU64::new(0),
            asked: Mutex::default(),
            folds: Mutex::default(),
            messages: Mutex::default(),
        })
    }

    /// What the next requests meet, in this order; after that all are served.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        *self.script.lock().unwrap() = acts.into_iter().collect();
    }

    fn act(&self) -> Act {
        self.script.lock().unwrap().pop_front().unwrap_or(Act::Serve)
    }

    fn apply(&self, ops: OpBatch) -> Vec<Outcome> {
        let mut engine = self.engine.lock().unwrap();
        let (index, time) = (LogIndex(engine.applied().0 + 1), UnixMillis(engine.time().0 + 1));
        engine.begin(index, time);
        let mut reader = ops.into_reader();
        let mut outcomes = Vec::new();
        while let Some(op) = reader.next_op().unwrap() {
            outcomes.push(match op {
                Op::Read(op) => engine.read(&op, time),
                Op::Write(op) => engine.apply(&op),
            });
        }
        engine.end();
        outcomes
    }

    /// Lets all sessions time out.
    fn end_sessions(&self) {
        let mut engine = self.engine.lock().unwrap();
        let (index, time) = (LogIndex(engine.applied().0 + 1), engine.time());
        engine.begin(index, UnixMillis(time.0 + 3_600_000));
        engine.end();
    }

    /// The value of a counter.
    pub fn counter(&self, name: &str) -> i64 {
        let engine = self.engine.lock().unwrap();
        let read = ReadOp::Command(ReadCommand::Get { key: key(name) });
        if let Outcome::Reply(Reply::Bulk(value)) = engine.read(&read, engine.time()) {
            std::str::from_utf8(&value).unwrap().parse().unwrap()
        } else {
            0
        }
    }
}

fn engine() -> Engine {
    let mut engine = Engine::new(EngineConfig::new(GROUP, SegmentWidth::DEFAULT));
    engine.begin(LogIndex(1), UnixMillis(1));
    let slots = (0..16_384).map(|slot| bitroster_types::Slot::new(slot).unwrap()).collect();
    engine.apply(&WriteOp::Adopt { slots });
    engine.end();
    engine
}

/// One node's replica of the group.
pub struct Replica {
    pub node: NodeId,
    pub group: Arc<Group>,
}

impl Replica {
    fn leads(&self) -> Result<(), Refusal> {
        let leader = self.group.leader.load(SeqCst);
        if leader == self.node.0 { Ok(()) } else { Err(refusal(Status::NotLeader, leader)) }
    }
}

fn refusal(status: Status, detail: u64) -> Refusal {
    Refusal { status, detail, reason: "scripted".to_owned() }
}

impl Backend for Replica {
    fn receive(
        &self,
        _group: GroupId,
        replica: ReplicaId,
        kind: MessageKind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        if replica.0 == 99 {
            return ready(Err(refusal(Status::Unavailable, 0))).boxed();
        }
        let group = Arc::clone(&self.group);
        if kind == MessageKind::Lead {
            group.asked.lock().unwrap().push(self.node.0);
            let at = usize::try_from(self.node.0 - 1).unwrap();
            return match group.promised[at].load(SeqCst) {
                u64::MAX => pending().boxed(),
                term => ready(Ok(Bytes::copy_from_slice(&term.to_le_bytes()))).boxed(),
            };
        }
        async move {
            group.messages.lock().unwrap().push(body.clone());
            tokio::task::yield_now().await;
            Ok(body)
        }
        .boxed()
    }

    fn read(
        &self,
        _group: GroupId,
        ops: OpBatch,
        consistency: Consistency,
        supporters: Vec<ReplicaId>,
        _deadline: Deadline,
    ) -> BoxFuture<'static, Result<Answered, Refusal>> {
        let (leads, group, node) = (self.leads(), Arc::clone(&self.group), self.node);
        async move {
            if consistency != Consistency::Stale {
                leads?;
            }
            group.reads.fetch_add(1, SeqCst);
            match group.act() {
                Act::Refuse(status, detail) => return Err(refusal(status, detail)),
                Act::Wait(notify) => notify.notified().await,
                Act::ApplyAndHang => pending().await,
                Act::Serve
                | Act::NoCount
                | Act::ApplyAndForget
                | Act::EndSessions
                | Act::ApplyAndEndSessions => {}
            }
            let mut writer = OutcomeWriter::new();
            let mut reader = ops.into_reader();
            let engine = group.engine.lock().unwrap();
            while let Some(op) = reader.next_op().unwrap() {
                let Op::Read(op) = op else { panic!("a write among reads") };
                writer.push(&engine.read(&op, engine.time()));
            }
            let term = (!supporters.is_empty()).then_some(TERM);
            group.unconfirmed.fetch_add(u64::from(term.is_some()), SeqCst);
            // A replica is as old as its number says.
            let age = Duration::from_millis(100 * node.0);
            let applied = engine.applied().0;
            Ok(Answered { outcomes: writer.finish(), age, term, applied })
        }
        .boxed()
    }

    fn write(
        &self,
        _group: GroupId,
        ops: OpBatch,
        _deadline: Deadline,
    ) -> BoxFuture<'static, Result<Vec<Outcome>, Refusal>> {
        let (leads, group) = (self.leads(), Arc::clone(&self.group));
        async move {
            leads?;
            let first = ops.clone().into_reader().next_op().unwrap();
            if matches!(first, Some(Op::Write(WriteOp::OpenSession))) {
                return Ok(group.apply(ops));
            }
            group.writes.fetch_add(1, SeqCst);
            match group.act() {
                Act::Serve | Act::NoCount => {}
                Act::Refuse(status, detail) => return Err(refusal(status, detail)),
                Act::ApplyAndForget => {
                    group.apply(ops);
                    return Err(refusal(Status::Unknown, 0));
                }
                Act::ApplyAndHang => {
                    group.apply(ops);
                    return pending().await;
                }
                Act::EndSessions => group.end_sessions(),
                Act::ApplyAndEndSessions => {
                    group.apply(ops);
                    group.end_sessions();
                    return Err(refusal(Status::Unknown, 0));
                }
                Act::Wait(notify) => notify.notified().await,
            }
            Ok(group.apply(ops))
        }
        .boxed()
    }

    fn fold(
        &self,
        parts: Vec<FoldPart>,
        ops: OpBatch,
        _deadline: Deadline,
    ) -> BoxFuture<'static, Result<Outcome, Refusal>> {
        let group = Arc::clone(&self.group);
        group.folds.lock().unwrap().push((self.node.0, parts));
        let act = group.act();
        if let Act::Refuse(status, detail) = act {
            return ready(Err(refusal(status, detail))).boxed();
        }
        if matches!(act, Act::ApplyAndHang) {
            return pending().boxed();
        }
        if matches!(act, Act::NoCount) {
            return ready(Ok(Outcome::NotOwner)).boxed();
        }
        let count = i64::try_from(ops.len()).unwrap();
        ready(Ok(Outcome::Reply(Reply::Array(vec![Reply::Integer(count)])))).boxed()
    }

    fn read_now(&self, _group: GroupId, _op: &ReadOp) -> Option<Outcome> {
        None
    }
}

/// A node: its port and its links.
pub struct Node {
    pub id: NodeId,
    pub address: String,
    pub states: StateCell,
    pub links: Links,
    pub dispatcher: Arc<Dispatcher>,
    pub host: Arc<PeerHost>,
    /// The port's own runtime: a crash ends it with all that runs in it.
    runtime: Option<Runtime>,
    server: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.links.close();
        self.crash();
    }
}

impl Node {
    /// Starts a node at an address that `listener` listens on.
    pub fn start(state: &ClusterState, id: u64, group: &Arc<Group>, listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let states = StateCell::new();
        states.offer(Arc::new(state.clone()));
        let dispatcher = Arc::new(Dispatcher::new(states.clone()));
        dispatcher.attach(Arc::new(Replica { node: NodeId(id), group: Arc::clone(group) }));
        let identity = Identity {
            cluster: state.cluster,
            node: Some(NodeId(id)),
            role: Role::All,
            address: address.clone(),
        };
        let links = Links::open(identity, states.clone(), dispatcher.clone(), Arc::new(Tasks));
        let host = PeerHost::new();
        host.admit(links.clone());
        let mut node = Self {
            id: NodeId(id),
            address,
            states,
            links,
            dispatcher,
            host,
            runtime: None,
            server: None,
            stop: None,
        };
        node.serve(listener);
        node
    }

    /// Serves the node's port.
    pub fn serve(&mut self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel::<()>();
        let peers = Arc::clone(&self.host);
        let services =
            Services { control: Arc::new(Desk), peers, serving: watch::channel(true).1, tls: None };
        let shutdown = async move { drop(stopped.await) };
        let listener = listener.into_std().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        self.server = Some(runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            serve(listener, services, shutdown).await.unwrap();
        }));
        self.runtime = Some(runtime);
        self.stop = Some(stop);
    }

    /// Ends the server as a graceful stop does, and waits for it.
    pub async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.server.take().unwrap().await.unwrap();
    }

    /// Ends the port and all that runs behind it: what is on its way is lost.
    pub fn crash(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Serves the port again after a crash.
    pub async fn restart(&mut self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        let listener = loop {
            if let Ok(listener) = TcpListener::bind(&self.address).await {
                break listener;
            }
            ticks.tick().await;
        };
        self.serve(listener);
    }
}

/// The links of a router at this address, and the state that they follow.
pub fn router(state: &ClusterState, address: &str) -> (Links, StateCell) {
    let states = StateCell::new();
    states.offer(Arc::new(state.clone()));
    let identity = Identity {
        cluster: state.cluster,
        node: None,
        role: Role::Router,
        address: address.to_owned(),
    };
    let dispatcher = Arc::new(Dispatcher::new(states.clone()));
    (Links::open(identity, states.clone(), dispatcher, Arc::new(Tasks)), states)
}

/// The state of a cluster of nodes at these addresses, with two groups of three replicas.
pub fn state_of(cluster: u128, addresses: &[String]) -> ClusterState {
    let member = |(at, address): (usize, &String)| Member {
        node: NodeId(at as u64 + 1),
        token: at as u64,
        address: address.clone(),
    };
    ClusterState::found(&Founding {
        cluster: ClusterId(cluster),
        members: addresses.iter().enumerate().map(member).collect(),
        groups: 2,
        replicas: 3,
        width: SegmentWidth::DEFAULT,
    })
}

/// The state after it with a newer map.
pub fn with_newer_map(state: &ClusterState) -> ClusterState {
    let mut state = state.clone();
    let slot = bitroster_types::Slot::new(0).unwrap();
    let other = state.map.groups().iter().find(|group| **group != state.map.owner(slot)).copied();
    state.map = Arc::new(state.map.reassign(&[(slot, other.unwrap())]));
    state.revision += 1;
    state
}

/// Free ports of loopback, each with its listener.
pub async fn listeners(count: usize) -> (Vec<TcpListener>, Vec<String>) {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let addresses = listeners.iter().map(|one| one.local_addr().unwrap().to_string()).collect();
    (listeners, addresses)
}

/// A cluster of `count` nodes, linked.
pub async fn cluster(count: usize) -> (Vec<Node>, Arc<Group>, ClusterState) {
    let (listeners, addresses) = listeners(count).await;
    let state = state_of(7, &addresses);
    let group = Group::new();
    let nodes: Vec<Node> = listeners
        .into_iter()
        .zip(1..)
        .map(|(listener, id)| Node::start(&state, id, &group, listener))
        .collect();
    for node in &nodes {
        until("all links are up", || node.links.linked().len() == count - 1).await;
    }
    (nodes, group, state)
}

/// Waits until `condition` holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "not in time: {what}");
        ticks.tick().await;
    }
}

pub fn soon(millis: u64) -> Deadline {
    Deadline::at(Instant::now() + Duration::from_millis(millis))
}

pub fn key(name: &str) -> Key {
    Key::new(name.as_bytes()).unwrap()
}

/// `INCR name`.
pub fn increment(name: &str) -> OpBatch {
    let mut ops = OpBatch::new();
    ops.push_write(&WriteOp::Command(WriteCommand::IncrBy { key: key(name), by: 1 }));
    ops
}

/// `STRLEN name`.
pub fn length(name: &str) -> ReadOp {
    ReadOp::Command(ReadCommand::StrLen { key: key(name) })
}

/// Answers operators: says who it is, and refuses all changes.
struct Desk;

type Answer<'a, T> = BoxFuture<'a, Result<T, ControlError>>;

fn refused<T: Send + 'static>() -> Answer<'static, T> {
    ready(Err(ControlError::Refused("not here".to_owned()))).boxed()
}

impl Control for Desk {
    fn discover(&self, request: DiscoverRequest) -> Answer<'_, DiscoverReply> {
        let reply = DiscoverReply { node: request.from, node_id: 5, ..DiscoverReply::default() };
        ready(Ok(reply)).boxed()
    }
    fn promise(&self, _: PromiseRequest) -> Answer<'_, PromiseReply> {
        refused()
    }
    fn found(&self, _: FoundRequest) -> Answer<'_, FoundReply> {
        refused()
    }
    fn join(&self, _: JoinRequest) -> Answer<'_, JoinReply> {
        refused()
    }
    fn state(&self, _: StateRequest) -> Answer<'_, StateReply> {
        ready(Err(ControlError::Unavailable("no state yet".to_owned()))).boxed()
    }
    fn status(&self, _: StatusRequest) -> Answer<'_, StatusReply> {
        ready(Ok(StatusReply { version: "9".to_owned(), ..StatusReply::default() })).boxed()
    }
    fn change(&self, _: ChangeRequest) -> Answer<'_, ChangeReply> {
        refused()
    }
}
