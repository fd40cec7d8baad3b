//! One container: 2^16 bits in the representation that suits them.
//!
//! A container knows its cardinality. Payloads are shared on clone and copied on the first write
//! to a shared one. An empty container is [`Container::EMPTY`]; nodes never keep one.

use std::sync::Arc;

use crate::address::{CHUNK_BITS, CHUNK_BYTES, narrow, narrow_size, narrow16, size_class};
use crate::bits;
use crate::kernels::{self, Block, Page};

mod merge;
mod range;
mod search;

/// Most values kept in place of a pointer.
pub(crate) const TINY_MAX: usize = 7;
/// Most values of an array. One more needs an allocation of 7 KiB; a dense block has 8, and is
/// written and combined many times as fast.
pub(crate) const ARRAY_MAX: usize = 3072;
/// Fewest values of a dense container after a clear: the hysteresis that keeps a container at the
/// threshold from changing form with every write.
const DENSE_MIN: u32 = 2304;
/// Most runs; beyond it the container becomes an array or dense.
pub(crate) const RUNS_MAX: usize = 512;

/// Set bits from `start` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u16,
    pub(crate) last: u16,
}

impl Run {
    /// The run of the bits from `lo` to `hi`, `hi` excluded.
    pub(crate) fn new(lo: u32, hi: u32) -> Self {
        Self { start: narrow16(lo), last: narrow16(hi - 1) }
    }

    /// The first bit and the bit after the last.
    pub(crate) fn span(self) -> (u32, u32) {
        (u32::from(self.start), u32::from(self.last) + 1)
    }

    pub(crate) fn len(self) -> u32 {
        u32::from(self.last - self.start) + 1
    }
}

/// A block and its count of references, apart, so that the block fills its allocation.
pub(crate) type SharedPage = Arc<Box<Page>>;

#[derive(Clone)]
pub(crate) enum Container {
    /// Up to [`TINY_MAX`] ascending values, in place.
    Tiny { len: u8, values: [u16; TINY_MAX] },
    /// Ascending values, more than [`TINY_MAX`] when built, at most [`ARRAY_MAX`].
    Array(Arc<Vec<u16>>),
    /// All bits; `card` of them set.
    Dense { card: u32, page: SharedPage },
    /// Ascending runs with gaps between; `card` bits in all.
    Runs { card: u32, runs: Arc<Vec<Run>> },
    /// Every bit set.
    Full,
}

const _: () = assert!(size_of::<Container>() == 16);

/// A copy of `page` in a block of its own.
pub(crate) fn share(page: &Page) -> SharedPage {
    Arc::new(Box::write(Box::new_uninit(), page.clone()))
}

impl Container {
    pub(crate) const EMPTY: Self = Self::Tiny { len: 0, values: [0; TINY_MAX] };

    /// The container of ascending values, at most [`ARRAY_MAX`].
    pub(crate) fn from_values(values: &[u16]) -> Self {
        debug_assert!(values.is_sorted() && values.len() <= ARRAY_MAX);
        if values.len() <= TINY_MAX {
            let mut tiny = [0; TINY_MAX];
            tiny[..values.len()].copy_from_slice(values);
            Self::Tiny { len: u8::try_from(values.len()).unwrap_or(0), values: tiny }
        } else {
            Self::Array(Arc::new(values.to_vec()))
        }
    }

    /// The container of any number of ascending values, each once, in the form that is smallest by
    /// far.
    pub(crate) fn from_ascending(values: &[u16]) -> Self {
        let size = (values.len() * 2).min(CHUNK_BYTES);
        let joins = |pair: &[u16; 2]| pair[1] == pair[0] + 1;
        let runs = values.len() - values.array_windows().filter(|pair| joins(pair)).count();
        if runs * 8 <= size && values.len() > TINY_MAX {
            let runs = values.chunk_by(|a, b| *b == *a + 1);
            let runs = runs.map(|run| Run { start: run[0], last: run[run.len() - 1] });
            return Self::from_runs(&runs.collect::<Vec<_>>());
        }
        Self::from_sorted(values)
    }

    /// The container of any number of ascending values, each once, as a list or dense.
    pub(crate) fn from_sorted(values: &[u16]) -> Self {
        if values.len() <= ARRAY_MAX {
            return Self::from_values(values);
        }
        let mut page = Page::ZERO;
        bits::each_place(values, |byte, mask| page.0[byte] |= mask);
        Self::from_page(&page, narrow_size(values.len()))
    }

