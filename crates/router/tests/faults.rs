//! Goal: a call that fails gives the right error and never a wrong success, wherever it fails.
//!
//! Method: a random keyspace, then one command during which the n-th call to a group fails in one
//! of three ways. A right reply means that the command shows; "no leader" means that nothing
//! shows; "unknown" means either, but for commands that are atomic nothing in between. What home
//! remembers of it can be finished afterwards.
//!
//! Mutants killed: `after_change` handing its error through; `publish` activating before it
//! publishes.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named is wrong")]

mod support;

use std::sync::{LazyLock, atomic::Ordering};

use bitroster_command::{
    Command, CommandError, Composite, ReadCommand, Reply, WriteCommand, composite::Ask,
};
use bitroster_placement::ClusterMap;
use bitroster_router::Router;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use support::{
    Ask as _, Fault, block_on,
    commands::{command, of_spread, spread},
    fresh, key, map, pipeline,
    twin::Twin,
};

const NAMES: [&str; 5] = ["a", "b", "{a}2", "c", "events:today"];

static MAP: LazyLock<ClusterMap> = LazyLock::new(|| map(3));

/// All values; an empty one counts as none: leave to hold a part makes a record without a value.
fn values(mut answer: impl FnMut(Command) -> Reply) -> Vec<Reply> {
    let get = |name| match answer(Command::Read(ReadCommand::Get { key: key(name) })) {
        Reply::Bulk(bytes) if bytes.is_empty() => Reply::Nil,
        reply => reply,
    };
    NAMES.map(get).into()
}

fn values_now(router: &Router) -> Vec<Reply> {
    values(|get| block_on(router.ask(get)))
}

