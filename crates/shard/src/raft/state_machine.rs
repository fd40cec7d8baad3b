//! Committed entries on their way into the engine.
//!
//! Raft's worker task is the only writer of the engine. It holds the engine's lock for a few
//! hundred ops at a time, and lets go of it while a heavy op computes on the work pool, so that
//! reads go on meanwhile: nothing else can change the state in between.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bitroster_command::{
    BitLogic, CommandError, EntryError, EntryReader, NumberedOutcome, Op, Outcome, OutcomeWriter,
    ReadCommand, ReadOp, WriteCommand, WriteOp,
};
use bitroster_engine::{Batch, Engine, ReadStep, Work, WorkDone};
use bitroster_types::{GroupId, LogIndex, SessionId};
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::RwLockWriteGuard;

use super::feed::Feed;
use super::snapshot::{SnapshotBuilder, SnapshotFile, Snapshots};
use super::types::{Applied, LogId, Proposal, SnapshotMeta, StoredMembership, TypeConfig};
use crate::error::invalid_data;
use crate::group::role::Applies;
use crate::keyspace::Keyspace;
use crate::metrics::{Metrics, SnapshotOp};
use crate::pool::Pool;

/// Ops applied before waiting readers get their turn: a fraction of a millisecond. What a client
/// may rely on is one op (a transaction is one), so readers may see an entry half applied.
const OPS_PER_LOCK: usize = 512;

/// Outcomes are collected for at most this many ops without growing.
const OUTCOMES_EXPECTED_MAX: u32 = 1024;

/// What a batch is answered that holds what this build cannot apply. All replicas agree on it.
const UNREADABLE_BATCH: CommandError =
    CommandError::Text("ERR a batch holds what cannot be applied");

/// One group's state machine.
pub(crate) struct StateMachine {
    group: GroupId,
    keyspace: Arc<Keyspace>,
    pool: Arc<Pool>,
    snapshots: Arc<Snapshots>,
    metrics: Arc<Metrics>,
    /// Told what is applied.
    applies: Applies,
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// What is left of an entry, and what came of the rest.
struct Progress {
    ops: Feed,
    /// The numbered batch among its ops that is under way.
    nested: Option<Nested>,
    /// Collected only if somebody waits for them.
    outcomes: Option<Vec<Outcome>>,
    /// Room for the SETBITs that are applied together.
    bits: Vec<(u64, bool)>,
}

/// A numbered batch under way. Its outcomes are state: every replica has the same.
struct Nested {
    session: SessionId,
    number: u64,
    ops: Feed,
    outcomes: OutcomeWriter,
}

impl Progress {
    /// The next op; `None` at the end of the numbered batch under way, or of the entry.
    fn next_op(&mut self) -> Result<Option<Op>, EntryError> {
        match &mut self.nested {
            None => self.ops.reader.next_op(),
            Some(nested) => Ok(nested.ops.reader.next_op().unwrap_or_else(|_| {
                // Nothing after it can be read either.
                nested.outcomes.push(&UNREADABLE_BATCH.into());
                None
            })),
        }
    }

    /// Applies the next ops if they are SETBITs of one key, at most `most`; returns how many.
    fn apply_set_bits(&mut self, engine: &mut Engine, most: usize) -> usize {
        let bits = &mut self.bits;
        if let Some(Nested { ops, outcomes, .. }) = &mut self.nested {
            let Some(key) = ops.next_set_bits(engine, bits, most) else { return 0 };
            engine.apply_set_bits(key, bits, |outcome| outcomes.push(&outcome));
        } else {
            let Some(key) = self.ops.next_set_bits(engine, bits, most) else { return 0 };
            engine.apply_set_bits(key, bits, |outcome| {
                if let Some(outcomes) = &mut self.outcomes {
                    outcomes.push(outcome);
                }
            });
        }
        bits.len()
    }

    /// Whether the next outcome is for anybody.
    fn is_wanted(&self) -> bool {
        self.nested.is_some() || self.outcomes.is_some()
    }

    fn push(&mut self, outcome: Outcome) {
        match (&mut self.nested, &mut self.outcomes) {
            (Some(nested), _) => nested.outcomes.push(&outcome),
            (None, Some(outcomes)) => outcomes.push(outcome),
            (None, None) => {}
        }
    }
}

impl StateMachine {
    /// A state machine that has applied nothing; Raft installs the last snapshot, if any.
    pub(crate) fn new(
        group: GroupId,
        keyspace: Arc<Keyspace>,
        pool: Arc<Pool>,
        snapshots: Arc<Snapshots>,
        (metrics, applies): (Arc<Metrics>, Applies),
    ) -> Self {
        let membership = StoredMembership::default();
        let applied = None;
        Self { group, keyspace, pool, snapshots, metrics, applies, applied, membership }
    }

