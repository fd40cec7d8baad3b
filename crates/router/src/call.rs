//! One request on its way: what every plan uses to ask and tell groups.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitroster_bitmap::{Bitmap, Formula};
use bitroster_command::{
    Command, CommandError, Composite, Grant, Header, OpBatch, Outcome, ReadCommand, ReadOp, Reply,
    WriteCommand, WriteOp,
};
use bitroster_placement::ClusterMap;
use bitroster_types::{
    Consistency, Deadline, GroupId, Key, UnixMillis, Version,
    limits::{ENTRY_BYTES_MAX, ENTRY_OPS_MAX, FOLD_BYTES_MAX, FOLD_VALUES_MAX, PLAN_ATTEMPTS_MAX},
};
use futures_util::{
    future::BoxFuture,
    stream::{self, StreamExt, TryStreamExt},
};

use crate::{
    Fold, Reading, Target, TransportError,
    map::{NO_EPOCH, Pauses},
    metrics::Restart,
    plan, route,
    router::Inner,
    transport::NOT_SERVED,
};

const KEPT_CHANGING: &str = "the key kept changing; nothing was applied";

const TOO_LONG: &str = "the request took too long; nothing was applied";

/// Why a plan stopped before its reply.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The client is told this.
    Error(CommandError),
    /// A key changed under the plan, which has changed nothing that is visible.
    Again,
    /// A group does not own the slot, or not yet; nothing was done.
    NotOwner,
    /// The plan's map is older than a group's; nothing was done.
    StaleMap,
}

/// A step of a plan.
pub(crate) type Step<T> = Result<T, Stop>;

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

/// What a group answered to a client's command.
pub(crate) enum Answer {
    /// This is the reply.
    Done(Reply),
    /// The key does not lie in the group alone.
    Spread,
    /// The group needs leave from home.
    AskHome,
}

/// One request: the map it follows and its deadline.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) inner: Arc<Inner>,
    pub(crate) map: Arc<ClusterMap>,
    pub(crate) reading: Reading,
    /// How often keys have changed under it, so that it began anew.
    pub(crate) changes: usize,
    started: Instant,
    pub(crate) deadline: Deadline,
}

impl Call {
    /// A request that starts now.
    pub(crate) fn new(inner: &Arc<Inner>, reading: &Reading) -> Self {
        let started = Instant::now();
        Self {
            inner: Arc::clone(inner),
            map: inner.maps.newest(),
            reading: reading.clone(),
            changes: 0,
            started,
            deadline: Deadline::at(started + inner.options.request_timeout),
        }
    }

    /// Runs a command to its end.
    pub(crate) async fn complete(&self, command: &Command) -> Reply {
        match command {
            Command::Read(read) => self.complete_read(read).await,
            Command::Write(write) => self.complete_write(write).await,
            Command::Composite(composite) => self.complete_composite(composite).await,
            Command::Session(_) => Err(CommandError::Text("ERR a session answers this command")),
        }
        .into()
    }

