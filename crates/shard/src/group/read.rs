//! Reads of one group: when they may be answered, and how.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bitroster_command::{Op, OpBatch, Outcome, OutcomeBatch, OutcomeWriter, ReadCommand, ReadOp};
use bitroster_engine::{ReadStep, Work};
use bitroster_types::planted::Fault;
use bitroster_types::{Consistency, Deadline, ReplicaId, UnixMillis};
use futures_util::future;
use tokio::time::timeout;

use super::Group;
use super::role::Role;
use crate::error::Error;
use crate::pool::{Refusal, Room};
use crate::raft::replica::Replica;

/// Ops answered before a waiting write gets its turn.
const OPS_PER_LOCK: usize = 512;

/// Ops that are fetched together before they are answered.
const OPS_FETCHED: usize = 16;

/// How long a read that must see an entry waits for it on a replica that does not lead: some rounds
/// of a busy group. Whoever asks can ask the leader.
const LAG_MAX: Duration = Duration::from_millis(50);

/// What a read is answered whose deadline passed.
pub(super) const LATE_READ: Error =
    Error::Busy { what: "the read was not answered within its deadline" };

/// What reads of a batch are answered whose deadline passed.
pub(crate) const LATE_READS: Error =
    Error::Busy { what: "the reads were not answered within their deadline" };

/// Outcomes of a batch of reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// One for each op, in order.
    pub outcomes: OutcomeBatch,
    /// How long ago this replica knew last that it had applied all that its leader had committed.
    /// Zero unless the reads were [`Consistency::Stale`].
    pub age: Duration,
    /// The term that this replica leads in, where its supporters are to confirm that: the outcomes
    /// hold only if none of them, asked after the reads came, has promised itself to a later term.
    /// `None` where the outcomes hold.
    pub term: Option<u64>,
    /// The index of the last log entry that the answers may show.
    pub applied: u64,
}

/// When reads may be answered from the state, as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    /// As [`Answered::age`].
    age: Duration,
    /// As [`Answered::term`].
    term: Option<u64>,
}

/// Where one op's answer is.
enum Answer {
    Done(Outcome),
    /// Its computation is due, outside the lock.
    Heavy(Work),
    /// What it asks for is not settled in the log.
    Unsettled,
}

impl Group {
    /// Waits until reads of this consistency may be answered from the state, and says how old the
    /// answers may then be. With `supporters` that make a majority it need not wait for one.
    ///
    /// # Errors
    ///
    /// [`Error::Loading`], [`Error::NoLeader`], [`Error::ShuttingDown`].
    pub(super) async fn admit(
        &self,
        consistency: Consistency,
        supporters: &[ReplicaId],
    ) -> Result<Admitted, Error> {
        if self.serving.load(Ordering::Acquire) {
            return Ok(Admitted::default());
        }
        let role = *self.role.borrow();
        if !self.is_ready() {
            let elsewhere = role.leader.is_some_and(|(_, node)| node != self.place.node);
            return Err(match consistency {
                Consistency::Linearizable | Consistency::Leader if elsewhere => self.no_leader(),
                Consistency::Linearizable | Consistency::Leader | Consistency::Stale => {
                    Error::Loading { group: self.id() }
                }
            });
        }
        match consistency {
            Consistency::Stale => return Ok(Admitted { age: self.age()?, term: None }),
            Consistency::Linearizable | Consistency::Leader if !role.leads => {
                return Err(self.no_leader());
            }
            Consistency::Linearizable if !Fault::ReadFromDeposedLeader.is_planted() => {
                if self.is_supported(role, supporters) {
                    return Ok(Admitted { term: Some(role.term), ..Admitted::default() });
                }
                self.gate.pass().await?;
            }
            // It has applied nothing of its own time yet: it must learn what was committed before.
            Consistency::Leader if self.applied.term() < role.term => self.gate.pass().await?,
            Consistency::Leader if !self.has_quorum() => return Err(self.no_leader()),
            Consistency::Linearizable | Consistency::Leader => {}
        }
        Ok(Admitted::default())
    }

    /// Whether this replica leads in the term of `role` as long as `supporters` do not say
    /// otherwise, and has applied all that was committed before.
    fn is_supported(&self, role: Role, supporters: &[ReplicaId]) -> bool {
        let replica = self.replica.get().filter(|_| !supporters.is_empty());
        replica.is_some_and(|replica| {
            self.has_led(role) && replica.is_majority_with(role.term, supporters)
        })
    }

