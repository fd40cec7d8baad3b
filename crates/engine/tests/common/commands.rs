//! Random commands on a handful of keys.

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    BitLogic, Existence, Expiry, ExpiryCondition, Field, FieldAction, FieldOp, FieldType,
    IndexRange, IndexUnit, MergeMode, Op, Overflow, ReadCommand, SetReply, TimeForm, WriteCommand,
};
use bitroster_types::{Key, UnixMillis};
use bytes::Bytes;
use proptest::prelude::*;

use super::{START, cluster::codec, key};

pub fn keys() -> impl Strategy<Value = Key> {
    prop_oneof![
        Just(key("a")),
        Just(key("b")),
        Just(key("{a}2")),
        Just(key("user:permissions:000017")),
        Just(Key::new(&[b'k'; 300]).unwrap()),
    ]
}

fn key_lists() -> impl Strategy<Value = Vec<Key>> {
    prop::collection::vec(keys(), 1..4)
}

/// Offsets near the edges of values, segments and containers, up to `max`.
pub fn offsets(max: u64) -> impl Strategy<Value = u64> {
    let edge = (0..=max >> 16, -9i64..9)
        .prop_map(move |(segment, step)| (segment << 16).saturating_add_signed(step).min(max));
    prop_oneof![3 => 0..64u64.min(max), 2 => 0..600u64.min(max), 2 => edge, 1 => 0..=max]
}

fn indices() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -20..20i64, 1 => -70_000..70_000i64, 1 => any::<i64>().prop_map(|n| n >> 2)]
}

fn values(max: u64) -> impl Strategy<Value = Bytes> {
    let digits = (-200..200i64).prop_map(|n| Bytes::from(n.to_string()));
    let bytes = prop::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from);
    let long = (0..=max / 8, any::<u8>()).prop_map(|(len, byte)| {
        let mut bytes = vec![0; len as usize];
        bytes.iter_mut().step_by(977).for_each(|b| *b = byte);
        Bytes::from(bytes)
    });
    let edge = Just(Bytes::from_static(b"9223372036854775807"));
    prop_oneof![4 => digits, 4 => bytes, 1 => long, 1 => edge]
}

fn logic() -> impl Strategy<Value = BitLogic> {
    prop_oneof![
        Just(BitLogic::And),
        Just(BitLogic::Or),
        Just(BitLogic::Xor),
        Just(BitLogic::Diff),
        Just(BitLogic::Diff1),
        Just(BitLogic::AndOr),
        Just(BitLogic::One),
    ]
}

fn units() -> impl Strategy<Value = IndexUnit> {
    prop_oneof![Just(IndexUnit::Byte), Just(IndexUnit::Bit)]
}

fn fields(max: u64) -> impl Strategy<Value = Field> {
    (any::<bool>(), 1..=64u8, offsets(max)).prop_map(|(signed, width, offset)| Field {
        kind: FieldType { signed, width: if signed { width } else { width.min(63) } },
        offset,
    })
}

fn field_ops(max: u64) -> impl Strategy<Value = FieldOp> {
    let number = || prop_oneof![-300..300i64, any::<i64>()];
    let action = prop_oneof![
        Just(FieldAction::Get),
        number().prop_map(FieldAction::Set),
        number().prop_map(FieldAction::IncrBy),
    ];
    let overflow = prop_oneof![Just(Overflow::Wrap), Just(Overflow::Sat), Just(Overflow::Fail)];
    (fields(max), action, overflow).prop_map(|(field, action, overflow)| FieldOp {
        field,
        action,
        overflow,
    })
}

fn set_expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        3 => Just(Expiry::Clear),
        1 => Just(Expiry::Keep),
        2 => (1..5_000i64).prop_map(Expiry::In),
        1 => (0..20_000u64).prop_map(|n| Expiry::At(UnixMillis(START.0 + n))),
    ]
}

fn new_expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        4 => (-100..5_000i64).prop_map(Expiry::In),
        1 => (0..20_000u64).prop_map(|n| Expiry::At(UnixMillis(START.0 + n))),
    ]
}

fn conditions() -> impl Strategy<Value = ExpiryCondition> {
    (0..5).prop_map(|n| ExpiryCondition {
        if_none: n == 1,
        if_some: n == 2,
        if_later: n == 3,
        if_earlier: n == 4,
    })
}

