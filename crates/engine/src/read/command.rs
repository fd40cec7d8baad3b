//! Clients' own reads.

use std::ops::Range;

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    BitLogic, CommandError, Field, IndexRange, IndexUnit, Outcome, ReadCommand, Reply, TimeForm,
};
use bitroster_types::{Key, Segment, UnixMillis, limits::WORK_BYTES_MIN};

use super::{Reader, Stepped};
use crate::{
    entry::View,
    index::{bits_of, range_of, read_field},
    spot::Spot,
    work::{Combination, Job, Share},
};

impl Reader<'_> {
    pub(super) fn command(self, command: &ReadCommand) -> Stepped {
        match command {
            ReadCommand::GetBit { key, offset } => self.get_bit(key, *offset),
            ReadCommand::BitCount { key, range } => self.bit_count(key, *range),
            ReadCommand::BitPos { key, bit, start, end, unit } => {
                self.bit_pos(key, *bit, (*start, *end), *unit)
            }
            ReadCommand::BitFieldRo { key, fields } => self.bit_field_ro(key, fields, false),
            ReadCommand::BitOpCard { logic, sources } => self.bit_op_card(*logic, sources),
            ReadCommand::Get { key } => self.bytes(key, Reply::Nil, |len| 0..len),
            ReadCommand::MGet { keys } => self.m_get(keys),
            ReadCommand::StrLen { key } => {
                let len = self.whole(key)?.map_or(0, |view| view.value.len_bytes());
                Ok(Reply::Integer(len.cast_signed()).into())
            }
            ReadCommand::GetRange { key, start, end } => {
                self.bytes(key, Reply::bulk(""), |len| range_of(*start, *end, len))
            }
            ReadCommand::Exists { keys } => {
                let mut count = 0;
                for key in keys {
                    let spot = self.home(key)?;
                    // A first touch makes a record before the key has any bit.
                    match self.live(spot, key)? {
                        Some(view) if view.value.len_bytes() == 0 && !view.spread.is_empty() => {
                            return Err(Outcome::Spread(view.header()));
                        }
                        Some(_) => count += 1,
                        None => {}
                    }
                }
                Ok(Reply::Integer(count).into())
            }
            ReadCommand::Type { key } => {
                let spot = self.home(key)?;
                let name = if self.live(spot, key)?.is_some() { "string" } else { "none" };
                Ok(Reply::Status(name).into())
            }
            ReadCommand::Ttl { key, form } => {
                let spot = self.home(key)?;
                Ok(Reply::Integer(ttl(self.live(spot, key)?, *form, self.now)).into())
            }
            ReadCommand::Scan { cursor, pattern, count, type_matches } => {
                Ok(self.scan(*cursor, pattern.as_deref(), *count, *type_matches).into())
            }
            ReadCommand::Keys { pattern } => Ok(self.keys(pattern)),
            ReadCommand::DbSize => {
                let live = self.store.tally().records - self.store.overdue_records(self.time);
                Ok(Reply::Integer(live.cast_signed()).into())
            }
            ReadCommand::RandomKey => Ok(self.random_key().into()),
            ReadCommand::FindIds { space, names } => self.find_ids(space, names),
            ReadCommand::FindNames { space, ids } => self.find_names(space, ids),
            ReadCommand::SpaceInfo { space } => self.space_info(space),
            ReadCommand::Spaces => Ok(self.space_names()),
        }
    }

    fn get_bit(self, key: &Key, offset: u64) -> Stepped {
        let spot = Spot::of(key);
        let segment = self.config.width.segment_of(offset);
        let is_home = self.store.owned.acts_as_home(spot.slot, segment);
        if !self.store.owned.takes_segment(is_home, segment) {
            return Err(Outcome::NotOwner);
        }
        if !is_home && self.side.is_staged(key) {
            return Err(Outcome::AskHome);
        }
        let bit = self.live(spot, key)?.is_some_and(|view| view.value.get(offset));
        Ok(Reply::Integer(i64::from(bit)).into())
    }

    fn bit_count(self, key: &Key, range: Option<IndexRange>) -> Stepped {
        let Some(view) = self.whole(key)? else { return Ok(Reply::Integer(0).into()) };
        let value = view.value.to_bitmap();
        let count = match range {
            None => value.cardinality(),
            Some(IndexRange { start, end, unit }) => {
                let unit = bits_of(unit);
                let range = range_of(start, end, value.len_bytes() * 8 / unit);
                value.count(range.start * unit..range.end * unit)
            }
        };
        Ok(Reply::Integer(count.cast_signed()).into())
    }

    fn bit_pos(
        self,
        key: &Key,
        bit: bool,
        (start, end): (Option<i64>, Option<i64>),
        unit: IndexUnit,
    ) -> Stepped {
        let absent = Reply::Integer(if bit { -1 } else { 0 });
        let Some(view) = self.whole(key)? else { return Ok(absent.into()) };
        let value = view.value.to_bitmap();
        let unit = bits_of(unit);
        let range =
            position_range(start.unwrap_or(0), end.unwrap_or(-1), value.len_bytes() * 8 / unit);
        let bits = range.start * unit..range.end * unit;
        let found = if bit {
            value.first_set(bits)
        } else {
            // Without an end the value is followed by zeros; an empty range has none.
            let past = (end.is_none() && !bits.is_empty()).then_some(value.len_bytes() * 8);
            value.first_clear(bits).or(past)
        };
        Ok(Reply::Integer(found.map_or(-1, u64::cast_signed)).into())
    }

    /// `is_sure` says that home has given leave, so that there is no doubt about the part.
    pub(crate) fn bit_field_ro(self, key: &Key, fields: &[Field], is_sure: bool) -> Stepped {
        let (spot, width) = (Spot::of(key), self.config.width);
        let start = fields.first().map_or(Segment(0), |field| width.segment_of(field.offset));
        let is_home = self.store.owned.acts_as_home(spot.slot, start);
        let view = self.live(spot, key)?;
        let is_whole = is_home && view.is_none_or(|view| view.spread.is_empty());
        let owns_all = || {
            fields.iter().all(|field| {
                let last = field.offset + u64::from(field.kind.width) - 1;
                self.store.owned.has_bits(is_home, width, (field.offset, last))
            })
        };
        if !is_whole && !owns_all() {
            return Err(match view {
                Some(view) if is_home => Outcome::Spread(view.header()),
                Some(_) | None => Outcome::NotOwner,
            });
        }
        if !is_home && !is_sure && self.side.is_staged(key) {
            return Err(Outcome::AskHome);
        }
        let value = view.map_or_else(Bitmap::new, |view| view.value.to_bitmap());
        let read = fields.iter().map(|field| {
            let raw = value.field(field.offset, u32::from(field.kind.width));
            Reply::Integer(read_field(field.kind, raw))
        });
        Ok(Reply::Array(read.collect()).into())
    }

    fn bit_op_card(self, logic: BitLogic, sources: &[Key]) -> Stepped {
        Ok(Job::Count(self.whole_combination(logic, sources)?).into())
    }

    /// A combination of keys that lie in this group alone.
    pub(crate) fn whole_combination(
        self,
        logic: BitLogic,
        sources: &[Key],
    ) -> Result<Combination, Outcome> {
        if sources.is_empty() || (logic == BitLogic::Not && sources.len() != 1) {
            return Err(CommandError::Syntax.into());
        }
        let mut operands = Vec::with_capacity(sources.len());
        for key in sources {
            operands.push(self.whole(key)?.map_or_else(Bitmap::new, |view| view.value.to_bitmap()));
        }
        let len_bytes = operands.iter().map(Bitmap::len_bytes).max().unwrap_or(0);
        Ok(Combination { logic, operands, range: 0..u64::MAX, share: Share::All, len_bytes })
    }

    fn bytes(self, key: &Key, absent: Reply, range: impl Fn(u64) -> Range<u64>) -> Stepped {
        let Some(view) = self.whole(key)? else { return Ok(absent.into()) };
        let range = range(view.value.len_bytes());
        let len = range.end - range.start;
        if len > self.config.value_bytes_max {
            return Err(too_long().into());
        }
        if len >= WORK_BYTES_MIN {
            return Ok(Job::Bytes { value: view.value.to_bitmap(), range }.into());
        }
        Ok(Reply::Bulk(view.value.read_bytes(range).into()).into())
    }

    fn m_get(self, keys: &[Key]) -> Stepped {
        let mut values = Vec::with_capacity(keys.len());
        let mut len = 0;
        for key in keys {
            let value = self.whole(key)?.map(|view| view.value.to_bitmap());
            len += value.as_ref().map_or(0, Bitmap::len_bytes);
            values.push(value);
        }
        if len > self.config.value_bytes_max {
            return Err(too_long().into());
        }
        Ok(Job::Many(values).into())
    }
}

/// The refusal of values beyond the longest bulk string.
pub(crate) fn too_long() -> CommandError {
    CommandError::Text("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
}

/// BITPOS clamps as GETRANGE does but for two negative indices that are the wrong way round, which
/// it clamps before it compares them. Source: `bitposCommand`.
fn position_range(start: i64, end: i64, len: u64) -> Range<u64> {
    let from = |index: i64| match u64::try_from(index) {
        Ok(index) => index,
        Err(_) => len.saturating_sub(index.unsigned_abs()),
    };
    let (start, end) = (from(start), (from(end) + 1).min(len));
    start.min(end)..end
}

fn ttl(view: Option<View<'_>>, form: TimeForm, now: UnixMillis) -> i64 {
    let Some(view) = view else { return -2 };
    let Some(expiry) = view.expiry else { return -1 };
    let millis = if form.absolute { expiry.0 } else { expiry.0.saturating_sub(now.0) };
    let time = if form.millis { millis } else { millis.saturating_add(500) / 1000 };
    i64::try_from(time).unwrap_or(i64::MAX)
}
