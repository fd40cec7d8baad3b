//! What a node asks another, and what it is answered: as values, and as parts of frames.

use std::time::{Duration, Instant};

use bitroster_command::{EntryError, OpBatch, Outcome, OutcomeBatch, OutcomeWriter};
use bitroster_proto::{
    ConvertError, convert,
    internal::{self, Answer, Call, CallKind, Status},
};
use bitroster_shard::{Answered, FoldPart, MessageKind};
use bitroster_types::{Consistency, Deadline, GroupId, ReplicaId};
use bytes::Bytes;

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Raft,
    Read,
    Write,
}

/// A request to the replica of a group on some node.
#[derive(Clone, Debug)]
pub enum Request {
    /// A message between replicas.
    Raft {
        /// The group.
        group: GroupId,
        /// The replica that is meant.
        replica: ReplicaId,
        /// What the message is about.
        kind: MessageKind,
        /// The message.
        body: Bytes,
    },
    /// Reads.
    Read {
        /// The group.
        group: GroupId,
        /// The epoch of the map that they were routed by.
        epoch: u64,
        /// What they may miss.
        consistency: Consistency,
        /// Whom the sender asks itself whether the leader leads; see [`Answered::term`].
        supporters: Vec<ReplicaId>,
        /// The reads.
        ops: OpBatch,
    },
    /// Writes for one log entry.
    Write {
        /// The group.
        group: GroupId,
        /// The epoch of the map that they were routed by.
        epoch: u64,
        /// The writes.
        ops: OpBatch,
    },
    /// One evaluation over values of several groups; see [`Shard::fold`].
    ///
    /// [`Shard::fold`]: bitroster_shard::Shard::fold
    Fold {
        /// The epoch of the map that it was routed by.
        epoch: u64,
        /// Who gives the values.
        parts: Vec<FoldPart>,
        /// The reads of the values, and the evaluation.
        ops: OpBatch,
    },
}

impl Request {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Raft { .. } => Kind::Raft,
            Self::Read { .. } | Self::Fold { .. } => Kind::Read,
            Self::Write { .. } => Kind::Write,
        }
    }

    /// Length of the body in bytes.
    pub(crate) fn body_len(&self) -> usize {
        match self {
            Self::Raft { body, .. } => body.len(),
            Self::Read { ops, .. } | Self::Write { ops, .. } | Self::Fold { ops, .. } => {
                ops.bytes_len()
            }
        }
    }

    /// The request as part of a frame.
    pub(crate) fn into_call(self, id: u64, deadline: Deadline) -> Call {
        let left = deadline.left(Instant::now()).as_millis();
        // At least one: what is sent is to be tried.
        let time_left_ms = u32::try_from(left).unwrap_or(u32::MAX).max(1);
        let mut call = Call { id, time_left_ms, ..Call::default() };
        match self {
            Self::Raft { group, replica, kind, body } => {
                call.set_kind(CallKind::Raft);
                call.group = u32::from(group.0);
                call.replica = replica.0;
                call.message = kind as u32;
                call.body = body;
            }
            Self::Read { group, epoch, consistency, supporters, ops } => {
                call.set_kind(CallKind::Read);
                call.group = u32::from(group.0);
                call.epoch = epoch;
                call.set_consistency(consistency.into());
                call.supporters = supporters.into_iter().map(|replica| replica.0).collect();
                call.count = ops.count();
                call.body = ops.into_bytes();
            }
            Self::Write { group, epoch, ops } => {
                call.set_kind(CallKind::Write);
                call.group = u32::from(group.0);
                call.epoch = epoch;
                call.count = ops.count();
                call.body = ops.into_bytes();
            }
            Self::Fold { epoch, parts, ops } => {
                call.set_kind(CallKind::Fold);
                call.epoch = epoch;
                let part = |FoldPart { group, applied }| internal::FoldPart {
                    group: u32::from(group.0),
                    applied,
                };
                call.parts = parts.into_iter().map(part).collect();
                call.count = ops.count();
                call.body = ops.into_bytes();
            }
        }
        call
    }

    /// The request that a frame brought, and when its sender gives up. Costs a decode of the ops.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn from_call(call: Call) -> Result<(Self, Deadline), RequestError> {
        let now = Instant::now();
        let deadline = Deadline::at(now + Duration::from_millis(u64::from(call.time_left_ms)));
        let group = convert::group(call.group)?;
        let (kind, epoch) = (call.kind(), call.epoch);
        let request = match kind {
            CallKind::Raft => {
                let unknown = RequestError::Message(call.message);
                let number = u8::try_from(call.message).ok();
                let kind = number.and_then(MessageKind::from_number).ok_or(unknown)?;
                Self::Raft { group, replica: ReplicaId(call.replica), kind, body: call.body }
            }
            CallKind::Read => {
                let consistency = convert::consistency(call.consistency)?;
                let supporters = call.supporters.into_iter().map(ReplicaId).collect();
                let ops = OpBatch::from_encoded(call.count, call.body)?;
                Self::Read { group, epoch, consistency, supporters, ops }
            }
            CallKind::Write => {
                let ops = OpBatch::from_encoded(call.count, call.body)?;
                Self::Write { group, epoch, ops }
            }
            CallKind::Fold => {
                let part = |part: internal::FoldPart| {
                    let internal::FoldPart { group, applied } = part;
                    Ok(FoldPart { group: convert::group(group)?, applied })
                };
                let parts = call.parts.into_iter().map(part);
                let parts = parts.collect::<Result<_, ConvertError>>()?;
                Self::Fold { epoch, parts, ops: OpBatch::from_encoded(call.count, call.body)? }
            }
            CallKind::Unspecified => return Err(RequestError::Kind(call.kind)),
        };
        Ok((request, deadline))
    }
}