/// A few bits, or a range of them; sometimes longer than the last one asks for.
pub fn sets(max: u64) -> impl Strategy<Value = Bitmap> {
    let listed = prop::collection::vec(offsets(max), 0..12)
        .prop_map(|offsets| Bitmap::from_offsets(&offsets));
    let ranges = (offsets(max), offsets(max)).prop_map(|(a, b)| {
        let mut set = Bitmap::new();
        set.fill(a.min(b)..a.max(b), true);
        set
    });
    let long = prop_oneof![4 => Just(0), 1 => 0..=max / 8];
    (prop_oneof![2 => listed, 1 => ranges], long).prop_map(|(mut set, len)| {
        set.extend_len(len);
        set
    })
}

fn modes() -> impl Strategy<Value = MergeMode> {
    prop_oneof![Just(MergeMode::Or), Just(MergeMode::AndNot), Just(MergeMode::Xor)]
}

fn many_bits(max: u64) -> impl Strategy<Value = WriteCommand> {
    prop_oneof![
        4 => (keys(), modes(), sets(max)).prop_map(|(key, mode, set)| WriteCommand::Merge {
            key,
            mode,
            bits: codec(&set),
        }),
        1 => (keys(), sets(max), restore_expiry(), any::<bool>()).prop_map(
            |(key, set, expiry, replace)| WriteCommand::Restore {
                key, value: codec(&set), expiry, replace,
            }
        ),
        2 => (keys(), 0..max / 32, 1..4u32)
            .prop_map(|(key, id, ttl_secs)| WriteCommand::Touch { key, id, ttl_secs }),
    ]
}

fn restore_expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![2 => Just(Expiry::Clear), 1 => new_expiry()]
}

/// Names of several kinds, few enough to meet again.
pub fn names() -> impl Strategy<Value = Bytes> {
    let uuid = (0..9u64).prop_map(|n| format!("0123abcd-0000-4000-8000-{n:012x}"));
    let other = (0..9u64).prop_map(|n| format!("0123ABCD-0000-4000-8000-{n:012x}"));
    let short = (0..9usize).prop_map(|n| "n".repeat(n));
    let long = (250..260usize).prop_map(|n| "n".repeat(n));
    prop_oneof![uuid, other, short, long].prop_map(Bytes::from)
}

fn name_lists() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(names(), 1..6)
}

/// Any read but SCAN and RANDOMKEY.
pub fn reads(max: u64) -> impl Strategy<Value = Op> {
    let ranges = prop::option::of((indices(), indices(), units()))
        .prop_map(|range| range.map(|(start, end, unit)| IndexRange { start, end, unit }));
    prop_oneof![
        (keys(), offsets(max)).prop_map(|(key, offset)| ReadCommand::GetBit { key, offset }),
        (keys(), ranges).prop_map(|(key, range)| ReadCommand::BitCount { key, range }),
        (
            keys(),
            any::<bool>(),
            prop::option::of((indices(), prop::option::of(indices()), units())),
        )
            .prop_map(|(key, bit, range)| {
                let (start, end, unit) = match range {
                    Some((start, end, unit)) => (Some(start), end, unit),
                    None => (None, None, IndexUnit::Byte),
                };
                let unit = if end.is_some() { unit } else { IndexUnit::Byte };
                ReadCommand::BitPos { key, bit, start, end, unit }
            }),
        (keys(), prop::collection::vec(fields(max), 0..4))
            .prop_map(|(key, fields)| ReadCommand::BitFieldRo { key, fields }),
        (logic(), key_lists())
            .prop_map(|(logic, sources)| ReadCommand::BitOpCard { logic, sources }),
        keys().prop_map(|key| ReadCommand::BitOpCard { logic: BitLogic::Not, sources: vec![key] }),
        keys().prop_map(|key| ReadCommand::Get { key }),
        key_lists().prop_map(|keys| ReadCommand::MGet { keys }),
        keys().prop_map(|key| ReadCommand::StrLen { key }),
        (keys(), indices(), indices()).prop_map(|(key, start, end)| ReadCommand::GetRange {
            key,
            start,
            end
        }),
        key_lists().prop_map(|keys| ReadCommand::Exists { keys }),
        keys().prop_map(|key| ReadCommand::Type { key }),
        (keys(), any::<bool>(), any::<bool>()).prop_map(|(key, millis, absolute)| {
            ReadCommand::Ttl { key, form: TimeForm { millis, absolute } }
        }),
        Just(ReadCommand::DbSize),
        (keys(), name_lists()).prop_map(|(space, names)| ReadCommand::FindIds { space, names }),
        (keys(), prop::collection::vec(0..40u64, 1..6))
            .prop_map(|(space, ids)| ReadCommand::FindNames { space, ids }),
    ]
    .prop_map(Op::from)
}

