//! Goal: an id space gives each name one number, dense from 0, for good; an op that is not done
//! leaves none behind.
//!
//! Method: the scripts of `one_group` and `groups` compare spaces with lists; here the rest:
//! limits, transactions, ownership, FLUSHALL, many names under snapshots.
//!
//! Mutants killed: names assigned before a later one is refused; a transaction taken back without
//! its spaces; a space that answers in a group that does not own it; a snapshot that changes with
//! the space.

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
    CommandError, Op, Outcome, ReadCommand, ReadOp, Reply, WriteCommand, WriteOp,
};
use bitroster_engine::{Engine, EngineConfig, ReadStep};
use bitroster_types::{GroupId, Slot, UnixMillis};
use bytes::Bytes;
use common::{Lone, cluster::Cluster, config, key};

fn names(names: &[&str]) -> Vec<Bytes> {
    names.iter().map(|name| Bytes::copy_from_slice(name.as_bytes())).collect()
}

fn assign(space: &str, list: &[&str]) -> WriteCommand {
    WriteCommand::AssignIds { space: key(space), names: names(list) }
}

fn find(space: &str, list: &[&str]) -> Op {
    ReadCommand::FindIds { space: key(space), names: names(list) }.into()
}

fn numbers(numbers: &[i64]) -> Reply {
    let reply = |number: &i64| if *number < 0 { Reply::Nil } else { Reply::Integer(*number) };
    Reply::Array(numbers.iter().map(reply).collect())
}

