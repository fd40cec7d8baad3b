//! Goal: a map that changes under a request costs time and nothing else: no wrong reply, nothing
//! lost, nothing done twice.
//!
//! Method: random commands through a router over real engines, while groups learn at any call that
//! the map is newer than the router's, or say for a while that they own nothing; every reply and
//! every value at the end must be those of a naive twin. Named cases move a whole group's data
//! between plan and send.
//!
//! Mutants killed: `attempts` keeping its first map; `StaleMap` handed to the client; no pause
//! after `NotOwner`; the pieces of a range that were refused not written by themselves; a part not
//! activated again; `refuse_overtaken` left out; a turn keeping its map; `has_moved` always false;
//! a refused queue failed; FLUSHALL that one group refuses made "unknown"; a write's reads as lax
//! as its connection's; lax reads in place.

mod support;

use std::sync::{Arc, LazyLock, atomic::Ordering};

use bitroster_command::{Command, Expiry, ReadCommand, Reply, SetReply, WriteCommand};
use bitroster_placement::ClusterMap;
use bitroster_router::{Reading, Router, Transport};
use bitroster_types::{Consistency, GroupId, Slot};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use support::{
    Ask, Cluster, WIDTH, block_on,
    commands::{command, spread},
    fresh, key, map, options, pipeline,
    twin::Twin,
};

static MAP: LazyLock<ClusterMap> = LazyLock::new(|| map(3));

const NAMES: [&str; 5] = ["a", "b", "{a}2", "c", "events:today"];

/// The same owners at a later epoch.
fn at_epoch(map: &ClusterMap, epoch: u64) -> ClusterMap {
    let mut later = map.clone();
    later.epoch = epoch;
    later
}

/// Groups 1 and 2, and then group 3 in the place of group 1.
fn succession() -> (ClusterMap, ClusterMap) {
    let before = ClusterMap::plan(&[GroupId(1), GroupId(2)], WIDTH);
    let moves: Vec<(Slot, GroupId)> =
        before.slots_of(GroupId(1)).into_iter().map(|slot| (slot, GroupId(3))).collect();
    let after = before.reassign(&moves);
    (before, after)
}

/// A router that follows `map`, over groups 1 to 3, of which 3 has nothing yet.
fn before_succession(request_timeout_ms: u64) -> (Router, Arc<Cluster>, ClusterMap) {
    let (before, after) = succession();
    let first = Slot::default();
    let groups = before.reassign(&[(first, GroupId(3))]);
    let groups = groups.reassign(&[(first, before.owner(first))]);
    let cluster = Cluster::new(&groups);
    let transport = Arc::clone(&cluster) as Arc<dyn Transport>;
    (Router::new(before, transport, options(request_timeout_ms)), cluster, after)
}

/// A key of group 1.
fn moving_key(router: &Router) -> String {
    let is_moving = |name: &String| router.map().home(name.as_bytes()) == GroupId(1);
    (0..).map(|number| format!("key:{number}")).find(is_moving).expect("half of all keys are")
}

fn set_bit(name: &str, offset: u64) -> Command {
    Command::Write(WriteCommand::SetBit { key: key(name), offset, value: true })
}

