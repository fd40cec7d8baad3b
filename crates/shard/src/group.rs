//! One group as the node sees it: its replica, its queue and its state.

mod handle;
mod read;
pub(crate) mod role;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bitroster_command::entry::encode_entry;
use bitroster_command::{OpBatch, Outcome, WriteOp};
use bitroster_engine::EngineStats;
use bitroster_types::limits::SLOTS;
use bitroster_types::{GroupId, ReplicaId, SegmentWidth, Slot};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::error::Error;
use crate::keeper::LogMeter;
use crate::keyspace::Keyspace;
use crate::metrics::{Metrics, Surveyed, count};
use crate::options::{Clock, Timing};
use crate::peers::MessageKind;
use crate::pool::Pool;
use crate::queue::{InFlight, Queue, Reply, Waiting};
use crate::raft::lead::Voters;
use crate::raft::read_gate::ReadGate;
use crate::raft::replica::{Founding, Place, Refusal, Replica};

use self::role::{Applied, Freshness, Role};

pub use self::handle::GroupHandle;
pub use self::read::Answered;
pub(crate) use self::read::{LATE_READS, reads_of};
pub use crate::raft::members::{FollowerStatus, MemberStep, ReplicaStatus};

/// How long it may take until what Raft has decided is known to the group.
const NOT_LEADING_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// What the tasks of one group share.
pub(crate) struct Group {
    place: Place,
    slots: Vec<Slot>,
    keyspace: Arc<Keyspace>,
    queue: Arc<Queue>,
    pool: Arc<Pool>,
    clock: Clock,
    timing: Timing,
    meter: Arc<LogMeter>,
    metrics: Arc<Metrics>,
    surveyed: Surveyed,
    replica: OnceLock<Replica>,
    role: watch::Sender<Role>,
    /// Who was seen to lead last.
    last_leader: Mutex<Option<ReplicaId>>,
    applied: Applied,
    freshness: Freshness,
    /// Whether this replica is the only voter, leads, and has applied its log: what it holds is
    /// then the latest there is.
    serving: AtomicBool,
    /// False while other voters may be about to come: `serving` is then false too.
    may_serve: Mutex<bool>,
    ready: watch::Sender<bool>,
    gate: ReadGate,
}

/// What a group is made of.
pub(crate) struct Parts {
    pub(crate) place: Place,
    pub(crate) slots: Vec<Slot>,
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) clock: Clock,
    pub(crate) timing: Timing,
    pub(crate) meter: Arc<LogMeter>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) applied: Applied,
}

