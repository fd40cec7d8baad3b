//! The log's handle.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bitroster_telemetry::metric::Histogram;
use bitroster_types::GroupId;
use bitroster_types::limits::{WAL_ENTRY_BYTES_MAX, WAL_VOTE_BYTES_MAX};
use parking_lot::Mutex;

use crate::completion::Completion;
use crate::data_dir::DataDir;
use crate::error::{Error, IoFailure};
use crate::files::{Active, Files, Full};
use crate::options::Options;
use crate::queue::{Shared, Tail};
use crate::record::{Position, Record, entry_bytes};
use crate::recovery::{Recovered, scan};
use crate::stock::{Stock, Supply};
use crate::writer::{Writer, publish};

const FOLDER_NAME: &str = "wal";

/// An entry to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Its place in its group's log.
    pub position: Position,
    /// Opaque to the log; at most
    /// [`WAL_ENTRY_BYTES_MAX`] bytes.
    pub payload: &'a [u8],
}

/// Figures of an open log. Counts are since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames written: each write is one, or two where it met a file's end.
    pub frames: u64,
    /// Bytes of those frames.
    pub frame_bytes: u64,
    /// Syncs of frames.
    pub syncs: u64,
    /// Time that those syncs took.
    pub sync_time: Duration,
    /// Files that hold the log.
    pub files: u64,
    /// Bytes that the log takes on the disk, with spare files and the one made ahead.
    pub disk_bytes: u64,
    /// Bytes that wait for the disk.
    pub pending_bytes: u64,
}

/// A group that keeps the log's oldest file from being freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The group.
    pub group: GroupId,
    /// The index up to which it must be purged, after a snapshot, for the file to go.
    pub index: u64,
}

/// The durable log of all groups of a process: one stream, one thread, one sync for all.
///
/// All methods take `&self`; share it in an `Arc`. Calls of one group take effect in the order in
/// which they are made, also where the log is recovered. They return as soon as the bytes are
/// queued; the [`Completion`] runs when they are safe, as
/// [`SyncMode`](crate::SyncMode) defines it.
///
/// A call waits, blocking its thread, while more than
/// [`Options::pending_bytes_max`] bytes wait for the disk. That is the last resort against running
/// out of memory: callers on asynchronous threads bound what they propose by
/// [`Wal::pending_bytes`], and never get there.
///
/// When a write or a sync fails, nobody knows what the disk holds. The log is then *poisoned*: all
/// that was queued is answered with the failure, every later call returns [`Error::Poisoned`], and
/// only a new process may open it again.
///
/// Dropping the last handle writes what is queued, seals the log and waits for its threads.
#[derive(Debug)]
pub struct Wal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Wal {
    /// Opens the log in a data directory, recovers it and starts its thread (`bitroster-wal`).
    ///
    /// Reads the whole log; recovered payloads are copied, so memory is that of the live entries.
    /// A log whose live entries are few is rewritten into one file, so that restarts do not pile up
    /// files.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Format`] and [`Error::Gap`] where the files are not what was
    /// written and synced; no log file is changed then. [`Error::Io`], [`Error::Option`].
    pub fn open(data: &DataDir, options: &Options) -> Result<(Self, Recovered), Error> {
        options.validate()?;
        let dir = data.folder(FOLDER_NAME)?;
        let scan = scan(data, &dir, options.file_bytes)?;
        let mut stock = Stock {
            data: data.clone(),
            dir,
            file_bytes: options.file_bytes,
            spare_bytes: Arc::new(AtomicU64::new(scan.spares.len() as u64 * options.file_bytes)),
            spares: scan.spares,
            spares_max: options.spare_files_max,
            salt_next: scan.salt_next,
        };
        for unused in &scan.unused {
            stock.retire(unused)?;
        }
        let spare_bytes = Arc::clone(&stock.spare_bytes);
        let active = Active::new(stock.prepare(scan.sequence_next)?);
        let full: Vec<_> = scan
            .used
            .into_iter()
            .map(|file| Full { retired: file.retired, last: file.last })
            .collect();
        let supply = Supply::new(stock, options.prepare_ahead, scan.sequence_next)?;
        let whole = live_entries(&scan.recovered, options.file_bytes / 4);
        let had_files = !full.is_empty();
        let mut files =
            Files::new(active, full.into(), supply, scan.ledger, options.file_bytes, spare_bytes);
        match whole {
            Some(entries) if had_files => files.write_whole(&entries)?,
            _ => files.write_ledger()?,
        }
        files.sync()?;
        files.free()?;

        let shared = Arc::new(Shared::new(options.pending_bytes_max, tails(&scan.recovered)));
        publish(&shared, &files);
        let writer = Writer::new(Arc::clone(&shared), files, options.sync_mode);
        let thread = thread::Builder::new()
            .name("bitroster-wal".to_owned())
            .spawn(move || writer.run())
            .map_err(IoFailure::at("start thread for", data.root()))?;
        Ok((Self { shared, thread: Mutex::new(Some(thread)) }, scan.recovered))
    }

