//! Which slots, and with them which segments, the group owns.

use bitroster_placement::{slot_of_key, slot_of_segment};
use bitroster_types::{Segment, SegmentWidth, Slot, limits::SLOTS, planted::Fault};

/// The slots of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    words: Box<[u64; SLOTS as usize / 64]>,
    count: u32,
}

impl Default for Owned {
    fn default() -> Self {
        Self { words: Box::new([0; SLOTS as usize / 64]), count: 0 }
    }
}

impl Owned {
    pub(crate) fn of(slots: &[Slot]) -> Self {
        let mut owned = Self::default();
        for slot in slots {
            owned.words[slot.index() / 64] |= 1 << (slot.index() % 64);
        }
        owned.count = owned.words.iter().map(|word| word.count_ones()).sum();
        owned
    }

    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.words[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn has_all(&self) -> bool {
        self.count == u32::from(SLOTS)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        (0..SLOTS).filter_map(Slot::new).filter(|slot| self.has(*slot))
    }

    /// Whether a request that touches `segment` of a key with this slot is treated as at the key's
    /// home.
    pub(crate) fn acts_as_home(&self, slot: Slot, segment: Segment) -> bool {
        self.has(slot) || segment.is_first() && Fault::SkipEpochCheck.is_planted()
    }

    /// Whether a request for a segment is taken, `is_home` being what
    /// [`acts_as_home`](Self::acts_as_home) says.
    pub(crate) fn takes_segment(&self, is_home: bool, segment: Segment) -> bool {
        self.has_segment(is_home, segment) || Fault::SkipEpochCheck.is_planted()
    }

    /// Whether the group is the key's home.
    pub(crate) fn is_home(&self, key: &[u8]) -> bool {
        self.has_all() || self.has(slot_of_key(key))
    }

    /// Whether the group owns a segment of a key whose home it is, or is not.
    pub(crate) fn has_segment(&self, is_home: bool, segment: Segment) -> bool {
        if segment.is_first() {
            return is_home;
        }
        self.has_all() || self.has(slot_of_segment(segment))
    }

    /// Whether the group owns every segment that holds a bit of `first..=last`.
    pub(crate) fn has_bits(
        &self,
        is_home: bool,
        width: SegmentWidth,
        (first, last): (u64, u64),
    ) -> bool {
        if self.has_all() {
            return true;
        }
        let segments = width.segment_of(first).0..=width.segment_of(last).0;
        segments.into_iter().all(|segment| self.has_segment(is_home, Segment(segment)))
    }
}
