//! Sending a turn's queues and settling what comes back.

use bitroster_command::{Command, CommandError, FollowUp, Outcome, Reply};
use bitroster_types::Key;
use futures_util::future::join_all;

use super::{Queue, Turn, first_key_of_read, first_key_of_write};
use crate::{Target, TransportError, call::Call, plan, route};

/// A command that its group could not do alone.
struct Deferred {
    place: usize,
    command: Command,
    /// Whether all that is missing is the group's leave to hold a part.
    enlist: bool,
}

/// A command that is done, but of which parts must be told before the client is.
struct Follow {
    place: usize,
    reply: Reply,
    tell: Vec<FollowUp>,
}

impl Turn {
    /// Sends what is queued, all groups at once, and waits until every command has its reply.
    ///
    /// A command that its group could not do alone is run to its end afterwards, in its order.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: writes that were sent may be applied, and the turn must not be used again.
    pub async fn flush(&mut self) {
        if self.waiting > 0 {
            let call = self.call();
            if !self.reads.is_empty() {
                Box::pin(self.flush_reads(&call)).await;
            }
            let mut deferred = Vec::new();
            self.flush_queues(&call, &mut deferred).await;
            if !deferred.is_empty() {
                Box::pin(self.finish(&call, deferred)).await;
            }
            self.waiting = 0;
            self.ledger.clear();
            self.router.0.metrics.turn_done(call.elapsed());
        }
        self.counts.publish(&self.router.0.metrics);
    }

    /// Runs the reads that come before all queues, side by side.
    async fn flush_reads(&mut self, call: &Call) {
        let reads = std::mem::take(&mut self.reads);
        self.queues.iter_mut().for_each(|queue| queue.has_reads = false);
        let replies =
            call.each(&reads, |(_, read)| async move {
                Ok(Reply::from(call.complete_read(read).await))
            })
            .await
            .expect("a failed read has a reply too");
        for ((place, _), reply) in reads.into_iter().zip(replies) {
            self.fill(place, reply);
        }
    }

    /// Sends every queue, waits for all, and fills the replies that are known then.
    async fn flush_queues(&mut self, call: &Call, deferred: &mut Vec<Deferred>) {
        let transport = &call.inner.transport;
        let busy = |queue: &Queue| !queue.queued.is_empty();
        let mut follow = Vec::new();
        if self.queues.iter().filter(|queue| busy(queue)).count() == 1 {
            let index = self.queues.iter().position(busy).expect("one queue is busy");
            let to = self.target(self.queues[index].group);
            let queue = &mut self.queues[index];
            let batch = std::mem::take(&mut queue.batch);
            let outcomes = transport.write(to, batch, call.deadline).await;
            self.settle(call, index, outcomes, deferred, &mut follow);
        } else {
            let epoch = self.map.epoch();
            let mut sent = Vec::new();
            for (index, queue) in self.queues.iter_mut().enumerate() {
                if busy(queue) {
                    let batch = std::mem::take(&mut queue.batch);
                    let to = Target { group: queue.group, epoch };
                    let outcomes = transport.write(to, batch, call.deadline);
                    sent.push(async move { (index, outcomes.await) });
                }
            }
            for (index, outcomes) in join_all(sent).await {
                self.settle(call, index, outcomes, deferred, &mut follow);
            }
        }
        if !follow.is_empty() {
            Box::pin(self.follow(call, follow)).await;
        }
    }

