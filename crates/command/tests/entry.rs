//! Goal: whatever op goes into an entry comes out of it, and no bytes can hurt the reader.
//!
//! Method: every variant is generated and sent through a batch and an entry; entries are cut,
//! flipped and made up; a golden entry pins the bytes, which must outlive builds.
//!
//! Mutants killed: a tag used twice, a field left out or swapped with its neighbour, zigzag
//! without its sign, a list's length not checked.

#[path = "common/ops.rs"]
mod ops;

use bitroster_bitmap::{Formula, Step};
use bitroster_command::{
    BitLogic, Change, EntryError, EntryReader, Existence, Expiry, ExpiryCondition, Field,
    FieldAction, FieldOp, FieldType, Grant, IndexRange, IndexUnit, MergeMode, Moved, Numbered, Op,
    OpBatch, Overflow, PartQuery, ReadCommand, ReadOp, Seen, SetBitRef, SetReply, SourceRef,
    StageFrom, TimeForm, Want, WriteCommand, WriteOp, encode_entry,
};
use bitroster_types::{
    GroupId, Key, LogIndex, SessionId, Slot, UnixMillis, Version, limits::KEY_BYTES_MAX,
};
use bytes::Bytes;
use ops::{batch, numbered, op};
use proptest::{collection::vec, prelude::*};

/// As [`read_all`], with the short cut for SETBIT wherever it applies.
fn read_all_short(entry: Bytes) -> Result<Vec<Op>, EntryError> {
    let mut reader = EntryReader::new(entry)?.into_ops();
    let (mut ops, mut bits) = (Vec::new(), Vec::new());
    loop {
        let set = |key: &[u8], (offset, value)| {
            let key = Key::new(key).expect("checked by the reader");
            Op::from(WriteCommand::SetBit { key, offset, value })
        };
        // Either way of reading may come next.
        if ops.len() % 3 == 0
            && let Some(SetBitRef { key, offset, value }) = reader.next_set_bit()?
        {
            ops.push(set(key, (offset, value)));
        } else if let Some(key) = reader.next_set_bits(&mut bits, 3) {
            assert!(bits.len() <= 3);
            ops.extend(bits.iter().map(|bit| set(key, *bit)));
        } else if let Some(op) = reader.next_op()? {
            assert!(!matches!(op, Op::Write(WriteOp::Command(WriteCommand::SetBit { .. }))));
            ops.push(op);
        } else {
            return Ok(ops);
        }
    }
}

