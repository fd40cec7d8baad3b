//! Clients' index ranges as ranges of bits and bytes. Pure; the arithmetic is Redis's.

use std::ops::Range;

use bitroster_command::{IndexRange, IndexUnit};

/// Whether the length of the value decides what `range` means.
pub(crate) fn needs_len(range: IndexRange) -> bool {
    range.start < 0 || range.end < 0
}

/// The bits that BITCOUNT counts in a value of `len_bytes` bytes; empty where there are none.
///
/// Where [`needs_len`] is false, `len_bytes` may be `u64::MAX`: bits past the end are zero anyway.
pub(crate) fn of_count(range: IndexRange, len_bytes: u64) -> Range<u64> {
    if range.start < 0 && range.end < 0 && range.start > range.end {
        return 0..0;
    }
    clamp(range.start, range.end, range.unit, len_bytes)
}

/// The bits that BITPOS searches in a value of `len_bytes` bytes; empty where there are none.
pub(crate) fn of_search(
    start: Option<i64>,
    end: Option<i64>,
    unit: IndexUnit,
    len_bytes: u64,
) -> Range<u64> {
    let (end, unit_of_end) = (end.unwrap_or(-1), unit);
    clamp(start.unwrap_or(0), end, unit_of_end, len_bytes)
}

/// The bytes that GETRANGE answers from a value of `len_bytes` bytes.
pub(crate) fn of_bytes(start: i64, end: i64, len_bytes: u64) -> Range<u64> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let bits = clamp(start, end, IndexUnit::Byte, len_bytes);
    bits.start / 8..bits.end / 8
}

/// Resolves negative indices, cuts at both ends and makes the range half-open, in bits.
fn clamp(start: i64, end: i64, unit: IndexUnit, len_bytes: u64) -> Range<u64> {
    let scale = match unit {
        IndexUnit::Byte => 8,
        IndexUnit::Bit => 1,
    };
    let total = match unit {
        IndexUnit::Byte => len_bytes,
        IndexUnit::Bit => len_bytes.saturating_mul(8),
    };
    let resolve = |index: i64| match u64::try_from(index) {
        Ok(index) => index,
        Err(_) => total.saturating_sub(index.unsigned_abs()),
    };
    let (start, end) = (resolve(start), resolve(end));
    if total == 0 || start > end.min(total - 1) {
        return 0..0;
    }
    let end = end.min(total - 1) + 1;
    start.saturating_mul(scale)..end.saturating_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(start: i64, end: i64, unit: IndexUnit, len: u64) -> Range<u64> {
        of_count(IndexRange { start, end, unit }, len)
    }

    #[test]
    fn negative_indices_count_from_the_end() {
        assert_eq!(count(-2, -1, IndexUnit::Byte, 10), 64..80);
        assert_eq!(count(-9, -2, IndexUnit::Bit, 2), 7..15);
        assert_eq!(count(0, -1, IndexUnit::Byte, 0), 0..0);
    }

    #[test]
    fn redis_counts_the_first_byte_of_a_range_before_the_start() {
        assert_eq!(count(-100, -90, IndexUnit::Byte, 3), 0..8);
        assert_eq!(count(-90, -100, IndexUnit::Byte, 3), 0..0);
    }

    #[test]
    fn ends_past_the_value_are_cut() {
        assert_eq!(count(1, 100, IndexUnit::Byte, 3), 8..24);
        assert_eq!(count(5, 100, IndexUnit::Byte, 3), 0..0);
        assert_eq!(of_bytes(1, i64::MAX, 4), 1..4);
        assert_eq!(of_bytes(-3, -2, 4), 1..3);
        assert_eq!(of_search(None, None, IndexUnit::Byte, 4), 0..32);
    }

    #[test]
    fn a_range_that_needs_no_length_is_taken_as_it_is() {
        assert_eq!(count(3, 5, IndexUnit::Byte, u64::MAX), 24..48);
        assert!(!needs_len(IndexRange { start: 3, end: 5, unit: IndexUnit::Bit }));
        assert!(needs_len(IndexRange { start: 3, end: -1, unit: IndexUnit::Bit }));
    }
}
