//! BITFIELD and BITFIELD_RO whose fields lie in several segments.
//!
//! Operations run in their order. Each operation within one segment is atomic; a field that
//! straddles two segments is read and written as two halves.

use std::collections::BTreeMap;

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Field, FieldAction, FieldOp, FieldType, Outcome, Overflow, ReadCommand, ReadOp, Reply,
    WriteCommand,
};
use bitroster_types::{Key, Segment};

use super::{gather, keys::refusal};
use crate::{
    arithmetic,
    call::{Call, Step, Stop, unexpected},
};

/// BITFIELD_RO.
pub(crate) async fn read(call: &Call, key: &Key, fields: &[Field]) -> Step<Reply> {
    let all = fields.iter().flat_map(|field| pieces(call, *field)).collect();
    let values = read_pieces(call, key, all).await?;
    let mut values = values.into_iter();
    let mut replies = Vec::with_capacity(fields.len());
    for field in fields {
        let pieces = pieces(call, *field);
        let bits = join(&pieces, &mut values);
        replies.push(Reply::Integer(arithmetic::value_of(field.kind, bits)));
    }
    Ok(Reply::Array(replies))
}

/// BITFIELD with at least one write.
pub(crate) async fn write(call: &Call, key: &Key, ops: &[FieldOp]) -> Step<Reply> {
    let mut replies = Vec::with_capacity(ops.len());
    let mut rest = ops;
    let mut changed = false;
    while let Some(first) = rest.first() {
        let run = run_len(call, rest);
        let done = if run == 0 {
            straddle(call, key, first).await.map(|reply| vec![reply])
        } else {
            run_ops(call, key, rest[..run].to_vec()).await
        };
        rest = &rest[run.max(1)..];
        match done {
            Ok(done) => replies.extend(done),
            Err(stop) if changed => return Err(call.after_change(stop)),
            Err(stop) => return Err(stop),
        }
        changed = true;
    }
    Ok(Reply::Array(replies))
}

/// How many of the first operations lie in one segment together; 0 where the first straddles.
fn run_len(call: &Call, ops: &[FieldOp]) -> usize {
    let width = call.map.width();
    let Some(first) = ops.first() else { return 0 };
    let segment = width.segment_of(first.field.offset);
    ops.iter()
        .take_while(|op| {
            let last = op.field.offset + u64::from(op.field.kind.width) - 1;
            width.segment_of(op.field.offset) == segment && width.segment_of(last) == segment
        })
        .count()
}

/// Runs operations of one segment where they lie.
async fn run_ops(call: &Call, key: &Key, ops: Vec<FieldOp>) -> Step<Vec<Reply>> {
    let reply = if ops.iter().all(|op| op.action == FieldAction::Get) {
        let fields = ops.iter().map(|op| op.field).collect();
        call.complete_read(&ReadCommand::BitFieldRo { key: key.clone(), fields }).await?
    } else {
        call.complete_write(&WriteCommand::BitField { key: key.clone(), ops }).await?
    };
    match reply {
        Reply::Array(replies) => Ok(replies),
        reply => Err(refusal(reply)),
    }
}