fn count(name: &str) -> Command {
    Command::Read(ReadCommand::BitCount { key: key(name), range: None })
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

fn get(name: &str) -> Command {
    Command::Read(ReadCommand::Get { key: key(name) })
}

fn error_of(reply: &Reply) -> String {
    let Reply::Error(error) = reply else { panic!("{reply:?}") };
    error.to_string()
}

fn check_values(router: &Router, twin: &mut Twin) -> Result<(), TestCaseError> {
    for name in NAMES {
        let expected = twin.run(&get(name));
        prop_assert!(block_on(router.ask(get(name))) == expected, "the values of {name} differ");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 80,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_newer_map_at_any_call_changes_no_reply(
        before in vec(command(), 0..15),
        commands in vec(command(), 1..25),
        in_place in any::<bool>(),
        as_pipeline in any::<bool>(),
        changes in vec((0_u64..12, 1_u16..8), 1..4),
    ) {
        let (router, cluster) = fresh(&MAP);
        cluster.in_place.store(in_place, Ordering::Relaxed);
        let mut twin = Twin::default();
        for command in before.into_iter().chain(spread("c")) {
            prop_assert_eq!(block_on(router.ask(command.clone())), twin.run(&command));
        }
        let expected: Vec<Reply> = commands.iter().map(|command| twin.run(command)).collect();
        let mut rest = commands.as_slice();
        let mut replies = Vec::new();
        // Each change meets the next few commands.
        for (epoch, (at, groups)) in (2..).zip(changes) {
            let (teller, learner) = (Arc::clone(&cluster), router.clone());
            cluster.interfere_after(at, Box::new(move || {
                for group in (1..=3).filter(|group| groups & (1 << (group - 1)) != 0) {
                    teller.set_epoch(GroupId(group), epoch);
                }
                teller.tell_when_refused(&learner, at_epoch(&MAP, epoch));
            }));
            let share = rest.len().min(8);
            let (now, later) = rest.split_at(share);
            rest = later;
            if as_pipeline {
                replies.extend(block_on(pipeline(&router, now)));
            } else {
                replies.extend(now.iter().map(|command| block_on(router.ask(command.clone()))));
            }
            cluster.stop_interference();
        }
        for (place, reply) in replies.iter().enumerate() {
            prop_assert_eq!(reply, &expected[place], "{:?}", commands[place]);
        }
        if rest.is_empty() {
            check_values(&router, &mut twin)?;
        }
    }

    #[test]
    fn a_group_without_its_slots_is_asked_until_it_has_them(
        commands in vec(command(), 1..6),
        in_place in any::<bool>(),
        group in 1_u16..4,
        requests in 1_u64..4,
        at in 0_u64..8,
    ) {
        let (router, cluster) = fresh(&MAP);
        cluster.in_place.store(in_place, Ordering::Relaxed);
        let mut twin = Twin::default();
        for command in spread("c") {
            prop_assert_eq!(block_on(router.ask(command.clone())), twin.run(&command));
        }
        let sleeper = Arc::clone(&cluster);
        let sleep = move || sleeper.put_to_sleep(GroupId(group), requests);
        cluster.interfere_after(at, Box::new(sleep));
        let replies = block_on(pipeline(&router, &commands));
        for (command, reply) in commands.iter().zip(replies) {
            prop_assert_eq!(reply, twin.run(command), "{:?}", command);
        }
        cluster.put_to_sleep(GroupId(group), 0);
        cluster.stop_interference();
        check_values(&router, &mut twin)?;
    }
}

#[test]
fn a_pipeline_on_its_way_follows_its_slots_to_their_new_owner() {
    let (router, cluster, after) = before_succession(600_000);
    let name = moving_key(&router);
    let commands: Vec<Command> = (0..100).map(|bit| set_bit(&name, bit % 50)).collect();
    let (mover, learner) = (Arc::clone(&cluster), router.clone());
    cluster.interfere_after(
        0,
        Box::new(move || {
            mover.set_epoch(GroupId(1), 2);
            mover.hand_over(GroupId(1), GroupId(3));
            mover.tell_when_refused(&learner, after);
        }),
    );
    let replies = block_on(pipeline(&router, &commands));
    for (place, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply, Reply::Integer(i64::from(place >= 50)), "the bit at {place}");
    }
    assert_eq!(cluster.calls(), 2, "refused once, done once");
    assert_eq!(block_on(router.ask(count(&name))), Reply::Integer(50));
    assert_eq!(router.map().home(name.as_bytes()), GroupId(3));
}

#[test]
fn a_command_waits_for_the_map_that_its_group_speaks_of() {
    let (router, cluster, after) = before_succession(600_000);
    let name = moving_key(&router);
    block_on(router.ask(set_bit(&name, 5)));
    cluster.set_epoch(GroupId(1), 2);
    cluster.hand_over(GroupId(1), GroupId(3));
    let learner = router.clone();
    let calls = cluster.calls();
    let reply = block_on(async {
        let command = router.ask(count(&name));
        let news = async {
            tokio::task::yield_now().await;
            assert!(learner.follow(Arc::new(after)));
        };
        tokio::join!(command, news).0
    });
    assert_eq!(reply, Reply::Integer(1));
    assert_eq!(cluster.calls() - calls, 1, "the old owner refused, the new one answered in place");
}

#[test]
fn without_a_newer_map_a_stale_request_is_refused_at_its_deadline_and_nothing_is_applied() {
    let (router, cluster, after) = before_succession(40);
    let name = moving_key(&router);
    cluster.set_epoch(GroupId(1), 2);
    let refused = "CLUSTERDOWN Hash slot not served";
    assert_eq!(error_of(&block_on(router.ask(set_bit(&name, 5)))), refused);
    let replies = block_on(pipeline(&router, &[set_bit(&name, 6), count(&name)]));
    assert!(replies.iter().all(|reply| error_of(reply) == refused), "{replies:?}");
    assert_eq!(cluster.with(GroupId(1), |engine| engine.stats().keys), 0);
    cluster.hand_over(GroupId(1), GroupId(3));
    assert!(router.follow(Arc::new(after)));
    assert_eq!(block_on(router.ask(count(&name))), Reply::Integer(0));
}

#[test]
fn a_group_that_never_gets_its_slots_is_asked_seldom_and_until_the_deadline() {
    let (router, cluster, _) = before_succession(100);
    let name = moving_key(&router);
    cluster.put_to_sleep(GroupId(1), u64::MAX);
    let reply = block_on(router.ask(set_bit(&name, 5)));
    assert_eq!(error_of(&reply), "CLUSTERDOWN Hash slot not served");
    assert!((3..=10).contains(&cluster.calls()), "asked {} times", cluster.calls());
    let before = cluster.calls();
    let replies = block_on(pipeline(&router, &[set_bit(&name, 5), set_bit(&name, 6)]));
    assert_eq!(error_of(&replies[1]), "CLUSTERDOWN Hash slot not served");
    assert!((3..=10).contains(&(cluster.calls() - before)), "both are asked together");
}

#[test]
fn a_turn_takes_a_new_map_with_its_next_pipeline() {
    let (router, cluster, after) = before_succession(600_000);
    let name = moving_key(&router);
    let mut turn = router.turn();
    turn.try_push(set_bit(&name, 5)).unwrap();
    block_on(turn.flush());
    turn.drain(|reply| assert_eq!(reply, Reply::Integer(0)));
    cluster.set_epoch(GroupId(1), 2);
    cluster.hand_over(GroupId(1), GroupId(3));
    assert!(router.follow(Arc::new(after)));
    turn.try_push(set_bit(&name, 5)).unwrap();
    let calls = cluster.calls();
    block_on(turn.flush());
    turn.drain(|reply| assert_eq!(reply, Reply::Integer(1)));
    assert_eq!(cluster.calls() - calls, 1);
}

#[test]
fn one_group_that_is_no_longer_alone_never_does_two_commands_of_a_key_in_the_wrong_order() {
    let sole = map(1);
    let moves: Vec<(Slot, GroupId)> = sole
        .slots_of(GroupId(1))
        .into_iter()
        .filter(|slot| {
            sole.home(b"k") == GroupId(1) && *slot != bitroster_placement::slot_of_key(b"k")
        })
        .map(|slot| (slot, GroupId(2)))
        .collect();
    let split = sole.reassign(&moves);
    let cluster = Cluster::new(&split);
    let transport = Arc::clone(&cluster) as Arc<dyn Transport>;
    let router = Router::new(sole, transport, options(600_000));
    let learner = router.clone();
    let learn = move || assert!(learner.follow(Arc::new(split)));
    cluster.interfere_after(0, Box::new(learn));
    let delete = Command::Write(WriteCommand::Delete { keys: vec![key("k")] });
    let commands = [set_bit("k", 3 << 16), delete, set_bit("k", 4 << 16), set_bit("k", 5)];
    let replies = block_on(pipeline(&router, &commands));
    assert_eq!(error_of(&replies[0]), "CLUSTERDOWN Hash slot not served");
    assert_eq!(replies[1], Reply::Integer(0));
    assert_eq!(error_of(&replies[2]), "CLUSTERDOWN Hash slot not served");
    assert_eq!(replies[3], Reply::Integer(0));
    assert_eq!(block_on(router.ask(count("k"))), Reply::Integer(1), "a refused write is not done");
}

#[test]
fn a_flush_that_meets_a_newer_map_empties_every_group() {
    for refusing in 1..=3 {
        let (router, cluster) = fresh(&MAP);
        for number in 0..50 {
            block_on(router.ask(set(&format!("key:{number}"), "v")));
        }
        cluster.set_epoch(GroupId(refusing), 2);
        cluster.tell_when_refused(&router, at_epoch(&MAP, 2));
        assert_eq!(block_on(router.ask(Command::Write(WriteCommand::Flush))), Reply::Ok);
        let size = block_on(router.ask(Command::Read(ReadCommand::DbSize)));
        assert_eq!(size, Reply::Integer(0));
    }
}

#[test]
fn a_pipeline_is_run_again_in_order_however_often_its_group_refuses() {
    let (router, cluster) = fresh(&MAP);
    let delete = || Command::Write(WriteCommand::Delete { keys: vec![key("k")] });
    let commands =
        [set_bit("k", 1), get("k"), delete(), set("k", "v"), get("k"), delete(), count("k")];
    cluster.put_to_sleep(MAP.home(b"k"), 4);
    let replies = block_on(pipeline(&router, &commands));
    let bit = Reply::bulk("@");
    let value = Reply::bulk("v");
    let numbers = |number| Reply::Integer(number);
    let expected = [numbers(0), bit, numbers(1), Reply::Ok, value, numbers(1), numbers(0)];
    assert_eq!(replies, expected);
}

#[test]
fn a_watched_key_that_moved_stops_the_transaction() {
    let (router, cluster, after) = before_succession(600_000);
    let name = moving_key(&router);
    let watched = block_on(router.watch(&[key(&name)])).unwrap();
    cluster.set_epoch(GroupId(1), 2);
    cluster.hand_over(GroupId(1), GroupId(3));
    assert!(router.follow(Arc::new(after)));
    // The old owner still says what it said: that there is no such key.
    block_on(router.ask(set(&name, "v")));
    let exec = |watched: &[_]| block_on(router.transaction(watched, vec![get(&name)]));
    assert_eq!(exec(&watched), Reply::NilArray);
    let watched = block_on(router.watch(&[key(&name)])).unwrap();
    assert_eq!(exec(&watched), Reply::Array(vec![Reply::bulk("v")]));
}

#[test]
fn a_transaction_on_its_way_stays_one_entry_at_the_new_owner() {
    let (router, cluster, after) = before_succession(600_000);
    let name = moving_key(&router);
    let (mover, learner) = (Arc::clone(&cluster), router.clone());
    cluster.interfere_after(
        0,
        Box::new(move || {
            mover.set_epoch(GroupId(1), 2);
            mover.hand_over(GroupId(1), GroupId(3));
            mover.tell_when_refused(&learner, after);
        }),
    );
    let commands = vec![set(&name, "v"), get(&name)];
    let reply = block_on(router.transaction(&[], commands));
    assert_eq!(reply, Reply::Array(vec![Reply::Ok, Reply::bulk("v")]));
    assert_eq!(cluster.calls(), 2);
}

#[test]
fn a_router_without_a_map_is_loading_until_it_follows_one() {
    let cluster = Cluster::new(&MAP);
    let router = Router::without_map(Arc::clone(&cluster) as Arc<dyn Transport>, options(600_000));
    assert!(!router.has_map());
    let loading = "LOADING Bitroster is loading the dataset in memory";
    assert_eq!(error_of(&block_on(router.ask(set("k", "v")))), loading);
    let replies = block_on(pipeline(&router, &[set("k", "v"), get("k")]));
    assert!(replies.iter().all(|reply| error_of(reply) == loading), "{replies:?}");
    assert_eq!(error_of(&block_on(router.transaction(&[], vec![get("k")]))), loading);
    assert_eq!(cluster.calls(), 0);
    assert!(router.follow(Arc::new(MAP.clone())));
    assert!(router.has_map());
    assert_eq!(block_on(pipeline(&router, &[set("k", "v")])), [Reply::Ok]);
    assert!(!router.follow(Arc::new(MAP.clone())), "no newer");
}

#[test]
fn a_connection_reads_as_fresh_as_it_wants_and_hears_how_old_answers_were() {
    let (router, cluster) = fresh(&MAP);
    for command in spread("c") {
        block_on(router.ask(command));
    }
    cluster.age_ms.store(7, Ordering::Relaxed);
    for consistency in [Consistency::Stale, Consistency::Leader] {
        let reading = Reading::new(consistency);
        let mut turn = router.turn();
        turn.set_reading(reading.clone());
        let before = cluster.lax_reads.load(Ordering::Relaxed);
        turn.try_push(count("a")).unwrap();
        assert_eq!(turn.waiting(), 1, "only linearizable reads are answered in place");
        block_on(turn.flush());
        turn.drain(drop);
        assert_eq!(cluster.lax_reads.load(Ordering::Relaxed), before + 1);
        block_on(turn.run(get("c")));
        turn.drain(|reply| assert!(!reply.is_error()));
        assert!(cluster.lax_reads.load(Ordering::Relaxed) > before + 1, "a gather too");
        assert_eq!(reading.age_ms.load(Ordering::Relaxed), 7);
    }
}

#[test]
fn the_reads_of_a_write_are_linearizable_whatever_the_connection_wants() {
    let (router, cluster) = fresh(&MAP);
    for command in spread("c") {
        block_on(router.ask(command));
    }
    let append = WriteCommand::Append { key: key("c"), value: Bytes::from_static(b"more") };
    let rename = WriteCommand::Rename { source: key("c"), target: key("d"), only_if_new: false };
    let reading = Reading::new(Consistency::Stale);
    for write in [append, rename] {
        let reply = block_on(router.run(Command::Write(write), &reading));
        assert!(!reply.is_error(), "{reply:?}");
    }
    let watched = block_on(router.watch(&[key("d")])).unwrap();
    block_on(router.transaction(&watched, vec![get("d")]));
    assert_eq!(cluster.lax_reads.load(Ordering::Relaxed), 0);
}

#[test]
fn a_scan_goes_on_under_another_map() {
    let (router, cluster, after) = before_succession(600_000);
    for number in 0..200 {
        block_on(router.ask(set(&format!("key:{number}"), "v")));
    }
    let scan = |cursor| {
        let (pattern, count, type_matches) = (None, 10, true);
        Command::Read(ReadCommand::Scan { cursor, pattern, count, type_matches })
    };
    let mut found = std::collections::BTreeSet::new();
    let mut cursor = 0;
    for page in 0.. {
        let Reply::Array(items) = block_on(router.ask(scan(cursor))) else { panic!("no page") };
        let [Reply::Bulk(next), Reply::Array(keys)] = &items[..] else { panic!("{items:?}") };
        found.extend(keys.iter().map(|key| format!("{key:?}")));
        cursor = std::str::from_utf8(next).unwrap().parse().unwrap();
        if page == 3 {
            // Group 1, which is under way, is followed by group 3 under the new map.
            cluster.set_epoch(GroupId(1), 2);
            cluster.hand_over(GroupId(1), GroupId(3));
            assert!(router.follow(Arc::new(after.clone())));
        }
        if cursor == 0 {
            break;
        }
        assert!(page < 100, "the scan ends");
    }
    assert_eq!(found.len(), 200);
}
