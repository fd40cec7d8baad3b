//! Committed entries on their way into the engine.
//!
//! Raft's worker task is the only writer of the engine. It holds the engine's lock for a few
//! hundred ops at a time, and lets go of it while a heavy op computes on the work pool, so that
//! reads go on meanwhile: nothing else can change the state in between.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bitroster_command::{EntryReader, Op, Outcome, WriteOp};
use bitroster_engine::{ReadStep, Work, WorkDone};
use bitroster_types::{GroupId, LogIndex};
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::RwLockWriteGuard;

use super::snapshot::{SnapshotBuilder, SnapshotFile, Snapshots};
use super::types::{Applied, LogId, Proposal, SnapshotMeta, StoredMembership, TypeConfig};
use crate::error::invalid_data;
use crate::keyspace::Keyspace;
use crate::metrics::Metrics;
use crate::pool::Pool;

/// Ops applied before waiting readers get their turn: a fraction of a millisecond. What a client
/// may rely on is one op (a transaction is one), so readers may see an entry half applied.
const OPS_PER_LOCK: usize = 512;

/// Outcomes are collected for at most this many ops without growing.
const OUTCOMES_EXPECTED_MAX: u32 = 1024;

/// One group's state machine.
pub(crate) struct StateMachine {
    group: GroupId,
    keyspace: Arc<Keyspace>,
    pool: Arc<Pool>,
    snapshots: Arc<Snapshots>,
    metrics: Metrics,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl StateMachine {
    /// A state machine that has applied nothing; Raft installs the last snapshot, if any.
    pub(crate) fn new(
        group: GroupId,
        keyspace: Arc<Keyspace>,
        pool: Arc<Pool>,
        snapshots: Arc<Snapshots>,
        metrics: Metrics,
    ) -> Self {
        let membership = StoredMembership::default();
        Self { group, keyspace, pool, snapshots, metrics, applied: None, membership }
    }

    /// Applies one entry's ops. The outcomes are collected only if `wanted`.
    async fn apply_ops(&self, index: u64, entry: Proposal, wanted: bool) -> io::Result<Applied> {
        let started = Instant::now();
        let mut reader =
            EntryReader::new(entry.0).map_err(|error| self.unreadable(index, error))?;
        let time = reader.time();
        let mut outcomes = Vec::new();
        if wanted {
            outcomes.reserve(reader.count().min(OUTCOMES_EXPECTED_MAX) as usize);
        }
        self.keyspace.write().begin(LogIndex(index), time);
        loop {
            match self.apply_light(index, &mut reader, wanted, &mut outcomes)? {
                Step::More => {}
                Step::Heavy(heavy) => {
                    let outcome = self.apply_heavy(heavy).await?;
                    if wanted {
                        outcomes.push(outcome);
                    }
                }
                Step::End => break,
            }
        }
        self.metrics.apply_duration.record(started.elapsed());
        Ok(Applied(outcomes))
    }

    /// Applies ops up to the entry's end, the first heavy one, or as many as one lock is for.
    fn apply_light(
        &self,
        index: u64,
        reader: &mut EntryReader,
        wanted: bool,
        outcomes: &mut Vec<Outcome>,
    ) -> io::Result<Step> {
        let mut engine = self.keyspace.write();
        for _ in 0..OPS_PER_LOCK {
            let op = reader.next_op().map_err(|error| self.unreadable(index, error))?;
            let Some(op) = op else {
                engine.end();
                return Ok(Step::End);
            };
            let outcome = match op {
                Op::Write(op) => match engine.prepare(&op) {
                    None => engine.apply(&op),
                    Some(work) => return Ok(Step::Heavy(Heavy::Write(op, work))),
                },
                // A read changes nothing: only the replica that answers needs it.
                Op::Read(_) if !wanted => continue,
                // By the log's time, so that what is seen expired has been dropped.
                Op::Read(op) => match engine.read_step(&op, engine.time()) {
                    ReadStep::Done(outcome) => outcome,
                    ReadStep::Work(work) => return Ok(Step::Heavy(Heavy::Read(work))),
                },
            };
            if wanted {
                outcomes.push(outcome);
            }
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
                Ok(self.keyspace.write().apply_prepared(&op, done))
            }
        }
    }

    fn unreadable(&self, index: u64, error: impl std::fmt::Display) -> io::Error {
        invalid_data(format!("entry {index} of group {} cannot be read: {error}", self.group))
    }
}

/// Why the lock is let go.
enum Step {
    /// Ops follow.
    More,
    /// This op's computation is due, outside the lock.
    Heavy(Heavy),
    /// The entry is applied.
    End,
}

/// An op whose computation runs outside the lock.
enum Heavy {
    Read(Work),
    Write(WriteOp, Work),
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
            self.applied = Some(log_id);
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
        let engine = self.snapshots.install(self.keyspace.config(), meta, snapshot).await?;
        let old = std::mem::replace(&mut *self.keyspace.write(), engine);
        // Freeing a large keyspace takes long enough to be noticed.
        self.pool.run_first(move || drop(old)).await.map_err(io::Error::other)?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
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
