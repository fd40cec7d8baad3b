//! Bytes to ops. Nothing here trusts a length or a number that it reads.

use bitroster_bitmap::{Formula, Step};
use bitroster_types::{
    Key, LogIndex, SessionId, Slot, UnixMillis,
    limits::{BITMAP_BITS_MAX, KEY_BYTES_MAX, PRESENCE_ID_MAX},
};

use super::{EntryError, OpBatch, SetBitRef, tag};
use crate::{
    BitLogic, Change, Existence, Expiry, ExpiryCondition, Field, FieldAction, FieldOp, FieldType,
    Grant, IndexRange, IndexUnit, MergeMode, Moved, Numbered, Op, Overflow, PartQuery, ReadCommand,
    ReadOp, Seen, SetReply, SourceRef, StageFrom, TimeForm, Want, WriteCommand, WriteOp,
    coding::{Cursor, Taken},
};

impl Cursor<'_> {
    fn keys(&mut self) -> Taken<Vec<Key>> {
        self.list(Self::key)
    }

    fn slot(&mut self) -> Taken<Slot> {
        let number = u16::try_from(self.number()?).ok();
        number.and_then(Slot::new).ok_or(EntryError::Field("slot"))
    }

    fn range(&mut self) -> Taken<(u64, u64)> {
        Ok((self.number()?, self.number()?))
    }

    /// The offset of a bit that a bitmap may have.
    fn bit_offset(&mut self) -> Taken<u64> {
        let offset = self.number()?;
        if offset < BITMAP_BITS_MAX { Ok(offset) } else { Err(EntryError::Field("offset")) }
    }

    fn logic(&mut self) -> Taken<BitLogic> {
        Ok(match self.byte()? {
            0 => BitLogic::And,
            1 => BitLogic::Or,
            2 => BitLogic::Xor,
            3 => BitLogic::Not,
            4 => BitLogic::Diff,
            5 => BitLogic::Diff1,
            6 => BitLogic::AndOr,
            7 => BitLogic::One,
            _ => return Err(EntryError::Field("logic")),
        })
    }

    fn unit(&mut self) -> Taken<IndexUnit> {
        Ok(if self.flag()? { IndexUnit::Bit } else { IndexUnit::Byte })
    }

    fn expiry(&mut self) -> Taken<Expiry> {
        Ok(match self.byte()? {
            0 => Expiry::Clear,
            1 => Expiry::Keep,
            2 => Expiry::In(self.signed()?),
            3 => Expiry::At(UnixMillis(self.number()?)),
            _ => return Err(EntryError::Field("expiry")),
        })
    }

    fn field(&mut self) -> Taken<Field> {
        let kind = self.byte()?;
        let kind = FieldType { signed: kind & 0x80 != 0, width: kind & 0x7f };
        if kind.width == 0 || kind.width > 63 + u8::from(kind.signed) {
            return Err(EntryError::Field("field type"));
        }
        let offset = self.bit_offset()?;
        if offset + u64::from(kind.width) > BITMAP_BITS_MAX {
            return Err(EntryError::Field("offset"));
        }
        Ok(Field { kind, offset })
    }

    fn field_op(&mut self) -> Taken<FieldOp> {
        let choices = self.byte()?;
        let field = self.field()?;
        let action = match choices & 0xf {
            0 => FieldAction::Get,
            1 => FieldAction::Set(self.signed()?),
            2 => FieldAction::IncrBy(self.signed()?),
            _ => return Err(EntryError::Field("field action")),
        };
        let overflow = match choices >> 4 {
            0 => Overflow::Wrap,
            1 => Overflow::Sat,
            2 => Overflow::Fail,
            _ => return Err(EntryError::Field("overflow")),
        };
        Ok(FieldOp { field, action, overflow })
    }

    /// A formula over `operands` operands.
    fn formula(&mut self, operands: usize) -> Taken<Formula> {
        let steps = self.list(|cursor| {
            Ok(match cursor.number()? {
                0 => Step::And,
                1 => Step::Or,
                2 => Step::Xor,
                3 => Step::AndNot,
                place => Step::Operand(
                    u16::try_from(place - 4).map_err(|_| EntryError::Field("operand"))?,
                ),
            })
        })?;
        Formula::new(steps, operands).map_err(|_| EntryError::Field("formula"))
    }

    fn want(&mut self) -> Taken<Want> {
        Ok(match self.byte()? {
            0 => Want::Counts,
            1 => match self.number()? {
                0 => return Err(EntryError::Field("step")),
                step => Want::Histogram { step },
            },
            2 => Want::List { limit: self.number()?, from_end: false },
            3 => Want::List { limit: self.number()?, from_end: true },
            4 => Want::Value,
            _ => return Err(EntryError::Field("want")),
        })
    }

    fn seconds(&mut self) -> Taken<u32> {
        u32::try_from(self.number()?).map_err(|_| EntryError::Field("seconds"))
    }

    fn source(&mut self) -> Taken<SourceRef> {
        Ok(SourceRef { key: self.key()?, version: self.option(Self::version)? })
    }
}

