//! Goal: turns, transactions, scans and expiries do what is promised across groups.
//!
//! Method: named cases on four groups, with the number of calls to groups where that is the point.
//!
//! Mutants killed: no `is_held_up` in the flush.

mod support;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, Mutex, atomic::Ordering},
    time::Duration,
};

use bitroster_command::{
    BitLogic, Command, Expiry, ExpiryCondition, ReadCommand, Reply, SetReply, WriteCommand,
};
use bitroster_placement::ClusterMap;
use bitroster_router::{Router, Spawn};
use bitroster_types::{Key, limits::SHORT_RESULT_OPERANDS_MIN};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use support::{Ask, Cluster, Fault, block_on, fresh, key, map, pipeline};

static MAP: LazyLock<ClusterMap> = LazyLock::new(|| map(4));

fn set_bit(name: &str, offset: u64) -> Command {
    Command::Write(WriteCommand::SetBit { key: key(name), offset, value: true })
}

fn get_bit(name: &str, offset: u64) -> Command {
    Command::Read(ReadCommand::GetBit { key: key(name), offset })
}

fn count(name: &str) -> Command {
    Command::Read(ReadCommand::BitCount { key: key(name), range: None })
}

fn delete(name: &str) -> Command {
    Command::Write(WriteCommand::Delete { keys: vec![key(name)] })
}

fn set(name: &str, value: &'static str) -> Command {
    Command::Write(WriteCommand::Set {
        key: key(name),
        value: Bytes::from_static(value.as_bytes()),
        existence: None,
        expiry: Expiry::Clear,
        reply: SetReply::Status,
    })
}

fn run(router: &Router, command: Command) -> Reply {
    block_on(router.ask(command))
}

/// A router whose key `big` has a bit in each of 40 segments.
fn with_big() -> (Router, Arc<Cluster>) {
    let (router, cluster) = fresh(&MAP);
    for segment in 0..40 {
        assert_eq!(run(&router, set_bit("big", segment << 16)), Reply::Integer(0));
    }
    assert!(cluster.parts() == 3, "all four groups hold some of it");
    (router, cluster)
}

/// A segment of another group than the key's home.
fn away(name: &str) -> u64 {
    let home = MAP.home(name.as_bytes());
    let away = |segment: &u64| MAP.group_of_bit(name.as_bytes(), segment << 16) != home;
    (1..).find(away).expect("four groups own segments")
}

#[test]
fn first_touches_of_one_pipeline_share_their_rounds() {
    let (router, cluster) = fresh(&MAP);
    let base = away("fresh") << 16;
    let commands: Vec<Command> = (0..64).map(|bit| set_bit("fresh", base + bit)).collect();
    let replies = block_on(pipeline(&router, &commands));
    assert!(replies.iter().all(|reply| *reply == Reply::Integer(0)));
    assert_eq!(cluster.calls(), 3, "the batch, the leave, the writes");
    assert_eq!(run(&router, count("fresh")), Reply::Integer(64));
}

#[test]
fn a_pipeline_reads_its_own_first_touch() {
    let (router, _) = fresh(&MAP);
    let far = away("k") << 16;
    let commands = [
        set_bit("k", far),
        get_bit("k", far),
        set_bit("k", far),
        count("k"),
        delete("k"),
        count("k"),
    ];
    let replies = block_on(pipeline(&router, &commands));
    assert_eq!(replies, [0, 1, 1, 1, 1, 0].map(Reply::Integer));
}

#[test]
fn reads_in_place_take_no_call() {
    let (router, cluster) = with_big();
    let before = cluster.calls();
    let mut turn = router.turn();
    for segment in 0..40 {
        turn.try_push(get_bit("big", segment << 16)).unwrap();
    }
    assert_eq!(turn.waiting(), 0);
    turn.drain(|reply| assert_eq!(reply, Reply::Integer(1)));
    assert_eq!(cluster.calls(), before);
}

