//! Reads of a whole key that is spread: one version of it, gathered from its parts.
//!
//! Home says which version lives and who holds parts. The parts answer at that version, and home
//! is asked once more whether it still lives: parts are dropped only after home has ended the
//! version, so what was read before home's second answer was whole.
//!
//! A record with a spread and no length anywhere is one that a first touch has made and not yet
//! filled: it reads as no key. Parts that were dropped look the same, so whoever finds no length
//! asks home before that is believed.

use std::{collections::BTreeMap, ops::Range};

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    CommandError, Header, Outcome, PartQuery, ReadCommand, ReadOp, Reply, TimeForm,
};
use bitroster_types::{GroupId, Key, Segment, limits::STAGE_BITS_MAX};
use bytes::Bytes;

use crate::{
    call::{Call, Step, Stop, bitmap_of, count_of, integer_of, unexpected, wall_clock},
    range,
};

/// Answers a read of one key with this record.
pub(crate) async fn read(call: &Call, command: &ReadCommand, header: &Header) -> Step<Reply> {
    let reply = match command {
        ReadCommand::BitCount { key, range } => {
            let bits = match *range {
                None => 0..u64::MAX,
                Some(indices) if !range::needs_len(indices) => range::of_count(indices, u64::MAX),
                Some(indices) => range::of_count(indices, len_bytes(call, key, header).await?),
            };
            number(count(call, key, header, bits).await?)
        }
        ReadCommand::BitPos { key, bit, start, end, unit } => {
            let len = len_bytes(call, key, header).await?;
            if len == 0 {
                return Ok(Reply::Integer(if *bit { -1 } else { 0 }));
            }
            let bits = range::of_search(*start, *end, *unit, len);
            let found = first_bit(call, key, header, *bit, bits.clone()).await?;
            Reply::Integer(match found {
                Some(offset) => signed(offset),
                // Without an explicit end the value counts as followed by zeros.
                None if !*bit && end.is_none() && !bits.is_empty() => signed(bits.end),
                None => -1,
            })
        }
        ReadCommand::Get { key } => {
            let value = value(call, key, header).await?;
            if value.is_empty() { Reply::Nil } else { Reply::Bulk(value) }
        }
        ReadCommand::GetRange { key, start, end } => {
            let len = len_bytes(call, key, header).await?;
            let bytes = range::of_bytes(*start, *end, len);
            Reply::Bulk(read_bytes(call, key, header, bytes, len).await?)
        }
        ReadCommand::StrLen { key } => number(len_bytes(call, key, header).await?),
        ReadCommand::Exists { keys } => {
            let [key] = keys.as_slice() else { return Err(Stop::Again) };
            Reply::Integer(i64::from(is_filled(call, key, header).await?))
        }
        ReadCommand::Type { .. } => return Ok(Reply::Status("string")),
        ReadCommand::Ttl { form, .. } => return Ok(Reply::Integer(ttl(header, *form))),
        ReadCommand::GetBit { .. }
        | ReadCommand::BitFieldRo { .. }
        | ReadCommand::BitOpCard { .. }
        | ReadCommand::MGet { .. }
        | ReadCommand::Scan { .. }
        | ReadCommand::Keys { .. }
        | ReadCommand::DbSize
        | ReadCommand::RandomKey
        | ReadCommand::FindIds { .. }
        | ReadCommand::FindNames { .. }
        | ReadCommand::SpaceInfo { .. }
        | ReadCommand::Spaces => return Err(Stop::Again),
    };
    if let Some(key) = key_of(command) {
        confirm(call, key, header).await?;
    }
    Ok(reply)
}

/// GETBIT of a segment whose group is in doubt about the key: home says which version lives.
pub(crate) async fn bit(call: &Call, key: &Key, offset: u64) -> Step<Reply> {
    let Some(header) = call.header(key).await? else {
        return Ok(Reply::Integer(0));
    };
    Ok(number(count(call, key, &header, offset..offset + 1).await?))
}

/// The record of a key that exists.
pub(crate) async fn record(call: &Call, key: &Key) -> Step<Option<Header>> {
    let Some(header) = call.header(key).await? else {
        return Ok(None);
    };
    Ok(is_filled(call, key, &header).await?.then_some(header))
}

/// Whether a record is a key's, and not one that a first touch has made and not yet filled.
pub(crate) async fn is_filled(call: &Call, key: &Key, header: &Header) -> Step<bool> {
    let is_known = header.spread.is_empty() || header.len_bytes > 0;
    Ok(is_known || len_bytes(call, key, header).await? > 0)
}

/// The length of the whole key in bytes. None at all is certain, another one where the version is
/// confirmed or published over.
pub(crate) async fn len_bytes(call: &Call, key: &Key, header: &Header) -> Step<u64> {
    let groups = header.spread.clone();
    let parts = ask_parts(call, key, header, groups, PartQuery::Len).await?;
    let mut len = header.len_bytes;
    for part in parts {
        len = len.max(count_of(part)?);
    }
    if len == 0 && !header.spread.is_empty() {
        confirm(call, key, header).await?;
    }
    Ok(len)
}

