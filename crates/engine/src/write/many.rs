//! MSET and BITOP.

use bitroster_bitmap::Bitmap;
use bitroster_command::{BitLogic, Reply};
use bitroster_types::Key;
use bytes::Bytes;

use crate::{
    Engine,
    entry::Entry,
    work::{Job, Made},
    write::{Ready, Written},
};

impl Engine {
    pub(super) fn m_set(&mut self, pairs: &[(Key, Bytes)], only_if_none: bool) -> Written {
        let mut values = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let spot = self.whole(key)?;
            if only_if_none && self.live(spot, key).is_some() {
                return Ok(Reply::Integer(0).into());
            }
            let value = Bitmap::from_bytes(value);
            if !self.holds(&value) {
                return Err(self.spread(spot, key));
            }
            values.push((spot, value));
        }
        for ((key, _), (spot, value)) in pairs.iter().zip(values) {
            self.replace(spot, key, Entry { value, ..Entry::default() });
        }
        Ok(if only_if_none { Reply::Integer(1) } else { Reply::Ok }.into())
    }

    pub(super) fn bit_op(
        &mut self,
        logic: BitLogic,
        target: &Key,
        sources: &[Key],
        ready: Ready,
    ) -> Written {
        let spot = self.whole(target)?;
        let value = match ready {
            Some(Ok(value)) => value,
            Some(Err(_)) | None => {
                let combination = self.here().whole_combination(logic, sources)?;
                match Job::Combine(combination).run() {
                    Made::Value(Ok(value)) => value,
                    Made::Value(Err(error)) => return Err(error.into()),
                    Made::Outcome(outcome) => return Err(outcome),
                }
            }
        };
        let len = value.len_bytes();
        if len == 0 {
            self.remove(spot, target);
            return Ok(Reply::Integer(0).into());
        }
        if !self.holds(&value) {
            return Err(self.spread(spot, target));
        }
        self.replace(spot, target, Entry { value, ..Entry::default() });
        Ok(Reply::Integer(len.cast_signed()).into())
    }
}
