//! Goal: a snapshot is the state, whatever the engine does after it; the same log gives the same
//! bytes; bytes that are not a snapshot are refused without harm.
//!
//! Method: random scripts on two engines, bytes compared; a restored engine answers as the first
//! one for the rest of the script; every byte of a snapshot flipped, every length cut.
//!
//! Mutants killed: a block whose checksum nobody looks at; a form from before that is refused; a
//! name that is taken in two forms.

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
    Change, Moved, Numbered, Op, OpBatch, Outcome, Pending, ReadCommand, ReadOp, Reply, StageFrom,
    WriteCommand, WriteOp,
};
use bitroster_engine::{Engine, EngineConfig, EngineStats, RestoreError, Snapshot};
use bitroster_types::{GroupId, Key, LogIndex, SegmentWidth, UnixMillis, Version};
use bytes::Bytes;
use common::{
    Lone, START,
    cluster::encoded,
    commands::scripts,
    config, key,
    scene::{OK, Scene, one_bit},
};
use proptest::prelude::*;

const UUID: Bytes = Bytes::from_static(b"0123abcd-0000-4000-8000-00000000cafe");

fn bytes(snapshot: Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot.write_to(&mut bytes).unwrap();
    bytes
}

fn restored(bytes: &[u8]) -> Engine {
    Engine::restore(config(), &mut &*bytes).unwrap()
}

/// Every key's value; how a bitmap is kept may differ once it was restored.
fn contents(lone: &mut Lone) -> Vec<Reply> {
    let keys = ReadCommand::Keys { pattern: Bytes::from_static(b"*") };
    let Reply::Array(keys) = lone.run(&keys.into()) else { panic!("KEYS answers an array") };
    let read = keys.iter().map(|key| {
        let Reply::Bulk(name) = key else { panic!("a key is bulk") };
        let get = ReadCommand::Get { key: Key::new(name).unwrap() };
        lone.run(&get.into())
    });
    read.collect::<Vec<_>>().into_iter().chain(keys).collect()
}

fn step(lone: &mut Lone, (wait, op): &(u64, Op)) -> Reply {
    lone.now.0 += wait;
    lone.run(op)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_engine_goes_on_as_the_first_one(
        before in scripts(1 << 18, 30),
        after in scripts(1 << 18, 15),
    ) {
        let (mut one, mut two) = (Lone::new(), Lone::new());
        for line in &before {
            prop_assert_eq!(step(&mut one, line), step(&mut two, line));
        }
        let image = bytes(one.engine.snapshot());
        prop_assert!(image == bytes(two.engine.snapshot()), "one log, one state");
        let held = one.engine.snapshot();
        two.engine = restored(&image);
        let counts = |lone: &Lone| {
            EngineStats { dataset_bytes: 0, page_bytes: 0, expired: 0, ..lone.engine.stats() }
        };
        prop_assert_eq!(counts(&one), counts(&two));
        prop_assert_eq!(one.engine.next_expiry(), two.engine.next_expiry());
        prop_assert_eq!(contents(&mut one), contents(&mut two));
        for line in &after {
            prop_assert_eq!(step(&mut one, line), step(&mut two, line), "{:?}", line);
        }
        prop_assert_eq!(contents(&mut one), contents(&mut two));
        prop_assert!(image == bytes(held), "a snapshot does not change any more");
    }
}

