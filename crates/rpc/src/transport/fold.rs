//! Evaluations over several groups, by a node that has replicas of all of them.
//!
//! Its replicas need not lead: whoever asks has learnt from the groups' leaders which log entries
//! must show, and the node waits until its replicas have applied them. A node that cannot, or does
//! not in time, is asked less often for the groups that it was asked for.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bitroster_command::{Outcome, Reply};
use bitroster_proto::internal::Status;
use bitroster_router::Fold;
use bitroster_shard::FoldPart;
use bitroster_types::{Deadline, GroupId, NodeId};

use super::{ClusterTransport, sender::Sender, within};
use crate::request::{Body, Request};

/// How long a node may take before the groups are asked instead.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

impl ClusterTransport {
    pub(super) async fn folded(&self, fold: Fold, deadline: Deadline) -> Option<u64> {
        let part = |(group, applied, _): &_| FoldPart { group: *group, applied: *applied };
        let parts: Vec<FoldPart> = fold.values.iter().map(part).collect();
        // One group may give two values.
        let groups: BTreeSet<GroupId> = parts.iter().map(|part| part.group).collect();
        let node = self.holder(&groups)?;
        let senders: Vec<Arc<Sender>> = groups.iter().map(|group| self.sender(*group)).collect();
        // Each of them counts this time.
        let due = senders.iter().filter(|sender| sender.folds.lock().is_due()).count();
        if due < senders.len() {
            return None;
        }
        let request = Request::Fold { epoch: fold.epoch, parts, ops: fold.ops() };
        // What is left is for asking the groups.
        let patience = (deadline.left(Instant::now()) / 4).min(PATIENCE_MAX);
        let answer = self.links.call(node, request, within(deadline, patience)).await;
        let outcomes = match answer.map(|response| (response.status, response.body)) {
            Ok((Status::Ok, Body::Outcomes { outcomes, .. })) => Some(outcomes),
            Ok((status, _)) => {
                tracing::debug!(?status, node = node.0, "a fold was refused");
                None
            }
            Err(error) => {
                tracing::debug!(%error, node = node.0, "a fold was not answered");
                None
            }
        };
        let outcome = outcomes.and_then(|outcomes| outcomes.decode().ok()?.pop());
        let count = outcome.as_ref().and_then(count_of);
        // What a group answers in place of a value is no fault of the node's.
        let is_answered =
            count.is_some() || outcome.is_some_and(|other| !matches!(other, Outcome::Reply(_)));
        self.links.metrics().figures.folded(count.is_some());
        senders.iter().for_each(|sender| sender.folds.lock().tried(is_answered));
        count
    }

    /// A node that has a replica of each group: this one, or the one that leads most of them, which
    /// lags least.
    fn holder(&self, groups: &BTreeSet<GroupId>) -> Option<NodeId> {
        let states = self.links.states().subscribe();
        let state = states.borrow();
        let state = state.as_ref()?;
        let holds = |node: NodeId, group: GroupId| {
            let mut stays = state.replicas(group).iter().filter(|replica| !replica.leaving);
            stays.any(|replica| replica.node == node)
        };
        let leads =
            |node: NodeId| groups.iter().filter(|group| self.leader(**group) == Some(node)).count();
        let nodes = state.replicas(*groups.first()?).iter().map(|replica| replica.node);
        nodes
            .filter(|node| groups.iter().all(|group| holds(*node, *group)))
            .max_by_key(|node| (self.links.is_here(*node), leads(*node)))
    }
}

/// The count in the answer to a fold.
fn count_of(outcome: &Outcome) -> Option<u64> {
    let Outcome::Reply(Reply::Array(counts)) = outcome else { return None };
    let [Reply::Integer(count)] = counts.as_slice() else { return None };
    u64::try_from(*count).ok()
}
