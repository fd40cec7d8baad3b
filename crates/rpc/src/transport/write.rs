//! One batch of writes on its way.
//!
//! A batch keeps its callers, its session and its number from the first send that may have arrived
//! until its outcome is known. Before that nothing binds it: callers may leave it, and after a
//! definite refusal it may be told that nothing was applied.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bitroster_command::{CommandError, NumberedOutcome, OpBatch, Outcome, WriteOp};
use bitroster_proto::{convert, internal::Status};
use bitroster_router::TransportError;
use bitroster_types::{
    Deadline, NodeId, SessionId,
    limits::{ENTRY_OPS_MAX, RPC_NUMBERING_BYTES_MAX, RPC_PIECE_BYTES},
};
use tokio::{sync::oneshot, time::timeout_at};

use super::{
    busy,
    mark::{Mark, Standing},
    queue::Item,
    search::Search,
    sender::Sender,
    session::Number,
    unknown,
};
use crate::{
    error::CallError,
    request::{Body, Request, Response},
};

/// How long a node may take to answer before another one is asked whether it leads: a leader that
/// hangs must not hold up its group for longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that a node is given one [`PATIENCE`] more for.
const PATIENCE_BYTES: usize = 16 << 20;

/// A caller's writes.
pub(super) struct WaitingWrite {
    pub(super) batch: OpBatch,
    pub(super) epoch: u64,
    pub(super) deadline: Deadline,
    pub(super) started: Instant,
    pub(super) reply: oneshot::Sender<Result<Vec<Outcome>, TransportError>>,
    pub(super) mark: Arc<Mark>,
}

impl Item for WaitingWrite {
    fn bytes(&self) -> usize {
        self.batch.bytes_len()
    }

    fn goes_with(&self, other: &Self) -> bool {
        self.epoch == other.epoch
    }
}

/// Takes batches to the group for as long as writes wait.
pub(super) async fn fly(sender: Arc<Sender>) {
    loop {
        // Connections that have requests at this moment add theirs.
        tokio::task::yield_now().await;
        sender.writes.gather().await;
        let bytes_max = RPC_PIECE_BYTES - RPC_NUMBERING_BYTES_MAX;
        let callers = sender.writes.take(ENTRY_OPS_MAX, bytes_max);
        let Some(first) = callers.first() else { return };
        let epoch = first.epoch;
        let deadline = callers.iter().map(|caller| caller.deadline).max();
        let deadline = deadline.expect("a batch has a caller");
        let sent = Sent { number: None, may_have_arrived: false, ops: None };
        let started = Instant::now();
        let sender = &sender;
        Flight { sender, callers, epoch, deadline, started, sent, busy: false }.run().await;
    }
}

/// A batch on its way.
struct Flight<'a> {
    sender: &'a Sender,
    callers: Vec<WaitingWrite>,
    epoch: u64,
    /// The latest of its callers.
    deadline: Deadline,
    started: Instant,
    sent: Sent,
    /// Whether the last answer but for others was that the node is busy.
    busy: bool,
}

/// What was sent, for the next time.
struct Sent {
    number: Option<Number>,
    may_have_arrived: bool,
    /// The ops of all callers, where there is more than one.
    ops: Option<OpBatch>,
}

/// What becomes of a batch after an answer, or for want of one.
enum Next {
    /// It is settled: the callers have been told.
    Done,
    /// The next replica is asked.
    Search,
    /// The same ones are asked again, after a pause.
    Rest,
}

