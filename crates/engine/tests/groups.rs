//! Goal: a key whose bits lie in several groups behaves as a key in one; no step of the protocols
//! between groups loses or revives bits when it is late, repeated or left out.
//!
//! Method: random commands through the smallest router against the byte vectors of `one_group`;
//! then each protocol step by step, with the router dying or dawdling between two steps.
//!
//! Mutants killed: Drop without memory of what it dropped; Publish that does not redeem its
//! reservation; a deletion that leaves reservations; Activate that replaces a newer part; BITOP NOT
//! that fills segments of others; a transaction taken back without its expiries.

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
    Expiry, ExpiryCondition, FollowUp, Op, Outcome, PartQuery, ReadCommand, ReadOp, Reply,
    StageFrom, WriteCommand, WriteOp,
};
use bitroster_types::{GroupId, Key, UnixMillis, Version, limits::RESERVED_KEPT_MS};
use bytes::Bytes;
use common::{START, cluster::Cluster, commands::scripts, key, twin::Twin};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn keys_over_several_groups_behave_as_byte_vectors(
        groups in 2..=4u16,
        script in scripts(1 << 19, 30),
    ) {
        let mut cluster = Cluster::new(groups);
        let mut twin = Twin { now: START.0, ..Twin::default() };
        for (wait, op) in &script {
            cluster.now.0 += wait;
            twin.now += wait;
            let (mine, wanted) = (cluster.run(op), twin.run(op));
            prop_assert_eq!(mine, wanted, "{:?}", op);
        }
        for (name, (bytes, _)) in twin.values.clone() {
            let key = Key::new(&name).unwrap();
            let value = cluster.value(&key).map(|(value, _)| value.read_bytes(0..u64::MAX));
            prop_assert_eq!(value, Some(bytes));
        }
    }
}

/// A key and a bit of it that lies away from home, with that bit's group.
fn away(cluster: &Cluster) -> (Key, u64, GroupId) {
    let key = key("k");
    let home = cluster.map.home(&key);
    let found = (1..100u64).map(|n| n << 16).find_map(|bit| {
        let group = cluster.map.group_of_bit(&key, bit);
        (group != home).then_some((bit, group))
    });
    let (bit, group) = found.unwrap();
    (key, bit, group)
}

fn set(key: &Key, offset: u64) -> WriteCommand {
    WriteCommand::SetBit { key: key.clone(), offset, value: true }
}

fn get(key: &Key, offset: u64) -> Op {
    ReadCommand::GetBit { key: key.clone(), offset }.into()
}

#[test]
fn the_first_touch_of_a_segment_enlists_its_group() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let home = cluster.map.home(&key);
    let write = WriteOp::Command(set(&key, bit));
    assert_eq!(cluster.write(home, write.clone()), Outcome::NotOwner);
    assert_eq!(cluster.write(group, write.clone()), Outcome::Enlist);
    let grant = cluster.enlist(&key, group);
    assert_eq!(cluster.enlist(&key, group), grant, "enlisting twice is enlisting once");
    let granted = WriteOp::Granted { grant, command: set(&key, bit) };
    assert_eq!(cluster.write(group, granted), Reply::Integer(0).into());
    assert_eq!(cluster.write(group, write), Reply::Integer(1).into(), "one hop from now on");
    let header = cluster.header(&key).unwrap();
    assert_eq!((header.version, header.spread), (Some(grant.version), vec![group]));
    assert_eq!(cluster.engines[&group].stats().parts, 1);
    assert_eq!(cluster.engines[&home].stats().keys, 1);
}

#[test]
fn leave_given_before_a_delete_creates_nothing_after_it() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let grant = cluster.enlist(&key, group);
    let delete = WriteCommand::Delete { keys: vec![key.clone()] };
    assert_eq!(cluster.run(&delete.into()), Reply::Integer(1));
    let granted = WriteOp::Granted { grant, command: set(&key, bit) };
    assert_eq!(cluster.write(group, granted), Outcome::Enlist);
    assert_eq!(cluster.run(&set(&key, bit).into()), Reply::Integer(0));
    assert_eq!(cluster.run(&get(&key, bit)), Reply::Integer(1));
    assert!(cluster.enlist(&key, group).version > grant.version);
}

