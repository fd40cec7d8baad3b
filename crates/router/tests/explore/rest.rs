//! What happens when all clients are done: work is finished, everything is read, and all that was
//! ever seen is judged.

use std::{
    collections::BTreeMap,
    task::{Context, Poll, Waker},
};

use bitroster_command::{Command, OpBatch, Reply, WriteOp};
use bitroster_engine::Engine;
use bitroster_router::Reading;
use bitroster_types::{GroupId, Key};
use futures_util::future::BoxFuture;

use super::{
    check::{Record, is_explained},
    finish,
    model::{Held, Seen, Step},
    scenario,
    world::{Verdict, World, cut, names},
};

/// Most rounds of finishing until nothing is pending.
const ROUNDS_MAX: usize = 10;

impl World<'_> {
    /// Runs a command to its end, with nobody else about.
    pub(crate) fn run_alone(&mut self, command: Command) -> Seen {
        let router = self.router(usize::MAX);
        let run = async move { router.run(command, &Reading::default()).await };
        self.drive(Box::pin(run)).unwrap().into()
    }

    /// Drives a future to its end: each request is delivered at once.
    fn drive(&mut self, mut future: BoxFuture<'static, Reply>) -> Result<Reply, String> {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10_000 {
            if let Poll::Ready(reply) = future.as_mut().poll(&mut context) {
                return Ok(reply);
            }
            let mine = |place: &usize| self.wire.requests()[*place].actor == usize::MAX;
            if let Some(place) = self.wire.waiting().into_iter().find(mine) {
                let (group, ops) = self.wire.land(place);
                let is_read = self.wire.requests()[place].is_read;
                let outcomes = self.apply(group, ops.clone(), is_read);
                self.say(|| {
                    format!("  at rest -> group {group}: {} = {}", names(ops), cut(&outcomes))
                });
                self.wire.tell(place, Ok(outcomes));
            }
        }
        Err("a command does not come to an end although nobody disturbs it".into())
    }

    /// Finishes all that is pending, and checks all.
    pub(super) fn rest(&mut self) -> Verdict {
        self.say(|| "all comes to rest".into());
        self.is_rested = true;
        self.rests += 1;
        let groups: Vec<GroupId> = self.engines.keys().copied().collect();
        for round in 0.. {
            let mut tick = OpBatch::new();
            tick.push_write(&WriteOp::Tick);
            for group in &groups {
                self.apply(*group, tick.clone(), false);
            }
            let rows =
                |(group, engine): (&GroupId, &Engine)| (*group, finish::pending(engine, true));
            let pending: Vec<_> = self.engines.iter().map(rows).collect();
            if pending.iter().all(|(_, rows)| rows.is_empty()) {
                break;
            }
            if round == ROUNDS_MAX {
                return Err(format!("work is never finished: {pending:?}"));
            }
            let future = finish::finish(self.router(usize::MAX), pending);
            self.drive(future)?;
        }
        finish::check_rest(&self.scenario.map, &self.engines, &self.scenario.keys)?;
        self.look()
    }

    /// Reads everything, and checks that all that was ever seen makes sense.
    fn look(&mut self) -> Verdict {
        let mut all = BTreeMap::new();
        for key in &self.scenario.keys {
            let whole = self.run_alone(scenario::get(key));
            let bits = self.bits(key);
            let exists = self.run_alone(scenario::exists(key));
            let expiry = self.run_alone(scenario::expiry_time(key));
            let value = match whole {
                Seen::Nil => None,
                Seen::Value(value) => Some(value),
                other => return Err(format!("GET {key:?} = {other:?}")),
            };
            let found = value.clone().unwrap_or_default();
            if let Some((bit, seen)) = bits
                .into_iter()
                .find(|(bit, seen)| *seen != Seen::Integer(found.bits.contains(bit).into()))
            {
                return Err(format!("GETBIT {key:?} {bit} = {seen:?}, GET = {found:?}"));
            }
            if exists != Seen::Integer(value.is_some().into()) {
                return Err(format!("EXISTS {key:?} = {exists:?}, GET = {value:?}"));
            }
            let expiry = match expiry {
                Seen::Integer(time) => u64::try_from(time).ok(),
                other => return Err(format!("PEXPIRETIME {key:?} = {other:?}")),
            };
            if let Some(value) = value {
                all.insert(key.clone(), Held { value, expiry });
            }
        }
        let place = (self.actors.len() + 1, self.rests as usize + 1000);
        let steps: &'static [Step] = &[Step::Look];
        let (answered, name) = (Some((self.now, Seen::All(all))), "at rest");
        self.records.insert(place, Record { name, steps, invoked: self.now, answered });
        let records: Vec<Record<'_>> = self.records.values().cloned().collect();
        if is_explained(&self.scenario.model, &records) {
            return Ok(());
        }
        let told: Vec<String> = records.iter().map(cut).collect();
        Err(format!("no order of the commands explains what was seen:\n  {}", told.join("\n  ")))
    }

    /// The bits that anything in the scenario may have set.
    fn bits(&mut self, key: &Key) -> Vec<(u64, Seen)> {
        let bits = self.scenario.bits.clone();
        let get = |bit| scenario::get_bit(key, bit);
        bits.into_iter().map(|bit| (bit, self.run_alone(get(bit)))).collect()
    }
}
