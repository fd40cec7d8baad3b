//! Whether a history of bits is linearizable.
//!
//! Every bit is a register of its own, so every bit is checked alone, in the sense of Wing and
//! Gong, "Testing and verifying concurrent objects" (1993). The general search tries orders; a bit
//! needs none tried, because an order that exists can be turned into the one found here:
//!
//! - An operation takes effect only when its end, or that of another one, demands it, except that
//!   one that changes nothing and whose answer fits takes effect as soon as it can: that harms
//!   nobody.
//! - What changes the bit from its present value is chosen by its end: of two that run, do the same
//!   and fit the present value, the one that ends first may always go first, for the other one can
//!   take its place later. An unknown write never ends, so it comes last.
//!
//! So each end has one way to be met at most, and the check is linear. `tests/checker.rs` compares
//! it with trying every order.

use std::{fmt::Write as _, time::Instant};

use crate::history::{Bit, History, Kind, Operation, Outcome};

/// Most lines of the report of one impossible bit.
const LINES_MAX: usize = 60;

/// A history that no order of effects explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The bit.
    pub bit: Bit,
    /// The shortest part of its history that was found to be impossible whatever came before, in
    /// order of sending. The last one to end is the one that cannot be explained.
    pub window: Vec<Operation>,
    /// The one whose end cannot be explained.
    pub unexplained: Operation,
}

/// Checks a history; a report of the first few impossible bits. Every bit is 0 at first.
///
/// Takes a sort of the operations, and for each a look at those that ran beside it.
///
/// # Errors
///
/// A text for people: which bits, and the operations that contradict each other.
pub fn check(history: &History) -> Result<String, String> {
    let started = Instant::now();
    let violations: Vec<Violation> = violations(history);
    let Some(first) = violations.first() else {
        return Ok(format!(
            "{}; linearizable, checked in {:?}",
            history.tally(),
            started.elapsed()
        ));
    };
    let mut report = format!(
        "not linearizable: {} of {} bits are impossible ({})\n",
        violations.len(),
        history.by_bit().len(),
        history.tally()
    );
    report.push_str(&first.report());
    for other in violations.iter().skip(1).take(2) {
        report.push_str(&other.report());
    }
    Err(report)
}

/// Every bit whose history is impossible, the one with the shortest window first.
pub fn violations(history: &History) -> Vec<Violation> {
    let mut violations: Vec<Violation> = history
        .by_bit()
        .into_iter()
        .filter_map(|(bit, operations)| check_bit(bit, &operations).err())
        .collect();
    violations.sort_by_key(|violation| violation.window.len());
    violations
}

impl Violation {
    /// The window, a line an operation.
    fn report(&self) -> String {
        let mut report = format!("\n{}:\n", self.bit);
        let skipped = self.window.len().saturating_sub(LINES_MAX);
        if skipped > 0 {
            writeln!(report, "  ... {skipped} more before").expect("strings take everything");
        }
        for operation in &self.window[skipped..] {
            let mark = if *operation == self.unexplained { "  <- impossible" } else { "" };
            writeln!(report, "  {operation}{mark}").expect("strings take everything");
        }
        report
    }
}

/// Checks the operations of one bit, which is 0 at first.
///
/// # Errors
///
/// The shortest impossible window that was found.
pub fn check_bit(bit: Bit, operations: &[Operation]) -> Result<(), Violation> {
    let Err(unexplained) = search(operations, &[false]) else { return Ok(()) };
    let end = unexplained.completed;
    let mut prefix: Vec<Operation> =
        operations.iter().filter(|operation| operation.invoked <= end).copied().collect();
    prefix.sort_by_key(|operation| (operation.invoked, operation.completed));
    let window = shrink(&prefix, unexplained);
    Err(Violation { bit, window, unexplained: *unexplained })
}

/// Drops what is not needed for the contradiction: first whatever ended before a point in time,
/// with the bit then free to be anything; then reads.
fn shrink(prefix: &[Operation], unexplained: &Operation) -> Vec<Operation> {
    let ends_after = |from: u64| -> Vec<Operation> {
        let kept = |operation: &&Operation| {
            operation.outcome == Outcome::Unknown || operation.completed >= from
        };
        prefix.iter().filter(kept).copied().collect()
    };
    let mut points: Vec<u64> = prefix.iter().map(|operation| operation.invoked).collect();
    points.dedup();
    let mut window = prefix.to_vec();
    let mut initial: &[bool] = &[false];
    // From the latest point backwards: the first that leaves a contradiction is the shortest.
    for point in points.iter().rev() {
        let candidate = ends_after(*point);
        if search(&candidate, &[false, true]).is_err() {
            window = candidate;
            initial = &[false, true];
            break;
        }
    }
    let mut at = 0;
    while at < window.len() {
        let operation = window[at];
        let needed = operation == *unexplained || matches!(operation.kind, Kind::Set(_));
        let droppable = !needed && operation.outcome != Outcome::Refused;
        if droppable || operation.outcome == Outcome::Unknown {
            let mut without = window.clone();
            without.remove(at);
            if search(&without, initial).is_err() {
                window = without;
                continue;
            }
        }
        at += 1;
    }
    window
}

