//! Goal: a key's home decides once what becomes of it, refuses what is not prepared everywhere,
//! and remembers what is left to do until it is done.
//!
//! Method: one home, one key, each message by itself; every rule of reservations, publications,
//! leaves and clean-ups by a test.
//!
//! Mutants killed: a publication that ignores a group of the old or the new spread, what it was to
//! have seen, an older version, or that its reservation is gone; older reservations that survive
//! it; leave that takes no exclusive reservation back; home commands that change a spread key
//! alone; a clean-up of an expired key that is forgotten together with
//! its publication.

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
    BitLogic, Change, Existence, Expiry, ExpiryCondition, Op, Outcome, Pending, ReadCommand, Reply,
    Seen, SetReply, StageFrom, WriteCommand, WriteOp,
};
use bitroster_types::{
    GroupId, Key, LogIndex, UnixMillis, Version,
    limits::{BITMAP_BITS_MAX, RESERVED_KEPT_MS},
};
use bytes::Bytes;
use common::{
    START,
    scene::{OK, Scene, one_bit, value_to},
};

fn in_future(millis: u64) -> Option<UnixMillis> {
    Some(UnixMillis(START.0 + millis))
}

fn is_newer(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Newer(_))
}

fn abandoned(scene: &Scene, version: Version) -> Pending {
    Pending::Abandoned { key: scene.key.clone(), version }
}

fn published(scene: &Scene, version: Version) -> Pending {
    let (key, groups) = (scene.key.clone(), vec![scene.group]);
    Pending::Published { key, version, groups, moved: None }
}

/// The changes that are decided, without the leave that made the key.
fn decided(scene: &Scene) -> Vec<Pending> {
    let mut rows = scene.pending();
    rows.retain(|row| !matches!(row, Pending::Enlisted { .. } | Pending::Reserved { .. }));
    rows
}

#[test]
fn a_publication_is_refused_until_every_group_of_the_old_spread_has_staged() {
    let (mut scene, old) = Scene::spread();
    for change in [value_to(9, vec![]), Change::Nothing, Change::Expiry(in_future(50))] {
        let version = scene.reserve();
        let (third, _) = scene.third();
        for staged in [vec![], vec![third], vec![scene.home]] {
            let (key, change) = (scene.key.clone(), change.clone());
            let before = scene.home_state();
            let publish = WriteOp::Publish { key, version, staged, seen: Seen::Any, change };
            let Outcome::Spread(header) = scene.at_home(publish) else { panic!("published") };
            assert_eq!((header.version, header.spread), (Some(old), vec![scene.group]));
            assert_eq!(scene.home_state(), before);
        }
        assert_eq!(scene.abandon(version), OK);
    }
    let version = scene.reserve();
    assert_eq!(scene.publish(version, Change::Nothing), OK);
    assert_eq!(scene.cluster.header(&scene.key), None);
}

#[test]
fn a_publication_is_refused_until_every_group_of_its_own_spread_has_staged() {
    let mut scene = Scene::new();
    let (version, (third, _)) = (scene.reserve(), scene.third());
    let change = value_to(scene.bit, vec![scene.group, third, scene.home]);
    assert!(matches!(scene.publish(version, change.clone()), Outcome::Spread(_)));
    assert_eq!(scene.cluster.header(&scene.key), None);
    let staged = vec![third, scene.home, scene.group, third];
    let (key, seen) = (scene.key.clone(), Seen::Any);
    assert_eq!(scene.at_home(WriteOp::Publish { key, version, staged, seen, change }), OK);
    let header = scene.cluster.header(&scene.key).unwrap();
    let mut spread = vec![scene.group, third];
    spread.sort_unstable();
    assert_eq!((header.version, header.spread.clone()), (Some(version), spread.clone()));
    assert_eq!(header.len_bytes, scene.bit / 8 + 1);
    let rows = decided(&scene);
    assert!(matches!(&rows[..], [Pending::Published { groups, .. }] if *groups == spread));
}

