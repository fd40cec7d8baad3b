//! Id spaces: dictionaries that give names dense numbers.
//!
//! A space numbers its names from 0 in the order in which they were first assigned, and never takes
//! a number back; only the whole space goes. A name costs its bytes (a UUID 17, see `name`), about
//! nine of `table` and a quarter of order. Everything is copied only where it changes, in pieces of
//! a few KiB, so that a snapshot of all spaces is one reference count.
//!
//! Spaces are no keys: they have a namespace, no type and no expiry, and live in the group that
//! owns the slot of their name.

mod name;
mod names;
mod table;

use std::{collections::BTreeMap, sync::Arc};

use bitroster_types::Key;

pub(crate) use self::{
    name::Name,
    names::{BLOCK_BYTES, Damage, parse},
};
use self::{names::Names, table::Table};
use crate::{size::class, spot::hash_of};

/// Bytes of one name beside its kept form, about: its row in the table, with some room, and its
/// share of the marks of a block.
const NAME_BYTES: u64 = 10;

/// One dictionary.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    names: Names,
    table: Table,
    /// Of the hashes in the table. Replicas may have different ones: no answer depends on it.
    seed: u64,
}

impl Space {
    fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// How many names it has: the next name's number.
    pub(crate) fn len(&self) -> u64 {
        self.names.len()
    }

    /// Heap bytes, in size classes, without the struct itself.
    pub(crate) fn heap_bytes(&self) -> u64 {
        (self.names.heap_bytes() + self.table.heap_bytes()) as u64
    }

    /// About how many bytes it takes, by its names alone: replicas must agree on what they answer,
    /// and the room that their vectors keep differs.
    pub(crate) fn told_bytes(&self) -> u64 {
        self.names.kept_bytes() + self.len() * NAME_BYTES
    }

    /// The number of a name.
    pub(crate) fn find(&self, name: &Name<'_>) -> Option<u32> {
        self.table.find(name.hash(self.seed), |id| self.names.is(id, name))
    }

    /// The name of a number.
    pub(crate) fn name(&self, id: u64) -> Option<Vec<u8>> {
        self.names.get(u32::try_from(id).ok()?).map(|name| name.to_bytes())
    }

    /// Gives the next number to a name that has none.
    ///
    /// # Panics
    ///
    /// If the space is full.
    pub(crate) fn push(&mut self, name: &Name<'_>) -> u32 {
        let id = self.names.push(name);
        self.table.insert(name.hash(self.seed), id);
        id
    }

    /// The encoded names, in order of their numbers, in pieces of at most [`BLOCK_BYTES`].
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &[u8]> {
        self.names.blocks()
    }
}

/// Parts of the namespace that are copied by themselves.
const BUCKETS: usize = 256;

type Bucket = BTreeMap<Key, Arc<Space>>;

/// Bytes of one space beside its name and what is in it: its struct, and its share of the tree's
/// nodes.
const SPACE_BYTES: usize = class(size_of::<Space>() + 16) + 48;

/// All id spaces of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spaces {
    /// None until there is a space.
    buckets: Box<[Arc<Bucket>]>,
    spaces: u64,
    names: u64,
    bytes: u64,
}

fn bucket_of(space: &[u8]) -> usize {
    hash_of(space) as usize % BUCKETS
}

/// Bytes of a space and its name.
fn bytes_of(key: &Key, space: &Space) -> u64 {
    (SPACE_BYTES + class(key.len())) as u64 + space.heap_bytes()
}

impl Spaces {
    pub(crate) fn get(&self, space: &[u8]) -> Option<&Arc<Space>> {
        self.buckets.get(bucket_of(space))?.get(space)
    }

    /// Changes a space, made with that seed if absent: a number that whoever chooses names does not
    /// know, such as the place in the log. After a snapshot it costs a look at every block
    /// of names, some nanoseconds for each 64 KiB.
    pub(crate) fn edit<R>(
        &mut self,
        key: &Key,
        seed: u64,
        change: impl FnOnce(&mut Space) -> R,
    ) -> R {
        if self.buckets.is_empty() {
            self.buckets = vec![Arc::default(); BUCKETS].into();
        }
        let bucket = Arc::make_mut(&mut self.buckets[bucket_of(key)]);
        if !bucket.contains_key(key.as_bytes()) {
            let space = Space::new(seed);
            self.spaces += 1;
            self.bytes += bytes_of(key, &space);
            bucket.insert(key.clone(), Arc::new(space));
        }
        let space = bucket.get_mut(key.as_bytes()).expect("there by now");
        // A copy has no spare room, so what it changes counts too.
        let (names, bytes) = (space.len(), space.heap_bytes());
        let space = Arc::make_mut(space);
        let result = change(space);
        self.names = self.names - names + space.len();
        self.bytes = self.bytes - bytes + space.heap_bytes();
        result
    }

    /// Forgets a space; whether there was one.
    pub(crate) fn drop_space(&mut self, key: &Key) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        let bucket = Arc::make_mut(&mut self.buckets[bucket_of(key)]);
        let space = bucket.remove(key.as_bytes()).expect("seen above");
        self.spaces -= 1;
        self.names -= space.len();
        self.bytes -= bytes_of(key, &space);
        true
    }

    /// All spaces, in order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Space>)> {
        let mut rows: Vec<_> = self.buckets.iter().flat_map(|bucket| bucket.iter()).collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        rows.into_iter()
    }

    /// How many spaces there are.
    pub(crate) fn len(&self) -> u64 {
        self.spaces
    }

    /// How many names they have together.
    pub(crate) fn names(&self) -> u64 {
        self.names
    }

    /// Heap bytes, in size classes, without the table of buckets.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
