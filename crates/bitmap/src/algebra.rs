//! Boolean algebra of the containers of one chunk.
//!
//! [`eval`] joins one container of each operand. It shares an operand's container where that is the
//! result, works on lists of values where one decides, and otherwise folds pages in buffers that
//! stay in the cache. Where only a count is wanted, dense operands are counted without storing.

use std::cmp::Reverse;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::address::{CHUNK_BITS, narrow_size};
use crate::container::{ARRAY_MAX, Container, collect};
use crate::kernels::{self, Block, Fold, Operands, Page};
use crate::{BitOp, bits};

mod many;
mod pair;

use many::{fold_pages, gather};

/// Lists with up to this many values in all are sorted; longer ones go over a page.
const GATHER_MAX: usize = 96;

/// Bits that some blocks are expected to leave when these are looked up in the others. A block that
/// is folded is streamed; a bit that is looked up fetches a line of it. See `docs/performance.md`.
const FEW_EXPECTED: f64 = 40.0;

/// Bits that they may leave in fact: chance alone does not leave as many.
const FEW_MAX: u32 = 100;

/// Blocks whose bits are fetched before they are looked up; three were measured to be best.
const LOOKED_AHEAD: usize = 3;

/// What the caller needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Only the number of set bits.
    Count,
    /// The bits.
    Bits,
}

/// The result for one chunk.
pub(crate) enum Out<'a> {
    Empty,
    Full,
    /// An operand's container.
    Share(&'a Container),
    /// The list in [`Scratch::values`].
    Values,
    /// A page with so many bits set.
    Page(Box<Page>, u32),
    /// So many bits set; only where [`Want::Count`] was asked.
    Count(u32),
}

/// Buffers reused from chunk to chunk.
#[derive(Default)]
pub(crate) struct Scratch<'a> {
    pub(crate) values: Vec<u16>,
    /// The dense blocks of the next chunk, to be fetched while this one is worked on.
    pub(crate) ahead: Blocks<'a>,
    /// Pages of any content.
    pages: Vec<Box<Page>>,
    /// A page that is all zero whenever it is not in use.
    marks: Option<Box<Page>>,
}

impl Scratch<'_> {
    /// Takes the page of a container that is not needed any more, unless it is shared.
    pub(crate) fn recycle(&mut self, container: Container) {
        if let Container::Dense { page, .. } = container {
            self.pages.extend(Arc::into_inner(page));
        }
    }

    /// A page that is all zero.
    pub(crate) fn page(&mut self) -> Box<Page> {
        match self.pages.pop() {
            Some(mut page) => {
                page.0.fill(0);
                page
            }
            None => Box::new(Page::ZERO),
        }
    }
}

impl Out<'_> {
    /// The number of set bits; gives the page back.
    pub(crate) fn card(self, scratch: &mut Scratch<'_>) -> u32 {
        match self {
            Self::Empty => 0,
            Self::Full => CHUNK_BITS,
            Self::Share(container) => container.card(),
            Self::Values => narrow_size(scratch.values.len()),
            Self::Count(card) => card,
            Self::Page(page, card) => {
                scratch.pages.push(page);
                card
            }
        }
    }

    /// The number of set bits in `lo..hi`; gives the page back. Not of a count, unless it is of the
    /// whole chunk that is asked.
    pub(crate) fn card_within(self, scratch: &mut Scratch<'_>, lo: u32, hi: u32) -> u32 {
        if lo == 0 && hi == CHUNK_BITS {
            return self.card(scratch);
        }
        if let Self::Share(container) = self {
            return container.count(lo, hi);
        }
        let container = self.into_container(scratch);
        let card = container.count(lo, hi);
        scratch.recycle(container);
        card
    }

    /// The result as a container of its own. A dense one keeps the page, uncopied.
    pub(crate) fn into_container(self, scratch: &mut Scratch<'_>) -> Container {
        match self {
            Self::Empty => Container::EMPTY,
            Self::Full => Container::Full,
            Self::Share(container) => container.clone(),
            Self::Values => Container::from_values(&scratch.values),
            Self::Page(page, card) if card as usize > ARRAY_MAX && card < CHUNK_BITS => {
                Container::Dense { card, page: Arc::new(page) }
            }
            Self::Page(page, card) => {
                let container = Container::from_page(&page, card);
                scratch.pages.push(page);
                container
            }
            Self::Count(_) => unreachable!("a count where bits were asked for"),
        }
    }
}