#[test]
fn a_publication_is_repeated_without_harm_until_and_after_it_is_forgotten() {
    let (mut scene, _) = Scene::spread();
    let changes = [value_to(9, vec![scene.group]), Change::Expiry(in_future(50)), Change::Nothing];
    for change in changes {
        let version = scene.reserve();
        assert_eq!(scene.publish(version, change.clone()), OK);
        let before = scene.home_state();
        assert_eq!(scene.publish(version, change.clone()), OK);
        assert!(is_newer(&scene.abandon(version)), "it is out");
        assert_eq!(scene.home_state(), before);
        assert_eq!(decided(&scene), [published(&scene, version)]);
        scene.forget(version);
        assert_eq!(decided(&scene), []);
        let after = scene.home_state();
        let again = scene.publish(version, change);
        assert!(again == OK || is_newer(&again), "{again:?}");
        assert_eq!(scene.home_state(), after);
    }
}

#[test]
fn a_publication_is_refused_where_the_record_is_not_as_seen() {
    let (mut scene, old) = Scene::spread();
    let modified = scene.cluster.header(&scene.key).unwrap().modified;
    let version = scene.reserve();
    let record = |version, expiry| Seen::Record { version, expiry };
    let refused = [
        Seen::Absent,
        record(None, None),
        record(Some(version), None),
        record(Some(old), in_future(1)),
        Seen::Unchanged(LogIndex(0)),
        Seen::Unchanged(LogIndex(modified.0 + 1)),
    ];
    for seen in refused {
        let before = scene.home_state();
        assert!(is_newer(&scene.publish_if(version, seen, Change::Nothing)), "{seen:?}");
        assert_eq!(scene.home_state(), before);
    }
    for seen in [Seen::Unchanged(modified), record(Some(old), None)] {
        let version = scene.reserve();
        let stays = Change::Expiry(None);
        assert_eq!(scene.publish_if(version, seen, stays), OK, "{seen:?}");
    }
    let unchanged = Seen::Unchanged(modified);
    let version = scene.reserve();
    assert!(is_newer(&scene.publish_if(version, unchanged, Change::Nothing)), "changed since");
    scene.run(scene.set(3));
    let version = scene.reserve();
    assert_eq!(scene.publish(version, Change::Nothing), OK);
    for seen in [Seen::Absent, Seen::Unchanged(LogIndex(0))] {
        let version = scene.reserve();
        assert!(is_newer(&scene.publish_if(version, record(Some(old), None), Change::Nothing)));
        assert_eq!(scene.publish_if(version, seen, Change::Nothing), OK, "{seen:?}");
    }
}

#[test]
fn a_publication_without_its_reservation_is_refused() {
    let (mut scene, _) = Scene::spread();
    let never = Version(scene.reserve().0 + 100);
    let version = scene.reserve();
    assert_eq!(scene.abandon(version), OK);
    for version in [never, version] {
        assert!(is_newer(&scene.publish(version, Change::Nothing)));
    }
    assert_eq!(scene.bits(), [scene.bit]);
}

#[test]
fn a_publication_older_than_the_record_is_refused() {
    let mut scene = Scene::new();
    let version = scene.reserve();
    let grant = scene.enlist();
    assert!(grant.version > version);
    let value = value_to(scene.bit, vec![scene.group]);
    for change in [value, Change::Nothing, Change::Expiry(None)] {
        assert!(is_newer(&scene.publish(version, change)), "its part would be in the way");
    }
}

#[test]
fn an_expiry_is_published_for_a_record_alone() {
    let mut scene = Scene::new();
    let version = scene.reserve();
    assert!(is_newer(&scene.publish(version, Change::Expiry(in_future(9)))));
    let (mut scene, old) = Scene::spread();
    let version = scene.reserve();
    assert_eq!(scene.publish(version, Change::Expiry(in_future(9))), OK);
    let header = scene.cluster.header(&scene.key).unwrap();
    assert_eq!((header.version, header.expiry), (Some(old), in_future(9)));
    let version = scene.reserve();
    assert_eq!(scene.publish(version, Change::Expiry(Some(START))), OK, "it expires at once");
    assert_eq!(scene.cluster.header(&scene.key), None);
    let expired =
        Pending::Expired { key: scene.key.clone(), version: old, groups: vec![scene.group] };
    assert!(decided(&scene).contains(&expired));
}

