//! A snapshot file's bytes: header, chunks, footer.

use std::path::Path;

use bitroster_types::GroupId;
use bitroster_types::limits::{SNAPSHOT_CHUNK_BYTES, SNAPSHOT_META_BYTES_MAX};

use crate::error::Error;

const MAGIC: [u8; 8] = *b"BITRSNAP";
const FORMAT: u32 = 1;

/// Bytes of a header before its description.
pub(super) const HEADER_BYTES: usize = 40;

/// Bytes before a chunk's own.
pub(super) const CHUNK_HEADER_BYTES: usize = 8;

/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 32;

/// What a snapshot file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) group: GroupId,
    pub(super) index: u64,
    pub(super) meta: &'a [u8],
}

/// A header's fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FixedHeader {
    pub(super) group: GroupId,
    pub(super) index: u64,
    pub(super) meta_bytes: usize,
    crc: u32,
}

impl Header<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let meta_bytes = u32::try_from(self.meta.len()).expect("descriptions are at most a MiB");
        let mut out = Vec::with_capacity(HEADER_BYTES + self.meta.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&u64::from(self.group.0).to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&meta_bytes.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(self.meta);
        let crc = crc32c::crc32c(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

impl FixedHeader {
    /// Reads the fixed part. Its checksum also covers the description: see [`FixedHeader::check`].
    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let damaged = |reason| Error::damaged(path, 0, reason);
        let bytes: &[u8; HEADER_BYTES] =
            bytes.try_into().map_err(|_| damaged("the file is shorter than a header"))?;
        if bytes[..8] != MAGIC {
            return Err(damaged("no snapshot's header"));
        }
        let found = u32_at(bytes, 8);
        if found != FORMAT {
            return Err(Error::Format { path: path.to_owned(), found, supported: FORMAT });
        }
        let group = u16::try_from(u64_at(bytes, 16)).map_err(|_| damaged("group is no number"))?;
        let meta_bytes = u32_at(bytes, 32) as usize;
        if meta_bytes > SNAPSHOT_META_BYTES_MAX {
            return Err(damaged("the description is longer than the limit"));
        }
        let (group, index) = (GroupId(group), u64_at(bytes, 24));
        Ok(Self { group, index, meta_bytes, crc: u32_at(bytes, 12) })
    }

    /// Whether `bytes` (the fixed part) and `meta` are as they were written.
    pub(super) fn check(&self, bytes: &[u8], meta: &[u8]) -> bool {
        let crc = crc32c::crc32c(&bytes[..12]);
        let crc = crc32c::crc32c_append(crc, &[0; 4]);
        let crc = crc32c::crc32c_append(crc, &bytes[16..]);
        crc32c::crc32c_append(crc, meta) == self.crc
    }
}

/// The header of the chunk with this number.
pub(super) fn chunk_header(number: u64, chunk: &[u8]) -> [u8; CHUNK_HEADER_BYTES] {
    let len = u32::try_from(chunk.len()).expect("chunks are at most a MiB");
    let mut out = [0; CHUNK_HEADER_BYTES];
    out[..4].copy_from_slice(&len.to_le_bytes());
    out[4..].copy_from_slice(&chunk_crc(number, chunk).to_le_bytes());
    out
}

/// A chunk's length and checksum; `None` if no chunk has that length.
pub(super) fn decode_chunk_header(bytes: [u8; CHUNK_HEADER_BYTES]) -> Option<(usize, u32)> {
    let len = u32_at(&bytes, 0) as usize;
    (1..=SNAPSHOT_CHUNK_BYTES).contains(&len).then(|| (len, u32_at(&bytes, 4)))
}

/// The number is part of the checksum, so that chunks cannot change places.
pub(super) fn chunk_crc(number: u64, chunk: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), chunk)
}

/// What ends a snapshot: without it the file is not whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) total_bytes: u64,
    pub(super) chunks: u64,
    /// Checksum of the chunks' checksums, in order.
    pub(super) whole_crc: u32,
}

impl Footer {
    /// Takes a chunk in.
    pub(super) fn add(&mut self, chunk_bytes: usize, chunk_crc: u32) {
        self.total_bytes += chunk_bytes as u64;
        self.chunks += 1;
        self.whole_crc = crc32c::crc32c_append(self.whole_crc, &chunk_crc.to_le_bytes());
    }

    pub(super) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        out[8..16].copy_from_slice(&self.total_bytes.to_le_bytes());
        out[16..24].copy_from_slice(&self.chunks.to_le_bytes());
        out[24..28].copy_from_slice(&self.whole_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a footer; `None` if it is none.
    pub(super) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let footer = Self {
            total_bytes: u64_at(bytes, 8),
            chunks: u64_at(bytes, 16),
            whole_crc: u32_at(bytes, 24),
        };
        (footer.encode() == *bytes).then_some(footer)
    }

    /// The length of a whole file with this footer; `None` if it overflows.
    pub(super) fn file_bytes(&self, header_bytes: u64) -> Option<u64> {
        self.chunks
            .checked_mul(CHUNK_HEADER_BYTES as u64)?
            .checked_add(self.total_bytes)?
            .checked_add(header_bytes)?
            .checked_add(FOOTER_BYTES as u64)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the slice is four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice is eight bytes"))
}
