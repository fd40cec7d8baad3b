//! RESTORE of a value that lies in several groups, or over a spread key.

use bitroster_bitmap::Bitmap;
use bitroster_command::{CommandError, Expiry, Header, Reply, Seen, WriteCommand, WriteOp};
use bitroster_types::{GroupId, Key, UnixMillis};

use super::{
    expire, gather,
    keys::refusal,
    publish::{Draft, hold, publish},
};
use crate::{
    aside::aside,
    call::{Answer, Call, Step, Stop, answer, decoded, wall_clock},
};

/// Makes the value the one given.
pub(crate) async fn restore(call: &Call, command: &WriteCommand) -> Step<Reply> {
    let WriteCommand::Restore { key, value, expiry, replace } = command else {
        return Err(Stop::Again);
    };
    let bits = aside(|| decoded(value))?;
    let home = call.map.home(key);
    if owns_bits(call, key, home, &bits) {
        let outcome = call.tell(home, WriteOp::Command(command.clone())).await?;
        if let Answer::Done(reply) = answer(outcome)? {
            return Ok(reply);
        }
    }
    let header = if *replace { None } else { call.header(key).await? };
    if let Some(header) = &header
        && gather::is_filled(call, key, header).await?
    {
        return Err(CommandError::BUSY_KEY.into());
    }
    let time = time_of(*expiry);
    if time.is_some_and(|time| time <= wall_clock()) {
        // Over before it begins.
        if *replace {
            let delete = WriteCommand::Delete { keys: vec![key.clone()] };
            if let reply @ Reply::Error(_) = call.complete_write(&delete).await? {
                return Err(refusal(reply));
            }
        }
        return Ok(Reply::Ok);
    }
    match header {
        Some(header) => over_leave(call, key, &header, &bits, time).await?,
        None => {
            let mut draft = Draft::reserve(call, key, false).await?;
            draft.set_expiry(time);
            let seen = if *replace { Seen::Any } else { Seen::Absent };
            publish(draft, seen, &bits).await?;
        }
    }
    Ok(Reply::Ok)
}

/// Publishes the value over a record that a first touch has made and not yet filled.
async fn over_leave(
    call: &Call,
    key: &Key,
    header: &Header,
    bits: &Bitmap,
    time: Option<UnixMillis>,
) -> Step<()> {
    let mut held = hold(call, key, header, None).await?;
    match gather::is_filled(call, key, &held.header).await {
        Ok(false) => {}
        Ok(true) => return Err(held.draft.abandon(CommandError::BUSY_KEY.into()).await),
        Err(stop) => return Err(held.draft.abandon(stop).await),
    }
    let seen = held.seen();
    held.draft.set_expiry(time);
    publish(held.draft, seen, bits).await
}

/// When the value expires.
fn time_of(expiry: Expiry) -> Option<UnixMillis> {
    expire::time_of(expiry, None)
}

/// Whether a group owns every segment of the key that the value has bits in.
fn owns_bits(call: &Call, key: &Key, group: GroupId, value: &Bitmap) -> bool {
    let width = call.map.width().bits();
    let mut next = value.first_set(0..u64::MAX);
    while let Some(bit) = next {
        if call.map.group_of_bit(key, bit) != group {
            return false;
        }
        let end = (bit & !(width - 1)) + width;
        next = value.first_set(end..u64::MAX);
    }
    true
}
