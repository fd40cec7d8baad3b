//! What a key's home decides.

use bitroster_bitmap::Bitmap;
use bitroster_command::{Change, Grant, Outcome, Reply, Seen};
use bitroster_types::{GroupId, Key, LogIndex, Version, limits::BITMAP_BITS_MAX};

use crate::{
    Engine,
    entry::Entry,
    read::too_long,
    side::{Name, Published, Reserved, What},
    spot::Spot,
    write::Written,
};

impl Engine {
    pub(in crate::write) fn enlist(&mut self, key: &Key, group: GroupId) -> Written {
        let spot = self.home(key)?;
        let live = self.live(spot, key);
        let known = live.and_then(|view| view.version);
        let is_in = live.is_some_and(|view| view.spread.contains(&group));
        let (time, modified) = (self.time, self.applied);
        let side = self.side_mut();
        let version = known.unwrap_or_else(|| side.draw(spot.slot));
        let was_held = side.abandon_exclusive(key);
        if was_held {
            // Who holds the key sees by its record that it does so no more.
            self.store.edit(spot, key, |entry| entry.modified = modified);
        }
        if !is_in && group != self.config.group {
            self.side_mut().enlisted.insert((key.clone(), version, group), time);
            self.edit_or_make(spot, key, |entry| {
                entry.version = Some(version);
                entry.modified = modified;
                let mut spread = entry.spread.to_vec();
                spread.push(group);
                spread.sort_unstable();
                entry.spread = spread.into();
            });
        }
        let expiry = self.live(spot, key).and_then(|view| view.expiry);
        let drawn = self.side.newest(spot.slot);
        Ok(Outcome::Granted(Grant { version, expiry, drawn }))
    }

    pub(in crate::write) fn settle(
        &mut self,
        key: &Key,
        version: Version,
        group: GroupId,
    ) -> Written {
        self.home(key)?;
        self.side_mut().enlisted.remove(&(key.clone(), version, group));
        Ok(Reply::Ok.into())
    }

    pub(in crate::write) fn reserve(&mut self, key: &Key, is_exclusive: bool) -> Written {
        let spot = self.home(key)?;
        let since = self.time;
        let side = self.side_mut();
        let version = side.draw(spot.slot);
        side.reserved.insert((key.clone(), version), Reserved { since, is_exclusive });
        Ok(Outcome::Reserved(version))
    }

    pub(in crate::write) fn abandon(&mut self, key: &Key, version: Version) -> Written {
        let spot = self.home(key)?;
        let name = (key.clone(), version);
        if self.is_out(&name) {
            return Err(Outcome::Newer(self.side.newest(spot.slot)));
        }
        self.side_mut().abandon(name);
        Ok(Reply::Ok.into())
    }

    /// Whether the version is known to have been published.
    fn is_out(&self, name: &Name) -> bool {
        let live = self.live(Spot::of(&name.0), &name.0);
        self.side.was_published(name) || live.is_some_and(|view| view.version == Some(name.1))
    }

    /// Whether there is nothing left to stage at home, for the version is out.
    ///
    /// # Errors
    ///
    /// [`Outcome::Newer`] where it will never be.
    pub(super) fn is_settled_at_home(&self, name: &Name) -> Result<bool, Outcome> {
        if self.side.reserved.contains_key(name) {
            return Ok(false);
        }
        let newest = self.side.newest(Spot::of(&name.0).slot);
        if self.is_out(name) { Ok(true) } else { Err(Outcome::Newer(newest)) }
    }

