//! Goal: a key whose bits lie in several groups behaves as a key in one; no step of the protocols
//! between groups loses or revives bits when it is late, repeated or left out.
//!
//! Method: random commands through the smallest router against the byte vectors of `one_group`;
//! then whole changes, with the router dying or dawdling between two steps. The rules of each step
//! are in `home` and `part`.
//!
//! Mutants killed: BITOP NOT that fills segments of others; a transaction taken back without its
//! expiries; a combined value that is clipped by no share, also in pieces; one longer than asked.

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
    BitLogic, Change, Expiry, ExpiryCondition, Op, Outcome, PartQuery, Pending, ReadCommand,
    ReadOp, Reply, SourceRef, StageFrom, WriteCommand, WriteOp,
};
use bitroster_engine::ReadStep;
use bitroster_types::{GroupId, Key, UnixMillis};
use bytes::Bytes;
use common::{
    START,
    cluster::{Cluster, encoded},
    commands::scripts,
    scene::{OK, Scene, get, one_bit, value_to},
    twin::Twin,
};
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
        for (at, (wait, op)) in script.iter().enumerate() {
            cluster.now.0 += wait;
            twin.now += wait;
            let (mine, wanted) = (cluster.run(op), twin.run(op));
            prop_assert_eq!(mine, wanted, "{:?}", op);
            if at % 8 == 7 {
                cluster.finish_all();
            }
        }
        cluster.finish_all();
        for (name, (bytes, _)) in twin.values.clone() {
            let key = Key::new(&name).unwrap();
            let value = cluster.value(&key).map(|(value, _)| value.read_bytes(0..u64::MAX));
            prop_assert_eq!(value, Some(bytes));
        }
        for engine in cluster.engines.values() {
            let stats = engine.stats();
            prop_assert_eq!((stats.staged, stats.reserved), (0, 0));
        }
    }
}

#[test]
fn the_first_touch_of_a_segment_enlists_its_group() {
    let mut scene = Scene::new();
    let write = WriteOp::Command(scene.set(scene.bit));
    assert_eq!(scene.at_home(write.clone()), Outcome::NotOwner);
    assert_eq!(scene.at_group(write.clone()), Outcome::AskHome);
    let grant = scene.enlist();
    assert_eq!(scene.enlist(), grant, "enlisting twice is enlisting once");
    assert_eq!(scene.granted(grant, scene.bit), Reply::Integer(0).into());
    assert_eq!(scene.at_group(write), Reply::Integer(1).into(), "one hop from now on");
    let header = scene.cluster.header(&scene.key).unwrap();
    assert_eq!((header.version, header.spread), (Some(grant.version), vec![scene.group]));
    assert_eq!((scene.group_stats().parts, scene.home_stats().keys), (1, 1));
}

#[test]
fn leave_given_before_a_delete_creates_nothing_after_it() {
    let mut scene = Scene::new();
    let grant = scene.enlist();
    scene.cluster.delete(&scene.key.clone());
    assert_eq!(scene.granted(grant, scene.bit), Outcome::AskHome);
    assert_eq!(scene.run(scene.set(scene.bit)), Reply::Integer(0));
    assert_eq!(scene.cluster.run(&get(&scene.key, scene.bit)), Reply::Integer(1));
    assert!(scene.enlist().version > grant.version);
}

#[test]
fn a_deletion_whose_router_dies_is_seen_whole_and_finished_later() {
    let (mut scene, _) = Scene::spread();
    let version = scene.reserve();
    assert_eq!(scene.stage(version, StageFrom::Void), OK);
    assert_eq!(scene.bits(), [scene.bit], "nothing shows before home publishes");
    assert_eq!(scene.publish(version, Change::Nothing), OK);
    assert_eq!(scene.bits(), []);
    assert_eq!(scene.bit_at_group(scene.bit), Outcome::AskHome, "home knows that it is gone");
    let row = Pending::Published {
        key: scene.key.clone(),
        version,
        groups: vec![scene.group],
        moved: None,
    };
    assert_eq!(scene.pending(), [row]);
    // The key may come back before that.
    scene.run(scene.set(5));
    assert_eq!(scene.run(scene.set(scene.bit + 1)), Reply::Integer(0));
    assert_eq!(scene.bits(), [5, scene.bit + 1]);
    scene.cluster.finish_all();
    assert_eq!(scene.bits(), [5, scene.bit + 1]);
    assert_eq!(scene.group_stats().staged, 0);
    assert_eq!(scene.cluster.run(&get(&scene.key, scene.bit)), Reply::Integer(0));
}

