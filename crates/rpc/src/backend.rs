//! The shard of this node as the dispatcher's back end.

use std::sync::Arc;

use bitroster_command::{OpBatch, Outcome, ReadOp};
use bitroster_proto::{convert, internal::Status};
use bitroster_shard::{Answered, Error, FoldPart, GroupHandle, MessageKind, Shard};
use bitroster_types::{Consistency, Deadline, GroupId, ReplicaId};
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

use crate::dispatcher::{Backend, Refusal};

/// The replicas of a shard.
pub struct ShardBackend {
    shard: Arc<Shard>,
}

impl ShardBackend {
    /// The replicas of `shard`.
    pub const fn new(shard: Arc<Shard>) -> Self {
        Self { shard }
    }

    fn group(&self, group: GroupId) -> Result<GroupHandle, Refusal> {
        self.shard.group(group).ok_or_else(|| Refusal {
            status: Status::Unavailable,
            detail: 0,
            reason: format!("no replica of group {group} here"),
        })
    }
}

impl Backend for ShardBackend {
    fn receive(
        &self,
        group: GroupId,
        replica: ReplicaId,
        kind: MessageKind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let shard = Arc::clone(&self.shard);
        Box::pin(async move {
            shard.receive(group, replica, kind, body).await.map_err(|error| refusal(&error))
        })
    }

    fn read(
        &self,
        group: GroupId,
        ops: OpBatch,
        consistency: Consistency,
        supporters: Vec<ReplicaId>,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Answered, Refusal>> {
        match self.group(group) {
            Ok(group) => Box::pin(async move {
                let answered = group.read_batch(ops, consistency, &supporters, deadline).await;
                answered.map_err(|error| refusal(&error))
            }),
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }

    fn write(
        &self,
        group: GroupId,
        ops: OpBatch,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Vec<Outcome>, Refusal>> {
        match self.group(group) {
            Ok(group) => Box::pin(async move {
                group.write(ops, deadline).await.map_err(|error| refusal(&error))
            }),
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }

    fn fold(
        &self,
        parts: Vec<FoldPart>,
        ops: OpBatch,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Outcome, Refusal>> {
        let shard = Arc::clone(&self.shard);
        Box::pin(
            async move { shard.fold(&parts, ops, deadline).await.map_err(|error| refusal(&error)) },
        )
    }

    fn read_now(&self, group: GroupId, op: &ReadOp) -> Option<Outcome> {
        self.shard.group(group)?.read_now(op)
    }
}

/// What a shard's error means to who asked.
fn refusal(error: &Error) -> Refusal {
    let (status, detail) = match error {
        Error::NoLeader { leader, .. } => (Status::NotLeader, convert::node_number(*leader)),
        // The process is about to end; whether the disk has the write is not known.
        Error::OutcomeUnknown { .. } | Error::Stopped { .. } | Error::Log(_) => {
            (Status::Unknown, 0)
        }
        Error::Busy { .. } => (Status::Busy, 0),
        Error::Loading { .. } | Error::ShuttingDown | Error::NoReplica { .. } => {
            (Status::Unavailable, 0)
        }
        Error::TooLong { .. } | Error::Malformed { .. } | Error::Option { .. } => {
            (Status::Refused, 0)
        }
    };
    Refusal { status, detail, reason: error.to_string() }
}