#[test]
fn a_part_left_over_from_a_deleted_key_counts_as_absent_and_is_cleaned_up() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let home = cluster.map.home(&key);
    cluster.run(&set(&key, bit).into());
    // The router dies after home's answer.
    let delete = WriteCommand::Delete { keys: vec![key.clone()] };
    let outcome = cluster.write(home, WriteOp::Command(delete));
    let Outcome::Follow { reply: Reply::Integer(1), follow } = outcome else {
        panic!("deleting answered {outcome:?}")
    };
    assert_eq!(cluster.engines[&home].pending_retired(), follow);
    cluster.run(&set(&key, 5).into());
    assert_eq!(cluster.value(&key).unwrap().0, Bitmap::from_bytes(&[4]));
    cluster.follow(follow);
    assert_eq!(cluster.engines[&home].pending_retired(), vec![]);
    assert_eq!(cluster.engines[&group].stats().parts, 0);
    assert_eq!(cluster.run(&get(&key, bit)), Reply::Integer(0));
}

/// Stages one far bit and publishes it, without telling the group.
fn publish_only(cluster: &mut Cluster, key: &Key, bit: u64, group: GroupId) -> Version {
    let home = cluster.map.home(key);
    let version = cluster.reserve(key);
    let mut value = Bitmap::new();
    value.set(bit, true);
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    let from = StageFrom::Value(bytes.into());
    cluster.stage(group, key, version, from);
    let (key, spread) = (key.clone(), vec![group]);
    let publish =
        WriteOp::Publish { key, version, spread, len_bytes: value.len_bytes(), expiry: None };
    let outcome = cluster.write(home, publish);
    assert!(matches!(outcome, Outcome::Reply(Reply::Ok) | Outcome::Follow { .. }));
    version
}

#[test]
fn a_published_value_is_read_whole_before_its_parts_are_activated() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    cluster.run(&set(&key, bit + 1).into());
    let version = cluster.reserve(&key);
    assert_eq!(cluster.value(&key).unwrap().0.cardinality(), 1, "reserving shows nothing");
    assert!(publish_only(&mut cluster, &key, bit, group) > version);
    let value = cluster.value(&key).unwrap().0;
    assert!(value.get(bit) && !value.get(bit + 1), "the new value, the whole, nothing else");
}

#[test]
fn of_two_publications_the_older_is_refused_once_the_newer_is_out() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let home = cluster.map.home(&key);
    let older = cluster.reserve(&key);
    let newer = publish_only(&mut cluster, &key, bit, group);
    let publish = |version| WriteOp::Publish {
        key: key.clone(),
        version,
        spread: vec![group],
        len_bytes: 1,
        expiry: None,
    };
    assert_eq!(cluster.write(home, publish(older)), Outcome::Newer(newer));
    assert_eq!(cluster.write(home, publish(newer)), Reply::Ok.into(), "repeating is harmless");
    assert!(cluster.value(&key).unwrap().0.get(bit));
}

#[test]
fn a_publication_whose_parts_a_delete_may_have_dropped_is_refused() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let home = cluster.map.home(&key);
    let version = cluster.reserve(&key);
    let from = StageFrom::Value({
        let mut bytes = Vec::new();
        Bitmap::from_bytes(b"x").encode(&mut bytes);
        bytes.into()
    });
    cluster.stage(group, &key, version, from);
    cluster.run(&set(&key, bit).into());
    cluster.run(&WriteCommand::Delete { keys: vec![key.clone()] }.into());
    let publish =
        WriteOp::Publish { key, version, spread: vec![group], len_bytes: 1, expiry: None };
    assert!(matches!(cluster.write(home, publish), Outcome::Newer(_)));
    assert_eq!(cluster.engines[&group].stats().staged, 0);
}

#[test]
fn stages_at_one_version_add_up_and_repeated_steps_change_nothing() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let version = cluster.reserve(&key);
    let encoded = |offset| {
        let mut value = Bitmap::new();
        value.set(offset, true);
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        StageFrom::Value(bytes.into())
    };
    for offset in [bit, bit + 7, bit] {
        let from = encoded(offset);
        cluster.stage(group, &key, version, from);
    }
    cluster.finish(&key, version, vec![group], bit / 8 + 1, None);
    let activate = WriteOp::Activate { key: key.clone(), version };
    assert_eq!(cluster.write(group, activate), Reply::Ok.into());
    let from = encoded(bit + 2);
    cluster.stage(group, &key, version, from);
    let value = cluster.value(&key).unwrap().0;
    assert_eq!(value.iter_set(0..u64::MAX).collect::<Vec<_>>(), [bit, bit + 7]);
    assert_eq!(cluster.engines[&group].stats().staged, 0);
}