/// Joins one chunk's containers; absent ones are all zero.
pub(crate) fn eval<'a>(
    op: BitOp,
    operands: &[Option<&'a Container>],
    scratch: &mut Scratch<'_>,
    want: Want,
) -> Out<'a> {
    let Some((first, rest)) = operands.split_first() else { return Out::Empty };
    match op {
        BitOp::And => and(operands, scratch, want),
        BitOp::Or => or(operands, scratch, want),
        BitOp::Xor => xor(operands, scratch, want),
        BitOp::Not => not(*first, scratch),
        BitOp::Diff => diff(*first, rest, scratch, want),
        BitOp::Diff1 => match first {
            None => or(rest, scratch, want),
            Some(x) => any_with(Fold::Diff1, x, rest, scratch, want),
        },
        BitOp::AndOr => match first {
            None => Out::Empty,
            Some(x) => any_with(Fold::AndOr, x, rest, scratch, want),
        },
        BitOp::One => one(operands, scratch, want),
    }
}

/// The containers that are present.
type Present<'a> = SmallVec<[&'a Container; 32]>;

/// The blocks of dense containers.
pub(crate) type Blocks<'a> = SmallVec<[&'a Block; 32]>;

fn present<'a>(operands: &[Option<&'a Container>]) -> Present<'a> {
    operands.iter().flatten().copied().collect()
}

/// The block of a dense container.
fn block(container: &Container) -> Option<&Block> {
    match container {
        Container::Dense { page, .. } => Some(&page.0),
        Container::Tiny { .. } | Container::Array(_) | Container::Runs { .. } | Container::Full => {
            None
        }
    }
}

/// The blocks of the operands, where all are dense.
fn blocks<'a>(operands: &[&'a Container]) -> Option<Blocks<'a>> {
    operands.iter().map(|container| block(container)).collect()
}

/// Folds dense blocks, storing only where bits are wanted.
fn fold_blocks<'a>(
    fold: Fold,
    first: &Block,
    rest: &[&Block],
    scratch: &mut Scratch<'_>,
    want: Want,
) -> Out<'a> {
    let operands = Operands { first, rest, ahead: &scratch.ahead };
    match want {
        Want::Count => Out::Count(kernels::fold_count(fold, operands)),
        Want::Bits => {
            let (page, card) = kernels::fold(fold, operands, scratch.pages.pop());
            Out::Page(page, card)
        }
    }
}

/// Keeps the listed values that `test` accepts.
fn filter<'a>(
    list: &[u16],
    scratch: &mut Scratch<'_>,
    mut test: impl FnMut(u16) -> bool,
) -> Out<'a> {
    scratch.values.clear();
    scratch.values.extend(list.iter().copied().filter(|value| test(*value)));
    if scratch.values.is_empty() { Out::Empty } else { Out::Values }
}

fn and<'a>(operands: &[Option<&'a Container>], scratch: &mut Scratch<'_>, want: Want) -> Out<'a> {
    let mut list = present(operands);
    if list.len() < operands.len() {
        return Out::Empty;
    }
    list.retain(|container| !matches!(container, Container::Full));
    match list[..] {
        [] => return Out::Full,
        [one] => return Out::Share(one),
        [a, b] => {
            if let Some(out) = pair::and(a, b, want) {
                return out;
            }
        }
        _ => {}
    }
    let shortest = list.iter().filter(|c| c.values().is_some()).min_by_key(|c| c.card());
    if let Some(shortest) = shortest {
        let values = shortest.values().unwrap_or_default();
        scratch.values.clear();
        scratch.values.extend_from_slice(values);
        for other in list.iter().filter(|other| !std::ptr::eq(**other, *shortest)) {
            pair::retain(scratch, other, true);
        }
        return if scratch.values.is_empty() { Out::Empty } else { Out::Values };
    }
    if are_unlike(&list, Container::card) {
        list.sort_unstable_by_key(|container| container.card());
    }
    let enough = enough_for_few(&list, Container::card);
    match split_dense(&list, enough) {
        Some((first, others)) => and_few(&first, others, scratch),
        None => fold_list(Fold::And, &list, scratch, want),
    }
}

/// Folds containers of any form, storing only where bits are wanted.
fn fold_list<'a>(
    fold: Fold,
    list: &[&Container],
    scratch: &mut Scratch<'_>,
    want: Want,
) -> Out<'a> {
    match blocks(list) {
        Some(blocks) => fold_blocks(fold, blocks[0], &blocks[1..], scratch, want),
        None => fold_pages(fold, list, scratch),
    }
}

