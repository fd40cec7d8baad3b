//! One group as the node sees it: its replica, its queue and its state.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bitroster_command::entry::encode_entry;
use bitroster_command::{FollowUp, OpBatch, Outcome, ReadCommand, ReadOp, WriteOp};
use bitroster_engine::{EngineStats, ReadStep};
use bitroster_types::{Deadline, GroupId, Slot};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout_at;

use crate::error::Error;
use crate::keeper::LogMeter;
use crate::keyspace::Keyspace;
use crate::metrics::Metrics;
use crate::options::Clock;
use crate::pool::Pool;
use crate::queue::{InFlight, Queue, Reply, Waiting};
use crate::raft::read_gate::ReadGate;
use crate::raft::replica::{Refusal, Replica};

/// What the tasks of one group share.
pub(crate) struct Group {
    id: GroupId,
    slots: Vec<Slot>,
    keyspace: Arc<Keyspace>,
    queue: Arc<Queue>,
    pool: Arc<Pool>,
    clock: Clock,
    meter: Arc<LogMeter>,
    metrics: Metrics,
    replica: OnceLock<Replica>,
    /// Whether this replica is the only voter, leads, and has applied its log: what it holds is
    /// then the latest there is.
    serving: AtomicBool,
    ready: watch::Sender<bool>,
    gate: ReadGate,
}

/// What a group is made of.
pub(crate) struct Parts {
    pub(crate) id: GroupId,
    pub(crate) slots: Vec<Slot>,
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) clock: Clock,
    pub(crate) meter: Arc<LogMeter>,
    pub(crate) metrics: Metrics,
}

