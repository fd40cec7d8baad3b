//! The word loops: counting and folding of dense containers, by run-time detection of the CPU.
//!
//! One generic loop ([`body`]) is compiled for three kinds of lanes ([`lanes`]): AVX-512 with
//! VPOPCNTDQ, AVX2, and portable 64-bit words. The choice is made once and kept. This module and
//! those below it are the only place of the workspace with `unsafe`: raw loads and stores within
//! blocks whose size the types fix, and calls of functions whose CPU features were detected.

#![expect(unsafe_code, reason = "vector intrinsics and CPU-specific calls; see each SAFETY")]

mod body;
mod lanes;

use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// The bytes of a dense container.
pub(crate) type Block = [u8; 8192];

/// A block of its own, aligned for vectors.
#[derive(Clone)]
#[repr(align(64))]
pub(crate) struct Page(pub(crate) Block);

impl Page {
    /// All zero.
    pub(crate) const ZERO: Self = Self([0; 8192]);
}

/// How [`fold`] joins its operands; the first operand is apart from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// In every operand.
    And,
    /// In any operand.
    Or,
    /// In an odd number of operands.
    Xor,
    /// In the first and in none of the rest.
    Diff,
    /// In any of the rest and not in the first.
    Diff1,
    /// In the first and in any of the rest.
    AndOr,
    /// In exactly one operand.
    One,
}

/// The instructions that the kernels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// 64-bit words, no special instructions.
    Portable,
    /// 256-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors that count, and 256-bit ones.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// Every level that this CPU has, the best first.
    pub(crate) fn available() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2");
            let avx512 = is_x86_feature_detected!("avx512f");
            if avx2 && avx512 && is_x86_feature_detected!("avx512vpopcntdq") {
                levels.push(Self::Avx512);
            }
            if avx2 {
                levels.push(Self::Avx2);
            }
        }
        levels.push(Self::Portable);
        levels
    }

    /// The best level of this CPU, detected once.
    fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }
}

/// Counts the set bits of any bytes.
pub(crate) fn count(bytes: &[u8]) -> u64 {
    if bytes.len() < 64 {
        return count_words(bytes);
    }
    count_at(Level::best(), bytes)
}

/// Counts by words, for short slices and tails.
fn count_words(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()));
    words.chain(tail.iter().map(|byte| u64::from(byte.count_ones()))).sum()
}

/// [`count`] with the instructions of `level`, which the CPU must have.
pub(crate) fn count_at(level: Level, bytes: &[u8]) -> u64 {
    let (blocks, tail) = bytes.as_chunks::<512>();
    let of = |blocks: &[[u8; 512]]| match level {
        Level::Portable => body::count::<lanes::Words>(blocks),
        // SAFETY: `level` comes from `Level::available`, which detected AVX2.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { body::count_avx2(blocks) },
        // SAFETY: as above, for AVX-512F and VPOPCNTDQ.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { body::count_avx512(blocks) },
    };
    if tail.len() < 64 {
        return of(blocks) + count_words(tail);
    }
    let mut last = [0; 512];
    last[..tail.len()].copy_from_slice(tail);
    of(blocks) + of(&[last])
}

/// What is folded.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    /// The first operand.
    pub(crate) first: &'a Block,
    /// The others.
    pub(crate) rest: &'a [&'a Block],
    /// Blocks that are needed next: fetched meanwhile, since the hardware follows a block once it
    /// is begun, but does not know where the next one lies.
    pub(crate) ahead: &'a [&'a Block],
}

/// Joins the operands into a page, `reuse` or a new one, and returns the number of bits set there.
pub(crate) fn fold(
    fold: Fold,
    operands: Operands<'_>,
    reuse: Option<Box<Page>>,
) -> (Box<Page>, u32) {
    let Operands { first, rest, ahead } = operands;
    let mut page = match reuse {
        Some(page) => as_uninit(page),
        None => Box::new_uninit(),
    };
    // SAFETY: the page is a whole block that nothing else borrows, and the fold writes all of it.
    unsafe {
        let out = page.as_mut_ptr().cast::<u8>();
        let card = dispatch(Level::best(), fold, first, rest, ahead, out);
        (page.assume_init(), card)
    }
}

/// Joins `out` as first operand and `rest` into `out` and returns the number of bits set there.
pub(crate) fn fold_in_place(fold: Fold, out: &mut Block, rest: &[&Block]) -> u32 {
    let pointer = out.as_mut_ptr();
    // SAFETY: the pointer is good for a block; the bodies read a vector of `first` before they
    // write it, and only by raw pointers.
    unsafe { dispatch(Level::best(), fold, pointer.cast_const().cast(), rest, &[], pointer) }
}