/// A bit, as far as its events have been followed.
struct Follower<'a> {
    value: bool,
    /// Operations that will be answered, have begun, and have not taken effect.
    running: Vec<&'a Operation>,
    /// Unknown writes of 0 and of 1 that have been sent and have not taken effect.
    unknown: [u32; 2],
}

/// Goes through the events of one bit that begins with one of `initial`; the operation, of those
/// that got furthest, whose end no order explains.
fn search<'a>(operations: &'a [Operation], initial: &[bool]) -> Result<(), &'a Operation> {
    let mut furthest: Option<&Operation> = None;
    for value in initial {
        match (Follower { value: *value, running: Vec::new(), unknown: [0, 0] }).follow(operations)
        {
            Ok(()) => return Ok(()),
            Err(stuck) => {
                let further = furthest.is_none_or(|other| other.completed < stuck.completed);
                furthest = if further { Some(stuck) } else { furthest };
            }
        }
    }
    furthest.map_or(Ok(()), Err)
}

/// Beginnings and ends in order of time; at the same instant, beginnings first: whatever touches
/// may overlap.
fn events(operations: &[Operation]) -> Vec<(u64, bool, usize)> {
    let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * operations.len());
    for (at, operation) in operations.iter().enumerate() {
        events.push((operation.invoked, false, at));
        if matches!(operation.outcome, Outcome::Answered(_)) {
            events.push((operation.completed, true, at));
        }
    }
    events.sort_unstable();
    events
}

impl<'a> Follower<'a> {
    fn follow(mut self, operations: &'a [Operation]) -> Result<(), &'a Operation> {
        for (_, is_end, at) in events(operations) {
            let operation = &operations[at];
            match (operation.outcome, operation.kind) {
                (Outcome::Refused, _) | (Outcome::Unknown, Kind::Get) => {}
                (Outcome::Unknown, Kind::Set(value)) => self.unknown[usize::from(value)] += 1,
                (Outcome::Answered(_), _) if !is_end => {
                    if !self.is_idle(operation) {
                        self.running.push(operation);
                    }
                }
                (Outcome::Answered(_), _) => self.finish(operation)?,
            }
        }
        Ok(())
    }

    /// Whether the operation fits the present value and leaves it.
    fn is_idle(&self, operation: &Operation) -> bool {
        let leaves = matches!(operation.kind, Kind::Get) || operation.kind == Kind::Set(self.value);
        operation.outcome == Outcome::Answered(self.value) && leaves
    }

    /// Makes the operation take effect, if it has not yet.
    fn finish(&mut self, operation: &'a Operation) -> Result<(), &'a Operation> {
        // Either it fits now, or it fits once the bit is turned.
        for _ in 0..2 {
            if !self.running.iter().any(|other| std::ptr::eq(*other, operation)) {
                return Ok(());
            }
            if !self.turn() {
                return Err(operation);
            }
        }
        let done = !self.running.iter().any(|other| std::ptr::eq(*other, operation));
        if done { Ok(()) } else { Err(operation) }
    }

    /// Turns the bit by the write that must do so first. False where there is none.
    fn turn(&mut self) -> bool {
        let new = !self.value;
        let turns = |operation: &&Operation| {
            operation.kind == Kind::Set(new) && operation.outcome == Outcome::Answered(!new)
        };
        let candidates = self.running.iter().enumerate().filter(|(_, other)| turns(other));
        // Of those that end at the same instant, the one whose end is met first: by place in
        // memory, which is the order of the operations.
        let by_end = |(_, other): &(usize, &&'a Operation)| {
            (other.completed, std::ptr::from_ref::<Operation>(other))
        };
        let first = candidates.min_by_key(by_end).map(|(at, _)| at);
        if let Some(at) = first {
            self.running.swap_remove(at);
        } else if self.unknown[usize::from(new)] > 0 {
            self.unknown[usize::from(new)] -= 1;
        } else {
            return false;
        }
        self.value = new;
        let running = std::mem::take(&mut self.running);
        self.running = running.into_iter().filter(|operation| !self.is_idle(operation)).collect();
        true
    }
}
