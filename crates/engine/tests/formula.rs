//! Goal: what a group answers about formulas, presence and bits over its keys is what its bits say,
//! and groups together say what one group does.
//!
//! Method: random bitmaps and formulas, bit by bit against a set of numbers, in one group and over
//! several; the rules of each op by a test.
//!
//! Mutants killed: a formula staged without a share; a histogram without a bound; a key in doubt
//! that is not named; a bit that is counted in a group that does not own it; a value that is not
//! cut to its length.

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

use bitroster_bitmap::{Bitmap, Formula, Step};
use bitroster_command::{
    Op, Outcome, PartQuery, ReadOp, Reply, SourceRef, StageFrom, Want, WriteCommand, WriteOp,
};
use bitroster_engine::ReadStep;
use bitroster_types::{GroupId, Key, UnixMillis, limits::HISTOGRAM_STEPS_MAX};
use bytes::Bytes;
use common::{
    Lone, START,
    cluster::{Cluster, codec},
    commands::sets,
    key,
    scene::{OK, Scene, one_bit},
};
use proptest::prelude::*;

const KEYS: usize = 4;
const BITS: u64 = 1 << 18;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = (0..KEYS as u16).prop_map(|place| vec![Step::Operand(place)]);
    leaf.prop_recursive(4, 24, 2, |inner| {
        let joint =
            prop_oneof![Just(Step::And), Just(Step::Or), Just(Step::Xor), Just(Step::AndNot)];
        (inner.clone(), inner, joint).prop_map(|(a, b, step)| [a, b, vec![step]].concat())
    })
}

fn naive(steps: &[Step], sets: &[BTreeSet<u64>]) -> BTreeSet<u64> {
    let mut stack: Vec<BTreeSet<u64>> = Vec::new();
    for step in steps {
        if let Step::Operand(place) = step {
            stack.push(sets[usize::from(*place)].clone());
            continue;
        }
        let (newer, older) = (stack.pop().unwrap(), stack.pop().unwrap());
        stack.push(match step {
            Step::And => &older & &newer,
            Step::Or => &older | &newer,
            Step::Xor => &older ^ &newer,
            _ => &older - &newer,
        });
    }
    stack.pop().unwrap()
}

fn formula(steps: &[Step]) -> Formula {
    Formula::new(steps.to_vec(), KEYS).unwrap()
}

fn name(n: usize) -> Key {
    key(&format!("{{t}}{n}"))
}

fn numbers(outcome: Outcome) -> Vec<i64> {
    let Outcome::Reply(Reply::Array(replies)) = outcome else { panic!("{outcome:?}") };
    let number = |reply: &Reply| match reply {
        Reply::Integer(number) => *number,
        other => panic!("{other:?}"),
    };
    replies.iter().map(number).collect()
}

fn bitmap(outcome: Outcome) -> Bitmap {
    let Outcome::Reply(Reply::Bulk(bytes)) = outcome else { panic!("{outcome:?}") };
    Bitmap::decode(&bytes).unwrap()
}

fn bits(value: &Bitmap) -> Vec<u64> {
    value.iter_set(0..u64::MAX).collect()
}

/// Asks every group of a cluster.
fn ask_all(cluster: &mut Cluster, op: &ReadOp) -> Vec<Outcome> {
    let groups: Vec<GroupId> = cluster.engines.keys().copied().collect();
    groups.into_iter().map(|group| cluster.read(group, op)).collect()
}