    /// Sorts the outcomes of one queue: replies, follow-ups, and what is left to do.
    fn settle(
        &mut self,
        call: &Call,
        index: usize,
        outcomes: Result<Vec<Outcome>, TransportError>,
        deferred: &mut Vec<Deferred>,
        follow: &mut Vec<Follow>,
    ) {
        let mut queued = std::mem::take(&mut self.queues[index].queued);
        let outcomes = match outcomes {
            Ok(outcomes) if outcomes.len() == queued.len() => outcomes,
            Ok(_) => return self.fail(index, queued, &call.unknown()),
            Err(error) => return self.fail(index, queued, &call.noted(error.into())),
        };
        let first = deferred.len();
        for ((place, command), outcome) in queued.drain(..).zip(outcomes) {
            match outcome {
                // A read behind a write that was not done yet did not see it.
                Outcome::Reply(_)
                    if matches!(&command, Command::Read(_))
                        && is_held_up(&deferred[first..], &command) =>
                {
                    deferred.push(Deferred { place, command, enlist: false });
                }
                Outcome::Reply(reply) => self.fill(place, reply),
                Outcome::Follow { reply, follow: tell } => {
                    follow.push(Follow { place, reply, tell });
                }
                Outcome::Enlist => deferred.push(Deferred { place, command, enlist: true }),
                Outcome::Spread(_) | Outcome::NotOwner | Outcome::Newer(_) | Outcome::Tick => {
                    deferred.push(Deferred { place, command, enlist: false });
                }
                Outcome::Header(_)
                | Outcome::Granted(_)
                | Outcome::Reserved(_)
                | Outcome::Session(_)
                | Outcome::Numbered(_)
                | Outcome::Replies(_) => self.fill(place, call.unknown().into()),
            }
        }
        self.queues[index].queued = queued;
    }

    /// Gives every command of a queue the same error.
    fn fail(&mut self, index: usize, mut queued: Vec<(usize, Command)>, error: &CommandError) {
        for (place, _) in queued.drain(..) {
            self.fill(place, error.clone().into());
        }
        self.queues[index].queued = queued;
    }

    /// Tells the parts what they must be told, in the order of the commands that caused it.
    async fn follow(&mut self, call: &Call, mut follow: Vec<Follow>) {
        follow.sort_by_key(|follow| follow.place);
        for Follow { place, reply, tell } in follow {
            let reply = match plan::retire::follow(call, &tell).await {
                Ok(()) => reply,
                Err(stop) => call.error_after_change(stop).into(),
            };
            self.fill(place, reply);
        }
    }

    /// Runs what no group could do alone, in the order of the requests.
    async fn finish(&mut self, call: &Call, mut deferred: Vec<Deferred>) {
        deferred.sort_by_key(|deferred| deferred.place);
        if deferred.iter().any(|deferred| deferred.enlist) {
            deferred = self.finish_first_touches(call, deferred).await;
        }
        for Deferred { place, command, .. } in deferred {
            let reply = call.complete(&command).await;
            self.fill(place, reply);
        }
    }

    /// Does the writes that only lack leave, one round for all leaves and one for all writes, and
    /// answers what is left, in order.
    async fn finish_first_touches(
        &mut self,
        call: &Call,
        deferred: Vec<Deferred>,
    ) -> Vec<Deferred> {
        let mut rest = Vec::new();
        let mut touches = Vec::new();
        for deferred in deferred {
            match (&deferred.command, deferred.enlist) {
                (Command::Write(_), true) if !is_held_up(&rest, &deferred.command) => {
                    touches.push(deferred);
                }
                _ => rest.push(deferred),
            }
        }
        let writes = touches.iter().filter_map(|touch| match &touch.command {
            Command::Write(write) => {
                route::of_write(&call.map, write).map(|(group, _)| (group, write))
            }
            Command::Read(_) | Command::Session(_) => None,
        });
        let replies = plan::enlist::write_all(call, writes.collect()).await;
        for (touch, reply) in touches.into_iter().zip(replies) {
            match reply {
                Some(reply) => self.fill(touch.place, reply),
                None => rest.push(touch),
            }
        }
        rest.sort_by_key(|deferred| deferred.place);
        rest
    }
}

/// Whether a command's key has another command that is not done yet.
fn is_held_up(deferred: &[Deferred], command: &Command) -> bool {
    let key = key_of(command);
    deferred.iter().any(|deferred| key.is_none() || key_of(&deferred.command) == key)
}

fn key_of(command: &Command) -> Option<&Key> {
    match command {
        Command::Read(read) => first_key_of_read(read),
        Command::Write(write) => first_key_of_write(write),
        Command::Session(_) => None,
    }
}
