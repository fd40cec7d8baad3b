//! Goal: no acknowledged call is lost and none is half there, wherever the disk fails and whatever
//! a crash leaves of what was not synced.
//!
//! Method: one workload, of all calls, restarts, full files, freed files and files used again, is
//! run once for each disk operation that it makes, with that operation failing; then the power is
//! cut and the log opened again. It must be what the model says after some number of records, at
//! least those that were acknowledged. The loop over operations ends at the first run that meets no
//! fault. Nothing is random: a failure names the operation, the fault and the tear.
//!
//! Mutants killed (each was tried): no sync before the answer; no sync of a full file before the
//! next is written; no sync of a header, or of the directory, when a file is made ready; no sync of
//! the directory when a file is freed, or when the log is opened; a file freed before its purge is
//! synced; a file freed before an older one; votes and bounds not repeated at a file's start; a
//! failed sync tried again; no seal after recovery; a seal that claims more than the frames did;
//! bytes that nothing proves to be synced not written again; the rewritten log not begun with a
//! reset.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use bitroster_wal::testing::{Fault, FaultyDisk, Names, Tear};
use bitroster_wal::{Completion, Error, Options, SyncMode, Wal};
use common::model::{Call, Model};
use common::*;

/// What a crash leaves.
const CRASHES: [(Tear, Names); 5] = [
    (Tear::Lost, Names::Lost),
    (Tear::Short, Names::Half),
    (Tear::Zeroed, Names::Kept),
    (Tear::Scattered, Names::Scattered),
    (Tear::Kept, Names::Kept),
];

/// Calls that are queued together, one list a step; an empty list is a restart.
fn workload() -> Vec<Vec<Call>> {
    let append = |group, count, len| Call::Append { group, count, len };
    vec![
        vec![append(A, 2, 700), Call::Vote { group: A, byte: 1 }, append(B, 1, 0)],
        vec![append(C, 3, 900)],
        vec![append(A, 1, 2500), append(B, 2, 1200)],
        vec![Call::Truncate { group: A, removed: 2 }, append(A, 2, 300)],
        vec![Call::Vote { group: B, byte: 2 }],
        vec![],
        vec![Call::Purge { group: C, removed: 2 }, append(C, 1, 100)],
        vec![Call::Purge { group: A, removed: 1 }, Call::Purge { group: B, removed: 2 }],
        vec![append(A, 4, 800)],
        vec![append(A, 1, 20_000)],
        vec![Call::Purge { group: A, removed: 7 }, append(B, 3, 900)],
        vec![Call::Remove { group: C }, append(A, 3, 1500)],
        vec![append(B, 4, 1000), Call::Vote { group: B, byte: 3 }],
        vec![],
        vec![Call::Purge { group: B, removed: 9 }, append(C, 2, 10)],
        vec![append(A, 2, 2000), append(C, 1, 10)],
    ]
}

/// What the model says after each record, and which of its states was the last acknowledged.
struct Run {
    states: Vec<Model>,
    acknowledged: usize,
    finished: bool,
}

/// Makes every call, until one fails.
fn run(disk: &FaultyDisk, options: &Options) -> Run {
    run_steps(disk, options, workload())
}

fn run_steps(disk: &FaultyDisk, options: &Options, steps: Vec<Vec<Call>>) -> Run {
    let mut run = Run { states: vec![Model::default()], acknowledged: 0, finished: false };
    let mut wal = None;
    for step in steps {
        if step.is_empty() {
            wal = None;
        }
        if wal.is_none() {
            wal = try_open(disk, options).ok().map(|(wal, _)| wal);
        }
        let Some(wal) = &wal else { return run };
        if make_calls(wal, &step, &mut run).is_err() {
            return run;
        }
    }
    run.finished = true;
    run
}

fn make_calls(wal: &Wal, step: &[Call], run: &mut Run) -> Result<(), Error> {
    let mut waiters = Vec::new();
    for &call in step {
        let mut model = run.states.last().unwrap().clone();
        let (done, waiter) = Completion::waiter();
        if model.call(wal, call, done).is_ok() {
            run.states.extend(model.on_the_way(call));
            run.states.push(model);
            waiters.push((waiter, run.states.len() - 1));
        }
    }
    for (waiter, states) in waiters {
        waited(waiter.wait())?;
        run.acknowledged = states;
    }
    Ok(())
}

/// Opens what a crash left and checks it; then checks that the log goes on from there.
fn check(disk: &FaultyDisk, options: &Options, run: &Run, least: usize, case: &str) {
    let (wal, recovered) =
        try_open(disk, options).unwrap_or_else(|error| panic!("{case}: reopen: {error}"));
    let found = (least..run.states.len()).rev().find(|&state| run.states[state].is(&recovered));
    let Some(found) = found else {
        panic!("{case}: not the state after any of {least} to {} records", run.states.len() - 1);
    };
    let mut model = run.states[found].clone();
    for group in [A, B, C] {
        let (done, waiter) = Completion::waiter();
        let call = Call::Append { group, count: 2, len: 600 };
        model.call(&wal, call, done).unwrap_or_else(|error| panic!("{case}: append: {error}"));
        waiter.wait().unwrap();
    }
    wal.flush().unwrap();
    disk.crash(Tear::Lost, Names::Lost);
    drop(wal);
    let (_, recovered) = open(disk, options);
    assert!(model.is(&recovered), "{case}: an entry after recovery is lost");
}

