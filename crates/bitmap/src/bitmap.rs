//! [`Bitmap`]: the public face, and the choice between flat bytes and a tree.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bitroster_types::limits::SMALL_VALUE_BYTES_MAX;

use crate::address::{narrow_size, size, size_class};
use crate::bits;
use crate::container::Container;
use crate::tree::Tree;

mod field;
mod merge;
mod query;
mod range;

pub use merge::MergeOp;

/// Bytes that fit in place of a pointer.
const INLINE_BYTES_MAX: usize = 22;

/// A byte string seen as bits: bit 0 is the most significant bit of byte 0, as in Redis.
///
/// A value has a length in bytes beside its bits; a bit past the length reads as zero. Up to
/// [`SMALL_VALUE_BYTES_MAX`] bytes are kept as they are, and 22 of them in the struct itself; a
/// longer value costs memory for what is set, not for what lies between.
///
/// `clone` is O(1) and shares everything; a write to a clone copies the container that it changes
/// and the two lists on the way to it. Equality is by length and bits, whatever the representation.
///
/// Lengths go up to [`BITMAP_BITS_MAX`] bits. Operations that would extend a value beyond it panic;
/// callers check offsets from outside before.
///
/// [`BITMAP_BITS_MAX`]: bitroster_types::limits::BITMAP_BITS_MAX
///
/// # Example
///
/// ```
/// use bitroster_bitmap::{BitOp, Bitmap};
///
/// let mut monday = Bitmap::new();
/// assert!(!monday.set(4_294_967_295, true));
/// assert_eq!(monday.len_bytes(), 512 << 20);
/// assert!(monday.heap_bytes() < 400);
///
/// let mut tuesday = monday.clone();
/// tuesday.set(7, true);
/// assert_eq!(Bitmap::combine_count(BitOp::And, &[&monday, &tuesday], 0..u64::MAX), 1);
/// ```
#[derive(Clone)]
pub struct Bitmap {
    repr: Repr,
}

/// Up to [`SMALL_VALUE_BYTES_MAX`] bytes are flat, always; beyond, a tree, always.
#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Heap(Box<[u8]>),
    Tree(Arc<Tree>),
}

const _: () = assert!(size_of::<Bitmap>() == 24);

impl Default for Bitmap {
    fn default() -> Self {
        Self::new()
    }
}

impl Bitmap {
    /// The value of no bytes. Does not allocate.
    pub const fn new() -> Self {
        Self { repr: Repr::Inline { len: 0, bytes: [0; INLINE_BYTES_MAX] } }
    }

    /// The value of these bytes, as of Redis `SET`. Runs at about the speed of memory.
    ///
    /// ```
    /// # use bitroster_bitmap::Bitmap;
    /// let value = Bitmap::from_bytes(b"\x80\x01");
    /// assert!(value.get(0) && value.get(15));
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Self {
        if bytes.len() <= SMALL_VALUE_BYTES_MAX {
            Self::from_flat(bytes)
        } else {
            Self { repr: Repr::Tree(Arc::new(Tree::from_bytes(bytes))) }
        }
    }

    /// The flat value of at most [`SMALL_VALUE_BYTES_MAX`] bytes.
    fn from_flat(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE_BYTES_MAX {
            return Self { repr: Repr::Heap(bytes.into()) };
        }
        let mut inline = [0; INLINE_BYTES_MAX];
        inline[..bytes.len()].copy_from_slice(bytes);
        let len = u8::try_from(bytes.len()).expect("at most 22");
        Self { repr: Repr::Inline { len, bytes: inline } }
    }

    /// The value of a tree, flat where it is short.
    pub(crate) fn from_tree(tree: Tree) -> Self {
        if tree.len() > SMALL_VALUE_BYTES_MAX as u64 {
            return Self { repr: Repr::Tree(Arc::new(tree)) };
        }
        let mut bytes = Vec::new();
        tree.append_bytes(0..tree.len(), &mut bytes);
        Self::from_flat(&bytes)
    }

    /// The value as a tree: shared, or built of the flat bytes.
    pub(crate) fn as_tree(&self) -> Arc<Tree> {
        match &self.repr {
            Repr::Inline { len, bytes } => Arc::new(Tree::from_bytes(&bytes[..usize::from(*len)])),
            Repr::Heap(bytes) => Arc::new(Tree::from_bytes(bytes)),
            Repr::Tree(tree) => Arc::clone(tree),
        }
    }

    /// The tree where it is one.
    pub(crate) fn tree(&self) -> Option<&Tree> {
        match &self.repr {
            Repr::Inline { .. } | Repr::Heap(_) => None,
            Repr::Tree(tree) => Some(tree),
        }
    }

