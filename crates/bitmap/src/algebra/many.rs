//! Many containers of mixed forms: short lists are sorted, the rest goes over pages.

use super::{Blocks, GATHER_MAX, Out, Present, Scratch};
use crate::address::{CHUNK_BITS, narrow_size};
use crate::bits;
use crate::container::{Container, Run, collect};
use crate::kernels::{self, Fold, Operands, Page};

/// Lists with this many values and more are stored in a page of their own for ONE: two pages are
/// joined with it in less time than two marks take for every value.
const STORE_FROM: usize = 512;

/// Up to so many bits of a page are taken out of it as values.
const TAKEN_OUT_MAX: u32 = 64;

/// Where all operands are short lists, puts the values that `keep` accepts, by how many operands
/// have them, into the scratch list.
pub(super) fn gather(
    list: &[&Container],
    scratch: &mut Scratch<'_>,
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

/// Folds containers of any form over a page; `first` of [`Fold::Diff`] leads the list.
///
/// Dense operands are folded at once; the others are applied to the page one by one.
pub(super) fn fold_pages<'a>(
    fold: Fold,
    list: &[&Container],
    scratch: &mut Scratch<'_>,
) -> Out<'a> {
    let (lead, rest) = if fold == Fold::Diff { list.split_at(1) } else { (&[][..], list) };
    let mut blocks = Blocks::new();
    let mut others = Present::new();
    for container in rest {
        match container {
            Container::Dense { page, .. } => blocks.push(&page.0),
            Container::Tiny { .. }
            | Container::Array(_)
            | Container::Runs { .. }
            | Container::Full => others.push(container),
        }
    }
    let mut page;
    if let Some(lead) = lead.first() {
        page = scratch.page();
        lead.store(&mut page);
        kernels::fold_in_place(fold, &mut page.0, &blocks);
    } else if let Some((first, rest)) = blocks.split_first() {
        let operands = Operands { first, rest, ahead: &scratch.ahead };
        (page, _) = kernels::fold(fold, operands, scratch.pages.pop());
    } else {
        page = scratch.page();
        if fold == Fold::And {
            others.pop().unwrap_or(&Container::EMPTY).store(&mut page);
        }
    }
    for other in others {
        apply(fold, &mut page, other, scratch);
    }
    let card = narrow_size(usize::try_from(kernels::count(&page.0)).unwrap_or(0));
    finish(page, card, scratch)
}

/// Joins an array, runs or a full container into a page.
fn apply(fold: Fold, page: &mut Page, other: &Container, scratch: &mut Scratch<'_>) {
    if fold == Fold::And {
        let mut own = scratch.page();
        other.store(&mut own);
        kernels::fold_in_place(Fold::And, &mut page.0, &[&own.0]);
        scratch.pages.push(own);
        return;
    }
    if let Some(values) = other.values() {
        return if fold == Fold::Or {
            bits::each_place(values, |byte, mask| page.0[byte] |= mask);
        } else if fold == Fold::Xor {
            bits::each_place(values, |byte, mask| page.0[byte] ^= mask);
        } else {
            bits::each_place(values, |byte, mask| page.0[byte] &= !mask);
        };
    }
    let whole = [Run { start: 0, last: u16::MAX }];
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
pub(super) fn one<'a>(list: &[&Container], scratch: &mut Scratch<'_>) -> Out<'a> {
    let (mut any, mut many) = (scratch.page(), scratch.page());
    let mut stored = scratch.page();
    for container in list {
        if let Some(values) = container.values().filter(|values| values.len() < STORE_FROM) {
            bits::each_place(values, |byte, mask| {
                many.0[byte] |= any.0[byte] & mask;
                any.0[byte] |= mask;
            });
            continue;
        }
        stored.0.fill(0);
        container.store(&mut stored);
        let blocks = any.0.as_chunks_mut::<8>().0.iter_mut().zip(many.0.as_chunks_mut::<8>().0);
        for ((any, many), new) in blocks.zip(stored.0.as_chunks::<8>().0) {
            let (a, new) = (u64::from_ne_bytes(*any), u64::from_ne_bytes(*new));
            *many = (u64::from_ne_bytes(*many) | (a & new)).to_ne_bytes();
            *any = (a | new).to_ne_bytes();
        }
    }
    let card = kernels::fold_in_place(Fold::Diff, &mut any.0, &[&many.0]);
    scratch.pages.extend([many, stored]);
    finish(any, card, scratch)
}

/// The result that lies in a page.
fn finish<'a>(page: Box<Page>, card: u32, scratch: &mut Scratch<'_>) -> Out<'a> {
    let out = match card {
        0 => Out::Empty,
        CHUNK_BITS => Out::Full,
        few if few <= TAKEN_OUT_MAX => {
            collect(&page, few, &mut scratch.values);
            Out::Values
        }
        _ => return Out::Page(page, card),
    };
    scratch.pages.push(page);
    out
}