fn set(cursor: &mut Cursor<'_>) -> Taken<WriteCommand> {
    let key = cursor.key()?;
    let choices = cursor.byte()?;
    let existence = match choices & 0xf {
        0 => None,
        1 => Some(Existence::IfAbsent),
        2 => Some(Existence::IfPresent),
        _ => return Err(EntryError::Field("existence")),
    };
    let reply = match choices >> 4 {
        0 => SetReply::Status,
        1 => SetReply::Changed,
        2 => SetReply::Old,
        _ => return Err(EntryError::Field("reply")),
    };
    let expiry = cursor.expiry()?;
    Ok(WriteCommand::Set { key, value: cursor.value()?, existence, expiry, reply })
}

fn set_range(cursor: &mut Cursor<'_>) -> Taken<WriteCommand> {
    let key = cursor.key()?;
    let offset = cursor.number()?;
    let value = cursor.value()?;
    let end = offset.checked_add(value.len() as u64);
    if end.is_none_or(|end| end > BITMAP_BITS_MAX / 8) {
        return Err(EntryError::Field("offset"));
    }
    Ok(WriteCommand::SetRange { key, offset, value })
}

fn condition(cursor: &mut Cursor<'_>) -> Taken<ExpiryCondition> {
    let bits = cursor.byte()?;
    if bits > 0xf {
        return Err(EntryError::Field("condition"));
    }
    Ok(ExpiryCondition {
        if_none: bits & 1 != 0,
        if_some: bits & 2 != 0,
        if_later: bits & 4 != 0,
        if_earlier: bits & 8 != 0,
    })
}

fn write_command(cursor: &mut Cursor<'_>, tag: u8) -> Taken<WriteCommand> {
    use WriteCommand as W;
    Ok(match tag {
        tag::SET_BIT_0 | tag::SET_BIT_1 => W::SetBit {
            key: cursor.key()?,
            offset: cursor.bit_offset()?,
            value: tag == tag::SET_BIT_1,
        },
        tag::BIT_FIELD => W::BitField { key: cursor.key()?, ops: cursor.list(Cursor::field_op)? },
        tag::BIT_OP => {
            let target = cursor.key()?;
            W::BitOp { target, logic: cursor.logic()?, sources: cursor.keys()? }
        }
        tag::SET => set(cursor)?,
        tag::GET_DEL => W::GetDel { key: cursor.key()? },
        tag::GET_EX => W::GetEx { key: cursor.key()?, expiry: cursor.expiry()? },
        tag::M_SET => {
            let only_if_none = cursor.flag()?;
            let pairs = cursor.list(|cursor| Ok((cursor.key()?, cursor.value()?)))?;
            W::MSet { pairs, only_if_none }
        }
        tag::APPEND => W::Append { key: cursor.key()?, value: cursor.value()? },
        tag::SET_RANGE => set_range(cursor)?,
        tag::INCR_BY => W::IncrBy { key: cursor.key()?, by: cursor.signed()? },
        tag::DELETE => W::Delete { keys: cursor.keys()? },
        tag::EXPIRE => W::Expire {
            key: cursor.key()?,
            expiry: cursor.expiry()?,
            condition: condition(cursor)?,
        },
        tag::PERSIST => W::Persist { key: cursor.key()? },
        tag::RENAME => {
            W::Rename { source: cursor.key()?, target: cursor.key()?, only_if_new: cursor.flag()? }
        }
        tag::COPY => {
            W::Copy { source: cursor.key()?, target: cursor.key()?, replace: cursor.flag()? }
        }
        tag::FLUSH => W::Flush,
        _ => own_write(cursor, tag)?,
    })
}

