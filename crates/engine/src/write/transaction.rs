//! MULTI/EXEC within one group: all or nothing.

use bitroster_command::{Op, Outcome, ReadOp, Reply, WriteOp};
use bitroster_types::{Key, LogIndex};

use crate::{Engine, spot::Spot};

impl Engine {
    /// Does all of `ops`, or none where one of them needs another group. A command that fails by
    /// its own arguments has an error for a reply and stops nobody, as in Redis.
    pub(super) fn transaction(&mut self, watches: &[(Key, LogIndex)], ops: &[Op]) -> Outcome {
        let changed = |(key, seen): &(Key, LogIndex)| {
            let here = self.live(Spot::of(key), key).map_or(LogIndex(0), |view| view.modified);
            here != *seen
        };
        if watches.iter().any(changed) {
            return Reply::NilArray.into();
        }
        let saved = (self.store.save(), self.side.clone(), self.spaces.clone());
        let mut replies = Vec::with_capacity(ops.len());
        for op in ops {
            let outcome = self.one_of_transaction(op);
            let Outcome::Reply(reply) = outcome else {
                self.store.go_back(saved.0);
                self.side = saved.1;
                self.spaces = saved.2;
                return outcome;
            };
            replies.push(reply);
        }
        self.store.keep(saved.0);
        Outcome::Replies(replies)
    }

    fn one_of_transaction(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Read(read @ ReadOp::Command(_)) => self.read(read, self.time),
            Op::Write(WriteOp::Command(command)) => {
                let (Ok(outcome) | Err(outcome)) = self.command(command, None, None);
                outcome
            }
            Op::Read(_) | Op::Write(_) => Outcome::NotOwner,
        }
    }
}
