//! Figures about the keyspace.

use crate::Engine;

/// Sums over the keyspace of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Records: keys whose home is this group. Those past their expiry count until dropped.
    pub keys: u64,
    /// Slots that the group owns.
    pub slots: u64,
    /// Entries dropped because they had expired, since this replica started or took a leader's
    /// snapshot.
    pub expired: u64,
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
    /// Heap bytes of keys, parts and their values: the pages that [`Survey`](crate::Survey) walks.
    pub page_bytes: u64,
    /// Heap bytes of all that, in the allocator's size classes. Memory that entries share, after
    /// COPY, counts for each; the table of slots, at most 330 KiB, is not counted.
    pub dataset_bytes: u64,
}

impl EngineStats {
    pub(crate) fn of(engine: &Engine) -> Self {
        let tally = engine.store.tally();
        Self {
            keys: tally.records,
            slots: u64::from(engine.store.owned.count()),
            expired: engine.expired,
            keys_with_expiry: engine.store.expiring(),
            parts: tally.parts,
            staged: engine.side.staged.len() as u64,
            pending: engine.side.decided() as u64,
            reserved: engine.side.reserved.len() as u64,
            enlisted: engine.side.enlisted.len() as u64,
            spaces: engine.spaces.len(),
            space_names: engine.spaces.names(),
            sessions: engine.sessions.open.len() as u64,
            page_bytes: tally.bytes,
            dataset_bytes: engine.store.bytes()
                + engine.side.bytes()
                + engine.spaces.bytes()
                + engine.sessions.bytes(),
        }
    }
}
