//! Joining another tree into a tree, sharing and copying as little as possible.

use std::sync::Arc;

use super::{Entry, Tree};
use crate::algebra::Scratch;
use crate::bitmap::MergeOp;
use crate::node::Node;

impl Tree {
    /// Joins the bits of another tree and returns how many changed. [`MergeOp::Or`] and
    /// [`MergeOp::Xor`] make this tree at least as long as the other.
    pub(crate) fn merge(&mut self, op: MergeOp, other: &Self) -> u64 {
        let mut scratch = Scratch::default();
        let mut changed = 0;
        let mut absent: Vec<Entry> = Vec::new();
        for entry in &other.nodes {
            let Ok(at) = self.find(entry.index) else {
                if op != MergeOp::AndNot {
                    absent.push(entry.clone());
                }
                continue;
            };
            let own = &mut self.nodes[at].node;
            if op == MergeOp::AndNot && (Arc::ptr_eq(own, &entry.node) || entry.node.is_full()) {
                changed += u64::from(own.card());
                self.replace(at, Arc::default());
            } else if op == MergeOp::Or && (Arc::ptr_eq(own, &entry.node) || own.is_full()) {
                // Nothing is missing.
            } else if op == MergeOp::Or && entry.node.is_full() {
                changed += u64::from(entry.node.card() - own.card());
                self.replace(at, Node::full());
            } else if Arc::get_mut(own).is_some() || own.would_change(op, &entry.node) {
                changed += self.update(entry.index, |node| {
                    u64::from(node.merge(op, &entry.node, &mut scratch))
                });
            }
        }
        if op != MergeOp::AndNot {
            self.extend(other.len());
            changed += self.insert_all(absent);
        }
        changed
    }

    /// Replaces a node; an empty one is removed.
    fn replace(&mut self, at: usize, node: Arc<Node>) {
        let old = &mut self.nodes[at].node;
        self.card = self.card - u64::from(old.card()) + u64::from(node.card());
        self.payload -= old.heap();
        if node.card() == 0 {
            self.nodes.remove(at);
        } else {
            self.payload += node.heap();
            *old = node;
        }
    }

    /// Adds nodes, ascending, that this tree lacks, and returns how many bits they have.
    fn insert_all(&mut self, absent: Vec<Entry>) -> u64 {
        if absent.is_empty() {
            return 0;
        }
        let card = absent.iter().map(|entry| u64::from(entry.node.card())).sum();
        self.card += card;
        self.payload += absent.iter().map(|entry| entry.node.heap()).sum::<usize>();
        let in_order = self.nodes.last().is_none_or(|last| last.index < absent[0].index);
        self.nodes.reserve_exact(absent.len());
        self.nodes.extend(absent);
        if !in_order {
            // Two ascending lists: the sort joins them in one pass.
            self.nodes.sort_by_key(|entry| entry.index);
        }
        card
    }
}
