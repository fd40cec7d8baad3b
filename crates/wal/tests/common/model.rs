//! The obvious model of the log: what every group has after each call.

use std::collections::BTreeMap;

use bitroster_types::GroupId;
use bitroster_wal::{Completion, Entry, EntryRef, Error, Position, Recovered, RecoveredGroup, Wal};

/// A call that fits whatever the group has: numbers are relative to the ends of its log.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// Appends `count` entries of `len` bytes.
    Append { group: GroupId, count: u64, len: usize },
    /// Saves the vote.
    Vote { group: GroupId, byte: u8 },
    /// Removes the last entries.
    Truncate { group: GroupId, removed: u64 },
    /// Removes the first entries; may go past the last.
    Purge { group: GroupId, removed: u64 },
    /// Forgets the group.
    Remove { group: GroupId },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub groups: BTreeMap<GroupId, RecoveredGroup>,
    /// Distinguishes entries of the same index.
    calls: u64,
}

impl Model {
    /// Makes the call on the log and, if it was taken, on the model.
    pub fn call(&mut self, wal: &Wal, call: Call, done: Completion) -> Result<(), Error> {
        self.calls += 1;
        let term = self.calls;
        match call {
            Call::Append { group, count, len } => {
                let next = self.next(group);
                let payloads: Vec<_> = (next..next + count)
                    .map(|index| {
                        let position = Position { index, term, leader: 3 };
                        let byte = u8::try_from((index + term) % 251).unwrap();
                        Entry { position, payload: vec![byte; len].into() }
                    })
                    .collect();
                let entries = payloads
                    .iter()
                    .map(|entry| EntryRef { position: entry.position, payload: &entry.payload });
                wal.append(group, entries, done)?;
                if count > 0 {
                    self.group(group).entries.extend(payloads);
                }
            }
            Call::Vote { group, byte } => {
                wal.save_vote(group, &[byte; 20], done)?;
                self.group(group).vote = Some(vec![byte; 20].into());
            }
            Call::Truncate { group, removed } => {
                let len = self.group(group).entries.len() as u64;
                let keep = len.saturating_sub(removed);
                let last = (self.next(group) - (len - keep)).checked_sub(1);
                wal.truncate_after(group, last, done)?;
                self.group(group).entries.truncate(usize::try_from(keep).unwrap());
            }
            Call::Purge { group, removed } => {
                let first = self.next(group) - self.group(group).entries.len() as u64;
                let position = Position { index: first + removed, term, leader: 3 };
                wal.purge(group, position, done)?;
                let state = self.group(group);
                state.purged = Some(position);
                state.entries.retain(|entry| entry.position.index > position.index);
            }
            Call::Remove { group } => {
                wal.remove_group(group, done)?;
                self.groups.remove(&group);
            }
        }
        Ok(())
    }

    /// The states on the way to this one, which `call` led to: an append of many entries may be cut
    /// after any of them.
    pub fn on_the_way(&self, call: Call) -> Vec<Self> {
        let Call::Append { group, count, .. } = call else { return Vec::new() };
        let cut = |lacking| {
            let mut model = self.clone();
            let entries = &mut model.group(group).entries;
            entries.truncate(entries.len() - usize::try_from(lacking).unwrap());
            model
        };
        (1..count).rev().map(cut).collect()
    }

    fn group(&mut self, group: GroupId) -> &mut RecoveredGroup {
        self.groups.entry(group).or_default()
    }

    fn next(&mut self, group: GroupId) -> u64 {
        let state = self.group(group);
        let last = state.entries.back().map(|entry| entry.position.index);
        last.or(state.purged.map(|purged| purged.index)).map_or(0, |last| last + 1)
    }

    /// Whether this is what was recovered. Committed positions are hints and do not count, nor
    /// does a group of which nothing is left.
    pub fn is(&self, recovered: &Recovered) -> bool {
        let bare = |groups: &BTreeMap<GroupId, RecoveredGroup>| {
            let mut bare = groups.clone();
            bare.values_mut().for_each(|state| state.committed = None);
            bare.retain(|_, state| *state != RecoveredGroup::default());
            bare
        };
        bare(&self.groups) == bare(&recovered.groups)
    }
}
