//! Reading the log at start: what every group has, and where a torn end is cut.
//!
//! # Which files count
//!
//! Files are freed oldest first, each durably before the next, so their sequence numbers have no
//! gap. All but the last that holds frames were sealed and synced before the next was begun, so
//! each must read whole up to its seal. Files after it were made ready and never written.
//!
//! # Where the end is cut
//!
//! In the last file, the first frame that does not pass ends the log: a crash tears what was not
//! synced, and that was not acknowledged. A torn write may leave later frames whole; they are cut
//! too, since the log must be a prefix. But each frame says how much was synced before it was
//! written. If one beyond the cut says that the cut lies in synced bytes, acknowledged data was
//! damaged, and recovery refuses.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bitroster_types::GroupId;
use bytes::Bytes;

use crate::data_dir::DataDir;
use crate::error::{Error, IoFailure};
use crate::file_system::{Access, File, read_full};
use crate::frame::{
    FILE_FORMAT, FILE_HEADER_BYTES, FILE_HEADER_LEN, FRAME_ALIGNMENT, FRAME_HEADER_BYTES,
    FileHeader, Frame, FrameKind, HeaderFault,
};
use crate::ledger::{LastIndexes, Ledger};
use crate::record::{Position, Record};
use crate::stock::{Name, Retired, log_path};

const WINDOW_BYTES: usize = 1 << 20;

/// Most of a file that was never written to its end is zeros, which are skipped by the page.
const PAGE_BYTES: usize = 4096;
const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// An entry as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in its group's log.
    pub position: Position,
    /// The caller's bytes.
    pub payload: Bytes,
}

/// What the log holds of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// The last vote saved.
    pub vote: Option<Bytes>,
    /// The last position saved as committed that reached the disk; a later one may be true.
    pub committed: Option<Position>,
    /// The last entry purged. Entries go on right after it.
    pub purged: Option<Position>,
    /// The live entries; indexes grow by one. Where nothing was purged, the first has the index
    /// that the caller began with: the log cannot tell whether that is right.
    pub entries: VecDeque<Entry>,
}

/// The end of a log that a crash tore; nothing in it was acknowledged under
/// [`SyncMode::Always`](crate::SyncMode::Always).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// Where the log now ends in it.
    pub offset: u64,
}

/// What the log held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Every group that ever had a record and was not removed.
    pub groups: BTreeMap<GroupId, RecoveredGroup>,
    /// The torn end that was cut, if the last run was ended by a crash in the midst of a write.
    pub torn: Option<TornTail>,
    /// Log files read.
    pub files: usize,
}

impl Recovered {
    fn group(&mut self, group: GroupId) -> &mut RecoveredGroup {
        self.groups.entry(group).or_default()
    }

    /// Applies a record; `Err` is the gap that it shows, as (group, expected, found).
    fn apply(&mut self, record: &Record<'_>) -> Result<(), (GroupId, u64, u64)> {
        match *record {
            Record::Entry { group, position, payload } => {
                let state = self.group(group);
                let last = state.entries.back().map(|entry| entry.position.index);
                let purged = state.purged.map(|purged| purged.index);
                // The first entry in sight may follow others that were purged with their files.
                let fits = match (last, purged) {
                    (Some(last), _) => position.index == last.saturating_add(1),
                    (None, Some(purged)) => position.index > purged,
                    (None, None) => true,
                };
                if !fits {
                    let expected = last.or(purged).map_or(0, |index| index.saturating_add(1));
                    return Err((group, expected, position.index));
                }
                let payload = Bytes::copy_from_slice(payload);
                state.entries.push_back(Entry { position, payload });
            }
            Record::Vote { group, vote } => {
                self.group(group).vote = Some(Bytes::copy_from_slice(vote));
            }
            Record::Truncate { group, first_removed } => {
                let entries = &mut self.group(group).entries;
                while entries.back().is_some_and(|last| last.position.index >= first_removed) {
                    entries.pop_back();
                }
            }
            Record::Purge { group, position } => {
                let state = self.group(group);
                if state.purged.is_none_or(|purged| purged.index < position.index) {
                    state.purged = Some(position);
                }
                let entries = &mut state.entries;
                while entries.front().is_some_and(|first| first.position.index <= position.index) {
                    entries.pop_front();
                }
            }
            Record::Committed { group, position } => self.group(group).committed = Some(position),
            Record::Remove { group } => {
                self.groups.remove(&group);
            }
            Record::Reset => self.groups.clear(),
        }
        Ok(())
    }

