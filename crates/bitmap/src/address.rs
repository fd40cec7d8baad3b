//! Where a bit lies: its container, its node, and the lossless narrowing of such numbers.

use std::ops::Range;

/// Bits of one container.
pub(crate) const CHUNK_BITS: u32 = 1 << 16;
/// Bytes of one container when dense.
pub(crate) const CHUNK_BYTES: usize = 8192;
/// Containers of one node.
pub(crate) const NODE_CHUNKS: u32 = 64;
/// Bits of one node.
pub(crate) const NODE_BITS: u32 = CHUNK_BITS * NODE_CHUNKS;

/// The position of `offset` in its container.
#[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are what is asked for")]
pub(crate) fn low_of(offset: u64) -> u16 {
    offset as u16
}

/// The node that holds `offset`, which is below [`BITMAP_BITS_MAX`] wherever bits are written.
///
/// [`BITMAP_BITS_MAX`]: bitroster_types::limits::BITMAP_BITS_MAX
pub(crate) fn node_of(offset: u64) -> u32 {
    u32::try_from(offset >> 22).unwrap_or(u32::MAX)
}

/// The container of `offset` within its node, below [`NODE_CHUNKS`].
pub(crate) fn slot_of(offset: u64) -> u32 {
    narrow((offset >> 16) & u64::from(NODE_CHUNKS - 1))
}

/// The first bit of a node.
pub(crate) fn node_start(index: u32) -> u64 {
    u64::from(index) << 22
}

/// A number below 2^32 by construction.
#[expect(clippy::cast_possible_truncation, reason = "callers keep it below 2^32")]
pub(crate) fn narrow(value: u64) -> u32 {
    debug_assert!(value <= u64::from(u32::MAX));
    value as u32
}

/// A number below 2^16 by construction.
#[expect(clippy::cast_possible_truncation, reason = "callers keep it below 2^16")]
pub(crate) fn narrow16(value: u32) -> u16 {
    debug_assert!(value <= u32::from(u16::MAX));
    value as u16
}

/// A number of bytes or positions that fits in memory by construction.
pub(crate) fn size(value: u64) -> usize {
    usize::try_from(value).expect("a size in memory fits in usize")
}

/// A `usize` as the 32-bit number that it is by construction.
pub(crate) fn narrow_size(value: usize) -> u32 {
    narrow(value as u64)
}

/// `value` rounded up to the allocator's size class (jemalloc's: four steps to each doubling).
pub(crate) fn size_class(value: usize) -> usize {
    match value {
        0 => 0,
        1..=8 => 8,
        9..=128 => value.next_multiple_of(16),
        _ => value.next_multiple_of(1 << ((value - 1).ilog2() - 2)),
    }
}

/// Cuts a range of bits at the borders of nodes: `(node, lo, hi)` with `lo < hi <= NODE_BITS`.
pub(crate) fn node_spans(range: Range<u64>) -> impl Iterator<Item = (u32, u32, u32)> {
    let first = range.start >> 22;
    let end = if range.is_empty() { first } else { ((range.end - 1) >> 22) + 1 };
    (first..end).map(move |node| {
        let start = node << 22;
        let lo = range.start.saturating_sub(start);
        let hi = (range.end - start).min(u64::from(NODE_BITS));
        (narrow(node), narrow(lo), narrow(hi))
    })
}

/// Cuts a range of a node's bits at the borders of containers: `(slot, lo, hi)` with
/// `lo < hi <= CHUNK_BITS`.
pub(crate) fn slot_spans(lo: u32, hi: u32) -> impl Iterator<Item = (u32, u32, u32)> {
    let end = if lo < hi { ((hi - 1) >> 16) + 1 } else { 0 };
    ((lo >> 16)..end).map(move |slot| {
        let start = slot << 16;
        (slot, lo.saturating_sub(start), (hi - start).min(CHUNK_BITS))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_those_of_jemalloc() {
        let classes = [(1, 8), (9, 16), (17, 32), (129, 160), (161, 192), (257, 320), (8192, 8192)];
        for (value, class) in classes {
            assert_eq!(size_class(value), class, "{value}");
        }
        assert_eq!(size_class(8208), 10240);
    }

    #[test]
    fn spans_cover_a_range_once_and_in_order() {
        let spans: Vec<_> = slot_spans(65_535, 131_073).collect();
        assert_eq!(spans, [(0, 65_535, 65_536), (1, 0, 65_536), (2, 0, 1)]);
        assert_eq!(node_spans(5..5).count(), 0);
        let end = u64::from(NODE_BITS);
        assert_eq!(
            node_spans(end - 1..end + 1).collect::<Vec<_>>(),
            [(0, NODE_BITS - 1, NODE_BITS), (1, 0, 1)]
        );
    }
}
