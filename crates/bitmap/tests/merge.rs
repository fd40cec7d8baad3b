//! Goal: joining a set into a value equals the loop over bytes, tells how many bits changed, and
//! changes no clone; values of offsets, fields above a threshold and segments are what their
//! definitions say.
//!
//! Method: values of every form, each way to join, random ranges, thresholds and limits, against
//! plain bytes.
//!
//! Mutants seen to fail: AND-NOT that lengthens, a set shared that is not the result, a change
//! counted of a bit that was set, a node list left out of order, fields past the range, the last id
//! of a list dropped.

#![allow(clippy::cast_possible_truncation, reason = "test values are small")]

mod twin;

use bitroster_bitmap::{Bitmap, MergeOp};
use proptest::prelude::*;
use twin::{Twin, assert_same, crowded, mixed, range, value};

const OPS: [MergeOp; 3] = [MergeOp::Or, MergeOp::AndNot, MergeOp::Xor];

/// Joins byte by byte; the result and the number of changed bits.
fn merge(op: MergeOp, own: &Twin, set: &Twin) -> (Twin, u64) {
    let mut joined = own.clone();
    if op != MergeOp::AndNot {
        joined.extend(set.0.len() as u64);
    }
    let mut changed = 0;
    for (byte, set) in joined.0.iter_mut().zip(&set.0) {
        let old = *byte;
        *byte = match op {
            MergeOp::Or => old | set,
            MergeOp::AndNot => old & !set,
            MergeOp::Xor => old ^ set,
        };
        changed += u64::from((old ^ *byte).count_ones());
    }
    (joined, changed)
}

/// Every way to join, into a value of its own and into one that is shared.
fn agree(own: &(Bitmap, Twin), set: &(Bitmap, Twin)) {
    for op in OPS {
        let (expected, changed) = merge(op, &own.1, &set.1);
        let mut shared = own.0.clone();
        assert_eq!(shared.merge(op, &set.0), changed, "{op:?}");
        assert_same(&shared, &expected);
        let mut alone = Bitmap::new();
        alone.write_bytes(0, &own.0.read_bytes(0..u64::MAX));
        assert_eq!(alone.merge(op, &set.0), changed, "{op:?}");
        assert_same(&alone, &expected);
    }
    assert_same(&own.0, &own.1);
    assert_same(&set.0, &set.1);
}

/// Ids of fields above a threshold, bit by bit.
fn fields(twin: &Twin, threshold: u32) -> Vec<u64> {
    let mut bytes = twin.0.clone();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let fields = bytes.as_chunks::<4>().0.iter().map(|field| u32::from_be_bytes(*field));
    (0..).zip(fields).filter(|(_, field)| *field > threshold).map(|(id, _)| id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn joining_any_set_equals_the_loop_over_bytes(own in value(), set in value()) {
        agree(&own, &set);
    }

    #[test]
    fn sets_of_every_form_meet_containers_of_every_form(own in mixed(), set in mixed()) {
        agree(&own, &set);
        agree(&own, &own);
    }

    #[test]
    fn neighbouring_containers_do_not_leak_into_each_other(own in crowded(), set in crowded()) {
        agree(&own, &set);
    }

    #[test]
    fn a_set_of_a_few_bits_or_of_a_range_is_joined_in_place(
        own in value(),
        offsets in prop::collection::vec(twin::offset(), 1..12),
        range in range(),
    ) {
        let mut list = Twin::default();
        for offset in &offsets {
            list.set(*offset, true);
        }
        agree(&own, &(Bitmap::from_offsets(&offsets), list));
        let (mut set, mut twin) = (Bitmap::new(), Twin::default());
        set.fill(range.clone(), true);
        twin.fill(range, true);
        agree(&own, &(set, twin));
    }

    #[test]
    fn values_are_built_of_their_offsets_in_any_order(
        (bitmap, twin) in value(),
        seed in any::<u64>(),
    ) {
        let mut offsets = twin.offsets();
        let ascending = Bitmap::from_offsets(&offsets);
        ascending.check();
        prop_assert!(ascending.iter_set(0..u64::MAX).eq(offsets.iter().copied()));
        let len = offsets.last().map_or(0, |last| last / 8 + 1);
        prop_assert_eq!(ascending.len_bytes(), len);
        prop_assert_eq!(&Bitmap::from_csv(&bitmap.to_csv(), 1 << 42).unwrap(), &ascending);
        offsets.extend_from_within(..offsets.len() / 3);
        offsets.sort_by_key(|offset| offset.wrapping_mul(seed | 1));
        prop_assert_eq!(Bitmap::from_offsets(&offsets), ascending);
    }

    #[test]
    fn fields_above_a_threshold_are_those_of_the_bytes(
        (bitmap, twin) in prop_oneof![value(), crowded(), mixed()],
        threshold in prop_oneof![
            Just(0u32), Just(1), any::<u32>(), (0u32..32).prop_map(|bit| 1 << bit), Just(u32::MAX)
        ],
        cut in range(),
        limit in prop_oneof![0u64..20, 0u64..20_000],
    ) {
        let all = fields(&twin, threshold);
        prop_assert_eq!(bitmap.fields_above(0..u64::MAX, threshold), all.len() as u64);
        let inside = |id: &&u64| cut.contains(&(**id * 32));
        let expected: Vec<u64> = all.iter().filter(inside).copied().collect();
        prop_assert_eq!(bitmap.fields_above(cut.clone(), threshold), expected.len() as u64);
        for limit in [limit, u64::MAX] {
            let list = bitmap.fields_above_list(cut.clone(), threshold, limit);
            list.check();
            let wanted = &expected[..expected.len().min(limit as usize)];
            prop_assert_eq!(&list.iter_set(0..u64::MAX).collect::<Vec<_>>(), wanted);
            prop_assert_eq!(list, Bitmap::from_offsets(wanted));
        }
    }

    #[test]
    fn segments_are_counted_that_have_a_bit((bitmap, twin) in value(), width in 16u8..26) {
        let mut segments: Vec<u64> = twin.offsets().iter().map(|offset| offset >> width).collect();
        segments.dedup();
        prop_assert_eq!(bitmap.segments(width), segments.len() as u64);
    }
}

#[test]
fn a_set_that_changes_nothing_copies_nothing() {
    let own = Bitmap::from_bytes(&[0x55; 1 << 20]);
    let part = own.restrict(100..5_000_000);
    let mut clone = own.clone();
    assert_eq!(clone.merge(MergeOp::Or, &part), 0);
    assert_eq!(clone.merge(MergeOp::AndNot, &Bitmap::from_bytes(&[0xAA; 1 << 19])), 0);
    assert_eq!(clone, own);
}

#[test]
fn presence_of_a_moment_is_counted_in_a_dense_value() {
    let mut value = Bitmap::zeros(4 << 16);
    for id in 0..1u64 << 16 {
        value.set_field(id * 32, 32, 1_700_000_000 + id);
    }
    assert_eq!(value.fields_above(0..u64::MAX, 1_700_000_000 + 50_000), 65_536 - 50_001);
    let first = value.fields_above_list(0..u64::MAX, 1_700_000_000 + 50_000, 3);
    assert_eq!(first.iter_set(0..u64::MAX).collect::<Vec<_>>(), [50_001, 50_002, 50_003]);
}
