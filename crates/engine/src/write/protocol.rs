//! The steps of the protocols across groups. Each may be repeated without harm, and come late.
//!
//! `home` decides: versions, leaves, reservations, publications. `part` follows: it activates and
//! aborts what was staged, and knows when the group is in doubt about a key.

mod home;
mod part;

use bitroster_command::{Outcome, Reply, StageFrom};
use bitroster_types::{Key, UnixMillis, Version};

use crate::{
    Engine,
    side::What,
    spot::Spot,
    work::Made,
    write::{Ready, Written},
};

impl Engine {
    pub(super) fn stage(
        &mut self,
        (key, version): (&Key, Version),
        expiry: Option<UnixMillis>,
        from: &StageFrom,
        ready: Ready,
    ) -> Written {
        let name = (key.clone(), version);
        let is_home = self.store.owned.has(Spot::of(key).slot);
        let is_settled =
            if is_home { self.is_settled_at_home(&name)? } else { self.is_settled_here(&name)? };
        if is_settled {
            return Ok(Reply::Ok.into());
        }
        let what = match from {
            // At home the record says all that these would.
            StageFrom::Void | StageFrom::Expiry { .. } if is_home => return Ok(Reply::Ok.into()),
            StageFrom::Void => What::Void,
            StageFrom::Expiry { of } => What::Expiry { of: *of },
            StageFrom::Value(_)
            | StageFrom::Combine { .. }
            | StageFrom::Evaluate { .. }
            | StageFrom::Copy { .. } => {
                let made = match ready {
                    Some(value) => value,
                    None => match self.stage_job(key, from)?.map(|job| job.run()) {
                        Some(Made::Value(value)) => value,
                        Some(Made::Outcome(outcome)) => return Err(outcome),
                        None => return Err(Outcome::NotOwner),
                    },
                };
                What::Value(made?)
            }
        };
        self.side_mut().stage(name, what, expiry);
        Ok(Reply::Ok.into())
    }
}
