//! SET, GETDEL, GETEX and INCR where home cannot do them alone.
//!
//! What depends on the old value is prepared on a key that is held: a write in between makes the
//! plan start again.

use bitroster_bitmap::Bitmap;
use bitroster_command::{CommandError, Existence, Expiry, Reply, Seen, SetReply, WriteCommand};
use bitroster_types::Key;

use super::{
    expire, gather,
    publish::{Draft, Held, hold, publish},
};
use crate::call::{Call, Step, Stop};

/// Longer values are no integers: a sign and 19 digits.
const INTEGER_BYTES_MAX: u64 = 20;

/// SET of a value that lies in several groups, or over a spread key.
pub(crate) async fn set(call: &Call, command: &WriteCommand) -> Step<Reply> {
    let WriteCommand::Set { key, value, existence, expiry, reply } = command else {
        return Err(Stop::Again);
    };
    if value.len() as u64 > call.value_bytes_max() {
        return Err(gather::too_long().into());
    }
    let looks = existence.is_some() || *expiry == Expiry::Keep || *reply == SetReply::Old;
    let header = if looks { call.header(key).await? } else { None };
    let Some(header) = header else {
        if *existence == Some(Existence::IfPresent) {
            return Ok(refused(*reply, Reply::Nil));
        }
        let mut draft = Draft::reserve(call, key, false).await?;
        draft.set_expiry(expire::time_of(*expiry, None));
        let seen = if looks { Seen::Absent } else { Seen::Any };
        publish(draft, seen, &Bitmap::from_bytes(value)).await?;
        return Ok(accepted(*reply, Reply::Nil));
    };
    let is_new_only = *existence == Some(Existence::IfAbsent);
    if is_new_only && *reply != SetReply::Old && gather::is_filled(call, key, &header).await? {
        return Ok(refused(*reply, Reply::Nil));
    }
    let mut held = hold(call, key, &header, None).await?;
    let looked = async {
        let exists = gather::is_filled(call, key, &held.header).await?;
        let old = match reply {
            SetReply::Old if exists => Reply::Bulk(gather::value(call, key, &held.header).await?),
            SetReply::Old | SetReply::Status | SetReply::Changed => Reply::Nil,
        };
        Ok((exists, old))
    };
    let (exists, old) = match looked.await {
        Ok(looked) => looked,
        Err(stop) => return Err(held.draft.abandon(stop).await),
    };
    let is_refused = match existence {
        Some(Existence::IfAbsent) => exists,
        Some(Existence::IfPresent) => !exists,
        None => false,
    };
    if is_refused {
        // What was read is the value of this moment, whoever writes next.
        let confirmed = held.confirm().await;
        held.draft.abandon(Stop::Again).await;
        return confirmed.map(|()| refused(*reply, old));
    }
    held.draft.set_expiry(expire::time_of(*expiry, Some(&held.header)));
    let seen = held.seen();
    publish(held.draft, seen, &Bitmap::from_bytes(value)).await?;
    Ok(accepted(*reply, old))
}

fn refused(reply: SetReply, old: Reply) -> Reply {
    if reply == SetReply::Changed { Reply::Integer(0) } else { old }
}

fn accepted(reply: SetReply, old: Reply) -> Reply {
    match reply {
        SetReply::Status => Reply::Ok,
        SetReply::Changed => Reply::Integer(1),
        SetReply::Old => old,
    }
}

/// GETDEL.
pub(crate) async fn get_delete(call: &Call, key: &Key) -> Step<Reply> {
    let Some(header) = gather::record(call, key).await? else {
        return Ok(Reply::Nil);
    };
    let held = hold(call, key, &header, None).await?;
    let seen = held.seen();
    let (old, draft) = value_of(call, key, held).await?;
    draft.publish_nothing(seen).await?;
    Ok(old)
}

/// GETEX with an option.
pub(crate) async fn get_expire(call: &Call, key: &Key, expiry: Expiry) -> Step<Reply> {
    let Some(header) = gather::record(call, key).await? else {
        return Ok(Reply::Nil);
    };
    let time = expire::time_of(expiry, Some(&header));
    let is_over = time.is_some_and(|time| time <= crate::call::wall_clock());
    let held = hold(call, key, &header, (!is_over).then_some(time)).await?;
    let seen = held.seen();
    let (old, draft) = value_of(call, key, held).await?;
    if is_over {
        draft.publish_nothing(seen).await?;
    } else {
        draft.publish_expiry(seen).await?;
    }
    Ok(old)
}

/// INCR and its relatives: a short value is first brought home.
pub(crate) async fn increment(call: &Call, key: &Key, by: i64) -> Step<Reply> {
    let header = call.header(key).await?.ok_or(Stop::Again)?;
    if gather::len_bytes(call, key, &header).await? > INTEGER_BYTES_MAX {
        gather::confirm(call, key, &header).await?;
        return Err(CommandError::NotAnInteger.into());
    }
    let held = hold(call, key, &header, None).await?;
    let (seen, expiry) = (held.seen(), held.header.expiry);
    let is_filled = gather::is_filled(call, key, &held.header).await;
    let (old, mut draft) = value_of(call, key, held).await?;
    match (is_filled, old) {
        (Ok(true), Reply::Bulk(value)) => {
            draft.set_expiry(expiry);
            publish(draft, seen, &Bitmap::from_bytes(&value)).await?;
        }
        // A first touch that was not filled is no key.
        (Ok(_), _) => draft.publish_nothing(seen).await?,
        (Err(stop), _) => return Err(draft.abandon(stop).await),
    }
    Ok(call.complete_write(&WriteCommand::IncrBy { key: key.clone(), by }).await?)
}

/// The value of a key that is held.
async fn value_of<'a>(call: &Call, key: &Key, held: Held<'a>) -> Step<(Reply, Draft<'a>)> {
    let Held { draft, header } = held;
    match gather::value(call, key, &header).await {
        Ok(value) => Ok((Reply::Bulk(value), draft)),
        Err(stop) => Err(draft.abandon(stop).await),
    }
}
