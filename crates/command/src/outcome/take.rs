//! Bytes to outcomes. Nothing here trusts a length or a number that it reads.

use std::time::Duration;

use bitroster_types::{LogIndex, SessionId, limits::REPLY_DEPTH_MAX};
use bytes::Bytes;

use super::{OutcomeBatch, tag};
use crate::{
    CommandError, EntryError, Grant, Header, NumberedOutcome, Outcome, Reply,
    coding::{Cursor, Taken},
};

const NANOS_PER_SEC: u32 = 1_000_000_000;

/// The one of `known` that the bytes spell.
fn known(bytes: &Bytes, known: &[&'static str]) -> Option<&'static str> {
    known.iter().copied().find(|text| text.as_bytes() == &bytes[..])
}

fn error(cursor: &mut Cursor<'_>, tag: u8) -> Taken<CommandError> {
    Ok(match tag {
        tag::SYNTAX => CommandError::Syntax,
        tag::NOT_AN_INTEGER => CommandError::NotAnInteger,
        tag::MESSAGE => {
            let text = cursor.value()?;
            let text = std::str::from_utf8(&text).map_err(|_| EntryError::Field("error"))?;
            CommandError::Message(text.to_owned())
        }
        tag::OUT_OF_MEMORY => CommandError::OutOfMemory,
        tag::NO_LEADER => CommandError::NoLeader { group: cursor.group()?.0 },
        tag::OUTCOME_UNKNOWN => {
            let secs = cursor.number()?;
            let nanos = u32::try_from(cursor.number()?).ok().filter(|nanos| *nanos < NANOS_PER_SEC);
            let nanos = nanos.ok_or(EntryError::Field("duration"))?;
            CommandError::OutcomeUnknown { waited: Duration::new(secs, nanos) }
        }
        tag::LOADING => CommandError::Loading,
        tag::BUSY => {
            let reason = known(&cursor.value()?, &tag::BUSY_REASONS);
            CommandError::Busy(reason.unwrap_or(tag::BUSY_REASONS[0]))
        }
        _ => return Err(EntryError::Field("reply")),
    })
}

fn double(cursor: &mut Cursor<'_>) -> Taken<f64> {
    let mut bytes = [0; 8];
    for byte in &mut bytes {
        *byte = cursor.byte()?;
    }
    Ok(f64::from_bits(u64::from_le_bytes(bytes)))
}

fn replies(cursor: &mut Cursor<'_>, depth: usize) -> Taken<Vec<Reply>> {
    cursor.list(|cursor| reply(cursor, depth))
}

/// A reply with `depth` more around it.
fn reply(cursor: &mut Cursor<'_>, depth: usize) -> Taken<Reply> {
    let tag = cursor.byte()?;
    reply_of(cursor, tag, depth)
}

fn reply_of(cursor: &mut Cursor<'_>, tag: u8, depth: usize) -> Taken<Reply> {
    if tag < tag::SMALL_END {
        return Ok(Reply::Integer(tag.into()));
    }
    if depth >= REPLY_DEPTH_MAX {
        return Err(EntryError::Field("depth of a reply"));
    }
    Ok(match tag {
        tag::OK => Reply::Ok,
        tag::INTEGER => Reply::Integer(cursor.signed()?),
        tag::BULK => Reply::Bulk(cursor.value()?),
        tag::TEXT => Reply::Text(cursor.value()?),
        tag::NIL => Reply::Nil,
        tag::NIL_ARRAY => Reply::NilArray,
        tag::ARRAY => Reply::Array(replies(cursor, depth + 1)?),
        tag::SET => Reply::Set(replies(cursor, depth + 1)?),
        tag::MAP => Reply::Map(
            cursor.list(|cursor| Ok((reply(cursor, depth + 1)?, reply(cursor, depth + 1)?)))?,
        ),
        tag::DOUBLE => Reply::Double(double(cursor)?),
        tag::STATUS => {
            let text = cursor.value()?;
            known(&text, &tag::STATUSES).map_or(Reply::Text(text), Reply::Status)
        }
        _ => error(cursor, tag)?.into(),
    })
}

fn header(cursor: &mut Cursor<'_>) -> Taken<Box<Header>> {
    Ok(Box::new(Header {
        version: cursor.option(Cursor::version)?,
        expiry: cursor.time()?,
        spread: cursor.list(Cursor::group)?,
        len_bytes: cursor.number()?,
        modified: LogIndex(cursor.number()?),
    }))
}

fn applied(cursor: &mut Cursor<'_>) -> Taken<NumberedOutcome> {
    let count = u32::try_from(cursor.number()?).map_err(|_| EntryError::Truncated)?;
    let batch = OutcomeBatch { count, bytes: cursor.value()?, is_nested: true };
    Ok(NumberedOutcome::Applied(batch))
}

/// An outcome; a numbered one only if it is not part of one itself.
pub(super) fn outcome(cursor: &mut Cursor<'_>, is_nested: bool) -> Taken<Outcome> {
    let tag = cursor.byte()?;
    Ok(match tag {
        ..=tag::REPLIES_END => Outcome::Reply(reply_of(cursor, tag, 0)?),
        tag::SPREAD => Outcome::Spread(header(cursor)?),
        tag::NO_HEADER => Outcome::Header(None),
        tag::HEADER => Outcome::Header(Some(header(cursor)?)),
        tag::ASK_HOME => Outcome::AskHome,
        tag::GRANTED => Outcome::Granted(Grant {
            version: cursor.version()?,
            expiry: cursor.time()?,
            drawn: cursor.version()?,
        }),
        tag::RESERVED => Outcome::Reserved(cursor.version()?),
        tag::REPLIES => Outcome::Replies(replies(cursor, 1)?),
        tag::SESSION => Outcome::Session(SessionId(cursor.number()?)),
        tag::NUMBERED_APPLIED..=tag::NUMBERED_NO_SESSION if is_nested => {
            return Err(EntryError::Field("outcome of a numbered batch"));
        }
        tag::NUMBERED_APPLIED => Outcome::Numbered(applied(cursor)?),
        tag::NUMBERED_FORGOTTEN => Outcome::Numbered(NumberedOutcome::Forgotten),
        tag::NUMBERED_NO_SESSION => Outcome::Numbered(NumberedOutcome::NoSession),
        tag::NEWER => Outcome::Newer(cursor.version()?),
        tag::NOT_OWNER => Outcome::NotOwner,
        tag::TICK => Outcome::Tick,
        _ => return Err(EntryError::Field("outcome")),
    })
}
