//! Log files: a header page, then frames. Each write of the log's thread is one frame (two where
//! it meets a file's end), with one checksum over its records.
//!
//! Checksums begin with the file's *salt*, a number that is new at each use of a file, so that what
//! is left of an earlier use never passes. A frame names its own offset, so that it cannot pass
//! elsewhere; and `durable`, the bytes that were synced before it was written. Recovery concludes
//! from a frame that passes that all before its `durable` was acknowledged.

/// Bytes of a file before its first frame: a page, so that no frame shares its sector.
pub(crate) const FILE_HEADER_BYTES: u64 = FILE_HEADER_LEN as u64;

/// [`FILE_HEADER_BYTES`] as the length of a buffer.
pub(crate) const FILE_HEADER_LEN: usize = 4096;

/// Bytes of a frame before its records.
pub(crate) const FRAME_HEADER_BYTES: usize = 40;

/// Every frame starts at a multiple of this.
pub(crate) const FRAME_ALIGNMENT: u64 = 8;

/// Bytes at a file's end that only the seal may use.
pub(crate) const SEAL_RESERVE_BYTES: u64 = FRAME_HEADER_BYTES as u64 + FRAME_ALIGNMENT;

const FILE_MAGIC: [u8; 8] = *b"BITRSWAL";
const FRAME_MAGIC: [u8; 4] = *b"FRAM";

/// The number of the log file's format.
pub(crate) const FILE_FORMAT: u32 = 1;

/// Encoded part of the header page; the rest of the page is zero.
const FILE_HEADER_USED_BYTES: usize = 32;

/// What a log file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// The file's place in the log: 1, 2, 3, …
    pub(crate) sequence: u64,
    /// The number of this use of the file; no other use in the data directory has it.
    pub(crate) salt: u64,
}

/// Why a header page was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Not a log file, or damaged.
    Damaged,
    /// A log file of another format.
    Format(u32),
}

impl FileHeader {
    /// The header page's bytes.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut page = Vec::with_capacity(FILE_HEADER_LEN);
        page.extend_from_slice(&FILE_MAGIC);
        page.extend_from_slice(&FILE_FORMAT.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.extend_from_slice(&self.sequence.to_le_bytes());
        page.extend_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&page);
        page[12..16].copy_from_slice(&crc.to_le_bytes());
        page.resize(FILE_HEADER_LEN, 0);
        page
    }

    /// Reads a header page, or as much of it as the file had.
    pub(crate) fn decode(page: &[u8]) -> Result<Self, HeaderFault> {
        let used = page.get(..FILE_HEADER_USED_BYTES).ok_or(HeaderFault::Damaged)?;
        if used[..8] != FILE_MAGIC {
            return Err(HeaderFault::Damaged);
        }
        let format = u32_at(used, 8);
        if format != FILE_FORMAT {
            return Err(HeaderFault::Format(format));
        }
        let crc = crc32c::crc32c(&used[..12]);
        let crc = crc32c::crc32c_append(crc, &[0; 4]);
        if crc32c::crc32c_append(crc, &used[16..]) != u32_at(used, 12) {
            return Err(HeaderFault::Damaged);
        }
        Ok(Self { sequence: u64_at(used, 16), salt: u64_at(used, 24) })
    }
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// It holds records.
    Records,
    /// It holds nothing and ends the file: all before it was synced.
    Seal,
}

/// A frame's header, without its checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it is for.
    pub(crate) kind: FrameKind,
    /// Where it starts in its file.
    pub(crate) offset: u64,
    /// Bytes of the file that were synced before it was written.
    pub(crate) durable: u64,
    /// Length of the records.
    pub(crate) body_bytes: u32,
    body_crc: u32,
}

impl Frame {
    /// The header of a frame around `body`. The body is below 4 GiB.
    pub(crate) fn new(kind: FrameKind, salt: u64, offset: u64, durable: u64, body: &[u8]) -> Self {
        let body_bytes = u32::try_from(body.len()).expect("a frame's records are below 4 GiB");
        Self { kind, offset, durable, body_bytes, body_crc: salted(salt, body) }
    }

    /// The header's bytes.
    pub(crate) fn encode(&self, salt: u64) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[32] = match self.kind {
            FrameKind::Records => 0,
            FrameKind::Seal => 1,
        };
        let crc = salted(salt, &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at `offset` of a file with this salt; `None` if there is none.
    pub(crate) fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        if bytes[..4] != FRAME_MAGIC
            || u64_at(bytes, 8) != offset
            || u32_at(bytes, 4) != salted(salt, &bytes[8..])
        {
            return None;
        }
        let kind = match bytes[32] {
            0 => FrameKind::Records,
            1 => FrameKind::Seal,
            _ => return None,
        };
        Some(Self {
            kind,
            offset,
            durable: u64_at(bytes, 16),
            body_bytes: u32_at(bytes, 24),
            body_crc: u32_at(bytes, 28),
        })
    }

    /// Whether `body` is what the frame was written around.
    pub(crate) fn matches(&self, salt: u64, body: &[u8]) -> bool {
        body.len() as u64 == u64::from(self.body_bytes) && salted(salt, body) == self.body_crc
    }

    /// Where the records start.
    pub(crate) fn body_offset(&self) -> u64 {
        self.offset + FRAME_HEADER_BYTES as u64
    }

    /// Where the next frame starts.
    pub(crate) fn next_offset(&self) -> u64 {
        (self.body_offset() + u64::from(self.body_bytes)).next_multiple_of(FRAME_ALIGNMENT)
    }
}

/// A checksum that only a reader with the same salt can reproduce. Two salts below 2^32 never give
/// the same checksum for the same bytes: a CRC finds every change within 32 bits.
fn salted(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the slice is four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice is eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_header_reads_back_and_no_flipped_bit_passes() {
        let header = FileHeader { sequence: 12, salt: 99 };
        let page = header.encode();
        assert_eq!(page.len() as u64, FILE_HEADER_BYTES);
        assert_eq!(FileHeader::decode(&page), Ok(header));
        for bit in 0..FILE_HEADER_USED_BYTES * 8 {
            let mut flipped = page.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&flipped).is_err(), "bit {bit}");
        }
        assert_eq!(FileHeader::decode(&page[..31]), Err(HeaderFault::Damaged));
    }

    #[test]
    fn a_frame_passes_only_with_its_salt_and_at_its_offset() {
        let frame = Frame::new(FrameKind::Records, 5, 4096, 4096, b"records");
        let bytes = frame.encode(5);
        assert_eq!(Frame::decode(&bytes, 5, 4096), Some(frame));
        assert_eq!(Frame::decode(&bytes, 6, 4096), None);
        assert_eq!(Frame::decode(&bytes, 5, 4104), None);
        assert!(frame.matches(5, b"records"));
        assert!(!frame.matches(6, b"records"));
        assert!(!frame.matches(5, b"record"));
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&flipped, 5, 4096), None, "bit {bit}");
        }
    }

    #[test]
    fn frames_start_at_multiples_of_eight() {
        for len in 0..20 {
            let frame = Frame::new(FrameKind::Records, 1, 4096, 4096, &vec![0; len]);
            assert_eq!(frame.next_offset() % FRAME_ALIGNMENT, 0);
            assert!(frame.next_offset() >= frame.body_offset() + len as u64);
        }
    }
}
