//! The loops, generic over the width of vector.
//!
//! Counting is Harley-Seal: a tree of carry-save adders makes of eight vectors one of weight eight,
//! and only that one is counted by table.

use super::lanes::Lanes;
use super::{Block, Fold, Page, fetch};

/// Vectors of one step.
const STEP: usize = 8;

/// Carry-save sums of the vectors seen so far, by weight.
struct Sums<L: Lanes> {
    ones: L::Vector,
    twos: L::Vector,
    fours: L::Vector,
    eights: L::Vector,
}

/// Adds three bits by position: `(carry, sum)`.
#[inline(always)]
unsafe fn carry_save<L: Lanes>(a: L::Vector, b: L::Vector, c: L::Vector) -> (L::Vector, L::Vector) {
    // SAFETY: the caller has the features of `L`.
    unsafe {
        let half = L::xor(a, b);
        (L::or(L::and(a, b), L::and(half, c)), L::xor(half, c))
    }
}

impl<L: Lanes> Sums<L> {
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller has the features of `L`.
        unsafe { Self { ones: L::zero(), twos: L::zero(), fours: L::zero(), eights: L::zero() } }
    }

    /// Adds one step of vectors.
    #[inline(always)]
    unsafe fn add(&mut self, step: [L::Vector; STEP]) {
        // SAFETY: the caller has the features of `L`.
        unsafe {
            let [a, b, c, d, e, f, g, h] = step;
            let (two_a, ones) = carry_save::<L>(self.ones, a, b);
            let (two_b, ones) = carry_save::<L>(ones, c, d);
            let (four_a, twos) = carry_save::<L>(self.twos, two_a, two_b);
            let (two_a, ones) = carry_save::<L>(ones, e, f);
            let (two_b, ones) = carry_save::<L>(ones, g, h);
            let (four_b, twos) = carry_save::<L>(twos, two_a, two_b);
            let (eight, fours) = carry_save::<L>(self.fours, four_a, four_b);
            self.ones = ones;
            self.twos = twos;
            self.fours = fours;
            self.eights = L::add(self.eights, L::count(eight));
        }
    }

    #[inline(always)]
    unsafe fn total(self) -> u64 {
        // SAFETY: the caller has the features of `L`.
        unsafe {
            let fours = L::shift::<2>(L::count(self.fours));
            let twos = L::shift::<1>(L::count(self.twos));
            let low = L::add(L::add(fours, twos), L::count(self.ones));
            L::sum(L::add(L::shift::<3>(self.eights), low))
        }
    }
}

/// Loads one step of vectors.
///
/// # Safety
///
/// `from` is good for `STEP * L::BYTES` bytes, and the CPU has the features of `L`.
#[inline(always)]
unsafe fn load<L: Lanes>(from: *const u8) -> [L::Vector; STEP] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut step = [L::zero(); STEP];
        for (i, vector) in step.iter_mut().enumerate() {
            *vector = L::load(from.add(i * L::BYTES));
        }
        step
    }
}

/// Counts the set bits of whole 512-byte blocks.
#[inline(always)]
pub(super) fn count<L: Lanes>(blocks: &[[u8; 512]]) -> u64 {
    // SAFETY: reached only with the features of `L`; a step divides a block, so that every load
    // lies within one.
    unsafe {
        const { assert!(512 % (STEP * L::BYTES) == 0) };
        let mut sums = Sums::<L>::new();
        for block in blocks {
            for at in (0..512).step_by(STEP * L::BYTES) {
                sums.add(load::<L>(block.as_ptr().add(at)));
            }
        }
        sums.total()
    }
}

/// Joins two vectors of every step by `with`.
macro_rules! each {
    ($acc:ident, $step:expr, $with:path) => {{
        let step = $step;
        for i in 0..STEP {
            $acc[i] = $with($acc[i], step[i]);
        }
    }};
}

/// Joins one step at byte `at` of all operands.
///
/// # Safety
///
/// As for [`fold`], and `at + STEP * L::BYTES` is at most a block.
#[inline(always)]
unsafe fn join<L: Lanes>(
    fold: Fold,
    first: *const u8,
    rest: &[&Block],
    at: usize,
) -> [L::Vector; STEP] {
    // SAFETY: every pointer is that of a block, and the step lies within it.
    unsafe {
        let head = load::<L>(first.add(at));
        match fold {
            Fold::And => {
                let mut acc = head;
                for block in rest {
                    each!(acc, load::<L>(block.as_ptr().add(at)), L::and);
                }
                acc
            }
            Fold::Or => {
                let mut acc = head;
                for block in rest {
                    each!(acc, load::<L>(block.as_ptr().add(at)), L::or);
                }
                acc
            }
            Fold::Xor => {
                let mut acc = head;
                for block in rest {
                    each!(acc, load::<L>(block.as_ptr().add(at)), L::xor);
                }
                acc
            }
            Fold::Diff => {
                let mut acc = head;
                for block in rest {
                    each!(acc, load::<L>(block.as_ptr().add(at)), L::and_not);
                }
                acc
            }
            Fold::Diff1 | Fold::AndOr => {
                let mut acc = [L::zero(); STEP];
                for block in rest {
                    each!(acc, load::<L>(block.as_ptr().add(at)), L::or);
                }
                if fold == Fold::AndOr {
                    each!(acc, head, L::and);
                } else {
                    each!(acc, head, L::and_not);
                }
                acc
            }
            Fold::One => {
                let (mut any, mut many) = (head, [L::zero(); STEP]);
                for block in rest {
                    let step = load::<L>(block.as_ptr().add(at));
                    for i in 0..STEP {
                        many[i] = L::or(many[i], L::and(any[i], step[i]));
                        any[i] = L::or(any[i], step[i]);
                    }
                }
                each!(any, many, L::and_not);
                any
            }
        }
    }
}

