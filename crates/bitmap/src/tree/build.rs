//! Building a tree from containers in ascending order.

use std::sync::Arc;

use super::{Entry, Tree};
use crate::address::{CHUNK_BYTES, low_of, narrow};
use crate::container::Container;
use crate::node::Node;

/// Takes containers and whole nodes in ascending order.
#[derive(Default)]
pub(crate) struct Builder {
    nodes: Vec<Entry>,
    open: Option<(u32, Node)>,
}

impl Builder {
    /// Appends the container of a chunk beyond all before; an empty one is dropped.
    pub(crate) fn push(&mut self, chunk: u64, container: Container) {
        if container.card() == 0 {
            return;
        }
        let index = narrow(chunk >> 6);
        if self.open.as_ref().is_some_and(|(open, _)| *open != index) {
            self.close();
        }
        let (_, node) = self.open.get_or_insert_with(|| (index, Node::default()));
        node.push(narrow(chunk & 63), container);
    }

    /// Appends a whole node beyond all before; an empty one is dropped.
    pub(crate) fn push_node(&mut self, index: u32, node: Arc<Node>) {
        self.close();
        if node.card() > 0 {
            self.nodes.push(Entry { index, node });
        }
    }

    fn close(&mut self) {
        if let Some((index, mut node)) = self.open.take() {
            node.shrink();
            let node = if node.is_full() { Node::full() } else { Arc::new(node) };
            self.nodes.push(Entry { index, node });
        }
    }

    /// The tree of `len` bytes.
    pub(crate) fn finish(mut self, len: u64) -> Tree {
        self.close();
        let mut tree = Tree::zeros(len);
        self.nodes.shrink_to_fit();
        tree.nodes = self.nodes;
        tree.recount();
        tree
    }
}

impl Tree {
    /// The tree of a byte string. Runs at the speed of memory for dense input.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut builder = Builder::default();
        for (chunk, bytes) in bytes.chunks(CHUNK_BYTES).enumerate() {
            builder.push(chunk as u64, Container::from_bytes(bytes));
        }
        builder.finish(bytes.len() as u64)
    }

    /// The tree of ascending offsets, repeated or not, below `len` bytes.
    pub(crate) fn from_ascending(offsets: &[u64], len: u64) -> Self {
        let mut builder = Builder::default();
        let mut values = Vec::new();
        for chunk in offsets.chunk_by(|a, b| a >> 16 == b >> 16) {
            values.clear();
            values.extend(chunk.iter().map(|offset| low_of(*offset)));
            values.dedup();
            builder.push(chunk[0] >> 16, Container::from_ascending(&values));
        }
        builder.finish(len)
    }

    /// All ones.
    pub(crate) fn ones(len: u64) -> Self {
        let mut tree = Self::zeros(len);
        tree.fill(0..len * 8, true);
        tree
    }
}
