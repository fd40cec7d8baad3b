//! Answers requests to the replicas of this node, whoever asks: another node or this one.

use std::sync::{Arc, OnceLock};

use bitroster_command::{OpBatch, Outcome, ReadOp};
use bitroster_proto::internal::Status;
use bitroster_shard::{Answered, FoldPart, MessageKind};
use bitroster_types::{Consistency, Deadline, GroupId, ReplicaId, planted::Fault};
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{
    request::{Outcomes, Request, Response},
    state::StateCell,
};

/// The replicas that requests are for.
pub trait Backend: Send + Sync + 'static {
    /// Hands a message to a replica; its answer is the response's message.
    fn receive(
        &self,
        group: GroupId,
        replica: ReplicaId,
        kind: MessageKind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>>;

    /// Answers reads, and says how old the answers may be, or that the supporters that are named
    /// are to confirm them; see [`Answered`].
    fn read(
        &self,
        group: GroupId,
        ops: OpBatch,
        consistency: Consistency,
        supporters: Vec<ReplicaId>,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Answered, Refusal>>;

    /// Commits writes in one entry.
    fn write(
        &self,
        group: GroupId,
        ops: OpBatch,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Vec<Outcome>, Refusal>>;

    /// Evaluates over values of several groups; see [`Shard::fold`](bitroster_shard::Shard::fold).
    fn fold(
        &self,
        parts: Vec<FoldPart>,
        ops: OpBatch,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Outcome, Refusal>>;

    /// Answers a cheap read in place, linearizably, or says `None` where that would have to wait.
    fn read_now(&self, group: GroupId, op: &ReadOp) -> Option<Outcome>;
}

/// Why a replica did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What became of the request. Anything but [`Status::Unknown`] means that nothing was applied.
    pub status: Status,
    /// With [`Status::NotLeader`]: the leader's node, or 0.
    pub detail: u64,
    /// Why, for people.
    pub reason: String,
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, detail, reason } = refusal;
        Self { detail, ..Self::refused(status, reason) }
    }
}

/// Answers requests to the replicas of this node.
pub struct Dispatcher {
    states: StateCell,
    backend: OnceLock<Arc<dyn Backend>>,
}

impl Dispatcher {
    /// A dispatcher without replicas: until [`attach`](Self::attach) it is unavailable.
    pub const fn new(states: StateCell) -> Self {
        Self { states, backend: OnceLock::new() }
    }

    /// Opens the way to the replicas; later calls change nothing.
    pub fn attach(&self, backend: Arc<dyn Backend>) {
        self.backend.get_or_init(|| backend);
    }

    /// Answers a cheap read in place, linearizably, or says `None`; also where `epoch` is not this
    /// node's.
    pub fn read_now(&self, group: GroupId, epoch: u64, op: &ReadOp) -> Option<Outcome> {
        let backend = self.backend.get()?;
        if self.states.epoch() != epoch {
            return None;
        }
        backend.read_now(group, op)
    }

    /// Answers a request by the deadline, more or less: an answer that nobody waits for any more is
    /// harmless.
    ///
    /// # Cancel safety
    ///
    /// Writes that were handed over are committed all the same.
    pub async fn handle(&self, request: Request, deadline: Deadline) -> Response {
        let Some(backend) = self.backend.get() else {
            return Response::refused(Status::Unavailable, "this node has no replicas yet");
        };
        let answered = match request {
            Request::Raft { group, replica, kind, body } => {
                let received = backend.receive(group, replica, kind, body).await;
                received.map(Response::message)
            }
            Request::Read { group, epoch, consistency, supporters, ops } => {
                if let Err(response) = self.check(group, epoch, deadline).await {
                    return response;
                }
                let read = backend.read(group, ops, consistency, supporters, deadline).await;
                read.map(Response::answered)
            }
            Request::Write { group, epoch, ops } => {
                if let Err(response) = self.check(group, epoch, deadline).await {
                    return response;
                }
                let written = backend.write(group, ops, deadline).await;
                written.map(|outcomes| Response::outcomes(Outcomes::Decoded(outcomes)))
            }
            Request::Fold { epoch, parts, ops } => {
                for part in &parts {
                    if let Err(response) = self.check(part.group, epoch, deadline).await {
                        return response;
                    }
                }
                let folded = backend.fold(parts, ops, deadline).await;
                folded.map(|outcome| Response::outcomes(Outcomes::Decoded(vec![outcome])))
            }
        };
        answered.unwrap_or_else(Response::from)
    }

    /// Refuses what was routed by a map that is not this node's; waits for a newer one. The meta
    /// group owns no slots, and no map says anything of it.
    async fn check(&self, group: GroupId, epoch: u64, deadline: Deadline) -> Result<(), Response> {
        if group == GroupId::META || Fault::SkipEpochCheck.is_planted() {
            return Ok(());
        }
        if self.states.epoch() < epoch && !self.states.reaches(epoch, deadline).await {
            let reason = format!("map epoch {epoch} is not known here");
            return Err(Response::refused(Status::Unavailable, reason));
        }
        match self.states.epoch() {
            own if own > epoch => Err(Response::stale_epoch(own)),
            _ => Ok(()),
        }
    }
}