/// Counts what [`fold`] would set, without storing it.
pub(crate) fn fold_count(fold: Fold, operands: Operands<'_>) -> u32 {
    let Operands { first, rest, ahead } = operands;
    // SAFETY: a null `out` means that nothing is stored.
    unsafe { dispatch(Level::best(), fold, first, rest, ahead, std::ptr::null_mut()) }
}

/// So many blocks are read side by side, besides the page that they are folded over; more are
/// folded in passes, for the hardware follows no more at once. ONE needs two pages, and has none.
const STREAMS_MAX: usize = 8;

/// Folds with the instructions of `level`, in as many passes as it takes.
///
/// # Safety
///
/// `first` is good for reads of a block; `out` is null, or good for writes of a block that overlaps
/// none of `rest` and is either `first` or disjoint from it. The CPU has `level`.
unsafe fn dispatch(
    level: Level,
    fold: Fold,
    first: *const Block,
    rest: &[&Block],
    ahead: &[&Block],
    out: *mut u8,
) -> u32 {
    let pass = |fold, first: *const Block, rest: &[&Block], ahead: &[&Block], out| {
        let first = first.cast();
        // SAFETY: whoever calls it has the promises above, which are those of the bodies.
        unsafe {
            match level {
                Level::Portable => body::fold::<lanes::Words>(fold, first, rest, ahead, out),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => body::fold_avx2(fold, first, rest, ahead, out),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => body::fold_avx512(fold, first, rest, ahead, out),
            }
        }
    };
    if rest.len() < STREAMS_MAX {
        return pass(fold, first, rest, ahead, out);
    }
    let mut room = MaybeUninit::<Page>::uninit();
    let page = room.as_mut_ptr().cast::<u8>();
    match fold {
        Fold::And | Fold::Or | Fold::Xor | Fold::Diff => {
            let to = if out.is_null() { page } else { out };
            let so_far = to.cast_const().cast();
            let (head, tail) = rest.split_at(STREAMS_MAX - 1);
            pass(fold, first, head, &[], to);
            let (tail, last) = tail.split_at((tail.len() - 1) / STREAMS_MAX * STREAMS_MAX);
            for group in tail.chunks(STREAMS_MAX) {
                pass(fold, so_far, group, &[], to);
            }
            pass(fold, so_far, last, ahead, out)
        }
        Fold::Diff1 | Fold::AndOr => {
            // SAFETY: `page` is disjoint from all operands, and all of it is written.
            let any = unsafe {
                dispatch(level, Fold::Or, rest[0], &rest[1..], &[], page);
                room.assume_init_ref()
            };
            pass(fold, first, &[&any.0], ahead, out)
        }
        Fold::One => pass(fold, first, rest, ahead, out),
    }
}

/// Counts the big-endian numbers that are above a threshold.
pub(crate) fn count_above(fields: &[[u8; 4]], threshold: u32) -> u32 {
    match Level::best() {
        Level::Portable => body::count_above(fields, threshold),
        // SAFETY: the best level is one that was detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => unsafe { body::count_above_avx2(fields, threshold) },
    }
}

/// The page as memory to be written.
fn as_uninit(page: Box<Page>) -> Box<MaybeUninit<Page>> {
    // SAFETY: the layout is the same, and every page is also a possibly uninitialised one.
    unsafe { Box::from_raw(Box::into_raw(page).cast()) }
}

/// For each group of 64 words of a page, which of them have a set bit.
pub(crate) fn filled(page: &Page) -> [u64; 16] {
    filled_at(Level::best(), page)
}

/// [`filled`] with the instructions of `level`, which the CPU must have.
fn filled_at(level: Level, page: &Page) -> [u64; 16] {
    match level {
        Level::Portable => body::filled::<lanes::Words>(page),
        // SAFETY: `level` comes from `Level::available`, which detected AVX2.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { body::filled_avx2(page) },
        // SAFETY: as above, for AVX-512F and VPOPCNTDQ.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { body::filled_avx512(page) },
    }
}

/// Asks the CPU to fetch the bytes of these bits, which are looked up soon.
pub(crate) fn fetch_bits(block: &Block, places: &[u16]) {
    for place in places {
        fetch(&block[usize::from(*place / 8)]);
    }
}

/// Asks the CPU to fetch a value that is looked at soon, if there is one.
pub(crate) fn fetch_value(values: &[u16], at: usize) {
    if let Some(value) = values.get(at) {
        fetch(value);
    }
}

/// Asks the CPU to fetch the line with the first byte of what is needed soon.
#[inline(always)]
pub(crate) fn fetch<T>(item: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see, and faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(item.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}

#[cfg(test)]
mod tests;
