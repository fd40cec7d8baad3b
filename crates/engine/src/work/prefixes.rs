//! What the keys below a prefix take, by their next names.

use std::{collections::BTreeMap, ops::ControlFlow};

use bitroster_command::{PrefixCounts, PrefixPage, PrefixRow, Reply, SpreadKey};
use bitroster_types::{
    SegmentWidth, UnixMillis,
    limits::{PREFIXES_KEYS_AT_ONCE, PREFIXES_NAME_BYTES_AT_ONCE, PREFIXES_NAMES_AT_ONCE},
};
use bytes::Bytes;

use super::{Made, reply};
use crate::{
    entry::{Value, View},
    leaf::bytes_of_view,
    owned::Owned,
    root::Root,
    spot::Spot,
};

/// What Redis takes beside a string's bytes and its name: the key's and the value's headers and
/// their places in its table.
const REDIS_OVERHEAD_BYTES: u64 = 56;

/// About what one entry costs to look at.
const ENTRY_COST_BYTES: u64 = 64;

/// Containers that take as long to look at as one entry does.
const CONTAINERS_FOR_ENTRY: u64 = 8;

/// One page of what the keys below a prefix take.
///
/// A page ends after so many entries and containers, names or spread keys, wherever that is: so the
/// work is short and what it holds is bounded, whatever the keys are called.
#[derive(Debug)]
pub(crate) struct Prefixes {
    pub(crate) root: Root,
    /// The slots of the keys whose home this is.
    pub(crate) owned: Owned,
    pub(crate) time: UnixMillis,
    pub(crate) width: SegmentWidth,
    pub(crate) prefix: Bytes,
    pub(crate) separator: u8,
    /// A packed spot.
    pub(crate) cursor: u64,
    /// Entries of the group.
    pub(crate) entries: u64,
    /// What they take.
    pub(crate) dataset_bytes: u64,
}

/// The rows of a page that is being made.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<Box<[u8]>, (PrefixCounts, Vec<SpreadKey>)>,
    name_bytes: usize,
    spread_keys: usize,
}

impl Rows {
    fn is_full(&self) -> bool {
        self.rows.len() >= PREFIXES_NAMES_AT_ONCE
            || self.spread_keys >= PREFIXES_NAMES_AT_ONCE
            || self.name_bytes >= PREFIXES_NAME_BYTES_AT_ONCE
    }

    fn row(&mut self, name: &[u8]) -> &mut (PrefixCounts, Vec<SpreadKey>) {
        // Most keys have a name that is there: no allocation for those.
        if !self.rows.contains_key(name) {
            self.name_bytes += name.len();
            self.rows.insert(name.into(), Default::default());
        }
        self.rows.get_mut(name).expect("it was put there if it was not")
    }
}

impl Prefixes {
    pub(super) fn cost_bytes(&self) -> u64 {
        let most = PREFIXES_KEYS_AT_ONCE * ENTRY_COST_BYTES;
        (self.entries * ENTRY_COST_BYTES).max(self.dataset_bytes / CONTAINERS_FOR_ENTRY).min(most)
    }

    pub(super) fn run(self) -> Made {
        let mut rows = Rows::default();
        let next = Spot::unpack(self.cursor).map(|start| self.walk(start, &mut rows));
        let next = match next {
            Some(ControlFlow::Break(spot)) => spot.packed(),
            Some(ControlFlow::Continue(())) | None => 0,
        };
        let row = |(name, (counts, spread)): (Box<[u8]>, _)| PrefixRow {
            name: Bytes::from(name),
            counts,
            spread,
        };
        let page = PrefixPage { next, rows: rows.rows.into_iter().map(row).collect() };
        reply(Reply::Bulk(page.encode().into()))
    }

    /// Looks at the entries from `start` on; breaks off at the spot where the next page begins.
    fn walk(&self, start: Spot, rows: &mut Rows) -> ControlFlow<Spot> {
        let (mut looked_at, mut last) = (0, None);
        self.root.visit(start, |spot, key, view| {
            // Keys that share a spot are on one page: no cursor lies between them.
            if (looked_at >= PREFIXES_KEYS_AT_ONCE || rows.is_full()) && last != Some(spot) {
                return ControlFlow::Break(spot);
            }
            last = Some(spot);
            looked_at += 1;
            if let Some(rest) = key.strip_prefix(&self.prefix[..])
                && !view.is_expired(self.time)
            {
                let end = rest.iter().position(|byte| *byte == self.separator);
                let name = end.map_or(key, |end| &key[..=self.prefix.len() + end]);
                looked_at += self.add(rows, name, spot, key, &view) / CONTAINERS_FOR_ENTRY;
            }
            ControlFlow::Continue(())
        })
    }

    /// Adds an entry; how many containers were looked at.
    fn add(&self, rows: &mut Rows, name: &[u8], spot: Spot, key: &[u8], view: &View<'_>) -> u64 {
        let mut containers = 0;
        let is_home = self.owned.has(spot.slot);
        let len_bytes = view.value.len_bytes();
        let (counts, spread) = rows.row(name);
        counts.bytes += bytes_of_view(key, view) as u64;
        match view.value {
            Value::Flat(bytes) => {
                let ones = bytes.iter().map(|byte| u64::from(byte.count_ones()));
                counts.bits += ones.sum::<u64>();
            }
            Value::Whole(bitmap) => {
                let stats = bitmap.stats();
                let forms = [stats.arrays, stats.dense, stats.runs, stats.full];
                containers = forms.iter().map(|form| form.count as u64).sum();
                counts.bits += bitmap.cardinality();
                counts.array_bytes += stats.arrays.bytes as u64;
                counts.dense_bytes += stats.dense.bytes as u64;
                counts.run_bytes += stats.runs.bytes as u64;
            }
        }
        if is_home {
            counts.keys += 1;
            counts.expiring += u64::from(view.expiry.is_some());
            counts.plain_bytes += key.len() as u64 + REDIS_OVERHEAD_BYTES;
        }
        if is_home && view.spread.is_empty() {
            counts.plain_bytes += len_bytes;
        } else {
            let held_bytes = self.held_bytes(&view.value, len_bytes);
            spread.push(SpreadKey { spot: spot.packed(), len_bytes, held_bytes });
            rows.spread_keys += 1;
        }
        containers
    }

    /// Bytes of the segments that have a bit here.
    fn held_bytes(&self, value: &Value<'_>, len_bytes: u64) -> u64 {
        match value {
            Value::Flat(_) => len_bytes,
            Value::Whole(bitmap) => {
                let segments = bitmap.segments(self.width.log2());
                segments.saturating_mul(self.width.bits() / 8).min(len_bytes)
            }
        }
    }
}
