//! Reading a snapshot.

use std::io;
use std::path::{Path, PathBuf};

use bitroster_types::GroupId;

use super::format::{
    CHUNK_HEADER_BYTES, FOOTER_BYTES, FixedHeader, Footer, HEADER_BYTES, chunk_crc,
    decode_chunk_header,
};
use crate::data_dir::DataDir;
use crate::error::{Error, IoFailure};
use crate::file_system::{Access, File, read_full};

/// A snapshot that is being read, through [`io::Read`]. Holds one chunk.
///
/// Bytes are handed out after their chunk's checksum passed; damage is an
/// [`io::ErrorKind::InvalidData`]. The file may be replaced meanwhile: the reader keeps its own.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Box<dyn File>,
    path: PathBuf,
    group: GroupId,
    index: u64,
    meta: Vec<u8>,
    chunk: Vec<u8>,
    /// Bytes of the chunk that were handed out.
    taken: usize,
    offset: u64,
    /// What was read so far.
    read: Footer,
    footer: Footer,
}

impl SnapshotReader {
    /// Opens a file and checks its header, its footer and its length, not its chunks.
    pub(super) fn open(data: &DataDir, path: &Path) -> Result<Self, Error> {
        let file = data.fs().open(path, Access::Read).map_err(IoFailure::at("open", path))?;
        let len = file.len_bytes().map_err(IoFailure::at("measure", path))?;
        let read = |buffer: &mut [u8], offset| {
            read_full(&*file, buffer, offset).map_err(IoFailure::at("read", path))
        };
        let mut fixed = [0; HEADER_BYTES];
        let got = read(&mut fixed, 0)?;
        let header = FixedHeader::decode(&fixed[..got], path)?;
        let mut meta = vec![0; header.meta_bytes];
        let got = read(&mut meta, HEADER_BYTES as u64)?;
        if got < meta.len() || !header.check(&fixed, &meta) {
            return Err(Error::damaged(path, 0, "the header does not match its checksum"));
        }
        let offset = (HEADER_BYTES + meta.len()) as u64;
        let footer_offset = len.saturating_sub(FOOTER_BYTES as u64);
        let mut bytes = [0; FOOTER_BYTES];
        read(&mut bytes, footer_offset)?;
        let footer = Footer::decode(&bytes)
            .filter(|footer| footer.file_bytes(offset) == Some(len))
            .ok_or_else(|| Error::damaged(path, footer_offset, "the snapshot is not whole"))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            group: header.group,
            index: header.index,
            meta,
            chunk: Vec::new(),
            taken: 0,
            offset,
            read: Footer::default(),
            footer,
        })
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The index of the last entry that the snapshot contains.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The description given to [`SnapshotStore::create`](super::SnapshotStore::create).
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// Bytes of the whole snapshot, without header and checksums.
    pub fn len_bytes(&self) -> u64 {
        self.footer.total_bytes
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the next chunk; `false` at the end.
    fn next_chunk(&mut self) -> Result<bool, Error> {
        if self.read.chunks == self.footer.chunks {
            if self.read != self.footer {
                let reason = "the chunks do not add up to the whole";
                return Err(Error::damaged(&self.path, self.offset, reason));
            }
            return Ok(false);
        }
        let damaged = |reason| Error::damaged(&self.path, self.offset, reason);
        let read = |buffer: &mut [u8], offset| {
            read_full(&*self.file, buffer, offset).map_err(IoFailure::at("read", &self.path))
        };
        let mut header = [0; CHUNK_HEADER_BYTES];
        read(&mut header, self.offset)?;
        let (len, crc) =
            decode_chunk_header(header).ok_or_else(|| damaged("no chunk has that length"))?;
        self.chunk.resize(len, 0);
        self.taken = len;
        let got = read(&mut self.chunk, self.offset + CHUNK_HEADER_BYTES as u64)?;
        if got < len || chunk_crc(self.read.chunks, &self.chunk) != crc {
            return Err(damaged("a chunk does not match its checksum"));
        }
        self.taken = 0;
        self.offset += (CHUNK_HEADER_BYTES + len) as u64;
        self.read.add(len, crc);
        Ok(true)
    }
}

impl io::Read for SnapshotReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.taken == self.chunk.len() && !self.next_chunk()?) {
            return Ok(0);
        }
        let left = &self.chunk[self.taken..];
        let len = left.len().min(buffer.len());
        buffer[..len].copy_from_slice(&left[..len]);
        self.taken += len;
        Ok(len)
    }
}