impl Flight<'_> {
    async fn run(mut self) {
        let mut search = self.sender.search(false);
        while let Some(number) = self.number().await {
            let Some(node) = search.next(self.deadline).await else { break };
            let Some(request) = self.request(number) else { break };
            let bytes = request.body_len();
            let periods = u32::try_from(1 + bytes / PATIENCE_BYTES).unwrap_or(u32::MAX);
            let patience = PATIENCE.saturating_mul(periods);
            let answer = self.sender.ask(node, request, self.deadline, patience).await;
            let next = match answer {
                Ok(response) => self.judge(node, response, &mut search),
                Err(CallError::NotSent { .. }) => self.refused(Standing::NoLeader, Next::Search),
                Err(CallError::Lost { reason }) => self.lost(&reason),
            };
            match next {
                Next::Done => return,
                Next::Search => {}
                Next::Rest => search.rest(),
            }
        }
        self.give_up();
    }

    /// The batch's number; opens a session if there is none. `None` once the deadline has passed or
    /// the callers were told.
    async fn number(&mut self) -> Option<Number> {
        if self.sent.number.is_none() {
            self.sent.number = match self.sender.session.draw() {
                Some(number) => Some(number),
                None => {
                    let until = self.deadline.instant().into();
                    timeout_at(until, self.open_session()).await.ok().flatten()
                }
            };
        }
        self.sent.number
    }

    async fn open_session(&mut self) -> Option<Number> {
        let sender = self.sender;
        let mut search = sender.search(false);
        let _opening = sender.session.opening().await;
        loop {
            if let Some(number) = sender.session.draw() {
                return Some(number);
            }
            let node = search.next(self.deadline).await?;
            let mut ops = OpBatch::new();
            ops.push_write(&WriteOp::OpenSession);
            let request = Request::Write { group: sender.group, epoch: self.epoch, ops };
            let answer = sender.ask(node, request, self.deadline, PATIENCE).await;
            let Ok(response) = answer else {
                self.stand(Standing::NoLeader);
                continue;
            };
            match response.status {
                Status::Ok => match session_of(response.body) {
                    Some(session) => {
                        sender.lead.found(node);
                        sender.session.opened(session);
                    }
                    None => {
                        self.stand(Standing::Busy);
                        search.rest();
                    }
                },
                Status::NotLeader => {
                    self.stand(Standing::NoLeader);
                    search.follow(node, convert::optional_node(response.detail));
                }
                Status::StaleEpoch => {
                    self.fail(&TransportError::StaleMap { epoch: response.detail });
                    return None;
                }
                // A session that may have been opened and is not known ends by itself.
                Status::Unavailable | Status::Unknown => self.stand(Standing::NoLeader),
                Status::Busy | Status::Refused => {
                    self.stand(Standing::Busy);
                    search.rest();
                }
            }
        }
    }

    /// The batch, ready to be sent; `None` where no caller waits for it any more. Callers that have
    /// left are dropped from it as long as it cannot have arrived.
    fn request(&mut self, number: Number) -> Option<Request> {
        let sender = self.sender;
        if !self.sent.may_have_arrived {
            self.callers.retain(|caller| caller.mark.send());
            if self.callers.is_empty() {
                return None;
            }
            self.sent.ops = None;
            if self.callers.len() > 1 {
                let mut ops = OpBatch::new();
                self.callers.iter().for_each(|caller| ops.append(caller.batch.clone()));
                self.sent.ops = Some(ops);
            }
        }
        let batch = self.sent.ops.as_ref().unwrap_or(&self.callers[0].batch);
        sender.figures().write_batch.record(batch.len() as u64);
        let mut ops = OpBatch::new();
        let Number { session, number: own } = number;
        let answered = sender.session.answered(number).min(own - 1);
        ops.push_numbered(session, own, answered, batch);
        Some(Request::Write { group: sender.group, epoch: self.epoch, ops })
    }

    fn judge(&mut self, node: NodeId, response: Response, search: &mut Search<'_>) -> Next {
        let Response { status, detail, reason, body } = response;
        match status {
            Status::Ok => {
                self.sender.lead.found(node);
                self.applied(node, body, search)
            }
            Status::NotLeader => {
                search.follow(node, convert::optional_node(detail));
                self.refused(Standing::NoLeader, Next::Search)
            }
            Status::Unavailable => self.refused(Standing::NoLeader, Next::Search),
            Status::Busy => {
                // One that is busy again and again may be a leader that has lost its followers.
                self.busy = !self.busy;
                let next = if self.busy { Next::Rest } else { Next::Search };
                self.refused(Standing::Busy, next)
            }
            Status::StaleEpoch => {
                self.fail(&TransportError::StaleMap { epoch: detail });
                Next::Done
            }
            Status::Refused => {
                self.fail(&CommandError::Message(format!("ERR {reason}")).into());
                Next::Done
            }
            Status::Unknown => self.lost(&reason),
        }
    }

    /// An answer of the group itself.
    fn applied(&mut self, node: NodeId, body: Body, search: &mut Search<'_>) -> Next {
        let Body::Outcomes { outcomes, .. } = body else {
            return self.lost("an answer of another kind");
        };
        let outcome = match outcomes.decode().map(|mut outcomes| outcomes.pop()) {
            Ok(Some(Outcome::Numbered(outcome))) => outcome,
            // The group keeps too much for this session already.
            Ok(Some(_)) => return self.refused(Standing::Busy, Next::Rest),
            Ok(None) => return self.lost("an answer without outcomes"),
            Err(error) => return self.lost(&error.to_string()),
        };
        match outcome {
            NumberedOutcome::Applied(outcomes) => match outcomes.decode() {
                Ok(outcomes) => self.deliver(outcomes),
                Err(error) => self.lost(&error.to_string()),
            },
            // Applied, and what it answered is gone.
            NumberedOutcome::Forgotten => self.end_unknown(),
            NumberedOutcome::NoSession => {
                if let Some(number) = self.sent.number.take() {
                    self.sender.session.lose(number.session);
                }
                if self.sent.may_have_arrived {
                    return self.end_unknown();
                }
                search.again(node);
                self.refused(Standing::Busy, Next::Search)
            }
        }
    }

    /// The batch may be applied, and what it answered is lost for good.
    fn end_unknown(&mut self) -> Next {
        self.sent.may_have_arrived = true;
        self.give_up();
        Next::Done
    }

    /// Gives each caller its outcomes.
    fn deliver(&mut self, outcomes: Vec<Outcome>) -> Next {
        let count: usize = self.callers.iter().map(|caller| caller.batch.len()).sum();
        if outcomes.len() != count {
            return self.end_unknown();
        }
        self.sender.writes.answered(self.callers.len(), self.started.elapsed());
        let mut outcomes = outcomes.into_iter();
        for caller in self.callers.drain(..) {
            let own = outcomes.by_ref().take(caller.batch.len()).collect();
            // It may have gone.
            drop(caller.reply.send(Ok(own)));
        }
        self.settle();
        Next::Done
    }

    /// This send was refused, and nothing of it will be applied.
    fn refused(&self, standing: Standing, next: Next) -> Next {
        if !self.sent.may_have_arrived {
            self.stand(standing);
        }
        next
    }

    /// Notes how the ops of all callers stand, none of which were applied.
    fn stand(&self, standing: Standing) {
        self.callers.iter().for_each(|caller| caller.mark.refuse(standing));
    }

    /// This send was not answered.
    fn lost(&mut self, reason: &str) -> Next {
        tracing::debug!(group = %self.sender.group, reason, "a batch was sent and not answered");
        self.sent.may_have_arrived = true;
        Next::Search
    }

    /// Refuses all callers for good, unless an earlier send may have arrived.
    fn fail(&mut self, error: &TransportError) {
        if self.sent.may_have_arrived {
            self.give_up();
            return;
        }
        for caller in self.callers.drain(..) {
            drop(caller.reply.send(Err(error.clone())));
        }
        self.settle();
    }

    /// Tells all callers how it stands, and sends nothing any more.
    fn give_up(&mut self) {
        for caller in self.callers.drain(..) {
            let error = if self.sent.may_have_arrived {
                unknown(caller.started)
            } else {
                match caller.mark.leave() {
                    Standing::Sent => unknown(caller.started),
                    Standing::Busy => busy("the group has too much to do"),
                    Standing::Waiting | Standing::NoLeader | Standing::Left => {
                        TransportError::NoLeader { group: self.sender.group }
                    }
                }
            };
            drop(caller.reply.send(Err(error)));
        }
        self.settle();
    }

    fn settle(&mut self) {
        if let Some(number) = self.sent.number.take() {
            self.sender.session.settle(number);
        }
    }
}

/// The session that was opened.
fn session_of(body: Body) -> Option<SessionId> {
    let Body::Outcomes { outcomes, .. } = body else { return None };
    let outcome = outcomes.decode().ok()?.pop()?;
    if let Outcome::Session(session) = outcome {
        return Some(session);
    }
    tracing::warn!(?outcome, "no session for a router");
    None
}
