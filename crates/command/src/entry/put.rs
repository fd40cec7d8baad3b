//! Ops to bytes.

use bitroster_bitmap::{Formula, Step};
use bitroster_types::{Key, LogIndex, SessionId, Version};
use bytes::Bytes;

use super::{OpBatch, tag};
use crate::{
    BitLogic, Change, Expiry, ExpiryCondition, Field, FieldAction, FieldOp, IndexUnit, MergeMode,
    Moved, Op, PartQuery, ReadCommand, ReadOp, Seen, SetReply, SourceRef, StageFrom, Want,
    WriteCommand, WriteOp,
    coding::put::{Out, flag, groups, list, number, option, signed, text, time, version},
};

fn keys(out: &mut Out, keys: &[Key]) {
    list(out, keys, |out, key| text(out, key));
}

fn range(out: &mut Out, range: (u64, u64)) {
    number(out, range.0);
    number(out, range.1);
}

fn logic(out: &mut Out, logic: BitLogic) {
    out.push(match logic {
        BitLogic::And => 0,
        BitLogic::Or => 1,
        BitLogic::Xor => 2,
        BitLogic::Not => 3,
        BitLogic::Diff => 4,
        BitLogic::Diff1 => 5,
        BitLogic::AndOr => 6,
        BitLogic::One => 7,
    });
}

fn unit(out: &mut Out, unit: IndexUnit) {
    flag(out, unit == IndexUnit::Bit);
}

fn expiry(out: &mut Out, expiry: Expiry) {
    match expiry {
        Expiry::Clear => out.push(0),
        Expiry::Keep => out.push(1),
        Expiry::In(millis) => {
            out.push(2);
            signed(out, millis);
        }
        Expiry::At(at) => {
            out.push(3);
            number(out, at.0);
        }
    }
}

fn field(out: &mut Out, field: Field) {
    out.push(field.kind.width | u8::from(field.kind.signed) << 7);
    number(out, field.offset);
}

fn field_op(out: &mut Out, op: &FieldOp) {
    let (action, value) = match op.action {
        FieldAction::Get => (0, None),
        FieldAction::Set(value) => (1, Some(value)),
        FieldAction::IncrBy(value) => (2, Some(value)),
    };
    let overflow = match op.overflow {
        crate::Overflow::Wrap => 0,
        crate::Overflow::Sat => 1,
        crate::Overflow::Fail => 2,
    };
    out.push(action | overflow << 4);
    field(out, op.field);
    if let Some(value) = value {
        signed(out, value);
    }
}

fn source(out: &mut Out, source: &SourceRef) {
    text(out, &source.key);
    version(out, source.version);
}

/// A combination, as [`ReadOp::CombineCount`], [`ReadOp::CombineValue`] and [`StageFrom::Combine`]
/// hold it.
fn combination(out: &mut Out, how: BitLogic, of: &[SourceRef], bits: (u64, u64), len_bytes: u64) {
    logic(out, how);
    list(out, of, source);
    range(out, bits);
    number(out, len_bytes);
}

fn formula(out: &mut Out, formula: &Formula) {
    list(out, formula.steps(), |out, step| {
        number(
            out,
            match *step {
                Step::And => 0,
                Step::Or => 1,
                Step::Xor => 2,
                Step::AndNot => 3,
                Step::Operand(place) => u64::from(place) + 4,
            },
        );
    });
}

fn want(out: &mut Out, want: Want) {
    match want {
        Want::Counts => out.push(0),
        Want::Histogram { step } => {
            out.push(1);
            number(out, step);
        }
        Want::List { limit, from_end } => {
            out.push(2 + u8::from(from_end));
            number(out, limit);
        }
        Want::Value => out.push(4),
    }
}

fn tagged_key(out: &mut Out, tag: u8, key: &Key) {
    out.push(tag);
    text(out, key);
}

fn tagged_keys(out: &mut Out, tag: u8, names: &[Key]) {
    out.push(tag);
    keys(out, names);
}

fn tagged_names(out: &mut Out, tag: u8, space: &Key, names: &[Bytes]) {
    tagged_key(out, tag, space);
    list(out, names, |out, name| text(out, name));
}

fn tagged_version(out: &mut Out, tag: u8, key: &Key, version: Version) {
    tagged_key(out, tag, key);
    number(out, version.0);
}

/// `SETBIT`.
pub(super) fn set_bit(out: &mut Out, key: &Key, offset: u64, value: bool) {
    out.reserve(key.len() + 16);
    tagged_key(out, tag::SET_BIT_0 | u8::from(value), key);
    number(out, offset);
}