/// Any write.
pub fn writes(max: u64) -> impl Strategy<Value = Op> {
    let existence =
        prop::option::of(prop_oneof![Just(Existence::IfAbsent), Just(Existence::IfPresent)]);
    let reply = prop_oneof![Just(SetReply::Status), Just(SetReply::Changed), Just(SetReply::Old)];
    prop_oneof![
        4 => (keys(), offsets(max), any::<bool>())
            .prop_map(|(key, offset, value)| WriteCommand::SetBit { key, offset, value }),
        2 => (keys(), prop::collection::vec(field_ops(max), 0..4))
            .prop_map(|(key, ops)| WriteCommand::BitField { key, ops }),
        1 => (logic(), keys(), key_lists()).prop_map(|(logic, target, sources)| {
            WriteCommand::BitOp { logic, target, sources }
        }),
        1 => (keys(), keys()).prop_map(|(target, source)| WriteCommand::BitOp {
            logic: BitLogic::Not,
            target,
            sources: vec![source],
        }),
        2 => (keys(), values(max), existence, set_expiry(), reply).prop_map(
            |(key, value, existence, expiry, reply)| WriteCommand::Set {
                key, value, existence, expiry, reply,
            }
        ),
        1 => keys().prop_map(|key| WriteCommand::GetDel { key }),
        1 => (keys(), new_expiry()).prop_map(|(key, expiry)| WriteCommand::GetEx { key, expiry }),
        1 => keys().prop_map(|key| WriteCommand::GetEx { key, expiry: Expiry::Clear }),
        1 => (prop::collection::vec((keys(), values(max)), 1..4), any::<bool>())
            .prop_map(|(pairs, only_if_none)| WriteCommand::MSet { pairs, only_if_none }),
        1 => (keys(), values(max)).prop_map(|(key, value)| WriteCommand::Append { key, value }),
        2 => (keys(), offsets(max), values(600)).prop_map(|(key, offset, value)| {
            WriteCommand::SetRange { key, offset: offset / 8, value }
        }),
        2 => (keys(), prop_oneof![-5..5i64, any::<i64>()])
            .prop_map(|(key, by)| WriteCommand::IncrBy { key, by }),
        1 => key_lists().prop_map(|keys| WriteCommand::Delete { keys }),
        2 => (keys(), new_expiry(), conditions()).prop_map(|(key, expiry, condition)| {
            WriteCommand::Expire { key, expiry, condition }
        }),
        1 => keys().prop_map(|key| WriteCommand::Persist { key }),
        1 => (keys(), keys(), any::<bool>()).prop_map(|(source, target, only_if_new)| {
            WriteCommand::Rename { source, target, only_if_new }
        }),
        1 => (keys(), keys(), any::<bool>()).prop_map(|(source, target, replace)| {
            WriteCommand::Copy { source, target, replace }
        }),
        4 => many_bits(max),
        2 => (keys(), name_lists())
            .prop_map(|(space, names)| WriteCommand::AssignIds { space, names }),
        1 => keys().prop_map(|space| WriteCommand::DropSpace { space }),
    ]
    .prop_map(Op::from)
}

/// Commands and the milliseconds that pass before each.
pub fn scripts(max: u64, len: usize) -> impl Strategy<Value = Vec<(u64, Op)>> {
    let op = prop_oneof![2 => writes(max), 1 => reads(max)];
    let wait = prop_oneof![3 => Just(0), 1 => 0..900u64];
    prop::collection::vec((wait, op), 1..len)
}