    /// Checks that no group misses entries between its purge and its first entry.
    fn check(&self) -> Result<(), Error> {
        for (&group, state) in &self.groups {
            if let (Some(purged), Some(first)) = (state.purged, state.entries.front()) {
                let expected = purged.index.saturating_add(1);
                if first.position.index != expected {
                    return Err(Error::Gap { group, expected, found: first.position.index });
                }
            }
        }
        Ok(())
    }
}

/// A log file that was read.
#[derive(Debug)]
pub(crate) struct ReadFile {
    pub(crate) retired: Retired,
    pub(crate) last: LastIndexes,
    sequence: u64,
    end: End,
}

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It holds no frame.
    Unused,
    /// Its last record ends at `offset`; its frames prove that the disk has the bytes before
    /// `proven`.
    Used { offset: u64, proven: u64, tail: Tail },
}

/// What follows a file's last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Seal,
    Nothing,
    /// Frames that do not count.
    Torn,
}

/// The log's directory as it was found.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) recovered: Recovered,
    pub(crate) ledger: Ledger,
    /// Files with frames, oldest first; all sealed by now.
    pub(crate) used: VecDeque<ReadFile>,
    /// Files that were made ready and never written.
    pub(crate) unused: Vec<Retired>,
    pub(crate) spares: Vec<PathBuf>,
    pub(crate) salt_next: u64,
    pub(crate) sequence_next: u64,
}

/// Reads the whole log and seals its end.
pub(crate) fn scan(data: &DataDir, dir: &Path, file_bytes: u64) -> Result<Scan, Error> {
    let names = data.fs().list(dir).map_err(IoFailure::at("list", dir))?;
    let mut sequences = Vec::new();
    let mut spares = Vec::new();
    let mut salt_next = 1;
    for name in names {
        match Name::parse(&name) {
            Some(Name::Log(sequence)) => sequences.push(sequence),
            Some(Name::Spare) => {
                if let Some(salt) = check_spare(data, &dir.join(&name), file_bytes)? {
                    salt_next = salt_next.max(salt + 1);
                    spares.push(dir.join(&name));
                }
            }
            Some(Name::Temporary) => remove(data, &dir.join(&name))?,
            None => {}
        }
    }
    sequences.sort_unstable();
    spares.sort_unstable();
    // A name that is seen here may be lost in a power cut, and a spare must not come back under its
    // old name once it is written again.
    data.fs().sync_dir(dir).map_err(IoFailure::at("sync directory", dir))?;
    let mut scan = Scan {
        recovered: Recovered::default(),
        ledger: Ledger::default(),
        used: VecDeque::new(),
        unused: Vec::new(),
        spares,
        salt_next,
        sequence_next: 1,
    };
    for (at, &sequence) in sequences.iter().enumerate() {
        let path = log_path(dir, sequence);
        if at > 0 && sequences[at - 1] + 1 != sequence {
            return Err(Error::damaged(&path, 0, "the log file before it is missing"));
        }
        let mut reader = Reader::open(data, &path, Access::Read)?;
        let header = reader.header(sequence)?;
        scan.salt_next = scan.salt_next.max(header.salt + 1);
        let retired = Retired { path, salt: header.salt, len_bytes: reader.len_bytes };
        let (last, end) = scan.read(&mut reader, header)?;
        scan.used.push_back(ReadFile { retired, last, sequence, end });
    }
    scan.recovered.files = scan.used.len();
    scan.finish(data)?;
    Ok(scan)
}

