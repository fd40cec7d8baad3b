//! Reads on their way. They change nothing, and are asked again freely.

use std::{sync::Arc, time::Duration};

use bitroster_command::{CommandError, OpBatch, Outcome, PartQuery, ReadCommand, ReadOp};
use bitroster_proto::{convert, internal::Status};
use bitroster_router::{Retry, TransportError};
use bitroster_types::{
    Consistency, Deadline,
    limits::{ENTRY_OPS_MAX, RPC_PIECE_BYTES},
};
use tokio::sync::oneshot;

use super::{
    busy,
    queue::Item,
    sender::Sender,
    supporters::{Asked, Word, hear},
};
use crate::request::{Body, Request};

/// How long a node may take over short reads before another one is asked; it doubles.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it may take over a read that is not short: only a broken link ends it earlier.
const PATIENCE_LONG: Duration = Duration::from_secs(3600);

/// How often the sockets are looked at for more reads before those that wait leave.
const GATHER_LOOKS_MAX: usize = 16;

/// A caller's reads, and how old their answers may be.
pub(super) struct WaitingRead {
    pub(super) ops: OpBatch,
    pub(super) consistency: Consistency,
    pub(super) epoch: u64,
    pub(super) deadline: Deadline,
    pub(super) reply: oneshot::Sender<Result<Told, TransportError>>,
}

/// What a replica answered to reads.
pub(super) struct Told {
    /// One outcome an op.
    pub(super) outcomes: Vec<Outcome>,
    /// How old they may be.
    pub(super) age_ms: u64,
    /// The last log entry that they may show; 0 where it does not say.
    pub(super) applied: u64,
}

impl Item for WaitingRead {
    fn bytes(&self) -> usize {
        self.ops.bytes_len()
    }

    fn goes_with(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.consistency == other.consistency
    }
}

/// Whether a read takes microseconds and answers a few bytes, so that others may share its call.
pub(super) const fn is_short(op: &ReadOp) -> bool {
    match op {
        ReadOp::Command(command) => matches!(
            command,
            ReadCommand::GetBit { .. }
                | ReadCommand::BitFieldRo { .. }
                | ReadCommand::StrLen { .. }
                | ReadCommand::Type { .. }
                | ReadCommand::Ttl { .. }
                | ReadCommand::Exists { .. }
        ),
        ReadOp::Header { .. } | ReadOp::Fingerprint { .. } => true,
        ReadOp::Part { query, .. } => matches!(query, PartQuery::Len),
        ReadOp::CombineCount { .. }
        | ReadOp::CombineValue { .. }
        | ReadOp::Evaluate { .. }
        | ReadOp::Holding { .. }
        | ReadOp::Prefixes { .. } => false,
    }
}

/// Lets connections that have requests at this moment add theirs, and those whose requests came
/// meanwhile, for as long as there are more of them: each message costs all nodes as much as many
/// reads do. A lone reader waits for one look at the sockets.
async fn gather(sender: &Sender) {
    let mut waiting = 0;
    for _ in 0..GATHER_LOOKS_MAX {
        tokio::task::yield_now().await;
        let before = std::mem::replace(&mut waiting, sender.reads.len());
        if waiting <= before.max(1) {
            return;
        }
    }
}