/// The records of keys; every home is asked once, side by side.
pub(crate) async fn headers(call: &Call, keys: &[Key]) -> Step<Vec<Option<Header>>> {
    let mut homes: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.iter().enumerate() {
        homes.entry(call.map.home(key)).or_default().push(place);
    }
    let header = |place: usize| ReadOp::Header { key: keys[place].clone() };
    let mut headers = vec![None; keys.len()];
    for (place, outcome) in ask_of_places(call, homes, header).await? {
        match outcome {
            Outcome::Header(header) => headers[place] = header.map(|header| *header),
            outcome => return Err(unexpected(outcome)),
        }
    }
    Ok(headers)
}

/// The length of the longest of these keys, in bytes: as [`len_bytes`] of each, every group asked
/// once.
pub(crate) async fn longest(call: &Call, keys: &[Key], headers: &[Option<Header>]) -> Step<u64> {
    let mut lens = vec![0; keys.len()];
    let mut groups: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
    for (place, header) in headers.iter().enumerate() {
        let Some(header) = header else { continue };
        lens[place] = header.len_bytes;
        for group in &header.spread {
            groups.entry(*group).or_default().push(place);
        }
    }
    let len = |place: usize| {
        let version = headers[place].as_ref().and_then(|header| header.version);
        ReadOp::Part { key: keys[place].clone(), version, query: PartQuery::Len }
    };
    for (place, outcome) in ask_of_places(call, groups, len).await? {
        lens[place] = lens[place].max(count_of(outcome)?);
    }
    for ((key, header), len) in keys.iter().zip(headers).zip(&lens) {
        if let (0, Some(header)) = (len, header)
            && !header.spread.is_empty()
        {
            confirm(call, key, header).await?;
        }
    }
    Ok(lens.into_iter().max().unwrap_or(0))
}

/// Asks each group one short question for each of its places: the places with their outcomes.
async fn ask_of_places(
    call: &Call,
    groups: BTreeMap<GroupId, Vec<usize>>,
    question: impl Fn(usize) -> ReadOp,
) -> Step<Vec<(usize, Outcome)>> {
    call.inner.metrics.fanned_out(groups.len());
    let asked = call.each(groups, |(group, places)| {
        let questions = places.iter().map(|place| question(*place)).collect();
        async move {
            let outcomes = call.ask_short(group, questions).await?;
            Ok(places.into_iter().zip(outcomes).collect::<Vec<_>>())
        }
    });
    Ok(asked.await?.into_iter().flatten().collect())
}

/// The set bits of the whole key in a half-open range.
pub(crate) async fn count(call: &Call, key: &Key, header: &Header, bits: Range<u64>) -> Step<u64> {
    let groups = holders(call, key, header, &bits);
    let query = PartQuery::Count { start: bits.start, end: bits.end };
    let mut sum = 0;
    for part in ask_parts(call, key, header, groups, query).await? {
        sum += count_of(part)?;
    }
    Ok(sum)
}

/// The whole value as bytes.
pub(crate) async fn value(call: &Call, key: &Key, header: &Header) -> Step<Bytes> {
    let len = len_bytes(call, key, header).await?;
    read_bytes(call, key, header, 0..len, len).await
}

/// The bits of the key in a half-open range that starts at a segment, from all who hold them.
pub(crate) async fn bitmap(
    call: &Call,
    key: &Key,
    header: &Header,
    bits: Range<u64>,
) -> Step<Bitmap> {
    let groups = holders(call, key, header, &bits);
    let query = PartQuery::Value { start: bits.start, end: bits.end };
    let mut whole = Bitmap::new();
    for part in ask_parts(call, key, header, groups, query).await? {
        whole.merge_disjoint(&bitmap_of(part)?);
    }
    Ok(whole)
}

/// Checks that the version that was read still lives. A record that was never spread has none to
/// tell it by: it must be there and no shorter.
pub(crate) async fn confirm(call: &Call, key: &Key, header: &Header) -> Step<()> {
    match call.header(key).await? {
        Some(now) if now.version == header.version && now.len_bytes >= header.len_bytes => Ok(()),
        Some(_) | None => Err(Stop::Again),
    }
}

/// The groups that hold parts of the key: home first.
pub(crate) fn members(call: &Call, key: &Key, header: &Header) -> Vec<GroupId> {
    let mut groups = vec![call.map.home(key)];
    groups.extend_from_slice(&header.spread);
    groups
}

/// The groups among the key's that own a segment in the range.
pub(crate) fn holders(call: &Call, key: &Key, header: &Header, bits: &Range<u64>) -> Vec<GroupId> {
    let owners = call.map.groups_of_range(key, bits.clone());
    let mut groups = members(call, key, header);
    groups.retain(|group| owners.contains(group));
    groups
}

