//! The arithmetic of bit fields, for fields that no group holds alone. Pure; the rules are
//! BITFIELD's.

use bitroster_command::{FieldType, Overflow};

/// The value that a field's bits (right-aligned) stand for.
pub(crate) fn value_of(kind: FieldType, bits: u64) -> i64 {
    let unused = 64 - u32::from(kind.width);
    if kind.signed { (bits << unused).cast_signed() >> unused } else { bits.cast_signed() }
}

/// A value's bits, right-aligned, cut to the field's width.
pub(crate) fn bits_of(kind: FieldType, value: i64) -> u64 {
    value.cast_unsigned() & (u64::MAX >> (64 - u32::from(kind.width)))
}

/// What SET writes: `None` where the value does not fit and must.
///
/// An unsigned field takes the value as unsigned 64 bits, so that -1 is too large, not too small.
pub(crate) fn set(kind: FieldType, value: i64, overflow: Overflow) -> Option<i64> {
    let wanted = if kind.signed { i128::from(value) } else { i128::from(value.cast_unsigned()) };
    fit(kind, wanted, overflow)
}

/// What INCRBY writes: `None` where the sum does not fit and must.
pub(crate) fn add(kind: FieldType, old: i64, by: i64, overflow: Overflow) -> Option<i64> {
    fit(kind, i128::from(old) + i128::from(by), overflow)
}

fn fit(kind: FieldType, wanted: i128, overflow: Overflow) -> Option<i64> {
    let width = u32::from(kind.width);
    let (low, high) = if kind.signed {
        (-(1i128 << (width - 1)), (1i128 << (width - 1)) - 1)
    } else {
        (0, (1i128 << width) - 1)
    };
    let fitted = match overflow {
        _ if (low..=high).contains(&wanted) => wanted,
        Overflow::Fail => return None,
        Overflow::Sat => wanted.clamp(low, high),
        Overflow::Wrap => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "wraps")]
            let bits = wanted as u64 & (u64::MAX >> (64 - width));
            return Some(value_of(kind, bits));
        }
    };
    Some(i64::try_from(fitted).expect("fields are at most i64 and u63"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const U8: FieldType = FieldType { signed: false, width: 8 };
    const I8: FieldType = FieldType { signed: true, width: 8 };
    const I64: FieldType = FieldType { signed: true, width: 64 };

    #[test]
    fn values_that_do_not_fit_wrap_saturate_or_fail() {
        assert_eq!(set(U8, 300, Overflow::Wrap), Some(44));
        assert_eq!(set(U8, 300, Overflow::Sat), Some(255));
        assert_eq!(set(U8, 300, Overflow::Fail), None);
        assert_eq!(set(U8, -1, Overflow::Sat), Some(255));
        assert_eq!(add(U8, 3, -5, Overflow::Sat), Some(0));
        assert_eq!(add(U8, 3, -5, Overflow::Wrap), Some(254));
        assert_eq!(add(I8, 127, 1, Overflow::Wrap), Some(-128));
        assert_eq!(add(I8, -128, -1, Overflow::Sat), Some(-128));
    }

    #[test]
    fn the_widest_field_does_not_overflow_the_arithmetic() {
        assert_eq!(add(I64, i64::MAX, 1, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(add(I64, i64::MAX, i64::MAX, Overflow::Sat), Some(i64::MAX));
        assert_eq!(set(I64, i64::MIN, Overflow::Fail), Some(i64::MIN));
        assert_eq!(bits_of(I64, -1), u64::MAX);
    }
}