    /// The container of ascending runs with gaps between them.
    pub(crate) fn from_runs(runs: &[Run]) -> Self {
        let card = runs.iter().map(|run| run.len()).sum();
        if card == CHUNK_BITS {
            return Self::Full;
        }
        if runs.len() <= RUNS_MAX && runs.len() * 4 <= card as usize * 2 && card as usize > TINY_MAX
        {
            return Self::Runs { card, runs: Arc::new(runs.to_vec()) };
        }
        if card as usize <= ARRAY_MAX {
            let values: Vec<u16> = runs.iter().flat_map(|run| run.start..=run.last).collect();
            return Self::from_values(&values);
        }
        let mut page = Page::ZERO;
        for run in runs {
            let (lo, hi) = run.span();
            bits::fill(&mut page.0, lo as usize, hi as usize, true);
        }
        Self::Dense { card, page: share(&page) }
    }

    /// The container of one run, `lo < hi`.
    pub(crate) fn from_run(lo: u32, hi: u32) -> Self {
        Self::from_runs(&[Run::new(lo, hi)])
    }

    /// The container of a page with `card` bits set.
    pub(crate) fn from_page(page: &Page, card: u32) -> Self {
        if card == CHUNK_BITS {
            return Self::Full;
        }
        if card as usize > ARRAY_MAX {
            return Self::Dense { card, page: share(page) };
        }
        if card as usize <= TINY_MAX {
            let mut values = [0; TINY_MAX];
            let mut from = 0;
            for value in &mut values[..card as usize] {
                let bit = bits::first(&page.0, from, CHUNK_BITS as usize, true).unwrap_or(from);
                *value = narrow16(narrow_size(bit));
                from = bit + 1;
            }
            return Self::Tiny { len: u8::try_from(card).unwrap_or(0), values };
        }
        let mut values = Vec::with_capacity(card as usize + 1);
        collect(page, card, &mut values);
        Self::Array(Arc::new(values))
    }

    /// As [`from_page`](Self::from_page), but as runs where that is less than half the size.
    pub(crate) fn from_page_best(page: &Page, card: u32) -> Self {
        let size = if card as usize <= ARRAY_MAX { card * 2 } else { 8192 };
        let most = (size / 8).min(narrow_size(RUNS_MAX));
        if card == CHUNK_BITS || card as usize <= 32 {
            return Self::from_page(page, card);
        }
        if bits::runs(&page.0, most).is_none() {
            return Self::from_page(page, card);
        }
        let mut runs = Vec::new();
        let mut at = 0;
        while let Some(start) = bits::first(&page.0, at, CHUNK_BITS as usize, true) {
            let end = bits::first(&page.0, start, CHUNK_BITS as usize, false);
            at = end.unwrap_or(CHUNK_BITS as usize);
            runs.push(Run::new(narrow_size(start), narrow_size(at)));
        }
        Self::Runs { card, runs: Arc::new(runs) }
    }

