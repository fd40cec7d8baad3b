//! Goal: encodings round-trip; damaged or hostile input gives an error or an equal value, never a
//! panic; the Roaring formats are those of the specification.
//!
//! Method: values of every form; truncation at every place and flips of single bits; the checksum
//! set right again after damage, so that what lies behind it is reached; vectors made by hand.
//!
//! Mutants seen to fail: a bit past the length accepted, the checksum skipped, arrays that need not
//! ascend, a Roaring cardinality not compared, Roaring's bits not turned.

mod twin;

use bitroster_bitmap::{Bitmap, DecodeError, RoaringError};
use proptest::prelude::*;
use twin::{assert_same, value};

fn encoded(bitmap: &Bitmap) -> Vec<u8> {
    let mut bytes = Vec::new();
    bitmap.encode(&mut bytes);
    bytes
}

/// Replaces the checksum by the right one.
fn seal(bytes: &mut [u8]) {
    let body = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..body]);
    bytes[body..].copy_from_slice(&crc.to_le_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_encoded_value_decodes_to_itself((bitmap, twin) in value()) {
        let mut bytes = b"before".to_vec();
        bitmap.encode(&mut bytes);
        assert_same(&Bitmap::decode(&bytes[6..]).unwrap(), &twin);
    }

    #[test]
    fn damage_is_an_error(
        (bitmap, _) in value(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let bytes = encoded(&bitmap);
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(Bitmap::decode(&damaged).is_err());
        prop_assert!(Bitmap::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn damage_behind_a_right_checksum_never_breaks_an_invariant(
        (bitmap, _) in value(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
        early in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&bitmap);
        let body = bytes.len() - 4;
        for (at, bit) in flips {
            let at = if early { at.index(body.min(24)) } else { at.index(body) };
            bytes[at] ^= 1 << bit;
        }
        seal(&mut bytes);
        if let Ok(value) = Bitmap::decode(&bytes) {
            value.check();
            prop_assert!(Bitmap::decode(&encoded(&value)).unwrap() == value);
        }
        bytes.truncate(cut.index(body) + 4);
        seal(&mut bytes);
        if let Ok(value) = Bitmap::decode(&bytes) {
            value.check();
        }
    }

    #[test]
    fn any_bytes_at_all_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut sealed = bytes.clone();
        sealed.extend_from_slice(&[0; 4]);
        sealed[0] = 1;
        seal(&mut sealed);
        drop(Bitmap::decode(&bytes));
        drop(Bitmap::decode(&sealed));
        drop(Bitmap::from_roaring32(&bytes));
        drop(Bitmap::from_roaring64(&bytes));
    }

    #[test]
    fn roaring_forms_round_trip(
        (bitmap, _) in value(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (narrow, wide) = (bitmap.to_roaring32().unwrap(), bitmap.to_roaring64());
        let mut expected = bitmap.clone();
        expected.truncate(bitmap.last_set().map_or(0, |last| last / 8 + 1));
        prop_assert!(Bitmap::from_roaring32(&narrow).unwrap() == expected);
        prop_assert!(Bitmap::from_roaring64(&wide).unwrap() == expected);
        for bytes in [narrow, wide] {
            let cut = at.index(bytes.len());
            prop_assert!(Bitmap::from_roaring32(&bytes[..cut]).is_err());
            prop_assert!(Bitmap::from_roaring64(&bytes[..cut]).is_err() || cut == 8);
            let mut damaged = bytes;
            damaged[cut] ^= 1 << bit;
            for value in [Bitmap::from_roaring32(&damaged), Bitmap::from_roaring64(&damaged)] {
                value.into_iter().for_each(|value| value.check());
            }
        }
    }
}

#[test]
fn lying_counts_and_lengths_are_refused() {
    let refused = |body: &[u8]| {
        let mut bytes = body.to_vec();
        bytes.extend_from_slice(&[0; 4]);
        seal(&mut bytes);
        Bitmap::decode(&bytes).unwrap_err()
    };
    let malformed = |body: &[u8]| assert!(matches!(refused(body), DecodeError::Malformed { .. }));
    let truncated = |body: &[u8]| assert!(matches!(refused(body), DecodeError::Truncated { .. }));
    assert_eq!(refused(&[2]), DecodeError::Version { version: 2 });
    // A length of 2^62, a number without an end.
    malformed(&[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]);
    malformed(&[1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    // Fewer flat bytes than the length; bytes after the end.
    truncated(&[1, 3, 0xAA]);
    malformed(&[1, 1, 0xAA, 0xBB]);
    // 2^40 containers of which none is there.
    truncated(&[1, 0x80, 0x7F, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
    // An array of 4096 values in three bytes; of 4097; of none; out of order; an unknown form.
    truncated(&[1, 0x80, 0x7F, 1, 0, 1, 0x80, 0x20, 1, 0, 1]);
    malformed(&[1, 0x80, 0x7F, 1, 0, 1, 0x81, 0x20]);
    malformed(&[1, 0x80, 0x7F, 1, 0, 1, 0]);
    malformed(&[1, 0x80, 0x7F, 1, 0, 1, 2, 5, 0, 5, 0]);
    malformed(&[1, 0x80, 0x7F, 1, 0, 9]);
    // A container past the length, and a bit past the length (100 bytes).
    malformed(&[1, 100, 1, 1, 0]);
    malformed(&[1, 100, 1, 0, 0]);
    malformed(&[1, 100, 1, 0, 1, 1, 0x20, 3]);
    // Runs that overlap, and a dense container of zeros.
    malformed(&[1, 100, 1, 0, 3, 2, 1, 0, 9, 0, 9, 0, 12, 0]);
    let mut zeros = vec![1, 100, 1, 0, 2];
    zeros.resize(105, 0);
    malformed(&zeros);
}

#[test]
fn a_checksum_that_differs_is_reported_with_both_values() {
    let mut bytes = encoded(&Bitmap::from_bytes(b"abc"));
    bytes[3] ^= 1;
    assert!(matches!(Bitmap::decode(&bytes), Err(DecodeError::Checksum { .. })));
    assert_eq!(Bitmap::decode(&[1, 2]), Err(DecodeError::Truncated { at: 2 }));
}

#[test]
fn the_plain_roaring_form_is_that_of_the_specification() {
    let mut bitmap = Bitmap::new();
    for offset in [1, 2, 500, 131_072 + 9] {
        bitmap.set(offset, true);
    }
    let expected: Vec<u8> = [
        &[0x3A, 0x30, 0, 0, 2, 0, 0, 0][..],
        &[0, 0, 2, 0, 2, 0, 0, 0],
        &[24, 0, 0, 0, 30, 0, 0, 0],
        &[1, 0, 2, 0, 0xF4, 1, 9, 0],
    ]
    .concat();
    assert_eq!(bitmap.to_roaring32().unwrap(), expected);
    let wide = [&1u64.to_le_bytes()[..], &0u32.to_le_bytes(), &expected].concat();
    assert_eq!(bitmap.to_roaring64(), wide);
    assert_eq!(Bitmap::from_roaring64(&wide).unwrap(), Bitmap::from_roaring32(&expected).unwrap());
    assert_eq!(Bitmap::new().to_roaring32().unwrap(), [0x3A, 0x30, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Bitmap::new().to_roaring64(), [0; 8]);
    assert!(Bitmap::from_roaring32(&[0x3A, 0x30, 0, 0, 0, 0, 0, 0]).unwrap().is_empty());
}

#[test]
fn the_roaring_form_with_runs_is_that_of_the_specification() {
    // Container 0: the run 10..=109; container 5: the values 3 and 4 as an array.
    let bytes: Vec<u8> = [
        &[0x3B, 0x30, 1, 0, 0b01][..],
        &[0, 0, 99, 0, 5, 0, 1, 0],
        &[1, 0, 10, 0, 99, 0],
        &[3, 0, 4, 0],
    ]
    .concat();
    let mut expected = Bitmap::new();
    expected.fill(10..110, true);
    expected.set(5 * 65_536 + 3, true);
    expected.set(5 * 65_536 + 4, true);
    assert_eq!(Bitmap::from_roaring32(&bytes).unwrap(), expected);
    assert_eq!(expected.to_roaring32().unwrap(), bytes);
}

#[test]
fn a_dense_roaring_container_counts_bits_from_the_lowest() {
    let mut bytes = vec![0x3A, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0];
    let mut words = vec![0u8; 8192];
    words[..1000].fill(0xFF);
    words[1000] = 0b0000_0001;
    bytes[10..12].copy_from_slice(&8000u16.to_le_bytes());
    bytes.extend_from_slice(&words);
    let mut expected = Bitmap::new();
    expected.fill(0..8001, true);
    assert_eq!(Bitmap::from_roaring32(&bytes).unwrap(), expected);
}

#[test]
fn a_roaring_cardinality_that_lies_is_refused() {
    let malformed = |bytes: &[u8]| {
        let what = "cardinality differs from the bits";
        assert_eq!(Bitmap::from_roaring32(bytes), Err(RoaringError::Malformed { what }));
    };
    // A run of 100 declared as 99, and a dense container of 8000 bits declared as 7999.
    malformed(&[0x3B, 0x30, 0, 0, 1, 0, 0, 98, 0, 1, 0, 10, 0, 99, 0]);
    let mut dense = vec![0x3A, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0];
    dense[10..12].copy_from_slice(&7998u16.to_le_bytes());
    dense.resize(16 + 1000, 0xFF);
    dense.resize(16 + 8192, 0);
    malformed(&dense);
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let mut far = Bitmap::new();
    far.set(1 << 32, true);
    assert_eq!(far.to_roaring32(), None);
    assert_eq!(Bitmap::from_roaring64(&far.to_roaring64()).unwrap(), far);
    let mut beyond = far.to_roaring64();
    beyond[8..12].copy_from_slice(&1024u32.to_le_bytes());
    assert_eq!(Bitmap::from_roaring64(&beyond), Err(RoaringError::Offset { value: 1024 << 32 }));
    let many = [0x3A, 0x30, 0, 0, 0, 0, 2, 0];
    assert!(matches!(Bitmap::from_roaring32(&many), Err(RoaringError::Malformed { .. })));
}

#[test]
fn a_dense_container_of_few_bits_is_written_as_an_array() {
    for (bits, bytes) in [(3072, 6144), (3073, 6146), (4095, 8190), (4096, 8192), (4097, 8192)] {
        let mut bitmap = Bitmap::zeros(9000);
        for bit in 0..bits {
            bitmap.set(bit * 13 % 65_536, true);
        }
        assert_eq!(bitmap.stats().dense.count, usize::from(bits > 3072));
        let encoded = encoded(&bitmap);
        // The version, lengths, a skip and a form, the count of an array, the checksum.
        let count = if bytes < 8192 { 2 } else { 0 };
        assert_eq!(encoded.len(), 1 + 2 + 1 + 1 + 1 + count + bytes + 4, "{bits} bits");
        let decoded = Bitmap::decode(&encoded).unwrap();
        decoded.check();
        assert!(decoded == bitmap);
        assert_eq!(decoded.stats(), bitmap.stats());
    }
}
