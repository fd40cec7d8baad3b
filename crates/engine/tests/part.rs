//! Goal: a group that is not a key's home shows what home has decided and nothing else, whatever
//! it is told late, twice or in another order.
//!
//! Method: one group, one key, each message by itself; every rule of staging, leave, activation,
//! abortion and dropping by a test.
//!
//! Mutants killed: requests for bits that are answered in doubt; leave that is taken though it is
//! older than what is staged, than the part, or than what was dropped; Activate that replaces a
//! newer part, leaves older rows or forgets its version; an expiry that is set before the value it
//! belongs to; Abort without memory, or of other versions; Drop that takes what is staged; a part
//! that expires while its group is in doubt, or never after it.

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
    BitLogic, Field, FieldAction, FieldOp, FieldType, Grant, MergeMode, Op, Outcome, Overflow,
    ReadCommand, ReadOp, Reply, SourceRef, StageFrom, WriteCommand, WriteOp,
};
use bitroster_engine::Engine;
use bitroster_types::{
    UnixMillis, Version,
    limits::{DROPPED_KEPT_MS, PART_GRACE_MS},
};
use bytes::Bytes;
use common::{
    START,
    cluster::codec,
    scene::{OK, Scene, one_bit},
};

fn later(grant: Grant) -> Grant {
    Grant { drawn: Version(grant.drawn.0 + 1_000), ..grant }
}

/// Leave of a version, as new as can be.
fn leave(version: Version) -> Grant {
    later(Grant { version, expiry: None, drawn: version })
}

fn in_future(millis: u64) -> Option<UnixMillis> {
    Some(UnixMillis(START.0 + millis))
}

#[test]
fn a_group_in_doubt_sends_every_request_for_bits_to_home() {
    let (mut scene, of) = Scene::spread();
    let (key, bit) = (scene.key.clone(), scene.bit);
    let field = Field { kind: FieldType { signed: false, width: 8 }, offset: bit };
    let op = |action| FieldOp { field, action, overflow: Overflow::Wrap };
    let write_field = |action| WriteCommand::BitField { key: key.clone(), ops: vec![op(action)] };
    let value = Bytes::from_static(b"x");
    let merge = |mode| {
        let bits = codec(&Bitmap::from_offsets(&[bit]));
        WriteCommand::Merge { key: key.clone(), mode, bits }.into()
    };
    let requests: Vec<Op> = vec![
        ReadCommand::GetBit { key: key.clone(), offset: bit }.into(),
        ReadCommand::BitFieldRo { key: key.clone(), fields: vec![field] }.into(),
        scene.set(bit).into(),
        write_field(FieldAction::Get).into(),
        write_field(FieldAction::Set(3)).into(),
        WriteCommand::SetRange { key: key.clone(), offset: bit / 8, value }.into(),
        WriteCommand::Touch { key: key.clone(), id: bit / 32, ttl_secs: 1 }.into(),
        merge(MergeMode::Or),
        merge(MergeMode::AndNot),
        merge(MergeMode::Xor),
    ];
    for from in [one_bit(bit), StageFrom::Void, StageFrom::Expiry { of }] {
        let version = scene.reserve();
        assert_eq!(scene.stage(version, from.clone()), OK);
        assert_eq!(scene.stage(version, from), OK, "once more");
        let before = scene.group_state();
        for request in &requests {
            let outcome = match request {
                Op::Read(read) => scene.cluster.read(scene.group, read),
                Op::Write(write) => scene.at_group(write.clone()),
            };
            assert_eq!(outcome, Outcome::AskHome, "{request:?}");
            let exec = WriteOp::Transaction { watches: vec![], ops: vec![request.clone()] };
            assert_eq!(scene.at_group(exec), Outcome::AskHome, "{request:?}");
        }
        assert_eq!(scene.group_state(), before);
        scene.abort(version);
        assert_eq!(scene.bit_at_group(bit), Reply::Integer(1).into());
        assert_eq!(scene.plain(bit), Reply::Integer(1).into());
    }
    let other = WriteCommand::SetBit { key: common::key("{k}2"), offset: bit, value: true };
    let version = scene.reserve();
    assert_eq!(scene.stage(version, StageFrom::Void), OK);
    assert_eq!(scene.run(other), Reply::Integer(0), "other keys are in no doubt");
}

