//! Goal: after any sequence of calls, restarts and crashes the log holds what the obvious model
//! says.
//!
//! Method: the same random calls to both, on small files, so that files fill, are freed and are
//! used again. Every call is waited for, so the model is exact also after a power cut.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use bitroster_types::GroupId;
use bitroster_wal::testing::{FaultyDisk, Names, Tear};
use bitroster_wal::{Completion, Options};
use common::model::{Call, Model};
use common::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Call(Call),
    Restart,
    PowerCut(Tear, Names),
    Kill,
}

fn group() -> impl Strategy<Value = GroupId> {
    prop_oneof![Just(A), Just(B), Just(C)]
}

fn step() -> impl Strategy<Value = Step> {
    let call = prop_oneof![
        8 => (group(), 0..4_u64, 0..1500_usize)
            .prop_map(|(group, count, len)| Call::Append { group, count, len }),
        1 => (group(), Just(1), 5000..30_000_usize)
            .prop_map(|(group, count, len)| Call::Append { group, count, len }),
        2 => (group(), any::<u8>()).prop_map(|(group, byte)| Call::Vote { group, byte }),
        2 => (group(), 0..6_u64).prop_map(|(group, removed)| Call::Truncate { group, removed }),
        4 => (group(), 0..12_u64).prop_map(|(group, removed)| Call::Purge { group, removed }),
        1 => group().prop_map(|group| Call::Remove { group }),
    ];
    let tear = prop_oneof![
        Just(Tear::Lost),
        Just(Tear::Short),
        Just(Tear::Zeroed),
        Just(Tear::Scattered),
        Just(Tear::Kept)
    ];
    let names = prop_oneof![
        Just(Names::Lost),
        Just(Names::Half),
        Just(Names::Scattered),
        Just(Names::Kept)
    ];
    prop_oneof![
        20 => call.prop_map(Step::Call),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        2 => (tear, names).prop_map(|(tear, names)| Step::PowerCut(tear, names)),
    ]
}

fn agrees(steps: &[Step], options: &Options) -> Result<(), TestCaseError> {
    let disk = FaultyDisk::default();
    let (mut wal, _) = open(&disk, options);
    let mut model = Model::default();
    for &step in steps.iter().chain([&Step::Restart]) {
        match step {
            Step::Call(call) => {
                let (done, waiter) = Completion::waiter();
                model.call(&wal, call, done).unwrap();
                waiter.wait().unwrap();
                continue;
            }
            Step::Restart => wal.close().unwrap(),
            Step::Kill => disk.kill(),
            Step::PowerCut(tear, names) => disk.crash(tear, names),
        }
        drop(wal);
        let recovered;
        (wal, recovered) = open(&disk, options);
        prop_assert!(model.is(&recovered), "{model:#?}\n{recovered:#?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_agrees_with_the_model(steps in prop::collection::vec(step(), 1..60)) {
        agrees(&steps, &small())?;
    }

    #[test]
    fn the_log_agrees_with_the_model_when_files_are_made_ahead(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        agrees(&steps, &Options { prepare_ahead: true, spare_files_max: 1, ..small() })?;
    }
}
