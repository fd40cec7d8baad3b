//! Commands of channels and messages.

use bytes::Bytes;

use super::{Parsed, Request, words::pattern};
use crate::{Command, CommandError, SessionCommand};

/// `SUBSCRIBE channel [channel ...]`
pub(crate) fn subscribe(request: &Request<'_>) -> Parsed {
    begin(request, false, false)
}

/// `PSUBSCRIBE pattern [pattern ...]`
pub(crate) fn psubscribe(request: &Request<'_>) -> Parsed {
    begin(request, true, false)
}

/// `SSUBSCRIBE shardchannel [shardchannel ...]`
pub(crate) fn ssubscribe(request: &Request<'_>) -> Parsed {
    begin(request, false, true)
}

/// `UNSUBSCRIBE [channel ...]`
pub(crate) fn unsubscribe(request: &Request<'_>) -> Parsed {
    end(request, false, false)
}

/// `PUNSUBSCRIBE [pattern ...]`
pub(crate) fn punsubscribe(request: &Request<'_>) -> Parsed {
    end(request, true, false)
}

/// `SUNSUBSCRIBE [shardchannel ...]`
pub(crate) fn sunsubscribe(request: &Request<'_>) -> Parsed {
    end(request, false, true)
}

/// `PUBLISH channel message` and `SPUBLISH`
pub(crate) fn publish(request: &Request<'_>) -> Parsed {
    Ok(Command::Session(SessionCommand::Publish {
        channel: pattern(request.args[1])?,
        message: Bytes::copy_from_slice(request.args[2]),
        sharded: request.spec.name == "spublish",
    }))
}

fn begin(request: &Request<'_>, patterned: bool, sharded: bool) -> Parsed {
    let channels = channels(request)?;
    Ok(Command::Session(SessionCommand::Subscribe { channels, patterned, sharded }))
}

fn end(request: &Request<'_>, patterned: bool, sharded: bool) -> Parsed {
    let channels = channels(request)?;
    Ok(Command::Session(SessionCommand::Unsubscribe { channels, patterned, sharded }))
}

fn channels(request: &Request<'_>) -> Result<Vec<Bytes>, CommandError> {
    request.rest(1).iter().map(|name| pattern(name)).collect()
}
