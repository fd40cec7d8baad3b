//! [`FaultyDisk`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::file_system::{Access, File, FileSystem, Lock};

const SECTOR_BYTES: usize = 512;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The one operation fails; later ones succeed.
    Transient,
    /// It and all later ones fail, until the crash.
    Persistent,
}

/// What a crash leaves of written and not synced bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Nothing.
    Lost,
    /// The first half of the bytes, in the order of the writes. A file that grew is short.
    Short,
    /// As [`Tear::Short`], but the second half is zeros: its place was allocated, not filled. Bytes
    /// that were durable before and did not change stay.
    Zeroed,
    /// Every second sector: the disk wrote them out of order.
    Scattered,
    /// Everything.
    Kept,
}

/// What a crash leaves of created, renamed and removed names that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Nothing.
    Lost,
    /// The first half, in order.
    Half,
    /// Every second one.
    Scattered,
    /// All of them.
    Kept,
}

/// A disk in memory. Clones are the same disk; [`FaultyDisk::mount`] gives it to a process.
///
/// Every operation but `list`, `lock`, `len_bytes` and reads counts; the one that
/// [`FaultyDisk::fail_at`] names fails. A failed write leaves half of its bytes. A sync that fails
/// once makes nothing durable, then or later: as with a kernel that drops what it could not write,
/// a later sync that succeeds does not cover it. One that fails for good leaves what was not
/// synced to the crash: the machine went down before it.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    sync_released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    /// What programs see.
    names: BTreeMap<PathBuf, usize>,
    /// What a crash cannot take.
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable, in order.
    name_changes: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    /// Crashes so far; a handle from before one is dead.
    generation: usize,
    operations: usize,
    fault: Option<(usize, Fault)>,
    met: bool,
    writes: usize,
    syncs: usize,
    syncs_held: bool,
    syncs_waiting: usize,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync: offset and bytes.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(_, path) | Self::Remove(path) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Inode {
    fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(data);
    }

    fn crash(&mut self, tear: Tear) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if tear == Tear::Kept {
            self.durable.clone_from(&self.bytes);
            return;
        }
        let total: usize = unsynced.iter().map(|(_, data)| data.len()).sum();
        let mut left = total / 2;
        let mut sector = 0;
        for (offset, data) in unsynced {
            match tear {
                Tear::Lost | Tear::Kept => {}
                Tear::Short | Tear::Zeroed => {
                    let kept = left.min(data.len());
                    left -= kept;
                    Self::write(&mut self.durable, offset, &data[..kept]);
                    if tear == Tear::Zeroed {
                        let start = offset + kept;
                        let old = self.durable.get(start..).unwrap_or_default();
                        let lost: Vec<u8> = (kept..data.len())
                            .map(|at| data[at] * u8::from(old.get(at - kept) == Some(&data[at])))
                            .collect();
                        Self::write(&mut self.durable, start, &lost);
                    }
                }
                Tear::Scattered => {
                    let mut at = 0;
                    while at < data.len() {
                        let end = data.len().min(at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES);
                        if sector % 2 == 1 {
                            Self::write(&mut self.durable, offset + at, &data[at..end]);
                        }
                        sector += 1;
                        at = end;
                    }
                }
            }
        }
        self.bytes.clone_from(&self.durable);
    }
}

impl State {
    /// Counts an operation; an error if it is to fail.
    fn operation(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        let fails = self
            .fault
            .is_some_and(|(at, fault)| number == at || (fault == Fault::Persistent && number > at));
        if fails {
            self.met = true;
            return Err(io::Error::other(format!("injected fault at operation {number}")));
        }
        Ok(())
    }

    fn end_process(&mut self) {
        self.generation += 1;
        self.fault = None;
        self.syncs_held = false;
        self.locks.clear();
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}

impl FaultyDisk {
    /// The disk for one process: what it does after a crash or a kill fails.
    pub fn mount(&self) -> Arc<dyn FileSystem> {
        let generation = self.lock_state().generation;
        Arc::new(Mount { disk: self.clone(), generation })
    }

    /// Makes the operation with this number fail, counted from 0 over the disk's life.
    pub fn fail_at(&self, operation: usize, fault: Fault) {
        self.lock_state().fault = Some((operation, fault));
    }

    /// Whether an operation has failed.
    pub fn met_fault(&self) -> bool {
        self.lock_state().met
    }

    /// Operations so far.
    pub fn operations(&self) -> usize {
        self.lock_state().operations
    }

    /// Writes so far.
    pub fn writes(&self) -> usize {
        self.lock_state().writes
    }

    /// Syncs of files so far; those that are held do not count yet.
    pub fn syncs(&self) -> usize {
        self.lock_state().syncs
    }

    /// Holds up every sync of a file until the value is dropped.
    pub fn hold_syncs(&self) -> SyncHold {
        self.lock_state().syncs_held = true;
        SyncHold { disk: self.clone() }
    }

    /// Kills the process, not the machine: handles and locks are dead and the fault is mended, but
    /// what was not synced is still there to be read, and to be lost in a later crash.
    pub fn kill(&self) {
        let mut state = self.lock_state();
        state.end_process();
        drop(state);
        self.shared.sync_released.notify_all();
    }

    /// Cuts the power: what was not synced is lost as told, all handles and locks are dead, and the
    /// fault is mended.
    pub fn crash(&self, tear: Tear, names: Names) {
        let mut state = self.lock_state();
        let state = &mut *state;
        state.end_process();
        self.shared.sync_released.notify_all();
        for inode in &mut state.inodes {
            inode.crash(tear);
        }
        let changes = std::mem::take(&mut state.name_changes);
        let half = changes.len() / 2;
        for (at, change) in changes.iter().enumerate() {
            let kept = match names {
                Names::Lost => false,
                Names::Half => at < half,
                Names::Scattered => at % 2 == 1,
                Names::Kept => true,
            };
            if kept {
                change.apply(&mut state.durable_names);
            }
        }
        state.names.clone_from(&state.durable_names);
    }