/// A call that makes no sense: it comes from a node of another version, or a broken one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("unknown kind {0} of a call")]
    Kind(i32),
    #[error("unknown kind {0} of a message between replicas")]
    Message(u32),
    #[error(transparent)]
    Field(#[from] ConvertError),
    #[error(transparent)]
    Ops(#[from] EntryError),
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// What became of it.
    pub status: Status,
    /// `NotLeader`: the leader's node or 0. `StaleEpoch`: the epoch of the group's map.
    pub detail: u64,
    /// Where refused: why.
    pub reason: String,
    /// With `Ok`: the answer.
    pub body: Body,
}

/// What a request brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Nothing; it was refused.
    Nothing,
    /// A message between replicas.
    Message(Bytes),
    /// Outcomes of ops, in order.
    Outcomes {
        /// The outcomes.
        outcomes: Outcomes,
        /// How old they may be, in milliseconds; 0 unless a stale read was asked for.
        age_ms: u64,
        /// The term of [`Answered::term`]; 0 where the outcomes hold.
        term: u64,
        /// As [`Answered::applied`]; 0 where nothing is said of it.
        applied: u64,
    },
}

/// Outcomes of ops, in order: as values where they were made on this node.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcomes {
    /// As bytes.
    Encoded(OutcomeBatch),
    /// As values.
    Decoded(Vec<Outcome>),
}

impl Outcomes {
    /// As values. Costs a decode where they are bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are not outcomes.
    pub fn decode(self) -> Result<Vec<Outcome>, EntryError> {
        match self {
            Self::Encoded(batch) => batch.decode(),
            Self::Decoded(outcomes) => Ok(outcomes),
        }
    }

    /// As bytes.
    fn encode(self) -> OutcomeBatch {
        match self {
            Self::Encoded(batch) => batch,
            Self::Decoded(outcomes) => {
                let mut writer = OutcomeWriter::new();
                outcomes.iter().for_each(|outcome| writer.push(outcome));
                writer.finish()
            }
        }
    }
}

impl Response {
    /// A message between replicas.
    pub const fn message(body: Bytes) -> Self {
        Self::done(Body::Message(body))
    }

    /// Outcomes that hold, of now.
    pub const fn outcomes(outcomes: Outcomes) -> Self {
        Self::done(Body::Outcomes { outcomes, age_ms: 0, term: 0, applied: 0 })
    }

    /// What a replica answered to reads.
    pub fn answered(answered: Answered) -> Self {
        let Answered { outcomes, age, term, applied } = answered;
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let outcomes = Outcomes::Encoded(outcomes);
        let term = term.unwrap_or_default();
        Self::done(Body::Outcomes { outcomes, age_ms, term, applied })
    }

    const fn done(body: Body) -> Self {
        Self { status: Status::Ok, detail: 0, reason: String::new(), body }
    }

    /// A refusal.
    pub fn refused(status: Status, reason: impl Into<String>) -> Self {
        Self { status, detail: 0, reason: reason.into(), body: Body::Nothing }
    }

    /// This replica does not lead; `leader` is the leader's node, or 0.
    pub fn not_leader(leader: u64) -> Self {
        Self { detail: leader, ..Self::refused(Status::NotLeader, "not the leader") }
    }

    /// The request was routed by a map older than `epoch`.
    pub fn stale_epoch(epoch: u64) -> Self {
        Self { detail: epoch, ..Self::refused(Status::StaleEpoch, "routed by an older map") }
    }