/// Joins blocks, stores the result unless `out` is null, and returns the number of its set bits.
/// The blocks `ahead` are fetched on the way.
///
/// # Safety
///
/// `first` is good for reads of a block; `out` is null, or good for writes of a block that overlaps
/// none of `rest` and is either `first` or disjoint from it. The CPU has the features of `L`, and
/// the caller is compiled for them.
#[inline(always)]
pub(super) unsafe fn fold<L: Lanes>(
    fold: Fold,
    first: *const u8,
    rest: &[&Block],
    ahead: &[&Block],
    out: *mut u8,
) -> u32 {
    // One loop for each kind, so that the kind is not looked at in every step.
    macro_rules! run {
        ($fold:expr) => {{
            // SAFETY: steps lie within the block; the step is read before it is written.
            unsafe {
                let mut sums = Sums::<L>::new();
                for at in (0..size_of::<Block>()).step_by(STEP * L::BYTES) {
                    for block in ahead {
                        for line in (at..at + STEP * L::BYTES).step_by(64) {
                            fetch(block.as_ptr().add(line));
                        }
                    }
                    let step = join::<L>($fold, first, rest, at);
                    if !out.is_null() {
                        for i in 0..STEP {
                            L::store(out.add(at + i * L::BYTES), step[i]);
                        }
                    }
                    sums.add(step);
                }
                sums.total()
            }
        }};
    }
    let total = match fold {
        Fold::And => run!(Fold::And),
        Fold::Or => run!(Fold::Or),
        Fold::Xor => run!(Fold::Xor),
        Fold::Diff => run!(Fold::Diff),
        Fold::Diff1 => run!(Fold::Diff1),
        Fold::AndOr => run!(Fold::AndOr),
        Fold::One => run!(Fold::One),
    };
    u32::try_from(total).expect("a block has 65536 bits")
}

/// For each group of 64 words of a page, which of them have a set bit.
#[inline(always)]
pub(super) fn filled<L: Lanes>(page: &Page) -> [u64; 16] {
    let mut groups = [0; 16];
    for (group, bytes) in groups.iter_mut().zip(page.0.as_chunks::<512>().0) {
        for (at, step) in bytes.chunks_exact(L::BYTES).enumerate() {
            // SAFETY: reached only with the features of `L`; the chunk is a vector long.
            let words = unsafe { L::nonzero(L::load(step.as_ptr())) };
            *group |= u64::from(words) << (at * L::BYTES / 8);
        }
    }
    groups
}

/// [`filled`] for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) fn filled_avx2(page: &Page) -> [u64; 16] {
    filled::<super::lanes::Avx2>(page)
}

/// [`filled`] for AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
pub(super) fn filled_avx512(page: &Page) -> [u64; 16] {
    filled::<super::lanes::Avx512>(page)
}

/// Counts the big-endian numbers that are above a threshold.
#[inline(always)]
pub(super) fn count_above(fields: &[[u8; 4]], threshold: u32) -> u32 {
    fields.iter().map(|field| u32::from(u32::from_be_bytes(*field) > threshold)).sum()
}

/// [`count_above`] for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) fn count_above_avx2(fields: &[[u8; 4]], threshold: u32) -> u32 {
    count_above(fields, threshold)
}

/// [`count`] for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) fn count_avx2(blocks: &[[u8; 512]]) -> u64 {
    count::<super::lanes::Avx2>(blocks)
}

/// [`count`] for AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
pub(super) fn count_avx512(blocks: &[[u8; 512]]) -> u64 {
    count::<super::lanes::Avx512>(blocks)
}

/// [`fold`] for AVX2.
///
/// # Safety
///
/// As for [`fold`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn fold_avx2(
    kind: Fold,
    first: *const u8,
    rest: &[&Block],
    ahead: &[&Block],
    out: *mut u8,
) -> u32 {
    // SAFETY: the caller's promises.
    unsafe { fold::<super::lanes::Avx2>(kind, first, rest, ahead, out) }
}

/// [`fold`] for AVX-512.
///
/// # Safety
///
/// As for [`fold`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
pub(super) unsafe fn fold_avx512(
    kind: Fold,
    first: *const u8,
    rest: &[&Block],
    ahead: &[&Block],
    out: *mut u8,
) -> u32 {
    // SAFETY: the caller's promises.
    unsafe { fold::<super::lanes::Avx512>(kind, first, rest, ahead, out) }
}
