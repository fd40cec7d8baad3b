//! 64 consecutive containers, kept packed: only those with a set bit, in order, beside a mask.

use std::sync::{Arc, OnceLock};

use crate::address::{CHUNK_BITS, NODE_BITS, NODE_CHUNKS, size_class, slot_spans};
use crate::algebra::Scratch;
use crate::bitmap::MergeOp;
use crate::container::Container;
use crate::kernels;

/// Allocated bytes of a node itself, with its counts of references.
const NODE_BYTES: usize = size_class_of_node();

const fn size_class_of_node() -> usize {
    // Two counts and the node: 56 bytes, hence the class of 64.
    assert!(size_of::<Node>() + 16 > 48 && size_of::<Node>() + 16 <= 64);
    64
}

/// Up to [`NODE_CHUNKS`] containers and their sums.
#[derive(Clone, Default)]
pub(crate) struct Node {
    /// Bit `i` is set where slot `i` has a container.
    mask: u64,
    /// Set bits of all containers.
    card: u32,
    /// Allocated bytes of all containers' payloads.
    payload: u32,
    /// The containers of the set bits of `mask`, in order; none is empty.
    containers: Vec<Container>,
}

impl Node {
    /// The one node that is all ones.
    pub(crate) fn full() -> Arc<Self> {
        static FULL: OnceLock<Arc<Node>> = OnceLock::new();
        let make = || {
            let containers = vec![Container::Full; NODE_CHUNKS as usize];
            Arc::new(Self { mask: u64::MAX, card: NODE_BITS, payload: 0, containers })
        };
        Arc::clone(FULL.get_or_init(make))
    }

    /// Whether every bit is set.
    pub(crate) fn is_full(&self) -> bool {
        self.card == NODE_BITS
    }

    /// Set bits.
    pub(crate) fn card(&self) -> u32 {
        self.card
    }

    /// The slots that have a container.
    pub(crate) fn mask(&self) -> u64 {
        self.mask
    }

    /// Allocated bytes of the node and all below it, shared or not. Nothing for all ones: trees
    /// share [`Node::full`] for that.
    pub(crate) fn heap(&self) -> usize {
        if self.is_full() {
            return 0;
        }
        NODE_BYTES + size_class(self.containers.capacity() * 16) + self.payload as usize
    }

    /// The place of a slot's container in `containers`, present or not.
    fn place(&self, slot: u32) -> usize {
        let below = (1u64 << slot) - 1;
        if self.mask & below == below {
            slot as usize
        } else {
            (self.mask & below).count_ones() as usize
        }
    }

    /// The container of a slot.
    #[inline]
    pub(crate) fn container(&self, slot: u32) -> Option<&Container> {
        if self.mask >> slot & 1 == 0 {
            return None;
        }
        Some(&self.containers[self.place(slot)])
    }

    /// Asks the CPU to fetch a slot's container, but not what that points to.
    #[inline]
    pub(crate) fn fetch(&self, slot: u32) {
        if let Some(container) = self.container(slot) {
            kernels::fetch(container);
        }
    }

