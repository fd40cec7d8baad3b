//! SETRANGE and APPEND, whose bytes may lie in several segments.
//!
//! Each segment's bytes are written atomically; the segments of one command are not written at
//! one instant.

use std::collections::BTreeMap;

use bitroster_command::{
    Header, Outcome, PartQuery, ReadCommand, ReadOp, Reply, WriteCommand, WriteOp,
};
use bitroster_types::{GroupId, Key, LogIndex};
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
        let written = write_pieces(call, pieces, alone).await;
        written.map_err(|stop| if alone { stop } else { call.after_change(stop) })?;
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

/// Writes pieces of one key, side by side over the groups. `alone` says that the one piece is all
/// of a command: then the plan starts again where its group does not take it.
async fn write_pieces(call: &Call, pieces: Vec<(GroupId, WriteCommand)>, alone: bool) -> Step<()> {
    let mut groups: BTreeMap<GroupId, Vec<WriteCommand>> = BTreeMap::new();
    for (group, piece) in pieces {
        groups.entry(group).or_default().push(piece);
    }
    call.inner.metrics.fanned_out(groups.len());
    call.each(groups, |(group, pieces)| write_in_group(call, group, pieces, alone)).await.map(drop)
}

/// Writes one group's pieces, in one entry; those that it does not own by themselves.
async fn write_in_group(
    call: &Call,
    group: GroupId,
    pieces: Vec<WriteCommand>,
    alone: bool,
) -> Step<()> {
    let ops: Vec<WriteOp> = pieces.iter().cloned().map(WriteOp::Command).collect();
    let (mut touches, mut rest) = (Vec::new(), Vec::new());
    match call.tell_all(group, &ops).await {
        Ok(outcomes) => {
            for (piece, outcome) in pieces.iter().zip(outcomes) {
                match outcome {
                    Outcome::Reply(Reply::Error(error)) => return Err(Stop::Error(*error)),
                    Outcome::Reply(_) => {}
                    Outcome::NotOwner if alone => return Err(Stop::NotOwner),
                    Outcome::NotOwner => rest.push(piece),
                    _ => touches.push((group, piece)),
                }
            }
        }
        Err(Stop::StaleMap | Stop::NotOwner) if !alone => rest.extend(&pieces),
        Err(stop) => return Err(stop),
    }
    if !touches.is_empty() {
        let touched: Vec<&WriteCommand> = touches.iter().map(|(_, piece)| *piece).collect();
        for (piece, reply) in touched.into_iter().zip(enlist::write_all(call, touches).await) {
            match reply {
                Some(Reply::Error(error)) => return Err(Stop::Error(*error)),
                Some(_) => {}
                None if alone => return Err(Stop::Again),
                None => rest.push(piece),
            }
        }
    }
    for piece in rest {
        if let Reply::Error(error) = call.complete_write(piece).await? {
            return Err(Stop::Error(*error));
        }
    }
    Ok(())
}
