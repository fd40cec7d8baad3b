//! Goal: BITOP of any operands equals the byte-wise loop; counting equals building; slices merge to
//! the whole.
//!
//! Method: one to twelve operands of mixed forms and lengths, each operation, random ranges.
//!
//! Mutants seen to fail: marks left behind for the next chunk, a slice not cut at its range, a node
//! shared although another operand has it, a page of ONE not cleared before the
//! next operand, the few bits of some blocks not looked up in the last of the others.

mod twin;

use bitroster_bitmap::{BitOp, Bitmap};
use proptest::prelude::*;
use twin::{OPS, Twin, assert_same, combine, crowded, mixed, range, value};

/// Builds and counts every operation of several operands.
fn agree(operands: &[(Bitmap, Twin)]) {
    let bitmaps: Vec<&Bitmap> = operands.iter().map(|(bitmap, _)| bitmap).collect();
    let twins: Vec<&Twin> = operands.iter().map(|(_, twin)| twin).collect();
    for op in OPS.into_iter().filter(|op| *op != BitOp::Not) {
        let expected = combine(op, &twins);
        assert_same(&Bitmap::combine(op, &bitmaps), &expected);
        let count = Bitmap::combine_count(op, &bitmaps, 0..u64::MAX);
        assert_eq!(count, expected.count(0..u64::MAX), "{op:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_operation_equals_the_loop_over_bytes(
        operands in prop::collection::vec(value(), 1..=6),
        ranges in prop::collection::vec(range(), 1..4),
        repeat in any::<bool>(),
    ) {
        let mut bitmaps: Vec<&Bitmap> = operands.iter().map(|(bitmap, _)| bitmap).collect();
        let mut twins: Vec<&Twin> = operands.iter().map(|(_, twin)| twin).collect();
        if repeat {
            bitmaps.push(bitmaps[0]);
            twins.push(twins[0]);
        }
        for op in OPS {
            let count = if op == BitOp::Not { 1 } else { bitmaps.len() };
            let (bitmaps, twins) = (&bitmaps[..count], &twins[..count]);
            let expected = combine(op, twins);
            assert_same(&Bitmap::combine(op, bitmaps), &expected);
            let all = expected.count(0..u64::MAX);
            prop_assert_eq!(Bitmap::combine_count(op, bitmaps, 0..u64::MAX), all, "{:?}", op);
            for range in &ranges {
                let count = Bitmap::combine_count(op, bitmaps, range.clone());
                prop_assert_eq!(count, expected.count(range.clone()), "{:?} {:?}", op, range);
            }
            let slice = Bitmap::combine_range(op, bitmaps, ranges[0].clone());
            assert_same(&slice, &expected.keep(ranges[0].clone()));
        }
    }

    #[test]
    fn flat_values_combine_as_long_ones_do(
        operands in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=64), 1..=6),
        cut in range(),
    ) {
        let bitmaps: Vec<Bitmap> = operands.iter().map(|bytes| Bitmap::from_bytes(bytes)).collect();
        let twins: Vec<Twin> = operands.into_iter().map(Twin).collect();
        for op in OPS {
            let count = if op == BitOp::Not { 1 } else { bitmaps.len() };
            let bitmaps: Vec<&Bitmap> = bitmaps[..count].iter().collect();
            let expected = combine(op, &twins[..count].iter().collect::<Vec<_>>());
            assert_same(&Bitmap::combine(op, &bitmaps), &expected);
            let cut = cut.start % 520..cut.end % 700;
            let count = Bitmap::combine_count(op, &bitmaps, cut.clone());
            prop_assert_eq!(count, expected.count(cut.clone()));
            let slice = Bitmap::combine_range(op, &bitmaps, cut.clone());
            assert_same(&slice, &expected.keep(cut));
        }
    }

    #[test]
    fn neighbouring_chunks_do_not_leak_into_each_other(
        operands in prop::collection::vec(crowded(), 2..=4),
    ) {
        agree(&operands);
    }

    #[test]
    fn many_operands_of_every_form_meet_in_one_chunk(
        operands in prop::collection::vec(mixed(), 3..=12),
    ) {
        agree(&operands);
    }

    #[test]
    fn dense_operands_agree_whether_their_bits_lie_alike_or_not(
        seeds in prop::collection::vec(any::<u64>(), 3..=12),
        per_mille in prop::sample::select(&[50u64, 60, 200, 500, 900][..]),
        alike in 0u64..=1000,
    ) {
        // A bit of an operand is that of the first one, so often, or its own.
        let draw = |seed: u64, at: u64| {
            let mut state = seed ^ at.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            state = (state ^ (state >> 31)).wrapping_mul(0xD1B5_4A32_D192_ED03);
            (state >> 33) % 1000
        };
        let operands = seeds.iter().map(|seed| {
            let mut bytes = vec![0u8; 8192 + 700];
            for at in 0..bytes.len() as u64 * 8 {
                let from = if draw(*seed ^ 77, at) < alike { seeds[0] } else { *seed };
                bytes[(at / 8) as usize] |= u8::from(draw(from, at) < per_mille) << (at % 8);
            }
            (Bitmap::from_bytes(&bytes), Twin(bytes))
        });
        agree(&operands.collect::<Vec<_>>());
    }

    #[test]
    fn slices_merge_to_the_whole(
        operands in prop::collection::vec(value(), 1..=3),
        width in 14u32..24,
        op in prop::sample::select(&OPS[..]),
    ) {
        let bitmaps: Vec<&Bitmap> = operands.iter().map(|(bitmap, _)| bitmap).collect();
        let bitmaps = if op == BitOp::Not { &bitmaps[..1] } else { &bitmaps[..] };
        let whole = Bitmap::combine(op, bitmaps);
        let mut merged = Bitmap::zeros(whole.len_bytes());
        let mut start = 0;
        while start < whole.len_bytes() * 8 {
            let slice = Bitmap::combine_range(op, bitmaps, start..start + (1 << width));
            merged.merge_disjoint(&slice);
            start += 1 << width;
        }
        merged.check();
        prop_assert!(merged == whole);
    }

    #[test]
    fn operands_stay_as_they_were((a, twin_a) in value(), (b, twin_b) in value()) {
        let mut union = Bitmap::combine(BitOp::Or, &[&a, &b]);
        union.set(3, !union.get(3));
        union.fill(60_000..70_000, true);
        let mut merged = a.clone();
        merged.merge_disjoint(&b);
        merged.flip(0..9_000_000);
        assert_same(&a, &twin_a);
        assert_same(&b, &twin_b);
    }
}

