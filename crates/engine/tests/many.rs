//! Goal: a group merges a set, restores a value and notes a presence where all of it is its to do,
//! says who must be asked where it is not, and leaves nothing behind where nothing was to be done.
//!
//! Method: `one_group` and `groups` compare with byte vectors; here each rule by a test, one op at
//! a time. What a group in doubt does is in `part`.
//!
//! Mutants killed: a clearing that makes a part, or a key; a clearing that asks home without need;
//! a merge that leaves bits in a group which does not own them; a change without a mark, and a mark
//! without a change; an end of a presence that is rounded down.

#![allow(
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "whatever is not as it should be fails the test"
)]

mod common;

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    CommandError, Expiry, Grant, MergeMode, Op, Outcome, ReadCommand, ReadOp, Reply, TimeForm,
    WriteCommand, WriteOp,
};
use bitroster_types::{GroupId, Key, UnixMillis, limits::PRESENCE_ID_MAX};
use bytes::Bytes;
use common::{
    Lone, START,
    cluster::codec,
    key,
    scene::{Scene, get},
};

const MODES: [MergeMode; 3] = [MergeMode::Or, MergeMode::AndNot, MergeMode::Xor];

fn merge(key: &Key, mode: MergeMode, offsets: &[u64]) -> WriteCommand {
    WriteCommand::Merge { key: key.clone(), mode, bits: codec(&Bitmap::from_offsets(offsets)) }
}

fn int(number: i64) -> Outcome {
    Reply::Integer(number).into()
}

/// Three bits in different segments that a group owns.
fn bits_of(scene: &Scene, group: GroupId) -> Vec<u64> {
    let bits = (1..10_000u64).map(|n| n << 16);
    bits.filter(|bit| scene.cluster.map.group_of_bit(&scene.key, *bit) == group).take(3).collect()
}

fn fingerprint(lone: &mut Lone, name: &str) -> i64 {
    match lone.read(&ReadOp::Fingerprint { key: key(name) }) {
        Outcome::Reply(Reply::Integer(index)) => index,
        other => panic!("{other:?}"),
    }
}

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Reply(Reply::Error(_)))
}

#[test]
fn a_merge_goes_to_the_group_that_owns_all_its_segments() {
    let mut scene = Scene::new();
    let (k, group) = (scene.key.clone(), scene.group);
    let bits = bits_of(&scene, group);
    let (third, foreign) = scene.third();
    for mode in [MergeMode::Or, MergeMode::Xor] {
        let write = |offsets: &[u64]| WriteOp::Command(merge(&k, mode, offsets));
        assert_eq!(scene.at_group(write(&bits)), Outcome::AskHome);
        assert_eq!(scene.at_home(write(&bits[..1])), Outcome::NotOwner, "one segment is no spread");
        assert!(matches!(scene.at_home(write(&bits)), Outcome::Spread(_)));
        assert_eq!(scene.cluster.write(third, write(&bits)), Outcome::NotOwner);
        assert_eq!(scene.at_group(write(&[bits[0], foreign])), Outcome::NotOwner);
    }
    assert_eq!(scene.cluster.header(&k), None);
    let grant = scene.enlist();
    let command = merge(&k, MergeMode::Or, &bits[..2]);
    assert_eq!(scene.at_group(WriteOp::Granted { grant, command }), int(2));
    assert_eq!(scene.bits(), bits[..2]);
    let write = |mode| WriteOp::Command(merge(&k, mode, &bits));
    assert_eq!(scene.at_group(write(MergeMode::Or)), int(1), "one hop from now on");
    assert_eq!(scene.at_group(write(MergeMode::AndNot)), int(3));
    assert_eq!(scene.at_group(write(MergeMode::Xor)), int(3));
    assert_eq!(scene.bits(), bits);
    let header = scene.cluster.header(&k).unwrap();
    assert_eq!(header.spread, vec![group]);
}

