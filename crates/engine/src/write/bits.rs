//! SETBIT and BITFIELD.

use bitroster_command::{CommandError, FieldAction, FieldOp, Grant, Outcome, Reply};
use bitroster_types::{Key, limits::BITMAP_BITS_MAX};

use crate::{
    Engine,
    entry::Entry,
    index::{fit_field, read_field},
    leaf::Unwritten,
    spot::Spot,
    write::Written,
};

impl Engine {
    pub(super) fn set_bit(&mut self, key: &Key, bit: (u64, bool), grant: Option<Grant>) -> Written {
        if bit.0 >= BITMAP_BITS_MAX {
            return Err(bad_offset().into());
        }
        let spot = Spot::of(key);
        let segment = self.config.width.segment_of(bit.0);
        let is_home = self.store.owned.acts_as_home(spot.slot, segment);
        if !self.store.owned.takes_segment(is_home, segment) {
            return Err(Outcome::NotOwner);
        }
        if !is_home && (grant.is_some() || self.side.is_staged(key)) {
            self.admit(spot, key, grant)?;
        }
        let (mut old, now) = (false, (self.time, self.applied));
        match self.store.set_bits(spot, key, &[bit], now, |bit| old = bit) {
            Ok(()) => {}
            Err(Unwritten::Grow) => {
                let modified = self.applied;
                let edited = self.store.edit(spot, key, |entry| {
                    entry.modified = modified;
                    entry.value.set(bit.0, bit.1)
                });
                old = edited.expect("the entry was found before");
            }
            Err(Unwritten::Absent | Unwritten::Expired) if !is_home => {
                return Err(Outcome::AskHome);
            }
            Err(Unwritten::Absent | Unwritten::Expired) => {
                self.reap(spot, key);
                let mut entry = Entry { modified: self.applied, ..Entry::default() };
                old = entry.value.set(bit.0, bit.1);
                self.store.put(spot, key, entry);
            }
        }
        Ok(Reply::Integer(i64::from(old)).into())
    }

    /// Writes the bits of a key that is there, in order, up to the first for which there is more to
    /// do than that, which changes nothing. Tells each one's old bit; returns how many.
    pub(crate) fn set_bits_in_place(
        &mut self,
        key: &[u8],
        bits: &[(u64, bool)],
        mut told: impl FnMut(bool),
    ) -> usize {
        let (spot, has_staged) = (Spot::of(key), self.side.has_staged());
        let is_simple = |(offset, _): &&(u64, bool)| {
            if *offset >= BITMAP_BITS_MAX {
                return false;
            }
            let segment = self.config.width.segment_of(*offset);
            let is_home = self.store.owned.acts_as_home(spot.slot, segment);
            self.store.owned.takes_segment(is_home, segment) && (is_home || !has_staged)
        };
        let simple = bits.iter().take_while(is_simple).count();
        if simple == 0 {
            return 0;
        }
        let (mut count, now) = (0, (self.time, self.applied));
        let written = self.store.set_bits(spot, key, &bits[..simple], now, |old| {
            count += 1;
            told(old);
        });
        debug_assert!(count == simple || written.is_err(), "{count} of {simple}");
        self.stamp += u64::from(count > 0);
        count
    }

    pub(super) fn bit_field(
        &mut self,
        key: &Key,
        ops: &[FieldOp],
        grant: Option<Grant>,
    ) -> Written {
        let last = |op: &FieldOp| op.field.offset + u64::from(op.field.kind.width) - 1;
        if ops.iter().any(|op| op.field.offset >= BITMAP_BITS_MAX - 64) {
            return Err(bad_offset().into());
        }
        let writes = |op: &&FieldOp| !matches!(op.action, FieldAction::Get);
        let Some(highest) = ops.iter().filter(writes).map(last).max() else {
            let fields: Vec<_> = ops.iter().map(|op| op.field).collect();
            if grant.is_some() {
                self.entry_for(key, ops.iter().map(|op| (op.field.offset, last(op))), grant)?;
            }
            return Ok(self.here().bit_field_ro(key, &fields, grant.is_some())?.into_outcome());
        };
        let spot = self.entry_for(key, ops.iter().map(|op| (op.field.offset, last(op))), grant)?;
        let modified = self.applied;
        let replies = self.edit_or_make(spot, key, |entry| {
            let len = highest / 8 + 1;
            if len > entry.value.len_bytes() {
                entry.value.extend_len(len);
                entry.modified = modified;
            }
            let replies = ops.iter().map(|op| run(entry, op, modified));
            replies.collect()
        });
        Ok(Reply::Array(replies).into())
    }
}

/// Does one operation of BITFIELD. Source: `bitfieldGeneric`.
fn run(entry: &mut Entry, op: &FieldOp, modified: bitroster_types::LogIndex) -> Reply {
    let (kind, offset) = (op.field.kind, op.field.offset);
    let width = u32::from(kind.width);
    let raw = entry.value.field(offset, width);
    let old = read_field(kind, raw);
    let wanted = match op.action {
        FieldAction::Get => return Reply::Integer(old),
        FieldAction::Set(value) if kind.signed => i128::from(value),
        // Redis takes the value of an unsigned field as 64 unsigned bits: -1 is the largest.
        FieldAction::Set(value) => i128::from(value.cast_unsigned()),
        FieldAction::IncrBy(by) => i128::from(old) + i128::from(by),
    };
    let Some(new) = fit_field(kind, wanted, op.overflow) else { return Reply::Nil };
    if new != raw {
        entry.value.set_field(offset, width, new);
        entry.modified = modified;
    }
    let is_set = matches!(op.action, FieldAction::Set(_));
    Reply::Integer(if is_set { old } else { read_field(kind, new) })
}

fn bad_offset() -> CommandError {
    CommandError::Text("ERR bit offset is not an integer or out of range")
}