#[test]
fn a_published_value_is_read_whole_before_its_parts_are_activated() {
    let (mut scene, _) = Scene::spread();
    let version = scene.reserve();
    assert_eq!(scene.stage(version, one_bit(scene.bit + 1)), OK);
    assert_eq!(scene.bits(), [scene.bit], "staging shows nothing");
    assert_eq!(scene.publish(version, value_to(scene.bit, vec![scene.group])), OK);
    assert_eq!(scene.bits(), [scene.bit + 1], "the new value, the whole, nothing else");
    scene.activate(version);
    assert_eq!(scene.bits(), [scene.bit + 1]);
    assert_eq!(scene.bit_at_group(scene.bit + 1), Reply::Integer(1).into());
}

#[test]
fn a_newer_part_makes_a_reader_start_again() {
    let (mut scene, old) = Scene::spread();
    scene.cluster.delete(&scene.key.clone());
    let key = scene.key.clone();
    let part = |version| ReadOp::Part { key: key.clone(), version, query: PartQuery::Len };
    let read = scene.cluster.read(scene.home, &part(Some(old)));
    assert!(matches!(read, Outcome::Newer(_)), "home knows it is gone");
    scene.run(scene.set(scene.bit));
    let new = scene.cluster.header(&key).unwrap().version;
    assert_eq!(scene.cluster.read(scene.group, &part(Some(old))), Outcome::Newer(new.unwrap()));
    let len = Reply::Integer((scene.bit / 8 + 1).cast_signed());
    assert_eq!(scene.cluster.read(scene.group, &part(new)), len.into());
}

#[test]
fn an_expiry_reaches_the_parts_and_a_prolonged_key_keeps_its_bits() {
    let (mut scene, of) = Scene::spread();
    let (key, bit) = (scene.key.clone(), scene.bit);
    let expire = WriteCommand::Expire {
        key: key.clone(),
        expiry: Expiry::In(1_000),
        condition: ExpiryCondition::default(),
    };
    assert_eq!(scene.run(expire), Reply::Integer(1));
    // Home prolongs the key in time; the group's clock passes the old time and its grace.
    scene.cluster.now.0 += 999;
    let (version, later) = (scene.reserve(), UnixMillis(START.0 + 60_000));
    assert_eq!(scene.stage_until(version, Some(later), StageFrom::Expiry { of }), OK);
    assert_eq!(scene.publish(version, Change::Expiry(Some(later))), OK);
    scene.wait(20_000);
    assert_eq!(scene.bits(), [bit], "home promises the bit");
    assert_eq!(scene.bit_at_group(bit), Outcome::AskHome);
    assert_eq!(scene.run(scene.set(bit + 1)), Reply::Integer(0), "leave prolongs the part");
    scene.cluster.finish_all();
    assert_eq!(scene.cluster.run(&get(&key, bit)), Reply::Integer(1));
    // And in the end all of it goes.
    scene.wait(60_000);
    assert_eq!(scene.cluster.run(&get(&key, bit)), Reply::Integer(0));
    assert_eq!(scene.cluster.header(&key), None);
    let expired = scene.pending();
    assert!(
        matches!(&expired[..], [Pending::Expired { groups, .. }] if groups == &[scene.group]),
        "{expired:?}"
    );
    scene.cluster.finish_all();
    assert_eq!(scene.group_stats().parts, 0);
}

#[test]
fn a_value_that_would_reach_into_other_groups_is_refused_with_its_header() {
    let mut scene = Scene::new();
    let value = Bytes::from(vec![0xFF; (scene.bit / 8 + 1) as usize]);
    let pairs = vec![(scene.key.clone(), value.clone())];
    let write = WriteCommand::MSet { pairs, only_if_none: false };
    let Outcome::Spread(header) = scene.at_home(WriteOp::Command(write)) else {
        panic!("home cannot hold it")
    };
    assert_eq!((header.version, header.len_bytes), (None, 0));
    assert_eq!(scene.cluster.header(&scene.key), None);
    // A zero costs nothing and lies nowhere.
    let zeros = Bytes::from(vec![0; value.len()]);
    let write = WriteCommand::MSet { pairs: vec![(scene.key.clone(), zeros)], only_if_none: false };
    assert_eq!(scene.at_home(WriteOp::Command(write)), OK);
}

