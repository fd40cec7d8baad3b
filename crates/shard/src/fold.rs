//! One computation over what several groups hold, on one node that has replicas of all of them.
//!
//! Groups answer for themselves, and who combines their answers has to be sent them: where a
//! bitmap's first segments lie in three groups, three segments travel so that one number comes
//! back. A node that has replicas of all three needs to be sent nothing. Its replicas need not
//! lead: whoever asks says which entries each must have applied, which it has learnt from the
//! groups' leaders after its own request came. What a replica shows then was the group's state at
//! a moment within that request.

use bitroster_command::{OpBatch, Outcome, PartQuery, ReadOp};
use bitroster_engine::Work;
use bitroster_types::limits::{FOLD_BYTES_MAX, FOLD_VALUES_MAX};
use bitroster_types::{Deadline, GroupId};
use futures_util::future::try_join_all;
use tokio::time::timeout_at;

use crate::error::Error;
use crate::group::{LATE_READS, reads_of};
use crate::shard::Shard;

/// A group that gives a fold a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldPart {
    /// The group.
    pub group: GroupId,
    /// The replica here must have applied the entries up to this index.
    pub applied: u64,
}

impl Shard {
    /// Evaluates formulas over values that replicas here give, one each, whoever leads their
    /// groups. `ops` are one read of a value for each of `parts`, and then a
    /// [`ReadOp::Evaluate`] whose operands are those values; its own sources say nothing but how
    /// many there are. Waits for replicas that are behind.
    ///
    /// Values are read by their logs' times: a key past its expiry by the clock may still be seen.
    ///
    /// # Errors
    ///
    /// [`Error::Loading`] where a group has no replica here, [`Error::Malformed`], [`Error::Busy`]
    /// if the deadline passes or too much waits on the pool, [`Error::ShuttingDown`]. What a group
    /// answers that is no value is the outcome.
    pub async fn fold(
        &self,
        parts: &[FoldPart],
        ops: OpBatch,
        deadline: Deadline,
    ) -> Result<Outcome, Error> {
        let mut reads = reads_of(ops)?;
        let (Some(ReadOp::Evaluate { formulas, range, want, .. }), [first, ..]) =
            (reads.pop(), parts)
        else {
            return Err(malformed("a fold without values or without formulas"));
        };
        if reads.len() != parts.len() {
            return Err(malformed("a fold with another number of values than of groups"));
        }
        let replica = |group| self.held(group).ok_or(Error::Loading { group });
        let first = replica(first.group)?;
        let width = first.width();
        let held = width.bytes().saturating_mul(parts.len() as u64);
        if parts.len() > FOLD_VALUES_MAX || held > FOLD_BYTES_MAX {
            return Err(malformed("a fold of too many values"));
        }
        if !reads.iter().all(|read| is_value_within(read, width.bits())) {
            return Err(malformed("a fold of what is no value of a segment"));
        }
        let _room = first.room(held)?;
        let work = async {
            let asked = parts.iter().zip(&reads).map(|(part, op)| async move {
                replica(part.group)?.read_after(op, part.applied, deadline).await
            });
            let values = try_join_all(asked).await?;
            match Work::evaluate(formulas, values, range, want) {
                Ok(work) => first.work(work, deadline).await,
                Err(outcome) => Ok(outcome),
            }
        };
        timeout_at(deadline.instant().into(), work).await.unwrap_or(Err(LATE_READS))
    }
}

/// Whether a read answers with bits below `end`, as a value.
const fn is_value_within(read: &ReadOp, end: u64) -> bool {
    matches!(
        read,
        ReadOp::Part { query: PartQuery::Value { end: last, .. }, .. }
        | ReadOp::CombineValue { range: (_, last), bytes_max: None, .. } if *last <= end
    )
}

fn malformed(what: &str) -> Error {
    Error::Malformed { what: what.to_owned() }
}
