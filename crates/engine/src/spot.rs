//! Where a key lives in the keyspace.

use bitroster_placement::slot_of_key;
use bitroster_types::Slot;

/// A key's slot and its hash within the slot.
///
/// The hash is fixed for ever: it orders the keys of a slot, and with that SCAN's cursors and the
/// bytes of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) slot: Slot,
    pub(crate) hash: u32,
}

impl Spot {
    /// The first of all.
    pub(crate) const FIRST: Self = Self { slot: Slot::of_hash(0), hash: 0 };

    pub(crate) fn of(key: &[u8]) -> Self {
        Self { slot: slot_of_key(key), hash: hash_of(key) }
    }

    /// Slot and hash in one number that orders as they do; below 2^46.
    pub(crate) fn packed(self) -> u64 {
        (u64::from(self.slot.number()) << 32) | u64::from(self.hash)
    }

    /// The reverse of [`Spot::packed`]; `None` past the last slot.
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is checked")]
    pub(crate) fn unpack(packed: u64) -> Option<Self> {
        let slot = Slot::new(u16::try_from(packed >> 32).ok()?)?;
        Some(Self { slot, hash: packed as u32 })
    }
}

const MULTIPLIERS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03];

/// Multiplies to 128 bits and folds: every bit of the product counts.
#[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// A fixed hash, well mixed, of any bytes.
pub(crate) fn hash_of(key: &[u8]) -> u32 {
    let (words, rest) = key.as_chunks::<8>();
    let mut state = MULTIPLIERS[1] ^ key.len() as u64;
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), MULTIPLIERS[0]);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state = fold(state ^ u64::from_le_bytes(last), MULTIPLIERS[0]);
    (fold(state ^ MULTIPLIERS[0], MULTIPLIERS[1]) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn packing_a_spot_loses_nothing() {
        for key in [&b"a"[..], b"user:17", b"{tag}x", b""] {
            let spot = Spot::of(key);
            assert_eq!(Spot::unpack(spot.packed()), Some(spot));
        }
        assert_eq!(Spot::unpack(16_384 << 32), None);
        assert_eq!(Spot::unpack(u64::MAX), None);
    }

    #[test]
    fn similar_keys_of_one_slot_get_different_hashes() {
        let hashes: BTreeSet<u32> =
            (0..10_000).map(|n| Spot::of(format!("{{x}}:{n}").as_bytes()).hash).collect();
        assert!(hashes.len() > 9_995);
        let top: BTreeSet<u32> = hashes.iter().map(|hash| hash >> 24).collect();
        assert_eq!(top.len(), 256);
    }

    #[test]
    fn the_hash_never_changes() {
        let hashes = [&b""[..], b"user:17", b"permissions:user:17"].map(|key| Spot::of(key).hash);
        assert_eq!(hashes, [2_244_748_525, 1_486_284_906, 2_539_855_587]);
    }
}
