//! What routers ask about one group's share of a key.

use bitroster_bitmap::Bitmap;
use bitroster_command::{BitLogic, CommandError, Outcome, PartQuery, Reply, SourceRef};
use bitroster_types::{Key, Segment, Version, limits::BITMAP_BITS_MAX};

use super::{Reader, Stepped};
use crate::{
    entry::Value,
    spot::Spot,
    work::{Combination, Job, Presence},
};

impl<'a> Reader<'a> {
    /// What this group holds of a key at exactly this version; `None` stands for zeros.
    ///
    /// Home decides whether a key is alive: of a key that home has answered for, a part counts even
    /// past its own expiry, while it is there, and what is staged at the version was published.
    ///
    /// # Errors
    ///
    /// [`Outcome::Newer`] where the version is over: a newer part is here, or this is home and the
    /// record is another one by now.
    pub(crate) fn share_at(
        self,
        key: &Key,
        version: Option<Version>,
    ) -> Result<Option<Value<'a>>, Outcome> {
        let spot = Spot::of(key);
        if self.store.owned.has(spot.slot) {
            return match (self.live(spot, key)?, version) {
                (None, None) => Ok(None),
                (Some(view), _) if view.version == version => Ok(Some(view.value)),
                (Some(_) | None, _) => Err(Outcome::Newer(self.side.newest(spot.slot))),
            };
        }
        let Some(version) = version else { return Ok(None) };
        let found = self.store.find(spot, key);
        let here = found.and_then(|view| view.version);
        if here == Some(version) {
            return Ok(found.map(|view| view.value));
        }
        if self.side.is_staged(key)
            && let Some(value) = self.side.staged_value(key, version)
        {
            return Ok(Some(Value::Whole(value)));
        }
        match here {
            Some(here) if here > version => Err(Outcome::Newer(here)),
            Some(_) | None => Ok(None),
        }
    }

    pub(super) fn part(self, key: &Key, version: Option<Version>, query: PartQuery) -> Stepped {
        let share = self.share_at(key, version)?;
        let value = share.map_or_else(Bitmap::new, Value::to_bitmap);
        let integer = |number: u64| Reply::Integer(number.cast_signed()).into();
        Ok(match query {
            PartQuery::Len => integer(value.len_bytes()),
            PartQuery::Count { start, end } => integer(value.count(start..end)),
            PartQuery::FirstBit { bit: true, start, end } => {
                Reply::Integer(value.first_set(start..end).map_or(-1, u64::cast_signed)).into()
            }
            PartQuery::FirstBit { bit: false, start, end } => {
                let found = self.first_clear(key, &value, (start, end));
                Reply::Integer(found.map_or(-1, u64::cast_signed)).into()
            }
            PartQuery::Info if share.is_none() => Reply::Array(vec![Reply::Integer(0); 9]).into(),
            PartQuery::Info => {
                let spot = Spot::of(key);
                let entry = self.store.find(spot, key).filter(|view| view.version == version);
                let staged = size_of::<Bitmap>() + value.heap_bytes();
                let held = entry.and_then(|_| self.store.bytes_of(spot, key)).unwrap_or(staged);
                let width = self.config.width;
                Job::Info { value, memory_bytes: held as u64, width }.into()
            }
            PartQuery::Present { start, end, after_secs, limit } => {
                let range = start..end.max(start);
                Job::Present(Presence { value, range, after_secs, limit }).into()
            }
            PartQuery::Value { start, end } => Job::Encode { value, range: start..end }.into(),
        })
    }

    /// The first zero bit of a range, among the segments that this group owns.
    fn first_clear(self, key: &Key, value: &Bitmap, (start, end): (u64, u64)) -> Option<u64> {
        let (owned, width) = (&self.store.owned, self.config.width);
        let end = end.min(BITMAP_BITS_MAX);
        if start >= end {
            return None;
        }
        if owned.has_all() {
            return value.first_clear(start..end);
        }
        let is_home = owned.is_home(key);
        let segments = width.segment_of(start).0..=width.segment_of(end - 1).0;
        segments.map(Segment).filter(|segment| owned.has_segment(is_home, *segment)).find_map(
            |segment| {
                let first = width.start_of(segment);
                value.first_clear(start.max(first)..end.min(first + width.bits()))
            },
        )
    }

    /// A combination of what this group holds of some keys, within the segments that it owns of any
    /// of them: the first one of those whose home it is, and later ones.
    pub(super) fn joint(
        self,
        logic: BitLogic,
        sources: &[SourceRef],
        range: (u64, u64),
        len_bytes: u64,
    ) -> Result<Combination, Outcome> {
        let mut at_home = sources.iter().filter(|source| self.store.owned.is_home(&source.key));
        let of = at_home.next().or_else(|| sources.first()).ok_or(CommandError::Syntax)?;
        self.combination(&of.key, logic, sources, range, len_bytes)
    }

    /// A combination of what this group holds of some keys, within the segments that it owns of
    /// `of`.
    pub(crate) fn combination(
        self,
        of: &Key,
        logic: BitLogic,
        sources: &[SourceRef],
        (start, end): (u64, u64),
        len_bytes: u64,
    ) -> Result<Combination, Outcome> {
        if sources.is_empty() || (logic == BitLogic::Not && sources.len() != 1) {
            return Err(CommandError::Syntax.into());
        }
        if len_bytes > BITMAP_BITS_MAX / 8 {
            return Err(super::command::too_long().into());
        }
        let operands = self.operands(sources)?;
        let (range, share) = (start..end.max(start), self.share(of));
        Ok(Combination { logic, operands, range, share, len_bytes })
    }
}
