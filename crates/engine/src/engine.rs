//! The state and its transitions.

use std::sync::Arc;

use bitroster_command::{
    Outcome, Pending, ReadCommand, ReadOp, Reply, SetBitRef, WriteCommand, WriteOp,
};
use bitroster_types::{
    GroupId, Key, LogIndex, SegmentWidth, Slot, UnixMillis,
    limits::{BULK_BYTES_MAX, EXPIRED_DROPPED_MAX, WORK_BYTES_MIN},
};

use crate::{
    Forms, ReadStep, Survey, Work, WorkDone,
    entry::{Entry, Value, View},
    leaf::MODIFIED_END,
    read::Reader,
    session::Sessions,
    side::Side,
    space::Spaces,
    spot::Spot,
    stats::EngineStats,
    store::Store,
    work::Made,
};

/// How many SETBITs are looked at together after one that could not be written in place.
const RUN_AFTER_STOP: usize = 8;

/// What all replicas of a group must agree on from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// The group.
    pub group: GroupId,
    /// The width of the cluster's segments.
    pub width: SegmentWidth,
    /// Longest value that APPEND and SETRANGE may make and GET may answer, in bytes
    /// (`proto-max-bulk-len`). A constant of the cluster, for it decides replies.
    pub value_bytes_max: u64,
}

impl EngineConfig {
    /// The configuration of `group` with the default limit of 512 MiB.
    pub const fn new(group: GroupId, width: SegmentWidth) -> Self {
        Self { group, width, value_bytes_max: BULK_BYTES_MAX as u64 }
    }
}

/// The keyspace of one group.
///
/// Changed only by [`begin`](Self::begin) and [`apply`](Self::apply), in the order of the log;
/// [`end`](Self::end) tells readers that an entry is complete. Replicas that apply the same
/// entries give the same outcomes and hold the same state.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) store: Store,
    pub(crate) side: Arc<Side>,
    pub(crate) spaces: Arc<Spaces>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) applied: LogIndex,
    pub(crate) time: UnixMillis,
    /// The entry under way, where readers may come in between its ops.
    pub(crate) under_way: Option<LogIndex>,
    /// Whether entries are ended, so that one that was not is under way.
    pub(crate) ends_entries: bool,
    /// Entries dropped because they had expired, since the engine was made or restored. No part of
    /// the state.
    pub(crate) expired: u64,
    /// Grows with every call that may change the state; tells whether prepared work still fits.
    pub(crate) stamp: u64,
}

