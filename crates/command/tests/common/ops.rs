//! Ops made up.

#![allow(dead_code, reason = "each test file uses its own share of this")]

use bitroster_bitmap::{Formula, Step};
use bitroster_command::{
    BitLogic, Change, Existence, Expiry, ExpiryCondition, Field, FieldAction, FieldOp, FieldType,
    Grant, IndexRange, IndexUnit, MergeMode, Moved, Numbered, Op, OpBatch, Overflow, PartQuery,
    ReadCommand, ReadOp, Seen, SetReply, SourceRef, StageFrom, TimeForm, Want, WriteCommand,
    WriteOp,
};
use bitroster_types::{
    GroupId, Key, LogIndex, SessionId, Slot, UnixMillis, Version,
    limits::{BITMAP_BITS_MAX, PRESENCE_ID_MAX},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

pub(crate) fn key() -> impl Strategy<Value = Key> + Clone {
    vec(any::<u8>(), 0..40).prop_map(|name| Key::new(&name).expect("short"))
}

pub(crate) fn keys() -> impl Strategy<Value = Vec<Key>> {
    vec(key(), 0..5)
}

pub(crate) fn value() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

pub(crate) fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, 0..BITMAP_BITS_MAX, Just(BITMAP_BITS_MAX - 1)]
}

pub(crate) fn logic() -> impl Strategy<Value = BitLogic> {
    use BitLogic::{And, AndOr, Diff, Diff1, Not, One, Or, Xor};
    prop::sample::select(vec![And, Or, Xor, Not, Diff, Diff1, AndOr, One])
}

pub(crate) fn unit() -> impl Strategy<Value = IndexUnit> {
    any::<bool>().prop_map(|bit| if bit { IndexUnit::Bit } else { IndexUnit::Byte })
}

pub(crate) fn field() -> impl Strategy<Value = Field> {
    (any::<bool>(), 1..=64_u8, offset()).prop_map(|(signed, width, offset)| {
        let width = width.min(63 + u8::from(signed));
        let offset = offset.min(BITMAP_BITS_MAX - u64::from(width));
        Field { kind: FieldType { signed, width }, offset }
    })
}

pub(crate) fn field_op() -> impl Strategy<Value = FieldOp> {
    let action = prop_oneof![
        Just(FieldAction::Get),
        any::<i64>().prop_map(FieldAction::Set),
        any::<i64>().prop_map(FieldAction::IncrBy),
    ];
    let overflow = prop::sample::select(vec![Overflow::Wrap, Overflow::Sat, Overflow::Fail]);
    (field(), action, overflow).prop_map(|(field, action, overflow)| FieldOp {
        field,
        action,
        overflow,
    })
}

pub(crate) fn time() -> impl Strategy<Value = UnixMillis> {
    any::<u64>().prop_map(UnixMillis)
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    any::<u64>().prop_map(Version)
}

pub(crate) fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Clear),
        Just(Expiry::Keep),
        any::<i64>().prop_map(Expiry::In),
        time().prop_map(Expiry::At),
    ]
}

pub(crate) fn existence() -> impl Strategy<Value = Option<Existence>> {
    prop::sample::select(vec![None, Some(Existence::IfAbsent), Some(Existence::IfPresent)])
}

pub(crate) fn set_reply() -> impl Strategy<Value = SetReply> {
    prop::sample::select(vec![SetReply::Status, SetReply::Changed, SetReply::Old])
}

pub(crate) fn condition() -> impl Strategy<Value = ExpiryCondition> {
    any::<[bool; 4]>().prop_map(|[if_none, if_some, if_later, if_earlier]| ExpiryCondition {
        if_none,
        if_some,
        if_later,
        if_earlier,
    })
}

