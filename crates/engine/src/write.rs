//! Writes: the one way the state changes.

mod bits;
mod key;
mod many;
mod merge;
mod protocol;
mod space;
mod string;
mod transaction;

use std::sync::Arc;

use bitroster_bitmap::Bitmap;
use bitroster_command::{CommandError, Grant, Outcome, Reply, StageFrom, WriteCommand, WriteOp};
use bitroster_types::{Key, Segment, UnixMillis, limits::WORK_BYTES_MIN, planted::Fault};

use crate::{Engine, entry::Entry, owned::Owned, spot::Spot, work::Job};

/// An outcome; in the error, one that means "nothing was done".
pub(crate) type Written = Result<Outcome, Outcome>;

/// A value computed for the op beforehand.
pub(crate) type Ready = Option<Result<Bitmap, CommandError>>;

impl Engine {
    pub(crate) fn apply_made(&mut self, op: &WriteOp, ready: Ready) -> Outcome {
        self.stamp += 1;
        let (Ok(outcome) | Err(outcome)) = self.write(op, ready);
        outcome
    }

    fn write(&mut self, op: &WriteOp, ready: Ready) -> Written {
        match op {
            WriteOp::Command(command) => self.command(command, None, ready),
            WriteOp::Granted { grant, command } => self.command(command, Some(*grant), ready),
            WriteOp::Enlist { key, group } => self.enlist(key, *group),
            WriteOp::Settle { key, version, group } => self.settle(key, *version, *group),
            WriteOp::Reserve { key, exclusive } => self.reserve(key, *exclusive),
            WriteOp::Stage { key, version, expiry, from } => {
                self.stage((key, *version), *expiry, from, ready)
            }
            WriteOp::Publish { key, version, staged, seen, change } => {
                self.publish((key, *version), staged, *seen, change)
            }
            WriteOp::Abandon { key, version } => self.abandon(key, *version),
            WriteOp::Activate { key, version } => Ok(self.activate(key, *version)),
            WriteOp::Abort { key, version } => Ok(self.abort(key, *version)),
            WriteOp::Drop { key, version } => Ok(self.drop_part(key, *version)),
            WriteOp::Forget { key, version } => {
                self.side_mut().forget(&(key.clone(), *version));
                Ok(Reply::Ok.into())
            }
            WriteOp::Transaction { watches, ops } => Ok(self.transaction(watches, ops)),
            WriteOp::OpenSession => Ok(self.open_session()),
            WriteOp::Numbered(batch) => Ok(self.numbered(batch)),
            WriteOp::Tick => Ok(Reply::Ok.into()),
            WriteOp::Adopt { slots } => {
                self.store.adopt(Owned::of(slots));
                Ok(Reply::Ok.into())
            }
        }
    }

    pub(crate) fn command(
        &mut self,
        command: &WriteCommand,
        grant: Option<Grant>,
        ready: Ready,
    ) -> Written {
        match command {
            WriteCommand::SetBit { key, offset, value } => {
                self.set_bit(key, (*offset, *value), grant)
            }
            WriteCommand::BitField { key, ops } => self.bit_field(key, ops, grant),
            WriteCommand::BitOp { logic, target, sources } => {
                self.bit_op(*logic, target, sources, ready)
            }
            WriteCommand::Set { key, value, existence, expiry, reply } => {
                self.set(key, value, (*existence, *expiry, *reply), ready)
            }
            WriteCommand::GetDel { key } => self.get_del(key),
            WriteCommand::GetEx { key, expiry } => self.get_ex(key, *expiry),
            WriteCommand::MSet { pairs, only_if_none } => self.m_set(pairs, *only_if_none),
            WriteCommand::Append { key, value } => self.append(key, value),
            WriteCommand::SetRange { key, offset, value } => {
                self.set_range(key, *offset, value, grant)
            }
            WriteCommand::IncrBy { key, by } => self.incr_by(key, *by),
            WriteCommand::Delete { keys } => self.delete(keys),
            WriteCommand::Expire { key, expiry, condition } => {
                self.expire(key, *expiry, *condition)
            }
            WriteCommand::Persist { key } => self.persist(key),
            WriteCommand::Rename { source, target, only_if_new } => {
                self.rename(source, target, *only_if_new)
            }
            WriteCommand::Copy { source, target, replace } => self.copy(source, target, *replace),
            WriteCommand::Flush => {
                self.note_flushed();
                self.store.clear();
                self.spaces = Arc::default();
                Ok(Reply::Ok.into())
            }
            WriteCommand::Merge { key, mode, bits } => self.merge(key, (*mode, bits), grant, ready),
            WriteCommand::Restore { key, value, expiry, replace } => {
                self.restore_key(key, value, (*expiry, *replace), ready)
            }
            WriteCommand::Touch { key, id, ttl_secs } => self.touch(key, (*id, *ttl_secs), grant),
            WriteCommand::AssignIds { space, names } => self.assign_ids(space, names),
            WriteCommand::DropSpace { space } => self.drop_space(space),
        }
    }