/// The writes that Redis has not.
fn own_write(cursor: &mut Cursor<'_>, tag: u8) -> Taken<WriteCommand> {
    use WriteCommand as W;
    Ok(match tag {
        tag::MERGE => {
            let key = cursor.key()?;
            let mode = match cursor.byte()? {
                0 => MergeMode::Or,
                1 => MergeMode::AndNot,
                2 => MergeMode::Xor,
                _ => return Err(EntryError::Field("mode")),
            };
            W::Merge { key, mode, bits: cursor.value()? }
        }
        tag::RESTORE => {
            let (key, replace) = (cursor.key()?, cursor.flag()?);
            W::Restore { key, replace, expiry: cursor.expiry()?, value: cursor.value()? }
        }
        tag::TOUCH => {
            let (key, id) = (cursor.key()?, cursor.number()?);
            if id > PRESENCE_ID_MAX {
                return Err(EntryError::Field("id"));
            }
            W::Touch { key, id, ttl_secs: cursor.seconds()? }
        }
        tag::ASSIGN_IDS => {
            W::AssignIds { space: cursor.key()?, names: cursor.list(Cursor::value)? }
        }
        tag::DROP_SPACE => W::DropSpace { space: cursor.key()? },
        _ => return Err(EntryError::Field("write command")),
    })
}

fn index_range(cursor: &mut Cursor<'_>) -> Taken<IndexRange> {
    Ok(IndexRange { start: cursor.signed()?, end: cursor.signed()?, unit: cursor.unit()? })
}

fn time_form(cursor: &mut Cursor<'_>) -> Taken<TimeForm> {
    let bits = cursor.byte()?;
    if bits > 3 {
        return Err(EntryError::Field("form of time"));
    }
    Ok(TimeForm { millis: bits & 1 != 0, absolute: bits & 2 != 0 })
}

fn read_command(cursor: &mut Cursor<'_>, tag: u8) -> Taken<ReadCommand> {
    use ReadCommand as R;
    Ok(match tag {
        tag::GET_BIT => R::GetBit { key: cursor.key()?, offset: cursor.bit_offset()? },
        tag::BIT_COUNT => R::BitCount { key: cursor.key()?, range: cursor.option(index_range)? },
        tag::BIT_POS => R::BitPos {
            key: cursor.key()?,
            bit: cursor.flag()?,
            start: cursor.option(Cursor::signed)?,
            end: cursor.option(Cursor::signed)?,
            unit: cursor.unit()?,
        },
        tag::BIT_FIELD_RO => {
            R::BitFieldRo { key: cursor.key()?, fields: cursor.list(Cursor::field)? }
        }
        tag::BIT_OP_CARD => R::BitOpCard { logic: cursor.logic()?, sources: cursor.keys()? },
        tag::GET => R::Get { key: cursor.key()? },
        tag::M_GET => R::MGet { keys: cursor.keys()? },
        tag::STR_LEN => R::StrLen { key: cursor.key()? },
        tag::GET_RANGE => {
            R::GetRange { key: cursor.key()?, start: cursor.signed()?, end: cursor.signed()? }
        }
        tag::EXISTS => R::Exists { keys: cursor.keys()? },
        tag::TYPE => R::Type { key: cursor.key()? },
        tag::TTL => R::Ttl { key: cursor.key()?, form: time_form(cursor)? },
        tag::SCAN => R::Scan {
            cursor: cursor.number()?,
            pattern: cursor.option(Cursor::value)?,
            count: cursor.number()?,
            type_matches: cursor.flag()?,
        },
        tag::KEYS => R::Keys { pattern: cursor.value()? },
        tag::DB_SIZE => R::DbSize,
        tag::RANDOM_KEY => R::RandomKey,
        tag::FIND_IDS => R::FindIds { space: cursor.key()?, names: cursor.list(Cursor::value)? },
        tag::FIND_NAMES => R::FindNames { space: cursor.key()?, ids: cursor.list(Cursor::number)? },
        tag::SPACE_INFO => R::SpaceInfo { space: cursor.key()? },
        tag::SPACES => R::Spaces,
        _ => return Err(EntryError::Field("read command")),
    })
}