    /// The files below a directory, in order.
    pub fn paths(&self, dir: &Path) -> Vec<PathBuf> {
        self.lock_state().names.keys().filter(|path| path.starts_with(dir)).cloned().collect()
    }

    /// A file's bytes; `None` if there is no such file.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.lock_state();
        state.names.get(path).map(|&inode| state.inodes[inode].bytes.clone())
    }

    /// Replaces a file's bytes behind everybody's back, durably: damage. Makes it if absent.
    pub fn damage(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.lock_state();
        let inode = Inode { bytes: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() };
        let number = match state.names.get(path) {
            Some(&number) => {
                state.inodes[number] = inode;
                number
            }
            None => {
                state.inodes.push(inode);
                state.inodes.len() - 1
            }
        };
        state.names.insert(path.to_owned(), number);
        state.durable_names.insert(path.to_owned(), number);
    }

    /// A disk with the same files, all durable, and nothing else in common.
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        for path in self.paths(Path::new("")) {
            if let Some(bytes) = self.bytes(&path) {
                copy.damage(&path, &bytes);
            }
        }
        copy.lock_state().directories.clone_from(&self.lock_state().directories);
        copy
    }

    /// Another disk in the same state, with all that is not synced, that has met no fault yet. No
    /// process has it open.
    pub fn twin(&self) -> Self {
        let state = self.lock_state();
        let twin = State {
            inodes: state.inodes.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            name_changes: state.name_changes.clone(),
            directories: state.directories.clone(),
            operations: state.operations,
            ..State::default()
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(twin), ..Shared::default() }) }
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }
}

/// Holds up syncs until it is dropped: see [`FaultyDisk::hold_syncs`].
#[derive(Debug)]
pub struct SyncHold {
    disk: FaultyDisk,
}

impl SyncHold {
    /// Waits until a sync is held up.
    pub fn wait_for_sync(&self) {
        let mut state = self.disk.lock_state();
        while state.syncs_waiting == 0 {
            self.disk.shared.sync_released.wait(&mut state);
        }
    }
}

impl Drop for SyncHold {
    fn drop(&mut self) {
        self.disk.lock_state().syncs_held = false;
        self.disk.shared.sync_released.notify_all();
    }
}

/// A [`FaultyDisk`] as one process sees it: after a crash or a kill it does nothing more.
#[derive(Clone, Debug)]
pub struct Mount {
    disk: FaultyDisk,
    generation: usize,
}

impl Mount {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock_state();
        if state.generation == self.generation {
            Ok(state)
        } else {
            Err(io::Error::other("the process has ended"))
        }
    }
}

impl FileSystem for Mount {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.operation()?;
        state.directories.insert(path.to_owned());
        Ok(())
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let mut state = self.state()?;
        state.operation()?;
        let known = state.names.get(path).copied();
        let inode = match (access, known) {
            (Access::Read | Access::Write, Some(inode)) => inode,
            (Access::Read | Access::Write, None) => return Err(io::ErrorKind::NotFound.into()),
            // An emptied file is a new one here: its old bytes go only when the name is synced.
            (Access::Create, _) => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.change(NameChange::Create(path.to_owned(), inode));
                inode
            }
        };
        Ok(Box::new(Handle { mount: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.operation()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.operation()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state()?;
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.operation()?;
        let changes = std::mem::take(&mut state.name_changes);
        let (synced, rest) =
            changes.into_iter().partition(|change: &NameChange| change.dir() == Some(dir));
        state.name_changes = rest;
        let synced: Vec<NameChange> = synced;
        for change in synced {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state()?;
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(HeldLock { mount: self.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct Handle {
    mount: Mount,
    inode: usize,
}

impl File for Handle {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.mount.state()?.inodes[self.inode].bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.mount.state()?;
        let bytes = &state.inodes[self.inode].bytes;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let len = buffer.len().min(bytes.len() - start);
        buffer[..len].copy_from_slice(&bytes[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.mount.state()?;
        state.writes += 1;
        let result = state.operation();
        let written = if result.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let inode = &mut state.inodes[self.inode];
        Inode::write(&mut inode.bytes, offset, written);
        inode.unsynced.push((offset, written.to_vec()));
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.mount.state()?;
        while state.syncs_held && state.generation == self.mount.generation {
            state.syncs_waiting += 1;
            self.mount.disk.shared.sync_released.notify_all();
            self.mount.disk.shared.sync_released.wait(&mut state);
            state.syncs_waiting -= 1;
        }
        if state.generation != self.mount.generation {
            return Err(io::Error::other("the machine has crashed"));
        }
        state.syncs += 1;
        let result = state.operation();
        if result.is_err() && state.fault.is_some_and(|(_, fault)| fault == Fault::Persistent) {
            return result;
        }
        let inode = &mut state.inodes[self.inode];
        let unsynced = std::mem::take(&mut inode.unsynced);
        if result.is_ok() {
            for (offset, data) in unsynced {
                Inode::write(&mut inode.durable, offset, &data);
            }
        }
        result
    }
}

#[derive(Debug)]
struct HeldLock {
    mount: Mount,
    path: PathBuf,
}

impl Lock for HeldLock {}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if let Ok(mut state) = self.mount.state() {
            state.locks.remove(&self.path);
        }
    }
}