/// Whether a command shows at once or not at all.
fn is_atomic(command: &Command) -> bool {
    match command {
        Command::Read(_) => true,
        Command::Write(write) => match write {
            WriteCommand::SetBit { .. }
            | WriteCommand::Set { .. }
            | WriteCommand::BitOp { .. }
            | WriteCommand::GetDel { .. }
            | WriteCommand::Expire { .. }
            | WriteCommand::Persist { .. }
            | WriteCommand::GetEx { .. }
            | WriteCommand::Restore { .. }
            | WriteCommand::Copy { .. } => true,
            WriteCommand::Delete { keys } => keys.len() == 1,
            WriteCommand::BitField { .. }
            | WriteCommand::MSet { .. }
            | WriteCommand::Append { .. }
            | WriteCommand::SetRange { .. }
            | WriteCommand::IncrBy { .. }
            | WriteCommand::Rename { .. }
            | WriteCommand::Merge { .. }
            | WriteCommand::Touch { .. }
            | WriteCommand::AssignIds { .. }
            | WriteCommand::DropSpace { .. }
            | WriteCommand::Flush => false,
        },
        Command::Composite(composite) => {
            matches!(&**composite, Composite::Query { ask: Ask::Store { .. }, .. })
        }
        Command::Session(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_failed_call_never_gives_a_wrong_success(
        mut before in vec(command(), 5..25),
        command in prop_oneof![1 => command(), 2 => of_spread("c")],
        at in 0_u64..12,
        fault in select(vec![Fault::NoLeader, Fault::LostReply, Fault::LostRequest]),
    ) {
        let (router, cluster) = fresh(&MAP);
        let mut twin = Twin::default();
        before.extend(spread("c"));
        for command in &before {
            prop_assert_eq!(block_on(router.ask(command.clone())), twin.run(command));
        }
        let values_before = values(|get| twin.run(&get));
        let expected = twin.run(&command);
        let values_after = values(|get| twin.run(&get));

        cluster.fail_after(at, fault);
        let reply = block_on(router.ask(command.clone()));
        cluster.heal();
        if reply == expected {
            // Bits are read before anything is finished.
            for segment in 0..10 {
                let get = ReadCommand::GetBit { key: key("c"), offset: (segment << 16) + 9 };
                let get = Command::Read(get);
                prop_assert_eq!(block_on(router.ask(get.clone())), twin.run(&get));
            }
        }
        cluster.finish(&router);

        let found = values_now(&router);
        match &reply {
            Reply::Error(error) if reply != expected => match **error {
                CommandError::NoLeader { .. } => prop_assert!(found == values_before),
                CommandError::OutcomeUnknown { .. } if is_atomic(&command) => {
                    prop_assert!(found == values_before || found == values_after);
                }
                CommandError::OutcomeUnknown { .. } => {}
                ref other => prop_assert!(false, "{other}"),
            },
            reply => {
                prop_assert_eq!(reply, &expected);
                prop_assert!(found == values_after, "acknowledged and not there");
            }
        }
    }

    #[test]
    fn a_failed_batch_gives_errors_to_its_own_commands_only(
        at in 0_u64..6,
        fault in select(vec![Fault::NoLeader, Fault::LostReply, Fault::LostRequest]),
    ) {
        let (router, cluster) = fresh(&MAP);
        let set = |segment: u64| {
            let (key, offset, value) = (key("k"), segment << 16, true);
            Command::Write(WriteCommand::SetBit { key, offset, value })
        };
        let commands: Vec<Command> = (0..20).map(set).collect();
        cluster.fail_after(at, fault);
        let replies = block_on(pipeline(&router, &commands));
        cluster.heal();
        for (segment, reply) in (0..20).zip(replies) {
            let get = ReadCommand::GetBit { key: key("k"), offset: segment << 16 };
            let bit = block_on(router.ask(Command::Read(get)));
            match reply {
                Reply::Integer(0) => prop_assert_eq!(bit, Reply::Integer(1)),
                Reply::Error(error) => match *error {
                    CommandError::NoLeader { .. } => prop_assert_eq!(bit, Reply::Integer(0)),
                    CommandError::OutcomeUnknown { .. } => {}
                    other => prop_assert!(false, "{other}"),
                },
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

#[test]
fn a_read_without_a_leader_says_so() {
    let (router, cluster) = fresh(&MAP);
    cluster.in_place.store(false, Ordering::Relaxed);
    cluster.fail_after(0, Fault::NoLeader);
    let reply = block_on(pipeline(&router, &[Command::Read(ReadCommand::Get { key: key("k") })]));
    let Reply::Error(error) = &reply[0] else { panic!("{reply:?}") };
    assert!(matches!(**error, CommandError::NoLeader { .. }), "{error}");
}

#[test]
fn leave_without_its_write_makes_no_key() {
    let (router, cluster) = fresh(&MAP);
    let home = MAP.home(b"k");
    let away = (1..).find(|segment| MAP.group_of_bit(b"k", segment << 16) != home).unwrap();
    let set = WriteCommand::SetBit { key: key("k"), offset: away << 16, value: true };
    cluster.fail_after(2, Fault::NoLeader);
    let Reply::Error(error) = block_on(router.ask(Command::Write(set))) else { panic!("written") };
    assert!(matches!(*error, CommandError::NoLeader { .. }), "{error}");
    let get = Command::Read(ReadCommand::Get { key: key("k") });
    assert_eq!(block_on(router.ask(get)), Reply::Nil);
    let exists = Command::Read(ReadCommand::Exists { keys: vec![key("k")] });
    assert_eq!(block_on(router.ask(exists)), Reply::Integer(0));
    let delete = Command::Write(WriteCommand::Delete { keys: vec![key("k")] });
    let size = || block_on(router.ask(Command::Read(ReadCommand::DbSize)));
    assert_eq!(size(), Reply::Integer(1), "a name is there until the leave is settled");
    cluster.finish(&router);
    assert_eq!(size(), Reply::Integer(0));
    assert_eq!(block_on(router.ask(delete)), Reply::Integer(0));
}

#[test]
fn a_range_that_was_written_before_its_length_was_read_is_unknown() {
    let (router, cluster) = fresh(&MAP);
    for command in spread("c") {
        block_on(router.ask(command));
    }
    cluster.in_place.store(false, Ordering::Relaxed);
    let value = Bytes::from_static(b"written");
    let write = WriteCommand::SetRange { key: key("c"), offset: 0, value };
    cluster.fail_after(1, Fault::NoLeader);
    let Reply::Error(error) = block_on(router.ask(Command::Write(write))) else {
        panic!("the length was read")
    };
    assert!(matches!(*error, CommandError::OutcomeUnknown { .. }), "{error}");
    let get = ReadCommand::GetRange { key: key("c"), start: 0, end: 6 };
    assert_eq!(block_on(router.ask(Command::Read(get))), Reply::bulk("written"));
}
