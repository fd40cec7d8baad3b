//! Commands of whole values and their bytes.

use super::{Parsed, Request, expiry::Form, is};
use crate::{Command, CommandError, Existence, Expiry, ReadCommand, SetReply, WriteCommand};

/// `GET key`
pub(crate) fn get(request: &Request<'_>) -> Parsed {
    Ok(Command::Read(ReadCommand::Get { key: request.key(1)? }))
}

/// `MGET key [key ...]`
pub(crate) fn m_get(request: &Request<'_>) -> Parsed {
    Ok(Command::Read(ReadCommand::MGet { keys: request.keys(1)? }))
}

/// `STRLEN key`
pub(crate) fn str_len(request: &Request<'_>) -> Parsed {
    Ok(Command::Read(ReadCommand::StrLen { key: request.key(1)? }))
}

/// `GETRANGE key start end` and `SUBSTR`
pub(crate) fn get_range(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let (start, end) = (request.integer(2)?, request.integer(3)?);
    Ok(Command::Read(ReadCommand::GetRange { key, start, end }))
}

/// `APPEND key value`
pub(crate) fn append(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    Ok(Command::Write(WriteCommand::Append { key, value: request.value(2)? }))
}

/// `SETRANGE key offset value`
pub(crate) fn set_range(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let offset = u64::try_from(request.integer(2)?).map_err(|_| CommandError::OFFSET)?;
    let value = request.value(3)?;
    if value.is_empty() {
        // Nothing is written, wherever; the answer is the length.
        return Ok(Command::Write(WriteCommand::SetRange { key, offset: 0, value }));
    }
    let end = offset.checked_add(value.len() as u64);
    if end.is_none_or(|end| end > request.limits.bitmap_bits_max / 8) {
        return Err(CommandError::VALUE_LENGTH);
    }
    Ok(Command::Write(WriteCommand::SetRange { key, offset, value }))
}

/// `INCR key`
pub(crate) fn incr(request: &Request<'_>) -> Parsed {
    incr_by_of(request, 1)
}

/// `DECR key`
pub(crate) fn decr(request: &Request<'_>) -> Parsed {
    incr_by_of(request, -1)
}

/// `INCRBY key increment`
pub(crate) fn incr_by(request: &Request<'_>) -> Parsed {
    incr_by_of(request, request.integer(2)?)
}

/// `DECRBY key decrement`
pub(crate) fn decr_by(request: &Request<'_>) -> Parsed {
    let by = request.integer(2)?.checked_neg().ok_or(CommandError::DECREMENT)?;
    incr_by_of(request, by)
}

fn incr_by_of(request: &Request<'_>, by: i64) -> Parsed {
    Ok(Command::Write(WriteCommand::IncrBy { key: request.key(1)?, by }))
}

/// `MSET key value [key value ...]`
pub(crate) fn m_set(request: &Request<'_>) -> Parsed {
    pairs(request, false)
}

/// `MSETNX key value [key value ...]`
pub(crate) fn m_set_nx(request: &Request<'_>) -> Parsed {
    pairs(request, true)
}

fn pairs(request: &Request<'_>, only_if_none: bool) -> Parsed {
    if request.args.len().is_multiple_of(2) {
        return Err(request.wrong_arity());
    }
    let places = (1..request.args.len()).step_by(2);
    let pairs = places
        .map(|place| Ok((request.key(place)?, request.value(place + 1)?)))
        .collect::<Result<_, CommandError>>()?;
    Ok(Command::Write(WriteCommand::MSet { pairs, only_if_none }))
}

/// `GETDEL key`
pub(crate) fn get_del(request: &Request<'_>) -> Parsed {
    Ok(Command::Write(WriteCommand::GetDel { key: request.key(1)? }))
}

/// `SETNX key value`
pub(crate) fn set_nx(request: &Request<'_>) -> Parsed {
    set_with(request, 2, Some(Existence::IfAbsent), Expiry::Clear, SetReply::Changed)
}

/// `GETSET key value`
pub(crate) fn get_set(request: &Request<'_>) -> Parsed {
    set_with(request, 2, None, Expiry::Clear, SetReply::Old)
}

/// `SETEX key seconds value`
pub(crate) fn set_ex(request: &Request<'_>) -> Parsed {
    let expiry = Form::SECONDS.positive(request.args[2], request.spec.name)?;
    set_with(request, 3, None, expiry, SetReply::Status)
}

