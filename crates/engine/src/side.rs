//! What a group remembers besides its entries: versions, staged values, clean-ups.
//!
//! All of it is small and in ordered maps, and shared copy-on-write with snapshots.

use std::collections::BTreeMap;

use bitroster_bitmap::Bitmap;
use bitroster_command::FollowUp;
use bitroster_types::{
    GroupId, Key, Slot, UnixMillis, Version,
    limits::{DROPPED_KEPT_MS, RESERVED_KEPT_MS},
};

use crate::{owned::Owned, size::class};

/// How often the tables are searched for what may be forgotten.
const SWEEP_INTERVAL_MS: u64 = 60_000;

/// A value that is not visible yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Staged {
    pub(crate) value: Bitmap,
    pub(crate) expiry: Option<UnixMillis>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// The newest version drawn in each slot.
    pub(crate) versions: BTreeMap<Slot, Version>,
    pub(crate) staged: BTreeMap<(Key, Version), Staged>,
    /// Clean-ups that the groups have not confirmed yet.
    pub(crate) retired: BTreeMap<(Key, Version), Box<[GroupId]>>,
    /// Versions that may yet be published, and when they were drawn.
    pub(crate) reserved: BTreeMap<(Key, Version), UnixMillis>,
    /// The newest version of a key that was dropped here, and when.
    pub(crate) dropped: BTreeMap<Key, (Version, UnixMillis)>,
    pub(crate) swept: UnixMillis,
    /// Heap bytes of the staged values.
    pub(crate) staged_bytes: u64,
}

impl Side {
    /// Draws the slot's next version.
    pub(crate) fn draw(&mut self, slot: Slot) -> Version {
        let newest = self.versions.entry(slot).or_default();
        newest.0 += 1;
        *newest
    }

    pub(crate) fn newest(&self, slot: Slot) -> Version {
        self.versions.get(&slot).copied().unwrap_or_default()
    }

    /// Adds bits to what is staged for a key at a version.
    pub(crate) fn stage(&mut self, key: &Key, version: Version, value: Bitmap) {
        let staged = self.staged.entry((key.clone(), version)).or_default();
        self.staged_bytes -= staged.value.heap_bytes() as u64;
        if staged.value.is_empty() {
            staged.value = value;
        } else {
            staged.value.merge_disjoint(&value);
        }
        self.staged_bytes += staged.value.heap_bytes() as u64;
    }

    /// Takes what is staged at exactly this version; what is staged at older ones is dropped.
    pub(crate) fn unstage(&mut self, key: &Key, version: Version) -> Option<Staged> {
        let staged = self.staged.remove(&(key.clone(), version));
        if let Some(staged) = &staged {
            self.staged_bytes -= staged.value.heap_bytes() as u64;
        }
        self.drop_staged(key, version);
        staged
    }

    /// Drops what is staged at this version or an older one.
    pub(crate) fn drop_staged(&mut self, key: &Key, version: Version) {
        while let Some(at) = first_of(&self.staged, key, version) {
            let staged = self.staged.remove(&at).expect("found above");
            self.staged_bytes -= staged.value.heap_bytes() as u64;
        }
    }

    /// Whether `version` may be published; takes back that leave, and all older ones.
    pub(crate) fn redeem(&mut self, key: &Key, version: Version) -> bool {
        let reserved = self.reserved.remove(&(key.clone(), version)).is_some();
        self.revoke(key, version);
        reserved
    }

    /// Takes back the leave to publish this version or an older one.
    pub(crate) fn revoke(&mut self, key: &Key, version: Version) {
        while let Some(at) = first_of(&self.reserved, key, version) {
            self.reserved.remove(&at);
        }
    }

    /// The newest version of the key that was dropped here not long ago.
    pub(crate) fn newest_dropped(&self, key: &Key) -> Option<Version> {
        self.dropped.get(key).map(|(version, _)| *version)
    }

    pub(crate) fn remember_drop(&mut self, key: &Key, version: Version, time: UnixMillis) {
        let row = self.dropped.entry(key.clone()).or_default();
        *row = (row.0.max(version), time);
    }

    pub(crate) fn needs_sweep(&self, time: UnixMillis) -> bool {
        time.0 >= self.swept.0.saturating_add(SWEEP_INTERVAL_MS)
    }

    /// Forgets what is too old to matter. Depends on log time and state alone.
    ///
    /// A value staged at its key's home goes with the leave to publish it. One staged elsewhere
    /// stays: home may have published it, and then it is the only copy of its bits until it is
    /// activated. It goes when a newer version of the key arrives or home has it dropped.
    pub(crate) fn sweep(&mut self, time: UnixMillis, owned: &Owned) {
        self.swept = time;
        self.dropped.retain(|_, (_, at)| at.0.saturating_add(DROPPED_KEPT_MS) > time.0);
        self.reserved.retain(|_, at| at.0.saturating_add(RESERVED_KEPT_MS) > time.0);
        let Self { staged, reserved, staged_bytes, .. } = self;
        staged.retain(|name, what| {
            let stays = reserved.contains_key(name) || !owned.is_home(&name.0);
            if !stays {
                *staged_bytes -= what.value.heap_bytes() as u64;
            }
            stays
        });
    }

    /// Forgets all but the versions.
    pub(crate) fn clear(&mut self) {
        let versions = std::mem::take(&mut self.versions);
        *self = Self { versions, swept: self.swept, ..Self::default() };
    }

    pub(crate) fn pending(&self) -> Vec<FollowUp> {
        let pending = self.retired.iter().map(|((key, version), groups)| FollowUp::Drop {
            key: key.clone(),
            version: *version,
            groups: groups.to_vec(),
        });
        pending.collect()
    }

    /// Heap bytes, about: rows of the maps at their size, values exactly.
    pub(crate) fn bytes(&self) -> u64 {
        let row = class(size_of::<(Key, Version)>() + 24) as u64;
        let rows =
            self.staged.len() + self.retired.len() + self.reserved.len() + self.dropped.len();
        self.staged_bytes + rows as u64 * row + self.versions.len() as u64 * 16
    }
}

/// The first row of `key` whose version is at most `version`.
fn first_of<T>(
    map: &BTreeMap<(Key, Version), T>,
    key: &Key,
    version: Version,
) -> Option<(Key, Version)> {
    let range = (key.clone(), Version(0))..=(key.clone(), version);
    map.range(range).next().map(|(at, _)| at.clone())
}
