//! All pages of a keyspace, copied only where they change.
//!
//! 16384 slots in 128 chunks; a slot is a page, or, once it holds many keys, a tree of pages that
//! each cover one range of hashes. A clone is 128 reference counts. Walking is in order of slot
//! and hash, whatever has been split since, which is what SCAN promises.

use std::{ops::ControlFlow, sync::Arc};

use bitroster_types::Slot;

use crate::{entry::View, leaf::Leaf, size::class, spot::Spot};

/// Slots of one chunk.
const CHUNK_SLOTS: usize = 128;

/// Entries of one page before it is split: few enough that a copy costs microseconds.
const PAGE_ENTRIES_MAX: usize = 512;

/// The shift that takes the first four bits of a hash.
const FIRST_SHIFT: u32 = 28;

#[derive(Clone, Debug, Default)]
enum Node {
    #[default]
    Empty,
    Page(Arc<Leaf>),
    Split(Arc<[Node; 16]>),
}

/// The pages of every slot.
#[derive(Clone, Debug)]
pub(crate) struct Root(Box<[Arc<[Node; CHUNK_SLOTS]>]>);

impl Default for Root {
    fn default() -> Self {
        let empty = Arc::new(std::array::from_fn(|_| Node::Empty));
        Self(vec![empty; bitroster_types::limits::SLOTS as usize / CHUNK_SLOTS].into())
    }
}

impl Root {
    fn node(&self, slot: Slot) -> &Node {
        &self.0[slot.index() / CHUNK_SLOTS][slot.index() % CHUNK_SLOTS]
    }

    fn node_mut(&mut self, slot: Slot) -> &mut Node {
        &mut Arc::make_mut(&mut self.0[slot.index() / CHUNK_SLOTS])[slot.index() % CHUNK_SLOTS]
    }

    pub(crate) fn page(&self, spot: Spot) -> Option<&Leaf> {
        let mut node = self.node(spot.slot);
        let mut shift = FIRST_SHIFT;
        loop {
            match node {
                Node::Empty => return None,
                Node::Page(page) => return Some(page),
                Node::Split(nodes) => node = &nodes[branch(spot.hash, shift)],
            }
            shift = shift.saturating_sub(4);
        }
    }

    /// The page of `spot`, to be changed, and by how much copying it changed the bytes in use;
    /// `None` if there is none.
    pub(crate) fn page_mut(&mut self, spot: Spot) -> Option<(&mut Leaf, isize)> {
        let mut node = self.node_mut(spot.slot);
        let mut shift = FIRST_SHIFT;
        loop {
            match node {
                Node::Empty => return None,
                Node::Page(page) => return Some(own(page)),
                Node::Split(nodes) => {
                    node = &mut Arc::make_mut(nodes)[branch(spot.hash, shift)];
                }
            }
            shift = shift.saturating_sub(4);
        }
    }

    /// The page of `spot` with room for one more entry, made or split as needed; and by how much
    /// that changed the bytes in use.
    pub(crate) fn page_for_insert(&mut self, spot: Spot) -> (&mut Leaf, isize) {
        let mut node = self.node_mut(spot.slot);
        let mut shift = Some(FIRST_SHIFT);
        let mut growth = 0;
        loop {
            growth += match node {
                Node::Empty => {
                    let page = Leaf::new(shift.map_or(32, |shift| FIRST_SHIFT - shift));
                    let bytes = page.bytes();
                    *node = Node::Page(Arc::new(page));
                    bytes.cast_signed()
                }
                Node::Page(page) => match shift {
                    Some(shift) if page.len() >= PAGE_ENTRIES_MAX => split(node, shift),
                    _ => 0,
                },
                Node::Split(_) => 0,
            };
            match node {
                Node::Page(page) => {
                    let (page, copied) = own(page);
                    return (page, growth + copied);
                }
                Node::Split(nodes) => {
                    let shift = shift.as_mut().expect("a hash has eight branches");
                    node = &mut Arc::make_mut(nodes)[branch(spot.hash, *shift)];
                    *shift = shift.wrapping_sub(4);
                }
                Node::Empty => unreachable!("made above"),
            }
            shift = shift.filter(|shift| *shift <= FIRST_SHIFT);
        }
    }

    /// Takes the page of `spot` out if it is empty; by how much that changed the bytes in use.
    pub(crate) fn prune(&mut self, spot: Spot) -> isize {
        prune(self.node_mut(spot.slot), spot.hash, FIRST_SHIFT)
    }

