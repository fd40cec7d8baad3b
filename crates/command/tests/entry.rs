//! Goal: whatever op goes into an entry comes out of it, and no bytes can hurt the reader.
//!
//! Method: every variant is generated and sent through a batch and an entry; entries are cut,
//! flipped and made up; a golden entry pins the bytes, which must outlive builds.
//!
//! Mutants killed: a tag used twice, a field left out or swapped with its neighbour, zigzag
//! without its sign, a list's length not checked.

use bitroster_command::{
    BitLogic, EntryError, EntryReader, Existence, Expiry, ExpiryCondition, Field, FieldAction,
    FieldOp, FieldType, Grant, IndexRange, IndexUnit, Op, OpBatch, Overflow, PartQuery,
    ReadCommand, ReadOp, SetBitRef, SetReply, SourceRef, StageFrom, TimeForm, WriteCommand,
    WriteOp, encode_entry,
};
use bitroster_types::{
    GroupId, Key, LogIndex, Slot, UnixMillis, Version,
    limits::{BITMAP_BITS_MAX, KEY_BYTES_MAX},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

fn key() -> impl Strategy<Value = Key> + Clone {
    vec(any::<u8>(), 0..40).prop_map(|name| Key::new(&name).expect("short"))
}

fn keys() -> impl Strategy<Value = Vec<Key>> {
    vec(key(), 0..5)
}

fn value() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, 0..BITMAP_BITS_MAX, Just(BITMAP_BITS_MAX - 1)]
}

fn logic() -> impl Strategy<Value = BitLogic> {
    use BitLogic::{And, AndOr, Diff, Diff1, Not, One, Or, Xor};
    prop::sample::select(vec![And, Or, Xor, Not, Diff, Diff1, AndOr, One])
}

fn unit() -> impl Strategy<Value = IndexUnit> {
    any::<bool>().prop_map(|bit| if bit { IndexUnit::Bit } else { IndexUnit::Byte })
}

fn field() -> impl Strategy<Value = Field> {
    (any::<bool>(), 1..=64_u8, offset()).prop_map(|(signed, width, offset)| {
        let width = width.min(63 + u8::from(signed));
        let offset = offset.min(BITMAP_BITS_MAX - u64::from(width));
        Field { kind: FieldType { signed, width }, offset }
    })
}

fn field_op() -> impl Strategy<Value = FieldOp> {
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

fn time() -> impl Strategy<Value = UnixMillis> {
    any::<u64>().prop_map(UnixMillis)
}

fn version() -> impl Strategy<Value = Version> {
    any::<u64>().prop_map(Version)
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Clear),
        Just(Expiry::Keep),
        any::<i64>().prop_map(Expiry::In),
        time().prop_map(Expiry::At),
    ]
}

fn existence() -> impl Strategy<Value = Option<Existence>> {
    prop::sample::select(vec![None, Some(Existence::IfAbsent), Some(Existence::IfPresent)])
}

fn set_reply() -> impl Strategy<Value = SetReply> {
    prop::sample::select(vec![SetReply::Status, SetReply::Changed, SetReply::Old])
}

fn condition() -> impl Strategy<Value = ExpiryCondition> {
    any::<[bool; 4]>().prop_map(|[if_none, if_some, if_later, if_earlier]| ExpiryCondition {
        if_none,
        if_some,
        if_later,
        if_earlier,
    })
}

fn write_command() -> BoxedStrategy<WriteCommand> {
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
    ]
    .boxed()
}

fn read_command() -> BoxedStrategy<ReadCommand> {
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
    ]
    .boxed()
}

fn source() -> impl Strategy<Value = SourceRef> {
    (key(), option::of(version())).prop_map(|(key, version)| SourceRef { key, version })
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    (any::<u64>(), any::<u64>())
}