#[test]
fn a_newer_part_makes_a_reader_start_again() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let home = cluster.map.home(&key);
    cluster.run(&set(&key, bit).into());
    let old = cluster.header(&key).unwrap().version;
    cluster.run(&WriteCommand::Delete { keys: vec![key.clone()] }.into());
    let part = |version| ReadOp::Part { key: key.clone(), version, query: PartQuery::Len };
    assert!(matches!(cluster.read(home, &part(old)), Outcome::Newer(_)), "home knows it is gone");
    cluster.run(&set(&key, bit).into());
    let new = cluster.header(&key).unwrap().version;
    assert_eq!(cluster.read(group, &part(old)), Outcome::Newer(new.unwrap()));
    let len = Reply::Integer((bit / 8 + 1).cast_signed());
    assert_eq!(cluster.read(group, &part(new)), len.into());
}

#[test]
fn an_expiry_reaches_the_parts_and_a_prolonged_part_keeps_its_bits() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    cluster.run(&set(&key, bit).into());
    let expire = |millis| WriteCommand::Expire {
        key: key.clone(),
        expiry: Expiry::In(millis),
        condition: ExpiryCondition::default(),
    };
    assert_eq!(cluster.run(&expire(1_000).into()), Reply::Integer(1));
    // Home prolongs the key in time; its word reaches the group when the old time is past there.
    let home = cluster.map.home(&key);
    cluster.now.0 += 999;
    let Outcome::Follow { follow, .. } = cluster.write(home, WriteOp::Command(expire(5_000)))
    else {
        panic!("the parts must be told")
    };
    cluster.now.0 += 100;
    cluster.write(group, WriteOp::Tick);
    assert!(cluster.value(&key).unwrap().0.get(bit), "home promises the bit");
    assert_eq!(cluster.write(group, WriteOp::Command(set(&key, bit + 1))), Outcome::Enlist);
    cluster.follow(follow);
    assert_eq!(cluster.run(&get(&key, bit)), Reply::Integer(1));
    // And in the end all of it goes.
    cluster.now.0 += 60_000;
    assert_eq!(cluster.run(&get(&key, bit)), Reply::Integer(0));
    assert_eq!(cluster.header(&key), None);
    cluster.write(home, WriteOp::Tick);
    let pending = cluster.engines[&home].pending_retired();
    assert!(matches!(&pending[..], [FollowUp::Drop { groups, .. }] if groups == &[group]));
    cluster.follow(pending);
    assert_eq!(cluster.engines[&group].stats().parts, 0);
}

#[test]
fn a_value_that_would_reach_into_other_groups_is_refused_with_its_header() {
    let mut cluster = Cluster::new(3);
    let (key, bit, _) = away(&cluster);
    let home = cluster.map.home(&key);
    let value = Bytes::from(vec![0xFF; (bit / 8 + 1) as usize]);
    let pairs = vec![(key.clone(), value.clone())];
    let write = WriteCommand::MSet { pairs, only_if_none: false };
    let Outcome::Spread(header) = cluster.write(home, WriteOp::Command(write)) else {
        panic!("home cannot hold it")
    };
    assert_eq!((header.version, header.len_bytes), (None, 0));
    assert_eq!(cluster.header(&key), None);
    // A zero costs nothing and lies nowhere.
    let zeros = Bytes::from(vec![0; value.len()]);
    let write = WriteCommand::MSet { pairs: vec![(key, zeros)], only_if_none: false };
    assert_eq!(cluster.write(home, WriteOp::Command(write)), Reply::Ok.into());
}