    /// The flat bytes to write, or the tree, no longer shared.
    fn parts_mut(&mut self) -> Result<&mut [u8], &mut Tree> {
        match &mut self.repr {
            Repr::Inline { len, bytes } => Ok(&mut bytes[..usize::from(*len)]),
            Repr::Heap(bytes) => Ok(bytes),
            Repr::Tree(tree) => Err(Arc::make_mut(tree)),
        }
    }

    /// `len_bytes` zero bytes. Costs the same for any length.
    ///
    /// # Panics
    ///
    /// If the length is beyond the limit.
    pub fn zeros(len_bytes: u64) -> Self {
        Self::from_tree(Tree::zeros(len_bytes))
    }

    /// `len_bytes` bytes of ones. Allocates 16 bytes for every 512 KiB of length.
    ///
    /// # Panics
    ///
    /// If the length is beyond the limit.
    pub fn ones(len_bytes: u64) -> Self {
        Self::from_tree(Tree::ones(len_bytes))
    }

    /// The length in bytes, as of Redis `STRLEN`.
    #[inline]
    pub fn len_bytes(&self) -> u64 {
        match &self.repr {
            Repr::Inline { len, .. } => u64::from(*len),
            Repr::Heap(bytes) => bytes.len() as u64,
            Repr::Tree(tree) => tree.len(),
        }
    }

    /// The length in bits.
    fn len_bits(&self) -> u64 {
        self.len_bytes() * 8
    }

    /// Whether the length is 0. A value of zero bits with a length is not empty.
    pub fn is_empty(&self) -> bool {
        self.len_bytes() == 0
    }

    /// The bytes where the value is flat, which it is up to [`SMALL_VALUE_BYTES_MAX`] bytes.
    pub fn as_flat(&self) -> Option<&[u8]> {
        match &self.repr {
            Repr::Inline { len, bytes } => Some(&bytes[..usize::from(*len)]),
            Repr::Heap(bytes) => Some(bytes),
            Repr::Tree(_) => None,
        }
    }

    /// Makes the value at least `len_bytes` long; new bytes are zero. Never cuts.
    ///
    /// # Panics
    ///
    /// If the length is beyond the limit.
    pub fn extend_len(&mut self, len_bytes: u64) {
        if len_bytes <= self.len_bytes() {
            return;
        }
        if len_bytes <= SMALL_VALUE_BYTES_MAX as u64 {
            let mut grown = [0; SMALL_VALUE_BYTES_MAX];
            let old = self.as_flat().unwrap_or_default();
            grown[..old.len()].copy_from_slice(old);
            *self = Self::from_flat(&grown[..size(len_bytes)]);
            return;
        }
        if let Some(bytes) = self.as_flat() {
            self.repr = Repr::Tree(Arc::new(Tree::from_bytes(bytes)));
        }
        if let Err(tree) = self.parts_mut() {
            tree.extend(len_bytes);
        }
    }

    /// Cuts the value to `len_bytes`; a shorter value stays as it is.
    pub fn truncate(&mut self, len_bytes: u64) {
        if len_bytes >= self.len_bytes() {
            return;
        }
        match self.parts_mut() {
            Ok(bytes) => *self = Self::from_flat(&bytes[..size(len_bytes)]),
            Err(tree) => {
                tree.truncate(len_bytes);
                if len_bytes <= SMALL_VALUE_BYTES_MAX as u64 {
                    *self = Self::from_tree(std::mem::take(tree));
                }
            }
        }
    }

    /// The bit at `offset`; zero past the length. Source: Redis `GETBIT`.
    #[inline]
    pub fn get(&self, offset: u64) -> bool {
        match &self.repr {
            Repr::Tree(tree) => tree.get(offset),
            Repr::Inline { .. } | Repr::Heap(_) => {
                offset < self.len_bits()
                    && self.as_flat().is_some_and(|bytes| bits::get(bytes, size(offset)))
            }
        }
    }

    /// Asks the CPU to fetch what a write of the bit at `offset` will touch.
    pub fn fetch(&self, offset: u64) {
        if let Repr::Tree(tree) = &self.repr {
            tree.fetch(offset);
        }
    }

    /// Asks the CPU to fetch what reads of the bits at `offsets` will touch: side by side, as far
    /// as each needs one thing to find the next.
    pub fn fetch_all(&self, offsets: impl Iterator<Item = u64> + Clone) {
        if let Repr::Tree(tree) = &self.repr {
            offsets.clone().for_each(|offset| tree.fetch_container(offset));
            offsets.clone().for_each(|offset| tree.fetch_head(offset));
            offsets.for_each(|offset| tree.fetch(offset));
        }
    }

