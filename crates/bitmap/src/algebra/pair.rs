//! Short ways for two containers.

use super::{Out, Scratch, Want};
use crate::bits;
use crate::container::{ARRAY_MAX, Container};

/// A list this many times shorter than the other is looked up in it value by value.
const GALLOP_FACTOR: usize = 32;

/// Keeps the values that are in `other` (`inside`) or are not.
pub(super) fn retain(values: &mut Vec<u16>, other: &Container, inside: bool) {
    match other.values() {
        Some(list) if values.len() * GALLOP_FACTOR > list.len() => {
            merge(values, list, inside);
        }
        _ => values.retain(|value| other.get(*value) == inside),
    }
}

/// Keeps the values that are in `list` (`inside`) or are not, without a branch that depends on them:
/// their order is as good as random.
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
    scratch: &mut Scratch,
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