#[test]
fn reads_that_must_wait_are_asked_together_and_before_the_writes() {
    let (router, cluster) = with_big();
    cluster.in_place.store(false, Ordering::Relaxed);
    let commands = [get_bit("big", 5), set_bit("big", 5), get_bit("big", 5)];
    let replies = block_on(pipeline(&router, &commands));
    assert_eq!(replies, [0, 0, 1].map(Reply::Integer));
}

#[test]
fn a_read_does_not_overtake_one_of_its_group_that_waits() {
    let (router, cluster) = with_big();
    let mut turn = router.turn();
    cluster.in_place.store(false, Ordering::Relaxed);
    turn.try_push(get_bit("big", 5)).unwrap();
    cluster.in_place.store(true, Ordering::Relaxed);
    turn.try_push(get_bit("big", 5)).unwrap();
    assert_eq!(turn.waiting(), 2);
    block_on(turn.flush());
    turn.try_push(get_bit("big", 5)).unwrap();
    assert_eq!(turn.waiting(), 0);
}

#[test]
fn one_node_counts_the_first_segments_of_several_homes() {
    use BitLogic::{And, AndOr, Diff, Diff1, One, Or, Xor};
    let (router, cluster) = fresh(&MAP);
    cluster.in_place.store(false, Ordering::Relaxed);
    let bits = [("a", &[1, 2, 3, 9][..]), ("b", &[2, 3, 4]), ("c", &[3, 5])];
    for (name, offsets) in bits {
        offsets.iter().for_each(|offset| drop(run(&router, set_bit(name, *offset))));
    }
    let homes: BTreeSet<_> = bits.iter().map(|(name, _)| MAP.home(&key(name))).collect();
    assert_eq!(homes.len(), 3, "the point of it");
    // How many folds are asked for: none where an operand is not there that all needs, or where
    // those that are there have one home.
    for (logic, keys, bits, folds) in [
        (And, &["a", "b", "c"][..], 1, 1),
        (And, &["a", "nobody", "c"], 0, 0),
        (Or, &["a", "b", "nobody", "c"], 6, 1),
        (Xor, &["a", "b", "c"], 5, 1),
        (Diff, &["a", "b", "c"], 2, 1),
        (Diff, &["a", "nobody", "c"], 3, 1),
        (Diff, &["nobody", "a", "c"], 0, 0),
        (Diff1, &["a", "b", "c"], 2, 1),
        (Diff1, &["nobody", "a", "c"], 5, 1),
        (Diff1, &["a", "nobody", "gone"], 0, 0),
        (AndOr, &["a", "b", "c"], 2, 1),
        (AndOr, &["nobody", "b", "c"], 0, 0),
        (AndOr, &["a", "nobody", "gone"], 0, 0),
        (One, &["a", "b", "c"], 4, 1),
        (One, &["a", "b", "a", "c"], 2, 1),
    ] {
        let sources: Vec<_> = keys.iter().map(|name| key(name)).collect();
        // Every second fold fails.
        for _ in 0..2 {
            let ask = Command::Read(ReadCommand::BitOpCard { logic, sources: sources.clone() });
            let (before, calls) = (cluster.folds.load(Ordering::Relaxed), cluster.calls());
            assert_eq!(run(&router, ask), Reply::Integer(bits), "{logic:?} {keys:?}");
            assert_eq!(cluster.folds.load(Ordering::Relaxed) - before, folds, "{logic:?} {keys:?}");
            if folds == 0 && (logic == And || keys[0] == "nobody") {
                // The records, and once more that they are as they were.
                let calls = cluster.calls() - calls;
                assert!(calls <= 2 * keys.len() as u64, "{logic:?} {keys:?}: {calls}");
            }
        }
    }
}

#[test]
fn commands_that_answer_with_values_never_wait_together() {
    let get = || Command::Read(ReadCommand::Get { key: key("k") });
    let get_delete = || Command::Write(WriteCommand::GetDel { key: key("k") });
    for groups in [1, 4] {
        let (router, cluster) = fresh(&map(groups));
        let mut turn = router.turn();
        turn.try_push(set("k", "one")).unwrap();
        assert_eq!(turn.try_push(get()), Err(get()));
        assert_eq!(turn.try_push(get_delete()), Err(get_delete()));
        let commands = [set("k", "two"), get(), set("k", "three"), get_delete(), get()];
        let values = [Reply::Ok, Reply::bulk("two"), Reply::Ok, Reply::bulk("three"), Reply::Nil];
        assert_eq!(block_on(pipeline(&router, &commands)), values);
        cluster.in_place.store(false, Ordering::Relaxed);
        assert_eq!(router.turn().try_push(get()), Err(get()));
        assert_eq!(block_on(pipeline(&router, &commands)), values);
    }
}