#[test]
fn clearing_where_there_is_nothing_asks_nobody_and_leaves_nothing() {
    let mut scene = Scene::new();
    let k = scene.key.clone();
    let bits = bits_of(&scene, scene.group);
    let clear = || WriteOp::Command(merge(&k, MergeMode::AndNot, &bits));
    let (home, group) = (scene.home_state(), scene.group_state());
    assert_eq!(scene.at_group(clear()), int(0));
    assert_eq!(scene.at_home(clear()), int(0), "a record without a spread is the whole key");
    assert_eq!((scene.home_state(), scene.group_state()), (home, group));
    let grant = scene.enlist();
    let group = scene.group_state();
    let command = merge(&k, MergeMode::AndNot, &bits);
    assert_eq!(scene.at_group(WriteOp::Granted { grant, command }), int(0));
    assert_eq!(scene.group_state(), group, "leave that is not needed makes no part");
    assert!(matches!(scene.at_home(clear()), Outcome::Spread(_)), "there may be a part now");
    let mut lone = Lone::new();
    assert_eq!(lone.write(&merge(&key("k"), MergeMode::AndNot, &[9])), int(0));
    assert_eq!(lone.engine.stats().keys, 0);
}

#[test]
fn a_part_past_its_expiry_is_cleared_with_leave_and_listed_for_that() {
    let mut scene = Scene::new();
    let (k, bit, grant) = (scene.key.clone(), scene.bit, scene.enlist());
    let until = |millis: u64| Grant { expiry: Some(UnixMillis(START.0 + millis)), ..grant };
    assert_eq!(scene.granted(until(100), bit), int(0));
    scene.wait(100);
    // Home has prolonged the key, or its clock is behind.
    let holding = ReadOp::Holding { pattern: Bytes::from_static(b"*"), offset: bit, limit: 9 };
    let (group, clear) = (scene.group, merge(&k, MergeMode::AndNot, &[bit]));
    let listed = Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![Reply::bulk("k")])]);
    assert_eq!(scene.cluster.read(group, &holding), listed.into());
    assert_eq!(scene.at_group(WriteOp::Command(clear.clone())), Outcome::AskHome);
    let grant = until(300);
    assert_eq!(scene.at_group(WriteOp::Granted { grant, command: clear }), int(1));
    assert_eq!(scene.part(grant.version), Ok(vec![]));
}

#[test]
fn home_clears_far_bits_of_a_key_that_is_wholly_there() {
    let mut scene = Scene::new();
    let k = scene.key.clone();
    assert_eq!(scene.at_home(WriteOp::Command(merge(&k, MergeMode::Or, &[3, 9]))), int(2));
    let far = bits_of(&scene, scene.group);
    let clear = merge(&k, MergeMode::AndNot, &[&[3, 4], &far[..]].concat());
    assert_eq!(scene.at_home(WriteOp::Command(clear)), int(1));
    assert_eq!(scene.bits(), [9]);
    assert_eq!(scene.cluster.len(&k), 2, "clearing never lengthens");
}

#[test]
fn a_merge_of_no_bits_changes_nothing() {
    let mut lone = Lone::new();
    for mode in MODES {
        let bits = codec(&Bitmap::zeros(1_000));
        assert_eq!(lone.write(&WriteCommand::Merge { key: key("k"), mode, bits }), int(0));
        let bits = codec(&Bitmap::new());
        assert_eq!(lone.write(&WriteCommand::Merge { key: key("k"), mode, bits }), int(0));
    }
    assert_eq!(lone.engine.stats().keys, 0);
}

#[test]
fn a_value_is_marked_as_changed_when_it_is() {
    let mut lone = Lone::new();
    let k = key("k");
    lone.write(&merge(&k, MergeMode::Or, &[3, 70_000]));
    let mark = fingerprint(&mut lone, "k");
    lone.write(&merge(&k, MergeMode::Or, &[3]));
    lone.write(&merge(&k, MergeMode::AndNot, &[4, 80_000]));
    assert_eq!(fingerprint(&mut lone, "k"), mark, "nothing has changed");
    let mut longer = Bitmap::from_offsets(&[3]);
    longer.extend_len(10_000);
    let bits = codec(&longer);
    assert_eq!(lone.write(&WriteCommand::Merge { key: k, mode: MergeMode::Or, bits }), int(0));
    assert!(fingerprint(&mut lone, "k") > mark, "the length has");
    let len = ReadCommand::StrLen { key: key("k") };
    assert_eq!(lone.run(&len.into()), Reply::Integer(10_000));
}