    /// The response as part of a frame.
    pub(crate) fn into_answer(self, id: u64) -> Answer {
        let Self { status, detail, reason, body } = self;
        let mut answer = Answer { id, status: status.into(), detail, reason, ..Answer::default() };
        match body {
            Body::Nothing => {}
            Body::Message(body) => answer.body = body,
            Body::Outcomes { outcomes, age_ms, term, applied } => {
                let batch = outcomes.encode();
                answer.count = batch.count();
                answer.body = batch.bytes().clone();
                answer.age_ms = age_ms;
                answer.term = term;
                answer.applied = applied;
            }
        }
        answer
    }

    /// The response that a frame brought to a request of this kind. A status of a later version
    /// is an unknown outcome.
    pub(crate) fn from_answer(kind: Kind, answer: Answer) -> Self {
        let Answer { status, detail, reason, count, age_ms, term, applied, body, .. } = answer;
        let status = Status::try_from(status).unwrap_or(Status::Unknown);
        let body = match (status, kind) {
            (Status::Ok, Kind::Raft) => Body::Message(body),
            (Status::Ok, Kind::Read | Kind::Write) => Body::Outcomes {
                outcomes: Outcomes::Encoded(OutcomeBatch::from_encoded(count, body)),
                age_ms,
                term,
                applied,
            },
            _ => Body::Nothing,
        };
        Self { status, detail, reason, body }
    }
}

#[cfg(test)]
mod tests {
    use bitroster_command::{ReadCommand, ReadOp, Reply};
    use bitroster_types::Key;

    use super::*;

    fn reads() -> OpBatch {
        let mut ops = OpBatch::new();
        let key = Key::new(b"k").unwrap();
        ops.push_read(&ReadOp::Command(ReadCommand::GetBit { key, offset: 7 }));
        ops
    }

    fn soon() -> Deadline {
        Deadline::at(Instant::now() + Duration::from_secs(5))
    }

    #[test]
    fn a_request_comes_back_from_its_call() {
        let (group, epoch) = (GroupId(3), 9);
        let requests = [
            Request::Raft {
                group,
                replica: ReplicaId(8),
                kind: MessageKind::Vote,
                body: Bytes::from_static(b"vote"),
            },
            Request::Read {
                group,
                epoch,
                consistency: Consistency::Linearizable,
                supporters: vec![ReplicaId(7), ReplicaId(9)],
                ops: reads(),
            },
            Request::Write { group, epoch, ops: reads() },
            Request::Fold {
                epoch,
                parts: vec![FoldPart { group, applied: 70 }, FoldPart { group, applied: 1 << 40 }],
                ops: reads(),
            },
        ];
        for request in requests {
            let call = request.into_call(5, soon());
            assert!((4_000..=5_000).contains(&call.time_left_ms));
            let (back, deadline) = Request::from_call(call.clone()).unwrap();
            let again = back.into_call(5, deadline);
            assert_eq!(Call { time_left_ms: call.time_left_ms, ..again }, call);
        }
    }

    #[test]
    fn calls_of_no_sense_are_refused_with_what_is_wrong() {
        let call = |kind: CallKind| Call { kind: kind.into(), ..Call::default() };
        let refused = |call| Request::from_call(call).unwrap_err();
        assert_eq!(refused(call(CallKind::Unspecified)), RequestError::Kind(0));
        let message = Call { message: 300, ..call(CallKind::Raft) };
        assert_eq!(refused(message), RequestError::Message(300));
        let group = Call { group: 70_000, ..call(CallKind::Read) };
        assert_eq!(refused(group), RequestError::Field(ConvertError::Group(70_000)));
        let parts = vec![internal::FoldPart { group: 70_000, applied: 1 }];
        let part = Call { parts, ..call(CallKind::Fold) };
        assert_eq!(refused(part), RequestError::Field(ConvertError::Group(70_000)));
        let count = Call { count: u32::MAX, ..call(CallKind::Write) };
        assert_eq!(refused(count), RequestError::Ops(EntryError::Truncated));
    }

    #[test]
    fn a_response_comes_back_from_its_answer() {
        let outcomes = vec![Outcome::Reply(Reply::Integer(1)), Outcome::AskHome];
        let response = Response::answered(Answered {
            outcomes: Outcomes::Decoded(outcomes.clone()).encode(),
            age: Duration::from_millis(12),
            term: Some(5),
            applied: 70,
        });
        let back = Response::from_answer(Kind::Read, response.into_answer(1));
        let Body::Outcomes { outcomes: encoded, age_ms: 12, term: 5, applied: 70 } = back.body
        else {
            panic!("{back:?}");
        };
        assert_eq!(encoded.decode().unwrap(), outcomes);
        for response in [Response::not_leader(3), Response::stale_epoch(8)] {
            let answer = response.clone().into_answer(1);
            assert_eq!(Response::from_answer(Kind::Write, answer), response);
        }
        let later = Answer { status: 99, ..Answer::default() };
        assert_eq!(Response::from_answer(Kind::Write, later).status, Status::Unknown);
    }
}
