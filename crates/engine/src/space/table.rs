//! From the hash of a name to its number.
//!
//! A tree of pages by the leading bits of the hash, sixteen branches to a node; a page is a sorted
//! list of hashes and numbers. A node and its pages are copied together. Nothing of it needs the
//! names: a page splits by what it holds. What a page holds depends on the names and their numbers
//! alone.

use std::sync::Arc;

use crate::size::{class, reserve};

/// Rows of one page before it is split: few enough that a copy of sixteen costs some microseconds,
/// and that a place guessed by the hash is found a few steps away.
const PAGE_ROWS_MAX: usize = 256;

/// The shift that takes the first four bits of a hash.
const FIRST_SHIFT: u32 = 28;

/// A hash in the upper half, a number in the lower one.
type Row = u64;

const fn hash_in(row: Row) -> u32 {
    (row >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
const fn id_in(row: Row) -> u32 {
    row as u32
}

#[derive(Clone, Debug, Default)]
enum Node {
    #[default]
    Empty,
    /// Rows, ascending. They share as many leading bits of the hash as the node is deep.
    Page(Vec<Row>),
    Split(Arc<[Node; 16]>),
}

impl Node {
    /// Heap bytes of a page.
    fn page_bytes(&self) -> usize {
        match self {
            Self::Page(rows) => class(rows.capacity() * size_of::<Row>()),
            Self::Empty | Self::Split(_) => 0,
        }
    }
}

/// The place of the first row that is not less, among rows with the same `prefix` bits in front.
/// Hashes are spread evenly, so it is guessed.
fn first_at_least(rows: &[Row], prefix: u32, row: Row) -> usize {
    let spread = (u64::from(hash_in(row)) << prefix) & u64::from(u32::MAX);
    let guess = (spread * rows.len() as u64) >> 32;
    let mut at = usize::try_from(guess).expect("at most the number of rows");
    while at > 0 && rows[at - 1] >= row {
        at -= 1;
    }
    while at < rows.len() && rows[at] < row {
        at += 1;
    }
    at
}

const fn branch(hash: u32, shift: u32) -> usize {
    (hash >> shift) as usize & 15
}

/// Bytes of the sixteen branches of a split page.
const SPLIT_BYTES: usize = class(size_of::<[Node; 16]>() + 16);

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Table {
    root: Node,
    bytes: usize,
}

impl Clone for Table {
    fn clone(&self) -> Self {
        let root = self.root.clone();
        // A copy of a page has no spare room.
        let bytes = self.bytes - self.root.page_bytes() + root.page_bytes();
        Self { root, bytes }
    }
}

impl Table {
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// The number at a hash that `is` accepts.
    pub(super) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mut node = &self.root;
        let mut prefix = 0;
        let rows = loop {
            match node {
                Node::Empty => return None,
                Node::Page(rows) => break rows,
                Node::Split(nodes) => node = &nodes[branch(hash, FIRST_SHIFT - prefix)],
            }
            prefix += 4;
        };
        let first = first_at_least(rows, prefix, u64::from(hash) << 32);
        let same = rows[first..].iter().take_while(|row| hash_in(**row) == hash);
        same.map(|row| id_in(*row)).find(|id| is(*id))
    }

    /// Adds a row that is not there.
    pub(super) fn insert(&mut self, hash: u32, id: u32) {
        let mut node = &mut self.root;
        let mut prefix = 0;
        let rows = loop {
            if let Node::Page(rows) = node
                && rows.len() >= PAGE_ROWS_MAX
                && prefix < 32
            {
                let (split, added) = split(rows, FIRST_SHIFT - prefix);
                self.bytes = self.bytes - node.page_bytes() + added;
                *node = split;
            }
            match node {
                Node::Empty => *node = Node::Page(Vec::new()),
                Node::Page(rows) => break rows,
                Node::Split(nodes) => {
                    let (freed, added) = own(nodes);
                    self.bytes = self.bytes - freed + added;
                    let nodes = Arc::get_mut(nodes).expect("owned above");
                    node = &mut nodes[branch(hash, FIRST_SHIFT - prefix)];
                    prefix += 4;
                }
            }
        };
        let before = class(rows.capacity() * size_of::<Row>());
        let row = u64::from(hash) << 32 | u64::from(id);
        let at = first_at_least(rows, prefix, row);
        reserve(rows, 1);
        rows.insert(at, row);
        self.bytes = self.bytes - before + class(rows.capacity() * size_of::<Row>());
    }

    /// Heap bytes, counted anew.
    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> usize {
        fn bytes(node: &Node) -> usize {
            match node {
                Node::Empty | Node::Page(_) => node.page_bytes(),
                Node::Split(nodes) => SPLIT_BYTES + nodes.iter().map(bytes).sum::<usize>(),
            }
        }
        bytes(&self.root)
    }
}

/// Makes nodes one's own, copied if somebody else holds them; bytes of their pages before and
/// after.
fn own(nodes: &mut Arc<[Node; 16]>) -> (usize, usize) {
    if Arc::get_mut(nodes).is_some() {
        return (0, 0);
    }
    let bytes = |nodes: &[Node; 16]| nodes.iter().map(Node::page_bytes).sum();
    let before = bytes(nodes);
    *nodes = Arc::new((**nodes).clone());
    (before, bytes(nodes))
}

/// Rows as sixteen pages, by the four bits of the hash at `shift`; and their bytes.
fn split(rows: &[Row], shift: u32) -> (Node, usize) {
    let mut rest = rows;
    let mut bytes = SPLIT_BYTES;
    let nodes = std::array::from_fn(|n| {
        let len = rest.partition_point(|row| branch(hash_in(*row), shift) <= n);
        let (here, later) = rest.split_at(len);
        rest = later;
        if here.is_empty() {
            return Node::Empty;
        }
        let mut page = Vec::new();
        reserve(&mut page, here.len());
        page.extend_from_slice(here);
        let node = Node::Page(page);
        bytes += node.page_bytes();
        node
    });
    (Node::Split(Arc::new(nodes)), bytes)
}
