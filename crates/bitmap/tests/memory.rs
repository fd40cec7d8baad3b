//! Goal: a value costs what is set, clones share, and the kept sum of allocated bytes is honest.
//! Method: fixed values whose cost is known.

#![allow(clippy::cast_possible_truncation, reason = "test values are small")]

use bitroster_bitmap::Bitmap;

#[test]
fn far_bits_cost_what_is_set() {
    let mut one = Bitmap::new();
    one.set((1 << 32) - 1, true);
    assert!(one.heap_bytes() + size_of::<Bitmap>() < 400, "{}", one.heap_bytes());
    let mut two = Bitmap::new();
    two.set(1, true);
    two.set(99_999_999, true);
    assert!(two.heap_bytes() + size_of::<Bitmap>() < 600, "{}", two.heap_bytes());
}

#[test]
fn short_values_live_in_the_struct() {
    assert_eq!(size_of::<Bitmap>(), 24);
    assert_eq!(Bitmap::from_bytes(&[7; 22]).heap_bytes(), 0);
    assert_eq!(Bitmap::from_bytes(&[7; 23]).heap_bytes(), 32);
    assert_eq!(Bitmap::from_bytes(&[7; 64]).heap_bytes(), 64);
    assert!(Bitmap::from_bytes(&[7; 64]).as_flat().is_some());
    assert!(Bitmap::from_bytes(&[7; 65]).as_flat().is_none());
}

#[test]
fn a_dense_value_costs_under_two_percent_more_than_its_bytes() {
    let bytes: Vec<u8> =
        (0..12_500_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let value = Bitmap::from_bytes(&bytes);
    assert_eq!(value.stats().dense.count, 1526);
    assert!(value.heap_bytes() < bytes.len() / 50 * 51, "{}", value.heap_bytes());
}

#[test]
fn ranges_and_ones_are_nearly_free() {
    let mut value = Bitmap::new();
    value.fill(1_000..90_000_000, true);
    assert!(value.heap_bytes() < 40_000, "{}", value.heap_bytes());
    assert_eq!(value.stats().runs.count, 2);
    let ones = Bitmap::ones(1 << 29);
    assert_eq!(ones.cardinality(), 1 << 32);
    assert!(ones.heap_bytes() < 20_000, "{}", ones.heap_bytes());
}

#[test]
fn a_sparse_value_given_as_bytes_becomes_arrays_and_runs() {
    let mut bytes = vec![0u8; 1 << 20];
    bytes[100] = 1;
    bytes[20_000..26_000].fill(0xFF);
    let value = Bitmap::from_bytes(&bytes);
    let stats = value.stats();
    assert_eq!((stats.arrays.count, stats.runs.count, stats.dense.count), (1, 2, 0));
    assert!(value.heap_bytes() < 800);
}

#[test]
fn optimizing_makes_runs_of_what_was_set_bit_by_bit() {
    let mut value = Bitmap::new();
    for offset in (0..60_000).step_by(2).chain((1..60_000).step_by(2)) {
        value.set(offset, true);
    }
    assert_eq!(value.stats().dense.count, 1);
    let before = value.clone();
    value.optimize();
    assert_eq!(value.stats().runs.count, 1);
    assert!(value == before && value.heap_bytes() < before.heap_bytes() / 10);
}

#[test]
fn a_container_at_the_threshold_does_not_change_form_with_every_write() {
    let mut value = Bitmap::zeros(8192);
    for offset in 0..3072 {
        value.set(offset * 2, true);
    }
    assert_eq!(value.stats().arrays.count, 1);
    value.set(6144, true);
    assert_eq!(value.stats().dense.count, 1);
    value.set(0, false);
    value.set(2, false);
    assert_eq!(value.stats().dense.count, 1);
    for offset in 2..800 {
        value.set(offset * 2, false);
    }
    assert_eq!(value.stats().arrays.count, 1);
    value.check();
}

#[test]
fn offsets_up_to_the_limit_are_taken() {
    let mut value = Bitmap::new();
    value.set((1 << 42) - 1, true);
    assert_eq!(value.len_bytes(), 1 << 39);
    assert_eq!(value.first_set(0..u64::MAX), Some((1 << 42) - 1));
    assert_eq!(value.count(1 << 41..u64::MAX), 1);
    value.check();
}

#[test]
#[should_panic(expected = "beyond the limit")]
fn an_offset_beyond_the_limit_is_a_broken_promise() {
    Bitmap::new().set(1 << 42, true);
}