#[test]
fn a_publication_ends_older_reservations_and_no_newer_ones() {
    let (mut scene, _) = Scene::spread();
    let [one, two, three] = [(); 3].map(|()| scene.reserve());
    for version in [one, two, three] {
        scene.cluster.stage(scene.home, &scene.key.clone(), version, one_bit(version.0));
    }
    assert_eq!(scene.publish(two, value_to(80, vec![])), OK);
    assert_eq!(scene.bits(), [two.0], "home's own share has become the value");
    assert_eq!(decided(&scene), [published(&scene, two), abandoned(&scene, one)]);
    assert_eq!((scene.home_stats().reserved, scene.home_stats().staged), (1, 1));
    assert!(is_newer(&scene.publish(one, Change::Nothing)));
    assert_eq!(scene.publish(three, value_to(80, vec![])), OK);
    assert_eq!(scene.bits(), [three.0]);
    assert_eq!(scene.cluster.header(&scene.key).unwrap().version, None, "nothing is spread");
}

#[test]
fn a_publication_that_concerns_home_alone_leaves_nothing_to_do() {
    let mut scene = Scene::new();
    for change in [value_to(9, vec![]), Change::Expiry(in_future(9)), Change::Nothing] {
        let (key, version) = (scene.key.clone(), scene.reserve());
        let publish = WriteOp::Publish { key, version, staged: vec![], seen: Seen::Any, change };
        assert_eq!(scene.at_home(publish), OK);
        assert_eq!(scene.pending(), []);
    }
}

#[test]
fn a_value_past_the_limit_is_refused() {
    let mut scene = Scene::new();
    let version = scene.reserve();
    let too_long = scene.publish(version, value_to(BITMAP_BITS_MAX, vec![]));
    assert!(matches!(too_long, Outcome::Reply(Reply::Error(_))));
    assert_eq!(scene.publish(version, value_to(BITMAP_BITS_MAX - 1, vec![])), OK);
}

#[test]
fn home_stages_for_a_reservation_alone_and_is_in_no_doubt() {
    let mut scene = Scene::new();
    scene.run(scene.set(1));
    let version = scene.reserve();
    let stage = |scene: &mut Scene, from| {
        let (key, expiry) = (scene.key.clone(), None);
        scene.at_home(WriteOp::Stage { key, version, expiry, from })
    };
    for from in [StageFrom::Void, StageFrom::Expiry { of: version }] {
        assert_eq!(stage(&mut scene, from), OK);
    }
    assert_eq!(scene.home_stats().staged, 0);
    assert_eq!(stage(&mut scene, one_bit(2)), OK);
    assert_eq!(scene.run(scene.set(3)), Reply::Integer(0));
    assert_eq!(scene.bits(), [1, 3]);
    assert_eq!(scene.abandon(version), OK);
    assert_eq!(scene.home_stats().staged, 0);
    assert!(is_newer(&stage(&mut scene, one_bit(2))));
    for op in [
        WriteOp::Activate { key: scene.key.clone(), version },
        WriteOp::Abort { key: scene.key.clone(), version },
        WriteOp::Drop { key: scene.key.clone(), version },
    ] {
        assert_eq!(scene.at_home(op), OK, "and changes nothing");
    }
    assert_eq!(scene.bits(), [1, 3]);
}

#[test]
fn what_is_abandoned_is_remembered_until_it_is_forgotten() {
    let mut scene = Scene::new();
    let version = scene.reserve();
    for _ in 0..2 {
        assert_eq!(scene.abandon(version), OK);
        assert_eq!(scene.pending(), [abandoned(&scene, version)]);
    }
    for _ in 0..2 {
        scene.forget(version);
        assert_eq!(scene.pending(), []);
    }
    assert_eq!(scene.abandon(version), OK, "also where there is nothing");
    assert_eq!(scene.pending(), []);
}

#[test]
fn a_reservation_that_nobody_publishes_is_abandoned_in_the_end() {
    let mut scene = Scene::new();
    let version = scene.reserve();
    scene.cluster.stage(scene.home, &scene.key.clone(), version, one_bit(1));
    scene.wait(RESERVED_KEPT_MS / 2);
    assert_eq!((scene.home_stats().reserved, scene.home_stats().staged), (1, 1));
    scene.wait(RESERVED_KEPT_MS);
    assert_eq!((scene.home_stats().reserved, scene.home_stats().staged), (0, 0));
    assert_eq!(scene.pending(), [abandoned(&scene, version)]);
}

