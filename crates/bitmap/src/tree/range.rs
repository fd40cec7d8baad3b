//! Operations of a tree on ranges of bits; ranges lie within the length unless said.

use std::ops::Range;
use std::sync::Arc;

use super::{Builder, Entry, Tree};
use crate::address::{NODE_BITS, NODE_CHUNKS, node_spans, node_start};
use crate::node::Node;

impl Tree {
    /// Counts the set bits of a range; costs by node, then by container at its ends.
    pub(crate) fn count(&self, range: Range<u64>) -> u64 {
        if range.start == 0 && range.end >= self.bits() {
            return self.card();
        }
        let entries = self.overlapping(&range).iter();
        entries
            .map(|entry| {
                let (lo, hi) = Self::within(entry.index, &range);
                u64::from(entry.node.count(lo, hi))
            })
            .sum()
    }

    pub(crate) fn first_set(&self, range: Range<u64>) -> Option<u64> {
        self.overlapping(&range).iter().find_map(|entry| {
            let (lo, hi) = Self::within(entry.index, &range);
            entry.node.first_set(lo, hi).map(|bit| node_start(entry.index) + u64::from(bit))
        })
    }

    /// The first clear bit of a range, which may go past the length.
    pub(crate) fn first_clear(&self, range: Range<u64>) -> Option<u64> {
        let mut at = range.start;
        for entry in self.overlapping(&range) {
            if node_start(entry.index) > at {
                break;
            }
            let (lo, hi) = Self::within(entry.index, &range);
            if let Some(bit) = entry.node.first_clear(lo, hi) {
                return Some(node_start(entry.index) + u64::from(bit));
            }
            at = node_start(entry.index) + u64::from(hi);
        }
        (at < range.end).then_some(at)
    }

    pub(crate) fn last_set(&self) -> Option<u64> {
        let entry = self.nodes.last()?;
        entry.node.last_set().map(|bit| node_start(entry.index) + u64::from(bit))
    }

    /// Replaces the nodes that overlap `range` by `edit` of them, absent ones included where
    /// `absent` says so.
    fn rebuild(
        &mut self,
        range: &Range<u64>,
        absent: bool,
        mut edit: impl FnMut(Option<Arc<Node>>, u32, u32) -> Option<Arc<Node>>,
    ) {
        let nodes = std::mem::take(&mut self.nodes);
        let mut old = nodes.into_iter().peekable();
        let mut new = Vec::with_capacity(old.len());
        while let Some(entry) = old.next_if(|e| node_start(e.index + 1) <= range.start) {
            new.push(entry);
        }
        if absent {
            for (index, lo, hi) in node_spans(range.clone()) {
                let present = old.next_if(|entry| entry.index == index).map(|entry| entry.node);
                new.extend(edit(present, lo, hi).map(|node| Entry { index, node }));
            }
        }
        while let Some(entry) = old.next_if(|e| node_start(e.index) < range.end) {
            let (lo, hi) = Self::within(entry.index, range);
            let index = entry.index;
            new.extend(edit(Some(entry.node), lo, hi).map(|node| Entry { index, node }));
        }
        new.extend(old);
        new.shrink_to_fit();
        self.nodes = new;
        self.recount();
    }

    /// A node as a tree keeps it: none where it is empty, the shared one where it is all ones.
    fn settled(node: Arc<Node>) -> Option<Arc<Node>> {
        match node.card() {
            0 => None,
            NODE_BITS => Some(Node::full()),
            _ => Some(node),
        }
    }

    /// Sets or clears a range.
    pub(crate) fn fill(&mut self, range: Range<u64>, value: bool) {
        self.rebuild(&range, value, |node, lo, hi| {
            if lo == 0 && hi == NODE_BITS {
                return value.then(Node::full);
            }
            let mut node = node.unwrap_or_default();
            Arc::make_mut(&mut node).fill(lo, hi, value);
            Self::settled(node)
        });
    }

    /// Inverts a range.
    pub(crate) fn flip(&mut self, range: Range<u64>) {
        self.rebuild(&range, true, |node, lo, hi| {
            let whole = lo == 0 && hi == NODE_BITS;
            if whole && node.is_none() {
                return Some(Node::full());
            }
            let mut node = node.unwrap_or_default();
            Arc::make_mut(&mut node).flip(lo, hi);
            Self::settled(node)
        });
    }

    /// The bits of a range, the rest clear, with the same length; shares what lies within.
    pub(crate) fn restrict(&self, range: Range<u64>) -> Self {
        let mut builder = Builder::default();
        for entry in self.overlapping(&range) {
            let (lo, hi) = Self::within(entry.index, &range);
            if lo == 0 && hi == NODE_BITS {
                builder.push_node(entry.index, Arc::clone(&entry.node));
            } else {
                builder.push_node(entry.index, Arc::new(entry.node.restrict(lo, hi)));
            }
        }
        builder.finish(self.len())
    }

    /// The aligned pieces of `chunk_bits` whose first bit `keep` accepts.
    pub(crate) fn select(&self, keep: impl Fn(u64) -> bool, chunk_bits: u64) -> Self {
        let mut builder = Builder::default();
        let per_node = u64::from(NODE_BITS) / chunk_bits.min(u64::from(NODE_BITS));
        let slots = u64::from(NODE_CHUNKS) / per_node;
        for entry in &self.nodes {
            let start = node_start(entry.index);
            let mut mask = 0u64;
            for piece in 0..per_node {
                let first = (start & !(chunk_bits - 1)) + piece * chunk_bits;
                if keep(first) {
                    mask |= (u64::MAX >> (64 - slots)) << (piece * slots);
                }
            }
            if entry.node.mask() & !mask == 0 {
                builder.push_node(entry.index, Arc::clone(&entry.node));
            } else if entry.node.mask() & mask != 0 {
                builder.push_node(entry.index, Arc::new(entry.node.select(mask)));
            }
        }
        builder.finish(self.len())
    }

    /// Gives every container its smallest form.
    pub(crate) fn optimize(&mut self) {
        for entry in self.nodes.iter_mut().filter(|entry| !entry.node.is_full()) {
            Arc::make_mut(&mut entry.node).optimize();
        }
        self.nodes.shrink_to_fit();
        self.recount();
    }

    /// Cuts the value to `len` bytes.
    pub(crate) fn truncate(&mut self, len: u64) {
        self.fill(len * 8..self.bits(), false);
        self.len = len;
    }

    /// The same bits with another length, which covers them.
    pub(crate) fn with_len(self, len: u64) -> Self {
        Self { len, ..self }
    }
}
