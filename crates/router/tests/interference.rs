//! Goal: what two clients do to one key at the same time is what they would have done one after
//! the other, at whichever step of a plan the second one comes.
//!
//! Method: a random keyspace with a spread key; one command, and before the n-th call that it makes
//! to a group a second command runs to its end. Reply and values must be those of the first before
//! the second or of the second before the first; a second one that is told BUSY has done nothing,
//! and few are. What is documented as not isolated is left out.
//!
//! Mutants killed: `confirm` doing nothing; APPEND without its watch, also to an absent key; a
//! length of nothing taken for it without asking home again; SET that is refused without asking;
//! BITOP that removes a destination which was an operand and not there.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named is left out")]

mod support;

use std::sync::{
    Arc, LazyLock, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    BitLogic, Command, CommandError, Existence, Expiry, ExpiryCondition, IndexUnit, ReadCommand,
    Reply, SetReply, WriteCommand,
};
use bitroster_placement::ClusterMap;
use bitroster_types::{Key, UnixMillis};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use support::{
    Ask,
    commands::{command, of_spread, spread},
    fresh, key, map, poll_to_end,
    twin::{Twin, sets::store_union},
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

/// What the key is before the two commands come.
#[derive(Clone, Copy, Debug)]
enum Layout {
    /// What random commands have made of it.
    AsItComes,
    /// A bit in each of the first segments.
    Spread,
    /// This bit, in another group than its home, which has nothing.
    Away(bool),
}

impl Layout {
    fn commands(self) -> Vec<Command> {
        match self {
            Self::AsItComes => Vec::new(),
            Self::Spread => spread("c").collect(),
            Self::Away(bit) => {
                vec![write(WriteCommand::Delete { keys: vec![key("c")] }), away(bit)]
            }
        }
    }
}

fn layout() -> impl Strategy<Value = Layout> {
    prop_oneof![
        6 => Just(Layout::Spread),
        2 => any::<bool>().prop_map(Layout::Away),
        2 => Just(Layout::AsItComes),
    ]
}

fn write(command: WriteCommand) -> Command {
    Command::Write(command)
}

fn set(value: &'static str, existence: Option<Existence>, reply: SetReply) -> Command {
    let (value, expiry) = (Bytes::from_static(value.as_bytes()), Expiry::Clear);
    write(WriteCommand::Set { key: key("c"), value, existence, expiry, reply })
}

/// A bit in a segment of another group than the home of `c`.
fn away(value: bool) -> Command {
    let is_away = |segment: &u64| MAP.group_of_bit(b"c", segment << 16) != MAP.home(b"c");
    let segment = (10..).find(is_away).expect("three groups own segments");
    write(WriteCommand::SetBit { key: key("c"), offset: segment << 16, value })
}

/// What two commands at once were told, and the values after them.
#[derive(Debug, PartialEq)]
struct Met {
    reply: Reply,
    other: Reply,
    found: Vec<Reply>,
}

/// What comes of the first command before the second, and of the second before the first.
fn orders(before: &[Command], first: &Command, second: &Command) -> [Met; 2] {
    let (one, one_found) = in_order(before, [first, second]);
    let (two, two_found) = in_order(before, [second, first]);
    let met = |reply: &Reply, other: &Reply, found| {
        let (reply, other) = (reply.clone(), other.clone());
        Met { reply, other, found }
    };
    [met(&one[0], &one[1], one_found), met(&two[1], &two[0], two_found)]
}

/// Runs the second command before a call of the first one; `None` where there was no such call.
fn meet(before: &[Command], first: &Command, second: &Command, at: u64) -> Option<Met> {
    let (router, cluster) = fresh(&MAP);
    for command in before {
        poll_to_end(router.ask(command.clone()));
    }
    cluster.in_place.store(false, Ordering::Relaxed);
    let between = Arc::new(Mutex::new(None));
    let act = {
        let (router, between, second) = (router.clone(), Arc::clone(&between), second.clone());
        let ask = move || poll_to_end(router.ask(second));
        move || *between.lock().expect("nobody has panicked") = Some(ask())
    };
    cluster.interfere_after(at, Box::new(act));
    let reply = poll_to_end(router.ask(first.clone()));
    if cluster.stop_interference() {
        return None;
    }
    let other = between.lock().expect("nobody has panicked").take().expect("it has run");
    let found = values(|get| poll_to_end(router.ask(get)));
    Some(Met { reply, other, found })
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
        layout in layout(),
    ) {
        let name = key("c");
        let (first, second) = (about(first, &name), about(second, &name));
        before.extend(layout.commands());
        prop_assume!(!straddles(&before, &first, &second) && !straddles(&before, &second, &first));
        let Some(met) = meet(&before, &first, &second, at) else { return Ok(()) };
        let is_right = orders(&before, &first, &second).contains(&met);
        let Met { reply, other, found } = met;
        if matches!(&other, Reply::Error(error) if matches!(**error, CommandError::Busy(_))) {
            // Here the first stands still for as long as the second tries.
            let (alone, alone_values) = in_order(&before, [&first]);
            let has_nothing = alone == [reply.clone()] && found == alone_values;
            prop_assert!(has_nothing, "{first:?} gave {reply:?}, {second:?} was refused");
            let busy = BUSY.fetch_add(1, Ordering::Relaxed) + 1;
            prop_assert!(busy <= BUSY_MAX, "{busy} were refused, {second:?} after {first:?} too");
            return Ok(());
        }
        prop_assert!(is_right, "{first:?} gave {reply:?}, {second:?} gave {other:?}");
    }
}

