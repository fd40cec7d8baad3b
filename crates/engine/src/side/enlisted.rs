//! Groups that were given leave, until it is known what they made of it.

use std::collections::{BTreeMap, BTreeSet};

use bitroster_types::{GroupId, Key, UnixMillis, Version};

/// A leave: the key, the version that was given, and to whom.
pub(crate) type Leave = (Key, Version, GroupId);

/// The leaves that are not settled, by name and by age.
#[derive(Clone, Debug, Default)]
pub(crate) struct Enlisted {
    since: BTreeMap<Leave, UnixMillis>,
    by_age: BTreeSet<(UnixMillis, Leave)>,
}

impl Enlisted {
    pub(crate) fn len(&self) -> usize {
        self.since.len()
    }

    /// Adds a row, or makes it as old as this.
    pub(crate) fn insert(&mut self, leave: Leave, since: UnixMillis) {
        self.remove(&leave);
        self.since.insert(leave.clone(), since);
        self.by_age.insert((since, leave));
    }

    pub(crate) fn remove(&mut self, leave: &Leave) {
        if let Some(since) = self.since.remove(leave) {
            self.by_age.remove(&(since, leave.clone()));
        }
    }

    /// Drops all rows of a key.
    pub(crate) fn remove_key(&mut self, key: &Key) {
        let all = (key.clone(), Version(0), GroupId(0))..;
        while let Some((leave, _)) = self.since.range(all.clone()).next() {
            if leave.0 != *key {
                break;
            }
            let leave = leave.clone();
            self.remove(&leave);
        }
    }

    /// All rows, by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Leave, UnixMillis)> {
        self.since.iter().map(|(leave, since)| (leave, *since))
    }

    /// The rows that are no younger than a time, the oldest first.
    pub(crate) fn until(&self, time: UnixMillis) -> impl Iterator<Item = (&Leave, UnixMillis)> {
        let rows = self.by_age.iter().map(|(since, leave)| (leave, *since));
        rows.take_while(move |(_, since)| *since <= time)
    }
}