#[test]
fn a_watched_key_that_changed_anywhere_stops_the_transaction() {
    let (router, _) = with_big();
    for offset in [3, away("big") << 16 | 3] {
        let watched = block_on(router.watch(&[key("big")])).unwrap();
        assert_eq!(
            block_on(router.transaction(&watched, vec![count("big")])),
            Reply::Array(vec![run(&router, count("big"))])
        );
        run(&router, set_bit("big", offset));
        assert_eq!(
            block_on(router.transaction(&watched, vec![set("big", "lost")])),
            Reply::NilArray
        );
    }
}

#[test]
fn a_transaction_of_one_group_is_one_entry() {
    let (router, cluster) = fresh(&MAP);
    let watched = block_on(router.watch(&[key("{t}a")])).unwrap();
    let before = cluster.calls();
    let commands = vec![set_bit("{t}a", 7), set_bit("{t}b", 7), count("{t}a")];
    let reply = block_on(router.transaction(&watched, commands));
    assert_eq!(reply, Reply::Array([0, 0, 1].map(Reply::Integer).to_vec()));
    assert_eq!(cluster.calls(), before + 1);
    assert_eq!(block_on(router.transaction(&watched, vec![])), Reply::NilArray);
    assert_eq!(block_on(router.transaction(&[], vec![])), Reply::Array(vec![]));
}

#[test]
fn a_scan_meets_every_key_of_every_group() {
    let (router, _) = with_big();
    let names: BTreeSet<String> = (0..300).map(|number| format!("key:{number}")).collect();
    for name in &names {
        run(&router, set(name, "x"));
    }
    let (mut cursor, mut found) = (0, BTreeSet::new());
    loop {
        let scan = ReadCommand::Scan { cursor, pattern: None, count: 7, type_matches: true };
        let Reply::Array(page) = run(&router, Command::Read(scan)) else { panic!("no page") };
        let [Reply::Bulk(next), Reply::Array(keys)] = &page[..] else { panic!("{page:?}") };
        for key in keys {
            let Reply::Bulk(key) = key else { panic!("{key:?}") };
            found.insert(String::from_utf8(key.to_vec()).unwrap());
        }
        cursor = String::from_utf8(next.to_vec()).unwrap().parse().unwrap();
        if cursor == 0 {
            break;
        }
    }
    assert!(found.remove("big"));
    assert_eq!(found, names);
    let past = ReadCommand::Scan { cursor: 99 << 48, pattern: None, count: 7, type_matches: true };
    let end = Reply::Array(vec![Reply::bulk("0"), Reply::Array(vec![])]);
    assert_eq!(run(&router, Command::Read(past)), end);
    assert_eq!(run(&router, Command::Read(ReadCommand::DbSize)), Reply::Integer(301));
    assert!(matches!(run(&router, Command::Read(ReadCommand::RandomKey)), Reply::Bulk(_)));
    let all = Command::Read(ReadCommand::Keys { pattern: Bytes::from_static(b"*") });
    let Reply::Array(keys) = run(&router, all) else { panic!("no keys") };
    assert_eq!(keys.len(), 301);
    assert_eq!(run(&router, Command::Write(WriteCommand::Flush)), Reply::Ok);
    assert_eq!(run(&router, Command::Read(ReadCommand::DbSize)), Reply::Integer(0));
    assert_eq!(run(&router, Command::Read(ReadCommand::RandomKey)), Reply::Nil);
}

