//! The router's way to groups, wherever they are.
//!
//! Each group has a `Sender`. All writes that wait for a group become one numbered batch, all
//! short reads one call; a few of each are on their way at a time. Writes that wait may give those
//! who were just answered a moment to join them. A write that was sent and not answered is sent
//! again under its number, to whoever leads now, so that its outcome is learnt and it is applied
//! once.
//!
//! | module       | job                                                        |
//! |--------------|------------------------------------------------------------|
//! | `sender`     | what one group's requests share                            |
//! | `queue`      | requests that wait, and how many flights take them         |
//! | `cohort`     | whether what waits should leave, or wait for more          |
//! | `mark`       | who gave up first: the caller or its batch                 |
//! | `search`     | which node to ask next                                     |
//! | `session`    | the session and its numbers                                |
//! | `write`      | one batch of writes on its way                             |
//! | `read`       | reads on their way                                         |
//! | `supporters` | who confirms that a leader still leads                     |
//! | `tries`      | how often something is tried that may be in vain           |
//! | `fold`       | one evaluation over several groups, by one node            |
//! | `alone`      | a group whose only replica is here: nothing is numbered    |

mod alone;
mod cohort;
mod fold;
mod mark;
mod queue;
mod read;
mod search;
mod sender;
mod session;
mod supporters;
mod tries;
mod write;

use std::{collections::HashMap, sync::Arc, time::Duration, time::Instant};

use bitroster_command::{CommandError, OpBatch, Outcome, ReadOp};
use bitroster_router::{Fold, Reading, Target, Transport, TransportError, TransportFigures};
use bitroster_types::{
    Deadline, GroupId, NodeId,
    limits::{BATCH_BYTES_MAX, RPC_NUMBERING_BYTES_MAX},
};
use futures_util::future::{BoxFuture, ready};
use parking_lot::RwLock;

use crate::links::Links;
use alone::Alone;
use sender::Sender;

/// Carries a router's requests to the groups of the cluster, over [`Links`].
pub struct ClusterTransport {
    links: Links,
    senders: RwLock<HashMap<GroupId, Arc<Sender>>>,
}

impl ClusterTransport {
    /// A transport over `links`. Groups are found in the links' cluster state.
    pub fn new(links: Links) -> Self {
        Self { links, senders: RwLock::default() }
    }

    /// The node that is believed to lead a group, from its last answer; `None` before there was
    /// one.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.senders.read().get(&group)?.lead.believed()
    }

    fn sender(&self, group: GroupId) -> Arc<Sender> {
        if let Some(sender) = self.senders.read().get(&group) {
            return Arc::clone(sender);
        }
        let mut senders = self.senders.write();
        let new = || Arc::new(Sender::new(group, self.links.clone()));
        Arc::clone(senders.entry(group).or_insert_with(new))
    }

    /// The group's only replica, where it is on this node.
    fn alone(&self, to: Target) -> Option<Alone<'_>> {
        let here = self.links.identity().node?;
        let states = self.links.states().subscribe();
        let state = states.borrow();
        let [only] = state.as_ref()?.replicas(to.group) else { return None };
        (only.node == here).then(|| Alone::new(self.links.dispatcher(), to))
    }
}

impl Transport for ClusterTransport {
    fn read_now(&self, to: Target, op: &ReadOp) -> Option<Outcome> {
        self.links.dispatcher().read_now(to.group, to.epoch, op)
    }

    fn read(
        &self,
        to: Target,
        op: ReadOp,
        reading: &Reading,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Outcome, TransportError>> {
        let reading = reading.clone();
        if let Some(alone) = self.alone(to) {
            return Box::pin(async move { alone.read(&op, &reading, deadline).await });
        }
        let sender = self.sender(to.group);
        Box::pin(async move { sender.read(to.epoch, op, &reading, deadline).await })
    }

    fn read_short(
        &self,
        to: Target,
        ops: OpBatch,
        reading: &Reading,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>> {
        let reading = reading.clone();
        if let Some(alone) = self.alone(to) {
            return Box::pin(async move { alone.read_short(ops, &reading, deadline).await });
        }
        let sender = self.sender(to.group);
        Box::pin(async move { sender.read_short(to.epoch, ops, &reading, deadline).await })
    }

    fn fold(&self, fold: Fold, deadline: Deadline) -> BoxFuture<'_, Option<u64>> {
        Box::pin(self.folded(fold, deadline))
    }

    fn write(
        &self,
        to: Target,
        batch: OpBatch,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>> {
        if batch.is_empty() {
            return Box::pin(ready(Ok(Vec::new())));
        }
        let (len, max) = (batch.bytes_len(), BATCH_BYTES_MAX - RPC_NUMBERING_BYTES_MAX);
        if len > max {
            let text = format!(
                "ERR write of {len} bytes is longer than one log entry may be ({max} bytes)"
            );
            return Box::pin(ready(Err(CommandError::Message(text).into())));
        }
        if let Some(alone) = self.alone(to) {
            return Box::pin(alone.write(batch, deadline));
        }
        let sender = self.sender(to.group);
        Box::pin(async move { sender.write(to.epoch, batch, deadline).await })
    }

    fn figures(&self) -> Option<&TransportFigures> {
        Some(&self.links.metrics().figures)
    }
}

/// The outcome of nobody knows what.
fn unknown(since: Instant) -> TransportError {
    TransportError::OutcomeUnknown { waited: since.elapsed() }
}

/// Refused to protect others; nothing was applied.
fn busy(what: &'static str) -> TransportError {
    TransportError::Refused(CommandError::Busy(what))
}

/// The earlier of a deadline and the end of `patience` from now.
fn within(deadline: Deadline, patience: Duration) -> Deadline {
    // A patience that has doubled often lies past the end of time.
    let until = Instant::now().checked_add(patience);
    until.map_or(deadline, |until| deadline.min(Deadline::at(until)))
}

/// Whether nobody waits any more.
fn has_passed(deadline: Deadline) -> bool {
    deadline.left(Instant::now()).is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_without_end_is_bounded_by_the_deadline() {
        let deadline = Deadline::at(Instant::now() + Duration::from_secs(5));
        assert_eq!(within(deadline, Duration::MAX), deadline);
        assert!(within(deadline, Duration::from_secs(1)) < deadline);
    }
}