fn value_of(cluster: &mut Cluster, key: &Key) -> Vec<u64> {
    cluster.value(key).map_or_else(Vec::new, |(value, _)| bits(&value))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn groups_together_answer_what_the_bits_say(
        groups in 1..=3u16,
        values in prop::collection::vec(sets(BITS), KEYS),
        list in prop::collection::vec(steps(), 1..6),
        (a, b) in (0..BITS, 0..BITS),
        step in 1..BITS,
        limit in 0..9usize,
    ) {
        let mut cluster = Cluster::new(groups);
        let mut sources = Vec::new();
        for (n, value) in values.iter().enumerate() {
            cluster.publish(&name(n), value, None);
            let version = cluster.header(&name(n)).and_then(|header| header.version);
            sources.push(SourceRef { key: name(n), version });
        }
        let values: Vec<BTreeSet<u64>> =
            values.iter().map(|value| value.iter_set(0..u64::MAX).collect()).collect();
        let range = (a.min(b), a.max(b));
        let wanted: Vec<Vec<u64>> = list
            .iter()
            .map(|steps| naive(steps, &values).range(range.0..range.1).copied().collect())
            .collect();
        let formulas: Vec<Formula> = list.iter().map(|steps| formula(steps)).collect();
        let op = |formulas: &[Formula], want| ReadOp::Evaluate {
            formulas: formulas.to_vec(), sources: sources.clone(), range, want,
        };
        let one = &formulas[..1];

        let mut sums = vec![0; list.len()];
        for outcome in ask_all(&mut cluster, &op(&formulas, Want::Counts)) {
            sums.iter_mut().zip(numbers(outcome)).for_each(|(sum, more)| *sum += more);
        }
        let counts: Vec<i64> = wanted.iter().map(|bits| bits.len() as i64).collect();
        prop_assert_eq!(sums, counts);

        let mut sums = vec![0; (range.1 - range.0).div_ceil(step) as usize];
        for outcome in ask_all(&mut cluster, &op(one, Want::Histogram { step })) {
            sums.iter_mut().zip(numbers(outcome)).for_each(|(sum, more)| *sum += more);
        }
        for (n, sum) in sums.into_iter().enumerate() {
            let start = range.0 + n as u64 * step;
            let inside = wanted[0].iter().filter(|bit| (start..start + step).contains(bit));
            prop_assert_eq!(sum, inside.count() as i64);
        }

        for (from_end, part) in [
            (false, &wanted[0][..limit.min(wanted[0].len())]),
            (true, &wanted[0][wanted[0].len().saturating_sub(limit)..]),
        ] {
            let want = Want::List { limit: limit as u64, from_end };
            let outcomes = ask_all(&mut cluster, &op(one, want));
            let mut found: Vec<u64> =
                outcomes.into_iter().flat_map(|outcome| bits(&bitmap(outcome))).collect();
            found.sort_unstable();
            let skip = if from_end { found.len() - part.len() } else { 0 };
            prop_assert_eq!(&found[skip..][..part.len()], part);
        }

        let outcomes = ask_all(&mut cluster, &op(one, Want::Value));
        let mut found: Vec<u64> =
            outcomes.into_iter().flat_map(|outcome| bits(&bitmap(outcome))).collect();
        found.sort_unstable();
        prop_assert_eq!(&found, &wanted[0]);

        // As a value of another key, whose home may be another group.
        let (target, len_bytes) = (key("target"), BITS / 8);
        let version = cluster.reserve(&target);
        let all: Vec<GroupId> = cluster.engines.keys().copied().collect();
        for group in all.clone() {
            let from = StageFrom::Evaluate {
                formula: formulas[0].clone(), sources: sources.clone(), range, len_bytes,
            };
            cluster.stage(group, &target, version, from);
        }
        cluster.publish_value(&target, version, all, (len_bytes, None));
        let same_home = cluster.home(&target) == cluster.home(&name(0));
        let first = if same_home { 0 } else { 1 << 16 };
        let wanted: Vec<u64> = wanted[0].iter().copied().filter(|bit| *bit >= first).collect();
        prop_assert_eq!(value_of(&mut cluster, &target), wanted);
        prop_assert_eq!(cluster.len(&target), len_bytes);
    }

    #[test]
    fn presence_is_what_the_fields_say(
        touches in prop::collection::vec((0..9_000u64, 1..90u32), 0..60),
        (a, b) in (0..9_000u64, 0..9_000u64),
        after in 0..90u32,
        limit in 0..9u64,
    ) {
        let mut cluster = Cluster::new(3);
        let mut ends = std::collections::BTreeMap::new();
        let now = (START.0 / 1000) as u32;
        for (id, ttl_secs) in touches {
            let touch = WriteCommand::Touch { key: key("online"), id, ttl_secs };
            let was_new = ends.insert(id, now + ttl_secs).is_none();
            prop_assert_eq!(cluster.run(&touch.into()), Reply::Integer(was_new as i64));
        }
        let range = a.min(b)..a.max(b);
        let inside = ends.range(range.clone()).filter(|(_, end)| **end > now + after);
        let present: Vec<u64> = inside.map(|(id, _)| *id).collect();
        let Some(header) = cluster.header(&key("online")) else { return Ok(()) };
        let query = |limit| ReadOp::Part {
            key: key("online"),
            version: header.version,
            query: PartQuery::Present {
                start: range.start * 32, end: range.end * 32, after_secs: now + after, limit,
            },
        };
        let count = |outcome| match outcome {
            Outcome::Reply(Reply::Integer(count)) => count,
            other => panic!("{other:?}"),
        };
        let sum: i64 = ask_all(&mut cluster, &query(None)).into_iter().map(count).sum();
        prop_assert_eq!(sum, present.len() as i64);
        let listed = ask_all(&mut cluster, &query(Some(limit)));
        let mut ids: Vec<u64> = listed.into_iter().flat_map(|o| bits(&bitmap(o))).collect();
        ids.sort_unstable();
        ids.truncate(limit as usize);
        prop_assert_eq!(&ids[..], &present[..present.len().min(limit as usize)]);
    }
}

