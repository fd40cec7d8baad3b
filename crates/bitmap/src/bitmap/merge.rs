//! Writing many bits at once: a set joined into a value.

use super::Bitmap;
use crate::address::size;

/// What [`Bitmap::merge`] does with the bits of its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MergeOp {
    /// Sets them.
    Or,
    /// Clears them.
    AndNot,
    /// Turns them over.
    Xor,
}

impl MergeOp {
    /// Joins one byte.
    fn byte(self, own: u8, set: u8) -> u8 {
        match self {
            Self::Or => own | set,
            Self::AndNot => own & !set,
            Self::Xor => own ^ set,
        }
    }
}

impl Bitmap {
    /// Joins a set into the value and returns how many bits changed.
    ///
    /// [`MergeOp::Or`] and [`MergeOp::Xor`] make the value at least as long as the set;
    /// [`MergeOp::AndNot`] never lengthens it. Costs per container of the set; shares the set's
    /// containers and nodes where they are the result, and copies nothing where nothing changes.
    ///
    /// ```
    /// use bitroster_bitmap::{Bitmap, MergeOp};
    ///
    /// let mut value = Bitmap::from_bytes(b"\xF0");
    /// assert_eq!(value.merge(MergeOp::Or, &Bitmap::from_bytes(b"\x3C\x01")), 3);
    /// assert_eq!(value.read_bytes(0..2), b"\xFC\x01");
    /// ```
    pub fn merge(&mut self, op: MergeOp, set: &Self) -> u64 {
        if op != MergeOp::AndNot {
            if self.is_empty() {
                *self = set.clone();
                return self.cardinality();
            }
            self.extend_len(set.len_bytes());
        }
        match self.parts_mut() {
            Ok(own) => {
                let bytes = set.read_bytes(0..own.len() as u64);
                own.iter_mut().zip(bytes).fold(0, |changed, (own, byte)| {
                    let old = std::mem::replace(own, op.byte(*own, byte));
                    changed + u64::from((old ^ *own).count_ones())
                })
            }
            Err(_) if set.cardinality() == 0 => 0,
            Err(tree) => match set.tree() {
                Some(other) => tree.merge(op, other),
                None => tree.merge(op, &set.as_tree()),
            },
        }
    }

    /// The number of aligned ranges of 2^`width_bits` bits that have a bit set. Costs per node or
    /// container.
    ///
    /// # Panics
    ///
    /// If the ranges are shorter than a container of 2^16 bits, or longer than 2^62.
    pub fn segments(&self, width_bits: u8) -> u64 {
        assert!((16..=62).contains(&width_bits), "segments of 2^{width_bits} bits");
        let Some(tree) = self.tree() else { return u64::from(self.cardinality() > 0) };
        let mut last = None;
        let mut count = 0;
        for (chunk, _) in tree.containers(0) {
            let segment = chunk >> (width_bits - 16);
            count += u64::from(last != Some(segment));
            last = Some(segment);
        }
        count
    }

    /// The value whose set bits are `offsets`, in any order and repeated or not, just long enough
    /// for the last one. Allocates for the offsets where they are not ascending.
    ///
    /// ```
    /// # use bitroster_bitmap::Bitmap;
    /// assert_eq!(Bitmap::from_offsets(&[9, 0, 9]).read_bytes(0..9), b"\x80\x40");
    /// ```
    ///
    /// # Panics
    ///
    /// If an offset is beyond the limit.
    pub fn from_offsets(offsets: &[u64]) -> Self {
        if offsets.is_sorted() {
            return Self::from_ascending(offsets);
        }
        let mut sorted = offsets.to_vec();
        sorted.sort_unstable();
        Self::from_ascending(&sorted)
    }

    /// The value of ascending offsets, repeated or not.
    fn from_ascending(offsets: &[u64]) -> Self {
        let Some(last) = offsets.last() else { return Self::new() };
        let len = last / 8 + 1;
        if len <= bitroster_types::limits::SMALL_VALUE_BYTES_MAX as u64 {
            let mut bytes = vec![0; size(len)];
            offsets.iter().for_each(|offset| bytes[size(offset >> 3)] |= 0x80 >> (offset & 7));
            return Self::from_flat(&bytes);
        }
        Self::from_tree(crate::tree::Tree::from_ascending(offsets, len))
    }
}
