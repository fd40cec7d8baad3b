//! Commands of other bitmap modules that mean the same here: TairRoaring's `TR.` and
//! redis-roaring's `R.` and `R64.`. One that would mean something else is not offered.

use super::{
    Parsed, Request,
    bitmap::{bit_op_card, logic_of, offset},
    bits::merge_offsets,
    is, key,
    query::{compare, composite, rank_or, scan_from},
};
use crate::{
    BitLogic, Command, CommandError, Composite, IndexRange, IndexUnit, MergeMode, ReadCommand,
    composite::{Ask, Relation},
    expression,
};

/// Offsets that TR.SCAN answers where it is not told how many.
const TR_SCAN_COUNT_DEFAULT: u64 = 10;

/// `TR.BITCOUNT key [start end]`: a closed range of offsets.
pub(crate) fn tr_bit_count(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let range = match request.rest(2) {
        [] => None,
        [start, end] => {
            let start = offset(request, start)?.cast_signed();
            let end = offset(request, end)?.cast_signed();
            if start > end {
                return Err(CommandError::RANGE);
            }
            Some(IndexRange { start, end, unit: IndexUnit::Bit })
        }
        _ => return Err(CommandError::Syntax),
    };
    Ok(Command::Read(ReadCommand::BitCount { key, range }))
}

/// `TR.RANK key offset`: -1 for a key that is not there.
pub(crate) fn tr_rank(request: &Request<'_>) -> Parsed {
    rank_or(request, -1)
}

/// `TR.SCAN key cursor [COUNT n]`
pub(crate) fn tr_scan(request: &Request<'_>) -> Parsed {
    scan_from(request, TR_SCAN_COUNT_DEFAULT)
}

/// `TR.BITOPCARD AND|OR|XOR|DIFF key [key ...]`
pub(crate) fn tr_bit_op_card(request: &Request<'_>) -> Parsed {
    tr_logic(request, 1, 2)?;
    bit_op_card(request)
}

/// `TR.BITOP destination AND|OR|XOR|DIFF key [key ...]`
pub(crate) fn tr_bit_op(request: &Request<'_>) -> Parsed {
    let logic = tr_logic(request, 2, 3)?;
    store(request, logic, 1)
}

/// The operation at a place, if TairRoaring has it and it means the same here. Its sources begin at
/// another place.
fn tr_logic(request: &Request<'_>, place: usize, sources: usize) -> Result<BitLogic, CommandError> {
    let name = request.spec.name.to_ascii_uppercase();
    let logic = logic_of(request.args[place], request.args.len() - sources, &name)?;
    if matches!(logic, BitLogic::And | BitLogic::Or | BitLogic::Xor | BitLogic::Diff) {
        Ok(logic)
    } else {
        Err(no_such_operation(request))
    }
}

/// The refusal of an operation that would not mean the same here.
fn no_such_operation(request: &Request<'_>) -> CommandError {
    let name = request.spec.name.to_ascii_uppercase();
    CommandError::Message(format!("ERR {name} does not have this operation here; see BITOP"))
}

/// `R.BITOP AND|OR|XOR|ANDOR|ONE|DIFF|DIFF1 destination key [key ...]`: how many bits the result
/// has.
pub(crate) fn r_bit_op(request: &Request<'_>) -> Parsed {
    let name = request.spec.name.to_ascii_uppercase();
    let logic = logic_of(request.args[1], request.args.len() - 3, &name)?;
    if logic == BitLogic::Not {
        return Err(no_such_operation(request));
    }
    store(request, logic, 2)
}

/// Stores a combination of the fourth and later arguments under the key at `target`.
fn store(request: &Request<'_>, logic: BitLogic, target: usize) -> Parsed {
    let of = expression::combined(logic, request.keys(3)?)?;
    composite(Composite::Query { of, ask: Ask::Store { target: key(request.args[target])? } })
}

/// `TR.CONTAINS key key`: whether the second has all of the first.
pub(crate) fn tr_contains(request: &Request<'_>) -> Parsed {
    let (a, b) = (request.key(2)?, request.key(1)?);
    composite(Composite::Compare { a, b, relation: Relation::Contains })
}

/// `R.CONTAINS key key [ALL|ALL_STRICT|EQ]`: whether they have a bit in common, or the first all of
/// the second.
pub(crate) fn r_contains(request: &Request<'_>) -> Parsed {
    let relation = match request.rest(3) {
        [] => Relation::Intersects,
        [word] if is(word, "all") => Relation::Contains,
        [word] if is(word, "all_strict") => Relation::ContainsStrictly,
        [word] if is(word, "eq") => Relation::Equal,
        _ => return Err(CommandError::Syntax),
    };
    compare(request, relation)
}

/// `R.JACCARD key key`: -1 where both are empty.
pub(crate) fn r_jaccard(request: &Request<'_>) -> Parsed {
    compare(request, Relation::Jaccard { none: -1 })
}

/// `R.CLEARBITS key offset [offset ...] COUNT`: how many were set. Without COUNT redis-roaring
/// answers OK, which is not offered.
pub(crate) fn r_clear_bits(request: &Request<'_>) -> Parsed {
    match request.rest(2).split_last() {
        Some((word, offsets)) if is(word, "count") && !offsets.is_empty() => {
            merge_offsets(request, offsets, MergeMode::AndNot)
        }
        _ => {
            let name = request.spec.name.to_ascii_uppercase();
            Err(CommandError::Message(format!("ERR {name} needs COUNT as its last argument")))
        }
    }
}
