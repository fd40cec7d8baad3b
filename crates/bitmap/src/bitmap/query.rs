//! Reading: counts, searches, bytes, fields and iteration.

use std::ops::Range;

use super::Bitmap;
use crate::address::{narrow, size};
use crate::bits;
use crate::iter::SetBits;

impl Bitmap {
    /// Counts the set bits of a half-open range of offsets. Costs per node and, at the ends of the
    /// range, one container each. Source: Redis `BITCOUNT`.
    pub fn count(&self, range: Range<u64>) -> u64 {
        let range = self.clamp(&range);
        if range.is_empty() {
            return 0;
        }
        match (self.tree(), self.as_flat()) {
            (Some(tree), _) => tree.count(range),
            (_, Some(bytes)) => u64::from(bits::count(bytes, size(range.start), size(range.end))),
            (None, None) => 0,
        }
    }

    /// The first set bit of a range. Source: Redis `BITPOS` of 1.
    pub fn first_set(&self, range: Range<u64>) -> Option<u64> {
        let range = self.clamp(&range);
        match (self.tree(), self.as_flat()) {
            (Some(tree), _) if !range.is_empty() => tree.first_set(range),
            (_, Some(bytes)) => {
                bits::first(bytes, size(range.start), size(range.end), true).map(|bit| bit as u64)
            }
            _ => None,
        }
    }

    /// The first zero bit of a range. Bits past the length are zero, and the range may go up to
    /// `u64::MAX`: callers that must not see them cut the range. Source: Redis `BITPOS` of 0.
    pub fn first_clear(&self, range: Range<u64>) -> Option<u64> {
        if range.is_empty() {
            return None;
        }
        if let Some(tree) = self.tree() {
            return tree.first_clear(range);
        }
        let inside = self.clamp(&range);
        let bytes = self.as_flat().unwrap_or_default();
        let found = bits::first(bytes, size(inside.start), size(inside.end), false);
        let past = range.start.max(self.len_bits());
        found.map(|bit| bit as u64).or((past < range.end).then_some(past))
    }

    /// The last set bit.
    pub fn last_set(&self) -> Option<u64> {
        match self.tree() {
            Some(tree) => tree.last_set(),
            None => self.as_flat().and_then(bits::last_set).map(|bit| bit as u64),
        }
    }

    /// The bytes of a range, cut at the length. Source: Redis `GETRANGE`, `GET`.
    pub fn read_bytes(&self, range: Range<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        self.read_bytes_into(range, &mut out);
        out
    }

    /// Appends the bytes of a range, cut at the length.
    pub fn read_bytes_into(&self, range: Range<u64>, out: &mut Vec<u8>) {
        let end = range.end.min(self.len_bytes());
        if range.start >= end {
            return;
        }
        match self.tree() {
            Some(tree) => tree.append_bytes(range.start..end, out),
            None => {
                let bytes = self.as_flat().unwrap_or_default();
                out.extend_from_slice(&bytes[size(range.start)..size(end)]);
            }
        }
    }

    /// The unsigned big-endian number in `width` bits from `offset` on; bits past the length are
    /// zero. Source: Redis `BITFIELD GET`.
    ///
    /// # Panics
    ///
    /// If the width is not 1 to 64.
    pub fn field(&self, offset: u64, width: u32) -> u64 {
        assert!((1..=64).contains(&width), "a field of {width} bits");
        let word = self.window(offset >> 3) << (offset & 7);
        u64::try_from(word >> (128 - width)).unwrap_or(0)
    }

    /// Sixteen bytes from `byte` on, of which the first nine are read, as a big-endian number.
    pub(super) fn window(&self, byte: u64) -> u128 {
        let mut window = [0; 16];
        let end = byte.saturating_add(9).min(self.len_bytes());
        if byte < end {
            let used = size(end - byte);
            match self.tree() {
                Some(tree) => tree.read_into(byte, &mut window[..used]),
                None => {
                    let bytes = self.as_flat().unwrap_or_default();
                    window[..used].copy_from_slice(&bytes[size(byte)..size(end)]);
                }
            }
        }
        u128::from_be_bytes(window)
    }

    /// The offsets of the set bits of a range, ascending.
    ///
    /// ```
    /// # use bitroster_bitmap::Bitmap;
    /// let value = Bitmap::from_bytes(b"\x81\x40");
    /// assert_eq!(value.iter_set(1..u64::MAX).collect::<Vec<_>>(), [7, 9]);
    /// ```
    pub fn iter_set(&self, range: Range<u64>) -> impl Iterator<Item = u64> + '_ {
        let range = self.clamp(&range);
        match self.tree() {
            Some(tree) => SetBits::of_tree(tree, range),
            None => {
                let bytes = self.as_flat().unwrap_or_default();
                SetBits::of_flat(bytes, narrow(range.start)..narrow(range.end))
            }
        }
    }
}
