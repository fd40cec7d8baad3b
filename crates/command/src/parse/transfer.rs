//! Commands that take whole values in and out.

use bitroster_bitmap::Bitmap;
use bitroster_types::limits::BITMAP_BITS_MAX;
use bytes::Bytes;

use super::{
    Parsed, Request, bits::encoded, expiry::Form, integer, is, query::composite, words::Words,
};
use crate::{
    Command, CommandError, Composite, Expiry, MergeMode, WriteCommand,
    composite::{Expression, Format},
    payload,
};

/// `BM.EXPORT key FORMAT roaring32|roaring64|bytes|csv`
pub(crate) fn export(request: &Request<'_>) -> Parsed {
    let of = Expression::only(request.key(1)?);
    let mut words = Words::from(request, 2);
    let format = format(&mut words)?;
    words.end()?;
    composite(Composite::Export { of, format })
}

/// `BM.IMPORT key FORMAT roaring32|roaring64|bytes|csv data [MODE set|or|andnot|xor]`
pub(crate) fn import(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let mut words = Words::from(request, 2);
    let format = format(&mut words)?;
    let data = words.take()?;
    let mode = words.after("mode")?.map_or(Ok(None), mode)?;
    words.end()?;
    let set = set(data, format, request)?;
    composite(Composite::Import { key, bits: encoded(&set), mode })
}

fn format(words: &mut Words<'_>) -> Result<Format, CommandError> {
    const WRONG: CommandError =
        CommandError::Text("ERR FORMAT is one of roaring32, roaring64, bytes and csv");
    let word = words.after("format")?.ok_or(CommandError::Syntax)?;
    match word.to_ascii_lowercase().as_slice() {
        b"roaring32" => Ok(Format::Roaring32),
        b"roaring64" => Ok(Format::Roaring64),
        b"bytes" => Ok(Format::Bytes),
        b"csv" => Ok(Format::Csv),
        _ => Err(WRONG),
    }
}

/// How a set is merged; `None` where it replaces the value.
fn mode(word: &[u8]) -> Result<Option<MergeMode>, CommandError> {
    const WRONG: CommandError = CommandError::Text("ERR MODE is one of set, or, andnot and xor");
    match word.to_ascii_lowercase().as_slice() {
        b"set" => Ok(None),
        b"or" => Ok(Some(MergeMode::Or)),
        b"andnot" => Ok(Some(MergeMode::AndNot)),
        b"xor" => Ok(Some(MergeMode::Xor)),
        _ => Err(WRONG),
    }
}

/// The set that the data is.
fn set(data: &[u8], format: Format, request: &Request<'_>) -> Result<Bitmap, CommandError> {
    let bits_max = request.limits.bitmap_bits_max.min(BITMAP_BITS_MAX);
    let wrong = |error: String| CommandError::Message(format!("ERR {error}"));
    let set = match format {
        Format::Roaring32 => {
            Bitmap::from_roaring32(data).map_err(|error| wrong(error.to_string()))?
        }
        Format::Roaring64 => {
            Bitmap::from_roaring64(data).map_err(|error| wrong(error.to_string()))?
        }
        Format::Csv => {
            Bitmap::from_csv(data, bits_max).map_err(|error| wrong(error.to_string()))?
        }
        Format::Bytes if data.len() as u64 > bits_max / 8 => {
            return Err(CommandError::VALUE_LENGTH);
        }
        Format::Bytes => Bitmap::from_bytes(data),
    };
    if set.last_set().is_some_and(|last| last >= bits_max) {
        return Err(CommandError::BIT_OFFSET);
    }
    Ok(set)
}

/// `DUMP key`
pub(crate) fn dump(request: &Request<'_>) -> Parsed {
    composite(Composite::Dump { key: request.key(1)? })
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`: options, then
/// the time to live, then the payload. How long the key was idle and how often it was used is not
/// kept.
pub(crate) fn restore(request: &Request<'_>) -> Parsed {
    let (mut replace, mut absolute, mut idle, mut frequency) = (false, false, false, false);
    let mut words = Words::from(request, 4);
    while let Some(word) = words.next() {
        if is(word, "replace") {
            replace = true;
        } else if is(word, "absttl") {
            absolute = true;
        } else if is(word, "idletime") && !frequency {
            if integer(words.take()?)? < 0 {
                return Err(CommandError::Text("ERR Invalid IDLETIME value, must be >= 0"));
            }
            idle = true;
        } else if is(word, "freq") && !idle {
            if !(0..=255).contains(&integer(words.take()?)?) {
                let text = "ERR Invalid FREQ value, must be >= 0 and <= 255";
                return Err(CommandError::Text(text));
            }
            frequency = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let expiry = match integer(request.args[2])? {
        ..0 => return Err(CommandError::Text("ERR Invalid TTL value, must be >= 0")),
        0 => Expiry::Clear,
        _ => Form { millis: true, absolute }.any(request.args[2], request.spec.name)?,
    };
    let key = request.key(1)?;
    let value = payload::restore(request.args[3], request.limits)?;
    Ok(Command::Write(WriteCommand::Restore { key, value: Bytes::from(value), expiry, replace }))
}
