//! Many bits at once, and presence.

use bitroster_bitmap::{Bitmap, MergeOp};
use bitroster_command::{CommandError, Grant, MergeMode, Outcome, Reply};
use bitroster_types::{Key, SegmentWidth, limits::PRESENCE_ID_MAX};

use crate::{
    Engine,
    spot::Spot,
    work::decoded,
    write::{Ready, Written},
};

/// Bits of one field of a presence bitmap.
const FIELD_BITS: u32 = 32;

impl Engine {
    /// Changes the bits of a set. Costs by the set, not by the value.
    pub(super) fn merge(
        &mut self,
        key: &Key,
        (mode, bits): (MergeMode, &[u8]),
        grant: Option<Grant>,
        ready: Ready,
    ) -> Written {
        let set = ready.unwrap_or_else(|| decoded(bits))?;
        if set.cardinality() == 0 {
            return Ok(Reply::Integer(0).into());
        }
        let op = match mode {
            MergeMode::Or => MergeOp::Or,
            MergeMode::AndNot => MergeOp::AndNot,
            MergeMode::Xor => MergeOp::Xor,
        };
        // Who owns all segments need not look for those of the set.
        let looked_at = if self.store.owned.has_all() { 1 } else { usize::MAX };
        let ranges = segments_of(&set, self.config.width).take(looked_at);
        let spot = match mode {
            MergeMode::Or | MergeMode::Xor => self.entry_for(key, ranges, grant)?,
            MergeMode::AndNot => match self.entry_to_clear(key, ranges, grant)? {
                Some(spot) => spot,
                None => return Ok(Reply::Integer(0).into()),
            },
        };
        let modified = self.applied;
        let changed = self.edit_or_make(spot, key, |entry| {
            let len = entry.value.len_bytes();
            let changed = entry.value.merge(op, &set);
            if changed > 0 || entry.value.len_bytes() != len {
                entry.modified = modified;
            }
            changed
        });
        Ok(Reply::Integer(changed.cast_signed()).into())
    }

    /// As [`Engine::entry_for`], for a write that only clears: the live entry if there is one.
    ///
    /// A group that is in no doubt and has no part has nothing to clear, so that nobody need be
    /// enlisted. A part past its expiry may be alive at home, whose clock decides, and be prolonged
    /// there: home is asked. A record without a spread is the whole key, and then home need not own
    /// the bits.
    fn entry_to_clear(
        &mut self,
        key: &Key,
        ranges: impl Iterator<Item = (u64, u64)> + Clone,
        grant: Option<Grant>,
    ) -> Result<Option<Spot>, Outcome> {
        let (spot, is_home) = match self.place_of(key, ranges) {
            Err(Outcome::Spread(header)) if header.spread.is_empty() => (self.home(key)?, true),
            place => place?,
        };
        let here = self.store.find(spot, key);
        let asks = here.is_some_and(|view| grant.is_some() || view.is_expired(self.time));
        if !is_home && (asks || self.side.is_staged(key)) {
            self.admit(spot, key, grant)?;
        }
        Ok(self.live(spot, key).map(|_| spot))
    }

    /// Writes when a presence ends. Source: what `BITFIELD key SET u32 #id second` does.
    pub(super) fn touch(
        &mut self,
        key: &Key,
        (id, ttl_secs): (u64, u32),
        grant: Option<Grant>,
    ) -> Written {
        if id > PRESENCE_ID_MAX {
            return Err(CommandError::BIT_OFFSET.into());
        }
        let offset = id * u64::from(FIELD_BITS);
        let range = (offset, offset + u64::from(FIELD_BITS) - 1);
        let spot = self.entry_for(key, std::iter::once(range), grant)?;
        let (time, modified) = (self.time, self.applied);
        let end = time.0.saturating_add(u64::from(ttl_secs) * 1000).div_ceil(1000);
        let end = end.min(u64::from(u32::MAX));
        let old = self.edit_or_make(spot, key, |entry| {
            let old = entry.value.field(offset, FIELD_BITS);
            if old != end {
                entry.value.set_field(offset, FIELD_BITS, end);
                entry.modified = modified;
            }
            old
        });
        let was_absent = old * 1000 <= time.0;
        Ok(Reply::Integer(i64::from(was_absent)).into())
    }
}

/// The first bit of a set in each segment where it has one, as a range of one bit.
fn segments_of(set: &Bitmap, width: SegmentWidth) -> impl Iterator<Item = (u64, u64)> + Clone {
    let next = move |bit: &u64| {
        let start = (*bit & !(width.bits() - 1)).checked_add(width.bits())?;
        set.first_set(start..u64::MAX)
    };
    std::iter::successors(set.first_set(0..u64::MAX), next).map(|bit| (bit, bit))
}
