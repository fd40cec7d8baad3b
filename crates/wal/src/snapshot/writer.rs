//! Writing a snapshot.

use std::io;
use std::path::PathBuf;

use bitroster_types::GroupId;
use bitroster_types::limits::SNAPSHOT_CHUNK_BYTES;

use super::SnapshotStore;
use super::format::{CHUNK_HEADER_BYTES, Footer, Header, chunk_header};
use crate::error::{Error, IoFailure};
use crate::file_system::{Access, File};

/// A sync every few chunks keeps the log's own syncs from waiting behind gigabytes.
const CHUNKS_PER_SYNC: u64 = 8;

/// A snapshot that is being written, through [`io::Write`]. Holds one chunk. Dropping it before
/// [`SnapshotWriter::finish`] removes what was written.
#[derive(Debug)]
pub struct SnapshotWriter {
    store: SnapshotStore,
    file: Box<dyn File>,
    path: PathBuf,
    group: GroupId,
    index: u64,
    /// Room for a chunk's header, then its bytes.
    chunk: Vec<u8>,
    offset: u64,
    footer: Footer,
    failure: Option<IoFailure>,
    finished: bool,
}

impl SnapshotWriter {
    pub(super) fn create(
        store: SnapshotStore,
        path: PathBuf,
        header: Header<'_>,
    ) -> Result<Self, Error> {
        let file = store.shared.data.fs().open(&path, Access::Create);
        let file = file.map_err(IoFailure::at("create", &path))?;
        let bytes = header.encode();
        let writer = Self {
            store,
            file,
            path,
            group: header.group,
            index: header.index,
            chunk: vec![0; CHUNK_HEADER_BYTES],
            offset: bytes.len() as u64,
            footer: Footer::default(),
            failure: None,
            finished: false,
        };
        writer.file.write_at(&bytes, 0).map_err(IoFailure::at("write", &writer.path))?;
        Ok(writer)
    }

    /// Bytes written so far.
    pub fn len_bytes(&self) -> u64 {
        self.footer.total_bytes + (self.chunk.len() - CHUNK_HEADER_BYTES) as u64
    }

    /// Makes the snapshot durable, gives it its name and removes the group's older ones. Returns
    /// its length in bytes. Blocks for the disk.
    ///
    /// If the store has a newer snapshot of the group by now, that one stays the newest and this
    /// one is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: an earlier write's failure, or one now. The snapshot before is untouched,
    /// unless it is only the removal of older ones that failed.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.end_chunk()?;
        let footer = self.footer.encode();
        self.file.write_at(&footer, self.offset).map_err(IoFailure::at("write", &self.path))?;
        self.file.sync().map_err(IoFailure::at("sync", &self.path))?;
        let store = &self.store;
        let _names = store.shared.names.lock();
        let newest = store.groups()?.into_iter().find(|&(held, _)| held == self.group);
        if newest.is_some_and(|(_, index)| index > self.index) {
            return Ok(self.footer.total_bytes);
        }
        let path = store.path(self.group, self.index);
        let renamed = store.shared.data.fs().rename(&self.path, &path);
        renamed.map_err(IoFailure::at("rename", &self.path))?;
        self.finished = true;
        store.sync_names()?;
        store.remove_before(self.group, Some(self.index))?;
        Ok(self.footer.total_bytes)
    }

    /// Writes the chunk that has gathered, if any.
    fn end_chunk(&mut self) -> Result<(), IoFailure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = self.write_chunk();
        self.failure = result.clone().err();
        result
    }

    fn write_chunk(&mut self) -> Result<(), IoFailure> {
        let (space, bytes) = self.chunk.split_at_mut(CHUNK_HEADER_BYTES);
        if bytes.is_empty() {
            return Ok(());
        }
        let header = chunk_header(self.footer.chunks, bytes);
        space.copy_from_slice(&header);
        let [.., c0, c1, c2, c3] = header;
        self.footer.add(bytes.len(), u32::from_le_bytes([c0, c1, c2, c3]));
        self.file.write_at(&self.chunk, self.offset).map_err(IoFailure::at("write", &self.path))?;
        self.offset += self.chunk.len() as u64;
        self.chunk.truncate(CHUNK_HEADER_BYTES);
        if self.footer.chunks.is_multiple_of(CHUNKS_PER_SYNC) {
            self.file.sync().map_err(IoFailure::at("sync", &self.path))?;
        }
        Ok(())
    }
}

impl io::Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let full = CHUNK_HEADER_BYTES + SNAPSHOT_CHUNK_BYTES;
        if self.chunk.len() == full {
            self.end_chunk()?;
        }
        let len = bytes.len().min(full - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    /// Does nothing: a snapshot is worth something only when it is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = self.store.shared.data.fs().remove(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "left a half-made snapshot");
        }
    }
}
