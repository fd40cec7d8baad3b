//! Commands at random: few keys, and offsets that crowd at the edges of segments.

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    BitLogic, Command, Existence, Expiry, ExpiryCondition, Field, FieldAction, FieldOp, FieldType,
    IndexRange, IndexUnit, MergeMode, Op, Overflow, ReadCommand, ReadOp, SetReply, TimeForm,
    WriteCommand, WriteOp,
};
use bitroster_types::{Key, UnixMillis};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::twin::sets::{merge, store_union};

/// Far enough that no test lives to see it.
const FAR: u64 = 9_000_000_000_000;

pub(crate) fn key() -> impl Strategy<Value = Key> {
    select(vec!["a", "b", "{a}2", "c", "events:today"]).prop_map(super::key)
}

pub(crate) fn offset() -> impl Strategy<Value = u64> {
    let edge = (0_u64..12, -40_i64..40)
        .prop_map(|(segment, near)| (segment << 16).saturating_add_signed(near));
    prop_oneof![0_u64..200, edge, 0_u64..1 << 20]
}

fn index(unit_bits: i64) -> impl Strategy<Value = i64> {
    let edge = 8 / unit_bits;
    prop_oneof![
        -20_i64..20,
        (1_i64..10, -3_i64..3).prop_map(move |(at, near)| (at * 8192 + near) * edge),
        (1_i64..10, -3_i64..3).prop_map(move |(at, near)| -(at * 8192 + near) * edge),
    ]
}

fn range() -> impl Strategy<Value = (i64, i64, IndexUnit)> {
    prop_oneof![
        (index(8), index(8)).prop_map(|(start, end)| (start, end, IndexUnit::Byte)),
        (index(1), index(1)).prop_map(|(start, end)| (start, end, IndexUnit::Bit)),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        1 => Just(Bytes::from_static(b"17")),
        1 => (0_usize..40_000, any::<u8>(), any::<u8>()).prop_map(|(len, fill, last)| {
            let mut bytes = vec![if fill < 100 { 0 } else { fill }; len];
            bytes.push(last);
            Bytes::from(bytes)
        }),
    ]
}

fn logic() -> impl Strategy<Value = BitLogic> {
    select(vec![
        BitLogic::And,
        BitLogic::Or,
        BitLogic::Xor,
        BitLogic::Not,
        BitLogic::Diff,
        BitLogic::Diff1,
        BitLogic::AndOr,
        BitLogic::One,
    ])
}

fn combination() -> impl Strategy<Value = (BitLogic, Vec<Key>)> {
    (logic(), vec(key(), 1..4)).prop_map(|(logic, mut keys)| {
        match logic {
            BitLogic::Not => keys.truncate(1),
            BitLogic::Diff | BitLogic::Diff1 | BitLogic::AndOr if keys.len() == 1 => {
                keys.push(super::key("b"));
            }
            BitLogic::And | BitLogic::Or | BitLogic::Xor | BitLogic::One => {}
            BitLogic::Diff | BitLogic::Diff1 | BitLogic::AndOr => {}
        }
        (logic, keys)
    })
}

fn field() -> impl Strategy<Value = Field> {
    (any::<bool>(), 1_u8..=63, offset()).prop_map(|(signed, width, offset)| Field {
        kind: FieldType { signed, width: if signed { width + 1 } else { width } },
        offset,
    })
}

fn field_op() -> impl Strategy<Value = FieldOp> {
    let number = prop_oneof![-300_i64..300, any::<i64>()];
    let action = prop_oneof![
        Just(FieldAction::Get),
        number.clone().prop_map(FieldAction::Set),
        number.prop_map(FieldAction::IncrBy),
    ];
    let overflow = select(vec![Overflow::Wrap, Overflow::Sat, Overflow::Fail]);
    (field(), action, overflow).prop_map(|(field, action, overflow)| FieldOp {
        field,
        action,
        overflow,
    })
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Clear),
        Just(Expiry::Keep),
        (FAR..FAR + 5000).prop_map(|at| Expiry::At(UnixMillis(at))),
    ]
}

fn merge_mode() -> impl Strategy<Value = MergeMode> {
    select(vec![MergeMode::Or, MergeMode::AndNot, MergeMode::Xor])
}

fn encoded(bitmap: &Bitmap) -> Bytes {
    let mut bytes = Vec::new();
    bitmap.encode(&mut bytes);
    bytes.into()
}