    /// The long computation of an op, if it has one and nothing stands in its way.
    pub(crate) fn job_of(&self, op: &WriteOp) -> Option<Job> {
        match op {
            WriteOp::Command(WriteCommand::BitOp { logic, target, sources }) => {
                self.here().whole(target).ok()?;
                Some(Job::Combine(self.here().whole_combination(*logic, sources).ok()?))
            }
            WriteOp::Command(WriteCommand::Set { value, .. }) => {
                (value.len() as u64 >= WORK_BYTES_MIN).then(|| Job::FromBytes(value.clone()))
            }
            WriteOp::Command(
                WriteCommand::Merge { bits: value, .. } | WriteCommand::Restore { value, .. },
            )
            | WriteOp::Granted { command: WriteCommand::Merge { bits: value, .. }, .. } => {
                Some(Job::Decode(value.clone()))
            }
            WriteOp::Stage { key, from, .. } => self.stage_job(key, from).ok().flatten(),
            WriteOp::Command(_)
            | WriteOp::Granted { .. }
            | WriteOp::Enlist { .. }
            | WriteOp::Settle { .. }
            | WriteOp::Reserve { .. }
            | WriteOp::Publish { .. }
            | WriteOp::Abandon { .. }
            | WriteOp::Activate { .. }
            | WriteOp::Abort { .. }
            | WriteOp::Drop { .. }
            | WriteOp::Forget { .. }
            | WriteOp::Transaction { .. }
            | WriteOp::OpenSession
            | WriteOp::Numbered(_)
            | WriteOp::Tick
            | WriteOp::Adopt { .. } => None,
        }
    }

    /// What makes the value to be staged, if it is one.
    pub(crate) fn stage_job(&self, key: &Key, from: &StageFrom) -> Result<Option<Job>, Outcome> {
        let here = self.here();
        Ok(Some(match from {
            StageFrom::Value(bytes) => Job::Decode(bytes.clone()),
            StageFrom::Combine { logic, sources, range, len_bytes } => {
                Job::Combine(here.combination(key, *logic, sources, *range, *len_bytes)?)
            }
            StageFrom::Copy { source, range } => {
                let value = here.share_at(&source.key, source.version)?;
                Job::Restrict {
                    value: value.map_or_else(Bitmap::new, |value| value.to_bitmap()),
                    range: range.0..range.1.max(range.0),
                    share: here.share(key),
                }
            }
            StageFrom::Evaluate { formula, sources, range, len_bytes } => {
                Job::Derive(here.derivation(key, formula, sources, (*range, *len_bytes))?)
            }
            StageFrom::Void | StageFrom::Expiry { .. } => return Ok(None),
        }))
    }

    // ---- what the writers share ----

    /// The spot of a key at home, free of what is past its expiry.
    pub(crate) fn home(&mut self, key: &Key) -> Result<Spot, Outcome> {
        let spot = self.here().home(key)?;
        self.reap(spot, key);
        Ok(spot)
    }

    /// As [`Engine::home`], for a record without a spread, or none.
    pub(crate) fn whole(&mut self, key: &Key) -> Result<Spot, Outcome> {
        let spot = self.home(key)?;
        self.here().whole(key)?;
        Ok(spot)
    }

    /// Not done: the key needs other groups.
    pub(crate) fn spread(&self, spot: Spot, key: &Key) -> Outcome {
        Outcome::Spread(self.here().header(spot, key))
    }

    /// Whether home may hold all of `value`: every set bit lies in an owned segment.
    pub(crate) fn holds(&self, value: &Bitmap) -> bool {
        let width = self.config.width;
        if self.store.owned.has_all() || value.len_bytes() <= width.bytes() {
            return true;
        }
        let mut start = width.bits();
        while let Some(bit) = value.first_set(start..u64::MAX) {
            let segment = width.segment_of(bit);
            if !self.store.owned.has_segment(true, segment) {
                return false;
            }
            match segment.0.checked_add(1) {
                Some(next) => start = width.start_of(Segment(next)),
                None => break,
            }
        }
        true
    }

