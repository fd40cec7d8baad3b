//! BITOP over whole values and over ranges: building the result, or only counting it.

use std::ops::Range;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::address::{CHUNK_BITS, NODE_BITS, NODE_CHUNKS, narrow, node_start, size, slot_spans};
use crate::algebra::{self, Out, Scratch, Want};
use crate::bitmap::Bitmap;
use crate::bits;
use crate::container::Container;
use crate::node::Node;
use crate::tree::{Builder, Tree};

mod small;

/// How bitmaps are joined. Operands are padded with zero bits to the longest one.
///
/// Source: Redis `BITOP`; [`Diff`](Self::Diff) and what follows are of Redis 8.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BitOp {
    /// Set in every operand.
    And,
    /// Set in any operand.
    Or,
    /// Set in an odd number of operands.
    Xor,
    /// Not set in the one operand, over its length in bytes.
    Not,
    /// Set in the first operand and in none of the others.
    Diff,
    /// Set in any of the others and not in the first operand.
    Diff1,
    /// Set in the first operand and in any of the others.
    AndOr,
    /// Set in exactly one operand.
    One,
}

/// Takes the result chunk by chunk.
pub(crate) trait Sink {
    /// What is needed of chunks.
    const WANT: Want;
    /// What is needed of this chunk, all of which is wanted.
    fn want(&self, _chunk: u64) -> Want {
        Self::WANT
    }
    /// Whether [`node`](Self::node) may be called with this node.
    fn takes(&self, _index: u32, _node: &Node) -> bool {
        true
    }
    /// Whether nothing more is needed.
    fn is_done(&self) -> bool {
        false
    }
    /// A node that is the result as it stands.
    fn node(&mut self, index: u32, node: &Arc<Node>);
    /// A chunk's result, to be cut to `lo..hi`.
    fn chunk(&mut self, chunk: u64, out: Out<'_>, scratch: &mut Scratch<'_>, lo: u32, hi: u32);
}

/// Adds up.
pub(crate) struct Counter(pub(crate) u64);

impl Sink for Counter {
    const WANT: Want = Want::Count;

    fn node(&mut self, _: u32, node: &Arc<Node>) {
        self.0 += u64::from(node.card());
    }

    fn chunk(&mut self, _: u64, out: Out<'_>, scratch: &mut Scratch<'_>, lo: u32, hi: u32) {
        self.0 += u64::from(out.card_within(scratch, lo, hi));
    }
}

impl Sink for Builder {
    const WANT: Want = Want::Bits;

    fn node(&mut self, index: u32, node: &Arc<Node>) {
        self.push_node(index, Arc::clone(node));
    }

    fn chunk(&mut self, chunk: u64, out: Out<'_>, scratch: &mut Scratch<'_>, lo: u32, hi: u32) {
        let container = out.into_container(scratch);
        if lo == 0 && hi == CHUNK_BITS {
            self.push(chunk, container);
        } else {
            self.push(chunk, container.restrict(lo, hi));
        }
    }
}

/// The operands as trees; small ones are converted.
pub(crate) fn trees(operands: &[&Bitmap]) -> Vec<Arc<Tree>> {
    operands.iter().map(|operand| operand.as_tree()).collect()
}

/// Walks the nodes that can be set in the result.
fn walk<S: Sink>(op: BitOp, operands: &[Arc<Tree>], range: Range<u64>, sink: &mut S) {
    let bits = operands.iter().map(|tree| tree.bits()).max().unwrap_or(0);
    let range = range.start..range.end.min(bits);
    if range.is_empty() {
        return;
    }
    let mut scratch = Scratch::default();
    let first = narrow(range.start >> 22);
    let end = narrow((range.end - 1) >> 22) + 1;
    let mut nodes: Vec<Option<&Arc<Node>>> = vec![None; operands.len()];
    let mut places: Vec<usize> = operands
        .iter()
        .map(|tree| tree.nodes().partition_point(|entry| entry.index < first))
        .collect();
    let mut index = first;
    while index < end && !sink.is_done() {
        let mut next = end;
        for ((tree, place), node) in operands.iter().zip(&mut places).zip(&mut nodes) {
            *node = None;
            if let Some(entry) = tree.nodes().get(*place).filter(|entry| entry.index == index) {
                *node = Some(&entry.node);
                *place += 1;
            }
            next = next.min(tree.nodes().get(*place).map_or(end, |entry| entry.index));
        }
        let start = node_start(index);
        let lo = narrow(range.start.saturating_sub(start));
        let hi = narrow((range.end - start).min(u64::from(NODE_BITS)));
        walk_node(op, &nodes, index, (lo, hi), &mut scratch, sink);
        index = if op == BitOp::Not { index + 1 } else { next };
    }
}

/// The node that is the result as it stands, if one is.
fn whole_node<'a>(op: BitOp, nodes: &[Option<&'a Arc<Node>>]) -> Option<&'a Arc<Node>> {
    let mut present = nodes.iter().flatten();
    let only = match (present.next(), present.next()) {
        (Some(only), None) => *only,
        _ => return None,
    };
    match op {
        BitOp::Or | BitOp::Xor | BitOp::One => Some(only),
        BitOp::And => (nodes.len() == 1).then_some(only),
        BitOp::Diff => nodes[0],
        BitOp::Diff1 => nodes[0].is_none().then_some(only),
        BitOp::Not | BitOp::AndOr => None,
    }
}