fn read() -> impl Strategy<Value = ReadCommand> {
    prop_oneof![
        3 => (key(), offset()).prop_map(|(key, offset)| ReadCommand::GetBit { key, offset }),
        1 => (key(), vec(field(), 0..4))
            .prop_map(|(key, fields)| ReadCommand::BitFieldRo { key, fields }),
        2 => (key(), option::of(range())).prop_map(|(key, range)| {
            let range = range.map(|(start, end, unit)| IndexRange { start, end, unit });
            ReadCommand::BitCount { key, range }
        }),
        2 => (key(), any::<bool>(), option::of(range()), any::<bool>()).prop_map(
            |(key, bit, range, open)| match range {
                None => {
                    let unit = IndexUnit::Byte;
                    ReadCommand::BitPos { key, bit, start: None, end: None, unit }
                }
                Some((start, _, IndexUnit::Byte)) if open => {
                    let unit = IndexUnit::Byte;
                    ReadCommand::BitPos { key, bit, start: Some(start), end: None, unit }
                }
                Some((start, end, unit)) => {
                    ReadCommand::BitPos { key, bit, start: Some(start), end: Some(end), unit }
                }
            }
        ),
        1 => combination()
            .prop_map(|(logic, sources)| ReadCommand::BitOpCard { logic, sources }),
        1 => key().prop_map(|key| ReadCommand::Get { key }),
        1 => vec(key(), 1..4).prop_map(|keys| ReadCommand::MGet { keys }),
        1 => key().prop_map(|key| ReadCommand::StrLen { key }),
        1 => (key(), index(8), index(8))
            .prop_map(|(key, start, end)| ReadCommand::GetRange { key, start, end }),
        1 => vec(key(), 1..4).prop_map(|keys| ReadCommand::Exists { keys }),
        1 => key().prop_map(|key| ReadCommand::Type { key }),
        1 => (key(), any::<bool>()).prop_map(|(key, millis)| {
            ReadCommand::Ttl { key, form: TimeForm { millis, absolute: true } }
        }),
        1 => Just(ReadCommand::DbSize),
    ]
}

fn set() -> impl Strategy<Value = WriteCommand> {
    let existence = option::of(select(vec![Existence::IfAbsent, Existence::IfPresent]));
    let reply = select(vec![SetReply::Status, SetReply::Changed, SetReply::Old]);
    (key(), value(), existence, expiry(), reply).prop_map(
        |(key, value, existence, expiry, reply)| {
            let existence =
                if reply == SetReply::Changed { Some(Existence::IfAbsent) } else { existence };
            WriteCommand::Set { key, value, existence, expiry, reply }
        },
    )
}

fn write() -> impl Strategy<Value = WriteCommand> {
    prop_oneof![
        8 => (key(), offset(), any::<bool>())
            .prop_map(|(key, offset, value)| WriteCommand::SetBit { key, offset, value }),
        2 => (key(), vec(field_op(), 1..4))
            .prop_map(|(key, ops)| WriteCommand::BitField { key, ops }),
        2 => (key(), offset(), value()).prop_map(|(key, offset, value)| {
            WriteCommand::SetRange { key, offset: offset / 8, value }
        }),
        1 => (key(), value()).prop_map(|(key, value)| WriteCommand::Append { key, value }),
        2 => set(),
        1 => key().prop_map(|key| WriteCommand::GetDel { key }),
        1 => (key(), expiry().prop_filter("an option", |expiry| *expiry != Expiry::Keep))
            .prop_map(|(key, expiry)| WriteCommand::GetEx { key, expiry }),
        1 => (vec((key(), value()), 1..4), any::<bool>())
            .prop_map(|(pairs, only_if_none)| WriteCommand::MSet { pairs, only_if_none }),
        1 => (key(), -5_i64..5).prop_map(|(key, by)| WriteCommand::IncrBy { key, by }),
        1 => vec(key(), 1..3).prop_map(|keys| WriteCommand::Delete { keys }),
        1 => (key(), FAR..FAR + 5000).prop_map(|(key, at)| WriteCommand::Expire {
            key,
            expiry: Expiry::At(UnixMillis(at)),
            condition: ExpiryCondition::default(),
        }),
        1 => key().prop_map(|key| WriteCommand::Persist { key }),
        4 => (key(), merge_mode(), vec(offset(), 0..6))
            .prop_map(|(key, mode, offsets)| merge(key, mode, &offsets)),
        1 => (key(), offset(), 1_u64..400_000, merge_mode()).prop_map(|(key, start, len, mode)| {
            let mut set = Bitmap::new();
            set.fill(start..start + len, true);
            WriteCommand::Merge { key, mode, bits: encoded(&set) }
        }),
        1 => (key(), value(), any::<bool>(), expiry()).prop_map(|(key, value, replace, expiry)| {
            let expiry = if expiry == Expiry::Keep { Expiry::Clear } else { expiry };
            let value = encoded(&Bitmap::from_bytes(&value));
            WriteCommand::Restore { key, value, expiry, replace }
        }),
        3 => (combination(), key()).prop_map(|((logic, sources), target)| {
            WriteCommand::BitOp { logic, target, sources }
        }),
        1 => (key(), key(), any::<bool>()).prop_map(|(source, target, only_if_new)| {
            WriteCommand::Rename { source, target, only_if_new }
        }),
        1 => (key(), key(), any::<bool>())
            .prop_filter("two keys", |(source, target, _)| source != target)
            .prop_map(|(source, target, replace)| WriteCommand::Copy { source, target, replace }),
    ]
}

