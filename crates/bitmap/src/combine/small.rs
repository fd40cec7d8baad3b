//! BITOP of flat values: all of it in a few registers' worth of bytes, without allocating.

use bitroster_types::limits::SMALL_VALUE_BYTES_MAX;

use super::BitOp;

/// The bytes of a flat value, padded with zeros.
type Bytes = [u8; SMALL_VALUE_BYTES_MAX];

/// What every operation is made of, byte by byte.
struct Sums {
    first: Bytes,
    /// In any operand but the first.
    rest: Bytes,
    all: Bytes,
    odd: Bytes,
    seen: Bytes,
    /// In two operands or more.
    many: Bytes,
}

/// Joins flat values. Bytes past the longest one are of no meaning.
pub(super) fn join<'a>(op: BitOp, operands: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let zero = [0; SMALL_VALUE_BYTES_MAX];
    let all = [0xFF; SMALL_VALUE_BYTES_MAX];
    let mut sums = Sums { first: zero, rest: zero, all, odd: zero, seen: zero, many: zero };
    for (place, operand) in operands.enumerate() {
        let mut bytes = zero;
        bytes[..operand.len()].copy_from_slice(operand);
        for (i, byte) in bytes.iter().enumerate() {
            sums.all[i] &= byte;
            sums.odd[i] ^= byte;
            sums.many[i] |= sums.seen[i] & byte;
            sums.seen[i] |= byte;
            if place > 0 {
                sums.rest[i] |= byte;
            }
        }
        if place == 0 {
            sums.first = bytes;
        }
    }
    let Sums { first, rest, all, odd, seen, many } = sums;
    std::array::from_fn(|i| match op {
        BitOp::And => all[i],
        BitOp::Or => seen[i],
        BitOp::Xor => odd[i],
        BitOp::Not => !first[i],
        BitOp::Diff => first[i] & !rest[i],
        BitOp::Diff1 => rest[i] & !first[i],
        BitOp::AndOr => first[i] & rest[i],
        BitOp::One => seen[i] & !many[i],
    })
}
