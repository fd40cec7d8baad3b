//! How the router reaches the groups.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bitroster_bitmap::Formula;
use bitroster_command::{CommandError, Op, OpBatch, Outcome, ReadOp, SourceRef, Want};
use bitroster_telemetry::metric::Histogram;
use bitroster_types::{Consistency, Deadline, GroupId, Key};
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

/// A group, and the map that says that it has what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The group.
    pub group: GroupId,
    /// The epoch of the cluster map that the request was routed by.
    pub epoch: u64,
}

/// How fresh the answers of a connection must be, and how old they were.
///
/// A clone counts ages in the same place. The default is linearizable.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What a read may miss.
    pub consistency: Consistency,
    /// The largest age of a stale answer so far, in milliseconds.
    pub age_ms: Arc<AtomicU64>,
    /// What the answers may show, where somebody wants to know.
    shown: Option<Arc<Shown>>,
}

/// For each group the last log entry that its answers may show; `None` where one did not tell.
type Shown = Mutex<BTreeMap<GroupId, Option<u64>>>;

impl Reading {
    /// Reads of this consistency; no answer has an age yet.
    pub fn new(consistency: Consistency) -> Self {
        Self { consistency, age_ms: Arc::default(), shown: None }
    }

    /// The same, with note taken from now on of the log entries that answers may show.
    pub fn noting(&self) -> Self {
        Self { shown: Some(Arc::default()), ..self.clone() }
    }

    /// Notes that an answer of a group may show the log entries up to this index; 0 where it does
    /// not say.
    pub fn note_shown(&self, group: GroupId, applied: u64) {
        let Some(shown) = &self.shown else { return };
        let told = (applied > 0).then_some(applied);
        let mut shown = shown.lock();
        let noted = shown.entry(group).or_insert(told);
        *noted = (*noted).zip(told).map(|(noted, told)| noted.max(told));
    }

    /// The last log entry that any answer of a group may show; `None` where there was none, or one
    /// that did not tell.
    pub fn shown(&self, group: GroupId) -> Option<u64> {
        self.shown.as_ref()?.lock().get(&group).copied().flatten()
    }

    /// Notes that an answer may miss what was written in the last `age_ms` milliseconds.
    pub fn note_age(&self, age_ms: u64) {
        self.age_ms.fetch_max(age_ms, Relaxed);
    }
}

/// A count of what a formula comes to over values that several groups give.
#[derive(Debug)]
pub struct Fold {
    /// The epoch of the cluster map that it was routed by.
    pub epoch: u64,
    /// Who gives the values: a group, the last log entry that must show in the value, and a read
    /// that answers `Bulk`, in the bitmap codec.
    pub values: Vec<(GroupId, u64, ReadOp)>,
    /// What to count, of the values as its operands.
    pub formula: Formula,
    /// Half-open range of bits.
    pub range: (u64, u64),
}

impl Fold {
    /// The reads of the values and then a [`ReadOp::Evaluate`], whose sources say nothing but how
    /// many values there are.
    pub fn ops(self) -> OpBatch {
        let Self { values, formula, range, .. } = self;
        let mut ops = OpBatch::new();
        values.iter().for_each(|(_, _, value)| ops.push_read(value));
        let value = SourceRef { key: Key::new(b"").expect("no bytes are few"), version: None };
        let (sources, want) = (vec![value; values.len()], Want::Counts);
        ops.push_read(&ReadOp::Evaluate { formulas: vec![formula], sources, range, want });
        ops
    }
}