fn part_query(cursor: &mut Cursor<'_>) -> Taken<PartQuery> {
    let tag = cursor.byte()?;
    if tag == 0 {
        return Ok(PartQuery::Len);
    }
    if tag == 5 {
        return Ok(PartQuery::Info);
    }
    let (start, end) = cursor.range()?;
    match tag {
        1 => Ok(PartQuery::Count { start, end }),
        2 => Ok(PartQuery::FirstBit { bit: false, start, end }),
        3 => Ok(PartQuery::FirstBit { bit: true, start, end }),
        4 => Ok(PartQuery::Value { start, end }),
        6 => Ok(PartQuery::Present {
            start,
            end,
            after_secs: cursor.seconds()?,
            limit: cursor.option(Cursor::number)?,
        }),
        _ => Err(EntryError::Field("query")),
    }
}

fn read_op(cursor: &mut Cursor<'_>, tag: u8) -> Taken<ReadOp> {
    Ok(match tag {
        tag::HEADER => ReadOp::Header { key: cursor.key()? },
        tag::PART => ReadOp::Part {
            key: cursor.key()?,
            version: cursor.option(Cursor::version)?,
            query: part_query(cursor)?,
        },
        tag::COMBINE_COUNT => ReadOp::CombineCount {
            logic: cursor.logic()?,
            sources: cursor.list(Cursor::source)?,
            range: cursor.range()?,
            len_bytes: cursor.number()?,
        },
        tag::COMBINE_VALUE | tag::COMBINE_SHORT => ReadOp::CombineValue {
            logic: cursor.logic()?,
            sources: cursor.list(Cursor::source)?,
            range: cursor.range()?,
            len_bytes: cursor.number()?,
            bytes_max: if tag == tag::COMBINE_SHORT { Some(cursor.number()?) } else { None },
        },
        tag::EVALUATE => {
            let sources = cursor.list(Cursor::source)?;
            let formulas = cursor.list(|cursor| cursor.formula(sources.len()))?;
            ReadOp::Evaluate { formulas, sources, range: cursor.range()?, want: cursor.want()? }
        }
        tag::HOLDING => ReadOp::Holding {
            pattern: cursor.value()?,
            offset: cursor.bit_offset()?,
            limit: cursor.number()?,
        },
        tag::PREFIXES => ReadOp::Prefixes {
            prefix: cursor.value()?,
            separator: cursor.byte()?,
            cursor: cursor.number()?,
        },
        tag::FINGERPRINT => ReadOp::Fingerprint { key: cursor.key()? },
        _ => return Err(EntryError::Field("read")),
    })
}

fn stage_from(cursor: &mut Cursor<'_>) -> Taken<StageFrom> {
    Ok(match cursor.byte()? {
        0 => StageFrom::Value(cursor.value()?),
        1 => StageFrom::Combine {
            logic: cursor.logic()?,
            sources: cursor.list(Cursor::source)?,
            range: cursor.range()?,
            len_bytes: cursor.number()?,
        },
        2 => StageFrom::Copy { source: cursor.source()?, range: cursor.range()? },
        3 => StageFrom::Void,
        4 => StageFrom::Expiry { of: cursor.version()? },
        5 => {
            let sources = cursor.list(Cursor::source)?;
            StageFrom::Evaluate {
                formula: cursor.formula(sources.len())?,
                sources,
                range: cursor.range()?,
                len_bytes: cursor.number()?,
            }
        }
        _ => return Err(EntryError::Field("stage")),
    })
}

fn seen(cursor: &mut Cursor<'_>) -> Taken<Seen> {
    Ok(match cursor.byte()? {
        0 => Seen::Any,
        1 => Seen::Absent,
        2 => Seen::Record { version: cursor.option(Cursor::version)?, expiry: cursor.time()? },
        3 => Seen::Unchanged(LogIndex(cursor.number()?)),
        _ => return Err(EntryError::Field("seen")),
    })
}

fn moved(cursor: &mut Cursor<'_>) -> Taken<Moved> {
    Ok(Moved {
        key: cursor.key()?,
        version: cursor.version()?,
        staged: cursor.list(Cursor::group)?,
        modified: LogIndex(cursor.number()?),
    })
}

fn change(cursor: &mut Cursor<'_>) -> Taken<Change> {
    Ok(match cursor.byte()? {
        0 => Change::Value {
            spread: cursor.list(Cursor::group)?,
            len_bytes: cursor.number()?,
            expiry: cursor.time()?,
            moved: cursor.option(moved)?,
        },
        1 => Change::Nothing,
        2 => Change::Expiry(cursor.time()?),
        _ => return Err(EntryError::Field("change")),
    })
}