/// Runs one operation on a field that lies in two segments.
async fn straddle(call: &Call, key: &Key, op: &FieldOp) -> Step<Reply> {
    let pieces = pieces(call, op.field);
    let values = read_pieces(call, key, pieces.clone()).await?;
    let old = arithmetic::value_of(op.field.kind, join(&pieces, &mut values.into_iter()));
    let new = match op.action {
        FieldAction::Get => return Ok(Reply::Integer(old)),
        FieldAction::Set(value) => arithmetic::set(op.field.kind, value, op.overflow),
        FieldAction::IncrBy(by) => arithmetic::add(op.field.kind, old, by, op.overflow),
    };
    let Some(new) = new else {
        // Nothing is written, but the key grows all the same.
        let last = op.field.offset + u64::from(op.field.kind.width) - 1;
        let bit = Field { kind: FieldType { signed: false, width: 1 }, offset: last };
        let grow = FieldOp { field: bit, action: FieldAction::IncrBy(0), overflow: Overflow::Wrap };
        run_ops(call, key, vec![grow]).await?;
        return Ok(Reply::Nil);
    };
    let mut bits = arithmetic::bits_of(op.field.kind, new);
    let mut changed = false;
    // From the last half to the first, so that the key's length is right from the first write.
    for piece in pieces.iter().rev() {
        let mask = (1 << piece.kind.width) - 1;
        let value = i64::try_from(bits & mask).expect("half a field is narrower than 64 bits");
        bits >>= piece.kind.width;
        let action = FieldAction::Set(value);
        let half = FieldOp { field: *piece, action, overflow: Overflow::Wrap };
        match run_ops(call, key, vec![half]).await {
            Ok(_) => changed = true,
            Err(stop) if changed => return Err(call.after_change(stop)),
            Err(stop) => return Err(stop),
        }
    }
    Ok(Reply::Integer(if matches!(op.action, FieldAction::Set(_)) { old } else { new }))
}

/// The field itself, or its two halves, unsigned, where it straddles two segments.
fn pieces(call: &Call, field: Field) -> Vec<Field> {
    let width = call.map.width().bits();
    let bits = u64::from(field.kind.width);
    let room = width - field.offset % width;
    if bits <= room {
        return vec![field];
    }
    let half = |offset, bits: u64| Field {
        kind: FieldType {
            signed: false,
            width: u8::try_from(bits).expect("narrower than the whole field"),
        },
        offset,
    };
    vec![half(field.offset, room), half(field.offset + room, bits - room)]
}

/// The bits of a field from the values of its pieces.
fn join(pieces: &[Field], values: &mut impl Iterator<Item = i64>) -> u64 {
    pieces.iter().fold(0, |bits, piece| {
        let value = values.next().unwrap_or(0).cast_unsigned();
        let mask = u64::MAX >> (64 - u32::from(piece.kind.width));
        bits.checked_shl(u32::from(piece.kind.width)).unwrap_or(0) | (value & mask)
    })
}

/// The values of fields that lie in one segment each; side by side over the groups.
async fn read_pieces(call: &Call, key: &Key, pieces: Vec<Field>) -> Step<Vec<i64>> {
    let mut segments: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, piece) in pieces.iter().enumerate() {
        segments.entry(call.map.width().segment_of(piece.offset)).or_default().push(place);
    }
    let mut values = vec![0; pieces.len()];
    let read = call
        .each(segments, |(segment, places)| {
            let fields: Vec<Field> = places.iter().map(|place| pieces[*place]).collect();
            async move {
                let fields = &fields;
                let read = |call| async move { read_segment(&call, key, segment, fields).await };
                Ok((places, call.attempts(read).await?))
            }
        })
        .await?;
    for (places, replies) in read {
        for (place, reply) in places.into_iter().zip(replies) {
            let Reply::Integer(value) = reply else { return Err(Stop::Again) };
            values[place] = value;
        }
    }
    Ok(values)
}

/// The values of fields of one segment. Where its group is in doubt about the key, home says which
/// version lives.
async fn read_segment(
    call: &Call,
    key: &Key,
    segment: Segment,
    fields: &[Field],
) -> Step<Vec<Reply>> {
    let command = ReadCommand::BitFieldRo { key: key.clone(), fields: fields.to_vec() };
    match call.ask(call.map.group_of(key, segment), ReadOp::Command(command)).await? {
        Outcome::Reply(Reply::Array(replies)) => return Ok(replies),
        Outcome::AskHome => {}
        outcome => return Err(unexpected(outcome)),
    }
    let start = call.map.width().start_of(segment);
    let bits = match call.header(key).await? {
        Some(header) => {
            let range = start..start + call.map.width().bits();
            gather::bitmap(call, key, &header, range).await?
        }
        None => Bitmap::new(),
    };
    let value = |field: &Field| {
        let raw = bits.field(field.offset, field.kind.width.into());
        Reply::Integer(arithmetic::value_of(field.kind, raw))
    };
    Ok(fields.iter().map(value).collect())
}
