//! The encoding of a value for snapshots, transfers and `DUMP`-like uses.
//!
//! Version 1, numbers little-endian, `varint` as in LEB128:
//!
//! ```text
//! version: u8 = 1
//! length in bytes: varint
//! up to 64 bytes: the bytes
//! beyond: containers: varint, then each, ascending:
//!     chunks skipped since the last: varint
//!     form: u8
//!         0 full
//!         1 array: values: varint, then u16 each, ascending
//!         2 dense: the bytes, 8192 or up to the value's end
//!         3 runs: runs: varint, then (first: u16, last: u16) each, ascending, with gaps
//! crc32c of all before: u32
//! ```

use bitroster_types::limits::{BITMAP_BITS_MAX, SMALL_VALUE_BYTES_MAX};

use crate::address::{CHUNK_BITS, CHUNK_BYTES, narrow_size, size};
use crate::bitmap::Bitmap;
use crate::container::{Container, Run, collect};
use crate::tree::{Builder, Tree};

const VERSION: u8 = 1;
const FULL: u8 = 0;
const ARRAY: u8 = 1;
const DENSE: u8 = 2;
const RUNS: u8 = 3;

/// Most values of an encoded array: more are no shorter than a dense chunk.
const ARRAY_MAX: usize = 4096;

/// Why bytes are not an encoded bitmap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too soon.
    #[error("an encoded bitmap ends early, at byte {at}")]
    Truncated {
        /// The number of bytes.
        at: usize,
    },
    /// The checksum differs: the bytes were damaged.
    #[error("checksum of an encoded bitmap is {found:#010x}, not {expected:#010x}")]
    Checksum {
        /// The checksum stored.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// A version that this build does not know.
    #[error("version {version} of an encoded bitmap is unknown")]
    Version {
        /// The version stored.
        version: u8,
    },
    /// The parts contradict each other or a limit.
    #[error("encoded bitmap is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

/// The error for `what`.
fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Malformed { what }
}

/// The unread rest of the input.
struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(DecodeError::Truncated { at: self.len })?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed("number too long"))
    }

    /// A count of items of `bytes` bytes each, at most `most`, that the input can hold.
    fn count(&mut self, bytes: usize, most: usize) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        if count == 0 || count > most as u64 {
            return Err(malformed("count out of bounds"));
        }
        let count = size(count);
        if count * bytes > self.rest.len() {
            return Err(DecodeError::Truncated { at: self.len });
        }
        Ok(count)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7F) as u8);
}

impl Bitmap {
    /// Appends the value in the form above. Costs per container, and a copy of every payload.
    ///
    /// ```
    /// # use bitroster_bitmap::Bitmap;
    /// let mut bytes = Vec::new();
    /// Bitmap::from_bytes(b"abc").encode(&mut bytes);
    /// assert_eq!(Bitmap::decode(&bytes).unwrap(), Bitmap::from_bytes(b"abc"));
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(VERSION);
        put_varint(out, self.len_bytes());
        match (self.tree(), self.as_flat()) {
            (Some(tree), _) => encode_tree(tree, out),
            (None, bytes) => out.extend_from_slice(bytes.unwrap_or_default()),
        }
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Reads a value that [`encode`](Self::encode) wrote. Allocates in proportion to the input.
    ///
    /// # Errors
    ///
    /// Any input that is not exactly one encoded value; see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (body, crc) =
            bytes.split_last_chunk::<4>().ok_or(DecodeError::Truncated { at: bytes.len() })?;
        let (expected, found) = (u32::from_le_bytes(*crc), crc32c::crc32c(body));
        if expected != found {
            return Err(DecodeError::Checksum { expected, found });
        }
        let mut reader = Reader { rest: body, len: body.len() };
        let version = reader.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version { version });
        }
        let len = reader.varint()?;
        if len > BITMAP_BITS_MAX / 8 {
            return Err(malformed("length beyond the limit"));
        }
        let value = if len <= SMALL_VALUE_BYTES_MAX as u64 {
            Self::from_bytes(reader.take(size(len))?)
        } else {
            decode_tree(&mut reader, len)?
        };
        if reader.rest.is_empty() { Ok(value) } else { Err(malformed("bytes after the end")) }
    }
}