/// Any command whose reply a twin can tell.
pub(crate) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![3 => write().prop_map(Command::Write), 2 => read().prop_map(Command::Read)]
}

/// Commands of a whole key that is spread: what plans are made for.
pub(crate) fn of_spread(name: &'static str) -> impl Strategy<Value = Command> {
    let name = super::key(name);
    let set = |name: Key, value: Bytes| -> Op {
        let (existence, expiry, reply) = (None, Expiry::Clear, SetReply::Status);
        WriteCommand::Set { key: name, value, existence, expiry, reply }.into()
    };
    let (logic, target, unit) = (BitLogic::Or, name.clone(), IndexUnit::Byte);
    let sources = vec![super::key("b"), name.clone()];
    let at = Expiry::At(UnixMillis(FAR));
    let condition = ExpiryCondition::default();
    let writes: Vec<Op> = vec![
        WriteCommand::Delete { keys: vec![name.clone()] }.into(),
        WriteCommand::Append { key: name.clone(), value: Bytes::from_static(b"one") }.into(),
        WriteCommand::Append { key: name.clone(), value: Bytes::from_static(b"other") }.into(),
        set(name.clone(), Bytes::from_static(b"small")),
        set(name.clone(), Bytes::from(vec![7; 60_000])),
        WriteCommand::BitOp { logic, target, sources: sources.clone() }.into(),
        WriteCommand::BitOp {
            logic: BitLogic::Xor,
            target: name.clone(),
            sources: vec![super::key("b"), super::key("events:today")],
        }
        .into(),
        WriteCommand::Expire { key: name.clone(), expiry: at, condition }.into(),
        WriteCommand::GetDel { key: name.clone() }.into(),
        WriteCommand::Copy { source: sources[0].clone(), target: name.clone(), replace: true }
            .into(),
    ];
    let reads: Vec<Op> = vec![
        ReadCommand::BitCount { key: name.clone(), range: None }.into(),
        ReadCommand::StrLen { key: name.clone() }.into(),
        ReadCommand::BitPos { key: name.clone(), bit: true, start: Some(99), end: None, unit }
            .into(),
        ReadCommand::Get { key: name.clone() }.into(),
    ];
    let merges = [
        merge(name.clone(), MergeMode::Or, &[3, 70_000, 70_009, 700_000]),
        merge(name.clone(), MergeMode::AndNot, &[9, (1 << 16) + 9, 5 << 16, (7 << 16) + 9]),
        merge(name.clone(), MergeMode::Xor, &[(3 << 16) + 9, (3 << 16) + 10]),
    ];
    let others = [
        Command::Composite(store_union(name.clone(), vec![super::key("b"), name.clone()]).into()),
        Command::Composite(
            store_union(name, vec![super::key("b"), super::key("events:today")]).into(),
        ),
    ];
    let command = |op| match op {
        Op::Read(ReadOp::Command(read)) => Command::Read(read),
        Op::Write(WriteOp::Command(write)) => Command::Write(write),
        Op::Read(_) | Op::Write(_) => panic!("commands only"),
    };
    let own = prop_oneof![2 => select(writes), 1 => select(reads)].prop_map(command);
    prop_oneof![
        4 => own,
        1 => select(merges.map(Command::Write).to_vec()),
        1 => select(others.to_vec()),
    ]
}

/// A bit in each of the first segments, so that the key is spread.
pub(crate) fn spread(name: &str) -> impl Iterator<Item = Command> {
    let name = super::key(name);
    (0..10).map(move |segment| {
        let (key, offset, value) = (name.clone(), (segment << 16) + 9, true);
        Command::Write(WriteCommand::SetBit { key, offset, value })
    })
}
