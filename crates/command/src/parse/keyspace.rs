//! Commands of keys, whatever they hold.

use super::{
    Parsed, Request, expiry::Form, integer, is, number::parse_u64, printable_at_end, words,
};
use crate::{Command, CommandError, ExpiryCondition, ReadCommand, TimeForm, WriteCommand};

/// Keys that SCAN looks at where it is not told. Redis's.
const SCAN_COUNT_DEFAULT: u64 = 10;

/// `DEL key [key ...]` and `UNLINK`
pub(crate) fn delete(request: &Request<'_>) -> Parsed {
    Ok(Command::Write(WriteCommand::Delete { keys: request.keys(1)? }))
}

/// `EXISTS key [key ...]` and `TOUCH`
pub(crate) fn exists(request: &Request<'_>) -> Parsed {
    Ok(Command::Read(ReadCommand::Exists { keys: request.keys(1)? }))
}

/// `TYPE key`
pub(crate) fn kind(request: &Request<'_>) -> Parsed {
    Ok(Command::Read(ReadCommand::Type { key: request.key(1)? }))
}

/// `PERSIST key`
pub(crate) fn persist(request: &Request<'_>) -> Parsed {
    Ok(Command::Write(WriteCommand::Persist { key: request.key(1)? }))
}

/// `TTL key`, `PTTL`, `EXPIRETIME`, `PEXPIRETIME`
pub(crate) fn ttl(request: &Request<'_>) -> Parsed {
    let name = request.spec.name;
    let form = TimeForm { millis: name.starts_with('p'), absolute: name.ends_with("expiretime") };
    Ok(Command::Read(ReadCommand::Ttl { key: request.key(1)?, form }))
}

/// `EXPIRE key time [NX|XX|GT|LT]`, `PEXPIRE`, `EXPIREAT`, `PEXPIREAT`: the options first, then the
/// time.
pub(crate) fn expire(request: &Request<'_>) -> Parsed {
    let mut condition = ExpiryCondition::default();
    for word in request.rest(3) {
        let option = if is(word, "nx") {
            &mut condition.if_none
        } else if is(word, "xx") {
            &mut condition.if_some
        } else if is(word, "gt") {
            &mut condition.if_later
        } else if is(word, "lt") {
            &mut condition.if_earlier
        } else {
            let word = printable_at_end(word);
            let text = format!("ERR Unsupported option {word}");
            return Err(CommandError::Message(text));
        };
        *option = true;
    }
    let others = condition.if_some || condition.if_later || condition.if_earlier;
    if condition.if_none && others {
        return Err(CommandError::EXPIRE_NX);
    }
    if condition.if_later && condition.if_earlier {
        return Err(CommandError::EXPIRE_GT_LT);
    }
    let name = request.spec.name;
    let form = Form { millis: name.starts_with('p'), absolute: name.ends_with("at") };
    let expiry = form.any(request.args[2], name)?;
    Ok(Command::Write(WriteCommand::Expire { key: request.key(1)?, expiry, condition }))
}

/// `RENAME key newkey`
pub(crate) fn rename(request: &Request<'_>) -> Parsed {
    renamed(request, false)
}

/// `RENAMENX key newkey`
pub(crate) fn rename_nx(request: &Request<'_>) -> Parsed {
    renamed(request, true)
}

fn renamed(request: &Request<'_>, only_if_new: bool) -> Parsed {
    let (source, target) = (request.key(1)?, request.key(2)?);
    Ok(Command::Write(WriteCommand::Rename { source, target, only_if_new }))
}

/// `COPY source destination [DB destination-db] [REPLACE]`
pub(crate) fn copy(request: &Request<'_>) -> Parsed {
    let mut replace = false;
    let mut rest = request.rest(3);
    while let [word, after @ ..] = rest {
        rest = after;
        if is(word, "replace") {
            replace = true;
        } else if let (true, [index, after @ ..]) = (is(word, "db"), after) {
            rest = after;
            database(index)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let (source, target) = (request.key(1)?, request.key(2)?);
    if source == target {
        return Err(CommandError::SAME_KEY);
    }
    Ok(Command::Write(WriteCommand::Copy { source, target, replace }))
}

/// The only database.
fn database(index: &[u8]) -> Result<(), CommandError> {
    if database_index(index)? == 0 { Ok(()) } else { Err(CommandError::DATABASE) }
}

/// The number of a database, be there one or not.
pub(super) fn database_index(index: &[u8]) -> Result<i64, CommandError> {
    let index = integer(index)?;
    if i32::try_from(index).is_err() {
        let (min, max) = (i32::MIN, i32::MAX);
        return Err(CommandError::Message(format!(
            "ERR value is out of range, value must between {min} and {max}"
        )));
    }
    Ok(index)
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub(crate) fn scan(request: &Request<'_>) -> Parsed {
    let cursor = parse_u64(request.args[1]).ok_or(CommandError::CURSOR)?;
    let (mut pattern, mut count, mut type_matches) = (None, SCAN_COUNT_DEFAULT, true);
    let mut rest = request.rest(2);
    while let [word, after @ ..] = rest {
        let [value, after @ ..] = after else { return Err(CommandError::Syntax) };
        rest = after;
        if is(word, "count") {
            count = u64::try_from(integer(value)?).map_err(|_| CommandError::Syntax)?;
            if count == 0 {
                return Err(CommandError::Syntax);
            }
        } else if is(word, "match") {
            pattern = Some(words::pattern(value)?);
        } else if is(word, "type") {
            type_matches = is(value, "string");
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(Command::Read(ReadCommand::Scan { cursor, pattern, count, type_matches }))
}

/// `KEYS pattern`
pub(crate) fn keys(request: &Request<'_>) -> Parsed {
    let pattern = words::pattern(request.args[1])?;
    Ok(Command::Read(ReadCommand::Keys { pattern }))
}

/// `DBSIZE`
pub(crate) fn db_size(_: &Request<'_>) -> Parsed {
    Ok(Command::Read(ReadCommand::DbSize))
}

/// `RANDOMKEY`
pub(crate) fn random_key(_: &Request<'_>) -> Parsed {
    Ok(Command::Read(ReadCommand::RandomKey))
}

/// `FLUSHALL [ASYNC|SYNC]` and `FLUSHDB`
pub(crate) fn flush(request: &Request<'_>) -> Parsed {
    match request.rest(1) {
        [] => {}
        [word] if is(word, "sync") || is(word, "async") => {}
        _ => return Err(CommandError::Syntax),
    }
    Ok(Command::Write(WriteCommand::Flush))
}
