//! The log's files while it is open: the one that is written, and the full ones before it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitroster_types::GroupId;

use crate::error::IoFailure;
use crate::file_system::File;
use crate::frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, Frame, FrameKind, SEAL_RESERVE_BYTES};
use crate::ledger::{LastIndexes, Ledger};
use crate::record::Record;
use crate::stock::{Fresh, Retired, Supply};

/// The file that takes frames.
#[derive(Debug)]
pub(crate) struct Active {
    file: Box<dyn File>,
    path: PathBuf,
    sequence: u64,
    salt: u64,
    /// Where the next frame goes.
    offset: u64,
    /// Bytes of the file that are synced.
    durable: u64,
    /// Where frames begin that are not the first, which repeats the ledger.
    ledger_end: u64,
    last: LastIndexes,
}

impl Active {
    pub(crate) fn new(fresh: Fresh) -> Self {
        Self {
            file: fresh.file,
            path: fresh.path,
            sequence: fresh.header.sequence,
            salt: fresh.header.salt,
            offset: FILE_HEADER_BYTES,
            durable: FILE_HEADER_BYTES,
            ledger_end: FILE_HEADER_BYTES,
            last: LastIndexes::default(),
        }
    }

    /// Writes one frame. The first [`FRAME_HEADER_BYTES`] of `frame` are for its header.
    fn write(&mut self, kind: FrameKind, frame: &mut [u8]) -> Result<(), IoFailure> {
        let (space, body) = frame.split_at_mut(FRAME_HEADER_BYTES);
        let header = Frame::new(kind, self.salt, self.offset, self.durable, body);
        space.copy_from_slice(&header.encode(self.salt));
        let written = self.file.write_at(frame, self.offset);
        written.map_err(IoFailure::at("write", &self.path))?;
        self.offset = header.next_offset();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoFailure> {
        self.file.sync().map_err(IoFailure::at("sync", &self.path))?;
        self.durable = self.offset;
        Ok(())
    }

    fn seal(&mut self) -> Result<(), IoFailure> {
        self.write(FrameKind::Seal, &mut [0; FRAME_HEADER_BYTES])?;
        self.sync()
    }
}

/// A full file whose entries may still be needed.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) retired: Retired,
    pub(crate) last: LastIndexes,
}

/// All files of an open log.
#[derive(Debug)]
pub(crate) struct Files {
    active: Active,
    /// Oldest first. They are given back in this order only, so that what is left is always the
    /// end of the log.
    full: VecDeque<Full>,
    supply: Supply,
    ledger: Ledger,
    file_bytes: u64,
    spare_bytes: Arc<AtomicU64>,
    /// Whether a record was written that may free a file.
    may_free: bool,
}

impl Files {
    pub(crate) fn new(
        active: Active,
        full: VecDeque<Full>,
        supply: Supply,
        ledger: Ledger,
        file_bytes: u64,
        spare_bytes: Arc<AtomicU64>,
    ) -> Self {
        Self { active, full, supply, ledger, file_bytes, spare_bytes, may_free: true }
    }

    /// Writes the records in `buffer` after its first [`FRAME_HEADER_BYTES`], in as many frames as
    /// the files' ends demand. The buffer's contents are undefined afterwards.
    pub(crate) fn write(&mut self, buffer: &mut [u8]) -> Result<usize, IoFailure> {
        let (mut start, mut frames) = (FRAME_HEADER_BYTES, 0);
        while start < buffer.len() {
            let end = self.fit(buffer, start);
            if end == start {
                self.roll()?;
                continue;
            }
            // The header goes over records that are written already.
            self.active.write(FrameKind::Records, &mut buffer[start - FRAME_HEADER_BYTES..end])?;
            frames += 1;
            start = end;
        }
        Ok(frames)
    }

    /// The end of the records from `start` on that fit the active file; takes note of them. A
    /// record that fits no file gets a file of its own, which grows.
    fn fit(&mut self, buffer: &[u8], start: usize) -> usize {
        let used = self.active.offset + FRAME_HEADER_BYTES as u64 + SEAL_RESERVE_BYTES;
        let room = usize::try_from(self.file_bytes.saturating_sub(used)).unwrap_or(usize::MAX);
        let fresh = self.active.offset == self.active.ledger_end;
        let mut end = start;
        while end < buffer.len() {
            let (record, len) =
                Record::decode(&buffer[end..]).expect("this process encoded the record");
            let fits = end - start + len <= room;
            let alone = fresh && end == start;
            if !fits && !alone {
                break;
            }
            self.observe(&record);
            end += len;
            if !fits {
                break;
            }
        }
        end
    }

