//! Goal: commands made of several reads and writes answer, over any number of groups, as they would
//! over one keyspace of byte strings, and leave the same values.
//!
//! Method: random writes on few keys, with offsets that crowd at segment edges, then commands made
//! of several among more writes, through a router over real engines and through a naive twin; every
//! reply must be the same, and so must every value at the end. Time, names and costs, which a twin
//! does not know, have named cases.
//!
//! Mutants killed: a step of a histogram that the first segment ends in counted with the next one.

#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod support;

use std::{
    sync::{LazyLock, atomic::Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Command, CommandError, Composite, Expiry, ParseLimits, ReadCommand, Reply, TimeForm,
    WriteCommand,
    composite::{Ask, Expression, Format, PresenceAsk, Span, Unit},
    dates::Period,
    payload,
};
use bitroster_placement::ClusterMap;
use bitroster_router::Router;
use bitroster_types::UnixMillis;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use support::{
    Ask as _, block_on,
    commands::{command, spread},
    composites::composite,
    fresh, key, map,
    twin::Twin,
};

static MAPS: LazyLock<[ClusterMap; 3]> = LazyLock::new(|| [map(1), map(2), map(4)]);

const NAMES: [&str; 5] = ["a", "b", "{a}2", "c", "events:today"];

fn run(router: &Router, composite: Composite) -> Reply {
    block_on(router.ask(Command::Composite(composite.into())))
}

fn write(router: &Router, command: WriteCommand) -> Reply {
    block_on(router.ask(Command::Write(command)))
}

fn numbers(numbers: impl IntoIterator<Item = i64>) -> Reply {
    Reply::Array(numbers.into_iter().map(Reply::Integer).collect())
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_reply_and_value_is_that_of_one_keyspace(
        before in vec(command(), 3..20),
        commands in vec(prop_oneof![3 => composite(), 1 => command()], 1..16),
        groups in 0_usize..3,
        in_place in any::<bool>(),
        spread_first in prop::bool::weighted(0.7),
    ) {
        let (router, cluster) = fresh(&MAPS[groups]);
        cluster.in_place.store(in_place, Ordering::Relaxed);
        let mut twin = Twin::default();
        let mut before = before;
        if spread_first {
            before.extend(spread("c"));
        }
        for command in before.iter().chain(&commands) {
            let reply = block_on(router.ask(command.clone()));
            let expected = twin.run(command);
            prop_assert_eq!(plain(command, reply), plain(command, expected), "{:?}", command);
        }
        for name in NAMES {
            let get = Command::Read(ReadCommand::Get { key: key(name) });
            prop_assert!(block_on(router.ask(get.clone())) == twin.run(&get), "{name} differs");
        }
        prop_assert_eq!(cluster.unfinished(), vec![]);
        prop_assert_eq!(cluster.staged(), 0);
        cluster.finish(&router);
    }
}

/// A reply in a form that is one for one set: Roaring has several for the same bits.
fn plain(command: &Command, reply: Reply) -> Reply {
    let Command::Composite(composite) = command else { return reply };
    let (Composite::Export { format, .. }, Reply::Bulk(bytes)) = (&**composite, &reply) else {
        return reply;
    };
    let set = match format {
        Format::Roaring32 => Bitmap::from_roaring32(bytes),
        Format::Roaring64 => Bitmap::from_roaring64(bytes),
        Format::Bytes | Format::Csv => return reply,
    };
    let bits = set.expect("an export can be read").to_csv();
    Reply::Bulk(bits.into())
}

#[test]
fn ranks_are_found_among_millions_of_bits() {
    let (router, _) = fresh(&MAPS[2]);
    // Every third bit of a million, then a few far away.
    let bits: Vec<u64> = (0..1 << 20).step_by(3).chain([1 << 31, 1 << 40]).collect();
    let mut set = Vec::new();
    Bitmap::from_offsets(&bits).encode(&mut set);
    let import = Composite::Import { key: key("k"), bits: set.into(), mode: None };
    assert_eq!(run(&router, import), Reply::Integer(349_528));
    let select = |rank| Composite::Query {
        of: Expression::only(key("k")),
        ask: Ask::Select { rank, count: None },
    };
    for rank in [0, 1, 7777, 300_000, 349_525] {
        assert_eq!(run(&router, select(rank)), Reply::Integer(rank * 3));
    }
    assert_eq!(run(&router, select(-1)), Reply::Integer(1 << 40));
    assert_eq!(run(&router, select(349_528)), Reply::Integer(-1));
    assert_eq!(run(&router, select(-349_529)), Reply::Integer(-1));
    let sample = Composite::Query { of: Expression::only(key("k")), ask: Ask::Sample { count: 4 } };
    assert_eq!(run(&router, sample), numbers([0, 262_146, 524_292, 786_438]));
}

#[test]
fn a_mark_makes_dated_keys_that_expire_once() {
    let (router, cluster) = fresh(&MAPS[2]);
    cluster.in_place.store(false, Ordering::Relaxed);
    let mark = |id, at| Composite::Mark {
        family: Bytes::from_static(b"dau"),
        id,
        at: Some(UnixMillis(at)),
        units: vec![Unit::Day, Unit::Month, Unit::Day],
        keep_secs: Some(86_400 * 60),
    };
    let now = now_ms();
    let far = 5 << 16;
    assert_eq!(run(&router, mark(far, now)), Reply::Integer(2));
    assert_eq!(run(&router, mark(far, now)), Reply::Integer(0));
    let calls = cluster.calls();
    assert_eq!(run(&router, mark(far + 1, now)), Reply::Integer(2));
    assert_eq!(cluster.calls() - calls, 6, "two bits, two looks beside them and two after");
    let calls = cluster.calls();
    assert_eq!(run(&router, mark(far + 1, now)), Reply::Integer(0));
    assert_eq!(cluster.calls() - calls, 4, "two bits and two looks");
    let day = Period::at(Unit::Day, UnixMillis(now)).unwrap();
    let ttl = ReadCommand::Ttl {
        key: day.key(b"dau").unwrap(),
        form: TimeForm { millis: true, absolute: true },
    };
    let expected = i64::try_from(day.end().0 + 60 * 86_400_000).unwrap();
    assert_eq!(block_on(router.ask(Command::Read(ttl))), Reply::Integer(expected));
    // What would be over is not made.
    assert_eq!(run(&router, mark(7, now - 200 * 86_400_000)), Reply::Integer(0));
    assert_eq!(block_on(router.ask(Command::Read(ReadCommand::DbSize))), Reply::Integer(2));
}

#[test]
fn a_window_is_the_union_of_its_days() {
    let (router, _) = fresh(&MAPS[2]);
    let day = |back: u64| now_ms() - back * 86_400_000;
    for back in 0..40 {
        let (family, units) =
            (Bytes::from_static(b"dau"), vec![Unit::Day, Unit::Week, Unit::Month]);
        let at = Some(UnixMillis(day(back)));
        for id in [back, 100 + back / 2, (1 << 20) + back] {
            let (family, units) = (family.clone(), units.clone());
            run(&router, Composite::Mark { family, id, at, units, keep_secs: None });
        }
    }
    let window = |span, rolled_up, ask| {
        let family = Bytes::from_static(b"dau");
        run(&router, Composite::Window { family, span, rolled_up, ask })
    };
    let last = Span::Last { count: 10, unit: Unit::Day };
    assert_eq!(window(last, false, Ask::Count), Reply::Integer(25));
    let span =
        Span::Between { first: UnixMillis(day(39)), last: UnixMillis(day(0)), unit: Unit::Day };
    assert_eq!(window(span, false, Ask::Count), Reply::Integer(100));
    assert_eq!(window(span, true, Ask::Count), Reply::Integer(100), "weeks and months agree");
    let backwards =
        Span::Between { first: UnixMillis(day(0)), last: UnixMillis(day(39)), unit: Unit::Day };
    assert_eq!(window(backwards, false, Ask::Count), Reply::Integer(0));
    let store = Ask::Store { target: key("mau") };
    assert_eq!(window(span, true, store), Reply::Integer(100));
    let count = ReadCommand::BitCount { key: key("mau"), range: None };
    assert_eq!(block_on(router.ask(Command::Read(count))), Reply::Integer(100));
}

#[test]
fn presence_is_counted_over_groups_and_ends() {
    let (router, _) = fresh(&MAPS[2]);
    let online = |ask| run(&router, Composite::Online { key: key("on"), ask });
    assert_eq!(online(PresenceAsk::Count), Reply::Integer(0));
    let ids: Vec<u64> = (0..100).map(|at| at * 700).collect();
    for id in &ids {
        let touch = WriteCommand::Touch { key: key("on"), id: *id, ttl_secs: 600 };
        assert_eq!(write(&router, touch.clone()), Reply::Integer(1));
        assert_eq!(write(&router, touch), Reply::Integer(0));
    }
    assert_eq!(online(PresenceAsk::Count), Reply::Integer(100));
    assert_eq!(online(PresenceAsk::Is { id: 1400 }), Reply::Integer(1));
    assert_eq!(online(PresenceAsk::Is { id: 1401 }), Reply::Integer(0));
    let mut cursor = 0;
    let mut seen = Vec::new();
    loop {
        let Reply::Array(page) = online(PresenceAsk::List { cursor, limit: 7 }) else { panic!() };
        let Reply::Array(found) = &page[1] else { panic!() };
        seen.extend(found.iter().map(|id| {
            let Reply::Integer(id) = id else { panic!("{id:?}") };
            u64::try_from(*id).unwrap()
        }));
        let Reply::Bulk(next) = &page[0] else { panic!() };
        cursor = std::str::from_utf8(next).unwrap().parse().unwrap();
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, ids);
}

#[test]
fn names_get_numbers_and_bits() {
    let (router, _) = fresh(&MAPS[2]);
    let names =
        |names: &[&str]| names.iter().map(|name| Bytes::copy_from_slice(name.as_bytes())).collect();
    let set = |key_name: &str, all: &[&str]| Composite::SetNames {
        key: key(key_name),
        space: key("users"),
        names: names(all),
    };
    assert_eq!(run(&router, set("k", &["ann", "bob", "ann"])), Reply::Integer(2));
    assert_eq!(run(&router, set("k", &["bob", "eve"])), Reply::Integer(1));
    assert_eq!(run(&router, set("other", &["eve"])), Reply::Integer(1));
    let list = Ask::List { range: (0, u64::MAX), limit: 10, has_cursor: false };
    let of = Expression::only(key("other"));
    assert_eq!(run(&router, Composite::Query { of, ask: list }), numbers([2]));
    let more = Composite::SetNames { key: key("k"), space: key("b"), names: names(&["x"]) };
    assert_eq!(run(&router, more), Reply::Integer(0), "the first number of another space");
    let spaces = Reply::Array(vec![Reply::bulk("b"), Reply::bulk("users")]);
    assert_eq!(run(&router, Composite::SpaceList), spaces);
}

#[test]
fn what_a_key_costs_is_added_up_over_its_groups() {
    let (router, cluster) = fresh(&MAPS[2]);
    assert_eq!(run(&router, Composite::Info { key: key("c") }), Reply::Nil);
    assert_eq!(run(&router, Composite::MemoryUsage { key: key("c") }), Reply::Nil);
    for command in spread("c") {
        block_on(router.ask(command));
    }
    let Reply::Map(rows) = run(&router, Composite::Info { key: key("c") }) else { panic!() };
    let row = |name: &str| {
        let row = rows.iter().find(|(title, _)| *title == Reply::bulk(name));
        row.map(|(_, value)| value.clone()).unwrap()
    };
    let len = (9 << 13) + 2;
    assert_eq!(row("length-bytes"), Reply::Integer(len));
    assert_eq!(row("redis-bytes"), Reply::Integer(len + 1 + 56));
    assert_eq!(row("cardinality"), Reply::Integer(10));
    assert_eq!(row("segments"), Reply::Integer(10));
    let Reply::Array(owners) = row("owners") else { panic!() };
    assert_eq!(owners.len() as u64, cluster.parts() + 1);
    let memory = run(&router, Composite::MemoryUsage { key: key("c") });
    assert_eq!(row("memory-bytes"), memory);
    assert!(matches!(memory, Reply::Integer(1..10_000)), "{memory:?}");
}

#[test]
fn a_dump_of_a_spread_key_makes_another_one() {
    let (router, _) = fresh(&MAPS[2]);
    assert_eq!(run(&router, Composite::Dump { key: key("c") }), Reply::Nil);
    for command in spread("c") {
        block_on(router.ask(command));
    }
    let Reply::Bulk(dump) = run(&router, Composite::Dump { key: key("c") }) else { panic!() };
    assert!(dump.len() < 200, "{} bytes", dump.len());
    let value = payload::restore(&dump, &ParseLimits::default()).unwrap().into();
    let (expiry, replace) = (Expiry::Clear, false);
    let restore = WriteCommand::Restore { key: key("b"), value, expiry, replace };
    assert_eq!(write(&router, restore), Reply::Ok);
    let get = |name| block_on(router.ask(Command::Read(ReadCommand::Get { key: key(name) })));
    assert!(get("b") == get("c"));
}

#[test]
fn a_restored_value_keeps_off_what_is_there() {
    let (router, _) = fresh(&MAPS[2]);
    let mut value = Vec::new();
    Bitmap::from_offsets(&[1, 5 << 16, 9 << 16]).encode(&mut value);
    let restore = |replace, expiry| WriteCommand::Restore {
        key: key("c"),
        value: Bytes::from(value.clone()),
        expiry,
        replace,
    };
    let never = Expiry::Clear;
    assert_eq!(write(&router, restore(false, never)), Reply::Ok);
    let Reply::Error(error) = write(&router, restore(false, never)) else { panic!() };
    let busy = CommandError::Text("BUSYKEY Target key name already exists.");
    assert_eq!(error.to_string(), busy.to_string());
    assert_eq!(write(&router, restore(true, never)), Reply::Ok);
    let count = || {
        let count = ReadCommand::BitCount { key: key("c"), range: None };
        block_on(router.ask(Command::Read(count)))
    };
    assert_eq!(count(), Reply::Integer(3));
    let past = Expiry::At(UnixMillis(5));
    assert_eq!(write(&router, restore(true, past)), Reply::Ok);
    assert_eq!(count(), Reply::Integer(0));
}

#[test]
fn prefixes_are_the_sum_of_their_keys_over_all_groups() {
    for map in MAPS.iter() {
        let (router, _) = fresh(map);
        for name in ["d:1", "d:2"] {
            for command in spread(name) {
                block_on(router.ask(command));
            }
        }
        write(&router, WriteCommand::SetBit { key: key("e"), offset: 3, value: true });
        let ask = |prefix: &'static [u8], limit| {
            let (prefix, separator) = (Bytes::from_static(prefix), b':');
            let reply = run(&router, Composite::Prefixes { prefix, separator, limit });
            let Reply::Array(rows) = reply else { panic!("{reply:?}") };
            rows.into_iter().map(figures).collect::<Vec<_>>()
        };
        let len = (9 << 13) + 2;
        let [top, leaf] = &ask(b"", 9)[..] else { panic!("two names") };
        assert_eq!(
            (&top.0[..], top.1["leaf"], top.1["keys"], top.1["bits"]),
            (&b"d:"[..], 0, 2, 20)
        );
        assert_eq!(top.1["plain_bytes"], 2 * (len + 3 + 56));
        assert_eq!(
            (&leaf.0[..], leaf.1["leaf"], leaf.1["keys"], leaf.1["bits"]),
            (&b"e"[..], 1, 1, 1)
        );
        let names: Vec<Bytes> = ask(b"d:", 1).into_iter().map(|row| row.0).collect();
        assert_eq!(names.len(), 2, "one and the rest");
        assert_eq!(names[1], "");
        assert!(ask(b"none", 9).is_empty());
        for row in ask(b"d:", 9) {
            let usage = Composite::MemoryUsage { key: bitroster_types::Key::new(&row.0).unwrap() };
            assert_eq!(run(&router, usage), Reply::Integer(row.1["bytes"]));
        }
    }
}

/// Name and figures of a row of BM.PREFIXES.
fn figures(row: Reply) -> (Bytes, std::collections::BTreeMap<String, i64>) {
    let Reply::Map(pairs) = row else { panic!("{row:?}") };
    let mut name = Bytes::new();
    let mut figures = std::collections::BTreeMap::new();
    for pair in pairs {
        match pair {
            (Reply::Bulk(_), Reply::Bulk(value)) => name = value,
            (Reply::Bulk(title), Reply::Integer(value)) => {
                figures.insert(String::from_utf8(title.to_vec()).unwrap(), value);
            }
            other => panic!("{other:?}"),
        }
    }
    (name, figures)
}
