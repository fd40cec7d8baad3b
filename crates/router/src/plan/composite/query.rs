//! What is asked of an expression, but for BM.QUERY STORE.

use bitroster_bitmap::Formula;
use bitroster_command::{
    ReadCommand, Reply,
    composite::{Ask, Expression},
};
use bitroster_types::{Key, limits::LIST_OFFSETS_MAX};

use super::{
    places::{ALL, Places, Steps, cursor},
    select, store,
};
use crate::{
    call::{Call, Step},
    plan::{combine, gather::number},
};

/// Answers an expression.
pub(super) async fn run(call: &Call, of: &Expression, ask: &Ask) -> Step<Reply> {
    if let (Ask::Count, Some(key)) = (ask, sole_key(of)) {
        return Ok(call
            .complete_read(&ReadCommand::BitCount { key: key.clone(), range: None })
            .await?);
    }
    if let Ask::Store { target } = ask {
        return store::store(call, of, target).await;
    }
    let Some(places) = Places::open(call, of).await? else {
        return nothing(call, ask).await;
    };
    let reply = of_places(&places, ask).await?;
    places.confirm().await?;
    Ok(reply)
}

/// The key that an expression is, where it is no more than that.
fn sole_key(of: &Expression) -> Option<&Key> {
    of.keys.first().filter(|_| of.formula == Formula::only())
}

async fn of_places(places: &Places<'_>, ask: &Ask) -> Step<Reply> {
    Ok(match ask {
        Ask::Count => number(places.count(ALL).await?),
        Ask::List { range, limit, has_cursor } => list(places, *range, *limit, *has_cursor).await?,
        Ask::Sample { count } => offsets(select::sample(places, *count).await?),
        Ask::Edge { last } => offset(places.edge(*last).await?),
        Ask::Select { rank, count: None } => {
            offset(select::from_rank(places, *rank, 1).await?.into_iter().next())
        }
        Ask::Select { rank, count: Some(count) } => {
            offsets(select::from_rank(places, *rank, *count).await?)
        }
        Ask::Density { range, parts } => density(places, *range, *parts).await?,
        Ask::Store { .. } => unreachable!("answered before"),
    })
}

/// Answers an expression without bits.
pub(super) async fn nothing(call: &Call, ask: &Ask) -> Step<Reply> {
    Ok(match ask {
        Ask::Store { target } => combine::remove(call, target).await?,
        Ask::Count => number(0),
        Ask::List { has_cursor: true, .. } => page(None, Vec::new()),
        Ask::List { has_cursor: false, .. }
        | Ask::Sample { .. }
        | Ask::Select { count: Some(_), .. } => offsets(Vec::new()),
        Ask::Edge { .. } | Ask::Select { count: None, .. } => offset(None),
        Ask::Density { parts, .. } => Reply::Array((0..*parts).map(|_| number(0)).collect()),
    })
}

async fn list(
    places: &Places<'_>,
    (start, end): (u64, u64),
    limit: u64,
    has_cursor: bool,
) -> Step<Reply> {
    let limit = limit.min(LIST_OFFSETS_MAX);
    if !has_cursor {
        return Ok(offsets(places.list(start..end.max(start), limit, false).await?));
    }
    // One more than is answered: where to go on from, and whether there is anything.
    let limit = limit.max(1);
    let mut found = places.list(start..end.max(start), limit + 1, false).await?;
    let next = if found.len() as u64 > limit { found.pop() } else { None };
    Ok(page(next, found))
}

/// Counts of parts of equal length; a part past the end of the range has none.
async fn density(places: &Places<'_>, (start, end): (u64, u64), parts: u64) -> Step<Reply> {
    let len = usize::try_from(parts).unwrap_or(usize::MAX);
    let step = end.saturating_sub(start).div_ceil(parts.max(1)).max(1);
    let steps = Steps { range: start..end.max(start), step };
    let mut counts = places.histogram(&steps).await?;
    counts.resize(len, 0);
    Ok(Reply::Array(counts.into_iter().map(number).collect()))
}

/// An offset, or -1.
fn offset(offset: Option<u64>) -> Reply {
    offset.map_or(Reply::Integer(-1), number)
}

fn offsets(offsets: Vec<u64>) -> Reply {
    Reply::Array(offsets.into_iter().map(number).collect())
}

/// What SCAN answers: where to go on, and what there is.
pub(super) fn page(next: Option<u64>, found: Vec<u64>) -> Reply {
    Reply::Array(vec![cursor(next), offsets(found)])
}