    /// Applies one entry's ops. The outcomes are collected only if `wanted`.
    async fn apply_ops(&self, index: u64, entry: Proposal, wanted: bool) -> io::Result<Applied> {
        let started = Instant::now();
        let reader = EntryReader::new(entry.0).map_err(|error| self.unreadable(index, error))?;
        let time = reader.time();
        let room = reader.count().min(OUTCOMES_EXPECTED_MAX) as usize;
        let outcomes = wanted.then(|| Vec::with_capacity(room));
        let ops = Feed::new(reader.into_ops());
        let mut progress = Progress { ops, nested: None, outcomes, bits: Vec::new() };
        self.keyspace.write().begin(LogIndex(index), time);
        loop {
            match self.apply_light(index, &mut progress)? {
                Step::More => {}
                Step::Heavy(heavy) => {
                    let outcome = self.apply_heavy(heavy).await?;
                    progress.push(outcome);
                }
                Step::End => break,
            }
        }
        self.metrics.apply_duration.record_time(started.elapsed());
        Ok(Applied(progress.outcomes.unwrap_or_default()))
    }

    /// Applies ops up to the entry's end, the first heavy one, or as many as one lock is for.
    fn apply_light(&self, index: u64, progress: &mut Progress) -> io::Result<Step> {
        let mut engine = self.keyspace.write();
        let mut left = OPS_PER_LOCK;
        while left > 0 {
            let set = progress.apply_set_bits(&mut engine, left);
            if set > 0 {
                left -= set;
                continue;
            }
            left -= 1;
            let op = progress.next_op().map_err(|error| self.unreadable(index, error))?;
            let outcome = match op {
                None => match progress.nested.take() {
                    Some(nested) => end_batch(&mut engine, nested),
                    None => {
                        engine.end();
                        return Ok(Step::End);
                    }
                },
                Some(Op::Write(WriteOp::Numbered(_) | WriteOp::OpenSession))
                    if progress.nested.is_some() =>
                {
                    let error = EntryError::Field("op of a numbered batch");
                    return Err(self.unreadable(index, error));
                }
                Some(Op::Write(WriteOp::Numbered(batch))) => {
                    match engine.begin_batch(batch.session, batch.number, batch.answered) {
                        Batch::Fresh => {
                            let (session, number) = (batch.session, batch.number);
                            let ops = Feed::new(batch.ops.into_reader());
                            let outcomes = OutcomeWriter::new();
                            progress.nested = Some(Nested { session, number, ops, outcomes });
                            continue;
                        }
                        Batch::Repeat(outcome) => Outcome::Numbered(outcome),
                        Batch::Refused(error) => error.into(),
                    }
                }
                Some(Op::Write(op)) => match engine.prepare(&op) {
                    None => engine.apply(&op),
                    Some(work) => return Ok(Step::Heavy(Heavy::Write(Box::new(op), work))),
                },
                // A read changes nothing: only the replica that answers needs it.
                Some(Op::Read(_)) if !progress.is_wanted() => continue,
                // By the log's time, so that what is seen expired has been dropped.
                Some(Op::Read(op)) => match engine.read_step(&op, engine.time()) {
                    ReadStep::Done(outcome) => outcome,
                    ReadStep::Work(work) => return Ok(Step::Heavy(Heavy::Read(work))),
                },
            };
            progress.push(outcome);
        }
        // To the readers that wait, if there are any.
        RwLockWriteGuard::unlock_fair(engine);
        Ok(Step::More)
    }

    async fn apply_heavy(&self, heavy: Heavy) -> io::Result<Outcome> {
        let run = |work: Work| self.pool.run_first(move || work.run());
        match heavy {
            Heavy::Read(work) => Ok(ended(run(work).await)?.into_outcome()),
            Heavy::Write(op, work) => {
                let done = ended(run(work).await)?;
                let old = replaced(&self.keyspace.read(), &op);
                let outcome = self.keyspace.write().apply_prepared(&op, done);
                if let Some(old) = old {
                    self.pool.discard(old);
                }
                Ok(outcome)
            }
        }
    }

    fn unreadable(&self, index: u64, error: impl std::fmt::Display) -> io::Error {
        invalid_data(format!("entry {index} of group {} cannot be read: {error}", self.group))
    }