#[test]
fn reads_that_name_a_version_are_answered_in_doubt() {
    let (mut scene, old) = Scene::spread();
    let (bit, new) = (scene.bit, scene.reserve());
    assert_eq!(scene.stage(new, one_bit(bit + 1)), OK);
    let count = |version| ReadOp::CombineCount {
        logic: BitLogic::Or,
        sources: vec![SourceRef { key: common::key("k"), version: Some(version) }],
        range: (bit, bit + 1),
        len_bytes: bit / 8 + 1,
    };
    assert_eq!(scene.part(old), Ok(vec![bit]));
    assert_eq!(scene.part(new), Ok(vec![bit + 1]));
    assert_eq!(scene.part(Version(new.0 + 1)), Ok(vec![]));
    for (version, bits) in [(old, 1), (new, 0)] {
        let counted = scene.cluster.read(scene.group, &count(version));
        assert_eq!(counted, Reply::Integer(bits).into());
        let source = SourceRef { key: scene.key.clone(), version: Some(version) };
        let from = StageFrom::Copy { source, range: (0, u64::MAX) };
        let (target, copy) = (common::key("{k}2"), scene.reserve());
        scene.cluster.stage(scene.group, &target, copy, from);
    }
    scene.activate(new);
    assert_eq!(scene.part(old), Err(Outcome::Newer(new)));
    // What only goes or expires has no bits of its own version.
    for from in [StageFrom::Void, StageFrom::Expiry { of: new }] {
        let version = scene.reserve();
        assert_eq!(scene.stage(version, from), OK);
        assert_eq!(scene.part(version), Ok(vec![]));
        assert_eq!(scene.part(new), Ok(vec![bit + 1]));
    }
}

#[test]
fn stages_at_one_version_add_up_and_repeated_steps_change_nothing() {
    let mut scene = Scene::new();
    let (bit, version) = (scene.bit, scene.reserve());
    let with = [StageFrom::Void, one_bit(bit), one_bit(bit + 7), one_bit(bit), StageFrom::Void];
    for from in with {
        assert_eq!(scene.stage(version, from), OK);
    }
    assert_eq!(scene.part(version), Ok(vec![bit, bit + 7]));
    scene.activate(version);
    let before = scene.group_state();
    scene.activate(version);
    assert_eq!(scene.stage(version, one_bit(bit + 2)), OK, "it is there already");
    assert_eq!(scene.group_state(), before);
    assert_eq!(scene.bit_at_group(bit + 7), Reply::Integer(1).into());
    assert_eq!((scene.group_stats().staged, scene.group_stats().parts), (0, 1));
}

#[test]
fn leave_of_the_staged_version_activates_it_before_the_write() {
    let (mut scene, old) = Scene::spread();
    let (bit, version) = (scene.bit, scene.reserve());
    assert_eq!(scene.stage_until(version, in_future(50), one_bit(bit + 1)), OK);
    assert_eq!(scene.granted(leave(version), bit + 2), Reply::Integer(0).into());
    assert_eq!(scene.part(version), Ok(vec![bit + 1, bit + 2]));
    assert_eq!(scene.bit_at_group(bit + 1), Reply::Integer(1).into());
    assert_eq!(scene.granted(leave(old), bit + 3), Outcome::AskHome);
    scene.activate(version);
    assert_eq!(scene.part(version), Ok(vec![bit + 1, bit + 2]), "the late message does nothing");
}

#[test]
fn leave_leaves_a_doubt_about_a_newer_version_in_place() {
    let (mut scene, old) = Scene::spread();
    let (bit, version) = (scene.bit, scene.reserve());
    assert_eq!(scene.stage(version, StageFrom::Void), OK);
    assert_eq!(scene.granted(leave(old), bit + 1), Reply::Integer(0).into());
    assert_eq!(scene.part(old), Ok(vec![bit, bit + 1]));
    assert_eq!(scene.bit_at_group(bit), Outcome::AskHome);
    // Leave of a record that was made since puts a part in the old one's place.
    let next = scene.reserve();
    assert_eq!(scene.granted(leave(next), bit + 2), Reply::Integer(0).into());
    assert_eq!(scene.part(next), Ok(vec![bit + 2]));
    assert_eq!(scene.granted(leave(old), bit + 3), Outcome::AskHome, "older than the part");
    scene.activate(version);
    assert_eq!(scene.part(next), Ok(vec![bit + 2]), "a removal from before it");
    assert_eq!(scene.bit_at_group(bit + 2), Reply::Integer(1).into());
}

