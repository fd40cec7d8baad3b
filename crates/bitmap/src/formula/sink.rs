//! Takers of a formula's result: counts by steps, and the first or the last bits.

use std::ops::Range;
use std::sync::Arc;

use super::walk::Order;
use crate::address::{CHUNK_BITS, NODE_BITS, narrow, node_start, size};
use crate::algebra::{Out, Scratch, Want};
use crate::bitmap::Bitmap;
use crate::combine::Sink;
use crate::container::Container;
use crate::node::Node;
use crate::tree::Builder;

/// Counts bits by steps of equal length from a first bit on.
pub(super) struct Histogram {
    start: u64,
    step: u64,
    pub(super) counts: Vec<u64>,
}

impl Histogram {
    pub(super) fn new(range: &Range<u64>, step: u64) -> Self {
        assert!(step > 0, "steps of no bits");
        let steps = range.end.saturating_sub(range.start).div_ceil(step);
        Self { start: range.start, step, counts: vec![0; size(steps)] }
    }

    fn place(&self, offset: u64) -> usize {
        size((offset - self.start) / self.step)
    }

    /// Whether `bits` bits from `first` on, all within the range, lie in one step.
    fn is_one_step(&self, first: u64, bits: u32) -> bool {
        self.place(first) == self.place(first + u64::from(bits) - 1)
    }

    /// Calls `count` with the pieces of `lo..hi` from `base` on, cut where a step ends.
    fn add(&mut self, base: u64, lo: u32, hi: u32, count: impl Fn(u32, u32) -> u32) {
        let mut from = lo;
        while from < hi {
            let place = self.place(base + u64::from(from));
            let end = (place as u64 + 1).saturating_mul(self.step).saturating_add(self.start);
            let to = narrow((end - base).min(u64::from(hi)));
            self.counts[place] += u64::from(count(from, to));
            from = to;
        }
    }
}

impl Sink for Histogram {
    const WANT: Want = Want::Count;

    fn want(&self, chunk: u64) -> Want {
        if self.is_one_step(chunk << 16, CHUNK_BITS) { Want::Count } else { Want::Bits }
    }

    fn node(&mut self, index: u32, node: &Arc<Node>) {
        self.add(node_start(index), 0, NODE_BITS, |lo, hi| node.count(lo, hi));
    }

    fn chunk(&mut self, chunk: u64, out: Out<'_>, scratch: &mut Scratch<'_>, lo: u32, hi: u32) {
        let base = chunk << 16;
        if self.is_one_step(base + u64::from(lo), hi - lo) {
            let place = self.place(base + u64::from(lo));
            self.counts[place] += u64::from(out.card_within(scratch, lo, hi));
            return;
        }
        let container = out.into_container(scratch);
        self.add(base, lo, hi, |lo, hi| container.count(lo, hi));
        scratch.recycle(container);
    }
}

/// Takes the first bits, or the last ones where the walk descends.
pub(super) struct Edge {
    order: Order,
    left: u64,
    taken: Vec<Taken>,
}

enum Taken {
    Node(u32, Arc<Node>),
    Chunk(u64, Container),
}

impl Edge {
    pub(super) fn new(order: Order, limit: u64) -> Self {
        Self { order, left: limit, taken: Vec::new() }
    }

    /// What was taken, as a value of this length.
    pub(super) fn finish(mut self, len_bytes: u64) -> Bitmap {
        self.order.apply(&mut self.taken);
        let mut builder = Builder::default();
        for taken in self.taken {
            match taken {
                Taken::Node(index, node) => builder.push_node(index, node),
                Taken::Chunk(chunk, container) => builder.push(chunk, container),
            }
        }
        Bitmap::from_tree(builder.finish(len_bytes))
    }
}

impl Sink for Edge {
    const WANT: Want = Want::Bits;

    fn takes(&self, _: u32, node: &Node) -> bool {
        u64::from(node.card()) <= self.left
    }

    fn is_done(&self) -> bool {
        self.left == 0
    }

    fn node(&mut self, index: u32, node: &Arc<Node>) {
        debug_assert!(u64::from(node.card()) <= self.left);
        self.left -= u64::from(node.card());
        self.taken.push(Taken::Node(index, Arc::clone(node)));
    }

    fn chunk(&mut self, chunk: u64, out: Out<'_>, scratch: &mut Scratch<'_>, lo: u32, hi: u32) {
        let mut container = out.into_container(scratch);
        if hi - lo < CHUNK_BITS {
            container = container.restrict(lo, hi);
        }
        let card = container.card();
        if u64::from(card) > self.left {
            let left = narrow(self.left);
            container = match self.order {
                Order::Ascending => container.restrict(0, container.select(left)),
                Order::Descending => container.restrict(container.select(card - left), CHUNK_BITS),
            };
        }
        self.left -= u64::from(container.card());
        self.taken.push(Taken::Chunk(chunk, container));
    }
}
