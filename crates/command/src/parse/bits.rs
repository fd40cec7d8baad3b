//! Commands that change or read many bits of one bitmap.

use bitroster_bitmap::Bitmap;
use bitroster_types::limits::MERGE_RANGE_BITS_MAX;
use bytes::Bytes;

use super::{Parsed, Request, bitmap::offset};
use crate::{Command, CommandError, Composite, MergeMode, WriteCommand};

/// `BM.SETBITS key offset [offset ...]`
pub(crate) fn set_bits(request: &Request<'_>) -> Parsed {
    merge_offsets(request, request.rest(2), MergeMode::Or)
}

/// `BM.CLEARBITS key offset [offset ...]`
pub(crate) fn clear_bits(request: &Request<'_>) -> Parsed {
    merge_offsets(request, request.rest(2), MergeMode::AndNot)
}

/// `BM.SETRANGE key start end [0|1]`
pub(crate) fn set_range(request: &Request<'_>) -> Parsed {
    let mode = match request.rest(4) {
        [] => MergeMode::Or,
        [value] => match *value {
            b"0" => MergeMode::AndNot,
            b"1" => MergeMode::Or,
            _ => return Err(CommandError::BIT_VALUE),
        },
        _ => return Err(CommandError::Syntax),
    };
    merge_range(request, mode)
}

/// `BM.FLIPRANGE key start end`
pub(crate) fn flip_range(request: &Request<'_>) -> Parsed {
    merge_range(request, MergeMode::Xor)
}

/// `BM.GETBITS key offset [offset ...]`
pub(crate) fn get_bits(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let offsets = offsets(request, request.rest(2))?;
    Ok(Command::Composite(Box::new(Composite::GetBits { key, offsets })))
}

/// A merge of the bits at these offsets.
pub(super) fn merge_offsets(request: &Request<'_>, args: &[&[u8]], mode: MergeMode) -> Parsed {
    let key = request.key(1)?;
    let offsets = offsets(request, args)?;
    let bits = encoded(&Bitmap::from_offsets(&offsets));
    Ok(Command::Write(WriteCommand::Merge { key, mode, bits }))
}

fn offsets(request: &Request<'_>, args: &[&[u8]]) -> Result<Vec<u64>, CommandError> {
    args.iter().map(|arg| offset(request, arg)).collect()
}

/// A merge of all bits of the closed range in the third and fourth argument.
fn merge_range(request: &Request<'_>, mode: MergeMode) -> Parsed {
    let key = request.key(1)?;
    let first = offset(request, request.args[2])?;
    let last = offset(request, request.args[3])?;
    if first > last {
        return Err(CommandError::RANGE);
    }
    if last - first >= MERGE_RANGE_BITS_MAX {
        let text = format!("ERR the range is longer than {MERGE_RANGE_BITS_MAX} bits");
        return Err(CommandError::Message(text));
    }
    let mut set = Bitmap::zeros(last / 8 + 1);
    set.fill(first..last + 1, true);
    Ok(Command::Write(WriteCommand::Merge { key, mode, bits: encoded(&set) }))
}

/// A set in the bitmap codec.
pub(super) fn encoded(set: &Bitmap) -> Bytes {
    let mut bytes = Vec::new();
    set.encode(&mut bytes);
    Bytes::from(bytes)
}
