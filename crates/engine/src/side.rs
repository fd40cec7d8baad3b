//! What a group remembers besides its entries: versions, what is staged, what is not finished.
//!
//! At a key's home the rows say what is left to do of changes that touch other groups; elsewhere
//! they say what is prepared and what is over. All of it is in ordered maps, and shared
//! copy-on-write with snapshots.

mod enlisted;

use std::collections::{BTreeMap, BTreeSet};

use bitroster_bitmap::Bitmap;
use bitroster_command::{Moved, Pending};
use bitroster_types::{
    GroupId, Key, Slot, UnixMillis, Version,
    limits::{DROPPED_KEPT_MS, RESERVED_KEPT_MS},
    planted::Fault,
};

use self::enlisted::{Enlisted, Leave};
use crate::size::class;

/// How often the tables are searched for what may be forgotten.
const SWEEP_INTERVAL_MS: u64 = 60_000;

/// A version of a key.
pub(crate) type Name = (Key, Version);

/// This group's share of a change that is not visible yet.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) what: What,
    /// When the part that comes of it expires.
    pub(crate) expiry: Option<UnixMillis>,
}

/// What becomes of the part.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// It holds these bits.
    Value(Bitmap),
    /// It goes.
    Void,
    /// The part of this version gets the stage's expiry.
    Expiry {
        /// The version of the record.
        of: Version,
    },
}

impl Staged {
    fn heap_bytes(&self) -> u64 {
        match &self.what {
            What::Value(value) => value.heap_bytes() as u64,
            What::Void | What::Expiry { .. } => 0,
        }
    }
}

/// A version that may yet be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved {
    /// When it was drawn.
    pub(crate) since: UnixMillis,
    /// Whether leave for a write takes it back.
    pub(crate) is_exclusive: bool,
}

/// What is over of a key, in a group that is not its home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Floor {
    /// Leave of this version or an older one makes no part any more.
    pub(crate) leaves: Version,
    /// This version and older ones must not be staged any more.
    pub(crate) stages: Version,
    /// When that was told last.
    pub(crate) since: UnixMillis,
}

/// A change that the groups have not all confirmed.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) groups: Box<[GroupId]>,
    pub(crate) moved: Option<Box<Moved>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// The newest version drawn in each slot.
    pub(crate) versions: BTreeMap<Slot, Version>,
    /// Changes that are prepared here. A row of a key whose home is elsewhere puts the group in
    /// doubt about it; one at home is home's own share, and goes with its reservation.
    pub(crate) staged: BTreeMap<Name, Staged>,
    /// At home: versions that may yet be published.
    pub(crate) reserved: BTreeMap<Name, Reserved>,
    /// At home: changes that are out and not active everywhere.
    pub(crate) published: BTreeMap<Name, Published>,
    /// At home: versions that will never be published.
    pub(crate) abandoned: BTreeSet<Name>,
    /// At home: records that have expired, and the groups that held parts.
    pub(crate) expired: BTreeMap<Name, Box<[GroupId]>>,
    /// At home: leaves that are not settled.
    pub(crate) enlisted: Enlisted,
    /// Elsewhere: what is over of a key.
    pub(crate) floors: BTreeMap<Key, Floor>,
    /// Elsewhere: versions that must not be staged any more, and when that was told.
    pub(crate) aborted: BTreeMap<Name, UnixMillis>,
    pub(crate) swept: UnixMillis,
    /// Heap bytes of the staged values.
    pub(crate) staged_bytes: u64,
}

impl Side {
    /// Draws the slot's next version.
    pub(crate) fn draw(&mut self, slot: Slot) -> Version {
        let newest = self.versions.entry(slot).or_default();
        if newest.0 == 0 || !Fault::ReuseVersion.is_planted() {
            newest.0 += 1;
        }
        *newest
    }

    pub(crate) fn newest(&self, slot: Slot) -> Version {
        self.versions.get(&slot).copied().unwrap_or_default()
    }

    // ---- what is staged ----

    /// Whether anything is staged.
    pub(crate) fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Whether something is staged for the key. Costs one load while nothing is staged at all.
    #[inline]
    pub(crate) fn is_staged(&self, key: &Key) -> bool {
        !self.staged.is_empty() && self.newest_staged(key).is_some()
    }

