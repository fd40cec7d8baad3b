//! Bit operations on plain bytes in Redis order: bit 0 is the most significant bit of byte 0.
//!
//! Flat values and dense containers share them. Ranges are of bits, half-open, and lie within the
//! bytes.

use crate::kernels;

/// The byte and the mask of a bit.
fn place(bit: usize) -> (usize, u8) {
    (bit >> 3, 0x80 >> (bit & 7))
}

/// Calls `apply` with the byte and the mask of each value.
///
/// One after the other: taking a list in several strands, so that neighbours in one byte do not
/// wait for each other, gains in the cache but reads worse from memory.
pub(crate) fn each_place(values: &[u16], mut apply: impl FnMut(usize, u8)) {
    values.iter().for_each(|value| apply(usize::from(*value >> 3), 0x80 >> (value & 7)));
}

/// Masks of the bits from `bit` on, and of the bits before `bit`, within its byte.
fn tail_mask(bit: usize) -> u8 {
    0xFF >> (bit & 7)
}

pub(crate) fn get(bytes: &[u8], bit: usize) -> bool {
    let (byte, mask) = place(bit);
    bytes[byte] & mask != 0
}

/// Writes one bit and returns the old one.
pub(crate) fn set(bytes: &mut [u8], bit: usize, value: bool) -> bool {
    let (byte, mask) = place(bit);
    let old = bytes[byte] & mask != 0;
    if value {
        bytes[byte] |= mask;
    } else {
        bytes[byte] &= !mask;
    }
    old
}

/// Applies `edge` to the bytes that the range covers in part, with the mask of covered bits, and
/// `whole` to those that it covers fully.
fn edit(
    bytes: &mut [u8],
    lo: usize,
    hi: usize,
    edge: impl Fn(&mut u8, u8),
    whole: impl FnOnce(&mut [u8]),
) {
    if lo >= hi {
        return;
    }
    let (first, last) = (lo >> 3, (hi - 1) >> 3);
    let (head, tail) = (tail_mask(lo), !(tail_mask(hi - 1) >> 1));
    if first == last {
        edge(&mut bytes[first], head & tail);
    } else {
        edge(&mut bytes[first], head);
        whole(&mut bytes[first + 1..last]);
        edge(&mut bytes[last], tail);
    }
}

/// Sets or clears a range.
pub(crate) fn fill(bytes: &mut [u8], lo: usize, hi: usize, value: bool) {
    if value {
        edit(bytes, lo, hi, |byte, mask| *byte |= mask, |whole| whole.fill(0xFF));
    } else {
        edit(bytes, lo, hi, |byte, mask| *byte &= !mask, |whole| whole.fill(0));
    }
}

/// Inverts a range.
pub(crate) fn flip(bytes: &mut [u8], lo: usize, hi: usize) {
    let whole = |whole: &mut [u8]| whole.iter_mut().for_each(|byte| *byte = !*byte);
    edit(bytes, lo, hi, |byte, mask| *byte ^= mask, whole);
}

/// Clears what lies outside a range.
pub(crate) fn keep(bytes: &mut [u8], lo: usize, hi: usize) {
    let bits = bytes.len() * 8;
    let hi = hi.max(lo);
    fill(bytes, 0, lo, false);
    fill(bytes, hi, bits, false);
}

/// Counts the set bits of a range.
pub(crate) fn count(bytes: &[u8], lo: usize, hi: usize) -> u32 {
    if lo >= hi {
        return 0;
    }
    let (first, last) = (lo >> 3, (hi - 1) >> 3);
    let (head, tail) = (tail_mask(lo), !(tail_mask(hi - 1) >> 1));
    if first == last {
        return (bytes[first] & head & tail).count_ones();
    }
    if (lo | hi) & 7 == 0 {
        // The common case of whole bytes keeps the slice aligned.
        let whole = kernels::count(&bytes[first..=last]);
        return u32::try_from(whole).expect("a value of one container or less");
    }
    let edges = (bytes[first] & head).count_ones() + (bytes[last] & tail).count_ones();
    let whole = kernels::count(&bytes[first + 1..last]);
    edges + u32::try_from(whole).expect("a value of one container or less")
}

