//! Offsets by their ranks, without listing those before them: counts of ever smaller steps lead to
//! where they are.

use std::ops::Range;

use super::places::{ALL, Places, Steps};
use crate::call::{Call, Step, Stop};

/// Steps that one question counts: answers stay small, and three questions reach every bit.
const STEPS_MAX: u64 = 4096;

/// Bits that are listed rather than counted in smaller steps.
const LISTED_MAX: u64 = 16 << 10;

/// Searches after which the deadline is looked at.
const SEARCHES_AT_ONCE: usize = 256;

/// A range in which offsets are looked for.
struct Search {
    range: Range<u64>,
    /// How many bits it had when they were counted.
    count: u64,
    /// The wanted ranks within the range, ascending.
    ranks: Vec<u64>,
}

/// The offsets of `count` bits, evenly chosen by rank, ascending; all where there are fewer.
pub(super) async fn sample(places: &Places<'_>, count: u64) -> Step<Vec<u64>> {
    if let Some(value) = places.at_one_look().await? {
        let mut ranks = chosen(count, value.cardinality()).into_iter().peekable();
        let offsets = (0_u64..).zip(value.iter_set(ALL));
        let is_chosen = |(rank, _): &(u64, u64)| ranks.next_if_eq(rank).is_some();
        return Ok(offsets.filter(is_chosen).map(|(_, offset)| offset).collect());
    }
    let Some((steps, counts)) = overview(places).await? else { return Ok(Vec::new()) };
    let ranks = chosen(count, counts.iter().sum());
    let found = find(places, divided(&steps, &counts, ranks)).await?;
    Ok(found.into_iter().flatten().collect())
}

/// Up to `count` ranks below a total, evenly, ascending.
fn chosen(count: u64, total: u64) -> Vec<u64> {
    let count = count.min(total);
    let rank = |at: u64| {
        let rank = u128::from(at) * u128::from(total) / u128::from(count);
        u64::try_from(rank).expect("below the total")
    };
    (0..count).map(rank).collect()
}

/// The offsets of up to `count` bits from the one of a rank on. A negative rank counts from the
/// end.
pub(super) async fn from_rank(places: &Places<'_>, rank: i64, count: u64) -> Step<Vec<u64>> {
    if rank == 0 {
        return places.list(ALL, count, false).await;
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    if let Some(value) = places.at_one_look().await? {
        let Some(rank) = from_start(rank, value.cardinality()) else { return Ok(Vec::new()) };
        let (rank, count) = (saturated(rank), saturated(count));
        return Ok(value.iter_set(ALL).skip(rank).take(count).collect());
    }
    let Some((steps, counts)) = overview(places).await? else { return Ok(Vec::new()) };
    let Some(rank) = from_start(rank, counts.iter().sum()) else { return Ok(Vec::new()) };
    let found = find(places, divided(&steps, &counts, vec![rank])).await?;
    let Some(first) = found.into_iter().next().flatten() else {
        // Bits before it went while they were counted.
        return Err(Stop::Again);
    };
    if count == 1 { Ok(vec![first]) } else { places.list(first..ALL.end, count, false).await }
}

/// A rank, negative from the end, as one below the total.
fn from_start(rank: i64, total: u64) -> Option<u64> {
    let rank = match u64::try_from(rank) {
        Ok(rank) => Some(rank),
        Err(_) => total.checked_sub(rank.unsigned_abs()),
    };
    rank.filter(|rank| *rank < total)
}

fn saturated(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Counts from the first bit to the last; `None` where there is none.
async fn overview(places: &Places<'_>) -> Step<Option<(Steps, Vec<u64>)>> {
    let Some(last) = places.edge(true).await? else { return Ok(None) };
    let steps = stepped(0..last + 1);
    let counts = places.histogram(&steps).await?;
    Ok(Some((steps, counts)))
}

/// A range in as many steps as one question counts.
fn stepped(range: Range<u64>) -> Steps {
    let step = (range.end - range.start).div_ceil(STEPS_MAX).max(1);
    Steps { range, step }
}

/// The steps that wanted ranks lie in; those together that have no more bits than are listed.
fn divided(steps: &Steps, counts: &[u64], ranks: Vec<u64>) -> Vec<Search> {
    let mut searches: Vec<Search> = Vec::new();
    let mut ranks = ranks.into_iter().peekable();
    // Bits before this step, and before the first one of the last search.
    let (mut before, mut starts) = (0, 0);
    for (at, count) in counts.iter().enumerate() {
        let mut within = Vec::new();
        while let Some(rank) = ranks.next_if(|rank| *rank < before + count) {
            within.push(rank - before);
        }
        if !within.is_empty() {
            let range = steps.bits(at);
            match searches.last_mut() {
                Some(last) if before + count - starts <= LISTED_MAX => {
                    last.range.end = range.end;
                    last.count = before + count - starts;
                    last.ranks.extend(within.iter().map(|rank| rank + before - starts));
                }
                Some(_) | None => {
                    starts = before;
                    searches.push(Search { range, count: *count, ranks: within });
                }
            }
        }
        before += count;
    }
    searches
}

/// The offsets that are looked for, in order; `None` for one that is not there any more.
async fn find(places: &Places<'_>, searches: Vec<Search>) -> Step<Vec<Option<u64>>> {
    let call: &Call = places.call();
    let mut found = Vec::new();
    let mut left = searches;
    while !left.is_empty() {
        call.check_deadline()?;
        let now = left.split_off(left.len().saturating_sub(SEARCHES_AT_ONCE));
        for looked in call.each(now, |search| look(places, search)).await? {
            match looked {
                Looked::Found(offsets) => found.extend(offsets),
                Looked::Closer(searches) => left.extend(searches),
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What came of one look at a range.
enum Looked {
    Found(Vec<Option<u64>>),
    Closer(Vec<Search>),
}

async fn look(places: &Places<'_>, search: Search) -> Step<Looked> {
    let Search { range, count, ranks } = search;
    if count > LISTED_MAX && range.end - range.start > LISTED_MAX {
        let steps = stepped(range);
        let counts = places.histogram(&steps).await?;
        let wanted = ranks.len();
        let searches = divided(&steps, &counts, ranks);
        let kept: usize = searches.iter().map(|search| search.ranks.len()).sum();
        return if kept == wanted { Ok(Looked::Closer(searches)) } else { Err(Stop::Again) };
    }
    let limit = ranks.last().map_or(0, |last| last + 1);
    let offsets = places.list(range, limit, false).await?;
    let offset = |rank: u64| usize::try_from(rank).ok().and_then(|at| offsets.get(at).copied());
    Ok(Looked::Found(ranks.into_iter().map(offset).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_steps_with_few_bits_are_searched_together() {
        let steps = Steps { range: 0..60_000, step: 10_000 };
        let counts = [10, 0, 5000, 8000, 9000, 1];
        let searches = divided(&steps, &counts, vec![3, 5009, 5010, 13_010, 22_010]);
        let found: Vec<(Range<u64>, u64, Vec<u64>)> =
            searches.into_iter().map(|search| (search.range, search.count, search.ranks)).collect();
        let first = (0..40_000, 13_010, vec![3, 5009, 5010]);
        assert_eq!(found, [first, (40_000..60_000, 9001, vec![0, 9000])]);
    }
}
