//! The portable Roaring formats, to exchange bitmaps with other software.
//!
//! A value of the Roaring set is a bit's offset. Within a dense container Roaring counts bits from
//! the least significant one, so that bytes are turned.
//!
//! Source: RoaringFormatSpec, the 32-bit format and its 64-bit extension.

use std::collections::BTreeMap;

use bitroster_types::limits::BITMAP_BITS_MAX;

use crate::address::{CHUNK_BYTES, narrow, narrow16, size};
use crate::bitmap::Bitmap;
use crate::codec::{array_from, put_values, runs_from};
use crate::container::Container;
use crate::kernels::Page;
use crate::tree::Builder;

/// The first number of a bitmap that has no run containers; the count of containers follows.
const COOKIE_PLAIN: u32 = 12_346;
/// The low half of the first number where there may be runs; the high half is the count less one.
const COOKIE_RUNS: u32 = 12_347;
/// With runs, fewer containers than this have no table of offsets.
const OFFSETS_MIN: usize = 4;
/// Most values of an array, by the format.
const ARRAY_MAX: usize = 4096;
/// Most containers of a 32-bit bitmap.
const CONTAINERS_MAX: usize = 1 << 16;

/// Why bytes are not a portable Roaring bitmap that fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoaringError {
    /// The bytes end too soon.
    #[error("a Roaring bitmap ends early, {missing} bytes short")]
    Truncated {
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// The parts contradict each other or the format.
    #[error("Roaring bitmap is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// A value is beyond the largest offset.
    #[error("Roaring bitmap holds a value of {value} or more; the limit is {BITMAP_BITS_MAX}")]
    Offset {
        /// The first value of the container that is beyond.
        value: u64,
    },
}

fn malformed(what: &'static str) -> RoaringError {
    RoaringError::Malformed { what }
}

/// One 32-bit bitmap as containers with their keys.
type Containers = Vec<(u16, Container)>;

impl Bitmap {
    /// The 32-bit portable form, with run containers where this value has runs. The length in bytes
    /// is not kept. `None` where a bit lies at 2^32 or beyond.
    pub fn to_roaring32(&self) -> Option<Vec<u8>> {
        let tree = self.as_tree();
        if self.last_set().is_some_and(|last| last > u64::from(u32::MAX)) {
            return None;
        }
        let containers: Vec<_> =
            tree.containers(0).map(|(chunk, c)| (narrow16(narrow(chunk)), c)).collect();
        let mut out = Vec::new();
        write32(&containers, &mut out);
        Some(out)
    }

    /// The value of a 32-bit portable bitmap, just long enough for its last bit.
    ///
    /// # Errors
    ///
    /// Any input that is not exactly one such bitmap; see [`RoaringError`]. Allocates in proportion
    /// to the input.
    pub fn from_roaring32(bytes: &[u8]) -> Result<Self, RoaringError> {
        let mut rest = bytes;
        let mut builder = Builder::default();
        for (key, container) in read32(&mut rest)? {
            builder.push(u64::from(key), container);
        }
        finish(rest, builder)
    }

    /// The 64-bit portable form: a count, then a high half and a 32-bit bitmap each. The length in
    /// bytes is not kept.
    pub fn to_roaring64(&self) -> Vec<u8> {
        let tree = self.as_tree();
        let mut groups: BTreeMap<u32, Vec<(u16, &Container)>> = BTreeMap::new();
        for (chunk, container) in tree.containers(0) {
            let key = narrow16(narrow(chunk & 0xFFFF));
            groups.entry(narrow(chunk >> 16)).or_default().push((key, container));
        }
        let mut out = (groups.len() as u64).to_le_bytes().to_vec();
        for (high, containers) in groups {
            out.extend_from_slice(&high.to_le_bytes());
            write32(&containers, &mut out);
        }
        out
    }

    /// The value of a 64-bit portable bitmap, just long enough for its last bit.
    ///
    /// # Errors
    ///
    /// Any input that is not exactly one such bitmap, or holds a value beyond the largest offset;
    /// see [`RoaringError`]. Allocates in proportion to the input.
    pub fn from_roaring64(bytes: &[u8]) -> Result<Self, RoaringError> {
        let mut rest = bytes;
        let groups = u64::from_le_bytes(take_array(&mut rest)?);
        let mut builder = Builder::default();
        let mut before: Option<u32> = None;
        for _ in 0..groups {
            let high = u32::from_le_bytes(take_array(&mut rest)?);
            if before.is_some_and(|before| before >= high) {
                return Err(malformed("high halves not ascending"));
            }
            before = Some(high);
            let value = u64::from(high) << 32;
            for (key, container) in read32(&mut rest)? {
                if value >= BITMAP_BITS_MAX {
                    return Err(RoaringError::Offset { value });
                }
                builder.push((value >> 16) + u64::from(key), container);
            }
        }
        finish(rest, builder)
    }
}

/// The value of the built containers, just long enough.
fn finish(rest: &[u8], builder: Builder) -> Result<Bitmap, RoaringError> {
    if !rest.is_empty() {
        return Err(malformed("bytes after the end"));
    }
    let tree = builder.finish(BITMAP_BITS_MAX / 8);
    let len = tree.last_set().map_or(0, |last| (last >> 3) + 1);
    Ok(Bitmap::from_tree(tree.with_len(len)))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], RoaringError> {
    let missing = count.saturating_sub(rest.len());
    let (taken, later) = rest.split_at_checked(count).ok_or(RoaringError::Truncated { missing })?;
    *rest = later;
    Ok(taken)
}

fn take_array<const COUNT: usize>(rest: &mut &[u8]) -> Result<[u8; COUNT], RoaringError> {
    let missing = COUNT.saturating_sub(rest.len());
    let (taken, later) = rest.split_first_chunk().ok_or(RoaringError::Truncated { missing })?;
    *rest = later;
    Ok(*taken)
}