impl Engine {
    /// An empty keyspace that owns no slots yet: [`WriteOp::Adopt`] gives it some.
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            store: Store::default(),
            side: Arc::default(),
            spaces: Arc::default(),
            sessions: Arc::default(),
            applied: LogIndex(0),
            time: UnixMillis(0),
            under_way: None,
            ends_entries: false,
            expired: 0,
            stamp: 0,
        }
    }

    /// Starts the entry at `index`, made at `time`.
    ///
    /// Log time becomes the later of the two times. Keys that are due are dropped, at most a few
    /// dozen; those left are absent all the same. Sessions that nobody used for long end.
    ///
    /// # Panics
    ///
    /// If `index` was applied before: log and state disagree, and to go on would corrupt the
    /// replica. Indexes may skip.
    pub fn begin(&mut self, index: LogIndex, time: UnixMillis) {
        assert!(index > self.applied, "entry {index} applied after {}", self.applied);
        assert!(index.0 < MODIFIED_END, "entry {index} is past the last that a key can remember");
        self.applied = index;
        self.under_way = self.ends_entries.then_some(index);
        self.time = self.time.max(time);
        self.stamp += 1;
        self.drop_due();
        if self.side.needs_sweep(self.time) {
            Arc::make_mut(&mut self.side).sweep(self.time);
        }
        if self.sessions.needs_sweep(self.time) {
            Arc::make_mut(&mut self.sessions).sweep(self.time);
        }
    }

    /// Drops keys that are due. A part stays while the group is in doubt about its key: home may
    /// have prolonged it.
    fn drop_due(&mut self) {
        let mut left = EXPIRED_DROPPED_MAX;
        for spot in self.store.due_spots(self.time) {
            let mut due = self.store.due_at(spot, self.time);
            due.retain(|key| !self.is_kept(spot, key));
            for key in &due {
                self.remove(spot, key);
            }
            left -= usize::from(!due.is_empty());
            if left == 0 {
                break;
            }
        }
    }

    /// Whether an entry that is due must stay.
    fn is_kept(&self, spot: Spot, key: &Key) -> bool {
        self.side.is_staged(key) && !self.store.owned.has(spot.slot)
    }

    /// Ends the entry begun last: all its ops are applied.
    ///
    /// Who lets readers in between the ops of one entry must end every entry. A key that the entry
    /// has changed may change again under the same index, so until then
    /// [`ReadOp::Fingerprint`] of it is answered [`Outcome::Tick`]. An engine whose entries were
    /// never ended is taken to have no such readers; a restored one is taken to have them.
    pub fn end(&mut self) {
        self.under_way = None;
        self.ends_entries = true;
    }

    /// Applies one op of the entry begun last and says what came of it.
    ///
    /// Costs what the op costs; see [`Engine::prepare`] for those that cost much.
    pub fn apply(&mut self, op: &WriteOp) -> Outcome {
        self.apply_made(op, None)
    }

    /// Applies SETBITs of one key, given as offsets and values, as [`apply`](Self::apply) does
    /// their ops one after the other, and tells what came of each. Most ops are these; together
    /// they look for the key once, and wait for memory side by side.
    ///
    /// # Panics
    ///
    /// If the key is longer than a key may be.
    pub fn apply_set_bits(
        &mut self,
        key: &[u8],
        bits: &[(u64, bool)],
        mut told: impl FnMut(Outcome),
    ) {
        let (mut left, mut most) = (bits, bits.len());
        while !left.is_empty() {
            let tell = |old| told(Reply::Integer(i64::from(old)).into());
            let run = &left[..most.min(left.len())];
            let count = self.set_bits_in_place(key, run, tell);
            left = &left[count..];
            if count == run.len() {
                most = most.saturating_mul(2);
                continue;
            }
            // What stopped this one may stop each: do not look at all that are left each time.
            most = RUN_AFTER_STOP;
            if let &[(offset, value), ref after @ ..] = left {
                let key = Key::new(key).expect("no longer than a key, as wherever ops are read");
                told(self.apply(&WriteOp::Command(WriteCommand::SetBit { key, offset, value })));
                left = after;
            }
        }
    }

    /// Asks the CPU to fetch what a SETBIT that comes soon will touch.
    pub fn fetch(&self, bit: SetBitRef<'_>) {
        let view = self.store.find(Spot::of(bit.key), bit.key);
        if let Some(View { value: Value::Whole(bitmap), .. }) = view {
            bitmap.fetch(bit.offset);
        }
    }

    /// Asks the CPU to fetch what reads that come soon will touch, as far as they are GETBITs of
    /// the first one's key. Costs less than it saves where these are some eight or more.
    pub fn fetch_reads(&self, ops: &[ReadOp]) {
        fn bit(op: &ReadOp) -> Option<(&Key, u64)> {
            let ReadOp::Command(ReadCommand::GetBit { key, offset }) = op else { return None };
            Some((key, *offset))
        }
        let Some((key, _)) = ops.first().and_then(bit) else { return };
        let view = self.store.find(Spot::of(key), key);
        if let Some(View { value: Value::Whole(bitmap), .. }) = view {
            let same = ops.iter().map_while(bit).take_while(|(other, _)| *other == key);
            bitmap.fetch_all(same.map(|(_, offset)| offset));
        }
    }

    /// As [`Engine::apply`], with the value that [`Engine::prepare`] asked to be made. If the
    /// state has changed since, the value is made again.
    pub fn apply_prepared(&mut self, op: &WriteOp, done: WorkDone) -> Outcome {
        match done.made {
            Made::Value(value) if done.stamp == self.stamp => self.apply_made(op, Some(value)),
            Made::Value(_) | Made::Outcome(_) => self.apply_made(op, None),
        }
    }

    /// What an op needs computed, if that takes long enough to be done elsewhere: outside the lock,
    /// between [`Engine::begin`] and [`Engine::apply_prepared`], with no other op in between.
    pub fn prepare(&self, op: &WriteOp) -> Option<Work> {
        let job = self.job_of(op)?;
        (job.cost_bytes() >= WORK_BYTES_MIN).then(|| Work { job: Box::new(job), stamp: self.stamp })
    }

    /// Answers a read, however long it takes. `now` is the reader's clock; within an entry, the
    /// entry's time.
    pub fn read(&self, op: &ReadOp, now: UnixMillis) -> Outcome {
        match self.reader(now).step(op) {
            Ok(step) => step.into_outcome(),
            Err(outcome) => outcome,
        }
    }

    /// Answers a read, or says what must be computed for it if that takes long. The work needs
    /// nothing of the engine any more.
    pub fn read_step(&self, op: &ReadOp, now: UnixMillis) -> ReadStep {
        match self.reader(now).step(op) {
            Ok(step) => step.into_read_step(),
            Err(outcome) => ReadStep::Done(outcome),
        }
    }

    /// The last entry begun.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Log time: the latest time of an entry.
    pub fn time(&self) -> UnixMillis {
        self.time
    }

    /// When the next key is to be dropped, if one has an expiry. May lie in the past. Parts that
    /// are due and stay because the group is in doubt about them do not count.
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        let mut rows = self.store.due_rows();
        let first = rows.next()?;
        if self.side.staged.is_empty() || first.0 > self.time {
            return Some(first.0);
        }
        let kept = |(due, spot): &(UnixMillis, Spot)| {
            *due <= self.time
                && self.store.due_at(*spot, self.time).iter().all(|key| self.is_kept(*spot, key))
        };
        std::iter::once(first).chain(rows).find(|row| !kept(row)).map(|(due, _)| due)
    }

    /// Whether the group owns a slot.
    pub fn owns(&self, slot: Slot) -> bool {
        self.store.owned.has(slot)
    }

    /// The configuration.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Changes over several groups that this group, the home of their keys, remembers as not
    /// finished, at most `limit`; the leader has them finished. First come those that are decided,
    /// then reservations and leaves that were given no later than `before`, by log time. Costs a
    /// look at every reservation, else what is returned.
    pub fn pending(&self, before: UnixMillis, limit: usize) -> Vec<Pending> {
        self.side.pending(before, limit)
    }

    /// Sums over the keyspace. O(1).
    pub fn stats(&self) -> EngineStats {
        EngineStats::of(self)
    }

    /// Goes on with a survey; see [`Survey::step`].
    pub fn survey(&self, survey: &mut Survey, work: usize) -> Option<Forms> {
        survey.step(self, work)
    }

    pub(crate) fn reader(&self, now: UnixMillis) -> Reader<'_> {
        Reader {
            config: &self.config,
            store: &self.store,
            side: &self.side,
            spaces: &self.spaces,
            time: self.time,
            under_way: self.under_way,
            now: now.max(self.time),
        }
    }

    /// The state as the op under way sees it.
    pub(crate) fn here(&self) -> Reader<'_> {
        self.reader(self.time)
    }

    pub(crate) fn side_mut(&mut self) -> &mut Side {
        Arc::make_mut(&mut self.side)
    }

    pub(crate) fn sessions_mut(&mut self) -> &mut Sessions {
        Arc::make_mut(&mut self.sessions)
    }

    /// The entry, unless it is past its expiry.
    pub(crate) fn live(&self, spot: Spot, key: &[u8]) -> Option<View<'_>> {
        self.store.find(spot, key).filter(|view| !view.is_expired(self.time))
    }

    /// Drops a record that is past its expiry, so that what comes in its place starts afresh.
    pub(crate) fn reap(&mut self, spot: Spot, key: &Key) {
        if self.store.find(spot, key).is_some_and(|view| view.is_expired(self.time)) {
            self.remove(spot, key);
        }
    }

    /// Removes an entry; the parts of a record are to be dropped. Whether there was a live one.
    pub(crate) fn remove(&mut self, spot: Spot, key: &Key) -> bool {
        let Some(old) = self.store.take(spot, key) else { return false };
        let was_live = !View::of(&old).is_expired(self.time);
        self.expired += u64::from(!was_live);
        self.note_expired(key, &old);
        was_live
    }

    /// Makes `entry` the record of a key without a spread, for no longer than its expiry allows:
    /// one that is past it is removed at once.
    pub(crate) fn replace(&mut self, spot: Spot, key: &Key, mut entry: Entry) {
        let is_expired = View::of(&entry).is_expired(self.time);
        entry.modified = self.applied;
        self.store.put(spot, key, entry);
        if is_expired {
            self.remove(spot, key);
        }
    }
}