#[test]
fn an_expired_key_is_gone_from_every_group() {
    let (router, cluster) = with_big();
    let expire = WriteCommand::Expire {
        key: key("big"),
        expiry: Expiry::In(10_000),
        condition: ExpiryCondition::default(),
    };
    assert_eq!(run(&router, Command::Write(expire)), Reply::Integer(1));
    assert_eq!(run(&router, count("big")), Reply::Integer(40));
    cluster.advance(Duration::from_secs(11));
    for segment in 0..40 {
        assert_eq!(run(&router, get_bit("big", segment << 16)), Reply::Integer(0));
    }
    assert_eq!(run(&router, count("big")), Reply::Integer(0));
    assert_eq!(run(&router, set_bit("big", away("big") << 16)), Reply::Integer(0));
    assert_eq!(run(&router, count("big")), Reply::Integer(1));
    cluster.finish(&router);
    assert_eq!(cluster.parts(), 1);
    assert_eq!(run(&router, count("big")), Reply::Integer(1));
}

#[test]
fn a_deleted_key_leaves_no_parts() {
    let (router, cluster) = with_big();
    assert_eq!(run(&router, delete("big")), Reply::Integer(1));
    assert_eq!(cluster.parts(), 0);
    assert_eq!(cluster.unfinished(), vec![]);
}

