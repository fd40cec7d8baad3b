//! Id spaces.

use std::sync::Arc;

use bitroster_command::{CommandError, Reply};
use bitroster_types::{
    Key,
    limits::{NAME_BYTES_MAX, SPACE_NAMES_MAX},
};
use bytes::Bytes;

use crate::{Engine, space::Name, write::Written};

impl Engine {
    /// The numbers of names, given to those that have none; nothing where one name cannot have one.
    pub(super) fn assign_ids(&mut self, key: &Key, names: &[Bytes]) -> Written {
        self.here().home(key)?;
        if let Some(name) = names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
            let len = name.len();
            let text = format!("ERR a name of {len} bytes; the limit is {NAME_BYTES_MAX}");
            return Err(CommandError::Message(text).into());
        }
        let space = self.spaces.get(key);
        let find = |name: &Bytes| space.and_then(|space| space.find(&Name::of(name)));
        // A space of known names is not copied.
        let mut ids: Vec<u32> = names.iter().map_while(find).collect();
        let new = &names[ids.len()..];
        let held = space.map_or(0, |space| space.len());
        if held + new.len() as u64 > SPACE_NAMES_MAX
            && held + new.iter().filter(|name| find(name).is_none()).count() as u64
                > SPACE_NAMES_MAX
        {
            let text =
                format!("ERR the id space holds {held} names; the limit is {SPACE_NAMES_MAX}");
            return Err(CommandError::Message(text).into());
        }
        if !new.is_empty() {
            let seed = self.applied.0;
            Arc::make_mut(&mut self.spaces).edit(key, seed, |space| {
                ids.extend(new.iter().map(|name| {
                    let name = Name::of(name);
                    space.find(&name).unwrap_or_else(|| space.push(&name))
                }));
            });
        }
        Ok(Reply::Array(ids.into_iter().map(|id| Reply::Integer(id.into())).collect()).into())
    }

    pub(super) fn drop_space(&mut self, key: &Key) -> Written {
        self.here().home(key)?;
        let was_there = self.spaces.get(key).is_some();
        if was_there {
            Arc::make_mut(&mut self.spaces).drop_space(key);
        }
        Ok(Reply::Integer(i64::from(was_there)).into())
    }
}
