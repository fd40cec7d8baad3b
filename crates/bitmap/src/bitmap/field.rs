//! Values seen as a row of 32-bit numbers, as presence keeps them: what is above a threshold.

use std::ops::Range;

use super::Bitmap;
use crate::address::{CHUNK_BITS, narrow, size};
use crate::bits;
use crate::container::Container;
use crate::kernels::{self, Block, Page};
use crate::tree::Builder;

/// Bits of a field.
const FIELD_BITS: u32 = 32;
/// Fields of one chunk.
const CHUNK_FIELDS: u32 = CHUNK_BITS / FIELD_BITS;

impl Bitmap {
    /// Counts the 32-bit big-endian fields that begin in a half-open range of offsets and are
    /// greater than `threshold`. Field `id` lies at offset `id * 32`; bits past the length are
    /// zero. Costs a pass over what is set; dense containers run at about the speed of memory.
    ///
    /// ```
    /// # use bitroster_bitmap::Bitmap;
    /// let value = Bitmap::from_bytes(b"\0\0\0\x07\0\0\0\x09");
    /// assert_eq!(value.fields_above(0..u64::MAX, 7), 1);
    /// ```
    pub fn fields_above(&self, range: Range<u64>, threshold: u32) -> u64 {
        let mut count = 0;
        self.each_chunk_of_fields(range, |_, container, lo, hi| {
            count += u64::from(match container {
                Container::Dense { page, .. } => count_dense(&page.0, lo, hi, threshold),
                Container::Tiny { .. } | Container::Array(_) => {
                    let mut count = 0;
                    each_listed(container, lo, hi, threshold, |_| {
                        count += 1;
                        true
                    });
                    count
                }
                Container::Runs { .. } | Container::Full => {
                    let mut page = Page::ZERO;
                    container.store(&mut page);
                    count_dense(&page.0, lo, hi, threshold)
                }
            });
            true
        });
        count
    }

    /// The first `limit` ids of the fields that [`fields_above`](Self::fields_above) counts, as a
    /// bitmap just long enough for the last of them. Stops where it has them.
    pub fn fields_above_list(&self, range: Range<u64>, threshold: u32, limit: u64) -> Self {
        let mut ids = Ids { left: limit, ..Ids::default() };
        if limit > 0 {
            self.each_chunk_of_fields(range, |chunk, container, lo, hi| {
                let first = chunk * u64::from(CHUNK_FIELDS);
                let mut take = |field: u32| ids.push(first + u64::from(field));
                match container {
                    Container::Dense { page, .. } => {
                        each_dense(&page.0, lo, hi, threshold, &mut take)
                    }
                    Container::Tiny { .. } | Container::Array(_) => {
                        each_listed(container, lo, hi, threshold, &mut take)
                    }
                    Container::Runs { .. } | Container::Full => {
                        let mut page = Page::ZERO;
                        container.store(&mut page);
                        each_dense(&page.0, lo, hi, threshold, &mut take)
                    }
                }
            });
        }
        ids.finish()
    }

    /// Calls `each` with the chunks that have a bit and overlap the range, and with the half-open
    /// range of their fields that begin in it, until it returns false.
    fn each_chunk_of_fields(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(u64, &Container, u32, u32) -> bool,
    ) {
        let width = u64::from(FIELD_BITS);
        let fields = range.start.div_ceil(width)..range.end.div_ceil(width);
        if fields.is_empty() {
            return;
        }
        let per_chunk = u64::from(CHUNK_FIELDS);
        let tree = self.as_tree();
        for (chunk, container) in tree.containers(fields.start / per_chunk) {
            let first = chunk * per_chunk;
            if first >= fields.end {
                return;
            }
            let lo = narrow(fields.start.saturating_sub(first));
            let hi = narrow((fields.end - first).min(per_chunk));
            if !each(chunk, container, lo, hi) {
                return;
            }
        }
    }
}

/// Counts the fields `lo..hi` of a block that are above the threshold.
fn count_dense(block: &Block, lo: u32, hi: u32, threshold: u32) -> u32 {
    let fields = &block.as_chunks::<4>().0[lo as usize..hi as usize];
    kernels::count_above(fields, threshold)
}

/// Calls `take` with the fields `lo..hi` of a block that are above the threshold until it returns
/// false, which is then the result.
fn each_dense(
    block: &Block,
    lo: u32,
    hi: u32,
    threshold: u32,
    mut take: impl FnMut(u32) -> bool,
) -> bool {
    let fields = &block.as_chunks::<4>().0[lo as usize..hi as usize];
    let above = (lo..).zip(fields).filter(|(_, field)| u32::from_be_bytes(**field) > threshold);
    above.map(|(place, _)| place).all(&mut take)
}

/// As [`each_dense`], of a container that is a list of values.
fn each_listed(
    container: &Container,
    lo: u32,
    hi: u32,
    threshold: u32,
    mut take: impl FnMut(u32) -> bool,
) -> bool {
    let values = container.values().unwrap_or_default();
    let from = values.partition_point(|value| u32::from(*value) < lo * FIELD_BITS);
    let mut values = values[from..].iter().copied().peekable();
    while let Some(value) = values.next() {
        let place = value >> 5;
        if u32::from(place) >= hi {
            break;
        }
        let mut field = 1u32 << 31 >> (value & 31);
        while let Some(next) = values.next_if(|next| next >> 5 == place) {
            field |= 1 << 31 >> (next & 31);
        }
        if field > threshold && !take(u32::from(place)) {
            return false;
        }
    }
    true
}

/// Ascending ids on their way into a bitmap, a chunk at a time.
#[derive(Default)]
struct Ids {
    left: u64,
    last: Option<u64>,
    chunk: u64,
    card: u32,
    page: Option<Box<Page>>,
    builder: Builder,
}

impl Ids {
    /// Takes an id; false where it was the last one wanted.
    fn push(&mut self, id: u64) -> bool {
        if self.chunk != id >> 16 {
            self.flush();
            self.chunk = id >> 16;
        }
        let page = self.page.get_or_insert_with(|| Box::new(Page::ZERO));
        bits::set(&mut page.0, size(id & 0xFFFF), true);
        self.card += 1;
        self.last = Some(id);
        self.left -= 1;
        self.left > 0
    }

    fn flush(&mut self) {
        if let Some(page) = &mut self.page
            && self.card > 0
        {
            self.builder.push(self.chunk, Container::from_page_best(page, self.card));
            page.0.fill(0);
            self.card = 0;
        }
    }

    fn finish(mut self) -> Bitmap {
        self.flush();
        match self.last {
            Some(last) => Bitmap::from_tree(self.builder.finish((last >> 3) + 1)),
            None => Bitmap::new(),
        }
    }
}
