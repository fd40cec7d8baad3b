//! Single bits of one key: BM.GETBITS, BM.RANK and BM.SET.

use std::collections::BTreeMap;

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Field, FieldType, Header, MergeMode, PartQuery, ReadCommand, ReadOp, Reply, WriteCommand,
};
use bitroster_types::{
    GroupId, Key,
    limits::{ENTRY_BYTES_MAX, ENTRY_OPS_MAX},
};
use bytes::Bytes;

use super::places::misfit;
use crate::{
    call::{Call, Step, count_of, reply_of},
    plan::{gather, merge},
};

/// BM.GETBITS. Bits of one segment are read at one moment, others at one version.
pub(super) async fn get(call: &Call, key: &Key, offsets: &[u64]) -> Step<Reply> {
    let width = call.map.width();
    let mut segments = offsets.iter().map(|offset| width.segment_of(*offset));
    let first = segments.next();
    if segments.all(|segment| Some(segment) == first) {
        return Ok(call.complete_read(&fields_of(key, offsets)).await?);
    }
    let header = call.header(key).await?;
    if let Some(Header { spread, .. }) = &header
        && spread.is_empty()
    {
        // One look at all of them: a value that is set anew meanwhile has no version to tell it by.
        let read = ReadOp::Command(fields_of(key, offsets));
        return reply_of(call.ask(call.map.home(key), read).await?);
    }
    let mut bits = vec![0; offsets.len()];
    if let Some(header) = header {
        read(call, key, &header, offsets, &mut bits).await?;
        gather::confirm(call, key, &header).await?;
    }
    Ok(Reply::Array(bits.into_iter().map(gather::number).collect()))
}

/// A read of single bits.
fn fields_of(key: &Key, offsets: &[u64]) -> ReadCommand {
    let kind = FieldType { signed: false, width: 1 };
    let fields = offsets.iter().map(|offset| Field { kind, offset: *offset }).collect();
    ReadCommand::BitFieldRo { key: key.clone(), fields }
}

/// Reads bits of one version of a key. The questions to a group, each of which has a copy of the
/// key, are made as they are sent.
async fn read(
    call: &Call,
    key: &Key,
    header: &Header,
    offsets: &[u64],
    bits: &mut [u64],
) -> Step<()> {
    let members = gather::members(call, key, header);
    let mut groups: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
    for (place, offset) in offsets.iter().enumerate() {
        let group = call.map.group_of_bit(key, *offset);
        if members.contains(&group) {
            groups.entry(group).or_default().push(place);
        }
    }
    call.inner.metrics.fanned_out(groups.len());
    let op = |place: &usize| {
        let (start, end) = (offsets[*place], offsets[*place] + 1);
        let query = PartQuery::Count { start, end };
        ReadOp::Part { key: key.clone(), version: header.version, query }
    };
    let op = &op;
    let at_once = questions_at_once(key);
    let asked = call
        .each(groups, |(group, places)| async move {
            let mut counts = Vec::with_capacity(places.len());
            for places in places.chunks(at_once) {
                call.check_deadline()?;
                let ops = places.iter().map(op).collect();
                for outcome in call.ask_short(group, ops).await? {
                    counts.push(count_of(outcome)?);
                }
            }
            Ok((places, counts))
        })
        .await?;
    for (places, counts) in asked {
        for (place, count) in places.into_iter().zip(counts) {
            bits[place] = count;
        }
    }
    Ok(())
}

/// How many questions about a key wait for their answers at a time.
fn questions_at_once(key: &Key) -> usize {
    let bytes = size_of::<ReadOp>() + key.as_bytes().len();
    (ENTRY_BYTES_MAX / bytes).clamp(1, ENTRY_OPS_MAX)
}

/// BM.RANK.
pub(super) async fn rank(call: &Call, key: &Key, offset: u64, absent: i64) -> Step<Reply> {
    let Some(header) = gather::record(call, key).await? else {
        return Ok(Reply::Integer(absent));
    };
    let count = gather::count(call, key, &header, 0..offset.saturating_add(1)).await?;
    gather::confirm(call, key, &header).await?;
    Ok(gather::number(count))
}

/// BM.SET: numbers for the names, then their bits.
pub(super) async fn set_names(call: &Call, key: &Key, space: &Key, names: &[Bytes]) -> Step<Reply> {
    let assign = WriteCommand::AssignIds { space: space.clone(), names: names.to_vec() };
    let ids = match call.complete_write(&assign).await? {
        Reply::Array(ids) => ids,
        reply => return Err(misfit(reply)),
    };
    let ids = ids.into_iter().map(|id| count_of(id.into())).collect::<Step<Vec<u64>>>()?;
    let bits = merge::encoded(&Bitmap::from_offsets(&ids));
    let merge = WriteCommand::Merge { key: key.clone(), mode: MergeMode::Or, bits };
    // The names have their numbers, whatever becomes of the bits.
    call.complete_write(&merge).await.map_err(|error| call.after_change(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_with_a_long_key_are_few_at_a_time() {
        let long = Key::new(&[7; 64 << 10]).unwrap();
        let at_once = questions_at_once(&long);
        assert!((1..64).contains(&at_once), "{at_once}");
        assert!(questions_at_once(&Key::new(b"k").unwrap()) > 10_000);
    }
}
