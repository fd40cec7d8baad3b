//! Formulas over flat values: all of it in a few registers' worth of bytes.

use std::ops::Range;

use bitroster_types::limits::SMALL_VALUE_BYTES_MAX;

use super::{Formula, Step};
use crate::address::size;
use crate::bitmap::Bitmap;
use crate::bits;

/// The bytes of a flat value, padded with zeros.
type Bytes = [u8; SMALL_VALUE_BYTES_MAX];

/// The result within `range`, where all the operands are flat; as long as the longest of them.
pub(super) fn evaluate(
    formula: &Formula,
    operands: &[&Bitmap],
    range: &Range<u64>,
) -> Option<Bitmap> {
    let longest = operands.iter().max_by_key(|operand| operand.len_bytes())?;
    let len = longest.as_flat()?.len();
    let mut stack: Vec<Bytes> = Vec::new();
    for step in formula.steps() {
        if let Step::Operand(place) = *step {
            let operand = operands[usize::from(place)].as_flat().unwrap_or_default();
            let mut bytes = [0; SMALL_VALUE_BYTES_MAX];
            bytes[..operand.len()].copy_from_slice(operand);
            stack.push(bytes);
            continue;
        }
        let newer = stack.pop().expect("a formula is balanced");
        let older = stack.last_mut().expect("a formula is balanced");
        for (older, newer) in older.iter_mut().zip(newer) {
            *older = match step {
                Step::And => *older & newer,
                Step::Or => *older | newer,
                Step::Xor => *older ^ newer,
                Step::AndNot | Step::Operand(_) => *older & !newer,
            };
        }
    }
    let mut bytes = stack.pop().expect("a formula is balanced");
    let bits = len as u64 * 8;
    bits::keep(&mut bytes[..len], size(range.start.min(bits)), size(range.end.min(bits)));
    Some(Bitmap::from_bytes(&bytes[..len]))
}
