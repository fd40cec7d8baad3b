//! A group whose only replica is on this node: nobody else could take a repeat, so nothing is
//! numbered, and the replica's own queue makes the batches.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bitroster_command::{CommandError, OpBatch, Outcome, ReadOp};
use bitroster_proto::internal::Status;
use bitroster_router::{Reading, Target, TransportError};
use bitroster_types::Deadline;
use tokio::time::{sleep, timeout_at};

use super::{busy, has_passed, read::Told, unknown};
use crate::{
    dispatcher::Dispatcher,
    request::{Body, Request, Response},
};

/// The pause before a replica that does not lead yet is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// The only replica of a group.
pub(super) struct Alone<'a> {
    dispatcher: &'a Arc<Dispatcher>,
    to: Target,
}

impl<'a> Alone<'a> {
    pub(super) const fn new(dispatcher: &'a Arc<Dispatcher>, to: Target) -> Self {
        Self { dispatcher, to }
    }

    pub(super) async fn read(
        self,
        op: &ReadOp,
        reading: &Reading,
        deadline: Deadline,
    ) -> Result<Outcome, TransportError> {
        let mut ops = OpBatch::new();
        ops.push_read(op);
        let mut outcomes = self.read_short(ops, reading, deadline).await?;
        outcomes.pop().ok_or_else(|| busy("a read had no outcome"))
    }

    pub(super) async fn read_short(
        self,
        ops: OpBatch,
        reading: &Reading,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, TransportError> {
        let Target { group, epoch } = self.to;
        let (consistency, supporters) = (reading.consistency, Vec::new());
        let request = Request::Read { group, epoch, consistency, supporters, ops };
        let Told { outcomes, age_ms, applied } = self.ask(request, deadline).await?;
        reading.note_age(age_ms);
        reading.note_shown(group, applied);
        Ok(outcomes)
    }

    pub(super) async fn write(
        self,
        ops: OpBatch,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, TransportError> {
        let Target { group, epoch } = self.to;
        let told = self.ask(Request::Write { group, epoch, ops }, deadline).await?;
        Ok(told.outcomes)
    }

    /// Asks until the replica leads or the deadline passes.
    async fn ask(&self, request: Request, deadline: Deadline) -> Result<Told, TransportError> {
        let started = Instant::now();
        loop {
            let answered = self.dispatcher.handle(request.clone(), deadline);
            let answered = timeout_at(deadline.instant().into(), answered).await;
            let Response { status, detail, reason, body } =
                answered.map_err(|_| unknown(started))?;
            match (status, body) {
                (Status::Ok, Body::Outcomes { outcomes, age_ms, applied, .. }) => {
                    let outcomes = outcomes.decode().map_err(|_| unknown(started))?;
                    return Ok(Told { outcomes, age_ms, applied });
                }
                (Status::StaleEpoch, _) => return Err(TransportError::StaleMap { epoch: detail }),
                (Status::Busy, _) => return Err(busy("the group's only replica is busy")),
                (Status::Refused, _) => {
                    return Err(CommandError::Message(format!("ERR {reason}")).into());
                }
                (Status::NotLeader | Status::Unavailable, _) if has_passed(deadline) => {
                    return Err(TransportError::NoLeader { group: self.to.group });
                }
                (Status::NotLeader | Status::Unavailable, _) => sleep(PAUSE).await,
                (Status::Unknown | Status::Ok, _) => return Err(unknown(started)),
            }
        }
    }
}
