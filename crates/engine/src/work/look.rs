//! Looks at one value, or at all entries.

use std::{collections::BTreeSet, ops::Range};

use bitroster_bitmap::Bitmap;
use bitroster_command::{Reply, glob};
use bitroster_types::{Key, SegmentWidth, UnixMillis};
use bytes::Bytes;

use super::{Made, encoded, formula::part_cost, integer, reply};
use crate::{owned::Owned, root::Root};

/// Who is present by a bitmap of fields of 32 bits.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) value: Bitmap,
    pub(crate) range: Range<u64>,
    pub(crate) after_secs: u32,
    /// Most ids to list; none: count them.
    pub(crate) limit: Option<u64>,
}

impl Presence {
    pub(super) fn run(self) -> Made {
        let Self { value, range, after_secs, limit } = self;
        match limit {
            None => integer(value.fields_above(range, after_secs)),
            Some(limit) => encoded(&value.fields_above_list(range, after_secs, limit)),
        }
    }

    pub(super) fn cost_bytes(&self) -> u64 {
        part_cost(&self.value, &self.range)
    }
}

/// The nine numbers of [`PartQuery::Info`](bitroster_command::PartQuery::Info).
pub(super) fn info(value: &Bitmap, memory_bytes: u64, width: SegmentWidth) -> Reply {
    let stats = value.stats();
    let [arrays, dense, runs, full] =
        [stats.arrays, stats.dense, stats.runs, stats.full].map(|form| form.count as u64);
    let is_flat = u64::from(value.as_flat().is_some());
    let (bits, len, segments) =
        (value.cardinality(), value.len_bytes(), value.segments(width.log2()));
    let numbers = [memory_bytes, bits, len, segments, arrays, dense, runs, full, is_flat];
    Reply::Array(numbers.map(|number| Reply::Integer(number.cast_signed())).into())
}

/// The names of live records that match a pattern.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) root: Root,
    pub(crate) owned: Owned,
    pub(crate) time: UnixMillis,
    pub(crate) pattern: Bytes,
}

impl Keys {
    pub(super) fn run(self) -> Made {
        let Self { root, owned, time, pattern } = self;
        let mut keys = Vec::new();
        root.for_each(|spot, key, view| {
            if owned.has(spot.slot) && !view.is_expired(time) && glob::glob_match(&pattern, key) {
                keys.push(Reply::bulk(key));
            }
        });
        reply(Reply::Array(keys))
    }
}

/// The keys that match a pattern and have a bit set: live ones, and parts even past their expiry,
/// for home decides whether their key is alive.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) root: Root,
    /// The slots of the keys whose home this is.
    pub(crate) homes: Owned,
    /// Whether the bit's segment depends on the key, so that only home has it.
    pub(crate) is_first: bool,
    pub(crate) time: UnixMillis,
    pub(crate) pattern: Bytes,
    pub(crate) offset: u64,
    pub(crate) limit: u64,
    /// Keys that may have the bit by what is staged of them. They match.
    pub(crate) in_doubt: BTreeSet<Key>,
}

impl Holding {
    pub(super) fn run(mut self) -> Made {
        let (mut count, mut names) = (0_u64, Vec::new());
        let mut add = |key: &[u8]| {
            count += 1;
            if count <= self.limit {
                names.push(Reply::bulk(key));
            }
        };
        self.root.for_each(|spot, key, view| {
            let is_here = if self.homes.has(spot.slot) {
                !view.is_expired(self.time)
            } else {
                !self.is_first
            };
            if is_here && view.value.get(self.offset) && glob::glob_match(&self.pattern, key) {
                self.in_doubt.remove(key);
                add(key);
            }
        });
        self.in_doubt.iter().for_each(|key| add(key));
        let count = Reply::Integer(count.cast_signed());
        reply(Reply::Array(vec![count, Reply::Array(names)]))
    }
}
