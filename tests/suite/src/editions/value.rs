//! The bytes of an edition.

/// Bytes of a block: a segment of the least width.
pub const BLOCK_BYTES: u64 = 8 << 10;

/// Bytes at a block's begin that tell its edition and its place.
pub(super) const HEAD_BYTES: u64 = 16;

/// Blocks of an edition: five to sixteen, so 40 to 128 KiB.
pub(super) fn blocks(edition: u64) -> u64 {
    5 + edition.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 12
}

/// Bytes of an edition. Its last block is a little shorter than the others.
pub(super) fn len(edition: u64) -> u64 {
    blocks(edition) * BLOCK_BYTES - edition % 100
}

/// Set bytes after each block's head.
fn fill(edition: u64) -> u64 {
    edition % 500
}

/// Set bits of an edition.
pub(super) fn count(edition: u64) -> u64 {
    let block = u64::from(edition.count_ones()) + 8 * fill(edition);
    (0..blocks(edition)).map(|at| block + u64::from(at.count_ones())).sum()
}

/// An edition's value: each block begins with the edition and the block's place.
///
/// # Panics
///
/// Never: values are small.
pub fn value(edition: u64) -> Vec<u8> {
    let size = |bytes: u64| usize::try_from(bytes).expect("a small value");
    let mut value = vec![0; size(len(edition))];
    for (at, block) in (0..).zip(value.chunks_mut(size(BLOCK_BYTES))) {
        block[..8].copy_from_slice(&edition.to_be_bytes());
        block[8..16].copy_from_slice(&u64::to_be_bytes(at));
        block[16..16 + size(fill(edition))].fill(0xff);
    }
    value
}

/// The edition that a whole value is of.
///
/// # Errors
///
/// What its blocks say, if it is of none.
pub(super) fn edition_of(bytes: &[u8]) -> Result<u64, String> {
    let heads = heads(bytes);
    let first = heads.first().map_or(0, |(edition, _)| *edition);
    if first != 0 && value(first) == bytes {
        return Ok(first);
    }
    let heads: Vec<String> = heads.iter().map(|(edition, at)| format!("{edition}@{at}")).collect();
    Err(format!("{} bytes with blocks {}", bytes.len(), heads.join(" ")))
}

/// Edition and place of each block in bytes that begin with a block.
pub(super) fn heads(bytes: &[u8]) -> Vec<(u64, u64)> {
    let size = usize::try_from(BLOCK_BYTES).expect("a small size");
    let number = |bytes: &[u8]| {
        let mut number = [0; 8];
        number[..bytes.len()].copy_from_slice(bytes);
        u64::from_be_bytes(number)
    };
    let head = |block: &[u8]| {
        let (first, second) = (block.len().min(8), block.len().min(16));
        (number(&block[..first]), number(&block[first..second]))
    };
    bytes.chunks(size).map(head).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_edition_and_its_count() {
        for edition in 1..2000 {
            let value = value(edition);
            assert_eq!(edition_of(&value), Ok(edition));
            let bits: u64 = value.iter().map(|byte| u64::from(byte.count_ones())).sum();
            assert_eq!((bits, value.len() as u64), (count(edition), len(edition)));
            assert!((39 << 10..=128 << 10).contains(&value.len()));
        }
    }

    #[test]
    fn a_value_of_two_editions_is_of_none() {
        let (mut one, other) = (value(7), value(8));
        let shorter = one.len().min(other.len());
        one[8192..shorter].copy_from_slice(&other[8192..shorter]);
        assert!(edition_of(&one).is_err());
        assert!(edition_of(&other[..8192]).is_err());
        assert!(edition_of(&[]).is_err());
        assert!(edition_of(&[1, 2, 3]).is_err());
    }
}