    /// The newest version of the key that is staged.
    pub(crate) fn newest_staged(&self, key: &Key) -> Option<Version> {
        let all = (key.clone(), Version(0))..=(key.clone(), Version(u64::MAX));
        self.staged.range(all).next_back().map(|((_, version), _)| *version)
    }

    /// What is staged for a key at exactly this version, if it is a value.
    pub(crate) fn staged_value(&self, key: &Key, version: Version) -> Option<&Bitmap> {
        match self.staged.get(&(key.clone(), version)) {
            Some(Staged { what: What::Value(value), .. }) => Some(value),
            Some(_) | None => None,
        }
    }

    /// Stages something at a version; a value adds its bits to a value that is there.
    pub(crate) fn stage(&mut self, name: Name, what: What, expiry: Option<UnixMillis>) {
        let old = self.unstage(&name);
        let what = match (old.map(|old| old.what), what) {
            (Some(What::Value(mut sum)), What::Value(more)) if !sum.is_empty() => {
                sum.merge_disjoint(&more);
                What::Value(sum)
            }
            (Some(value @ What::Value(_)), What::Void | What::Expiry { .. }) => value,
            (_, what) => what,
        };
        self.put_staged(name, Staged { what, expiry });
    }

    pub(crate) fn put_staged(&mut self, name: Name, staged: Staged) {
        self.staged_bytes += staged.heap_bytes();
        self.staged.insert(name, staged);
    }

    /// Takes what is staged at exactly this version.
    pub(crate) fn unstage(&mut self, name: &Name) -> Option<Staged> {
        let staged = self.staged.remove(name)?;
        self.staged_bytes -= staged.heap_bytes();
        Some(staged)
    }

    /// Drops what is staged at this version or an older one.
    pub(crate) fn drop_staged(&mut self, key: &Key, version: Version) {
        while let Some(name) = first_of(&self.staged, key, version) {
            self.unstage(&name);
        }
    }

    // ---- what is over ----

    /// What of the key is over since not long ago.
    pub(crate) fn floor(&self, key: &Key) -> Option<Floor> {
        self.floors.get(key).copied()
    }

    pub(crate) fn raise_floor(
        &mut self,
        key: &Key,
        (leaves, stages): (Version, Version),
        time: UnixMillis,
    ) {
        let row = self.floors.entry(key.clone()).or_default();
        *row =
            Floor { leaves: row.leaves.max(leaves), stages: row.stages.max(stages), since: time };
    }

    // ---- what home has decided ----

    /// Takes a reservation back: what was staged for it anywhere must go.
    pub(crate) fn abandon(&mut self, name: Name) {
        if self.reserved.remove(&name).is_some() {
            self.unstage(&name);
            self.abandoned.insert(name);
        }
    }

    /// Takes back the reservations of this version and of older ones.
    pub(crate) fn abandon_up_to(&mut self, key: &Key, version: Version) {
        while let Some(name) = first_of(&self.reserved, key, version) {
            self.abandon(name);
        }
    }

    /// Takes back the exclusive reservations of a key. Whether there was one.
    pub(crate) fn abandon_exclusive(&mut self, key: &Key) -> bool {
        let all = (key.clone(), Version(0))..=(key.clone(), Version(u64::MAX));
        let rows = self.reserved.range(all).filter(|(_, row)| row.is_exclusive);
        let names: Vec<Name> = rows.map(|(name, _)| name.clone()).collect();
        let was_held = !names.is_empty();
        for name in names {
            self.abandon(name);
        }
        was_held
    }

    /// Whether a version is known to have been published.
    pub(crate) fn was_published(&self, name: &Name) -> bool {
        self.published.contains_key(name) || self.expired.contains_key(name)
    }

    /// Forgets work that is done: the expiry of a version only after its publication.
    pub(crate) fn forget(&mut self, name: &Name) {
        if self.published.remove(name).is_none() {
            self.abandoned.remove(name);
            self.expired.remove(name);
        }
    }

