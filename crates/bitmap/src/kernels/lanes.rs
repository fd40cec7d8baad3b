//! The three widths of vector that the loops are compiled for.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// A vector of bits and a vector of sums.
///
/// # Safety
///
/// Every method may be called only inside a function compiled for, and run on, a CPU with the
/// features of the type; `load` and `store` need a pointer good for `BYTES` bytes, however aligned.
pub(super) trait Lanes {
    /// The vector.
    type Vector: Copy;
    /// Its width.
    const BYTES: usize;

    unsafe fn zero() -> Self::Vector;
    unsafe fn load(from: *const u8) -> Self::Vector;
    unsafe fn store(to: *mut u8, value: Self::Vector);
    unsafe fn and(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn or(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn xor(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a & !b`.
    unsafe fn and_not(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The counts of set bits, by 64-bit lane.
    unsafe fn count(a: Self::Vector) -> Self::Vector;
    /// The sum by 64-bit lane.
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a` times 2^`SHIFT` by 64-bit lane.
    unsafe fn shift<const SHIFT: u32>(a: Self::Vector) -> Self::Vector;
    /// The sum of the lanes.
    unsafe fn sum(a: Self::Vector) -> u64;
    /// Which 64-bit lanes have a set bit, the first in the lowest bit.
    unsafe fn nonzero(a: Self::Vector) -> u8;
}

/// The methods of a kind of lanes that are one expression each.
macro_rules! lanes {
    ($vector:ty: $($name:ident($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {
        type Vector = $vector;
        const BYTES: usize = size_of::<$vector>();
        $(
            #[inline(always)]
            unsafe fn $name($($arg: $type),*) -> $out {
                // SAFETY: the trait's caller promises the CPU's features and the pointers.
                #[allow(unused_unsafe, reason = "plain words need it for the pointers only")]
                unsafe { $body }
            }
        )*
    };
}

/// 64-bit words; needs nothing of the CPU.
pub(super) struct Words;

impl Lanes for Words {
    lanes! { u64:
        zero() -> u64 = 0;
        load(from: *const u8) -> u64 = from.cast::<u64>().read_unaligned();
        store(to: *mut u8, value: u64) -> () = to.cast::<u64>().write_unaligned(value);
        and(a: u64, b: u64) -> u64 = a & b;
        or(a: u64, b: u64) -> u64 = a | b;
        xor(a: u64, b: u64) -> u64 = a ^ b;
        and_not(a: u64, b: u64) -> u64 = a & !b;
        count(a: u64) -> u64 = u64::from(a.count_ones());
        add(a: u64, b: u64) -> u64 = a + b;
        sum(a: u64) -> u64 = a;
        nonzero(a: u64) -> u8 = u8::from(a != 0);
    }

    #[inline(always)]
    unsafe fn shift<const SHIFT: u32>(a: u64) -> u64 {
        a << SHIFT
    }
}

/// 256-bit vectors; needs AVX2.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx2 {
    lanes! { __m256i:
        zero() -> __m256i = _mm256_setzero_si256();
        load(from: *const u8) -> __m256i = _mm256_loadu_si256(from.cast());
        store(to: *mut u8, value: __m256i) -> () = _mm256_storeu_si256(to.cast(), value);
        and(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        xor(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        and_not(a: __m256i, b: __m256i) -> __m256i = _mm256_andnot_si256(b, a);
        add(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi64(a, b);
        sum(a: __m256i) -> u64 = {
            let mut lanes = [0u64; 4];
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), a);
            lanes.iter().sum()
        };
        nonzero(a: __m256i) -> u8 = {
            let zero = _mm256_cmpeq_epi64(a, _mm256_setzero_si256());
            _mm256_movemask_pd(_mm256_castsi256_pd(zero)).to_le_bytes()[0] ^ 0x0F
        };
        count(a: __m256i) -> __m256i = {
            // Mula: the count of each nibble by a table in a register, then sums of bytes.
            let table = _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
            let table = _mm256_broadcastsi128_si256(table);
            let nibble = _mm256_set1_epi8(0x0F);
            let low = _mm256_and_si256(a, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(a), nibble);
            let (low, high) = (_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
            _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256())
        };
    }

    #[inline(always)]
    unsafe fn shift<const SHIFT: u32>(a: __m256i) -> __m256i {
        // SAFETY: the trait's caller promises the CPU's features.
        unsafe { _mm256_sll_epi64(a, _mm_set_epi64x(0, i64::from(SHIFT))) }
    }
}

/// 512-bit vectors; needs AVX-512F and VPOPCNTDQ.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx512 {
    lanes! { __m512i:
        zero() -> __m512i = _mm512_setzero_si512();
        load(from: *const u8) -> __m512i = _mm512_loadu_si512(from.cast());
        store(to: *mut u8, value: __m512i) -> () = _mm512_storeu_si512(to.cast(), value);
        and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        xor(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        and_not(a: __m512i, b: __m512i) -> __m512i = _mm512_andnot_si512(b, a);
        count(a: __m512i) -> __m512i = _mm512_popcnt_epi64(a);
        add(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi64(a, b);
        sum(a: __m512i) -> u64 = {
            let mut lanes = [0u64; 8];
            _mm512_storeu_si512(lanes.as_mut_ptr().cast(), a);
            lanes.iter().sum()
        };
        nonzero(a: __m512i) -> u8 = _mm512_test_epi64_mask(a, a);
    }

    #[inline(always)]
    unsafe fn shift<const SHIFT: u32>(a: __m512i) -> __m512i {
        // SAFETY: the trait's caller promises the CPU's features.
        unsafe { _mm512_sll_epi64(a, _mm_set_epi64x(0, i64::from(SHIFT))) }
    }
}
