//! Sending a turn's queues and settling what comes back.

use bitroster_command::{Command, CommandError, OpBatch, Outcome, ReadCommand, ReadOp, Reply};
use bitroster_types::Key;
use futures_util::future::join_all;

use super::{Queue, Turn, first_key_of_read, first_key_of_write};
use crate::{
    Target, TransportError, call::Call, map::Pauses, metrics::Restart, plan, route,
    transport::NOT_SERVED,
};

/// A command that its group could not do alone.
pub(super) struct Deferred {
    place: usize,
    command: Command,
    why: Why,
}

impl Deferred {
    /// Whether the map is why its group did not do it.
    fn is_astray(&self) -> bool {
        matches!(self.why, Why::NotOwner | Why::StaleMap)
    }
}

/// Why a command was deferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// All that is missing is home's leave for the group.
    AskHome,
    /// The group does not own the slot, or not yet.
    NotOwner,
    /// The turn's map is older than the group's.
    StaleMap,
    /// Several groups have to be asked.
    Several,
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
        }
        self.router.0.metrics.add_reads_in_place(&mut self.reads_in_place);
    }

    /// Answers the reads that come before all queues: short ones with one request a group, what is
    /// left side by side.
    async fn flush_reads(&mut self, call: &Call) {
        let reads = std::mem::take(&mut self.reads);
        let mut short: Vec<Vec<(usize, ReadCommand)>> = Vec::new();
        short.resize_with(self.queues.len(), Vec::new);
        let mut rest = Vec::new();
        for (place, read) in reads {
            match route::of_read(&self.map, &read) {
                Some((group, _)) if is_short(&read) => {
                    short[self.index_of(group)].push((place, read));
                }
                _ => rest.push((place, read)),
            }
        }
        self.queues.iter_mut().for_each(|queue| queue.has_reads = false);
        let epoch = self.map.epoch();
        let mut asked = Vec::new();
        for (queue, reads) in self.queues.iter().zip(short) {
            if !reads.is_empty() {
                let to = Target { group: queue.group, epoch };
                asked.push(ask_short(call, to, reads));
            }
        }
        let answered = match asked.len() {
            // The usual case of a lone request costs no list of futures.
            1 => vec![asked.pop().expect("there is one").await],
            _ => join_all(asked).await,
        };
        for (reads, outcomes) in answered {
            self.settle_reads(reads, outcomes, &mut rest);
        }
        if rest.is_empty() {
            return;
        }
        let replies = call
            .each(&rest, |(_, read)| async move { Ok(Reply::from(call.complete_read(read).await)) })
            .await
            .expect("a failed read has a reply too");
        for ((place, _), reply) in rest.into_iter().zip(replies) {
            self.fill(place, reply);
        }
    }

    /// Fills what one group answered to short reads; what it could not answer alone goes to `rest`.
    fn settle_reads(
        &mut self,
        reads: Vec<(usize, ReadCommand)>,
        outcomes: Result<Vec<Outcome>, TransportError>,
        rest: &mut Vec<(usize, ReadCommand)>,
    ) {
        match outcomes {
            Ok(outcomes) if outcomes.len() == reads.len() => {
                for ((place, read), outcome) in reads.into_iter().zip(outcomes) {
                    if let Outcome::Reply(reply) = outcome {
                        self.fill(place, reply);
                    } else {
                        rest.push((place, read));
                    }
                }
            }
            Ok(_) | Err(TransportError::StaleMap { .. }) => rest.extend(reads),
            Err(error) => {
                let error = CommandError::from(error);
                for (place, _) in reads {
                    self.fill(place, error.clone().into());
                }
            }
        }
    }

    /// Sends every queue, waits for all, and fills the replies that are known then.
    async fn flush_queues(&mut self, call: &Call, deferred: &mut Vec<Deferred>) {
        let requests = &call.inner.requests;
        let busy = |queue: &Queue| !queue.queued.is_empty();
        if self.queues.iter().filter(|queue| busy(queue)).count() == 1 {
            let index = self.queues.iter().position(busy).expect("one queue is busy");
            let to = self.target(self.queues[index].group);
            let queue = &mut self.queues[index];
            let batch = std::mem::take(&mut queue.batch);
            let outcomes = requests.write(to, batch, call.deadline).await;
            self.settle(call, index, outcomes, deferred);
        } else {
            let epoch = self.map.epoch();
            let mut sent = Vec::new();
            for (index, queue) in self.queues.iter_mut().enumerate() {
                if busy(queue) {
                    let batch = std::mem::take(&mut queue.batch);
                    let to = Target { group: queue.group, epoch };
                    let outcomes = requests.write(to, batch, call.deadline);
                    sent.push(async move { (index, outcomes.await) });
                }
            }
            for (index, outcomes) in join_all(sent).await {
                self.settle(call, index, outcomes, deferred);
            }
        }
    }

    /// Sorts the outcomes of one queue: replies, and what is left to do.
    fn settle(
        &mut self,
        call: &Call,
        index: usize,
        outcomes: Result<Vec<Outcome>, TransportError>,
        deferred: &mut Vec<Deferred>,
    ) {
        let mut queued = std::mem::take(&mut self.queues[index].queued);
        let outcomes = match outcomes {
            Ok(outcomes) if outcomes.len() == queued.len() => outcomes,
            Err(TransportError::StaleMap { epoch }) => {
                let is_newer = epoch > self.map.epoch();
                let why = if is_newer { Why::StaleMap } else { Why::NotOwner };
                let refused = queued.drain(..);
                deferred.extend(refused.map(|(place, command)| Deferred { place, command, why }));
                self.queues[index].queued = queued;
                return;
            }
            Ok(_) => return self.fail(index, queued, &call.unknown()),
            Err(error) => return self.fail(index, queued, &CommandError::from(error)),
        };
        let first = deferred.len();
        for ((place, command), outcome) in queued.drain(..).zip(outcomes) {
            if self.sole && deferred.len() > first && is_change(&command, &outcome) {
                self.refuse_overtaken(first, &command, deferred);
            }
            match outcome {
                // A read behind a write that was not done yet did not see it.
                Outcome::Reply(_)
                    if matches!(&command, Command::Read(_))
                        && is_held_up(&deferred[first..], &command) =>
                {
                    let is_astray = deferred[first..].iter().all(Deferred::is_astray);
                    let why = if is_astray { Why::NotOwner } else { Why::Several };
                    deferred.push(Deferred { place, command, why });
                }
                Outcome::Reply(reply) => self.fill(place, reply),
                Outcome::AskHome => deferred.push(Deferred { place, command, why: Why::AskHome }),
                Outcome::NotOwner => {
                    deferred.push(Deferred { place, command, why: Why::NotOwner });
                }
                Outcome::Spread(_) | Outcome::Newer(_) | Outcome::Tick => {
                    deferred.push(Deferred { place, command, why: Why::Several });
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

    /// Runs what no group could do alone, in the order of the requests.
    async fn finish(&mut self, call: &Call, mut deferred: Vec<Deferred>) {
        deferred.sort_by_key(|deferred| deferred.place);
        if deferred.iter().all(Deferred::is_astray) {
            if self.origin.is_none() {
                return self.reroute(call, deferred).await;
            }
            self.astray = deferred;
            return;
        }
        if deferred.iter().any(|deferred| deferred.why == Why::AskHome) {
            deferred = self.finish_first_touches(call, deferred).await;
        }
        for Deferred { place, command, .. } in deferred {
            let reply = call.complete(&command).await;
            self.fill(place, reply);
        }
    }

    /// Runs commands that no group took in turns of their own, under the maps to come, until they
    /// are done or the deadline passes.
    async fn reroute(&mut self, call: &Call, mut deferred: Vec<Deferred>) {
        let mut pauses = Pauses::default();
        let mut epoch = self.map.epoch();
        while !deferred.is_empty() {
            let stale = deferred.iter().all(|deferred| deferred.why == Why::StaleMap);
            let pause = (!stale).then(|| pauses.next());
            if !call.inner.maps.wait_newer(epoch, pause, call.deadline).await {
                for Deferred { place, .. } in deferred {
                    self.fill(place, NOT_SERVED.into());
                }
                return;
            }
            call.inner.metrics.restarted(Restart::SlotMoved);
            let mut turn = Self::new(self.router.clone());
            turn.reading = self.reading.clone();
            turn.origin = Some(call.clone());
            epoch = turn.map.epoch();
            let (replies, left) = turn.repeat(call, deferred).await;
            for (place, reply) in replies {
                self.fill(place, reply);
            }
            deferred = left;
        }
    }

    /// Runs commands of another turn, in their order. Gives their replies by their places there,
    /// and back what no group took, which is all after the first that had to be waited for.
    async fn repeat(
        mut self,
        call: &Call,
        deferred: Vec<Deferred>,
    ) -> (Vec<(usize, Reply)>, Vec<Deferred>) {
        let mut outer = Vec::with_capacity(deferred.len());
        let mut deferred = deferred.into_iter();
        let mut left = Vec::new();
        for Deferred { place, command, why } in deferred.by_ref() {
            if let Err(command) = self.try_push(command) {
                self.flush().await;
                if !self.astray.is_empty() {
                    left.push(Deferred { place, command, why });
                    break;
                }
                self.push_reply(call.complete(&command).await);
            }
            outer.push(place);
        }
        left.extend(deferred);
        self.flush().await;
        let astray = std::mem::take(&mut self.astray).into_iter();
        let astray = astray.map(|inner| Deferred { place: outer[inner.place], ..inner });
        let left = astray.chain(left).collect();
        let replies = outer.into_iter().zip(self.places);
        (replies.filter_map(|(place, reply)| Some((place, reply?))).collect(), left)
    }

    /// Refuses the commands that `command`, which came later and is done, has overtaken: they must
    /// not be done any more. Only where the turn took one group to have everything.
    fn refuse_overtaken(&mut self, first: usize, command: &Command, deferred: &mut Vec<Deferred>) {
        let kept = deferred.split_off(first).into_iter().filter_map(|deferred| {
            let overtaken = is_held_up(std::slice::from_ref(&deferred), command);
            if overtaken {
                self.fill(deferred.place, NOT_SERVED.into());
            }
            (!overtaken).then_some(deferred)
        });
        let kept: Vec<Deferred> = kept.collect();
        deferred.extend(kept);
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
            match (&deferred.command, deferred.why) {
                (Command::Write(_), Why::AskHome) if !is_held_up(&rest, &deferred.command) => {
                    touches.push(deferred);
                }
                _ => rest.push(deferred),
            }
        }
        let writes = touches.iter().filter_map(|touch| match &touch.command {
            Command::Write(write) => {
                route::of_write(&call.map, write).map(|(group, _)| (group, write))
            }
            Command::Read(_) | Command::Composite(_) | Command::Session(_) => None,
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

/// Whether a command has changed something.
fn is_change(command: &Command, outcome: &Outcome) -> bool {
    let is_refused = matches!(outcome, Outcome::Reply(reply) if reply.is_error());
    let is_done = matches!(outcome, Outcome::Reply(_));
    is_done && !is_refused && matches!(command, Command::Write(_))
}

/// Sends short reads to their group.
async fn ask_short(
    call: &Call,
    to: Target,
    reads: Vec<(usize, ReadCommand)>,
) -> (Vec<(usize, ReadCommand)>, Result<Vec<Outcome>, TransportError>) {
    let mut ops = OpBatch::new();
    let reads: Vec<_> = reads
        .into_iter()
        .map(|(place, read)| {
            let op = ReadOp::Command(read);
            ops.push_read(&op);
            let ReadOp::Command(read) = op else { unreachable!("the op was made above") };
            (place, read)
        })
        .collect();
    let requests = &call.inner.requests;
    let outcomes = requests.read_short(to, ops, &call.reading, call.deadline).await;
    (reads, outcomes)
}

/// Whether a read takes microseconds and answers a few bytes.
fn is_short(read: &ReadCommand) -> bool {
    matches!(
        read,
        ReadCommand::GetBit { .. }
            | ReadCommand::BitFieldRo { .. }
            | ReadCommand::StrLen { .. }
            | ReadCommand::Type { .. }
            | ReadCommand::Ttl { .. }
    )
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
        Command::Composite(_) | Command::Session(_) => None,
    }
}
