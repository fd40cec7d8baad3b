//! The one fixed hash of 64 bits.

use std::hash::{BuildHasher, Hasher};

/// Weyl constant of splitmix64: 2^64 divided by the golden ratio.
const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64 bits that mixes all of them.
pub(crate) const fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(WEYL);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Folds bytes, eight at a time, little-endian, their number last.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        sum = mix(sum ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    sum = mix(sum ^ u64::from_le_bytes(last));
    mix(sum ^ bytes.len() as u64)
}

/// A hasher without keys of its own: the same on every machine, in every build, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct FixedState;

impl BuildHasher for FixedState {
    type Hasher = FixedHasher;

    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0)
    }
}

/// See [`FixedState`]. Feed it `u64`s: `write` is there for the trait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedHasher(u64);

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0 ^ checksum(bytes));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0 ^ value);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_matches_the_published_sequence_of_splitmix64() {
        // Seed 1234567: the first outputs of the reference implementation.
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(mix(1_234_567_u64.wrapping_add(WEYL)), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_checksum_tells_lengths_and_places_apart() {
        assert_ne!(checksum(b""), checksum(b"\0"));
        assert_ne!(checksum(b"12345678"), checksum(b"12345678\0"));
        assert_ne!(checksum(b"abcdefgh12345678"), checksum(b"12345678abcdefgh"));
    }
}
