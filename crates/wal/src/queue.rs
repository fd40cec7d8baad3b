//! What callers and the log's thread share: the pending bytes, and whether the log still stands.
//!
//! Callers encode records straight into one buffer under one short lock. The thread swaps the
//! buffer for an empty one, writes and syncs it, and answers. What gathers meanwhile is the next
//! batch: batching needs no timer.

use std::collections::HashMap;
use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::Instant;

use bitroster_telemetry::metric::Histogram;
use bitroster_types::GroupId;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::completion::Completion;
use crate::error::{Error, IoFailure};
use crate::frame::FRAME_HEADER_BYTES;
use crate::record::{Position, Record};

/// A buffer that once held more than this is given back to the allocator.
const BUFFER_KEPT_BYTES: usize = 16 << 20;

/// What waits for the disk.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Room for one frame's header, then records.
    pub(crate) buffer: Vec<u8>,
    /// Called in order when the records are safe.
    pub(crate) completions: Vec<Completion>,
    /// Whether the disk must have it even in interval mode.
    pub(crate) sync: bool,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; FRAME_HEADER_BYTES], completions: Vec::new(), sync: false }
    }

    fn record_bytes(&self) -> usize {
        self.buffer.len() - FRAME_HEADER_BYTES
    }

    fn is_empty(&self) -> bool {
        self.record_bytes() == 0 && self.completions.is_empty()
    }

    fn clear(&mut self) {
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = vec![0; FRAME_HEADER_BYTES];
        }
        self.buffer.truncate(FRAME_HEADER_BYTES);
        self.completions.clear();
        self.sync = false;
    }
}

/// Where a group's log ends, as far as it is queued. Kept to refuse calls that do not fit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tail {
    /// The index that the next entry must have; any, if there is no entry and never was a purge.
    pub(crate) next: Option<u64>,
    pub(crate) purged: Option<Position>,
    /// Known to be committed, but not yet in a record.
    pub(crate) committed: Option<Position>,
}

/// The part of the shared state that the lock guards.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) batch: Batch,
    pub(crate) tails: HashMap<GroupId, Tail>,
    /// Bytes that the thread has taken and not yet written.
    in_flight_bytes: usize,
    /// Whether the thread waits for work.
    idle: bool,
    failure: Option<IoFailure>,
    closed: bool,
}

impl Queue {
    fn pending_bytes(&self) -> usize {
        self.batch.record_bytes() + self.in_flight_bytes
    }

    /// Writes down what is known to be committed, if that is news, beside the group's next record.
    pub(crate) fn encode_committed(&mut self, group: GroupId) {
        let committed = self.tails.get_mut(&group).and_then(|tail| tail.committed.take());
        if let Some(position) = committed {
            Record::Committed { group, position }.encode(&mut self.batch.buffer);
        }
    }
}

/// Counts of what the log did since it was opened.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) frames: AtomicU64,
    pub(crate) frame_bytes: AtomicU64,
    /// How long syncs took.
    pub(crate) syncs: Histogram,
    pub(crate) files: AtomicU64,
    pub(crate) disk_bytes: AtomicU64,
}

/// Shared by all handles and the log's thread.
#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when the idle thread has something to do.
    work: Condvar,
    /// Signalled when pending bytes were written.
    room: Condvar,
    pending_bytes_max: usize,
    writer: OnceLock<ThreadId>,
    pub(crate) counters: Counters,
    /// Which groups keep the oldest file, and up to which index.
    pub(crate) holders: Mutex<Vec<(GroupId, u64)>>,
}

/// What the thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Write the batch that was handed over.
    Write,
    /// Sync: the interval is over.
    Sync,
    /// Close the log; nothing is left to write.
    Close,
}