fn encode_tree(tree: &Tree, out: &mut Vec<u8>) {
    put_varint(out, tree.containers(0).count() as u64);
    let (mut next, mut collected) = (0, Vec::new());
    for (chunk, container) in tree.containers(0) {
        put_varint(out, chunk - next);
        next = chunk + 1;
        match container {
            Container::Tiny { .. } | Container::Array(_) => {
                encode_array(container.values().unwrap_or_default(), out);
            }
            Container::Dense { card, page } if is_shorter_as_array(*card, chunk, tree.len()) => {
                collect(page, *card, &mut collected);
                encode_array(&collected, out);
            }
            Container::Dense { page, .. } => {
                out.push(DENSE);
                out.extend_from_slice(&page.0[..dense_bytes(chunk, tree.len())]);
            }
            Container::Runs { runs, .. } => {
                out.push(RUNS);
                put_varint(out, runs.len() as u64);
                for run in runs.iter() {
                    out.extend_from_slice(&run.start.to_le_bytes());
                    out.extend_from_slice(&run.last.to_le_bytes());
                }
            }
            Container::Full => out.push(FULL),
        }
    }
}

fn encode_array(values: &[u16], out: &mut Vec<u8>) {
    out.push(ARRAY);
    put_varint(out, values.len() as u64);
    put_values(values, out);
}

/// Appends values, little-endian.
pub(crate) fn put_values(values: &[u16], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn is_shorter_as_array(card: u32, chunk: u64, len: u64) -> bool {
    2 * (card as usize) < dense_bytes(chunk, len)
}

/// The bytes of a dense chunk, which the value's end may cut.
fn dense_bytes(chunk: u64, len: u64) -> usize {
    size((len - chunk * CHUNK_BYTES as u64).min(CHUNK_BYTES as u64))
}

fn decode_tree(reader: &mut Reader<'_>, len: u64) -> Result<Bitmap, DecodeError> {
    let containers = reader.varint()?;
    let mut builder = Builder::default();
    let mut next = 0u64;
    for _ in 0..containers {
        let chunk = next.saturating_add(reader.varint()?);
        if chunk >= len.div_ceil(CHUNK_BYTES as u64) {
            return Err(malformed("container past the length"));
        }
        next = chunk + 1;
        let container = decode_container(reader, dense_bytes(chunk, len))?;
        let last = container.last_set().ok_or(malformed("empty container"))?;
        if chunk * u64::from(CHUNK_BITS) + u64::from(last) >= len * 8 {
            return Err(malformed("bit past the length"));
        }
        builder.push(chunk, container);
    }
    Ok(Bitmap::from_tree(builder.finish(len)))
}

fn decode_container(reader: &mut Reader<'_>, dense: usize) -> Result<Container, DecodeError> {
    match reader.byte()? {
        FULL => Ok(Container::Full),
        ARRAY => {
            let count = reader.count(2, ARRAY_MAX)?;
            array_from(reader.take(2 * count)?).ok_or(malformed("array not ascending"))
        }
        DENSE => Ok(Container::from_bytes(reader.take(dense)?)),
        RUNS => {
            let count = reader.count(4, 1 << 15)?;
            let (pairs, _) = reader.take(4 * count)?.as_chunks::<4>();
            let pairs = pairs
                .iter()
                .map(|[a, b, c, d]| (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d])));
            runs_from(pairs).ok_or(malformed("runs not ascending"))
        }
        _ => Err(malformed("unknown form of container")),
    }
}

/// The container of little-endian values, if they ascend.
pub(crate) fn array_from(bytes: &[u8]) -> Option<Container> {
    let values: Vec<u16> =
        bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    values.is_sorted_by(|a, b| a < b).then(|| Container::from_sorted(&values))
}

/// The container of pairs of first and last bit, if they ascend; touching runs are joined.
pub(crate) fn runs_from(pairs: impl Iterator<Item = (u16, u16)>) -> Option<Container> {
    let mut runs: Vec<Run> = Vec::with_capacity(pairs.size_hint().0);
    for (start, last) in pairs {
        if last < start {
            return None;
        }
        match runs.last_mut() {
            Some(before) if start <= before.last => return None,
            Some(before) if start == before.last + 1 => before.last = last,
            _ => runs.push(Run { start, last }),
        }
    }
    debug_assert!(narrow_size(runs.len()) <= CHUNK_BITS / 2);
    (!runs.is_empty()).then(|| Container::from_runs(&runs))
}