#[test]
fn no_operands_give_the_empty_value() {
    for op in OPS.into_iter().filter(|op| *op != BitOp::Not) {
        assert!(Bitmap::combine(op, &[]).is_empty());
        assert_eq!(Bitmap::combine_count(op, &[], 0..u64::MAX), 0);
    }
}

#[test]
fn absent_keys_count_as_operands() {
    let (some, none) = (Bitmap::from_bytes(&[0xFF; 9000]), Bitmap::new());
    let count = |op, operands: &[&Bitmap]| Bitmap::combine_count(op, operands, 0..u64::MAX);
    assert_eq!(count(BitOp::And, &[&some, &none]), 0);
    assert_eq!(Bitmap::combine(BitOp::And, &[&some, &none]).len_bytes(), 9000);
    assert_eq!(count(BitOp::Diff, &[&some, &none]), 72_000);
    assert_eq!(count(BitOp::Diff1, &[&none, &some]), 72_000);
    assert_eq!(count(BitOp::AndOr, &[&some, &none]), 0);
    assert!(Bitmap::combine(BitOp::Not, &[&none]).is_empty());
}

#[test]
fn the_complement_of_a_far_bit_is_small_and_exact() {
    let mut far = Bitmap::new();
    far.set((1 << 32) - 1, true);
    let not = Bitmap::combine(BitOp::Not, &[&far]);
    not.check();
    assert_eq!(not.cardinality(), (1 << 32) - 1);
    assert_eq!(not.first_clear(0..u64::MAX), Some((1 << 32) - 1));
    assert_eq!(Bitmap::combine(BitOp::Not, &[&not]), far);
}
