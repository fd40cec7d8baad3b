//! Which node to ask next.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bitroster_proto::convert;
use bitroster_types::{Deadline, GroupId, NodeId};
use tokio::time::{Instant, sleep_until};

use super::has_passed;
use crate::links::Links;

/// The first pause after all replicas were asked in vain; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Hints in a row that are followed; two replicas may each take the other for the leader.
const HINTS_MAX: u8 = 3;

/// Who is believed to lead a group.
#[derive(Debug, Default)]
pub(super) struct Lead(AtomicU64);

impl Lead {
    pub(super) fn believed(&self) -> Option<NodeId> {
        convert::optional_node(self.0.load(Relaxed))
    }

    /// Whether somebody is believed to lead.
    pub(super) fn is_known(&self) -> bool {
        self.believed().is_some()
    }

    /// `node` answered as a leader does.
    pub(super) fn found(&self, node: NodeId) {
        if self.0.load(Relaxed) != node.0 {
            self.0.store(node.0, Relaxed);
        }
    }

    /// `node` does not lead, or cannot be reached.
    pub(super) fn lost(&self, node: NodeId) {
        if self.0.load(Relaxed) == node.0 {
            self.0.store(0, Relaxed);
        }
    }
}

/// A search for a replica that answers: who is believed to lead, hints, then all in turn.
pub(super) struct Search<'a> {
    group: GroupId,
    links: &'a Links,
    lead: &'a Lead,
    /// Whether a replica on this node is asked first, whoever leads.
    prefers_here: bool,
    untried: VecDeque<NodeId>,
    hint: Option<NodeId>,
    hints: u8,
    pause: Option<Duration>,
}

impl<'a> Search<'a> {
    pub(super) const fn new(
        group: GroupId,
        links: &'a Links,
        lead: &'a Lead,
        prefers_here: bool,
    ) -> Self {
        let untried = VecDeque::new();
        Self { group, links, lead, prefers_here, untried, hint: None, hints: 0, pause: None }
    }

    /// The node to ask next, after a pause where all were asked; `None` once the deadline passes.
    pub(super) async fn next(&mut self, deadline: Deadline) -> Option<NodeId> {
        loop {
            if has_passed(deadline) {
                return None;
            }
            if let Some(node) = self.hint.take() {
                self.untried.retain(|other| *other != node);
                return Some(node);
            }
            if let Some(node) = self.untried.pop_front() {
                return Some(node);
            }
            if let Some(pause) = self.pause {
                let until = (Instant::now() + pause).min(deadline.instant().into());
                sleep_until(until).await;
            }
            self.pause = Some(self.pause.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX)));
            self.hints = 0;
            self.untried = self.candidates();
        }
    }

    /// `node` said that `hint` leads.
    pub(super) fn follow(&mut self, node: NodeId, hint: Option<NodeId>) {
        if let Some(hint) = hint
            && hint != node
            && self.hints < HINTS_MAX
        {
            self.hints += 1;
            self.hint = Some(hint);
        }
    }

    /// Asks the same node again, at once.
    pub(super) const fn again(&mut self, node: NodeId) {
        self.hint = Some(node);
    }

    /// Asks the same replicas again, after a pause: the one that leads has too much to do.
    pub(super) fn rest(&mut self) {
        self.untried.clear();
    }

    /// All replicas, the likeliest first.
    fn candidates(&self) -> VecDeque<NodeId> {
        let mut nodes = VecDeque::new();
        let here = self.links.identity().node;
        if let Some(state) = self.links.states().current() {
            let replicas = state.replicas(self.group);
            nodes.extend(replicas.iter().map(|replica| replica.node));
        }
        let mut first = |node: NodeId| {
            nodes.retain(|other| *other != node);
            nodes.push_front(node);
        };
        if let Some(node) = self.lead.believed() {
            first(node);
        }
        if let Some(node) = here
            && self.prefers_here
            && nodes.contains(&node)
        {
            nodes.retain(|other| *other != node);
            nodes.push_front(node);
        }
        nodes
    }
}
