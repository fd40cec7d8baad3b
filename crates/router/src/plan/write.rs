//! SETRANGE and APPEND, whose bytes may lie in several segments.
//!
//! Each segment's bytes are written atomically; the segments of one command are not written at
//! one instant.

use std::collections::BTreeMap;

use bitroster_command::{
    CommandError, Header, OpBatch, Outcome, PartQuery, ReadCommand, ReadOp, Reply, WriteCommand,
    WriteOp,
};
use bitroster_types::{
    GroupId, Key, LogIndex,
    limits::{ENTRY_BYTES_MAX, ENTRY_OPS_MAX},
};
use bytes::Bytes;

use super::{enlist, gather};
use crate::call::{Call, Step, Stop, count_of, grant_of, reply_of, unexpected};

/// SETRANGE: each group writes its bytes; the reply is the length of the whole key.
pub(crate) async fn set_range(call: &Call, key: &Key, offset: u64, value: &Bytes) -> Step<Reply> {
    if !value.is_empty() {
        let end = offset.saturating_add(value.len() as u64);
        if end > call.value_bytes_max() {
            return Err(gather::too_long().into());
        }
        let pieces = pieces(call, key, offset, value);
        let alone = pieces.len() == 1;
        write_pieces(call, pieces, alone).await?;
    }
    let len = call.complete_read(&ReadCommand::StrLen { key: key.clone() }).await;
    len.map_err(
        |error| {
            if value.is_empty() { error.into() } else { call.after_change(error.into()) }
        },
    )
}

/// APPEND to a key that is spread, or is going to be.
///
/// The group of the first byte checks that nobody wrote there since the length was read, so that
/// two appends do not take the same place. That holds for the bytes in that segment.
pub(crate) async fn append(call: &Call, key: &Key, value: &Bytes) -> Step<Reply> {
    let header = call.header(key).await?;
    let at = len_bytes(call, key, header.as_ref()).await?;
    let end = at.saturating_add(value.len() as u64);
    if end > call.value_bytes_max() {
        return Err(gather::too_long().into());
    }
    if value.is_empty() {
        return Ok(gather::number(at));
    }
    let tail = call.map.group_of_bit(key, at * 8);
    let mark = mark(call, tail, key).await?;
    // The record once more, after the mark: an append between the two is seen by one of them.
    let now = call.header(key).await?;
    let version = |header: &Option<Header>| header.as_ref().map(|header| header.version);
    if version(&now) != version(&header) || len_bytes(call, key, now.as_ref()).await? != at {
        return Err(Stop::Again);
    }
    let mut pieces = pieces(call, key, at, value);
    let (group, first) = pieces.remove(0);
    let guarded = WriteOp::Transaction {
        watches: vec![(key.clone(), mark)],
        ops: vec![first.clone().into()],
    };
    match call.tell(group, guarded).await? {
        Outcome::Replies(replies) => {
            if let Some(Reply::Error(error)) = replies.into_iter().next() {
                return Err(Stop::Error(*error));
            }
        }
        Outcome::Reply(Reply::NilArray) => return Err(Stop::Again),
        Outcome::Reply(Reply::Error(error)) => return Err(Stop::Error(*error)),
        Outcome::AskHome => {
            let Some(header) = header else { return Err(Stop::Again) };
            let held = PartQuery::Len;
            let part = ReadOp::Part { key: key.clone(), version: header.version, query: held };
            if header.spread.contains(&group) && count_of(call.ask(group, part).await?)? > 0 {
                // It is in doubt about its part: without the mark nobody would see that another
                // append was first.
                return Err(Stop::Again);
            }
            first_touch(call, group, &header, key, first).await?;
        }
        outcome => return Err(unexpected(outcome)),
    }
    write_pieces(call, pieces, false).await.map_err(|stop| call.after_change(stop))?;
    Ok(gather::number(end))
}

/// The length of a key that may be absent.
async fn len_bytes(call: &Call, key: &Key, header: Option<&Header>) -> Step<u64> {
    match header {
        Some(header) => gather::len_bytes(call, key, header).await,
        None => Ok(0),
    }
}

/// Does an append's first write where the group has no part yet, if the key is still the one whose
/// length was read.
async fn first_touch(
    call: &Call,
    group: GroupId,
    header: &Header,
    key: &Key,
    command: WriteCommand,
) -> Step<()> {
    let enlist = WriteOp::Enlist { key: key.clone(), group };
    let grant = grant_of(call.tell(call.map.home(key), enlist).await?)?;
    let same = match (header.version, call.header(key).await?) {
        (Some(version), _) => version == grant.version,
        (None, Some(now)) => {
            now.version == Some(grant.version) && now.len_bytes == header.len_bytes
        }
        (None, None) => false,
    };
    if !same {
        return Err(Stop::Again);
    }
    match reply_of(call.tell(group, WriteOp::Granted { grant, command }).await?)? {
        Reply::Error(error) => Err(Stop::Error(*error)),
        _ => Ok(()),
    }
}

/// When the key was last changed in a group.
pub(crate) async fn mark(call: &Call, group: GroupId, key: &Key) -> Step<LogIndex> {
    count_of(call.ask(group, ReadOp::Fingerprint { key: key.clone() }).await?).map(LogIndex)
}

