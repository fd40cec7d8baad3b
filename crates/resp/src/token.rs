//! One frame of a reply, without what is nested in it.

use crate::{error::FrameError, limits::FrameLimits, number::parse_i64};

/// What an aggregate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Map,
    Set,
    Push,
    /// Facts about the frame that follows; no frame itself.
    Attribute,
}

/// A frame that holds no other, or the head of one that does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Nil,
    Boolean(bool),
    Double(f64),
    BigNumber(&'a [u8]),
    Verbatim {
        format: [u8; 3],
        text: &'a [u8],
    },
    /// `elements` frames follow: for maps and attributes both keys and values count.
    Aggregate {
        kind: Kind,
        elements: usize,
    },
}

/// The token at the start of `buf` and its length, or `None` if it is not wholly there.
///
/// Costs time linear in a line; a bulk is stepped over.
pub(crate) fn read<'a>(
    buf: &'a [u8],
    limits: &FrameLimits,
) -> Result<Option<(Token<'a>, usize)>, FrameError> {
    let Some(&first) = buf.first() else {
        return Ok(None);
    };
    if !b"+-:$*_#,(!=%~>|".contains(&first) {
        return Err(FrameError::UnknownType(first));
    }
    let Some(line) = line(&buf[1..], limits.line_bytes_max)? else {
        return Ok(None);
    };
    let line_end = 1 + line.len() + 2;
    let token = match first {
        b'+' => Token::Simple(line),
        b'-' => Token::Error(line),
        b':' => Token::Integer(integer(line)?),
        b'_' if line.is_empty() => Token::Nil,
        b'#' if line == b"t" => Token::Boolean(true),
        b'#' if line == b"f" => Token::Boolean(false),
        b',' => Token::Double(double(line)?),
        b'(' if is_decimal(line) => Token::BigNumber(line),
        b'$' | b'*' if line == b"-1" => Token::Nil,
        b'$' | b'!' | b'=' => return bulk(first, line, buf, line_end, limits),
        b'*' => aggregate(Kind::Array, 1, line, limits)?,
        b'~' => aggregate(Kind::Set, 1, line, limits)?,
        b'>' => aggregate(Kind::Push, 1, line, limits)?,
        b'%' => aggregate(Kind::Map, 2, line, limits)?,
        b'|' => aggregate(Kind::Attribute, 2, line, limits)?,
        _ => return Err(FrameError::InvalidValue),
    };
    Ok(Some((token, line_end)))
}

/// The line at the start of `buf` without its CR LF, or `None` if it has not ended.
fn line(buf: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, FrameError> {
    let window = &buf[..buf.len().min(bytes_max.saturating_add(1))];
    let Some(end) = window.iter().position(|&byte| matches!(byte, b'\r' | b'\n')) else {
        let is_full = window.len() > bytes_max;
        return if is_full { Err(FrameError::LineTooLong { max: bytes_max }) } else { Ok(None) };
    };
    match (buf[end], buf.get(end + 1)) {
        (b'\r', Some(b'\n')) => Ok(Some(&buf[..end])),
        (b'\r', None) => Ok(None),
        _ => Err(FrameError::InvalidTerminator),
    }
}

/// The bulk whose head of `head_len` bytes ends in `line`, and the length of both.
fn bulk<'a>(
    first: u8,
    line: &[u8],
    buf: &'a [u8],
    head_len: usize,
    limits: &FrameLimits,
) -> Result<Option<(Token<'a>, usize)>, FrameError> {
    let announced = length(line)?;
    let too_long = FrameError::BulkTooLong { len: announced, max: limits.bulk_bytes_max };
    let len = usize::try_from(announced).map_err(|_| too_long)?;
    if len > limits.bulk_bytes_max {
        return Err(too_long);
    }
    let rest = &buf[head_len..];
    let Some(terminator) = rest.get(len..).and_then(|tail| tail.get(..2)) else {
        return Ok(None);
    };
    if terminator != b"\r\n" {
        return Err(FrameError::InvalidTerminator);
    }
    let bytes = &rest[..len];
    let token = match (first, bytes) {
        (b'$', _) => Token::Bulk(bytes),
        (b'!', _) => Token::Error(bytes),
        (_, [a, b, c, b':', text @ ..]) => Token::Verbatim { format: [*a, *b, *c], text },
        _ => return Err(FrameError::InvalidValue),
    };
    Ok(Some((token, head_len + len + 2)))
}

fn aggregate<'a>(
    kind: Kind,
    frames_each: usize,
    line: &[u8],
    limits: &FrameLimits,
) -> Result<Token<'a>, FrameError> {
    let elements = usize::try_from(length(line)?)
        .ok()
        .and_then(|len| len.checked_mul(frames_each))
        .filter(|&elements| elements <= limits.elements_max)
        .ok_or(FrameError::TooManyElements { max: limits.elements_max })?;
    Ok(Token::Aggregate { kind, elements })
}

/// A length or count: not negative.
fn length(line: &[u8]) -> Result<u64, FrameError> {
    integer(line)?.try_into().map_err(|_| FrameError::InvalidNumber)
}

/// An integer; unlike in requests, a plus sign is legal.
fn integer(line: &[u8]) -> Result<i64, FrameError> {
    parse_i64(line.strip_prefix(b"+").unwrap_or(line)).ok_or(FrameError::InvalidNumber)
}

fn double(line: &[u8]) -> Result<f64, FrameError> {
    let text = std::str::from_utf8(line).map_err(|_| FrameError::InvalidValue)?;
    text.parse().map_err(|_| FrameError::InvalidValue)
}

fn is_decimal(line: &[u8]) -> bool {
    let digits = line.strip_prefix(b"-").or(line.strip_prefix(b"+")).unwrap_or(line);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}
