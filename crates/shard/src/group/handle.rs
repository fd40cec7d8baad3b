//! A group's public face.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bitroster_command::{OpBatch, Outcome, Pending, ReadOp};
use bitroster_engine::EngineStats;
use bitroster_types::{Consistency, Deadline, GroupId, NodeId, ReplicaId, UnixMillis};
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::read::{Answered, LATE_READ, LATE_READS, reads_of};
use super::{Group, MemberStep, ReplicaStatus};
use crate::error::Error;

/// A group of this node. Cheap to clone; clones are the same group.
#[derive(Clone, Debug)]
pub struct GroupHandle {
    pub(super) group: Arc<Group>,
}

impl GroupHandle {
    pub(crate) fn new(group: Arc<Group>) -> Self {
        Self { group }
    }

    /// The group's number.
    pub fn id(&self) -> GroupId {
        self.group.id()
    }

    /// The number of the replica that is here.
    pub fn replica(&self) -> ReplicaId {
        self.group.replica_id()
    }

    /// Whether the replica here has recovered and answers: reads that may be old, and all else
    /// while it leads.
    pub fn is_ready(&self) -> bool {
        self.group.is_ready()
    }

    /// Whether the replica here takes itself for the leader.
    pub fn leads(&self) -> bool {
        self.group.leads()
    }

    /// The node whose replica leads, as far as known; this node where it leads itself.
    pub fn leader(&self) -> Option<NodeId> {
        self.group.role.borrow().leader.map(|(_, node)| node)
    }

    /// Waits until what is known of the leader is `wanted`, and returns it; see
    /// [`GroupHandle::leader`].
    pub async fn wait_leader(
        &self,
        wanted: impl Fn(Option<NodeId>) -> bool + Send,
    ) -> Option<NodeId> {
        let mut role = self.group.role.subscribe();
        let known = role.wait_for(|role| wanted(role.leader.map(|(_, node)| node))).await;
        known.ok()?.leader.map(|(_, node)| node)
    }

    /// Where the replica here stands.
    pub fn status(&self) -> ReplicaStatus {
        self.group.status()
    }

    /// The index of the last entry that is applied here, now and at every change. The sender is
    /// gone once the replica has stopped.
    pub fn applied_changes(&self) -> watch::Receiver<u64> {
        self.group.applied.changes()
    }

    /// Answers a read at once, if this replica may and the read is cheap: it is then linearizable.
    /// `None` means [`GroupHandle::read`] must be asked. Takes a short lock; never waits for the
    /// disk or a peer. Only the single voter of a group answers here.
    pub fn read_now(&self, op: &ReadOp) -> Option<Outcome> {
        self.group.read_now(op)
    }

    /// Answers a cheap read from what is applied here, however old that is; by the log's time, so
    /// that a key past its expiry may still be seen. `None` if the read is not cheap.
    pub fn peek(&self, op: &ReadOp) -> Option<Outcome> {
        self.group.peek(op)
    }

    /// Answers a read. Heavy reads compute on the work pool.
    ///
    /// # Errors
    ///
    /// [`Error::Loading`], [`Error::NoLeader`], [`Error::Busy`] if the deadline passes or the read
    /// is heavy and too much waits on the pool, [`Error::ShuttingDown`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes back what waits on the pool; what computes there runs to its end.
    pub async fn read(
        &self,
        op: ReadOp,
        consistency: Consistency,
        deadline: Deadline,
    ) -> Result<Outcome, Error> {
        let reading = self.group.read(op, consistency, deadline);
        timeout_at(deadline.instant().into(), reading).await.unwrap_or(Err(LATE_READ))
    }

    /// Answers reads, all admitted by one question to the majority. Light ones are answered from
    /// one state, unless there are many; heavy ones compute on the work pool. Linearizable ones
    /// need not wait for the majority where `supporters` make one with this replica: the caller
    /// asks them, after the reads came, and judges by [`Answered::term`].
    ///
    /// # Errors
    ///
    /// As [`GroupHandle::read`]; [`Error::Malformed`] if the batch holds a write.
    pub async fn read_batch(
        &self,
        ops: OpBatch,
        consistency: Consistency,
        supporters: &[ReplicaId],
        deadline: Deadline,
    ) -> Result<Answered, Error> {
        let ops = reads_of(ops)?;
        let reading = self.group.read_batch(ops, consistency, supporters, deadline);
        timeout_at(deadline.instant().into(), reading).await.unwrap_or(Err(LATE_READS))
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
        {
            let role = *group.role.borrow();
            if !role.leads && role.leader.is_some() {
                return Err(group.no_leader());
            }
        }
        if !group.is_ready() {
            return Err(Error::Loading { group: group.id() });
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

    /// Takes one step towards a group of exactly `members`, all of them voters; the leader's to
    /// do. Asked for again and again, it gets there: new members are given the log first and vote
    /// once they nearly have it; those that are to go leave entirely; a leader that is to go hands
    /// over first. Asked for what is so already, it does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`], [`Error::Loading`]; [`Error::Busy`] if no majority confirms the step in
    /// time, which may still come about; [`Error::Option`] if there are no members,
    /// [`Error::Malformed`] if Raft refuses them, [`Error::Stopped`].
    pub async fn change_members(
        &self,
        members: &BTreeMap<ReplicaId, NodeId>,
    ) -> Result<MemberStep, Error> {
        let group = &*self.group;
        let step = group.replica()?.change_members(members, || group.stop_serving_alone()).await?;
        if step == MemberStep::Done && members.len() == 1 {
            group.may_serve_alone();
        }
        Ok(step)
    }

    /// Has the replica `to` lead; the leader's to do. Returns once the replica here does not lead.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`], [`Error::Loading`]; [`Error::Option`] if `to` has no vote;
    /// [`Error::Busy`] if it did not take over in time, [`Error::Stopped`].
    pub async fn transfer_leadership(&self, to: ReplicaId) -> Result<(), Error> {
        self.group.replica()?.transfer_leadership(to).await?;
        if to != self.group.replica_id() {
            self.group.wait_not_to_lead().await;
        }
        Ok(())
    }

    /// At most `max` changes over several groups that are not finished; reservations and leaves
    /// only if they were given before `before`, by log time. The leader has them finished.
    pub fn pending(&self, before: UnixMillis, max: usize) -> Vec<Pending> {
        self.group.keyspace.read().pending(before, max)
    }

    /// Figures of the group's data.
    pub fn engine_stats(&self) -> EngineStats {
        self.group.engine_stats()
    }
}
