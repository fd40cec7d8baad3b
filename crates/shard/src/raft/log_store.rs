//! One group's log: in memory for reading, in the write-ahead log for keeping.
//!
//! Every entry since the last purge is in memory, so Raft never reads the disk. The write-ahead
//! log is written only: `append` queues and returns, and its thread reports when the disk has it.
//! Votes wait for the disk; truncations and purges need only their place in the stream.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitroster_types::limits::APPEND_BYTES;
use bitroster_types::planted::Fault;
use bitroster_types::{GroupId, ReplicaId};
use bitroster_wal::{Completion, EntryRef, IoFailure, Position, RecoveredGroup, Wal};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, entry::RaftEntry};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::codec;
use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::error::invalid_data;
use crate::fatal::Fatal;
use crate::keeper::LogMeter;

/// A group's log. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    group: GroupId,
    replica: ReplicaId,
    wal: Arc<Wal>,
    log: Mutex<Log>,
    /// See [`LogStore::promised`].
    promised: AtomicU64,
    /// Told how many bytes of entries are in memory.
    meter: Arc<LogMeter>,
    fatal: Fatal,
}

/// What is in memory. `entries` follow `purged` without a gap.
#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Entry>,
    bytes: u64,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
}

impl LogStore {
    /// The log of the group's `replica` as it was recovered.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if a vote or entry is not what this version writes, or the
    /// log is another replica's: its vote and its place among the members are not this one's.
    pub(crate) fn new(
        (group, replica): (GroupId, ReplicaId),
        wal: Arc<Wal>,
        recovered: RecoveredGroup,
        meter: Arc<LogMeter>,
        fatal: Fatal,
    ) -> io::Result<Self> {
        let kept = recovered.vote.map(|vote| codec::decode_kept_vote(&vote)).transpose()?;
        let (vote, owner) = kept.unzip();
        if let Some(owner) = owner.flatten().filter(|owner| *owner != replica) {
            return Err(invalid_data(format!("the log is that of replica {owner}, not {replica}")));
        }
        let mut log = Log {
            purged: recovered.purged.map(log_id),
            vote,
            committed: recovered.committed.map(log_id),
            ..Log::default()
        };
        for entry in recovered.entries {
            let Position { index, term, .. } = entry.position;
            log.push(codec::decode_entry(term, index, entry.payload)?);
        }
        meter.set(log.bytes);
        let promised = AtomicU64::new(log.vote.map_or(0, |vote| vote.leader_id.term));
        let log = Mutex::new(log);
        Ok(Self { shared: Arc::new(Shared { group, replica, wal, log, promised, meter, fatal }) })
    }

    /// The newest term that this replica has ever promised itself to, by a vote for a candidate or
    /// by following a leader. Told before anybody else can learn of the promise.
    pub(crate) fn promised(&self) -> u64 {
        self.shared.promised.load(Ordering::SeqCst)
    }

    /// The last entry to drop of those up to `upto`, so that at most `bytes` of them are kept;
    /// `None` if nothing is to be dropped.
    pub(crate) fn purge_point(&self, upto: u64, bytes: u64) -> Option<u64> {
        let log = self.shared.log.lock();
        let (_, end) = log.range(&(..=upto));
        let mut kept = 0;
        let place = log.entries.range(..end).rposition(|entry| {
            kept += memory_bytes(entry);
            kept > bytes
        });
        place.map(|place| log.entries[place].log_id.index)
    }
}

impl Shared {
    fn check<T, E: Into<io::Error> + StdError>(&self, result: Result<T, E>) -> io::Result<T> {
        check(self.group, &self.fatal, result)
    }
}

/// Ends the process if the disk failed: what is on it is unknown.
fn check<T, E>(group: GroupId, fatal: &Fatal, result: Result<T, E>) -> io::Result<T>
where
    E: Into<io::Error> + StdError,
{
    if let Err(failure) = &result {
        fatal.stop(group, failure);
    }
    result.map_err(Into::into)
}

impl Log {
    fn push(&mut self, entry: Entry) {
        self.bytes += memory_bytes(&entry);
        self.entries.push_back(entry);
    }

    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    /// The place in `entries` of the first entry at or after `index`.
    fn place(&self, index: u64) -> usize {
        let first = self.entries.front().map_or(u64::MAX, RaftEntry::index);
        let place = usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
        place.min(self.entries.len())
    }