#[test]
fn leave_that_is_older_than_what_is_staged_is_not_taken() {
    let (mut scene, old) = Scene::spread();
    let grant = scene.enlist();
    assert_eq!(grant.version, old);
    let version = scene.reserve_exclusively();
    for from in [StageFrom::Void, one_bit(scene.bit)] {
        assert_eq!(scene.stage(version, from), OK);
        let before = scene.group_state();
        assert_eq!(scene.granted(grant, scene.bit + 1), Outcome::AskHome);
        assert_eq!(scene.group_state(), before);
    }
    let new = scene.enlist();
    assert!(new.drawn >= version);
    assert_eq!(scene.granted(new, scene.bit + 1), Reply::Integer(0).into());
    assert_eq!(scene.part(old), Ok(vec![scene.bit, scene.bit + 1]));
}

#[test]
fn a_field_that_is_only_read_is_read_with_leave() {
    let (mut scene, _) = Scene::spread();
    let version = scene.reserve();
    assert_eq!(scene.stage(version, StageFrom::Void), OK);
    let field = Field { kind: FieldType { signed: false, width: 1 }, offset: scene.bit };
    let op = FieldOp { field, action: FieldAction::Get, overflow: Overflow::Wrap };
    let command = WriteCommand::BitField { key: scene.key.clone(), ops: vec![op] };
    let grant = scene.enlist();
    let answer = scene.at_group(WriteOp::Granted { grant, command });
    assert_eq!(answer, Reply::Array(vec![Reply::Integer(1)]).into());
}

#[test]
fn leave_prolongs_a_part_that_has_expired_and_no_other() {
    let mut scene = Scene::new();
    let (bit, grant) = (scene.bit, scene.enlist());
    let until = |millis| Grant { expiry: in_future(millis), ..grant };
    assert_eq!(scene.granted(until(100), bit), Reply::Integer(0).into());
    assert_eq!(scene.granted(until(200), bit + 1), Reply::Integer(0).into());
    scene.wait(100);
    assert_eq!(scene.plain(bit), Outcome::AskHome, "the part has expired as it was made");
    assert_eq!(scene.granted(until(300), bit + 2), Reply::Integer(0).into());
    assert_eq!(scene.part(grant.version), Ok(vec![bit, bit + 1, bit + 2]));
    assert_eq!(scene.plain(bit), Reply::Integer(1).into());
    scene.wait(200);
    assert_eq!(scene.granted(until(300), bit), Outcome::AskHome, "leave that is over");
}

#[test]
fn activating_an_older_value_leaves_a_newer_part_alone() {
    let mut scene = Scene::new();
    let (bit, version) = (scene.bit, scene.reserve());
    assert_eq!(scene.stage(version, one_bit(bit)), OK);
    let grant = scene.enlist();
    assert_eq!(scene.granted(grant, bit + 1), Reply::Integer(0).into());
    scene.activate(version);
    assert_eq!(scene.part(grant.version), Ok(vec![bit + 1]));
    assert_eq!(scene.group_stats().staged, 0);
}

#[test]
fn activation_ends_all_older_doubts_and_their_late_messages_do_nothing() {
    let (mut scene, _) = Scene::spread();
    let bit = scene.bit;
    let [one, two, three, four] = [(); 4].map(|()| scene.reserve());
    assert_eq!(scene.stage(one, one_bit(bit + 1)), OK);
    assert_eq!(scene.stage(two, StageFrom::Void), OK);
    assert_eq!(scene.stage(three, one_bit(bit + 3)), OK);
    assert_eq!(scene.stage(four, StageFrom::Void), OK);
    scene.activate(three);
    assert_eq!(scene.group_stats().staged, 1, "the newer one stays");
    let before = scene.group_state();
    for late in [one, two, three] {
        scene.activate(late);
    }
    for late in [one, two] {
        assert_eq!(scene.stage(late, StageFrom::Void), Outcome::Newer(three));
        assert_eq!(scene.stage(late, one_bit(bit)), Outcome::Newer(three));
    }
    assert_eq!(scene.group_state(), before);
    assert_eq!(scene.part(three), Ok(vec![bit + 3]));
    scene.activate(four);
    assert_eq!((scene.group_stats().parts, scene.group_stats().staged), (0, 0));
    assert_eq!(scene.stage(four, StageFrom::Void), Outcome::Newer(four));
    assert_eq!(scene.granted(leave(three), bit), Outcome::AskHome, "a part from before the end");
    assert_eq!(scene.plain(bit), Outcome::AskHome);
}