impl Scan {
    fn read(
        &mut self,
        reader: &mut Reader,
        header: FileHeader,
    ) -> Result<(LastIndexes, End), Error> {
        let mut last = LastIndexes::default();
        let (mut offset, mut proven) = (FILE_HEADER_BYTES, FILE_HEADER_BYTES);
        while let Some(frame) = reader.frame(header.salt, offset)? {
            proven = proven.max(frame.durable);
            if frame.kind == FrameKind::Seal {
                return Ok((last, End::Used { offset, proven, tail: Tail::Seal }));
            }
            let range = reader.load(frame.body_offset(), frame.body_bytes as usize)?;
            let body = &reader.window[range];
            let mut at = 0;
            while at < body.len() {
                let record_offset = frame.body_offset() + at as u64;
                let (record, len) = Record::decode(&body[at..])
                    .ok_or_else(|| Error::damaged(&reader.path, record_offset, "unknown record"))?;
                self.recovered.apply(&record).map_err(|(group, expected, found)| Error::Gap {
                    group,
                    expected,
                    found,
                })?;
                self.ledger.observe(&record);
                if let Record::Entry { group, position, .. } = record {
                    last.observe_entry(group, position.index);
                } else {
                    last.observe_later(&record);
                    self.used.iter_mut().for_each(|file| file.last.observe_later(&record));
                }
                at += len;
            }
            offset = frame.next_offset();
        }
        let tail = match reader.frames_beyond(header.salt, offset)? {
            None if offset == FILE_HEADER_BYTES => return Ok((last, End::Unused)),
            None => Tail::Nothing,
            Some(durable) => {
                proven = proven.max(durable);
                Tail::Torn
            }
        };
        Ok((last, End::Used { offset, proven, tail }))
    }

    /// Splits off the files never written, checks that only the last one is open, and seals it.
    fn finish(&mut self, data: &DataDir) -> Result<(), Error> {
        while let Some(file) = self.used.pop_back_if(|file| file.end == End::Unused) {
            self.unused.push(file.retired);
        }
        let Some(last) = self.used.back() else {
            return Ok(());
        };
        self.sequence_next = last.sequence + 1;
        for file in self.used.iter().take(self.used.len() - 1) {
            let offset = match file.end {
                End::Used { tail: Tail::Seal, .. } => continue,
                End::Used { offset, .. } => offset,
                End::Unused => FILE_HEADER_BYTES,
            };
            let reason = "a frame is damaged, and the log goes on in the next file";
            return Err(Error::damaged(&file.retired.path, offset, reason));
        }
        self.recovered.check()?;
        let last = self.used.back_mut().expect("there is a last file");
        if let End::Used { offset, proven, tail } = last.end {
            let path = &last.retired.path;
            if tail == Tail::Torn {
                tracing::warn!(path = %path.display(), offset, "cut the torn end of the log");
                self.recovered.torn = Some(TornTail { path: path.clone(), offset });
            }
            let end = seal(data, path, last.retired.salt, offset, proven)?;
            last.retired.len_bytes = last.retired.len_bytes.max(end);
        }
        Ok(())
    }
}

