//! Commands of bits.

use bitroster_types::limits::BITMAP_BITS_MAX;

use super::{Parsed, Request, integer, is, parse_i64};
use crate::{
    BitLogic, Command, CommandError, Field, FieldAction, FieldOp, FieldType, IndexRange, IndexUnit,
    Overflow, ReadCommand, WriteCommand,
};

/// `SETBIT key offset value`: the offset first, then the bit.
pub(crate) fn set_bit(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let offset = offset(request, request.args[2])?;
    let value = match request.args[3] {
        b"0" => false,
        b"1" => true,
        _ => return Err(CommandError::BIT_VALUE),
    };
    Ok(Command::Write(WriteCommand::SetBit { key, offset, value }))
}

/// `GETBIT key offset`
pub(crate) fn get_bit(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let offset = offset(request, request.args[2])?;
    Ok(Command::Read(ReadCommand::GetBit { key, offset }))
}

/// `BITCOUNT key [start end [BYTE|BIT]]`
pub(crate) fn bit_count(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let range = match request.rest(2) {
        [] => None,
        [start, end] => Some((integer(start)?, integer(end)?, IndexUnit::Byte)),
        [start, end, of] => Some((integer(start)?, integer(end)?, unit(of)?)),
        _ => return Err(CommandError::Syntax),
    };
    let range = range.map(|(start, end, unit)| IndexRange { start, end, unit });
    Ok(Command::Read(ReadCommand::BitCount { key, range }))
}

/// `BITPOS key bit [start [end [BYTE|BIT]]]`: the unit is looked at before the end.
pub(crate) fn bit_pos(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let bit = match request.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::BIT_ARGUMENT),
    };
    let (mut start, mut end, mut of) = (None, None, IndexUnit::Byte);
    let rest = request.rest(3);
    if rest.len() > 3 {
        return Err(CommandError::Syntax);
    }
    if let Some(arg) = rest.first() {
        start = Some(integer(arg)?);
    }
    if let Some(arg) = rest.get(2) {
        of = unit(arg)?;
    }
    if let Some(arg) = rest.get(1) {
        end = Some(integer(arg)?);
    }
    Ok(Command::Read(ReadCommand::BitPos { key, bit, start, end, unit: of }))
}

/// `BITOP operation destkey key [key ...]`
pub(crate) fn bit_op(request: &Request<'_>) -> Parsed {
    let logic = logic(request, 3)?;
    let target = request.key(2)?;
    let sources = request.keys(3)?;
    Ok(Command::Write(WriteCommand::BitOp { logic, target, sources }))
}

/// `BITOPCARD operation key [key ...]`
pub(crate) fn bit_op_card(request: &Request<'_>) -> Parsed {
    let logic = logic(request, 2)?;
    let sources = request.keys(2)?;
    Ok(Command::Read(ReadCommand::BitOpCard { logic, sources }))
}

/// `BITFIELD key ...`: a read if nothing is to be written.
pub(crate) fn bit_field(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let ops = field_ops(request)?;
    if ops.iter().all(|op| op.action == FieldAction::Get) {
        let fields = ops.iter().map(|op| op.field).collect();
        return Ok(Command::Read(ReadCommand::BitFieldRo { key, fields }));
    }
    Ok(Command::Write(WriteCommand::BitField { key, ops }))
}

/// `BITFIELD_RO key [GET encoding offset ...]`: other operations are refused once they make sense.
pub(crate) fn bit_field_ro(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let ops = field_ops(request)?;
    if ops.iter().any(|op| op.action != FieldAction::Get) {
        return Err(CommandError::FIELD_READ_ONLY);
    }
    let fields = ops.iter().map(|op| op.field).collect();
    Ok(Command::Read(ReadCommand::BitFieldRo { key, fields }))
}

/// The offset of a bit.
pub(super) fn offset(request: &Request<'_>, arg: &[u8]) -> Result<u64, CommandError> {
    parse_i64(arg)
        .and_then(|offset| u64::try_from(offset).ok())
        .filter(|offset| *offset < request.limits.bitmap_bits_max)
        .ok_or(CommandError::BIT_OFFSET)
}