#[test]
fn an_expiry_that_is_activated_before_its_value_activates_that_first() {
    let (mut scene, _) = Scene::spread();
    let (bit, of, version) = (scene.bit, scene.reserve(), scene.reserve());
    assert_eq!(scene.stage_until(of, in_future(10), one_bit(bit + 1)), OK);
    assert_eq!(scene.stage_until(version, in_future(5_000), StageFrom::Expiry { of }), OK);
    scene.activate(version);
    assert_eq!(scene.part(of), Ok(vec![bit + 1]));
    scene.activate(of);
    scene.wait(4_999);
    assert_eq!(scene.bit_at_group(bit + 1), Reply::Integer(1).into());
    scene.wait(1);
    assert_eq!(scene.bit_at_group(bit + 1), Reply::Integer(0).into());
}

#[test]
fn an_expiry_where_there_is_no_part_yet_outlives_leave_with_an_older_one() {
    let mut scene = Scene::new();
    let bit = scene.bit;
    let grant = Grant { expiry: in_future(50), ..scene.enlist() };
    let version = scene.reserve();
    let from = StageFrom::Expiry { of: grant.version };
    assert_eq!(scene.stage_until(version, in_future(5_000), from), OK);
    scene.activate(version);
    assert_eq!((scene.group_stats().parts, scene.part(grant.version)), (1, Ok(vec![])));
    assert_eq!(scene.granted(grant, bit), Reply::Integer(0).into());
    scene.wait(1_000);
    assert_eq!(scene.bit_at_group(bit), Reply::Integer(1).into());
}

#[test]
fn an_expiry_touches_no_part_of_another_version_and_revives_none() {
    let (mut scene, old) = Scene::spread();
    let (bit, next) = (scene.bit, scene.reserve());
    for is_dropped in [false, true] {
        let version = scene.reserve();
        let old_bit = Reply::Integer(i64::from(is_dropped));
        assert_eq!(scene.granted(leave(next), bit + 1), old_bit.into());
        if is_dropped {
            scene.drop_part(next);
        }
        let from = StageFrom::Expiry { of: if is_dropped { next } else { old } };
        assert_eq!(scene.stage_until(version, in_future(1), from), OK);
        scene.activate(version);
        let parts = u64::from(!is_dropped);
        assert_eq!((scene.group_stats().parts, scene.group_stats().staged), (parts, 0));
    }
    assert_eq!(scene.part(next), Ok(vec![]));
}

#[test]
fn an_aborted_version_goes_alone_and_does_not_come_back() {
    let (mut scene, old) = Scene::spread();
    let [one, two, three] = [(); 3].map(|()| scene.reserve());
    let bit = scene.bit;
    for version in [one, two, three] {
        assert_eq!(scene.stage(version, one_bit(bit + 1)), OK);
    }
    scene.abort(two);
    assert_eq!(scene.group_stats().staged, 2);
    assert_eq!(scene.part(old), Ok(vec![bit]), "the part stays");
    for version in [one, three] {
        scene.abort(version);
    }
    let never = scene.reserve();
    scene.abort(never);
    for version in [one, two, three, never] {
        assert_eq!(scene.stage(version, one_bit(bit)), Outcome::Newer(version));
        scene.abort(version);
        scene.activate(version);
    }
    assert_eq!(scene.bit_at_group(bit), Reply::Integer(1).into());
    let version = scene.reserve();
    assert_eq!(scene.stage(version, StageFrom::Void), OK, "another version is another one");
    scene.wait(2 * DROPPED_KEPT_MS);
    assert_eq!(scene.stage(one, StageFrom::Void), OK, "nothing is remembered for ever");
}

#[test]
fn a_drop_takes_parts_up_to_its_version_and_nothing_staged() {
    let (mut scene, old) = Scene::spread();
    let (bit, version) = (scene.bit, scene.reserve());
    assert_eq!(scene.stage(version, one_bit(bit + 1)), OK);
    for _ in 0..2 {
        scene.drop_part(old);
        assert_eq!((scene.group_stats().parts, scene.group_stats().staged), (0, 1));
    }
    assert_eq!(scene.granted(leave(old), bit), Outcome::AskHome);
    scene.activate(version);
    assert_eq!(scene.bit_at_group(bit + 1), Reply::Integer(1).into());
    scene.drop_part(old);
    assert_eq!(scene.part(version), Ok(vec![bit + 1]), "a drop leaves newer parts alone");
    assert_eq!(scene.stage(old, StageFrom::Void), Outcome::Newer(version));
}

