//! Which group owns each slot.

use std::ops::Range;

use bitroster_types::{
    GroupId, Segment, SegmentWidth, Slot,
    limits::{BITMAP_BITS_MAX, PLACEMENT_SEGMENTS_EXAMINED_MAX, SLOTS},
};

use crate::{
    mix::checksum,
    ring::Ring,
    slot::{slot_of, slot_of_key, slot_of_segment},
};

/// Says what the bytes are and in which form: the last byte is the form's number.
const MAGIC: [u8; 4] = *b"BRM\x01";

/// Magic, epoch, width, number of groups.
const HEAD_BYTES: usize = 4 + 8 + 1 + 2;

/// Why bytes are not a cluster map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Not a map, or of a form this build does not know.
    #[error("not a cluster map, or one of an unknown form")]
    Magic,
    /// Too short or too long for what it says it holds.
    #[error("a cluster map of {len} bytes does not hold what its head says")]
    Length {
        /// Bytes at hand.
        len: usize,
    },
    /// Damaged.
    #[error("the checksum of a cluster map does not match")]
    Checksum,
    /// A field's value makes no sense.
    #[error("bad {0} in a cluster map")]
    Field(&'static str),
}

/// Which group owns each slot, at one epoch.
///
/// Cheap to ask, dear to clone (32 KiB): share it behind an `Arc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMap {
    /// The map's version; a newer map has a greater one. The first is 1.
    pub epoch: u64,
    /// The width of all segments of the cluster.
    pub width: SegmentWidth,
    /// One owner a slot, each of them in `groups`.
    owners: Box<[GroupId]>,
    /// Ascending, each once; not empty.
    groups: Vec<GroupId>,
    /// How many of `groups` own a slot.
    owning: usize,
}

impl ClusterMap {
    /// The first map of a new cluster: epoch 1, owners as the [`Ring`] of `groups` has them.
    ///
    /// Costs some milliseconds.
    ///
    /// # Panics
    ///
    /// If there are no groups.
    ///
    /// ```
    /// use bitroster_placement::ClusterMap;
    /// use bitroster_types::{GroupId, SegmentWidth};
    ///
    /// let map = ClusterMap::plan(&[GroupId(1), GroupId(2)], SegmentWidth::DEFAULT);
    /// assert_eq!(map.group_of_bit(b"k", 0), map.home(b"k"));
    /// ```
    pub fn plan(groups: &[GroupId], width: SegmentWidth) -> Self {
        let ring = Ring::new(groups);
        Self::assemble(1, width, ring.owners(), ring.groups().to_vec())
    }

    fn assemble(
        epoch: u64,
        width: SegmentWidth,
        owners: Box<[GroupId]>,
        groups: Vec<GroupId>,
    ) -> Self {
        let owning = groups.iter().filter(|group| owners.contains(group)).count();
        Self { epoch, width, owners, groups, owning }
    }

    /// The map's version; a newer map has a greater one.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The width of all segments of the cluster.
    pub fn width(&self) -> SegmentWidth {
        self.width
    }

    /// All groups, ascending; never empty. A group may own no slot.
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// All owners, by the slot's number: 16384 of them.
    pub fn owners(&self) -> &[GroupId] {
        &self.owners
    }

    /// The group that owns `slot`.
    pub fn owner(&self, slot: Slot) -> GroupId {
        self.owners[slot.index()]
    }

    /// The group that owns the first segment of `key` and keeps its record.
    pub fn home(&self, key: &[u8]) -> GroupId {
        self.owner(slot_of_key(key))
    }

    /// The group that owns one segment of `key`.
    pub fn group_of(&self, key: &[u8], segment: Segment) -> GroupId {
        self.owner(slot_of(key, segment))
    }

    /// The group that owns the bit of `key` at `offset`. Costs a few nanoseconds.
    ///
    /// # Panics
    ///
    /// If `offset` is past the largest bitmap: offsets are checked when parsed.
    pub fn group_of_bit(&self, key: &[u8], offset: u64) -> GroupId {
        self.group_of(key, self.width.segment_of(offset))
    }

    /// The slots of `group`, ascending; none for a group that is not in the map.
    ///
    /// Costs a pass over all slots.
    pub fn slots_of(&self, group: GroupId) -> Vec<Slot> {
        (0..SLOTS).filter_map(Slot::new).filter(|slot| self.owner(*slot) == group).collect()
    }

