//! Goal: a cluster map answers what its table says, and survives its bytes.
//!
//! Method: every short cut is compared with a naive walk over all segments; bytes are cut, flipped
//! and forged.

use std::collections::BTreeSet;

use bitroster_placement::{ClusterMap, MapError, slot_of, slot_of_key};
use bitroster_types::{GroupId, Segment, SegmentWidth, Slot, limits::SLOTS};
use proptest::prelude::*;

fn map(groups: u16) -> ClusterMap {
    let groups: Vec<_> = (1..=groups).map(GroupId).collect();
    ClusterMap::plan(&groups, SegmentWidth::DEFAULT)
}

#[test]
fn every_slot_has_one_owner_and_the_slots_of_all_groups_are_all_slots() {
    let map = map(7);
    let mut slots: Vec<_> = map.groups().iter().flat_map(|group| map.slots_of(*group)).collect();
    slots.sort();
    assert_eq!(slots, (0..16384).filter_map(Slot::new).collect::<Vec<_>>());
    assert_eq!(map.slots_of(GroupId(99)), []);
}

#[test]
fn the_first_segment_lies_at_home_and_later_ones_where_all_keys_have_them() {
    let map = map(5);
    let width = SegmentWidth::DEFAULT.bits();
    assert_eq!(map.group_of_bit(b"foo", width - 1), map.owner(slot_of_key(b"foo")));
    assert_eq!(map.home(b"foo"), map.group_of_bit(b"foo", 0));
    for segment in 1..100 {
        let offset = u64::from(segment) * width;
        assert_eq!(map.group_of_bit(b"foo", offset), map.group_of_bit(b"bar", offset));
        assert_eq!(map.group_of_bit(b"foo", offset), map.owner(slot_of(b"", Segment(segment))));
    }
}

#[test]
fn the_segments_of_one_big_bitmap_spread_over_all_groups() {
    for (groups, share_min, share_max) in [(3, 0.9, 1.1), (8, 0.85, 1.15), (16, 0.75, 1.25)] {
        let map = map(groups);
        let mut counts = vec![0_u32; usize::from(groups) + 1];
        for segment in 0..4096_u64 {
            counts[usize::from(map.group_of_bit(b"active", segment << 20).0)] += 1;
        }
        let average = 4096.0 / f64::from(groups);
        for count in &counts[1..] {
            let share = f64::from(*count) / average;
            assert!((share_min..share_max).contains(&share), "{groups} groups: {counts:?}");
        }
    }
}

#[test]
fn a_range_without_end_names_all_groups_at_once() {
    let map = map(64);
    assert_eq!(map.groups_of_range(b"k", 0..u64::MAX), map.groups());
    assert_eq!(map.groups_of_range(b"k", 5..5), []);
    assert_eq!(map.groups_of_range(b"k", u64::MAX - 1..u64::MAX), []);
}

#[test]
fn a_group_that_owns_next_to_nothing_does_not_make_a_range_dear() {
    let map = ClusterMap::plan(&[GroupId(1)], SegmentWidth::from_log2(16).unwrap());
    let one = map.reassign(&[(slot_of_key(b"k"), GroupId(2))]);
    assert_eq!(one.epoch(), 2);
    assert_eq!(one.home(b"k"), GroupId(2));
    assert_eq!(one.groups_of_range(b"other", 0..1 << 42), [GroupId(1), GroupId(2)]);
    let none = one.reassign(&[(slot_of_key(b"k"), GroupId(1))]);
    assert_eq!(none.groups(), [GroupId(1), GroupId(2)]);
    assert_eq!(none.groups_of_range(b"k", 0..1 << 42), [GroupId(1)]);
}

#[test]
fn what_is_not_a_map_is_refused() {
    let bytes = map(3).encode();
    assert_eq!(ClusterMap::decode(b""), Err(MapError::Magic));
    assert_eq!(ClusterMap::decode(b"BRM\x02"), Err(MapError::Magic));
    for len in 4..200 {
        assert_eq!(ClusterMap::decode(&bytes[..len]), Err(MapError::Length { len }));
    }
    assert!(matches!(
        ClusterMap::decode(&[&bytes[..], b"x"].concat()),
        Err(MapError::Length { .. })
    ));
}

#[test]
fn any_changed_byte_is_noticed() {
    let bytes = map(3).encode();
    for place in (0..bytes.len()).step_by(97).chain(0..32) {
        let mut bytes = bytes.clone();
        bytes[place] ^= 0x10;
        assert!(ClusterMap::decode(&bytes).is_err(), "byte {place}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_map_survives_its_bytes(
        groups in prop::collection::btree_set(any::<u16>(), 1..40),
        log2 in 16_u8..=26,
        moves in prop::collection::vec((0_u16..16384, any::<u16>()), 0..50),
    ) {
        let groups: Vec<_> = groups.into_iter().map(GroupId).collect();
        let moves: Vec<_> = moves
            .into_iter()
            .map(|(slot, group)| (Slot::new(slot).unwrap(), GroupId(group)))
            .collect();
        let map = ClusterMap::plan(&groups, SegmentWidth::from_log2(log2).unwrap())
            .reassign(&moves);
        prop_assert_eq!(ClusterMap::decode(&map.encode()), Ok(map));
    }

    #[test]
    fn the_groups_of_a_range_are_those_of_its_segments(
        start in 0_u64..40 << 20,
        len in 0_u64..20 << 20,
        key in "[a-z]{1,8}",
    ) {
        let map = map(16);
        let naive: BTreeSet<_> = (start..start + len)
            .step_by(1 << 16)
            .chain((len > 0).then(|| start + len - 1))
            .map(|offset| map.group_of_bit(key.as_bytes(), offset))
            .collect();
        let found = map.groups_of_range(key.as_bytes(), start..start + len);
        prop_assert_eq!(found, naive.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn the_runs_of_slots_name_every_owner_once_in_a_row() {
    let map = map(3);
    let ranges = map.ranges();
    let mut next = 0;
    for (at, (first, last, group)) in ranges.iter().enumerate() {
        assert_eq!(*first, next, "no gap");
        next = last + 1;
        for slot in *first..=*last {
            assert_eq!(map.owner(Slot::new(slot).unwrap()), *group);
        }
        assert!(at == 0 || ranges[at - 1].2 != *group, "neighbours differ");
    }
    assert_eq!(next, SLOTS);
}