    /// The containers with their slots, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Container)> {
        let mut mask = self.mask;
        self.containers.iter().map(move |container| {
            let slot = mask.trailing_zeros();
            mask &= mask - 1;
            (slot, container)
        })
    }

    /// Appends a container at a slot beyond all present ones.
    pub(crate) fn push(&mut self, slot: u32, container: Container) {
        debug_assert!(self.mask >> slot == 0);
        if container.card() == 0 {
            return;
        }
        self.mask |= 1 << slot;
        self.card += container.card();
        self.payload += container.heap();
        self.make_room();
        self.containers.push(container);
    }

    /// Grows the list of containers by half, so that a sparse node stays small.
    fn make_room(&mut self) {
        let len = self.containers.len();
        if len == self.containers.capacity() {
            self.containers.reserve_exact(len.div_ceil(2).clamp(1, NODE_CHUNKS as usize - len));
        }
    }

    /// Gives spare room back.
    pub(crate) fn shrink(&mut self) {
        self.containers.shrink_to_fit();
    }

    /// Changes the container of a slot, which is empty at first where the slot has none.
    pub(crate) fn update<R>(&mut self, slot: u32, change: impl FnOnce(&mut Container) -> R) -> R {
        let place = self.place(slot);
        if self.mask >> slot & 1 == 0 {
            let mut container = Container::EMPTY;
            let result = change(&mut container);
            if container.card() > 0 {
                self.make_room();
                self.mask |= 1 << slot;
                self.card += container.card();
                self.payload += container.heap();
                self.containers.insert(place, container);
            }
            return result;
        }
        let container = &mut self.containers[place];
        let (card, heap) = (container.card(), container.heap());
        let result = change(container);
        self.card = self.card - card + container.card();
        self.payload = self.payload - heap + container.heap();
        if container.card() == 0 {
            self.containers.remove(place);
            self.mask &= !(1 << slot);
        }
        result
    }

    pub(crate) fn set(&mut self, slot: u32, low: u16, value: bool) -> bool {
        self.update(slot, |container| container.set(low, value))
    }

    /// Counts the set bits in `lo..hi`.
    pub(crate) fn count(&self, lo: u32, hi: u32) -> u32 {
        if lo == 0 && hi == NODE_BITS {
            return self.card;
        }
        let spans = slot_spans(lo, hi);
        spans.map(|(slot, lo, hi)| self.container(slot).map_or(0, |c| c.count(lo, hi))).sum()
    }

    /// The first set bit in `lo..hi`.
    pub(crate) fn first_set(&self, lo: u32, hi: u32) -> Option<u32> {
        slot_spans(lo, hi).find_map(|(slot, lo, hi)| {
            self.container(slot)?.first_set(lo, hi).map(|bit| slot * CHUNK_BITS + bit)
        })
    }

    /// The first clear bit in `lo..hi`.
    pub(crate) fn first_clear(&self, lo: u32, hi: u32) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        slot_spans(lo, hi).find_map(|(slot, lo, hi)| {
            let found = self.container(slot).map_or(Some(lo), |c| c.first_clear(lo, hi));
            found.map(|bit| slot * CHUNK_BITS + bit)
        })
    }

    /// The last set bit.
    pub(crate) fn last_set(&self) -> Option<u32> {
        let bit = self.containers.last()?.last_set()?;
        Some((63 - self.mask.leading_zeros()) * CHUNK_BITS + bit)
    }

    /// Sets or clears `lo..hi`.
    pub(crate) fn fill(&mut self, lo: u32, hi: u32, value: bool) {
        for (slot, lo, hi) in slot_spans(lo, hi) {
            if value || self.mask >> slot & 1 == 1 {
                self.update(slot, |container| container.fill(lo, hi, value));
            }
        }
    }

    /// Inverts `lo..hi`.
    pub(crate) fn flip(&mut self, lo: u32, hi: u32) {
        for (slot, lo, hi) in slot_spans(lo, hi) {
            self.update(slot, |container| container.flip(lo, hi));
        }
    }

    /// The bits of `lo..hi`, the rest clear; containers within are shared.
    pub(crate) fn restrict(&self, lo: u32, hi: u32) -> Self {
        let mut kept = Self::default();
        for (slot, lo, hi) in slot_spans(lo, hi) {
            if let Some(container) = self.container(slot) {
                kept.push(slot, container.restrict(lo, hi));
            }
        }
        kept.shrink();
        kept
    }

    /// The containers of the slots in `mask`, shared.
    pub(crate) fn select(&self, mask: u64) -> Self {
        let mut kept = Self::default();
        for (slot, container) in self.iter().filter(|(slot, _)| mask >> slot & 1 == 1) {
            kept.push(slot, container.clone());
        }
        kept.shrink();
        kept
    }

    /// Joins the bits of another node and returns how many changed.
    pub(crate) fn merge(&mut self, op: MergeOp, set: &Self, scratch: &mut Scratch<'_>) -> u32 {
        let mut changed = 0;
        for (slot, container) in set.iter() {
            if op != MergeOp::AndNot || self.mask >> slot & 1 == 1 {
                changed += self.update(slot, |own| own.merge(op, container, scratch));
            }
        }
        changed
    }

    /// Whether [`merge`](Self::merge) would change anything; stops where it finds what would.
    pub(crate) fn would_change(&self, op: MergeOp, set: &Self) -> bool {
        let mut scratch = Scratch::default();
        set.iter().any(|(slot, container)| match self.container(slot) {
            Some(own) => own.would_change(op, container, &mut scratch),
            None => op != MergeOp::AndNot,
        })
    }

    /// Gives every container its smallest form.
    pub(crate) fn optimize(&mut self) {
        let mut best = Self::default();
        for (slot, container) in self.iter() {
            let mut container = container.clone();
            container.optimize();
            best.push(slot, container);
        }
        best.shrink();
        *self = best;
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.card == other.card && self.mask == other.mask && self.containers == other.containers
    }
}
