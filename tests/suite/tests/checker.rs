//! Goal: the checker accepts exactly the histories that a single atomic register could give.
//!
//! Method: histories are made by simulating a register: every operation takes effect at one instant
//! between its beginning and its end; some are then told as unknown or refused. These must pass.
//! Then each kind of fault is put in by hand, in the shape a broken database would show it, and
//! must be found. Last, thousands of small random histories, many of them impossible, are also
//! decided by trying every order, and both must agree.
//!
//! Mutants killed: treat an unknown write as never applied; treat it as applied; let it apply
//! twice; let a refused write apply; ignore the old bit in SETBIT's answer; ignore real time; turn
//! the bit by the write that ends last.

use std::time::{Duration, Instant};

use bitroster_suite::{
    Random,
    checker::{check, check_bit, violations},
    history::{Bit, History, Kind, Operation, Outcome},
};

const BIT: Bit = Bit { key: 7, offset: 1234 };

/// What happened to one operation, and what its client was told.
fn operation(kind: Kind, invoked: u64, completed: u64, outcome: Outcome) -> Operation {
    Operation { client: 0, bit: BIT, kind, invoked, completed, outcome }
}

fn set(value: u8, invoked: u64, completed: u64, old: u8) -> Operation {
    operation(Kind::Set(value == 1), invoked, completed, Outcome::Answered(old == 1))
}

fn get(invoked: u64, completed: u64, value: u8) -> Operation {
    operation(Kind::Get, invoked, completed, Outcome::Answered(value == 1))
}

fn unknown_set(value: u8, invoked: u64) -> Operation {
    operation(Kind::Set(value == 1), invoked, invoked, Outcome::Unknown)
}

fn refused_set(value: u8, invoked: u64, completed: u64) -> Operation {
    operation(Kind::Set(value == 1), invoked, completed, Outcome::Refused)
}

/// Clients that share a register: each waits for its answer before it asks again.
fn simulate(random: &mut Random, bit: Bit, clients: u32, each: u32) -> Vec<Operation> {
    // (instant of the effect, operation)
    let mut effects: Vec<(u64, Operation)> = Vec::new();
    for client in 0..clients {
        let mut now = random.below(50);
        for _ in 0..each {
            let invoked = now;
            let effect = invoked + 1 + random.below(40);
            let completed = effect + 1 + random.below(40);
            let kind = match random.below(3) {
                0 => Kind::Get,
                other => Kind::Set(other == 1),
            };
            let outcome = match random.below(20) {
                0 => Outcome::Unknown,
                1 => Outcome::Refused,
                _ => Outcome::Answered(false),
            };
            let made = Operation { client, bit, kind, invoked, completed, outcome };
            // What nobody knows may happen much later, or never.
            let late = if outcome == Outcome::Unknown { random.below(300) } else { 0 };
            effects.push((effect + late, made));
            now = completed + 1 + random.below(20);
        }
    }
    effects.sort_by_key(|(effect, made)| (*effect, made.client));
    let mut value = false;
    let mut operations = Vec::new();
    for (_, mut made) in effects {
        let happens = match made.outcome {
            Outcome::Answered(_) => true,
            Outcome::Unknown => random.one_in(2),
            Outcome::Refused => false,
        };
        if matches!(made.outcome, Outcome::Answered(_)) {
            made.outcome = Outcome::Answered(value);
        }
        if let (true, Kind::Set(new)) = (happens, made.kind) {
            value = new;
        }
        operations.push(made);
    }
    operations
}

#[test]
fn histories_of_a_real_register_always_pass() {
    let mut random = Random::announced(1);
    for round in 0..2000 {
        let operations = simulate(&mut random, BIT, 1 + round % 8, 12);
        if let Err(violation) = check_bit(BIT, &operations) {
            panic!("a correct history was refused: {violation:#?}");
        }
    }
}

#[test]
fn a_lost_write_is_found() {
    let history = [set(1, 0, 10, 0), get(20, 30, 1), get(40, 50, 0)];
    let violation = check_bit(BIT, &history).expect_err("the write is lost");
    assert_eq!(violation.unexplained, history[2]);
    assert_eq!(violation.window, history[1..]);
}