    /// Whether a majority took this replica for the leader not long ago.
    fn has_quorum(&self) -> bool {
        let age = self.replica.get().and_then(Replica::quorum_age);
        age.is_some_and(|age| age <= self.timing.election_timeout_max())
    }

    fn age(&self) -> Result<Duration, Error> {
        if self.leads() && self.has_quorum() {
            return Ok(Duration::ZERO);
        }
        let led = self.leads().then(|| self.replica.get().and_then(Replica::quorum_age)).flatten();
        let followed = self.freshness.age(self.applied.index());
        let age = led.into_iter().chain(followed).min();
        age.ok_or(Error::Loading { group: self.id() })
    }

    /// The time that reads of this consistency see.
    fn now(&self, consistency: Consistency) -> UnixMillis {
        match consistency {
            Consistency::Linearizable | Consistency::Leader => (self.clock)(),
            // What is past its expiry by the clock only cannot be dropped here.
            Consistency::Stale => self.keyspace.read().time(),
        }
    }

    /// Answers a read at once if this replica alone decides and the read is cheap.
    pub(super) fn read_now(&self, op: &ReadOp) -> Option<Outcome> {
        if !self.serving.load(Ordering::Acquire) {
            return None;
        }
        let engine = self.keyspace.read();
        // Where nothing has an expiry, no bit depends on the time: asking the system for it would
        // be a part of the cost of each GETBIT that can be seen.
        let is_timeless = engine.next_expiry().is_none()
            && matches!(op, ReadOp::Command(ReadCommand::GetBit { .. }));
        let now = if is_timeless { engine.time() } else { (self.clock)() };
        match engine.read_step(op, now) {
            ReadStep::Done(Outcome::Tick) | ReadStep::Work(_) => None,
            ReadStep::Done(outcome) => Some(outcome),
        }
    }

    /// Answers a light read from what is applied here.
    pub(super) fn peek(&self, op: &ReadOp) -> Option<Outcome> {
        let engine = self.keyspace.read();
        match engine.read_step(op, engine.time()) {
            ReadStep::Done(Outcome::Tick) | ReadStep::Work(_) => None,
            ReadStep::Done(outcome) => Some(outcome),
        }
    }

    pub(super) async fn read(
        &self,
        op: ReadOp,
        consistency: Consistency,
        deadline: Deadline,
    ) -> Result<Outcome, Error> {
        loop {
            self.admit(consistency, &[]).await?;
            let step = {
                let now = self.now(consistency);
                self.keyspace.read().read_step(&op, now)
            };
            match step {
                ReadStep::Done(Outcome::Tick) => self.settle_log(consistency).await?,
                ReadStep::Done(outcome) => return Ok(outcome),
                ReadStep::Work(work) => return self.work(work, deadline).await,
            }
        }
    }

    /// Answers a read from a state that shows all entries up to the one at `applied`, whoever
    /// leads; by the log's time, so that a key past its expiry may still be seen. Waits for what is
    /// behind, but not long.
    pub(crate) async fn read_after(
        &self,
        op: &ReadOp,
        applied: u64,
        deadline: Deadline,
    ) -> Result<Outcome, Error> {
        if !self.is_ready() {
            return Err(Error::Loading { group: self.id() });
        }
        let mut changes = self.applied.changes();
        let reached = timeout(LAG_MAX, changes.wait_for(|index| *index >= applied)).await;
        let reached = reached.map_err(|_| Error::Busy { what: "the replica here is behind" })?;
        drop(reached.map_err(|_| Error::ShuttingDown)?);
        let step = {
            let engine = self.keyspace.read();
            engine.read_step(op, engine.time())
        };
        match step {
            ReadStep::Done(outcome) => Ok(outcome),
            ReadStep::Work(work) => self.work(work, deadline).await,
        }
    }

    /// Room of the pool for what is held for computations, until it is dropped.
    pub(crate) fn room(&self, bytes: u64) -> Result<Room, Error> {
        self.pool.admit(1, bytes).map_err(|refusal| refused(refusal, LATE_READ))
    }

    /// Computes on the pool, if it has room.
    pub(crate) async fn work(&self, work: Work, deadline: Deadline) -> Result<Outcome, Error> {
        let room = self.room(work.cost_bytes())?;
        let outcome = self.compute(room, work, deadline).await;
        outcome.map_err(|refusal| refused(refusal, LATE_READ))
    }

