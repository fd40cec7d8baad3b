//! Ranges in names: `prefix{A..B}suffix` stands for several names.
//!
//! `A` and `B` are two dates of the same form (`2026-11-21`, `2026-11`, `2026-W47`,
//! `2026-11-21T09`) or two integers (`1..30`; `01..30` keeps the width). Braces around anything
//! else are part of the name, as those of a hash tag are.

use crate::dates::{Period, unit_of};

/// Digits of an integer that always fit 64 bits.
const DIGITS_MAX: usize = 19;

/// Longest text between the braces of a range: two integers.
const INSIDE_BYTES_MAX: usize = 2 * DIGITS_MAX + 2;

/// The names of a range, one after the other. They are made when asked for.
pub(super) struct Range<'a> {
    prefix: &'a [u8],
    suffix: &'a [u8],
    members: Members,
}

enum Members {
    Periods { next: Option<Period>, last: Period },
    Integers { next: Option<u64>, last: u64, width: usize },
}

impl Iterator for Range<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let member = match &mut self.members {
            Members::Periods { next, last } => {
                let period = (*next)?;
                *next = if period == *last { None } else { period.step(1) };
                period.to_string()
            }
            Members::Integers { next, last, width } => {
                let number = (*next)?;
                *next = if number == *last { None } else { Some(number + 1) };
                format!("{number:0width$}", width = *width)
            }
        };
        Some([self.prefix, member.as_bytes(), self.suffix].concat())
    }
}

/// The range of a name, or what is wrong with it; `None` where it has none.
pub(super) fn find(name: &[u8]) -> Option<Result<Range<'_>, &'static str>> {
    let (open, close, found) = locate(name)?;
    let (prefix, suffix) = (&name[..open], &name[close + 1..]);
    if locate(suffix).is_some() {
        return Some(Err("a second range in a name"));
    }
    Some(found.map(|members| Range { prefix, suffix, members }))
}

/// Where the first braces around a range open and close, and what is between them. Costs as much as
/// the name is long: what is far apart is no range.
fn locate(name: &[u8]) -> Option<(usize, usize, Result<Members, &'static str>)> {
    let mut from = 0;
    loop {
        let open = from + name[from..].iter().position(|byte| *byte == b'{')?;
        let near = &name[..name.len().min(open + INSIDE_BYTES_MAX + 2)];
        from = open + 1;
        let Some(close) = place(near, open, b"}") else { continue };
        let inside = &name[open + 1..close];
        let dots = place(inside, 0, b"..");
        let found = dots.and_then(|dots| members(&inside[..dots], &inside[dots + 2..]));
        if let Some(found) = found {
            return Some((open, close, found));
        }
    }
}

/// Where `what` is in `text`, from a place on.
fn place(text: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    text[from..].windows(what.len()).position(|window| window == what).map(|at| from + at)
}

/// What lies between two ends, or what is wrong with them; `None` where these are no ends.
fn members(first: &[u8], last: &[u8]) -> Option<Result<Members, &'static str>> {
    let is_integer =
        |text: &[u8]| (1..=DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    match (unit_of(first), unit_of(last)) {
        (Some(one), Some(other)) if one != other => Some(Err("a range of two kinds of dates")),
        (Some(_), Some(_)) => Some(periods(first, last)),
        (None, None) if is_integer(first) && is_integer(last) => Some(integers(first, last)),
        _ => None,
    }
}

fn periods(first: &[u8], last: &[u8]) -> Result<Members, &'static str> {
    let ends = Period::parse(first).zip(Period::parse(last));
    let (first, last) = ends.ok_or("a range with a date that there is not")?;
    if first.count_to(last) == 0 {
        return Err(BACKWARDS);
    }
    Ok(Members::Periods { next: Some(first), last })
}

fn integers(first: &[u8], last: &[u8]) -> Result<Members, &'static str> {
    let is_padded = |text: &[u8]| text.len() > 1 && text[0] == b'0';
    let width = if is_padded(first) || is_padded(last) { first.len().max(last.len()) } else { 0 };
    let number = |text: &[u8]| {
        text.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'))
    };
    let (first, last) = (number(first), number(last));
    if first > last {
        return Err(BACKWARDS);
    }
    Ok(Members::Integers { next: Some(first), last, width })
}

const BACKWARDS: &str = "a range that ends before it begins";