#[test]
fn all_that_is_not_finished_survives() {
    let (mut scene, old) = Scene::spread();
    let (k, group) = (scene.key.clone(), scene.group);
    // One row of each kind at home ...
    let moved = Moved {
        key: key("source"),
        version: Version(77),
        staged: vec![group, GroupId(9)],
        modified: LogIndex(5),
    };
    let published = scene.reserve();
    assert_eq!(scene.stage(published, one_bit(scene.bit)), OK);
    let expiry = Some(UnixMillis(START.0 + 10));
    let change =
        Change::Value { spread: vec![group], len_bytes: 9, expiry, moved: Some(moved.clone()) };
    assert_eq!(scene.publish(published, change), OK);
    let abandoned = scene.reserve();
    assert_eq!(scene.abandon(abandoned), OK);
    scene.wait(10);
    let exclusive = scene.reserve_exclusively();
    let reserved = scene.reserve();
    let value = encoded(&Bitmap::from_bytes(&[7; 100]));
    scene.cluster.stage(scene.home, &k, reserved, value);
    // ... and in the group.
    assert_eq!(scene.stage(exclusive, StageFrom::Void), OK);
    assert_eq!(scene.stage_until(reserved, expiry, StageFrom::Expiry { of: old }), OK);
    scene.drop_part(old);
    scene.abort(abandoned);
    let other = key("{k}2");
    let (third, _) = scene.third();
    scene.cluster.enlist(&other, third);
    let counts =
        |stats: EngineStats| EngineStats { dataset_bytes: 0, page_bytes: 0, expired: 0, ..stats };
    let seen = counts(scene.home_stats());
    assert_eq!((seen.pending, seen.reserved, seen.enlisted, seen.staged), (3, 2, 1, 1));
    for engine in scene.cluster.engines.values_mut() {
        let image = bytes(engine.snapshot());
        let twin = Engine::restore(engine.config().clone(), &mut &image[..]).unwrap();
        assert_eq!(counts(twin.stats()), counts(engine.stats()));
        let all = |engine: &Engine| engine.pending(UnixMillis(u64::MAX), 99);
        assert_eq!(all(&twin), all(engine));
        assert_eq!(image, bytes(twin.snapshot()));
        *engine = twin;
    }
    assert!(scene.pending().contains(&Pending::Published {
        key: k.clone(),
        version: published,
        groups: vec![group],
        moved: Some(moved),
    }));
    assert_eq!(scene.stage(abandoned, StageFrom::Void), Outcome::Newer(abandoned));
    scene.cluster.enlist(&k, group);
    assert_eq!(scene.abandon(exclusive), OK);
    assert_eq!(scene.home_stats().reserved, 1, "leave has taken the exclusive one back");
    assert!(matches!(scene.publish(reserved, Change::Nothing), Outcome::Newer(_)));
    assert!(scene.reserve() > reserved && published > old, "versions never come again");
}

#[test]
fn a_large_sparse_value_is_saved_in_pieces() {
    let mut lone = Lone::new();
    let bits = [3, (1 << 24) - 1, 1 << 24, (1 << 32) - 1, 1 << 40];
    for offset in bits {
        lone.write(&WriteCommand::SetBit { key: key("far"), offset, value: true });
    }
    let image = bytes(lone.engine.snapshot());
    assert!(image.len() < 40_000, "{} bytes", image.len());
    let engine = restored(&image);
    let count = ReadOp::Command(ReadCommand::BitCount { key: key("far"), range: None });
    assert_eq!(engine.read(&count, lone.now), Reply::Integer(5).into());
    let len = ReadOp::Command(ReadCommand::StrLen { key: key("far") });
    assert_eq!(engine.read(&len, lone.now), Reply::Integer((1 << 37) + 1).into());
}

fn sample() -> Vec<u8> {
    let mut lone = Lone::new();
    let names = (0..30).map(|n| Bytes::from(format!("{n:>n$}"))).collect();
    lone.write(&WriteCommand::AssignIds { space: key("users"), names });
    lone.write(&WriteCommand::AssignIds { space: key("teams"), names: vec![UUID] });
    for n in 0..40 {
        let value = Bytes::from(vec![n; usize::from(n) * 7]);
        let append = WriteCommand::Append { key: key(&format!("k{n}")), value };
        lone.write(&append);
    }
    lone.op(&WriteOp::Reserve { key: key("k1"), exclusive: true });
    let Outcome::Session(session) = lone.op(&WriteOp::OpenSession) else { panic!("no session") };
    for number in 1..4 {
        let mut ops = OpBatch::new();
        ops.push_set_bit(&key("k2"), number, true);
        lone.op(&WriteOp::Numbered(Numbered { session, number, answered: 0, ops }));
    }
    bytes(lone.engine.snapshot())
}

#[test]
fn a_snapshot_with_any_bit_flipped_is_refused() {
    let image = sample();
    for at in (0..image.len()).step_by(13).chain(0..64) {
        let mut damaged = image.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(Engine::restore(config(), &mut &damaged[..]).is_err(), "byte {at}");
    }
}