    /// Runs a read to its end, from the start again where a key changed under it.
    pub(crate) fn complete_read<'a>(
        &'a self,
        command: &'a ReadCommand,
    ) -> BoxFuture<'a, Result<Reply, CommandError>> {
        Box::pin(self.attempts(move |call| async move { call.read(command).await }))
    }

    /// Runs a write to its end, from the start again where a key changed under it. Its reads are
    /// linearizable.
    pub(crate) fn complete_write<'a>(
        &'a self,
        command: &'a WriteCommand,
    ) -> BoxFuture<'a, Result<Reply, CommandError>> {
        let call = self.linearizable();
        Box::pin(async move {
            call.attempts(move |call| async move { call.write(command).await }).await
        })
    }

    /// Runs what is made of several reads and writes, from the start again where a key changed
    /// under it. The reads of one that writes are linearizable.
    pub(crate) fn complete_composite<'a>(
        &'a self,
        composite: &'a Composite,
    ) -> BoxFuture<'a, Result<Reply, CommandError>> {
        let call =
            if plan::composite::writes(composite) { self.linearizable() } else { self.clone() };
        Box::pin(async move {
            let run = |call| async move { plan::composite::run(&call, composite).await };
            call.attempts(run).await
        })
    }

    /// Repeats a plan until it comes to a reply or an error. Each attempt has the newest map, and
    /// starts again only where the one before has changed nothing that is visible.
    pub(crate) async fn attempts<T, F>(
        &self,
        mut attempt: impl FnMut(Self) -> F,
    ) -> Result<T, CommandError>
    where
        F: Future<Output = Step<T>>,
    {
        let mut call = Self { changes: 0, ..self.clone() };
        let mut pauses = Pauses::default();
        loop {
            call.refresh();
            if call.map.epoch() == NO_EPOCH {
                return Err(CommandError::Loading);
            }
            let stop = match attempt(call.clone()).await {
                Ok(done) => return Ok(done),
                Err(stop) => stop,
            };
            let pause = match stop {
                Stop::Error(error) => return Err(error),
                Stop::Again => {
                    call.changes += 1;
                    if call.changes == PLAN_ATTEMPTS_MAX || self.is_over() {
                        return Err(CommandError::Busy(KEPT_CHANGING));
                    }
                    // Replicas that are behind by different times may never agree on a version.
                    call.reading = self.inner.linearizable.clone();
                    self.inner.metrics.restarted(Restart::KeyChanged);
                    // Two that keep each other from their ends must not go on in step.
                    for _ in 0..call.changes {
                        tokio::task::yield_now().await;
                    }
                    continue;
                }
                Stop::NotOwner => Some(pauses.next()),
                Stop::StaleMap => None,
            };
            if !self.inner.maps.wait_newer(call.map.epoch(), pause, self.deadline).await {
                return Err(NOT_SERVED);
            }
            self.inner.metrics.restarted(Restart::SlotMoved);
        }
    }

    /// Takes the newest map.
    pub(crate) fn refresh(&mut self) {
        if self.has_old_map() {
            self.map = self.inner.maps.newest();
        }
    }

    /// Whether there is a newer map than this attempt's.
    pub(crate) fn has_old_map(&self) -> bool {
        self.inner.maps.epoch() != self.map.epoch()
    }

    /// The same request, with linearizable reads.
    fn linearizable(&self) -> Self {
        Self { reading: self.inner.linearizable.clone(), ..self.clone() }
    }

    /// The same request, with note taken of what its reads show; see [`fold`](Self::fold).
    pub(crate) fn noting(&self) -> Self {
        Self { reading: self.reading.noting(), ..self.clone() }
    }

    /// The same request, with one of so many parts of the time that is left to it.
    pub(crate) fn within(&self, parts: u32) -> Self {
        let now = Instant::now();
        Self { deadline: Deadline::at(now + self.deadline.left(now) / parts), ..self.clone() }
    }

    /// Whether its deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline.left(Instant::now()).is_zero()
    }

    /// Stops a read of many steps that has taken too long: answers in place know no deadline.
    pub(crate) fn check_deadline(&self) -> Step<()> {
        if self.is_over() { Err(CommandError::Busy(TOO_LONG).into()) } else { Ok(()) }
    }

    /// Why a request to a group that gave no outcome stops a plan.
    fn stop_of(&self, error: TransportError) -> Stop {
        match error {
            TransportError::StaleMap { epoch } if epoch > self.map.epoch() => Stop::StaleMap,
            // The map is not what is wrong: ask again after a while.
            TransportError::StaleMap { .. } => Stop::NotOwner,
            error => Stop::Error(error.into()),
        }
    }

    async fn read(&self, command: &ReadCommand) -> Step<Reply> {
        let Some((group, _)) = route::of_read(&self.map, command) else {
            return plan::read(self, command, None).await;
        };
        match self.ask(group, ReadOp::Command(command.clone())).await? {
            Outcome::Spread(header) => plan::read(self, command, Some(header)).await,
            Outcome::AskHome => plan::read(self, command, None).await,
            outcome => reply_of(outcome),
        }
    }

    async fn write(&self, command: &WriteCommand) -> Step<Reply> {
        let Some((group, _)) = route::of_write(&self.map, command) else {
            return plan::write(self, command).await;
        };
        let outcome = self.tell(group, WriteOp::Command(command.clone())).await?;
        match answer(outcome)? {
            Answer::Done(reply) => Ok(reply),
            Answer::AskHome => plan::enlist::write(self, group, command).await,
            Answer::Spread => plan::write(self, command).await,
        }
    }

    /// A group, by the map of this request.
    pub(crate) fn target(&self, group: GroupId) -> Target {
        Target { group, epoch: self.map.epoch() }
    }

    /// Asks one group, at once where it can answer in place.
    pub(crate) async fn ask(&self, group: GroupId, op: ReadOp) -> Step<Outcome> {
        let (to, requests) = (self.target(group), &self.inner.requests);
        if self.reading.consistency == Consistency::Linearizable {
            match requests.read_now(to, &op) {
                None | Some(Outcome::Tick) => {}
                Some(outcome) => return Ok(outcome),
            }
        }
        let read = requests.read(to, op, &self.reading, self.deadline);
        read.await.map_err(|error| self.stop_of(error))
    }

    /// Asks one group several short questions at once: one outcome a question.
    pub(crate) async fn ask_short(&self, group: GroupId, ops: Vec<ReadOp>) -> Step<Vec<Outcome>> {
        let (to, requests) = (self.target(group), &self.inner.requests);
        if self.reading.consistency == Consistency::Linearizable {
            let answers: Option<Vec<Outcome>> = ops
                .iter()
                .map(|op| requests.read_now(to, op).filter(|outcome| *outcome != Outcome::Tick))
                .collect();
            if let Some(answers) = answers {
                return Ok(answers);
            }
        }
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut left = ops.iter().peekable();
        while left.peek().is_some() {
            let mut batch = OpBatch::default();
            while batch.len() < ENTRY_OPS_MAX
                && batch.bytes_len() < ENTRY_BYTES_MAX
                && let Some(op) = left.next()
            {
                batch.push_read(op);
            }
            let count = batch.len();
            let asked = requests.read_short(to, batch, &self.reading, self.deadline).await;
            let asked = asked.map_err(|error| self.stop_of(error))?;
            if asked.len() != count {
                return Err(Stop::Again);
            }
            outcomes.extend(asked);
        }
        Ok(outcomes)
    }

    /// Has one node count what a formula comes to over values of several groups, all of which have
    /// answered a read of this request since it was [`noting`](Self::noting). `None` where the
    /// groups are to be asked for the values.
    pub(crate) async fn fold(
        &self,
        values: Vec<(GroupId, ReadOp)>,
        formula: Formula,
        range: (u64, u64),
    ) -> Option<u64> {
        let has_room = values.len() <= FOLD_VALUES_MAX
            && self.map.width().bytes().saturating_mul(values.len() as u64) <= FOLD_BYTES_MAX;
        if !has_room || self.reading.consistency == Consistency::Stale {
            return None;
        }
        let shown = |(group, op)| Some((group, self.reading.shown(group)?, op));
        let values = values.into_iter().map(shown).collect::<Option<Vec<_>>>()?;
        let fold = Fold { epoch: self.map.epoch(), values, formula, range };
        self.inner.requests.transport().fold(fold, self.deadline).await
    }

    /// Commits one op in a group.
    pub(crate) async fn tell(&self, group: GroupId, op: WriteOp) -> Step<Outcome> {
        let mut outcomes = self.tell_all(group, [&op]).await?;
        Ok(outcomes.pop().expect("as many outcomes as ops"))
    }

    /// Commits ops in a group, in one entry: as many outcomes as ops.
    pub(crate) async fn tell_all<'a>(
        &self,
        group: GroupId,
        ops: impl IntoIterator<Item = &'a WriteOp>,
    ) -> Step<Vec<Outcome>> {
        let mut batch = OpBatch::default();
        for op in ops {
            batch.push_write(op);
        }
        self.tell_batch(group, batch).await
    }

    /// As [`tell_all`](Self::tell_all), of ops that are encoded already; reads may be among them.
    pub(crate) async fn tell_batch(&self, group: GroupId, batch: OpBatch) -> Step<Vec<Outcome>> {
        let count = batch.len();
        let outcomes = self
            .inner
            .requests
            .write(self.target(group), batch, self.deadline)
            .await
            .map_err(|error| self.stop_of(error))?;
        if outcomes.len() == count { Ok(outcomes) } else { Err(Stop::Error(self.unknown())) }
    }

    /// Runs steps side by side, as many at a time as one command may, and keeps their order.
    ///
    /// Boxed: the steps' borrows would otherwise have to be proved general at every caller.
    pub(crate) fn each<'a, I, T, F>(
        &self,
        items: impl IntoIterator<Item = I>,
        step: impl FnMut(I) -> F,
    ) -> BoxFuture<'a, Step<Vec<T>>>
    where
        T: Send + 'a,
        F: Future<Output = Step<T>> + Send + 'a,
    {
        let steps: Vec<F> = items.into_iter().map(step).collect();
        let fan_out = self.inner.options.fan_out_max.max(1);
        Box::pin(stream::iter(steps).buffered(fan_out).try_collect())
    }

    /// What the client is told where a write may have been applied in part.
    pub(crate) fn unknown(&self) -> CommandError {
        CommandError::OutcomeUnknown { waited: self.started.elapsed() }
    }

    /// Turns whatever stopped a plan after its first visible change into "unknown".
    pub(crate) fn after_change(&self, stop: Stop) -> Stop {
        Stop::Error(self.error_after_change(stop))
    }

    /// The error that the client is told after a visible change.
    pub(crate) fn error_after_change(&self, stop: Stop) -> CommandError {
        match stop {
            Stop::Error(error @ CommandError::OutcomeUnknown { .. }) => error,
            Stop::Error(_) | Stop::Again | Stop::NotOwner | Stop::StaleMap => self.unknown(),
        }
    }

    /// The record of a key, or `None` where the key does not exist.
    pub(crate) async fn header(&self, key: &Key) -> Step<Option<Header>> {
        match self.ask(self.map.home(key), ReadOp::Header { key: key.clone() }).await? {
            Outcome::Header(header) => Ok(header.map(|header| *header)),
            outcome => Err(unexpected(outcome)),
        }
    }

    /// The largest value that may be sent, received or built, in bytes.
    pub(crate) fn value_bytes_max(&self) -> u64 {
        self.inner.options.value_bytes_max
    }
}

