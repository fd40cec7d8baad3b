//! Groups, slots, segments, versions and log positions.

use std::fmt;

use crate::limits::{SEGMENT_WIDTH_BITS_MAX, SEGMENT_WIDTH_BITS_MIN, SLOTS};

/// A shard group's number, unique in a cluster and never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u16);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl GroupId {
    /// The meta group: it keeps the cluster's state and owns no slots. Data groups count from 1.
    pub const META: Self = Self(0);
}

/// A cluster's number, drawn when it is founded. Nothing of one cluster is taken by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A node that keeps data: its number in its cluster, from 1, never given twice. A node whose disk
/// was lost comes back under a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A replica: its number in its cluster, from 1, new for every replica ever made, so that one that
/// forgot its votes is never taken for the one that cast them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A router's session in one group, under which its batches are numbered. Drawn by the group's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A slot: the unit of ownership and of movement. Always below [`SLOTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, or `None` at or past [`SLOTS`].
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOTS { Some(Self(number)) } else { None }
    }

    /// The slot that `hash` falls into: `hash mod 16384`.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 2^14")]
    pub const fn of_hash(hash: u64) -> Self {
        Self((hash % SLOTS as u64) as u16)
    }

    /// The slot's number, 0 to 16383.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The slot's number as an index into a table of [`SLOTS`] rows.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The width of a cluster's segments, as a power of two.
///
/// Fixed when a cluster is created; between 2^16 and 2^26 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentWidth(u8);

impl SegmentWidth {
    /// 2^20 bits: 128 KiB of dense bitmap.
    pub const DEFAULT: Self = Self(20);

    /// The width of 2^`log2` bits, or `None` outside 16 to 26.
    pub const fn from_log2(log2: u8) -> Option<Self> {
        if log2 >= SEGMENT_WIDTH_BITS_MIN && log2 <= SEGMENT_WIDTH_BITS_MAX {
            Some(Self(log2))
        } else {
            None
        }
    }

    /// The exponent, 16 to 26.
    pub const fn log2(self) -> u8 {
        self.0
    }

    /// The width in bits.
    pub const fn bits(self) -> u64 {
        1 << self.0
    }

    /// The width in bytes.
    pub const fn bytes(self) -> u64 {
        1 << (self.0 - 3)
    }

    /// The segment that holds the bit at `offset`.
    ///
    /// # Panics
    ///
    /// If `offset` is past the largest bitmap (2^42 bits): offsets are checked when parsed.
    pub const fn segment_of(self, offset: u64) -> Segment {
        let segment = offset >> self.0;
        assert!(segment <= u32::MAX as u64, "offset past the largest bitmap");
        #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
        Segment(segment as u32)
    }

    /// The first bit of `segment`.
    pub const fn start_of(self, segment: Segment) -> u64 {
        (segment.0 as u64) << self.0
    }
}

impl Default for SegmentWidth {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The number of a segment within its bitmap, from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(pub u32);

impl Segment {
    /// The segment that lives at a key's home.
    pub const FIRST: Self = Self(0);

    /// Whether this is the segment that lives at a key's home.
    pub const fn is_first(self) -> bool {
        self.0 == 0
    }
}

/// The version of a key that is, or was, spread over groups.
///
/// Drawn from a counter of the key's slot that only grows, so that a part left over from an older
/// value can always be told from a live one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// The position of an entry in one group's log, from 1. Zero means "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(pub u64);

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_covers_its_width() {
        let width = SegmentWidth::DEFAULT;
        assert_eq!(width.segment_of(0), Segment(0));
        assert_eq!(width.segment_of(width.bits() - 1), Segment(0));
        assert_eq!(width.segment_of(width.bits()), Segment(1));
        assert_eq!(width.start_of(Segment(3)), 3 << 20);
    }

    #[test]
    fn widths_outside_the_limits_are_refused() {
        assert_eq!(SegmentWidth::from_log2(15), None);
        assert_eq!(SegmentWidth::from_log2(27), None);
        assert_eq!(SegmentWidth::from_log2(16).map(SegmentWidth::bytes), Some(8192));
    }

    #[test]
    fn slots_end_at_16383() {
        assert!(Slot::new(16383).is_some());
        assert!(Slot::new(16384).is_none());
        assert_eq!(Slot::of_hash(16384 + 5).number(), 5);
    }
}
