//! A stream of bytes as checksummed blocks.

use std::io::{self, Read, Write};

use bitroster_types::limits::SNAPSHOT_BLOCK_BYTES_MAX;

use super::{FORMAT, FORMAT_MIN, MAGIC, RestoreError};

/// Blocks are cut near this size, well below the longest.
const BLOCK_BYTES: usize = 256 << 10;

/// Cuts a stream into blocks.
pub(super) struct BlockWriter<'a, W> {
    out: &'a mut W,
    block: Vec<u8>,
}

impl<'a, W: Write> BlockWriter<'a, W> {
    pub(super) fn new(out: &'a mut W) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&FORMAT.to_le_bytes())?;
        Ok(Self { out, block: Vec::with_capacity(BLOCK_BYTES) })
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.block.len() + bytes.len() >= BLOCK_BYTES {
            let (now, later) = bytes.split_at(BLOCK_BYTES - self.block.len());
            self.block.extend_from_slice(now);
            self.flush_block()?;
            bytes = later;
        }
        self.block.extend_from_slice(bytes);
        Ok(())
    }

    fn flush_block(&mut self) -> io::Result<()> {
        let len = u32::try_from(self.block.len()).expect("blocks are cut far below 4 GiB");
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(&crc32c::crc32c(&self.block).to_le_bytes())?;
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.flush_block()?;
        }
        self.out.flush()
    }
}

/// Joins blocks to a stream again; nothing comes out before its checksum held.
pub(super) struct BlockReader<'a, R> {
    input: &'a mut R,
    block: Vec<u8>,
    at: usize,
    format: u16,
}

impl<'a, R: Read> BlockReader<'a, R> {
    pub(super) fn new(input: &'a mut R) -> Result<Self, RestoreError> {
        let mut head = [0; MAGIC.len() + 2];
        input.read_exact(&mut head)?;
        let [magic @ .., low, high] = head;
        let format = u16::from_le_bytes([low, high]);
        if magic != MAGIC || !(FORMAT_MIN..=FORMAT).contains(&format) {
            return Err(RestoreError::Format);
        }
        Ok(Self { input, block: Vec::new(), at: 0, format })
    }

    /// The version of the form.
    pub(super) fn format(&self) -> u16 {
        self.format
    }

    fn next_block(&mut self) -> Result<(), RestoreError> {
        let mut head = [0; 8];
        self.input.read_exact(&mut head)?;
        let [len, expected] =
            [0, 4].map(|at| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")));
        if len == 0 || len as usize > SNAPSHOT_BLOCK_BYTES_MAX {
            return Err(RestoreError::Malformed("length of a block"));
        }
        self.at = 0;
        self.block.clear();
        self.input.by_ref().take(u64::from(len)).read_to_end(&mut self.block)?;
        if self.block.len() != len as usize {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let found = crc32c::crc32c(&self.block);
        if found != expected {
            return Err(RestoreError::Checksum { expected, found });
        }
        Ok(())
    }

    /// Fills `out`.
    pub(super) fn take(&mut self, mut out: &mut [u8]) -> Result<(), RestoreError> {
        while !out.is_empty() {
            if self.at == self.block.len() {
                self.next_block()?;
            }
            let len = out.len().min(self.block.len() - self.at);
            let (now, later) = out.split_at_mut(len);
            now.copy_from_slice(&self.block[self.at..self.at + len]);
            self.at += len;
            out = later;
        }
        Ok(())
    }

    /// The next `len` bytes, in a buffer that grows as they arrive.
    pub(super) fn take_vec(&mut self, len: u64) -> Result<Vec<u8>, RestoreError> {
        let mut bytes = Vec::new();
        let mut left = len;
        while left > 0 {
            if self.at == self.block.len() {
                self.next_block()?;
            }
            let here = &self.block[self.at..];
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(here.len());
            bytes.extend_from_slice(&here[..now]);
            self.at += now;
            left -= now as u64;
        }
        Ok(bytes)
    }

    pub(super) fn take_array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
    }
}
