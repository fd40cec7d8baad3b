//! Goal: SETBITs of one key that are applied together do what they do one after the other: the
//! same outcomes, the same state, the same accounts.
//!
//! Method: two engines get the same random ops, the one every SETBIT as an op, the other all those
//! of a run at once. Keys are absent, packed in a page, grown out of it, due, shared with a
//! snapshot, or parts of keys whose home is elsewhere; offsets may be refused. Outcomes, images and
//! sums are compared after every entry.
//!
//! Mutants killed: bits after a refused one dropped; bits of a segment that is not the group's.

#![allow(clippy::unwrap_used, reason = "whatever is not as it should be fails the test")]

mod common;

use bitroster_command::{Expiry, ExpiryCondition, Grant, Outcome, WriteCommand, WriteOp};
use bitroster_engine::Engine;
use bitroster_types::{LogIndex, Slot, UnixMillis, Version};
use common::{START, config, key};
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Step {
    Run(usize, Vec<(u64, bool)>),
    Expire(usize, i64),
    Delete(usize),
    Wait(u64),
    Share,
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Inside a page, beyond it, in containers of every kind, at the borders of segments, too far.
fn offset() -> impl Strategy<Value = u64> {
    let edge = (0..24_u64, 0..8_u64).prop_map(|(segment, by)| (segment << 16) + by);
    let too_far = (1 << 32) - 2..(1 << 32) + 2_u64;
    prop_oneof![4 => 0..300_u64, 3 => 0..5_000_u64, 3 => edge, 1 => too_far]
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..NAMES.len();
    let many = vec((offset(), any::<bool>()), 0..70);
    let few = vec((0..9_u64, any::<bool>()), 0..5);
    prop_oneof![
        8 => (at(), many).prop_map(|(at, bits)| Step::Run(at, bits)),
        4 => (at(), few).prop_map(|(at, bits)| Step::Run(at, bits)),
        2 => (at(), 1..50_i64).prop_map(|(at, millis)| Step::Expire(at, millis)),
        1 => at().prop_map(Step::Delete),
        3 => (0..30_u64).prop_map(Step::Wait),
        2 => Just(Step::Share),
    ]
}

/// A group that owns every other slot, so that it is home to some of the keys, and
/// has parts of the others.
fn engine() -> Engine {
    let mut engine = Engine::new(config());
    engine.begin(LogIndex(1), START);
    let slots = (0..16_384).filter(|slot| slot % 2 == 0).filter_map(Slot::new).collect();
    engine.apply(&WriteOp::Adopt { slots });
    for name in NAMES {
        let grant = Grant { version: Version(7), expiry: None, drawn: Version(9) };
        for segment in 1..24 {
            let bit = WriteCommand::SetBit { key: key(name), offset: segment << 16, value: true };
            engine.apply(&WriteOp::Granted { grant, command: bit });
        }
    }
    engine.end();
    engine
}

fn image(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot().write_to(&mut bytes).unwrap();
    bytes
}

/// Applies an entry of the step's op or SETBITs; what came of them.
fn apply(engine: &mut Engine, now: UnixMillis, step: &Step, together: bool) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    engine.begin(LogIndex(engine.applied().0 + 1), now);
    match step {
        Step::Run(at, bits) if together => {
            engine.apply_set_bits(&key(NAMES[*at]), bits, |outcome| outcomes.push(outcome));
        }
        Step::Run(at, bits) => outcomes.extend(bits.iter().map(|(offset, value)| {
            let (key, offset, value) = (key(NAMES[*at]), *offset, *value);
            engine.apply(&WriteOp::Command(WriteCommand::SetBit { key, offset, value }))
        })),
        Step::Expire(at, millis) => {
            let (expiry, condition) = (Expiry::In(*millis), ExpiryCondition::default());
            let expire = WriteCommand::Expire { key: key(NAMES[*at]), expiry, condition };
            outcomes.push(engine.apply(&WriteOp::Command(expire)));
        }
        Step::Delete(at) => {
            let delete = WriteCommand::Delete { keys: vec![key(NAMES[*at])] };
            outcomes.push(engine.apply(&WriteOp::Command(delete)));
        }
        Step::Wait(_) | Step::Share => {}
    }
    engine.end();
    outcomes
}

proptest! {
    #[test]
    fn bits_written_together_are_written_one_after_the_other(steps in vec(step(), 1..40)) {
        let (mut one, mut all, mut now) = (engine(), engine(), START);
        let mut shared = Vec::new();
        for step in &steps {
            match step {
                Step::Wait(millis) => now.0 += millis,
                Step::Share => {
                    shared.push((one.snapshot(), image(&one)));
                    shared.push((all.snapshot(), image(&all)));
                }
                Step::Run(..) | Step::Expire(..) | Step::Delete(_) => {}
            }
            let outcomes = apply(&mut one, now, step, false);
            prop_assert_eq!(apply(&mut all, now, step, true), outcomes, "{:?}", step);
            prop_assert!(image(&all) == image(&one), "{:?}", step);
            prop_assert_eq!(all.stats(), one.stats(), "{:?}", step);
        }
        for (snapshot, image) in shared {
            let mut bytes = Vec::new();
            snapshot.write_to(&mut bytes).unwrap();
            prop_assert!(bytes == image, "what was shared has changed");
        }
    }
}
