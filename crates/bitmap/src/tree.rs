//! A value beyond [`SMALL_VALUE_BYTES_MAX`]: its length and a sorted list of nodes.
//!
//! Nodes and containers are shared on clone; a write copies only what lies on its way.
//!
//! [`SMALL_VALUE_BYTES_MAX`]: bitroster_types::limits::SMALL_VALUE_BYTES_MAX

use std::ops::Range;
use std::sync::Arc;

use bitroster_types::limits::BITMAP_BITS_MAX;

use crate::address::{
    CHUNK_BITS, CHUNK_BYTES, NODE_BITS, low_of, narrow, node_of, node_start, size, size_class,
    slot_of,
};
use crate::container::Container;
use crate::node::Node;

mod build;
mod merge;
mod range;

pub(crate) use build::Builder;

/// Bits between one fetch of what is needed for a bit and the next.
const STRIDE: usize = 8;

/// A node and its number.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) index: u32,
    pub(crate) node: Arc<Node>,
}

/// The nodes of one value and their sums.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    /// The value's length in bytes; no bit is set at or past it.
    len: u64,
    /// Set bits.
    card: u64,
    /// Allocated bytes of all nodes and what is below them.
    payload: usize,
    /// Ascending by index; no node is empty.
    nodes: Vec<Entry>,
}