    /// Writes the bit at `offset` and returns the old one. Extends the length to cover the bit,
    /// even to write a zero. Source: Redis `SETBIT`.
    ///
    /// # Panics
    ///
    /// If the offset is beyond the limit.
    pub fn set(&mut self, offset: u64, value: bool) -> bool {
        if offset >> 3 >= self.len_bytes() {
            self.extend_len((offset >> 3) + 1);
        }
        if let Repr::Tree(tree) = &mut self.repr {
            if let Some(own) = Arc::get_mut(tree) {
                return own.set(offset, value);
            }
            let old = tree.get(offset);
            if old != value {
                Arc::make_mut(tree).toggle(offset, value);
            }
            return old;
        }
        self.parts_mut().is_ok_and(|bytes| bits::set(bytes, size(offset), value))
    }

    /// Writes bits, each an offset and its value, in order, and tells each one's old bit: as
    /// [`set`](Self::set) does, but faster where they are many.
    ///
    /// # Panics
    ///
    /// If an offset is beyond the limit.
    ///
    /// ```
    /// # use bitroster_bitmap::Bitmap;
    /// let (mut value, mut old) = (Bitmap::new(), Vec::new());
    /// value.set_all(&[(9, true), (9, true), (9, false)], |bit| old.push(bit));
    /// assert_eq!(old, [false, true, true]);
    /// ```
    pub fn set_all(&mut self, bits: &[(u64, bool)], mut told: impl FnMut(bool)) {
        let mut left = bits;
        while let [(offset, value), after @ ..] = left {
            if let Repr::Tree(tree) = &mut self.repr
                && let Some(tree) = Arc::get_mut(tree)
            {
                let last = left.iter().map(|(offset, _)| *offset).max().unwrap_or(*offset);
                tree.extend((last >> 3) + 1);
                return tree.set_all(left, told);
            }
            told(self.set(*offset, *value));
            left = after;
        }
    }

    /// The number of set bits. O(1) for a value that is not flat.
    pub fn cardinality(&self) -> u64 {
        match &self.repr {
            Repr::Tree(tree) => tree.card(),
            Repr::Inline { .. } | Repr::Heap(_) => {
                let bytes = self.as_flat().unwrap_or_default();
                u64::from(bits::count(bytes, 0, bytes.len() * 8))
            }
        }
    }

    /// Gives every container its smallest form and returns spare room. Costs a pass over all bits,
    /// and shares nothing with earlier clones afterwards.
    pub fn optimize(&mut self) {
        if let Err(tree) = self.parts_mut() {
            tree.optimize();
        }
    }

    /// Bytes allocated for the value beside the struct itself, in the allocator's size classes.
    /// What is shared with clones counts in each. O(1).
    pub fn heap_bytes(&self) -> usize {
        match &self.repr {
            Repr::Inline { .. } => 0,
            Repr::Heap(bytes) => size_class(bytes.len()),
            Repr::Tree(tree) => tree.heap(),
        }
    }

    /// Counts the containers by form. Costs per container.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for (_, container) in self.tree().into_iter().flat_map(|tree| tree.containers(0)) {
            let form = match container {
                Container::Tiny { .. } | Container::Array(_) => &mut stats.arrays,
                Container::Dense { .. } => &mut stats.dense,
                Container::Runs { .. } => &mut stats.runs,
                Container::Full => &mut stats.full,
            };
            form.count += 1;
            form.bytes += container.heap() as usize;
        }
        stats
    }

    /// Checks every kept sum; for this crate's tests.
    #[doc(hidden)]
    pub fn check(&self) {
        if let Some(tree) = self.tree() {
            assert!(tree.len() > SMALL_VALUE_BYTES_MAX as u64);
            tree.check();
        }
        let bytes = self.as_flat().map_or(0, |bytes| narrow_size(bytes.len()));
        assert!(bytes as usize <= SMALL_VALUE_BYTES_MAX);
    }
}

/// Containers of a value by form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sorted lists of positions; up to 7 positions need no allocation.
    pub arrays: Form,
    /// Plain blocks of 8 KiB.
    pub dense: Form,
    /// Lists of runs.
    pub runs: Form,
    /// All ones.
    pub full: Form,
}

/// How many containers have a form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The number of containers.
    pub count: usize,
    /// Allocated bytes of their payloads.
    pub bytes: usize,
}

impl PartialEq for Bitmap {
    fn eq(&self, other: &Self) -> bool {
        match (&self.repr, &other.repr) {
            (Repr::Tree(a), Repr::Tree(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => match (self.as_flat(), other.as_flat()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }
}

impl Eq for Bitmap {}

impl fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bitmap")
            .field("len_bytes", &self.len_bytes())
            .field("cardinality", &self.cardinality())
            .finish_non_exhaustive()
    }
}

impl Bitmap {
    /// The part of `range` within the length.
    fn clamp(&self, range: &Range<u64>) -> Range<u64> {
        let bits = self.len_bits();
        let start = range.start.min(bits);
        start..range.end.clamp(start, bits)
    }
}
