//! What one group's requests share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bitroster_command::{OpBatch, Outcome, ReadOp};
use bitroster_proto::internal::Status;
use bitroster_router::{Reading, Retry, TransportError, TransportFigures};
use bitroster_types::{Deadline, GroupId, NodeId};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout_at};

use super::{
    busy, has_passed,
    mark::{Mark, Standing},
    queue::{Pushed, Queue},
    read::{self, Told, WaitingRead},
    search::{Lead, Search},
    session::Session,
    supporters::Supporters,
    tries::Tries,
    unknown, within,
    write::{self, WaitingWrite},
};
use crate::{
    error::CallError,
    links::Links,
    request::{Request, Response},
};

/// What one group's requests share: who is believed to lead it, the session, and what waits.
pub(super) struct Sender {
    pub(super) group: GroupId,
    pub(super) links: Links,
    pub(super) lead: Lead,
    pub(super) supporters: Supporters,
    pub(super) folds: Mutex<Tries>,
    pub(super) session: Session,
    pub(super) writes: Queue<WaitingWrite>,
    pub(super) reads: Queue<WaitingRead>,
}

impl Sender {
    pub(super) fn new(group: GroupId, links: Links) -> Self {
        Self {
            group,
            links,
            lead: Lead::default(),
            supporters: Supporters::default(),
            folds: Mutex::default(),
            session: Session::default(),
            writes: Queue::new(),
            reads: Queue::new(),
        }
    }

    pub(super) fn figures(&self) -> &TransportFigures {
        &self.links.metrics().figures
    }

    pub(super) fn search(&self, prefers_here: bool) -> Search<'_> {
        Search::new(self.group, &self.links, &self.lead, prefers_here)
    }

    /// Queues writes and waits for their outcomes.
    pub(super) async fn write(
        self: Arc<Self>,
        epoch: u64,
        batch: OpBatch,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, TransportError> {
        let (started, mark) = (Instant::now(), Arc::<Mark>::default());
        let (reply, outcomes) = oneshot::channel();
        let mark_of_batch = Arc::clone(&mark);
        let waiting = WaitingWrite { batch, epoch, deadline, started, reply, mark: mark_of_batch };
        match self.writes.push(waiting) {
            Pushed::Full => return Err(busy("too many writes wait for their group")),
            Pushed::Waits => {}
            Pushed::Launch => {
                let flight = write::fly(Arc::clone(&self));
                self.links.spawn().spawn("writes of a group", Box::pin(flight));
            }
        }
        match timeout_at(deadline.instant().into(), outcomes).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(match mark.leave() {
                Standing::Sent | Standing::Left => unknown(started),
                Standing::NoLeader => TransportError::NoLeader { group: self.group },
                Standing::Waiting if !self.lead.is_known() => {
                    TransportError::NoLeader { group: self.group }
                }
                Standing::Waiting | Standing::Busy => {
                    busy("the write waited for its group past its deadline")
                }
            }),
        }
    }

    /// Answers a read: with others that wait if it is short, on its own if it may be long.
    pub(super) async fn read(
        self: Arc<Self>,
        epoch: u64,
        op: ReadOp,
        reading: &Reading,
        deadline: Deadline,
    ) -> Result<Outcome, TransportError> {
        let mut ops = OpBatch::new();
        ops.push_read(&op);
        let mut outcomes = if read::is_short(&op) {
            self.read_short(epoch, ops, reading, deadline).await?
        } else {
            let consistency = reading.consistency;
            let ask = read::Ask { epoch, consistency, deadline, is_short: false };
            let told = ask.run(&self, ops).await?;
            self.note(reading, told)
        };
        outcomes.pop().ok_or_else(|| busy("a read had no outcome"))
    }

    /// Answers short reads, with others that wait.
    pub(super) async fn read_short(
        self: Arc<Self>,
        epoch: u64,
        ops: OpBatch,
        reading: &Reading,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, TransportError> {
        let consistency = reading.consistency;
        let (reply, answer) = oneshot::channel();
        match self.reads.push(WaitingRead { ops, consistency, epoch, deadline, reply }) {
            Pushed::Full => return Err(busy("too many reads wait for their group")),
            Pushed::Waits => {}
            Pushed::Launch => {
                let flight = read::fly(Arc::clone(&self));
                self.links.spawn().spawn("reads of a group", Box::pin(flight));
            }
        }
        match timeout_at(deadline.instant().into(), answer).await {
            Ok(Ok(told)) => Ok(self.note(reading, told?)),
            Ok(Err(_)) | Err(_) => Err(TransportError::NoLeader { group: self.group }),
        }
    }

    /// The outcomes of an answer, with what else it tells noted.
    fn note(&self, reading: &Reading, told: Told) -> Vec<Outcome> {
        reading.note_age(told.age_ms);
        reading.note_shown(self.group, told.applied);
        told.outcomes
    }

    /// Asks one node, at most for `patience`, and notes what that says of the group's leader.
    pub(super) async fn ask(
        &self,
        node: NodeId,
        request: Request,
        deadline: Deadline,
        patience: Duration,
    ) -> Result<Response, CallError> {
        let deadline = within(deadline, patience);
        let answer = self.links.call(node, request, deadline).await;
        let failed = match answer.as_ref().map(|response| response.status) {
            Ok(Status::Ok | Status::Refused | Status::StaleEpoch) => return answer,
            Ok(Status::Busy) => {
                self.figures().retried(Retry::Busy);
                return answer;
            }
            Ok(Status::NotLeader) => Retry::NotLeader,
            Ok(Status::Unavailable | Status::Unknown) => Retry::Unavailable,
            Err(_) if has_passed(deadline) => Retry::Timeout,
            Err(_) => Retry::Unavailable,
        };
        self.figures().retried(failed);
        self.lead.lost(node);
        answer
    }
}