#[test]
fn a_snapshot_cut_anywhere_is_refused() {
    let image = sample();
    for len in (0..image.len()).step_by(29).chain(image.len() - 40..image.len()) {
        assert!(Engine::restore(config(), &mut &image[..len]).is_err(), "{len} bytes");
    }
}

/// Wraps a stream of records in one block with a true checksum.
fn forged(format: u8, records: &[u8]) -> Vec<u8> {
    let mut image = b"BITROSTR".to_vec();
    image.extend_from_slice(&[format, 0]);
    image.extend_from_slice(&u32::try_from(records.len()).unwrap().to_le_bytes());
    image.extend_from_slice(&crc32c::crc32c(records).to_le_bytes());
    image.extend_from_slice(records);
    image
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn contents_that_lie_under_a_true_checksum_are_refused_without_harm(
        at in 0..4_000usize,
        with in prop::collection::vec(any::<u8>(), 1..12),
    ) {
        let image = sample();
        let mut records = image[18..].to_vec();
        let at = at.min(records.len() - with.len());
        records[at..at + with.len()].copy_from_slice(&with);
        let engine = Engine::restore(config(), &mut &forged(4, &records)[..]);
        if let Ok(engine) = engine {
            bytes(engine.snapshot());
        }
    }
}

#[test]
fn a_snapshot_from_before_there_were_sessions_is_read() {
    let mut lone = Lone::new();
    lone.write(&WriteCommand::SetBit { key: key("k"), offset: 3, value: true });
    let image = bytes(lone.engine.snapshot());
    // Without the newest session's id, a record of nine bytes before the count of records.
    let (records, end) = image[18..].split_at(image.len() - 18 - 18);
    let (newest, end) = end.split_at(9);
    assert_eq!(newest, [9, 0, 0, 0, 0, 0, 0, 0, 0]);
    let count = u64::from_le_bytes(end[1..].try_into().unwrap()) - 1;
    let old = [records, &end[..1], &count.to_le_bytes()[..]].concat();
    let engine = Engine::restore(config(), &mut &forged(1, &old)[..]).unwrap();
    assert_eq!(bytes(engine.snapshot()), image);
    for unknown in [0, 5, 255] {
        let refused = Engine::restore(config(), &mut &forged(unknown, &old)[..]);
        assert!(matches!(refused, Err(RestoreError::Format)), "format {unknown}");
    }
}

#[test]
fn the_rows_of_a_snapshot_from_before_changes_were_staged_everywhere_are_read() {
    let mut lone = Lone::new();
    lone.op(&WriteOp::Reserve { key: key("k"), exclusive: false });
    let image = bytes(lone.engine.snapshot());
    let (records, end) = image[18..].split_at(image.len() - 18 - 9);
    let name = [&1u32.to_le_bytes()[..], b"q", &7u64.to_le_bytes()].concat();
    let rows = [
        [&[5][..], &name, &1u16.to_le_bytes(), &2u16.to_le_bytes()].concat(),
        [&[6][..], &name, &9u64.to_le_bytes()].concat(),
        [&[7][..], &name, &START.0.to_le_bytes()].concat(),
        [&[3][..], &name, &[0; 9], &2u64.to_le_bytes(), &2u32.to_le_bytes(), b"ab"].concat(),
    ];
    let count = u64::from_le_bytes(end[1..].try_into().unwrap()) + rows.len() as u64;
    let old = [records, &rows.concat(), &end[..1], &count.to_le_bytes()].concat();
    let engine = Engine::restore(config(), &mut &forged(2, &old)[..]).unwrap();
    let stats = engine.stats();
    assert_eq!((stats.staged, stats.pending, stats.reserved), (1, 1, 2));
    let (key, version, groups) = (key("q"), Version(7), vec![GroupId(2)]);
    assert_eq!(
        engine.pending(UnixMillis(9), 99),
        [
            Pending::Expired { key: key.clone(), version, groups },
            Pending::Reserved { key, version, since: UnixMillis(9) },
        ]
    );
    let mut newer = rows.concat();
    newer[0] = 15;
    let old = [records, &newer, end].concat();
    let refused = Engine::restore(config(), &mut &forged(2, &old)[..]);
    assert!(matches!(refused, Err(RestoreError::Malformed("kind of record"))));
}