#[test]
fn bytes_that_are_no_bitmap_are_refused() {
    let mut lone = Lone::new();
    let whole = codec(&Bitmap::from_offsets(&[1, 2, 90_000]));
    for len in 0..whole.len() {
        let bits = whole.slice(..len);
        let merge = WriteCommand::Merge { key: key("k"), mode: MergeMode::Or, bits: bits.clone() };
        assert!(is_refused(&lone.write(&merge)), "{len} bytes");
        let (key, expiry) = (key("k"), Expiry::Clear);
        let restore = WriteCommand::Restore { key, value: bits, expiry, replace: true };
        assert!(is_refused(&lone.write(&restore)), "{len} bytes");
    }
    assert_eq!(lone.engine.stats().keys, 0);
}

fn restore(name: &str, bytes: &[u8], expiry: Expiry, replace: bool) -> WriteCommand {
    let value = codec(&Bitmap::from_bytes(bytes));
    WriteCommand::Restore { key: key(name), value, expiry, replace }
}

#[test]
fn a_value_is_restored_with_its_expiry_unless_there_is_one() {
    let mut lone = Lone::new();
    let get = |lone: &mut Lone| lone.run(&ReadCommand::Get { key: key("k") }.into());
    let ttl = |lone: &mut Lone| {
        let form = TimeForm { millis: true, absolute: false };
        lone.run(&ReadCommand::Ttl { key: key("k"), form }.into())
    };
    let ok: Outcome = Reply::Ok.into();
    assert_eq!(lone.write(&restore("k", b"one", Expiry::In(700), false)), ok);
    assert_eq!((get(&mut lone), ttl(&mut lone)), (Reply::bulk("one"), Reply::Integer(700)));
    let busy: Outcome = CommandError::Text("BUSYKEY Target key name already exists.").into();
    assert_eq!(lone.write(&restore("k", b"two", Expiry::Clear, false)), busy);
    assert_eq!(lone.write(&restore("k", b"two", Expiry::Clear, true)), ok);
    assert_eq!((get(&mut lone), ttl(&mut lone)), (Reply::bulk("two"), Reply::Integer(-1)));
    let at = Expiry::At(UnixMillis(START.0 + 900));
    assert_eq!(lone.write(&restore("k", &[7; 300], at, true)), ok);
    assert_eq!((get(&mut lone), ttl(&mut lone)), (Reply::bulk([7; 300]), Reply::Integer(900)));
    let past = Expiry::At(UnixMillis(START.0));
    assert_eq!(lone.write(&restore("k", b"three", past, true)), ok, "done, and over at once");
    assert_eq!((get(&mut lone), lone.engine.stats().keys), (Reply::Nil, 0));
    let text = "ERR invalid expire time in 'restore' command".to_owned();
    let refused: Outcome = CommandError::Message(text).into();
    assert_eq!(lone.write(&restore("k", b"x", Expiry::In(i64::MAX), false)), refused);
    assert_eq!(lone.write(&restore("k", b"", Expiry::Clear, false)), ok);
    assert_eq!(get(&mut lone), Reply::bulk(""));
}

#[test]
fn a_value_that_would_lie_in_several_groups_is_not_restored_by_one() {
    let mut scene = Scene::new();
    let far = codec(&Bitmap::from_offsets(&[1, scene.bit]));
    let restore = |replace| {
        let (key, value, expiry) = (scene.key.clone(), far.clone(), Expiry::Clear);
        WriteOp::Command(WriteCommand::Restore { key, value, expiry, replace })
    };
    let (kept, replacing) = (restore(false), restore(true));
    assert!(matches!(scene.at_home(kept.clone()), Outcome::Spread(_)));
    assert_eq!(scene.at_group(kept.clone()), Outcome::NotOwner);
    assert_eq!(scene.cluster.header(&scene.key), None);
    scene.enlist();
    assert!(matches!(scene.at_home(kept.clone()), Outcome::Spread(_)), "a key that may be none");
    scene.run(scene.set(7));
    let busy: Outcome = CommandError::Text("BUSYKEY Target key name already exists.").into();
    assert_eq!(scene.at_home(kept), busy);
    assert!(matches!(scene.at_home(replacing), Outcome::Spread(_)));
}

