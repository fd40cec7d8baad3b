//! Id spaces.

use bitroster_command::Reply;
use bitroster_types::Key;
use bytes::Bytes;

use super::{Reader, Step, Stepped};
use crate::work::{Job, Lookup, Wanted};

impl Reader<'_> {
    pub(super) fn find_ids(self, space: &Key, names: &[Bytes]) -> Stepped {
        self.look_up(space, Wanted::Ids(names.to_vec()))
    }

    pub(super) fn find_names(self, space: &Key, ids: &[u64]) -> Stepped {
        let bytes_max = self.config.value_bytes_max;
        self.look_up(space, Wanted::Names { ids: ids.to_vec(), bytes_max })
    }

    fn look_up(self, space: &Key, wanted: Wanted) -> Stepped {
        self.home(space)?;
        let space = self.spaces.get(space).cloned();
        Ok(Job::LookUp(Lookup { space, wanted }).into())
    }

    /// How many names, and about how many bytes; an absent space has no names and takes no bytes.
    pub(super) fn space_info(self, space: &Key) -> Stepped {
        self.home(space)?;
        let space = self.spaces.get(space);
        let numbers = space.map_or((0, 0), |space| (space.len(), space.told_bytes()));
        let numbers = [numbers.0, numbers.1].map(|number| Reply::Integer(number.cast_signed()));
        Ok(Reply::Array(numbers.into()).into())
    }

    /// The names of all spaces of the group.
    pub(super) fn space_names(self) -> Step {
        let owned = &self.store.owned;
        let names = self.spaces.iter().filter(|(key, _)| owned.is_home(key));
        Reply::Array(names.map(|(key, _)| Reply::bulk(key.to_vec())).collect()).into()
    }
}
