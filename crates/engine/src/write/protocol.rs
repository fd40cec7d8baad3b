//! The steps of the protocols across groups. Each may be repeated without harm.

use bitroster_command::{FollowUp, Grant, Outcome, Reply, StageFrom};
use bitroster_types::{GroupId, Key, UnixMillis, Version, limits::BITMAP_BITS_MAX};

use crate::{
    Engine,
    entry::Entry,
    read::too_long,
    side::Staged,
    spot::Spot,
    work::Made,
    write::{Ready, Written},
};

impl Engine {
    pub(super) fn enlist(&mut self, key: &Key, group: GroupId) -> Written {
        let spot = self.home(key)?;
        let live = self.live(spot, key);
        let known = live.and_then(|view| view.version);
        let is_in = live.is_some_and(|view| view.spread.contains(&group));
        let version = known.unwrap_or_else(|| self.side_mut().draw(spot.slot));
        if !is_in && group != self.config.group {
            let modified = self.applied;
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
        Ok(Outcome::Granted(Grant { version, expiry }))
    }

    pub(super) fn reserve(&mut self, key: &Key) -> Written {
        let spot = self.home(key)?;
        let time = self.time;
        let side = self.side_mut();
        let version = side.draw(spot.slot);
        side.reserved.insert((key.clone(), version), time);
        Ok(Outcome::Reserved(version))
    }

    pub(super) fn stage(
        &mut self,
        key: &Key,
        version: Version,
        from: &StageFrom,
        ready: Ready,
    ) -> Written {
        let spot = Spot::of(key);
        let is_home = self.store.owned.has(spot.slot);
        if !is_home {
            let here = self.store.find(spot, key).and_then(|view| view.version);
            if here == Some(version) {
                return Ok(Reply::Ok.into());
            }
            let newest = here.max(self.side.newest_dropped(key));
            if let Some(newest) = newest.filter(|newest| *newest >= version) {
                return Err(Outcome::Newer(newest));
            }
        }
        let made = match ready {
            Some(value) => value,
            None => match self.stage_job(key, from)?.run() {
                Made::Value(value) => value,
                Made::Outcome(outcome) => return Err(outcome),
            },
        };
        self.side_mut().stage(key, version, made?);
        Ok(Reply::Ok.into())
    }

    pub(super) fn publish(
        &mut self,
        key: &Key,
        version: Version,
        spread: &[GroupId],
        len_bytes: u64,
        expiry: Option<UnixMillis>,
    ) -> Written {
        let spot = self.home(key)?;
        if len_bytes > BITMAP_BITS_MAX / 8 {
            return Err(too_long().into());
        }
        let here = self.live(spot, key).and_then(|view| view.version);
        if here == Some(version) {
            return Ok(self.answer(Reply::Ok));
        }
        if here > Some(version) || !self.side_mut().redeem(key, version) {
            return Err(Outcome::Newer(self.side.newest(spot.slot)));
        }
        let mut value = self.side_mut().unstage(key, version).unwrap_or_default().value;
        value.extend_len(len_bytes);
        let groups: Vec<GroupId> = sorted(spread, self.config.group);
        let entry = Entry {
            value,
            expiry,
            // Without parts there is nothing that a version could tell apart.
            version: (!groups.is_empty()).then_some(version),
            spread: groups.clone().into(),
            ..Entry::default()
        };
        self.replace(spot, key, entry);
        if expiry.is_some_and(|expiry| expiry > self.time) && !groups.is_empty() {
            self.follow.push(FollowUp::Expiry { key: key.clone(), version, expiry, groups });
        }
        Ok(self.answer(Reply::Ok))
    }

    pub(super) fn activate(&mut self, key: &Key, version: Version) -> Outcome {
        let spot = Spot::of(key);
        let Some(Staged { value, expiry }) = self.side_mut().unstage(key, version) else {
            return Reply::Ok.into();
        };
        let here = self.store.find(spot, key).and_then(|view| view.version);
        if !self.store.owned.has(spot.slot) && here <= Some(version) {
            let version = Some(version);
            let part = Entry { value, expiry, version, modified: self.applied, ..Entry::default() };
            self.store.put(spot, key, part);
        }
        Reply::Ok.into()
    }

    pub(super) fn drop_part(&mut self, key: &Key, version: Version) -> Outcome {
        let (spot, time) = (Spot::of(key), self.time);
        let is_home = self.store.owned.has(spot.slot);
        let side = self.side_mut();
        side.drop_staged(key, version);
        if !is_home {
            side.remember_drop(key, version, time);
            let here = self.store.find(spot, key).and_then(|view| view.version);
            if here.is_some_and(|here| here <= version) {
                self.store.take(spot, key);
            }
        }
        Reply::Ok.into()
    }

    pub(super) fn set_part_expiry(
        &mut self,
        key: &Key,
        version: Version,
        expiry: Option<UnixMillis>,
    ) -> Outcome {
        let spot = Spot::of(key);
        if self.store.owned.has(spot.slot) {
            return Reply::Ok.into();
        }
        if self.side.staged.contains_key(&(key.clone(), version)) {
            let staged = self.side_mut().staged.get_mut(&(key.clone(), version));
            staged.expect("found above").expiry = expiry;
        }
        let here = self.store.find(spot, key).and_then(|view| view.version);
        if here == Some(version) {
            let modified = self.applied;
            self.store.edit(spot, key, |entry| {
                entry.expiry = expiry;
                entry.modified = modified;
            });
        }
        Reply::Ok.into()
    }
}

/// The groups of a spread in order, each once, without home itself.
fn sorted(groups: &[GroupId], home: GroupId) -> Vec<GroupId> {
    let mut groups: Vec<GroupId> = groups.iter().copied().filter(|group| *group != home).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}