    pub(super) async fn read_batch(
        &self,
        ops: Vec<ReadOp>,
        consistency: Consistency,
        supporters: &[ReplicaId],
        deadline: Deadline,
    ) -> Result<Answered, Error> {
        let Admitted { age, term } = self.admit(consistency, supporters).await?;
        let (mut answers, mut applied) = (Vec::with_capacity(ops.len()), 0);
        for chunk in ops.chunks(OPS_PER_LOCK) {
            let now = self.now(consistency);
            let engine = self.keyspace.read();
            // Also one that is half applied: what is seen of it is seen.
            applied = engine.applied().0;
            for ops in chunk.chunks(OPS_FETCHED) {
                if ops.len() > OPS_FETCHED / 2 {
                    engine.fetch_reads(ops);
                }
                answers.extend(ops.iter().map(|op| match engine.read_step(op, now) {
                    ReadStep::Done(Outcome::Tick) => Answer::Unsettled,
                    ReadStep::Done(outcome) => Answer::Done(outcome),
                    ReadStep::Work(work) => Answer::Heavy(work),
                }));
            }
        }
        self.compute_all(&mut answers, deadline)
            .await
            .map_err(|refusal| refused(refusal, LATE_READS))?;
        let mut outcomes = OutcomeWriter::new();
        for (op, answer) in ops.into_iter().zip(answers) {
            match answer {
                Answer::Done(outcome) => outcomes.push(&outcome),
                Answer::Heavy(_) | Answer::Unsettled => {
                    outcomes.push(&self.read(op, consistency, deadline).await?);
                    applied = self.keyspace.read().applied().0;
                }
            }
        }
        Ok(Answered { outcomes: outcomes.finish(), age, term, applied })
    }

    /// Computes what is due of `answers`; all of it is admitted at once, or nothing.
    async fn compute_all(&self, answers: &mut [Answer], deadline: Deadline) -> Result<(), Refusal> {
        let mut due = Vec::new();
        for (at, answer) in answers.iter_mut().enumerate() {
            match std::mem::replace(answer, Answer::Unsettled) {
                Answer::Heavy(work) => due.push((at, work)),
                other @ (Answer::Done(_) | Answer::Unsettled) => *answer = other,
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let costs = due.iter().map(|(_, work)| work.cost_bytes());
        let mut room = self.pool.admit(due.len(), costs.fold(0, u64::saturating_add))?;
        let jobs = due.into_iter().map(|(at, work)| {
            let room = room.take(work.cost_bytes());
            async move {
                let outcome = self.compute(room, work, deadline).await?;
                Ok::<_, Refusal>((at, outcome))
            }
        });
        for (at, outcome) in future::try_join_all(jobs).await? {
            answers[at] = Answer::Done(outcome);
        }
        Ok(())
    }

    async fn compute(
        &self,
        room: Room,
        work: Work,
        deadline: Deadline,
    ) -> Result<Outcome, Refusal> {
        let cost = work.cost_bytes();
        self.pool.run(room, cost, deadline, move || work.run().into_outcome()).await
    }

    /// Gives the log an entry that settles what was asked for; a replica that does not lead waits
    /// for one.
    async fn settle_log(&self, consistency: Consistency) -> Result<(), Error> {
        match consistency {
            Consistency::Linearizable | Consistency::Leader => self.tick().await,
            Consistency::Stale => {
                let changed = self.applied.changes().changed().await;
                changed.map_err(|_| Error::ShuttingDown)
            }
        }
    }
}

/// What the pool's refusal means to a reader.
fn refused(refusal: Refusal, late: Error) -> Error {
    match refusal {
        Refusal::Full(what) => Error::Busy { what },
        Refusal::Expired => late,
        Refusal::Ended(_) => Error::ShuttingDown,
    }
}

/// The reads of a batch.
///
/// # Errors
///
/// [`Error::Malformed`] if it holds a write, or cannot be read.
pub(crate) fn reads_of(ops: OpBatch) -> Result<Vec<ReadOp>, Error> {
    let malformed = |what: String| Error::Malformed { what };
    let mut reader = ops.into_reader();
    let mut reads = Vec::new();
    while let Some(op) = reader.next_op().map_err(|error| malformed(error.to_string()))? {
        match op {
            Op::Read(op) => reads.push(op),
            Op::Write(_) => return Err(malformed("a batch of reads holds a write".to_owned())),
        }
    }
    Ok(reads)
}
