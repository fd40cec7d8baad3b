//! Values that leave or come: BM.EXPORT, BM.IMPORT and DUMP.

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    CommandError, Expiry, MergeMode, Reply, WriteCommand,
    composite::{Expression, Format},
    payload,
};
use bitroster_types::Key;
use bytes::Bytes;

use super::{operands::Operands, places::Places};
use crate::{
    aside::aside,
    call::{Call, Step, Stop, decoded},
    plan::{gather, merge},
};

/// BM.EXPORT.
pub(super) async fn export(call: &Call, of: &Expression, format: Format) -> Step<Reply> {
    let Some(value) = value(call, of).await? else { return Ok(Reply::Nil) };
    let bytes = match format {
        Format::Roaring32 => aside(|| value.to_roaring32()).ok_or(CommandError::Text(
            "ERR the set has offsets that need more than 32 bits: use ROARING64",
        ))?,
        Format::Roaring64 => aside(|| value.to_roaring64()),
        Format::Bytes => {
            check(call, value.len_bytes())?;
            aside(|| value.read_bytes(0..value.len_bytes()))
        }
        Format::Csv => {
            call.check_deadline()?;
            check(call, aside(|| csv_bytes(&value)))?;
            aside(|| value.to_csv())
        }
    };
    check(call, bytes.len() as u64)?;
    Ok(Reply::Bulk(bytes.into()))
}

/// How long a value is as numbers, each with the end of its line.
fn csv_bytes(value: &Bitmap) -> u64 {
    let mut bytes = 0_u64;
    let mut start = 0_u64;
    let mut digits = 1;
    while value.last_set() >= Some(start) {
        let end = 10_u64.saturating_pow(digits);
        let line = u64::from(digits) + 1;
        bytes = bytes.saturating_add(value.count(start..end).saturating_mul(line));
        (start, digits) = (end, digits + 1);
    }
    bytes
}

/// BM.IMPORT.
pub(super) async fn import(
    call: &Call,
    key: &Key,
    bits: &Bytes,
    mode: Option<MergeMode>,
) -> Step<Reply> {
    let command = match mode {
        Some(mode) => WriteCommand::Merge { key: key.clone(), mode, bits: bits.clone() },
        None => return replace(call, key, bits).await,
    };
    Ok(call.complete_write(&command).await?)
}

/// Makes a set the value of a key; one without bits or length removes it.
async fn replace(call: &Call, key: &Key, bits: &Bytes) -> Step<Reply> {
    let set = aside(|| decoded(bits))?;
    let command = if set.is_empty() {
        WriteCommand::Delete { keys: vec![key.clone()] }
    } else {
        let (key, value, expiry) = (key.clone(), bits.clone(), Expiry::Clear);
        WriteCommand::Restore { key, value, expiry, replace: true }
    };
    match call.complete_write(&command).await? {
        Reply::Error(error) => Err(Stop::Error(*error)),
        _ => Ok(gather::number(set.cardinality())),
    }
}

/// DUMP.
pub(super) async fn dump(call: &Call, key: &Key) -> Step<Reply> {
    let of = Expression::only(key.clone());
    let Some(value) = value(call, &of).await? else { return Ok(Reply::Nil) };
    let bytes = aside(|| payload::dump(&merge::encoded(&value)));
    check(call, bytes.len() as u64)?;
    Ok(Reply::Bulk(bytes.into()))
}

/// The value of an expression, as long as its longest operand; `None` where no operand is there.
async fn value(call: &Call, of: &Expression) -> Step<Option<Bitmap>> {
    let operands = Operands::open(call, &of.keys).await?;
    if !operands.any_is_filled(call).await? {
        return Ok(None);
    }
    let len_bytes = operands.len_bytes(call).await?;
    match Places::over(call, &of.formula, operands).await? {
        Ok(places) => {
            let value = places.whole(len_bytes).await?;
            places.confirm_whole().await?;
            Ok(Some(value))
        }
        Err(operands) => {
            operands.confirm(call, |_, _| true).await?;
            Ok(Some(Bitmap::zeros(len_bytes)))
        }
    }
}

fn check(call: &Call, len_bytes: u64) -> Step<()> {
    if len_bytes > call.value_bytes_max() { Err(gather::too_long().into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_list_is_known_before_it_is_made() {
        let sets: [&[u64]; 4] =
            [&[], &[0], &[0, 9, 10, 99, 100, 65_535, 65_536, 1 << 41], &[9_999_999_999]];
        for offsets in sets {
            let value = Bitmap::from_offsets(offsets);
            assert_eq!(csv_bytes(&value), value.to_csv().len() as u64, "{offsets:?}");
        }
    }
}
