//! DEL, EXPIRE, PERSIST, RENAME and COPY.

use bitroster_command::{CommandError, Expiry, ExpiryCondition, Reply};
use bitroster_types::{Key, UnixMillis};

use crate::{Engine, entry::Entry, spot::Spot, write::Written};

impl Engine {
    pub(super) fn delete(&mut self, keys: &[Key]) -> Written {
        for key in keys {
            self.whole(key)?;
        }
        let mut count = 0;
        for key in keys {
            count += i64::from(self.remove(Spot::of(key), key));
        }
        Ok(Reply::Integer(count).into())
    }

    pub(super) fn expire(
        &mut self,
        key: &Key,
        expiry: Expiry,
        condition: ExpiryCondition,
    ) -> Written {
        let spot = self.home(key)?;
        let new = match expiry {
            Expiry::In(millis) => self.expiry_in(millis, "expire")?,
            Expiry::At(time) => time,
            Expiry::Clear | Expiry::Keep => return Err(CommandError::Syntax.into()),
        };
        let Some(view) = self.live(spot, key) else { return Ok(Reply::Integer(0).into()) };
        let old = view.expiry;
        let refused = (condition.if_none && old.is_some())
            || (condition.if_some && old.is_none())
            || (condition.if_later && old.is_none_or(|old| new <= old))
            || (condition.if_earlier && old.is_some_and(|old| new >= old));
        if refused {
            return Ok(Reply::Integer(0).into());
        }
        self.here().whole(key)?;
        if new <= self.time {
            self.remove(spot, key);
        } else {
            self.set_expiry(spot, key, Some(new));
        }
        Ok(Reply::Integer(1).into())
    }

    pub(super) fn persist(&mut self, key: &Key) -> Written {
        let spot = self.home(key)?;
        let had = self.live(spot, key).is_some_and(|view| view.expiry.is_some());
        if had {
            self.here().whole(key)?;
            self.set_expiry(spot, key, None);
        }
        Ok(Reply::Integer(i64::from(had)).into())
    }

    /// Changes a live record's expiry.
    pub(super) fn set_expiry(&mut self, spot: Spot, key: &Key, expiry: Option<UnixMillis>) {
        let modified = self.applied;
        self.store.edit(spot, key, |entry| {
            entry.expiry = expiry;
            entry.modified = modified;
        });
    }

    pub(super) fn rename(&mut self, source: &Key, target: &Key, only_if_new: bool) -> Written {
        let (from, to) = (self.home(source)?, self.home(target)?);
        self.here().whole(source)?;
        let Some(view) = self.live(from, source) else {
            return Err(CommandError::Text("ERR no such key").into());
        };
        let is_taken = self.here().whole(target)?.is_some();
        if only_if_new && is_taken {
            return Ok(Reply::Integer(0).into());
        }
        if source != target {
            let entry = Entry { version: None, ..view.to_entry() };
            self.store.take(from, source);
            self.replace(to, target, entry);
        }
        Ok(if only_if_new { Reply::Integer(1) } else { Reply::Ok }.into())
    }

    pub(super) fn copy(&mut self, source: &Key, target: &Key, replace: bool) -> Written {
        let (from, to) = (self.home(source)?, self.home(target)?);
        if source == target {
            let text = "ERR source and destination objects are the same";
            return Err(CommandError::Text(text).into());
        }
        self.here().whole(source)?;
        let Some(view) = self.live(from, source) else {
            return Ok(Reply::Integer(0).into());
        };
        if self.here().whole(target)?.is_some() && !replace {
            return Ok(Reply::Integer(0).into());
        }
        let entry = Entry { version: None, ..view.to_entry() };
        self.replace(to, target, entry);
        Ok(Reply::Integer(1).into())
    }
}
