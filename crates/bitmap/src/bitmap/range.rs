//! Writing ranges, bytes and fields; cutting, merging and combining values.

use std::ops::Range;

use super::{Bitmap, MergeOp};
use crate::address::size;
use crate::combine::{self, BitOp};
use crate::tree::Tree;
use crate::{address, bits};

impl Bitmap {
    /// Sets or clears a range of offsets. Setting extends the length to cover the range; clearing
    /// does not. Costs per node, and one container at each end.
    ///
    /// # Panics
    ///
    /// If setting goes beyond the limit.
    pub fn fill(&mut self, range: Range<u64>, value: bool) {
        if range.is_empty() {
            return;
        }
        if value {
            self.extend_len(range.end.div_ceil(8));
        }
        let range = self.clamp(&range);
        match self.parts_mut() {
            Ok(bytes) => bits::fill(bytes, size(range.start), size(range.end), value),
            Err(tree) if !range.is_empty() => tree.fill(range, value),
            Err(_) => {}
        }
    }

    /// Inverts a range of offsets and extends the length to cover it.
    ///
    /// # Panics
    ///
    /// If the range goes beyond the limit.
    pub fn flip(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.extend_len(range.end.div_ceil(8));
        match self.parts_mut() {
            Ok(bytes) => bits::flip(bytes, size(range.start), size(range.end)),
            Err(tree) => tree.flip(range),
        }
    }

    /// Overwrites the bytes from `at_byte` on. Extends the length to cover them; a gap is zero.
    /// No bytes change nothing. Source: Redis `SETRANGE`, `APPEND`.
    ///
    /// # Panics
    ///
    /// If the bytes go beyond the limit.
    pub fn write_bytes(&mut self, at_byte: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.extend_len(at_byte.saturating_add(bytes.len() as u64));
        match self.parts_mut() {
            Ok(own) => own[size(at_byte)..][..bytes.len()].copy_from_slice(bytes),
            Err(tree) => tree.write_bytes(at_byte, bytes),
        }
    }

    /// Writes the low `width` bits of `value`, most significant first, from `offset` on. Extends
    /// the length to cover them. Source: Redis `BITFIELD SET`.
    ///
    /// # Panics
    ///
    /// If the width is not 1 to 64, or the field goes beyond the limit.
    pub fn set_field(&mut self, offset: u64, width: u32, value: u64) {
        assert!((1..=64).contains(&width), "a field of {width} bits");
        let inner = address::narrow(offset & 7);
        let shift = 128 - inner - width;
        let mask = (u128::MAX >> (128 - width)) << shift;
        let window = (self.window(offset >> 3) & !mask) | ((u128::from(value) << shift) & mask);
        let used = (inner + width).div_ceil(8) as usize;
        self.write_bytes(offset >> 3, &window.to_be_bytes()[..used]);
    }

    /// The bits of a range, the rest zero, with the same length. Shares what lies within.
    pub fn restrict(&self, range: Range<u64>) -> Self {
        let range = self.clamp(&range);
        if let Some(tree) = self.tree() {
            if range == (0..self.len_bits()) {
                return self.clone();
            }
            let kept =
                if range.is_empty() { Tree::zeros(tree.len()) } else { tree.restrict(range) };
            return Self::from_tree(kept);
        }
        let mut kept = self.clone();
        if let Ok(bytes) = kept.parts_mut() {
            bits::keep(bytes, size(range.start), size(range.end));
        }
        kept
    }

    /// The aligned pieces of `chunk_bits` whose first offset `keep` accepts, with the same length.
    /// Shares all of them. This divides a value by segments over groups.
    ///
    /// # Panics
    ///
    /// If `chunk_bits` is not a power of two of at least 2^16.
    pub fn restrict_to(&self, keep: impl Fn(u64) -> bool, chunk_bits: u64) -> Self {
        assert!(
            chunk_bits.is_power_of_two() && chunk_bits >= 1 << 16,
            "pieces of {chunk_bits} bits"
        );
        match self.tree() {
            Some(tree) => Self::from_tree(tree.select(keep, chunk_bits)),
            None if keep(0) => self.clone(),
            None => Self::zeros(self.len_bytes()),
        }
    }

    /// Adds the bits of `other`; the length becomes that of the longer one. Shares what this value
    /// lacks, so that gathering disjoint parts costs per node or container. Right for overlapping
    /// values too.
    pub fn merge_disjoint(&mut self, other: &Self) {
        self.merge(MergeOp::Or, other);
    }

    /// Joins the operands. The result is as long as the longest one; an absent key is an empty
    /// bitmap, and no operands give one. Costs per container that can be set in the result; shares
    /// containers of operands where they are the result. Source: Redis `BITOP`.
    ///
    /// ```
    /// use bitroster_bitmap::{BitOp, Bitmap};
    ///
    /// let (a, b) = (Bitmap::from_bytes(b"\x0F\xFF"), Bitmap::from_bytes(b"\x3C"));
    /// assert_eq!(Bitmap::combine(BitOp::And, &[&a, &b]).read_bytes(0..2), b"\x0C\x00");
    /// ```
    ///
    /// # Panics
    ///
    /// If [`BitOp::Not`] has more or less than one operand.
    pub fn combine(op: BitOp, operands: &[&Self]) -> Self {
        combine::build(op, operands, 0..u64::MAX)
    }

    /// As [`combine`](Self::combine), but only the bits in `range` are computed; the rest are zero.
    /// The length is the same, so that slices can be merged by
    /// [`merge_disjoint`](Self::merge_disjoint). Slices aligned to 2^22 bits cost least.
    ///
    /// # Panics
    ///
    /// As [`combine`](Self::combine).
    pub fn combine_range(op: BitOp, operands: &[&Self], range: Range<u64>) -> Self {
        combine::build(op, operands, range)
    }

    /// Counts the bits in `range` of what [`combine`](Self::combine) would give, without building
    /// it.
    ///
    /// # Panics
    ///
    /// As [`combine`](Self::combine).
    pub fn combine_count(op: BitOp, operands: &[&Self], range: Range<u64>) -> u64 {
        combine::count(op, operands, range)
    }
}
