//! Commands of the whole keyspace: every group answers for the keys whose home it is.

use bitroster_command::{CommandError, ReadCommand, ReadOp, Reply, WriteCommand, WriteOp};
use bitroster_types::GroupId;

use super::keys::refusal;
use crate::call::{Call, Step, Stop, count_of, done, reply_of, wall_clock};

/// The bits of a cursor that are the group's own; above them stands the group's number.
const CURSOR_GROUP_SHIFT: u32 = 48;

/// SCAN: the groups one after the other, in the order of their numbers, which maps to come keep.
pub(crate) async fn scan(call: &Call, command: &ReadCommand) -> Step<Reply> {
    let ReadCommand::Scan { cursor, pattern, count, type_matches } = command else {
        return Err(Stop::Again);
    };
    let groups = call.map.groups();
    let number = cursor >> CURSOR_GROUP_SHIFT;
    let place = groups.partition_point(|group| u64::from(group.0) < number);
    let Some(group) = groups.get(place) else {
        return Ok(page(0, Reply::Array(Vec::new())));
    };
    let is_same = u64::from(group.0) == number;
    let within = ReadCommand::Scan {
        cursor: if is_same { cursor & ((1 << CURSOR_GROUP_SHIFT) - 1) } else { 0 },
        pattern: pattern.clone(),
        count: *count,
        type_matches: *type_matches,
    };
    let reply = reply_of(call.ask(*group, ReadOp::Command(within)).await?)?;
    let Some((next, keys)) = open_page(reply)? else {
        return Err(Stop::Error(CommandError::Text("ERR a group gave no cursor")));
    };
    let start_of = |group: &GroupId| u64::from(group.0) << CURSOR_GROUP_SHIFT;
    let cursor = match next {
        0 => groups.get(place + 1).map_or(0, start_of),
        next => start_of(group) | next,
    };
    Ok(page(cursor, keys))
}

/// KEYS.
pub(crate) async fn keys(call: &Call, command: &ReadCommand) -> Step<Reply> {
    let mut keys = Vec::new();
    for reply in ask_all(call, command).await? {
        match reply {
            Reply::Array(more) | Reply::Set(more) => keys.extend(more),
            reply => return Err(refusal(reply)),
        }
    }
    Ok(Reply::Array(keys))
}

/// DBSIZE.
pub(crate) async fn db_size(call: &Call) -> Step<Reply> {
    let mut sum = 0;
    for reply in ask_all(call, &ReadCommand::DbSize).await? {
        sum += count_of(reply.into())?;
    }
    Ok(super::gather::number(sum))
}

/// RANDOMKEY: a group by its number of keys, then one of its keys. The clock is chance enough.
pub(crate) async fn random_key(call: &Call) -> Step<Reply> {
    let mut sizes = Vec::new();
    for reply in ask_all(call, &ReadCommand::DbSize).await? {
        sizes.push(count_of(reply.into())?);
    }
    let total: u64 = sizes.iter().sum();
    if total == 0 {
        return Ok(Reply::Nil);
    }
    let mut rest = wall_clock().0.wrapping_mul(0x9e37_79b9_7f4a_7c15) % total;
    let mut group = call.map.groups()[0];
    for (candidate, size) in call.map.groups().iter().zip(sizes) {
        group = *candidate;
        if rest < size {
            break;
        }
        rest -= size;
    }
    reply_of(call.ask(group, ReadOp::Command(ReadCommand::RandomKey)).await?)
}

/// FLUSHALL and FLUSHDB: every group at once, but not at one instant. All groups are told again
/// where one says that the map is old: a slot may have moved past the first telling.
pub(crate) async fn flush(call: &Call) -> Step<Reply> {
    // Every answer is waited for: a telling that is still on its way must not follow the reply.
    let told = call
        .each(call.map.groups(), |group: &GroupId| async move {
            Ok(call.tell(*group, WriteOp::Command(WriteCommand::Flush)).await.and_then(done))
        })
        .await?;
    let mut refused = Ok(Reply::Ok);
    for stop in told.into_iter().filter_map(Result::err) {
        match stop {
            Stop::Error(_) | Stop::Again => return Err(call.after_change(stop)),
            Stop::NotOwner | Stop::StaleMap => refused = Err(stop),
        }
    }
    refused
}

/// Asks every group the same, side by side; replies in the map's order.
pub(crate) async fn ask_all(call: &Call, command: &ReadCommand) -> Step<Vec<Reply>> {
    call.inner.metrics.fanned_out(call.map.groups().len());
    call.each(call.map.groups(), |group: &GroupId| async move {
        reply_of(call.ask(*group, ReadOp::Command(command.clone())).await?)
    })
    .await
}

fn page(cursor: u64, keys: Reply) -> Reply {
    Reply::Array(vec![Reply::bulk(cursor.to_string()), keys])
}

/// Takes a group's answer to SCAN apart: its next cursor and its keys.
pub(crate) fn open_page(reply: Reply) -> Step<Option<(u64, Reply)>> {
    let mut items = match reply {
        Reply::Array(items) => items.into_iter(),
        reply => return Err(refusal(reply)),
    };
    let (Some(Reply::Bulk(cursor)), Some(keys)) = (items.next(), items.next()) else {
        return Ok(None);
    };
    let cursor = std::str::from_utf8(&cursor).ok().and_then(|text| text.parse().ok());
    Ok(cursor.map(|cursor| (cursor, keys)))
}
