//! Keys and segments to slots.

use bitroster_types::{Segment, Slot};

use crate::mix::mix;

/// The polynomial of CRC16/XMODEM: x^16 + x^12 + x^5 + 1.
const POLYNOMIAL: u16 = 0x1021;

/// Row `n` takes a byte that is followed by `n` more bytes of the same step to its share of the
/// checksum, so that eight bytes go in one step.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0_u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut row = 1;
    while row < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[row - 1][byte];
            tables[row][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        row += 1;
    }
    tables
}

/// CRC16/XMODEM: polynomial 0x1021, start 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    let (steps, rest) = bytes.as_chunks::<8>();
    let mut crc = 0_u16;
    for step in steps {
        let [high, low] = crc.to_be_bytes();
        crc = TABLES[7][usize::from(step[0] ^ high)]
            ^ TABLES[6][usize::from(step[1] ^ low)]
            ^ TABLES[5][usize::from(step[2])]
            ^ TABLES[4][usize::from(step[3])]
            ^ TABLES[3][usize::from(step[4])]
            ^ TABLES[2][usize::from(step[5])]
            ^ TABLES[1][usize::from(step[6])]
            ^ TABLES[0][usize::from(step[7])];
    }
    for byte in rest {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) ^ u16::from(*byte))];
    }
    crc
}

/// What of `key` decides its slot: the text between the first `{` and the first `}` after it where
/// that is not empty, else all of it.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let after = &key[open + 1..];
    match after.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => &after[..close],
    }
}

/// The slot of `key`'s first segment: CRC16 of the key, or of its `{hash tag}`, mod 16384.
///
/// Costs about a nanosecond a byte. Redis Cluster's rule (Redis Cluster specification, "Hash
/// tags"), so that `CLUSTER KEYSLOT` agrees.
///
/// ```
/// use bitroster_placement::slot_of_key;
/// assert_eq!(slot_of_key(b"foo").number(), 12182);
/// assert_eq!(slot_of_key(b"{user1000}.following"), slot_of_key(b"{user1000}.followers"));
/// ```
pub fn slot_of_key(key: &[u8]) -> Slot {
    Slot::of_hash(u64::from(crc16(hash_tag(key))))
}

/// The slot of segment `segment` of every key, for segments from 1 on: one step of splitmix64 with
/// the segment's number as its state, mod 16384.
///
/// Independent of the key, so that equal ranges of all big bitmaps lie together. For segment 0 the
/// value has no meaning: use [`slot_of_key`].
pub const fn slot_of_segment(segment: Segment) -> Slot {
    Slot::of_hash(mix(segment.0 as u64))
}

/// The slot of one segment of one key.
pub fn slot_of(key: &[u8], segment: Segment) -> Slot {
    if segment.is_first() { slot_of_key(key) } else { slot_of_segment(segment) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crc16_bit_by_bit(bytes: &[u8]) -> u16 {
        let mut crc = 0_u16;
        for byte in bytes {
            crc ^= u16::from(*byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            }
        }
        crc
    }

    #[test]
    fn the_checksum_is_the_one_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("hello", 866), ("somekey", 11058)] {
            assert_eq!(slot_of_key(key.as_bytes()).number(), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_hash_tag_that_is_not_empty_counts() {
        for (key, tag) in [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo}{bar", "foo}{bar"),
            ("foo{bar", "foo{bar"),
            ("}a{b}", "b"),
            ("{}", "{}"),
            ("", ""),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }

    #[test]
    fn the_slots_of_segments_never_change() {
        let slots = [1, 2, 3, 4095, 4_194_303, u32::MAX].map(|s| slot_of_segment(Segment(s)));
        assert_eq!(slots.map(Slot::number), [7361, 5838, 4077, 3331, 873, 448]);
        assert_eq!(slot_of(b"foo", Segment::FIRST).number(), 12182);
        assert_eq!(slot_of(b"foo", Segment(1)), slot_of(b"bar", Segment(1)));
    }

    proptest! {
        #[test]
        fn eight_bytes_a_step_agree_with_a_bit_a_step(
            bytes in prop::collection::vec(any::<u8>(), 0..80)
        ) {
            prop_assert_eq!(crc16(&bytes), crc16_bit_by_bit(&bytes));
        }
    }
}