#[test]
fn a_transaction_that_meets_a_spread_key_does_nothing_at_all() {
    let mut cluster = Cluster::new(3);
    let (key, bit, _) = away(&cluster);
    let home = cluster.map.home(&key);
    let other = common::key("{k}2");
    cluster.run(&set(&key, bit).into());
    cluster.run(&set(&other, 1).into());
    let before = cluster.engines[&home].stats();
    for last in [
        Op::from(WriteCommand::Delete { keys: vec![key.clone()] }),
        Op::from(ReadCommand::Get { key: key.clone() }),
        Op::from(WriteCommand::Append { key: key.clone(), value: Bytes::from_static(b"x") }),
    ] {
        let ops = [
            WriteCommand::Flush.into(),
            set(&other, 7).into(),
            WriteCommand::GetEx { key: other.clone(), expiry: Expiry::In(50) }.into(),
            set(&key, 3).into(),
            last,
        ];
        // Flushed, the key is not spread any more; so the same without FLUSH must be refused.
        let exec = WriteOp::Transaction { watches: vec![], ops: ops[1..].to_vec() };
        let outcome = cluster.write(home, exec);
        let Outcome::Spread(header) = outcome else { panic!("{outcome:?}") };
        assert_eq!(header.spread.len(), 1);
        assert_eq!(cluster.engines[&home].next_expiry(), None);
        let ops = vec![ops[0].clone(), ops[1].clone(), set(&key, bit).into()];
        let exec = WriteOp::Transaction { watches: vec![], ops };
        assert_eq!(cluster.write(home, exec), Outcome::NotOwner);
    }
    assert_eq!(cluster.engines[&home].stats(), before);
    assert_eq!(cluster.run(&get(&other, 7)), Reply::Integer(0));
    assert_eq!(cluster.run(&get(&key, bit)), Reply::Integer(1));
}

#[test]
fn a_drop_leaves_newer_parts_alone() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    cluster.run(&set(&key, bit).into());
    let old = cluster.header(&key).unwrap().version.unwrap();
    let mut value = Bitmap::new();
    value.set(bit + 1, true);
    cluster.publish(&key, &value, Some(UnixMillis(START.0 + 10_000)));
    cluster.write(group, WriteOp::Drop { key: key.clone(), version: old });
    assert_eq!(cluster.value(&key).unwrap().0, value);
    assert_eq!(cluster.run(&get(&key, bit + 1)), Reply::Integer(1));
    cluster.now.0 += 10_000;
    assert_eq!(cluster.run(&get(&key, bit + 1)), Reply::Integer(0), "parts have the expiry too");
}

#[test]
fn a_publication_past_its_expiry_leaves_nothing_behind() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let home = cluster.map.home(&key);
    cluster.run(&set(&key, 1).into());
    let mut value = Bitmap::new();
    value.set(bit, true);
    cluster.publish(&key, &value, Some(START));
    assert_eq!(cluster.header(&key), None);
    assert_eq!(cluster.engines[&group].stats().parts, 0);
    assert_eq!(cluster.engines[&home].pending_retired(), vec![]);
}

#[test]
fn a_value_staged_at_home_goes_with_the_leave_to_publish_it_and_parts_stay() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let home = cluster.map.home(&key);
    let version = cluster.reserve(&key);
    let mut value = Bitmap::new();
    value.set(bit, true);
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    for group in [home, group] {
        cluster.stage(group, &key, version, StageFrom::Value(bytes.clone().into()));
    }
    let mut staged = |wait: u64| {
        cluster.now.0 += wait;
        [home, group].map(|group| {
            cluster.write(group, WriteOp::Tick);
            cluster.engines[&group].stats().staged
        })
    };
    assert_eq!(staged(RESERVED_KEPT_MS / 2), [1, 1], "it may yet be published");
    assert_eq!(staged(RESERVED_KEPT_MS), [0, 1]);
    cluster.write(group, WriteOp::Activate { key: key.clone(), version });
    assert_eq!(cluster.engines[&group].stats().parts, 1);
}

#[test]
fn activating_an_older_value_leaves_a_newer_part_alone() {
    let mut cluster = Cluster::new(3);
    let (key, bit, group) = away(&cluster);
    let version = cluster.reserve(&key);
    let mut bytes = Vec::new();
    Bitmap::from_bytes(b"old").encode(&mut bytes);
    cluster.stage(group, &key, version, StageFrom::Value(bytes.into()));
    cluster.run(&set(&key, bit).into());
    cluster.write(group, WriteOp::Activate { key: key.clone(), version });
    assert_eq!(cluster.run(&get(&key, bit)), Reply::Integer(1));
}
