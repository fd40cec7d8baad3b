//! A cluster without a network or a disk: real engines behind a transport that can fail.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

pub(crate) mod commands;
pub(crate) mod composites;
#[allow(
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "plain on purpose; values are small"
)]
pub(crate) mod twin;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bitroster_command::{Command, Op, OpBatch, Outcome, Pending, ReadOp, Reply, Want, WriteOp};
use bitroster_engine::{Engine, EngineConfig, Work};
use bitroster_placement::ClusterMap;
use bitroster_router::{Fold, Reading, Router, RouterOptions, Target, Transport, TransportError};
use bitroster_types::{Consistency, Deadline, GroupId, Key, LogIndex, SegmentWidth, UnixMillis};
use futures_util::future::{BoxFuture, FutureExt, ready};

/// Segments of one container: the smallest there are, so that small offsets cross many.
pub(crate) const WIDTH: SegmentWidth = SegmentWidth::from_log2(16).unwrap();

/// Longest value of the test clusters, in bytes.
pub(crate) const VALUE_BYTES_MAX: u64 = 1 << 20;

/// What a transport does to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is applied, and the caller is told so.
    NoLeader,
    /// The batch is applied, but the caller hears nothing.
    LostReply,
    /// The batch is not applied, and the caller hears nothing.
    LostRequest,
}

/// What groups say while the cluster changes.
#[derive(Default)]
struct Changes {
    /// The epoch of each group that knows of a newer map than the first.
    epochs: BTreeMap<GroupId, u64>,
    /// How many more requests a group answers with "not owner".
    asleep: BTreeMap<GroupId, u64>,
    /// The map that routers hear of when the next request is refused.
    news: Option<(Router, Arc<ClusterMap>)>,
}

/// Some groups, each one engine.
pub(crate) struct Cluster {
    groups: BTreeMap<GroupId, Mutex<Engine>>,
    /// Milliseconds that every read and write happens at.
    clock: AtomicU64,
    /// Whether reads may be answered in place.
    pub(crate) in_place: AtomicBool,
    /// Batches and waiting reads so far.
    calls: AtomicU64,
    fault: Mutex<Option<(u64, Fault)>>,
    interference: Mutex<Option<(u64, Interference)>>,
    changes: Mutex<Changes>,
    /// Folds that were asked for; every other one is done.
    pub(crate) folds: AtomicU64,
    /// Reads that were not linearizable, and the age that they tell of.
    pub(crate) lax_reads: AtomicU64,
    pub(crate) age_ms: AtomicU64,
}

/// What somebody else does between two calls.
pub(crate) type Interference = Box<dyn FnOnce() + Send>;