/// Commands that answer otherwise where there is no key `c`, or none but a short one.
fn looking() -> Vec<Command> {
    let (at, condition) = (Expiry::At(UnixMillis(9_000_000_000_000)), ExpiryCondition::default());
    let is_apart = |name: &&str| MAP.home(name.as_bytes()) != MAP.home(b"c");
    let apart = key(NAMES.into_iter().find(is_apart).expect("three groups have homes"));
    let (to, target, sources) = (apart.clone(), key("c"), vec![key("c"), apart.clone()]);
    let union = store_union(key("c"), sources.clone());
    let (start, end, unit) = (Some(0), Some(-1), IndexUnit::Byte);
    vec![
        write(WriteCommand::Delete { keys: vec![key("c")] }),
        write(WriteCommand::Expire { key: key("c"), expiry: at, condition }),
        write(WriteCommand::Persist { key: key("c") }),
        write(WriteCommand::GetDel { key: key("c") }),
        write(WriteCommand::GetEx { key: key("c"), expiry: at }),
        set("other", Some(Existence::IfPresent), SetReply::Status),
        set("other", Some(Existence::IfPresent), SetReply::Old),
        set("other", Some(Existence::IfAbsent), SetReply::Changed),
        set("other", Some(Existence::IfAbsent), SetReply::Old),
        write(WriteCommand::Copy { source: key("c"), target: to, replace: true }),
        write(WriteCommand::Rename { source: key("c"), target: apart, only_if_new: false }),
        write(WriteCommand::BitOp { logic: BitLogic::Or, target, sources: sources.clone() }),
        Command::Composite(union.into()),
        Command::Read(ReadCommand::BitOpCard { logic: BitLogic::Or, sources }),
        Command::Read(ReadCommand::BitPos { key: key("c"), bit: true, start, end, unit }),
        Command::Read(ReadCommand::Exists { keys: vec![key("c")] }),
        Command::Read(ReadCommand::Get { key: key("c") }),
        Command::Read(ReadCommand::StrLen { key: key("c") }),
    ]
}

#[test]
fn a_key_that_is_replaced_before_its_parts_are_asked_was_there_to_delete() {
    let before = [away(false)];
    let delete = write(WriteCommand::Delete { keys: vec![key("c")] });
    // DEL, the record, the lengths of the parts, which go before that with the old value.
    let met = meet(&before, &delete, &set("small", None, SetReply::Status), 2).unwrap();
    assert_eq!((met.reply, met.other), (Reply::Integer(1), Reply::Ok));
    assert_eq!(met.found, vec![Reply::Nil; NAMES.len()]);
}