pub(crate) fn write_command() -> BoxedStrategy<WriteCommand> {
    use WriteCommand as W;
    prop_oneof![
        (key(), offset(), any::<bool>()).prop_map(|(key, offset, value)| W::SetBit {
            key,
            offset,
            value
        }),
        (key(), vec(field_op(), 0..5)).prop_map(|(key, ops)| W::BitField { key, ops }),
        (logic(), key(), keys()).prop_map(|(logic, target, sources)| W::BitOp {
            logic,
            target,
            sources
        }),
        (key(), value(), existence(), expiry(), set_reply()).prop_map(
            |(key, value, existence, expiry, reply)| W::Set {
                key,
                value,
                existence,
                expiry,
                reply
            }
        ),
        key().prop_map(|key| W::GetDel { key }),
        (key(), expiry()).prop_map(|(key, expiry)| W::GetEx { key, expiry }),
        (vec((key(), value()), 0..4), any::<bool>())
            .prop_map(|(pairs, only_if_none)| W::MSet { pairs, only_if_none }),
        (key(), value()).prop_map(|(key, value)| W::Append { key, value }),
        (key(), 0..BITMAP_BITS_MAX / 8 - 200, value())
            .prop_map(|(key, offset, value)| W::SetRange { key, offset, value }),
        (key(), any::<i64>()).prop_map(|(key, by)| W::IncrBy { key, by }),
        keys().prop_map(|keys| W::Delete { keys }),
        (key(), expiry(), condition()).prop_map(|(key, expiry, condition)| W::Expire {
            key,
            expiry,
            condition
        }),
        key().prop_map(|key| W::Persist { key }),
        (key(), key(), any::<bool>()).prop_map(|(source, target, only_if_new)| W::Rename {
            source,
            target,
            only_if_new
        }),
        (key(), key(), any::<bool>()).prop_map(|(source, target, replace)| W::Copy {
            source,
            target,
            replace
        }),
        Just(W::Flush),
        own_write_command(),
    ]
    .boxed()
}

fn own_write_command() -> impl Strategy<Value = WriteCommand> {
    use WriteCommand as W;
    let mode = prop::sample::select(vec![MergeMode::Or, MergeMode::AndNot, MergeMode::Xor]);
    prop_oneof![
        (key(), mode, value()).prop_map(|(key, mode, bits)| W::Merge { key, mode, bits }),
        (key(), value(), expiry(), any::<bool>())
            .prop_map(|(key, value, expiry, replace)| W::Restore { key, value, expiry, replace }),
        (key(), 0..=PRESENCE_ID_MAX, 1..=u32::MAX).prop_map(|(key, id, ttl_secs)| W::Touch {
            key,
            id,
            ttl_secs
        }),
        (key(), vec(value(), 0..5)).prop_map(|(space, names)| W::AssignIds { space, names }),
        key().prop_map(|space| W::DropSpace { space }),
    ]
}

pub(crate) fn read_command() -> BoxedStrategy<ReadCommand> {
    use ReadCommand as R;
    let index_range = (any::<i64>(), any::<i64>(), unit())
        .prop_map(|(start, end, unit)| IndexRange { start, end, unit });
    let index = || option::of(any::<i64>());
    prop_oneof![
        (key(), offset()).prop_map(|(key, offset)| R::GetBit { key, offset }),
        (key(), option::of(index_range)).prop_map(|(key, range)| R::BitCount { key, range }),
        (key(), any::<bool>(), index(), index(), unit())
            .prop_map(|(key, bit, start, end, unit)| R::BitPos { key, bit, start, end, unit }),
        (key(), vec(field(), 0..5)).prop_map(|(key, fields)| R::BitFieldRo { key, fields }),
        (logic(), keys()).prop_map(|(logic, sources)| R::BitOpCard { logic, sources }),
        key().prop_map(|key| R::Get { key }),
        keys().prop_map(|keys| R::MGet { keys }),
        key().prop_map(|key| R::StrLen { key }),
        (key(), any::<i64>(), any::<i64>()).prop_map(|(key, start, end)| R::GetRange {
            key,
            start,
            end
        }),
        keys().prop_map(|keys| R::Exists { keys }),
        key().prop_map(|key| R::Type { key }),
        (key(), any::<bool>(), any::<bool>()).prop_map(|(key, millis, absolute)| R::Ttl {
            key,
            form: TimeForm { millis, absolute }
        }),
        (any::<u64>(), option::of(value()), any::<u64>(), any::<bool>()).prop_map(
            |(cursor, pattern, count, type_matches)| R::Scan {
                cursor,
                pattern,
                count,
                type_matches
            }
        ),
        value().prop_map(|pattern| R::Keys { pattern }),
        Just(R::DbSize),
        Just(R::RandomKey),
        (key(), vec(value(), 0..5)).prop_map(|(space, names)| R::FindIds { space, names }),
        (key(), vec(any::<u64>(), 0..5)).prop_map(|(space, ids)| R::FindNames { space, ids }),
        key().prop_map(|space| R::SpaceInfo { space }),
        Just(R::Spaces),
    ]
    .boxed()
}

