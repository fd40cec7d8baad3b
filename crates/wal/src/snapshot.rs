//! Snapshot files: one state of one group, streamed to and from the disk.
//!
//! A file appears under its name whole and synced, or not at all. It is cut into chunks with a
//! checksum each, so that damage is found where it lies, and reader and writer hold one chunk, of
//! at most 1 MiB. `docs/file-formats.md` holds the table.

mod format;
mod reader;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitroster_types::GroupId;
use bitroster_types::limits::SNAPSHOT_META_BYTES_MAX;
use parking_lot::Mutex;

use crate::data_dir::DataDir;
use crate::error::{Error, IoFailure};

pub use reader::SnapshotReader;
pub use writer::SnapshotWriter;

const FOLDER_NAME: &str = "snapshots";
const EXTENSION: &str = "snap";
const TEMPORARY_EXTENSION: &str = "tmp";

/// The snapshots of a data directory. Clones share it.
///
/// Of each group, the newest is kept: once a newer one is durable, those before it are removed.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    data: DataDir,
    dir: PathBuf,
    /// Distinguishes temporary files.
    serial: AtomicU64,
    /// Held while names change, so that the newest snapshot stays the newest.
    names: Mutex<()>,
}

impl SnapshotStore {
    /// Opens the snapshots of a data directory and removes what a crash left half made.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn open(data: &DataDir) -> Result<Self, Error> {
        let dir = data.folder(FOLDER_NAME)?;
        let names = data.fs().list(&dir).map_err(IoFailure::at("list", &dir))?;
        for name in names {
            if name.split_once('.').is_some_and(|(_, extension)| extension == TEMPORARY_EXTENSION) {
                let path = dir.join(name);
                data.fs().remove(&path).map_err(IoFailure::at("remove", &path))?;
            }
        }
        // A snapshot that is seen may be relied on from now on.
        data.fs().sync_dir(&dir).map_err(IoFailure::at("sync directory", &dir))?;
        let shared =
            Shared { data: data.clone(), dir, serial: AtomicU64::new(0), names: Mutex::new(()) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Begins a snapshot of `group` as of the entry at `index`. `meta` describes it: opaque, at
    /// most 1 MiB, returned by [`SnapshotReader::meta`].
    ///
    /// Nothing is visible until [`SnapshotWriter::finish`].
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Io`].
    pub fn create(&self, group: GroupId, index: u64, meta: &[u8]) -> Result<SnapshotWriter, Error> {
        if meta.len() > SNAPSHOT_META_BYTES_MAX {
            let (len, max) = (meta.len(), SNAPSHOT_META_BYTES_MAX);
            return Err(Error::TooLong { what: "snapshot description", len, max });
        }
        let serial = self.shared.serial.fetch_add(1, Ordering::Relaxed);
        let path = self.shared.dir.join(format!("{:05}-{serial}.{TEMPORARY_EXTENSION}", group.0));
        SnapshotWriter::create(self.clone(), path, format::Header { group, index, meta })
    }

    /// Opens the newest snapshot of a group; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] or [`Error::Format`] if the newest one is not whole. An older one is
    /// never taken in its place: the log before the newest may be purged. [`Error::Io`].
    pub fn latest(&self, group: GroupId) -> Result<Option<SnapshotReader>, Error> {
        let _names = self.shared.names.lock();
        let newest = self.list()?.into_iter().filter(|&(held, _)| held == group).max();
        let Some((_, index)) = newest else {
            return Ok(None);
        };
        let reader = SnapshotReader::open(&self.shared.data, &self.path(group, index))?;
        if (reader.group(), reader.index()) != (group, index) {
            let reason = "the snapshot is that of another group or index";
            return Err(Error::damaged(reader.path(), 0, reason));
        }
        Ok(Some(reader))
    }

    /// The groups that have a snapshot, in order, with the index of the newest.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn groups(&self) -> Result<Vec<(GroupId, u64)>, Error> {
        let mut found = self.list()?;
        found.sort_unstable_by_key(|&(group, index)| (group, std::cmp::Reverse(index)));
        found.dedup_by_key(|&mut (group, _)| group);
        Ok(found)
    }

    /// Removes all snapshots of a group, durably. For a replica that has left this node.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn remove_group(&self, group: GroupId) -> Result<(), Error> {
        let _names = self.shared.names.lock();
        self.remove_before(group, None)?;
        self.sync_names()
    }

    fn list(&self) -> Result<Vec<(GroupId, u64)>, Error> {
        let Shared { data, dir, .. } = &*self.shared;
        let names = data.fs().list(dir).map_err(IoFailure::at("list", dir))?;
        Ok(names.iter().filter_map(|name| parse_name(name)).collect())
    }

    fn path(&self, group: GroupId, index: u64) -> PathBuf {
        self.shared.dir.join(format!("{:05}-{index:020}.{EXTENSION}", group.0))
    }

    /// Removes the snapshots of a group before `index`, or all.
    fn remove_before(&self, group: GroupId, index: Option<u64>) -> Result<(), Error> {
        for (held, held_index) in self.list()? {
            if held == group && index.is_none_or(|index| held_index < index) {
                let path = self.path(held, held_index);
                self.shared.data.fs().remove(&path).map_err(IoFailure::at("remove", &path))?;
            }
        }
        Ok(())
    }

    fn sync_names(&self) -> Result<(), Error> {
        let dir = &self.shared.dir;
        Ok(self.shared.data.fs().sync_dir(dir).map_err(IoFailure::at("sync directory", dir))?)
    }
}

fn parse_name(name: &str) -> Option<(GroupId, u64)> {
    let (stem, EXTENSION) = name.split_once('.')? else {
        return None;
    };
    let (group, index) = stem.split_once('-')?;
    let digits = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(group, 5) || !digits(index, 20) {
        return None;
    }
    Some((GroupId(group.parse().ok()?), index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_store_gives_are_taken_for_snapshots() {
        assert_eq!(parse_name("00007-00000000000000000123.snap"), Some((GroupId(7), 123)));
        for name in ["7-123.snap", "00007-00000000000000000123.tmp", "99999-1.snap", "x", ""] {
            assert_eq!(parse_name(name), None, "{name:?}");
        }
    }
}