#[test]
fn leave_takes_back_exclusive_reservations_and_no_others() {
    let (mut scene, old) = Scene::spread();
    let (shared, exclusive) = (scene.reserve(), scene.reserve_exclusively());
    let grant = scene.enlist();
    assert_eq!((grant.version, grant.drawn), (old, exclusive));
    assert_eq!(decided(&scene), [abandoned(&scene, exclusive)]);
    assert!(is_newer(&scene.publish(exclusive, Change::Nothing)));
    assert_eq!(scene.publish(shared, Change::Nothing), OK);
    // A write at home is noticed by the record.
    scene.run(scene.set(1));
    let modified = scene.cluster.header(&scene.key).unwrap().modified;
    let exclusive = scene.reserve_exclusively();
    scene.run(scene.set(2));
    let seen = Seen::Unchanged(modified);
    assert!(is_newer(&scene.publish_if(exclusive, seen, Change::Nothing)));
}

#[test]
fn a_leave_is_remembered_once_until_it_is_settled() {
    let mut scene = Scene::new();
    let (grant, since) = (scene.enlist(), scene.cluster.now);
    scene.wait(5);
    assert_eq!(scene.enlist(), grant);
    let (key, version, group) = (scene.key.clone(), grant.version, scene.group);
    assert_eq!(scene.pending(), [Pending::Enlisted { key, version, group, since }]);
    assert_eq!(scene.granted(grant, scene.bit), Reply::Integer(0).into());
    for _ in 0..2 {
        scene.settle(grant.version);
        assert_eq!((scene.pending(), scene.bits()), (vec![], vec![scene.bit]));
    }
    assert_eq!(scene.enlist(), grant);
    assert_eq!(scene.pending(), [], "the group is in the spread already");
}

#[test]
fn a_record_that_nobody_filled_goes_and_one_that_was_filled_stays() {
    let mut scene = Scene::new();
    let grant = scene.enlist();
    scene.cluster.finish_all();
    assert_eq!((scene.home_stats().keys, scene.home_stats().enlisted), (0, 0));
    assert_eq!(scene.granted(grant, scene.bit), Outcome::AskHome, "the leave was for that one");
    let (third, _) = scene.third();
    scene.run(scene.set(scene.bit));
    scene.cluster.enlist(&scene.key.clone(), third);
    scene.cluster.finish_all();
    assert_eq!((scene.bits(), scene.home_stats().enlisted), (vec![scene.bit], 0));
}

#[test]
fn leaves_of_a_record_that_is_over_are_not_remembered() {
    for change in [Change::Nothing, value_to(9, vec![])] {
        let (mut scene, old) = Scene::spread();
        assert_eq!(scene.home_stats().enlisted, 1);
        let version = scene.reserve();
        assert_eq!(scene.publish(version, change), OK);
        assert_eq!(scene.home_stats().enlisted, 0);
        scene.settle(old);
    }
    let (mut scene, _) = Scene::spread();
    let version = scene.reserve();
    assert_eq!(scene.publish(version, Change::Expiry(in_future(10))), OK);
    assert_eq!(scene.home_stats().enlisted, 1);
    scene.wait(10);
    assert_eq!(scene.home_stats().enlisted, 0);
}

/// Commands that would change a spread key `a` together with its neighbour `b`, or instead of it.
fn commands_of_two(a: &Key, b: &Key) -> Vec<WriteCommand> {
    let bit_op = |target: &Key, source: &Key| WriteCommand::BitOp {
        logic: BitLogic::Or,
        target: target.clone(),
        sources: vec![source.clone()],
    };
    let rename = |source: &Key, target: &Key, only_if_new| WriteCommand::Rename {
        source: source.clone(),
        target: target.clone(),
        only_if_new,
    };
    let copy = |source: &Key, target: &Key, replace| WriteCommand::Copy {
        source: source.clone(),
        target: target.clone(),
        replace,
    };
    let value = Bytes::from_static(b"x");
    let pairs = vec![(b.clone(), value.clone()), (a.clone(), value)];
    vec![
        WriteCommand::Delete { keys: vec![b.clone(), a.clone()] },
        WriteCommand::MSet { pairs: pairs.clone(), only_if_none: false },
        WriteCommand::MSet { pairs: pairs[1..].to_vec(), only_if_none: true },
        rename(a, b, false),
        rename(b, a, false),
        rename(b, a, true),
        copy(a, b, true),
        copy(b, a, true),
        copy(b, a, false),
        bit_op(a, b),
        bit_op(b, a),
        bit_op(a, &common::key("{k}none")),
    ]
}