    /// Runs of neighbouring slots with one owner, ascending: first slot, last slot, owner.
    ///
    /// Costs a pass over all slots.
    pub fn ranges(&self) -> Vec<(u16, u16, GroupId)> {
        let mut ranges: Vec<(u16, u16, GroupId)> = Vec::new();
        for (slot, owner) in (0..SLOTS).zip(&self.owners) {
            match ranges.last_mut() {
                Some((_, last, group)) if group == owner => *last = slot,
                _ => ranges.push((slot, slot, *owner)),
            }
        }
        ranges
    }

    /// The groups that own a segment of `key` that `bits` (half-open) touches, ascending; none for
    /// an empty range.
    ///
    /// Ends as soon as all groups are in. Past [`PLACEMENT_SEGMENTS_EXAMINED_MAX`] segments it
    /// takes all groups that own a slot, which may be more than needed but never fewer. Bits past
    /// the largest bitmap do not count.
    pub fn groups_of_range(&self, key: &[u8], bits: Range<u64>) -> Vec<GroupId> {
        let end = bits.end.min(BITMAP_BITS_MAX);
        let mut found = Vec::new();
        if bits.start >= end {
            return found;
        }
        let first = self.width.segment_of(bits.start).0;
        let last = self.width.segment_of(end - 1).0;
        let mut add = |group| {
            if let Err(place) = found.binary_search(&group) {
                found.insert(place, group);
            }
            found.len() == self.owning
        };
        if first == 0 && add(self.home(key)) {
            return found;
        }
        for (examined, segment) in (first.max(1)..=last).enumerate() {
            if examined == PLACEMENT_SEGMENTS_EXAMINED_MAX {
                return self.owning_groups();
            }
            if add(self.owner(slot_of_segment(Segment(segment)))) {
                break;
            }
        }
        found
    }

    /// The groups that own at least one slot, ascending.
    fn owning_groups(&self) -> Vec<GroupId> {
        self.groups.iter().copied().filter(|group| self.owners.contains(group)).collect()
    }

    /// The next map: an epoch later, with `moves` done and their new owners among the groups.
    pub fn reassign(&self, moves: &[(Slot, GroupId)]) -> Self {
        let mut owners = self.owners.clone();
        let mut groups = self.groups.clone();
        for (slot, group) in moves {
            owners[slot.index()] = *group;
            if let Err(place) = groups.binary_search(group) {
                groups.insert(place, *group);
            }
        }
        Self::assemble(self.epoch + 1, self.width, owners, groups)
    }

    /// The map as bytes: magic with the form's number, epoch, width, groups, one group a slot,
    /// checksum; all little-endian. About 32 KiB.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 2 * (self.groups.len() + 16_384) + 8);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.push(self.width.log2());
        let count =
            u16::try_from(self.groups.len()).expect("there are fewer than 2^16 group ids in use");
        bytes.extend_from_slice(&count.to_le_bytes());
        for group in self.groups.iter().chain(&self.owners) {
            bytes.extend_from_slice(&group.0.to_le_bytes());
        }
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The map that [`encode`](Self::encode) made these bytes from.
    ///
    /// # Errors
    ///
    /// Whatever is wrong first: form, length, checksum, a field's value.
    pub fn decode(bytes: &[u8]) -> Result<Self, MapError> {
        let length = MapError::Length { len: bytes.len() };
        if bytes.first_chunk() != Some(&MAGIC) {
            return Err(MapError::Magic);
        }
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(length)?;
        let (head, ids) = body.split_first_chunk::<HEAD_BYTES>().ok_or(length)?;
        let [_, _, _, _, epoch @ .., width, count_low, count_high] = *head;
        let (ids, odd) = ids.as_chunks::<2>();
        let count = usize::from(u16::from_le_bytes([count_low, count_high]));
        if !odd.is_empty() || ids.len() != count + usize::from(SLOTS) {
            return Err(length);
        }
        if checksum(body) != u64::from_le_bytes(*sum) {
            return Err(MapError::Checksum);
        }
        let ids: Vec<_> = ids.iter().map(|id| GroupId(u16::from_le_bytes(*id))).collect();
        let (groups, owners) = ids.split_at(count);
        if groups.is_empty() || !groups.is_sorted_by(|a, b| a < b) {
            return Err(MapError::Field("list of groups"));
        }
        if owners.iter().any(|owner| groups.binary_search(owner).is_err()) {
            return Err(MapError::Field("owner"));
        }
        let width = SegmentWidth::from_log2(width).ok_or(MapError::Field("segment width"))?;
        Ok(Self::assemble(u64::from_le_bytes(epoch), width, owners.into(), groups.to_vec()))
    }
}