impl Group {
    /// A group without a replica yet.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { id, slots, keyspace, pool, clock, meter, metrics } = parts;
        Arc::new(Self {
            id,
            slots,
            keyspace,
            queue: Queue::new(metrics.queue_bytes.clone()),
            pool,
            clock,
            meter,
            metrics,
            replica: OnceLock::new(),
            serving: AtomicBool::new(false),
            ready: watch::channel(false).0,
            gate: ReadGate::new(),
        })
    }

    pub(crate) fn id(&self) -> GroupId {
        self.id
    }

    pub(crate) fn meter(&self) -> &LogMeter {
        &self.meter
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
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

    /// Waits until the group answers.
    pub(crate) async fn wait_ready(&self) {
        // The sender lives as long as `self`.
        drop(self.ready.subscribe().wait_for(|ready| *ready).await);
    }

    /// Makes `replica` the group's and has it lead and apply its log; gives it its slots if it has
    /// none. The proposer must be running.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the replica stops meanwhile; [`Error::ShuttingDown`].
    pub(crate) async fn start(&self, replica: Replica) -> Result<(), Error> {
        let replica = self.replica.get_or_init(|| replica);
        if self.queue.is_closed() {
            // Shutdown may have looked for the replica before it was there.
            replica.shutdown().await;
            return Err(Error::ShuttingDown);
        }
        replica.lead_alone().await?;
        if self.slots.first().is_some_and(|&first| !self.keyspace.read().owns(first)) {
            let mut batch = OpBatch::new();
            batch.push_write(&WriteOp::Adopt { slots: self.slots.clone() });
            let (_, receiver) = self.queue.push(batch)?;
            receiver.await.map_err(|_| Error::ShuttingDown)??;
        }
        self.ready.send_replace(true);
        Ok(())
    }

    /// Says whether the replica leads alone.
    pub(crate) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }

    /// Proposes what waits, entry by entry, until the queue is closed and empty.
    pub(crate) async fn propose(self: Arc<Self>) {
        while let Some((batches, in_flight)) = self.queue.take().await {
            let entry = encode_entry((self.clock)(), batches.iter().map(|waiting| &waiting.batch));
            let proposal = Proposal::new(batches, in_flight, &self);
            let Some(replica) = self.replica.get() else {
                proposal.answer(Err(Refusal::NotLeader));
                continue;
            };
            if let Err(error) = replica.propose(entry, move |result| proposal.answer(result)).await
            {
                tracing::debug!(group = %self.id, %error, "proposal not taken");
            }
        }
    }

    /// Asks the majority for reads that cannot be answered alone. Never returns.
    pub(crate) async fn confirm_reads(self: Arc<Self>) {
        let question = || async {
            let no_leader = Error::NoLeader { group: self.id };
            self.replica.get().ok_or(no_leader)?.confirm_read().await
        };
        self.gate.run(question).await;
    }

    /// Commits an entry that drops what is due by the clock.
    pub(crate) async fn tick(&self) -> Result<(), Error> {
        let mut batch = OpBatch::new();
        batch.push_write(&WriteOp::Tick);
        let (_, receiver) = self.queue.push(batch)?;
        receiver.await.map_err(|_| Error::ShuttingDown)??;
        Ok(())
    }

    /// Whether a key is past its expiry by the clock and not dropped yet.
    pub(crate) fn expiry_due(&self) -> bool {
        self.serving.load(Ordering::Acquire)
            && self.keyspace.read().next_expiry().is_some_and(|expiry| expiry <= (self.clock)())
    }

    /// Writes a snapshot now.
    pub(crate) async fn snapshot(&self) -> Result<(), Error> {
        match self.replica.get() {
            Some(replica) => replica.snapshot().await,
            None => Err(Error::Loading { group: self.id }),
        }
    }

    /// Waits until the log that the last snapshot covers is dropped.
    pub(crate) async fn purged(&self) -> Result<(), Error> {
        match self.replica.get() {
            Some(replica) => replica.purged().await,
            None => Err(Error::Loading { group: self.id }),
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
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An entry in flight: who waits for which of its outcomes.
struct Proposal {
    group: GroupId,
    waiters: Vec<(usize, oneshot::Sender<Reply>)>,
    ops: usize,
    started: Instant,
    metrics: Metrics,
    _in_flight: InFlight,
}

impl Proposal {
    fn new(batches: Vec<Waiting>, in_flight: InFlight, group: &Group) -> Self {
        let waiters: Vec<_> =
            batches.into_iter().map(|waiting| (waiting.batch.len(), waiting.reply)).collect();
        let ops = waiters.iter().map(|(count, _)| count).sum();
        let (metrics, started) = (group.metrics.clone(), Instant::now());
        Self { group: group.id, waiters, ops, started, metrics, _in_flight: in_flight }
    }

    /// Gives each batch its outcomes. Callers that have gone are skipped.
    fn answer(self, result: Result<Vec<Outcome>, Refusal>) {
        let waited = self.started.elapsed();
        let outcomes = match result {
            Ok(outcomes) => outcomes,
            Err(refusal) => {
                let error = match refusal {
                    Refusal::NotLeader => {
                        self.metrics.proposals_refused.increment(1);
                        Error::NoLeader { group: self.group }
                    }
                    Refusal::Unknown => {
                        self.metrics.proposals_unknown.increment(1);
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
        self.metrics.proposals_applied.increment(1);
        self.metrics.ops.increment(self.ops as u64);
        #[expect(clippy::cast_precision_loss, reason = "a histogram")]
        self.metrics.entry_ops.record(self.ops as f64);
        self.metrics.commit_duration.record(waited);
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

/// A group of this node. Cheap to clone; clones are the same group.
#[derive(Clone, Debug)]
pub struct GroupHandle {
    group: Arc<Group>,
}

impl GroupHandle {
    pub(crate) fn new(group: Arc<Group>) -> Self {
        Self { group }
    }

    /// The group's number.
    pub fn id(&self) -> GroupId {
        self.group.id
    }

    /// Whether the group has recovered and answers.
    pub fn is_ready(&self) -> bool {
        self.group.is_ready()
    }

    /// Answers a read at once, if this replica may and the read is cheap: it is then linearizable.
    /// `None` means [`GroupHandle::read`] must be asked. Takes a short lock; never waits for the
    /// disk or a peer.
    pub fn read_now(&self, op: &ReadOp) -> Option<Outcome> {
        let group = &*self.group;
        if !group.serving.load(Ordering::Acquire) {
            return None;
        }
        let engine = group.keyspace.read();
        // Where nothing has an expiry, no bit depends on the time: asking the system for it would
        // be a part of the cost of each GETBIT that can be seen.
        let is_timeless = engine.next_expiry().is_none()
            && matches!(op, ReadOp::Command(ReadCommand::GetBit { .. }));
        let now = if is_timeless { engine.time() } else { (group.clock)() };
        match engine.read_step(op, now) {
            ReadStep::Done(Outcome::Tick) | ReadStep::Work(_) => None,
            ReadStep::Done(outcome) => Some(outcome),
        }
    }

    /// Answers a read, linearizably: it sees every write that was acknowledged before it was asked.
    /// Heavy reads compute on the work pool.
    ///
    /// # Errors
    ///
    /// [`Error::Loading`], [`Error::NoLeader`], [`Error::Busy`] if the deadline passes,
    /// [`Error::ShuttingDown`].
    pub async fn read(&self, op: ReadOp, deadline: Deadline) -> Result<Outcome, Error> {
        let late = Error::Busy { what: "the read was not answered within its deadline" };
        timeout_at(deadline.instant().into(), self.read_patiently(op)).await.unwrap_or(Err(late))
    }

    async fn read_patiently(&self, op: ReadOp) -> Result<Outcome, Error> {
        let group = &*self.group;
        if !group.is_ready() {
            return Err(Error::Loading { group: group.id });
        }
        loop {
            if !group.serving.load(Ordering::Acquire) {
                group.gate.pass().await?;
            }
            let now = (group.clock)();
            let step = group.keyspace.read().read_step(&op, now);
            match step {
                ReadStep::Done(Outcome::Tick) => group.tick().await?,
                ReadStep::Done(outcome) => return Ok(outcome),
                ReadStep::Work(work) => {
                    let outcome = group.pool.run(move || work.run().into_outcome()).await;
                    return outcome.map_err(|_| Error::ShuttingDown);
                }
            }
        }
    }

    /// Commits a batch and returns its outcomes: one for each op, in order. The batch is applied in
    /// one piece: no other op comes between its own.
    ///
    /// # Errors
    ///
    /// [`Error::OutcomeUnknown`] if it was proposed and not answered before the deadline; on all
    /// others nothing was applied: [`Error::TooLong`], [`Error::Loading`], [`Error::NoLeader`],
    /// [`Error::Busy`], [`Error::ShuttingDown`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back: the batch is committed all the same.
    pub async fn write(&self, batch: OpBatch, deadline: Deadline) -> Result<Vec<Outcome>, Error> {
        let group = &*self.group;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if !group.is_ready() {
            return Err(Error::Loading { group: group.id });
        }
        let started = Instant::now();
        let (ticket, receiver) = group.queue.push(batch)?;
        match timeout_at(deadline.instant().into(), receiver).await {
            Ok(Ok(reply)) => reply,
            Err(_) if group.queue.withdraw(ticket) => {
                Err(Error::Busy { what: "the write waited in the group's queue past its deadline" })
            }
            Ok(Err(_)) | Err(_) => Err(Error::OutcomeUnknown { waited: started.elapsed() }),
        }
    }

    /// Clean-ups that groups have not confirmed yet: a router that died left them. The leader's
    /// router finishes them.
    pub fn pending_retired(&self) -> Vec<FollowUp> {
        self.group.keyspace.read().pending_retired()
    }

    /// Figures of the group's data.
    pub fn engine_stats(&self) -> EngineStats {
        self.group.engine_stats()
    }
}

#[cfg(test)]
mod tests;