impl Group {
    /// A group without a replica yet.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { place, slots, keyspace, pool, clock, timing, meter, metrics, applied } = parts;
        Arc::new(Self {
            place,
            slots,
            keyspace,
            queue: Queue::new(),
            pool,
            clock,
            timing,
            meter,
            metrics,
            surveyed: Surveyed::default(),
            replica: OnceLock::new(),
            role: watch::channel(Role::default()).0,
            last_leader: Mutex::default(),
            applied,
            freshness: Freshness::default(),
            serving: AtomicBool::new(false),
            may_serve: Mutex::new(true),
            ready: watch::channel(false).0,
            gate: ReadGate::new(),
        })
    }

    pub(crate) fn id(&self) -> GroupId {
        self.place.group
    }

    pub(crate) fn width(&self) -> SegmentWidth {
        self.keyspace.config().width
    }

    pub(crate) fn replica_id(&self) -> ReplicaId {
        self.place.replica
    }

    pub(crate) fn meter(&self) -> &LogMeter {
        &self.meter
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn surveyed(&self) -> &Surveyed {
        &self.surveyed
    }

    pub(crate) fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Where the replica here stands.
    pub(crate) fn status(&self) -> ReplicaStatus {
        let (group, replica) = (self.id(), self.replica_id());
        let status = self.replica.get().map_or_else(
            || ReplicaStatus { group, replica, ..ReplicaStatus::default() },
            Replica::status,
        );
        // Raft's own figures come a moment later than what it has answered.
        ReplicaStatus { applied: self.applied.index(), ready: self.is_ready(), ..status }
    }

    /// Whether a leader is known that a majority, or this replica, has heard of not long ago.
    pub(crate) fn hears_leader(&self) -> bool {
        let role = *self.role.borrow();
        let heard = match role.leader {
            None => None,
            Some(_) if role.alone => return true,
            Some(_) if role.leads => self.replica.get().and_then(Replica::quorum_age),
            Some(_) => self.freshness.silence(),
        };
        heard.is_some_and(|age| age <= self.timing.election_timeout_max())
    }

    /// Heap bytes of the group's data, as accounted by the engine.
    pub(crate) fn dataset_bytes(&self) -> u64 {
        self.keyspace.read().stats().dataset_bytes
    }

    pub(crate) fn engine_stats(&self) -> EngineStats {
        self.keyspace.read().stats()
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    pub(crate) fn leads(&self) -> bool {
        self.role.borrow().leads
    }

    /// Waits until the group answers.
    pub(crate) async fn wait_ready(&self) {
        // The sender lives as long as `self`.
        drop(self.ready.subscribe().wait_for(|ready| *ready).await);
    }

    fn replica(&self) -> Result<&Replica, Error> {
        self.replica.get().ok_or(Error::Loading { group: self.id() })
    }

    /// Who leads by what is known now, if it is another node; for refusals.
    fn no_leader(&self) -> Error {
        let leader = self.role.borrow().leader.map(|(_, node)| node);
        Error::NoLeader { group: self.id(), leader: leader.filter(|node| *node != self.place.node) }
    }

    /// Makes `replica` the group's, and a member of it; see [`Replica::join`].
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the replica stops meanwhile; [`Error::ShuttingDown`].
    pub(crate) async fn start(&self, replica: Replica, founding: Founding) -> Result<(), Error> {
        let replica = self.replica.get_or_init(|| replica);
        if self.queue.is_closed() {
            // Shutdown may have looked for the replica before it was there.
            replica.shutdown().await;
            return Err(Error::ShuttingDown);
        }
        replica.join(founding).await
    }

    /// Takes note of who leads.
    pub(crate) fn set_role(&self, role: Role) {
        let old = *self.role.borrow();
        if old.leads && !role.leads {
            let age = self.replica.get().and_then(Replica::quorum_age);
            if let Some(at) = age.and_then(|age| Instant::now().checked_sub(age)) {
                self.freshness.set(at);
            }
        }
        if !role.alone {
            self.set_serving(false);
        }
        if let Some((leader, _)) = role.leader
            && self.last_leader.lock().replace(leader) != Some(leader)
        {
            count(&self.metrics.leader_changes);
        }
        self.role.send_replace(role);
    }

    /// Says whether the replica leads alone and has applied its log.
    fn set_serving(&self, serving: bool) {
        let may_serve = self.may_serve.lock();
        self.serving.store(serving && *may_serve, Ordering::Release);
    }

    /// Before there are other voters this replica must ask them.
    fn stop_serving_alone(&self) {
        *self.may_serve.lock() = false;
        self.set_serving(false);
    }

    /// There are no other voters and none to come.
    fn may_serve_alone(&self) {
        *self.may_serve.lock() = true;
        let role = *self.role.borrow();
        self.set_serving(role.alone && self.has_led(role));
    }

    /// Whether it leads and has applied all that was committed before it did.
    fn has_led(&self, role: Role) -> bool {
        role.leads && self.applied.term() >= role.term
    }

    /// Follows the replica's role and progress: decides when the group answers, and gives it its
    /// slots. Never returns.
    pub(crate) async fn settle(&self) {
        let mut role = self.role.subscribe();
        let mut applied = self.applied.changes();
        loop {
            let now = *role.borrow_and_update();
            applied.borrow_and_update();
            let has_led = self.has_led(now);
            self.set_serving(now.alone && has_led);
            if !self.is_ready() {
                self.prepare(has_led).await;
            }
            if self.is_ready() && (!now.leads || has_led) {
                // Entries change nothing now: a busy group need not wake this task each time.
                drop(role.changed().await);
                continue;
            }
            // What a leader says of its log comes without a change of these.
            let pause = tokio::time::sleep(self.timing.heartbeat());
            tokio::select! {
                _ = role.changed() => {}
                Ok(()) = applied.changed() => {}
                () = pause => {}
            }
        }
    }

    /// Says that the group answers, if it can. A leader gives it its slots first if it has none.
    async fn prepare(&self, has_led: bool) {
        if self.queue.is_closed() {
            return;
        }
        let owns = self.slots.is_empty() || self.owns_any();
        if has_led && !owns {
            if let Err(error) = self.adopt().await {
                tracing::debug!(group = %self.id(), %error, "the slots are not taken yet");
            }
        } else if owns && (has_led || self.freshness.age(self.applied.index()).is_some()) {
            self.ready.send_replace(true);
        }
    }

    fn owns_any(&self) -> bool {
        let engine = self.keyspace.read();
        // The wanted ones first: they are what a group usually owns.
        self.slots.iter().any(|&slot| engine.owns(slot))
            || (0..SLOTS).filter_map(Slot::new).any(|slot| engine.owns(slot))
    }

    async fn adopt(&self) -> Result<(), Error> {
        let mut batch = OpBatch::new();
        batch.push_write(&WriteOp::Adopt { slots: self.slots.clone() });
        let (_, receiver) = self.queue.push(batch)?;
        receiver.await.map_err(|_| Error::ShuttingDown)??;
        Ok(())
    }

    /// Proposes what waits, entry by entry, until the queue is closed and empty.
    pub(crate) async fn propose(self: Arc<Self>) {
        let mut role = self.role.subscribe();
        let mut applied = self.applied.changes();
        while self.queue.wait().await {
            let _now = self.wait_until_decided(&mut role, &mut applied).await;
            let Some((batches, in_flight)) = self.queue.take() else { continue };
            let entry = encode_entry((self.clock)(), batches.iter().map(|waiting| &waiting.batch));
            let proposal = Proposal::new(batches, in_flight, &self);
            let Some(replica) = self.replica.get() else {
                proposal.answer(Err(Refusal::NotLeader(None)));
                continue;
            };
            if let Err(error) = replica.propose(entry, move |result| proposal.answer(result)).await
            {
                tracing::debug!(group = %self.id(), %error, "proposal not taken");
            }
        }
    }

    /// Waits while this replica leads without a word from a majority yet: Raft would refuse what
    /// it will take a moment later. Gives what it is then: it does not lead, or it has applied all
    /// that was committed before its term.
    async fn wait_until_decided(
        &self,
        role: &mut watch::Receiver<Role>,
        applied: &mut watch::Receiver<u64>,
    ) -> Role {
        loop {
            let now = *role.borrow_and_update();
            applied.borrow_and_update();
            if !now.leads || self.has_led(now) {
                return now;
            }
            tokio::select! {
                _ = role.changed() => {}
                // The state machine ends with the replica, which ends the role too.
                Ok(()) = applied.changed() => {}
            }
        }
    }

    /// Asks the majority for reads that cannot be answered alone. Never returns.
    pub(crate) async fn confirm_reads(self: Arc<Self>) {
        let mut voters = Voters::default();
        loop {
            let asked = self.gate.asked().await;
            let started = Instant::now();
            let refused = self.confirm_lead(&mut voters).await.err();
            self.metrics.read_index_duration.record_time(started.elapsed());
            self.gate.answer(asked, refused);
        }
    }

    /// Makes sure that this replica has led since this was called, and has applied all that was
    /// committed before it did.
    async fn confirm_lead(&self, voters: &mut Voters) -> Result<(), Error> {
        let replica = self.replica()?;
        let mut role = self.role.subscribe();
        // It must learn first what was committed before its time.
        let patience = self.timing.election_timeout_min();
        let mut applied = self.applied.changes();
        let decided = self.wait_until_decided(&mut role, &mut applied);
        // Not looked at again: it may have lost this lead since, and won one in a later term.
        let Ok(Role { leads: true, term, .. }) = timeout(patience, decided).await else {
            return Err(self.no_leader());
        };
        tokio::select! {
            confirmed = replica.confirm_lead(voters, term) => confirmed,
            _ = role.wait_for(|role| !role.leads) => Err(self.no_leader()),
        }
    }

    /// Answers a message of another replica.
    pub(crate) async fn receive(
        &self,
        replica: ReplicaId,
        kind: MessageKind,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        if replica != self.place.replica {
            return Err(Error::NoReplica { group: self.id(), replica });
        }
        let at = Instant::now();
        let received = self.replica()?.receive(kind, body).await?;
        if let Some(committed) = received.committed {
            self.freshness.tell(committed, at, self.applied.index());
        }
        Ok(received.answer)
    }

    /// Commits an entry that drops what is due by the clock.
    pub(crate) async fn tick(&self) -> Result<(), Error> {
        let mut batch = OpBatch::new();
        batch.push_write(&WriteOp::Tick);
        let (_, receiver) = self.queue.push(batch)?;
        receiver.await.map_err(|_| Error::ShuttingDown)??;
        Ok(())
    }

    /// Whether this replica leads and a key is past its expiry by the clock and not dropped yet.
    pub(crate) fn expiry_due(&self) -> bool {
        self.is_ready()
            && self.leads()
            && self.keyspace.read().next_expiry().is_some_and(|expiry| expiry <= (self.clock)())
    }

    /// Writes a snapshot now, and drops the log that it covers; keeps a little of it if `keep`.
    pub(crate) async fn snapshot(&self, keep: bool) -> Result<(), Error> {
        self.replica()?.snapshot(keep).await
    }

    /// Waits until the log that the last snapshot covers is dropped.
    pub(crate) async fn purged(&self) -> Result<(), Error> {
        self.replica()?.purged().await
    }

    /// Has another replica lead if this one does; see [`Replica::hand_over`].
    pub(crate) async fn hand_over(&self, patience: Duration) {
        if let Some(replica) = self.replica.get()
            && replica.hand_over(patience).await
        {
            self.wait_not_to_lead().await;
        }
    }

    /// Waits until what Raft has decided already is known here too.
    async fn wait_not_to_lead(&self) {
        // The sender lives as long as `self`. One that leads again before it was seen not to is not
        // waited for.
        let mut role = self.role.subscribe();
        let seen = role.wait_for(|role| !role.leads);
        drop(tokio::time::timeout(NOT_LEADING_WAIT_MAX, seen).await);
    }

    /// Refuses new writes, and lets those that are there be answered: for ever where this replica
    /// decides alone, a few election time-outs where others may be away.
    pub(crate) async fn drain(&self) {
        self.queue.close();
        if self.role.borrow().alone {
            return self.queue.idle().await;
        }
        let patience = 2 * self.timing.election_timeout_max();
        if tokio::time::timeout(patience, self.queue.idle()).await.is_err() {
            tracing::info!(group = %self.id(), "writes are left without an answer");
            self.queue.refuse_all();
        }
    }

    /// Stops the replica.
    pub(crate) async fn shutdown(&self) {
        self.set_serving(false);
        self.ready.send_replace(false);
        if let Some(replica) = self.replica.get() {
            replica.shutdown().await;
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("place", &self.place).finish_non_exhaustive()
    }
}

/// An entry in flight: who waits for which of its outcomes.
struct Proposal {
    group: GroupId,
    waiters: Vec<(usize, oneshot::Sender<Reply>)>,
    ops: usize,
    started: Instant,
    metrics: Arc<Metrics>,
    _in_flight: InFlight,
}

impl Proposal {
    fn new(batches: Vec<Waiting>, in_flight: InFlight, group: &Group) -> Self {
        let waiters: Vec<_> =
            batches.into_iter().map(|waiting| (waiting.batch.len(), waiting.reply)).collect();
        let ops = waiters.iter().map(|(count, _)| count).sum();
        let (metrics, started) = (group.metrics.clone(), Instant::now());
        Self { group: group.id(), waiters, ops, started, metrics, _in_flight: in_flight }
    }

    /// Gives each batch its outcomes. Callers that have gone are skipped.
    fn answer(self, result: Result<Vec<Outcome>, Refusal>) {
        let waited = self.started.elapsed();
        let outcomes = match result {
            Ok(outcomes) => outcomes,
            Err(refusal) => {
                let error = match refusal {
                    Refusal::NotLeader(leader) => {
                        count(&self.metrics.proposals_refused);
                        Error::NoLeader { group: self.group, leader }
                    }
                    Refusal::Unknown => {
                        count(&self.metrics.proposals_unknown);
                        Error::OutcomeUnknown { waited }
                    }
                };
                for (_, reply) in self.waiters {
                    drop(reply.send(Err(error.clone())));
                }
                return;
            }
        };
        assert_eq!(outcomes.len(), self.ops, "one outcome for each op of an entry");
        count(&self.metrics.proposals_applied);
        self.metrics.ops.fetch_add(self.ops as u64, Ordering::Relaxed);
        self.metrics.node.batch_ops.record(self.ops as u64);
        self.metrics.proposal_duration.record_time(waited);
        let mut outcomes = outcomes.into_iter();
        let mut waiters = self.waiters;
        let last = waiters.pop();
        for (count, reply) in waiters {
            drop(reply.send(Ok(outcomes.by_ref().take(count).collect())));
        }
        if let Some((_, reply)) = last {
            // What is left; the whole vector, uncopied, where there is one batch.
            drop(reply.send(Ok(outcomes.collect())));
        }
    }
}

#[cfg(test)]
mod tests;