#[test]
fn a_transaction_that_meets_a_spread_key_does_nothing_at_all() {
    let (mut scene, _) = Scene::spread();
    let (key, other) = (scene.key.clone(), common::key("{k}2"));
    let write = |offset| WriteCommand::SetBit { key: other.clone(), offset, value: true };
    scene.run(write(1));
    let before = scene.home_stats();
    for last in [
        Op::from(WriteCommand::Delete { keys: vec![key.clone()] }),
        Op::from(ReadCommand::Get { key: key.clone() }),
        Op::from(WriteCommand::Append { key: key.clone(), value: Bytes::from_static(b"x") }),
    ] {
        let ops = [
            WriteCommand::Flush.into(),
            write(7).into(),
            WriteCommand::GetEx { key: other.clone(), expiry: Expiry::In(50) }.into(),
            scene.set(3).into(),
            last,
        ];
        // Flushed, the key is not spread any more; so the same without FLUSH must be refused.
        let exec = WriteOp::Transaction { watches: vec![], ops: ops[1..].to_vec() };
        let outcome = scene.at_home(exec);
        let Outcome::Spread(header) = outcome else { panic!("{outcome:?}") };
        assert_eq!(header.spread, [scene.group]);
        assert_eq!(scene.cluster.engines[&scene.home].next_expiry(), None);
        let ops = vec![ops[0].clone(), ops[1].clone(), scene.set(scene.bit).into()];
        let exec = WriteOp::Transaction { watches: vec![], ops };
        assert_eq!(scene.at_home(exec), Outcome::NotOwner);
    }
    assert_eq!(scene.home_stats(), before);
    assert_eq!(scene.cluster.run(&get(&other, 7)), Reply::Integer(0));
    assert_eq!(scene.cluster.run(&get(&key, scene.bit)), Reply::Integer(1));
}

#[test]
fn a_publication_past_its_expiry_leaves_nothing_behind() {
    let mut scene = Scene::new();
    scene.run(scene.set(1));
    let mut value = Bitmap::new();
    value.set(scene.bit, true);
    scene.cluster.publish(&scene.key.clone(), &value, Some(START));
    assert_eq!(scene.cluster.header(&scene.key), None);
    scene.cluster.finish_all();
    assert_eq!((scene.group_stats().parts, scene.group_stats().staged), (0, 0));
}

#[test]
fn a_renamed_key_goes_after_its_target_has_appeared_unless_it_has_changed() {
    for is_changed in [false, true] {
        let (mut scene, _) = Scene::spread();
        let (source, target) = (scene.key.clone(), common::key("other"));
        let removal = scene.reserve_exclusively();
        assert_eq!(scene.stage(removal, StageFrom::Void), OK);
        let modified = scene.cluster.header(&source).unwrap().modified;
        let version = scene.cluster.reserve(&target);
        let home = scene.cluster.map.home(&target);
        scene.cluster.stage(home, &target, version, encoded(&Bitmap::from_bytes(b"x")));
        let staged = vec![scene.group];
        let moved = bitroster_command::Moved { key: source, version: removal, staged, modified };
        let change =
            Change::Value { spread: vec![], len_bytes: 1, expiry: None, moved: Some(moved) };
        let publish = WriteOp::Publish {
            key: target.clone(),
            version,
            staged: vec![],
            seen: bitroster_command::Seen::Any,
            change,
        };
        assert_eq!(scene.cluster.write(home, publish.clone()), OK);
        assert_eq!(scene.cluster.write(home, publish), OK, "once more");
        if is_changed {
            assert_eq!(scene.run(scene.set(scene.bit + 1)), Reply::Integer(0));
        }
        scene.cluster.finish_all();
        let left = if is_changed { vec![scene.bit, scene.bit + 1] } else { vec![] };
        assert_eq!(scene.bits(), left);
        assert_eq!(scene.group_stats().staged, 0);
        assert_eq!(scene.cluster.value(&target).unwrap().0, Bitmap::from_bytes(b"x"));
    }
}

/// The first keys of a home, each with bits of its own in segment 0 and in a later one.
fn neighbours(cluster: &mut Cluster, count: u64) -> Vec<SourceRef> {
    let keys: Vec<Key> = (0..count).map(|n| common::key(&format!("{{n}}{n}"))).collect();
    for (n, key) in (0..count).zip(&keys) {
        for offset in [n, 100, 4_000_000 + n] {
            cluster.run(&WriteCommand::SetBit { key: key.clone(), offset, value: true }.into());
        }
    }
    let version = |cluster: &mut Cluster, key: &Key| cluster.header(key).unwrap().version;
    keys.iter().map(|key| SourceRef { key: key.clone(), version: version(cluster, key) }).collect()
}