fn part_query() -> impl Strategy<Value = PartQuery> {
    prop_oneof![
        Just(PartQuery::Len),
        range().prop_map(|(start, end)| PartQuery::Count { start, end }),
        (any::<bool>(), range()).prop_map(|(bit, (start, end))| PartQuery::FirstBit {
            bit,
            start,
            end
        }),
        range().prop_map(|(start, end)| PartQuery::Value { start, end }),
    ]
}

fn read_op() -> impl Strategy<Value = ReadOp> {
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
        1 => key().prop_map(|key| ReadOp::Fingerprint { key }),
    ]
}

fn stage_from() -> impl Strategy<Value = StageFrom> {
    prop_oneof![
        value().prop_map(StageFrom::Value),
        (logic(), vec(source(), 0..4), range(), any::<u64>()).prop_map(
            |(logic, sources, range, len_bytes)| {
                StageFrom::Combine { logic, sources, range, len_bytes }
            }
        ),
        (source(), range()).prop_map(|(source, range)| StageFrom::Copy { source, range }),
    ]
}

fn group() -> impl Strategy<Value = GroupId> {
    any::<u16>().prop_map(GroupId)
}

fn transaction() -> impl Strategy<Value = WriteOp> {
    let command =
        prop_oneof![read_command().prop_map(Op::from), write_command().prop_map(Op::from)];
    let watch = (key(), any::<u64>()).prop_map(|(key, index)| (key, LogIndex(index)));
    (vec(watch, 0..3), vec(command, 0..4))
        .prop_map(|(watches, ops)| WriteOp::Transaction { watches, ops })
}

