//! The names of a space in order of their numbers: blocks that only grow.

use std::sync::Arc;

use bitroster_types::limits::NAME_BYTES_MAX;

use super::name::Name;
use crate::size::{class, reserve};

/// Most bytes of one block. A write after a snapshot copies one of them.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;

/// A block notes the place of every so manieth name; between them it is read name by name.
const MARK_NAMES: u32 = 8;

const _: () = assert!(NAME_BYTES_MAX + 3 <= BLOCK_BYTES);

#[derive(Clone, Debug, Default)]
struct Block {
    /// Kept names, back to back.
    bytes: Vec<u8>,
    /// Where every [`MARK_NAMES`]th name begins.
    marks: Vec<u16>,
}

impl Block {
    fn heap_bytes(&self) -> usize {
        class(size_of::<Self>() + 16)
            + class(self.bytes.capacity())
            + class(self.marks.capacity() * size_of::<u16>())
    }
}

/// All names of a space.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// The number of each block's first name.
    starts: Vec<u32>,
    blocks: Vec<Arc<Block>>,
    count: u64,
    /// Bytes of all kept names.
    kept_bytes: u64,
    /// Sum of the blocks' heap bytes.
    block_bytes: usize,
}

impl Names {
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// Bytes of all kept names: the same for the same names, whatever room there is beside them.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.block_bytes
            + class(self.starts.capacity() * size_of::<u32>())
            + class(self.blocks.capacity() * size_of::<Arc<Block>>())
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().map(|block| &block.bytes[..])
    }

    /// Adds a name and answers its number.
    ///
    /// # Panics
    ///
    /// After 2^32 names.
    pub(super) fn push(&mut self, name: &Name<'_>) -> u32 {
        let id = u32::try_from(self.count).expect("a full space was refused before");
        let need = name.kept_bytes();
        if self.blocks.last().is_none_or(|block| block.bytes.len() + need > BLOCK_BYTES) {
            reserve(&mut self.starts, 1);
            reserve(&mut self.blocks, 1);
            let block = Arc::<Block>::default();
            self.block_bytes += block.heap_bytes();
            self.starts.push(id);
            self.blocks.push(block);
        }
        let block = self.blocks.last_mut().expect("made above");
        let before = block.heap_bytes();
        let block = Arc::make_mut(block);
        let start = *self.starts.last().expect("made above");
        if (id - start).is_multiple_of(MARK_NAMES) {
            let mark = u16::try_from(block.bytes.len()).expect("a block is not longer");
            reserve(&mut block.marks, 1);
            block.marks.push(mark);
        }
        let len = block.bytes.len() + need;
        if len > block.bytes.capacity() {
            let room = class(len + len / 8).min(BLOCK_BYTES);
            block.bytes.reserve_exact(room - block.bytes.len());
        }
        name.push(&mut block.bytes);
        self.block_bytes = self.block_bytes - before + block.heap_bytes();
        self.count += 1;
        self.kept_bytes += need as u64;
        id
    }

    /// Costs a search among the blocks and up to seven names to skip.
    pub(super) fn get(&self, id: u32) -> Option<Name<'_>> {
        if u64::from(id) >= self.count {
            return None;
        }
        let at = self.starts.partition_point(|start| *start <= id) - 1;
        let (block, number) = (&self.blocks[at], id - self.starts[at]);
        let mut rest = &block.bytes[usize::from(block.marks[(number / MARK_NAMES) as usize])..];
        let mut skipped = 0;
        loop {
            let (name, len) = Name::read(rest).expect("as push has written it");
            if skipped == number % MARK_NAMES {
                return Some(name);
            }
            rest = &rest[len..];
            skipped += 1;
        }
    }

    /// Whether a number's name is this one.
    pub(super) fn is(&self, id: u32, name: &Name<'_>) -> bool {
        self.get(id).is_some_and(|kept| kept == *name)
    }
}

/// Bytes that no names were kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage;

/// The names that are kept in a block.
///
/// Answers [`Damage`] once, at the end, where the bytes end within a name, and for each name that
/// is too long or not in the one form that it has.
pub(crate) fn parse(mut block: &[u8]) -> impl Iterator<Item = Result<Name<'_>, Damage>> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let Some((name, len)) = Name::read(block) else {
            block = &[];
            return Some(Err(Damage));
        };
        block = &block[len..];
        let is_right = match name {
            Name::Uuid(_) => true,
            Name::Plain(text) => {
                text.len() <= NAME_BYTES_MAX && name.kept_bytes() == len && Name::of(text) == name
            }
        };
        Some(if is_right { Ok(name) } else { Err(Damage) })
    })
}