pub(crate) fn source() -> impl Strategy<Value = SourceRef> {
    (key(), option::of(version())).prop_map(|(key, version)| SourceRef { key, version })
}

pub(crate) fn range() -> impl Strategy<Value = (u64, u64)> {
    (any::<u64>(), any::<u64>())
}

pub(crate) fn part_query() -> impl Strategy<Value = PartQuery> {
    prop_oneof![
        Just(PartQuery::Len),
        range().prop_map(|(start, end)| PartQuery::Count { start, end }),
        (any::<bool>(), range()).prop_map(|(bit, (start, end))| PartQuery::FirstBit {
            bit,
            start,
            end
        }),
        range().prop_map(|(start, end)| PartQuery::Value { start, end }),
        Just(PartQuery::Info),
        (range(), any::<u32>(), option::of(any::<u64>())).prop_map(
            |((start, end), after_secs, limit)| {
                PartQuery::Present { start, end, after_secs, limit }
            }
        ),
    ]
}

/// A formula over four operands.
pub(crate) fn formula() -> impl Strategy<Value = Formula> {
    let step = prop::sample::select(vec![Step::And, Step::Or, Step::Xor, Step::AndNot]);
    (0..4_u16, vec((0..4_u16, step), 0..6)).prop_map(|(first, rest)| {
        let mut steps = vec![Step::Operand(first)];
        for (place, step) in rest {
            steps.extend([Step::Operand(place), step]);
        }
        Formula::new(steps, 4).expect("balanced")
    })
}

/// Four operands.
fn operands() -> impl Strategy<Value = Vec<SourceRef>> {
    vec(source(), 4)
}

fn evaluate() -> impl Strategy<Value = ReadOp> {
    let limit =
        (any::<u64>(), any::<bool>()).prop_map(|(limit, from_end)| Want::List { limit, from_end });
    let one = prop_oneof![
        (1..=u64::MAX).prop_map(|step| Want::Histogram { step }),
        limit,
        Just(Want::Value),
    ];
    let one = (vec(formula(), 1), one);
    let want = prop_oneof![(vec(formula(), 0..4), Just(Want::Counts)), one];
    (want, operands(), range()).prop_map(|((formulas, want), sources, range)| ReadOp::Evaluate {
        formulas,
        sources,
        range,
        want,
    })
}

pub(crate) fn read_op() -> impl Strategy<Value = ReadOp> {
    prop_oneof![
        4 => read_command().prop_map(ReadOp::Command),
        1 => key().prop_map(|key| ReadOp::Header { key }),
        1 => (key(), option::of(version()), part_query())
            .prop_map(|(key, version, query)| ReadOp::Part { key, version, query }),
        1 => (logic(), vec(source(), 0..4), range(), any::<u64>()).prop_map(
            |(logic, sources, range, len_bytes)| {
                ReadOp::CombineCount { logic, sources, range, len_bytes }
            }
        ),
        1 => (logic(), vec(source(), 0..4), range(), any::<u64>(), option::of(any::<u64>()))
            .prop_map(|(logic, sources, range, len_bytes, bytes_max)| {
                ReadOp::CombineValue { logic, sources, range, len_bytes, bytes_max }
            }),
        1 => key().prop_map(|key| ReadOp::Fingerprint { key }),
        1 => evaluate(),
        1 => (value(), 0..BITMAP_BITS_MAX, any::<u64>())
            .prop_map(|(pattern, offset, limit)| ReadOp::Holding { pattern, offset, limit }),
        1 => (value(), any::<u8>(), any::<u64>())
            .prop_map(|(prefix, separator, cursor)| ReadOp::Prefixes { prefix, separator, cursor }),
    ]
}

pub(crate) fn stage_from() -> impl Strategy<Value = StageFrom> {
    prop_oneof![
        value().prop_map(StageFrom::Value),
        (logic(), vec(source(), 0..4), range(), any::<u64>()).prop_map(
            |(logic, sources, range, len_bytes)| {
                StageFrom::Combine { logic, sources, range, len_bytes }
            }
        ),
        (source(), range()).prop_map(|(source, range)| StageFrom::Copy { source, range }),
        Just(StageFrom::Void),
        version().prop_map(|of| StageFrom::Expiry { of }),
        (formula(), operands(), range(), any::<u64>()).prop_map(
            |(formula, sources, range, len_bytes)| {
                StageFrom::Evaluate { formula, sources, range, len_bytes }
            }
        ),
    ]
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        Just(Seen::Any),
        Just(Seen::Absent),
        (option::of(version()), option::of(time()))
            .prop_map(|(version, expiry)| Seen::Record { version, expiry }),
        any::<u64>().prop_map(|index| Seen::Unchanged(LogIndex(index))),
    ]
}