/// The offset of a field: of its first bit, or `#n` for the n-th field of this width.
///
/// As in Redis only the first bit must lie within the limit of bits; the last one must lie within
/// the largest bitmap there can be.
fn field_offset(request: &Request<'_>, arg: &[u8], width: u64) -> Result<u64, CommandError> {
    let (arg, scale) = match arg {
        [b'#', number @ ..] => (number, width),
        number => (number, 1),
    };
    parse_i64(arg)
        .and_then(|number| u64::try_from(number).ok()?.checked_mul(scale))
        .filter(|offset| *offset < request.limits.bitmap_bits_max)
        .filter(|offset| offset + width <= BITMAP_BITS_MAX)
        .ok_or(CommandError::BIT_OFFSET)
}

fn unit(arg: &[u8]) -> Result<IndexUnit, CommandError> {
    if is(arg, "bit") {
        Ok(IndexUnit::Bit)
    } else if is(arg, "byte") {
        Ok(IndexUnit::Byte)
    } else {
        Err(CommandError::Syntax)
    }
}

/// The operation, the sources of which begin at `place`, and whether there are as many as it needs.
fn logic(request: &Request<'_>, place: usize) -> Result<BitLogic, CommandError> {
    let command = request.spec.name.to_ascii_uppercase();
    logic_of(request.args[1], request.args.len() - place, &command)
}

/// The operation of this name, if `sources` are as many as it needs. `command` is for the error.
pub(super) fn logic_of(
    word: &[u8],
    sources: usize,
    command: &str,
) -> Result<BitLogic, CommandError> {
    const NAMES: [(&str, BitLogic); 8] = [
        ("AND", BitLogic::And),
        ("OR", BitLogic::Or),
        ("XOR", BitLogic::Xor),
        ("NOT", BitLogic::Not),
        ("DIFF", BitLogic::Diff),
        ("DIFF1", BitLogic::Diff1),
        ("ANDOR", BitLogic::AndOr),
        ("ONE", BitLogic::One),
    ];
    let found = NAMES.into_iter().find(|(name, _)| is(word, name));
    let (name, logic) = found.ok_or(CommandError::Syntax)?;
    let two = matches!(logic, BitLogic::Diff | BitLogic::Diff1 | BitLogic::AndOr);
    if logic == BitLogic::Not && sources != 1 {
        let text = format!("ERR {command} NOT must be called with a single source key.");
        return Err(CommandError::Message(text));
    }
    if two && sources < 2 {
        let text = format!("ERR {command} {name} must be called with at least two source keys.");
        return Err(CommandError::Message(text));
    }
    Ok(logic)
}

/// BITFIELD's operations.
fn field_ops(request: &Request<'_>) -> Result<Vec<FieldOp>, CommandError> {
    let mut ops = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = request.rest(2);
    loop {
        rest = match rest {
            [] => return Ok(ops),
            [name, kind, place, rest @ ..] if is(name, "get") => {
                let field = field(request, kind, place)?;
                ops.push(FieldOp { field, action: FieldAction::Get, overflow });
                rest
            }
            [name, kind, place, value, rest @ ..] if is(name, "set") => {
                let field = field(request, kind, place)?;
                let action = FieldAction::Set(integer(value)?);
                ops.push(FieldOp { field, action, overflow });
                rest
            }
            [name, kind, place, value, rest @ ..] if is(name, "incrby") => {
                let field = field(request, kind, place)?;
                let action = FieldAction::IncrBy(integer(value)?);
                ops.push(FieldOp { field, action, overflow });
                rest
            }
            [name, word, rest @ ..] if is(name, "overflow") => {
                overflow = overflow_of(word)?;
                rest
            }
            _ => return Err(CommandError::Syntax),
        };
    }
}

fn field(request: &Request<'_>, kind: &[u8], place: &[u8]) -> Result<Field, CommandError> {
    let kind = field_type(kind).ok_or(CommandError::FIELD_TYPE)?;
    Ok(Field { kind, offset: field_offset(request, place, kind.width.into())? })
}

/// `i1` to `i64` and `u1` to `u63`.
fn field_type(arg: &[u8]) -> Option<FieldType> {
    let (signed, width) = match arg {
        [b'i', width @ ..] => (true, width),
        [b'u', width @ ..] => (false, width),
        _ => return None,
    };
    let width = u8::try_from(parse_i64(width)?).ok()?;
    (1..=63 + u8::from(signed)).contains(&width).then_some(FieldType { signed, width })
}

fn overflow_of(word: &[u8]) -> Result<Overflow, CommandError> {
    if is(word, "wrap") {
        Ok(Overflow::Wrap)
    } else if is(word, "sat") {
        Ok(Overflow::Sat)
    } else if is(word, "fail") {
        Ok(Overflow::Fail)
    } else {
        Err(CommandError::FIELD_OVERFLOW)
    }
}
