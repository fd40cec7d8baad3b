//! Offsets by their ranks, without listing those before them: counts of ever smaller steps lead to
//! where they are.

use std::ops::Range;

use super::places::{ALL, Places, Steps};
use crate::call::{Call, Step, Stop};

/// Steps that one question counts: answers stay small, and three questions reach every bit.
const STEPS_MAX: u64 = 4096;

/// Bits that are listed rather than counted in smaller steps.
const LISTED_MAX: u64 = 16 << 10;

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
    let Some((steps, counts)) = overview(places).await? else { return Ok(Vec::new()) };
    let total: u64 = counts.iter().sum();
    let count = count.min(total);
    let rank = |at: u64| {
        let rank = u128::from(at) * u128::from(total) / u128::from(count.max(1));
        u64::try_from(rank).expect("below the total")
    };
    let ranks = (0..count).map(rank).collect();
    let found = find(places, divided(&steps, &counts, ranks)).await?;
    Ok(found.into_iter().flatten().collect())
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
    let Some((steps, counts)) = overview(places).await? else { return Ok(Vec::new()) };
    let total: u64 = counts.iter().sum();
    let rank = match u64::try_from(rank) {
        Ok(rank) => Some(rank),
        Err(_) => total.checked_sub(rank.unsigned_abs()),
    };
    let Some(rank) = rank.filter(|rank| *rank < total) else { return Ok(Vec::new()) };
    let found = find(places, divided(&steps, &counts, vec![rank])).await?;
    let Some(first) = found.into_iter().next().flatten() else {
        // Bits before it went while they were counted.
        return Err(Stop::Again);
    };
    if count == 1 { Ok(vec![first]) } else { places.list(first..ALL.end, count, false).await }
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

/// The steps that wanted ranks lie in.
fn divided(steps: &Steps, counts: &[u64], ranks: Vec<u64>) -> Vec<Search> {
    let mut searches: Vec<Search> = Vec::new();
    let mut ranks = ranks.into_iter().peekable();
    let mut before = 0;
    for (at, count) in counts.iter().enumerate() {
        let mut within = Vec::new();
        while let Some(rank) = ranks.next_if(|rank| *rank < before + count) {
            within.push(rank - before);
        }
        if !within.is_empty() {
            searches.push(Search { range: steps.bits(at), count: *count, ranks: within });
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
        let done = call.each(left, |search| look(places, search)).await?;
        left = Vec::new();
        for looked in done {
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
