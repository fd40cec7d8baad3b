//! Commands of id spaces, of presence, and of one id in all bitmaps.

use bitroster_types::limits::{
    KEY_BYTES_MAX, NAME_BYTES_MAX, NAMES_MAX, PREFIXES_LIMIT_DEFAULT, PREFIXES_LIMIT_MAX,
    PRESENCE_ID_MAX,
};
use bytes::Bytes;

use super::{
    Parsed, Request,
    bitmap::offset,
    is,
    query::{composite, page, unknown_subcommand},
    words::{self, Words, natural, positive},
};
use crate::{Command, CommandError, Composite, ReadCommand, WriteCommand, composite::PresenceAsk};

/// Longest presence, in seconds: about 68 years, so that its end fits 32 bits for as long again.
const PRESENCE_SECS_MAX: u64 = i32::MAX as u64;

const SEPARATOR: CommandError = CommandError::Text("ERR separator must be one byte");

/// `BM.ID space name [name ...]`
pub(crate) fn assign(request: &Request<'_>) -> Parsed {
    let (space, names) = (request.key(1)?, names(request.rest(2))?);
    Ok(Command::Write(WriteCommand::AssignIds { space, names }))
}

/// `BM.FIND space name [name ...]`
pub(crate) fn find(request: &Request<'_>) -> Parsed {
    let (space, names) = (request.key(1)?, names(request.rest(2))?);
    Ok(Command::Read(ReadCommand::FindIds { space, names }))
}

/// `BM.NAME space id [id ...]`
pub(crate) fn name(request: &Request<'_>) -> Parsed {
    let space = request.key(1)?;
    let ids =
        request.rest(2).iter().map(|id| natural(id, CommandError::ID)).collect::<Result<_, _>>()?;
    Ok(Command::Read(ReadCommand::FindNames { space, ids }))
}

/// `BM.SPACE INFO space | LIST | DROP space`
pub(crate) fn space(request: &Request<'_>) -> Parsed {
    let what = request.args[1];
    let wrong_arity = |name: &str| Err(CommandError::wrong_arity(&format!("bm.space|{name}")));
    match request.args.len() {
        2 if is(what, "list") => composite(Composite::SpaceList),
        3 if is(what, "info") => {
            Ok(Command::Read(ReadCommand::SpaceInfo { space: request.key(2)? }))
        }
        3 if is(what, "drop") => {
            Ok(Command::Write(WriteCommand::DropSpace { space: request.key(2)? }))
        }
        _ if is(what, "list") => wrong_arity("list"),
        _ if is(what, "info") => wrong_arity("info"),
        _ if is(what, "drop") => wrong_arity("drop"),
        _ => Err(unknown_subcommand(request)),
    }
}

/// `BM.SET key space name [name ...]`
pub(crate) fn set(request: &Request<'_>) -> Parsed {
    let (key, space) = (request.key(1)?, request.key(2)?);
    composite(Composite::SetNames { key, space, names: names(request.rest(3))? })
}

fn names(args: &[&[u8]]) -> Result<Vec<Bytes>, CommandError> {
    if args.len() > NAMES_MAX {
        let text = format!("ERR {} names in one command; the limit is {NAMES_MAX}", args.len());
        return Err(CommandError::Message(text));
    }
    let name = |arg: &&[u8]| {
        if arg.len() > NAME_BYTES_MAX {
            let len = arg.len();
            let text = format!("ERR name of {len} bytes is longer than {NAME_BYTES_MAX}");
            return Err(CommandError::Message(text));
        }
        Ok(Bytes::copy_from_slice(arg))
    };
    args.iter().map(name).collect()
}

/// `BM.TOUCH key id TTL seconds`
pub(crate) fn touch(request: &Request<'_>) -> Parsed {
    let (key, id) = (request.key(1)?, presence_id(request, request.args[2])?);
    if !is(request.args[3], "ttl") {
        return Err(CommandError::Syntax);
    }
    let wrong = CommandError::expire_time(request.spec.name);
    let ttl = positive(request.args[4], PRESENCE_SECS_MAX, wrong.clone())?;
    let ttl_secs = u32::try_from(ttl).map_err(|_| wrong)?;
    Ok(Command::Write(WriteCommand::Touch { key, id, ttl_secs }))
}

/// `BM.ONLINE key [COUNT | LIST [CURSOR c] [LIMIT n] | IS id]`
pub(crate) fn online(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let mut words = Words::from(request, 2);
    let ask = if words.has("list") {
        let (cursor, limit) = page(&mut words)?;
        PresenceAsk::List { cursor, limit }
    } else if let Some(id) = words.after("is")? {
        PresenceAsk::Is { id: presence_id(request, id)? }
    } else {
        words.has("count");
        PresenceAsk::Count
    };
    words.end()?;
    composite(Composite::Online { key, ask })
}

/// An id whose 32 bits lie in a bitmap.
fn presence_id(request: &Request<'_>, arg: &[u8]) -> Result<u64, CommandError> {
    let id = natural(arg, CommandError::ID)?;
    let max = PRESENCE_ID_MAX.min((request.limits.bitmap_bits_max / 32).saturating_sub(1));
    if id > max { Err(CommandError::ID) } else { Ok(id) }
}

/// `BM.PREFIXES prefix [SEPARATOR byte] [LIMIT count]`, the options in any order
pub(crate) fn prefixes(request: &Request<'_>) -> Parsed {
    let prefix = request.args[1];
    if prefix.len() > KEY_BYTES_MAX {
        let len = prefix.len();
        let text = format!("ERR prefix of {len} bytes is longer than {KEY_BYTES_MAX}");
        return Err(CommandError::Message(text));
    }
    let mut words = Words::from(request, 2);
    let (mut separator, mut limit) = (None, None);
    loop {
        if separator.is_none()
            && let Some(word) = words.after("separator")?
        {
            let &[byte] = word else { return Err(SEPARATOR) };
            separator = Some(byte);
        } else if limit.is_none()
            && let Some(word) = words.after("limit")?
        {
            limit = Some(positive(word, PREFIXES_LIMIT_MAX, CommandError::LIMIT)?);
        } else {
            break;
        }
    }
    words.end()?;
    let limit = usize::try_from(limit.unwrap_or(PREFIXES_LIMIT_DEFAULT)).unwrap_or(usize::MAX);
    composite(Composite::Prefixes {
        prefix: Bytes::copy_from_slice(prefix),
        separator: separator.unwrap_or(b':'),
        limit,
    })
}

/// `BM.PURGE id MATCH pattern [DRYRUN]`
pub(crate) fn purge(request: &Request<'_>) -> Parsed {
    let id = offset(request, request.args[1])?;
    let mut words = Words::from(request, 2);
    let pattern = words.after("match")?.ok_or(CommandError::Syntax)?;
    let dry_run = words.has("dryrun");
    words.end()?;
    composite(Composite::Purge { id, pattern: words::pattern(pattern)?, dry_run })
}
