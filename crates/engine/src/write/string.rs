//! Commands that see a value as a string.

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    CommandError, Existence, Expiry, Grant, Outcome, Reply, SetReply, parse::parse_i64,
};
use bitroster_types::{Key, UnixMillis};

use crate::{
    Engine,
    entry::{Entry, View},
    read::too_long,
    spot::Spot,
    work::decoded,
    write::{Ready, Written},
};

impl Engine {
    pub(super) fn set(
        &mut self,
        key: &Key,
        value: &[u8],
        (existence, expiry, reply): (Option<Existence>, Expiry, SetReply),
        ready: Ready,
    ) -> Written {
        let spot = self.whole(key)?;
        let expiry = self.resolve(spot, key, expiry, "set")?;
        let live = self.live(spot, key);
        let exists = live.is_some();
        let old = match reply {
            SetReply::Old => live.map(whole_value),
            SetReply::Status | SetReply::Changed => None,
        };
        let holds = match existence {
            None => true,
            Some(Existence::IfAbsent) => !exists,
            Some(Existence::IfPresent) => exists,
        };
        if holds {
            let value = match ready {
                Some(Ok(value)) => value,
                Some(Err(_)) | None => Bitmap::from_bytes(value),
            };
            if !self.holds(&value) {
                return Err(self.spread(spot, key));
            }
            self.replace(spot, key, Entry { value, expiry, ..Entry::default() });
        }
        let reply = match reply {
            SetReply::Status if holds => Reply::Ok,
            SetReply::Status => Reply::Nil,
            SetReply::Changed => Reply::Integer(i64::from(holds)),
            SetReply::Old => old.unwrap_or(Reply::Nil),
        };
        Ok(reply.into())
    }

    /// As SET, of a value in the bitmap codec. Source: Redis `RESTORE`.
    pub(super) fn restore_key(
        &mut self,
        key: &Key,
        value: &[u8],
        (expiry, replace): (Expiry, bool),
        ready: Ready,
    ) -> Written {
        let spot = self.home(key)?;
        // A first touch makes a record before the key has any bit.
        let is_sure = |view: &View<'_>| view.spread.is_empty() || view.value.len_bytes() > 0;
        if !replace && self.live(spot, key).as_ref().is_some_and(is_sure) {
            let text = "BUSYKEY Target key name already exists.";
            return Err(CommandError::Text(text).into());
        }
        self.whole(key)?;
        let expiry = self.resolve(spot, key, expiry, "restore")?;
        let value = ready.unwrap_or_else(|| decoded(value))?;
        if !self.holds(&value) {
            return Err(self.spread(spot, key));
        }
        self.replace(spot, key, Entry { value, expiry, ..Entry::default() });
        Ok(Reply::Ok.into())
    }

    /// The expiry that a key gets.
    fn resolve(
        &self,
        spot: Spot,
        key: &Key,
        expiry: Expiry,
        command: &'static str,
    ) -> Result<Option<UnixMillis>, Outcome> {
        Ok(match expiry {
            Expiry::Clear => None,
            Expiry::Keep => self.live(spot, key).and_then(|view| view.expiry),
            Expiry::In(millis) => Some(self.expiry_in(millis, command)?),
            Expiry::At(time) => Some(time),
        })
    }

    pub(super) fn get_del(&mut self, key: &Key) -> Written {
        let spot = self.whole(key)?;
        let Some(value) = self.live(spot, key).map(whole_value) else {
            return Ok(Reply::Nil.into());
        };
        self.remove(spot, key);
        Ok(value.into())
    }

    pub(super) fn get_ex(&mut self, key: &Key, expiry: Expiry) -> Written {
        let spot = self.whole(key)?;
        let expiry = self.resolve(spot, key, expiry, "getex")?;
        let Some(view) = self.live(spot, key) else { return Ok(Reply::Nil.into()) };
        let (value, before) = (whole_value(view), view.expiry);
        if expiry.is_some_and(|expiry| expiry <= self.time) {
            self.remove(spot, key);
        } else if expiry != before {
            self.set_expiry(spot, key, expiry);
        }
        Ok(value.into())
    }

    pub(super) fn append(&mut self, key: &Key, value: &[u8]) -> Written {
        let spot = self.whole(key)?;
        let len = self.live(spot, key).map_or(0, |view| view.value.len_bytes());
        let end = len + value.len() as u64;
        if end > self.config.value_bytes_max {
            return Err(too_long().into());
        }
        self.change(spot, key, (len * 8, end.max(1) * 8 - 1), |bitmap| {
            bitmap.write_bytes(len, value);
        })?;
        Ok(Reply::Integer(end.cast_signed()).into())
    }

    pub(super) fn set_range(
        &mut self,
        key: &Key,
        offset: u64,
        value: &[u8],
        grant: Option<Grant>,
    ) -> Written {
        if value.is_empty() {
            return self.len_after_nothing(key);
        }
        let end = offset.saturating_add(value.len() as u64);
        if end > self.config.value_bytes_max {
            return Err(too_long().into());
        }
        let range = (offset * 8, end * 8 - 1);
        let spot = match self.entry_for(key, std::iter::once(range), grant) {
            // A string of zeros, or one whose other groups' share is zeros, may still lie here.
            Err(Outcome::Spread(header)) if header.spread.is_empty() => {
                let spot = self.whole(key)?;
                self.change(spot, key, range, |bitmap| bitmap.write_bytes(offset, value))?;
                spot
            }
            Err(outcome) => return Err(outcome),
            Ok(spot) => {
                let modified = self.applied;
                self.edit_or_make(spot, key, |entry| {
                    entry.value.write_bytes(offset, value);
                    entry.modified = modified;
                });
                spot
            }
        };
        let len = self.live(spot, key).map_or(0, |view| view.value.len_bytes());
        Ok(Reply::Integer(len.cast_signed()).into())
    }

    /// SETRANGE of an empty string changes nothing and tells the length.
    fn len_after_nothing(&self, key: &Key) -> Written {
        let spot = Spot::of(key);
        let view = if self.store.owned.has(spot.slot) {
            self.here().whole(key)?
        } else {
            self.live(spot, key)
        };
        let len = view.map_or(0, |view| view.value.len_bytes());
        Ok(Reply::Integer(len.cast_signed()).into())
    }

    pub(super) fn incr_by(&mut self, key: &Key, by: i64) -> Written {
        let spot = self.whole(key)?;
        let old = match self.live(spot, key) {
            None => 0,
            // The longest integer has twenty characters.
            Some(view) if view.value.len_bytes() <= 20 => {
                let digits = view.value.read_bytes(0..20);
                parse_i64(&digits).ok_or(CommandError::NotAnInteger)?
            }
            Some(_) => return Err(CommandError::NotAnInteger.into()),
        };
        let Some(new) = old.checked_add(by) else {
            let text = "ERR increment or decrement would overflow";
            return Err(CommandError::Text(text).into());
        };
        let modified = self.applied;
        self.edit_or_make(spot, key, |entry| {
            entry.value = Bitmap::from_bytes(new.to_string().as_bytes());
            entry.modified = modified;
        });
        Ok(Reply::Integer(new).into())
    }
}

/// A whole value as a reply.
fn whole_value(view: View<'_>) -> Reply {
    Reply::Bulk(view.value.read_bytes(0..u64::MAX).into())
}