/// Runs the workload with a fault at operation `n`. Returns whether it was met.
fn survives(n: usize, fault: Fault, crash: (Tear, Names), options: &Options) -> bool {
    let case = format!("operation {n}, {fault:?}, {crash:?}");
    let disk = FaultyDisk::default();
    disk.fail_at(n, fault);
    let run = run(&disk, options);
    let met = disk.met_fault();
    assert!(met || run.finished, "{case}: stopped without a fault");
    disk.crash(crash.0, crash.1);
    check(&disk, options, &run, run.acknowledged, &case);
    met
}

fn every_operation(options: &Options, crashes: &[(Tear, Names)]) {
    for fault in [Fault::Transient, Fault::Persistent] {
        for &crash in crashes {
            let met = (0..).take_while(|&n| survives(n, fault, crash, options)).count();
            assert!(met > 100, "the workload made only {met} operations");
        }
    }
}

#[test]
fn acknowledged_calls_survive_a_fault_at_every_operation() {
    every_operation(&small(), &CRASHES);
}

#[test]
fn in_interval_mode_acknowledged_calls_survive_a_kill_at_every_operation() {
    let options = Options { sync_mode: interval(3_600_000), ..small() };
    every_operation(&options, &[(Tear::Kept, Names::Kept)]);
}

#[test]
fn in_interval_mode_a_power_cut_leaves_a_prefix() {
    let options = Options { sync_mode: interval(3_600_000), ..small() };
    for crash in CRASHES {
        let disk = FaultyDisk::default();
        let run = run(&disk, &options);
        assert!(run.finished);
        disk.crash(crash.0, crash.1);
        check(&disk, &options, &run, 0, &format!("{crash:?}"));
    }
}

/// Opens the log with a fault at each operation in turn, cuts the power, and checks.
fn crash_recovery(disk: &FaultyDisk, run: &Run, crash: (Tear, Names), case: &str) -> usize {
    (0..)
        .take_while(|&n| {
            let disk = disk.twin();
            disk.fail_at(disk.operations() + n, Fault::Persistent);
            drop(try_open(&disk, &small()));
            let met = disk.met_fault();
            disk.crash(crash.0, crash.1);
            let case = format!("{case}, operation {n} of recovery, {crash:?}");
            check(&disk, &small(), run, run.acknowledged, &case);
            met
        })
        .count()
}

#[test]
fn a_crash_at_every_operation_of_recovery_loses_nothing() {
    // The first step alone leaves a log so short that recovery rewrites it.
    let first = || workload().into_iter().take(1).collect();
    for steps in [workload(), first()] {
        for crash in CRASHES {
            let disk = FaultyDisk::default();
            let run = run_steps(&disk, &small(), steps.clone());
            disk.crash(crash.0, crash.1);
            let met = crash_recovery(&disk, &run, crash, "after the workload");
            assert!(met > 10, "recovery made only {met} operations");
        }
    }
}

#[test]
fn a_power_cut_at_every_operation_of_recovery_after_a_kill_loses_nothing() {
    for (n, crash) in (0..).zip(CRASHES.into_iter().cycle()) {
        let disk = FaultyDisk::default();
        disk.fail_at(n, Fault::Persistent);
        let run = run(&disk, &small());
        let met = disk.met_fault();
        disk.kill();
        crash_recovery(&disk, &run, crash, &format!("killed at operation {n}"));
        if !met {
            break;
        }
    }
}

#[test]
fn what_a_process_recovers_after_a_kill_survives_a_power_cut() {
    for (fault, mode) in [
        (Fault::Transient, SyncMode::Always),
        (Fault::Persistent, SyncMode::Always),
        (Fault::Persistent, interval(3_600_000)),
    ] {
        let options = Options { sync_mode: mode, ..small() };
        for (n, crash) in (0..).zip(CRASHES.into_iter().cycle()) {
            let case = format!("operation {n}, {fault:?}, {mode:?}, {crash:?}");
            let disk = FaultyDisk::default();
            disk.fail_at(n, fault);
            let run = run(&disk, &options);
            let met = disk.met_fault();
            disk.kill();
            let (wal, first) = try_open(&disk, &options).expect(&case);
            let least = run.acknowledged;
            let states = &run.states[least..];
            assert!(states.iter().any(|state| state.is(&first)), "{case}: lost in the kill");
            disk.crash(crash.0, crash.1);
            drop(wal);
            let (_, second) = try_open(&disk, &options).expect(&case);
            assert_eq!(second.groups, first.groups, "{case}: lost in the power cut");
            if !met {
                break;
            }
        }
    }
}

#[test]
fn files_made_ahead_survive_as_well() {
    let options = Options { prepare_ahead: true, ..small() };
    let operations = {
        let disk = FaultyDisk::default();
        run(&disk, &options);
        disk.operations()
    };
    for n in (0..operations).step_by(3) {
        for crash in CRASHES {
            survives(n, Fault::Persistent, crash, &options);
        }
    }
}
