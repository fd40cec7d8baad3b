//! RENAME and COPY of keys that do not lie in one group together.
//!
//! Later segments are copied where they lie; the first one is fetched and staged at the target's
//! home. RENAME removes the source after the target is published: a crash between the two leaves
//! both.

use bitroster_command::{CommandError, Header, Reply, SourceRef, StageFrom, WriteCommand};
use bitroster_types::Key;

use super::{combine, gather, keys::refusal, publish::Draft};
use crate::call::{Call, Step};

/// RENAME and RENAMENX.
pub(crate) async fn rename(
    call: &Call,
    source: &Key,
    target: &Key,
    only_if_new: bool,
) -> Step<Reply> {
    let Some(header) = call.header(source).await? else {
        return Err(CommandError::Text("ERR no such key").into());
    };
    if only_if_new && (source == target || call.header(target).await?.is_some()) {
        return Ok(Reply::Integer(0));
    }
    if source != target {
        copy_value(call, source, &header, target).await?;
        let delete = WriteCommand::Delete { keys: vec![source.clone()] };
        match call.complete_write(&delete).await {
            Ok(Reply::Integer(_)) => {}
            Ok(reply) => return Err(call.after_change(refusal(reply))),
            Err(error) => return Err(call.after_change(error.into())),
        }
    }
    Ok(if only_if_new { Reply::Integer(1) } else { Reply::Ok })
}

/// COPY.
pub(crate) async fn copy(call: &Call, source: &Key, target: &Key, replace: bool) -> Step<Reply> {
    let Some(header) = call.header(source).await? else {
        return Ok(Reply::Integer(0));
    };
    if !replace && call.header(target).await?.is_some() {
        return Ok(Reply::Integer(0));
    }
    copy_value(call, source, &header, target).await?;
    Ok(Reply::Integer(1))
}

/// Publishes the source's value and expiry under the target's name.
async fn copy_value(call: &Call, source: &Key, header: &Header, target: &Key) -> Step<()> {
    let len_bytes = gather::len_bytes(call, source, header).await?;
    let (width, end) = (call.map.width().bits(), len_bytes * 8);
    let (source_home, target_home) = (call.map.home(source), call.map.home(target));
    let copy = |start| {
        let source = SourceRef { key: source.clone(), version: header.version };
        vec![StageFrom::Copy { source, range: (start, end) }]
    };
    let mut draft = Draft::reserve(call, target).await?;
    let owners = call.map.groups_of_range(source, width.min(end)..end);
    let local = source_home == target_home;
    let mut shares: Vec<_> = gather::members(call, source, header)
        .into_iter()
        .filter(|group| owners.contains(group) && !(local && *group == source_home))
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
    draft.stage(shares).await?;
    gather::confirm(call, source, header).await?;
    draft.publish(len_bytes, header.expiry).await
}