/// Commands that would change a spread key.
fn commands_of_one(key: &Key) -> Vec<WriteCommand> {
    let set = |reply, existence| WriteCommand::Set {
        key: key.clone(),
        value: Bytes::from_static(b"x"),
        existence,
        expiry: Expiry::Clear,
        reply,
    };
    let expire = |millis| WriteCommand::Expire {
        key: key.clone(),
        expiry: Expiry::In(millis),
        condition: ExpiryCondition::default(),
    };
    vec![
        WriteCommand::Delete { keys: vec![key.clone()] },
        set(SetReply::Status, None),
        set(SetReply::Old, None),
        set(SetReply::Changed, Some(Existence::IfAbsent)),
        WriteCommand::GetDel { key: key.clone() },
        WriteCommand::GetEx { key: key.clone(), expiry: Expiry::In(50) },
        expire(50),
        expire(-1),
        WriteCommand::IncrBy { key: key.clone(), by: 1 },
        WriteCommand::Append { key: key.clone(), value: Bytes::from_static(b"x") },
    ]
}

#[test]
fn home_changes_no_spread_key_alone() {
    let (mut scene, version) = Scene::spread();
    let (key, other) = (scene.key.clone(), common::key("{k}2"));
    let write = WriteCommand::SetBit { key: other.clone(), offset: 1, value: true };
    assert_eq!(scene.run(write), Reply::Integer(0));
    let before = scene.home_state();
    for command in commands_of_one(&key).into_iter().chain(commands_of_two(&key, &other)) {
        let outcome = scene.at_home(WriteOp::Command(command.clone()));
        let Outcome::Spread(header) = outcome else { panic!("{command:?}: {outcome:?}") };
        assert_eq!(header.version, Some(version), "{command:?}");
        assert_eq!(scene.home_state(), before, "{command:?}");
    }
    // What changes nothing is answered.
    let persist = WriteCommand::Persist { key: key.clone() };
    let condition = ExpiryCondition { if_some: true, ..ExpiryCondition::default() };
    let expire = WriteCommand::Expire { key: key.clone(), expiry: Expiry::In(50), condition };
    for command in [persist.clone(), expire] {
        assert_eq!(scene.at_home(WriteOp::Command(command)), Reply::Integer(0).into());
    }
    scene.cluster.set_expiry(&key, in_future(9));
    assert!(matches!(scene.at_home(WriteOp::Command(persist)), Outcome::Spread(_)));
}

#[test]
fn a_record_without_bits_does_not_prove_that_its_key_exists() {
    let mut scene = Scene::new();
    scene.enlist();
    let exists = Op::from(ReadCommand::Exists { keys: vec![scene.key.clone()] });
    let Op::Read(read) = &exists else { panic!("EXISTS reads") };
    assert!(matches!(scene.cluster.read(scene.home, read), Outcome::Spread(_)));
    scene.run(scene.set(0));
    assert_eq!(scene.cluster.read(scene.home, read), Reply::Integer(1).into());
}

#[test]
fn a_key_that_expires_leaves_its_parts_to_be_dropped_and_ends_older_reservations() {
    let (mut scene, old) = Scene::spread();
    let version = scene.reserve();
    assert_eq!(scene.publish(version, Change::Expiry(in_future(10))), OK);
    scene.forget(version);
    let next = scene.reserve();
    scene.wait(10);
    let expired =
        Pending::Expired { key: scene.key.clone(), version: old, groups: vec![scene.group] };
    assert_eq!(decided(&scene), [expired]);
    assert_eq!(scene.publish(next, Change::Nothing), OK, "its groups have staged");
    assert!(is_newer(&scene.abandon(old)));
    // One that was drawn before the record was spread may count on its parts.
    let mut scene = Scene::new();
    scene.run(scene.set(1));
    scene.cluster.set_expiry(&scene.key.clone(), in_future(5));
    let lost = scene.reserve();
    assert!(scene.enlist().version > lost);
    scene.wait(5);
    assert!(is_newer(&scene.publish(lost, Change::Nothing)));
}

