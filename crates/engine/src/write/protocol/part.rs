//! What a group that is not the key's home does.

use bitroster_command::{Grant, Outcome, Reply};
use bitroster_types::{Key, UnixMillis, Version};

use crate::{
    Engine,
    entry::Entry,
    side::{Name, Staged, What},
    spot::Spot,
};

impl Engine {
    /// Makes sure of a live part that a write may go to.
    ///
    /// # Errors
    ///
    /// [`Outcome::AskHome`] without leave where there is no live part or the group is in doubt, and
    /// with leave that is older than what is staged or what became of the key.
    pub(in crate::write) fn admit(
        &mut self,
        spot: Spot,
        key: &Key,
        grant: Option<Grant>,
    ) -> Result<(), Outcome> {
        let Some(grant) = grant else {
            let is_sure = !self.side.is_staged(key) && self.live(spot, key).is_some();
            return if is_sure { Ok(()) } else { Err(Outcome::AskHome) };
        };
        if self.side.is_staged(key) {
            if self.side.newest_staged(key) > Some(grant.drawn) {
                return Err(Outcome::AskHome);
            }
            if self.side.staged_value(key, grant.version).is_some() {
                // It is the record's version, so it was published.
                self.activate(key, grant.version);
            }
        }
        let part = self.store.find(spot, key);
        let here = part.and_then(|view| view.version);
        if here > Some(grant.version) {
            return Err(Outcome::AskHome);
        }
        if here == Some(grant.version) {
            if part.is_some_and(|view| view.is_expired(self.time)) {
                // Home has prolonged it, and its word has not come yet.
                self.store.edit(spot, key, |entry| entry.expiry = grant.expiry);
            }
            return Ok(());
        }
        if self.side.floor(key).is_some_and(|floor| floor.leaves >= grant.version) {
            return Err(Outcome::AskHome);
        }
        self.put_part(spot, key, Entry::default(), (grant.version, grant.expiry));
        Ok(())
    }

    fn put_part(
        &mut self,
        spot: Spot,
        key: &Key,
        part: Entry,
        (version, expiry): (Version, Option<UnixMillis>),
    ) {
        let modified = self.applied;
        self.store.put(spot, key, Entry { version: Some(version), expiry, modified, ..part });
    }

    /// Whether what is to be staged is there already.
    ///
    /// # Errors
    ///
    /// [`Outcome::Newer`] where it must not be staged any more.
    pub(super) fn is_settled_here(&self, name: &Name) -> Result<bool, Outcome> {
        let (key, version) = name;
        let here = self.store.find(Spot::of(key), key).and_then(|view| view.version);
        if here == Some(*version) {
            return Ok(true);
        }
        let aborted = self.side.aborted.contains_key(name).then_some(*version);
        let settled = self.side.floor(key).map(|floor| floor.stages);
        match here.max(settled).max(aborted) {
            Some(newest) if newest >= *version => Err(Outcome::Newer(newest)),
            Some(_) | None => Ok(false),
        }
    }

    pub(in crate::write) fn activate(&mut self, key: &Key, version: Version) -> Outcome {
        let (spot, time) = (Spot::of(key), self.time);
        let name = (key.clone(), version);
        if self.store.owned.has(spot.slot) || !self.side.staged.contains_key(&name) {
            return Reply::Ok.into();
        }
        let Some(Staged { what, expiry }) = self.side_mut().unstage(&name) else {
            return Reply::Ok.into();
        };
        let here = |engine: &Self| engine.store.find(spot, key).and_then(|view| view.version);
        match what {
            What::Value(value) => {
                if here(self) < Some(version) {
                    let part = Entry { value, ..Entry::default() };
                    self.put_part(spot, key, part, (version, expiry));
                }
            }
            What::Void => {
                if here(self).is_some_and(|here| here < version) {
                    self.store.take(spot, key);
                }
            }
            What::Expiry { of } => {
                if self.side.staged_value(key, of).is_some() {
                    // Home has published it before.
                    self.activate(key, of);
                }
                self.set_part_expiry(spot, key, (of, expiry));
            }
        }
        let side = self.side_mut();
        side.drop_staged(key, version);
        // Home may give leave at this version from now on, also where nothing of it is here.
        side.raise_floor(key, (Version(version.0.saturating_sub(1)), version), time);
        Reply::Ok.into()
    }

    /// Sets the expiry of the part at a version. Where there is none yet an empty one takes it, so
    /// that leave with an older expiry makes none.
    fn set_part_expiry(
        &mut self,
        spot: Spot,
        key: &Key,
        (version, expiry): (Version, Option<UnixMillis>),
    ) {
        let modified = self.applied;
        let here = self.store.find(spot, key).and_then(|view| view.version);
        if here == Some(version) {
            self.store.edit(spot, key, |entry| {
                entry.expiry = expiry;
                entry.modified = modified;
            });
        } else if here < Some(version)
            && self.side.floor(key).is_none_or(|floor| floor.leaves < version)
        {
            self.put_part(spot, key, Entry::default(), (version, expiry));
        }
    }

    pub(in crate::write) fn abort(&mut self, key: &Key, version: Version) -> Outcome {
        let time = self.time;
        if !self.store.owned.has(Spot::of(key).slot) {
            let name = (key.clone(), version);
            let side = self.side_mut();
            side.unstage(&name);
            side.aborted.insert(name, time);
        }
        Reply::Ok.into()
    }

    pub(in crate::write) fn drop_part(&mut self, key: &Key, version: Version) -> Outcome {
        let (spot, time) = (Spot::of(key), self.time);
        if !self.store.owned.has(spot.slot) {
            self.side_mut().raise_floor(key, (version, version), time);
            let here = self.store.find(spot, key).and_then(|view| view.version);
            if here.is_some_and(|here| here <= version) {
                self.store.take(spot, key);
            }
        }
        Reply::Ok.into()
    }
}
