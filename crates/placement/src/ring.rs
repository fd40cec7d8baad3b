//! Which group should own each slot.

use std::hash::{Hash, Hasher};

use bitroster_types::{GroupId, Slot, limits::SLOTS};
use hashring::HashRing;

use crate::mix::FixedState;

/// Places of one group on the ring. The arcs' unevenness falls with the root of this number; the
/// bound on loads evens out what is left.
const VIRTUAL_NODES: u32 = 512;

/// One of a group's places on the ring.
#[derive(Clone, Copy, Debug, PartialEq)]
struct VirtualNode {
    group: GroupId,
    number: u32,
}

impl Hash for VirtualNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(1 << 63 | u64::from(self.group.0) << 32 | u64::from(self.number));
    }
}

/// A slot's place on the ring: the first is tried first.
struct SlotProbe {
    slot: u16,
    attempt: u32,
}

impl Hash for SlotProbe {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.slot) << 32 | u64::from(self.attempt));
    }
}

/// A hash ring with virtual nodes: says which group should own each slot.
///
/// The answer depends on the set of groups alone, not on the machine, the build or the groups'
/// order. Between n and n + 1 groups about 1/(n + 1) of the slots differ.
#[derive(Debug)]
pub struct Ring {
    ring: HashRing<VirtualNode, FixedState>,
    /// Ascending, each once.
    groups: Vec<GroupId>,
}

impl Ring {
    /// The ring of these groups; order and repetition do not matter.
    ///
    /// # Panics
    ///
    /// If there are none: a cluster has at least one group.
    pub fn new(groups: &[GroupId]) -> Self {
        assert!(!groups.is_empty(), "a ring needs a group");
        let mut groups = groups.to_vec();
        groups.sort_unstable();
        groups.dedup();
        let mut ring = HashRing::with_hasher(FixedState);
        ring.batch_add(
            groups
                .iter()
                .flat_map(|group| {
                    (0..VIRTUAL_NODES).map(|number| VirtualNode { group: *group, number })
                })
                .collect(),
        );
        Self { ring, groups }
    }

    /// The groups, ascending, each once.
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// Who should own each slot, by the slot's number.
    ///
    /// Between 2 and 64 groups each gets 80 % to 104 % of its share (up to 32 groups, from 90 %).
    ///
    /// No group gets more than a thirty-second above the average (rounded up): a slot whose group
    /// is full goes to the group of its next place on the ring (as in "Consistent Hashing with
    /// Bounded Loads", Mirrokni, Thorup, Zadimoghaddam 2016). Costs some milliseconds.
    pub fn owners(&self) -> Box<[GroupId]> {
        let slots = usize::from(SLOTS);
        let load_max = (slots + slots / 32).div_ceil(self.groups.len());
        let mut loads = vec![0_usize; self.groups.len()];
        (0..SLOTS)
            .map(|slot| {
                let index = (0..)
                    .map(|attempt| self.index_at(&SlotProbe { slot, attempt }))
                    .find(|index| loads[*index] < load_max)
                    .expect("the loads' bounds sum up to more than all slots");
                loads[index] += 1;
                self.groups[index]
            })
            .collect()
    }

    /// Where in `groups` the group at this place is.
    fn index_at(&self, probe: &SlotProbe) -> usize {
        let node = self.ring.get(probe).expect("the ring has a group");
        self.groups.binary_search(&node.group).expect("the ring holds only its groups")
    }

    /// The slots of `owners` that should have another owner, with that owner.
    pub fn misplaced(&self, owners: &[GroupId]) -> Vec<(Slot, GroupId)> {
        let target = self.owners();
        (0..SLOTS)
            .filter_map(Slot::new)
            .filter(|slot| owners.get(slot.index()) != Some(&target[slot.index()]))
            .map(|slot| (slot, target[slot.index()]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(count: u16) -> Vec<GroupId> {
        (1..=count).map(GroupId).collect()
    }

    #[test]
    fn every_group_gets_nearly_its_share() {
        for count in [1, 2, 3, 4, 5, 7, 8, 13, 16, 24, 32, 48, 64] {
            let mut loads = vec![0_u32; usize::from(count) + 1];
            for owner in &Ring::new(&groups(count)).owners() {
                loads[usize::from(owner.0)] += 1;
            }
            let average = f64::from(SLOTS) / f64::from(count);
            let least = f64::from(*loads[1..].iter().min().unwrap()) / average;
            let most = f64::from(*loads[1..].iter().max().unwrap()) / average;
            assert!(least > 0.8 && most < 1.04, "{count} groups: {least} to {most}");
        }
    }

    #[test]
    fn another_group_takes_its_share_and_little_else_moves() {
        for count in [1, 2, 3, 4, 7, 8, 15, 16, 31, 63] {
            let before = Ring::new(&groups(count)).owners();
            let moved = Ring::new(&groups(count + 1)).misplaced(&before);
            let share = f64::from(SLOTS) / f64::from(count + 1);
            let ratio = moved.len() as f64 / share;
            assert!(ratio < 1.4, "{count} groups: {ratio}");
        }
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let ids = |ids: &[u16]| ids.iter().copied().map(GroupId).collect::<Vec<_>>();
        let ring = Ring::new(&ids(&[9, 2, 5, 2]));
        assert_eq!(ring.groups(), ids(&[2, 5, 9]));
        assert_eq!(ring.owners(), Ring::new(&ids(&[2, 5, 9])).owners());
    }

    #[test]
    fn the_ring_never_changes() {
        let owners = Ring::new(&groups(3)).owners();
        let sum = crate::mix::checksum(
            &owners.iter().flat_map(|owner| owner.0.to_le_bytes()).collect::<Vec<_>>(),
        );
        assert_eq!(sum, 17_535_618_114_201_261_358);
    }
}