fn evaluate(formulas: Vec<Formula>, sources: &[Key], range: (u64, u64), want: Want) -> ReadOp {
    let source = |key: &Key| SourceRef { key: key.clone(), version: None };
    ReadOp::Evaluate { formulas, sources: sources.iter().map(source).collect(), range, want }
}

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Reply(Reply::Error(_)))
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let mut lone = Lone::new();
    let (only, all) = (Formula::only(), (0, u64::MAX));
    let other = Formula::new(vec![Step::Operand(1)], 2).unwrap();
    for (formulas, range, want) in [
        (vec![], all, Want::Counts),
        (vec![only.clone(); 4097], all, Want::Counts),
        (vec![only.clone(); 2], all, Want::Value),
        (vec![other], all, Want::Counts),
        (vec![only.clone()], all, Want::Histogram { step: 1 << 40 }),
        (vec![only.clone()], (0, 1), Want::Histogram { step: 0 }),
        (vec![only.clone()], (0, HISTOGRAM_STEPS_MAX + 1), Want::Histogram { step: 1 }),
    ] {
        let op = evaluate(formulas, &[key("k")], range, want);
        assert!(is_refused(&lone.read(&op)), "{op:?}");
    }
    let op = evaluate(vec![only], &[key("k")], (9, 3), Want::Histogram { step: 1 });
    assert_eq!(numbers(lone.read(&op)), []);
}

#[test]
fn long_evaluations_are_done_elsewhere() {
    let mut lone = Lone::new();
    let mut value = Bitmap::new();
    for bit in (0..1 << 22).step_by(3) {
        value.set(bit, true);
    }
    let (bits, mode) = (codec(&value), bitroster_command::MergeMode::Or);
    let merge = WriteOp::Command(WriteCommand::Merge { key: key("k"), mode, bits });
    let work = lone.engine.prepare(&merge).expect("half a megabyte is to be decoded");
    let done = work.run();
    lone.engine.begin(bitroster_types::LogIndex(9), lone.now);
    lone.engine.apply_prepared(&merge, done);
    lone.engine.end();
    let count = value.cardinality().cast_signed();
    let whole = evaluate(vec![Formula::only()], &[key("k")], (0, u64::MAX), Want::Counts);
    let ReadStep::Work(work) = lone.engine.read_step(&whole, lone.now) else {
        panic!("half a megabyte is looked at")
    };
    assert_eq!(numbers(work.run().into_outcome()), [count]);
    let small = evaluate(vec![Formula::only()], &[key("k")], (0, 300), Want::Counts);
    let ReadStep::Done(outcome) = lone.engine.read_step(&small, lone.now) else {
        panic!("a few bits take no time")
    };
    assert_eq!(numbers(outcome), [100]);
}

