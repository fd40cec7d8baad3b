//! Operations of a container on ranges of bits and of bytes.
//!
//! What has no short way for a form goes over a page on the stack: at most 8 KiB of work.

use std::sync::Arc;

use super::{Container, Run};
use crate::address::{CHUNK_BITS, CHUNK_BYTES, narrow_size, narrow16};
use crate::kernels::Page;
use crate::{bits, kernels};

/// Written bytes up to this many go bit by bit into arrays and runs.
const WRITE_BY_BIT_BYTES_MAX: usize = 16;

impl Container {
    /// The part of the ascending values that lies in `lo..hi`.
    fn values_within(values: &[u16], lo: u32, hi: u32) -> &[u16] {
        let from = values.partition_point(|value| u32::from(*value) < lo);
        let to = values.partition_point(|value| u32::from(*value) < hi);
        &values[from..to.max(from)]
    }

    /// The parts of the runs that lie in `lo..hi`.
    fn runs_within(runs: &[Run], lo: u32, hi: u32) -> impl Iterator<Item = (u32, u32)> {
        let from = runs.partition_point(|run| run.span().1 <= lo);
        runs[from..]
            .iter()
            .map(|run| run.span())
            .take_while(move |(start, _)| *start < hi)
            .map(move |(start, end)| (start.max(lo), end.min(hi)))
    }

    /// Counts the set bits in `lo..hi`.
    pub(crate) fn count(&self, lo: u32, hi: u32) -> u32 {
        if lo == 0 && hi == CHUNK_BITS {
            return self.card();
        }
        match self {
            Self::Tiny { .. } | Self::Array(_) => {
                let values = self.values().unwrap_or_default();
                narrow_size(Self::values_within(values, lo, hi).len())
            }
            Self::Dense { card, page } => {
                // The shorter side is counted.
                if hi - lo <= CHUNK_BITS / 2 {
                    bits::count(&page.0, lo as usize, hi as usize)
                } else {
                    let before = bits::count(&page.0, 0, lo as usize);
                    card - before - bits::count(&page.0, hi as usize, CHUNK_BITS as usize)
                }
            }
            Self::Runs { runs, .. } => {
                Self::runs_within(runs, lo, hi).map(|(start, end)| end - start).sum()
            }
            Self::Full => hi - lo,
        }
    }

    /// The first set bit in `lo..hi`.
    pub(crate) fn first_set(&self, lo: u32, hi: u32) -> Option<u32> {
        match self {
            Self::Tiny { .. } | Self::Array(_) => {
                let values = self.values().unwrap_or_default();
                let found = *values.get(values.partition_point(|value| u32::from(*value) < lo))?;
                (u32::from(found) < hi).then_some(u32::from(found))
            }
            Self::Dense { page, .. } => {
                bits::first(&page.0, lo as usize, hi as usize, true).map(narrow_size)
            }
            Self::Runs { runs, .. } => {
                Self::runs_within(runs, lo, hi).next().map(|(start, _)| start)
            }
            Self::Full => (lo < hi).then_some(lo),
        }
    }

    /// The first clear bit in `lo..hi`.
    pub(crate) fn first_clear(&self, lo: u32, hi: u32) -> Option<u32> {
        let mut at = lo;
        match self {
            Self::Tiny { .. } | Self::Array(_) => {
                let values = self.values().unwrap_or_default();
                for value in Self::values_within(values, lo, hi) {
                    if u32::from(*value) != at {
                        break;
                    }
                    at += 1;
                }
            }
            Self::Dense { page, .. } => {
                return bits::first(&page.0, lo as usize, hi as usize, false).map(narrow_size);
            }
            Self::Runs { runs, .. } => {
                let found = Self::runs_within(runs, lo, hi).next();
                at = found.filter(|(start, _)| *start == lo).map_or(lo, |(_, end)| end);
            }
            Self::Full => return None,
        }
        (at < hi).then_some(at)
    }