#[test]
fn a_combination_makes_parts_where_it_has_bits_alone() {
    let (router, cluster) = with_big();
    let end = SHORT_RESULT_OPERANDS_MIN * 8;
    // Bits of both in one segment, which is not the destination's home's, and in the first one.
    let shared = [7, (away("to") << 16) + 7];
    let bits = |own: u64| shared.into_iter().chain([0, 1, 2, 3].map(|n| end + (n << 16) + own));
    for (name, own) in [("a", 1), ("b", 2)] {
        bits(own).for_each(|bit| drop(run(&router, set_bit(name, bit))));
    }
    let combine = |logic, to: &str| {
        let sources = vec![key("a"), key("b")];
        Command::Write(WriteCommand::BitOp { logic, target: key(to), sources })
    };
    let len = Reply::Integer(((end + (3 << 16)) / 8 + 1).cast_signed());
    let operands = cluster.parts();
    assert_eq!(run(&router, combine(BitLogic::And, "to")), len);
    assert_eq!(run(&router, count("to")), Reply::Integer(2));
    assert_eq!(cluster.parts() - operands, 1, "of four groups");
    // What the destination had elsewhere goes.
    assert_eq!(run(&router, combine(BitLogic::And, "big")), len);
    assert_eq!(run(&router, count("big")), Reply::Integer(2));
    let shared_group = MAP.group_of_bit(b"big", shared[1]);
    let of_big = u64::from(shared_group != MAP.home(b"big"));
    assert_eq!(cluster.parts(), operands - 3 + 1 + of_big);
    // What is the same in both is a long result of OR, and none of XOR.
    for name in ["a", "b"] {
        let noise: Vec<u8> =
            (0..1 << 19).map(|at: u32| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        let write = WriteCommand::SetRange { key: key(name), offset: 1 << 20, value: noise.into() };
        run(&router, Command::Write(write));
    }
    run(&router, combine(BitLogic::Xor, "to"));
    assert_eq!(run(&router, count("to")), Reply::Integer(8));
    run(&router, combine(BitLogic::Or, "to"));
    let counted = Command::Read(ReadCommand::BitCount { key: key("a"), range: None });
    let Reply::Integer(of_a) = run(&router, counted) else { panic!("a count") };
    assert_eq!(run(&router, count("to")), Reply::Integer(of_a + 4));
    assert_eq!((cluster.staged(), cluster.unfinished()), (0, vec![]));
}

#[test]
fn an_absent_source_takes_nothing_from_those_that_are_there() {
    use BitLogic::{Diff1, One, Or, Xor};
    let (router, _) = fresh(&MAP);
    let names = || (0..).map(|at: u32| format!("k{at}"));
    let home = |name: &str| MAP.home(name.as_bytes());
    let absent = names().find(|name| home(name) != home("b")).expect("there are four groups");
    let to = names().find(|name| home(name) == home("b")).expect("some key has the same home");
    for bit in [7, SHORT_RESULT_OPERANDS_MIN * 8] {
        run(&router, set_bit("b", bit));
    }
    for logic in [Or, Xor, Diff1, One] {
        let sources = vec![key(&absent), key("b")];
        run(&router, Command::Write(WriteCommand::BitOp { logic, target: key(&to), sources }));
        assert_eq!(run(&router, count(&to)), Reply::Integer(2), "{logic:?}");
        assert_eq!(run(&router, get_bit(&to, 7)), Reply::Integer(1), "{logic:?}");
    }
}

#[test]
fn a_group_that_does_not_tell_whether_a_result_is_short_combines_when_it_stages() {
    let (router, cluster) = fresh(&MAP);
    cluster.in_place.store(false, Ordering::Relaxed);
    let segments: Vec<u64> = (0..8).map(|n| SHORT_RESULT_OPERANDS_MIN * 8 + (n << 16)).collect();
    let groups: BTreeSet<_> = segments.iter().map(|bit| MAP.group_of_bit(b"a", *bit)).collect();
    for (name, own) in [("a", 1), ("b", 2)] {
        segments.iter().for_each(|bit| drop(run(&router, set_bit(name, bit + own))));
    }
    let (logic, target) = (BitLogic::And, key("to"));
    let nothing =
        Command::Write(WriteCommand::BitOp { logic, target, sources: vec![key("a"), key("b")] });
    let before = cluster.calls();
    let len = run(&router, nothing.clone());
    let mut fallen_back = 0;
    for call in 0..cluster.calls() - before {
        run(&router, delete("to"));
        cluster.fail_after(call, Fault::NoLeader);
        let reply = run(&router, nothing.clone());
        if !reply.is_error() {
            assert_eq!(reply, len);
            fallen_back += 1;
        }
        assert_eq!(run(&router, count("to")), Reply::Integer(0));
    }
    assert_eq!(fallen_back, groups.len(), "each is asked once, and nothing else may fail");
    cluster.finish(&router);
    assert_eq!(cluster.staged(), 0);
}

/// Keeps what a router wants started.
#[derive(Default)]
struct Kept(Mutex<Vec<BoxFuture<'static, ()>>>);

impl Spawn for Kept {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        self.0.lock().expect("nobody has panicked").push(task);
    }
}

#[test]
fn a_removal_is_answered_before_its_home_has_forgotten_it() {
    let (router, cluster) = fresh(&MAP);
    let kept = Arc::new(Kept::default());
    let router = router.with_spawn(kept.clone());
    let bits = [0, away("k") << 16];
    bits.into_iter().for_each(|bit| drop(run(&router, set_bit("k", bit))));
    assert_eq!(cluster.parts(), 1);
    assert_eq!(run(&router, delete("k")), Reply::Integer(1));
    assert_eq!((cluster.parts(), cluster.staged()), (0, 0), "the parts are gone");
    assert_eq!(cluster.unfinished().len(), 1, "{:?}", cluster.unfinished());
    let tasks = std::mem::take(&mut *kept.0.lock().expect("nobody has panicked"));
    assert_eq!(tasks.len(), 1);
    tasks.into_iter().for_each(block_on);
    assert_eq!(cluster.unfinished(), vec![]);
}

#[test]
fn a_value_past_the_limit_is_refused() {
    let (router, _) = fresh(&MAP);
    let offset = support::VALUE_BYTES_MAX - 1;
    let value = Bytes::from_static(b"ab");
    let command = WriteCommand::SetRange { key: key("k"), offset, value };
    let Reply::Error(error) = run(&router, Command::Write(command)) else { panic!("written") };
    let text = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(error.to_string(), text);
    run(&router, set_bit("k", support::VALUE_BYTES_MAX * 8));
    run(&router, set_bit("k", away("k") << 16));
    let get = Command::Read(ReadCommand::Get { key: Key::new(b"k").unwrap() });
    let Reply::Error(error) = run(&router, get) else { panic!("sent") };
    assert_eq!(error.to_string(), text);
    assert_eq!(run(&router, count("k")), Reply::Integer(2));
}