/// Takes reads to the group for as long as some wait.
pub(super) async fn fly(sender: Arc<Sender>) {
    loop {
        gather(&sender).await;
        let mut callers = sender.reads.take(ENTRY_OPS_MAX, RPC_PIECE_BYTES);
        // Who has left needs no answer.
        let has_taken = !callers.is_empty();
        callers.retain(|caller| !caller.reply.is_closed());
        let Some(first) = callers.first() else {
            if has_taken {
                continue;
            }
            return;
        };
        let (epoch, consistency) = (first.epoch, first.consistency);
        let deadline = callers.iter().map(|caller| caller.deadline).max();
        let deadline = deadline.expect("a batch has a caller");
        let counts: Vec<usize> = callers.iter().map(|caller| caller.ops.len()).collect();
        let mut ops = OpBatch::new();
        for caller in &mut callers {
            ops.append(std::mem::take(&mut caller.ops));
        }
        sender.figures().read_batch.record(ops.len() as u64);
        let ask = Ask { epoch, consistency, deadline, is_short: true };
        match ask.run(&sender, ops).await {
            Ok(Told { outcomes, age_ms, applied }) => {
                let mut rest = outcomes.into_iter();
                for (caller, count) in callers.into_iter().zip(counts) {
                    let outcomes = rest.by_ref().take(count).collect();
                    drop(caller.reply.send(Ok(Told { outcomes, age_ms, applied })));
                }
            }
            Err(error) => {
                for caller in callers {
                    drop(caller.reply.send(Err(error.clone())));
                }
            }
        }
    }
}

/// How reads are asked.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    pub(super) epoch: u64,
    pub(super) consistency: Consistency,
    pub(super) deadline: Deadline,
    pub(super) is_short: bool,
}

impl Ask {
    /// Asks until a replica answers.
    pub(super) async fn run(self, sender: &Sender, ops: OpBatch) -> Result<Told, TransportError> {
        let Self { epoch, consistency, deadline, is_short } = self;
        let (group, count) = (sender.group, ops.len());
        let mut refusal = TransportError::NoLeader { group };
        let mut search = sender.search(consistency == Consistency::Stale);
        let mut patience = if is_short { PATIENCE } else { PATIENCE_LONG };
        // A long read is not computed twice, and has time for one message more.
        let mut asks_supporters = is_short && consistency == Consistency::Linearizable;
        while let Some(node) = search.next(deadline).await {
            let asked = match asks_supporters {
                true => sender.supporters.of(&sender.links, group, node),
                false => Asked::default(),
            };
            let supporters = asked.supporters.iter().map(|supporter| supporter.replica).collect();
            let request = Request::Read { group, epoch, consistency, supporters, ops: ops.clone() };
            let answer = sender.ask(node, request, deadline, patience);
            let (answer, word) = hear(&sender.links, group, &asked, deadline, answer).await;
            let Ok(response) = answer else {
                refusal = TransportError::NoLeader { group };
                patience = patience.saturating_mul(2);
                continue;
            };
            match (response.status, response.body) {
                (Status::Ok, Body::Outcomes { .. }) if word == Word::Missing && asks_supporters => {
                    // It is asked to see to that itself.
                    sender.supporters.tried(&asked, false);
                    sender.figures().retried(Retry::Unavailable);
                    asks_supporters = false;
                    search.again(node);
                }
                (Status::Ok, Body::Outcomes { outcomes, age_ms, applied, .. }) => {
                    match outcomes.decode() {
                        Ok(outcomes) if outcomes.len() == count && word != Word::Missing => {
                            // A leader that did not need them says nothing of them.
                            if word == Word::Confirmed {
                                sender.supporters.tried(&asked, true);
                            }
                            if consistency != Consistency::Stale {
                                sender.lead.found(node);
                            }
                            return Ok(Told { outcomes, age_ms, applied });
                        }
                        _ => return Err(busy("a read had an answer of no sense")),
                    }
                }
                (Status::Ok, _) => return Err(busy("a read had an answer of no sense")),
                (Status::NotLeader, _) => {
                    refusal = TransportError::NoLeader { group };
                    search.follow(node, convert::optional_node(response.detail));
                }
                (Status::StaleEpoch, _) => {
                    return Err(TransportError::StaleMap { epoch: response.detail });
                }
                (Status::Refused, _) => {
                    let text = format!("ERR {}", response.reason);
                    return Err(CommandError::Message(text).into());
                }
                (Status::Busy, _) => {
                    refusal = busy("the group has too much to do");
                    search.rest();
                }
                (Status::Unavailable | Status::Unknown, _) => {
                    refusal = TransportError::NoLeader { group };
                }
            }
        }
        Err(refusal)
    }
}