/// Carries ops to groups and outcomes back.
///
/// The node implements it over the replicas in its own process; across nodes the same trait goes
/// over the network. An implementation finds the group's leader by itself and waits for one until
/// the deadline.
///
/// A group whose slots have changed since the target's epoch refuses the whole request with
/// [`TransportError::StaleMap`]: what a router has put into one batch, because it thought that one
/// group has all of it, is done in order or not at all. [`Outcome::NotOwner`] is for single ops, by
/// a group that does not have a slot yet.
pub trait Transport: Send + Sync + 'static {
    /// Answers a cheap read in place, linearizably, or says `None` where that would have to wait:
    /// the group is elsewhere, leadership has to be confirmed, the map is stale, or the work is
    /// long. Never blocks.
    fn read_now(&self, to: Target, op: &ReadOp) -> Option<Outcome>;

    /// Answers a read, as fresh as `reading` wants it. A stale answer's age goes to
    /// [`Reading::note_age`].
    ///
    /// # Errors
    ///
    /// [`TransportError::NoLeader`] where nobody answered before the deadline,
    /// [`TransportError::StaleMap`], and refusals.
    fn read(
        &self,
        to: Target,
        op: ReadOp,
        reading: &Reading,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Outcome, TransportError>>;

    /// Answers reads that take microseconds and answer a few bytes each, as [`read`](Self::read)
    /// would: one outcome an op. They may be answered at different moments.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), for all of them.
    ///
    /// Unless an implementation has a better way, they are asked one by one.
    fn read_short(
        &self,
        to: Target,
        ops: OpBatch,
        reading: &Reading,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>> {
        let reading = reading.clone();
        Box::pin(async move {
            let mut reader = ops.into_reader();
            let mut outcomes = Vec::new();
            while let Ok(Some(op)) = reader.next_op() {
                let Op::Read(op) = op else { break };
                outcomes.push(self.read(to, op, &reading, deadline).await?);
            }
            Ok(outcomes)
        })
    }

    /// Has one node that holds all groups of a fold count it, so that no value travels.
    ///
    /// `None` where no node has all of them, or it gives no count: whoever asks can do the same
    /// with the groups' own answers.
    ///
    /// Unless an implementation has a way, there is none.
    fn fold(&self, fold: Fold, deadline: Deadline) -> BoxFuture<'_, Option<u64>> {
        let _ = (fold, deadline);
        Box::pin(ready(None))
    }

    /// Commits a batch of ops in one entry, in order: one outcome an op.
    ///
    /// # Errors
    ///
    /// [`TransportError::NoLeader`], [`TransportError::StaleMap`] and [`TransportError::Refused`]
    /// only where no op of the batch was or will be applied; otherwise
    /// [`TransportError::OutcomeUnknown`].
    ///
    /// # Cancel safety
    ///
    /// A batch that was handed over may be applied although its future was dropped.
    fn write(
        &self,
        to: Target,
        batch: OpBatch,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>>;

    /// What it counts of itself; nothing where it has no messages to send.
    fn figures(&self) -> Option<&TransportFigures> {
        None
    }
}

/// What a way to the groups counts of itself.
#[derive(Debug)]
pub struct TransportFigures {
    /// Tries that failed, in the order of [`REASONS`](Self::REASONS).
    pub retries: [AtomicU64; 4],
    /// Ops in one message of reads to a group.
    pub read_batch: Histogram,
    /// Ops in one message of writes to a group.
    pub write_batch: Histogram,
    /// Folds that a node was asked for, in the order of [`FOLDS`](Self::FOLDS).
    pub folds: [AtomicU64; 2],
}

/// Why a try to reach a group failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The replica that was asked does not lead.
    NotLeader,
    /// The node that was asked cannot be reached, or cannot answer now.
    Unavailable,
    /// It did not answer in time.
    Timeout,
    /// It has too much to do.
    Busy,
}

impl TransportFigures {
    /// The reasons' labels, in the order of [`Retry`].
    pub const REASONS: [&'static str; 4] = ["not_leader", "unavailable", "timeout", "busy"];

    /// The labels of folds that were answered, and of those that were not.
    pub const FOLDS: [&'static str; 2] = ["answered", "failed"];

    /// Nothing counted yet.
    pub fn new() -> Self {
        Self {
            retries: Default::default(),
            read_batch: Histogram::of_counts(),
            write_batch: Histogram::of_counts(),
            folds: Default::default(),
        }
    }

    /// A node was asked for a fold.
    pub fn folded(&self, is_answered: bool) {
        self.folds[usize::from(!is_answered)].fetch_add(1, Relaxed);
    }

    /// A try failed.
    pub fn retried(&self, why: Retry) {
        self.retries[why as usize].fetch_add(1, Relaxed);
    }
}

impl Default for TransportFigures {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a group gave no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No leader was found before the deadline; nothing was applied.
    #[error("no leader of group {group} within the deadline")]
    NoLeader {
        /// The group.
        group: GroupId,
    },
    /// The batch was sent and not answered.
    #[error("no answer within {waited:?}")]
    OutcomeUnknown {
        /// How long the caller waited.
        waited: Duration,
    },
    /// The map that the request was routed by is older than the group's; nothing was applied.
    #[error("routed by a map that is older than the group's, of epoch {epoch}")]
    StaleMap {
        /// The epoch of the group's map.
        epoch: u64,
    },
    /// Refused before anything was done.
    #[error(transparent)]
    Refused(#[from] CommandError),
}

impl From<TransportError> for CommandError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::NoLeader { group } => Self::NoLeader { group: group.0 },
            TransportError::OutcomeUnknown { waited } => Self::OutcomeUnknown { waited },
            TransportError::StaleMap { .. } => NOT_SERVED,
            TransportError::Refused(error) => error,
        }
    }
}

/// Redis's words for a slot that nobody serves; nothing was applied.
pub(crate) const NOT_SERVED: CommandError = CommandError::Text("CLUSTERDOWN Hash slot not served");