    /// The set bit of a rank, which is below the cardinality; rank 0 is the first.
    pub(crate) fn select(&self, rank: u32) -> u32 {
        debug_assert!(rank < self.card());
        match self {
            Self::Tiny { .. } | Self::Array(_) => {
                u32::from(self.values().unwrap_or_default()[rank as usize])
            }
            Self::Dense { page, .. } => bits::select(&page.0, rank),
            Self::Runs { runs, .. } => {
                let mut left = rank;
                let holds = |run: &&Run| {
                    let is_here = left < run.len();
                    left -= if is_here { 0 } else { run.len() };
                    is_here
                };
                let start = runs.iter().find(holds).map_or(0, |run| run.span().0);
                start + left
            }
            Self::Full => rank,
        }
    }

    /// The last set bit.
    pub(crate) fn last_set(&self) -> Option<u32> {
        match self {
            Self::Tiny { .. } | Self::Array(_) => self.values()?.last().map(|v| u32::from(*v)),
            Self::Dense { page, .. } => bits::last_set(&page.0).map(narrow_size),
            Self::Runs { runs, .. } => runs.last().map(|run| u32::from(run.last)),
            Self::Full => Some(CHUNK_BITS - 1),
        }
    }

    /// Changes a page of the bits and takes the result over.
    fn rewrite(&mut self, change: impl FnOnce(&mut Page)) {
        let mut page = Page::ZERO;
        self.store(&mut page);
        change(&mut page);
        let card = narrow_size(usize::try_from(kernels::count(&page.0)).unwrap_or(0));
        *self = Self::from_page_best(&page, card);
    }

    /// Changes the bits `lo..hi` of a dense container in place; false where it is not dense.
    fn edit_dense(&mut self, lo: u32, hi: u32, change: impl FnOnce(&mut Page)) -> bool {
        let Self::Dense { card, page } = self else { return false };
        let page = Arc::make_mut(page);
        let before = bits::count(&page.0, lo as usize, hi as usize);
        change(page);
        *card = *card - before + bits::count(&page.0, lo as usize, hi as usize);
        self.settle();
        true
    }

    /// Sets or clears `lo..hi`.
    pub(crate) fn fill(&mut self, lo: u32, hi: u32, value: bool) {
        let (from, to) = (lo as usize, hi as usize);
        if self.count(lo, hi) == if value { hi - lo } else { 0 } {
            return;
        }
        if lo == 0 && hi == CHUNK_BITS {
            *self = if value { Self::Full } else { Self::EMPTY };
        } else if value && self.card() == self.count(lo, hi) {
            *self = Self::from_run(lo, hi);
        } else if !self.edit_dense(lo, hi, |page| bits::fill(&mut page.0, from, to, value)) {
            self.rewrite(|page| bits::fill(&mut page.0, from, to, value));
        }
    }

    /// Inverts `lo..hi`.
    pub(crate) fn flip(&mut self, lo: u32, hi: u32) {
        let (from, to) = (lo as usize, hi as usize);
        let set = self.count(lo, hi);
        if set == 0 {
            self.fill(lo, hi, true);
        } else if set == hi - lo {
            self.fill(lo, hi, false);
        } else if !self.edit_dense(lo, hi, |page| bits::flip(&mut page.0, from, to)) {
            self.rewrite(|page| bits::flip(&mut page.0, from, to));
        }
    }

    /// The bits of `lo..hi`; the rest clear.
    pub(crate) fn restrict(&self, lo: u32, hi: u32) -> Self {
        if self.count(lo, hi) == self.card() {
            return self.clone();
        }
        match self {
            Self::Tiny { .. } | Self::Array(_) => {
                let values = self.values().unwrap_or_default();
                Self::from_values(Self::values_within(values, lo, hi))
            }
            Self::Dense { page, .. } => {
                let mut page = Page::clone(page);
                bits::keep(&mut page.0, lo as usize, hi as usize);
                let card = bits::count(&page.0, lo as usize, hi as usize);
                Self::from_page(&page, card)
            }
            Self::Runs { runs, .. } => {
                let runs: Vec<Run> =
                    Self::runs_within(runs, lo, hi).map(|(lo, hi)| Run::new(lo, hi)).collect();
                if runs.is_empty() { Self::EMPTY } else { Self::from_runs(&runs) }
            }
            Self::Full if lo < hi => Self::from_run(lo, hi),
            Self::Full => Self::EMPTY,
        }
    }