/// Whether a container is written as runs.
fn as_runs(container: &Container) -> bool {
    matches!(container, Container::Runs { .. } | Container::Full)
}

/// The bytes of a container's payload.
fn payload_bytes(container: &Container) -> usize {
    match container {
        Container::Full => 6,
        Container::Runs { runs, .. } => 2 + 4 * runs.len(),
        Container::Tiny { .. } | Container::Array(_) | Container::Dense { .. } => {
            let card = container.card() as usize;
            if card <= ARRAY_MAX { 2 * card } else { CHUNK_BYTES }
        }
    }
}

/// Appends one 32-bit bitmap.
fn write32(containers: &[(u16, &Container)], out: &mut Vec<u8>) {
    let start = out.len();
    let count = containers.len();
    let runs = containers.iter().any(|(_, container)| as_runs(container));
    if runs {
        let cookie = COOKIE_RUNS | (narrow(count as u64 - 1) << 16);
        out.extend_from_slice(&cookie.to_le_bytes());
        let flags = out.len();
        out.resize(flags + count.div_ceil(8), 0);
        for (i, _) in containers.iter().enumerate().filter(|(_, (_, c))| as_runs(c)) {
            out[flags + i / 8] |= 1 << (i % 8);
        }
    } else {
        out.extend_from_slice(&COOKIE_PLAIN.to_le_bytes());
        out.extend_from_slice(&narrow(count as u64).to_le_bytes());
    }
    for (key, container) in containers {
        out.extend_from_slice(&key.to_le_bytes());
        out.extend_from_slice(&narrow16(container.card() - 1).to_le_bytes());
    }
    if !runs || count >= OFFSETS_MIN {
        let mut offset = out.len() - start + 4 * count;
        for (_, container) in containers {
            out.extend_from_slice(&narrow(offset as u64).to_le_bytes());
            offset += payload_bytes(container);
        }
    }
    containers.iter().for_each(|(_, container)| write_payload(container, out));
}

fn write_payload(container: &Container, out: &mut Vec<u8>) {
    match container {
        Container::Tiny { .. } | Container::Array(_) => {
            put_values(container.values().unwrap_or_default(), out);
        }
        Container::Dense { card, page } if *card as usize > ARRAY_MAX => {
            out.extend(page.0.iter().map(|byte| byte.reverse_bits()));
        }
        Container::Dense { card, page } => {
            let mut values = Vec::new();
            crate::container::collect(page, *card, &mut values);
            put_values(&values, out);
        }
        Container::Runs { runs, .. } => {
            out.extend_from_slice(&narrow16(narrow(runs.len() as u64)).to_le_bytes());
            for run in runs.iter() {
                out.extend_from_slice(&run.start.to_le_bytes());
                out.extend_from_slice(&(run.last - run.start).to_le_bytes());
            }
        }
        Container::Full => out.extend_from_slice(&[1, 0, 0, 0, 0xFF, 0xFF]),
    }
}

/// Reads one 32-bit bitmap off the front. Offsets are skipped: payloads follow in order.
fn read32(rest: &mut &[u8]) -> Result<Containers, RoaringError> {
    let cookie = u32::from_le_bytes(take_array(rest)?);
    let (count, flags): (usize, &[u8]) = if cookie & 0xFFFF == COOKIE_RUNS {
        let count = (cookie >> 16) as usize + 1;
        (count, take(rest, count.div_ceil(8))?)
    } else if cookie == COOKIE_PLAIN {
        (size(u64::from(u32::from_le_bytes(take_array(rest)?))), &[])
    } else {
        return Err(malformed("unknown cookie"));
    };
    if count > CONTAINERS_MAX {
        return Err(malformed("more than 65536 containers"));
    }
    let heads = take(rest, 4 * count)?.as_chunks::<4>().0;
    if flags.is_empty() || count >= OFFSETS_MIN {
        take(rest, 4 * count)?;
    }
    let mut containers: Containers = Vec::new();
    for (i, [a, b, c, d]) in heads.iter().enumerate() {
        let key = u16::from_le_bytes([*a, *b]);
        let card = usize::from(u16::from_le_bytes([*c, *d])) + 1;
        if containers.last().is_some_and(|(before, _)| *before >= key) {
            return Err(malformed("keys not ascending"));
        }
        let runs = flags.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        let container = read_payload(rest, card, runs)?;
        if container.card() as usize != card {
            return Err(malformed("cardinality differs from the bits"));
        }
        containers.push((key, container));
    }
    Ok(containers)
}

fn read_payload(rest: &mut &[u8], card: usize, runs: bool) -> Result<Container, RoaringError> {
    if runs {
        let count = usize::from(u16::from_le_bytes(take_array(rest)?));
        let pairs = take(rest, 4 * count)?.as_chunks::<4>().0;
        let mut wrapped = false;
        let pairs = pairs.iter().map(|[a, b, c, d]| {
            let start = u16::from_le_bytes([*a, *b]);
            let last = start.checked_add(u16::from_le_bytes([*c, *d]));
            wrapped |= last.is_none();
            (start, last.unwrap_or(u16::MAX))
        });
        let container = runs_from(pairs).ok_or(malformed("runs not ascending"))?;
        return if wrapped { Err(malformed("run past its container")) } else { Ok(container) };
    }
    if card <= ARRAY_MAX {
        return array_from(take(rest, 2 * card)?).ok_or(malformed("array not ascending"));
    }
    let mut page = Page::ZERO;
    for (own, byte) in page.0.iter_mut().zip(take(rest, CHUNK_BYTES)?) {
        *own = byte.reverse_bits();
    }
    Ok(Container::from_bytes(&page.0))
}