/// The bytes of a SETRANGE, one piece a segment, with their groups.
fn pieces(call: &Call, key: &Key, offset: u64, value: &Bytes) -> Vec<(GroupId, WriteCommand)> {
    let width = call.map.width().bytes();
    let mut pieces = Vec::new();
    let (mut at, mut rest) = (offset, value.clone());
    while !rest.is_empty() {
        let room = usize::try_from(width - at % width).expect("a segment fits in memory");
        let piece = rest.split_to(room.min(rest.len()));
        let group = call.map.group_of_bit(key, at * 8);
        let len = piece.len() as u64;
        pieces.push((group, WriteCommand::SetRange { key: key.clone(), offset: at, value: piece }));
        at += len;
    }
    pieces
}

/// What became of one group's pieces.
#[derive(Default)]
struct Written {
    /// The sum of the replies so far.
    sum: i64,
    /// Whether one of them is done, or may be.
    is_begun: bool,
    /// Why not all of them are done.
    stop: Option<Stop>,
}

/// Writes pieces of keys, side by side over the groups: the sum of their replies. `alone` says that
/// the one piece is all of a command: then the plan starts again where its group does not take it.
///
/// What stops it is "unknown" if one of the pieces may be written.
pub(super) async fn write_pieces(
    call: &Call,
    pieces: Vec<(GroupId, WriteCommand)>,
    alone: bool,
) -> Step<i64> {
    let mut groups: BTreeMap<GroupId, Vec<WriteCommand>> = BTreeMap::new();
    for (group, piece) in pieces {
        groups.entry(group).or_default().push(piece);
    }
    call.inner.metrics.fanned_out(groups.len());
    let written = call
        .each(groups, |(group, pieces)| async move {
            let mut written = Written::default();
            let done = write_in_group(call, group, pieces, alone, &mut written).await;
            written.stop = done.err();
            Ok(written)
        })
        .await?;
    let is_begun = written.iter().any(|written| written.is_begun);
    let mut sum = 0;
    for written in written {
        match written.stop {
            Some(stop) if is_begun => return Err(call.after_change(stop)),
            Some(stop) => return Err(stop),
            None => sum += written.sum,
        }
    }
    Ok(sum)
}

/// Writes one group's pieces, as many in one entry as an entry should hold.
async fn write_in_group(
    call: &Call,
    group: GroupId,
    pieces: Vec<WriteCommand>,
    alone: bool,
    written: &mut Written,
) -> Step<()> {
    let mut batch = OpBatch::default();
    let mut first = 0;
    for (place, piece) in pieces.iter().enumerate() {
        batch.push_write(&WriteOp::Command(piece.clone()));
        let is_last = place + 1 == pieces.len();
        if is_last || batch.len() == ENTRY_OPS_MAX || batch.bytes_len() >= ENTRY_BYTES_MAX {
            let batch = std::mem::take(&mut batch);
            let pieces = &pieces[first..=place];
            first = place + 1;
            write_batch(call, group, (pieces, batch), alone, written).await?;
        }
    }
    Ok(())
}

/// Writes pieces of one group in one entry; those that it does not own by themselves.
async fn write_batch(
    call: &Call,
    group: GroupId,
    (pieces, batch): (&[WriteCommand], OpBatch),
    alone: bool,
    written: &mut Written,
) -> Step<()> {
    let (mut touches, mut rest) = (Vec::new(), Vec::new());
    match call.tell_batch(group, batch).await {
        Ok(outcomes) => {
            let mut refused = None;
            for (piece, outcome) in pieces.iter().zip(outcomes) {
                match outcome {
                    Outcome::Reply(Reply::Error(error)) => {
                        refused.get_or_insert(Stop::Error(*error));
                    }
                    Outcome::Reply(reply) => written.add(&reply),
                    Outcome::NotOwner if alone => return Err(Stop::NotOwner),
                    Outcome::NotOwner => rest.push(piece),
                    _ if enlist::only_clears(piece) => rest.push(piece),
                    _ => touches.push((group, piece)),
                }
            }
            if let Some(refused) = refused {
                return Err(refused);
            }
        }
        Err(Stop::StaleMap | Stop::NotOwner) if !alone => rest.extend(pieces),
        Err(stop) => return Err(written.note(stop)),
    }
    if !touches.is_empty() {
        let touched: Vec<&WriteCommand> = touches.iter().map(|(_, piece)| *piece).collect();
        for (piece, reply) in touched.into_iter().zip(enlist::write_all(call, touches).await) {
            match reply {
                Some(Reply::Error(error)) => return Err(written.note(Stop::Error(*error))),
                Some(reply) => written.add(&reply),
                None if alone => return Err(Stop::Again),
                None => rest.push(piece),
            }
        }
    }
    for piece in rest {
        match call.complete_write(piece).await {
            Ok(Reply::Error(error)) => return Err(written.note(Stop::Error(*error))),
            Ok(reply) => written.add(&reply),
            Err(error) => return Err(written.note(error.into())),
        }
    }
    Ok(())
}

impl Written {
    /// Adds the reply to a piece.
    fn add(&mut self, reply: &Reply) {
        self.is_begun = true;
        if let Reply::Integer(number) = reply {
            self.sum = self.sum.saturating_add(*number);
        }
    }

    /// Notes whether what stopped a piece leaves open if it is written.
    fn note(&mut self, stop: Stop) -> Stop {
        self.is_begun |= matches!(stop, Stop::Error(CommandError::OutcomeUnknown { .. }));
        stop
    }
}