#[test]
fn leave_of_the_version_whose_part_is_gone_is_taken_after_activation_and_not_after_a_drop() {
    let (mut scene, _) = Scene::spread();
    let (bit, version) = (scene.bit, scene.reserve());
    assert_eq!(scene.stage(version, StageFrom::Void), OK);
    scene.activate(version);
    assert_eq!(scene.granted(leave(Version(version.0 - 1)), bit + 1), Outcome::AskHome);
    // The change was a value of which this group had nothing; home enlists the group again.
    assert_eq!(scene.granted(leave(version), bit + 1), Reply::Integer(0).into());
    assert_eq!(scene.part(version), Ok(vec![bit + 1]));
    scene.drop_part(version);
    assert_eq!(scene.granted(leave(version), bit + 1), Outcome::AskHome);
    assert_eq!(scene.stage(version, one_bit(bit)), Outcome::Newer(version));
}

#[test]
fn a_part_does_not_expire_while_its_group_is_in_doubt() {
    enum End {
        Aborted,
        Prolonged,
        Removed,
    }
    for end in [End::Aborted, End::Prolonged, End::Removed] {
        let mut scene = Scene::new();
        let (bit, grant) = (scene.bit, scene.enlist());
        let of = grant.version;
        let grant = Grant { expiry: in_future(100), ..grant };
        assert_eq!(scene.granted(grant, bit), Reply::Integer(0).into());
        let version = scene.reserve();
        let from = match end {
            End::Aborted | End::Prolonged => StageFrom::Expiry { of },
            End::Removed => StageFrom::Void,
        };
        let prolonged = 10 * PART_GRACE_MS;
        assert_eq!(scene.stage_until(version, in_future(prolonged), from), OK);
        scene.wait(100 + PART_GRACE_MS);
        assert_eq!(scene.part(of), Ok(vec![bit]));
        let engine = &scene.cluster.engines[&scene.group];
        assert_eq!(engine.next_expiry(), None, "there is nothing to wake up for");
        // A replica that comes from a snapshot goes on in the same way.
        let mut image = Vec::new();
        engine.snapshot().write_to(&mut image).unwrap();
        let twin = Engine::restore(engine.config().clone(), &mut &image[..]).unwrap();
        assert_eq!(twin.next_expiry(), None);
        scene.cluster.engines.insert(scene.group, twin);
        let has_part = match end {
            End::Aborted => {
                scene.abort(version);
                assert!(scene.cluster.engines[&scene.group].next_expiry().is_some());
                false
            }
            End::Prolonged => {
                scene.activate(version);
                true
            }
            End::Removed => {
                scene.activate(version);
                false
            }
        };
        scene.wait(0);
        assert_eq!(scene.group_stats().parts, u64::from(has_part));
        scene.wait(prolonged);
        scene.wait(PART_GRACE_MS);
        assert_eq!(scene.group_stats().parts, 0);
    }
}

#[test]
fn parts_that_must_stay_do_not_keep_others_from_expiring() {
    let mut scene = Scene::new();
    let (bit, group) = (scene.bit, scene.group);
    let key = |n: usize| common::key(&format!("{{k}}{n}"));
    let mut grant = |n| Grant { expiry: in_future(100), ..scene.cluster.enlist(&key(n), group) };
    let grants: Vec<Grant> = (0..150).map(&mut grant).collect();
    for (n, grant) in grants.into_iter().enumerate() {
        let command = WriteCommand::SetBit { key: key(n), offset: bit, value: true };
        assert_eq!(scene.at_group(WriteOp::Granted { grant, command }), Reply::Integer(0).into());
        if n < 100 {
            let from = StageFrom::Expiry { of: grant.version };
            let version = Version(grant.version.0 + 1);
            scene.cluster.stage(group, &key(n), version, from);
        }
    }
    scene.wait(100 + PART_GRACE_MS);
    scene.wait(0);
    assert_eq!(scene.group_stats().parts, 100);
}