impl Cluster {
    pub(crate) fn new(map: &ClusterMap) -> Arc<Self> {
        let mut groups = BTreeMap::new();
        for group in map.groups() {
            let config = EngineConfig {
                group: *group,
                width: map.width(),
                value_bytes_max: VALUE_BYTES_MAX,
            };
            let mut engine = Engine::new(config);
            engine.begin(LogIndex(1), UnixMillis(1));
            engine.apply(&WriteOp::Adopt { slots: map.slots_of(*group) });
            groups.insert(*group, Mutex::new(engine));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Arc::new(Self {
            groups,
            clock: AtomicU64::new(u64::try_from(now).unwrap()),
            in_place: AtomicBool::new(true),
            calls: AtomicU64::new(0),
            fault: Mutex::new(None),
            interference: Mutex::new(None),
            changes: Mutex::default(),
            folds: AtomicU64::new(0),
            lax_reads: AtomicU64::new(0),
            age_ms: AtomicU64::new(0),
        })
    }

    /// Lets the call that comes after `calls` more calls fail, once.
    pub(crate) fn fail_after(&self, calls: u64, fault: Fault) {
        *self.fault.lock().unwrap() = Some((self.calls() + calls, fault));
    }

    /// Lets somebody else act before the call that comes after `calls` more calls.
    pub(crate) fn interfere_after(&self, calls: u64, act: Interference) {
        *self.interference.lock().unwrap() = Some((self.calls() + calls, act));
    }

    /// Whether that has not happened yet; it will not any more.
    pub(crate) fn stop_interference(&self) -> bool {
        self.interference.lock().unwrap().take().is_some()
    }

    /// Makes a group refuse requests that were routed by a map older than this epoch.
    pub(crate) fn set_epoch(&self, group: GroupId, epoch: u64) {
        self.changes.lock().unwrap().epochs.insert(group, epoch);
    }

    /// Makes a group say for this many requests that it owns nothing.
    pub(crate) fn put_to_sleep(&self, group: GroupId, requests: u64) {
        self.changes.lock().unwrap().asleep.insert(group, requests);
    }

    /// Lets a router hear of a map when the next request is refused.
    pub(crate) fn tell_when_refused(&self, router: &Router, map: ClusterMap) {
        self.changes.lock().unwrap().news = Some((router.clone(), Arc::new(map)));
    }

    /// Gives all that a group has to another one, which must not have anything.
    pub(crate) fn hand_over(&self, from: GroupId, to: GroupId) {
        let (mut from, mut to) =
            (self.groups[&from].lock().unwrap(), self.groups[&to].lock().unwrap());
        std::mem::swap(&mut *from, &mut *to);
    }

    /// Whether a group refuses a request because of the map.
    fn check(&self, to: Target) -> Result<(), TransportError> {
        let mut changes = self.changes.lock().unwrap();
        let epoch = changes.epochs.get(&to.group).copied().unwrap_or(0);
        if to.epoch >= epoch {
            return Ok(());
        }
        let news = changes.news.take();
        drop(changes);
        if let Some((router, map)) = news {
            router.follow(map);
        }
        Err(TransportError::StaleMap { epoch })
    }

    /// Whether a group says that it owns nothing; counted unless the request only looks.
    fn is_asleep(&self, group: GroupId, looks: bool) -> bool {
        let mut changes = self.changes.lock().unwrap();
        let Some(left) = changes.asleep.get_mut(&group).filter(|left| **left > 0) else {
            return false;
        };
        *left -= u64::from(!looks);
        true
    }

    pub(crate) fn heal(&self) {
        *self.fault.lock().unwrap() = None;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(self.clock.load(Ordering::Relaxed))
    }

    /// What groups remember that is not finished.
    pub(crate) fn pending(&self) -> Vec<(GroupId, Vec<Pending>)> {
        let all =
            |engine: &Mutex<Engine>| engine.lock().unwrap().pending(UnixMillis(u64::MAX), 999);
        self.groups
            .iter()
            .map(|(group, engine)| (*group, all(engine)))
            .filter(|(_, pending)| !pending.is_empty())
            .collect()
    }

    /// As [`pending`](Self::pending), without what every first touch and every FLUSHALL leaves to
    /// home's leader.
    pub(crate) fn unfinished(&self) -> Vec<Pending> {
        let is_leave =
            |one: &Pending| matches!(one, Pending::Enlisted { .. } | Pending::Expired { .. });
        let all = self.pending().into_iter().flat_map(|(_, pending)| pending);
        all.filter(|one| !is_leave(one)).collect()
    }

    /// Has a router finish all that, as if it were old, and checks that nothing is left.
    pub(crate) fn finish(&self, router: &Router) {
        for (home, pending) in self.pending() {
            poll_to_end(router.finish(&pending, home));
        }
        assert_eq!(self.pending(), vec![], "finished once, nothing is left");
        assert_eq!(self.staged(), 0, "nothing stays staged");
    }

    /// How many parts are staged in all groups.
    pub(crate) fn staged(&self) -> u64 {
        self.groups.values().map(|engine| engine.lock().unwrap().stats().staged).sum()
    }

    /// How many parts all groups hold.
    pub(crate) fn parts(&self) -> u64 {
        self.groups.values().map(|engine| engine.lock().unwrap().stats().parts).sum()
    }

    pub(crate) fn with<R>(&self, group: GroupId, f: impl FnOnce(&mut Engine) -> R) -> R {
        f(&mut self.groups[&group].lock().unwrap())
    }

    fn due_fault(&self) -> Option<Fault> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let act = self.interference.lock().unwrap().take_if(|(at, _)| *at <= call);
        if let Some((_, act)) = act {
            act();
        }
        let mut fault = self.fault.lock().unwrap();
        match *fault {
            Some((at, kind)) if at == call => {
                *fault = None;
                Some(kind)
            }
            _ => None,
        }
    }

    fn apply(&self, group: GroupId, batch: OpBatch) -> Vec<Outcome> {
        let engine = &mut *self.groups[&group].lock().unwrap();
        let now = self.now();
        engine.begin(LogIndex(engine.applied().0 + 1), now);
        let mut reader = batch.into_reader();
        let mut outcomes = Vec::new();
        while let Some(op) = reader.next_op().unwrap() {
            outcomes.push(match op {
                Op::Read(read) => engine.read(&read, engine.time()),
                Op::Write(write) => engine.apply(&write),
            });
        }
        outcomes
    }
}

impl Transport for Cluster {
    fn read_now(&self, to: Target, op: &ReadOp) -> Option<Outcome> {
        let is_away = self.check(to).is_err() || self.is_asleep(to.group, true);
        if is_away || !self.in_place.load(Ordering::Relaxed) {
            return None;
        }
        let outcome = self.groups[&to.group].lock().unwrap().read(op, self.now());
        (outcome != Outcome::Tick).then_some(outcome)
    }