#[test]
fn a_key_that_is_replaced_between_two_calls_is_missed_by_nobody() {
    let expiry = Expiry::At(UnixMillis(9_000_000_000_000));
    let offset = 5;
    let seconds = [
        set("small", None, SetReply::Status),
        set("small", Some(Existence::IfPresent), SetReply::Old),
        write(WriteCommand::GetEx { key: key("c"), expiry }),
        write(WriteCommand::SetBit { key: key("c"), offset, value: true }),
        away(true),
    ];
    let layouts = [Layout::AsItComes, Layout::Away(false), Layout::Away(true), Layout::Spread];
    let mut count = 0;
    for layout in layouts {
        let before = layout.commands();
        for first in looking() {
            for second in &seconds {
                let orders = orders(&before, &first, second);
                let mut at = 0;
                while let Some(met) = meet(&before, &first, second, at) {
                    let Met { reply, other, .. } = &met;
                    assert!(
                        orders.contains(&met),
                        "{layout:?}: {first:?} gave {reply:?}, \
                         {second:?} before call {at} gave {other:?}"
                    );
                    count += 1;
                    at += 1;
                }
            }
        }
    }
    assert!(count > 1000, "{count} pairs have met");
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

/// A key whose first two segments lie at its home, another key of that home, and one of another.
fn same_and_apart() -> (Key, Key, Key) {
    let names = || (0..).map(|n| key(&format!("n{n}")));
    let is_whole = |name: &Key| MAP.group_of_bit(name, 1 << 16) == MAP.home(name);
    let whole = names().find(is_whole).expect("some home owns second segments");
    let near = names().find(|name| *name != whole && MAP.home(name) == MAP.home(&whole));
    let apart = names().find(|name| MAP.home(name) != MAP.home(&whole));
    (whole, near.expect("a home has many keys"), apart.expect("three groups have homes"))
}

#[test]
fn what_has_no_version_is_combined_as_it_was_at_one_moment() {
    let (whole, near, apart) = same_and_apart();
    let set = |key: &Key, value: Vec<u8>| {
        let (key, value, expiry) = (key.clone(), Bytes::from(value), Expiry::Clear);
        write(WriteCommand::Set { key, value, existence: None, expiry, reply: SetReply::Status })
    };
    let before = [set(&whole, vec![0xFF; 16 << 10]), set(&near, vec![1]), set(&apart, vec![2])];
    let one_of_all = [whole.clone(), apart.clone()];
    let long_twice = [whole.clone(), whole.clone(), apart.clone()];
    let short_twice = [near.clone(), near.clone(), apart.clone()];
    let short_of_all = [near.clone(), apart.clone()];
    let at_home = [near.clone(), near.clone()];
    let two_at_home = [whole.clone(), near.clone(), apart];
    let seconds = [
        set(&whole, vec![0; 16 << 10]),
        write(WriteCommand::SetBit { key: whole, offset: 7, value: false }),
        write(WriteCommand::SetBit { key: near.clone(), offset: 7, value: false }),
        set(&near, vec![0xFF; 3]),
    ];
    let mut count = 0;
    for (logic, keys) in [
        (BitLogic::Or, &one_of_all[..]),
        (BitLogic::Or, &short_of_all),
        (BitLogic::Or, &at_home),
        (BitLogic::Xor, &one_of_all),
        (BitLogic::Diff, &long_twice),
        (BitLogic::Diff, &short_twice),
        (BitLogic::Diff1, &short_twice),
        (BitLogic::AndOr, &long_twice),
        (BitLogic::One, &two_at_home),
    ] {
        let sources = keys.to_vec();
        let firsts = [
            Command::Read(ReadCommand::BitOpCard { logic, sources: sources.clone() }),
            write(WriteCommand::BitOp { logic, target: key("a"), sources }),
        ];
        for first in &firsts {
            for second in &seconds {
                let orders = orders(&before, first, second);
                let mut at = 0;
                while let Some(met) = meet(&before, first, second, at) {
                    let reply = &met.reply;
                    assert!(orders.contains(&met), "{logic:?} {keys:?}: {reply:?} at call {at}");
                    (at, count) = (at + 1, count + 1);
                }
            }
        }
    }
    assert!(count > 100, "{count} pairs have met");
}