/// The first bit of a range that equals `value`.
pub(crate) fn first(bytes: &[u8], lo: usize, hi: usize, value: bool) -> Option<usize> {
    if lo >= hi {
        return None;
    }
    let flip = if value { 0 } else { 0xFF };
    let start = lo >> 3;
    let found = |at: usize, byte: u8| {
        let bit = at * 8 + byte.leading_zeros() as usize;
        (bit < hi).then_some(bit)
    };
    let head = (bytes[start] ^ flip) & tail_mask(lo);
    if head != 0 {
        return found(start, head);
    }
    let rest = &bytes[start + 1..hi.div_ceil(8).max(start + 1)];
    let words = rest.chunks_exact(8);
    let skip = if value { [0u8; 8] } else { [0xFF; 8] };
    let at = words.clone().position(|word| word != skip).unwrap_or(words.len()) * 8;
    let at = at + rest[at..].iter().position(|byte| byte ^ flip != 0)?;
    found(start + 1 + at, rest[at] ^ flip)
}

/// The set bit of a rank; the bytes have more set bits than that.
pub(crate) fn select(bytes: &[u8], rank: u32) -> u32 {
    let mut left = rank;
    for (at, word) in (0u32..).zip(bytes.as_chunks::<8>().0) {
        let mut word = u64::from_be_bytes(*word);
        if left >= word.count_ones() {
            left -= word.count_ones();
            continue;
        }
        for _ in 0..left {
            word &= !(1 << 63 >> word.leading_zeros());
        }
        return at * 64 + word.leading_zeros();
    }
    unreachable!("a rank below the number of set bits")
}

/// The last set bit.
pub(crate) fn last_set(bytes: &[u8]) -> Option<usize> {
    let at = bytes.iter().rposition(|byte| *byte != 0)?;
    Some(at * 8 + 7 - bytes[at].trailing_zeros() as usize)
}

/// Counts the runs of set bits, or gives up with `None` beyond `most`.
pub(crate) fn runs(bytes: &[u8], most: u32) -> Option<u32> {
    let mut count = 0;
    let mut carry = 0u64;
    for chunk in bytes.as_chunks::<8>().0 {
        let word = u64::from_be_bytes(*chunk);
        if word != 0u64.wrapping_sub(carry) {
            count += (word & !((word >> 1) | (carry << 63))).count_ones();
            if count > most {
                return None;
            }
        }
        carry = word & 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_agree_with_single_bits() {
        for lo in 0..70 {
            for hi in lo..=72 {
                let mut bytes = [0xA5u8; 9];
                fill(&mut bytes, lo, hi, true);
                let mut naive = [0xA5u8; 9];
                (lo..hi).for_each(|bit| naive[bit >> 3] |= 0x80 >> (bit & 7));
                assert_eq!(bytes, naive);
                flip(&mut bytes, lo, hi);
                assert_eq!(count(&bytes, lo, hi), 0);
                assert_eq!(first(&bytes, lo, hi, true), None);
                assert_eq!(first(&bytes, lo, hi, false), (lo < hi).then_some(lo));
                let naive = (lo..72).find(|bit| get(&bytes, *bit));
                assert_eq!(first(&bytes, lo, 72, true), naive);
                keep(&mut bytes, lo, hi);
                assert_eq!(last_set(&bytes), None);
            }
        }
    }

    #[test]
    fn ranks_are_found_in_every_word() {
        let mut bytes = [0u8; 32];
        let set = [0, 1, 63, 64, 65, 130, 131, 255];
        set.iter().for_each(|bit| bytes[bit / 8] |= 0x80 >> (bit % 8));
        for (rank, bit) in (0..).zip(set) {
            assert_eq!(select(&bytes, rank) as usize, bit);
        }
    }

    #[test]
    fn runs_are_counted_across_words() {
        let mut bytes = [0u8; 32];
        fill(&mut bytes, 60, 130, true);
        fill(&mut bytes, 132, 133, true);
        fill(&mut bytes, 255, 256, true);
        assert_eq!(runs(&bytes, 3), Some(3));
        assert_eq!(runs(&bytes, 2), None);
        assert_eq!(runs(&[0xFF; 16], 1), Some(1));
    }
}
