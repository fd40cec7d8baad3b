//! Goal: every level of every kernel agrees with a naive loop over bytes.
//! Method: pseudo-random blocks, up to 26 of them, each level that this CPU has. Every block
//! decides some bits: those of AND are full, those of the other operations but XOR are sparse.

use super::*;

/// Blocks of a fixed pseudo-random sequence.
fn blocks(count: usize) -> Vec<Box<Block>> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| Box::new(std::array::from_fn(|_| next()))).collect()
}

fn naive(fold: Fold, first: u8, rest: &[u8]) -> u8 {
    let any = rest.iter().fold(0, |acc, byte| acc | byte);
    match fold {
        Fold::And => rest.iter().fold(first, |acc, byte| acc & byte),
        Fold::Or => first | any,
        Fold::Xor => rest.iter().fold(first, |acc, byte| acc ^ byte),
        Fold::Diff => first & !any,
        Fold::Diff1 => any & !first,
        Fold::AndOr => any & first,
        Fold::One => (0..8).map(|bit| 1 << bit).fold(0, |acc, mask| {
            let set = rest.iter().chain([&first]).filter(|byte| **byte & mask != 0).count();
            if set == 1 { acc | mask } else { acc }
        }),
    }
}

#[test]
fn every_level_counts_as_single_bytes_do() {
    let block = &blocks(1)[0];
    for len in [0, 1, 7, 8, 511, 512, 513, 1024, 4103, 8192] {
        let bytes = &block[8192 - len..];
        let expected: u64 = bytes.iter().map(|byte| u64::from(byte.count_ones())).sum();
        assert_eq!(count(bytes), expected);
        for level in Level::available() {
            assert_eq!(count_at(level, bytes), expected, "{level:?} {len}");
        }
    }
    assert_eq!(count(&[0xFF; 8192]), 65_536);
}

#[test]
fn every_level_finds_the_words_with_a_bit() {
    let bytes: &Block = &blocks(1)[0];
    // A third of the words has a few bits.
    let page = Page(std::array::from_fn(|at| match bytes[at / 8] % 3 {
        0 if at % 8 == usize::from(bytes[at / 8] / 32) => bytes[at],
        _ => 0,
    }));
    let expected: [u64; 16] = std::array::from_fn(|group| {
        let words = page.0[group * 512..][..512].chunks(8).enumerate();
        words.map(|(i, word)| u64::from(word.iter().any(|byte| *byte != 0)) << i).sum()
    });
    for level in Level::available() {
        assert_eq!(filled_at(level, &page), expected, "{level:?}");
        assert_eq!(filled_at(level, &Page([1; 8192])), [u64::MAX; 16], "{level:?}");
    }
    assert!(expected.iter().all(|words| *words != 0 && *words != u64::MAX));
}

#[test]
fn every_level_folds_as_single_bytes_do() {
    let noise = blocks(4 * 26);
    let kinds = [Fold::And, Fold::Or, Fold::Xor, Fold::Diff, Fold::Diff1, Fold::AndOr, Fold::One];
    for kind in kinds {
        let blocks: Vec<Box<Block>> = (noise.chunks(4))
            .map(|four| {
                let with = |join: fn(u8, u8) -> u8| {
                    let byte = |at| four.iter().map(|block| block[at]).reduce(join).unwrap_or(0);
                    Box::new(std::array::from_fn(byte))
                };
                match kind {
                    Fold::And => with(|a, b| a | b),
                    Fold::Xor => with(|_, b| b),
                    Fold::Or | Fold::Diff | Fold::Diff1 | Fold::AndOr | Fold::One => {
                        with(|a, b| a & b)
                    }
                }
            })
            .collect();
        for operands in [1, 2, 3, 4, 5, 6, 8, 9, 10, 16, 17, 18, 26] {
            let rest: Vec<&Block> = blocks[1..operands].iter().map(|block| &**block).collect();
            let expected: Vec<u8> = (0..8192)
                .map(|i| {
                    let bytes: Vec<u8> = rest.iter().map(|block| block[i]).collect();
                    naive(kind, blocks[0][i], &bytes)
                })
                .collect();
            let ones: u32 = expected.iter().map(|byte| byte.count_ones()).sum();
            for level in Level::available() {
                let mut out = Box::new([0u8; 8192]);
                // SAFETY: the level is available, the blocks are whole and `out` is apart.
                let set = unsafe {
                    dispatch(level, kind, &raw const *blocks[0], &rest, &rest, out.as_mut_ptr())
                };
                assert_eq!((set, &out[..]), (ones, &expected[..]), "{level:?} {kind:?} {operands}");
            }
            let operands = Operands { first: &blocks[0], rest: &rest, ahead: &rest };
            assert_eq!(fold_count(kind, operands), ones);
            let mut out = blocks[0].clone();
            assert_eq!(fold_in_place(kind, &mut out, &rest), ones);
            assert_eq!(&out[..], &expected[..]);
            for reuse in [None, Some(Box::new(Page::ZERO))] {
                let (page, card) = fold(kind, operands, reuse);
                assert_eq!((card, &page.0[..]), (ones, &expected[..]));
            }
        }
    }
}
