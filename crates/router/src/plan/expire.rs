//! DEL, EXPIRE and PERSIST of one spread key.

use bitroster_command::{Expiry, ExpiryCondition, Header, Reply, Seen};
use bitroster_types::{Key, UnixMillis};

use super::{
    gather,
    publish::{Draft, beside},
};
use crate::call::{Call, Step, Stop, wall_clock};

/// DEL and UNLINK.
pub(crate) async fn delete(call: &Call, key: &Key) -> Step<Reply> {
    let reserved = Draft::reserve(call, key, false);
    let (header, draft) = beside(gather::record(call, key), reserved).await?;
    let Some(header) = header else {
        draft.abandon(Stop::Again).await;
        return Ok(Reply::Integer(0));
    };
    remove(draft, &header).await?;
    Ok(Reply::Integer(1))
}

/// EXPIRE and its relatives.
pub(crate) async fn expire(
    call: &Call,
    key: &Key,
    expiry: Expiry,
    condition: ExpiryCondition,
) -> Step<Reply> {
    let reserved = Draft::reserve(call, key, false);
    let (header, draft) = beside(gather::record(call, key), reserved).await?;
    let Some(header) = header else {
        draft.abandon(Stop::Again).await;
        return Ok(Reply::Integer(0));
    };
    let Some(new) = time_of(expiry, Some(&header)) else {
        return Err(draft.abandon(Stop::Again).await);
    };
    let old = header.expiry;
    let is_refused = (condition.if_none && old.is_some())
        || (condition.if_some && old.is_none())
        || (condition.if_later && old.is_none_or(|old| new <= old))
        || (condition.if_earlier && old.is_some_and(|old| new >= old));
    if is_refused {
        draft.abandon(Stop::Again).await;
        return Ok(Reply::Integer(0));
    }
    if new <= wall_clock() {
        remove(draft, &header).await?;
    } else {
        change(draft, &header, Some(new)).await?;
    }
    Ok(Reply::Integer(1))
}

/// PERSIST.
pub(crate) async fn persist(call: &Call, key: &Key) -> Step<Reply> {
    match gather::record(call, key).await? {
        Some(header) if header.expiry.is_some() => {
            change(Draft::reserve(call, key, false).await?, &header, None).await?;
            Ok(Reply::Integer(1))
        }
        Some(_) | None => Ok(Reply::Integer(0)),
    }
}

/// The time that an expiry comes to; `None` where there is none. Sums go by the router's clock.
pub(crate) fn time_of(expiry: Expiry, header: Option<&Header>) -> Option<UnixMillis> {
    match expiry {
        Expiry::Clear => None,
        Expiry::Keep => header.and_then(|header| header.expiry),
        Expiry::In(millis) => Some(UnixMillis(wall_clock().0.saturating_add_signed(millis))),
        Expiry::At(time) => Some(time),
    }
}

/// The record must be this one.
fn seen(header: &Header) -> Seen {
    Seen::Record { version: header.version, expiry: header.expiry }
}

async fn remove(mut draft: Draft<'_>, header: &Header) -> Step<()> {
    match draft.seal(&header.spread).await {
        Ok(()) => draft.publish_nothing(seen(header)).await,
        Err(stop) => Err(draft.abandon(stop).await),
    }
}

async fn change(mut draft: Draft<'_>, header: &Header, expiry: Option<UnixMillis>) -> Step<()> {
    draft.set_expiry(expiry);
    match draft.seal_expiry(header).await {
        Ok(()) => draft.publish_expiry(seen(header)).await,
        Err(stop) => Err(draft.abandon(stop).await),
    }
}