#[test]
fn a_part_tells_what_it_costs() {
    let mut lone = Lone::new();
    let info = |lone: &mut Lone, name: &str| {
        let op = ReadOp::Part { key: key(name), version: None, query: PartQuery::Info };
        numbers(lone.read(&op))
    };
    assert_eq!(info(&mut lone, "none"), [0; 9]);
    let run = |lone: &mut Lone, offset| {
        lone.write(&WriteCommand::SetBit { key: key("k"), offset, value: true });
    };
    run(&mut lone, 7);
    let flat = info(&mut lone, "k");
    assert_eq!(flat[1..], [1, 1, 1, 0, 0, 0, 0, 1]);
    assert!((10..60).contains(&flat[0]), "{} bytes", flat[0]);
    run(&mut lone, 1 << 20);
    run(&mut lone, (1 << 20) + 1);
    let tree = info(&mut lone, "k");
    assert_eq!(tree[1..], [3, (1 << 17) + 1, 2, 2, 0, 0, 0, 0]);
    assert!((200..1_000).contains(&tree[0]), "{} bytes", tree[0]);
}

fn holding(pattern: &'static str, offset: u64, limit: u64) -> ReadOp {
    ReadOp::Holding { pattern: Bytes::from_static(pattern.as_bytes()), offset, limit }
}

fn held(outcome: Outcome) -> (i64, Vec<Bytes>) {
    let Outcome::Reply(Reply::Array(parts)) = outcome else { panic!("{outcome:?}") };
    let [Reply::Integer(count), Reply::Array(names)] = &parts[..] else { panic!("{parts:?}") };
    let name = |reply: &Reply| match reply {
        Reply::Bulk(name) => name.clone(),
        other => panic!("{other:?}"),
    };
    let mut names: Vec<Bytes> = names.iter().map(name).collect();
    names.sort();
    (*count, names)
}

#[test]
fn the_keys_that_hold_a_bit_are_found_where_the_bit_lies() {
    let mut cluster = Cluster::new(3);
    let far = (5 << 16) + 9;
    for n in 0..30u64 {
        for offset in [9, far] {
            let (key, value) = (key(&format!("k{n}")), n % 3 != 0);
            cluster.run(&WriteCommand::SetBit { key, offset, value }.into());
        }
    }
    let expiring = WriteCommand::Expire {
        key: key("k1"),
        expiry: bitroster_command::Expiry::In(500),
        condition: Default::default(),
    };
    cluster.run(&Op::from(expiring));
    let owner = cluster.map.group_of_bit(&key("k1"), far);
    for outcome in ask_all(&mut cluster, &holding("k*", far, 9)) {
        assert!(outcome == Outcome::NotOwner || held(outcome).0 == 20);
    }
    assert_eq!(held(cluster.read(owner, &holding("k?", far, 100))).0, 6);
    let (count, names) = held(cluster.read(owner, &holding("k*", far, 4)));
    assert_eq!((count, names.len()), (20, 4));
    let near = ask_all(&mut cluster, &holding("k*", 9, 100)).into_iter().map(held);
    let mut names: Vec<Bytes> = near.flat_map(|(_, names)| names).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20, "each at its home");
    cluster.now = UnixMillis(START.0 + 500);
    cluster.write(owner, WriteOp::Tick);
    // Home may have prolonged the key: a part past its expiry is named until home drops it.
    assert_eq!(held(cluster.read(owner, &holding("*", far, 100))).0, 20);
    assert_eq!(held(cluster.read(owner, &holding("k1", far, 100))).0, 1);
}

#[test]
fn a_key_that_may_hold_a_bit_by_what_is_staged_is_named() {
    let (mut scene, _) = Scene::spread();
    let (group, bit) = (scene.group, scene.bit);
    let count = |scene: &mut Scene, pattern, bit| {
        held(scene.cluster.read(group, &holding(pattern, bit, 9))).0
    };
    let version = scene.reserve();
    assert_eq!(scene.stage(version, one_bit(bit + 1)), OK);
    assert_eq!(count(&mut scene, "*", bit + 1), 1, "it may be published already");
    assert_eq!(count(&mut scene, "*", bit), 1, "or not");
    assert_eq!(count(&mut scene, "x*", bit + 1), 0);
    scene.abort(version);
    assert_eq!(count(&mut scene, "*", bit + 1), 0);
}