/// A numbered batch, without a look at its ops.
fn numbered(cursor: &mut Cursor<'_>) -> Taken<Numbered> {
    let session = SessionId(cursor.number()?);
    let (number, answered) = (cursor.number()?, cursor.number()?);
    if answered >= number {
        return Err(EntryError::Field("number of a batch"));
    }
    let count = u32::try_from(cursor.number()?).map_err(|_| EntryError::Truncated)?;
    let bytes = cursor.value()?;
    Ok(Numbered { session, number, answered, ops: OpBatch::nested(count, bytes) })
}

fn write_op(cursor: &mut Cursor<'_>, tag: u8) -> Taken<WriteOp> {
    use WriteOp as W;
    Ok(match tag {
        tag::GRANTED => {
            let grant = Grant {
                version: cursor.version()?,
                expiry: cursor.time()?,
                drawn: cursor.version()?,
            };
            let tag = cursor.byte()?;
            W::Granted { grant, command: write_command(cursor, tag)? }
        }
        tag::ENLIST => W::Enlist { key: cursor.key()?, group: cursor.group()? },
        tag::SETTLE => {
            W::Settle { key: cursor.key()?, version: cursor.version()?, group: cursor.group()? }
        }
        tag::RESERVE => W::Reserve { key: cursor.key()?, exclusive: cursor.flag()? },
        tag::STAGE => W::Stage {
            key: cursor.key()?,
            version: cursor.version()?,
            expiry: cursor.time()?,
            from: stage_from(cursor)?,
        },
        tag::PUBLISH => W::Publish {
            key: cursor.key()?,
            version: cursor.version()?,
            staged: cursor.list(Cursor::group)?,
            seen: seen(cursor)?,
            change: change(cursor)?,
        },
        tag::ABANDON => W::Abandon { key: cursor.key()?, version: cursor.version()? },
        tag::ABORT => W::Abort { key: cursor.key()?, version: cursor.version()? },
        tag::ACTIVATE => W::Activate { key: cursor.key()?, version: cursor.version()? },
        tag::DROP => W::Drop { key: cursor.key()?, version: cursor.version()? },
        tag::FORGET => W::Forget { key: cursor.key()?, version: cursor.version()? },
        tag::TRANSACTION => W::Transaction {
            watches: cursor.list(|cursor| Ok((cursor.key()?, LogIndex(cursor.number()?))))?,
            ops: cursor.list(command)?,
        },
        tag::OPEN_SESSION => W::OpenSession,
        tag::NUMBERED => W::Numbered(numbered(cursor)?),
        tag::TICK => W::Tick,
        tag::ADOPT => W::Adopt { slots: cursor.list(Cursor::slot)? },
        _ => return Err(EntryError::Field("write")),
    })
}

/// A client's command, which holds no further op.
fn command(cursor: &mut Cursor<'_>) -> Taken<Op> {
    let tag = cursor.byte()?;
    if tag::is_write_command(tag) {
        write_command(cursor, tag).map(Op::from)
    } else if tag::is_read_command(tag) {
        read_command(cursor, tag).map(Op::from)
    } else {
        Err(EntryError::Field("op of a transaction"))
    }
}

/// `SETBIT`, if that is what comes next.
#[inline]
pub(super) fn set_bit<'a>(cursor: &mut Cursor<'a>) -> Taken<Option<SetBitRef<'a>>> {
    let tag = cursor.byte()?;
    if !matches!(tag, tag::SET_BIT_0 | tag::SET_BIT_1) {
        return Ok(None);
    }
    let key = cursor.name()?;
    if key.len() > KEY_BYTES_MAX {
        return Err(EntryError::Field("key"));
    }
    let offset = cursor.bit_offset()?;
    Ok(Some(SetBitRef { key, offset, value: tag == tag::SET_BIT_1 }))
}

/// An op.
pub(super) fn op(cursor: &mut Cursor<'_>) -> Taken<Op> {
    let tag = cursor.byte()?;
    if tag::is_write_command(tag) {
        write_command(cursor, tag).map(Op::from)
    } else if tag::is_read_command(tag) {
        read_command(cursor, tag).map(Op::from)
    } else if tag::is_router_read(tag) {
        read_op(cursor, tag).map(Op::Read)
    } else {
        write_op(cursor, tag).map(Op::Write)
    }
}