#[test]
fn a_home_combines_first_segments_and_sends_its_own_bits_alone() {
    let mut cluster = Cluster::new(3);
    let sources = neighbours(&mut cluster, 3);
    let home = cluster.map.home(&sources[0].key);
    let combined = |cluster: &mut Cluster, group: GroupId, logic, range| {
        let sources = sources[..if logic == BitLogic::Not { 1 } else { 3 }].to_vec();
        let op =
            ReadOp::CombineValue { logic, sources, range, len_bytes: 500_001, bytes_max: None };
        match cluster.read(group, &op) {
            Outcome::Reply(Reply::Bulk(bytes)) => Bitmap::decode(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let set = |value: Bitmap| value.iter_set(0..u64::MAX).collect::<Vec<_>>();
    let first = (0, 1 << 16);
    assert_eq!(set(combined(&mut cluster, home, BitLogic::Or, first)), [0, 1, 2, 100]);
    assert_eq!(set(combined(&mut cluster, home, BitLogic::And, first)), [100]);
    assert_eq!(set(combined(&mut cluster, home, BitLogic::Xor, (1, 99))), [1, 2]);
    assert_eq!(combined(&mut cluster, home, BitLogic::Not, first).cardinality(), (1 << 16) - 2);
    let mut all = Vec::new();
    for group in [1, 2, 3].map(GroupId) {
        all.extend(set(combined(&mut cluster, group, BitLogic::One, (0, u64::MAX))));
    }
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 4_000_000, 4_000_001, 4_000_002]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_short_combination_is_what_it_is_and_a_long_one_is_none(
        bits in prop::collection::vec(
            prop::collection::vec((0..48_u64, 0..64_u64, 1..300_u64), 0..6),
            2..4,
        ),
        (start, end) in (0..2_u64 << 20, (2_u64 << 20)..4 << 20),
        bytes_max in prop_oneof![0..200_u64, 200..4_000_u64, Just(u64::MAX)],
    ) {
        use BitLogic::{And, AndOr, Diff, Diff1, Not, One, Or, Xor};
        let mut cluster = Cluster::new(3);
        let mut sources = neighbours(&mut cluster, bits.len() as u64);
        for (source, runs) in sources.iter_mut().zip(&bits) {
            for (segment, first, count) in runs {
                let bytes = vec![0xd5; *count as usize].into();
                let offset = segment * 8192 + first;
                let (key, value) = (source.key.clone(), bytes);
                cluster.run(&WriteCommand::SetRange { key, offset, value }.into());
            }
            source.version = cluster.header(&source.key).unwrap().version;
        }
        for logic in [And, Or, Xor, Not, Diff, Diff1, AndOr, One] {
            let sources = sources[..if logic == Not { 1 } else { sources.len() }].to_vec();
            for group in [1, 2, 3].map(GroupId) {
                let mut read = |bytes_max| {
                    let (sources, range, len_bytes) = (sources.clone(), (start, end), 500_001);
                    let op = ReadOp::CombineValue { logic, sources, range, len_bytes, bytes_max };
                    cluster.read(group, &op)
                };
                let whole = read(None);
                let Outcome::Reply(Reply::Bulk(bytes)) = &whole else { panic!("{whole:?}") };
                let short = read(Some(bytes_max));
                // A dozen bytes for each piece but one go with pieces.
                if bytes.len() as u64 > bytes_max {
                    prop_assert_eq!(short, Outcome::Reply(Reply::Nil));
                } else if bytes.len() as u64 + 60 <= bytes_max || short != Reply::Nil.into() {
                    prop_assert_eq!(short, whole);
                }
            }
        }
    }
}

#[test]
fn a_long_combination_is_computed_elsewhere() {
    let mut cluster = Cluster::new(1);
    let sources = neighbours(&mut cluster, 2);
    for source in &sources {
        let value = Bytes::from(vec![0x55; 1 << 20]);
        let write = WriteCommand::Append { key: source.key.clone(), value };
        cluster.run(&write.into());
    }
    let op = ReadOp::CombineValue {
        logic: BitLogic::And,
        sources,
        range: (0, u64::MAX),
        len_bytes: 2 << 20,
        bytes_max: None,
    };
    let engine = &cluster.engines[&GroupId(1)];
    let ReadStep::Work(work) = engine.read_step(&op, cluster.now) else { panic!("too short") };
    assert!(work.cost_bytes() >= 2 << 20);
    assert_eq!(work.run().into_outcome(), engine.read(&op, cluster.now));
}
