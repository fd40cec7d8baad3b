//! Commands of several keys with different homes: each home does its keys, side by side.
//!
//! Atomic per group, not across groups.

use std::collections::BTreeMap;

use bitroster_command::{CommandError, Expiry, ReadCommand, Reply, SetReply, WriteCommand};
use bitroster_types::{GroupId, Key};
use bytes::Bytes;

use crate::{
    call::{Call, Step, Stop},
    route,
};

/// MGET.
pub(crate) async fn get(call: &Call, keys: &[Key]) -> Step<Reply> {
    let homes = by_home(call, keys);
    let mut replies = vec![Reply::Nil; keys.len()];
    let fetched = if homes.len() > 1 {
        call.each(homes.into_values(), |places| async move {
            let keys = places.iter().map(|place| keys[*place].clone()).collect();
            let reply = call.complete_read(&ReadCommand::MGet { keys }).await?;
            match reply {
                Reply::Array(items) if items.len() == places.len() => {
                    Ok(places.into_iter().zip(items).collect::<Vec<_>>())
                }
                reply => Err(refusal(reply)),
            }
        })
        .await?
    } else {
        // One home, but some keys are spread.
        let one = |(place, key): (usize, &Key)| {
            let command = ReadCommand::Get { key: key.clone() };
            async move { Ok(vec![(place, call.complete_read(&command).await?)]) }
        };
        call.each(keys.iter().enumerate(), one).await?
    };
    for (place, reply) in fetched.into_iter().flatten() {
        replies[place] = reply;
    }
    Ok(Reply::Array(replies))
}

/// EXISTS and TOUCH.
pub(crate) async fn exists(call: &Call, keys: &[Key]) -> Step<Reply> {
    let counts = call
        .each(shares(call, keys), |places| async move {
            let keys = places.iter().map(|place| keys[*place].clone()).collect();
            integer(call.complete_read(&ReadCommand::Exists { keys }).await?)
        })
        .await?;
    Ok(Reply::Integer(counts.iter().sum()))
}

/// DEL and UNLINK.
pub(crate) async fn delete(call: &Call, keys: &[Key]) -> Step<Reply> {
    let counts = call
        .each(shares(call, keys), |places| async move {
            let keys = places.iter().map(|place| keys[*place].clone()).collect();
            integer(call.complete_write(&WriteCommand::Delete { keys }).await?)
        })
        .await
        .map_err(|stop| call.after_change(stop))?;
    Ok(Reply::Integer(counts.iter().sum()))
}

/// MSET and MSETNX. MSETNX checks first and writes then: not isolated across groups.
pub(crate) async fn set(call: &Call, pairs: &[(Key, Bytes)], only_if_none: bool) -> Step<Reply> {
    if only_if_none {
        let keys = pairs.iter().map(|(key, _)| key.clone()).collect();
        let existing = call.complete_read(&ReadCommand::Exists { keys }).await?;
        if integer(existing)? > 0 {
            return Ok(Reply::Integer(0));
        }
    }
    // The last value of a repeated key wins.
    let mut last: BTreeMap<&Key, &Bytes> = BTreeMap::new();
    for (key, value) in pairs {
        last.insert(key, value);
    }
    let commands = commands_by_home(call, &last);
    call.each(commands, |command| async move {
        match call.complete_write(&command).await? {
            Reply::Error(error) => Err(Stop::Error(*error)),
            _ => Ok(()),
        }
    })
    .await
    .map_err(|stop| call.after_change(stop))?;
    Ok(if only_if_none { Reply::Integer(1) } else { Reply::Ok })
}

/// One MSET a home for what fits there, and a SET for each value that does not, or for each value
/// of a lone home, which has said that it cannot do all together.
fn commands_by_home(call: &Call, pairs: &BTreeMap<&Key, &Bytes>) -> Vec<WriteCommand> {
    let mut homes: BTreeMap<GroupId, Vec<(Key, Bytes)>> = BTreeMap::new();
    let mut commands = Vec::new();
    for (key, value) in pairs {
        let home = call.map.home(key);
        let (key, value) = ((*key).clone(), (*value).clone());
        if route::owns_all(&call.map, &key, home, value.len() as u64) {
            homes.entry(home).or_default().push((key, value));
        } else {
            commands.push(set_one(key, value));
        }
    }
    let lone = commands.is_empty() && homes.len() == 1;
    for pairs in homes.into_values() {
        if lone {
            commands.extend(pairs.into_iter().map(|(key, value)| set_one(key, value)));
        } else {
            commands.push(WriteCommand::MSet { pairs, only_if_none: false });
        }
    }
    commands
}

fn set_one(key: Key, value: Bytes) -> WriteCommand {
    let (existence, expiry, reply) = (None, Expiry::Clear, SetReply::Status);
    WriteCommand::Set { key, value, existence, expiry, reply }
}

/// The keys' places, by home.
fn by_home(call: &Call, keys: &[Key]) -> BTreeMap<GroupId, Vec<usize>> {
    let mut homes: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.iter().enumerate() {
        homes.entry(call.map.home(key)).or_default().push(place);
    }
    homes
}

/// The keys' places, a share a home; one by one where a lone home cannot do all together.
fn shares(call: &Call, keys: &[Key]) -> Vec<Vec<usize>> {
    let homes = by_home(call, keys);
    if homes.len() > 1 {
        homes.into_values().collect()
    } else {
        (0..keys.len()).map(|place| vec![place]).collect()
    }
}

fn integer(reply: Reply) -> Step<i64> {
    match reply {
        Reply::Integer(number) => Ok(number),
        reply => Err(refusal(reply)),
    }
}

/// Why a reply that is not the one asked for stops a plan.
pub(crate) fn refusal(reply: Reply) -> Stop {
    match reply {
        Reply::Error(error) => Stop::Error(*error),
        _ => Stop::Error(CommandError::Text("ERR a group gave an answer that does not fit")),
    }
}