    fn observe(&mut self, record: &Record<'_>) {
        match *record {
            Record::Entry { group, position, .. } => {
                self.active.last.observe_entry(group, position.index);
                return;
            }
            Record::Truncate { .. } | Record::Remove { .. } | Record::Reset => {
                for full in &mut self.full {
                    full.last.observe_later(record);
                }
                self.active.last.observe_later(record);
                self.may_free = true;
            }
            Record::Purge { .. } => self.may_free = true,
            Record::Vote { .. } | Record::Committed { .. } => {}
        }
        self.ledger.observe(record);
    }

    /// Ends the active file and goes on in the next, which first repeats the ledger.
    ///
    /// The full file is synced before anything is written to the next: only the last file can have
    /// a torn end.
    fn roll(&mut self) -> Result<(), IoFailure> {
        self.seal()?;
        let next = Active::new(self.supply.next(self.active.sequence + 1)?);
        let full = std::mem::replace(&mut self.active, next);
        let len_bytes = full.offset.max(self.file_bytes);
        self.full.push_back(Full {
            retired: Retired { path: full.path, salt: full.salt, len_bytes },
            last: full.last,
        });
        self.may_free = true;
        tracing::debug!(sequence = self.active.sequence, "log goes on in the next file");
        self.write_ledger()
    }

    /// Writes the active file's first frame: the ledger.
    pub(crate) fn write_ledger(&mut self) -> Result<(), IoFailure> {
        self.write_first(Vec::new(), &[])
    }

    /// Writes the active file's first frame so that it stands for the whole log: nothing before it
    /// is needed. `entries` are all live entries, encoded.
    pub(crate) fn write_whole(&mut self, entries: &[u8]) -> Result<(), IoFailure> {
        for full in &mut self.full {
            full.last.observe_later(&Record::Reset);
        }
        let mut rest = entries;
        while let Some((record, len)) = Record::decode(rest) {
            self.observe(&record);
            rest = &rest[len..];
        }
        let mut reset = Vec::new();
        Record::Reset.encode(&mut reset);
        self.write_first(reset, entries)
    }

    fn write_first(&mut self, before: Vec<u8>, after: &[u8]) -> Result<(), IoFailure> {
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        frame.extend_from_slice(&before);
        self.ledger.encode(&mut frame);
        frame.extend_from_slice(after);
        self.active.write(FrameKind::Records, &mut frame)?;
        self.active.ledger_end = self.active.offset;
        Ok(())
    }

    /// Whether all that was written is synced.
    pub(crate) fn is_synced(&self) -> bool {
        self.active.durable == self.active.offset
    }

    /// Waits until all that was written is durable.
    pub(crate) fn sync(&mut self) -> Result<(), IoFailure> {
        self.active.sync()
    }

    /// Marks the end of the active file, durably.
    pub(crate) fn seal(&mut self) -> Result<(), IoFailure> {
        self.active.seal()
    }

    /// Gives back the oldest files that no group needs. To be called when all is synced: a purge
    /// that a power cut undoes must not have freed a file. Returns whether it had to look.
    pub(crate) fn free(&mut self) -> Result<bool, IoFailure> {
        debug_assert!(self.is_synced());
        if !std::mem::take(&mut self.may_free) {
            return Ok(false);
        }
        while let Some(oldest) = self.full.front()
            && oldest.last.holders(&self.ledger).is_empty()
        {
            let freed = self.full.pop_front().expect("there is an oldest file");
            self.supply.retire(freed.retired)?;
        }
        Ok(true)
    }

    /// The groups that keep the oldest full file, and up to which index; empty if there is none.
    pub(crate) fn holders(&self) -> Vec<(GroupId, u64)> {
        self.full.front().map_or_else(Vec::new, |oldest| oldest.last.holders(&self.ledger))
    }

    /// Files that hold the log, the active one included.
    pub(crate) fn count(&self) -> usize {
        self.full.len() + 1
    }

    /// Bytes that the log takes on the disk, with spares and the file made ahead.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let full: u64 = self.full.iter().map(|full| full.retired.len_bytes).sum();
        let active = self.active.offset.max(self.file_bytes);
        let ahead = self.supply.ahead() * self.file_bytes;
        full + active + ahead + self.spare_bytes.load(Ordering::Relaxed)
    }
}
