//! Goal: SCAN returns every key that is there all the time, whatever comes and goes meanwhile, in
//! bounded steps; RANDOMKEY and KEYS speak of live records only.
//!
//! Method: walks with deletions, insertions and enough keys under one hash tag to split pages.
//!
//! Mutants killed: a cursor that does not stop at a new place; a branch entered at the first one's
//! rest.

#![allow(
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "whatever is not as it should be fails the test"
)]

mod common;

use std::collections::BTreeSet;

use bitroster_command::{Expiry, Outcome, ReadCommand, ReadOp, Reply, WriteCommand, WriteOp};
use bitroster_types::{UnixMillis, limits::SCAN_KEYS_EXAMINED_MAX};
use bytes::Bytes;
use common::{Lone, cluster::Cluster, key};

fn put(lone: &mut Lone, name: &str) {
    lone.write(&WriteCommand::SetBit { key: key(name), offset: 3, value: true });
}

fn scan(
    lone: &mut Lone,
    cursor: u64,
    count: u64,
    pattern: Option<&'static str>,
) -> (u64, Vec<String>) {
    let pattern = pattern.map(|pattern| Bytes::from_static(pattern.as_bytes()));
    let command = ReadCommand::Scan { cursor, pattern, count, type_matches: true };
    let Reply::Array(reply) = lone.run(&command.into()) else { panic!("SCAN answers an array") };
    let [Reply::Bulk(next), Reply::Array(keys)] = &reply[..] else { panic!("{reply:?}") };
    (std::str::from_utf8(next).unwrap().parse().unwrap(), names(keys))
}

fn names(keys: &[Reply]) -> Vec<String> {
    let name = |key: &Reply| match key {
        Reply::Bulk(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?} is no key"),
    };
    keys.iter().map(name).collect()
}

#[test]
fn a_scan_sees_every_key_that_stays_while_others_come_and_go() {
    let mut lone = Lone::new();
    for n in 0..3_000 {
        put(&mut lone, &format!("{{tag}}stays:{n}"));
        put(&mut lone, &format!("goes:{n}"));
    }
    let (mut seen, mut cursor, mut calls) = (BTreeSet::new(), 0, 0);
    loop {
        let (next, keys) = scan(&mut lone, cursor, 50, Some("*stays:*"));
        assert!(keys.len() <= 60, "{} keys for a count of 50", keys.len());
        assert!(next < 1 << 48, "the upper bits are the router's");
        seen.extend(keys);
        lone.write(&WriteCommand::Delete { keys: vec![key(&format!("goes:{calls}"))] });
        for n in 0..20 {
            put(&mut lone, &format!("{{tag}}comes:{calls}:{n}"));
        }
        calls += 1;
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 3_000);
    assert!(calls > 100, "{calls} calls");
}

#[test]
fn a_scan_that_asks_for_everything_gets_it_in_several_calls() {
    let mut lone = Lone::new();
    for n in 0..SCAN_KEYS_EXAMINED_MAX + 500 {
        put(&mut lone, &format!("k{n}"));
    }
    let (next, first) = scan(&mut lone, 0, u64::MAX, None);
    let len = first.len() as u64;
    assert!((SCAN_KEYS_EXAMINED_MAX..SCAN_KEYS_EXAMINED_MAX + 10).contains(&len), "{len} keys");
    let (end, rest) = scan(&mut lone, next, u64::MAX, None);
    assert_eq!((end, len + rest.len() as u64), (0, SCAN_KEYS_EXAMINED_MAX + 500));
}

#[test]
fn a_cursor_from_nowhere_ends_the_walk() {
    let mut lone = Lone::new();
    put(&mut lone, "k");
    assert_eq!(scan(&mut lone, u64::MAX, 10, None), (0, vec![]));
    assert_eq!(scan(&mut lone, 0, u64::MAX, None), (0, vec!["k".to_owned()]));
}

#[test]
fn keys_that_are_past_their_expiry_or_parts_of_others_are_not_listed() {
    let mut lone = Lone::new();
    put(&mut lone, "stays");
    put(&mut lone, "goes");
    lone.write(&WriteCommand::GetEx { key: key("goes"), expiry: Expiry::In(10) });
    lone.now.0 += 10;
    let all = ReadCommand::Keys { pattern: Bytes::from_static(b"*") };
    assert_eq!(lone.run(&all.into()), Reply::Array(vec![Reply::bulk("stays")]));
    assert_eq!(lone.run(&ReadCommand::RandomKey.into()), Reply::bulk("stays"));
    assert_eq!(scan(&mut lone, 0, 10, None).1, ["stays"]);
    assert_eq!(lone.run(&ReadCommand::DbSize.into()), Reply::Integer(1));

    let mut cluster = Cluster::new(4);
    for n in 0..40u64 {
        let set = WriteCommand::SetBit { key: key("spread"), offset: n << 16, value: true };
        cluster.run(&set.into());
    }
    let mut listed = 0;
    for group in cluster.engines.keys().copied().collect::<Vec<_>>() {
        let all = ReadOp::Command(ReadCommand::Keys { pattern: Bytes::from_static(b"*") });
        let Outcome::Reply(Reply::Array(keys)) = cluster.read(group, &all) else {
            panic!("KEYS answers an array")
        };
        listed += keys.len();
        assert_eq!(cluster.engines[&group].stats().parts, u64::from(keys.is_empty()));
    }
    assert_eq!(listed, 1);
}

