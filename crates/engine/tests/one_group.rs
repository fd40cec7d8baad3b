//! Goal: in a group that owns everything, every command means what it means in Redis, whatever was
//! done before and however the values are kept.
//!
//! Method: random commands on a few keys, with the clock moving, against byte vectors and the
//! manual; then the named cases that trip re-implementers.
//!
//! Mutants killed: no clamping of a range's end; BITPOS of 0 that forgets whether an end was given;
//! a read that ignores the reader's clock.

#![allow(
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "whatever is not as it should be fails the test"
)]

mod common;

use bitroster_command::{
    CommandError, Existence, Expiry, ExpiryCondition, IndexRange, IndexUnit, Op, Outcome,
    ReadCommand, ReadOp, Reply, SetReply, TimeForm, WriteCommand, WriteOp,
};
use bitroster_types::{LogIndex, UnixMillis};
use bytes::Bytes;
use common::{Lone, START, commands::scripts, key, twin::Twin};
use proptest::prelude::*;

fn play(script: &[(u64, Op)]) -> Result<(), TestCaseError> {
    let mut lone = Lone::new();
    let mut twin = Twin { now: START.0, ..Twin::default() };
    for (wait, op) in script {
        lone.now.0 += wait;
        twin.now += wait;
        let (mine, wanted) = (lone.run(op), twin.run(op));
        prop_assert_eq!(mine, wanted, "{:?}", op);
    }
    let get = |key: &[u8]| {
        let key = bitroster_types::Key::new(key).unwrap();
        Op::from(ReadCommand::Get { key })
    };
    for (key, (bytes, _)) in twin.values.clone() {
        prop_assert_eq!(lone.run(&get(&key)), Reply::bulk(bytes));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn small_values_behave_as_byte_vectors(script in scripts(900, 60)) {
        play(&script)?;
    }

    #[test]
    fn large_values_behave_as_byte_vectors(script in scripts(1 << 18, 25)) {
        play(&script)?;
    }
}

fn set(lone: &mut Lone, name: &str, value: &str) {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let pairs = vec![(key(name), value)];
    assert_eq!(lone.write(&WriteCommand::MSet { pairs, only_if_none: false }), Reply::Ok.into());
}

fn get(lone: &mut Lone, name: &str) -> Reply {
    lone.run(&ReadCommand::Get { key: key(name) }.into())
}

#[test]
fn ranges_of_bitcount_follow_redis_to_the_letter() {
    let mut lone = Lone::new();
    set(&mut lone, "k", "\u{7f}ab");
    let mut count = |start, end, unit| {
        let range = Some(IndexRange { start, end, unit });
        lone.run(&ReadCommand::BitCount { key: key("k"), range }.into())
    };
    assert_eq!(count(-90, -100, IndexUnit::Byte), Reply::Integer(0));
    assert_eq!(count(-100, -90, IndexUnit::Byte), Reply::Integer(7));
    assert_eq!(count(1, 100, IndexUnit::Byte), Reply::Integer(6));
    assert_eq!(count(3, 100, IndexUnit::Byte), Reply::Integer(0));
    assert_eq!(count(1, 7, IndexUnit::Bit), Reply::Integer(7));
}

#[test]
fn a_search_for_zero_ends_where_redis_says() {
    let mut lone = Lone::new();
    lone.write(&WriteCommand::SetRange {
        key: key("ones"),
        offset: 0,
        value: Bytes::from_static(b"\xff\xff\xff"),
    });
    lone.write(&WriteCommand::Append { key: key("empty"), value: Bytes::new() });
    let mut pos = |name: &str, bit, start, end| {
        let unit = IndexUnit::Byte;
        lone.run(&ReadCommand::BitPos { key: key(name), bit, start, end, unit }.into())
    };
    assert_eq!(pos("none", false, Some(5), Some(9)), Reply::Integer(0));
    assert_eq!(pos("none", true, None, None), Reply::Integer(-1));
    assert_eq!(pos("empty", false, None, None), Reply::Integer(-1));
    assert_eq!(pos("ones", false, None, None), Reply::Integer(24));
    assert_eq!(pos("ones", false, Some(1), None), Reply::Integer(24));
    assert_eq!(pos("ones", false, Some(3), None), Reply::Integer(-1));
    assert_eq!(pos("ones", false, Some(0), Some(-1)), Reply::Integer(-1));
    assert_eq!(pos("ones", false, Some(0), Some(100)), Reply::Integer(-1));
}

#[test]
fn values_past_the_longest_string_are_refused() {
    let mut lone = Lone::new();
    let value = Bytes::from_static(b"x");
    let refused: Outcome =
        CommandError::Text("ERR string exceeds maximum allowed size (proto-max-bulk-len)").into();
    let write = WriteCommand::SetRange { key: key("k"), offset: 512 << 20, value: value.clone() };
    assert_eq!(lone.write(&write), refused);
    assert_eq!(get(&mut lone, "k"), Reply::Nil);
    lone.write(&WriteCommand::SetBit { key: key("k"), offset: (1 << 32) - 1, value: false });
    assert_eq!(lone.write(&WriteCommand::Append { key: key("k"), value }), refused);
}

#[test]
fn an_integer_must_be_written_as_redis_writes_it() {
    for bad in ["", " 1", "+1", "01", "-0", "1x", "9223372036854775808"] {
        let mut lone = Lone::new();
        set(&mut lone, "n", bad);
        let outcome = lone.write(&WriteCommand::IncrBy { key: key("n"), by: 1 });
        assert_eq!(outcome, CommandError::NotAnInteger.into(), "{bad:?}");
    }
    let mut lone = Lone::new();
    set(&mut lone, "n", "9223372036854775807");
    let outcome = lone.write(&WriteCommand::IncrBy { key: key("n"), by: 1 });
    let text = "ERR increment or decrement would overflow";
    assert_eq!(outcome, CommandError::Text(text).into());
}

#[test]
fn set_with_get_answers_the_old_value_even_when_it_does_nothing() {
    let mut lone = Lone::new();
    set(&mut lone, "k", "old");
    let write = WriteCommand::Set {
        key: key("k"),
        value: Bytes::from_static(b"new"),
        existence: Some(Existence::IfAbsent),
        expiry: Expiry::Clear,
        reply: SetReply::Old,
    };
    assert_eq!(lone.write(&write), Reply::bulk("old").into());
    assert_eq!(get(&mut lone, "k"), Reply::bulk("old"));
}

#[test]
fn an_expiry_past_sixty_three_bits_is_refused() {
    let mut lone = Lone::new();
    set(&mut lone, "k", "v");
    let expire = WriteCommand::Expire {
        key: key("k"),
        expiry: Expiry::In(i64::MAX),
        condition: ExpiryCondition::default(),
    };
    let text = "ERR invalid expire time in 'expire' command".to_owned();
    assert_eq!(lone.write(&expire), CommandError::Message(text).into());
}

#[test]
fn expiring_in_the_past_deletes_and_answers_one() {
    let mut lone = Lone::new();
    set(&mut lone, "k", "v");
    let expire = WriteCommand::Expire {
        key: key("k"),
        expiry: Expiry::At(UnixMillis(0)),
        condition: ExpiryCondition::default(),
    };
    assert_eq!(lone.write(&expire), Reply::Integer(1).into());
    assert_eq!(get(&mut lone, "k"), Reply::Nil);
}

#[test]
fn the_time_left_is_rounded_to_the_nearest_second() {
    let mut lone = Lone::new();
    set(&mut lone, "k", "v");
    let expiry = Expiry::In(1_499);
    lone.write(&WriteCommand::GetEx { key: key("k"), expiry });
    let form = TimeForm { millis: false, absolute: false };
    let ttl = Op::from(ReadCommand::Ttl { key: key("k"), form });
    assert_eq!(lone.run(&ttl), Reply::Integer(1));
    lone.write(&WriteCommand::GetEx { key: key("k"), expiry: Expiry::In(1_500) });
    assert_eq!(lone.run(&ttl), Reply::Integer(2));
}

#[test]
fn a_key_that_only_the_reader_sees_expired_asks_for_a_tick_and_never_comes_back() {
    let mut lone = Lone::new();
    set(&mut lone, "k", "v");
    lone.write(&WriteCommand::GetEx { key: key("k"), expiry: Expiry::In(1_000) });
    let read = ReadOp::Command(ReadCommand::Get { key: key("k") });
    let expiry = UnixMillis(START.0 + 1_000);
    assert_eq!(lone.engine.next_expiry(), Some(expiry));
    assert_eq!(lone.engine.read(&read, START), Reply::bulk("v").into());
    assert_eq!(lone.engine.read(&read, expiry), Outcome::Tick);
    lone.now = expiry;
    assert_eq!(lone.op(&WriteOp::Tick), Reply::Ok.into());
    assert_eq!(lone.engine.next_expiry(), None);
    // A leader with a slower clock follows.
    lone.now = START;
    assert_eq!(lone.engine.read(&read, START), Reply::Nil.into());
    let append = WriteCommand::Append { key: key("k"), value: Bytes::from_static(b"w") };
    assert_eq!(lone.write(&append), Reply::Integer(1).into());
    assert_eq!(lone.engine.time(), expiry, "log time never goes back");
}

#[test]
fn many_keys_that_expire_at_once_are_gone_at_once_and_dropped_little_by_little() {
    let mut lone = Lone::new();
    for n in 0..1_000 {
        let write = WriteCommand::Set {
            key: key(&format!("k{n}")),
            value: Bytes::from_static(b"v"),
            existence: None,
            expiry: Expiry::In(100),
            reply: SetReply::Status,
        };
        assert_eq!(lone.write(&write), Reply::Ok.into());
    }
    assert_eq!(lone.engine.stats().keys, 1_000);
    lone.now.0 += 100;
    lone.op(&WriteOp::Tick);
    assert_eq!(lone.run(&ReadCommand::DbSize.into()), Reply::Integer(0));
    assert_eq!(get(&mut lone, "k999"), Reply::Nil);
    let left = lone.engine.stats().keys;
    assert!((900..1_000).contains(&left), "{left} left after one entry");
    while lone.engine.next_expiry().is_some() {
        lone.op(&WriteOp::Tick);
    }
    assert_eq!(lone.engine.stats().keys, 0);
}

#[test]
fn a_fingerprint_changes_with_the_key_and_is_zero_without_it() {
    let mut lone = Lone::new();
    let ask = ReadOp::Fingerprint { key: key("k") };
    assert_eq!(lone.read(&ask), Reply::Integer(0).into());
    set(&mut lone, "k", "v");
    let first = lone.read(&ask);
    lone.write(&WriteCommand::SetBit { key: key("k"), offset: 1, value: true });
    assert_eq!(lone.read(&ask), first, "the bit was set before");
    lone.write(&WriteCommand::SetBit { key: key("k"), offset: 0, value: true });
    let second = lone.read(&ask);
    assert_ne!(second, first);
    lone.write(&WriteCommand::Delete { keys: vec![key("k")] });
    assert_eq!(lone.read(&ask), Reply::Integer(0).into());
    set(&mut lone, "k", "v");
    assert_ne!(lone.read(&ask), first);
    assert_ne!(lone.read(&ask), second);
}

#[test]
fn a_key_that_an_entry_under_way_has_changed_has_no_fingerprint_until_the_entry_ends() {
    let mut lone = Lone::new();
    set(&mut lone, "other", "v");
    let ask = |name| ReadOp::Fingerprint { key: key(name) };
    let other = lone.read(&ask("other"));
    let append = WriteCommand::Append { key: key("k"), value: Bytes::from_static(b"w") };
    let append = WriteOp::Command(append);
    let next = |lone: &Lone| LogIndex(lone.engine.applied().0 + 1);
    let first = next(&lone);
    lone.engine.begin(first, START);
    assert_eq!(lone.engine.read(&ask("k"), START), Reply::Integer(0).into());
    lone.engine.apply(&append);
    assert_eq!(lone.engine.read(&ask("k"), START), Outcome::Tick, "it may change once more");
    assert_eq!(lone.engine.read(&ask("other"), START), other);
    lone.engine.apply(&append);
    lone.engine.end();
    let mark = Reply::Integer(first.0.cast_signed());
    assert_eq!(lone.engine.read(&ask("k"), START), mark.clone().into());
    // The next entry begins, and another one although that one never ended.
    for _ in 0..2 {
        let index = next(&lone);
        lone.engine.begin(index, START);
        assert_eq!(lone.engine.read(&ask("k"), START), mark.clone().into());
    }
    let watches = vec![(key("k"), first)];
    lone.engine.apply(&append);
    let exec = WriteOp::Transaction { watches, ops: vec![] };
    assert_eq!(lone.engine.apply(&exec), Reply::NilArray.into(), "watches look inside an entry");
}

#[test]
fn a_transaction_is_applied_as_one_and_watches_its_keys() {
    let mut lone = Lone::new();
    set(&mut lone, "n", "5");
    let Outcome::Reply(Reply::Integer(seen)) = lone.read(&ReadOp::Fingerprint { key: key("n") })
    else {
        panic!("a fingerprint is an integer")
    };
    let exec = WriteOp::Transaction {
        watches: vec![(key("n"), LogIndex(seen.cast_unsigned()))],
        ops: vec![
            WriteCommand::IncrBy { key: key("n"), by: 1 }.into(),
            WriteCommand::IncrBy { key: key("n"), by: i64::MAX }.into(),
            ReadCommand::Get { key: key("n") }.into(),
        ],
    };
    let overflow = CommandError::Text("ERR increment or decrement would overflow").into();
    let replies = vec![Reply::Integer(6), overflow, Reply::bulk("6")];
    assert_eq!(lone.op(&exec), Outcome::Replies(replies));
    assert_eq!(lone.op(&exec), Reply::NilArray.into(), "the key has changed since");
    assert_eq!(get(&mut lone, "n"), Reply::bulk("6"));
}
