//! A bitmap as plain bytes, and generators of values of every form.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::cast_possible_truncation, reason = "test values are small")]

use std::ops::Range;

use bitroster_bitmap::{BitOp, Bitmap};
use proptest::prelude::*;

pub(crate) const OPS: [BitOp; 8] = [
    BitOp::And,
    BitOp::Or,
    BitOp::Xor,
    BitOp::Not,
    BitOp::Diff,
    BitOp::Diff1,
    BitOp::AndOr,
    BitOp::One,
];

/// Plain bytes in Redis order; every operation is the obvious loop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Twin(pub(crate) Vec<u8>);

impl Twin {
    pub(crate) fn bits(&self) -> u64 {
        self.0.len() as u64 * 8
    }

    pub(crate) fn get(&self, offset: u64) -> bool {
        self.0.get((offset >> 3) as usize).is_some_and(|byte| byte & (0x80 >> (offset & 7)) != 0)
    }

    pub(crate) fn extend(&mut self, len: u64) {
        if len > self.0.len() as u64 {
            self.0.resize(len as usize, 0);
        }
    }

    pub(crate) fn set(&mut self, offset: u64, value: bool) -> bool {
        self.extend((offset >> 3) + 1);
        let old = self.get(offset);
        let mask = 0x80 >> (offset & 7);
        let byte = &mut self.0[(offset >> 3) as usize];
        *byte = if value { *byte | mask } else { *byte & !mask };
        old
    }

    pub(crate) fn fill(&mut self, range: Range<u64>, value: bool) {
        let end = if value { range.end } else { range.end.min(self.bits()) };
        for offset in range.start..end {
            self.set(offset, value);
        }
    }

    pub(crate) fn flip(&mut self, range: Range<u64>) {
        for offset in range {
            self.set(offset, !self.get(offset));
        }
    }

    pub(crate) fn count(&self, range: Range<u64>) -> u64 {
        let (start, end) = (range.start.min(self.bits()), range.end.min(self.bits()));
        let whole = start.div_ceil(8)..end / 8;
        if whole.is_empty() {
            return (start..end).filter(|offset| self.get(*offset)).count() as u64;
        }
        let edges = (start..whole.start * 8).chain(whole.end * 8..end);
        let edges = edges.filter(|offset| self.get(*offset)).count() as u64;
        let bytes = &self.0[whole.start as usize..whole.end as usize];
        edges + bytes.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
    }

    pub(crate) fn offsets(&self) -> Vec<u64> {
        let bytes = self.0.iter().enumerate().filter(|(_, byte)| **byte != 0);
        bytes
            .flat_map(|(at, byte)| {
                (0..8u64)
                    .filter(move |bit| byte & (0x80 >> bit) != 0)
                    .map(move |b| at as u64 * 8 + b)
            })
            .collect()
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.extend(at + bytes.len() as u64);
            self.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        }
    }

    pub(crate) fn keep(&self, range: Range<u64>) -> Self {
        let mut kept = self.clone();
        kept.fill(0..range.start, false);
        kept.fill(range.end..u64::MAX, false);
        kept
    }
}

/// One byte of the result, from one byte of each operand.
pub(crate) fn join(op: BitOp, bytes: &[u8]) -> u8 {
    let any = bytes.iter().skip(1).fold(0, |acc, byte| acc | byte);
    match op {
        BitOp::And => bytes.iter().fold(0xFF, |acc, byte| acc & byte),
        BitOp::Or => bytes[0] | any,
        BitOp::Xor => bytes.iter().fold(0, |acc, byte| acc ^ byte),
        BitOp::Not => !bytes[0],
        BitOp::Diff => bytes[0] & !any,
        BitOp::Diff1 => any & !bytes[0],
        BitOp::AndOr => any & bytes[0],
        BitOp::One => (0..8).fold(0, |acc, bit| {
            let set = bytes.iter().filter(|byte| **byte >> bit & 1 == 1).count();
            acc | u8::from(set == 1) << bit
        }),
    }
}

/// BITOP over plain bytes.
pub(crate) fn combine(op: BitOp, operands: &[&Twin]) -> Twin {
    let len = operands.iter().map(|twin| twin.0.len()).max().unwrap_or(0);
    let mut bytes = vec![0; operands.len()];
    let byte = |at: usize| {
        for (byte, twin) in bytes.iter_mut().zip(operands) {
            *byte = twin.0.get(at).copied().unwrap_or(0);
        }
        // Most of a value is zero, and only NOT makes something of that.
        let nothing = op != BitOp::Not && bytes.iter().all(|byte| *byte == 0);
        if nothing { 0 } else { join(op, &bytes) }
    };
    Twin((0..len).map(byte).collect())
}

/// Asserts that value and twin are the same in every way that can be seen.
pub(crate) fn assert_same(value: &Bitmap, twin: &Twin) {
    value.check();
    assert_eq!(value.len_bytes(), twin.0.len() as u64);
    assert!(value.read_bytes(0..u64::MAX) == twin.0, "bytes differ: {value:?}");
    assert_eq!(value.cardinality(), twin.count(0..u64::MAX));
    assert!(*value == Bitmap::from_bytes(&twin.0), "unequal to the same bytes: {value:?}");
}

/// What one chunk holds.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Values(Vec<u16>),
    Random(u64, u32),
    Runs(Vec<(u16, u16)>),
    Full,
}

/// Chunks at which pieces are put: both sides of the borders of two nodes.
pub(crate) const CHUNKS: [u64; 7] = [0, 1, 2, 63, 64, 65, 128];