#[test]
fn a_stale_read_after_an_answered_write_is_found() {
    assert!(check_bit(BIT, &[set(1, 0, 10, 0), get(11, 12, 0)]).is_err());
    // The same read is right while the write still runs.
    assert!(check_bit(BIT, &[set(1, 0, 10, 0), get(10, 12, 0)]).is_ok());
}

#[test]
fn reads_that_go_back_in_time_are_found_while_the_write_still_runs() {
    assert!(check_bit(BIT, &[set(1, 0, 100, 0), get(10, 20, 1), get(30, 40, 0)]).is_err());
    assert!(check_bit(BIT, &[set(1, 0, 100, 0), get(10, 20, 0), get(30, 40, 1)]).is_ok());
}

#[test]
fn a_write_that_is_applied_twice_is_found() {
    // The first write is applied again after the second one.
    let history = [set(1, 0, 10, 0), set(0, 20, 30, 1), get(40, 50, 1)];
    assert!(check_bit(BIT, &history).is_err());
    // A repeat answers with the bit that it wrote itself.
    assert!(check_bit(BIT, &[set(1, 0, 10, 1)]).is_err());
    // An unknown write takes effect once at most.
    let once = [unknown_set(1, 0), get(1, 2, 1), set(0, 3, 4, 1), get(5, 6, 1)];
    assert!(check_bit(BIT, &once).is_err());
    let late = [unknown_set(1, 0), set(0, 3, 4, 0), get(5, 6, 1)];
    assert!(check_bit(BIT, &late).is_ok());
}

#[test]
fn a_wrong_old_bit_is_found() {
    assert!(check_bit(BIT, &[set(0, 0, 10, 0), set(1, 20, 30, 1)]).is_err());
    assert!(check_bit(BIT, &[set(0, 0, 10, 0), set(1, 20, 30, 0), set(1, 40, 50, 1)]).is_ok());
}

#[test]
fn a_refused_write_that_shows_is_found() {
    assert!(check_bit(BIT, &[refused_set(1, 0, 10), get(20, 30, 1)]).is_err());
    assert!(check_bit(BIT, &[refused_set(1, 0, 10), get(20, 30, 0)]).is_ok());
}

#[test]
fn a_value_that_nobody_wrote_or_that_is_written_later_is_found() {
    assert!(check_bit(BIT, &[get(0, 10, 1)]).is_err());
    assert!(check_bit(BIT, &[get(0, 10, 1), set(1, 20, 30, 0)]).is_err());
    assert!(check_bit(BIT, &[get(0, 10, 1), unknown_set(1, 20)]).is_err());
    assert!(check_bit(BIT, &[get(0, 10, 1), unknown_set(1, 5)]).is_ok());
}

/// Puts one fault into a correct history; what was done, or nothing where it does not fit.
fn break_it(random: &mut Random, operations: &mut [Operation]) -> bool {
    let at = random.index(operations.len());
    let broken = &mut operations[at];
    let Outcome::Answered(bit) = broken.outcome else { return false };
    match random.below(3) {
        0 => broken.outcome = Outcome::Answered(!bit),
        1 if matches!(broken.kind, Kind::Set(_)) => broken.outcome = Outcome::Refused,
        _ => {
            if let Kind::Set(value) = &mut broken.kind {
                *value = !*value;
            }
        }
    }
    true
}

#[test]
fn a_fault_anywhere_in_a_long_quiet_history_is_found() {
    // One client at a time and many reads: no concurrency hides the fault.
    let mut random = Random::announced(2);
    let mut found = 0;
    for _ in 0..300 {
        let mut operations = simulate(&mut random, BIT, 1, 200);
        operations.retain(|operation| operation.outcome != Outcome::Unknown);
        let mut value = false;
        for operation in &mut operations {
            let (Outcome::Answered(_), kind) = (operation.outcome, operation.kind) else {
                continue;
            };
            operation.outcome = Outcome::Answered(value);
            if let Kind::Set(new) = kind {
                value = new;
            }
        }
        let at = random.index(operations.len());
        let Outcome::Answered(bit) = operations[at].outcome else { continue };
        operations[at].outcome = Outcome::Answered(!bit);
        let broken = operations[at];
        let violation = check_bit(BIT, &operations).expect_err("one answer is wrong");
        assert!(violation.window.len() <= 6, "{violation:#?}");
        assert!(violation.window.contains(&broken), "{violation:#?}");
        found += 1;
    }
    assert!(found > 200);
}