#[test]
fn what_a_walk_has_left_out_as_expired_does_not_come_back() {
    let mut lone = Lone::new();
    put(&mut lone, "k");
    lone.write(&WriteCommand::GetEx { key: key("k"), expiry: Expiry::In(10) });
    let (early, late) = (lone.now, UnixMillis(lone.now.0 + 10));
    let listed = |lone: &Lone, now| {
        let all = Bytes::from_static(b"*");
        let scan = ReadCommand::Scan { cursor: 0, pattern: None, count: 10, type_matches: true };
        [ReadCommand::Keys { pattern: all }, scan, ReadCommand::DbSize, ReadCommand::RandomKey]
            .map(|command| lone.engine.read(&ReadOp::Command(command), now))
    };
    let name = Reply::bulk("k");
    let names = Reply::Array(vec![name.clone()]);
    let page = Reply::Array(vec![Reply::bulk("0"), names.clone()]);
    let there = [names, page, Reply::Integer(1), name].map(Outcome::Reply);
    assert_eq!(listed(&lone, late), there, "a reader's clock drops nothing");
    assert_eq!(listed(&lone, early), there);
    lone.now = late;
    lone.op(&WriteOp::Tick);
    let nothing = Reply::Array(vec![]);
    let page = Reply::Array(vec![Reply::bulk("0"), nothing.clone()]);
    let gone = [nothing, page, Reply::Integer(0), Reply::Nil].map(Outcome::Reply);
    assert_eq!(listed(&lone, late), gone);
    assert_eq!(listed(&lone, early), gone, "a slower clock brings nothing back");
}

#[test]
fn random_keys_differ_as_time_goes_by() {
    let mut lone = Lone::new();
    for n in 0..1_000 {
        put(&mut lone, &format!("k{n}"));
    }
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        lone.now.0 += 1;
        let reply = lone.run(&ReadCommand::RandomKey.into());
        seen.extend(names(&[reply]));
    }
    assert!(seen.len() > 100, "{} different keys of 200", seen.len());
}

#[test]
fn work_done_outside_gives_what_work_done_inside_gives() {
    let (mut inside, mut outside) = (Lone::new(), Lone::new());
    let fill = |seed: usize| {
        let byte = |n: usize| (n.wrapping_mul(seed) >> 7) as u8;
        Bytes::from((0..400_000).map(byte).collect::<Vec<u8>>())
    };
    let writes: Vec<WriteOp> = [
        WriteCommand::MSet {
            pairs: vec![(key("{x}a"), fill(2_654_435_761)), (key("{x}b"), fill(40_503))],
            only_if_none: false,
        },
        WriteCommand::BitOp {
            logic: bitroster_command::BitLogic::Xor,
            target: key("{x}c"),
            sources: vec![key("{x}a"), key("{x}b")],
        },
    ]
    .map(WriteOp::Command)
    .into();
    let mut prepared = 0;
    for op in &writes {
        let wanted = inside.op(op);
        let index = bitroster_types::LogIndex(outside.engine.applied().0 + 1);
        outside.engine.begin(index, outside.now);
        let outcome = match outside.engine.prepare(op) {
            Some(work) => {
                prepared += 1;
                assert!(work.cost_bytes() >= 256 << 10);
                outside.engine.apply_prepared(op, work.run())
            }
            None => outside.engine.apply(op),
        };
        assert_eq!(outcome, wanted);
    }
    assert_eq!(prepared, 1);
    let get = ReadOp::Command(ReadCommand::Get { key: key("{x}c") });
    let bitroster_engine::ReadStep::Work(work) = outside.engine.read_step(&get, outside.now) else {
        panic!("a large GET is work")
    };
    lone_moves_on(&mut outside);
    assert_eq!(work.run().into_outcome(), inside.read(&get), "work keeps what it was given");
}

fn lone_moves_on(lone: &mut Lone) {
    lone.write(&WriteCommand::SetBit { key: key("{x}c"), offset: 5, value: true });
    lone.write(&WriteCommand::SetBit { key: key("{x}c"), offset: 5, value: false });
    lone.write(&WriteCommand::Delete { keys: vec![key("{x}c")] });
}

#[test]
fn prepared_work_that_is_out_of_date_is_done_again() {
    let mut lone = Lone::new();
    let pairs = vec![(key("{x}a"), Bytes::from(vec![0x0F; 400_000]))];
    lone.write(&WriteCommand::MSet { pairs, only_if_none: false });
    let op = WriteOp::Command(WriteCommand::BitOp {
        logic: bitroster_command::BitLogic::Or,
        target: key("{x}c"),
        sources: vec![key("{x}a")],
    });
    let done = lone.engine.prepare(&op).unwrap().run();
    lone.write(&WriteCommand::SetBit { key: key("{x}a"), offset: 0, value: true });
    assert_eq!(lone.engine.apply_prepared(&op, done), Reply::Integer(400_000).into());
    let bit = ReadCommand::GetBit { key: key("{x}c"), offset: 0 };
    assert_eq!(lone.run(&bit.into()), Reply::Integer(1));
}

#[test]
fn a_scan_sees_all_keys_of_a_slot_that_was_split_twice() {
    let mut lone = Lone::new();
    for n in 0..12_000 {
        put(&mut lone, &format!("{{tag}}:{n}"));
    }
    let (mut seen, mut cursor) = (BTreeSet::new(), 0);
    loop {
        let (next, keys) = scan(&mut lone, cursor, 700, None);
        seen.extend(keys);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 12_000);
}