    /// The container of up to [`CHUNK_BYTES`] raw bytes, in the form that is smallest by far.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let card = kernels::count(bytes);
        if card == 0 {
            return Self::EMPTY;
        }
        if let Ok(block) = <&Block>::try_from(bytes)
            && card > ARRAY_MAX as u64
            && bits::runs(block, 256).is_none()
        {
            let page = Box::write(Box::new_uninit(), Page(*block));
            return Self::Dense { card: narrow(card), page: Arc::new(page) };
        }
        let mut page = Page::ZERO;
        page.0[..bytes.len()].copy_from_slice(bytes);
        Self::from_page_best(&page, narrow(card))
    }

    /// The number of set bits.
    pub(crate) fn card(&self) -> u32 {
        match self {
            Self::Tiny { len, .. } => u32::from(*len),
            Self::Array(values) => narrow_size(values.len()),
            Self::Dense { card, .. } | Self::Runs { card, .. } => *card,
            Self::Full => CHUNK_BITS,
        }
    }

    /// The bytes allocated for the payload, shared or not, in size classes.
    pub(crate) fn heap(&self) -> u32 {
        let bytes = match self {
            Self::Tiny { .. } | Self::Full => 0,
            Self::Array(values) => 48 + size_class(values.capacity() * 2),
            Self::Dense { .. } => 32 + CHUNK_BYTES,
            Self::Runs { runs, .. } => 48 + size_class(runs.capacity() * 4),
        };
        narrow_size(bytes)
    }

    /// The values, where the container is a list of them.
    pub(crate) fn values(&self) -> Option<&[u16]> {
        match self {
            Self::Tiny { len, values } => Some(&values[..usize::from(*len)]),
            Self::Array(values) => Some(values),
            Self::Dense { .. } | Self::Runs { .. } | Self::Full => None,
        }
    }

    pub(crate) fn get(&self, low: u16) -> bool {
        match self {
            Self::Tiny { len, values } => values[..usize::from(*len)].contains(&low),
            Self::Array(values) => search::contains(values, low),
            Self::Dense { page, .. } => bits::get(&page.0, usize::from(low)),
            Self::Runs { runs, .. } => {
                let after = runs.partition_point(|run| run.start <= low);
                after > 0 && low <= runs[after - 1].last
            }
            Self::Full => true,
        }
    }

    /// Writes one bit and returns the old one. May leave the container empty.
    pub(crate) fn set(&mut self, low: u16, value: bool) -> bool {
        if let Self::Dense { card, page } = self {
            let old = bits::get(&page.0, usize::from(low));
            if old != value {
                bits::set(&mut Arc::make_mut(page).0, usize::from(low), value);
                *card = if value { *card + 1 } else { *card - 1 };
                if *card == CHUNK_BITS || *card < DENSE_MIN {
                    self.settle();
                }
            }
            return old;
        }
        let old = self.get(low);
        if old != value {
            if value { self.insert(low) } else { self.remove(low) }
        }
        old
    }

    /// Asks the CPU to fetch what [`fetch`](Self::fetch) looks at.
    pub(crate) fn fetch_head(&self) {
        match self {
            Self::Dense { page, .. } => kernels::fetch(&**page),
            Self::Array(values) => kernels::fetch(&**values),
            Self::Tiny { .. } | Self::Runs { .. } | Self::Full => {}
        }
    }

    /// Asks the CPU to fetch what a write of the bit will touch.
    pub(crate) fn fetch(&self, low: u16) {
        match self {
            Self::Dense { page, .. } => kernels::fetch_bits(&page.0, &[low]),
            Self::Array(values) => search::fetch(values, low),
            Self::Tiny { .. } | Self::Runs { .. } | Self::Full => {}
        }
    }

    /// Gives a dense container whose cardinality changed the form that suits it.
    pub(crate) fn settle(&mut self) {
        if let Self::Dense { card, page } = self
            && (*card == CHUNK_BITS || *card < DENSE_MIN)
        {
            *self = Self::from_page(page, *card);
        }
    }

    /// Sets a bit that is clear, in a container that is not dense.
    fn insert(&mut self, low: u16) {
        match self {
            Self::Tiny { len, values } => {
                let count = usize::from(*len);
                let at = values[..count].partition_point(|value| *value < low);
                if count < TINY_MAX {
                    values.copy_within(at..count, at + 1);
                    values[at] = low;
                    *len += 1;
                } else {
                    let mut grown = Vec::with_capacity(16);
                    grown.extend_from_slice(values);
                    grown.insert(at, low);
                    *self = Self::Array(Arc::new(grown));
                }
            }
            Self::Array(values) if values.len() < ARRAY_MAX => {
                let values = Arc::make_mut(values);
                if values.len() == values.capacity() {
                    let grown = size_class((values.len() + values.len() / 4 + 1) * 2) / 2;
                    values.reserve_exact(grown.min(ARRAY_MAX) - values.len());
                }
                let at = search::place(values, low);
                values.insert(at, low);
            }
            Self::Array(_) => {
                let mut page = Page::ZERO;
                self.store(&mut page);
                bits::set(&mut page.0, usize::from(low), true);
                *self = Self::Dense { card: self.card() + 1, page: share(&page) };
            }
            Self::Runs { card, runs } => {
                *card += 1;
                let runs = Arc::make_mut(runs);
                insert_into_runs(runs, low);
                self.settle_runs();
            }
            Self::Dense { .. } | Self::Full => {}
        }
    }

    /// Clears a bit that is set, in a container that is not dense.
    fn remove(&mut self, low: u16) {
        match self {
            Self::Tiny { len, values } => {
                let count = usize::from(*len);
                let at = values[..count].partition_point(|value| *value < low);
                values.copy_within(at + 1..count, at);
                *len -= 1;
            }
            Self::Array(values) => {
                let values = Arc::make_mut(values);
                let at = search::place(values, low);
                values.remove(at);
                if values.len() <= TINY_MAX {
                    *self = Self::from_values(values);
                } else if values.capacity() > 4 * values.len() {
                    values.shrink_to(2 * values.len());
                }
            }
            Self::Runs { card, runs } => {
                *card -= 1;
                let runs = Arc::make_mut(runs);
                remove_from_runs(runs, low);
                self.settle_runs();
            }
            Self::Full => {
                let mut runs = vec![Run { start: 0, last: u16::MAX }];
                remove_from_runs(&mut runs, low);
                *self = Self::Runs { card: CHUNK_BITS - 1, runs: Arc::new(runs) };
            }
            Self::Dense { .. } => {}
        }
    }

    /// Gives a run container that was written the form that suits it.
    fn settle_runs(&mut self) {
        if let Self::Runs { card, runs } = self
            && (*card == CHUNK_BITS || runs.len() > RUNS_MAX || runs.len() * 2 > *card as usize)
        {
            *self = Self::from_runs(runs);
        }
    }

    /// Writes the bits into a page that is all zero.
    pub(crate) fn store(&self, page: &mut Page) {
        match self {
            Self::Tiny { .. } | Self::Array(_) => {
                let values = self.values().unwrap_or_default();
                bits::each_place(values, |byte, mask| page.0[byte] |= mask);
            }
            Self::Dense { page: own, .. } => page.0 = own.0,
            Self::Runs { runs, .. } => {
                for run in runs.iter() {
                    let (lo, hi) = run.span();
                    bits::fill(&mut page.0, lo as usize, hi as usize, true);
                }
            }
            Self::Full => page.0.fill(0xFF),
        }
    }

    /// Changes to the smallest form, and cuts spare room.
    pub(crate) fn optimize(&mut self) {
        match self {
            Self::Tiny { .. } | Self::Full => {}
            Self::Array(_) | Self::Runs { .. } => {
                let mut page = Page::ZERO;
                self.store(&mut page);
                let best = Self::from_page_best(&page, self.card());
                if best.heap() < self.heap() {
                    *self = best;
                }
            }
            Self::Dense { card, page } => {
                let best = Self::from_page_best(page, *card);
                if !matches!(best, Self::Dense { .. }) {
                    *self = best;
                }
            }
        }
    }
}