    /// Changes a record that is wholly here, made if absent, unless the result would not be.
    pub(crate) fn change<R>(
        &mut self,
        spot: Spot,
        key: &Key,
        (first, last): (u64, u64),
        change: impl FnOnce(&mut Bitmap) -> R,
    ) -> Result<R, Outcome> {
        let modified = self.applied;
        if self.store.owned.has_bits(true, self.config.width, (first, last)) {
            return Ok(self.edit_or_make(spot, key, |entry| {
                entry.modified = modified;
                change(&mut entry.value)
            }));
        }
        let old = self.live(spot, key).map(|view| view.value.to_bitmap());
        let mut value = old.unwrap_or_default();
        let result = change(&mut value);
        if !self.holds(&value) {
            return Err(self.spread(spot, key));
        }
        self.edit_or_make(spot, key, |entry| {
            entry.modified = modified;
            entry.value = value;
        });
        Ok(result)
    }

    /// Changes an entry in place, or one made for it. Only for what cannot fail any more.
    pub(crate) fn edit_or_make<R>(
        &mut self,
        spot: Spot,
        key: &Key,
        change: impl FnOnce(&mut Entry) -> R,
    ) -> R {
        if self.store.find(spot, key).is_none() {
            let mut entry = Entry::default();
            let result = change(&mut entry);
            self.store.put(spot, key, entry);
            return result;
        }
        self.store.edit(spot, key, change).expect("found above")
    }

    /// Makes room for a write of some ranges of bits to this group's entry of a key: the record at
    /// home, else a live part or, with leave, a new one.
    ///
    /// # Errors
    ///
    /// [`Outcome::NotOwner`] where another group owns the only segment that is touched,
    /// [`Outcome::Spread`] where several groups do and this is home, [`Outcome::AskHome`] where
    /// there is no live part and no leave, or the group is in doubt about the key.
    pub(crate) fn entry_for(
        &mut self,
        key: &Key,
        ranges: impl Iterator<Item = (u64, u64)> + Clone,
        grant: Option<Grant>,
    ) -> Result<Spot, Outcome> {
        let (spot, is_home) = self.place_of(key, ranges)?;
        if is_home {
            self.reap(spot, key);
        } else {
            self.admit(spot, key, grant)?;
        }
        Ok(spot)
    }

    /// Where a write of some ranges of bits to this group's entry of a key goes, and whether this
    /// is the key's home.
    ///
    /// # Errors
    ///
    /// Those of ownership of [`Engine::entry_for`].
    pub(crate) fn place_of(
        &self,
        key: &Key,
        ranges: impl Iterator<Item = (u64, u64)> + Clone,
    ) -> Result<(Spot, bool), Outcome> {
        let spot = Spot::of(key);
        let (owned, width) = (&self.store.owned, self.config.width);
        let start = ranges.clone().next().map_or(Segment(0), |(first, _)| width.segment_of(first));
        let is_home = owned.acts_as_home(spot.slot, start);
        if !ranges.clone().all(|range| owned.has_bits(is_home, width, range)) {
            let mut segments = ranges.flat_map(|(first, last)| [first, last]);
            let first = segments.next().map(|bit| width.segment_of(bit));
            let one = segments.all(|bit| Some(width.segment_of(bit)) == first);
            if is_home && !one {
                return Err(self.spread(spot, key));
            }
            if !Fault::SkipEpochCheck.is_planted() {
                return Err(Outcome::NotOwner);
            }
        }
        Ok((spot, is_home))
    }

    /// The time that an expiry in milliseconds from now, or a given one, comes to.
    ///
    /// # Errors
    ///
    /// Past 63 bits, in Redis's words for `command`.
    pub(crate) fn expiry_in(
        &self,
        millis: i64,
        command: &'static str,
    ) -> Result<UnixMillis, CommandError> {
        let time = self.time.0.saturating_add_signed(millis);
        if time > i64::MAX as u64 {
            let text = format!("ERR invalid expire time in '{command}' command");
            return Err(CommandError::Message(text));
        }
        Ok(UnixMillis(time))
    }
}