/// Ends a file at `offset`, durably. Returns where the seal ends.
///
/// What was read there may be in the operating system's memory only: a process was killed before
/// its sync, or its sync failed and the pages count as clean. So all that no frame proves to be on
/// the disk is written again. The seal claims no more than the frames did, for a crash may keep it
/// and lose the rest.
fn seal(data: &DataDir, path: &Path, salt: u64, offset: u64, proven: u64) -> Result<u64, Error> {
    let mut reader = Reader::open(data, path, Access::Write)?;
    let mut at = proven;
    while at < offset {
        let len = usize::try_from(offset - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        // A frame's padding need not exist in a file that grew.
        let bytes = reader.view(at, len)?.to_vec();
        reader.file.write_at(&bytes, at).map_err(IoFailure::at("write", path))?;
        at += len as u64;
    }
    let seal = Frame::new(FrameKind::Seal, salt, offset, proven, &[]);
    reader.file.write_at(&seal.encode(salt), offset).map_err(IoFailure::at("write", path))?;
    reader.file.sync().map_err(IoFailure::at("sync", path))?;
    Ok(seal.next_offset())
}

/// The salt of a spare that can be used again; any other is removed.
fn check_spare(data: &DataDir, path: &Path, file_bytes: u64) -> Result<Option<u64>, Error> {
    let mut reader = Reader::open(data, path, Access::Read)?;
    if let Ok(header) = FileHeader::decode(reader.view(0, FILE_HEADER_LEN)?)
        && reader.len_bytes == file_bytes
    {
        return Ok(Some(header.salt));
    }
    remove(data, path)?;
    Ok(None)
}

fn remove(data: &DataDir, path: &Path) -> Result<(), Error> {
    Ok(data.fs().remove(path).map_err(IoFailure::at("remove", path))?)
}

/// Reads a file through a window, so that small frames cost no system call each.
#[derive(Debug)]
struct Reader {
    file: Box<dyn File>,
    path: PathBuf,
    len_bytes: u64,
    window: Vec<u8>,
    window_offset: u64,
}

impl Reader {
    fn open(data: &DataDir, path: &Path, access: Access) -> Result<Self, Error> {
        let file = data.fs().open(path, access).map_err(IoFailure::at("open", path))?;
        let len_bytes = file.len_bytes().map_err(IoFailure::at("measure", path))?;
        let path = path.to_owned();
        Ok(Self { file, path, len_bytes, window: Vec::new(), window_offset: 0 })
    }

    /// Makes `len` bytes at `offset` part of the window, fewer at the file's end only, and returns
    /// where in it they are. Never allocates more than the file is long.
    fn load(&mut self, offset: u64, len: usize) -> Result<Range<usize>, Error> {
        let left = usize::try_from(self.len_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let window_end = self.window_offset + self.window.len() as u64;
        if offset < self.window_offset || offset + len as u64 > window_end {
            self.window.resize(len.max(WINDOW_BYTES.min(left)), 0);
            self.window_offset = offset;
            let read = read_full(&*self.file, &mut self.window, offset)
                .map_err(IoFailure::at("read", &self.path))?;
            self.window.truncate(read);
        }
        let start = usize::try_from(offset - self.window_offset).unwrap_or(usize::MAX);
        let start = start.min(self.window.len());
        Ok(start..(start + len).min(self.window.len()))
    }

    fn view(&mut self, offset: u64, len: usize) -> Result<&[u8], Error> {
        let range = self.load(offset, len)?;
        Ok(&self.window[range])
    }

    /// The header page, which must be that of the file with this number.
    fn header(&mut self, sequence: u64) -> Result<FileHeader, Error> {
        let decoded = FileHeader::decode(self.view(0, FILE_HEADER_LEN)?);
        let path = &self.path;
        match decoded {
            Ok(header) if header.sequence == sequence => Ok(header),
            Ok(_) => Err(Error::damaged(path, 0, "the header is that of another file")),
            Err(HeaderFault::Format(found)) => {
                Err(Error::Format { path: path.clone(), found, supported: FILE_FORMAT })
            }
            Err(HeaderFault::Damaged) => Err(Error::damaged(path, 0, "no log file's header")),
        }
    }

    /// The frame at `offset`, if its header and its records pass.
    fn frame(&mut self, salt: u64, offset: u64) -> Result<Option<Frame>, Error> {
        let header = self.view(offset, FRAME_HEADER_BYTES)?;
        let Some(frame) = Frame::decode(header, salt, offset) else {
            return Ok(None);
        };
        let body = self.view(frame.body_offset(), frame.body_bytes as usize)?;
        Ok(frame.matches(salt, body).then_some(frame))
    }

    /// Looks for frames of this use of the file from `cut` on, which does not hold a whole one.
    /// If there are any, a write was torn; returns the bytes that they prove to be on the disk.
    fn frames_beyond(&mut self, salt: u64, cut: u64) -> Result<Option<u64>, Error> {
        let mut found = None;
        let mut offset = cut;
        while offset + FRAME_HEADER_BYTES as u64 <= self.len_bytes {
            let page_end = (offset + 1).next_multiple_of(PAGE_BYTES as u64);
            let page_len = usize::try_from(page_end - offset).unwrap_or(PAGE_BYTES);
            let page = self.view(offset, page_len)?;
            if page == &ZEROS[..page.len()] {
                offset = page_end;
                continue;
            }
            while offset < page_end {
                let bytes = self.view(offset, FRAME_HEADER_BYTES)?;
                if let Some(frame) = Frame::decode(bytes, salt, offset) {
                    if frame.durable > cut {
                        let reason = "a frame is damaged that was on the disk before later ones";
                        return Err(Error::damaged(&self.path, cut, reason));
                    }
                    found = found.max(Some(frame.durable));
                }
                offset += FRAME_ALIGNMENT;
            }
        }
        Ok(found)
    }
}