/// Replaces `values` by the positions of the `card` set bits of a page.
///
/// Words that are zero are skipped by a mask of 64 of them, and two bits of each other word are
/// taken without a branch: where sparse bits lie cannot be predicted, and a wrong guess costs more
/// than both.
pub(crate) fn collect(page: &Page, card: u32, values: &mut Vec<u16>) {
    values.clear();
    // Room for the second bit of the last word, whether there is one or not.
    values.resize(card as usize + 1, 0);
    let mut at = 0;
    let groups = page.0.as_chunks::<512>().0.iter().zip(kernels::filled(page));
    for (group, (bytes, mut filled)) in groups.enumerate() {
        let words = bytes.as_chunks::<8>().0;
        while filled != 0 {
            let index = filled.trailing_zeros();
            filled &= filled - 1;
            let start = narrow_size(group) * 4096 + index * 64;
            let mut word = u64::from_be_bytes(words[index as usize]);
            values[at] = narrow16(start + take_first(&mut word));
            values[at + 1] = narrow16(start + (word | 1).leading_zeros());
            at += 1 + usize::from(word != 0);
            if word & word.wrapping_sub(1) != 0 {
                take_first(&mut word);
                while word != 0 {
                    values[at] = narrow16(start + take_first(&mut word));
                    at += 1;
                }
            }
        }
    }
    values.truncate(card as usize);
}

/// Takes the first, most significant, bit out of a word that is not zero.
fn take_first(word: &mut u64) -> u32 {
    let bit = (*word | 1).leading_zeros();
    *word ^= (1 << 63) >> bit;
    bit
}

/// Sets a clear bit.
fn insert_into_runs(runs: &mut Vec<Run>, low: u16) {
    let at = runs.partition_point(|run| run.start < low);
    let joins_left = at > 0 && low > 0 && runs[at - 1].last == low - 1;
    let joins_right = runs.get(at).is_some_and(|run| low < u16::MAX && run.start == low + 1);
    match (joins_left, joins_right) {
        (true, true) => {
            runs[at - 1].last = runs[at].last;
            runs.remove(at);
        }
        (true, false) => runs[at - 1].last = low,
        (false, true) => runs[at].start = low,
        (false, false) => runs.insert(at, Run { start: low, last: low }),
    }
}

/// Clears a set bit.
fn remove_from_runs(runs: &mut Vec<Run>, low: u16) {
    let at = runs.partition_point(|run| run.start <= low) - 1;
    let run = runs[at];
    match (run.start == low, run.last == low) {
        (true, true) => drop(runs.remove(at)),
        (true, false) => runs[at].start = low + 1,
        (false, true) => runs[at].last = low - 1,
        (false, false) => {
            runs[at].last = low - 1;
            runs.insert(at + 1, Run { start: low + 1, last: run.last });
        }
    }
}
