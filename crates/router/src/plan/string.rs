//! SET, GETDEL, GETEX and INCR where home cannot do them alone.
//!
//! They look first and change then: what another client writes between the two is lost or
//! overwritten, as it would be a moment later.

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    CommandError, Existence, Expiry, ExpiryCondition, Header, Reply, SetReply, WriteCommand,
};
use bitroster_types::{Key, UnixMillis};

use super::{gather, keys::refusal, publish::Draft};
use crate::{
    call::{Call, Step, Stop, wall_clock},
    route,
};

/// Longer values are no integers: a sign and 19 digits.
const INTEGER_BYTES_MAX: u64 = 20;

/// SET of a value that lies in several groups, or with the old value of a spread key.
pub(crate) async fn set(call: &Call, command: &WriteCommand) -> Step<Reply> {
    let WriteCommand::Set { key, value, existence, expiry, reply } = command else {
        return Err(Stop::Again);
    };
    if value.len() as u64 > call.value_bytes_max() {
        return Err(gather::too_long().into());
    }
    let header = call.header(key).await?;
    let old = match (&header, reply) {
        (Some(header), SetReply::Old) => old_value(call, key, header).await?,
        (None, SetReply::Old) | (_, SetReply::Status | SetReply::Changed) => Reply::Nil,
    };
    let refused = match existence {
        Some(Existence::IfAbsent) => header.is_some(),
        Some(Existence::IfPresent) => header.is_none(),
        None => false,
    };
    if refused {
        return Ok(if *reply == SetReply::Changed { Reply::Integer(0) } else { old });
    }
    if route::owns_all(&call.map, key, call.map.home(key), value.len() as u64) {
        let (existence, expiry, reply) = (*existence, *expiry, SetReply::Status);
        let set =
            WriteCommand::Set { key: key.clone(), value: value.clone(), existence, expiry, reply };
        match call.complete_write(&set).await? {
            Reply::Ok => {}
            Reply::Nil => return Err(Stop::Again),
            reply => return Err(refusal(reply)),
        }
    } else {
        let expiry = expiry_of(*expiry, header.as_ref());
        let value = Bitmap::from_bytes(value);
        let mut draft = Draft::reserve(call, key).await?;
        draft.stage_value(&value).await?;
        draft.publish(value.len_bytes(), expiry).await?;
    }
    Ok(match reply {
        SetReply::Status => Reply::Ok,
        SetReply::Changed => Reply::Integer(1),
        SetReply::Old => old,
    })
}

/// GETDEL.
pub(crate) async fn get_delete(call: &Call, key: &Key) -> Step<Reply> {
    let Some(header) = call.header(key).await? else {
        return Ok(Reply::Nil);
    };
    let old = old_value(call, key, &header).await?;
    match call.complete_write(&WriteCommand::Delete { keys: vec![key.clone()] }).await? {
        Reply::Integer(1) => Ok(old),
        Reply::Integer(_) => Err(Stop::Again),
        reply => Err(refusal(reply)),
    }
}

/// GETEX with an option.
pub(crate) async fn get_expire(call: &Call, key: &Key, expiry: Expiry) -> Step<Reply> {
    let Some(header) = call.header(key).await? else {
        return Ok(Reply::Nil);
    };
    let old = old_value(call, key, &header).await?;
    let key = key.clone();
    let change = match expiry {
        Expiry::Keep => return Ok(old),
        Expiry::Clear => WriteCommand::Persist { key },
        Expiry::In(_) | Expiry::At(_) => {
            WriteCommand::Expire { key, expiry, condition: ExpiryCondition::default() }
        }
    };
    match call.complete_write(&change).await? {
        Reply::Integer(_) => Ok(old),
        reply => Err(refusal(reply)),
    }
}

/// INCR and its relatives: a short value is first brought home.
pub(crate) async fn increment(call: &Call, key: &Key, by: i64) -> Step<Reply> {
    let Some(header) = call.header(key).await? else {
        return Err(Stop::Again);
    };
    if gather::len_bytes(call, key, &header).await? > INTEGER_BYTES_MAX {
        gather::confirm(call, key, &header).await?;
        return Err(CommandError::NotAnInteger.into());
    }
    let value = gather::value(call, key, &header).await?;
    gather::confirm(call, key, &header).await?;
    let (existence, expiry) = (Some(Existence::IfPresent), Expiry::Keep);
    let reply = SetReply::Status;
    let home = WriteCommand::Set { key: key.clone(), value, existence, expiry, reply };
    match call.complete_write(&home).await? {
        Reply::Error(error) => Err(Stop::Error(*error)),
        _ => Ok(call.complete_write(&WriteCommand::IncrBy { key: key.clone(), by }).await?),
    }
}

/// The value as one version of the key has it.
async fn old_value(call: &Call, key: &Key, header: &Header) -> Step<Reply> {
    let value = gather::value(call, key, header).await?;
    gather::confirm(call, key, header).await?;
    let unfilled = value.is_empty() && !header.spread.is_empty();
    Ok(if unfilled { Reply::Nil } else { Reply::Bulk(value) })
}

/// The expiry of a value that is published.
fn expiry_of(expiry: Expiry, header: Option<&Header>) -> Option<UnixMillis> {
    match expiry {
        Expiry::Clear => None,
        Expiry::Keep => header.and_then(|header| header.expiry),
        Expiry::In(millis) => Some(UnixMillis(wall_clock().0.saturating_add_signed(millis))),
        Expiry::At(time) => Some(time),
    }
}