fn read_all(entry: Bytes) -> Result<Vec<Op>, EntryError> {
    let mut reader = EntryReader::new(entry)?.into_ops();
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
        let inner = all.iter().map(|op| match op {
            Op::Write(WriteOp::Numbered(batch)) => batch.ops.len() as u64,
            Op::Write(_) | Op::Read(_) => 0,
        });
        prop_assert_eq!(first.ops_total(), all.len() as u64 + inner.sum::<u64>());
        let sent = Bytes::copy_from_slice(first.as_bytes());
        let received = OpBatch::from_encoded(first.count(), sent).unwrap();
        prop_assert_eq!(received.ops_total(), first.ops_total());
        prop_assert_eq!(received, first);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_numbered_batch_is_written_without_its_op_and_read_without_a_copy(sent in numbered()) {
        let (mut short, mut long) = (OpBatch::new(), OpBatch::new());
        short.push_numbered(sent.session, sent.number, sent.answered, &sent.ops);
        long.push_write(&WriteOp::Numbered(sent.clone()));
        prop_assert_eq!(&short, &long);

        let entry = encode_entry(UnixMillis(1), [&short]);
        let mut read = read_all(entry.clone()).unwrap();
        let Some(Op::Write(WriteOp::Numbered(got))) = read.pop() else { panic!("{read:?}") };
        prop_assert_eq!(&got, &sent);
        if !got.ops.is_empty() {
            prop_assert!(entry.as_ptr_range().contains(&got.ops.as_bytes().as_ptr()));
        }
        let (mut one, mut two) = (got.ops.into_reader(), sent.ops.into_reader());
        while let Some(op) = two.next_op().unwrap() {
            prop_assert_eq!(one.next_op(), Ok(Some(op)));
        }
        prop_assert_eq!(one.next_op(), Ok(None));
    }

    #[test]
    fn a_batch_that_was_received_can_grow(
        before in vec(op(), 0..4),
        after in vec(op(), 0..4),
        more in vec(op(), 0..4),
    ) {
        let sent = batch(&before);
        let mut received = OpBatch::from_encoded(sent.count(), sent.into_bytes()).unwrap();
        for op in &after {
            received.push(op);
        }
        let sent = batch(&more);
        received.append(OpBatch::from_encoded(sent.count(), sent.into_bytes()).unwrap());
        prop_assert_eq!(received, batch(&[before, after, more].concat()));
    }

    #[test]
    fn a_batch_with_numbered_ones_is_received_only_if_all_of_them_can_be_read(
        sent in numbered(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = sent.ops.as_bytes().to_vec();
        prop_assume!(!bytes.is_empty());
        let at = place.index(bytes.len());
        bytes[at] = byte;
        let good = OpBatch::from_encoded(sent.ops.count(), bytes.clone().into());
        let mut outer = OpBatch::new();
        outer.push_numbered(sent.session, sent.number, sent.answered, &sent.ops);
        let mut outer = outer.as_bytes().to_vec();
        let start = outer.len() - bytes.len();
        outer[start..].copy_from_slice(&bytes);
        let received = OpBatch::from_encoded(1, outer.into());
        let holds_sessions = good.as_ref().is_ok_and(has_sessions);
        prop_assert_eq!(received.is_ok(), good.is_ok() && !holds_sessions);
    }
}

fn has_sessions(batch: &OpBatch) -> bool {
    let (mut reader, mut found) = (batch.clone().into_reader(), false);
    while let Some(op) = reader.next_op().expect("checked when it came") {
        found |= matches!(op, Op::Write(WriteOp::OpenSession | WriteOp::Numbered(_)));
    }
    found
}

#[test]
fn numbered_batches_in_numbered_batches_are_refused() {
    let refused = Err(EntryError::Field("op of a numbered batch"));
    assert_eq!(decode(1, b"\xad\x01\x01\x00\x01\x01\xac"), refused);
    assert_eq!(decode(1, b"\xad\x01\x01\x00\x01\x06\xad\x01\x01\x00\x00\x00"), refused);
    // Answered before it was sent, more ops than bytes, more bytes than ops, more than there is.
    assert_eq!(decode(1, b"\xad\x01\x02\x02\x00\x00"), Err(EntryError::Field("number of a batch")));
    assert_eq!(decode(1, b"\xad\x01\x01\x00\x05\x01\xaa"), Err(EntryError::Truncated));
    assert_eq!(
        decode(1, b"\xad\x01\x01\x00\x01\x02\xaa\xaa"),
        Err(EntryError::Trailing { bytes: 1 })
    );
    assert_eq!(decode(1, b"\xad\x01\x01\x00\x01\x02\xaa"), Err(EntryError::Truncated));
    assert_eq!(
        decode(1, b"\xad\x01\x01\x00\xff\xff\xff\xff\xff\x0f\x00"),
        Err(EntryError::Truncated)
    );
}

#[test]
#[should_panic(expected = "neither sessions nor numbered batches")]
fn a_batch_that_holds_a_numbered_one_cannot_be_numbered() {
    let mut inner = OpBatch::new();
    inner.push_numbered(SessionId(1), 1, 0, &OpBatch::new());
    let mut outer = OpBatch::new();
    outer.push_write(&WriteOp::Tick);
    outer.append(inner);
    OpBatch::new().push_numbered(SessionId(1), 2, 0, &outer);
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
    assert_eq!(field(b"\x86\x01*\x80\x80\x80\x80\x80\x80\x80\x01\x09"), "offset");
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
    let (logic, range, len_bytes) = (BitLogic::Xor, (4, 5), 6);
    let value = |bytes_max| {
        let sources = sources();
        ReadOp::CombineValue { logic, sources, range, len_bytes, bytes_max }
    };
    let reads = [
        ReadOp::Header { key: key() },
        part(PartQuery::Len),
        part(PartQuery::Count { start: 4, end: 5 }),
        part(PartQuery::FirstBit { bit: false, start: 4, end: 5 }),
        part(PartQuery::FirstBit { bit: true, start: 4, end: 5 }),
        part(PartQuery::Value { start: 4, end: 5 }),
        ReadOp::CombineCount { logic, sources: sources(), range, len_bytes },
        value(None),
        value(Some(7)),
        ReadOp::Fingerprint { key: key() },
    ];
    let stage = |from| W::Stage { key: key(), version, expiry, from };
    let publish = |seen, change| {
        let staged = vec![GroupId(7)];
        W::Publish { key: key(), version, staged, seen, change }
    };
    let moved = Moved { key: key(), version, staged: vec![GroupId(7)], modified: LogIndex(9) };
    let value =
        Change::Value { spread: vec![GroupId(7)], len_bytes: 8, expiry, moved: Some(moved) };
    let command = WriteCommand::Flush;
    let combine =
        StageFrom::Combine { logic: BitLogic::Or, sources: sources(), range: (4, 5), len_bytes: 6 };
    let copy = StageFrom::Copy { source: sources().remove(0), range: (4, 5) };
    let writes = [
        W::Granted { grant: Grant { version, expiry, drawn: version }, command: command.clone() },
        W::Enlist { key: key(), group: GroupId(7) },
        W::Settle { key: key(), version, group: GroupId(7) },
        W::Reserve { key: key(), exclusive: true },
        stage(StageFrom::Value(Bytes::from_static(b"v"))),
        stage(combine),
        stage(copy),
        stage(StageFrom::Void),
        stage(StageFrom::Expiry { of: version }),
        publish(Seen::Any, value),
        publish(Seen::Absent, Change::Nothing),
        publish(Seen::Record { version: Some(version), expiry }, Change::Expiry(None)),
        publish(Seen::Unchanged(LogIndex(9)), Change::Expiry(expiry)),
        W::Abandon { key: key(), version },
        W::Abort { key: key(), version },
        W::Activate { key: key(), version },
        W::Drop { key: key(), version },
        W::Forget { key: key(), version },
        W::Transaction { watches: vec![(key(), LogIndex(9))], ops: vec![command.into()] },
        W::Tick,
        W::Adopt { slots: vec![Slot::new(300).expect("a slot")] },
        W::OpenSession,
        W::Numbered(Numbered {
            session: SessionId(300),
            number: 12,
            answered: 10,
            ops: batch(&[WriteCommand::SetBit { key: key(), offset: 1, value: true }.into()]),
        }),
    ];
    reads.map(Op::Read).into_iter().chain(writes.map(Op::Write)).collect()
}

/// One of each op of our own commands.
fn one_of_each_own() -> Vec<Op> {
    use ReadCommand as R;
    use WriteCommand as W;
    let key = || Key::new(b"k").expect("short");
    let bytes = || Bytes::from_static(b"v");
    let merge = |mode| Op::from(W::Merge { key: key(), mode, bits: bytes() });
    let sources = || {
        vec![
            SourceRef { key: key(), version: Some(Version(2)) },
            SourceRef { key: key(), version: None },
        ]
    };
    let steps = [Step::Operand(0), Step::Operand(1), Step::And, Step::Operand(1), Step::Or];
    let steps =
        [&steps[..], &[Step::Operand(0), Step::Xor, Step::Operand(1), Step::AndNot]].concat();
    let formula = || Formula::new(steps.clone(), 2).expect("balanced");
    let evaluate = |want| {
        Op::Read(ReadOp::Evaluate {
            formulas: vec![formula()],
            sources: sources(),
            range: (4, 5),
            want,
        })
    };
    let part = |query| Op::Read(ReadOp::Part { key: key(), version: Some(Version(2)), query });
    let present = PartQuery::Present { start: 32, end: 64, after_secs: 300, limit: Some(9) };
    let from =
        StageFrom::Evaluate { formula: formula(), sources: sources(), range: (4, 5), len_bytes: 6 };
    let restore = W::Restore { key: key(), value: bytes(), expiry: Expiry::In(-1), replace: true };
    vec![
        merge(MergeMode::Or),
        merge(MergeMode::AndNot),
        merge(MergeMode::Xor),
        restore.into(),
        W::Touch { key: key(), id: 300, ttl_secs: 60 }.into(),
        W::AssignIds { space: key(), names: vec![bytes(), Bytes::new()] }.into(),
        W::DropSpace { space: key() }.into(),
        R::FindIds { space: key(), names: vec![bytes()] }.into(),
        R::FindNames { space: key(), ids: vec![7, 300] }.into(),
        R::SpaceInfo { space: key() }.into(),
        R::Spaces.into(),
        evaluate(Want::Counts),
        evaluate(Want::Histogram { step: 7 }),
        evaluate(Want::List { limit: 8, from_end: false }),
        evaluate(Want::List { limit: 8, from_end: true }),
        evaluate(Want::Value),
        Op::Read(ReadOp::Holding { pattern: bytes(), offset: 7, limit: 8 }),
        Op::Read(ReadOp::Prefixes { prefix: bytes(), separator: b':', cursor: 300 }),
        part(PartQuery::Info),
        part(present),
        Op::Write(WriteOp::Stage { key: key(), version: Version(2), expiry: None, from }),
    ]
}

/// Each op beside the bytes that it must always have.
fn pinned(ops: &[Op], golden: &str) {
    let bytes: Vec<_> = ops
        .iter()
        .map(|op| batch(std::slice::from_ref(op)).as_bytes().escape_ascii().to_string())
        .collect();
    assert_eq!(bytes, golden.lines().collect::<Vec<_>>());
}

#[test]
fn the_bytes_of_every_op_never_change() {
    pinned(&one_of_each(), include_str!("golden_ops.txt"));
    pinned(&one_of_each_own(), include_str!("golden_own_ops.txt"));
}