fn set(out: &mut Out, command: &WriteCommand) {
    let WriteCommand::Set { key, value, existence, expiry: when, reply } = command else {
        unreachable!("called for SET alone");
    };
    tagged_key(out, tag::SET, key);
    let existence = match existence {
        None => 0,
        Some(crate::Existence::IfAbsent) => 1,
        Some(crate::Existence::IfPresent) => 2,
    };
    let reply = match reply {
        SetReply::Status => 0,
        SetReply::Changed => 1,
        SetReply::Old => 2,
    };
    out.push(existence | reply << 4);
    expiry(out, *when);
    text(out, value);
}

fn condition_bits(condition: ExpiryCondition) -> u8 {
    u8::from(condition.if_none)
        | u8::from(condition.if_some) << 1
        | u8::from(condition.if_later) << 2
        | u8::from(condition.if_earlier) << 3
}

fn write_command(out: &mut Out, command: &WriteCommand) {
    use WriteCommand as W;
    match command {
        W::SetBit { key, offset, value } => set_bit(out, key, *offset, *value),
        W::BitField { key, ops } => {
            tagged_key(out, tag::BIT_FIELD, key);
            list(out, ops, field_op);
        }
        W::BitOp { logic: how, target, sources } => {
            tagged_key(out, tag::BIT_OP, target);
            logic(out, *how);
            keys(out, sources);
        }
        W::Set { .. } => set(out, command),
        W::GetDel { key } => tagged_key(out, tag::GET_DEL, key),
        W::GetEx { key, expiry: when } => {
            tagged_key(out, tag::GET_EX, key);
            expiry(out, *when);
        }
        W::MSet { pairs, only_if_none } => {
            out.push(tag::M_SET);
            flag(out, *only_if_none);
            list(out, pairs, |out, (key, value)| {
                text(out, key);
                text(out, value);
            });
        }
        W::Append { key, value } => {
            tagged_key(out, tag::APPEND, key);
            text(out, value);
        }
        W::SetRange { key, offset, value } => {
            tagged_key(out, tag::SET_RANGE, key);
            number(out, *offset);
            text(out, value);
        }
        W::IncrBy { key, by } => {
            tagged_key(out, tag::INCR_BY, key);
            signed(out, *by);
        }
        W::Delete { keys } => tagged_keys(out, tag::DELETE, keys),
        W::Expire { key, expiry: when, condition } => {
            tagged_key(out, tag::EXPIRE, key);
            expiry(out, *when);
            out.push(condition_bits(*condition));
        }
        W::Persist { key } => tagged_key(out, tag::PERSIST, key),
        W::Rename { source, target, only_if_new } => {
            tagged_key(out, tag::RENAME, source);
            text(out, target);
            flag(out, *only_if_new);
        }
        W::Copy { source, target, replace } => {
            tagged_key(out, tag::COPY, source);
            text(out, target);
            flag(out, *replace);
        }
        W::Flush => out.push(tag::FLUSH),
        W::Merge { .. }
        | W::Restore { .. }
        | W::Touch { .. }
        | W::AssignIds { .. }
        | W::DropSpace { .. } => own_write(out, command),
    }
}

/// The writes that Redis has not.
fn own_write(out: &mut Out, command: &WriteCommand) {
    use WriteCommand as W;
    match command {
        W::Merge { key, mode, bits } => {
            tagged_key(out, tag::MERGE, key);
            out.push(match mode {
                MergeMode::Or => 0,
                MergeMode::AndNot => 1,
                MergeMode::Xor => 2,
            });
            text(out, bits);
        }
        W::Restore { key, value, expiry: when, replace } => {
            tagged_key(out, tag::RESTORE, key);
            flag(out, *replace);
            expiry(out, *when);
            text(out, value);
        }
        W::Touch { key, id, ttl_secs } => {
            tagged_key(out, tag::TOUCH, key);
            number(out, *id);
            number(out, u64::from(*ttl_secs));
        }
        W::AssignIds { space, names } => tagged_names(out, tag::ASSIGN_IDS, space, names),
        W::DropSpace { space } => tagged_key(out, tag::DROP_SPACE, space),
        W::SetBit { .. }
        | W::BitField { .. }
        | W::BitOp { .. }
        | W::Set { .. }
        | W::GetDel { .. }
        | W::GetEx { .. }
        | W::MSet { .. }
        | W::Append { .. }
        | W::SetRange { .. }
        | W::IncrBy { .. }
        | W::Delete { .. }
        | W::Expire { .. }
        | W::Persist { .. }
        | W::Rename { .. }
        | W::Copy { .. }
        | W::Flush => unreachable!("called for our own writes alone"),
    }
}