impl Shared {
    pub(crate) fn new(pending_bytes_max: usize, tails: HashMap<GroupId, Tail>) -> Self {
        Self {
            queue: Mutex::new(Queue {
                batch: Batch::new(),
                tails,
                in_flight_bytes: 0,
                idle: false,
                failure: None,
                closed: false,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            pending_bytes_max,
            writer: OnceLock::new(),
            counters: Counters::new(),
            holders: Mutex::new(Vec::new()),
        }
    }

    /// Says that the calling thread is the log's own: it never waits for itself.
    pub(crate) fn register_writer(&self) {
        self.writer.get_or_init(|| thread::current().id());
    }

    pub(crate) fn is_writer(&self) -> bool {
        self.writer.get() == Some(&thread::current().id())
    }

    /// Locks the queue once it has room, or says why it takes nothing.
    pub(crate) fn admit(&self) -> Result<MutexGuard<'_, Queue>, Error> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(failure) = &queue.failure {
                return Err(Error::Poisoned(failure.clone()));
            }
            if queue.closed {
                return Err(Error::Closed);
            }
            if queue.pending_bytes() < self.pending_bytes_max || self.is_writer() {
                return Ok(queue);
            }
            self.room.wait(&mut queue);
        }
    }

    /// Queues what was encoded and wakes the thread if it waits.
    pub(crate) fn submit(&self, mut queue: MutexGuard<'_, Queue>, done: Completion) {
        if !done.is_none() {
            queue.batch.completions.push(done);
        }
        let wake = queue.idle && !queue.batch.is_empty();
        drop(queue);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits for the next task of the thread. `batch` is handed back empty or as taken; its old
    /// contents are done with.
    pub(crate) fn take(&self, batch: &mut Batch, sync_due: Option<Instant>) -> Task {
        batch.clear();
        let mut queue = self.queue.lock();
        if mem::take(&mut queue.in_flight_bytes) > 0 {
            self.room.notify_all();
        }
        loop {
            if !queue.batch.is_empty() {
                mem::swap(&mut queue.batch, batch);
                queue.in_flight_bytes = batch.record_bytes();
                return Task::Write;
            }
            if queue.closed {
                return Task::Close;
            }
            queue.idle = true;
            let timed_out = match sync_due {
                None => {
                    self.work.wait(&mut queue);
                    false
                }
                Some(due) => self.work.wait_until(&mut queue, due).timed_out(),
            };
            queue.idle = false;
            if timed_out && queue.batch.is_empty() && !queue.closed {
                return Task::Sync;
            }
        }
    }

    /// Takes no more calls; the thread writes what is queued and ends.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        if !queue.closed && queue.failure.is_none() {
            let mut news: Vec<_> = queue
                .tails
                .iter_mut()
                .filter_map(|(&group, tail)| Some((group, tail.committed.take()?)))
                .collect();
            news.sort_unstable_by_key(|&(group, _)| group);
            for (group, position) in news {
                Record::Committed { group, position }.encode(&mut queue.batch.buffer);
            }
        }
        queue.closed = true;
        self.work.notify_one();
        self.room.notify_all();
    }

    /// Stops the log for good and tells everybody who waits. The first failure is kept.
    pub(crate) fn poison(&self, failure: &IoFailure, batch: &mut Batch) {
        let mut queue = self.queue.lock();
        queue.failure.get_or_insert_with(|| failure.clone());
        queue.in_flight_bytes = 0;
        let mut completions = mem::take(&mut batch.completions);
        completions.append(&mut queue.batch.completions);
        queue.batch.clear();
        self.room.notify_all();
        drop(queue);
        for done in completions {
            done.run(Err(failure.clone()));
        }
    }

    /// The failure that stopped the log.
    pub(crate) fn failure(&self) -> Option<IoFailure> {
        self.queue.lock().failure.clone()
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.queue.lock().pending_bytes()
    }
}

impl Counters {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        let syncs = Histogram::of_seconds();
        Self { frames: zero(), frame_bytes: zero(), syncs, files: zero(), disk_bytes: zero() }
    }

    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