/// The first `enough` blocks of dense containers, and the containers after them, where there are
/// some that need not be looked at.
fn split_dense<'a, 'l>(
    list: &'l [&'a Container],
    enough: usize,
) -> Option<(Blocks<'a>, &'l [&'a Container])> {
    let are_dense = list.iter().all(|container| matches!(container, Container::Dense { .. }));
    let (first, others) = list.split_at_checked(enough).filter(|_| are_dense)?;
    if others.len() < 2 { None } else { Some((blocks(first)?, others)) }
}

/// Whether it matters in which order containers are joined, some of which leave more bits than
/// others. Where it does not, the same operands are read in every chunk, one page after the other.
fn are_unlike(list: &[&Container], leaves: impl Fn(&Container) -> u32) -> bool {
    let left = list.iter().map(|container| leaves(container));
    let (least, most) =
        left.fold((u32::MAX, 0), |(least, most), left| (least.min(left), most.max(left)));
    list.len() > 2 && most - least > least / 4
}

/// How many of these containers leave few bits, each as many of those before as `leaves` says of a
/// whole chunk, if their bits lie independently; at least two.
fn enough_for_few(list: &[&Container], leaves: impl Fn(&Container) -> u32) -> usize {
    let mut left = f64::from(CHUNK_BITS);
    let few = list.iter().position(|container| {
        left *= f64::from(leaves(container)) / f64::from(CHUNK_BITS);
        left <= FEW_EXPECTED
    });
    few.map_or(list.len(), |at| at + 1).max(2)
}

/// The bits that all blocks have, of which the first are expected to have few in common: those are
/// looked up in the others.
fn and_few<'a>(first: &[&Block], others: &[&Container], scratch: &mut Scratch<'_>) -> Out<'a> {
    let operands = Operands { first: first[0], rest: &first[1..], ahead: &[] };
    let (mut page, card) = kernels::fold(Fold::And, operands, scratch.pages.pop());
    if card > FEW_MAX {
        // They are alike.
        let others = blocks(others).expect("all are dense");
        let card = kernels::fold_in_place(Fold::And, &mut page.0, &others);
        return Out::Page(page, card);
    }
    collect(&page, card, &mut scratch.values);
    scratch.pages.push(page);
    look_up(&mut scratch.values, others, true);
    if scratch.values.is_empty() { Out::Empty } else { Out::Values }
}

/// Keeps the values whose bit is `wanted` in all these dense containers.
fn look_up(values: &mut Vec<u16>, list: &[&Container], wanted: bool) {
    let block = |at: usize| list.get(at).map(|container| block(container).expect("all are dense"));
    let fetch = |at, values: &[u16]| {
        if let Some(block) = block(at) {
            kernels::fetch_bits(block, values);
        }
    };
    (0..LOOKED_AHEAD).for_each(|at| fetch(at, values));
    for (at, block) in (0..).map_while(|at| Some((at, block(at)?))) {
        if values.is_empty() {
            break;
        }
        fetch(at + LOOKED_AHEAD, values);
        pair::keep(values, |value| bits::get(block, usize::from(value)) == wanted);
    }
}

/// The bits that any block has, of which the first are expected to leave out few: those are looked
/// up in the others.
fn or_most<'a>(first: &[&Block], others: &[&Container], scratch: &mut Scratch<'_>) -> Out<'a> {
    let operands = Operands { first: first[0], rest: &first[1..], ahead: &[] };
    let (mut page, card) = kernels::fold(Fold::Or, operands, scratch.pages.pop());
    if CHUNK_BITS - card > FEW_MAX {
        // They are alike.
        let others = blocks(others).expect("all are dense");
        let card = kernels::fold_in_place(Fold::Or, &mut page.0, &others);
        return Out::Page(page, card);
    }
    bits::flip(&mut page.0, 0, CHUNK_BITS as usize);
    collect(&page, CHUNK_BITS - card, &mut scratch.values);
    look_up(&mut scratch.values, others, false);
    let left = narrow_size(scratch.values.len());
    if left == 0 {
        scratch.pages.push(page);
        return Out::Full;
    }
    page.0.fill(0xFF);
    bits::each_place(&scratch.values, |byte, mask| page.0[byte] &= !mask);
    Out::Page(page, CHUNK_BITS - left)
}

fn or<'a>(operands: &[Option<&'a Container>], scratch: &mut Scratch<'_>, want: Want) -> Out<'a> {
    let mut list = present(operands);
    if list.iter().any(|container| matches!(container, Container::Full)) {
        return Out::Full;
    }
    match list[..] {
        [] => return Out::Empty,
        [one] => return Out::Share(one),
        [a, b] => {
            if let Some(out) = pair::or(a, b, scratch, want) {
                return out;
            }
        }
        _ => {}
    }
    if gather(&list, scratch, |times| times > 0) {
        return if scratch.values.is_empty() { Out::Empty } else { Out::Values };
    }
    if are_unlike(&list, |container| CHUNK_BITS - container.card()) {
        list.sort_unstable_by_key(|container| Reverse(container.card()));
    }
    let enough = enough_for_few(&list, |container| CHUNK_BITS - container.card());
    match split_dense(&list, enough) {
        Some((first, others)) => or_most(&first, others, scratch),
        None => fold_list(Fold::Or, &list, scratch, want),
    }
}

