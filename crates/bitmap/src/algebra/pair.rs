//! Short ways for two containers.

use super::{Out, Present, Scratch, Want};
use crate::bits;
use crate::container::{ARRAY_MAX, Container};
use crate::kernels::Page;

/// A list this many times shorter than the other is looked up in it value by value.
const LOOK_UP_FACTOR: usize = 32;

/// Lists shorter than this are merged; longer ones are marked in a page, which costs the same for
/// each value, while the steps of a merge wait for one another.
const MERGE_MAX: usize = 48;

/// Lists with more values than this are unmarked by clearing the page, which costs the same for
/// any list.
const UNMARK_MAX: usize = 128;

/// Keeps the scratch values that are in `other` (`inside`) or are not.
pub(super) fn retain(scratch: &mut Scratch<'_>, other: &Container, inside: bool) {
    let Scratch { values, marks, .. } = scratch;
    if let Container::Dense { page, .. } = other {
        return keep(values, |value| bits::get(&page.0, usize::from(value)) == inside);
    }
    match other.values() {
        Some(list) if is_marked(values.len(), list.len()) => {
            let page = marks.get_or_insert_with(|| Box::new(Page::ZERO));
            bits::each_place(list, |byte, mask| page.0[byte] |= mask);
            keep(values, |value| bits::get(&page.0, usize::from(value)) == inside);
            unmark(page, list);
        }
        Some(list) if values.len() * LOOK_UP_FACTOR > list.len() => merge(values, list, inside),
        _ => values.retain(|value| other.get(*value) == inside),
    }
}

/// Whether `values` are better looked up in each of `others` than in the union of all.
pub(super) fn is_looked_up(values: &[u16], others: &[&Container]) -> bool {
    let listed: usize = others.iter().filter_map(|other| other.values()).map(<[u16]>::len).sum();
    let steps = values.len() * others.len() * LOOK_UP_FACTOR;
    values.len() < MERGE_MAX || listed == 0 || listed >= steps
}

/// Whether a list of `other` values is marked in a page, to test `values` values against it.
fn is_marked(values: usize, other: usize) -> bool {
    other >= MERGE_MAX && values * LOOK_UP_FACTOR > other
}

/// Clears a page in which only the values of `list` are set.
fn unmark(page: &mut Page, list: &[u16]) {
    if list.len() > UNMARK_MAX {
        page.0.fill(0);
    } else {
        list.iter().for_each(|value| page.0[usize::from(*value >> 3)] = 0);
    }
}

/// Keeps the scratch values that are in none of `others`. Long lists are marked together, so that
/// the values are gone through once.
pub(super) fn remove(scratch: &mut Scratch<'_>, others: &[&Container]) {
    let mut marked = Present::new();
    for other in others {
        let list = other.values().unwrap_or_default();
        if is_marked(scratch.values.len(), list.len()) {
            marked.push(other);
        } else {
            retain(scratch, other, false);
        }
    }
    if let [one] = marked[..] {
        return retain(scratch, one, false);
    }
    let Scratch { values, marks, .. } = scratch;
    if marked.is_empty() || values.is_empty() {
        return;
    }
    let page = marks.get_or_insert_with(|| Box::new(Page::ZERO));
    for list in marked.iter().flat_map(|other| other.values()) {
        bits::each_place(list, |byte, mask| page.0[byte] |= mask);
    }
    keep(values, |value| !bits::get(&page.0, usize::from(value)));
    page.0.fill(0);
}

/// Keeps the values that `test` accepts, without a branch on the answer.
pub(super) fn keep(values: &mut Vec<u16>, test: impl Fn(u16) -> bool) {
    let mut kept = 0;
    for i in 0..values.len() {
        let value = values[i];
        values[kept] = value;
        kept += usize::from(test(value));
    }
    values.truncate(kept);
}

/// Keeps the values that are in `list` (`inside`) or are not, without a branch that depends on
/// them: their order is as good as random.
fn merge(values: &mut Vec<u16>, list: &[u16], inside: bool) {
    let (mut kept, mut i, mut j) = (0, 0, 0);
    while i < values.len() && j < list.len() {
        let (x, y) = (values[i], list[j]);
        values[kept] = x;
        kept += usize::from(if inside { x == y } else { x < y });
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    if !inside {
        let rest = values.len() - i;
        values.copy_within(i.., kept);
        kept += rest;
    }
    values.truncate(kept);
}

/// The intersection, where a short way exists: neither is full.
pub(super) fn and<'a>(a: &Container, b: &Container, want: Want) -> Option<Out<'a>> {
    let ((Container::Runs { runs, .. }, other) | (other, Container::Runs { runs, .. })) = (a, b)
    else {
        return None;
    };
    if want == Want::Bits {
        return None;
    }
    // Counted run by run.
    let spans = runs.iter().map(|run| run.span());
    match other {
        Container::Dense { page, .. } => Some(Out::Count(
            spans.map(|(lo, hi)| bits::count(&page.0, lo as usize, hi as usize)).sum(),
        )),
        Container::Runs { runs: others, .. } => {
            let (mut card, mut at) = (0, 0);
            for (lo, hi) in spans {
                while at < others.len() && others[at].span().1 <= lo {
                    at += 1;
                }
                let mut next = at;
                while next < others.len() && others[next].span().0 < hi {
                    let (from, to) = others[next].span();
                    card += to.min(hi) - from.max(lo);
                    next += 1;
                }
            }
            Some(Out::Count(card))
        }
        Container::Tiny { .. } | Container::Array(_) | Container::Full => None,
    }
}

/// The union, where a short way exists: neither is full.
pub(super) fn or<'a>(
    a: &Container,
    b: &Container,
    scratch: &mut Scratch<'_>,
    want: Want,
) -> Option<Out<'a>> {
    if want == Want::Count {
        // Two sides: what both have is cheaper to count than what either has.
        let both = super::and(&[Some(a), Some(b)], scratch, Want::Count).card(scratch);
        return Some(Out::Count(a.card() + b.card() - both));
    }
    let (a, b) = (a.values()?, b.values()?);
    if a.len() + b.len() > ARRAY_MAX {
        return None;
    }
    let out = &mut scratch.values;
    out.clear();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        out.push(x.min(y));
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
    Some(Out::Values)
}
