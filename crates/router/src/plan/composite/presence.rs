//! BM.ONLINE: who is present, by the router's clock.

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Field, FieldType, Header, PartQuery, ReadCommand, Reply, composite::PresenceAsk,
};
use bitroster_types::{
    Key,
    limits::{LIST_OFFSETS_MAX, PRESENCE_ID_MAX},
};

use super::{
    places::{ALL, misfit},
    query::page,
};
use crate::{
    call::{Call, Step, bitmap_of, count_of, wall_clock},
    plan::gather,
};

/// Bits of an id's field.
const FIELD_BITS: u64 = 32;

/// Answers a question about a presence bitmap.
pub(super) async fn run(call: &Call, key: &Key, ask: PresenceAsk) -> Step<Reply> {
    // Present while the field's second is later than this one.
    let after_secs = u32::try_from(wall_clock().0 / 1000).unwrap_or(u32::MAX);
    if let PresenceAsk::Is { id } = ask {
        return is_present(call, key, id, after_secs).await;
    }
    let header = call.header(key).await?;
    let Some(header) = header else {
        return Ok(match ask {
            PresenceAsk::List { .. } => page(None, Vec::new()),
            PresenceAsk::Count | PresenceAsk::Is { .. } => gather::number(0),
        });
    };
    let reply = match ask {
        PresenceAsk::Count | PresenceAsk::Is { .. } => {
            count(call, key, &header, after_secs).await?
        }
        PresenceAsk::List { cursor, limit } => {
            list(call, key, &header, (cursor, limit), after_secs).await?
        }
    };
    if !header.spread.is_empty() {
        gather::confirm(call, key, &header).await?;
    }
    Ok(reply)
}

async fn is_present(call: &Call, key: &Key, id: u64, after_secs: u32) -> Step<Reply> {
    if id > PRESENCE_ID_MAX {
        return Ok(Reply::Integer(0));
    }
    let kind = FieldType { signed: false, width: 32 };
    let fields = vec![Field { kind, offset: id * FIELD_BITS }];
    match call.complete_read(&ReadCommand::BitFieldRo { key: key.clone(), fields }).await? {
        Reply::Array(values) => {
            let after = i64::from(after_secs);
            let is = |value: &Reply| matches!(value, Reply::Integer(second) if *second > after);
            Ok(Reply::Integer(i64::from(values.iter().any(is))))
        }
        reply => Err(misfit(reply)),
    }
}

async fn count(call: &Call, key: &Key, header: &Header, after_secs: u32) -> Step<Reply> {
    let groups = gather::members(call, key, header);
    let query = PartQuery::Present { start: 0, end: ALL.end, after_secs, limit: None };
    let mut sum = 0;
    for part in gather::ask_parts(call, key, header, groups, query).await? {
        sum += count_of(part)?;
    }
    Ok(gather::number(sum))
}

async fn list(
    call: &Call,
    key: &Key,
    header: &Header,
    (cursor, limit): (u64, u64),
    after_secs: u32,
) -> Step<Reply> {
    if cursor > PRESENCE_ID_MAX {
        return Ok(page(None, Vec::new()));
    }
    let limit = limit.clamp(1, LIST_OFFSETS_MAX);
    let bits = cursor * FIELD_BITS..ALL.end;
    let groups = gather::holders(call, key, header, &bits);
    // One more than is answered: where to go on from.
    let asked = Some(limit + 1);
    let query = PartQuery::Present { start: bits.start, end: bits.end, after_secs, limit: asked };
    let mut ids = Bitmap::new();
    for part in gather::ask_parts(call, key, header, groups, query).await? {
        ids.merge_disjoint(&bitmap_of(part)?);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found: Vec<u64> = ids.iter_set(0..u64::MAX).take(limit.saturating_add(1)).collect();
    let next = if found.len() > limit { found.pop() } else { None };
    Ok(page(next, found))
}
