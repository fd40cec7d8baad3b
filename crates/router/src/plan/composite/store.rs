//! BM.QUERY STORE: an expression becomes the value of a key.
//!
//! Later segments are staged where the operands' lie; the first one is staged at the target's home,
//! by itself where it has all operands, else from what the router has evaluated. The reply counts
//! exactly what is published: every group what it has staged, and home what it has made its own.
//! A target that is an operand is held, so that no write to it is lost.

use bitroster_command::{Header, ReadOp, Reply, Seen, StageFrom, composite::Expression};
use bitroster_types::{GroupId, Key};

use super::{
    operands::Operands,
    places::{First, Places},
};
use crate::{
    call::{Call, Step, Stop, count_of},
    plan::{
        combine::remove,
        gather,
        publish::{COUNT_ALL, Draft, encoded, hold},
    },
};

/// Makes the result the value of `target`: how many bits it has.
pub(super) async fn store(call: &Call, of: &Expression, target: &Key) -> Step<Reply> {
    let operands = Operands::open(call, &of.keys).await?;
    let old = of.keys.iter().position(|key| key == target);
    let is_absent_operand = old.is_some_and(|place| operands.header(place).is_none());
    let Ok(places) = Places::over(call, &of.formula, operands).await? else {
        // A target that is an operand and not there stays what it is.
        return if is_absent_operand { Ok(Reply::Integer(0)) } else { remove(call, target).await };
    };
    if let Some(header) = old.and_then(|place| places.operands.header(place)) {
        return over_operand(call, &places, target, header).await;
    }
    if places.edge(false).await?.is_none() {
        places.confirm().await?;
        return if is_absent_operand { Ok(Reply::Integer(0)) } else { remove(call, target).await };
    }
    let len_bytes = places.operands.len_bytes(call).await?;
    let draft = Draft::reserve(call, target, false).await?;
    let seen = if old.is_some() { Seen::Absent } else { Seen::Any };
    publish(call, &places, target, len_bytes, (draft, seen)).await
}

/// As [`store`], over a target that is an operand and there.
async fn over_operand(
    call: &Call,
    places: &Places<'_>,
    target: &Key,
    header: &Header,
) -> Step<Reply> {
    let len_bytes = places.operands.len_bytes(call).await?;
    // A write to it in the meantime would be neither in the result nor after it.
    let held = hold(call, target, header, None).await?;
    let looked = async {
        let len = gather::len_bytes(call, target, &held.header).await?;
        if held.header.modified != header.modified || len > len_bytes {
            // It has changed since the operands were opened.
            return Err(Stop::Again);
        }
        places.edge(false).await
    };
    let seen = held.seen();
    match looked.await {
        Ok(Some(_)) => publish(call, places, target, len_bytes, (held.draft, seen)).await,
        Ok(None) => {
            if let Err(stop) = places.confirm().await {
                return Err(held.draft.abandon(stop).await);
            }
            held.draft.publish_nothing(seen).await?;
            Ok(Reply::Integer(0))
        }
        Err(stop) => Err(held.draft.abandon(stop).await),
    }
}

/// Stages the result everywhere and makes it the target's value.
async fn publish(
    call: &Call,
    places: &Places<'_>,
    target: &Key,
    len_bytes: u64,
    (mut draft, seen): (Draft<'_>, Seen),
) -> Step<Reply> {
    let staged = async {
        stage(call, places, target, len_bytes, &mut draft).await?;
        let away = count_staged(call, target, &draft).await?;
        confirm(call, places, target).await?;
        Ok(away)
    };
    match staged.await {
        Ok(away) => {
            let here = draft.publish_counted(seen, len_bytes).await?;
            Ok(gather::number(away + here))
        }
        Err(stop) => Err(draft.abandon(stop).await),
    }
}

/// Checks that the operands were what has been staged of them. The result is cut at the length that
/// they had at first; and the first segment of one that is whole is read apart from its others,
/// unless the target's home has staged both.
async fn confirm(call: &Call, places: &Places<'_>, target: &Key) -> Step<()> {
    let (is_local, width) = (is_local(call, places, target), call.map.width().bytes());
    let is_same = |then: &Header, now: &Header| {
        let is_one_look = is_local || then.len_bytes <= width;
        then.len_bytes == now.len_bytes && (is_one_look || then.modified == now.modified)
    };
    places.operands.confirm(call, is_same).await
}

/// Whether the target's home has all operands, and evaluates what it keeps by itself.
fn is_local(call: &Call, places: &Places<'_>, target: &Key) -> bool {
    matches!(places.first, First::At(home) if home == call.map.home(target))
}

/// Stages the result under the target's name.
async fn stage(
    call: &Call,
    places: &Places<'_>,
    target: &Key,
    len_bytes: u64,
    draft: &mut Draft<'_>,
) -> Step<()> {
    let (home, width) = (call.map.home(target), call.map.width().bits());
    let from = |start: u64| StageFrom::Evaluate {
        formula: places.formula.clone(),
        sources: places.sources.clone(),
        range: (start, len_bytes * 8),
        len_bytes,
    };
    let is_local = is_local(call, places, target);
    let later = width < len_bytes * 8;
    let groups = places.groups.iter().filter(|group| later && !(is_local && **group == home));
    let mut shares: Vec<(GroupId, Vec<StageFrom>)> =
        groups.map(|group| (*group, vec![from(width)])).collect();
    if is_local {
        shares.push((home, vec![from(0)]));
    } else {
        let first = places.value(0..width.min(len_bytes * 8)).await?;
        if first.cardinality() > 0 {
            shares.push((home, vec![encoded(&first)]));
        }
    }
    draft.stage(shares).await
}

/// How many bits the groups other than home have staged.
async fn count_staged(call: &Call, target: &Key, draft: &Draft<'_>) -> Step<u64> {
    let version = Some(draft.version());
    let counts = call
        .each(draft.spread().to_vec(), |group| async move {
            let op = ReadOp::Part { key: target.clone(), version, query: COUNT_ALL };
            count_of(call.ask(group, op).await?)
        })
        .await?;
    Ok(counts.into_iter().sum())
}