fn touch(id: u64, ttl_secs: u32) -> WriteCommand {
    WriteCommand::Touch { key: key("online"), id, ttl_secs }
}

fn end_of(lone: &mut Lone, id: u64) -> u64 {
    let (start, end) = (id.cast_signed() * 4, id.cast_signed() * 4 + 3);
    match lone.run(&ReadCommand::GetRange { key: key("online"), start, end }.into()) {
        Reply::Bulk(bytes) => u64::from(u32::from_be_bytes(bytes[..].try_into().unwrap())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_presence_ends_so_many_seconds_after_the_entry_rounded_up() {
    let mut lone = Lone::new();
    let start = START.0 / 1000;
    assert_eq!(lone.write(&touch(5, 2)), int(1));
    assert_eq!(end_of(&mut lone, 5), start + 2);
    lone.now.0 += 1;
    assert_eq!(lone.write(&touch(5, 2)), int(0), "it is present");
    assert_eq!(end_of(&mut lone, 5), start + 3);
    lone.now.0 += 2_998;
    assert_eq!(lone.write(&touch(5, 1)), int(0), "for one millisecond more");
    lone.now.0 = (start + 4) * 1000;
    assert_eq!(lone.write(&touch(5, 1)), int(1), "not any more");
    assert_eq!(lone.write(&touch(4, u32::MAX)), int(1));
    assert_eq!(end_of(&mut lone, 4), u64::from(u32::MAX), "the last second there is");
    let refused: Outcome = CommandError::BIT_OFFSET.into();
    assert_eq!(lone.write(&touch(PRESENCE_ID_MAX + 1, 1)), refused);
    assert_eq!(lone.write(&touch(PRESENCE_ID_MAX, 1)), int(1));
}

#[test]
fn a_presence_goes_to_the_group_of_its_segment() {
    let mut scene = Scene::new();
    let id = scene.bit / 32 + 1;
    let touch = || WriteCommand::Touch { key: scene.key.clone(), id, ttl_secs: 1 };
    let (first, command) = (WriteOp::Command(touch()), touch());
    assert_eq!(scene.at_home(first.clone()), Outcome::NotOwner);
    assert_eq!(scene.at_group(first.clone()), Outcome::AskHome);
    let grant = scene.enlist();
    assert_eq!(scene.at_group(WriteOp::Granted { grant, command }), int(1));
    assert_eq!(scene.at_group(first), int(0));
}

#[test]
fn merges_and_presence_ride_in_transactions() {
    let mut scene = Scene::new();
    let k = scene.key.clone();
    let exec = |ops: Vec<Op>| WriteOp::Transaction { watches: vec![], ops };
    let done = exec(vec![merge(&k, MergeMode::Or, &[1, 2]).into(), get(&k, 2)]);
    let replies = vec![Reply::Integer(2), Reply::Integer(1)];
    assert_eq!(scene.at_home(done), Outcome::Replies(replies));
    let far = merge(&k, MergeMode::Or, &bits_of(&scene, scene.group));
    let clear = merge(&k, MergeMode::AndNot, &[1]);
    let not_done = scene.at_home(exec(vec![clear.into(), far.into()]));
    assert!(matches!(not_done, Outcome::Spread(_)), "{not_done:?}");
    assert_eq!(scene.bits(), [1, 2]);
    let value = Bytes::from_static(b"?");
    let broken = WriteCommand::Merge { key: k.clone(), mode: MergeMode::Or, bits: value };
    let Outcome::Replies(replies) = scene.at_home(exec(vec![broken.into(), get(&k, 1)])) else {
        panic!("an error stops nobody")
    };
    assert!(matches!(replies[..], [Reply::Error(_), Reply::Integer(1)]));
}
