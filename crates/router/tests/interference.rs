//! Goal: what two clients do to one key at the same time is what they would have done one after
//! the other, at whichever step of a plan the second one comes.
//!
//! Method: a random keyspace with a spread key; one command, and before the n-th call that it makes
//! to a group a second command runs to its end. Reply and values must be those of the first before
//! the second or of the second before the first; a second one that is told BUSY has done nothing,
//! and few are. What is documented as not isolated is left out.
//!
//! Mutants killed: `confirm` doing nothing; APPEND without its watch, also to an absent key.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named is left out")]

mod support;

use std::sync::{
    Arc, LazyLock, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bitroster_bitmap::Bitmap;
use bitroster_command::{Command, CommandError, ReadCommand, Reply, WriteCommand};
use bitroster_placement::ClusterMap;
use bitroster_types::Key;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use support::{
    Ask,
    commands::{command, of_spread, spread},
    fresh, key, map, poll_to_end,
    twin::Twin,
};

const NAMES: [&str; 5] = ["a", "b", "{a}2", "c", "events:today"];

/// Pairs of all cases whose second command may be told BUSY: about one in some thousand is.
const BUSY_MAX: usize = 4;

/// Pairs whose second command was told BUSY.
static BUSY: AtomicUsize = AtomicUsize::new(0);

static MAP: LazyLock<ClusterMap> = LazyLock::new(|| map(3));

/// Whether a command is one step for everybody else, wherever its key lies.
fn is_isolated(command: &Command) -> bool {
    match command {
        Command::Read(read) => match read {
            ReadCommand::GetBit { .. }
            | ReadCommand::BitCount { .. }
            | ReadCommand::BitPos { .. }
            | ReadCommand::Get { .. }
            | ReadCommand::StrLen { .. }
            | ReadCommand::GetRange { .. }
            | ReadCommand::Type { .. } => true,
            ReadCommand::Exists { keys } | ReadCommand::MGet { keys } => keys.len() == 1,
            ReadCommand::BitFieldRo { .. }
            | ReadCommand::BitOpCard { .. }
            | ReadCommand::Ttl { .. }
            | ReadCommand::Scan { .. }
            | ReadCommand::Keys { .. }
            | ReadCommand::DbSize
            | ReadCommand::RandomKey
            | ReadCommand::FindIds { .. }
            | ReadCommand::FindNames { .. }
            | ReadCommand::SpaceInfo { .. }
            | ReadCommand::Spaces => false,
        },
        Command::Write(write) => match write {
            WriteCommand::SetBit { .. } => true,
            WriteCommand::Set { .. }
            | WriteCommand::GetDel { .. }
            | WriteCommand::GetEx { .. }
            | WriteCommand::Expire { .. }
            | WriteCommand::Restore { .. }
            | WriteCommand::Persist { .. } => true,
            WriteCommand::Merge { bits, .. } => {
                let set = Bitmap::decode(bits).expect("a set");
                let segment = |bit: Option<u64>| bit.map(|bit| bit >> 16);
                segment(set.first_set(0..u64::MAX)) == segment(set.last_set())
            }
            WriteCommand::Append { value, .. } => value.len() < 20,
            WriteCommand::Delete { keys } => keys.len() == 1,
            _ => false,
        },
        Command::Composite(_) | Command::Session(_) => false,
    }
}

/// Replies and values where the commands come in this order.
fn in_order<const N: usize>(
    before: &[Command],
    commands: [&Command; N],
) -> (Vec<Reply>, Vec<Reply>) {
    let mut twin = Twin::default();
    for command in before {
        twin.run(command);
    }
    let replies = commands.map(|command| twin.run(command)).into();
    (replies, values(|get| twin.run(&get)))
}

fn values(mut answer: impl FnMut(Command) -> Reply) -> Vec<Reply> {
    NAMES.map(|name| answer(Command::Read(ReadCommand::Get { key: key(name) }))).into()
}

/// Whether an APPEND before or after another command writes to two segments, which is not one step.
fn straddles(before: &[Command], append: &Command, other: &Command) -> bool {
    let Command::Write(WriteCommand::Append { key, value }) = append else { return false };
    let mut twin = Twin::default();
    let mut ends = Vec::new();
    for command in before.iter().chain([other]) {
        twin.run(command);
        let length = Command::Read(ReadCommand::StrLen { key: key.clone() });
        let Reply::Integer(first) = twin.run(&length) else { return false };
        let last = first + i64::try_from(value.len()).expect("a short value").max(1) - 1;
        ends.push((first >> 13, last >> 13));
    }
    ends.iter().rev().take(2).any(|(first, last)| first != last)
}

/// Whether a command may make an empty value, which a first touch in progress hides.
fn makes_empty(command: &Command) -> bool {
    match command {
        Command::Write(WriteCommand::Set { value, .. } | WriteCommand::Append { value, .. }) => {
            value.is_empty()
        }
        Command::Write(WriteCommand::Restore { value, .. }) => {
            Bitmap::decode(value).expect("a value").is_empty()
        }
        Command::Write(WriteCommand::MSet { pairs, .. }) => {
            pairs.iter().any(|(_, value)| value.is_empty())
        }
        _ => false,
    }
}

/// The same command about another key, where it is about one.
fn about(mut command: Command, name: &Key) -> Command {
    match &mut command {
        Command::Read(
            ReadCommand::GetBit { key, .. }
            | ReadCommand::BitCount { key, .. }
            | ReadCommand::BitPos { key, .. }
            | ReadCommand::Get { key }
            | ReadCommand::StrLen { key }
            | ReadCommand::GetRange { key, .. },
        )
        | Command::Write(
            WriteCommand::SetBit { key, .. }
            | WriteCommand::Set { key, .. }
            | WriteCommand::GetDel { key }
            | WriteCommand::GetEx { key, .. }
            | WriteCommand::Expire { key, .. }
            | WriteCommand::Persist { key }
            | WriteCommand::Merge { key, .. }
            | WriteCommand::Restore { key, .. }
            | WriteCommand::Append { key, .. },
        ) => *key = name.clone(),
        Command::Read(ReadCommand::Exists { keys } | ReadCommand::MGet { keys })
        | Command::Write(WriteCommand::Delete { keys }) => *keys = vec![name.clone()],
        _ => {}
    }
    command
}

fn isolated() -> impl Strategy<Value = Command> {
    prop_oneof![2 => of_spread("c"), 1 => command()]
        .prop_filter("isolated", |one| is_isolated(one) && !makes_empty(one))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 80,
        failure_persistence: None,
        max_local_rejects: 1 << 20,
        ..ProptestConfig::default()
    })]

    #[test]
    fn two_commands_at_once_are_two_commands_in_some_order(
        mut before in vec(command().prop_filter("a value", |one| !makes_empty(one)), 5..25),
        first in isolated(),
        second in isolated(),
        at in 0_u64..8,
        spread_first in prop::bool::weighted(0.8),
    ) {
        let name = key("c");
        let (first, second) = (about(first, &name), about(second, &name));
        if spread_first {
            before.extend(spread("c"));
        }
        prop_assume!(!straddles(&before, &first, &second) && !straddles(&before, &second, &first));
        let (router, cluster) = fresh(&MAP);
        for command in &before {
            poll_to_end(router.ask(command.clone()));
        }
        cluster.in_place.store(false, Ordering::Relaxed);
        let between = Arc::new(Mutex::new(None));
        let act = {
            let (router, between, second) = (router.clone(), Arc::clone(&between), second.clone());
            move || *between.lock().unwrap() = Some(poll_to_end(router.ask(second)))
        };
        cluster.interfere_after(at, Box::new(act));
        let reply = poll_to_end(router.ask(first.clone()));
        if cluster.stop_interference() {
            return Ok(());
        }
        let other = between.lock().unwrap().take().unwrap();
        let found = values(|get| poll_to_end(router.ask(get)));
        if matches!(&other, Reply::Error(error) if matches!(**error, CommandError::Busy(_))) {
            // Here the first stands still for as long as the second tries.
            let (alone, alone_values) = in_order(&before, [&first]);
            let has_nothing = alone == [reply.clone()] && found == alone_values;
            prop_assert!(has_nothing, "{first:?} gave {reply:?}, {second:?} was refused");
            let busy = BUSY.fetch_add(1, Ordering::Relaxed) + 1;
            prop_assert!(busy <= BUSY_MAX, "{busy} were refused, {second:?} after {first:?} too");
            return Ok(());
        }
        let (one, one_values) = in_order(&before, [&first, &second]);
        let (two, two_values) = in_order(&before, [&second, &first]);
        let is_one = one == [reply.clone(), other.clone()] && found == one_values;
        let is_two = two == [other.clone(), reply.clone()] && found == two_values;
        prop_assert!(is_one || is_two, "{first:?} gave {reply:?}, {second:?} gave {other:?}");
    }
}

#[test]
fn two_long_appends_to_an_absent_key_lose_nothing() {
    let append = |byte: u8| {
        let value = Bytes::from(vec![byte; 20 << 10]);
        Command::Write(WriteCommand::Append { key: key("c"), value })
    };
    // The leave to do it, the record, the mark, the record again; the fifth call writes.
    for at in 0..5 {
        let (router, cluster) = fresh(&MAP);
        cluster.in_place.store(false, Ordering::Relaxed);
        let other = router.clone();
        let act = move || {
            let reply = poll_to_end(other.ask(append(b'b')));
            assert_eq!(reply, Reply::Integer(20 << 10));
        };
        cluster.interfere_after(at, Box::new(act));
        let reply = poll_to_end(router.ask(append(b'a')));
        assert!(!cluster.stop_interference());
        assert_eq!(reply, Reply::Integer(40 << 10), "before call {at}");
        let get = Command::Read(ReadCommand::Get { key: key("c") });
        let both = [vec![b'b'; 20 << 10], vec![b'a'; 20 << 10]].concat();
        assert_eq!(poll_to_end(router.ask(get)), Reply::bulk(both));
    }
}