    /// Appends entries to a group's log. Their indexes follow each other and the last entry, or the
    /// last purge; a group without either may begin anywhere.
    ///
    /// The iterator runs under the log's lock: it should only hand over what is encoded already.
    /// Copies the payloads; allocates nothing else but the completion's box.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfOrder`] and [`Error::TooLong`]: nothing was queued. [`Error::Poisoned`],
    /// [`Error::Closed`]. On any of them `done` is dropped, not called.
    pub fn append<'a>(
        &self,
        group: GroupId,
        entries: impl IntoIterator<Item = EntryRef<'a>>,
        done: Completion,
    ) -> Result<(), Error> {
        let mut queue = self.shared.admit()?;
        let start = queue.batch.buffer.len();
        let mut next = queue.tails.get(&group).and_then(|tail| tail.next);
        for EntryRef { position, payload } in entries {
            let expected = next.unwrap_or(position.index);
            let fault = if payload.len() > WAL_ENTRY_BYTES_MAX {
                let (len, max) = (payload.len(), WAL_ENTRY_BYTES_MAX);
                Some(Error::TooLong { what: "log entry", len, max })
            } else if position.index != expected || expected == u64::MAX {
                let found = position.index;
                Some(Error::OutOfOrder { call: "append", group, expected, found })
            } else {
                None
            };
            if let Some(fault) = fault {
                queue.batch.buffer.truncate(start);
                return Err(fault);
            }
            Record::Entry { group, position, payload }.encode(&mut queue.batch.buffer);
            next = Some(expected + 1);
        }
        queue.tails.entry(group).or_default().next = next;
        queue.encode_committed(group);
        self.shared.submit(queue, done);
        Ok(())
    }

    /// Saves a group's vote in place of the one before. `vote` is opaque; at most 256 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`]: nothing was queued. [`Error::Poisoned`], [`Error::Closed`]. On any of
    /// them `done` is dropped, not called.
    pub fn save_vote(&self, group: GroupId, vote: &[u8], done: Completion) -> Result<(), Error> {
        if vote.len() > WAL_VOTE_BYTES_MAX {
            let (len, max) = (vote.len(), WAL_VOTE_BYTES_MAX);
            return Err(Error::TooLong { what: "vote", len, max });
        }
        let mut queue = self.shared.admit()?;
        Record::Vote { group, vote }.encode(&mut queue.batch.buffer);
        queue.tails.entry(group).or_default();
        queue.encode_committed(group);
        self.shared.submit(queue, done);
        Ok(())
    }

    /// Removes a group's entries after `index`; all of them for `None`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfOrder`] if `index` lies before what was purged: nothing was queued.
    /// [`Error::Poisoned`], [`Error::Closed`]. On any of them `done` is dropped, not called.
    pub fn truncate_after(
        &self,
        group: GroupId,
        index: Option<u64>,
        done: Completion,
    ) -> Result<(), Error> {
        let mut queue = self.shared.admit()?;
        let tail = queue.tails.entry(group).or_default();
        if let Some(Position { index: purged, .. }) = tail.purged
            && index.is_none_or(|index| index < purged)
        {
            let (expected, found) = (purged, index.unwrap_or(0));
            return Err(Error::OutOfOrder { call: "truncate_after", group, expected, found });
        }
        let first_removed = index.map_or(0, |index| index.saturating_add(1));
        if tail.next.is_some_and(|next| first_removed < next) {
            tail.next = index.map(|_| first_removed);
            Record::Truncate { group, first_removed }.encode(&mut queue.batch.buffer);
            queue.encode_committed(group);
        }
        self.shared.submit(queue, done);
        Ok(())
    }

    /// Removes a group's entries up to `position`, which need not exist: after a snapshot from
    /// elsewhere the log goes on right after it. A purge that goes back does nothing.
    ///
    /// Files are freed some time after the purge is durable.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`], [`Error::Closed`]; `done` is then dropped, not called.
    pub fn purge(&self, group: GroupId, position: Position, done: Completion) -> Result<(), Error> {
        let mut queue = self.shared.admit()?;
        let tail = queue.tails.entry(group).or_default();
        if tail.purged.is_none_or(|purged| purged.index < position.index) {
            tail.purged = Some(position);
            let after = position.index.saturating_add(1);
            tail.next = Some(tail.next.map_or(after, |next| next.max(after)));
            Record::Purge { group, position }.encode(&mut queue.batch.buffer);
            queue.encode_committed(group);
        }
        self.shared.submit(queue, done);
        Ok(())
    }

    /// Notes up to where a group's log is known to be committed. Costs no write: it goes to the
    /// disk beside the group's next record, or when the log is closed. A hint only.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn save_committed(&self, group: GroupId, position: Position) -> Result<(), Error> {
        let mut queue = self.shared.admit()?;
        queue.tails.entry(group).or_default().committed = Some(position);
        Ok(())
    }

    /// Forgets a group: entries, vote and all. For a replica that has left this node.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`], [`Error::Closed`]; `done` is then dropped, not called.
    pub fn remove_group(&self, group: GroupId, done: Completion) -> Result<(), Error> {
        let mut queue = self.shared.admit()?;
        queue.tails.remove(&group);
        Record::Remove { group }.encode(&mut queue.batch.buffer);
        self.shared.submit(queue, done);
        Ok(())
    }

    /// Waits until all that was queued before is on the disk, whatever the sync mode. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn flush(&self) -> Result<(), Error> {
        let (done, waiter) = Completion::waiter();
        let mut queue = self.shared.admit()?;
        queue.batch.sync = true;
        self.shared.submit(queue, done);
        waiter.wait().map_err(Error::Poisoned)
    }

    /// Writes what is queued, ends the log so that the next start finds it whole, and waits for its
    /// threads. Later calls return [`Error::Closed`]. Called from a completion, it does not wait.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] if the log had failed or fails now.
    pub fn close(&self) -> Result<(), Error> {
        self.shared.close();
        if !self.shared.is_writer()
            && let Some(thread) = self.thread.lock().take()
        {
            // A panic of the thread has poisoned the log.
            drop(thread.join());
        }
        self.shared.failure().map_or(Ok(()), |failure| Err(Error::Poisoned(failure)))
    }

    /// Bytes that wait for the disk. Takes the log's lock.
    pub fn pending_bytes(&self) -> usize {
        self.shared.pending_bytes()
    }

    /// The failure that stopped the log, if it was stopped.
    pub fn failure(&self) -> Option<IoFailure> {
        self.shared.failure()
    }

    /// The groups that keep the oldest file. When [`Stats::disk_bytes`] is too much, these need a
    /// snapshot and a purge; no other group frees anything.
    pub fn holders(&self) -> Vec<Holder> {
        let holders = self.shared.holders.lock();
        holders.iter().map(|&(group, index)| Holder { group, index }).collect()
    }

    /// How long syncs of frames took.
    pub fn sync_times(&self) -> &Histogram {
        &self.shared.counters.syncs
    }

    /// Figures as of now.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            frames: counters.frames.load(Ordering::Relaxed),
            frame_bytes: counters.frame_bytes.load(Ordering::Relaxed),
            syncs: counters.syncs.count(),
            sync_time: Duration::from_nanos(counters.syncs.sum()),
            files: counters.files.load(Ordering::Relaxed),
            disk_bytes: counters.disk_bytes.load(Ordering::Relaxed),
            pending_bytes: self.pending_bytes() as u64,
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "log was not closed in order");
        }
    }
}

/// The live entries as records, or `None` if they take more than `bytes_max`.
fn live_entries(recovered: &Recovered, bytes_max: u64) -> Option<Vec<u8>> {
    let entries = || {
        recovered
            .groups
            .iter()
            .flat_map(|(&group, state)| state.entries.iter().map(move |entry| (group, entry)))
    };
    let len: u64 = entries().map(|(_, entry)| entry_bytes(entry.payload.len()) as u64).sum();
    if len > bytes_max {
        return None;
    }
    let mut out = Vec::new();
    for (group, entry) in entries() {
        Record::Entry { group, position: entry.position, payload: &entry.payload }.encode(&mut out);
    }
    Some(out)
}

fn tails(recovered: &Recovered) -> HashMap<GroupId, Tail> {
    let tail = |state: &crate::recovery::RecoveredGroup| {
        let last = state.entries.back().map(|entry| entry.position.index);
        let last = last.or(state.purged.map(|purged| purged.index));
        let next = last.map(|last| last.saturating_add(1));
        Tail { next, purged: state.purged, committed: None }
    };
    recovered.groups.iter().map(|(&group, state)| (group, tail(state))).collect()
}