/// Asks several groups the same about one version of the key, side by side.
pub(crate) async fn ask_parts(
    call: &Call,
    key: &Key,
    header: &Header,
    groups: Vec<GroupId>,
    query: PartQuery,
) -> Step<Vec<Outcome>> {
    call.inner.metrics.fanned_out(groups.len());
    call.each(groups, |group| async move {
        call.ask(group, ReadOp::Part { key: key.clone(), version: header.version, query }).await
    })
    .await
}

/// A range of the key's bytes.
async fn read_bytes(
    call: &Call,
    key: &Key,
    header: &Header,
    bytes: Range<u64>,
    len_bytes: u64,
) -> Step<Bytes> {
    if bytes.end - bytes.start > call.value_bytes_max() {
        return Err(too_long().into());
    }
    if bytes.is_empty() {
        return Ok(Bytes::new());
    }
    let first = bytes.start * 8 / STAGE_BITS_MAX * STAGE_BITS_MAX;
    if bytes.end * 8 - first <= STAGE_BITS_MAX {
        return read_window(call, key, header, bytes, len_bytes).await.map(Bytes::from);
    }
    let mut value = Vec::new();
    let mut start = bytes.start;
    while start < bytes.end {
        let end = ((start * 8 / STAGE_BITS_MAX + 1) * STAGE_BITS_MAX / 8).min(bytes.end);
        value.extend(read_window(call, key, header, start..end, len_bytes).await?);
        start = end;
    }
    Ok(value.into())
}

/// A range of the key's bytes that is fetched at once.
async fn read_window(
    call: &Call,
    key: &Key,
    header: &Header,
    bytes: Range<u64>,
    len_bytes: u64,
) -> Step<Vec<u8>> {
    let width = call.map.width().bits();
    let start = bytes.start * 8 / width * width;
    let mut value = bitmap(call, key, header, start..bytes.end * 8).await?;
    value.extend_len(len_bytes);
    Ok(value.read_bytes(bytes))
}

/// Redis's refusal of a value past `proto-max-bulk-len`.
pub(crate) fn too_long() -> CommandError {
    CommandError::Text("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
}

/// The first bit of a value in a half-open range of the key.
async fn first_bit(
    call: &Call,
    key: &Key,
    header: &Header,
    bit: bool,
    bits: Range<u64>,
) -> Step<Option<u64>> {
    if bits.is_empty() {
        return Ok(None);
    }
    let groups = holders(call, key, header, &bits);
    let query = PartQuery::FirstBit { bit, start: bits.start, end: bits.end };
    let mut first = bits.end;
    for part in ask_parts(call, key, header, groups, query).await? {
        if let Ok(offset) = u64::try_from(integer_of(part)?) {
            first = first.min(offset);
        }
    }
    if !bit {
        first = first_unheld(call, key, header, bits.start..first).unwrap_or(first);
    }
    Ok((first < bits.end).then_some(first))
}

/// The first bit in a half-open range whose group holds no part of the key: it is zero.
///
/// Costs one step a segment until such a group is met: soon, since segments are spread by hash,
/// or never, where all groups hold parts.
fn first_unheld(call: &Call, key: &Key, header: &Header, bits: Range<u64>) -> Option<u64> {
    let members = members(call, key, header);
    if bits.is_empty() || call.map.groups().iter().all(|group| members.contains(group)) {
        return None;
    }
    let width = call.map.width();
    let (first, last) = (width.segment_of(bits.start), width.segment_of(bits.end - 1));
    (first.0..=last.0)
        .map(Segment)
        .find(|segment| !members.contains(&call.map.group_of(key, *segment)))
        .map(|segment| width.start_of(segment).max(bits.start))
}

/// What TTL and its relatives answer for a key that exists.
fn ttl(header: &Header, form: TimeForm) -> i64 {
    let Some(expiry) = header.expiry else {
        return -1;
    };
    let origin = if form.absolute { 0 } else { wall_clock().0 };
    let millis = expiry.0.saturating_sub(origin);
    signed(if form.millis { millis } else { (millis + 500) / 1000 })
}

fn key_of(command: &ReadCommand) -> Option<&Key> {
    match command {
        ReadCommand::BitCount { key, .. }
        | ReadCommand::BitPos { key, .. }
        | ReadCommand::Get { key }
        | ReadCommand::GetRange { key, .. }
        | ReadCommand::StrLen { key } => Some(key),
        ReadCommand::Exists { keys } => keys.first(),
        ReadCommand::GetBit { .. }
        | ReadCommand::BitFieldRo { .. }
        | ReadCommand::BitOpCard { .. }
        | ReadCommand::MGet { .. }
        | ReadCommand::Type { .. }
        | ReadCommand::Ttl { .. }
        | ReadCommand::Scan { .. }
        | ReadCommand::Keys { .. }
        | ReadCommand::DbSize
        | ReadCommand::RandomKey
        | ReadCommand::FindIds { .. }
        | ReadCommand::FindNames { .. }
        | ReadCommand::SpaceInfo { .. }
        | ReadCommand::Spaces => None,
    }
}

/// A count as a reply.
pub(crate) fn number(count: u64) -> Reply {
    Reply::Integer(signed(count))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