fn info(lone: &mut Lone, space: &str) -> (i64, i64) {
    match lone.run(&ReadCommand::SpaceInfo { space: key(space) }.into()) {
        Reply::Array(numbers) => match numbers[..] {
            [Reply::Integer(names), Reply::Integer(bytes)] => (names, bytes),
            _ => panic!("{numbers:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_get_numbers_in_the_order_of_their_first_use() {
    let mut lone = Lone::new();
    let reply = lone.write(&assign("users", &["b", "a", "b", "c"]));
    assert_eq!(reply, numbers(&[0, 1, 0, 2]).into());
    assert_eq!(lone.run(&find("users", &["c", "d", "a"])), numbers(&[2, -1, 1]));
    assert_eq!(lone.run(&find("others", &["c"])), numbers(&[-1]));
    let ids = vec![2, 9, 0, u64::MAX];
    let reply = lone.run(&ReadCommand::FindNames { space: key("users"), ids }.into());
    let wanted = [Reply::bulk("c"), Reply::Nil, Reply::bulk("b"), Reply::Nil];
    assert_eq!(reply, Reply::Array(wanted.into()));
    assert_eq!(info(&mut lone, "users").0, 3);
    assert_eq!(info(&mut lone, "others"), (0, 0));
    lone.write(&assign("accounts", &["x"]));
    let spaces = Reply::Array(vec![Reply::bulk("accounts"), Reply::bulk("users")]);
    assert_eq!(lone.run(&ReadCommand::Spaces.into()), spaces);
    let stats = lone.engine.stats();
    assert_eq!((stats.spaces, stats.space_names, stats.keys), (2, 4, 0));
    let drop = WriteCommand::DropSpace { space: key("users") };
    assert_eq!(lone.write(&drop), Reply::Integer(1).into());
    assert_eq!(lone.write(&drop), Reply::Integer(0).into());
    assert_eq!(lone.write(&assign("users", &["c"])), numbers(&[0]).into());
    assert_eq!(lone.write(&WriteCommand::Flush), Reply::Ok.into());
    let stats = lone.engine.stats();
    assert_eq!((stats.spaces, stats.space_names, stats.dataset_bytes), (0, 0, 0));
}

#[test]
fn a_name_too_long_is_refused_with_all_that_came_with_it() {
    let mut lone = Lone::new();
    let longest = "n".repeat(4096);
    let text = "ERR a name of 4097 bytes; the limit is 4096".to_owned();
    let refused: Outcome = CommandError::Message(text).into();
    assert_eq!(lone.write(&assign("s", &["a", &format!("{longest}n")])), refused);
    assert_eq!(lone.engine.stats().spaces, 0);
    assert_eq!(lone.write(&assign("s", &[&longest, ""])), numbers(&[0, 1]).into());
    assert_eq!(lone.write(&assign("none", &[])), numbers(&[]).into());
    assert_eq!(lone.engine.stats().spaces, 1);
}

#[test]
fn a_transaction_that_is_not_done_leaves_no_names() {
    let mut cluster = Cluster::new(2);
    let space = (0..).map(|n| format!("s{n}")).find(|s| cluster.home(&key(s)) == GroupId(1));
    let elsewhere = (0..).map(|n| format!("k{n}")).find(|k| cluster.home(&key(k)) == GroupId(2));
    let (space, elsewhere) = (space.unwrap(), elsewhere.unwrap());
    let exec = |second: &str, names: &[&str]| WriteOp::Transaction {
        watches: vec![],
        ops: vec![
            assign(&space, names).into(),
            WriteCommand::IncrBy { key: key(second), by: 1 }.into(),
        ],
    };
    cluster.write(GroupId(1), assign(&space, &["a"]).into_write());
    assert_eq!(cluster.write(GroupId(1), exec(&elsewhere, &["b", "c"])), Outcome::NotOwner);
    assert_eq!(cluster.engines[&GroupId(1)].stats().space_names, 1);
    let replies = Outcome::Replies(vec![numbers(&[0, 1]), Reply::Integer(1)]);
    assert_eq!(cluster.write(GroupId(1), exec(&space, &["a", "c"])), replies);
}

trait IntoWrite {
    fn into_write(self) -> WriteOp;
}

impl IntoWrite for WriteCommand {
    fn into_write(self) -> WriteOp {
        WriteOp::Command(self)
    }
}

#[test]
fn a_space_lives_where_the_slot_of_its_name_does() {
    let mut cluster = Cluster::new(2);
    let mut lists = vec![];
    for n in 0..20 {
        let space = format!("space{n}");
        let home = cluster.home(&key(&space));
        let other = GroupId(3 - home.0);
        let reads: [ReadCommand; 3] = [
            ReadCommand::FindIds { space: key(&space), names: names(&["a"]) },
            ReadCommand::FindNames { space: key(&space), ids: vec![0] },
            ReadCommand::SpaceInfo { space: key(&space) },
        ];
        let drop = WriteCommand::DropSpace { space: key(&space) };
        for write in [assign(&space, &["a"]), drop] {
            assert_eq!(cluster.write(other, write.into_write()), Outcome::NotOwner);
        }
        for read in reads {
            assert_eq!(cluster.read(other, &ReadOp::Command(read)), Outcome::NotOwner);
        }
        assert_eq!(cluster.write(home, assign(&space, &["a"]).into_write()), numbers(&[0]).into());
        lists.push((home, space));
    }
    for group in [GroupId(1), GroupId(2)] {
        let mut mine: Vec<&String> =
            lists.iter().filter(|(home, _)| *home == group).map(|(_, space)| space).collect();
        mine.sort();
        let wanted = Reply::Array(mine.into_iter().map(|name| Reply::bulk(name.clone())).collect());
        assert_eq!(cluster.read(group, &ReadOp::Command(ReadCommand::Spaces)), wanted.into());
    }
}

fn uuid(n: u64) -> String {
    let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ n;
    let text = format!("{mixed:016x}{:016x}", mixed.wrapping_mul(0xD1B5_4A32_D192_ED03));
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[test]
fn a_snapshot_of_many_names_stands_still_and_comes_back_whole() {
    let mut lone = Lone::new();
    let fill = |lone: &mut Lone, from: u64, to: u64| {
        let list: Vec<String> = (from..to).map(uuid).collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        let wanted: Vec<i64> = (from..to).map(u64::cast_signed).collect();
        assert_eq!(lone.write(&assign("users", &list)), numbers(&wanted).into());
    };
    fill(&mut lone, 0, 20_000);
    let (held, said) = (lone.engine.snapshot(), lone.engine.stats());
    let mut image = Vec::new();
    lone.engine.snapshot().write_to(&mut image).unwrap();
    fill(&mut lone, 20_000, 30_000);
    let mut later = Vec::new();
    held.write_to(&mut later).unwrap();
    assert!(image == later, "a snapshot does not change any more");
    assert!(image.len() < 20_000 * 17 + 40_000, "{} bytes", image.len());
    let mut twin =
        Lone { engine: Engine::restore(config(), &mut &image[..]).unwrap(), ..Lone::new() };
    let again = twin.engine.stats();
    assert_eq!((again.spaces, again.space_names), (said.spaces, said.space_names));
    let told = info(&mut twin, "users");
    assert!((27 * 20_000..28 * 20_000).contains(&told.1), "{told:?}");
    fill(&mut twin, 20_000, 30_000);
    // A copy that was let go leaves the first one's vectors with other room than the twin's.
    assert_eq!(info(&mut lone, "users"), info(&mut twin, "users"));
    let (mut one, mut two) = (Vec::new(), Vec::new());
    lone.engine.snapshot().write_to(&mut one).unwrap();
    twin.engine.snapshot().write_to(&mut two).unwrap();
    assert!(one == two, "restored, it goes on as the first one");
}

#[test]
fn names_that_are_too_long_together_are_not_answered() {
    let mut lone = Lone {
        engine: Engine::new(EngineConfig { value_bytes_max: 10_000, ..config() }),
        ..Lone::new()
    };
    let slots = (0..16_384).filter_map(Slot::new).collect();
    lone.op(&WriteOp::Adopt { slots });
    lone.write(&assign("s", &[&"n".repeat(4_000), &"m".repeat(2_000)]));
    let names = |lone: &mut Lone, ids: &[u64]| {
        let ids = ids.to_vec();
        lone.run(&ReadCommand::FindNames { space: key("s"), ids }.into())
    };
    assert!(matches!(names(&mut lone, &[0, 0, 1, 7, 8]), Reply::Array(names) if names.len() == 5));
    assert!(matches!(names(&mut lone, &[0, 0, 1, 1]), Reply::Error(_)));
}

#[test]
fn a_search_for_many_names_is_done_elsewhere() {
    let mut lone = Lone::new();
    let list: Vec<String> = (0..3_000).map(uuid).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    lone.write(&assign("users", &list));
    let Op::Read(read) = find("users", &list) else { unreachable!() };
    let ReadStep::Work(work) = lone.engine.read_step(&read, UnixMillis(0)) else {
        panic!("three thousand searches take long")
    };
    lone.write(&WriteCommand::DropSpace { space: key("users") });
    let wanted: Vec<i64> = (0..3_000).collect();
    assert_eq!(work.run().into_outcome(), numbers(&wanted).into());
}
