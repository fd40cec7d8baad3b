//! The options of our own commands, word by word.

use bitroster_types::limits::{LIST_OFFSETS_MAX, PATTERN_BYTES_MAX};
use bytes::Bytes;

use super::{Request, is, parse_i64};
use crate::CommandError;

/// Arguments that are not read yet.
pub(super) struct Words<'a> {
    rest: &'a [&'a [u8]],
}

impl<'a> Words<'a> {
    /// Those from a place on.
    pub(super) fn from(request: &Request<'a>, place: usize) -> Self {
        Self { rest: request.rest(place) }
    }

    /// The next one, if there is one.
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The next one, if there is one, without taking it.
    pub(super) fn peek(&self) -> Option<&'a [u8]> {
        self.rest.first().copied()
    }

    /// The next one, which must be there.
    pub(super) fn take(&mut self) -> Result<&'a [u8], CommandError> {
        self.next().ok_or(CommandError::Syntax)
    }

    /// Takes the next one if it is this word.
    pub(super) fn has(&mut self, word: &str) -> bool {
        let has = self.rest.first().is_some_and(|first| is(first, word));
        if has {
            self.rest = &self.rest[1..];
        }
        has
    }

    /// What follows this word, if it is next.
    pub(super) fn after(&mut self, word: &str) -> Result<Option<&'a [u8]>, CommandError> {
        if self.has(word) { self.take().map(Some) } else { Ok(None) }
    }

    /// All that are left.
    pub(super) fn all(&mut self) -> &'a [&'a [u8]] {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), CommandError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CommandError::Syntax) }
    }
}

/// A number that is not negative; `wrong` if it is none.
pub(super) fn natural(arg: &[u8], wrong: CommandError) -> Result<u64, CommandError> {
    parse_i64(arg).and_then(|number| u64::try_from(number).ok()).ok_or(wrong)
}

/// A number from 1 to `max`; `wrong` if it is none.
pub(super) fn positive(arg: &[u8], max: u64, wrong: CommandError) -> Result<u64, CommandError> {
    match natural(arg, CommandError::Syntax) {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(wrong),
    }
}

/// How many offsets to answer.
pub(super) fn limit(arg: &[u8]) -> Result<u64, CommandError> {
    positive(arg, LIST_OFFSETS_MAX, CommandError::LIMIT)
}

/// A closed range of offsets to look at, as a half-open one. It may go past any bitmap.
pub(super) fn range(start: &[u8], end: &[u8]) -> Result<(u64, u64), CommandError> {
    let start = natural(start, CommandError::BIT_OFFSET)?;
    let end = natural(end, CommandError::BIT_OFFSET)?;
    if start > end { Err(CommandError::RANGE) } else { Ok((start, end + 1)) }
}

/// A glob pattern, or the name of a channel.
///
/// # Errors
///
/// Where it is longer than [`PATTERN_BYTES_MAX`].
pub(super) fn pattern(arg: &[u8]) -> Result<Bytes, CommandError> {
    if arg.len() > PATTERN_BYTES_MAX {
        let len = arg.len();
        let text = format!("ERR pattern of {len} bytes is longer than {PATTERN_BYTES_MAX}");
        return Err(CommandError::Message(text));
    }
    Ok(Bytes::copy_from_slice(arg))
}