    /// All up to this entry is applied.
    fn set_applied(&mut self, applied: Option<LogId>) {
        self.applied = applied;
        if let Some(applied) = applied {
            self.applies.tell(applied.leader_id.term, applied.index);
        }
    }
}

/// Holds the value that a heavy op is about to replace, so that it is freed after the lock, not
/// under it: a count that nobody asked for has a clone. `None` where little is to be freed.
fn replaced(engine: &Engine, op: &WriteOp) -> Option<Work> {
    let WriteOp::Command(
        WriteCommand::BitOp { target: key, .. }
        | WriteCommand::Set { key, .. }
        | WriteCommand::Restore { key, .. },
    ) = op
    else {
        return None;
    };
    let count = ReadCommand::BitOpCard { logic: BitLogic::Or, sources: vec![key.clone()] };
    match engine.read_step(&ReadOp::Command(count), engine.time()) {
        ReadStep::Work(holder) => Some(holder),
        ReadStep::Done(_) => None,
    }
}

/// Ends a numbered batch whose ops are all applied.
fn end_batch(engine: &mut Engine, nested: Nested) -> Outcome {
    let Nested { session, number, outcomes, .. } = nested;
    let outcomes = outcomes.finish();
    engine.end_batch(session, number, outcomes.clone());
    Outcome::Numbered(NumberedOutcome::Applied(outcomes))
}

/// How far an entry is applied.
enum Step {
    /// Readers had their turn.
    More,
    /// This op's computation is due, outside the lock.
    Heavy(Heavy),
    /// The entry is applied.
    End,
}

/// An op whose computation runs outside the lock.
enum Heavy {
    Read(Work),
    Write(Box<WriteOp>, Work),
}

fn ended(result: Result<WorkDone, crate::pool::Ended>) -> io::Result<WorkDone> {
    result.map_err(io::Error::other)
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let log_id = entry.log_id;
            let applied = match entry.payload {
                EntryPayload::Blank => Applied::default(),
                EntryPayload::Normal(ops) => {
                    self.apply_ops(log_id.index, ops, responder.is_some()).await?
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(log_id), membership);
                    Applied::default()
                }
            };
            self.set_applied(Some(log_id));
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.builder())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.builder()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let started = Instant::now();
        let is_received = matches!(snapshot, SnapshotFile::Received(_));
        let engine = self.snapshots.install(self.keyspace.config(), meta, snapshot).await?;
        let old = std::mem::replace(&mut *self.keyspace.write(), engine);
        // Freeing a large keyspace takes long enough to be noticed.
        self.pool.discard(old);
        self.membership = meta.last_membership.clone();
        self.set_applied(meta.last_log_id);
        if is_received {
            self.metrics.snapshot_done(SnapshotOp::Install, started.elapsed());
        }
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::type_config::alias::SmSnapshotOf<TypeConfig, Self>>, io::Error>
    {
        self.snapshots.current().await
    }
}

impl StateMachine {
    fn builder(&self) -> SnapshotBuilder {
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        let state = self.keyspace.read().snapshot();
        SnapshotBuilder::new(self.snapshots.clone(), meta, state)
    }
}

#[cfg(test)]
mod tests {
    use bitroster_command::{Expiry, SetReply};
    use bitroster_engine::EngineConfig;
    use bitroster_types::limits::{BULK_BYTES_MAX, SLOTS, WORK_BYTES_MIN};
    use bitroster_types::{Key, SegmentWidth, Slot, UnixMillis};

    use super::*;

    fn set(name: &str, len: u64) -> WriteOp {
        WriteOp::Command(WriteCommand::Set {
            key: Key::new(name.as_bytes()).unwrap(),
            value: vec![0x55; usize::try_from(len).unwrap()].into(),
            existence: None,
            expiry: Expiry::Clear,
            reply: SetReply::Status,
        })
    }

    fn combine(target: &str) -> WriteOp {
        let key = |name: &str| Key::new(name.as_bytes()).unwrap();
        let sources = vec![key("source")];
        WriteOp::Command(WriteCommand::BitOp { logic: BitLogic::Or, target: key(target), sources })
    }

    #[test]
    fn a_large_value_outlives_the_op_that_replaces_it_and_a_small_one_does_not() {
        let value_bytes_max = BULK_BYTES_MAX as u64;
        let width = SegmentWidth::DEFAULT;
        let mut engine = Engine::new(EngineConfig { group: GroupId(1), width, value_bytes_max });
        engine.begin(LogIndex(1), UnixMillis(1));
        engine.apply(&WriteOp::Adopt { slots: (0..SLOTS).filter_map(Slot::new).collect() });
        let large = 16 * WORK_BYTES_MIN;
        engine.apply(&set("large", large));
        engine.apply(&set("small", 100));
        for op in [set("large", large), combine("large")] {
            let old = replaced(&engine, &op).expect("there is much to free");
            assert!(old.cost_bytes() >= large);
        }
        for op in [set("small", large), combine("small"), combine("absent"), WriteOp::Tick] {
            assert!(replaced(&engine, &op).is_none());
        }
        // What is held is the value of before.
        let old = replaced(&engine, &combine("large")).expect("there is much to free");
        engine.begin(LogIndex(2), UnixMillis(2));
        engine.apply(&combine("large"));
        assert!(replaced(&engine, &combine("large")).is_none());
        let bits = i64::try_from(large * 4).unwrap();
        assert_eq!(old.run().into_outcome(), bitroster_command::Reply::Integer(bits).into());
    }
}