impl Tree {
    /// All zero.
    pub(crate) fn zeros(len: u64) -> Self {
        assert!(len <= BITMAP_BITS_MAX / 8, "a bitmap of {len} bytes is beyond the limit");
        Self { len, ..Self::default() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The bits before this position may be set.
    pub(crate) fn bits(&self) -> u64 {
        self.len * 8
    }

    pub(crate) fn card(&self) -> u64 {
        self.card
    }

    pub(crate) fn nodes(&self) -> &[Entry] {
        &self.nodes
    }

    /// Allocated bytes of everything, shared or not.
    pub(crate) fn heap(&self) -> usize {
        let root = size_class(size_of::<Self>() + 16);
        root + size_class(self.nodes.capacity() * size_of::<Entry>()) + self.payload
    }

    /// Grows the length; never shrinks it.
    pub(crate) fn extend(&mut self, len: u64) {
        if len > self.len {
            assert!(len <= BITMAP_BITS_MAX / 8, "a bitmap of {len} bytes is beyond the limit");
            self.len = len;
        }
    }

    /// The place of a node, or where it would go. Direct where no node before it is absent.
    #[inline]
    fn find(&self, index: u32) -> Result<usize, usize> {
        let direct = index as usize;
        if self.nodes.get(direct).is_some_and(|entry| entry.index == index) {
            return Ok(direct);
        }
        self.nodes.binary_search_by_key(&index, |entry| entry.index)
    }

    /// The node with this number.
    #[inline]
    pub(crate) fn node(&self, index: u32) -> Option<&Arc<Node>> {
        self.find(index).ok().map(|at| &self.nodes[at].node)
    }

    /// The container of a chunk.
    pub(crate) fn container(&self, chunk: u64) -> Option<&Container> {
        let offset = chunk << 16;
        self.node(node_of(offset))?.container(slot_of(offset))
    }

    /// Asks the CPU to fetch what [`fetch_head`](Self::fetch_head) looks at.
    #[inline]
    pub(crate) fn fetch_container(&self, offset: u64) {
        if let Some(node) = self.node(node_of(offset)) {
            node.fetch(slot_of(offset));
        }
    }

    /// Asks the CPU to fetch what [`fetch`](Self::fetch) looks at.
    #[inline]
    pub(crate) fn fetch_head(&self, offset: u64) {
        if let Some(container) = self.container(offset >> 16) {
            container.fetch_head();
        }
    }

    /// Asks the CPU to fetch what a write of the bit at `offset` will touch.
    pub(crate) fn fetch(&self, offset: u64) {
        if let Some(container) = self.container(offset >> 16) {
            container.fetch(low_of(offset));
        }
    }

    pub(crate) fn get(&self, offset: u64) -> bool {
        let container = self.node(node_of(offset)).and_then(|node| node.container(slot_of(offset)));
        container.is_some_and(|container| container.get(low_of(offset)))
    }

    /// Changes one node, which is empty at first where there is none.
    fn update<R>(&mut self, index: u32, change: impl FnOnce(&mut Node) -> R) -> R {
        let at = self.find(index).unwrap_or_else(|at| {
            if self.nodes.len() == self.nodes.capacity() {
                self.nodes.reserve_exact(self.nodes.len().div_ceil(2).max(1));
            }
            let node = Arc::new(Node::default());
            self.payload += node.heap();
            self.nodes.insert(at, Entry { index, node });
            at
        });
        // Before `make_mut`: a copy has no spare room, so that it may be smaller than the original.
        let heap = self.nodes[at].node.heap();
        let node = Arc::make_mut(&mut self.nodes[at].node);
        let card = node.card();
        let result = change(node);
        self.card = self.card - u64::from(card) + u64::from(node.card());
        let now = node.heap();
        self.payload = self.payload + now - heap;
        if node.is_full() {
            self.nodes[at].node = Node::full();
        } else if node.card() == 0 {
            self.payload -= now;
            self.nodes.remove(at);
        }
        result
    }

    /// Writes a bit that the length covers, and returns the old one. Copies nothing where nothing
    /// changes.
    pub(crate) fn set(&mut self, offset: u64, value: bool) -> bool {
        let (slot, low) = (slot_of(offset), low_of(offset));
        let Ok(at) = self.find(node_of(offset)) else {
            if value {
                self.toggle(offset, value);
            }
            return false;
        };
        let Some(node) = Arc::get_mut(&mut self.nodes[at].node) else {
            let old = self.nodes[at].node.container(slot).is_some_and(|c| c.get(low));
            if old != value {
                self.toggle(offset, value);
            }
            return old;
        };
        let heap = node.heap();
        let old = node.set(slot, low, value);
        if old != value {
            self.payload = self.payload + node.heap() - heap;
            self.card = if value { self.card + 1 } else { self.card - 1 };
            if node.is_full() {
                self.nodes[at].node = Node::full();
            } else if node.card() == 0 {
                self.payload -= node.heap();
                self.nodes.remove(at);
            }
        }
        old
    }

    /// Writes bits that the length covers, in order, and tells each one's old bit.
    ///
    /// What a bit lies in is three loads away, each of which needs the one before, and seldom in
    /// the cache. So each is asked for some bits ahead of the next one, where there are so many.
    pub(crate) fn set_all(&mut self, bits: &[(u64, bool)], mut told: impl FnMut(bool)) {
        if bits.len() < STRIDE {
            bits.iter().for_each(|(offset, value)| told(self.set(*offset, *value)));
            return;
        }
        let at = |place: Option<usize>| place.and_then(|place| bits.get(place)).copied();
        for place in 0..bits.len() + 3 * STRIDE {
            if let Some((offset, _)) = at(Some(place)) {
                self.fetch_container(offset);
            }
            if let Some((offset, _)) = at(place.checked_sub(STRIDE)) {
                self.fetch_head(offset);
            }
            if let Some((offset, _)) = at(place.checked_sub(2 * STRIDE)) {
                self.fetch(offset);
            }
            if let Some((offset, value)) = at(place.checked_sub(3 * STRIDE)) {
                told(self.set(offset, value));
            }
        }
    }

    /// Writes a bit that differs from the present one; the length covers it.
    pub(crate) fn toggle(&mut self, offset: u64, value: bool) {
        self.update(node_of(offset), |node| node.set(slot_of(offset), low_of(offset), value));
    }

    /// Sums up again after the list of nodes was rebuilt.
    fn recount(&mut self) {
        self.card = self.nodes.iter().map(|entry| u64::from(entry.node.card())).sum();
        self.payload = self.nodes.iter().map(|entry| entry.node.heap()).sum();
    }

    /// The entries whose nodes overlap `range`.
    pub(crate) fn overlapping(&self, range: &Range<u64>) -> &[Entry] {
        let from = self.nodes.partition_point(|e| node_start(e.index + 1) <= range.start);
        let to = self.nodes.partition_point(|e| node_start(e.index) < range.end);
        &self.nodes[from..to.max(from)]
    }

    /// What of `range` lies in the node `index`, which it overlaps.
    pub(crate) fn within(index: u32, range: &Range<u64>) -> (u32, u32) {
        let start = node_start(index);
        let lo = range.start.saturating_sub(start);
        (narrow(lo), narrow((range.end - start).min(u64::from(NODE_BITS))))
    }

    /// The containers from `first` chunk on, in order, with their chunks.
    pub(crate) fn containers(&self, first: u64) -> impl Iterator<Item = (u64, &Container)> {
        let from = self.nodes.partition_point(|e| u64::from(e.index) < first >> 6);
        self.nodes[from..]
            .iter()
            .flat_map(|e| {
                e.node.iter().map(move |(slot, c)| ((u64::from(e.index) << 6) + u64::from(slot), c))
            })
            .skip_while(move |(chunk, _)| *chunk < first)
    }

    /// Appends the bytes of `range`, which lies within the length.
    pub(crate) fn append_bytes(&self, range: Range<u64>, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(size(range.end - range.start));
        for (chunk, container) in self.containers(range.start / CHUNK_BYTES as u64) {
            let base = chunk * CHUNK_BYTES as u64;
            if base >= range.end {
                break;
            }
            let lo = range.start.saturating_sub(base);
            let hi = (range.end - base).min(CHUNK_BYTES as u64);
            out.resize(start + size(base + lo - range.start), 0);
            container.append_bytes(size(lo), size(hi), out);
        }
        out.resize(start + size(range.end - range.start), 0);
    }

    /// Writes a few bytes from `at` on into `out`, which is all zero; the length covers them.
    pub(crate) fn read_into(&self, at: u64, out: &mut [u8]) {
        let (mut at, mut rest) = (at, out);
        while !rest.is_empty() {
            let inner = size(at % CHUNK_BYTES as u64);
            let (now, later) = rest.split_at_mut((CHUNK_BYTES - inner).min(rest.len()));
            if let Some(container) = self.container(at / CHUNK_BYTES as u64) {
                container.read_into(inner, now);
            }
            at += now.len() as u64;
            rest = later;
        }
    }

    /// Overwrites the bytes from `at` on; the length covers them.
    pub(crate) fn write_bytes(&mut self, at: u64, bytes: &[u8]) {
        let mut at = at;
        let mut rest = bytes;
        while !rest.is_empty() {
            let inner = size(at % CHUNK_BYTES as u64);
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - inner));
            let offset = at * 8;
            let absent = self.container(offset >> 16).is_none();
            if !(absent && now.iter().all(|byte| *byte == 0)) {
                self.update(node_of(offset), |node| {
                    node.update(slot_of(offset), |container| container.write_bytes(inner, now));
                });
            }
            at += now.len() as u64;
            rest = later;
        }
    }

    /// Whether every sum agrees with what it sums up, and every form is within its bounds.
    pub(crate) fn check(&self) {
        let mut again = self.clone();
        again.recount();
        assert_eq!((self.card, self.payload), (again.card, again.payload));
        assert!(self.nodes.is_sorted_by(|a, b| a.index < b.index));
        for (chunk, container) in self.containers(0) {
            assert!(container.card() > 0);
            let last = chunk * u64::from(CHUNK_BITS) + container.last_set().map_or(0, u64::from);
            assert!(last < self.bits());
        }
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Entry, &Entry)| {
            a.index == b.index && (Arc::ptr_eq(&a.node, &b.node) || a.node == b.node)
        };
        (self.len, self.card, self.nodes.len()) == (other.len, other.card, other.nodes.len())
            && self.nodes.iter().zip(&other.nodes).all(same)
    }
}