    fn range(&self, range: &impl RangeBounds<u64>) -> (usize, usize) {
        let start = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => index.saturating_add(1),
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        let (start, end) = (self.place(start), self.place(end));
        (start.min(end), end)
    }
}

/// What an entry costs in memory: its payload and its place in the queue.
fn memory_bytes(entry: &Entry) -> u64 {
    let payload = match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => proposal.0.len(),
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
    };
    (payload + size_of::<Entry>()) as u64
}

fn position(log_id: &LogId) -> Position {
    Position { index: log_id.index, term: log_id.leader_id.term, leader: 0 }
}

fn log_id(position: Position) -> LogId {
    LogId::new_term_index(position.term, position.index)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let log = self.shared.log.lock();
        let (start, end) = log.range(&range);
        Ok(log.entries.range(start..end).cloned().collect())
    }

    /// As many as one message to a follower takes.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let log = self.shared.log.lock();
        let (start, end) = log.range(&(start..end));
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += memory_bytes(entry);
            first || bytes <= APPEND_BYTES as u64
        };
        Ok(log.entries.range(start..end).take_while(fits).cloned().collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.log.lock().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let log = self.shared.log.lock();
        Ok(LogState { last_purged_log_id: log.purged, last_log_id: log.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        // First: whoever gets the vote may lead, and be obeyed, as soon as this returns.
        self.shared.promised.fetch_max(vote.leader_id.term, Ordering::SeqCst);
        let (done, waiter) = oneshot::channel();
        let completion = Completion::call(move |result| {
            // Raft may have stopped meanwhile; the vote is saved all the same.
            drop(done.send(result));
        });
        let bytes = codec::encode_kept_vote(vote, self.shared.replica);
        self.shared.check(self.shared.wal.save_vote(self.shared.group, &bytes, completion))?;
        let saved = waiter.await.map_err(|_| io::Error::other("the log has ended"))?;
        self.shared.check(saved)?;
        self.shared.log.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        self.shared.log.lock().committed = Some(committed);
        let saved = self.shared.wal.save_committed(self.shared.group, position(&committed));
        self.shared.check(saved)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.log.lock().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        // Without a handle to the log, which must not be closed by its own thread.
        let (group, fatal) = (self.shared.group, self.shared.fatal.clone());
        let completion = if Fault::AckBeforeSync.is_planted() {
            callback.io_completed(Ok(()));
            Completion::none()
        } else {
            Completion::call(move |result: Result<(), IoFailure>| {
                callback.io_completed(check(group, &fatal, result));
            })
        };
        let shared = &self.shared;
        let mut log = shared.log.lock();
        let first = log.entries.len();
        let mut records = Vec::new();
        for entry in entries {
            records.push((position(&entry.log_id), codec::encode_payload(&entry.payload)));
            log.push(entry);
        }
        debug_assert_eq!(log.entries.len(), first + records.len());
        shared.meter.set(log.bytes);
        let refs =
            records.iter().map(|(position, payload)| EntryRef { position: *position, payload });
        // Under the lock, so that the order in the stream is the order in memory.
        let queued = shared.wal.append(shared.group, refs, completion);
        drop(log);
        shared.check(queued)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let shared = &self.shared;
        let mut log = shared.log.lock();
        let first_removed = last.map_or(0, |last| last.index + 1);
        let place = log.place(first_removed);
        let removed: u64 = log.entries.range(place..).map(memory_bytes).sum();
        log.entries.truncate(place);
        log.bytes -= removed;
        shared.meter.set(log.bytes);
        let last = last.map(|last| last.index);
        let queued = shared.wal.truncate_after(shared.group, last, Completion::none());
        drop(log);
        shared.check(queued)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let shared = &self.shared;
        let mut log = shared.log.lock();
        if log.purged >= Some(upto) {
            return Ok(());
        }
        let place = log.place(upto.index.saturating_add(1));
        let removed: u64 = log.entries.drain(..place).map(|entry| memory_bytes(&entry)).sum();
        log.bytes -= removed;
        log.purged = Some(upto);
        shared.meter.set(log.bytes);
        let queued = shared.wal.purge(shared.group, position(&upto), Completion::none());
        drop(log);
        shared.check(queued)
    }
}