fn read_command(out: &mut Out, command: &ReadCommand) {
    use ReadCommand as R;
    match command {
        R::GetBit { key, offset } => {
            tagged_key(out, tag::GET_BIT, key);
            number(out, *offset);
        }
        R::BitCount { key, range } => {
            tagged_key(out, tag::BIT_COUNT, key);
            option(out, *range, |out, range| {
                signed(out, range.start);
                signed(out, range.end);
                unit(out, range.unit);
            });
        }
        R::BitPos { key, bit, start, end, unit: of } => {
            tagged_key(out, tag::BIT_POS, key);
            flag(out, *bit);
            option(out, *start, signed);
            option(out, *end, signed);
            unit(out, *of);
        }
        R::BitFieldRo { key, fields } => {
            tagged_key(out, tag::BIT_FIELD_RO, key);
            list(out, fields, |out, of| field(out, *of));
        }
        R::BitOpCard { logic: how, sources } => {
            out.push(tag::BIT_OP_CARD);
            logic(out, *how);
            keys(out, sources);
        }
        R::Get { key } => tagged_key(out, tag::GET, key),
        R::MGet { keys } => tagged_keys(out, tag::M_GET, keys),
        R::StrLen { key } => tagged_key(out, tag::STR_LEN, key),
        R::GetRange { key, start, end } => {
            tagged_key(out, tag::GET_RANGE, key);
            signed(out, *start);
            signed(out, *end);
        }
        R::Exists { keys } => tagged_keys(out, tag::EXISTS, keys),
        R::Type { key } => tagged_key(out, tag::TYPE, key),
        R::Ttl { key, form } => {
            tagged_key(out, tag::TTL, key);
            out.push(u8::from(form.millis) | u8::from(form.absolute) << 1);
        }
        R::Scan { cursor, pattern, count, type_matches } => {
            out.push(tag::SCAN);
            number(out, *cursor);
            option(out, pattern.as_deref(), text);
            number(out, *count);
            flag(out, *type_matches);
        }
        R::Keys { pattern } => {
            out.push(tag::KEYS);
            text(out, pattern);
        }
        R::DbSize => out.push(tag::DB_SIZE),
        R::RandomKey => out.push(tag::RANDOM_KEY),
        R::FindIds { space, names } => tagged_names(out, tag::FIND_IDS, space, names),
        R::FindNames { space, ids } => {
            tagged_key(out, tag::FIND_NAMES, space);
            list(out, ids, |out, id| number(out, *id));
        }
        R::SpaceInfo { space } => tagged_key(out, tag::SPACE_INFO, space),
        R::Spaces => out.push(tag::SPACES),
    }
}

/// A read.
pub(super) fn read_op(out: &mut Out, op: &ReadOp) {
    match op {
        ReadOp::Command(command) => read_command(out, command),
        ReadOp::Header { key } => tagged_key(out, tag::HEADER, key),
        ReadOp::Part { key, version: of, query } => {
            tagged_key(out, tag::PART, key);
            version(out, *of);
            match *query {
                PartQuery::Len => out.push(0),
                PartQuery::Count { start, end } => {
                    out.push(1);
                    range(out, (start, end));
                }
                PartQuery::FirstBit { bit, start, end } => {
                    out.push(2 + u8::from(bit));
                    range(out, (start, end));
                }
                PartQuery::Value { start, end } => {
                    out.push(4);
                    range(out, (start, end));
                }
                PartQuery::Info => out.push(5),
                PartQuery::Present { start, end, after_secs, limit } => {
                    out.push(6);
                    range(out, (start, end));
                    number(out, u64::from(after_secs));
                    option(out, limit, number);
                }
            }
        }
        ReadOp::CombineCount { logic, sources, range, len_bytes } => {
            out.push(tag::COMBINE_COUNT);
            combination(out, *logic, sources, *range, *len_bytes);
        }
        ReadOp::CombineValue { logic, sources, range, len_bytes, bytes_max } => {
            out.push(if bytes_max.is_some() { tag::COMBINE_SHORT } else { tag::COMBINE_VALUE });
            combination(out, *logic, sources, *range, *len_bytes);
            bytes_max.iter().for_each(|bytes_max| number(out, *bytes_max));
        }
        ReadOp::Evaluate { formulas, sources, range: bits, want: what } => {
            out.push(tag::EVALUATE);
            list(out, sources, source);
            list(out, formulas, formula);
            range(out, *bits);
            want(out, *what);
        }
        ReadOp::Holding { pattern, offset, limit } => {
            out.push(tag::HOLDING);
            text(out, pattern);
            number(out, *offset);
            number(out, *limit);
        }
        ReadOp::Prefixes { prefix, separator, cursor } => {
            out.push(tag::PREFIXES);
            text(out, prefix);
            out.push(*separator);
            number(out, *cursor);
        }
        ReadOp::Fingerprint { key } => tagged_key(out, tag::FINGERPRINT, key),
    }
}

