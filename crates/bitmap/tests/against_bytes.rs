//! Goal: a bitmap does what plain bytes do, whatever its representation, and clones are isolated.
//!
//! Method: random sequences of operations on a bitmap and on its twin of plain bytes; every answer
//! is compared, and at the end every clone made on the way with the twin of its moment. Offsets lie
//! around the borders of bytes, containers and nodes.
//!
//! Mutants seen to fail: a container kept when it became empty, a sum of bytes not updated, a
//! length not extended by a written zero, bits written together in the wrong order.

#![allow(clippy::cast_possible_truncation, reason = "test values are small")]

mod twin;

use std::ops::Range;

use bitroster_bitmap::Bitmap;
use proptest::prelude::*;
use twin::{Twin, assert_same, offset, range, value};

#[derive(Clone, Debug)]
enum Step {
    Set(u64, bool),
    SetAll(Vec<(u64, bool)>),
    Ladder(u64, u64, bool),
    Fill(Range<u64>, bool),
    Flip(Range<u64>),
    Write(u64, Vec<u8>),
    Field(u64, u32, u64),
    Extend(u64),
    Truncate(u64),
    Optimize,
    Clone,
    Restrict(Range<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), 0usize..20_000).prop_map(|(byte, len)| vec![byte; len]),
        (any::<u8>(), 8000usize..9000).prop_map(|(seed, len)| {
            (0..len).map(|i| (i as u8).wrapping_mul(seed).wrapping_add(seed >> 2)).collect()
        }),
    ];
    let near = prop::collection::vec((0u64..12, any::<bool>()), 0..60);
    prop_oneof![
        6 => (offset(), any::<bool>()).prop_map(|(offset, bit)| Step::Set(offset, bit)),
        3 => prop::collection::vec((offset(), any::<bool>()), 0..60).prop_map(Step::SetAll),
        1 => (offset(), near).prop_map(|(offset, bits)| {
            Step::SetAll(bits.into_iter().map(|(by, bit)| (offset + by, bit)).collect())
        }),
        2 => (offset(), 1u64..5, any::<bool>()).prop_map(|(o, by, bit)| Step::Ladder(o, by, bit)),
        2 => (range(), any::<bool>()).prop_map(|(range, bit)| Step::Fill(range, bit)),
        2 => range().prop_map(Step::Flip),
        2 => (offset(), bytes).prop_map(|(offset, bytes)| Step::Write(offset / 8, bytes)),
        3 => (offset(), 1u32..=64, any::<u64>()).prop_map(|(o, w, v)| Step::Field(o, w, v)),
        1 => offset().prop_map(|offset| Step::Extend(offset / 8)),
        1 => offset().prop_map(|offset| Step::Truncate(offset / 8)),
        1 => Just(Step::Optimize),
        2 => Just(Step::Clone),
        1 => range().prop_map(Step::Restrict),
    ]
}

