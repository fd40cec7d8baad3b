//! Iteration over set bits, ascending.

use std::ops::Range;

use crate::address::{low_of, narrow, narrow_size};
use crate::bits;
use crate::container::{Container, Run};
use crate::kernels::Page;
use crate::tree::Tree;

/// The set bits of a value in a range.
pub(crate) struct SetBits<'a> {
    source: Source<'a>,
}

enum Source<'a> {
    Flat { bytes: &'a [u8], range: Range<u32> },
    Tree(Box<TreeBits<'a>>),
}

struct TreeBits<'a> {
    rest: Box<dyn Iterator<Item = (u64, &'a Container)> + 'a>,
    base: u64,
    open: ContainerBits<'a>,
    start: u64,
    end: u64,
}

/// The rest of one container.
enum ContainerBits<'a> {
    Values(&'a [u16]),
    Dense { page: &'a Page, next: usize, word: u64 },
    Runs { span: Range<u32>, rest: &'a [Run] },
}

impl<'a> ContainerBits<'a> {
    /// The bits of a container from `lo` on.
    fn new(container: &'a Container, lo: u16) -> Self {
        match container {
            Container::Tiny { .. } | Container::Array(_) => {
                let values = container.values().unwrap_or_default();
                Self::Values(&values[values.partition_point(|value| *value < lo)..])
            }
            Container::Dense { page, .. } => {
                let next = usize::from(lo >> 6);
                let mut bits = Self::Dense { page, next, word: 0 };
                if let Self::Dense { page, next, word } = &mut bits {
                    *word = word_at(page, *next) & (u64::MAX >> (lo & 63));
                    *next += 1;
                }
                bits
            }
            Container::Runs { runs, .. } => {
                let rest = &runs[runs.partition_point(|run| run.last < lo)..];
                let Some((first, rest)) = rest.split_first() else { return Self::Values(&[]) };
                let (start, end) = first.span();
                Self::Runs { span: start.max(u32::from(lo))..end, rest }
            }
            Container::Full => Self::Runs { span: u32::from(lo)..1 << 16, rest: &[] },
        }
    }

    fn next(&mut self) -> Option<u32> {
        match self {
            Self::Values(values) => {
                let (first, rest) = values.split_first()?;
                *values = rest;
                Some(u32::from(*first))
            }
            Self::Dense { page, next, word } => {
                while *word == 0 {
                    if *next == 1024 {
                        return None;
                    }
                    *word = word_at(page, *next);
                    *next += 1;
                }
                let bit = word.leading_zeros();
                *word &= !(1 << (63 - bit));
                Some(narrow_size(*next - 1) * 64 + bit)
            }
            Self::Runs { span, rest } => {
                if span.start >= span.end {
                    let (first, later) = rest.split_first()?;
                    *rest = later;
                    *span = first.span().0..first.span().1;
                }
                span.next()
            }
        }
    }
}

/// A word of a page, its first bit the most significant.
fn word_at(page: &Page, index: usize) -> u64 {
    u64::from_be_bytes(page.0.as_chunks::<8>().0[index])
}

impl<'a> SetBits<'a> {
    /// Of flat bytes; the range lies within them.
    pub(crate) fn of_flat(bytes: &'a [u8], range: Range<u32>) -> Self {
        Self { source: Source::Flat { bytes, range } }
    }

    /// Of a tree.
    pub(crate) fn of_tree(tree: &'a Tree, range: Range<u64>) -> Self {
        let source = Source::Tree(Box::new(TreeBits {
            rest: Box::new(tree.containers(range.start >> 16)),
            base: 0,
            open: ContainerBits::Values(&[]),
            start: range.start,
            end: range.end,
        }));
        Self { source }
    }
}

impl Iterator for SetBits<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        match &mut self.source {
            Source::Flat { bytes, range } => {
                let bit = bits::first(bytes, range.start as usize, range.end as usize, true)?;
                range.start = narrow_size(bit) + 1;
                Some(bit as u64)
            }
            Source::Tree(tree) => loop {
                if let Some(bit) = tree.open.next() {
                    let bit = tree.base + u64::from(bit);
                    return (bit < tree.end).then_some(bit);
                }
                let (chunk, container) = tree.rest.next()?;
                tree.base = chunk << 16;
                if tree.base >= tree.end {
                    return None;
                }
                let lo = tree.start.saturating_sub(tree.base);
                debug_assert!(narrow(lo) < 1 << 16);
                tree.open = ContainerBits::new(container, low_of(lo));
            },
        }
    }
}
