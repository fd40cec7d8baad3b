//! Single bits of one key: BM.GETBITS, BM.RANK and BM.SET.

use std::collections::BTreeMap;

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Field, FieldType, Header, MergeMode, PartQuery, ReadCommand, ReadOp, Reply, WriteCommand,
};
use bitroster_types::{GroupId, Key};
use bytes::Bytes;

use super::places::misfit;
use crate::{
    call::{Call, Step, count_of},
    plan::{gather, merge},
};

/// BM.GETBITS. Bits of one segment are read at one moment, others at one version.
pub(super) async fn get(call: &Call, key: &Key, offsets: &[u64]) -> Step<Reply> {
    let width = call.map.width();
    let mut segments = offsets.iter().map(|offset| width.segment_of(*offset));
    let first = segments.next();
    if segments.all(|segment| Some(segment) == first) {
        let kind = FieldType { signed: false, width: 1 };
        let fields = offsets.iter().map(|offset| Field { kind, offset: *offset }).collect();
        let read = ReadCommand::BitFieldRo { key: key.clone(), fields };
        return Ok(call.complete_read(&read).await?);
    }
    let mut bits = vec![0; offsets.len()];
    if let Some(header) = call.header(key).await? {
        read(call, key, &header, offsets, &mut bits).await?;
        gather::confirm(call, key, &header).await?;
    }
    Ok(Reply::Array(bits.into_iter().map(gather::number).collect()))
}

/// Reads bits of one version of a key, each group's in one request.
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
    let asked = call
        .each(groups, |(group, places)| {
            let ops: Vec<ReadOp> = places.iter().map(op).collect();
            async move { Ok((places, call.ask_short(group, ops).await?)) }
        })
        .await?;
    for (places, outcomes) in asked {
        for (place, outcome) in places.into_iter().zip(outcomes) {
            bits[place] = count_of(outcome)?;
        }
    }
    Ok(())
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
