//! BM.PURGE: clears one bit in every key.

use std::collections::BTreeSet;

use bitroster_bitmap::Bitmap;
use bitroster_command::{MergeMode, ReadOp, Reply, WriteCommand};
use bitroster_types::{GroupId, Key};
use bytes::Bytes;

use super::{matrix::key_of, places::misfit};
use crate::{
    call::{Call, Step, Stop, count_of, reply_of},
    plan::{gather::number, merge, write::write_pieces},
};

/// Names that a group is asked for at a time, at first.
const NAMES: u64 = 4096;

/// Clears a bit wherever it is set: in how many keys that was.
pub(super) async fn run(call: &Call, id: u64, pattern: &Bytes, is_dry: bool) -> Step<Reply> {
    let groups = groups_of(call, id);
    if is_dry {
        let held = call
            .each(groups, |group| async move { holding(call, group, (pattern, id), 0).await })
            .await?;
        return Ok(number(held.iter().map(|(total, _)| total).sum()));
    }
    let cleared = call
        .each(groups, |group| async move { Ok(clear_in(call, group, pattern, id).await) })
        .await?;
    let is_begun = cleared.iter().any(|(cleared, _)| *cleared > 0);
    let mut sum = 0;
    for (cleared, stop) in cleared {
        sum += cleared;
        match stop {
            Some(stop) if is_begun => return Err(call.after_change(stop)),
            Some(stop) => return Err(stop),
            None => {}
        }
    }
    Ok(number(sum))
}

/// The groups that may hold the bit of some key: the homes of all, or the one of its segment.
fn groups_of(call: &Call, id: u64) -> Vec<GroupId> {
    let segment = call.map.width().segment_of(id);
    if segment.is_first() {
        call.map.groups().to_vec()
    } else {
        vec![call.map.group_of(b"", segment)]
    }
}

/// Clears the bit in the keys of one group: how many, and what stopped it.
///
/// Asks again until nobody has the bit. A part that is about to go may keep its name on the list:
/// where a round changes nothing the next one asks for more names, to the last.
async fn clear_in(call: &Call, group: GroupId, pattern: &Bytes, id: u64) -> (u64, Option<Stop>) {
    let mut cleared = 0;
    let mut limit = NAMES;
    loop {
        let (total, keys) = match holding(call, group, (pattern, id), limit).await {
            Ok(held) => held,
            Err(stop) => return (cleared, Some(stop)),
        };
        let is_all = keys.len() as u64 >= total;
        let changed = match clear(call, group, keys, id).await {
            Ok(changed) => changed,
            Err(stop) => return (cleared, Some(stop)),
        };
        cleared += changed;
        if call.is_over() {
            return (cleared, Some(call.unknown().into()));
        }
        match (changed, is_all) {
            (0, true) => return (cleared, None),
            (0, false) => limit = limit.saturating_mul(2),
            (1.., _) => {}
        }
    }
}

/// The keys of a group that have the bit: how many, and the first of them.
async fn holding(
    call: &Call,
    group: GroupId,
    (pattern, offset): (&Bytes, u64),
    limit: u64,
) -> Step<(u64, BTreeSet<Key>)> {
    let op = ReadOp::Holding { pattern: pattern.clone(), offset, limit };
    let mut items = match reply_of(call.ask(group, op).await?)? {
        Reply::Array(items) => items.into_iter(),
        reply => return Err(misfit(reply)),
    };
    match (items.next(), items.next()) {
        (Some(total), Some(Reply::Array(names))) => {
            Ok((count_of(total.into())?, names.iter().filter_map(key_of).collect()))
        }
        _ => Err(misfit(Reply::Nil)),
    }
}

/// Clears the bit in these keys, all in one group.
async fn clear(call: &Call, group: GroupId, keys: BTreeSet<Key>, id: u64) -> Step<u64> {
    let bits = merge::encoded(&Bitmap::from_offsets(&[id]));
    let clear = |key| {
        let (mode, bits) = (MergeMode::AndNot, bits.clone());
        (group, WriteCommand::Merge { key, mode, bits })
    };
    let changed = write_pieces(call, keys.into_iter().map(clear).collect(), false).await?;
    Ok(u64::try_from(changed).unwrap_or(0))
}
