//! Goal: a snapshot is the state, whatever the engine does after it; the same log gives the same
//! bytes; bytes that are not a snapshot are refused without harm.
//!
//! Method: random scripts on two engines, bytes compared; a restored engine answers as the first
//! one for the rest of the script; every byte of a snapshot flipped, every length cut.
//!
//! Mutants killed: a block whose checksum nobody looks at; a form from before that is refused.

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
    Numbered, Op, OpBatch, Outcome, ReadCommand, ReadOp, Reply, StageFrom, WriteCommand, WriteOp,
};
use bitroster_engine::{Engine, EngineConfig, EngineStats, RestoreError, Snapshot};
use bitroster_types::{GroupId, Key, SegmentWidth};
use bytes::Bytes;
use common::{Lone, cluster::Cluster, commands::scripts, config, key};
use proptest::prelude::*;

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
        let counts = |lone: &Lone| EngineStats { dataset_bytes: 0, ..lone.engine.stats() };
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
fn staged_values_clean_ups_and_versions_survive() {
    let mut cluster = Cluster::new(3);
    let k = key("k");
    let home = cluster.map.home(&k);
    let bit = (1..100).map(|n| n << 16).find(|bit| cluster.map.group_of_bit(&k, *bit) != home);
    let set = WriteCommand::SetBit { key: k.clone(), offset: bit.unwrap(), value: true };
    cluster.run(&set.into());
    let old = cluster.header(&k).unwrap().version.unwrap();
    cluster.write(home, WriteOp::Command(WriteCommand::Delete { keys: vec![k.clone()] }));
    let version = cluster.reserve(&k);
    let mut value = Vec::new();
    Bitmap::from_bytes(&[7; 100]).encode(&mut value);
    cluster.stage(home, &k, version, StageFrom::Value(value.into()));
    for engine in cluster.engines.values_mut() {
        let image = bytes(engine.snapshot());
        let other = Engine::restore(engine.config().clone(), &mut &image[..]).unwrap();
        let counts = |engine: &Engine| EngineStats { dataset_bytes: 0, ..engine.stats() };
        assert_eq!(counts(&other), counts(engine));
        assert_eq!(other.pending_retired(), engine.pending_retired());
        assert_eq!(image, bytes(other.snapshot()));
        *engine = other;
    }
    assert_eq!(cluster.engines[&home].pending_retired().len(), 1);
    cluster.finish(&k, version, vec![], 100, None);
    assert_eq!(cluster.value(&k).unwrap().0, Bitmap::from_bytes(&[7; 100]));
    assert!(cluster.reserve(&k) > version && version > old, "versions never come again");
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
    for n in 0..40 {
        let value = Bytes::from(vec![n; usize::from(n) * 7]);
        let append = WriteCommand::Append { key: key(&format!("k{n}")), value };
        lone.write(&append);
    }
    lone.op(&WriteOp::Reserve { key: key("k1") });
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
        let engine = Engine::restore(config(), &mut &forged(2, &records)[..]);
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
    for unknown in [0, 3, 255] {
        let refused = Engine::restore(config(), &mut &forged(unknown, &old)[..]);
        assert!(matches!(refused, Err(RestoreError::Format)), "format {unknown}");
    }
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