/// The wall clock. Expiries of values that are published go by it; the logs' times follow it.
pub(crate) fn wall_clock() -> UnixMillis {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// What an outcome means for the client.
pub(crate) fn answer(outcome: Outcome) -> Step<Answer> {
    match outcome {
        Outcome::Spread(_) => Ok(Answer::Spread),
        Outcome::AskHome => Ok(Answer::AskHome),
        outcome => reply_of(outcome).map(Answer::Done),
    }
}

/// The reply in an outcome.
pub(crate) fn reply_of(outcome: Outcome) -> Step<Reply> {
    match outcome {
        Outcome::Reply(reply) => Ok(reply),
        outcome => Err(unexpected(outcome)),
    }
}

/// The number in an outcome; an error reply stops the plan.
pub(crate) fn integer_of(outcome: Outcome) -> Step<i64> {
    match outcome {
        Outcome::Reply(Reply::Integer(number)) => Ok(number),
        outcome => Err(unexpected(outcome)),
    }
}

/// The non-negative number in an outcome.
pub(crate) fn count_of(outcome: Outcome) -> Step<u64> {
    integer_of(outcome).map(|number| u64::try_from(number).unwrap_or(0))
}

/// The bitmap in an outcome; none is an empty one.
pub(crate) fn bitmap_of(outcome: Outcome) -> Step<Bitmap> {
    match outcome {
        Outcome::Reply(Reply::Bulk(bytes)) => Bitmap::decode(&bytes).map_err(|error| {
            Stop::Error(CommandError::Message(format!("ERR a part cannot be read: {error}")))
        }),
        Outcome::Reply(Reply::Nil) => Ok(Bitmap::new()),
        outcome => Err(unexpected(outcome)),
    }
}

/// The set in an argument of a command.
pub(crate) fn decoded(bytes: &[u8]) -> Step<Bitmap> {
    Bitmap::decode(bytes).map_err(|error| {
        CommandError::Message(format!("ERR the set cannot be read: {error}")).into()
    })
}

/// Checks that an outcome says that an op of the router's own was done.
pub(crate) fn done(outcome: Outcome) -> Step<()> {
    match outcome {
        Outcome::Reply(reply) if !reply.is_error() => Ok(()),
        outcome => Err(unexpected(outcome)),
    }
}

/// The version in an outcome.
pub(crate) fn version_of(outcome: Outcome) -> Step<Version> {
    match outcome {
        Outcome::Reserved(version) => Ok(version),
        outcome => Err(unexpected(outcome)),
    }
}

/// The leave in an outcome.
pub(crate) fn grant_of(outcome: Outcome) -> Step<Grant> {
    match outcome {
        Outcome::Granted(grant) => Ok(grant),
        outcome => Err(unexpected(outcome)),
    }
}

/// Why an outcome that a plan did not ask for stops it.
pub(crate) fn unexpected(outcome: Outcome) -> Stop {
    match outcome {
        Outcome::NotOwner => Stop::NotOwner,
        Outcome::Reply(Reply::Error(error)) => Stop::Error(*error),
        Outcome::Newer(_) | Outcome::AskHome | Outcome::Spread(_) | Outcome::Tick => Stop::Again,
        Outcome::Reply(_)
        | Outcome::Header(_)
        | Outcome::Granted(_)
        | Outcome::Reserved(_)
        | Outcome::Session(_)
        | Outcome::Numbered(_)
        | Outcome::Replies(_) => {
            Stop::Error(CommandError::Text("ERR a group gave an answer that does not fit"))
        }
    }
}