fn stage_from(out: &mut Out, from: &StageFrom) {
    match from {
        StageFrom::Value(value) => {
            out.push(0);
            text(out, value);
        }
        StageFrom::Combine { logic, sources, range, len_bytes } => {
            out.push(1);
            combination(out, *logic, sources, *range, *len_bytes);
        }
        StageFrom::Copy { source: of, range: bits } => {
            out.push(2);
            source(out, of);
            range(out, *bits);
        }
        StageFrom::Void => out.push(3),
        StageFrom::Expiry { of } => {
            out.push(4);
            number(out, of.0);
        }
        StageFrom::Evaluate { formula: of, sources, range: bits, len_bytes } => {
            out.push(5);
            list(out, sources, source);
            formula(out, of);
            range(out, *bits);
            number(out, *len_bytes);
        }
    }
}

fn seen(out: &mut Out, seen: Seen) {
    match seen {
        Seen::Any => out.push(0),
        Seen::Absent => out.push(1),
        Seen::Record { version: of, expiry } => {
            out.push(2);
            version(out, of);
            time(out, expiry);
        }
        Seen::Unchanged(modified) => {
            out.push(3);
            number(out, modified.0);
        }
    }
}

fn moved(out: &mut Out, moved: &Moved) {
    text(out, &moved.key);
    number(out, moved.version.0);
    groups(out, &moved.staged);
    number(out, moved.modified.0);
}

fn change(out: &mut Out, change: &Change) {
    match change {
        Change::Value { spread, len_bytes, expiry, moved: of } => {
            out.push(0);
            groups(out, spread);
            number(out, *len_bytes);
            time(out, *expiry);
            option(out, of.as_ref(), moved);
        }
        Change::Nothing => out.push(1),
        Change::Expiry(expiry) => {
            out.push(2);
            time(out, *expiry);
        }
    }
}

fn transaction(out: &mut Out, watches: &[(Key, LogIndex)], ops: &[Op]) {
    out.push(tag::TRANSACTION);
    list(out, watches, |out, (key, index)| {
        text(out, key);
        number(out, index.0);
    });
    list(out, ops, |out, op| match op {
        Op::Read(ReadOp::Command(command)) => read_command(out, command),
        Op::Write(WriteOp::Command(command)) => write_command(out, command),
        Op::Read(_) | Op::Write(_) => panic!("a transaction holds commands only"),
    });
}

/// A numbered batch.
pub(super) fn numbered(
    out: &mut Out,
    session: SessionId,
    batch: u64,
    answered: u64,
    ops: &OpBatch,
) {
    assert!(answered < batch, "batch {batch} is answered before it is sent");
    assert!(!ops.has_sessions(), "a numbered batch holds neither sessions nor numbered batches");
    out.push(tag::NUMBERED);
    number(out, session.0);
    number(out, batch);
    number(out, answered);
    number(out, ops.count().into());
    text(out, ops.as_bytes());
}

/// A write.
pub(super) fn write_op(out: &mut Out, op: &WriteOp) {
    use WriteOp as W;
    match op {
        W::Command(command) => write_command(out, command),
        W::Granted { grant, command } => {
            out.push(tag::GRANTED);
            number(out, grant.version.0);
            time(out, grant.expiry);
            number(out, grant.drawn.0);
            write_command(out, command);
        }
        W::Enlist { key, group } => {
            tagged_key(out, tag::ENLIST, key);
            number(out, group.0.into());
        }
        W::Settle { key, version, group } => {
            tagged_version(out, tag::SETTLE, key, *version);
            number(out, group.0.into());
        }
        W::Reserve { key, exclusive } => {
            tagged_key(out, tag::RESERVE, key);
            flag(out, *exclusive);
        }
        W::Stage { key, version, expiry, from } => {
            tagged_version(out, tag::STAGE, key, *version);
            time(out, *expiry);
            stage_from(out, from);
        }
        W::Publish { key, version, staged, seen: of, change: to } => {
            tagged_version(out, tag::PUBLISH, key, *version);
            groups(out, staged);
            seen(out, *of);
            change(out, to);
        }
        W::Abandon { key, version } => tagged_version(out, tag::ABANDON, key, *version),
        W::Abort { key, version } => tagged_version(out, tag::ABORT, key, *version),
        W::Activate { key, version } => tagged_version(out, tag::ACTIVATE, key, *version),
        W::Drop { key, version } => tagged_version(out, tag::DROP, key, *version),
        W::Forget { key, version } => tagged_version(out, tag::FORGET, key, *version),
        W::Transaction { watches, ops } => transaction(out, watches, ops),
        W::OpenSession => out.push(tag::OPEN_SESSION),
        W::Numbered(batch) => {
            numbered(out, batch.session, batch.number, batch.answered, &batch.ops);
        }
        W::Tick => out.push(tag::TICK),
        W::Adopt { slots } => {
            out.push(tag::ADOPT);
            list(out, slots, |out, slot| number(out, slot.number().into()));
        }
    }
}
