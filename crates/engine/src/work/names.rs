//! Names and numbers of an id space.

use std::sync::Arc;

use bitroster_command::Reply;
use bytes::Bytes;

use super::{Made, reply};
use crate::space::{Name, Space};

/// About what one lookup touches: some nodes, a page, a block.
const LOOKUP_BYTES: u64 = 512;

/// A search in an id space.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// The space, unless it is absent.
    pub(crate) space: Option<Arc<Space>>,
    pub(crate) wanted: Wanted,
}

/// What is looked for.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// The numbers of these names.
    Ids(Vec<Bytes>),
    /// The names of these numbers.
    Names(Vec<u64>),
}

impl Lookup {
    pub(super) fn run(self) -> Made {
        let space = self.space.as_deref();
        let id_of = |name: &Bytes| {
            let id = space.and_then(|space| space.find(&Name::of(name)));
            id.map_or(Reply::Nil, |id| Reply::Integer(id.into()))
        };
        let name_of = |id: &u64| {
            let name = space.and_then(|space| space.name(*id));
            name.map_or(Reply::Nil, |name| Reply::Bulk(name.into()))
        };
        reply(Reply::Array(match &self.wanted {
            Wanted::Ids(names) => names.iter().map(id_of).collect(),
            Wanted::Names(ids) => ids.iter().map(name_of).collect(),
        }))
    }

    pub(super) fn cost_bytes(&self) -> u64 {
        let searches = match &self.wanted {
            Wanted::Ids(names) => names.len(),
            Wanted::Names(ids) => ids.len(),
        };
        searches as u64 * LOOKUP_BYTES
    }
}