/// `PSETEX key milliseconds value`
pub(crate) fn p_set_ex(request: &Request<'_>) -> Parsed {
    let expiry = Form::MILLIS.positive(request.args[2], request.spec.name)?;
    set_with(request, 3, None, expiry, SetReply::Status)
}

/// `SET key value [NX|XX] [GET] [EX seconds|PX ms|EXAT seconds|PXAT ms|KEEPTTL]`: the options
/// first, then the time in them.
pub(crate) fn set(request: &Request<'_>) -> Parsed {
    let (mut existence, mut reply, mut lifetime) = (None, SetReply::Status, None);
    let mut rest = request.rest(3);
    while let [word, after @ ..] = rest {
        rest = after;
        if is(word, "nx") && existence != Some(Existence::IfPresent) {
            existence = Some(Existence::IfAbsent);
        } else if is(word, "xx") && existence != Some(Existence::IfAbsent) {
            existence = Some(Existence::IfPresent);
        } else if is(word, "get") {
            reply = SetReply::Old;
        } else if is(word, "keepttl") {
            lifetime = Some(Lifetime::Keep.after(lifetime)?);
        } else {
            let (form, number) = timed(word, &mut rest)?;
            lifetime = Some(Lifetime::Until(form, number).after(lifetime)?);
        }
    }
    let expiry = lifetime.map_or(Ok(Expiry::Clear), |lifetime| lifetime.expiry(request))?;
    set_with(request, 2, existence, expiry, reply)
}

/// `GETEX key [EX seconds|PX ms|EXAT seconds|PXAT ms|PERSIST]`: a read if it leaves the expiry.
pub(crate) fn get_ex(request: &Request<'_>) -> Parsed {
    let mut lifetime = None;
    let mut rest = request.rest(2);
    while let [word, after @ ..] = rest {
        rest = after;
        if is(word, "persist") {
            lifetime = Some(Lifetime::Endless.after(lifetime)?);
        } else {
            let (form, number) = timed(word, &mut rest)?;
            lifetime = Some(Lifetime::Until(form, number).after(lifetime)?);
        }
    }
    let key = request.key(1)?;
    match lifetime {
        None => Ok(Command::Read(ReadCommand::Get { key })),
        Some(lifetime) => {
            let expiry = lifetime.expiry(request)?;
            Ok(Command::Write(WriteCommand::GetEx { key, expiry }))
        }
    }
}

fn set_with(
    request: &Request<'_>,
    value: usize,
    existence: Option<Existence>,
    expiry: Expiry,
    reply: SetReply,
) -> Parsed {
    let key = request.key(1)?;
    let value = request.value(value)?;
    Ok(Command::Write(WriteCommand::Set { key, value, existence, expiry, reply }))
}

/// What SET's and GETEX's options say about the expiry.
#[derive(Clone, Copy, Debug)]
enum Lifetime<'a> {
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Endless,
    /// `EX`, `PX`, `EXAT`, `PXAT` and their number
    Until(Form, &'a [u8]),
}

impl Lifetime<'_> {
    /// This option, if it may follow `before`: the same one may, another may not.
    fn after(self, before: Option<Self>) -> Result<Self, CommandError> {
        let fits = match (before, self) {
            (None, _) | (Some(Self::Keep), Self::Keep) | (Some(Self::Endless), Self::Endless) => {
                true
            }
            (Some(Self::Until(before, _)), Self::Until(form, _)) => before == form,
            (Some(_), _) => false,
        };
        if fits { Ok(self) } else { Err(CommandError::Syntax) }
    }

    fn expiry(self, request: &Request<'_>) -> Result<Expiry, CommandError> {
        match self {
            Self::Keep => Ok(Expiry::Keep),
            Self::Endless => Ok(Expiry::Clear),
            Self::Until(form, number) => form.positive(number, request.spec.name),
        }
    }
}

/// An option with a time; takes the time from `rest`.
fn timed<'a>(word: &[u8], rest: &mut &'a [&'a [u8]]) -> Result<(Form, &'a [u8]), CommandError> {
    const FORMS: [(&str, Form); 4] = [
        ("ex", Form::SECONDS),
        ("px", Form::MILLIS),
        ("exat", Form::AT_SECONDS),
        ("pxat", Form::AT_MILLIS),
    ];
    let form = FORMS.into_iter().find(|(name, _)| is(word, name));
    match (form, rest.split_first()) {
        (Some((_, form)), Some((number, after))) => {
            *rest = after;
            Ok((form, number))
        }
        _ => Err(CommandError::Syntax),
    }
}
