//! Outcomes to bytes.

use super::tag;
use crate::{
    CommandError, Grant, Header, NumberedOutcome, Outcome, Reply,
    coding::put::{Out, groups, list, number, signed, text, time, version},
};

fn error(out: &mut Out, error: &CommandError) {
    match error {
        CommandError::Syntax => out.push(tag::SYNTAX),
        CommandError::NotAnInteger => out.push(tag::NOT_AN_INTEGER),
        CommandError::Text(message) => tagged_text(out, tag::MESSAGE, message.as_bytes()),
        CommandError::Message(message) => tagged_text(out, tag::MESSAGE, message.as_bytes()),
        CommandError::OutOfMemory => out.push(tag::OUT_OF_MEMORY),
        CommandError::NoLeader { group } => {
            out.push(tag::NO_LEADER);
            number(out, (*group).into());
        }
        CommandError::OutcomeUnknown { waited } => {
            out.push(tag::OUTCOME_UNKNOWN);
            number(out, waited.as_secs());
            number(out, waited.subsec_nanos().into());
        }
        CommandError::Loading => out.push(tag::LOADING),
        CommandError::Busy(reason) => tagged_text(out, tag::BUSY, reason.as_bytes()),
    }
}

fn tagged_text(out: &mut Out, tag: u8, bytes: &[u8]) {
    out.push(tag);
    text(out, bytes);
}

fn tagged_replies(out: &mut Out, tag: u8, replies: &[Reply]) {
    out.push(tag);
    list(out, replies, reply);
}

fn reply(out: &mut Out, of: &Reply) {
    match of {
        Reply::Ok => out.push(tag::OK),
        Reply::Status(status) => tagged_text(out, tag::STATUS, status.as_bytes()),
        Reply::Integer(value) => match u8::try_from(*value) {
            Ok(small) if small < tag::SMALL_END => out.push(small),
            Ok(_) | Err(_) => {
                out.push(tag::INTEGER);
                signed(out, *value);
            }
        },
        Reply::Bulk(bytes) => tagged_text(out, tag::BULK, bytes),
        Reply::Text(bytes) => tagged_text(out, tag::TEXT, bytes),
        Reply::Nil => out.push(tag::NIL),
        Reply::NilArray => out.push(tag::NIL_ARRAY),
        Reply::Array(items) => tagged_replies(out, tag::ARRAY, items),
        Reply::Set(items) => tagged_replies(out, tag::SET, items),
        Reply::Map(pairs) => {
            out.push(tag::MAP);
            list(out, pairs, |out, (name, value)| {
                reply(out, name);
                reply(out, value);
            });
        }
        Reply::Double(value) => {
            out.push(tag::DOUBLE);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Reply::Error(of) => error(out, of),
    }
}

fn header(out: &mut Out, header: &Header) {
    version(out, header.version);
    time(out, header.expiry);
    groups(out, &header.spread);
    number(out, header.len_bytes);
    number(out, header.modified.0);
}

fn grant(out: &mut Out, grant: Grant) {
    number(out, grant.version.0);
    time(out, grant.expiry);
    number(out, grant.drawn.0);
}

fn numbered(out: &mut Out, outcome: &NumberedOutcome) {
    match outcome {
        NumberedOutcome::Applied(batch) => {
            out.push(tag::NUMBERED_APPLIED);
            number(out, batch.count().into());
            text(out, batch.bytes());
        }
        NumberedOutcome::Forgotten => out.push(tag::NUMBERED_FORGOTTEN),
        NumberedOutcome::NoSession => out.push(tag::NUMBERED_NO_SESSION),
    }
}

/// An outcome.
pub(super) fn outcome(out: &mut Out, outcome: &Outcome) {
    match outcome {
        Outcome::Reply(of) => reply(out, of),
        Outcome::Spread(of) => {
            out.push(tag::SPREAD);
            header(out, of);
        }
        Outcome::Header(of) => {
            out.push(if of.is_some() { tag::HEADER } else { tag::NO_HEADER });
            if let Some(of) = of {
                header(out, of);
            }
        }
        Outcome::AskHome => out.push(tag::ASK_HOME),
        Outcome::Granted(of) => {
            out.push(tag::GRANTED);
            grant(out, *of);
        }
        Outcome::Reserved(version) => {
            out.push(tag::RESERVED);
            number(out, version.0);
        }
        Outcome::Replies(replies) => tagged_replies(out, tag::REPLIES, replies),
        Outcome::Session(session) => {
            out.push(tag::SESSION);
            number(out, session.0);
        }
        Outcome::Numbered(of) => numbered(out, of),
        Outcome::Newer(version) => {
            out.push(tag::NEWER);
            number(out, version.0);
        }
        Outcome::NotOwner => out.push(tag::NOT_OWNER),
        Outcome::Tick => out.push(tag::TICK),
    }
}