    pub(in crate::write) fn publish(
        &mut self,
        (key, version): (&Key, Version),
        staged: &[GroupId],
        seen: Seen,
        change: &Change,
    ) -> Written {
        let spot = self.home(key)?;
        let name = (key.clone(), version);
        if let Change::Value { len_bytes, .. } = change
            && *len_bytes > BITMAP_BITS_MAX / 8
        {
            return Err(too_long().into());
        }
        if self.is_out(&name) {
            return Ok(Reply::Ok.into());
        }
        let is_over = self.live(spot, key).and_then(|view| view.version) > Some(version);
        let may_be = self.side.reserved.contains_key(&name) && !is_over;
        if !may_be || !self.is_as_seen(spot, key, seen, change) {
            return Err(Outcome::Newer(self.side.newest(spot.slot)));
        }
        let groups = self.others(staged);
        let held = self.live(spot, key).map_or(&[][..], |view| view.spread);
        let held_next = match change {
            Change::Value { spread, .. } => self.others(spread),
            Change::Nothing | Change::Expiry(_) => Vec::new(),
        };
        if !held.iter().chain(&held_next).all(|group| groups.binary_search(group).is_ok()) {
            return Err(self.spread(spot, key));
        }
        self.side_mut().reserved.remove(&name);
        let moved = match change {
            Change::Value { moved, .. } => moved.clone().map(Box::new),
            Change::Nothing | Change::Expiry(_) => None,
        };
        if !groups.is_empty() || moved.is_some() {
            let row = Published { groups: groups.into(), moved };
            self.side_mut().published.insert(name.clone(), row);
        }
        self.change_record(spot, name, held_next, change);
        Ok(Reply::Ok.into())
    }

    /// Does a change that is published now.
    fn change_record(&mut self, spot: Spot, name: Name, held_next: Vec<GroupId>, change: &Change) {
        let (key, version) = &name;
        let modified = self.applied;
        let side = self.side_mut();
        let share = side.unstage(&name).map(|staged| staged.what);
        side.abandon_up_to(key, *version);
        match change {
            Change::Value { len_bytes, expiry, .. } => {
                side.enlisted.remove_key(key);
                let mut value = match share {
                    Some(What::Value(value)) => value,
                    Some(What::Void | What::Expiry { .. }) | None => Bitmap::new(),
                };
                value.extend_len(*len_bytes);
                let entry = Entry {
                    value,
                    expiry: *expiry,
                    modified,
                    // Without parts there is nothing that a version could tell apart.
                    version: (!held_next.is_empty()).then_some(*version),
                    spread: held_next.into(),
                };
                self.store.put(spot, key, entry);
            }
            Change::Nothing => {
                side.enlisted.remove_key(key);
                self.store.take(spot, key);
            }
            Change::Expiry(expiry) => {
                self.store.edit(spot, key, |entry| {
                    entry.expiry = *expiry;
                    entry.modified = modified;
                });
            }
        }
        self.reap(spot, key);
    }

    /// Whether the record is what a publication asks for.
    fn is_as_seen(&self, spot: Spot, key: &Key, seen: Seen, change: &Change) -> bool {
        let live = self.live(spot, key);
        if matches!(change, Change::Expiry(_)) && live.is_none() {
            return false;
        }
        match seen {
            Seen::Any => true,
            Seen::Absent => live.is_none(),
            Seen::Record { version, expiry } => {
                live.is_some_and(|view| (view.version, view.expiry) == (version, expiry))
            }
            Seen::Unchanged(modified) => live.map_or(LogIndex(0), |view| view.modified) == modified,
        }
    }

    /// Groups in order, each once, without this one.
    fn others(&self, groups: &[GroupId]) -> Vec<GroupId> {
        let others = groups.iter().copied().filter(|group| *group != self.config.group);
        let mut groups: Vec<GroupId> = others.collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Notes what is left to do of all records with parts, which go: whoever was given leave may
    /// yet make a part of it, and must be told that it is over.
    pub(crate) fn note_flushed(&mut self) {
        let mut over: Vec<(Key, Version, Vec<GroupId>)> = Vec::new();
        let owned = &self.store.owned;
        self.store.root().for_each(|spot, key, view| {
            if owned.has(spot.slot)
                && let Some(version) = view.version.filter(|_| !view.spread.is_empty())
            {
                let key = Key::new(key).expect("it was a key when it was put");
                over.push((key, version, view.spread.to_vec()));
            }
        });
        let side = self.side_mut();
        side.clear();
        for (key, version, groups) in over {
            side.expired.insert((key, version), groups.into());
        }
    }

    /// Notes what is left to do of a record that has expired: its parts are to be dropped. What was
    /// to be published over it at an older version may not count on them any more.
    pub(crate) fn note_expired(&mut self, key: &Key, old: &Entry) {
        if old.spread.is_empty() {
            return;
        }
        let version = old.version.expect("a record with a spread has a version");
        let side = self.side_mut();
        side.enlisted.remove_key(key);
        side.abandon_up_to(key, version);
        side.expired.insert((key.clone(), version), old.spread.clone());
    }
}
