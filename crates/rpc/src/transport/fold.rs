//! Evaluations over several groups, by a node that has replicas of all of them.
//!
//! Its replicas need not lead. The answers of the groups' leaders say which log entry they have
//! applied, and the node waits until its replicas have applied as much. A node that cannot, or does
//! not in time, is asked less often.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bitroster_command::Outcome;
use bitroster_proto::internal::Status;
use bitroster_router::Fold;
use bitroster_shard::FoldPart;
use bitroster_types::{Deadline, GroupId, NodeId, limits::FOLD_VALUES_MAX};
use parking_lot::Mutex;

use super::{ClusterTransport, tries::Tries, within};
use crate::request::{Body, Request};

/// How long a node may take before the groups are asked instead.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether folds are asked for.
#[derive(Debug, Default)]
pub(super) struct Folds {
    tries: Mutex<Tries>,
}

impl ClusterTransport {
    pub(super) async fn folded(&self, fold: Fold, deadline: Deadline) -> Option<Outcome> {
        let parts: Vec<FoldPart> = fold
            .values
            .iter()
            .map(|(group, _)| {
                let applied = self.senders.read().get(group)?.seen.load(Relaxed);
                (applied > 0).then_some(FoldPart { group: *group, applied })
            })
            .collect::<Option<_>>()?;
        if parts.len() > FOLD_VALUES_MAX {
            return None;
        }
        let node = self.holder(&parts)?;
        if !self.folds.tries.lock().is_due() {
            return None;
        }
        let request = Request::Fold { epoch: fold.epoch, parts, ops: fold.ops() };
        let answer = self.links.call(node, request, within(deadline, PATIENCE)).await;
        let outcome = match answer.map(|response| (response.status, response.body)) {
            Ok((Status::Ok, Body::Outcomes { outcomes, .. })) => outcomes.decode().ok(),
            _ => None,
        };
        let outcome = outcome.and_then(|mut outcomes| outcomes.pop());
        self.folds.tries.lock().tried(outcome.is_some());
        outcome
    }

    /// A node that has a replica of each group: the one that leads most of them, for the others
    /// have to send it nothing that it does not have. A node with replicas of its own asks only
    /// itself: it may have answered reads of a group that it serves alone, and no message has told
    /// it what they showed.
    fn holder(&self, parts: &[FoldPart]) -> Option<NodeId> {
        let states = self.links.states().subscribe();
        let state = states.borrow();
        let state = state.as_ref()?;
        let holds = |node: NodeId, group: GroupId| {
            let mut stays = state.replicas(group).iter().filter(|replica| !replica.leaving);
            stays.any(|replica| replica.node == node)
        };
        let nodes = state.replicas(parts.first()?.group).iter().map(|replica| replica.node);
        let here = self.links.identity().node;
        nodes
            .filter(|node| here.is_none_or(|here| here == *node))
            .filter(|node| parts.iter().all(|part| holds(*node, part.group)))
            .max_by_key(|node| {
                parts.iter().filter(|part| self.leader(part.group) == Some(*node)).count()
            })
    }
}
