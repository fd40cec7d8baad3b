//! Short ways for two containers.

use super::{Out, Scratch, Want};
use crate::bits;
use crate::container::{ARRAY_MAX, Container};
use crate::kernels::Page;

/// A list this many times shorter than the other is looked up in it value by value.
const LOOK_UP_FACTOR: usize = 16;

/// Lists shorter than this are merged; longer ones are marked in a page, which costs the same for
/// each value, while the steps of a merge wait for one another.
const MERGE_MAX: usize = 48;

/// Keeps the scratch values that are in `other` (`inside`) or are not.
pub(super) fn retain(scratch: &mut Scratch<'_>, other: &Container, inside: bool) {
    let Scratch { values, marks, .. } = scratch;
    if let Container::Dense { page, .. } = other {
        return keep(values, |value| bits::get(&page.0, usize::from(value)) == inside);
    }
    match other.values() {
        Some(list) if values.len() * LOOK_UP_FACTOR > list.len() => {
            if list.len() < MERGE_MAX {
                return merge(values, list, inside);
            }
            let page = marks.get_or_insert_with(|| Box::new(Page::ZERO));
            list.iter().for_each(|v| page.0[usize::from(*v >> 3)] |= 0x80 >> (v & 7));
            keep(values, |value| bits::get(&page.0, usize::from(value)) == inside);
            list.iter().for_each(|v| page.0[usize::from(*v >> 3)] = 0);
        }
        _ => values.retain(|value| other.get(*value) == inside),
    }
}

/// Keeps the values that `test` accepts, without a branch on the answer.
fn keep(values: &mut Vec<u16>, test: impl Fn(u16) -> bool) {
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
