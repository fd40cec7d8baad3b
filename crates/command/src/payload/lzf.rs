//! The compression of Redis's strings, LZF, in the direction that is needed.

/// Bytes that a length is announced for before any has come: a short input may stand for a long
/// output, by 264 bytes for three at most.
const RATIO_MAX: usize = 88;

/// The `len` bytes that `packed` stands for; `None` where it does not. Allocates no more than
/// `packed` can stand for.
///
/// Each step begins with a byte: below 32 so many bytes and one more follow as they are; else its
/// upper three bits are a length, the next byte more of it where all three are set, and its lower
/// five with the byte after are how far back to copy from, less one.
pub(super) fn unpack(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > packed.len().saturating_mul(RATIO_MAX) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = packed;
    while let Some((first, after)) = rest.split_first() {
        let first = usize::from(*first);
        if first < 32 {
            let (plain, after) = after.split_at_checked(first + 1)?;
            if plain.len() > len - out.len() {
                return None;
            }
            out.extend_from_slice(plain);
            rest = after;
            continue;
        }
        let (more, after) = match first >> 5 {
            7 => after.split_first().map(|(more, after)| (usize::from(*more), after))?,
            _ => (0, after),
        };
        let (low, after) = after.split_first()?;
        let count = (first >> 5) + more + 2;
        let back = ((first & 0x1F) << 8 | usize::from(*low)) + 1;
        let from = out.len().checked_sub(back)?;
        if count > len - out.len() {
            return None;
        }
        // What is copied may overlap what it makes.
        for at in from..from + count {
            out.push(out[at]);
        }
        rest = after;
    }
    (out.len() == len).then_some(out)
}
