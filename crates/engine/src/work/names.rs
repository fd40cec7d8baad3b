//! Names and numbers of an id space.

use std::sync::Arc;

use bitroster_command::{CommandError, Reply};
use bytes::Bytes;

use super::{Made, reply};
use crate::{
    read::too_long,
    space::{Name, Space},
};

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
    Names {
        ids: Vec<u64>,
        /// Most bytes of all names together.
        bytes_max: u64,
    },
}

impl Lookup {
    pub(super) fn run(self) -> Made {
        let space = self.space.as_deref();
        let id_of = |name: &Bytes| {
            let id = space.and_then(|space| space.find(&Name::of(name)));
            id.map_or(Reply::Nil, |id| Reply::Integer(id.into()))
        };
        match &self.wanted {
            Wanted::Ids(names) => reply(Reply::Array(names.iter().map(id_of).collect())),
            Wanted::Names { ids, bytes_max } => match names_of(space, ids, *bytes_max) {
                Ok(names) => reply(names),
                Err(error) => Made::Outcome(error.into()),
            },
        }
    }

    pub(super) fn cost_bytes(&self) -> u64 {
        let searches = match &self.wanted {
            Wanted::Ids(names) => names.len(),
            Wanted::Names { ids, .. } => ids.len(),
        };
        searches as u64 * LOOKUP_BYTES
    }
}

/// The names of numbers, unless they are too long together: an id takes a few bytes, its name may
/// take thousands.
fn names_of(space: Option<&Space>, ids: &[u64], bytes_max: u64) -> Result<Reply, CommandError> {
    let mut left = bytes_max;
    let mut names = Vec::with_capacity(ids.len());
    for id in ids {
        names.push(match space.and_then(|space| space.name(*id)) {
            Some(name) => {
                left = left.checked_sub(name.len() as u64).ok_or_else(too_long)?;
                Reply::Bulk(name.into())
            }
            None => Reply::Nil,
        });
    }
    Ok(Reply::Array(names))
}