fn xor<'a>(operands: &[Option<&'a Container>], scratch: &mut Scratch<'_>, want: Want) -> Out<'a> {
    let list = present(operands);
    match list[..] {
        [] => return Out::Empty,
        [one] => return Out::Share(one),
        _ => {}
    }
    if gather(&list, scratch, |times| times % 2 == 1) {
        return if scratch.values.is_empty() { Out::Empty } else { Out::Values };
    }
    fold_list(Fold::Xor, &list, scratch, want)
}

/// The complement of a container; the caller cuts it at the value's length.
pub(crate) fn not<'a>(container: Option<&Container>, scratch: &mut Scratch<'_>) -> Out<'a> {
    match container {
        None => Out::Full,
        Some(Container::Full) => Out::Empty,
        Some(container) => {
            let mut page = scratch.page();
            container.store(&mut page);
            bits::flip(&mut page.0, 0, CHUNK_BITS as usize);
            Out::Page(page, CHUNK_BITS - container.card())
        }
    }
}

fn diff<'a>(
    first: Option<&'a Container>,
    rest: &[Option<&'a Container>],
    scratch: &mut Scratch<'_>,
    want: Want,
) -> Out<'a> {
    let list = present(rest);
    let Some(first) = first else { return Out::Empty };
    if list.iter().any(|container| matches!(container, Container::Full)) {
        return Out::Empty;
    }
    if list.is_empty() {
        return Out::Share(first);
    }
    if let Some(values) = first.values() {
        scratch.values.clear();
        scratch.values.extend_from_slice(values);
        pair::remove(scratch, &list);
        return if scratch.values.is_empty() { Out::Empty } else { Out::Values };
    }
    if let (Container::Dense { page, .. }, Some(blocks)) = (first, blocks(&list)) {
        return fold_blocks(Fold::Diff, &page.0, &blocks, scratch, want);
    }
    let mut all = Present::new();
    all.push(first);
    all.extend(list);
    fold_pages(Fold::Diff, &all, scratch)
}

/// The union of `rest`, less `x` ([`Fold::Diff1`]) or cut to `x` ([`Fold::AndOr`]).
fn any_with<'a>(
    fold: Fold,
    x: &'a Container,
    rest: &[Option<&'a Container>],
    scratch: &mut Scratch<'_>,
    want: Want,
) -> Out<'a> {
    let inside = fold == Fold::AndOr;
    let list = present(rest);
    if list.is_empty() || (!inside && matches!(x, Container::Full)) {
        return Out::Empty;
    }
    if let (true, Some(values)) = (inside, x.values())
        && pair::is_looked_up(values, &list)
    {
        return filter(values, scratch, |value| list.iter().any(|c| c.get(value)));
    }
    if let (Container::Dense { page, .. }, Some(blocks)) = (x, blocks(&list)) {
        return fold_blocks(fold, &page.0, &blocks, scratch, want);
    }
    match or(rest, scratch, Want::Bits) {
        Out::Share(any) if inside => and(&[Some(any), Some(x)], scratch, want),
        Out::Share(any) => diff(Some(any), &[Some(x)], scratch, want),
        Out::Full if inside => Out::Share(x),
        Out::Full => not(Some(x), scratch),
        Out::Values => {
            pair::retain(scratch, x, inside);
            if scratch.values.is_empty() { Out::Empty } else { Out::Values }
        }
        Out::Page(mut page, _) => {
            let mut own = scratch.page();
            x.store(&mut own);
            let fold = if inside { Fold::And } else { Fold::Diff };
            let card = kernels::fold_in_place(fold, &mut page.0, &[&own.0]);
            scratch.pages.push(own);
            Out::Page(page, card)
        }
        Out::Empty | Out::Count(_) => Out::Empty,
    }
}

fn one<'a>(operands: &[Option<&'a Container>], scratch: &mut Scratch<'_>, want: Want) -> Out<'a> {
    let list = present(operands);
    if list.len() <= 2 {
        return xor(operands, scratch, want);
    }
    if gather(&list, scratch, |times| times == 1) {
        return if scratch.values.is_empty() { Out::Empty } else { Out::Values };
    }
    if let Some(blocks) = blocks(&list) {
        return fold_blocks(Fold::One, blocks[0], &blocks[1..], scratch, want);
    }
    many::one(&list, scratch)
}