    /// Bytes of all pages, counted anew.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        fn bytes(node: &Node) -> usize {
            match node {
                Node::Empty => 0,
                Node::Page(page) => page.bytes(),
                Node::Split(nodes) => split_bytes() + nodes.iter().map(bytes).sum::<usize>(),
            }
        }
        self.0.iter().flat_map(|chunk| chunk.iter()).map(bytes).sum()
    }

    /// Visits every entry, in order of slot and hash.
    pub(crate) fn for_each(&self, mut visitor: impl FnMut(Spot, &[u8], View<'_>)) {
        let all = self.visit(Spot::FIRST, |spot, key, view| -> ControlFlow<()> {
            visitor(spot, key, view);
            ControlFlow::Continue(())
        });
        assert!(all.is_continue(), "nothing breaks off the walk");
    }

    /// Visits every entry at or after `from`, in order of slot and hash, until told to stop.
    pub(crate) fn visit<B>(
        &self,
        from: Spot,
        mut visitor: impl FnMut(Spot, &[u8], View<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut hash = from.hash;
        for number in from.slot.number()..bitroster_types::limits::SLOTS {
            let slot = Slot::new(number).expect("below the number of slots");
            let mut visit =
                |hash, key: &[u8], view: View<'_>| visitor(Spot { slot, hash }, key, view);
            walk(self.node(slot), hash, FIRST_SHIFT, &mut visit)?;
            hash = 0;
        }
        ControlFlow::Continue(())
    }
}

impl Root {
    /// Visits every page at or after `from`, with the first spot that it may hold, until told to
    /// stop. Pages that are split or made during a walk in several parts may be missed or seen
    /// twice.
    pub(crate) fn visit_pages<B>(
        &self,
        from: Spot,
        mut visitor: impl FnMut(Spot, &Leaf) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut hash = from.hash;
        for number in from.slot.number()..bitroster_types::limits::SLOTS {
            let slot = Slot::new(number).expect("below the number of slots");
            let mut visit = |hash, page: &Leaf| visitor(Spot { slot, hash }, page);
            walk_pages(self.node(slot), (0, hash), Some(FIRST_SHIFT), &mut visit)?;
            hash = 0;
        }
        ControlFlow::Continue(())
    }
}

/// Visits the pages of a node whose hashes begin at `first`, but those before `from`.
fn walk_pages<B>(
    node: &Node,
    (first, from): (u32, u32),
    shift: Option<u32>,
    visitor: &mut impl FnMut(u32, &Leaf) -> ControlFlow<B>,
) -> ControlFlow<B> {
    match node {
        Node::Empty => {}
        Node::Page(page) => visitor(first, page)?,
        Node::Split(nodes) => {
            let shift = shift.expect("a hash has eight branches");
            for (first, node) in (0..16).map(|n| first | n << shift).zip(nodes.iter()) {
                // The last hash below the branch.
                if first | ((1 << shift) - 1) >= from {
                    walk_pages(node, (first, from), shift.checked_sub(4), visitor)?;
                }
            }
        }
    }
    ControlFlow::Continue(())
}

const fn branch(hash: u32, shift: u32) -> usize {
    (hash >> shift) as usize & 15
}

/// A page that nobody else holds, copied if somebody does; by how much that changed the bytes in
/// use, for a copy has no spare room.
fn own(page: &mut Arc<Leaf>) -> (&mut Leaf, isize) {
    if Arc::strong_count(page) == 1 {
        return (Arc::make_mut(page), 0);
    }
    let before = page.bytes();
    let page = Arc::make_mut(page);
    let growth = page.bytes().cast_signed() - before.cast_signed();
    (page, growth)
}

/// Bytes of the sixteen branches of a split slot.
fn split_bytes() -> usize {
    class(size_of::<[Node; 16]>() + 16)
}

fn split(node: &mut Node, shift: u32) -> isize {
    let Node::Page(page) = std::mem::take(node) else { unreachable!("only a page is split") };
    let before = page.bytes();
    let pages = Arc::unwrap_or_clone(page).split(shift);
    let mut after = split_bytes();
    *node = Node::Split(Arc::new(pages.map(|page| {
        if page.is_empty() {
            return Node::Empty;
        }
        after += page.bytes();
        Node::Page(Arc::new(page))
    })));
    after.cast_signed() - before.cast_signed()
}

fn prune(node: &mut Node, hash: u32, shift: u32) -> isize {
    match node {
        Node::Empty => 0,
        Node::Page(page) if page.is_empty() => {
            let bytes = page.bytes().cast_signed();
            *node = Node::Empty;
            -bytes
        }
        Node::Page(_) => 0,
        Node::Split(nodes) => {
            let nodes = Arc::make_mut(nodes);
            let freed = prune(&mut nodes[branch(hash, shift)], hash, shift.saturating_sub(4));
            if nodes.iter().all(|node| matches!(node, Node::Empty)) {
                *node = Node::Empty;
                return freed - split_bytes().cast_signed();
            }
            freed
        }
    }
}

fn walk<B>(
    node: &Node,
    from: u32,
    shift: u32,
    visitor: &mut impl FnMut(u32, &[u8], View<'_>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    match node {
        Node::Empty => {}
        Node::Page(page) => {
            for (hash, key, view) in page.iter_from(from) {
                visitor(hash, key, view)?;
            }
        }
        Node::Split(nodes) => {
            let first = branch(from, shift);
            for (n, node) in nodes.iter().enumerate().skip(first) {
                let from = if n == first { from } else { 0 };
                walk(node, from, shift.saturating_sub(4), visitor)?;
            }
        }
    }
    ControlFlow::Continue(())
}