    fn read(
        &self,
        to: Target,
        op: ReadOp,
        reading: &Reading,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<Outcome, TransportError>> {
        if self.due_fault().is_some() {
            return ready(Err(TransportError::NoLeader { group: to.group })).boxed();
        }
        if let Err(error) = self.check(to) {
            return ready(Err(error)).boxed();
        }
        if self.is_asleep(to.group, false) {
            return ready(Ok(Outcome::NotOwner)).boxed();
        }
        if reading.consistency != Consistency::Linearizable {
            self.lax_reads.fetch_add(1, Ordering::Relaxed);
            reading.note_age(self.age_ms.load(Ordering::Relaxed));
        }
        let engine = &mut *self.groups[&to.group].lock().unwrap();
        let now = self.now();
        let mut outcome = engine.read(&op, now);
        if outcome == Outcome::Tick {
            engine.begin(LogIndex(engine.applied().0 + 1), now);
            engine.apply(&WriteOp::Tick);
            outcome = engine.read(&op, now);
        }
        reading.note_shown(to.group, engine.applied().0);
        ready(Ok(outcome)).boxed()
    }

    fn fold(&self, fold: Fold, _deadline: Deadline) -> BoxFuture<'_, Option<u64>> {
        let Fold { epoch, values, formula, range } = fold;
        let is_away = |(group, _, _): &(GroupId, u64, ReadOp)| {
            self.check(Target { group: *group, epoch }).is_err() || self.is_asleep(*group, true)
        };
        let is_declined = !self.folds.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if is_declined || self.due_fault().is_some() || values.iter().any(is_away) {
            return ready(None).boxed();
        }
        // By the log's time, as a replica that does not lead.
        let answer = |(group, applied, op): &(GroupId, u64, ReadOp)| {
            let engine = self.groups[group].lock().unwrap();
            assert!(engine.applied().0 >= *applied && *applied > 0);
            engine.read(op, engine.time())
        };
        let values: Vec<Outcome> = values.iter().map(answer).collect();
        let Ok(work) = Work::evaluate(vec![formula], values, range, Want::Counts) else {
            return ready(None).boxed();
        };
        let Outcome::Reply(Reply::Array(counts)) = work.run().into_outcome() else {
            panic!("a fold that is no count");
        };
        let [Reply::Integer(count)] = counts[..] else { panic!("a fold of {counts:?}") };
        ready(u64::try_from(count).ok()).boxed()
    }

    fn write(
        &self,
        to: Target,
        batch: OpBatch,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>> {
        let unknown = TransportError::OutcomeUnknown { waited: Duration::from_secs(1) };
        let fault = self.due_fault();
        if let Err(error) = self.check(to) {
            return ready(Err(error)).boxed();
        }
        if self.is_asleep(to.group, false) {
            let outcomes = (0..batch.len()).map(|_| Outcome::NotOwner).collect();
            return ready(Ok(outcomes)).boxed();
        }
        let result = match fault {
            None => Ok(self.apply(to.group, batch)),
            Some(Fault::NoLeader) => Err(TransportError::NoLeader { group: to.group }),
            Some(Fault::LostRequest) => Err(unknown),
            Some(Fault::LostReply) => {
                self.apply(to.group, batch);
                Err(unknown)
            }
        };
        ready(result).boxed()
    }
}

/// A map of this many groups.
pub(crate) fn map(groups: u16) -> ClusterMap {
    let groups: Vec<GroupId> = (1..=groups).map(GroupId).collect();
    ClusterMap::plan(&groups, WIDTH)
}

pub(crate) fn router(map: &ClusterMap, cluster: &Arc<Cluster>) -> Router {
    Router::new(map.clone(), Arc::clone(cluster) as Arc<dyn Transport>, options(600_000))
}

/// Options with this many milliseconds for a request.
pub(crate) fn options(request_timeout_ms: u64) -> RouterOptions {
    RouterOptions {
        request_timeout: Duration::from_millis(request_timeout_ms),
        fan_out_max: 8,
        value_bytes_max: VALUE_BYTES_MAX,
    }
}

/// A router over a fresh cluster.
pub(crate) fn fresh(map: &ClusterMap) -> (Router, Arc<Cluster>) {
    let cluster = Cluster::new(map);
    (router(map, &cluster), cluster)
}

/// What most tests ask: linearizably.
pub(crate) trait Ask {
    async fn ask(&self, command: Command) -> Reply;
}

impl Ask for Router {
    async fn ask(&self, command: Command) -> Reply {
        self.run(command, &Reading::default()).await
    }
}

/// Runs a future whose every step is ready or waits for a while, on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// As [`block_on`], also from within another future.
pub(crate) fn poll_to_end<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name.as_bytes()).unwrap()
}

/// One pipeline through a turn, as a session drives it.
pub(crate) async fn pipeline(router: &Router, commands: &[Command]) -> Vec<Reply> {
    let mut turn = router.turn();
    for command in commands {
        if let Err(command) = turn.try_push(command.clone()) {
            turn.run(command).await;
        }
    }
    turn.flush().await;
    let mut replies = Vec::new();
    turn.drain(|reply| replies.push(reply));
    replies
}