#[test]
fn the_expiry_of_a_publication_is_finished_after_the_publication() {
    let mut scene = Scene::new();
    let version = scene.reserve();
    let (spread, expiry) = (vec![scene.group], in_future(5));
    let value = Change::Value { spread, len_bytes: 1, expiry, moved: None };
    assert_eq!(scene.publish(version, value.clone()), OK);
    scene.wait(5);
    assert_eq!(scene.home_stats().pending, 2);
    assert_eq!(decided(&scene), [published(&scene, version)]);
    assert_eq!(scene.publish(version, value), OK, "it was published, and is over");
    scene.forget(version);
    let (key, groups) = (scene.key.clone(), vec![scene.group]);
    assert_eq!(decided(&scene), [Pending::Expired { key, version, groups }]);
    scene.forget(version);
    assert_eq!(scene.pending(), []);
}

#[test]
fn what_is_pending_is_told_in_bounded_lists_the_decided_first() {
    let (mut scene, _) = Scene::spread();
    let mut versions: Vec<Version> = (0..20).map(|_| scene.reserve()).collect();
    for version in versions.drain(..15) {
        assert_eq!(scene.abandon(version), OK);
    }
    let version = scene.reserve();
    assert_eq!(scene.publish(version, Change::Expiry(None)), OK);
    scene.wait(1);
    for _ in 0..4 {
        scene.reserve();
    }
    let engine = &scene.cluster.engines[&scene.home];
    let listed = |before: u64, limit| engine.pending(UnixMillis(before), limit);
    let count =
        |rows: &[Pending], kind: fn(&Pending) -> bool| rows.iter().filter(|row| kind(row)).count();
    let is_abandoned: fn(&Pending) -> bool = |row| matches!(row, Pending::Abandoned { .. });
    let is_reserved: fn(&Pending) -> bool = |row| matches!(row, Pending::Reserved { .. });
    let is_enlisted: fn(&Pending) -> bool = |row| matches!(row, Pending::Enlisted { .. });
    assert_eq!(listed(u64::MAX, 0), []);
    let some = listed(u64::MAX, 6);
    assert_eq!((some.len(), count(&some, is_abandoned)), (6, 4), "most of it is decided");
    let more = listed(u64::MAX, 24);
    assert_eq!((more.len(), count(&more, is_enlisted)), (24, 1), "and then of each kind some");
    // Twenty abandoned, of which five by the publication.
    let all = listed(u64::MAX, 99);
    assert_eq!((count(&all, is_abandoned), count(&all, is_reserved)), (20, 4));
    let old = listed(START.0, 99);
    assert_eq!((count(&old, is_reserved), count(&old, is_enlisted)), (0, 1), "what is old");
    assert_eq!(count(&listed(START.0 - 1, 99), is_enlisted), 0);
}

#[test]
fn flushing_leaves_what_may_yet_come_to_be_refused() {
    let (mut scene, of) = Scene::spread();
    let grant = scene.enlist();
    let version = scene.reserve();
    assert_eq!(scene.stage(version, StageFrom::Void), OK);
    for group in [1, 2, 3].map(GroupId) {
        assert_eq!(scene.cluster.write(group, WriteOp::Command(WriteCommand::Flush)), OK);
    }
    assert_eq!((scene.group_stats().staged, scene.group_stats().parts), (0, 0));
    let (key, groups) = (scene.key.clone(), vec![scene.group]);
    let left = [
        Pending::Abandoned { key: key.clone(), version },
        Pending::Expired { key, version: of, groups },
    ];
    assert_eq!(scene.pending(), left, "so that leave and stages that come late end");
    assert_eq!(scene.granted(grant, scene.bit), Reply::Integer(0).into());
    scene.drop_part(of);
    assert_eq!(scene.group_stats().parts, 0, "a part that came after the flush goes");
    assert_eq!(scene.granted(grant, scene.bit), Outcome::AskHome, "and none comes any more");
    assert!(is_newer(&scene.publish(version, Change::Nothing)));
    assert!(scene.reserve() > version);
}
