//! From the hash of a name to its number.
//!
//! A tree of pages by the leading bits of the hash, sixteen branches to a node; a page is a sorted
//! list of hashes and numbers. Nothing of it needs the names: a page splits by what it holds. What a
//! page holds depends on the names and their numbers alone.

use std::sync::Arc;

use crate::size::{class, reserve};

/// Rows of one page before it is split: few enough that a copy costs a microsecond, and that a place
/// guessed by the hash is found a few steps away.
const PAGE_ROWS_MAX: usize = 512;

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

#[derive(Clone, Debug)]
struct Page {
    /// Ascending.
    rows: Vec<Row>,
    /// Leading bits of the hash that all rows share.
    prefix: u32,
}

impl Page {
    const fn new(prefix: u32) -> Self {
        Self { rows: Vec::new(), prefix }
    }

    fn heap_bytes(&self) -> usize {
        class(size_of::<Self>() + 16) + class(self.rows.capacity() * size_of::<Row>())
    }

    /// The place of the first row that is not less. Hashes are spread evenly, so it is guessed.
    fn first_at_least(&self, row: Row) -> usize {
        let spread = (u64::from(hash_in(row)) << self.prefix) & u64::from(u32::MAX);
        let guess = (spread * self.rows.len() as u64) >> 32;
        let mut at = usize::try_from(guess).expect("at most the number of rows");
        while at > 0 && self.rows[at - 1] >= row {
            at -= 1;
        }
        while at < self.rows.len() && self.rows[at] < row {
            at += 1;
        }
        at
    }
}

#[derive(Clone, Debug, Default)]
enum Node {
    #[default]
    Empty,
    Page(Arc<Page>),
    Split(Arc<[Node; 16]>),
}

const fn branch(hash: u32, shift: u32) -> usize {
    (hash >> shift) as usize & 15
}

/// Bytes of the sixteen branches of a split page.
const SPLIT_BYTES: usize = class(size_of::<[Node; 16]>() + 16);

/// All rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    root: Node,
    bytes: usize,
}

impl Table {
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// The number at a hash that `is` accepts.
    pub(super) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mut node = &self.root;
        let mut shift = FIRST_SHIFT;
        let page = loop {
            match node {
                Node::Empty => return None,
                Node::Page(page) => break page,
                Node::Split(nodes) => node = &nodes[branch(hash, shift)],
            }
            shift = shift.saturating_sub(4);
        };
        let first = page.first_at_least(u64::from(hash) << 32);
        let same = page.rows[first..].iter().take_while(|row| hash_in(**row) == hash);
        same.map(|row| id_in(*row)).find(|id| is(*id))
    }

    /// Adds a row that is not there.
    pub(super) fn insert(&mut self, hash: u32, id: u32) {
        let mut node = &mut self.root;
        let mut prefix = 0;
        let page = loop {
            if let Node::Page(page) = node
                && page.rows.len() >= PAGE_ROWS_MAX
                && prefix < 32
            {
                let freed = page.heap_bytes();
                let (split, added) = split(page, FIRST_SHIFT - prefix);
                *node = split;
                self.bytes = self.bytes - freed + added;
            }
            match node {
                Node::Empty => {
                    let page = Arc::new(Page::new(prefix));
                    self.bytes += page.heap_bytes();
                    *node = Node::Page(page);
                }
                Node::Page(page) => break page,
                Node::Split(nodes) => {
                    node = &mut Arc::make_mut(nodes)[branch(hash, FIRST_SHIFT - prefix)];
                    prefix += 4;
                }
            }
        };
        let before = page.heap_bytes();
        let page = Arc::make_mut(page);
        let row = u64::from(hash) << 32 | u64::from(id);
        let at = page.first_at_least(row);
        reserve(&mut page.rows, 1);
        page.rows.insert(at, row);
        self.bytes = self.bytes - before + page.heap_bytes();
    }

    /// Heap bytes, counted anew.
    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> usize {
        fn bytes(node: &Node) -> usize {
            match node {
                Node::Empty => 0,
                Node::Page(page) => page.heap_bytes(),
                Node::Split(nodes) => SPLIT_BYTES + nodes.iter().map(bytes).sum::<usize>(),
            }
        }
        bytes(&self.root)
    }
}

/// A page as sixteen, by the four bits of the hash at `shift`; and their bytes.
fn split(page: &Page, shift: u32) -> (Node, usize) {
    let mut rest = &page.rows[..];
    let mut bytes = SPLIT_BYTES;
    let nodes = std::array::from_fn(|n| {
        let len = rest.partition_point(|row| branch(hash_in(*row), shift) <= n);
        let (here, later) = rest.split_at(len);
        rest = later;
        if here.is_empty() {
            return Node::Empty;
        }
        let mut page = Page::new(page.prefix + 4);
        reserve(&mut page.rows, here.len());
        page.rows.extend_from_slice(here);
        bytes += page.heap_bytes();
        Node::Page(Arc::new(page))
    });
    (Node::Split(Arc::new(nodes)), bytes)
}