/// The slots of a node that can be set in the result.
fn slots(op: BitOp, nodes: &[Option<&Arc<Node>>]) -> u64 {
    let mask = |node: &Option<&Arc<Node>>| node.map_or(0, |node| node.mask());
    let any = |nodes: &[Option<&Arc<Node>>]| nodes.iter().map(mask).fold(0, |a, b| a | b);
    match op {
        BitOp::And => nodes.iter().map(mask).fold(u64::MAX, |a, b| a & b),
        BitOp::Or | BitOp::Xor | BitOp::One => any(nodes),
        BitOp::Not => u64::MAX,
        BitOp::Diff => mask(&nodes[0]),
        BitOp::Diff1 => any(&nodes[1..]),
        BitOp::AndOr => mask(&nodes[0]) & any(&nodes[1..]),
    }
}

/// Joins the nodes of one index within the bits `lo..hi`.
fn walk_node<'a, S: Sink>(
    op: BitOp,
    nodes: &[Option<&'a Arc<Node>>],
    index: u32,
    (lo, hi): (u32, u32),
    scratch: &mut Scratch<'a>,
    sink: &mut S,
) {
    if nodes.is_empty() {
        return;
    }
    if lo == 0 && hi == NODE_BITS {
        let full = (op == BitOp::Not && nodes[0].is_none()).then(Node::full);
        let whole = full.as_ref().or_else(|| whole_node(op, nodes));
        if let Some(node) = whole.filter(|node| sink.takes(index, node)) {
            return sink.node(index, node);
        }
    }
    let wanted = slots(op, nodes);
    if wanted == 0 {
        return;
    }
    let mut containers: SmallVec<[Option<&Container>; 16]> = smallvec![None; nodes.len()];
    for (slot, lo, hi) in slot_spans(lo, hi) {
        if wanted >> slot & 1 == 0 {
            continue;
        }
        for (container, node) in containers.iter_mut().zip(nodes) {
            *container = node.and_then(|node| node.container(slot));
        }
        list_ahead(nodes, wanted, slot, &mut scratch.ahead);
        let whole = lo == 0 && hi == CHUNK_BITS;
        let chunk = u64::from(index) * u64::from(NODE_CHUNKS) + u64::from(slot);
        let want = if whole { sink.want(chunk) } else { Want::Bits };
        let out = algebra::eval(op, &containers, scratch, want);
        sink.chunk(chunk, out, scratch, lo, hi);
        if sink.is_done() {
            return;
        }
    }
}

/// With more operands than this, what is fetched ahead would push out what is in use.
const AHEAD_OPERANDS_MAX: usize = 8;

/// Lists the dense blocks of the slot after `slot`.
fn list_ahead<'a>(
    nodes: &[Option<&'a Arc<Node>>],
    wanted: u64,
    slot: u32,
    ahead: &mut algebra::Blocks<'a>,
) {
    ahead.clear();
    let later = wanted & (u64::MAX << slot) & !(1 << slot);
    if later == 0 || nodes.len() > AHEAD_OPERANDS_MAX {
        return;
    }
    for node in nodes.iter().flatten() {
        if let Some(Container::Dense { page, .. }) = node.container(later.trailing_zeros()) {
            ahead.push(&page.0);
        }
    }
}

/// The result of operands that are all flat, within `range`.
fn small(op: BitOp, operands: &[&Bitmap], range: &Range<u64>) -> Option<Bitmap> {
    let longest = operands.iter().max_by_key(|operand| operand.len_bytes())?;
    let len = longest.as_flat()?.len();
    let mut bytes = small::join(op, operands.iter().filter_map(|operand| operand.as_flat()));
    let bytes = &mut bytes[..len];
    let bits = len as u64 * 8;
    bits::keep(bytes, size(range.start.min(bits)), size(range.end.min(bits)));
    Some(Bitmap::from_bytes(bytes))
}

/// NOT has one operand: callers refuse anything else before.
fn check_operands(op: BitOp, operands: &[&Bitmap]) {
    assert!(op != BitOp::Not || operands.len() == 1, "NOT takes one operand");
}

/// The result within `range`, with the length of the longest operand.
pub(crate) fn build(op: BitOp, operands: &[&Bitmap], range: Range<u64>) -> Bitmap {
    check_operands(op, operands);
    if let Some(small) = small(op, operands, &range) {
        return small;
    }
    let len = operands.iter().map(|operand| operand.len_bytes()).max().unwrap_or(0);
    let mut builder = Builder::default();
    walk(op, &trees(operands), range, &mut builder);
    Bitmap::from_tree(builder.finish(len))
}

/// The number of set bits of the result within `range`.
pub(crate) fn count(op: BitOp, operands: &[&Bitmap], range: Range<u64>) -> u64 {
    check_operands(op, operands);
    if let Some(small) = small(op, operands, &range) {
        return small.cardinality();
    }
    let mut counter = Counter(0);
    walk(op, &trees(operands), range, &mut counter);
    counter.0
}