    /// Changes that are not finished, at most `limit`: mostly what is decided, and for a quarter or
    /// more what was reserved or enlisted no later than `before`, where there is so much.
    pub(crate) fn pending(&self, before: UnixMillis, limit: usize) -> Vec<Pending> {
        let mut published = self.published.iter().map(|((key, version), row)| {
            let (groups, moved) = (row.groups.to_vec(), row.moved.as_deref().cloned());
            Pending::Published { key: key.clone(), version: *version, groups, moved }
        });
        let mut abandoned = self
            .abandoned
            .iter()
            .map(|(key, version)| Pending::Abandoned { key: key.clone(), version: *version });
        // To forget the one would be to forget the other.
        let expired = self.expired.iter().filter(|(name, _)| !self.published.contains_key(*name));
        let mut expired = expired.map(|((key, version), groups)| Pending::Expired {
            key: key.clone(),
            version: *version,
            groups: groups.to_vec(),
        });
        let reserved = self.reserved.iter().filter(|(_, row)| row.since <= before);
        let mut reserved = reserved.map(|((key, version), row)| Pending::Reserved {
            key: key.clone(),
            version: *version,
            since: row.since,
        });
        let mut enlisted = self.enlisted.until(before).map(|((key, version, group), since)| {
            Pending::Enlisted { key: key.clone(), version: *version, group: *group, since }
        });
        let mut rows = Vec::new();
        let decided = limit - limit / 4;
        take_in_turn(&mut rows, decided, &mut [&mut published, &mut abandoned, &mut expired]);
        // However much is decided and cannot be finished, what is old has its turn.
        take_in_turn(&mut rows, limit, &mut [&mut reserved, &mut enlisted]);
        take_in_turn(&mut rows, limit, &mut [&mut published, &mut abandoned, &mut expired]);
        rows
    }

    /// Changes that are decided and not finished.
    pub(crate) fn decided(&self) -> usize {
        self.published.len() + self.abandoned.len() + self.expired.len()
    }

    // ---- upkeep ----

    pub(crate) fn needs_sweep(&self, time: UnixMillis) -> bool {
        time.0 >= self.swept.0.saturating_add(SWEEP_INTERVAL_MS)
    }

    /// Forgets what is too old to matter. Depends on log time and state alone.
    ///
    /// A value staged at its key's home goes with the leave to publish it. What is staged elsewhere
    /// stays: home may have published it, and then it is the only copy. It goes when home has it
    /// activated or aborted.
    pub(crate) fn sweep(&mut self, time: UnixMillis) {
        self.swept = time;
        let is_over = |since: UnixMillis, kept: u64| since.0.saturating_add(kept) <= time.0;
        self.floors.retain(|_, floor| !is_over(floor.since, DROPPED_KEPT_MS));
        self.aborted.retain(|_, at| !is_over(*at, DROPPED_KEPT_MS));
        let rows = self.reserved.iter().filter(|(_, row)| is_over(row.since, RESERVED_KEPT_MS));
        let names: Vec<Name> = rows.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.abandon(name);
        }
    }

    /// Forgets what is staged and published, and takes all reservations back: what was staged for
    /// them elsewhere, and what may yet come late, is still to be cleaned up and refused.
    pub(crate) fn clear(&mut self) {
        let mut old = std::mem::take(self);
        old.abandoned.extend(old.reserved.into_keys());
        *self = Self {
            versions: old.versions,
            abandoned: old.abandoned,
            expired: old.expired,
            floors: old.floors,
            aborted: old.aborted,
            swept: old.swept,
            ..Self::default()
        };
    }

    /// Heap bytes, about: rows of the maps at their size, values exactly.
    pub(crate) fn bytes(&self) -> u64 {
        let row = class(size_of::<Name>() + 24) as u64;
        let leave = 2 * class(size_of::<(UnixMillis, Leave)>()) as u64;
        let rows = self.staged.len()
            + self.reserved.len()
            + self.decided()
            + self.floors.len()
            + self.aborted.len();
        let small = self.versions.len() as u64 * 16 + self.enlisted.len() as u64 * leave;
        self.staged_bytes + rows as u64 * row + small
    }
}

/// The first row of `key` whose version is at most `version`.
fn first_of<T>(map: &BTreeMap<Name, T>, key: &Key, version: Version) -> Option<Name> {
    let range = (key.clone(), Version(0))..=(key.clone(), version);
    map.range(range).next().map(|(name, _)| name.clone())
}

/// Adds the first items of some sequences, one of each at a time: a long one keeps out no other.
fn take_in_turn<T>(taken: &mut Vec<T>, limit: usize, from: &mut [&mut dyn Iterator<Item = T>]) {
    loop {
        let known = taken.len();
        for items in &mut *from {
            if taken.len() < limit {
                taken.extend(items.next());
            }
        }
        if taken.len() == known {
            return;
        }
    }
}