/// Whether some order of effects explains the history: tries them all.
fn brute_force(operations: &[Operation], value: bool, done: &mut Vec<bool>) -> bool {
    let must = |at: usize| matches!(operations[at].outcome, Outcome::Answered(_));
    if (0..operations.len()).all(|at| done[at] || !must(at)) {
        return true;
    }
    for at in 0..operations.len() {
        let next = &operations[at];
        if done[at] || next.outcome == Outcome::Refused {
            continue;
        }
        // Whatever ended before this began must have taken effect before.
        let too_early = (0..operations.len())
            .any(|other| must(other) && !done[other] && operations[other].completed < next.invoked);
        let wrong = matches!(next.outcome, Outcome::Answered(bit) if bit != value);
        if too_early || wrong {
            continue;
        }
        let new = if let Kind::Set(new) = next.kind { new } else { value };
        done[at] = true;
        let found = brute_force(operations, new, done);
        done[at] = false;
        if found {
            return true;
        }
    }
    false
}

#[test]
fn thousands_of_random_and_broken_histories_are_decided_as_by_trying_every_order() {
    let mut random = Random::announced(3);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut operations = if round % 2 == 0 {
            let mut operations = simulate(&mut random, BIT, 3, 3);
            break_it(&mut random, &mut operations);
            operations
        } else {
            let count = 1 + random.below(7);
            let any = |random: &mut Random| {
                let invoked = random.below(12);
                let completed = invoked + random.below(6);
                let kind = match random.below(3) {
                    0 => Kind::Get,
                    other => Kind::Set(other == 1),
                };
                let outcome = match random.below(8) {
                    0 | 1 => Outcome::Unknown,
                    2 => Outcome::Refused,
                    other => Outcome::Answered(other % 2 == 0),
                };
                operation(kind, invoked, completed, outcome)
            };
            (0..count).map(|_| any(&mut random)).collect()
        };
        let expected = brute_force(&operations, false, &mut vec![false; operations.len()]);
        let got = check_bit(BIT, &operations);
        assert_eq!(got.is_ok(), expected, "{operations:#?}");
        if let Err(violation) = got {
            refused += 1;
            // The window is impossible too, whatever the bit was before.
            let window = &violation.window;
            let from = |value| brute_force(window, value, &mut vec![false; window.len()]);
            assert!(!from(false), "{violation:#?}\n{operations:#?}");
        } else {
            accepted += 1;
        }
        operations.clear();
    }
    assert!(accepted > 3000 && refused > 3000, "{accepted} accepted, {refused} refused");
}

#[test]
fn two_hundred_thousand_operations_are_checked_in_seconds() {
    let mut random = Random::announced(4);
    let mut history = History::default();
    // A hundred bits with two thousand operations each, of which a hundred are unknown.
    for offset in 0..100 {
        let bit = Bit { key: 1, offset };
        history.operations.extend(simulate(&mut random, bit, 8, 250));
    }
    assert_eq!(history.operations.len(), 200_000);
    let started = Instant::now();
    let said = check(&history).expect("a correct history");
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}", started.elapsed());
    assert!(said.contains("linearizable"), "{said}");
}

#[test]
fn a_report_names_the_bit_and_shows_the_contradiction_alone() {
    let mut random = Random::announced(5);
    let mut operations = simulate(&mut random, Bit { key: 1, offset: 1 }, 4, 50);
    operations.extend([set(1, 5000, 6000, 0), get(7000, 8000, 1), refused_set(0, 8100, 8200)]);
    operations.push(get(9000, 10_000, 0));
    let history = History { operations };
    assert_eq!(violations(&history).len(), 1);
    let report = check(&history).expect_err("the refused write shows");
    assert!(report.contains("bit 1234 of key 7"), "{report}");
    assert!(report.contains("answered 0  <- impossible"), "{report}");
    assert!(report.contains("refused"), "{report}");
    assert!(report.lines().count() < 12, "{report}");
}
