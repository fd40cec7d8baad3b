//! Goal: RESTORE takes what DUMP gives, takes Redis's strings, and refuses everything else.
//!
//! Method: payloads that redis-server 7.0.15 made; round trips; every payload with one byte changed
//! or cut off; random bodies under a good checksum, which must never panic.

use bitroster_bitmap::Bitmap;
use bitroster_command::{CommandError, ParseLimits, payload};
use crc::{CRC_64_REDIS, Crc};
use proptest::{collection::vec, prelude::*};

fn encoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Bitmap::from_bytes(value).encode(&mut out);
    out
}

fn restored(dump: &[u8]) -> Result<Vec<u8>, CommandError> {
    let value = payload::restore(dump, &ParseLimits::default())?;
    let value = Bitmap::decode(&value).expect("a restored value is in the codec");
    Ok(value.read_bytes(0..value.len_bytes()))
}

/// A payload of any body, with a good checksum.
fn framed(kind: u8, body: &[u8], version: u16) -> Vec<u8> {
    let mut dump = vec![kind];
    dump.extend_from_slice(body);
    dump.extend_from_slice(&version.to_le_bytes());
    let sum = Crc::<u64>::new(&CRC_64_REDIS).checksum(&dump);
    dump.extend_from_slice(&sum.to_le_bytes());
    dump
}

/// What redis-server 7.0.15 answers to DUMP.
const REDIS: &[(&[u8], &[u8])] = &[
    (b"", b"\x00\x00\x0a\x00\x5d\x9b\x5c\x40\x0f\x7f\xa2\xda"),
    (b"\x80\x00\x01", b"\x00\x03\x80\x00\x01\x0a\x00\xf7\x34\x9b\xa5\xde\x88\x3e\x67"),
    (b"-7", b"\x00\xc0\xf9\x0a\x00\x5e\x26\xd1\x30\xd7\xa2\x42\xab"),
    (b"1234", b"\x00\xc1\xd2\x04\x0a\x00\x00\x87\x08\xa1\x44\x82\x5c\xed"),
    (b"-2000000000", b"\x00\xc2\x00\x6c\xca\x88\x0a\x00\x35\xff\xae\xbd\x7f\x1d\x7a\x67"),
    (b"12345678901", b"\x00\x0b12345678901\x0a\x00\x30\x4e\x52\xd7\x27\x17\x65\x10"),
    (
        &[0; 1000],
        b"\x00\xc3\x12\x43\xe8\x01\x00\x00\xe0\xff\x00\xe0\xff\x00\xe0\xff\x00\xe0\xc3\x00\x01\x00\
          \x00\x0a\x00\xb6\x59\xb3\x1e\x94\xec\x84\x63",
    ),
    (
        b"abcabcabcabcabcabcabcabcabcabcabc",
        b"\x00\xc3\x0b\x21\x03abca\xe0\x12\x02\x01bc\x0a\x00\x8d\x69\xcc\x0c\x04\xa4\xeb\x30",
    ),
];

/// What it answers for a list.
const LIST: &[u8] = b"\x12\x01\x02\x0a\x0a\x00\x00\x00\x01\x00\x81\x61\x02\xff\x0a\x00\x09\xb9\xed\
                      \xf5\x94\xde\xd9\x95";

#[test]
fn redis_strings_are_restored() {
    for (value, dump) in REDIS {
        assert_eq!(restored(dump).as_deref(), Ok(*value), "{dump:x?}");
    }
}

#[test]
fn lengths_of_all_forms_are_read() {
    let value = vec![0xA5; 5000];
    for head in [
        vec![0x40 | (5000_u16 >> 8).to_le_bytes()[0], 5000_u16.to_le_bytes()[0]],
        [&[0x80][..], &5000_u32.to_be_bytes()].concat(),
        [&[0x81][..], &5000_u64.to_be_bytes()].concat(),
    ] {
        let dump = framed(0, &[head, value.clone()].concat(), 12);
        assert_eq!(restored(&dump).as_ref(), Ok(&value));
    }
}

#[test]
fn values_of_other_types_and_versions_are_refused() {
    assert_eq!(restored(LIST), Err(CommandError::DUMP_FORMAT));
    let body = encoded(b"x");
    assert_eq!(restored(&framed(0, b"\x01x", 13)), Err(CommandError::DUMP_CHECKSUM));
    assert_eq!(restored(&framed(0, b"\x01x", 0xB001)), Err(CommandError::DUMP_FORMAT));
    assert_eq!(restored(&framed(0xB1, &body, 12)), Err(CommandError::DUMP_FORMAT));
    assert_eq!(restored(&framed(0xB1, &body, 0xB002)), Err(CommandError::DUMP_CHECKSUM));
    assert_eq!(restored(&framed(0xB1, b"x", 0xB001)), Err(CommandError::DUMP_FORMAT));
}

#[test]
fn malformed_strings_are_refused() {
    for body in [
        &b""[..],
        b"\x02x",
        b"\x01xy",
        b"\x40",
        b"\x80\xff\xff\xff\xff",
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x82",
        b"\xc0",
        b"\xc1\x01",
        b"\xc4\x01",
        b"\xc3\x02\x02\x00a",
        b"\xc3\x02\x05\x00a",
        b"\xc3\xc0\x01\x01a",
        b"\xc3\x02\x03\x20\x00",
        b"\xc3\x04\x80\xff\xff\xff\xff\x00a\xe0\xff",
        b"\xc3\x03\x02\x02ab",
    ] {
        let refused = restored(&framed(0, body, 9)).unwrap_err();
        let expected = [CommandError::DUMP_FORMAT, CommandError::VALUE_LENGTH];
        assert!(expected.contains(&refused), "{body:x?}: {refused}");
    }
}

#[test]
fn a_value_past_the_limits_is_refused() {
    let limits = ParseLimits { bitmap_bits_max: 1 << 10, bulk_bytes_max: 1 << 20 };
    for (len, fits) in [(128, true), (129, false)] {
        let value = vec![1; len];
        let ours = payload::restore(&payload::dump(&encoded(&value)), &limits);
        let body = [&[0x40, u8::try_from(len).unwrap()][..], &value].concat();
        let theirs = payload::restore(&framed(0, &body, 9), &limits);
        for found in [ours, theirs] {
            assert_eq!(found.is_ok(), fits, "{len}");
            assert!(fits || found == Err(CommandError::VALUE_LENGTH));
        }
    }
}

proptest! {
    #[test]
    fn what_was_dumped_is_restored(value in vec(any::<u8>(), 0..3000)) {
        prop_assert_eq!(restored(&payload::dump(&encoded(&value))), Ok(value));
    }

    #[test]
    fn a_changed_byte_is_noticed(
        value in vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let mut dump = payload::dump(&encoded(&value));
        let at = at.index(dump.len());
        dump[at] ^= change;
        prop_assert_eq!(restored(&dump), Err(CommandError::DUMP_CHECKSUM));
        prop_assert_eq!(restored(&dump[..at]), Err(CommandError::DUMP_CHECKSUM));
    }

    #[test]
    fn no_body_panics(
        kind in prop::sample::select(vec![0, 0xB1]),
        body in vec(any::<u8>(), 0..60),
    ) {
        let version = if kind == 0 { 10 } else { 0xB001 };
        drop(restored(&framed(kind, &body, version)));
        let packed = [&b"\xc3\x20\x41\x00"[..], &body].concat();
        drop(restored(&framed(0, &packed, 10)));
    }
}