fn moved() -> impl Strategy<Value = Moved> {
    (key(), version(), vec(group(), 0..4), any::<u64>()).prop_map(
        |(key, version, staged, modified)| Moved {
            key,
            version,
            staged,
            modified: LogIndex(modified),
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (vec(group(), 0..5), any::<u64>(), option::of(time()), option::of(moved())).prop_map(
            |(spread, len_bytes, expiry, moved)| Change::Value { spread, len_bytes, expiry, moved }
        ),
        Just(Change::Nothing),
        option::of(time()).prop_map(Change::Expiry),
    ]
}

pub(crate) fn group() -> impl Strategy<Value = GroupId> {
    any::<u16>().prop_map(GroupId)
}

pub(crate) fn transaction() -> impl Strategy<Value = WriteOp> {
    let command =
        prop_oneof![read_command().prop_map(Op::from), write_command().prop_map(Op::from)];
    let watch = (key(), any::<u64>()).prop_map(|(key, index)| (key, LogIndex(index)));
    (vec(watch, 0..3), vec(command, 0..4))
        .prop_map(|(watches, ops)| WriteOp::Transaction { watches, ops })
}

pub(crate) fn grant() -> impl Strategy<Value = Grant> {
    (version(), option::of(time()), version()).prop_map(|(version, expiry, drawn)| Grant {
        version,
        expiry,
        drawn,
    })
}

fn plain_write_op() -> impl Strategy<Value = WriteOp> {
    use WriteOp as W;
    prop_oneof![
        6 => write_command().prop_map(W::Command),
        1 => (grant(), write_command())
            .prop_map(|(grant, command)| W::Granted { grant, command }),
        1 => (key(), group()).prop_map(|(key, group)| W::Enlist { key, group }),
        1 => (key(), version(), group())
            .prop_map(|(key, version, group)| W::Settle { key, version, group }),
        1 => (key(), any::<bool>()).prop_map(|(key, exclusive)| W::Reserve { key, exclusive }),
        1 => (key(), version(), option::of(time()), stage_from())
            .prop_map(|(key, version, expiry, from)| W::Stage { key, version, expiry, from }),
        1 => (key(), version(), vec(group(), 0..5), seen(), change()).prop_map(
            |(key, version, staged, seen, change)| {
                W::Publish { key, version, staged, seen, change }
            }
        ),
        1 => (key(), version()).prop_map(|(key, version)| W::Abandon { key, version }),
        1 => (key(), version()).prop_map(|(key, version)| W::Abort { key, version }),
        1 => (key(), version()).prop_map(|(key, version)| W::Activate { key, version }),
        1 => (key(), version()).prop_map(|(key, version)| W::Drop { key, version }),
        1 => (key(), version()).prop_map(|(key, version)| W::Forget { key, version }),
        1 => transaction(),
        1 => Just(W::Tick),
        1 => vec(0..16384_u16, 0..100).prop_map(|slots| W::Adopt {
            slots: slots.into_iter().filter_map(Slot::new).collect()
        }),
    ]
}

/// An op that is neither numbered nor opens a session.
pub(crate) fn plain_op() -> impl Strategy<Value = Op> {
    prop_oneof![1 => read_op().prop_map(Op::Read), 2 => plain_write_op().prop_map(Op::Write)]
}

pub(crate) fn numbered() -> impl Strategy<Value = Numbered> {
    (any::<u64>(), 1..=u64::MAX, any::<u64>(), vec(plain_op(), 0..4)).prop_map(
        |(session, number, answered, ops)| Numbered {
            session: SessionId(session),
            number,
            answered: answered.min(number - 1),
            ops: batch(&ops),
        },
    )
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => plain_op(),
        1 => numbered().prop_map(|batch| Op::Write(WriteOp::Numbered(batch))),
        1 => Just(Op::Write(WriteOp::OpenSession)),
    ]
}

pub(crate) fn batch(ops: &[Op]) -> OpBatch {
    let mut batch = OpBatch::new();
    for op in ops {
        batch.push(op);
    }
    batch
}
