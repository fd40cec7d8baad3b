//! Evaluations over several groups, by a node that has replicas of all of them.
//!
//! Its replicas need not lead: whoever asks has learnt from the groups' leaders which log entries
//! must show, and the node waits until its replicas have applied them. A node that cannot, or does
//! not in time, is asked less often for the groups that it was asked for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bitroster_command::Outcome;
use bitroster_proto::internal::Status;
use bitroster_router::Fold;
use bitroster_shard::FoldPart;
use bitroster_types::{Deadline, GroupId, NodeId};

use super::{ClusterTransport, sender::Sender, within};
use crate::request::{Body, Request};

/// How long a node may take before the groups are asked instead.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

impl ClusterTransport {
    pub(super) async fn folded(&self, fold: Fold, deadline: Deadline) -> Option<Outcome> {
        let part = |(group, applied, _): &_| FoldPart { group: *group, applied: *applied };
        let parts: Vec<FoldPart> = fold.values.iter().map(part).collect();
        let node = self.holder(&parts)?;
        let senders: Vec<Arc<Sender>> = parts.iter().map(|part| self.sender(part.group)).collect();
        // Each of them counts this time.
        let due = senders.iter().filter(|sender| sender.folds.lock().is_due()).count();
        if due < senders.len() {
            return None;
        }
        let request = Request::Fold { epoch: fold.epoch, parts, ops: fold.ops() };
        // What is left is for asking the groups.
        let patience = (deadline.left(Instant::now()) / 4).min(PATIENCE_MAX);
        let answer = self.links.call(node, request, within(deadline, patience)).await;
        let outcome = match answer.map(|response| (response.status, response.body)) {
            Ok((Status::Ok, Body::Outcomes { outcomes, .. })) => outcomes.decode().ok(),
            Ok((status, _)) => {
                tracing::debug!(?status, node = node.0, "a fold was refused");
                None
            }
            Err(error) => {
                tracing::debug!(%error, node = node.0, "a fold was not answered");
                None
            }
        };
        let outcome = outcome.and_then(|mut outcomes| outcomes.pop());
        self.links.metrics().figures.folded(outcome.is_some());
        senders.iter().for_each(|sender| sender.folds.lock().tried(outcome.is_some()));
        outcome
    }

    /// A node that has a replica of each group: this one, or the one that leads most of them, for
    /// the others have to send it nothing that it does not have.
    fn holder(&self, parts: &[FoldPart]) -> Option<NodeId> {
        let states = self.links.states().subscribe();
        let state = states.borrow();
        let state = state.as_ref()?;
        let holds = |node: NodeId, group: GroupId| {
            let mut stays = state.replicas(group).iter().filter(|replica| !replica.leaving);
            stays.any(|replica| replica.node == node)
        };
        let leads = |node: NodeId| {
            parts.iter().filter(|part| self.leader(part.group) == Some(node)).count()
        };
        let nodes = state.replicas(parts.first()?.group).iter().map(|replica| replica.node);
        nodes
            .filter(|node| parts.iter().all(|part| holds(*node, part.group)))
            .max_by_key(|node| (self.links.is_here(*node), leads(*node)))
    }
}
