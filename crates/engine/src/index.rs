//! Redis's ranges and bit fields as arithmetic.

use std::ops::Range;

use bitroster_command::{FieldType, IndexUnit, Overflow};

/// The elements from `start` to `end`, both inclusive and negative from the end, of a value of
/// `len`; empty where Redis takes none. Source: `bitcountCommand`, `getrangeCommand`.
pub(crate) fn range_of(start: i64, end: i64, len: u64) -> Range<u64> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from = |index: i64| match u64::try_from(index) {
        Ok(index) => index,
        Err(_) => len.saturating_sub(index.unsigned_abs()),
    };
    let (start, end) = (from(start), from(end).min(len.saturating_sub(1)));
    if len == 0 || start > end { 0..0 } else { start..end + 1 }
}

/// Bits of one element.
pub(crate) const fn bits_of(unit: IndexUnit) -> u64 {
    match unit {
        IndexUnit::Byte => 8,
        IndexUnit::Bit => 1,
    }
}

/// The value of a field whose bits, from the low end, are `raw`.
pub(crate) fn read_field(kind: FieldType, raw: u64) -> i64 {
    let spare = 64 - u32::from(kind.width);
    if kind.signed { (raw << spare).cast_signed() >> spare } else { raw.cast_signed() }
}

/// What a field takes on for a wanted value, or `None` where it refuses. `wanted` may lie far
/// outside the field. Source: `checkSignedBitfieldOverflow` and its unsigned twin.
#[expect(clippy::cast_possible_truncation, reason = "bits above the field are cut on purpose")]
pub(crate) fn fit_field(kind: FieldType, wanted: i128, overflow: Overflow) -> Option<u64> {
    let width = u32::from(kind.width);
    let (low, high) = if kind.signed {
        (-(1i128 << (width - 1)), (1i128 << (width - 1)) - 1)
    } else {
        (0, (1i128 << width) - 1)
    };
    let fitted = if (low..=high).contains(&wanted) {
        wanted
    } else {
        match overflow {
            Overflow::Wrap => wanted,
            Overflow::Sat => wanted.clamp(low, high),
            Overflow::Fail => return None,
        }
    };
    Some(fitted as u64 & (u64::MAX >> (64 - width)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped_as_redis_does() {
        assert_eq!(range_of(-100, -90, 3), 0..1, "both far below: the first element");
        assert_eq!(range_of(-90, -100, 3), 0..0);
        assert_eq!(range_of(0, -1, 3), 0..3);
        assert_eq!(range_of(5, 9, 3), 0..0);
        assert_eq!(range_of(1, 900, 3), 1..3);
        assert_eq!(range_of(0, -1, 0), 0..0);
        assert_eq!(range_of(i64::MIN, i64::MAX, 3), 0..3);
    }

    #[test]
    fn fields_wrap_saturate_and_refuse() {
        let (u8, i8) =
            (FieldType { signed: false, width: 8 }, FieldType { signed: true, width: 8 });
        assert_eq!(fit_field(u8, 300, Overflow::Wrap), Some(44));
        assert_eq!(fit_field(u8, 300, Overflow::Sat), Some(255));
        assert_eq!(fit_field(u8, 300, Overflow::Fail), None);
        assert_eq!(fit_field(u8, -1, Overflow::Sat), Some(0));
        assert_eq!(fit_field(i8, -129, Overflow::Wrap), Some(127));
        assert_eq!(fit_field(i8, -129, Overflow::Sat), Some(128));
        assert_eq!(read_field(i8, 128), -128);
        let i64 = FieldType { signed: true, width: 64 };
        assert_eq!(fit_field(i64, i128::from(i64::MAX) + 1, Overflow::Wrap), Some(1 << 63));
        assert_eq!(read_field(i64, u64::MAX), -1);
    }
}