fn apply(step: &Step, bitmap: &mut Bitmap, twin: &mut Twin) {
    match step {
        Step::Set(offset, bit) => assert_eq!(bitmap.set(*offset, *bit), twin.set(*offset, *bit)),
        Step::SetAll(bits) => {
            let mut told = Vec::new();
            bitmap.fetch_all(bits.iter().map(|(offset, _)| *offset));
            bitmap.set_all(bits, |old| told.push(old));
            let expected = bits.iter().map(|(offset, bit)| twin.set(*offset, *bit));
            assert_eq!(told, expected.collect::<Vec<_>>());
        }
        Step::Ladder(offset, by, bit) => {
            for i in 0..5000 {
                let offset = offset + i * by;
                assert_eq!(bitmap.set(offset, *bit), twin.set(offset, *bit));
            }
        }
        Step::Fill(range, bit) => {
            bitmap.fill(range.clone(), *bit);
            if !range.is_empty() {
                twin.fill(range.clone(), *bit);
            }
        }
        Step::Flip(range) => {
            bitmap.flip(range.clone());
            twin.flip(range.clone());
        }
        Step::Write(at, bytes) => {
            bitmap.write_bytes(*at, bytes);
            twin.write(*at, bytes);
        }
        Step::Field(offset, width, value) => {
            bitmap.set_field(*offset, *width, *value);
            for i in 0..u64::from(*width) {
                twin.set(offset + i, value >> (u64::from(*width) - 1 - i) & 1 == 1);
            }
            let mask = u64::MAX >> (64 - width);
            assert_eq!(bitmap.field(*offset, *width), value & mask);
        }
        Step::Extend(len) => {
            bitmap.extend_len(*len);
            twin.extend(*len);
        }
        Step::Truncate(len) => {
            bitmap.truncate(*len);
            twin.0.truncate(*len as usize);
        }
        Step::Optimize => bitmap.optimize(),
        Step::Restrict(range) => {
            *bitmap = bitmap.restrict(range.clone());
            *twin = twin.keep(range.clone());
        }
        Step::Clone => {}
    }
    bitmap.check();
    assert_eq!(bitmap.len_bytes(), twin.0.len() as u64, "{step:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sequence_of_writes_gives_the_bytes_that_redis_would(
        start in value(),
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let (mut bitmap, mut twin) = start;
        let mut kept = vec![(bitmap.clone(), twin.clone())];
        for step in &steps {
            apply(step, &mut bitmap, &mut twin);
            if matches!(step, Step::Clone) {
                kept.push((bitmap.clone(), twin.clone()));
            }
        }
        kept.push((bitmap, twin));
        for (bitmap, twin) in &kept {
            assert_same(bitmap, twin);
        }
    }

    #[test]
    fn reads_answer_as_plain_bytes_do(
        (bitmap, twin) in value(),
        ranges in prop::collection::vec(range(), 1..20),
        offsets in prop::collection::vec(offset(), 1..20),
        width in 1u32..=64,
    ) {
        assert_same(&bitmap, &twin);
        let set = twin.offsets();
        prop_assert_eq!(bitmap.last_set(), set.last().copied());
        for offset in offsets {
            prop_assert_eq!(bitmap.get(offset), twin.get(offset));
            let field = (0..u64::from(width))
                .fold(0u64, |acc, i| acc << 1 | u64::from(twin.get(offset + i)));
            prop_assert_eq!(bitmap.field(offset, width), field);
        }
        for range in ranges {
            prop_assert_eq!(bitmap.count(range.clone()), twin.count(range.clone()));
            let from = set.partition_point(|offset| *offset < range.start);
            let to = set.partition_point(|offset| *offset < range.end);
            let within = &set[from..to.max(from)];
            prop_assert_eq!(bitmap.first_set(range.clone()), within.first().copied());
            let clear = range.clone().find(|offset| !twin.get(*offset));
            prop_assert_eq!(bitmap.first_clear(range.clone()), clear);
            let listed: Vec<u64> = bitmap.iter_set(range.clone()).take(3000).collect();
            prop_assert_eq!(&listed[..], &within[..within.len().min(3000)]);
            let bytes = range.start / 8..range.end / 8;
            let (lo, hi) = (bytes.start as usize, (bytes.end as usize).min(twin.0.len()));
            prop_assert!(bitmap.read_bytes(bytes) == twin.0.get(lo..hi).unwrap_or_default());
            assert_same(&bitmap.restrict(range.clone()), &twin.keep(range));
        }
        let listed: Vec<u64> = bitmap.iter_set(0..u64::MAX).collect();
        prop_assert!(listed == set);
    }

    #[test]
    fn pieces_of_a_divided_value_merge_to_the_whole(
        (bitmap, twin) in value(),
        width in 16u32..24,
        groups in 1u64..5,
    ) {
        let piece = 1u64 << width;
        let mut whole = Bitmap::new();
        for group in 0..groups {
            let part = bitmap.restrict_to(|start| start / piece % groups == group, piece);
            part.check();
            prop_assert_eq!(part.len_bytes(), bitmap.len_bytes());
            let wrong = part.iter_set(0..u64::MAX).find(|o| o / piece % groups != group);
            prop_assert_eq!(wrong, None);
            whole.merge_disjoint(&part);
        }
        assert_same(&whole, &twin);
        assert_same(&bitmap, &twin);
    }
}

#[test]
fn the_first_clear_bit_may_lie_past_the_length() {
    for len in [0u64, 3, 64, 65, 8192, 600_000] {
        let ones = Bitmap::ones(len);
        assert_eq!(ones.cardinality(), len * 8);
        assert_eq!(ones.first_clear(0..u64::MAX), Some(len * 8));
        assert_eq!(ones.first_clear(0..len * 8), None);
        assert_eq!(ones.first_clear(len * 8 + 5..len * 8 + 6), Some(len * 8 + 5));
        let zeros = Bitmap::zeros(len);
        assert_eq!((zeros.len_bytes(), zeros.cardinality()), (len, 0));
        assert_eq!(zeros.first_set(0..u64::MAX), None);
    }
}

#[test]
fn a_value_built_bit_by_bit_up_and_down_passes_through_every_form() {
    let (mut bitmap, mut twin) = (Bitmap::zeros(70_000 / 8), Twin(vec![0; 70_000 / 8]));
    for offset in (0..65_536).step_by(3).chain((1..65_536).step_by(3)).chain((2..65_536).step_by(3))
    {
        assert_eq!(bitmap.set(offset, true), twin.set(offset, true));
    }
    assert_eq!(bitmap.stats().full.count, 1);
    assert_same(&bitmap, &twin);
    for offset in (0..65_536).step_by(2).chain((1..65_536).step_by(2)) {
        assert_eq!(bitmap.set(offset, false), twin.set(offset, false));
        if offset % 1111 == 0 {
            assert_same(&bitmap, &twin);
        }
    }
    assert_eq!((bitmap.cardinality(), bitmap.stats()), (0, Default::default()));
}