/// A state with one id space and nothing else, its record, and what stands before and after.
fn with_space(names: &[&[u8]]) -> (Vec<u8>, Vec<u8>, [Vec<u8>; 2]) {
    let mut lone = Lone::new();
    lone.op(&WriteOp::Tick);
    let empty = bytes(lone.engine.snapshot());
    let mut lone = Lone::new();
    let names = names.iter().map(|name| Bytes::copy_from_slice(name)).collect();
    lone.write(&WriteCommand::AssignIds { space: key("s"), names });
    let image = bytes(lone.engine.snapshot());
    let (start, end) = (empty.len() - 9, image.len() - 9);
    let around = [image[18..start].to_vec(), image[end..].to_vec()];
    let record = image[start..end].to_vec();
    (image, record, around)
}

fn space_record(count: u64, pieces: &[&[u8]]) -> Vec<u8> {
    let mut record = [&[19, 1, 0, 0, 0, b's'][..], &count.to_le_bytes()].concat();
    for piece in pieces {
        record.extend_from_slice(&u32::try_from(piece.len()).unwrap().to_le_bytes());
        record.extend_from_slice(piece);
    }
    record
}

#[test]
fn an_id_space_is_written_as_its_names_and_every_lie_about_it_is_refused() {
    let (image, record, [before, after]) = with_space(&[b"a", &UUID, b"", &[b'l'; 300]]);
    let uuid =
        [&[255, 0x01, 0x23, 0xAB, 0xCD, 0, 0, 0x40, 0, 0x80][..], &[0; 5], &[0xCA, 0xFE]].concat();
    let long = [&[254, 44, 1][..], &[b'l'; 300]].concat();
    let all = [b"\x01a", &uuid[..], b"\0", &long].concat();
    assert_eq!(record, space_record(4, &[&all, b""]));
    let load = |format: u8, record: &[u8]| {
        let records = [&before, record, &after].concat();
        Engine::restore(config(), &mut &forged(format, &records)[..])
    };
    let same = |record: &[u8]| bytes(load(4, record).unwrap().snapshot()) == image;
    assert!(same(&record));
    assert!(same(&space_record(4, &[&all[..2], &all[2..], b""])), "however it is cut");
    assert!(load(3, &record).is_err(), "format 3 knows no id spaces");
    let text = [&[36][..], &UUID].concat();
    let lies: [(&str, Vec<u8>); 10] = [
        ("more names than said", space_record(3, &[&all, b""])),
        ("fewer names than said", space_record(5, &[&all, b""])),
        ("more than a space may have", space_record((1 << 32) + 1, &[&all, b""])),
        ("a name twice", space_record(2, &[b"\x01a\x01a", b""])),
        ("a name that ends late", space_record(1, &[b"\x02a", b""])),
        ("a long name that ends late", space_record(1, &[&long[..40], b""])),
        ("a UUID as text", space_record(1, &[&text, b""])),
        ("a short name in the long form", space_record(1, &[b"\xFE\x01\0a", b""])),
        ("a name that is too long", space_record(1, &[&[&[254, 1, 16], &[0; 4097][..]].concat()])),
        ("a piece that is too long", space_record(1, &[&[0; (64 << 10) + 1]])),
    ];
    for (what, record) in lies {
        assert!(matches!(load(4, &record), Err(RestoreError::Malformed(_))), "{what}");
    }
    let twice = [&before[..], &record, &record, &after].concat();
    assert!(Engine::restore(config(), &mut &forged(4, &twice)[..]).is_err(), "a space twice");
}

#[test]
fn a_snapshot_of_another_group_is_refused() {
    let image = sample();
    for config in [
        EngineConfig::new(GroupId(2), SegmentWidth::from_log2(16).unwrap()),
        EngineConfig::new(GroupId(1), SegmentWidth::DEFAULT),
    ] {
        let refused = Engine::restore(config, &mut &image[..]);
        assert!(matches!(refused, Err(RestoreError::Foreign { .. })));
    }
}
