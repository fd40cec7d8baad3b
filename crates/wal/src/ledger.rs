//! What the log says of each group besides its entries, as of the last record written.

use std::collections::BTreeMap;

use bitroster_types::GroupId;
use bytes::Bytes;

use crate::record::{Position, Record};

/// A group's vote and the bounds of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupState {
    pub(crate) vote: Option<Bytes>,
    pub(crate) purged: Option<Position>,
    pub(crate) committed: Option<Position>,
}

impl GroupState {
    fn purged_past(&self, index: u64) -> bool {
        self.purged.is_some_and(|purged| purged.index >= index)
    }
}

/// Every group's [`GroupState`]: what the first frame of each file repeats, so that no vote hangs
/// on an old file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    groups: BTreeMap<GroupId, GroupState>,
}

impl Ledger {
    /// Takes note of a record.
    pub(crate) fn observe(&mut self, record: &Record<'_>) {
        match *record {
            Record::Entry { .. } | Record::Truncate { .. } => {}
            Record::Vote { group, vote } => {
                self.group(group).vote = Some(Bytes::copy_from_slice(vote));
            }
            Record::Purge { group, position } => {
                let state = self.group(group);
                if !state.purged_past(position.index) {
                    state.purged = Some(position);
                }
            }
            Record::Committed { group, position } => self.group(group).committed = Some(position),
            Record::Remove { group } => {
                self.groups.remove(&group);
            }
            Record::Reset => self.groups.clear(),
        }
    }

    fn group(&mut self, group: GroupId) -> &mut GroupState {
        self.groups.entry(group).or_default()
    }

    /// Whether the entry at `index` and all before it are purged.
    pub(crate) fn purged_past(&self, group: GroupId, index: u64) -> bool {
        self.groups.get(&group).is_some_and(|state| state.purged_past(index))
    }

    /// Appends records that say the same as the ledger.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for (&group, state) in &self.groups {
            if let Some(vote) = &state.vote {
                Record::Vote { group, vote }.encode(out);
            }
            if let Some(position) = state.purged {
                Record::Purge { group, position }.encode(out);
            }
            if let Some(position) = state.committed {
                Record::Committed { group, position }.encode(out);
            }
        }
    }
}

/// The last entry that each group has in one file. Few groups: a list is faster than a map.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastIndexes {
    groups: Vec<(GroupId, u64)>,
    /// Where the last record's group was found.
    hint: usize,
}

impl LastIndexes {
    /// Takes note of a record that was written to this file or to a later one.
    pub(crate) fn observe_later(&mut self, record: &Record<'_>) {
        match *record {
            Record::Truncate { group, first_removed } => {
                for (_, last) in self.groups.iter_mut().filter(|(held, _)| *held == group) {
                    *last = (*last).min(first_removed.saturating_sub(1));
                }
                if first_removed == 0 {
                    self.groups.retain(|&(held, _)| held != group);
                }
            }
            Record::Remove { group } => self.groups.retain(|&(held, _)| held != group),
            Record::Reset => self.groups.clear(),
            Record::Entry { .. }
            | Record::Vote { .. }
            | Record::Purge { .. }
            | Record::Committed { .. } => {}
        }
    }

    /// Takes note of an entry in this file.
    pub(crate) fn observe_entry(&mut self, group: GroupId, index: u64) {
        if let Some((held, last)) = self.groups.get_mut(self.hint)
            && *held == group
        {
            *last = index;
            return;
        }
        self.hint =
            self.groups.iter().position(|&(held, _)| held == group).unwrap_or(self.groups.len());
        match self.groups.get_mut(self.hint) {
            Some((_, last)) => *last = index,
            None => self.groups.push((group, index)),
        }
    }

    /// The groups whose entries in this file are not all purged, with the last index of each.
    pub(crate) fn holders(&self, ledger: &Ledger) -> Vec<(GroupId, u64)> {
        let mut holders = self.groups.clone();
        holders.retain(|&(group, last)| !ledger.purged_past(group, last));
        holders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: GroupId = GroupId(1);
    const B: GroupId = GroupId(2);

    fn purge(group: GroupId, index: u64) -> Record<'static> {
        Record::Purge { group, position: Position { index, term: 1, leader: 0 } }
    }

    #[test]
    fn a_file_is_held_until_every_group_has_purged_its_entries() {
        let (mut ledger, mut last) = (Ledger::default(), LastIndexes::default());
        for (group, index) in [(A, 4), (B, 8), (A, 5)] {
            last.observe_entry(group, index);
        }
        assert_eq!(last.holders(&ledger), [(A, 5), (B, 8)]);
        ledger.observe(&purge(A, 5));
        assert_eq!(last.holders(&ledger), [(B, 8)]);
        ledger.observe(&purge(B, 7));
        assert_eq!(last.holders(&ledger), [(B, 8)]);
        last.observe_later(&Record::Truncate { group: B, first_removed: 8 });
        assert_eq!(last.holders(&ledger), []);
    }

    #[test]
    fn a_removed_group_holds_nothing() {
        let (ledger, mut last) = (Ledger::default(), LastIndexes::default());
        last.observe_entry(A, 1);
        last.observe_entry(B, 0);
        last.observe_later(&Record::Remove { group: A });
        assert_eq!(last.holders(&ledger), [(B, 0)]);
        last.observe_later(&Record::Truncate { group: B, first_removed: 0 });
        assert_eq!(last.holders(&ledger), []);
    }

    #[test]
    fn a_purge_never_goes_back() {
        let mut ledger = Ledger::default();
        ledger.observe(&purge(A, 9));
        ledger.observe(&purge(A, 3));
        assert!(ledger.purged_past(A, 9));
    }
}
