//! Many containers of mixed forms: short lists are sorted, the rest goes over pages.

use super::{ARRAY_MAX, Container, GATHER_MAX, Out, Page, Scratch, collect};
use crate::address::{CHUNK_BITS, narrow_size};
use crate::bits;
use crate::kernels::{self, Block, Fold};

/// Where all operands are short lists, puts the values that `keep` accepts, by how many operands
/// have them, into the scratch list.
pub(super) fn gather(
    list: &[&Container],
    scratch: &mut Scratch,
    keep: impl Fn(usize) -> bool,
) -> bool {
    let mut total = 0;
    for container in list {
        match container.values() {
            Some(values) if total + values.len() <= GATHER_MAX => total += values.len(),
            _ => return false,
        }
    }
    let out = &mut scratch.values;
    out.clear();
    list.iter().for_each(|container| out.extend_from_slice(container.values().unwrap_or_default()));
    out.sort_unstable();
    let (mut kept, mut at) = (0, 0);
    while at < out.len() {
        let value = out[at];
        let times = out[at..].iter().take_while(|other| **other == value).count();
        if keep(times) {
            out[kept] = value;
            kept += 1;
        }
        at += times;
    }
    out.truncate(kept);
    true
}

/// Folds containers of any form into the scratch page; `first` of [`Fold::Diff`] leads the list.
///
/// Dense operands are folded at once; the others are applied to the page one by one.
pub(super) fn fold_pages<'a>(fold: Fold, list: &[&Container], scratch: &mut Scratch) -> Out<'a> {
    let Scratch { page, spare, values } = scratch;
    let (lead, rest) = match fold {
        Fold::Diff => (Some(list[0]), &list[1..]),
        Fold::And | Fold::Or | Fold::Xor | Fold::Diff1 | Fold::AndOr | Fold::One => (None, list),
    };
    let mut blocks: smallvec::SmallVec<[&Block; 16]> = smallvec::SmallVec::new();
    let mut others: super::Present<'_> = super::Present::new();
    for container in rest {
        match container {
            Container::Dense { page, .. } => blocks.push(&page.0),
            Container::Tiny { .. }
            | Container::Array(_)
            | Container::Runs { .. }
            | Container::Full => others.push(container),
        }
    }
    if let Some(lead) = lead {
        page.0.fill(0);
        lead.store(page);
        kernels::fold_in_place(fold, &mut page.0, &blocks);
    } else if let Some((first, rest)) = blocks.split_first() {
        kernels::fold(fold, first, rest, &mut page.0);
    } else {
        page.0.fill(0);
        if fold == Fold::And {
            others.pop().unwrap_or(&Container::EMPTY).store(page);
        }
    }
    for other in others {
        apply(fold, page, other, spare);
    }
    let card = narrow_size(usize::try_from(kernels::count(&page.0)).unwrap_or(0));
    finish(page, values, card)
}

/// Joins an array, runs or a full container into a page.
fn apply(fold: Fold, page: &mut Page, other: &Container, spare: &mut Option<Box<Page>>) {
    if fold == Fold::And {
        let own = Scratch::spare(spare);
        other.store(own);
        kernels::fold_in_place(Fold::And, &mut page.0, &[&own.0]);
        return;
    }
    if let Some(values) = other.values() {
        for value in values {
            let (byte, mask) = (usize::from(*value >> 3), 0x80u8 >> (value & 7));
            if fold == Fold::Or {
                page.0[byte] |= mask;
            } else if fold == Fold::Xor {
                page.0[byte] ^= mask;
            } else {
                page.0[byte] &= !mask;
            }
        }
        return;
    }
    let whole = [crate::container::Run { start: 0, last: u16::MAX }];
    let runs = if let Container::Runs { runs, .. } = other { &runs[..] } else { &whole };
    for run in runs {
        let (lo, hi) = run.span();
        if fold == Fold::Xor {
            bits::flip(&mut page.0, lo as usize, hi as usize);
        } else {
            bits::fill(&mut page.0, lo as usize, hi as usize, fold == Fold::Or);
        }
    }
}

/// The bits in exactly one of at least three operands.
pub(super) fn one<'a>(list: &[&Container], scratch: &mut Scratch) -> Out<'a> {
    let Scratch { page: any, spare, values } = scratch;
    let many = Scratch::spare(spare);
    any.0.fill(0);
    let mut stored = Page::ZERO;
    for container in list {
        match container {
            Container::Tiny { .. } | Container::Array(_) => {
                for value in container.values().unwrap_or_default() {
                    let (byte, mask) = (usize::from(*value >> 3), 0x80 >> (value & 7));
                    many.0[byte] |= any.0[byte] & mask;
                    any.0[byte] |= mask;
                }
                continue;
            }
            Container::Dense { page, .. } => stored.0 = page.0,
            Container::Runs { .. } | Container::Full => {
                stored.0.fill(0);
                container.store(&mut stored);
            }
        }
        let blocks = any.0.as_chunks_mut::<8>().0.iter_mut().zip(many.0.as_chunks_mut::<8>().0);
        for ((any, many), new) in blocks.zip(stored.0.as_chunks::<8>().0) {
            let (a, new) = (u64::from_ne_bytes(*any), u64::from_ne_bytes(*new));
            *many = (u64::from_ne_bytes(*many) | (a & new)).to_ne_bytes();
            *any = (a | new).to_ne_bytes();
        }
    }
    let card = kernels::fold_in_place(Fold::Diff, &mut any.0, &[&many.0]);
    finish(any, values, card)
}

/// The result that lies in the page.
fn finish<'a>(page: &Page, values: &mut Vec<u16>, card: u32) -> Out<'a> {
    if card == 0 {
        return Out::Empty;
    }
    if card == CHUNK_BITS {
        return Out::Full;
    }
    if card as usize <= ARRAY_MAX / 64 {
        values.resize(card as usize, 0);
        collect(page, card, values);
        return Out::Values;
    }
    Out::Page(card)
}
