//! Figures about the keyspace.

use bitroster_bitmap::Stats;

use crate::{Engine, entry::Value};

/// Sums over the keyspace of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Records: keys whose home is this group. Those past their expiry count until dropped.
    pub keys: u64,
    /// Entries with an expiry; keys that share a place and an expiry count once.
    pub keys_with_expiry: u64,
    /// Parts of keys whose home is elsewhere.
    pub parts: u64,
    /// What is prepared of changes that are not known to be published: values, removals, expiries.
    pub staged: u64,
    /// Changes that are decided and not confirmed by all groups: published, abandoned or expired.
    pub pending: u64,
    /// Versions that may yet be published.
    pub reserved: u64,
    /// Groups that were given leave, until it is known what they made of it.
    pub enlisted: u64,
    /// Id spaces.
    pub spaces: u64,
    /// Names that they have together.
    pub space_names: u64,
    /// Open sessions of routers.
    pub sessions: u64,
    /// Heap bytes of all that, in the allocator's size classes. Memory that entries share, after
    /// COPY, counts for each; the table of slots, at most 330 KiB, is not counted.
    pub dataset_bytes: u64,
}

impl EngineStats {
    pub(crate) fn of(engine: &Engine) -> Self {
        let tally = engine.store.tally();
        Self {
            keys: tally.records,
            keys_with_expiry: engine.store.expiring(),
            parts: tally.parts,
            staged: engine.side.staged.len() as u64,
            pending: engine.side.decided() as u64,
            reserved: engine.side.reserved.len() as u64,
            enlisted: engine.side.enlisted.len() as u64,
            spaces: engine.spaces.len(),
            space_names: engine.spaces.names(),
            sessions: engine.sessions.open.len() as u64,
            dataset_bytes: engine.store.bytes()
                + engine.side.bytes()
                + engine.spaces.bytes()
                + engine.sessions.bytes(),
        }
    }
}

/// How the bitmaps of a keyspace are kept.
#[derive(Clone, Debug, Default)]
pub struct ContainerStats {
    /// Values of a few bytes beside their keys.
    pub inline_values: u64,
    /// Bitmaps of their own.
    pub bitmaps: u64,
    /// Containers of those, by kind.
    pub containers: Stats,
}

impl Engine {
    /// Counts values and containers by kind. Walks the whole keyspace.
    pub fn container_stats(&self) -> ContainerStats {
        let mut stats = ContainerStats::default();
        self.store.root().for_each(|_, _, view| match view.value {
            Value::Flat(_) => stats.inline_values += 1,
            Value::Whole(bitmap) => {
                stats.bitmaps += 1;
                add(&mut stats.containers, &bitmap.stats());
            }
        });
        stats
    }
}

fn add(sum: &mut Stats, more: &Stats) {
    let pairs = [
        (&mut sum.arrays, &more.arrays),
        (&mut sum.dense, &more.dense),
        (&mut sum.runs, &more.runs),
        (&mut sum.full, &more.full),
    ];
    for (sum, more) in pairs {
        sum.count += more.count;
        sum.bytes += more.bytes;
    }
}