    /// Appends the bytes `lo..hi` of the container.
    pub(crate) fn append_bytes(&self, lo: usize, hi: usize, out: &mut Vec<u8>) {
        match self {
            Self::Dense { page, .. } => out.extend_from_slice(&page.0[lo..hi]),
            Self::Full => out.resize(out.len() + hi - lo, 0xFF),
            Self::Tiny { .. } | Self::Array(_) | Self::Runs { .. } => {
                let start = out.len();
                out.resize(start + hi - lo, 0);
                self.read_into(lo, &mut out[start..]);
            }
        }
    }

    /// Writes the bytes from `lo` on into `out`, which is all zero.
    pub(crate) fn read_into(&self, lo: usize, out: &mut [u8]) {
        let (from, to) = (narrow_size(lo * 8), narrow_size((lo + out.len()) * 8));
        match self {
            Self::Dense { page, .. } => out.copy_from_slice(&page.0[lo..lo + out.len()]),
            Self::Full => out.fill(0xFF),
            Self::Tiny { .. } | Self::Array(_) => {
                let values = self.values().unwrap_or_default();
                for value in Self::values_within(values, from, to) {
                    out[usize::from(*value >> 3) - lo] |= 0x80 >> (value & 7);
                }
            }
            Self::Runs { runs, .. } => {
                for (start, end) in Self::runs_within(runs, from, to) {
                    bits::fill(out, (start - from) as usize, (end - from) as usize, true);
                }
            }
        }
    }

    /// Overwrites the bytes from `at` on.
    pub(crate) fn write_bytes(&mut self, at: usize, bytes: &[u8]) {
        if bytes.len() == CHUNK_BYTES {
            *self = Self::from_bytes(bytes);
            return;
        }
        let (lo, hi) = (narrow_size(at * 8), narrow_size((at + bytes.len()) * 8));
        let change = |page: &mut Page| page.0[at..at + bytes.len()].copy_from_slice(bytes);
        if self.edit_dense(lo, hi, change) {
            return;
        }
        if bytes.len() <= WRITE_BY_BIT_BYTES_MAX {
            let mut old = [0; WRITE_BY_BIT_BYTES_MAX];
            let old = &mut old[..bytes.len()];
            self.read_into(at, old);
            for (i, (new, old)) in bytes.iter().zip(old).enumerate() {
                let mut changed = new ^ *old;
                while changed != 0 {
                    let bit = changed.leading_zeros();
                    changed &= !(0x80 >> bit);
                    self.set(narrow16(narrow_size((at + i) * 8) + bit), new & (0x80 >> bit) != 0);
                }
            }
        } else {
            self.rewrite(change);
        }
    }
}

impl PartialEq for Container {
    fn eq(&self, other: &Self) -> bool {
        if self.card() != other.card() {
            return false;
        }
        match (self, other) {
            (Self::Dense { page: a, .. }, Self::Dense { page: b, .. }) => {
                Arc::ptr_eq(a, b) || a.0 == b.0
            }
            (Self::Runs { runs: a, .. }, Self::Runs { runs: b, .. }) => a == b,
            (Self::Full, Self::Full) => true,
            _ => match (self.values(), other.values()) {
                (Some(a), Some(b)) => a == b,
                (Some(list), None) => list.iter().all(|value| other.get(*value)),
                (None, Some(list)) => list.iter().all(|value| self.get(*value)),
                (None, None) => {
                    let (mut a, mut b) = (Page::ZERO, Page::ZERO);
                    self.store(&mut a);
                    other.store(&mut b);
                    a.0 == b.0
                }
            },
        }
    }
}
