//! Goal: a router over any number of groups answers as one keyspace of byte strings does.
//!
//! Method: random commands on few keys, with offsets that crowd at segment edges, go through a
//! router over real engines and through a naive twin; every reply must be the same, and so must
//! every value at the end. Pipelines through a turn must answer as the commands one by one.
//!
//! Mutants killed: `Ledger::admits` always true; BITOP's first segment fetched but not staged;
//! `first_unheld` left out; part lengths left out of `len_bytes`.

mod support;

use std::sync::{LazyLock, atomic::Ordering};

use bitroster_command::{Command, ReadCommand, Reply};
use bitroster_placement::ClusterMap;
use proptest::{collection::vec, prelude::*};
use support::{Ask, block_on, commands::command, fresh, key, map, pipeline, twin::Twin};

static MAPS: LazyLock<[ClusterMap; 4]> = LazyLock::new(|| [map(1), map(2), map(3), map(4)]);

fn check_values(
    twin: &mut Twin,
    mut answer: impl FnMut(Command) -> Reply,
) -> Result<(), TestCaseError> {
    for name in ["a", "b", "{a}2", "c", "events:today"] {
        let get = Command::Read(ReadCommand::Get { key: key(name) });
        let expected = twin.run(&get);
        prop_assert!(answer(get) == expected, "the values of {name} differ at the end");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_reply_is_that_of_one_keyspace(
        commands in vec(command(), 1..50),
        groups in 0_usize..4,
        in_place in any::<bool>(),
    ) {
        let (router, cluster) = fresh(&MAPS[groups]);
        cluster.in_place.store(in_place, Ordering::Relaxed);
        let mut twin = Twin::default();
        for command in &commands {
            let reply = block_on(router.ask(command.clone()));
            prop_assert_eq!(reply, twin.run(command), "{:?}", command);
        }
        check_values(&mut twin, |get| block_on(router.ask(get)))?;
        prop_assert_eq!(cluster.unfinished(), vec![]);
        prop_assert_eq!(cluster.staged(), 0);
        cluster.finish(&router);
    }

    #[test]
    fn a_pipeline_answers_as_its_commands_one_by_one(
        commands in vec(command(), 1..50),
        groups in 0_usize..4,
        in_place in any::<bool>(),
    ) {
        let (router, cluster) = fresh(&MAPS[groups]);
        cluster.in_place.store(in_place, Ordering::Relaxed);
        let mut twin = Twin::default();
        let replies = block_on(pipeline(&router, &commands));
        prop_assert_eq!(replies.len(), commands.len());
        for (command, reply) in commands.iter().zip(replies) {
            prop_assert_eq!(reply, twin.run(command), "{:?}", command);
        }
        check_values(&mut twin, |get| block_on(router.ask(get)))?;
    }

    #[test]
    fn a_transaction_answers_as_its_commands_one_by_one(
        before in vec(command(), 0..10),
        commands in vec(command(), 1..20),
        groups in 0_usize..4,
    ) {
        let (router, _) = fresh(&MAPS[groups]);
        let mut twin = Twin::default();
        for command in &before {
            prop_assert_eq!(block_on(router.ask(command.clone())), twin.run(command));
        }
        let expected = commands.iter().map(|command| twin.run(command)).collect();
        let reply = block_on(router.transaction(&[], commands));
        prop_assert_eq!(reply, Reply::Array(expected));
        check_values(&mut twin, |get| block_on(router.ask(get)))?;
    }
}