fn write_op() -> impl Strategy<Value = WriteOp> {
    use WriteOp as W;
    prop_oneof![
        6 => write_command().prop_map(W::Command),
        1 => (version(), option::of(time()), write_command()).prop_map(
            |(version, expiry, command)| W::Granted { grant: Grant { version, expiry }, command }
        ),
        1 => (key(), group()).prop_map(|(key, group)| W::Enlist { key, group }),
        1 => key().prop_map(|key| W::Reserve { key }),
        1 => (key(), version(), stage_from())
            .prop_map(|(key, version, from)| W::Stage { key, version, from }),
        1 => (key(), version(), vec(group(), 0..5), any::<u64>(), option::of(time())).prop_map(
            |(key, version, spread, len_bytes, expiry)| {
                W::Publish { key, version, spread, len_bytes, expiry }
            }
        ),
        1 => (key(), version()).prop_map(|(key, version)| W::Activate { key, version }),
        1 => (key(), version()).prop_map(|(key, version)| W::Drop { key, version }),
        1 => (key(), version()).prop_map(|(key, version)| W::Forget { key, version }),
        1 => (key(), version(), option::of(time()))
            .prop_map(|(key, version, expiry)| W::SetPartExpiry { key, version, expiry }),
        1 => transaction(),
        1 => Just(W::Tick),
        1 => vec(0..16384_u16, 0..100).prop_map(|slots| W::Adopt {
            slots: slots.into_iter().filter_map(Slot::new).collect()
        }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![1 => read_op().prop_map(Op::Read), 2 => write_op().prop_map(Op::Write)]
}

fn batch(ops: &[Op]) -> OpBatch {
    let mut batch = OpBatch::new();
    for op in ops {
        batch.push(op);
    }
    batch
}

/// As [`read_all`], with the short cut for SETBIT wherever it applies.
fn read_all_short(entry: Bytes) -> Result<Vec<Op>, EntryError> {
    let mut reader = EntryReader::new(entry)?;
    let mut ops = Vec::new();
    loop {
        if let Some(SetBitRef { key, offset, value }) = reader.next_set_bit()? {
            let key = Key::new(key).expect("checked by the reader");
            ops.push(WriteCommand::SetBit { key, offset, value }.into());
        } else if let Some(op) = reader.next_op()? {
            assert!(!matches!(op, Op::Write(WriteOp::Command(WriteCommand::SetBit { .. }))));
            ops.push(op);
        } else {
            return Ok(ops);
        }
    }
}

fn read_all(entry: Bytes) -> Result<Vec<Op>, EntryError> {
    let mut reader = EntryReader::new(entry)?;
    let mut ops = Vec::new();
    while let Some(op) = reader.next_op()? {
        ops.push(op);
    }
    Ok(ops)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_op_comes_out_as_it_went_in(
        ops in vec(op(), 0..12),
        more in vec(op(), 0..4),
        at in any::<u64>(),
    ) {
        let batches = [batch(&ops), batch(&more)];
        let entry = encode_entry(UnixMillis(at), &batches);
        let all = [ops, more].concat();
        let reader = EntryReader::new(entry.clone()).unwrap();
        prop_assert_eq!(reader.time(), UnixMillis(at));
        prop_assert_eq!(reader.count() as usize, all.len());
        prop_assert_eq!(read_all_short(entry.clone()), Ok(all.clone()));
        prop_assert_eq!(read_all(entry), Ok(all.clone()));

        let [mut first, second] = batches;
        first.append(second);
        prop_assert_eq!(&first, &batch(&all));
        let sent = Bytes::copy_from_slice(first.as_bytes());
        prop_assert_eq!(OpBatch::from_encoded(first.count(), sent), Ok(first));
    }

    #[test]
    fn a_cut_entry_is_an_error(ops in vec(op(), 1..4), cut in any::<prop::sample::Index>()) {
        let entry = encode_entry(UnixMillis(1), [&batch(&ops)]);
        let len = cut.index(entry.len());
        prop_assert!(read_all(entry.slice(..len)).is_err());
    }

    #[test]
    fn changed_bytes_never_panic(
        ops in vec(op(), 1..4),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut entry = encode_entry(UnixMillis(1), [&batch(&ops)]).to_vec();
        let place = place.index(entry.len());
        entry[place] = byte;
        let entry = Bytes::from(entry);
        prop_assert_eq!(read_all_short(entry.clone()), read_all(entry.clone()));
        if let Ok(ops) = read_all(entry) {
            batch(&ops);
        }
    }

    #[test]
    fn bytes_made_up_never_panic(bytes in vec(any::<u8>(), 0..300), count in any::<u32>()) {
        prop_assert!(OpBatch::from_encoded(count.max(500), bytes.into()).is_err());
    }
}

fn decode(count: u32, bytes: &[u8]) -> Result<OpBatch, EntryError> {
    OpBatch::from_encoded(count, Bytes::copy_from_slice(bytes))
}

#[test]
fn a_count_that_lies_is_an_error() {
    assert_eq!(decode(u32::MAX, b"\xaa\xaa"), Err(EntryError::Truncated));
    assert_eq!(decode(1, b"\xaa\xaa"), Err(EntryError::Trailing { bytes: 1 }));
    // DEL with 2^32 keys, with 2^63 keys, with a number of eleven bytes.
    assert_eq!(decode(1, b"\x0b\xff\xff\xff\xff\x0f\0\0"), Err(EntryError::Truncated));
    let huge = b"\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\0\0";
    assert_eq!(decode(1, huge), Err(EntryError::Truncated));
    let long = b"\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\0";
    assert_eq!(decode(1, long), Err(EntryError::Field("number")));
    let past = b"\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\0\0";
    assert_eq!(decode(1, past), Err(EntryError::Field("number")));
}

#[test]
fn values_that_no_op_has_are_errors() {
    let field = |bytes: &[u8]| match decode(1, bytes) {
        Err(EntryError::Field(name)) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(b"\x3f"), "write command");
    assert_eq!(field(b"\x7f"), "read command");
    assert_eq!(field(b"\x9f"), "read");
    assert_eq!(field(b"\xff"), "write");
    assert_eq!(field(b"\x0f\0\0\x02"), "flag");
    assert_eq!(field(b"\x01\x01k\x80\x80\x80\x80\x80\x80\x80\x01"), "offset");
    assert_eq!(field(b"\x40\x01k\x80\x80\x80\x80\x80\x80\x80\x01"), "offset");
    assert_eq!(field(b"\x09\x01k\xff\xff\xff\xff\xff\x7f\x01v"), "offset");
    assert_eq!(field(b"\xab\x01\x80\x80\x01"), "slot");
    assert_eq!(field(b"\xa9\x00\x01\xaa"), "op of a transaction");
    assert_eq!(field(b"\x43\x01k\x01\x40\x00"), "field type");
    assert_eq!(field(b"\x43\x01k\x01\x00\x00"), "field type");
    let mut long = vec![0x05, 0x81, 0x80, 0x04];
    long.resize(4 + KEY_BYTES_MAX + 1, b'k');
    assert_eq!(field(&long), "key");
}

#[test]
fn values_are_slices_of_the_entry() {
    let key = Key::new(b"k").expect("short");
    let value = Bytes::from(vec![7; 1000]);
    let batch = batch(&[WriteCommand::Append { key, value }.into()]);
    let entry = encode_entry(UnixMillis(1), [&batch]);
    let ops = read_all(entry.clone()).unwrap();
    let Op::Write(WriteOp::Command(WriteCommand::Append { value, .. })) = &ops[0] else {
        panic!("{ops:?}");
    };
    assert!(entry.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn the_bytes_of_an_entry_never_change() {
    let key = Key::new(b"k").expect("short");
    let ops = [
        WriteCommand::SetBit { key: key.clone(), offset: 300, value: true }.into(),
        WriteCommand::IncrBy { key: key.clone(), by: -3 }.into(),
        ReadCommand::GetBit { key: key.clone(), offset: 5 }.into(),
        WriteCommand::BitOp { logic: BitLogic::One, target: key.clone(), sources: vec![key] }
            .into(),
        Op::Write(WriteOp::Adopt { slots: vec![Slot::new(129).unwrap()] }),
    ];
    let entry = encode_entry(UnixMillis(0x0102), [&batch(&ops)]);
    let golden = b"\x01\x02\x01\0\0\0\0\0\0\x05\0\0\0\
        \x01\x01k\xac\x02\x0a\x01k\x05\x40\x01k\x05\x03\x01k\x07\x01\x01k\xab\x01\x81\x01";
    assert_eq!(entry, &golden[..]);
}

/// One of each op, with the fields that its choices need.
fn one_of_each() -> Vec<Op> {
    use ReadCommand as R;
    use WriteCommand as W;
    let key = || Key::new(b"k").expect("short");
    let value = || Bytes::from_static(b"v");
    let field = Field { kind: FieldType { signed: true, width: 5 }, offset: 9 };
    let op = FieldOp { field, action: FieldAction::IncrBy(-1), overflow: Overflow::Fail };
    let condition = ExpiryCondition { if_some: true, if_later: true, ..Default::default() };
    let set = W::Set {
        key: key(),
        value: value(),
        existence: Some(Existence::IfPresent),
        expiry: Expiry::In(-2),
        reply: SetReply::Old,
    };
    let index_range = IndexRange { start: 1, end: -1, unit: IndexUnit::Bit };
    let writes = [
        W::SetBit { key: key(), offset: 1, value: false },
        W::BitField { key: key(), ops: vec![op] },
        W::BitOp { logic: BitLogic::Diff1, target: key(), sources: vec![key()] },
        set,
        W::GetDel { key: key() },
        W::GetEx { key: key(), expiry: Expiry::At(UnixMillis(3)) },
        W::MSet { pairs: vec![(key(), value())], only_if_none: true },
        W::Append { key: key(), value: value() },
        W::SetRange { key: key(), offset: 4, value: value() },
        W::IncrBy { key: key(), by: 5 },
        W::Delete { keys: vec![key()] },
        W::Expire { key: key(), expiry: Expiry::Keep, condition },
        W::Persist { key: key() },
        W::Rename { source: key(), target: key(), only_if_new: true },
        W::Copy { source: key(), target: key(), replace: true },
        W::Flush,
    ];
    let form = TimeForm { millis: false, absolute: true };
    let scan = R::Scan { cursor: 6, pattern: Some(value()), count: 7, type_matches: true };
    let reads = [
        R::GetBit { key: key(), offset: 8 },
        R::BitCount { key: key(), range: Some(index_range) },
        R::BitPos { key: key(), bit: true, start: Some(1), end: None, unit: IndexUnit::Byte },
        R::BitFieldRo { key: key(), fields: vec![field] },
        R::BitOpCard { logic: BitLogic::AndOr, sources: vec![key()] },
        R::Get { key: key() },
        R::MGet { keys: vec![key()] },
        R::StrLen { key: key() },
        R::GetRange { key: key(), start: 1, end: 2 },
        R::Exists { keys: vec![key()] },
        R::Type { key: key() },
        R::Ttl { key: key(), form },
        scan,
        R::Keys { pattern: value() },
        R::DbSize,
        R::RandomKey,
    ];
    let commands = writes.map(Op::from).into_iter().chain(reads.map(Op::from));
    commands.chain(one_of_each_of_the_router()).collect()
}

fn one_of_each_of_the_router() -> Vec<Op> {
    use WriteOp as W;
    let key = || Key::new(b"k").expect("short");
    let (version, expiry) = (Version(2), Some(UnixMillis(3)));
    let sources = || vec![SourceRef { key: key(), version: Some(version) }];
    let part = |query| ReadOp::Part { key: key(), version: Some(version), query };
    let reads = [
        ReadOp::Header { key: key() },
        part(PartQuery::Len),
        part(PartQuery::Count { start: 4, end: 5 }),
        part(PartQuery::FirstBit { bit: false, start: 4, end: 5 }),
        part(PartQuery::FirstBit { bit: true, start: 4, end: 5 }),
        part(PartQuery::Value { start: 4, end: 5 }),
        ReadOp::CombineCount {
            logic: BitLogic::Xor,
            sources: sources(),
            range: (4, 5),
            len_bytes: 6,
        },
        ReadOp::Fingerprint { key: key() },
    ];
    let stage = |from| W::Stage { key: key(), version, from };
    let command = WriteCommand::Flush;
    let combine =
        StageFrom::Combine { logic: BitLogic::Or, sources: sources(), range: (4, 5), len_bytes: 6 };
    let copy = StageFrom::Copy { source: sources().remove(0), range: (4, 5) };
    let writes = [
        W::Granted { grant: Grant { version, expiry }, command: command.clone() },
        W::Enlist { key: key(), group: GroupId(7) },
        W::Reserve { key: key() },
        stage(StageFrom::Value(Bytes::from_static(b"v"))),
        stage(combine),
        stage(copy),
        W::Publish { key: key(), version, spread: vec![GroupId(7)], len_bytes: 8, expiry },
        W::Activate { key: key(), version },
        W::Drop { key: key(), version },
        W::Forget { key: key(), version },
        W::SetPartExpiry { key: key(), version, expiry: None },
        W::Transaction { watches: vec![(key(), LogIndex(9))], ops: vec![command.into()] },
        W::Tick,
        W::Adopt { slots: vec![Slot::new(300).expect("a slot")] },
    ];
    reads.map(Op::Read).into_iter().chain(writes.map(Op::Write)).collect()
}

#[test]
fn the_bytes_of_each_op_never_change() {
    let bytes: Vec<_> = one_of_each()
        .iter()
        .map(|op| batch(std::slice::from_ref(op)).as_bytes().escape_ascii().to_string())
        .collect();
    let golden: Vec<_> = include_str!("golden_ops.txt").lines().collect();
    assert_eq!(bytes, golden);
}