pub(crate) fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        3 => prop::collection::vec(any::<u16>(), 1..12).prop_map(Piece::Values),
        2 => prop::collection::vec(0u16..200, 1..60).prop_map(Piece::Values),
        2 => (any::<u64>(), 40u32..5000).prop_map(|(seed, card)| Piece::Random(seed, card)),
        3 => (any::<u64>(), 5000u32..60_000).prop_map(|(seed, card)| Piece::Random(seed, card)),
        3 => prop::collection::vec((any::<u16>(), any::<u16>()), 1..20).prop_map(Piece::Runs),
        2 => Just(Piece::Full),
    ]
}

/// A value of pieces of every form, with its twin; the length may go beyond the last bit.
pub(crate) fn value() -> impl Strategy<Value = (Bitmap, Twin)> {
    let pieces = prop::collection::vec((prop::sample::select(&CHUNKS[..]), piece()), 0..6);
    let tree = (pieces, 0u64..20_000, any::<bool>()).prop_map(|(pieces, spare, optimize)| {
        let (mut bitmap, mut twin) = (Bitmap::new(), Twin::default());
        for (chunk, piece) in &pieces {
            put(&mut bitmap, &mut twin, chunk << 16, piece);
        }
        if optimize {
            bitmap.optimize();
        }
        let len = bitmap.len_bytes() + spare;
        bitmap.extend_len(len);
        twin.extend(len);
        (bitmap, twin)
    });
    let flat = prop::collection::vec(any::<u8>(), 0..70)
        .prop_map(|bytes| (Bitmap::from_bytes(&bytes), Twin(bytes)));
    prop_oneof![6 => tree, 1 => flat]
}

/// A value whose first six chunks nearly all hold something, so that operands meet in each.
pub(crate) fn crowded() -> impl Strategy<Value = (Bitmap, Twin)> {
    let card = prop_oneof![3 => 1u32..120, 3 => 120u32..5000, 1 => 5000u32..40_000, 1 => Just(0)];
    prop::collection::vec((any::<u64>(), card), 6).prop_map(|chunks| {
        let (mut bitmap, mut twin) = (Bitmap::new(), Twin::default());
        for (chunk, (seed, card)) in chunks.into_iter().enumerate() {
            put(&mut bitmap, &mut twin, (chunk as u64) << 16, &Piece::Random(seed, card));
        }
        (bitmap, twin)
    })
}

/// A value whose first four chunks hold anything: nothing, a short or long list, dense bits, runs,
/// or, rarely, all bits.
pub(crate) fn mixed() -> impl Strategy<Value = (Bitmap, Twin)> {
    let piece = prop_oneof![
        1 => Just(None),
        2 => prop::collection::vec(any::<u16>(), 1..100).prop_map(|list| Some(Piece::Values(list))),
        6 => (any::<u64>(), 100u32..4000).prop_map(|(seed, card)| Some(Piece::Random(seed, card))),
        2 => (any::<u64>(), 5000u32..30_000)
            .prop_map(|(seed, card)| Some(Piece::Random(seed, card))),
        2 => prop::collection::vec((any::<u16>(), 0u16..3000), 1..12).prop_map(|runs| {
            let runs = runs.into_iter().map(|(start, len)| (start, start.saturating_add(len)));
            Some(Piece::Runs(runs.collect()))
        }),
        1 => any::<bool>().prop_map(|full| full.then_some(Piece::Full)),
    ];
    prop::collection::vec(piece, 4).prop_map(|chunks| {
        let (mut bitmap, mut twin) = (Bitmap::new(), Twin::default());
        for (chunk, piece) in chunks.iter().enumerate() {
            if let Some(piece) = piece {
                put(&mut bitmap, &mut twin, (chunk as u64) << 16, piece);
            }
        }
        bitmap.optimize();
        (bitmap, twin)
    })
}

fn put(bitmap: &mut Bitmap, twin: &mut Twin, base: u64, piece: &Piece) {
    let mut both = |offset: u64| {
        assert_eq!(bitmap.set(offset, true), twin.set(offset, true));
    };
    match piece {
        Piece::Values(values) => values.iter().for_each(|value| both(base + u64::from(*value))),
        Piece::Random(seed, card) => {
            let mut state = seed | 1;
            for _ in 0..*card {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                both(base + (state >> 48));
            }
        }
        Piece::Runs(runs) => {
            for (a, b) in runs {
                let range = base + u64::from(*a.min(b))..base + u64::from(*a.max(b)) + 1;
                bitmap.fill(range.clone(), true);
                twin.fill(range, true);
            }
        }
        Piece::Full => {
            bitmap.fill(base..base + 65_536, true);
            twin.fill(base..base + 65_536, true);
        }
    }
}

/// Offsets near the borders of bytes, words, flat values, containers and nodes.
pub(crate) fn offset() -> impl Strategy<Value = u64> {
    const BORDERS: [u64; 9] = [0, 64, 512, 65_536, 131_072, 63 << 16, 1 << 22, 65 << 16, 1 << 23];
    prop_oneof![
        4 => (prop::sample::select(&BORDERS[..]), 0u64..40)
            .prop_map(|(border, by)| (border + by).saturating_sub(20)),
        1 => 0u64..8_500_000,
        1 => 0u64..600,
    ]
}

pub(crate) fn range() -> impl Strategy<Value = Range<u64>> {
    prop_oneof![
        3 => (offset(), offset()).prop_map(|(a, b)| a.min(b)..a.max(b)),
        2 => (offset(), 0u64..3000).prop_map(|(a, len)| a..a + len),
    ]
}
