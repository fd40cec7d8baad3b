//! RENAME and COPY of keys that do not lie in one group together.
//!
//! Later segments are copied where they lie; the first one is fetched and staged at the target's
//! home. The removal of RENAME's source is prepared before its value is copied, and whoever writes
//! to the source in the meantime takes it back: then the value is copied again. The target's home
//! remembers that the source goes: both may be there for a moment, never neither.

use bitroster_command::{CommandError, Header, Moved, Reply, Seen, SourceRef, StageFrom};
use bitroster_types::{Key, limits::PLAN_ATTEMPTS_MAX};

use super::{
    combine, gather,
    publish::{Draft, Held, hold},
};
use crate::call::{Call, Step, Stop};

/// RENAME and RENAMENX.
pub(crate) async fn rename(
    call: &Call,
    source: &Key,
    target: &Key,
    only_if_new: bool,
) -> Step<Reply> {
    let done = if only_if_new { Reply::Integer(1) } else { Reply::Ok };
    let Some(header) = gather::record(call, source).await? else {
        return Err(CommandError::Text("ERR no such key").into());
    };
    if source == target {
        return Ok(if only_if_new { Reply::Integer(0) } else { done });
    }
    if only_if_new && gather::record(call, target).await?.is_some() {
        return Ok(Reply::Integer(0));
    }
    if move_value(call, source, &header, target, only_if_new).await? {
        return Ok(done);
    }
    // The source has changed after its value was copied: what it holds now goes over it.
    for _ in 0..PLAN_ATTEMPTS_MAX {
        let again = async {
            match gather::record(call, source).await? {
                Some(header) => move_value(call, source, &header, target, false).await,
                // Somebody has removed it in the meantime.
                None => Ok(true),
            }
        };
        match again.await {
            Ok(true) => return Ok(done),
            Ok(false) | Err(Stop::Again) => tokio::task::yield_now().await,
            Err(stop) => return Err(call.after_change(stop)),
        }
    }
    Err(Stop::Error(call.unknown()))
}

/// Publishes the source's value under the target's name, and then that the source goes. Whether it
/// is gone: a write in the meantime keeps it.
async fn move_value(
    call: &Call,
    source: &Key,
    header: &Header,
    target: &Key,
    only_if_new: bool,
) -> Step<bool> {
    let Held { draft, header } = hold(call, source, header, None).await?;
    let moved = draft.to_moved(header.modified);
    match copy_value(call, source, &header, target, only_if_new, Some(moved)).await {
        Err(stop @ Stop::Error(CommandError::OutcomeUnknown { .. })) => Err(stop),
        Err(stop) => Err(draft.abandon(stop).await),
        moved => moved,
    }
}

/// COPY.
pub(crate) async fn copy(call: &Call, source: &Key, target: &Key, replace: bool) -> Step<Reply> {
    let Some(header) = gather::record(call, source).await? else {
        return Ok(Reply::Integer(0));
    };
    if !replace && gather::record(call, target).await?.is_some() {
        return Ok(Reply::Integer(0));
    }
    copy_value(call, source, &header, target, !replace, None).await?;
    Ok(Reply::Integer(1))
}

/// Publishes the source's value and expiry under the target's name. Whether the source is gone
/// that is to go.
async fn copy_value(
    call: &Call,
    source: &Key,
    header: &Header,
    target: &Key,
    only_if_new: bool,
    moved: Option<Moved>,
) -> Step<bool> {
    let len_bytes = gather::len_bytes(call, source, header).await?;
    let mut draft = Draft::reserve(call, target, false).await?;
    draft.set_expiry(header.expiry);
    let staged = async {
        let seen = match call.header(target).await? {
            _ if !only_if_new => Seen::Any,
            None => Seen::Absent,
            // A first touch that is not filled yet, and may be at any moment.
            Some(_) => return Err(Stop::Again),
        };
        stage_copy(call, source, header, len_bytes, target, &mut draft).await?;
        if header.spread.is_empty() || moved.is_some() {
            // Who has written to it since has left a mark, or taken its reservation back.
            match call.header(source).await? {
                Some(now) if now.modified == header.modified => {}
                Some(_) | None => return Err(Stop::Again),
            }
        } else {
            gather::confirm(call, source, header).await?;
        }
        Ok(seen)
    };
    match staged.await {
        Ok(seen) => draft.publish_value(seen, len_bytes, moved).await,
        Err(stop) => Err(draft.abandon(stop).await),
    }
}

async fn stage_copy(
    call: &Call,
    source: &Key,
    header: &Header,
    len_bytes: u64,
    target: &Key,
    draft: &mut Draft<'_>,
) -> Step<()> {
    let width = call.map.width().bits();
    let beyond_first = width.min(len_bytes * 8)..len_bytes * 8;
    let owners = call.map.groups_of_range(source, beyond_first);
    let (source_home, target_home) = (call.map.home(source), call.map.home(target));
    // All that a part holds when it is copied: cut at a length of before, it would be neither what
    // it was then nor what it is now.
    let copy = |start| {
        let source = SourceRef { key: source.clone(), version: header.version };
        vec![StageFrom::Copy { source, range: (start, u64::MAX) }]
    };
    let local = source_home == target_home;
    let mut shares: Vec<_> = gather::members(call, source, header)
        .into_iter()
        .filter(|group| *group != source_home || !local && owners.contains(group))
        .map(|group| (group, copy(width)))
        .collect();
    if local {
        shares.push((target_home, copy(0)));
    } else {
        let first = combine::first_segment(call, source, header).await?;
        if first.cardinality() > 0 {
            shares.push((target_home, vec![super::publish::encoded(&first)]));
        }
    }
    draft.stage(shares).await
}
